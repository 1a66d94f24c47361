"""The six handlers with the events that AWS sends, against the exchange and an AWS in process."""

import ast
import importlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

import checkup
import close_day
import liquidate
import relay
import tick
import trade_update
from scalper.core.session import MINUTE, Session, floor_minute, new_york_day
from scalper.shell import runtime
from scalper.shell.alpaca import client
from scalper.shell.aws.lease_table import DynamoLeaseTable
from scalper.shell.aws.state_table import DynamoStore
from scalper.shell.errors import BrokerDownError, ScalperError, SettingsError, StoreDownError
from scalper.shell.relay.lease import Lease
from scalper.shell.settings import Settings
from scalper.shell.trading import liquidate as liquidation
from scalper.shell.trading.tick_schedule import MAX_LINKS
from scalper.shell.webhook import MAX_BODY, sign
from tests.shell.conftest import Records, make_state_table, make_symbols_table
from tests.shell.fakes import client_id
from tests.workbench.exchange.conftest import CLOSE, FRIDAY, KEY, SECRET, Client, asking, at
from workbench.template.declared import functions

HOOK_KEY = "whsec_a2tra2tra2tra2tra2tra2tra2tra2tr"
NAMES = list(functions())
CUTOFF = at(385)


@dataclass
class World:
    """The exchange, and what the template would have made."""

    exchange: Client
    queue_url: str
    mails_url: str

    def order(self, generation: int, purpose: str = "entry") -> dict[str, Any]:
        name = client_id(generation, purpose, day=FRIDAY)
        answer = self.exchange.http.get(
            "/v2/orders:by_client_order_id", params={"client_order_id": name}
        )
        return dict(answer.raise_for_status().json())

    def orders(self) -> list[tuple[str, str]]:
        found = self.exchange.http.get("/v2/orders", params={"status": "all", "direction": "asc"})
        return [(one["client_order_id"], one["status"]) for one in found.json()]

    def advance(self, to: datetime) -> None:
        self.exchange.advance(to).raise_for_status()

    def armed(self) -> int:
        counts = boto3.client("sqs").get_queue_attributes(
            QueueUrl=self.queue_url, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
        )
        return int(counts["Attributes"]["ApproximateNumberOfMessagesDelayed"])

    def mails(self) -> list[dict[str, Any]]:
        found = boto3.client("sqs").receive_message(QueueUrl=self.mails_url, MaxNumberOfMessages=10)
        return [json.loads(one["Body"]) for one in found.get("Messages", [])]


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    logging.getLogger("scalper").addHandler(handler)
    yield handler
    logging.getLogger("scalper").removeHandler(handler)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SYMBOLS_TABLE": "symbols",
        "STATE_TABLE": "state",
        "CHECKUP_QUEUE_URL": "",
        "TICK_QUEUE_URL": "",
        "BROKER_SECRET_ID": "broker",
        "WEBHOOK_SECRET_ID": "webhook",
        "WEBHOOK_URL": "",
        "TRADING_MODE": "paper",
        "ALPACA_TRADING_URL": "",
        "ALPACA_DATA_URL": "",
        "ALPACA_STREAM_URL": "",
        "DATA_FEED": "iex",
        "DEFAULT_LOT": "2000",
        "CLOCK": "broker",
        "NOTIFY_TOPIC_ARN": "",
        "BAR_WAIT_S": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(client, "GET_BACKOFF_S", 0.0)
    monkeypatch.setattr(liquidation, "CANCEL_POLL_S", 0.0)
    runtime._engine.cache_clear()
    runtime._webhook_keys.cache_clear()
    yield monkeypatch
    runtime._engine.cache_clear()
    runtime._webhook_keys.cache_clear()


