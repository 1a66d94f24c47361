"""Regular trading hours in New York. No other module of the core knows a time zone.

Everywhere else a time is an aware UTC `datetime`. A session's hours come from the broker's
calendar (Alpaca `GET /v2/calendar`: date, open, close as "HH:MM" New York time), so half-days
and daylight saving need no rule of their own here.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
MINUTE = timedelta(minutes=1)
LIQUIDATION_LEAD = timedelta(minutes=5)
"""How long before the close everything is liquidated."""


@dataclass(frozen=True, slots=True)
class Session:
    """Regular hours of one day, [open, close), both aware UTC."""

    day: date
    open: datetime
    close: datetime

    @classmethod
    def of(cls, day: date, opens: str | time, closes: str | time) -> "Session":
        """Return the session of `day` with New York wall-clock hours such as "09:30".

        Raises ValueError if a time cannot be read, or if the session is not longer than
        `LIQUIDATION_LEAD`.
        """
        start = to_utc(day, opens)
        end = to_utc(day, closes)
        if end - start <= LIQUIDATION_LEAD:
            raise ValueError(f"{day}: the session closes at {closes}, opened at {opens}")
        return cls(day, start, end)

    @property
    def liquidate_at(self) -> datetime:
        """When the liquidation begins: from then on nothing is entered and everything is sold."""
        return self.close - LIQUIDATION_LEAD

    def holds(self, start: datetime) -> bool:
        """Return whether a bar that starts at `start` belongs to this session."""
        return self.open <= start < self.close

    def ticks(self) -> list[datetime]:
        """Return the end of each minute, from open + 1 minute to the close: when ticks decide."""
        minutes = (self.close - self.open) // MINUTE
        return [self.open + n * MINUTE for n in range(1, minutes + 1)]


def to_utc(day: date, wall: str | time) -> datetime:
    """Return the aware UTC time of a New York wall-clock time on `day`."""
    clock = time.fromisoformat(wall) if isinstance(wall, str) else wall
    return datetime.combine(day, clock, NEW_YORK).astimezone(UTC)


def new_york_day(at: datetime) -> date:
    """Return the New York date of an aware time."""
    return at.astimezone(NEW_YORK).date()


def new_york_text(at: datetime) -> str:
    """Return an aware time as New York wall-clock text, for people: "15:55"."""
    return at.astimezone(NEW_YORK).strftime("%H:%M")


def utc_text(at: datetime) -> str:
    """Return an aware time as files and schedules have it, to the second: 2026-07-01T13:30:00Z."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def floor_minute(at: datetime) -> datetime:
    """Return the whole minute that `at` lies in."""
    return at.replace(second=0, microsecond=0)


def parse_time(text: str) -> datetime:
    """Return an RFC 3339 time with up to nine fractional digits as aware UTC, to the microsecond.

    Raises ValueError if the text is no such time, or has no offset.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"a time without an offset: {text!r}")
    return at.astimezone(UTC)
