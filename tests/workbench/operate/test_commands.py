"""The commands for a deployed stack: output, exit codes, and errors in one line."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.pricing import DOLLAR
from tests.workbench.exchange.conftest import FRIDAY, KEY, SECRET
from tests.workbench.operate.system import OneStack, System
from workbench.cli.app import app
from workbench.cli.shared import deployed
from workbench.operate.deployed_stack import (
    CloudFormationLookup,
    OperateError,
    StackResource,
    expected_outputs,
    stack_name,
)


@pytest.fixture(autouse=True)
def _own_session(monkeypatch: pytest.MonkeyPatch, _no_real_account: None) -> None:
    """Let each command find its credentials and region by itself."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def refused(result: Result) -> str:
    """Return the one line on standard error of a command that ends with 2."""
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("scalper: ")
    return line


@pytest.fixture
def found(system: System, monkeypatch: pytest.MonkeyPatch) -> System:
    """Return a system that the commands find; it uses the exchange's clock."""
    system.parameters(Clock="broker")
    monkeypatch.setattr(deployed, "stack_lookup", OneStack(system.stack))
    return system


# --- doctor --------------------------------------------------------------------------------------


def test_doctor_prints_a_line_for_each_check_and_ends_with_0(found: System) -> None:
    result = run("doctor")
    assert (result.exit_code, result.stderr) == (0, "")
    *lines, last = result.stdout.splitlines()
    assert all(line.startswith("OK   ") for line in lines)
    assert last == f"{len(lines)} OK, 0 WARN, 0 FAIL"
    assert "OK   keys            they open the account PA0SCALPER00" in lines


def test_doctor_ends_with_1_if_a_check_fails_and_says_what_to_do(found: System) -> None:
    found.row("ZZZZ")
    result = run("doctor", "--stack", "scalper")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    place = lines.index(
        "FAIL symbols         ZZZZ: the broker does not know it, or it is not active"
    )
    assert lines[place + 1] == "     → take it off the table"
    assert lines[-1].endswith("0 WARN, 1 FAIL")


def test_doctor_prints_json(found: System) -> None:
    found.store.halt_account("a test")
    result = run("doctor", "--json")
    assert result.exit_code == 0, "a warning is no failure"
    document = json.loads(result.stdout)
    assert {name: document[name] for name in ("stack", "mode", "warn", "fail")} == {
        "stack": "scalper",
        "mode": "paper",
        "warn": 1,
        "fail": 0,
    }
    assert document["ok"] == len(document["lines"]) - 1
    [halted] = [line for line in document["lines"] if line["level"] == "WARN"]
    assert halted["check"] == "halts"
    assert halted["todo"]


def test_doctor_changes_only_what_its_options_ask_for(found: System) -> None:
    found.exchange.exchange.venue.ledger.no_shorting = False
    for _ in range(2):
        assert "not set" in run("doctor").stdout
    assert "OK   no_shorting" in run("doctor", "--set-no-shorting").stdout
    assert "OK   no_shorting" in run("doctor").stdout
    requests = found.exchange.exchange.gate.requests
    assert {one for one in requests if not one.startswith("GET ")} == {
        "PATCH /v2/account/configurations"
    }


def test_doctor_checks_local_keys(found: System, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("doctor", "--local").exit_code == 1, "there are none yet"
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)
    monkeypatch.setenv("CLOCK", "broker")
    for name in ("ALPACA_TRADING_URL", "ALPACA_DATA_URL"):
        monkeypatch.setenv(name, found.exchange.url)
    result = run("doctor", "--local", "--json")
    assert (result.exit_code, json.loads(result.stdout)["stack"]) == (0, None)
    monkeypatch.setenv("TRADING_MODE", "maybe")
    assert "TRADING_MODE is 'maybe'" in refused(run("doctor", "--local"))


@pytest.mark.parametrize("command", ["doctor", "status", "halt", "resume"])
def test_a_stack_that_lacks_an_output_is_one_line(command: str, found: System, monkeypatch) -> None:
    found.outputs(StateTable="")
    monkeypatch.setattr(deployed, "stack_lookup", OneStack(found.stack))
    assert "STATE_TABLE is not set" in refused(run(command))


# --- halt, resume, status ------------------------------------------------------------------------


def test_a_halt_stands_until_it_is_resumed(found: System) -> None:
    assert run("resume").stdout == "nothing to resume (paper): the account was not halted\n"
    halted = run("halt", "--why", "lunch")
    assert halted.stdout == "halted (paper): no entries until scalper resume; exits go on\n"
    assert found.store.account_halt() == "lunch"
    assert "The account is halted: lunch" in run("status").stdout
    assert run("resume").stdout == "resumed (paper); it was halted: lunch\n"
    assert found.store.account_halt() == ""
    assert "--why is empty" in refused(run("halt", "--why", " "))