@pytest.fixture
def world(environment: pytest.MonkeyPatch) -> Iterator[World]:
    with mock_aws(), asking() as client:
        make_state_table()
        make_symbols_table()
        boto3.client("dynamodb").put_item(
            TableName="symbols",
            Item={"symbol": {"S": "AAA"}, "signal": {"S": "tests.shell.fakes:always"}},
        )
        secrets = boto3.client("secretsmanager")
        secrets.create_secret(
            Name="broker", SecretString=json.dumps({"key_id": KEY, "secret_key": SECRET})
        )
        secrets.create_secret(
            Name="webhook", SecretString=json.dumps({"current": HOOK_KEY, "previous": ""})
        )
        sqs, sns = boto3.client("sqs"), boto3.client("sns")
        queue_url = sqs.create_queue(QueueName="checkup")["QueueUrl"]
        mails_url = sqs.create_queue(QueueName="mails")["QueueUrl"]
        topic = sns.create_topic(Name="owner")["TopicArn"]
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint="arn:aws:sqs:us-east-1:123456789012:mails",
        )
        url = client.running.url
        environment.setenv("CHECKUP_QUEUE_URL", queue_url)
        environment.setenv("NOTIFY_TOPIC_ARN", topic)
        environment.setenv("ALPACA_TRADING_URL", url)
        environment.setenv("ALPACA_DATA_URL", url)
        environment.setenv("ALPACA_STREAM_URL", client.running.stream_url)
        yield World(client, queue_url, mails_url)


def scheduled(when: datetime, **more: Any) -> dict[str, Any]:
    return {"scheduled_time": when.isoformat().replace("+00:00", "Z"), **more}


def sqs_event(*bodies: str) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": f"059f36b4-87a3-44ab-83d2-66197598{number:04d}",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:checkup",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def url_event(body: str, headers: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": sign(body, HOOK_KEY) if headers is None else headers,
        "requestContext": {
            "http": {"method": "POST", "path": "/", "sourceIp": "127.0.0.1"},
            "requestId": "1",
        },
        "body": body,
        "isBase64Encoded": False,
    } | more


def fill_message(world: World, generation: int = 1, purpose: str = "entry") -> str:
    order = world.order(generation, purpose)
    return json.dumps(
        {
            "stream": "trade_updates",
            "data": {
                "event": "fill",
                "order": order,
                "timestamp": order["filled_at"],
                "price": order["filled_avg_price"],
                "qty": order["filled_qty"],
            },
        }
    )


