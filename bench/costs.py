"""Counts the requests of a day to AWS; docs/costs.md calculates a month's bill from the counts.

`make costs` plays the local day with the real handlers, for 10, 100 and 1,000 symbols of synthetic
bars, and writes bench/results/costs.json. With 1,000 symbols it plays parts of the day: some ticks
of the morning, noon and afternoon, which stand for all ticks, and the end of the day. A part begins
with nothing held, so it enters more than a whole day does. With 100 symbols the command plays both,
to show by how much. moto does not count DynamoDB's units, so the command calculates them from the
sizes of the items.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import TextIOBase
from pathlib import Path
from typing import Any
from unittest.mock import patch

from botocore.client import BaseClient

from scalper.core.session import MINUTE, Session
from scalper.core.signal import Bar
from workbench.docs import costs, provenance
from workbench.local.day import LEAD, Collaborators, LocalDay
from workbench.local.invocations import RELAY, Context, InProcessInvoker, Invoker, WithoutMetrics
from workbench.local.trade_updates import RelayedTradeUpdates
from workbench.market.bars.writer import write_bars
from workbench.market.model import Market, MarketDay
from workbench.market.synthetic import MAX_SYMBOLS, synthetic_market
from workbench.servers.processes import Servers, started

RESULTS = Path(__file__).parent / "results" / "costs.json"
SEED = 7
BLOCK = 90
"""Symbols of one synthetic market; more symbols take several markets."""

PARTS = tuple(timedelta(minutes=minutes) for minutes in (60, 180, 300))
"""How long after the open each part of a session with many symbols begins."""

WARM, COUNTED = 10, 10
"""Ticks at the start of a part that do not count, because nothing is held; and those that do."""

SETTLE_WITHIN_S = 300.0

FIRST, WARMING, SESSION, END = "first tick", "warming up", "session", "end"


@dataclass(slots=True)
class Tally:
    """The requests to AWS, by phase of the day and kind."""

    counts: dict[str, dict[str, float]] = field(default_factory=dict)
    metrics: set[str] = field(default_factory=set)
    ticks: int = 0
    phase: str = ""
    sizes: dict[tuple[str, ...], int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, amount: float = 1) -> None:
        """Count, once the day has begun."""
        with self.lock:
            if self.phase:
                counts = self.counts.setdefault(self.phase, {})
                counts[kind] = counts.get(kind, 0) + amount

    def request(self, service: str, operation: str, asked: Mapping[str, Any], answer: Any) -> None:
        """Count what AWS bills for one request of the SDK."""
        if service == "sqs" and operation == "SendMessage":
            self.add("messages")
        elif service == "secretsmanager" and operation == "GetSecretValue":
            self.add("secret_requests")
        elif service == "dynamodb":
            self._table_request(operation, asked, answer)

    def _table_request(self, operation: str, asked: Mapping[str, Any], answer: Any) -> None:
        table = str(asked["TableName"])
        if operation == "PutItem":
            size = costs.item_size(asked["Item"])
            self.sizes[_key(table, asked["Item"])] = size
            self.add("write_units", costs.write_units(size))
        elif operation == "GetItem":
            item = answer.get("Item") if answer else None
            self.add("read_units", costs.read_units(self._size(table, item) if item else 0))
        elif operation in ("Query", "Scan"):
            size = sum(self._size(table, item) for item in (answer or {}).get("Items", ()))
            self.add("read_units", costs.read_units(size))
        elif operation not in ("DescribeTable", "CreateTable", "UpdateTimeToLive"):
            raise ValueError(f"{operation}: no price is known for this operation")

    def _size(self, table: str, item: Mapping[str, Any]) -> int:
        """Return an item's whole size: AWS bills a projection for all that it read."""
        return self.sizes.get(_key(table, item)) or costs.item_size(item)

    def log_written(self, text: str) -> None:
        """Count the bytes of the log, and note the metrics in it."""
        self.add("log_bytes", len(text.encode()))
        if text.startswith('{"_aws"'):
            for directive in json.loads(text)["_aws"]["CloudWatchMetrics"]:
                self.metrics |= {metric["Name"] for metric in directive["Metrics"]}


