"""A market: days of bars and their sessions, with half-days and holidays."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from scalper.core.session import NEW_YORK, Session
from scalper.core.signal import Bar

HOURS = ("open", "close")


@dataclass(frozen=True, slots=True)
class MarketDay:
    """One session, and every bar of its New York date, also those outside its hours."""

    session: Session
    bars: Mapping[str, tuple[Bar, ...]]
    """By symbol (sorted), ascending by start."""

    def session_bars(self, symbol: str) -> tuple[Bar, ...]:
        """Return the symbol's bars inside the session's hours. Only these are traded on."""
        return tuple(bar for bar in self.bars.get(symbol, ()) if self.session.holds(bar.start))


@dataclass(frozen=True, slots=True)
class Market:
    """Days of bars, ascending; each has at least one bar inside its session's hours."""

    days: tuple[MarketDay, ...]
    synthetic: bool
    source: str
    """Its name for people: file names, or "synthetic market, seed 7"."""
    refused: tuple[str, ...] = ()
    """One line for each row that was left out."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol with a bar inside some session's hours, sorted."""
        return tuple(
            sorted(
                {
                    symbol
                    for day in self.days
                    for symbol, bars in day.bars.items()
                    if any(day.session.holds(bar.start) for bar in bars)
                }
            )
        )

    @property
    def bar_count(self) -> int:
        """How many bars lie inside session hours."""
        return sum(
            day.session.holds(bar.start)
            for day in self.days
            for bars in day.bars.values()
            for bar in bars
        )


def sessions_between(first: date, last: date) -> dict[date, Session]:
    """Return the New York Stock Exchange's sessions of these dates, half-days included."""
    sessions = _sessions_of_years(first.year, last.year)
    return {day: session for day, session in sessions.items() if first <= day <= last}


@lru_cache(maxsize=16)
def _sessions_of_years(first: int, last: int) -> dict[date, Session]:
    import exchange_calendars  # its import takes half a second, which other commands save

    calendar = exchange_calendars.get_calendar("XNYS", start=f"{first}-01-01", end=f"{last}-12-31")
    opens, closes = (calendar.schedule[name].dt.tz_convert(str(NEW_YORK)) for name in HOURS)
    return {
        day.date(): Session.of(day.date(), start.time(), end.time())
        for day, start, end in zip(calendar.schedule.index, opens, closes, strict=True)
    }
