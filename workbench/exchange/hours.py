"""The sessions the exchange knows: those of its bars, and New York's calendar around them.

A day of the market's bars has the hours given with them; every other date has those of
the New York Stock Exchange, so that the clock and the calendar have a next session to name.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache

from scalper.core.session import Session
from workbench.market.model import MarketDay, sessions_between

FIRST_YEAR, LAST_YEAR = 1970, 2101
"""The dates that have sessions here."""


@cache
def _new_york(first_year: int, last_year: int) -> dict[date, Session]:
    """Return New York's sessions of whole years; kept, for building them takes a second."""
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
