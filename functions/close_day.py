"""After the close: verify that the account is flat, and mail what the day earned."""

from collections.abc import Mapping
from typing import Any

from scalper.shell import events, telemetry
from scalper.shell.runtime import current_engine
from scalper.shell.trading.close_day import close_day


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Close the day if its session is over; raise an error to be invoked again."""
    with telemetry.sent():
        engine = current_engine()
        return close_day(engine, events.scheduled_time(event) or engine.now())
