"""docs/runbook.md: every alarm has its chapter, and what it tells people to type exists."""

import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore import xform_name
from moto import mock_aws
from typer.testing import CliRunner

from scalper.core.model import Reason
from scalper.shell.errors import WebhookRefusedError
from scalper.shell.webhook import sign, verify
from workbench.cli.app import app
from workbench.source.remarks import sections
from workbench.template.declared import load_nested, load_template

ROOT = Path(__file__).parents[1]
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
OTHER_PAGES = [(ROOT / "docs/deploying.md").read_text(encoding="utf-8")]
FENCED = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:aws|scalper|sam) [^`]+)`")


def commands(text: str) -> list[list[str]]:
    """Return the commands of a page, split as a shell does it, continued lines joined."""
    lines = [
        line.strip()
        for block in FENCED.findall(text)
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip()
    ]
    shown = [" ".join(one.split()) for one in INLINE.findall(text)]
    return [
        shlex.split(part)
        for line in (*lines, *shown)
        for part in line.split(" && ")
        if part.strip()
    ]


COMMANDS = [one for text in (RUNBOOK, *OTHER_PAGES) for one in commands(text)]


def called(program: str) -> list[Any]:
    return [pytest.param(one, id=" ".join(one)[:60]) for one in COMMANDS if one[0] == program]


# --- alarms --------------------------------------------------------------------------------------


def alarms(root: Path) -> set[str]:
    """Return the names of the alarms that the templates declare, without the stack's."""
    templates = [load_template(root), *load_nested(root).values()]
    return {
        re.sub(r"^\$\{(System|AWS::StackName)\}-", "", one["Properties"]["AlarmName"]["Fn::Sub"])
        for template in templates
        for one in template["Resources"].values()
        if one["Type"] in ("AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm")
    }


def chapters(text: str) -> set[str]:
    """Return the names in the headings of the chapter on alarms."""
    chapter = text.partition("\n## Alarms\n")[2].partition("\n## ")[0]
    headings = re.findall(r"^### (.+)$", chapter, re.MULTILINE)
    return {name.strip() for heading in headings for name in heading.split(",")}


def test_every_alarm_of_the_templates_has_a_chapter() -> None:
    assert alarms(ROOT) - chapters(RUNBOOK) == set()


def test_every_chapter_is_of_an_alarm() -> None:
    declared = alarms(ROOT)
    assert not declared or chapters(RUNBOOK) - declared == set()


def test_an_alarm_without_a_chapter_is_found(tmp_path: Path) -> None:
    resource = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {"AlarmName": {"Fn::Sub": "${System}-new-alarm"}},
    }
    (tmp_path / "template.yaml").write_text(json.dumps({"Resources": {"New": resource}}))
    assert alarms(tmp_path) - chapters(RUNBOOK) == {"new-alarm"}
    assert "not-flat" in chapters(RUNBOOK)
    assert "relay-errors" in chapters(RUNBOOK)


# --- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", called("scalper"))
def test_scalpers_own_commands_exist_with_their_options(command: list[str]) -> None:
    shown = CliRunner().invoke(app, [command[1], "--help"])
    assert shown.exit_code == 0, command
    for option in command[2:]:
        if option.startswith("--"):
            assert option in shown.stdout


# Of the AWS CLI itself, not of a service's API: (command, subcommand) and its options.
CUSTOM = {
    ("logs", "tail"): {"--since", "--filter-pattern", "--follow"},
    ("cloudformation", "deploy"): {
        "--stack-name",
        "--template-file",
        "--capabilities",
        "--parameter-overrides",
    },
}
GLOBAL = {"--query", "--output", "--region", "--profile", "--cli-binary-format"}


@pytest.mark.parametrize("command", called("aws"))
def test_the_commands_of_the_aws_cli_exist_with_their_options(command: list[str]) -> None:
    _, service, operation, *rest = command
    options = {one for one in rest if one.startswith("--")} - GLOBAL
    if (service, operation) in CUSTOM:
        assert options <= CUSTOM[service, operation]
        return
    model = botocore.session.get_session().get_service_model(service)
    if operation == "wait":
        waiters = botocore.session.get_session().get_waiter_model(service).waiter_names
        assert rest[0] in {xform_name(name, "-") for name in waiters}
        return
    known = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in known
    shape = model.operation_model(known[operation]).input_shape
    assert shape is not None
    members = {f"--{xform_name(name, '-')}": one for name, one in shape.members.items()}
    flags = {
        f"--no-{name.removeprefix('--')}": one
        for name, one in members.items()
        if one.type_name == "boolean"
    }
    assert options <= members.keys() | flags.keys()
    assert {f"--{xform_name(name, '-')}" for name in shape.required_members} <= options


