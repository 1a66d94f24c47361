"""The minute bars of a simulated day; the fault plan makes some late, missing or broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from scalper.core.pricing import CENT, DOLLAR, Money
from scalper.core.signal import Bar
from scalper.shell.errors import BrokerDownError
from scalper.shell.ports import Bars
from workbench.faults.kinds import FaultKind
from workbench.simulation.fault_plan import BAR, READ, SimulatedFaultPlan
from workbench.simulation.scheduler import MINUTE, SECOND, Scheduler

OPERATIONS = frozenset({"market.bars"})
_BAR = timedelta(minutes=1)
_BACKWARDS = "end should not be before start"
"""The broker's message for a 400."""


@dataclass(frozen=True, slots=True)
class Edition:
    """A bar as the market data shows it from a time on; None is a bar that makes no sense."""

    known_at: int
    bar: Bar | None


@dataclass(slots=True, eq=False)
class SimulatedMarket:
    """The MarketData protocol over a random walk for each symbol."""

    scheduler: Scheduler
    editions: dict[str, list[tuple[Edition, ...]]]
    """By symbol, for each minute of the session: its editions in the order of time."""
    closes: dict[str, list[Money]]

    def bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Bars:
        """Return the bars whose starts lie in [start, end]; a symbol may be missing."""

        def effect(fault: FaultKind | None) -> Bars:
            if fault is FaultKind.READ_LOST:
                raise BrokerDownError("no answer")
            if start > end:
                return Bars({}, tuple(f"{symbol}: {_BACKWARDS}" for symbol in symbols))
            # The first bar that starts at `start` or after it, and the first one after `end`.
            first = max(-((self.scheduler.opens - start) // _BAR), 0)
            beyond = max((end - self.scheduler.opens) // _BAR + 1, 0)
            now = self.scheduler.now
            found: dict[str, list[Bar]] = {}
            refused: list[str] = []
            for symbol in symbols:
                for editions in self.editions.get(symbol, ())[first:beyond]:
                    told = None
                    for edition in editions:
                        if edition.known_at <= now:
                            told = edition
                    if told is None:
                        continue
                    if told.bar is None:
                        refused.append(f"{symbol}: prices out of order")
                    else:
                        found.setdefault(symbol, []).append(told.bar)
            return Bars(found, tuple(refused))

        return self.scheduler.call("market.bars", READ, effect)

    def last_trade(self, symbol: str) -> Money:
        """Return the symbol's present price."""
        minute = min(self.scheduler.now // MINUTE, len(self.closes[symbol]) - 1)
        return self.closes[symbol][minute]


def market_of(scheduler: Scheduler, symbols: Sequence[str], minutes: int) -> SimulatedMarket:
    """Return the bars of a seed's day."""
    numbers = Random(f"bars {scheduler.seed}")
    market = SimulatedMarket(scheduler, {}, {})
    for symbol in symbols:
        price = numbers.randrange(20, 400) * DOLLAR
        closes: list[Money] = []
        editions = []
        for minute in range(minutes):
            price = max(price + numbers.randint(-8, 8) * 5 * CENT, 5 * DOLLAR)
            closes.append(price)
            bar = _bar(scheduler.time(minute * MINUTE), price)
            ends = (minute + 1) * MINUTE
            editions.append(
                _editions(
                    scheduler.plan, bar, ends, numbers.uniform(0.5, 3.0), f"{symbol} {minute}"
                )
            )
        market.closes[symbol] = closes
        market.editions[symbol] = editions
    return market


def _bar(start: datetime, close: Money) -> Bar:
    return Bar(start, close - CENT, close + 2 * CENT, close - 2 * CENT, close, 1000)


def _editions(
    plan: SimulatedFaultPlan, bar: Bar, ends: int, delay_s: float, where: str
) -> tuple[Edition, ...]:
    known_at = ends + int(delay_s * SECOND)
    match plan.one_of(BAR, 0.18, where):
        case FaultKind.BAR_MISSING:
            return ()
        case FaultKind.BAR_BROKEN:
            return (Edition(known_at, None),)
        case FaultKind.BAR_LATE:
            return (Edition(known_at + int(plan.amount(5, 100) * SECOND), bar),)
        case FaultKind.BAR_REVISED:
            revised = _bar(bar.start, bar.close + 3 * CENT)
            return Edition(known_at, bar), Edition(known_at + 30 * SECOND, revised)
    return (Edition(known_at, bar),)


@dataclass(slots=True)
class FrequentSignal:
    """A signal that buys far more often than a trader would, by the newest close alone."""

    one_in: int = field(default=3)

    def __call__(self, bars: Sequence[Bar], /) -> bool:
        """Return whether to buy now."""
        return (bars[-1].close // CENT + 7 * len(bars)) % self.one_in == 0
