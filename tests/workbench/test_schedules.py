"""The schedules as EventBridge Scheduler would fire them, and what template.yaml makes of them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from scalper.core.session import MINUTE
from workbench.market.model import sessions_between
from workbench.template.declared import load_template
from workbench.template.schedules import Schedule, schedules_of

NEW_YORK = ZoneInfo("America/New_York")
REGULAR = date(2025, 9, 17)
HALF = date(2025, 11, 28)


def schedule(expression: str, zone: str | None = None, given: str | None = None) -> Schedule:
    """Return the one schedule of a template with this expression."""
    properties = {"ScheduleExpression": expression}
    if zone:
        properties["ScheduleExpressionTimezone"] = zone
    if given:
        properties["Input"] = given
    function = {
        "Type": "AWS::Serverless::Function",
        "Properties": {
            "Handler": "tick.handler",
            "Events": {
                "One": {"Type": "ScheduleV2", "Properties": properties},
                "Queue": {"Type": "SQS", "Properties": {}},
            },
        },
    }
    template = {"Resources": {"F": function, "Table": {"Type": "AWS::DynamoDB::Table"}}}
    [found] = schedules_of(template)
    return found


@pytest.mark.parametrize(
    ("fields", "due", "not_due"),
    [
        ("* * * * ? *", ["2025-09-17T00:00", "2025-12-31T23:59"], []),
        ("0 16 ? * MON-FRI *", ["2025-09-17T16:00"], ["2025-09-17T16:01", "2025-09-20T16:00"]),
        ("31-59 9 * * ? *", ["2025-09-17T09:31", "2025-09-17T09:59"], ["2025-09-17T09:30"]),
        ("0-55/5 10-15 ? * * *", ["2025-09-17T15:55"], ["2025-09-17T15:56", "2025-09-17T16:00"]),
        ("25-55/5 9 ? * * *", ["2025-09-17T09:25", "2025-09-17T09:30"], ["2025-09-17T09:20"]),
        ("10/20 * ? * * *", ["2025-09-17T01:10", "2025-09-17T01:50"], ["2025-09-17T01:00"]),
        ("*/15 * ? * * *", ["2025-09-17T01:45"], ["2025-09-17T01:50"]),
        ("0,30 9,16 ? * * *", ["2025-09-17T09:30", "2025-09-17T16:00"], ["2025-09-17T10:30"]),
        ("0 0 1 1 ? *", ["2026-01-01T00:00"], ["2026-01-02T00:00", "2026-02-01T00:00"]),
        ("0 0 1 JAN,jul ? *", ["2026-07-01T00:00"], ["2026-06-01T00:00"]),
        ("0 0 ? * 1 *", ["2025-09-21T00:00"], ["2025-09-22T00:00"]),
        ("0 0 ? * SUN,7 *", ["2025-09-20T00:00", "2025-09-21T00:00"], ["2025-09-19T00:00"]),
        ("0 0 ? * mon-fri 2026", ["2026-01-02T00:00"], ["2025-09-17T00:00", "2027-01-01T00:00"]),
    ],
)
def test_a_cron_expression_fires_in_its_minutes_and_in_no_other(fields, due, not_due):
    found = schedule(f"cron({fields})")
    for text in due:
        assert found.is_due(datetime.fromisoformat(text).replace(tzinfo=UTC)), text
    for text in not_due:
        assert not found.is_due(datetime.fromisoformat(text).replace(tzinfo=UTC)), text


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minute)",
        "at(2025-09-17T16:00:00)",
        "cron(0 16 * * MON-FRI)",
        "cron(0 16 ? * MON-FRI * *)",
        "cron(60 16 ? * * *)",
        "cron(0 24 ? * * *)",
        "cron(0 0 0 * ? *)",
        "cron(0 0 ? * 8 *)",
        "cron(0 0 ? * MON#2 *)",
        "cron(0 0 L * ? *)",
        "cron(x 0 ? * * *)",
        "cron()",
    ],
)
def test_what_is_no_plain_cron_expression_is_refused_instead_of_misread(expression):
    with pytest.raises(ValueError, match=r".+"):
        schedule(expression)


def test_the_wall_clock_of_the_zone_counts_before_and_after_the_change_to_summer_time():
    open_at_half_past_nine = schedule("cron(30 9 ? * MON-FRI *)", "America/New_York")
    assert open_at_half_past_nine.is_due(datetime(2025, 3, 7, 14, 30, tzinfo=UTC))
    assert not open_at_half_past_nine.is_due(datetime(2025, 3, 7, 13, 30, tzinfo=UTC))
    assert open_at_half_past_nine.is_due(datetime(2025, 3, 10, 13, 30, tzinfo=UTC))
    assert not open_at_half_past_nine.is_due(datetime(2025, 3, 10, 14, 30, tzinfo=UTC))
    assert open_at_half_past_nine.is_due(datetime(2025, 10, 31, 13, 30, tzinfo=UTC))
    assert open_at_half_past_nine.is_due(datetime(2025, 11, 3, 14, 30, tzinfo=UTC))


def test_the_day_of_the_week_is_the_zones_not_utcs():
    friday_evening = schedule("cron(0 20 ? * FRI *)", "America/New_York")
    assert friday_evening.is_due(datetime(2025, 9, 20, 0, 0, tzinfo=UTC))
    assert not friday_evening.is_due(datetime(2025, 9, 19, 0, 0, tzinfo=UTC))


def test_the_placeholder_becomes_the_minute_in_utc_wherever_it_stands():
    given = '{"scheduled_time": "<aws.scheduler.scheduled-time>", "shard": 0, "of": ["<aws.x>"]}'
    found = schedule("cron(0 16 ? * * *)", "America/New_York", given)
    at = datetime(2025, 9, 17, 16, 0, tzinfo=NEW_YORK)
    assert found.event(at.astimezone(UTC)) == {
        "scheduled_time": "2025-09-17T20:00:00Z",
        "shard": 0,
        "of": ["<aws.x>"],
    }


def test_a_schedule_without_input_sends_an_empty_event():
    assert schedule("cron(0 16 ? * * *)").event(datetime(2025, 9, 17, 16, 0, tzinfo=UTC)) == {}


# --- template.yaml -----------------------------------------------------------------------------


def fired(handler: str, day: date) -> list[datetime]:
    """Return each minute of a New York date in which template.yaml's schedules fire a function."""
    own = [one for one in schedules_of(load_template()) if one.handler == handler]
    return [at for at in minutes_of(day) for one in own if one.is_due(at)]


