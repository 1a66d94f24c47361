"""What the exchange knows of prices: no bar is visible before its minute is over.

Every look at a price goes through a time, and only bars that have ended by then are seen.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from scalper.core.pricing import Money
from scalper.core.session import MINUTE
from scalper.core.signal import Bar
from workbench.market.model import Market, MarketDay


@dataclass(frozen=True, slots=True)
class _Column:
    """All bars of one symbol, ascending, with their starts beside them for searching."""

    bars: tuple[Bar, ...]
    starts: tuple[datetime, ...]


class Tape:
    """The bars of a market, by symbol and by day, as seen at a time."""

    def __init__(self, market: Market) -> None:
        """Index the market's bars; they are sorted within each day already."""
        self.days: dict[date, MarketDay] = {day.session.day: day for day in market.days}
        self._at: dict[tuple[str, datetime], Bar] = {}
        columns: dict[str, list[Bar]] = {}
        for day in market.days:
            for symbol, bars in day.bars.items():
                columns.setdefault(symbol, []).extend(bars)
                self._at.update({(symbol, bar.start): bar for bar in bars})
        self.symbols = tuple(sorted(columns))
        self._columns = {
            symbol: _Column(tuple(bars), tuple(bar.start for bar in bars))
            for symbol, bars in columns.items()
        }

    def knows(self, symbol: str) -> bool:
        """Return whether the market has a bar of this symbol on any day."""
        return symbol in self._columns

    def bar(self, symbol: str, start: datetime) -> Bar | None:
        """Return the symbol's bar that starts at `start`, whatever the time is now."""
        return self._at.get((symbol, start))

    def between(
        self, symbol: str, first: datetime, last: datetime, *, now: datetime
    ) -> Sequence[Bar]:
        """Return bars with first <= start <= last that have ended by `now`, ascending."""
        column = self._columns.get(symbol)
        if column is None:
            return ()
        low = bisect_left(column.starts, first)
        high = bisect_right(column.starts, min(last, now - MINUTE))
        return column.bars[low:high]

    def latest(self, symbol: str, *, now: datetime) -> Bar | None:
        """Return the newest bar that has ended by `now`, out-of-hours ones included."""
        column = self._columns.get(symbol)
        if column is None:
            return None
        ended = bisect_right(column.starts, now - MINUTE)
        return column.bars[ended - 1] if ended else None

    def last_of_session(self, symbol: str, day: MarketDay) -> Bar | None:
        """Return the symbol's last bar inside the session's hours; None where it has none."""
        for bar in reversed(day.bars.get(symbol, ())):
            if day.session.holds(bar.start):
                return bar
        return None

    def daily(self, symbol: str, day: MarketDay, *, now: datetime) -> Bar | None:
        """Return the regular hours of a day so far as one bar; None before its first one."""
        session = day.session
        last = session.close - timedelta(microseconds=1)
        bars = self.between(symbol, session.open, last, now=now)
        if not bars:
            return None
        return Bar(
            start=session.open,
            open=bars[0].open,
            high=max(bar.high for bar in bars),
            low=min(bar.low for bar in bars),
            close=bars[-1].close,
            volume=sum(bar.volume for bar in bars),
        )

    def day_before(self, today: date) -> MarketDay | None:
        """Return the newest day of the market before `today`."""
        earlier = [day for day in self.days if day < today]
        return self.days[max(earlier)] if earlier else None


def typical_price(bar: Bar) -> Money:
    """Return (high + low + close) / 3: the stand-in for a volume-weighted price."""
    return (bar.high + bar.low + bar.close) // 3


def trades_estimate(bar: Bar) -> int:
    """Return a trade count for a bar that has none: one for each started hundred shares."""
    return -(-bar.volume // 100)
