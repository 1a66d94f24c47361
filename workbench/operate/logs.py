"""The functions' logs: a local run's file, or CloudWatch Logs of a deployed stack.

A line's time is that of its event, which a simulated clock may put on another day than the one on
which the line was written.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

from scalper.core.session import parse_time
from scalper.shell.aws.config import AWS_CONFIG
from scalper.shell.trading.own_orders import day_start
from workbench.operate.deployed_stack import DeployedStack, OperateError

WRITTEN_WITHIN = timedelta(minutes=1)
"""A line about a minute is written before the function's time is over."""

MAX_PAGES = 200
"""Answers of CloudWatch Logs for one log group, of up to 1 MB each."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a function's log."""

    at: datetime
    """The time of its event; without one, the time it was written, by the event's clock."""
    message: str
    level: str
    fields: Mapping[str, Any]


def read_lines(texts: Iterable[str]) -> list[LogLine]:
    """Return the JSON lines of the functions' logger, by their time; other lines are left out.

    A line without `event_at` takes the event's time of the line that was written nearest to it, and
    what passed since, if that line was written before.
    """
    written = sorted(filter(None, map(_parsed, texts)), key=lambda one: one[0])
    dated = [
        (stamp, at)
        for stamp, fields in written
        if (at := _time(fields.get("event_at"))) is not None
    ]
    lines = [
        LogLine(
            _time(fields.get("event_at")) or _time_by_neighbours(stamp, dated),
            str(fields["message"]),
            str(fields.get("level", "")),
            fields,
        )
        for stamp, fields in written
    ]
    return sorted(lines, key=lambda line: line.at)


def _time_by_neighbours(stamp: datetime, dated: Sequence[tuple[datetime, datetime]]) -> datetime:
    """Return an event's time for what was written at `stamp`.

    `dated` are the times of writing, in order, each with its event's time.
    """
    if not dated:
        return stamp
    place = bisect_left(dated, stamp, key=lambda one: one[0])
    nearest = min(dated[max(place - 1, 0) : place + 1], key=lambda one: abs(one[0] - stamp))
    return nearest[1] + max(stamp - nearest[0], timedelta(0))


def local_lines(path: Path) -> list[LogLine]:
    """Return the lines of a local run's log; raises OperateError if it cannot be read."""
    try:
        return read_lines(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise OperateError(
            f"{path}: {what}; scalper run writes a log, --log names another one"
        ) from error


def stack_lines(
    stack: DeployedStack, symbol: str, since: datetime, until: datetime
) -> list[LogLine]:
    """Return what the stack's functions wrote about the times from `since` to `until`.

    Among them are the symbol's decisions from the begin of the day on. If the stack goes by the
    broker's clock, all that the log groups hold is returned: its times are not those of the log.
    Raises OperateError, or what the SDK raises.
    """
    groups = sorted(stack.of_type("AWS::Logs::LogGroup").values())
    if not groups:
        raise OperateError(f"the stack {stack.name} has no log group: sam deploy makes them")
    day = day_start(since)
    wanted = [
        (_ANY_LINE, {"startTime": _milliseconds(since)}),
        (_decisions_of(symbol), {"startTime": _milliseconds(day)}),
    ]
    end = {"endTime": _milliseconds(until + WRITTEN_WITHIN)}
    if stack.parameters.get("Clock") == "broker":
        wanted, end = [(_ANY_LINE, {})], {}
    texts = [
        text
        for group in groups
        for pattern, begin in wanted
        for text in _events(group, pattern, begin | end)
    ]
    return read_lines(dict.fromkeys(texts))


_ANY_LINE = '{ $.message = "*" }'


def _decisions_of(symbol: str) -> str:
    return f'{{ $.message = "decision" && $.symbol = "{symbol}" }}'


def _events(group: str, pattern: str, times: Mapping[str, int]) -> Iterable[str]:
    """Yield the events of a log group; raises OperateError if they are too many."""
    pages = (
        boto3.client("logs", config=AWS_CONFIG)
        .get_paginator("filter_log_events")
        .paginate(logGroupName=group, filterPattern=pattern, **times)
    )
    for number, page in enumerate(pages):
        if number == MAX_PAGES:
            raise OperateError(f"{group} has too many lines then: ask for fewer --minutes")
        for event in page["events"]:
            yield str(event["message"])


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _parsed(text: str) -> tuple[datetime, dict[str, Any]] | None:
    """Return when a line was written, and its fields; None if it is none of the logger's."""
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    if not isinstance(fields, dict) or "message" not in fields:
        return None
    stamp = _time(fields.get("timestamp"))
    return None if stamp is None else (stamp, fields)


def _time(text: object) -> datetime | None:
    try:
        return parse_time(text) if isinstance(text, str) else None
    except ValueError:
        return None
