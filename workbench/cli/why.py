"""The command that reads the logs: why."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared.exit_codes import fail
from workbench.cli.shared.options import EnvironmentOption, JsonOption, RegionOption, StackOption

LOCAL_LOG = Path("out/run/console.log")
"""Where `scalper run` leaves its log unless --out says otherwise."""


def why(
    symbol: Annotated[str, typer.Argument(help="The symbol, such as TSLA.", show_default=False)],
    at: Annotated[
        str,
        typer.Option(
            help="New York time such as 10:31, of today or of the log's last day, or a whole time "
            "such as 2026-07-01T10:31:00-04:00. Default: the last five minutes.",
            show_default=False,
        ),
    ] = "",
    minutes: Annotated[
        int, typer.Option(min=0, max=390, help="Minutes shown before and after --at.")
    ] = 2,
    local: Annotated[
        bool, typer.Option("--local", help=f"Read {LOCAL_LOG}, the log of the last scalper run.")
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="Read this log instead of a stack's.", show_default=False)
    ] = None,
    stack: StackOption = "",
    config_env: EnvironmentOption = "default",
    region: RegionOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say why a symbol was bought or sold, or why not, from the logs.

    Shows the decisions, the order events that changed nothing, and the failures of these minutes,
    each with its reason in words, and the symbol's last known phase. Reads the logs of the deployed
    stack, or with --local or --log those of a day on this machine.
    """
    from scalper.core.order import SYMBOL

    symbol = symbol.upper()
    if not SYMBOL.fullmatch(symbol):
        fail(f"{symbol}: give a symbol such as TSLA or BRK.B")
    from rich.console import Console

    from workbench.cli.shared.deployed import errors_in_one_line, find_stack
    from workbench.operate.logs import local_lines, stack_lines
    from workbench.operate.why import document, explain, period, show

    with errors_in_one_line():
        if local or log is not None:
            lines = local_lines(log or LOCAL_LOG)
            newest = lines[-1].at if lines else datetime.now(UTC)
            since, until = period(at, minutes, newest)
        else:
            since, until = period(at, minutes, datetime.now(UTC))
            lines = stack_lines(find_stack(stack, config_env, region), symbol, since, until)
        found = explain(lines, symbol, since, until)
    if as_json:
        print(json.dumps(document(found), indent=2))
    else:
        show(Console(highlight=False, file=sys.stdout), found)
