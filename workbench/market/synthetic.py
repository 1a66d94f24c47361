"""A made-up market that trades like one: seeded, the same bars on every machine and Python.

Only `random.Random.random` is used, whose sequence Python keeps, and only + - * / and square
roots, which every processor rounds alike: the same seed gives the same cents everywhere.

Each symbol has a fair value that wanders, and a price that strays from it and comes back within
some minutes, which is what a scalper lives on. Range and volume are high after the open, low at
noon and high again before the close; quiet minutes are missing, more so outside regular hours.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from math import sqrt

from scalper.core.pricing import CENT, DOLLAR, Money
from scalper.core.session import MINUTE
from scalper.core.signal import Bar
from workbench.market.bars.fields import BarsError
from workbench.market.model import Market, MarketDay, sessions_between

DAY = date(2025, 9, 17)
"""A Wednesday with regular hours, 09:30 to 16:00."""
MAX_SYMBOLS = 99

PREMARKET = timedelta(hours=2)
AFTER_HOURS = timedelta(hours=2)
STEPS = 12
"""Trades looked at within a minute: enough for wicks on both sides of a candle."""
RETURN = 0.92
"""How much of a stray from the fair value is left a minute later: half of it after 8 minutes."""
LEAST = 500 * CENT
"""Five dollars: a liquid symbol's price does not wander below."""

# Dollars a share at the open, and shares traded in a middling minute.
_KINDS = (
    (8.4, 90_000),
    (14.2, 60_000),
    (23.7, 35_000),
    (37.5, 24_000),
    (52.9, 16_000),
    (84.6, 11_000),
    (128.3, 8_000),
    (187.1, 6_500),
    (264.8, 4_200),
    (431.5, 2_600),
)


def synthetic_market(seed: int, symbols: int = 10, day: date = DAY) -> Market:
    """Return one session of `symbols` made-up symbols, SYN01 and on, each with bars of its own.

    A symbol's bars depend on the seed and its name alone, not on how many others there are.
    Raises BarsError where `day` has no session or the number of symbols is out of bounds.
    """
    if not 1 <= symbols <= MAX_SYMBOLS:
        raise BarsError(f"a synthetic market has 1 to {MAX_SYMBOLS} symbols, not {symbols}")
    session = sessions_between(day, day).get(day)
    if session is None:
        raise BarsError(f"no session on {day:%A} {day} in New York")
    bars = {}
    for number in range(1, symbols + 1):
        maker = _Maker.of(random.Random(f"{seed} {number}"), *_KINDS[(number - 1) % len(_KINDS)])
        bars[f"SYN{number:02d}"] = tuple(maker.bars(session.open, session.close))
    return Market((MarketDay(session, bars),), True, f"synthetic market, seed {seed}")


@dataclass(slots=True)
class _Maker:
    """One symbol on its way through the day; money is in dollars here, and floats, till a bar."""

    chance: random.Random
    fair: float
    stray: float
    turbulence: float
    drift: float
    shares: int
    missing: float

    @classmethod
    def of(cls, chance: random.Random, price: float, shares: int) -> "_Maker":
        """Return a maker whose level, liveliness and trend of the day are drawn by chance."""
        return cls(
            chance,
            fair=price * (0.85 + 0.3 * chance.random()),
            stray=0.0,
            # Share of the price by which a middling minute moves: 4 to 8 hundredths of a percent.
            turbulence=0.0004 + 0.0004 * chance.random(),
            # The day's trend, spread over its minutes: -1.2 % to +1.2 %.
            drift=(chance.random() - 0.5) * 0.024 / 390,
            shares=shares,
            missing=0.03 * chance.random() * chance.random(),
        )

    def bars(self, opens: datetime, closes: datetime) -> Iterator[Bar]:
        """Yield the day's bars, from before the open until after the close."""
        length = (closes - opens) // MINUTE
        minutes = range(-(PREMARKET // MINUTE), length + AFTER_HOURS // MINUTE)
        for minute in minutes:
            regular = 0 <= minute < length
            bustle = _bustle(minute / (length - 1)) if regular else 0.35
            # The first minute and the last ones are never missing: the busiest of all.
            at_edge = minute == 0 or length - 10 <= minute < length
            absent = (self.missing / bustle if not at_edge else 0.0) if regular else 0.82
            drawn = self.chance.random()
            bar = self._bar(opens + minute * MINUTE, bustle, regular)
            if drawn >= absent:
                yield bar

    def _bar(self, start: datetime, bustle: float, regular: bool) -> Bar:
        """Return the next minute's bar; the price goes on from where it was."""
        step = self.turbulence * bustle / sqrt(STEPS)
        if self.chance.random() < 0.004:
            self.fair *= 1 + 6 * self.turbulence * self._normal()  # news
        path: list[Money] = []
        for _ in range(STEPS):
            self.fair *= 1 + 0.6 * step * self._normal()
            self.stray += step * self._normal()
            half_spread = (self.chance.random() - 0.5) * 0.00008
            path.append(_on_grid(self.fair * (1 + self.stray + half_spread)))
        self.stray *= RETURN
        self.fair *= 1 + self.drift
        moved = (max(path) - min(path)) / path[0] / self.turbulence
        volume = self.shares * bustle * bustle * (0.35 + 0.4 * moved) * (0.5 + self.chance.random())
        if not regular:
            volume *= 0.02
        # Round lots mostly; odd lots print too.
        lots = max(1, int(volume / 100)) * 100 + int(self.chance.random() * 100)
        return Bar(start, path[0], max(path), min(path), path[-1], lots)

    def _normal(self) -> float:
        """Return a draw with mean 0 and variance 1: six uniform ones, centred and scaled."""
        draw = self.chance.random
        return (draw() + draw() + draw() + draw() + draw() + draw() - 3.0) * 1.4142135623730951


def _bustle(share: float) -> float:
    """Return how lively the session is when `share` of it has passed: 1 in the middle, about.

    3.2 at the open falling within the first hour, 0.75 at noon, 1.9 at the close.
    """
    left = max(0.0, 1 - share / 0.22)
    right = max(0.0, 1 - (1 - share) / 0.15)
    return 0.75 + 0.25 * abs(2 * share - 1) + 2.2 * left * left + 0.9 * right * right


def _on_grid(dollars: float) -> Money:
    """Return the price in whole cents."""
    return max(LEAST, int(dollars * DOLLAR / CENT + 0.5) * CENT)
