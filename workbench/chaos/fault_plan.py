"""What goes wrong, and when: every fault and every kill is decided here, by a seed, and counted.

A decision hangs on the seed, on the stream of decisions it belongs to (a function at a door, the
trade updates, the cancels) and on its number there: what other streams do does not change it.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from types import MappingProxyType

from scalper.core.session import MINUTE, Session
from workbench.faults.kinds import FaultKind

EXCHANGE, STORE, QUEUE, SECRETS, WEBHOOK = "exchange", "store", "queue", "secrets", "webhook"

BEFORE, AFTER = "before", "after"
"""A fault, or a kill, before the request takes effect, or after."""

_REQUESTS = {
    # Per request: the odds of each way to answer wrongly.
    EXCHANGE: {
        FaultKind.SERVER_ERROR: 0.015,
        FaultKind.RATE_LIMITED: 0.006,
        FaultKind.EMPTY_ANSWER: 0.006,
        FaultKind.TRUNCATED_ANSWER: 0.006,
        FaultKind.RESET: 0.015,
    },
    STORE: {FaultKind.SERVER_ERROR: 0.010, FaultKind.THROTTLED: 0.012, FaultKind.RESET: 0.012},
    QUEUE: {FaultKind.SERVER_ERROR: 0.02, FaultKind.THROTTLED: 0.02, FaultKind.RESET: 0.02},
    SECRETS: {FaultKind.SERVER_ERROR: 0.04, FaultKind.THROTTLED: 0.04, FaultKind.RESET: 0.04},
    WEBHOOK: {FaultKind.SERVER_ERROR: 0.03, FaultKind.RATE_LIMITED: 0.02, FaultKind.RESET: 0.03},
}
WITHOUT_EFFECT = frozenset({FaultKind.RATE_LIMITED, FaultKind.THROTTLED})
"""Answers that say that nothing was done; they are given before the effect alone."""

RATES: Mapping[str, float] = MappingProxyType(
    {
        f"{door}_{answer}": rate
        for door, answers in _REQUESTS.items()
        for answer, rate in answers.items()
    }
    | {f"{door}_{FaultKind.SLOW}": 0.01 for door in _REQUESTS}
    | {
        # Per order sent.
        FaultKind.REFUSED_BUYING_POWER: 0.03,
        FaultKind.REFUSED_NOT_TRADABLE: 0.02,
        FaultKind.SUBMIT_LATE: 0.05,
        FaultKind.SUBMIT_HIDDEN: 0.06,
        FaultKind.REJECTED_LATER: 0.03,
        # Per execution, per cancel, per look at the positions.
        FaultKind.PARTIAL_FILL: 0.25,
        FaultKind.CANCEL_LOSES_TO_FILL: 0.12,
        FaultKind.CANCEL_AFTER_PARTIAL_FILL: 0.12,
        FaultKind.CANCEL_STUCK: 0.015,
        FaultKind.CANCEL_LATE: 0.12,
        FaultKind.POSITIONS_STALE: 0.30,
        # Per trade update.
        FaultKind.EVENT_LOST: 0.05,
        FaultKind.EVENT_TWICE: 0.05,
        FaultKind.EVENT_DELAYED: 0.05,
        FaultKind.EVENT_OUT_OF_ORDER: 0.05,
        FaultKind.EVENT_STREAM_CLOSED: 0.02,
        # Per tick.
        FaultKind.TICK_TWICE: 0.04,
    }
)
"""The odds of each kind of fault on a day of middling weather."""

CLIMATES = (0.0, 0.5, 1.0, 1.0, 2.0, 4.0)
"""What a day's odds of a kind are multiplied by: no day is like another, some lack a kind."""

MOST = 0.5
"""No fault's odds are higher, or nothing would happen on a day but it."""

OUTAGES = 2
"""At most so many times a day a whole server is out."""

OUTAGE_ODDS = 0.8
OUTAGE = (MINUTE, 3 * MINUTE)

KILLS: Mapping[str, tuple[float, int]] = MappingProxyType(
    {
        "tick": (0.06, 12),
        "trade_update": (0.08, 6),
        "checkup": (0.08, 8),
        "liquidate": (0.60, 12),
        "relay": (0.50, 30),
    }
)
"""Of each function: the odds that an invocation is killed, and at which request at the latest."""

