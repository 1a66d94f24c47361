"""AWS on loopback: what template.yaml declares, made once, and queues that go by another clock."""

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import pytest

from workbench.servers import aws
from workbench.servers.processes import started
from workbench.template.declared import load_template

DECLARED = load_template()["Resources"]
NOON = datetime(2015, 12, 24, 17, 0, tzinfo=UTC)
BROKER = {"key_id": "one", "secret_key": "two"}
WEBHOOK = {"current": "whsec_one", "previous": ""}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with started(["aws", "--port", "0"]) as address:
        yield address


@pytest.fixture
def made(url, monkeypatch) -> aws.Resources:
    """Return the resources, made as the local day makes them, in an environment that is lent."""
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": aws.REGION,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return make()


def make(broker: dict[str, str] = BROKER) -> aws.Resources:
    return aws.create_resources(load_template(), broker=broker, webhook=WEBHOOK)


def set_clock(url: str, at: datetime) -> None:
    assert httpx.post(f"{url}{aws.CLOCK_PATH}", content=at.isoformat()).status_code == 200


def received(queue_url: str) -> list[Any]:
    answer = boto3.client("sqs").receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, AttributeNames=["All"]
    )
    return list(answer.get("Messages", []))


@pytest.mark.parametrize("name", ["SymbolsTable", "StateTable"])
def test_a_table_has_the_keys_of_the_template(made, name):
    client = boto3.client("dynamodb")
    table = client.describe_table(TableName=name)["Table"]
    properties = DECLARED[name]["Properties"]
    assert table["KeySchema"] == properties["KeySchema"]
    assert table["AttributeDefinitions"] == properties["AttributeDefinitions"]
    assert table["BillingModeSummary"]["BillingMode"] == properties["BillingMode"]
    assert "GlobalSecondaryIndexes" not in properties, "they are not made here yet"
    expires = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    declared = properties.get("TimeToLiveSpecification")
    assert expires.get("AttributeName") == (declared["AttributeName"] if declared else None)


@pytest.mark.parametrize("name", ["CheckupQueue", "TickQueue", "DeadLetterQueue"])
def test_a_queue_has_the_attributes_of_the_template(made, name):
    client = boto3.client("sqs")
    queue_url = client.get_queue_url(QueueName=name)["QueueUrl"]
    found = client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"])["Attributes"]
    properties = dict(DECLARED[name]["Properties"])
    redrive = properties.pop("RedrivePolicy", None)
    for key, value in properties.items():
        assert found[key] == (str(value).lower() if isinstance(value, bool) else str(value)), key
    if redrive is None:
        assert "RedrivePolicy" not in found
    else:
        dead = redrive["deadLetterTargetArn"]["Fn::GetAtt"][0]
        arn = f"arn:aws:sqs:{aws.REGION}:123456789012:{dead}"
        expected = {"deadLetterTargetArn": arn, "maxReceiveCount": redrive["maxReceiveCount"]}
        assert json.loads(found["RedrivePolicy"]) == expected


def test_the_secrets_hold_what_was_given_and_the_topic_is_there(made):
    client = boto3.client("secretsmanager")
    values = [
        json.loads(client.get_secret_value(SecretId=name)["SecretString"])
        for name in (made.broker_secret_id, made.webhook_secret_id)
    ]
    assert values == [BROKER, WEBHOOK]
    topics = boto3.client("sns").list_topics()["Topics"]
    assert {"TopicArn": made.notify_topic_arn} in topics


def test_a_second_creation_finds_what_is_there_and_leaves_it_alone(made, url):
    set_clock(url, NOON)
    client = boto3.client("dynamodb")
    item = {"symbol": {"S": "TSLA"}, "lot": {"N": "500"}}
    client.put_item(TableName=made.symbols_table, Item=item)
    boto3.client("sqs").send_message(QueueUrl=made.tick_queue_url, MessageBody="kept")
    assert make({"key_id": "other", "secret_key": "other"}) == made
    key = {"symbol": {"S": "TSLA"}}
    assert client.get_item(TableName=made.symbols_table, Key=key)["Item"] == item
    secret = boto3.client("secretsmanager").get_secret_value(SecretId=made.broker_secret_id)
    assert json.loads(secret["SecretString"]) == BROKER
    queue = boto3.client("sqs").get_queue_attributes(
        QueueUrl=made.tick_queue_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert int(queue["Attributes"]["ApproximateNumberOfMessages"]) >= 1


def test_a_delayed_message_is_due_when_the_clock_was_moved_so_far_and_not_before(made, url):
    """Regression: messages of a past day counted as expired, and no checkup ever came."""
    client = boto3.client("sqs")
    set_clock(url, NOON)
    client.send_message(QueueUrl=made.checkup_queue_url, MessageBody="later", DelaySeconds=30)
    client.send_message(QueueUrl=made.checkup_queue_url, MessageBody="now")
    assert [one["Body"] for one in received(made.checkup_queue_url)] == ["now"]
    set_clock(url, NOON + timedelta(seconds=29.9))
    assert received(made.checkup_queue_url) == []
    set_clock(url, NOON + timedelta(seconds=30))
    [message] = received(made.checkup_queue_url)
    assert message["Body"] == "later"
    client.delete_message(QueueUrl=made.checkup_queue_url, ReceiptHandle=message["ReceiptHandle"])
    # What was not deleted comes back after the visibility timeout of the same clock.
    set_clock(url, NOON + timedelta(seconds=359))
    assert received(made.checkup_queue_url) == []
    set_clock(url, NOON + timedelta(seconds=361))
    [again] = received(made.checkup_queue_url)
    assert (again["Body"], again["Attributes"]["ApproximateReceiveCount"]) == ("now", "2")


@pytest.mark.parametrize("body", ["", "noon", "2015-13-24"])
def test_a_clock_set_to_no_time_is_refused_and_goes_on_from_where_it_was(made, url, body):
    assert httpx.post(f"{url}{aws.CLOCK_PATH}", content=body).status_code == 400


def test_requests_to_the_tables_are_answered_one_at_a_time():
    """Regression: moto looks at a condition first and writes later, without a lock.

    Of four writers of one version two won in 48 of 1,500 rounds.
    """
    inside: list[int] = []
    together: list[int] = []

    def moto(environ, start):
        inside.append(1)
        threading.Event().wait(0.02)
        together.append(len(inside))
        inside.pop()
        return []

    app = aws._Clock().before(moto)
    environ = {"PATH_INFO": "/", "HTTP_X_AMZ_TARGET": "DynamoDB_20120810.PutItem"}
    threads = [
        threading.Thread(target=app, args=({**environ, "wsgi.input": io.BytesIO()}, None))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [1, 1, 1, 1]
