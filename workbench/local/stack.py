"""The stack of a local day: its resources on the embedded AWS, and its functions' environment."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from workbench.servers import aws
from workbench.servers.keys import KEY_ID, SECRET_KEY
from workbench.servers.processes import LocalDayError, Servers

SymbolsItem = Mapping[str, Any]
"""An item of the symbols table, as DynamoDB has it."""


@contextmanager
def aws_answers() -> Iterator[None]:
    """Raise LocalDayError if AWS does not answer, or refuses."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise LocalDayError(f"AWS does not answer: {error}") from error


def deploy(
    template: Mapping[str, Any], servers: Servers, items: Iterable[SymbolsItem]
) -> aws.Resources:
    """Create the stack's resources, fill its secrets, and put `items` into the symbols table.

    This process's AWS clients use these servers from now on. Raises LocalDayError.
    """
    aws.use_endpoint(servers.aws_url)
    key = "whsec_" + base64.b64encode(b"of the local day, guards nothing").decode()
    with aws_answers():
        resources = aws.create_resources(
            template,
            broker={"key_id": KEY_ID, "secret_key": SECRET_KEY},
            webhook={"current": key, "previous": ""},
        )
        client = boto3.client("dynamodb")
        for item in items:
            client.put_item(TableName=resources.symbols_table, Item=item)
    return resources


def environment(
    resources: aws.Resources, servers: Servers, *, webhook_url: str, lot: str
) -> dict[str, str]:
    """Return the functions' environment variables; `lot` is decimal text in dollars."""
    return {
        "SYMBOLS_TABLE": resources.symbols_table,
        "STATE_TABLE": resources.state_table,
        "CHECKUP_QUEUE_URL": resources.checkup_queue_url,
        "TICK_QUEUE_URL": resources.tick_queue_url,
        "BROKER_SECRET_ID": resources.broker_secret_id,
        "WEBHOOK_SECRET_ID": resources.webhook_secret_id,
        "WEBHOOK_URL": webhook_url + "/",
        "TRADING_MODE": "paper",
        "ALPACA_TRADING_URL": servers.exchange_url,
        "ALPACA_DATA_URL": servers.exchange_url,
        "ALPACA_STREAM_URL": servers.exchange_url.replace("http", "ws", 1) + "/stream",
        "DATA_FEED": "iex",
        "DEFAULT_LOT": lot,
        "CLOCK": "broker",
        "NOTIFY_TOPIC_ARN": resources.notify_topic_arn,
        "BAR_WAIT_S": "0",
    }
