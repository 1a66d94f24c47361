"""`scalper run`: its options. What runs stands in `local_run`, imported when the command runs."""

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.shared.options import SeedOption


def run(
    bars: Annotated[
        list[str] | None,
        typer.Argument(
            help="CSV or Parquet files of minute bars, or patterns. Default: a synthetic market."
        ),
    ] = None,
    lot: Annotated[str, typer.Option(help="Dollars that one entry may spend.")] = "2000",
    seed: SeedOption = 7,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("out/run"),
    exchange_url: Annotated[
        str, typer.Option(help="Address of a running `scalper exchange` to use.")
    ] = "",
    aws_url: Annotated[str, typer.Option(help="Address of a running `scalper aws` to use.")] = "",
) -> None:
    """Run whole trading days on this machine, through the real handlers.

    The results are trades.csv, orders.csv, summary.json, report.html and console.log. They replace
    those of an earlier run only when the run is over.

    Exit code 0 if the last day ends without open orders and positions, 1 if it does not or the run
    breaks off, 2 if bars or options cannot be used, 130 after Ctrl-C.
    """
    from workbench.cli.local_run import run_days

    run_days(
        bars,
        lot=lot,
        seed=seed,
        out=out,
        exchange_url=exchange_url.rstrip("/"),
        aws_url=aws_url.rstrip("/"),
    )
