"""Imports a command's module when that command runs, and not before.

`scalper --help` needs names and one sentence each. The modules behind the commands import the AWS
SDK, calendars and charts, which take a second.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of `scalper --help`, and where its command is found."""

    name: str
    """The command's name, and the name of its function."""
    module: str
    """The module that has the function, by its full name."""
    help: str
    """The first paragraph of the function's docstring, which a test compares."""


def plain_typer(**settings: Any) -> typer.Typer:
    """Return a Typer application without completion, Rich help and decorated tracebacks."""
    return typer.Typer(
        add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **settings
    )


class LazyGroup(TyperGroup):
    """A group that lists its commands from a table; a subclass sets `entries`."""

    entries: ClassVar[Sequence[Entry]] = ()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Stand-ins: enough to list the names and to suggest one after a typing error.
        self.commands = {one.name: TyperCommand(one.name) for one in self.entries}

    # `Any` stands for Typer's context and formatter, whose classes have no public name.

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command, its module now imported, or None if there is no such command."""
        found = next((one for one in self.entries if one.name == cmd_name), None)
        return None if found is None else load(found)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one line for each command, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(one.name, one.help) for one in self.entries])


def load(entry: Entry) -> Any:
    """Import the module of a command and return the command."""
    function = getattr(importlib.import_module(entry.module), entry.name)
    alone = plain_typer()
    alone.command(entry.name)(function)
    return get_command(alone)
