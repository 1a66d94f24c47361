"""A deployed stack for the tests: AWS by moto in this process, the exchange on loopback.

moto's CloudFormation knows neither SAM nor schedules. So `OneStack` answers in its place, with the
physical ids of what was made in moto.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import boto3

from scalper.core.model import SymbolState
from scalper.shell.aws.state_table import DynamoStore
from scalper.shell.ports import Stored
from scalper.shell.settings import Settings
from tests.shell.conftest import make_state_table, make_symbols_table
from tests.workbench.exchange.conftest import KEY, OPEN, SECRET, two_days
from workbench.exchange.server import Exchange, Running, running
from workbench.operate import doctor
from workbench.operate.deployed_stack import (
    DeployedStack,
    OperateError,
    StackResource,
    expected_outputs,
    expected_schedules,
)
from workbench.operate.findings import Finding, Level
from workbench.operate.subject import Subject

REGION = "us-east-1"
BEFORE_THE_OPEN = OPEN - timedelta(hours=1)
WEBHOOK_KEY = "whsec_" + "A" * 32


@dataclass
class OneStack:
    """StackLookup as a test tells them."""

    stack: DeployedStack

    def find(self, name: str) -> DeployedStack:
        if name != self.stack.name:
            raise OperateError(f"no stack {name} in this account")
        return self.stack


@dataclass
class System:
    """A stack without a fault, until a test breaks something."""

    stack: DeployedStack
    exchange: Running
    queues: dict[str, str] = field(default_factory=dict)
    topic: str = ""

    def examined(self, off: timedelta = timedelta(0)) -> list[Finding]:
        """Return the doctor's findings; its clock differs by `off` from the exchange's."""
        now = self.exchange.exchange.venue.now + off
        return doctor.examine(Subject.of_stack(self.stack, lambda: now))

    def advance(self, to: datetime) -> None:
        """Move the exchange's clock."""
        self.exchange.exchange.venue.advance(to)

    @property
    def store(self) -> DynamoStore:
        return DynamoStore(Settings("symbols", "state"))

    def change(self, **changes: Any) -> None:
        self.stack = replace(self.stack, **changes)

    def parameters(self, **changes: str) -> None:
        self.change(parameters={**self.stack.parameters, **changes})

    def outputs(self, **changes: str) -> None:
        self.change(outputs={**self.stack.outputs, **changes})

    def secret(self, name: str, value: object) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        boto3.client("secretsmanager").put_secret_value(SecretId=name, SecretString=text)

    def row(self, symbol: str, **attributes: Any) -> None:
        item = {"symbol": {"S": symbol}, **attributes}
        boto3.client("dynamodb").put_item(TableName="symbols", Item=item)

    def remember(self, state: SymbolState) -> None:
        self.store.save(Stored(state, None), state)

    def lose_table(self, name: str) -> None:
        boto3.client("dynamodb").delete_table(TableName=name)


@contextmanager
def system_with(webhook_url: str, now: datetime = BEFORE_THE_OPEN) -> Iterator[System]:
    """Create all that a stack consists of; the caller has started moto's mock."""
    exchange = Exchange(two_days(), key_id=KEY, secret_key=SECRET, start=now)
    exchange.venue.ledger.no_shorting = True
    with running(exchange) as live:
        make_symbols_table("symbols")
        make_state_table("state")
        secrets = boto3.client("secretsmanager")
        keys = {"key_id": KEY, "secret_key": SECRET}
        secrets.create_secret(Name="broker", SecretString=json.dumps(keys))
        signing = {"current": WEBHOOK_KEY, "previous": ""}
        secrets.create_secret(Name="webhook", SecretString=json.dumps(signing))
        queues = _queues()
        topic = _topic()
        resources = {
            **_schedules(),
            **_mappings(queues),
            **{name: StackResource("AWS::SQS::Queue", url) for name, url in queues.items()},
            "NotifyTopic": StackResource("AWS::SNS::Topic", topic),
        }
        make_alarm("scalper-not-flat")
        outputs = dict.fromkeys(expected_outputs(), "something") | {
            "SymbolsTable": "symbols",
            "StateTable": "state",
            "BrokerSecret": "broker",
            "WebhookSecret": "webhook",
            "WebhookUrl": webhook_url,
        }
        parameters = {
            "TradingMode": "paper",
            "LiveAccountNumber": "",
            "NotifyEmail": "me@example.com",
            "AlpacaTradingUrl": live.url,
            "AlpacaDataUrl": live.url,
        }
        made = System(
            DeployedStack("scalper", "CREATE_COMPLETE", REGION, outputs, parameters, resources),
            live,
            queues,
            topic,
        )
        made.row("AAA")
        yield made


def of(findings: list[Finding], check: str) -> list[Finding]:
    """Return the lines of one check."""
    return [one for one in findings if one.check == check]


def not_ok(findings: list[Finding]) -> list[tuple[Level, str, str]]:
    """Return the lines that are not OK, without what to do."""
    return [(one.level, one.check, one.text) for one in findings if one.level is not Level.OK]


def make_alarm(name: str) -> None:
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="scalper",
        MetricName="Any",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
    )


def _queues() -> dict[str, str]:
    client = boto3.client("sqs")
    url = client.create_queue(QueueName="dead")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    redrive = json.dumps({"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 5})
    checkups = client.create_queue(QueueName="checkup", Attributes={"RedrivePolicy": redrive})
    return {"CheckupQueue": checkups["QueueUrl"], "DeadLetterQueue": url}


def _topic() -> str:
    client = boto3.client("sns")
    topic = client.create_topic(Name="notify")["TopicArn"]
    client.subscribe(TopicArn=topic, Protocol="email", Endpoint="me@example.com")
    return topic


def _schedules() -> dict[str, StackResource]:
    client = boto3.client("scheduler")
    made = {}
    for number in range(expected_schedules()):
        name = f"schedule-{number}"
        client.create_schedule(
            Name=name,
            FlexibleTimeWindow={"Mode": "OFF"},
            ScheduleExpression="cron(0 16 ? * MON-FRI *)",
            Target={"Arn": "arn:aws:lambda:x", "RoleArn": "arn:aws:iam::123456789012:role/x"},
        )
        made[f"Schedule{number}"] = StackResource("AWS::Scheduler::Schedule", name)
    return made


def _mappings(queues: dict[str, str]) -> dict[str, StackResource]:
    role = boto3.client("iam").create_role(
        RoleName="role", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17"})
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as one:
        one.writestr("checkup.py", "")
    client = boto3.client("lambda")
    client.create_function(
        FunctionName="checkup",
        Runtime="python3.13",
        Role=role["Role"]["Arn"],
        Handler="checkup.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    made = client.create_event_source_mapping(
        FunctionName="checkup",
        EventSourceArn="arn:aws:sqs:us-east-1:123456789012:checkup",
        BatchSize=10,
    )
    return {"CheckupFunctionDue": StackResource("AWS::Lambda::EventSourceMapping", made["UUID"])}
