"""What the shell's tests share: AWS in this process, the log as records, no waits."""

import logging
from collections.abc import Iterator

import boto3
import hypothesis
import pytest
from moto import mock_aws

from scalper.shell.alpaca import client
from scalper.shell.relay import stream as relay
from scalper.shell.trading import liquidate as liquidation
from scalper.shell.trading import tick as ticks
from tests.shell.fakes import Desk
from tests.shell.scripted import Scripted, scripted

# The time of one example means nothing while tests share two cores.
hypothesis.settings.register_profile("without deadline", deadline=None)
hypothesis.settings.load_profile("without deadline")


class Records(logging.Handler):
    """Keeps the log's records."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(record)

    def clear(self) -> None:
        self.all.clear()

    def messages(self, level: int = logging.WARNING) -> list[str]:
        return [record.getMessage() for record in self.all if record.levelno >= level]

    def text(self) -> str:
        return "\n".join(f"{record.getMessage()} {record.__dict__}" for record in self.all)

    def of(self, message: str) -> list[logging.LogRecord]:
        return [record for record in self.all if record.getMessage() == message]


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    log = logging.getLogger("scalper")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "GET_BACKOFF_S", 0.0)
    monkeypatch.setattr(liquidation, "CANCEL_POLL_S", 0.0)
    monkeypatch.setattr(ticks, "BAR_POLL_S", 0.01)
    monkeypatch.setattr(relay, "BACKOFF_S", (0.0, 0.02))
    monkeypatch.setattr(relay, "POST_BACKOFF_S", 0.0)
    monkeypatch.setattr(relay, "LISTEN_SLICE_S", 0.02)


@pytest.fixture(autouse=True)
def _aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No account of anybody's can be reached by accident."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.fixture
def desk() -> Desk:
    return Desk()


def make_state_table(name: str = "state") -> None:
    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    )


def make_symbols_table(name: str = "symbols") -> None:
    boto3.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "symbol", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "symbol", "KeyType": "HASH"}],
    )


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as made:
        yield made
