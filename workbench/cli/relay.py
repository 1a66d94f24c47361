"""`scalper relay`: its options. What runs stands in `workbench/operate/own_relay.py`."""

import json
import os
from typing import Annotated

import typer

from workbench.cli.shared.exit_codes import fail


def relay(
    webhook_url: Annotated[
        str, typer.Option(help="Address to post events to. Default: WEBHOOK_URL.")
    ] = "",
    state_table: Annotated[
        str, typer.Option(help="Table that holds the lease. Default: STATE_TABLE.")
    ] = "",
    no_lease: Annotated[
        bool,
        typer.Option(
            "--no-lease", help="Take no lease. Only if no other relay runs for the account."
        ),
    ] = False,
) -> None:
    """Run the relay of a stack on this machine, while the market is open.

    The relay posts Alpaca's order events to the webhook. It waits while the stack's own relay holds
    the lease. Ctrl-C gives the lease back.

    The functions' environment variables set the rest (docs/settings.md): TRADING_MODE,
    BROKER_SECRET_ID or APCA_API_KEY_ID and APCA_API_SECRET_KEY, WEBHOOK_SECRET_ID or WEBHOOK_KEY,
    and optionally CHECKUP_QUEUE_URL.

    Exit code 0 when the market is closed or after Ctrl-C, 2 if a setting, the lease or the broker
    cannot be used.
    """
    from scalper.shell.errors import ScalperError
    from workbench.operate.own_relay import relay_here

    options = {"WEBHOOK_URL": webhook_url, "STATE_TABLE": state_table}
    environment = {**os.environ, **{name: value for name, value in options.items() if value}}
    try:
        done = relay_here(environment, leased=not no_lease)
    except ScalperError as error:
        fail(str(error))
    typer.echo(json.dumps(done))