@pytest.mark.parametrize("command", called("sam"))
def test_sams_commands_name_environments_that_exist(command: list[str]) -> None:
    assert command[1] in ("build", "deploy", "delete")
    if "--config-env" in command:
        environment = command[command.index("--config-env") + 1]
        assert f"[{environment}.deploy.parameters]" in (ROOT / "samconfig.toml").read_text()


def test_the_parameters_that_are_given_are_the_templates() -> None:
    declared = load_template()["Parameters"]
    given = {
        name
        for command in COMMANDS
        if command[0] == "sam" and "--parameter-overrides" in command
        for name in re.findall(r"(\w+)=", command[command.index("--parameter-overrides") + 1])
    }
    assert given == {"TradingMode", "LiveAccountNumber", "NotifyEmail"}
    assert given <= set(declared)


def test_what_stands_in_angle_brackets_is_an_output() -> None:
    outputs = set(load_template()["Outputs"])
    named = set(re.findall(r"<([A-Z][A-Za-z]+)>", RUNBOOK)) - {"Names"}
    assert named >= {"BrokerSecret", "WebhookSecret", "StateTable", "SymbolsTable"}
    assert named <= outputs


def test_the_log_groups_are_the_templates() -> None:
    declared = {
        one["Properties"]["LogGroupName"]["Fn::Sub"].replace("${AWS::StackName}", "scalper")
        for one in load_template()["Resources"].values()
        if one["Type"] == "AWS::Logs::LogGroup"
    }
    named = set(re.findall(r"(/scalper/[\w-]+)", RUNBOOK))
    assert named == declared


# --- the chapter on why ---------------------------------------------------------------------------

WHY = RUNBOOK.partition("\n## Why was nothing bought, sold or acted on?\n")[2].partition("\n## ")[0]


def test_the_chapter_on_why_names_every_reason_that_blocks_or_ignores_and_no_other() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", WHY, re.MULTILINE))
    asked_for = {
        reason
        for title, reasons in sections(Reason)
        if title.startswith("Entries")
        for reason in reasons
    } - {Reason.BUY_SIGNAL}
    assert asked_for | {Reason.NOTHING_NEW, Reason.OTHER_ACCOUNT, Reason.OTHER_MODE} <= named
    assert named <= set(Reason)


def test_the_commands_of_the_chapter_on_why_read_a_local_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = {
        "message": "nothing changed",
        "level": "INFO",
        "timestamp": "2026-11-23 09:00:00,000+0000",
        "event_at": "2026-07-01T14:31:00+00:00",
        "reasons": {"no_signal": ["TSLA"]},
    }
    (tmp_path / "out/run").mkdir(parents=True)
    for name in ("console.log", "unfinished.log"):
        (tmp_path / "out/run" / name).write_text(json.dumps(line))
    monkeypatch.chdir(tmp_path)
    local = [one for one in commands(WHY) if {"--local", "--log"} & set(one)]
    assert len(local) == 2
    for command in local:
        shown = CliRunner().invoke(app, command[1:])
        assert (shown.exit_code, "no_signal" in shown.stdout) == (0, True), command


# --- procedures ----------------------------------------------------------------------------------


def test_the_key_that_is_made_is_taken_and_no_step_of_its_rotation_loses_a_delivery() -> None:
    [line] = [one for one in COMMANDS if one[0] == "python3"]
    new, old = (
        subprocess.run(
            [sys.executable, *line[1:]], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    )
    assert new != old
    written = re.findall(r'`(\{"current": "<\w+>", "previous": "[^"]*"\})`', RUNBOOK)
    steps = [
        json.loads(one.replace("<old>", old).replace("<new>", new))
        for one in ('{"current": "<old>", "previous": ""}', *written)
    ]
    assert len(steps) == 4
    assert steps[-1] == {"current": new, "previous": ""}

    def takes(step: dict[str, str], headers: dict[str, str]) -> bool:
        try:
            verify(b"{}", headers, [key for key in step.values() if key])
        except WebhookRefusedError:
            return False
        return True

    for before, after in pairwise(steps):
        # The relay may be on either side of a step, and so may the webhook.
        for relay in (before, after):
            signed = sign("{}", relay["current"])
            assert takes(before, signed)
            assert takes(after, signed)


def test_the_script_that_puts_rows_back_does_so(monkeypatch: pytest.MonkeyPatch) -> None:
    [script] = re.findall(r"```python\n(.*?)```", RUNBOOK, re.DOTALL)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr(sys, "argv", ["copy.py", "restored", "symbols"])
    rows = [{"symbol": {"S": "AAA"}, "lot": {"N": "500"}}, {"symbol": {"S": "BBB"}}]
    with mock_aws():
        client = boto3.client("dynamodb")
        for name in ("restored", "symbols"):
            client.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": "symbol", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "symbol", "KeyType": "HASH"}],
            )
        for row in rows:
            client.put_item(TableName="restored", Item=row)
        exec(script, {})
        found = client.scan(TableName="symbols")["Items"]
    assert sorted(found, key=lambda row: row["symbol"]["S"]) == rows
