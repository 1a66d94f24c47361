"""The command `scalper`: the list of its commands. Each stands in a module of its group."""

from collections.abc import Sequence
from typing import ClassVar

from workbench.cli.shared.lazy import Entry, LazyGroup, plain_typer

COMMANDS = (
    Entry(
        "run",
        "workbench.cli.run",
        "Run whole trading days on this machine, through the real handlers.",
    ),
    Entry(
        "exchange",
        "workbench.cli.servers",
        "Serve a simulated Alpaca on this machine, driven by minute bars.",
    ),
    Entry(
        "aws",
        "workbench.cli.servers",
        "Serve on this machine the AWS services that a local day needs.",
    ),
    Entry(
        "relay",
        "workbench.cli.relay",
        "Run the relay of a stack on this machine, while the market is open.",
    ),
    Entry(
        "cloud",
        "workbench.cli.cloud",
        "Deploy the stack to an AWS emulator on this machine and watch it trade.",
    ),
    Entry(
        "simulate",
        "workbench.cli.simulate",
        "Simulate seeded days around the real handlers and check every step.",
    ),
    Entry(
        "chaos",
        "workbench.cli.simulate",
        "Play whole days with real faults: processes are killed, servers fail.",
    ),
    Entry(
        "doctor",
        "workbench.cli.stack",
        "Check a deployed stack, or local keys, and say what to do.",
    ),
    Entry("status", "workbench.cli.stack", "Show what each symbol of a deployed stack is doing."),
    Entry(
        "why",
        "workbench.cli.why",
        "Say why a symbol was bought or sold, or why not, from the logs.",
    ),
    Entry("halt", "workbench.cli.stack", "Stop all entries of the account until `scalper resume`."),
    Entry("resume", "workbench.cli.stack", "End a halt of the account: entries are allowed again."),
)


class Commands(LazyGroup):
    """The commands of `scalper`."""

    entries: ClassVar[Sequence[Entry]] = COMMANDS


app = plain_typer(cls=Commands, no_args_is_help=True)


@app.callback()
def scalper() -> None:
    """Trade intraday on Alpaca: try a day on this machine, look after a deployed stack."""


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