def _key(table: str, item: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("pk", "sk") if "pk" in item else ("symbol", "symbol")
    return (table, *(str(item[name]["S"]) for name in names))


class EnoughError(Exception):
    """The part of the day is over."""


class PlayedPart:
    """Says before each minute in which phase it counts, and ends the day after the last one."""

    def __init__(self, session: Session, tally: Tally, last: datetime, *, warm: int) -> None:
        self._session = session
        self._tally = tally
        self._last = last
        self._warm = warm

    def before_minute(self, minute: datetime) -> None:
        """Set the phase of a minute. Raises EnoughError after the last minute."""
        if minute > self._last:
            raise EnoughError
        tally = self._tally
        if minute >= self._session.liquidate_at:
            tally.phase = END
        elif minute > self._session.open:
            tally.phase = self._phase()
            tally.ticks += tally.phase == SESSION

    def _phase(self) -> str:
        """Return the phase of the tick that follows."""
        if not self._tally.phase:
            return FIRST
        self._warm -= 1
        return WARMING if self._warm >= 0 else SESSION


class TimingInvoker:
    """Runs the handlers in this process, and counts their runs and seconds."""

    def __init__(self, invoker: Invoker, tally: Tally) -> None:
        self._invoker = invoker
        self._tally = tally

    def start(self, handlers: Iterable[str], environment: Mapping[str, str]) -> None:
        """Get ready."""
        self._invoker.start(handlers, environment)

    def invoke(self, handler: str, event: Mapping[str, Any], context: Context) -> Any:
        """Return the handler's answer; a run that raised, or is the relay's, does not count."""
        began = time.monotonic()
        answer = self._invoker.invoke(handler, event, context)
        if handler != RELAY:
            name = handler.split(".")[0]
            self._tally.add(f"runs {name}")
            self._tally.add(f"seconds {name}", time.monotonic() - began)
        return answer


class Log(TextIOBase):
    """The functions' log: its bytes are counted, and nothing is kept."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def write(self, text: str) -> int:
        """Count the text."""
        self._tally.log_written(text)
        return len(text)


class MetricsCounted(WithoutMetrics):
    """The handlers' standard output: their metric lines are counted and left out of the log."""

    def __init__(self, log: TextIOBase, tally: Tally) -> None:
        super().__init__(log)
        self._tally = tally

    def write(self, text: str) -> int:
        """Count a metric line; pass anything else on."""
        if text.startswith('{"_aws"'):
            self._tally.log_written(text)
        return super().write(text)


def market_of(symbols: int) -> Market:
    """Return a synthetic session of this many symbols, joined from several markets."""
    assert BLOCK <= MAX_SYMBOLS
    bars: dict[str, tuple[Bar, ...]] = {}
    session: Session | None = None
    for block in range(-(-symbols // BLOCK)):
        count = min(BLOCK, symbols - block * BLOCK)
        [day] = synthetic_market(SEED + block, count).days
        session = day.session
        bars |= {f"{symbol}B{block:02d}": its for symbol, its in day.bars.items()}
    if session is None:
        raise ValueError("a market without a symbol")
    return Market(
        (MarketDay(session, bars),), synthetic=True, source=f"{symbols} synthetic symbols"
    )


def counted(symbols: int, *, whole: bool) -> dict[str, Any]:
    """Play the whole day or parts of it; return the requests of a whole session to AWS."""
    market = market_of(symbols)
    session = market.days[0].session
    end = session.close + LEAD
    if whole:
        tallies = [play(market, session.open - 2 * LEAD, end)]
        ending = tallies[0]
    else:
        length = (WARM + COUNTED) * MINUTE
        starts = [session.open + after for after in PARTS]
        tallies = [play(market, start, start + length, warm=WARM) for start in starts]
        ending = play(market, session.liquidate_at - 5 * MINUTE, end)
    ticks = int((session.liquidate_at - session.open) / MINUTE) - 2
    played = sum(tally.ticks for tally in tallies)

    def within(kind: str) -> float:
        return sum(tally.counts[SESSION].get(kind, 0) for tally in tallies)

    first, last = tallies[0].counts[FIRST], ending.counts[END]
    total = {
        kind: first.get(kind, 0) + within(kind) * ticks / played + last.get(kind, 0)
        for kind in {*first, *last, *(kind for tally in tallies for kind in tally.counts[SESSION])}
    }
    return {
        "symbols": symbols,
        "ticks_played": played,
        "write_units": round(total["write_units"]),
        "read_units": round(total["read_units"]),
        "messages": round(total["messages"]),
        "secret_requests": round(total["secret_requests"]),
        "log_bytes": round(total["log_bytes"]),
        "invocations": _by_function(total, "runs ", 0),
        "seconds": _by_function(total, "seconds ", 3),
        "metrics_sent": sorted(set[str]().union(*(one.metrics for one in (*tallies, ending)))),
    }


def _by_function(total: Mapping[str, float], prefix: str, digits: int) -> dict[str, float]:
    found = {name.removeprefix(prefix): n for name, n in total.items() if name.startswith(prefix)}
    return {name: round(n, digits) if digits else round(n) for name, n in sorted(found.items())}


def play(market: Market, start: datetime, last: datetime, warm: int = 0) -> Tally:
    """Play the market from `start` to `last`, over servers of its own; return the counts.

    The first tick is a phase of its own, and so are the `warm` ticks after it.
    """
    tally = Tally()

    # PynamoDB and boto3 have different sessions. Every request of both goes through this method.
    real = BaseClient._make_api_call  # type: ignore[attr-defined] # the stubs leave it out

    def call(client: Any, operation: str, asked: Any) -> Any:
        answer = None
        try:
            answer = real(client, operation, asked)
        finally:
            # AWS also bills a write whose condition fails.
            tally.request(client.meta.service_model.service_name, operation, asked, answer)
        return answer

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_bars(market, folder / "bars.csv")
        options = ["--bars", str(folder / "bars.csv"), "--start", start.isoformat()]
        exchange_url = stack.enter_context(started(["exchange", "--port", "0", *options]))
        aws_url = stack.enter_context(started(["aws", "--port", "0"]))
        stack.enter_context(patch.object(BaseClient, "_make_api_call", call))
        log = Log(tally)
        servers = Servers(exchange_url, aws_url)
        invoker = TimingInvoker(InProcessInvoker(log), tally)
        # On a busy machine, a minute of 1,000 symbols takes longer than the local day's own bound.
        trade_updates = RelayedTradeUpdates(servers, invoker, SETTLE_WITHIN_S)
        part = PlayedPart(market.days[0].session, tally, last, warm=warm)
        day = LocalDay(
            market,
            Collaborators(servers, invoker, trade_updates),
            output=MetricsCounted(log, tally),
            before_minute=part.before_minute,
        )
        with suppress(EnoughError):
            day.run()
    return tally


def main() -> int:
    """Count days of each size, print the bills, and write the counts."""
    commit = provenance.commit()
    days = [
        _count_and_print(10, whole=True),
        _count_and_print(100, whole=True),
        _count_and_print(1000, whole=False),
    ]
    check = _count_and_print(100, whole=False)
    provenance.write(RESULTS, "make costs", commit, days=days, parts=check)
    return 0


def _count_and_print(symbols: int, *, whole: bool) -> dict[str, Any]:
    """Count the requests of a day, and print the month's bill."""
    began = time.monotonic()
    day = counted(symbols, whole=whole)
    bill = costs.month_of(day, costs.declared_stack())
    what = f"{symbols} symbols{'' if whole else ', by parts'}, {time.monotonic() - began:.0f} s"
    print(f"{what}: {sum(line.dollars for line in bill):.2f} a month", flush=True)
    for line in bill:
        print(f"    {line.what:<26}{line.dollars:8.2f}", flush=True)
    return day


if __name__ == "__main__":
    sys.exit(main())
