"""The minutes at which the expanded template's schedules fire, read from their cron expressions."""

import re
from datetime import date, datetime

from tests.template.conftest import Template
from tests.template.parts import of_type

WEEKDAYS = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]


def allowed(field: str, every: range) -> set[int]:
    """Return the numbers that one field of a cron expression stands for."""
    if field == "*":
        return set(every)
    match = re.fullmatch(r"(\d+)(?:-(\d+)(?:/(\d+))?)?", field)
    assert match, f"this test does not read {field!r}"
    first, last, step = match.groups()
    return set(range(int(first), int(last or first) + 1, int(step or 1)))


def fires(expression: str, day: date) -> list[datetime]:
    """Return the minutes, by the clock of the schedule's zone, at which it fires on `day`."""
    match = re.fullmatch(r"cron\((\S+) (\S+) \? \* (\w{3})-(\w{3}) \*\)", expression)
    assert match, f"this test does not read {expression!r}"
    minutes, hours, first, last = match.groups()
    if not WEEKDAYS.index(first) <= day.weekday() <= WEEKDAYS.index(last):
        return []
    return [
        datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 the schedule's zone
        for hour in sorted(allowed(hours, range(24)))
        for minute in sorted(allowed(minutes, range(60)))
    ]


def times(template: Template, function: str, day: date) -> list[str]:
    """Return the minutes HH:MM at which the schedules of a function fire on `day`."""
    target = {"Fn::GetAtt": [function, "Arn"]}
    return sorted(
        at.strftime("%H:%M")
        for schedule in of_type(template, "AWS::Scheduler::Schedule").values()
        if schedule["Properties"]["Target"]["Arn"] == target
        for at in fires(schedule["Properties"]["ScheduleExpression"], day)
    )
