"""The commands that look after a deployed stack: doctor, status, halt, resume."""

import json
import os
import sys
from typing import Annotated

import typer

from workbench.cli.shared.exit_codes import ExitCode, fail
from workbench.cli.shared.options import EnvironmentOption, JsonOption, RegionOption, StackOption


def doctor(
    stack: StackOption = "",
    config_env: EnvironmentOption = "default",
    region: RegionOption = "",
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Check only the keys in APCA_API_KEY_ID and APCA_API_SECRET_KEY."
        ),
    ] = False,
    set_no_shorting: Annotated[
        bool,
        typer.Option("--set-no-shorting", help="Set no_shorting at the broker before the checks."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a deployed stack, or local keys, and say what to do.

    The checks are: the stack and its outputs, secrets, keys, mode and account, no_shorting, data
    feed, clock, symbols, schedules, queues, last tick, relay, webhook, dead letters, mail, alarms,
    halts, and whether the broker's positions and orders agree with the state table. Each line is
    OK, WARN or FAIL. Secrets are not printed. Only --set-no-shorting changes anything.

    Exit code 0 without a FAIL, 1 with one, 2 if the stack cannot be found.
    """
    from rich.console import Console

    from workbench.cli.shared.deployed import errors_in_one_line, find_subject
    from workbench.operate.doctor import document, examine, is_healthy, show
    from workbench.operate.subject import Subject

    with errors_in_one_line():
        subject = (
            Subject.of_environment(os.environ) if local else find_subject(stack, config_env, region)
        )
        if set_no_shorting:
            subject.forbid_shorting()
        findings = examine(subject)
    if as_json:
        print(json.dumps(document(subject, findings), indent=2))
    else:
        show(Console(highlight=False, file=sys.stdout), findings)
    if not is_healthy(findings):
        raise typer.Exit(ExitCode.FAILED)


def status(
    stack: StackOption = "",
    config_env: EnvironmentOption = "default",
    region: RegionOption = "",
    every: Annotated[
        bool, typer.Option("--all", help="Also list the symbols that wait for a signal.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what each symbol of a deployed stack is doing.

    Each line has the symbol's phase, halt, working order, shares, entry price, trades and P&L of
    the session. Symbols that only wait for a signal are counted.

    Exit code 0, or 2 if the stack or its tables cannot be read.
    """
    from rich.console import Console

    from workbench.cli.shared.deployed import errors_in_one_line, find_subject
    from workbench.operate.status import document, show, status_of

    with errors_in_one_line():
        found = status_of(find_subject(stack, config_env, region), every=every)
    if as_json:
        print(json.dumps(document(found), indent=2))
    else:
        show(Console(highlight=False, file=sys.stdout), found)


def halt(
    stack: StackOption = "",
    config_env: EnvironmentOption = "default",
    region: RegionOption = "",
    why: Annotated[
        str, typer.Option(help="The reason. Logs, doctor and status show it.")
    ] = "by hand",
) -> None:
    """Stop all entries of the account until `scalper resume`.

    The halt holds from the next tick on. Exits go on: shares are sold at their target or by the
    liquidation. A working entry order may still fill; it is canceled after two minutes, as always.

    Exit code 0, or 2 if the stack or its tables cannot be reached.
    """
    if not why.strip():
        fail("--why is empty: give the reason, so that the reader of the logs knows it")
    from workbench.cli.shared.deployed import errors_in_one_line, find_subject

    with errors_in_one_line():
        subject = find_subject(stack, config_env, region)
        subject.store.halt_account(why.strip())
    print(f"halted ({subject.settings.mode}): no entries until scalper resume; exits go on")


def resume(
    stack: StackOption = "",
    config_env: EnvironmentOption = "default",
    region: RegionOption = "",
) -> None:
    """End a halt of the account: entries are allowed again.

    This holds from the next tick on. A symbol that has a halt of its own stays halted until the
    next session.

    Exit code 0, also if the account was not halted; 2 if the stack or its tables cannot be reached.
    """
    from workbench.cli.shared.deployed import errors_in_one_line, find_subject

    with errors_in_one_line():
        subject = find_subject(stack, config_env, region)
        why = subject.store.account_halt()
        if why:
            subject.store.halt_account("")
    print(
        f"resumed ({subject.settings.mode}); it was halted: {why}"
        if why
        else f"nothing to resume ({subject.settings.mode}): the account was not halted"
    )
