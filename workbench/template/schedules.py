"""The schedules of template.yaml: which function is due at which minute, and with which input.

It reads SAM's ScheduleV2 events with cron expressions, as EventBridge Scheduler defines them:
minutes, hours, day of month, month, day of week (1-7 is SUN-SAT), year.
(https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html)
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from scalper.core.session import utc_text

PLACEHOLDER = "<aws.scheduler.scheduled-time>"

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_CRON = re.compile(r"cron\((.+)\)")


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule: a handler, its input, and the minutes of its time zone at which it fires."""

    handler: str
    input: str
    zone: ZoneInfo
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    years: frozenset[int]

    def is_due(self, at: datetime) -> bool:
        """Return whether the schedule fires in the whole minute `at`, an aware time."""
        wall = at.astimezone(self.zone)
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.day in self.days
            and wall.month in self.months
            and wall.isoweekday() % 7 + 1 in self.weekdays
            and wall.year in self.years
        )

    def event(self, at: datetime) -> dict[str, Any]:
        """Return the event that Scheduler sends for the minute `at`."""
        scheduled = utc_text(at)
        event: dict[str, Any] = json.loads(self.input.replace(PLACEHOLDER, scheduled))
        return event


def schedules_of(template: Mapping[str, Any]) -> list[Schedule]:
    """Return every schedule of a SAM template's functions, in the template's order.

    Raises ValueError if an expression is not a cron expression of six fields.
    """
    return [
        _schedule(function["Properties"]["Handler"], event["Properties"])
        for function in template["Resources"].values()
        if function["Type"] == "AWS::Serverless::Function"
        for event in function["Properties"].get("Events", {}).values()
        if event["Type"] == "ScheduleV2"
    ]


def _schedule(handler: str, properties: Mapping[str, Any]) -> Schedule:
    expression = properties["ScheduleExpression"]
    found = _CRON.fullmatch(expression)
    fields = found[1].split() if found else []
    if len(fields) != 6:
        raise ValueError(f"not a cron expression of six fields: {expression}")
    minutes, hours, days, months, weekdays, years = fields
    return Schedule(
        handler=handler,
        input=properties.get("Input", "{}"),
        zone=ZoneInfo(properties.get("ScheduleExpressionTimezone", "UTC")),
        minutes=frozenset(_values(minutes, 0, 59)),
        hours=frozenset(_values(hours, 0, 23)),
        days=frozenset(_values(days, 1, 31)),
        months=frozenset(_values(months, 1, 12, _MONTHS)),
        weekdays=frozenset(_values(weekdays, 1, 7, _DAYS)),
        years=frozenset(_values(years, 1970, 2199)),
    )


def _values(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> Iterator[int]:
    """Yield the values of a field: lists, ranges, steps, names, `*` and `?`."""

    def number(text: str) -> int:
        value = names.index(text.upper()) + 1 if text.upper() in names else int(text)
        if not low <= value <= high:
            raise ValueError(f"{text} is not from {low} to {high}")
        return value

    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        elif "-" in span:
            first, last = (number(end) for end in span.split("-"))
        else:
            first = number(span)
            last = high if step else first
        yield from range(first, last + 1, int(step or 1))