def test_status_shows_active_symbols_and_counts_the_waiting_ones(found: System) -> None:
    found.row("BBB")
    held = SymbolState(
        symbol="AAA",
        session=FRIDAY,
        phase=Phase.TO_SELL,
        qty=10,
        cost=100 * DOLLAR,
        pnl=-3 * DOLLAR,
        trades=2,
        halt=Reason.LATE_ORDER,
    )
    found.remember(held)
    found.store.record_day(date(2013, 10, 3), json.dumps({"session": "2013-10-03", "trades": 4}))
    result = run("status", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "mode": "paper",
        "account_halt": "",
        "symbols": [
            {
                "symbol": "AAA",
                "session": "2013-10-04",
                "phase": "TO_SELL",
                "qty": 10,
                "entry_price": "10.00",
                "order": None,
                "trades": 2,
                "pnl_usd": -3.0,
                "halt": "late_order",
            }
        ],
        "waiting": 1,
        "last_day": {"session": "2013-10-03", "trades": 4},
        "pnl_usd": -3.0,
    }
    text = run("status").stdout
    assert "AAA" in text
    assert "late_order" in text
    assert "1 symbols shown, 1 wait; P&L of those shown -3.00 USD" in text


def test_status_lists_waiting_symbols_on_request(found: System) -> None:
    found.remember(SymbolState(symbol="AAA", session=FRIDAY))
    assert json.loads(run("status", "--json").stdout)["symbols"] == []
    [line] = json.loads(run("status", "--json", "--all").stdout)["symbols"]
    assert line["symbol"] == "AAA"


def test_a_table_that_is_gone_is_one_line(found: System) -> None:
    found.lose_table("state")
    for command in ("halt", "resume", "status"):
        assert "the state table does not answer" in refused(run(command))


# --- which stack, and what AWS says --------------------------------------------------------------


def test_the_stack_is_the_one_that_samconfig_names() -> None:
    assert stack_name("default") == ("scalper", "")
    assert stack_name("live")[0] == "scalper-live"
    assert stack_name("local") == ("scalper-local", "us-east-1")


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "cannot be read"), ("[[", "cannot be read"), ("version = 0.1", "names no stack")],
)
def test_a_samconfig_without_the_stack_is_one_line(text: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "samconfig.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OperateError, match=says):
        stack_name("default", path)


def test_an_environment_that_samconfig_lacks_is_one_line() -> None:
    line = refused(run("doctor", "--config-env", "production"))
    assert "--config-env production" in line
    assert "default, live, local" in line


def test_a_stack_is_read_from_cloudformation() -> None:
    """moto has no SAM transform: a plain template with a queue, a parameter and an output."""
    template = {
        "Parameters": {"TradingMode": {"Type": "String", "Default": "paper"}},
        "Resources": {"DeadLetterQueue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"StateTable": {"Value": "state"}},
    }
    with mock_aws():
        client = boto3.client("cloudformation")
        client.create_stack(StackName="one", TemplateBody=json.dumps(template))
        stack = CloudFormationLookup().find("one")
        [url] = boto3.client("sqs").list_queues()["QueueUrls"]
    assert (stack.name, stack.status, stack.region) == ("one", "CREATE_COMPLETE", "us-east-1")
    assert stack.outputs == {"StateTable": "state"}
    assert stack.parameters == {"TradingMode": "paper"}
    assert stack.resources == {"DeadLetterQueue": StackResource("AWS::SQS::Queue", url)}


def test_no_such_stack_is_one_line() -> None:
    with mock_aws():
        line = refused(run("doctor", "--stack", "nothing", "--region", "eu-west-1"))
    assert "no stack nothing in this account in eu-west-1" in line


def test_no_credentials_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no AWS credentials: sign in" in refused(run("status"))


def test_no_region_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "no region: name it by --region" in refused(run("halt"))


def test_a_missing_profile_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in refused(run("doctor"))


def test_expired_credentials_are_one_line(webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = (
        "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>The security token included in "
        "the request is expired</Message></Error></ErrorResponse>"
    )
    webhook.answer((403, answer))
    monkeypatch.setenv("AWS_ENDPOINT_URL", webhook.url)
    assert "AWS refuses the credentials (ExpiredToken): sign in" in refused(run("doctor"))


def test_an_aws_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "AWS does not answer" in refused(run("doctor"))


def test_the_expected_outputs_include_those_that_the_commands_need() -> None:
    assert expected_outputs() >= {"StateTable", "SymbolsTable", "BrokerSecret", "WebhookUrl"}
