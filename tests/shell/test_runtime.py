"""One engine for a warm process; threads side by side; messages that may be lost without harm."""

import json
import threading
from datetime import datetime
from typing import Any

import boto3
import pytest

from scalper.core.model import BarClosed, Phase, Reason, Step, SymbolState
from scalper.shell import runtime, telemetry
from scalper.shell.aws.outbox import AwsOutbox
from scalper.shell.errors import SettingsError
from scalper.shell.events import scheduled_time, ticks_due
from scalper.shell.metrics import Metric
from scalper.shell.runtime import Pool, time_left
from scalper.shell.trading.tick_schedule import TickDue
from tests.shell.conftest import Records
from tests.shell.fakes import DAY, OPEN, minute, settings


class TestPool:
    def test_results_come_in_the_tasks_order(self):
        pool = Pool()
        assert pool([lambda n=n: n * n for n in range(40)]) == [n * n for n in range(40)]  # type: ignore[misc]
        assert pool([]) == []

    def test_tasks_run_side_by_side(self):
        together = threading.Barrier(4, timeout=10)
        assert len(Pool()([together.wait] * 4)) == 4

    def test_one_task_runs_in_place(self):
        assert Pool()([threading.current_thread]) == [threading.current_thread()]

    def test_every_task_has_ended_before_the_first_error_is_raised(self):
        ended: list[int] = []
        gate = threading.Event()

        def slow() -> None:
            gate.wait(10)
            ended.append(1)

        def first() -> None:
            gate.set()
            raise ValueError("first")

        def second() -> None:
            raise KeyError("second")

        with pytest.raises(ValueError, match="first"):
            Pool()([slow, first, second, slow])
        assert ended == [1, 1]


@pytest.mark.usefixtures("aws")
class TestOutbox:
    def test_a_checkup_is_a_delayed_message(self):
        url = boto3.client("sqs").create_queue(QueueName="checkup")["QueueUrl"]
        AwsOutbox(settings(checkup_queue_url=url)).checkup_in(0, OPEN)
        (message,) = boto3.client("sqs").receive_message(QueueUrl=url)["Messages"]
        assert json.loads(message["Body"]) == {"armed_at": OPEN.isoformat()}

    def test_the_delay_is_the_queues(self):
        url = boto3.client("sqs").create_queue(QueueName="checkup")["QueueUrl"]
        AwsOutbox(settings(checkup_queue_url=url)).checkup_in(30, OPEN)
        counts = boto3.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
        )["Attributes"]
        assert counts == {"ApproximateNumberOfMessagesDelayed": "1"}

    def test_an_armed_tick_is_a_delayed_message_to_a_queue_of_its_own(self):
        url = boto3.client("sqs").create_queue(QueueName="ticks")["QueueUrl"]
        outbox = AwsOutbox(settings(checkup_queue_url="unused", tick_queue_url=url))
        outbox.tick_in(0, {"shard": 0})
        (message,) = boto3.client("sqs").receive_message(QueueUrl=url)["Messages"]
        assert json.loads(message["Body"]) == {"shard": 0}
        outbox.tick_in(22, {"shard": 0})
        counts = boto3.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
        )["Attributes"]
        assert counts == {"ApproximateNumberOfMessagesDelayed": "1"}

    def test_a_queue_that_is_gone_is_no_error(self, records: Records):
        url = "https://sqs.us-east-1.amazonaws.com/123456789012/gone"
        AwsOutbox(settings(checkup_queue_url=url)).checkup_in(30, OPEN)
        assert records.messages() == ["checkup not armed"]

    def test_a_topic_that_is_gone_is_no_error(self, records: Records):
        topic = "arn:aws:sns:us-east-1:123456789012:gone"
        AwsOutbox(settings(notify_topic_arn=topic)).notify("subject", "text")
        assert records.messages() == ["not notified"]

    def test_without_queue_or_topic_nothing_is_sent(self, records: Records):
        outbox = AwsOutbox(settings())
        outbox.checkup_in(30, OPEN)
        outbox.tick_in(30, {})
        outbox.notify("subject", "text")
        assert records.messages() == []

    def test_a_subject_fits_the_topic(self):
        topic = boto3.client("sns").create_topic(Name="owner")["TopicArn"]
        AwsOutbox(settings(notify_topic_arn=topic)).notify("s" * 300, "text")


class TestEvents:
    def now(self) -> datetime:
        return minute(7)

    @pytest.mark.parametrize(
        "event",
        [
            {},
            {"scheduled_time": None},
            {"scheduled_time": ""},
            {"scheduled_time": "<aws.scheduler.scheduled-time>"},
        ],
    )
    def test_without_a_time_it_is_now(self, event: dict[str, Any]):
        assert scheduled_time(event) is None
        assert ticks_due(event, self.now) == [TickDue(minute(7), 0, 1)]

    def test_a_time_comes_as_scheduler_writes_it(self):
        assert scheduled_time({"scheduled_time": "2025-03-05T14:30:00Z"}) == OPEN

    @pytest.mark.parametrize("text", ["noon", "2025-03-05T14:30:00", 5, ["x"], {}, True])
    def test_another_text_is_a_setting_to_correct(self, text: object):
        with pytest.raises(SettingsError, match="scheduled_time"):
            scheduled_time({"scheduled_time": text})

    def test_a_queue_message_is_a_ticks_event_and_the_first_in_its_row_unless_it_says(self):
        body = {"scheduled_time": "2025-03-05T14:30:00Z", "shard": 1, "shard_count": 4, "link": 3}
        event = {"Records": [{"body": json.dumps(body)}, {"body": "{}"}]}
        assert ticks_due(event, self.now) == [TickDue(OPEN, 1, 4, 3), TickDue(minute(7), 0, 1, 1)]

    def test_what_a_tick_arms_is_what_a_message_is_read_as(self):
        due = TickDue(minute(3), 2, 7)
        event = {"Records": [{"body": json.dumps(due.event(minute(4), 1))}]}
        assert ticks_due(event, self.now) == [TickDue(minute(4), 2, 7, 1)]

    @pytest.mark.parametrize("body", ["", "x", "[]", "5", "null", '"x"', None])
    def test_a_message_that_is_none_is_refused(self, body: object):
        with pytest.raises(SettingsError, match="tick"):
            ticks_due({"Records": [{"body": body}]}, self.now)

    @pytest.mark.parametrize(
        "shard",
        [
            {"shard": 1},
            {"shard": -1},
            {"shard": 0, "shard_count": 0},
            {"shard": 4, "shard_count": 4},
            {"shard": 0, "shard_count": 1001},
            {"shard": "0"},
            {"shard": 0.5},
            {"shard_count": None},
        ],
    )
    def test_a_shard_that_makes_no_sense_is_refused(self, shard: dict[str, Any]):
        with pytest.raises(SettingsError, match="shard"):
            ticks_due(shard, self.now)


