"""The synthetic market: a seed gives the same bars on every machine and every Python.

It uses `random.Random.random` alone, whose sequence Python never changes, and only + - * / and
square roots, which every processor rounds alike. So a seed gives the same cents everywhere.

Each symbol has a fair value that wanders. Its price leaves the fair value and comes back within
some minutes; a scalper earns by that. Range and volume are high after the open, low at noon and
high again before the close. Some minutes have no bar, and more have none outside regular hours.
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
"""Synthetic symbols end with two digits: SYN01 to SYN99."""

PREMARKET = timedelta(hours=2)
AFTER_HOURS = timedelta(hours=2)
"""How long before the open and after the close there are bars."""

STEPS = 12
"""Prices within a minute: enough for wicks on both sides of a candle."""

RETURN = 0.92
"""How much of a distance from the fair value is left a minute later: half after 8 minutes."""

LEAST = 500 * CENT
"""No price falls below five dollars."""

# Dollars a share at the open, and shares traded in an average minute.
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
    """Return one session of `symbols` synthetic symbols, SYN01 and on, each with bars of its own.

    The bars of a symbol depend on the seed and on its name alone.
    Raises BarsError if `day` has no session or the number of symbols is out of bounds.
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
    """Makes the bars of one symbol. Prices are dollars as floats until they become a bar."""

    chance: random.Random
    fair: float
    distance: float
    volatility: float
    drift: float
    shares: int
    missing: float

    @classmethod
    def of(cls, chance: random.Random, price: float, shares: int) -> "_Maker":
        """Return a maker with a random price level, volatility and trend of the day."""
        return cls(
            chance,
            fair=price * (0.85 + 0.3 * chance.random()),
            distance=0.0,
            # The move of an average minute, as a share of the price: 0.04 % to 0.08 %.
            volatility=0.0004 + 0.0004 * chance.random(),
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
            activity = _activity(minute / (length - 1)) if regular else 0.35
            # The first minute and the last ten are never missing: they are the busiest.
            at_edge = minute == 0 or length - 10 <= minute < length
            absent = (self.missing / activity if not at_edge else 0.0) if regular else 0.82
            drawn = self.chance.random()
            bar = self._bar(opens + minute * MINUTE, activity, regular)
            if drawn >= absent:
                yield bar

    def _bar(self, start: datetime, activity: float, regular: bool) -> Bar:
        """Return the bar of the next minute, which goes on from the last price."""
        step = self.volatility * activity / sqrt(STEPS)
        if self.chance.random() < 0.004:
            self.fair *= 1 + 6 * self.volatility * self._normal()  # news
        path: list[Money] = []
        for _ in range(STEPS):
            self.fair *= 1 + 0.6 * step * self._normal()
            self.distance += step * self._normal()
            half_spread = (self.chance.random() - 0.5) * 0.00008
            path.append(_on_grid(self.fair * (1 + self.distance + half_spread)))
        self.distance *= RETURN
        self.fair *= 1 + self.drift
        moved = (max(path) - min(path)) / path[0] / self.volatility
        volume = (
            self.shares * activity * activity * (0.35 + 0.4 * moved) * (0.5 + self.chance.random())
        )
        if not regular:
            volume *= 0.02
        # Volume is mostly in hundreds of shares.
        lots = max(1, int(volume / 100)) * 100 + int(self.chance.random() * 100)
        return Bar(start, path[0], max(path), min(path), path[-1], lots)

    def _normal(self) -> float:
        """Return a random number with mean 0 and variance 1, made of six uniform ones."""
        draw = self.chance.random
        return (draw() + draw() + draw() + draw() + draw() + draw() - 3.0) * 1.4142135623730951


def _activity(share: float) -> float:
    """Return how active trading is after a `share` of the session, from 0 to 1.

    It is 3.2 at the open and falls within the first hour; it is 0.75 at noon and 1.9 at the close.
    """
    left = max(0.0, 1 - share / 0.22)
    right = max(0.0, 1 - (1 - share) / 0.15)
    return 0.75 + 0.25 * abs(2 * share - 1) + 2.2 * left * left + 0.9 * right * right


def _on_grid(dollars: float) -> Money:
    """Return the price in whole cents."""
    return max(LEAST, int(dollars * DOLLAR / CENT + 0.5) * CENT)
