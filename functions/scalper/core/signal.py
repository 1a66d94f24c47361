"""The buy signal: a 20-bar moving-average crossover in exact integers, or a user's function.

A signal sees the bars of this session so far, oldest first, and says whether to buy. Bars are
counted, not minutes: a minute without trades has no bar.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from scalper.core.pricing import Money

WINDOW = 20
"""Bars in the average."""

NEEDED = WINDOW + 1
"""Bars before the first signal: the average of the bar before the newest needs 20 of its own."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute of trading; `start` labels it (aware UTC), prices are `Money`."""

    start: datetime
    open: Money
    high: Money
    low: Money
    close: Money
    volume: int


class Signal(Protocol):
    """Decides an entry from the bars of this session so far, oldest first, never empty."""

    def __call__(self, bars: Sequence[Bar], /) -> bool:
        """Return whether to buy now."""
        ...


def crossover(bars: Sequence[Bar], /) -> bool:
    """Return whether the newest close rose above its average, from strictly below its own.

    The closes are compared as 20*close against the sum of 20 closes, so a tie is a tie and
    never a signal.
    """
    if len(bars) < NEEDED:
        return False
    closes = [bar.close for bar in bars[-NEEDED:]]
    newest = sum(closes[1:])
    before = newest - closes[-1] + closes[0]
    return WINDOW * closes[-2] < before and WINDOW * closes[-1] > newest
