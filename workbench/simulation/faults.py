"""What goes wrong, and when: decided by the seed, or by a script that an earlier run wrote.

Each place where something may go wrong is an opportunity, counted from 1. A seeded plan draws at
each of them and writes down what it injected; a script of (opportunity, kind) injects exactly
that, so that a failure replays, and a shorter script shrinks it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random



@dataclass(frozen=True, slots=True)
class Menu:
    """What may go wrong with one sort of request, and how readily."""

    kinds: tuple[str, ...]
    weight: int = 1
    """Rare requests weigh more, so that each sort meets its faults about as often."""


_CRASHES = ("crash_before", "crash_after")
"""The process dies at a request: before it leaves, or once it took effect, its answer unseen."""

READ = Menu((*_CRASHES, "read_lost", "slow"))
"""A request without effect: no answer (the adapter's own repeats included), or a slow one."""

SUBMIT = Menu(
    (
        *_CRASHES,
        "submit_lost",
        "submit_answer_lost",
        "submit_late",
        "submit_hidden",
        "refused_buying_power",
        "refused_wash_trade",
        "refused_quantity",
        "refused_suspended",
        "refused_sub_penny",
        "refused_rate_limit",
        "refused_keys",
        "rejected_later",
        "slow",
    ),
    weight=8,
)
CANCEL = Menu(
    (
        *_CRASHES,
        "cancel_lost",
        "cancel_answer_lost",
        "cancel_loses_to_fill",
        "cancel_stuck",
        "slow",
    ),
    weight=12,
)
POSITIONS = Menu((*READ.kinds, "positions_stale"), weight=2)
STORE_READ = Menu((*_CRASHES, "store_throttled", "slow"))
STORE_WRITE = Menu((*_CRASHES, "store_throttled", "write_unreported", "slow"), weight=2)
SEND = Menu((*_CRASHES, "message_lost", "message_twice", "message_late"), weight=3)

WEATHER = (
    "event_lost",
    "event_twice",
    "event_delayed",
    "partial_fill",
    "fill_delayed",
    "tick_lost",
    "tick_late",
    "tick_twice",
    "tick_redelivered",
    "bar_missing",
    "bar_late",
    "bar_revised",
    "bar_broken",
    "cold_start",
    "row_paused",
    "row_removed",
    "row_broken",
    "account_halted",
    "canceled_by_hand",
    "item_lost",
    "item_unreadable",
    "relay_dead",
    "clock_skewed",
    "deployed",
)
"""What happens by itself, not at a request of ours."""

KINDS = tuple(
    dict.fromkeys(
        [
            *(k for menu in (POSITIONS, SUBMIT, CANCEL, STORE_WRITE, SEND) for k in menu.kinds),
            *WEATHER,
        ]
    )
)

RATES = (0.0, 0.004, 0.01, 0.03, 0.08)
"""Faults per request of a day; which one holds, and which kinds, is the seed's choice."""


class Plan:
    """The faults of one day."""

    def __init__(self, seed: int, script: Mapping[int, str] | None = None) -> None:
        self._random = Random(f"faults {seed}")
        self._script = script
        self.seed = seed
        self.rate = self._random.choice(RATES)
        """Faults per request; weather has probabilities of its own, scaled by `weather`."""
        self.weather = self.rate and self._random.choice((0.3, 1.0, 2.5))
        # A day with few kinds goes deeper into each than one with all of them.
        share = self._random.choice((0.15, 0.4, 1.0))
        self._kinds = frozenset(k for k in KINDS if self._random.random() < share)
        self._menus: dict[Menu, tuple[str, ...]] = {}
        self.calm = False
        """Whether the faults are over: the end of the day is to be reached without any."""
        self.opportunities = 0
        self.injected: list[tuple[int, str]] = []
        self._exposure = 0
        self._next = 0
        self._draw_next()

    def pick(self, menu: Menu) -> str:
        """Return what goes wrong with a request, "" for nothing."""
        self.opportunities += 1
        if self._script is not None:
            kind = self._script.get(self.opportunities, "")
            return self._inject(kind) if kind in menu.kinds else ""
        self._exposure += menu.weight
        if self._exposure < self._next:
            return ""
        self._draw_next()
        kinds = self._menus.get(menu)
        if kinds is None:
            kinds = self._menus[menu] = tuple(k for k in menu.kinds if k in self._kinds)
        if not kinds or self.calm:
            return ""
        return self._inject(self._random.choice(kinds))

    def happens(self, kind: str, probability: float) -> bool:
        """Return whether something happens by itself now."""
        self.opportunities += 1
        if self._script is not None:
            hit = self._script.get(self.opportunities) == kind
        else:
            # The draw comes first, so that a calm plan draws alike.
            hit = self._random.random() < probability * self.weather
            hit = hit and kind in self._kinds and not self.calm
        if hit:
            self._inject(kind)
        return hit

    def amount(self, low: float, high: float) -> float:
        """Return how much of the fault just injected: it hangs on seed and opportunity alone."""
        number = self.injected[-1][0]
        return Random(f"{self.seed} {number}").uniform(low, high)

    def _inject(self, kind: str) -> str:
        self.injected.append((self.opportunities, kind))
        return kind

    def _draw_next(self) -> None:
        if self.rate:
            gap = math.log(1.0 - self._random.random()) / math.log(1.0 - self.rate)
            self._next = self._exposure + 1 + int(gap)
        else:
            self._next = 1 << 62
