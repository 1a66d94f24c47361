"""The options that several commands share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

SeedOption = Annotated[int, typer.Option(help="Seed of the synthetic market.")]
FiguresOption = Annotated[
    Path | None,
    typer.Option(help="Also write the figures to this JSON file, from which docs are made."),
]
FirstOption = Annotated[int, typer.Option(min=0, help="Seed of the first day.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UntilEofOption = Annotated[
    bool, typer.Option("--until-eof", help="End when standard input does.", hidden=True)
]

StackOption = Annotated[
    str,
    typer.Option(help="Name of the stack. Default: the one in samconfig.toml.", show_default=False),
]
EnvironmentOption = Annotated[
    str, typer.Option("--config-env", help="Environment of samconfig.toml that names the stack.")
]
RegionOption = Annotated[
    str, typer.Option(help="AWS region. Default: the one of your AWS settings.", show_default=False)
]
