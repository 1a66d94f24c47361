"""Each minute of the session: fetch bars, and decide every symbol."""

from collections.abc import Mapping
from typing import Any

from scalper.shell import events, telemetry
from scalper.shell.runtime import current_engine
from scalper.shell.trading.tick import tick


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Run one tick for a schedule's event, or one for each message of the tick queue."""
    with telemetry.sent():
        engine = current_engine()
        answers = [tick(engine, due) for due in events.ticks_due(event, engine.now)]
        return answers[0] if len(answers) == 1 else {"ticks": answers}
