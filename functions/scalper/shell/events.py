"""Events of AWS for the handlers: inputs of schedules, and messages of queues."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from scalper.core.session import parse_time
from scalper.shell.errors import SettingsError
from scalper.shell.shards import MAX_SHARDS
from scalper.shell.trading.tick_schedule import MAX_LINKS, TickDue


def scheduled_time(event: Mapping[str, Any]) -> datetime | None:
    """Return the event's scheduled time, None if it has none.

    Scheduler replaces <aws.scheduler.scheduled-time> by an RFC 3339 time. An emulator may leave
    the placeholder: that counts as none. Raises SettingsError for any other text.
    """
    text = event.get("scheduled_time")
    if text is None or text == "" or (isinstance(text, str) and text.startswith("<aws.")):
        return None
    try:
        return parse_time(text)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"scheduled_time is {text!r}: give an RFC 3339 time") from error


def ticks_due(event: Mapping[str, Any], now: Callable[[], datetime]) -> list[TickDue]:
    """Return the ticks of an event: its own, or one for each of its queue messages.

    Raises SettingsError if a shard or a link is not valid.
    """
    if "Records" in event:
        return [_queued_tick(_body(record), now) for record in event["Records"]]
    return [_tick_due(event, now)]


def _queued_tick(body: Mapping[str, Any], now: Callable[[], datetime]) -> TickDue:
    """Return the tick of a message. A message without a link counts as the first."""
    link = body.get("link", 1)
    if not isinstance(link, int) or not 1 <= link <= MAX_LINKS:
        raise SettingsError(f"link {link!r} is not a number from 1 to {MAX_LINKS}")
    return replace(_tick_due(body, now), link=link)


def _body(record: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        body = json.loads(record["body"])
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError("a message of the tick queue is not JSON") from error
    if not isinstance(body, dict):
        raise SettingsError("a message of the tick queue is not a tick's event")
    return body


def _tick_due(event: Mapping[str, Any], now: Callable[[], datetime]) -> TickDue:
    shard, shard_count = event.get("shard", 0), event.get("shard_count", 1)
    whole = isinstance(shard, int) and isinstance(shard_count, int)
    if not whole or not 0 <= shard < shard_count <= MAX_SHARDS:
        raise SettingsError(f"shard {shard!r} of {shard_count!r} is not valid")
    return TickDue(scheduled_time(event) or now(), shard, shard_count)
