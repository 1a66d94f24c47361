"""How the command line ends: the exit codes, and one line on standard error."""

from enum import IntEnum
from typing import NoReturn

import typer


class ExitCode(IntEnum):
    """What a command of `scalper` tells the shell."""

    OK = 0
    """The command did what it was asked to do, and found nothing wrong."""

    FAILED = 1
    """The command ran, and the result is bad: a day that did not end flat, a violated invariant,
    a check that failed, a server that ended."""

    BAD_INPUT = 2
    """The command could not begin: a wrong option or file, missing settings or credentials, a
    service that does not answer."""

    INTERRUPTED = 130
    """Ctrl-C ended the command before it was done. Shells add 128 to the number of the
    signal, and SIGINT is 2."""


def fail(line: str, code: ExitCode = ExitCode.BAD_INPUT) -> NoReturn:
    """End the command with one line on standard error; raises typer.Exit."""
    typer.echo(f"scalper: {line}", err=True)
    raise typer.Exit(code)
