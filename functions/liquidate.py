"""Five minutes before the close, on half-days too: sell everything."""

from collections.abc import Mapping
from typing import Any

from scalper.shell import events, telemetry
from scalper.shell.runtime import current_engine
from scalper.shell.trading.liquidate import liquidate


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Liquidate if it is time; raise an error to be invoked again."""
    with telemetry.sent():
        engine = current_engine()
        return liquidate(engine, events.scheduled_time(event) or engine.now())
