"""The commands that look after a deployed stack: doctor, status, halt, resume."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer
from botocore.exceptions import BotoCoreError, ClientError
from requests import RequestException
from rich.console import Console

from scalper.shell.errors import ScalperError
from workbench.operate import doctor as checks
from workbench.operate import status as standing
from workbench.operate.findings import AlreadyToldError
from workbench.operate.stack import (
    CloudFormationStacks,
    OperateError,
    Stacks,
    aws_line,
    stack_name,
    use_region,
)
from workbench.operate.subject import Subject

UNHEALTHY = 1
BAD_INPUT = 2

StackOption = Annotated[
    str, typer.Option(help="Name of the stack; by default samconfig.toml's.", show_default=False)
]
EnvironmentOption = Annotated[
    str, typer.Option("--config-env", help="Environment of samconfig.toml that names the stack.")
]
RegionOption = Annotated[
    str, typer.Option(help="AWS region; by default the SDK's own.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

stacks: Stacks = CloudFormationStacks()
"""Where stacks are looked up; a test puts its own here."""


def add_to(app: typer.Typer) -> None:
    """Give the command line these commands."""
    for command in (doctor, status, halt, resume):
        app.command()(command)


def doctor(
    stack: StackOption = "",
    config_env: EnvironmentOption = "default",
    region: RegionOption = "",
    local: Annotated[
        bool, typer.Option("--local", help="Check the keys in APCA_API_KEY_ID and _SECRET_KEY.")
    ] = False,
    set_no_shorting: Annotated[
        bool, typer.Option("--set-no-shorting", help="Set it at the broker before the checks.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a deployed stack, or local keys, and say what to do.

    Looks at the stack and its outputs, secrets, keys, mode and account, no_shorting, data feed,
    clock, symbols, schedules, queues, last tick, relay, webhook, dead letters, mail, alarms, halts,
    and whether the broker's positions and orders agree with the table. Each line is OK, WARN or
    FAIL. No secret is printed. Nothing is changed but what --set-no-shorting says.

    Exit code 0 without a FAIL, 1 with one, 2 where there is nothing to check.
    """
    with _one_line():
        subject = (
            Subject.of_environment(os.environ) if local else _subject(stack, config_env, region)
        )
        if set_no_shorting:
            subject.forbid_shorting()
        findings = checks.examine(subject)
    if as_json:
        print(json.dumps(checks.document(subject, findings), indent=2))
    else:
        checks.show(_console(), findings)
    if not checks.is_healthy(findings):
        raise typer.Exit(UNHEALTHY)


def status(
    stack: StackOption = "",
    config_env: EnvironmentOption = "default",
    region: RegionOption = "",
    every: Annotated[
        bool, typer.Option("--all", help="Also list the symbols that only wait.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what each symbol of a deployed stack is doing: phase, order, shares, P&L, halts."""
    with _one_line():
        found = standing.status_of(_subject(stack, config_env, region), every=every)
    if as_json:
        print(json.dumps(standing.document(found), indent=2))
    else:
        standing.show(_console(), found)


def halt(
    stack: StackOption = "",
    config_env: EnvironmentOption = "default",
    region: RegionOption = "",
    why: Annotated[str, typer.Option(help="Stands in the logs and in the doctor.")] = "by hand",
) -> None:
    """Let the whole account enter nothing any more, from the next tick on, until `resume`.

    Exits go on: what is held is sold at its target, or by the liquidation. An entry that works
    already may still fill; it is canceled after two minutes as ever.
    """
    if not why.strip():
        _fail("--why is empty: say why, whoever resumes will want to know")
    with _one_line():
        subject = _subject(stack, config_env, region)
        subject.store.halt_account(why.strip())
    print(f"halted ({subject.settings.mode}): no entries until scalper resume; exits go on")


def resume(
    stack: StackOption = "",
    config_env: EnvironmentOption = "default",
    region: RegionOption = "",
) -> None:
    """Take back a `halt`: the account enters again from the next tick on.

    A symbol that is halted by what happened to it stays so until the next session.
    """
    with _one_line():
        subject = _subject(stack, config_env, region)
        why = subject.store.account_halt()
        if why:
            subject.store.halt_account("")
    print(
        f"resumed ({subject.settings.mode}); it was halted: {why}"
        if why
        else f"nothing to resume ({subject.settings.mode}): the account was not halted"
    )


def _subject(stack: str, config_env: str, region: str) -> Subject:
    """Return the deployed stack that the options name; raises OperateError or ScalperError."""
    found_region = ""
    if not stack:
        stack, found_region = stack_name(config_env)
    use_region(region or found_region)
    return Subject.of_stack(stacks.find(stack))


@contextmanager
def _one_line() -> Iterator[None]:
    """End with one line where what is asked for cannot be done; the shell's log goes to stderr."""
    handlers = [
        one
        for one in logging.getLogger("scalper").handlers
        if isinstance(one, logging.StreamHandler)
    ]
    streams = [one.setStream(sys.stderr) for one in handlers]
    try:
        yield
    except (OperateError, AlreadyToldError, ScalperError) as error:
        _fail(str(error))
    except (BotoCoreError, ClientError) as error:
        _fail(aws_line(error))
    except RequestException as error:
        _fail(f"the broker does not answer: {type(error).__name__}")
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            if stream is not None:
                handler.setStream(stream)


def _console() -> Console:
    return Console(highlight=False, file=sys.stdout)


def _fail(line: str) -> NoReturn:
    typer.echo(f"scalper: {line}", err=True)
    raise typer.Exit(BAD_INPUT)
