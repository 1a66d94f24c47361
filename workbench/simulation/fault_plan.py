"""Which fault strikes where on a simulated day: drawn from the seed, or replayed from a list.

A seeded plan draws a number at each request and at each thing that happens without one. It keeps a
list of what it injected and where. A script is such a list: the plan then injects exactly what the
list holds. A place is named by what happens there (the third request of the tick of minute 31),
not by the number of draws before it. So the list of a failing day replays the day, and a shorter
list is a smaller day.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from workbench.faults.kinds import FaultKind


@dataclass(frozen=True, slots=True)
class FaultMenu:
    """The faults that may strike one sort of request, and how often they do."""

    kinds: tuple[FaultKind, ...]
    weight: int = 1
    """Rare requests weigh more. So each sort of request meets about as many faults."""


CRASHES = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER)
"""The process dies at a request: before the request leaves, or after it took effect."""

READ = FaultMenu((*CRASHES, FaultKind.READ_LOST, FaultKind.SLOW))
"""A request that changes nothing."""

SUBMIT = FaultMenu(
    (
        *CRASHES,
        FaultKind.SUBMIT_LOST,
        FaultKind.SUBMIT_ANSWER_LOST,
        FaultKind.SUBMIT_REPEATED,
        FaultKind.SUBMIT_LATE,
        FaultKind.SUBMIT_HIDDEN,
        FaultKind.REFUSED_BUYING_POWER,
        FaultKind.REFUSED_WASH_TRADE,
        FaultKind.REFUSED_QUANTITY,
        FaultKind.REFUSED_SUSPENDED,
        FaultKind.REFUSED_SUB_PENNY,
        FaultKind.REFUSED_RATE_LIMIT,
        FaultKind.REFUSED_KEYS,
        FaultKind.REJECTED_LATER,
        FaultKind.SLOW,
    ),
    weight=8,
)
CANCEL = FaultMenu(
    (
        *CRASHES,
        FaultKind.CANCEL_LOST,
        FaultKind.CANCEL_ANSWER_LOST,
        FaultKind.CANCEL_LOSES_TO_FILL,
        FaultKind.CANCEL_STUCK,
        FaultKind.SLOW,
    ),
    weight=12,
)
POSITIONS = FaultMenu((*READ.kinds, FaultKind.POSITIONS_STALE), weight=2)
STORE_READ = FaultMenu((*CRASHES, FaultKind.STORE_THROTTLED, FaultKind.SLOW))
STORE_WRITE = FaultMenu(
    (
        *CRASHES,
        FaultKind.STORE_THROTTLED,
        FaultKind.WRITE_UNREPORTED,
        FaultKind.WRITE_REPEATED,
        FaultKind.SLOW,
    ),
    weight=2,
)
SEND = FaultMenu(
    (*CRASHES, FaultKind.MESSAGE_LOST, FaultKind.MESSAGE_TWICE, FaultKind.MESSAGE_LATE), weight=3
)

BAR = (FaultKind.BAR_MISSING, FaultKind.BAR_LATE, FaultKind.BAR_REVISED, FaultKind.BAR_BROKEN)
"""What may be wrong with the bar of a minute."""

WITHOUT_REQUEST = (
    *BAR,
    FaultKind.EVENT_LOST,
    FaultKind.EVENT_TWICE,
    FaultKind.EVENT_DELAYED,
    FaultKind.PARTIAL_FILL,
    FaultKind.FILL_DELAYED,
    FaultKind.TICK_LOST,
    FaultKind.TICK_LATE,
    FaultKind.TICK_TWICE,
    FaultKind.TICK_REDELIVERED,
    FaultKind.TICKS_END,
    FaultKind.COLD_START,
    FaultKind.ROW_PAUSED,
    FaultKind.ROW_REMOVED,
    FaultKind.ROW_BROKEN,
    FaultKind.ACCOUNT_HALTED,
    FaultKind.CANCELED_BY_HAND,
    FaultKind.SOLD_BY_HAND,
    FaultKind.REPLACED,
    FaultKind.EXTERNAL_ORDERS,
    FaultKind.ACCOUNT_BLOCKED,
    FaultKind.BROKER_DOWN,
    FaultKind.STORE_DOWN,
    FaultKind.ITEM_LOST,
    FaultKind.TABLE_EMPTIED,
    FaultKind.ITEM_UNREADABLE,
    FaultKind.POSITIONS_LAG,
    FaultKind.RELAY_DEAD,
    FaultKind.CLOCK_SKEWED,
    FaultKind.DEPLOYED,
)
"""What happens without a request."""

KINDS = tuple(
    dict.fromkeys(
        [
            *(k for menu in (POSITIONS, SUBMIT, CANCEL, STORE_WRITE, SEND) for k in menu.kinds),
            *WITHOUT_REQUEST,
        ]
    )
)


class Fault(NamedTuple):
    """A fault, and the place at which it struck."""

    place: str
    kind: FaultKind

    def __str__(self) -> str:
        return f"{self.place}:{self.kind}"


Script = Iterable[Fault]

FOCUSED_DAYS = 0.4
"""The share of days whose crashes aim at one request of the source."""

FOCUS_RATE = 0.25
"""The share of that request's calls at which the process dies."""

