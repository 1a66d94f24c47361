"""New York hours as UTC: regular days, half-days and both changes of the clock."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import pytest

from scalper.core.session import (
    MINUTE,
    NEW_YORK,
    Session,
    floor_minute,
    new_york_day,
    new_york_text,
    parse_time,
    to_utc,
    utc_text,
)


def utc(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "opens"),
    [
        (date(2026, 1, 5), utc(2026, 1, 5, 14, 30)),  # winter
        (date(2026, 3, 6), utc(2026, 3, 6, 14, 30)),  # the Friday before the clocks go forward
        (date(2026, 3, 9), utc(2026, 3, 9, 13, 30)),  # the Monday after
        (date(2026, 7, 1), utc(2026, 7, 1, 13, 30)),  # summer
        (date(2026, 10, 30), utc(2026, 10, 30, 13, 30)),  # before they go back
        (date(2026, 11, 2), utc(2026, 11, 2, 14, 30)),  # after
    ],
)
def test_regular_day_lasts_390_minutes_whatever_the_clocks_do(day: date, opens: datetime) -> None:
    session = Session.of(day, "09:30", "16:00")
    assert session.open == opens
    assert session.close == opens + 390 * MINUTE
    assert session.liquidate_at == opens + 385 * MINUTE
    assert new_york_text(session.liquidate_at) == "15:55"


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2026, 3, 8), 23), (date(2026, 11, 1), 25), (date(2026, 7, 1), 24)]
)
def test_day_of_a_clock_change_has_its_hours(day: date, hours: int) -> None:
    start, end = to_utc(day, "00:00"), to_utc(day + timedelta(days=1), "00:00")
    assert end - start == timedelta(hours=hours)


def test_half_day_is_liquidated_at_12_55() -> None:
    session = Session.of(date(2015, 12, 24), "09:30", "13:00")
    assert session.liquidate_at == utc(2015, 12, 24, 17, 55)
    assert new_york_text(session.liquidate_at) == "12:55"
    assert len(session.ticks()) == 210


def test_session_holds_the_bars_from_its_open_up_to_its_close() -> None:
    session = Session.of(date(2026, 7, 1), "09:30", "16:00")
    assert not session.holds(session.open - MINUTE)
    assert session.holds(session.open)
    assert session.holds(session.close - MINUTE)
    assert not session.holds(session.close)


def test_ticks_are_each_minute_after_the_open_the_close_included() -> None:
    session = Session.of(date(2026, 7, 1), time(9, 30), time(16))
    ticks = session.ticks()
    assert (ticks[0], ticks[-1], len(ticks)) == (session.open + MINUTE, session.close, 390)
    assert all(later - tick == MINUTE for tick, later in pairwise(ticks))


@pytest.mark.parametrize(
    ("opens", "closes"),
    [("09:30", "09:30"), ("16:00", "09:30"), ("09:30", "09:35"), ("09:30", "25:00"), ("", "16:00")],
)
def test_hours_that_make_no_session_are_refused(opens: str, closes: str) -> None:
    with pytest.raises(ValueError, match=r"closes|hour|isoformat"):
        Session.of(date(2026, 7, 1), opens, closes)


def test_new_york_day_is_not_the_utc_day_in_the_evening() -> None:
    assert new_york_day(utc(2026, 7, 2, 3, 59)) == date(2026, 7, 1)
    assert new_york_day(utc(2026, 7, 2, 4)) == date(2026, 7, 2)


def test_minute_of_a_time_is_floored() -> None:
    at = datetime(2026, 7, 1, 14, 5, 59, 999_999, tzinfo=UTC)
    assert floor_minute(at) == utc(2026, 7, 1, 14, 5)


def test_a_time_of_a_file_is_utc_to_the_second_and_reads_back() -> None:
    summer = Session.of(date(2026, 7, 1), "09:30", "16:00").open
    assert utc_text(summer) == "2026-07-01T13:30:00Z"
    assert utc_text(summer.astimezone(NEW_YORK)) == utc_text(summer)
    assert parse_time(utc_text(summer)) == summer
