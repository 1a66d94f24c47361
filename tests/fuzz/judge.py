"""The webhook's real handler over an engine of fakes, and a judge who knows what is signed.

The judge works out by himself, by HMAC alone, whether a request is signed; then no unsigned one may
reach the engine, and no request at all may raise, buy, or sell more than was bought.
"""

import base64
import hashlib
import hmac
import io
import logging
import math
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import trade_update
from scalper.core.pricing import price_text
from scalper.shell import runtime
from scalper.shell.settings import Settings
from scalper.shell.timing import SystemTiming
from scalper.shell.trading.engine import Engine
from scalper.shell.webhook import MAX_BODY
from tests.shell.fakes import PRICE, QTY, Desk, client_id, minute, settings
from tests.shell.test_webhook import KEY, OLD

TOLERANCE_S = 300
SLACK_S = 2.0
"""Near the tolerance's edge either answer is right: time goes on between two looks."""

FRESH_EVERY = 1_000
"""After so many requests the account begins anew: most orders are over by then."""

MAX_WITNESSES = 5


class At(SystemTiming):
    """A clock that stands in the session."""

    def now(self) -> datetime:
        return minute(5)


def is_signed(event: Mapping[str, Any]) -> bool | None:
    """Return whether a request carries a signature by a known key over its body, in its time.

    None where the clock decides between two looks.
    """
    headers = event.get("headers")
    if not isinstance(headers, dict):
        return False
    found = {str(name).lower(): str(value) for name, value in headers.items()}
    try:
        raw = body_of(event)
        stamp = math.floor(float(found["webhook-timestamp"]))
        off_s = abs(datetime.now(UTC).timestamp() - stamp)
        signed = f"{found['webhook-id']}.{stamp}.".encode() + raw
        raw.decode()
        fits = _fits(signed, found["webhook-signature"])
    except (KeyError, ValueError, OverflowError):
        return False
    if not fits or not found["webhook-id"] or off_s > TOLERANCE_S + SLACK_S:
        return False
    return True if off_s < TOLERANCE_S - SLACK_S else None


def _fits(signed: bytes, header: str) -> bool:
    """Return whether one of the signatures fits, and none before it is malformed (ValueError)."""
    for one in header.split(" "):
        version, text = one.split(",")
        if version == "v1":
            given = base64.b64decode(text)
            made = [hmac.new(secret, signed, hashlib.sha256).digest() for secret in SECRETS]
            if any(hmac.compare_digest(mac, given) for mac in made):
                return True
    return False


def body_of(event: Mapping[str, Any]) -> bytes:
    """Return a request's raw body; raises ValueError where it has none that can be read."""
    text = event.get("body") or ""
    if not isinstance(text, str):
        raise ValueError("no text")
    raw = base64.b64decode(text, validate=True) if event.get("isBase64Encoded") else text.encode()
    if len(raw) > MAX_BODY:
        raise ValueError("too large")
    return raw


SECRETS = [base64.b64decode(key.removeprefix("whsec_")) for key in (KEY, OLD)]


