"""`scalper cloud`: what `make cloud` calls."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

FAILED = 1
INTERRUPTED = 130


def cloud(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long it trades.")] = 10.0,
    start: Annotated[
        str, typer.Option(help="New York time to begin at; 15:52 shows the close.")
    ] = "10:30",
    seed: Annotated[int, typer.Option(help="Seed of the synthetic market.")] = 5,
    symbols: Annotated[int, typer.Option(min=1, max=99, help="How many symbols.")] = 20,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The emulator's port; 0 takes a free one.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the logs and the build.")] = Path(
        "out/cloud"
    ),
    python: Annotated[Path, typer.Option(help="The Python that has the emulator.")] = Path(
        ".venv/cloud/bin/python"
    ),
) -> None:
    """Deploy the stack to an AWS emulator on this machine and watch it trade (make cloud).

    sam build and sam deploy of template.yaml, its functions in processes of their own, invoked by
    its schedules, queues and Function URL; the simulated exchange beside them, a second a second.
    All of it ends with the time given, or with Ctrl-C.
    """
    # The other commands need neither the AWS SDK nor the emulator's parts.
    from workbench.cloud import screen, trading
    from workbench.cloud.errors import CloudError
    from workbench.market.bars.reader import BarsError

    options = trading.Options(
        python=python, folder=out, start=start, seed=seed, symbols=symbols, port=port
    )
    try:
        screen.watch(options, minutes * 60, Console(highlight=False, file=sys.stdout))
    except (CloudError, BarsError) as error:
        typer.echo(f"scalper: {error}", err=True)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        typer.echo(f"scalper: interrupted; nothing is left running (logs: {out})", err=True)
        raise typer.Exit(INTERRUPTED) from None
