"""What the exchange knows of its market: no bar is visible before its minute is over.

Every question about a price names a time, and only bars that have ended by then count. A day of
the market's bars has the trading hours given with them. Every other date has those of the New
York Stock Exchange, so that the clock and the calendar always have a next session.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache

from scalper.core.pricing import Money
from scalper.core.session import MINUTE, Session
from scalper.core.signal import Bar
from workbench.market.model import Market, MarketDay, sessions_between

FIRST_YEAR, LAST_YEAR = 1970, 2101
"""The dates that have sessions here."""


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
        """Return the symbol's last bar inside the session's hours; None if it has none."""
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


@cache
def _new_york(first_year: int, last_year: int) -> dict[date, Session]:
    """Return New York's sessions of whole years; cached, because it takes a second."""
    return sessions_between(date(first_year, 1, 1), date(last_year, 12, 31))


class Hours:
    """All sessions, ascending; the market's own win over the calendar's."""

    def __init__(self, days: Mapping[date, MarketDay]) -> None:
        """Span the years of the market's days and one more on either side."""
        self._own = {day: entry.session for day, entry in days.items()}
        self._sessions: tuple[Session, ...] = ()
        self._span = (0, 0)
        self._cover(min(self._own).year - 1, max(self._own).year + 1)

    def _cover(self, first_year: int, last_year: int) -> None:
        merged = _new_york(first_year, last_year) | self._own
        self._sessions = tuple(merged[day] for day in sorted(merged))
        self._days = tuple(session.day for session in self._sessions)
        self._opens = tuple(session.open for session in self._sessions)
        self._closes = tuple(session.close for session in self._sessions)
        self._span = (first_year, last_year)

    def _widen(self, first: date, last: date) -> None:
        """Take in the years of a date range; a year beyond, so that a next session exists."""
        low = min(self._span[0], max(first.year - 1, FIRST_YEAR))
        high = max(self._span[1], min(last.year + 1, LAST_YEAR))
        if (low, high) != self._span:
            self._cover(low, high)

    def on(self, first: date, last: date) -> tuple[Session, ...]:
        """Return the sessions of the dates from `first` to `last`, both included."""
        if first > last:
            return ()
        self._widen(first, last)
        return self._sessions[bisect_left(self._days, first) : bisect_right(self._days, last)]

    def at(self, now: datetime) -> Session | None:
        """Return the session that is open at `now`; None outside regular hours."""
        session = self.closing_after(now)
        return session if session.holds(now) else None

    def closing_after(self, now: datetime) -> Session:
        """Return the first session whose close is after `now`: where a day order works."""
        self._widen(now.date(), now.date())
        return self._sessions[bisect_right(self._closes, now)]

    def opening_after(self, now: datetime) -> Session:
        """Return the first session whose open is after `now`."""
        self._widen(now.date(), now.date())
        return self._sessions[bisect_right(self._opens, now)]

    def after(self, session: Session) -> Session:
        """Return the session that follows."""
        return self.opening_after(session.open)