class TestTimeLeft:
    def test_a_reserve_is_kept_of_what_the_context_tells(self):
        class Context:
            def get_remaining_time_in_millis(self) -> int:
                return 7_000

        assert time_left(Context())() == 2.0

    @pytest.mark.parametrize("context", [None, object()])
    def test_without_a_deadline_there_is_a_default(self, context: object):
        assert 800 < time_left(context)() <= 840


class TestTelemetry:
    def step(self, halt: Reason | None, reason: Reason, before: Reason | None = None) -> None:
        state = SymbolState(symbol="AAA", session=DAY, phase=Phase.TO_BUY, halt=before)
        event = BarClosed(symbol="AAA", at=OPEN, close=None, signal=False)
        after = SymbolState(symbol="AAA", session=DAY, phase=Phase.TO_BUY, halt=halt)
        telemetry.log_step(state, event, Step(after, (), reason), 3, 12)

    def test_a_halt_is_an_error_whatever_the_steps_reason(self, records: Records):
        self.step(Reason.CORRECTED_FILL, Reason.PARTLY_FILLED)
        assert records.messages() == ["decision"]

    def test_a_halt_is_an_error_once(self, records: Records):
        self.step(Reason.LATE_ORDER, Reason.NOTHING_NEW, before=Reason.LATE_ORDER)
        assert records.messages() == []

    def test_a_decision_has_always_the_same_keys(self, records: Records):
        self.step(Reason.LATE_ORDER, Reason.LATE_ORDER)
        (record,) = records.of("decision")
        for name in (
            "symbol",
            "event",
            "phase_from",
            "phase_to",
            "reason",
            "client_order_id",
            "qty",
            "price",
            "event_at",
            "version",
        ):
            assert name in record.__dict__

    def test_metrics_are_sent_also_where_the_handler_fails(
        self, capsys: pytest.CaptureFixture[str]
    ):
        def fail() -> None:
            telemetry.count(Metric.HEARTBEAT)
            raise ValueError("x")

        telemetry.metrics.clear_metrics()
        with pytest.raises(ValueError, match="x"), telemetry.sent():
            fail()
        (line,) = capsys.readouterr().out.strip().splitlines()
        assert json.loads(line)["Heartbeat"] == [1.0]
        with telemetry.sent():
            pass
        assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("aws")
class TestWebhookKeys:
    @pytest.mark.fault("rotated-secret")
    def test_a_rotation_is_seen_after_a_minute_and_not_fetched_each_time(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        secrets = boto3.client("secretsmanager")
        secrets.create_secret(Name="hook", SecretString='{"current": "b25l", "previous": ""}')
        for name, value in (
            ("SYMBOLS_TABLE", "s"),
            ("STATE_TABLE", "t"),
            ("WEBHOOK_SECRET_ID", "hook"),
        ):
            monkeypatch.setenv(name, value)
        runtime._webhook_keys.cache_clear()
        monkeypatch.setattr(runtime, "KEYS_KEPT_S", 10**9)
        assert runtime.current_webhook_keys() == ("b25l",)
        secrets.put_secret_value(
            SecretId="hook", SecretString='{"current": "dHdv", "previous": "b25l"}'
        )
        assert runtime.current_webhook_keys() == ("b25l",)
        # A shorter time to keep them is another period.
        monkeypatch.setattr(runtime, "KEYS_KEPT_S", 0.001)
        assert runtime.current_webhook_keys() == ("dHdv", "b25l")
        runtime._webhook_keys.cache_clear()

    @pytest.mark.fault("rotated-secret", "webhook-flood")
    def test_bad_signatures_fetch_them_again_but_not_each_time(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        fetched: list[int] = []

        def fetch(_: object) -> tuple[str, ...]:
            fetched.append(1)
            return (f"key {len(fetched)}",)

        monkeypatch.setattr(runtime, "KEYS_KEPT_S", 10**9)
        monkeypatch.setattr(runtime, "_renewed_at", [-float("inf")])
        monkeypatch.setattr(runtime, "sources", runtime.Sources(settings, runtime._engine, fetch))
        runtime._webhook_keys.cache_clear()
        assert runtime.current_webhook_keys() == ("key 1",)
        assert runtime.renewed_webhook_keys() == ("key 2",)
        assert [runtime.renewed_webhook_keys() for _ in range(1_000)] == [()] * 1_000
        assert runtime.current_webhook_keys() == ("key 2",)
        assert len(fetched) == 2
        monkeypatch.setattr(runtime, "KEYS_RENEWED_S", 0)
        assert runtime.renewed_webhook_keys() == ("key 3",)
        runtime._webhook_keys.cache_clear()
