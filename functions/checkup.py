"""Thirty seconds after a tick that leaves working orders: reconcile them."""

from collections.abc import Mapping
from typing import Any

from scalper.shell import telemetry
from scalper.shell.runtime import current_engine
from scalper.shell.trading.checkup import checkup


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Run one checkup for any number of messages; raise an error to get them again."""
    with telemetry.sent():
        engine = current_engine()
        return {**checkup(engine, engine.now()), "batchItemFailures": []}
