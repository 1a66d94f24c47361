"""The help of the command line: what it says, how little it imports, and the exit codes."""

import importlib
import inspect
import json
import subprocess
import sys
from contextlib import closing
from functools import cache

import pytest
from typer.testing import CliRunner

from bench.cli_help import EMPTY, empty_application
from tests.e2e.days import ROOT
from workbench.cli.app import COMMANDS, app
from workbench.cli.shared.exit_codes import ExitCode, fail
from workbench.cli.shared.lazy import Entry
from workbench.servers.loopback import listen

LARGE = ("boto3", "botocore", "alpaca", "pyarrow", "plotly", "exchange_calendars", "moto", "rich")
NAMES = [one.name for one in COMMANDS]
COLUMNS = 80

_RUN_AND_LIST = """
import json, sys
from workbench.cli.app import main
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def loaded_by(program: str, *arguments: str) -> set[str]:
    """Return the modules that a new process has imported when the program ends."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def large(modules: set[str]) -> set[str]:
    return {one for one in modules if one.partition(".")[0] in LARGE}


@cache
def help_of(*command: str) -> str:
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": str(COLUMNS)})
    assert result.exit_code == ExitCode.OK
    return result.stdout


# --- what it imports -----------------------------------------------------------------------------


def test_the_list_of_commands_imports_no_large_library() -> None:
    assert large(loaded_by(_RUN_AND_LIST, "--help")) == set()


@pytest.mark.parametrize("command", NAMES)
def test_the_help_of_a_command_imports_no_large_library(command: str) -> None:
    assert large(loaded_by(_RUN_AND_LIST, command, "--help")) == set()


def test_importing_the_application_imports_no_large_library() -> None:
    program = (
        "import json, sys, workbench.cli.app; print(json.dumps([*sys.modules]), file=sys.stderr)"
    )
    assert large(loaded_by(program)) == set()


def test_the_list_of_commands_imports_what_anempty_application_imports_and_few_modules_of_ours(
    tmp_path,
) -> None:
    (tmp_path / f"{EMPTY}.py").write_text(empty_application())
    program = _RUN_AND_LIST.replace(
        "from workbench.cli.app import main",
        f"""
sys.path.insert(0, {str(tmp_path)!r})
from {EMPTY} import app as main
""",
    )
    beyond = loaded_by(_RUN_AND_LIST, "--help") - loaded_by(program, "--help")
    assert beyond == {
        *("workbench", "workbench.cli", "workbench.cli.app"),
        *("workbench.cli.shared", "workbench.cli.shared.lazy"),
    }


@pytest.mark.parametrize("option", [("--start", "noon"), ("--cash", "much")])
def test_the_process_of_the_exchange_imports_neither_aws_nor_charts(
    option: tuple[str, str],
) -> None:
    modules = loaded_by(_RUN_AND_LIST.replace("== 0", "== 2"), "exchange", "--port", "0", *option)
    assert "workbench.exchange.server" in modules
    # The sessions come from exchange_calendars, whose pandas imports pyarrow.
    needed = {"exchange_calendars", "pyarrow"}
    assert {one.partition(".")[0] for one in large(modules)} <= needed
    assert not any(one.startswith("scalper.shell") for one in modules)


def test_the_process_of_aws_imports_no_market_and_no_charts() -> None:
    with closing(listen(0)) as listener:
        listener.listen()
        port = str(listener.getsockname()[1])
        modules = loaded_by(_RUN_AND_LIST.replace("== 0", "== 2"), "aws", "--port", port)
    roots = {one.partition(".")[0] for one in modules}
    assert "moto" in roots
    assert not roots & {"alpaca", "plotly", "pyarrow", "exchange_calendars", "rich", "uvicorn"}
    assert not any(one.startswith(("scalper", "workbench.market")) for one in modules)


# --- what it says --------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", COMMANDS, ids=NAMES)
def test_the_list_says_of_a_command_what_its_own_help_says_first(entry: Entry) -> None:
    function = getattr(importlib.import_module(entry.module), entry.name)
    first, _, _ = (inspect.getdoc(function) or "").partition("\n\n")
    assert " ".join(first.split()) == entry.help


def test_the_list_names_every_command_with_its_sentence() -> None:
    text = " ".join(help_of().split())
    for entry in COMMANDS:
        assert f"{entry.name} {entry.help}" in text


@pytest.mark.parametrize("command", [(), *((name,) for name in NAMES)], ids=["", *NAMES])
def test_help_fits_into_eighty_columns(command: tuple[str, ...]) -> None:
    lines = help_of(*command).splitlines()
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert not any(line.rstrip().endswith("...") for line in lines[1:]), "a sentence is cut off"


@pytest.mark.parametrize("command", NAMES)
def test_every_option_has_a_sentence_or_a_phrase_with_a_full_stop(command: str) -> None:
    function = getattr(importlib.import_module(_entry(command).module), command)
    for name, parameter in inspect.signature(function).parameters.items():
        [info] = parameter.annotation.__metadata__
        assert info.help, name
        assert info.help.endswith("."), name
        assert info.help[0].isupper(), name


def test_a_misspelt_command_is_answered_with_the_one_that_was_meant() -> None:
    result = CliRunner().invoke(app, ["simulte"])
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "Did you mean 'simulate'?" in result.stderr


def _entry(command: str) -> Entry:
    return next(one for one in COMMANDS if one.name == command)


# --- exit codes ----------------------------------------------------------------------------------


def test_the_exit_codes_are_these() -> None:
    assert {one.name: one.value for one in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "BAD_INPUT": 2,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize("code", list(ExitCode)[1:])
def test_a_command_that_fails_says_one_line_and_ends_with_the_code(
    code: ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        importlib.import_module("workbench.cli.shared.inputs"),
        "read_market",
        lambda *_: fail("nothing to play", code),
    )
    result = CliRunner().invoke(app, ["exchange"])
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == "scalper: nothing to play\n"


def test_a_wrong_option_is_bad_input() -> None:
    for arguments in (["simulate", "--seeds", "0"], ["no-such-command"], ["run", "--no-such"]):
        assert CliRunner().invoke(app, arguments).exit_code == ExitCode.BAD_INPUT