@dataclass
class Verdict:
    """What the requests came to."""

    requests: int = 0
    signed: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    exceptions: int = 0
    changes_by_unsigned: int = 0
    """Requests without a good signature that were taken, or reached the engine."""
    changes_by_signed: int = 0
    """Requests with one that changed a state, sent or canceled: what shows that these get there."""
    violations: int = 0
    """Buys, sells of more than was bought, and 503 though nothing was down."""
    witnesses: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return the figures as docs take them."""
        return {
            "requests": self.requests,
            "signed": self.signed,
            "by_status": dict(sorted(self.by_status.items())),
            "unhandled_exceptions": self.exceptions,
            "state_changes_by_unsigned": self.changes_by_unsigned,
            "state_changes_by_signed": self.changes_by_signed,
            "violations": self.violations,
        }

    @property
    def is_good(self) -> bool:
        """Whether nothing happened that must not."""
        return not (self.exceptions or self.changes_by_unsigned or self.violations)


class Judge:
    """Takes requests to the handler, one at a time, and writes down what they came to."""

    def __init__(self) -> None:
        self.verdict = Verdict()
        self._turn = threading.Lock()
        self._engines = 0
        self._desk = self._fresh()

    def orders(self) -> list[Mapping[str, Any]]:
        """Return the account's orders as Alpaca's objects, as far as they differ from others."""
        return [
            {
                "id": report.broker_id,
                "client_order_id": report.client_order_id,
                "symbol": report.symbol,
                "qty": str(report.qty),
                "limit_price": price_text(report.limit or PRICE),
            }
            for report in self._desk.broker.book.values()
        ]

    def engine(self, _: Settings) -> Engine:
        """Return the engine, and count that somebody asked for it."""
        self._engines += 1
        return self._desk.engine

    def take(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the handler's answer to a request; what it raises is an answer of 502."""
        with self._turn:
            return self._take(event)

    def _take(self, event: Mapping[str, Any]) -> dict[str, Any]:
        verdict = self.verdict
        verdict.requests += 1
        if verdict.requests % FRESH_EVERY == 0:
            self._desk = self._fresh()
        signed = is_signed(event)
        verdict.signed += signed is True
        engines, logged = self._engines, len(self._desk.log)
        try:
            answer: dict[str, Any] = trade_update.handler(event, None)
        except Exception as error:  # noqa: BLE001 - what is looked for
            verdict.exceptions += 1
            self._tell(f"{type(error).__name__}: {error}", event)
            return {"statusCode": 502, "body": "{}"}
        status = answer["statusCode"]
        verdict.by_status[str(status)] += 1
        done = self._desk.log[logged:]
        changed = any(one[0] in ("save", "submit", "cancel", "claim") for one in done)
        verdict.changes_by_signed += changed and signed is True
        if signed is False and (changed or self._engines != engines or status not in (401, 413)):
            verdict.changes_by_unsigned += 1
            self._tell(f"unsigned, and {status} {done}", event)
        if self._is_wrong(done) or status == 503 or (signed and status in (401, 413)):
            verdict.violations += 1
            self._tell(f"{status} {done}", event)
        return answer

    def _is_wrong(self, done: list[tuple[Any, ...]]) -> bool:
        """Whether an event made a buy, or a sell of more than a lot's shares."""
        sent = [one for one in done if one[0] == "submit"]
        return any(one[1].endswith("-entry") or one[2] > QTY for one in sent)

    def _tell(self, what: str, event: Mapping[str, Any]) -> None:
        if len(self.verdict.witnesses) < MAX_WITNESSES:
            self.verdict.witnesses.append(f"{what}: {event!r}"[:2_000])

    def _fresh(self) -> Desk:
        """Return an account with a buy at work, shares for sale, and a sell that is filled."""
        number = self.verdict.requests // FRESH_EVERY
        desk = Desk()
        desk.trade("AAA", "BBB", "CCC", "DDD", "EEE", "FFF")
        desk.tick(1)
        for symbol in ("EEE", "FFF"):
            entry = desk.broker.fill(client_id(1, symbol=symbol), PRICE)
            desk.update(entry, minute(2), PRICE)
        desk.broker.fill(client_id(2, "target", "FFF"), PRICE + PRICE // 100)
        desk.broker.now = minute(5)
        desk.stop_entries()
        desk.engine.timing = At()
        clock = ("broker", "system")[number % 2]
        desk.engine.settings = replace(desk.engine.settings, clock=clock)
        return desk


@contextmanager
def judging() -> Iterator[Judge]:
    """Put a judge's engine and keys under the handler while the block lasts; its log is dropped.

    The log's lines and the metrics are written as ever, into nothing.
    """
    before = runtime.sources
    log = logging.getLogger("scalper")
    handlers = [one for one in log.handlers if isinstance(one, logging.StreamHandler)]
    propagated, log.propagate = log.propagate, False
    streams = [one.stream for one in handlers]
    nowhere = Nowhere()
    for one in handlers:
        one.setStream(nowhere)
    try:
        with redirect_stdout(nowhere):
            judge = Judge()
            runtime.sources = runtime.Sources(settings, judge.engine, lambda _: (KEY, OLD))
            runtime._webhook_keys.cache_clear()
            yield judge
    finally:
        runtime.sources = before
        runtime._webhook_keys.cache_clear()
        log.propagate = propagated
        for one, stream in zip(handlers, streams, strict=True):
            one.setStream(stream)


class Nowhere(io.TextIOBase):
    """A file that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)
