"""During market hours: post the events of the broker's websocket to the webhook."""

from collections.abc import Mapping
from typing import Any

from scalper.shell import telemetry
from scalper.shell.relay.run import run
from scalper.shell.runtime import current_relay, time_left


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Relay until shortly before Lambda's time limit, unless another run holds the lease."""
    with telemetry.sent():
        return run(current_relay(), time_left(context))