class TestTick:
    def test_scheduler_sends_the_minute(self, world: World):
        world.advance(at(1))
        answer = tick.handler(scheduled(at(1), shard=0, shard_count=1), None)
        assert answer == {
            "status": "ok",
            "minute": at(1).isoformat(),
            "symbols": 1,
            "busy": 1,
        }
        assert [name for name, _ in world.orders()] == [client_id(1, day=FRIDAY)]
        order = world.order(1)
        assert (order["qty"], order["limit_price"], order["side"]) == ("199", "10.01", "buy")
        assert world.armed() == 1

    @pytest.mark.parametrize(
        "event",
        [
            {},
            {"scheduled_time": "<aws.scheduler.scheduled-time>", "shard": 0, "shard_count": 1},
            sqs_event('{"scheduled_time": "<aws.scheduler.scheduled-time>"}'),
            sqs_event("{}"),
        ],
        ids=["empty", "placeholder", "queued placeholder", "queued empty"],
    )
    def test_without_the_minute_it_is_the_brokers(self, world: World, event: dict[str, Any]):
        world.advance(at(1.2))
        answer = tick.handler(event, None)
        assert (answer["status"], answer["minute"]) == ("ok", at(1).isoformat())

    def test_several_messages_are_several_ticks(self, world: World):
        world.advance(at(2))
        bodies = [json.dumps(scheduled(at(number))) for number in (1, 2, 2)]
        answer = tick.handler(sqs_event(*bodies), None)
        assert [one["status"] for one in answer["ticks"]] == ["ok", "ok", "repeated"]

    @pytest.mark.parametrize("link", [0, MAX_LINKS + 1, "1", None, 1.5])
    def test_a_message_of_no_sense_raises_and_is_given_up(self, world: World, link: object):
        body = json.dumps(scheduled(at(1), link=link))
        with pytest.raises(SettingsError, match=r"link .* is not a number"):
            tick.handler(sqs_event(body), None)

    def test_the_schedule_has_no_place_in_a_row_of_messages(self, world: World):
        world.advance(at(1))
        assert tick.handler(scheduled(at(1), link=5), None)["status"] == "ok"

    def test_a_tick_arms_the_coming_minute_by_a_message_that_the_handler_takes(
        self, world: World, environment: pytest.MonkeyPatch
    ):
        """With a clock of its own, in a session that lies around the present."""
        sqs = boto3.client("sqs")
        queue = sqs.create_queue(QueueName="ticks")["QueueUrl"]
        environment.setenv("CLOCK", "system")
        environment.setenv("TICK_QUEUE_URL", queue)
        engine = runtime.current_engine()
        now = engine.timing.now()
        minute = floor_minute(now)
        engine.sessions = {
            new_york_day(day): Session(new_york_day(day), minute - 5 * MINUTE, minute + 9 * MINUTE)
            for day in (minute, minute + 2 * MINUTE)
        }
        sent: list[tuple[int, dict[str, Any]]] = []
        tick_in = engine.outbox.tick_in

        def at_once(delay_s: int, event: Mapping[str, Any]) -> None:
            sent.append((delay_s, dict(event)))
            tick_in(0, event)

        environment.setattr(engine.outbox, "tick_in", at_once)
        assert tick.handler(scheduled(minute), None)["status"] == "ok"
        ((delay_s, event),) = sent
        coming = datetime.fromisoformat(event["scheduled_time"])
        assert coming - now <= timedelta(seconds=60)
        assert 0 <= (coming - now).total_seconds() - delay_s < 5
        (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
        assert (
            json.loads(message["Body"])
            == event
            == {
                "scheduled_time": coming.isoformat(),
                "shard": 0,
                "shard_count": 1,
                "link": 1,
            }
        )
        # A copy of a message whose minute ran does nothing.
        copy = json.dumps({**event, "scheduled_time": minute.isoformat()})
        assert tick.handler(sqs_event(copy), None)["status"] == "repeated"
        assert len(sent) == 1

    def test_a_warm_environment_asks_for_hours_and_keys_once(self, world: World):
        for number in (1, 2, 3):
            world.advance(at(number))
            tick.handler(scheduled(at(number)), None)
        state = world.exchange.http.get("/exchange/state").json()
        calendar = [n for path, n in state["requests"].items() if "calendar" in path]
        assert calendar == [1]

    def test_a_broker_that_is_gone_does_not_raise(
        self, world: World, environment: pytest.MonkeyPatch
    ):
        environment.setenv("ALPACA_TRADING_URL", "http://127.0.0.1:9")
        assert tick.handler(scheduled(at(1)), None)["status"] == "failed"

    def test_wrong_keys_are_one_line_on_what_to_set(self, world: World, records: Records):
        boto3.client("secretsmanager").put_secret_value(
            SecretId="broker", SecretString='{"key_id": "wrong", "secret_key": "wrong"}'
        )
        assert tick.handler(scheduled(at(1)), None) == {"status": "keys_refused"}
        (record,) = records.of("the broker refuses the keys")
        assert "the secret broker" in record.__dict__["todo"]

    def test_missing_keys_are_one_line_on_what_to_set(self, world: World, records: Records):
        boto3.client("secretsmanager").put_secret_value(
            SecretId="broker", SecretString='{"key_id": "", "secret_key": ""}'
        )
        with pytest.raises(SettingsError, match="the broker keys are not set: put"):
            tick.handler(scheduled(at(1)), None)
        assert records.messages() == ["settings"]

    def test_rows_that_make_no_sense_are_refused_and_the_others_trade(
        self, world: World, records: Records
    ):
        table = boto3.client("dynamodb")
        for item in (
            {"symbol": {"S": "BBB"}, "lot": {"S": "abc"}},
            {"symbol": {"S": "tsla "}},
            {"symbol": {"S": "X" * 300}},
            {"symbol": {"S": "CCC"}, "lots": {"N": "5"}},
            {"symbol": {"S": "DDD"}, "lot": {"N": "-5"}},
        ):
            table.put_item(TableName="symbols", Item=item)
        world.advance(at(1))
        assert tick.handler(scheduled(at(1)), None)["symbols"] == 1
        assert len(records.of("symbol refused")) == 5
        assert len(world.orders()) == 1


class TestTradeUpdate:
    @pytest.fixture
    def bought(self, world: World) -> World:
        world.advance(at(1))
        tick.handler(scheduled(at(1)), None)
        world.advance(at(2))
        return world

    def test_a_fill_is_sold_before_the_answer(self, bought: World):
        answer = trade_update.handler(url_event(fill_message(bought)), None)
        assert answer == {
            "statusCode": 200,
            "headers": {"content-type": "application/json"},
            "body": '{"status": "taken", "reason": "bought"}',
        }
        sell = bought.order(2, "target")
        assert (sell["side"], sell["qty"], sell["limit_price"]) == ("sell", "199", "10.02")

    @pytest.mark.fault("bad-webhook")
    def test_again_it_changes_nothing(self, bought: World):
        message = fill_message(bought)
        for _ in range(3):
            assert trade_update.handler(url_event(message), None)["statusCode"] == 200
        assert len(bought.orders()) == 2

    def test_an_unknown_client_id_answers_200_and_changes_nothing(self, bought: World):
        message = fill_message(bought)
        before = boto3.client("dynamodb").scan(TableName="state")["Items"]
        for name in ("by-hand", client_id(9, day=FRIDAY), client_id(1, symbol="NEW", day=FRIDAY)):
            changed = message.replace(client_id(1, day=FRIDAY), name)
            assert trade_update.handler(url_event(changed), None)["statusCode"] == 200
        assert boto3.client("dynamodb").scan(TableName="state")["Items"] == before
        assert len(bought.orders()) == 1

    def test_other_streams_are_ignored(self, world: World, records: Records):
        answer = trade_update.handler(url_event('{"stream": "listening"}'), None)
        assert (answer["statusCode"], json.loads(answer["body"])) == (
            200,
            {"status": "ignored", "reason": "other_stream"},
        )
        (line,) = records.of("event ignored")
        assert line.__dict__["reason"] == "other_stream"

    @pytest.mark.fault("bad-webhook")
    @pytest.mark.parametrize(
        "lie", [{"id": "of-another-account"}, {"qty": "500", "filled_qty": "500"}], ids=str
    )
    def test_an_event_that_cannot_be_of_the_working_order_changes_nothing(
        self, bought: World, lie: dict[str, str], records: Records
    ):
        message = json.loads(fill_message(bought))
        message["data"]["order"] |= lie
        before = boto3.client("dynamodb").scan(TableName="state")["Items"]
        answer = trade_update.handler(url_event(json.dumps(message)), None)
        assert (answer["statusCode"], json.loads(answer["body"])) == (
            200,
            {"status": "ignored", "reason": "other_account"},
        )
        assert boto3.client("dynamodb").scan(TableName="state")["Items"] == before
        assert len(bought.orders()) == 1
        assert records.messages() == ["event of another account"]

    @pytest.mark.fault("bad-webhook")
    def test_each_refusal_is_counted_and_logged_in_one_short_line(
        self, world: World, records: Records, capsys: pytest.CaptureFixture[str]
    ):
        bodies = ("x" * (MAX_BODY + 1), "{}")
        for body in bodies:
            trade_update.handler(url_event(body, {}), None)
        trade_update.handler(url_event("5"), None)
        lines = capsys.readouterr().out.splitlines()
        sent = [json.loads(line) for line in lines if line.startswith('{"_aws"')]
        assert [one["WebhookRefused"] for one in sent] == [[1.0]] * 3
        said = records.of("webhook refused")
        assert [one.__dict__["status"] for one in said] == [413, 401, 400]
        assert max(len(one.__dict__["error"]) for one in said) < 80

    @pytest.mark.fault("bad-webhook")
    @pytest.mark.parametrize(
        ("request_now", "status"),
        [
            (lambda: url_event("x" * (MAX_BODY + 1), {}), 413),
            (lambda: url_event("{}", {}), 401),
            (lambda: url_event("{}", sign("{ }", HOOK_KEY)), 401),
            (lambda: url_event("{}", sign("{}", HOOK_KEY) | {"content-type": "text/plain"}), 415),
            (lambda: url_event("5"), 400),
            (dict, 401),
            (lambda: {"version": "2.0", "headers": None, "body": None}, 401),
        ],
        ids=["too-large", "unsigned", "forged", "not-json", "no-message", "empty", "no-headers"],
    )
    def test_refusals_have_their_status_and_no_details(
        self,
        world: World,
        request_now: Callable[[], dict[str, Any]],
        status: int,
        records: Records,
    ):
        # Signed here, not where the tests are collected: a signature lasts for five minutes.
        answer = trade_update.handler(request_now(), None)
        assert (answer["statusCode"], json.loads(answer["body"])) == (
            status,
            {"status": "refused", "reason": "delivery_refused"},
        )
        assert records.messages() == ["webhook refused"]
        assert world.orders() == []

    def test_too_large_comes_before_the_secrets(
        self, environment: pytest.MonkeyPatch, records: Records
    ):
        environment.setenv("WEBHOOK_SECRET_ID", "")
        answer = trade_update.handler(url_event("x" * (MAX_BODY + 1), {}), None)
        assert answer["statusCode"] == 413

    def test_a_missing_webhook_key_answers_503(
        self, environment: pytest.MonkeyPatch, records: Records
    ):
        environment.setenv("WEBHOOK_SECRET_ID", "")
        answer = trade_update.handler(url_event("{}"), None)
        assert answer["statusCode"] == 503
        assert records.messages() == ["webhook failed"]

    @pytest.mark.parametrize("gone", ["ALPACA_TRADING_URL", "STATE_TABLE", "BROKER_SECRET_ID"])
    def test_what_is_gone_answers_503_and_does_not_raise(
        self, bought: World, environment: pytest.MonkeyPatch, gone: str
    ):
        message = fill_message(bought)
        environment.setenv(gone, "http://127.0.0.1:9" if "URL" in gone else "gone")
        answer = trade_update.handler(url_event(message), None)
        assert (answer["statusCode"], answer["body"]) == (
            503,
            '{"status": "failed", "reason": "request_failed"}',
        )

    def test_a_state_that_could_not_be_written_is_asked_to_be_sent_again(
        self, bought: World, monkeypatch: pytest.MonkeyPatch
    ):
        def throttled(*args: Any) -> None:
            raise StoreDownError("throttled")

        monkeypatch.setattr(DynamoStore, "save", throttled)
        answer = trade_update.handler(url_event(fill_message(bought)), None)
        assert (answer["statusCode"], answer["body"]) == (
            503,
            '{"status": "failed", "reason": "symbol_failed"}',
        )


class TestCheckup:
    @pytest.mark.fault("1")
    def test_a_fill_whose_event_was_lost_is_sold(self, world: World):
        world.advance(at(1))
        tick.handler(scheduled(at(1)), None)
        world.advance(at(2))
        event = sqs_event('{"armed_at": "2013-10-04T13:31:00+00:00"}', "not even JSON")
        answer = checkup.handler(event, None)
        assert answer == {"status": "ok", "busy": 1, "batchItemFailures": []}
        assert world.orders()[-1][0] == client_id(2, "target", day=FRIDAY)

    def test_a_store_that_is_gone_raises_to_be_delivered_again(
        self, world: World, environment: pytest.MonkeyPatch
    ):
        environment.setenv("STATE_TABLE", "gone")
        with pytest.raises(ScalperError):
            checkup.handler(sqs_event("{}"), None)

    def test_a_broker_that_is_gone_raises_to_be_delivered_again(
        self, world: World, environment: pytest.MonkeyPatch
    ):
        environment.setenv("ALPACA_TRADING_URL", "http://127.0.0.1:9")
        with pytest.raises(BrokerDownError):
            checkup.handler(sqs_event("{}"), None)


class TestTheEndOfTheDay:
    def test_liquidation_then_the_close(self, world: World):
        world.advance(at(384))
        tick.handler(scheduled(at(384)), None)
        world.advance(CUTOFF)
        trade_update.handler(url_event(fill_message(world)), None)
        answer = liquidate.handler(scheduled(CUTOFF), None)
        assert answer == {"status": "ok", "flat": False, "left": ["AAA"]}
        world.advance(at(386))
        assert liquidate.handler({"scheduled_time": ""}, None)["flat"] is True
        world.advance(CLOSE)
        summary = close_day.handler(scheduled(CLOSE), None)
        assert summary["session"] == "2013-10-04"
        assert (summary["trades"], summary["flat"]) == (1, True)
        assert {"pnl_usd", "positions", "open_orders", "symbols"} <= set(summary)
        (mail,) = world.mails()
        assert mail["Subject"].startswith("Scalper 2013-10-04: ")
        assert mail["Subject"].endswith("1 trades, flat")

    def test_the_fills_are_compared_with_the_orders(self, world: World):
        world.advance(at(1))
        tick.handler(scheduled(at(1)), None)
        world.advance(at(2))
        trade_update.handler(url_event(fill_message(world)), None)
        world.advance(CLOSE)
        summary = close_day.handler(scheduled(CLOSE), None)
        assert (summary["pnl_checked"], summary["mismatches"]) == (True, {})

    def test_on_a_day_without_a_session_it_verifies(self, world: World):
        saturday = CLOSE + timedelta(days=1)
        world.advance(saturday)
        answer = close_day.handler(scheduled(saturday), None)
        assert (answer["status"], answer["flat"]) == ("no session", True)
        assert world.mails() == []

    @pytest.mark.parametrize(
        "event", [{}, {"scheduled_time": "<aws.scheduler.scheduled-time>"}, None]
    )
    def test_a_time_that_is_not_given_is_now(self, world: World, event: dict[str, Any] | None):
        given = scheduled(at(5)) if event is None else event
        world.advance(at(5))
        assert liquidate.handler(given, None) == {"status": "not due", "flat": None}
        assert close_day.handler(given, None) == {"status": "not closed", "session": "2013-10-04"}

    @pytest.mark.parametrize("name", ["liquidate", "close_day"])
    def test_a_broker_that_is_gone_raises_to_be_invoked_again(
        self, world: World, environment: pytest.MonkeyPatch, name: str
    ):
        environment.setenv("ALPACA_TRADING_URL", "http://127.0.0.1:9")
        with pytest.raises(BrokerDownError):
            importlib.import_module(name).handler(scheduled(CLOSE), None)


class TestRelay:
    class Context:
        """A context whose time is over a moment after the relay began to listen."""

        def __init__(self, world: World) -> None:
            self.stream = world.exchange.running.exchange.stream
            self.until = math.inf

        def get_remaining_time_in_millis(self) -> int:
            if self.stream.listening and self.until == math.inf:
                self.until = time.monotonic() + 0.1
            return 60_000 if time.monotonic() < self.until else 0

    @pytest.fixture
    def hooked(self, world: World, environment: pytest.MonkeyPatch) -> World:
        environment.setenv("WEBHOOK_URL", "http://127.0.0.1:9/")
        environment.setattr("scalper.shell.relay.stream.LISTEN_SLICE_S", 0.01)
        environment.setattr("scalper.shell.relay.lease.POLL_S", 0.01)
        environment.setattr("scalper.shell.relay.lease.WATCH_S", 0.05)
        world.advance(at(1))
        return world

    def test_it_relays_until_its_time_is_over_and_asks_for_a_checkup(self, hooked: World):
        answer = relay.handler({}, self.Context(hooked))
        assert answer == {"status": "ok", "posted": 0}
        counts = boto3.client("sqs").get_queue_attributes(
            QueueUrl=hooked.queue_url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
        assert counts == {"ApproximateNumberOfMessages": "1"}

    def test_the_lease_is_given_back_at_the_end_and_each_tenancy_has_a_higher_number(
        self, hooked: World, records: Records
    ):
        for _ in range(3):
            relay.handler({}, self.Context(hooked))
        tokens = [record.__dict__["token"] for record in records.of("lease taken")]
        assert tokens == sorted(set(tokens))
        assert len(tokens) == len(records.of("lease given back")) == 3
        assert records.messages() == []

    def test_a_heartbeat_is_sent_while_it_is_connected_not_at_its_end(
        self, hooked: World, capsys: pytest.CaptureFixture[str]
    ):
        relay.handler({}, self.Context(hooked))
        lines = capsys.readouterr().out.splitlines()
        sent = [json.loads(line) for line in lines if line.startswith('{"_aws"')]
        assert [one["RelayHeartbeat"] for one in sent if "RelayHeartbeat" in one] == [[1.0]]

    def test_a_start_that_finds_the_lease_held_ends_and_leaves_it(self, hooked: World):
        now = datetime.now(UTC)
        lease = Lease("another", 7, now + timedelta(seconds=18), now + timedelta(minutes=10))
        table = DynamoLeaseTable(Settings.of(os.environ))
        held = table.put(lease)
        assert relay.handler({}, self.Context(hooked)) == {"status": "held", "posted": 0}
        assert table.present() == held

    def test_outside_market_hours_it_ends_and_takes_no_lease(self, hooked: World):
        hooked.advance(at(392))
        assert relay.handler({}, self.Context(hooked)) == {"status": "closed", "posted": 0}
        assert DynamoLeaseTable(Settings.of(os.environ)).present() is None

    def test_the_key_of_the_webhook_is_fetched_before_the_lease(self, hooked: World):
        boto3.client("secretsmanager").put_secret_value(SecretId="webhook", SecretString="{}")
        with pytest.raises(SettingsError, match="the webhook key is not set"):
            relay.handler({}, self.Context(hooked))
        assert DynamoLeaseTable(Settings.of(os.environ)).present() is None

    def test_without_a_webhook_it_says_what_to_set(self, world: World):
        with pytest.raises(SettingsError, match="WEBHOOK_URL is not set"):
            relay.handler({}, None)


@pytest.mark.parametrize("name", [one for one in NAMES if one != "trade_update"])
def test_a_missing_setting_raises_after_one_line_that_names_it(
    name: str, environment: pytest.MonkeyPatch, records: Records
):
    environment.delenv("STATE_TABLE")
    with pytest.raises(SettingsError, match="STATE_TABLE is not set"):
        importlib.import_module(name).handler({}, None)
    assert records.messages() == ["settings"]
    assert records.of("settings")[0].__dict__["error"] == "STATE_TABLE is not set"


@pytest.mark.parametrize("name", NAMES)
def test_a_handler_is_a_few_lines(name: str):
    source = Path(importlib.import_module(name).__file__ or "").read_text()
    assert len(source.splitlines()) <= 25
    (function,) = [one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef)]
    assert function.name == "handler"
    assert [one.arg for one in function.args.args] == ["event", "context"]