RATES = (0.0, 0.004, 0.01, 0.03, 0.08)
"""Faults per request. The seed chooses the rate of a day, and the kinds that strike."""


class SimulatedFaultPlan:
    """The faults of one day."""

    def __init__(self, seed: int, script: Script | None = None, *, sites: int = 0) -> None:
        self._random = Random(f"faults {seed}")
        self._script = None if script is None else frozenset(script)
        self._seed = seed
        self._rate = self._random.choice(RATES)
        self.is_faultless = self._rate == 0.0 and script is None
        """Whether the day has no fault at all. Then the system also has to be prompt."""
        # What happens without a request has probabilities of its own.
        self._factor = self._rate and self._random.choice((0.3, 1.0, 2.5))
        # A day with few kinds goes deeper into each than one with all of them.
        share = self._random.choice((0.15, 0.4, 1.0))
        self._kinds = frozenset(k for k in KINDS if self._random.random() < share)
        # On a focused day the process dies again and again at one request of the source.
        focused = self._rate > 0.0 and self._random.random() < FOCUSED_DAYS and sites > 0
        self._focus = self._random.randrange(sites) if focused else None
        self._menus: dict[FaultMenu, tuple[FaultKind, ...]] = {}
        self.is_over = False
        """Whether the faults are over: from here on nothing goes wrong."""
        self.injected: list[Fault] = []
        self._exposure = 0
        self._next = 0
        self._draw_next()

    def pick(self, menu: FaultMenu, label: str, number: int, site: int = -1) -> FaultKind | None:
        """Return the fault that strikes an invocation's `number`th request, None for none.

        `site` is the number of the place in the source that makes the request.
        """
        if self._script is not None:
            place = f"{label}/{number}"
            kind = next((k for k in menu.kinds if Fault(place, k) in self._script), None)
            return None if kind is None else self._inject(place, kind)
        if site == self._focus and not self.is_over and self._random.random() < FOCUS_RATE:
            return self._inject(f"{label}/{number}", self._random.choice(CRASHES))
        self._exposure += menu.weight
        if self._exposure < self._next:
            return None
        self._draw_next()
        kinds = self._menus.get(menu)
        if kinds is None:
            kinds = self._menus[menu] = tuple(k for k in menu.kinds if k in self._kinds)
        if not kinds or self.is_over:
            return None
        return self._inject(f"{label}/{number}", self._random.choice(kinds))

    def happens(self, kind: FaultKind, probability: float, *where: object) -> bool:
        """Return whether a fault strikes a place without a request: a minute, an order."""
        if self._script is not None:
            hit = Fault(_place(where), kind) in self._script
        else:
            # The draw comes first, so that a plan that is over draws the same numbers.
            hit = self._random.random() < probability * self._factor
            hit = hit and kind in self._kinds and not self.is_over
        if hit:
            self._inject(_place(where), kind)
        return hit

    def one_of(
        self, kinds: tuple[FaultKind, ...], probability: float, *where: object
    ) -> FaultKind | None:
        """Return which of some faults strikes a place without a request, None for none."""
        if self._script is not None:
            place = _place(where)
            kind = next((k for k in kinds if Fault(place, k) in self._script), None)
            return None if kind is None else self._inject(place, kind)
        if self._random.random() >= probability * self._factor:
            return None
        kind = self._random.choice(kinds)
        if kind not in self._kinds or self.is_over:
            return None
        return self._inject(_place(where), kind)

    def amount(self, low: float, high: float) -> float:
        """Return the size of the fault just injected; it depends on seed and fault alone."""
        return Random(f"{self._seed} {self.injected[-1]}").uniform(low, high)

    def _inject(self, place: str, kind: FaultKind) -> FaultKind:
        self.injected.append(Fault(place, kind))
        return kind

    def _draw_next(self) -> None:
        if self._rate:
            gap = math.log(1.0 - self._random.random()) / math.log(1.0 - self._rate)
            self._next = self._exposure + 1 + int(gap)
        else:
            self._next = 1 << 62


def _place(where: tuple[object, ...]) -> str:
    return " ".join(str(one) for one in where)
