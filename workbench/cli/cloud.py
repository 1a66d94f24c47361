"""`scalper cloud`, which `make cloud` calls."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared.exit_codes import ExitCode, fail
from workbench.cli.shared.options import SeedOption


def cloud(
    minutes: Annotated[float, typer.Option(min=0.1, help="Minutes to trade.")] = 10.0,
    start: Annotated[
        str, typer.Option(help="New York time to start at. 15:52 shows the close.")
    ] = "10:30",
    seed: SeedOption = 5,
    symbols: Annotated[int, typer.Option(min=1, max=99, help="How many symbols to trade.")] = 20,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the emulator. 0 takes a free one.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the logs and the build.")] = Path(
        "out/cloud"
    ),
    python: Annotated[Path, typer.Option(help="The Python that has the emulator.")] = Path(
        ".venv/cloud/bin/python"
    ),
) -> None:
    """Deploy the stack to an AWS emulator on this machine and watch it trade.

    The command runs `sam build` and `sam deploy` of template.yaml. The stack's schedules, queues
    and Function URL invoke the functions, each in a process of its own. The simulated exchange runs
    beside them; one simulated second takes one second. Everything ends after the given minutes, or
    with Ctrl-C.

    Exit code 0 after the minutes, 1 if something cannot be set up or breaks off, 130 after Ctrl-C.
    """
    from rich.console import Console

    from workbench.cloud.emulated_stack import TradingOptions
    from workbench.cloud.errors import CloudError
    from workbench.cloud.screen import watch
    from workbench.market.bars.fields import BarsError

    options = TradingOptions(
        python=python, folder=out, start=start, seed=seed, symbols=symbols, port=port
    )
    try:
        watch(options, minutes * 60, Console(highlight=False, file=sys.stdout))
    except (CloudError, BarsError) as error:
        fail(str(error), ExitCode.FAILED)
    except KeyboardInterrupt:
        fail(f"interrupted; nothing is left running (logs: {out})", ExitCode.INTERRUPTED)
