"""Writes the reference of the command line as Markdown: every command's help, and the exit codes.

`python -m workbench.cli.reference` prints it. The generator of docs/commands.md calls it so,
because nothing imports the command line.
"""

from collections.abc import Iterator

import typer
from typer.testing import CliRunner

from workbench.cli.app import COMMANDS, app
from workbench.cli.shared import exit_codes
from workbench.cli.shared.exit_codes import ExitCode
from workbench.docs.markdown import code, table
from workbench.source.remarks import remarks

COLUMNS = 80


def reference() -> str:
    """Return the exit codes as a table and the help of each command as text."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    meanings = remarks(exit_codes, ExitCode.__name__)
    yield "Every command ends with one of these exit codes:"
    yield ""
    yield from table(
        ["code", "name", "meaning"],
        [[code(one.value), code(one.name), meanings[one.name]] for one in ExitCode],
    )
    yield "A command that cannot begin says why in one line on standard error. If an option does"
    yield "not exist or has no valid value, the lines before that one show the usage."
    yield ""
    yield from _help()
    for entry in COMMANDS:
        yield f"## {entry.name}"
        yield ""
        yield from _help(entry.name)


def _help(*command: str) -> Iterator[str]:
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": str(COLUMNS)})
    yield "```text"
    yield shown.stdout.replace("Usage: root", "Usage: scalper").rstrip()
    yield "```"
    yield ""


if __name__ == "__main__":
    typer.echo(reference())