CALM_AFTER = 2 * MINUTE
"""How long after the time of the liquidation the weather is bad."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A server that answers next to nothing for a while, by the exchange's clock."""

    door: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a request: how it is answered, and when, as to its effect."""

    answer: str = ""
    """5xx, 429, throttled, empty, truncated, reset; "" is the true answer."""
    when: str = AFTER
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Doom:
    """At which of its requests an invocation is killed, and whether before it takes effect."""

    request: int
    when: str


class Weather:
    """One day's: odds drawn from the seed, a switch, and the counts of what struck."""

    def __init__(
        self,
        seed: int,
        session: Session,
        *,
        climate: Mapping[str, float] | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Draw a day's weather; `climate` replaces the factors of the kinds it names.

        It is good until `begin`. `now` is the exchange's clock, set later where it is not there.
        """
        chance = random.Random(f"{seed} climate")
        factors = {kind: chance.choice(CLIMATES) for kind in RATES} | dict(climate or {})
        self._odds = {kind: min(MOST, rate * factors[kind]) for kind, rate in RATES.items()}
        self._seed = seed
        self._numbers = Counter[str]()
        self._lock = Lock()
        self._bad = False
        self.now = now or (lambda: session.open)
        self.outages = tuple(_outages(chance, session))
        self.faults = Counter[str]()
        self.kills = Counter[str]()
        self.requests = 0

    def begin(self) -> None:
        """Let the weather be bad."""
        self._bad = True

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        self._bad = False

    def draw(self, stream: str) -> random.Random:
        """Return the chance of the next decision of a stream."""
        with self._lock:
            self._numbers[stream] += 1
            number = self._numbers[stream]
        return random.Random(f"{self._seed} {stream} {number}")

    def count(self, kind: str) -> None:
        """Count a fault."""
        with self._lock:
            self.faults[kind] += 1

    def strikes(self, stream: str, *kinds: str) -> str:
        """Return which of the kinds of fault strikes, counted; "" for none."""
        drawn = self.draw(stream).random()
        if not self._bad:
            return ""
        kind = _pick(drawn, ((kind, self._odds[kind]) for kind in kinds))
        if kind:
            self.count(kind)
        return kind

    def request(self, door: str, function: str, *, has_effect: bool) -> Fate:
        """Return what becomes of a function's next request at a door."""
        chance = self.draw(f"{door} {function}")
        drawn, late, slow = chance.random(), chance.random() < 0.5, chance.random()
        with self._lock:
            self.requests += 1
        if not self._bad:
            return Fate()
        odds = {answer: self._odds[f"{door}_{answer}"] for answer in _REQUESTS[door]}
        if self._is_out(door):
            odds = {FaultKind.SERVER_ERROR: OUTAGE_ODDS / 2, FaultKind.RESET: OUTAGE_ODDS / 2}
            self.count(f"{door}_{FaultKind.OUTAGE}_requests")
        answer = _pick(drawn, odds.items())
        is_slow = slow < self._odds[f"{door}_{FaultKind.SLOW}"]
        if is_slow:
            self.count(f"{door}_{FaultKind.SLOW}")
        when = AFTER if late and answer not in WITHOUT_EFFECT else BEFORE
        if answer:
            told = f"_{when}" if has_effect and answer not in WITHOUT_EFFECT else ""
            self.count(f"{door}_{answer}{told}")
        return Fate(answer, when, is_slow)

    def doom(self, function: str) -> Doom | None:
        """Return where a function's next invocation is killed, None where it lives."""
        chance = self.draw(f"kill {function}")
        odds, latest = KILLS.get(function, (0.0, 1))
        drawn, request = chance.random(), chance.randint(1, latest)
        when = chance.choice((BEFORE, AFTER))
        return Doom(request, when) if self._bad and drawn < odds else None

    def killed(self, function: str, when: str) -> None:
        """Count a kill."""
        with self._lock:
            self.kills[when] += 1
            self.kills[f"{function}_{when}"] += 1

    def _is_out(self, door: str) -> bool:
        now = self.now()
        return any(one.door == door and one.begins <= now < one.ends for one in self.outages)


def _outages(chance: random.Random, session: Session) -> Iterable[Outage]:
    """Yield the day's outages; one in four of them ends only when the weather does."""
    for _ in range(chance.randint(0, OUTAGES)):
        door = chance.choice((EXCHANGE, STORE))
        ends_with_the_weather = chance.random() < 0.25
        length = timedelta(seconds=chance.uniform(*(one.total_seconds() for one in OUTAGE)))
        span = session.liquidate_at - session.open - OUTAGE[1]
        begins = session.open + timedelta(seconds=chance.random() * span.total_seconds())
        if ends_with_the_weather:
            begins = session.liquidate_at + CALM_AFTER - length
        yield Outage(door, begins, begins + length)


def _pick(drawn: float, odds: Iterable[tuple[str, float]]) -> str:
    """Return whose share of the line from 0 to 1 the draw falls into, "" beyond all of them."""
    for kind, rate in odds:
        if drawn < rate:
            return kind
        drawn -= rate
    return ""
