"""Which fault strikes where: a seed and a list of planned injections decide it, and count it.

A seeded decision depends on the seed, on its stream of decisions (a function's requests to a
server, the trade updates, the cancels) and on its number in that stream. What happens in other
streams does not change it. A planned injection happens whatever the seed draws and however fast
the machine is: at the n-th decision that it fits.
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
"""If a fault, or a kill, strikes before the request takes effect, or after."""

_REQUESTS = {
    # Per request: the rate of each wrong answer.
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
"""Answers that say that nothing was done: they come only before the effect."""

RATES: Mapping[str, float] = MappingProxyType(
    {
        f"{server}_{answer}": rate
        for server, answers in _REQUESTS.items()
        for answer, rate in answers.items()
    }
    | {f"{server}_{FaultKind.SLOW}": 0.01 for server in _REQUESTS}
    | {
        # Per order sent.
        FaultKind.REFUSED_BUYING_POWER: 0.03,
        FaultKind.REFUSED_NOT_TRADABLE: 0.02,
        FaultKind.SUBMIT_LATE: 0.05,
        FaultKind.SUBMIT_HIDDEN: 0.06,
        FaultKind.REJECTED_LATER: 0.03,
        # Per fill, per cancel, per request for the positions.
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
"""The rate of each kind of fault on an average day."""

RATE_FACTORS = (0.0, 0.5, 1.0, 1.0, 2.0, 4.0)
"""A day draws one of these for each kind, to multiply its rate by: some days lack a kind."""

MAX_RATE = 0.5
"""No kind's rate is higher: something else has to happen on a day too."""

OUTAGES = 2
"""At most so many outages of a whole server a day."""

OUTAGE_RATE = 0.8
OUTAGE_LENGTH = (MINUTE, 3 * MINUTE)

KILLS: Mapping[str, tuple[float, int]] = MappingProxyType(
    {
        "tick": (0.06, 12),
        "trade_update": (0.08, 6),
        "checkup": (0.08, 8),
        "liquidate": (0.60, 12),
        "relay": (0.50, 30),
    }
)
"""Of each function: the rate of killed invocations, and the latest request to be killed at."""

FAULTS_END_AFTER = 2 * MINUTE
"""How long after the time of the liquidation the faults end."""

KILLED = "killed"
"""Among rate factors: the factor of the rate of kills."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A server that fails nearly every request for a while, by the exchange's clock."""

    server: str
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Injection:
    """What is done to a request: how it is answered, and if it takes effect before that."""

    answer: str = ""
    """5xx, 429, throttled, empty, truncated or reset; "" is the true answer."""
    when: str = AFTER
    slow: bool = False


@dataclass(frozen=True, slots=True)
class KillPoint:
    """At which of its requests an invocation is killed, and if before or after the effect."""

    request: int
    when: str


@dataclass(frozen=True, slots=True)
class Planned:
    """An injection that happens for sure, if its day has decisions enough.

    It strikes at the n-th decision at which its kind is possible, counted while faults are on, or
    at the first one after that which no other planned injection takes.
    """

    kind: str
    """A name as in `FaultPlan.faults`, such as "cancel_stuck" or "exchange_5xx_after"."""
    nth: int = 1


@dataclass(frozen=True, slots=True)
class PlannedKill:
    """A kill that happens for sure, if the function makes requests enough.

    The function's n-th invocation, or the first one after it that gets so far, is killed at its
    request number `request`.
    """

    function: str
    when: str
    nth: int = 1
    request: int = 1