def minutes_of(day: date) -> Iterator[datetime]:
    at = datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).astimezone(UTC)
    end = at + timedelta(days=1)
    while at < end:
        yield at
        at += MINUTE


def wall(times: list[datetime]) -> list[str]:
    return [f"{at.astimezone(NEW_YORK):%H:%M}" for at in times]


@pytest.mark.parametrize("day", [REGULAR, date(2025, 3, 7), date(2025, 3, 10), date(2025, 11, 3)])
def test_the_ticks_are_the_390_minutes_of_a_regular_session_each_once(day):
    ticks = fired("tick.handler", day)
    session = sessions_between(day, day)[day]
    assert ticks == list(session.ticks())
    assert len(ticks) == len(set(ticks)) == 390


def test_every_tick_of_a_half_day_is_fired():
    session = sessions_between(HALF, HALF)[HALF]
    assert len(session.ticks()) == 210
    assert set(session.ticks()) <= set(fired("tick.handler", HALF))


@pytest.mark.parametrize("day", [date(2025, 9, 20), date(2025, 9, 21)])
def test_nothing_is_fired_on_a_weekend(day):
    assert not any(
        one.is_due(at) for one in schedules_of(load_template()) for at in minutes_of(day)
    )


def test_the_liquidation_is_fired_each_minute_from_five_before_either_close():
    expected = [f"12:{n}" for n in range(55, 60)] + [f"15:{n}" for n in range(55, 60)]
    assert wall(fired("liquidate.handler", REGULAR)) == expected
    for day in (REGULAR, HALF):
        assert sessions_between(day, day)[day].liquidate_at in fired("liquidate.handler", day)


def test_the_day_is_closed_five_minutes_after_either_close():
    assert wall(fired("close_day.handler", REGULAR)) == ["13:05", "16:05"]


def test_the_relay_is_looked_after_each_minute_from_before_the_open_to_the_close():
    times = fired("relay.handler", REGULAR)
    assert wall(times)[0] == "09:25"
    assert wall(times)[-1] == "15:59"
    assert {later - earlier for earlier, later in pairwise(times)} == {MINUTE}


def test_every_schedule_tells_its_function_the_minute():
    at = datetime(2025, 9, 17, 14, 0, tzinfo=UTC)
    for one in schedules_of(load_template()):
        assert one.event(at)["scheduled_time"] == "2025-09-17T14:00:00Z"