class FaultPlan:
    """One day's plan: rates drawn from the seed, planned injections, a switch, and the counts."""

    def __init__(
        self,
        seed: int,
        session: Session,
        *,
        factors: Mapping[str, float] | None = None,
        planned: Iterable[Planned | PlannedKill] = (),
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Draw a day's rates; `factors` replaces the rate factors of the kinds it names.

        No fault strikes until `start`. `now` is the exchange's clock; it may be set later. Raises
        ValueError if a planned kind is unknown.
        """
        chance = random.Random(f"{seed} rates")
        drawn = {kind: chance.choice(RATE_FACTORS) for kind in RATES} | {KILLED: 1.0}
        self._factors = drawn | dict(factors or {})
        self._rates = {
            kind: min(MAX_RATE, rate * self._factors[kind]) for kind, rate in RATES.items()
        }
        planned = tuple(planned)
        self._injections = [one for one in planned if isinstance(one, Planned)]
        self._kills = [one for one in planned if isinstance(one, PlannedKill)]
        unknown = {one.kind for one in self._injections} - counted_kinds()
        if unknown:
            raise ValueError(f"no such kind of fault: {', '.join(sorted(unknown))}")
        self._seed = seed
        self._numbers = Counter[str]()
        self._possible = Counter[str]()
        self._invocations = Counter[str]()
        self._lock = Lock()
        self._is_active = False
        self.now = now or (lambda: session.open)
        self.outages = tuple(_outages(chance, session))
        self.faults = Counter[str]()
        self.kills = Counter[str]()
        self.requests = 0

    @property
    def pending(self) -> tuple[Planned | PlannedKill, ...]:
        """Return what was planned and did not happen yet."""
        return (*self._injections, *self._kills)

    def start(self) -> None:
        """Let faults strike."""
        self._is_active = True

    def end_faults(self) -> None:
        """Let no fault strike any more."""
        self._is_active = False

    def draw(self, stream: str) -> random.Random:
        """Return the random numbers of the next decision of a stream."""
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
        if not self._is_active:
            return ""
        kind = self._planned(kinds) or _pick(drawn, ((kind, self._rates[kind]) for kind in kinds))
        if kind:
            self.count(kind)
        return kind

    def on_request(self, server: str, function: str, *, has_effect: bool) -> Injection:
        """Return what is done to a function's next request to a server."""
        chance = self.draw(f"{server} {function}")
        drawn, is_late, drawn_slow = chance.random(), chance.random() < 0.5, chance.random()
        with self._lock:
            self.requests += 1
        if not self._is_active:
            return Injection()
        possible = _injections(server, has_effect=has_effect)
        if name := self._planned(possible):
            self.count(name)
            return possible[name]
        rates = {answer: self._rates[f"{server}_{answer}"] for answer in _REQUESTS[server]}
        if self._is_out(server):
            rates = {FaultKind.SERVER_ERROR: OUTAGE_RATE / 2, FaultKind.RESET: OUTAGE_RATE / 2}
            self.count(f"{server}_{FaultKind.OUTAGE}_requests")
        answer = _pick(drawn, rates.items())
        is_slow = drawn_slow < self._rates[f"{server}_{FaultKind.SLOW}"]
        if is_slow:
            self.count(f"{server}_{FaultKind.SLOW}")
        when = AFTER if is_late and answer not in WITHOUT_EFFECT else BEFORE
        if answer:
            self.count(_name(server, answer, when, has_effect=has_effect))
        return Injection(answer, when, is_slow)

    def kill_point(self, function: str) -> KillPoint | None:
        """Return where a function's next invocation is killed, None if nowhere."""
        chance = self.draw(f"kill {function}")
        rate, latest = KILLS.get(function, (0.0, 1))
        drawn, request = chance.random(), chance.randint(1, latest)
        when = chance.choice((BEFORE, AFTER))
        if not self._is_active:
            return None
        with self._lock:
            self._invocations[function] += 1
            number = self._invocations[function]
            for one in self._kills:
                if one.function == function and number >= one.nth:
                    return KillPoint(one.request, one.when)
        return KillPoint(request, when) if drawn < rate * self._factors[KILLED] else None

    def killed(self, function: str, when: str) -> None:
        """Count a kill, and strike it off the planned ones."""
        with self._lock:
            self.kills[when] += 1
            self.kills[f"{function}_{when}"] += 1
            number = self._invocations[function]
            for one in self._kills:
                if (one.function, one.when) == (function, when) and number >= one.nth:
                    self._kills.remove(one)
                    return

    def _planned(self, possible: Iterable[str]) -> str:
        """Return the kind of the planned injection for this decision, struck off; "" for none."""
        with self._lock:
            self._possible.update(tuple(possible))
            for one in self._injections:
                if one.kind in possible and self._possible[one.kind] >= one.nth:
                    self._injections.remove(one)
                    return one.kind
        return ""

    def _is_out(self, server: str) -> bool:
        now = self.now()
        return any(one.server == server and one.begins <= now < one.ends for one in self.outages)


def counted_kinds() -> frozenset[str]:
    """Return every name under which an injected fault is counted, outages left out."""
    names = {name for server in _REQUESTS for name in _injections(server, has_effect=True)}
    names |= {name for server in _REQUESTS for name in _injections(server, has_effect=False)}
    return frozenset(names | {kind for kind in RATES if not kind.startswith(tuple(_REQUESTS))})


def _name(server: str, answer: str, when: str, *, has_effect: bool) -> str:
    """Return the name under which a wrong answer is counted: `when` counts only for an effect."""
    told = f"_{when}" if has_effect and answer not in WITHOUT_EFFECT else ""
    return f"{server}_{answer}{told}"


def _injections(server: str, *, has_effect: bool) -> Mapping[str, Injection]:
    """Return all that can be done to a request, by the name under which it is counted."""
    found = {f"{server}_{FaultKind.SLOW}": Injection(slow=True)}
    for answer in _REQUESTS[server]:
        for when in (BEFORE,) if answer in WITHOUT_EFFECT else (BEFORE, AFTER):
            name = _name(server, answer, when, has_effect=has_effect)
            found[name] = Injection(answer, when)
    return found


def _outages(chance: random.Random, session: Session) -> Iterable[Outage]:
    """Yield the day's outages; one in four of them lasts until the faults end."""
    for _ in range(chance.randint(0, OUTAGES)):
        server = chance.choice((EXCHANGE, STORE))
        is_at_the_end = chance.random() < 0.25
        length = timedelta(seconds=chance.uniform(*(one.total_seconds() for one in OUTAGE_LENGTH)))
        span = session.liquidate_at - session.open - OUTAGE_LENGTH[1]
        begins = session.open + timedelta(seconds=chance.random() * span.total_seconds())
        if is_at_the_end:
            begins = session.liquidate_at + FAULTS_END_AFTER - length
        yield Outage(server, begins, begins + length)


def _pick(drawn: float, rates: Iterable[tuple[str, float]]) -> str:
    """Return the kind whose share of the interval from 0 to 1 the draw falls into, "" for none."""
    for kind, rate in rates:
        if drawn < rate:
            return kind
        drawn -= rate
    return ""
