"""Messages: an armed checkup arrives once and not early, and a lost one harms nobody."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import boto3
import pytest
from moto import mock_aws

from scalper.shell.aws.outbox import AwsOutbox
from scalper.shell.ports import Outbox
from scalper.shell.trading.tick_schedule import TickDue
from tests.shell.conftest import Records
from tests.shell.fakes import settings
from tests.simulation.build import ended, let_pass, scheduler_of
from workbench.faults.kinds import FaultKind
from workbench.simulation.aws import SimulatedOutbox
from workbench.simulation.fault_plan import Fault
from workbench.simulation.scheduler import SECOND

NOW = datetime(2025, 3, 5, 14, 30, tzinfo=UTC)


class Post(Protocol):
    """An outbox, and what comes out at its other end."""

    outbox: Outbox

    def arrived(self, within_s: int) -> int:
        """Return how many checkups arrive within so many seconds from now."""

    def ticks(self, within_s: int) -> list[dict[str, Any]]:
        """Return the tick events that arrive within so many seconds from now."""

    def mails(self) -> list[tuple[str, str]]:
        """Return what the owner was told since the last call."""


class AwsPost:
    def __init__(self) -> None:
        self._sqs, sns = boto3.client("sqs"), boto3.client("sns")
        self._queue = self._sqs.create_queue(QueueName="checkup")["QueueUrl"]
        topic = sns.create_topic(Name="owner")["TopicArn"]
        self._owner = self._sqs.create_queue(QueueName="owner")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._owner, AttributeNames=["QueueArn"])
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["Attributes"]["QueueArn"])
        self._ticks = self._sqs.create_queue(QueueName="ticks")["QueueUrl"]
        self.outbox: Outbox = AwsOutbox(
            settings(
                checkup_queue_url=self._queue, tick_queue_url=self._ticks, notify_topic_arn=topic
            )
        )

    def _take(self, queue: str, within_s: int) -> list[str]:
        answer = self._sqs.receive_message(
            QueueUrl=queue, WaitTimeSeconds=within_s, MaxNumberOfMessages=10
        )
        messages = answer.get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in messages]

    def arrived(self, within_s: int) -> int:
        return len(self._take(self._queue, within_s))

    def ticks(self, within_s: int) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self._take(self._ticks, within_s)]

    def mails(self) -> list[tuple[str, str]]:
        told = [json.loads(body) for body in self._take(self._owner, 0)]
        return [(one["Subject"], one["Message"]) for one in told]


class SimulatedPost:
    def __init__(self) -> None:
        self._scheduler = scheduler_of()
        self._arrived = 0
        self._ticks: list[Mapping[str, Any]] = []
        self._simulated = SimulatedOutbox(self._scheduler, self._deliver, self._ticks.append)
        self.outbox: Outbox = self._simulated

    def _deliver(self) -> None:
        self._arrived += 1

    def arrived(self, within_s: int) -> int:
        let_pass(self._scheduler, within_s)
        arrived, self._arrived = self._arrived, 0
        return arrived

    def ticks(self, within_s: int) -> list[dict[str, Any]]:
        let_pass(self._scheduler, within_s)
        arrived = [dict(event) for event in self._ticks]
        self._ticks.clear()
        return arrived

    def mails(self) -> list[tuple[str, str]]:
        told = list(self._simulated.mails)
        self._simulated.mails.clear()
        return told


@pytest.fixture(params=[AwsPost, SimulatedPost])
def post(request: pytest.FixtureRequest) -> Iterator[Post]:
    with mock_aws():
        yield request.param()


def test_a_checkup_without_a_delay_arrives_once(post: Post):
    post.outbox.checkup_in(0, NOW)
    assert [post.arrived(0), post.arrived(0)] == [1, 0]


def test_a_checkup_arrives_once_and_not_before_its_delay(post: Post):
    post.outbox.checkup_in(1, NOW)
    assert post.arrived(0) == 0
    # The queue's own long poll: what it waits for is there after a second.
    assert post.arrived(3) == 1
    assert post.arrived(0) == 0


def test_two_checkups_are_two(post: Post):
    post.outbox.checkup_in(0, NOW)
    post.outbox.checkup_in(0, NOW)
    assert post.arrived(0) + post.arrived(0) == 2


def test_the_longest_delay_that_the_queue_takes_is_not_over_at_once(post: Post):
    post.outbox.checkup_in(900, NOW)
    assert post.arrived(0) == 0


def test_an_armed_tick_arrives_as_it_is_once_and_not_before_its_delay(post: Post):
    event = TickDue(NOW, 1, 4).event(NOW, 3)
    post.outbox.tick_in(1, event)
    assert post.ticks(0) == []
    assert post.ticks(3) == [event]
    assert post.ticks(0) == []
    assert post.arrived(0) == 0


def test_a_notification_arrives_as_a_mail(post: Post):
    assert post.mails() == []
    post.outbox.notify("a subject", "a text\nof two lines")
    assert post.mails() == [("a subject", "a text\nof two lines")]


def test_a_subject_is_cut_to_what_a_mail_takes(post: Post):
    post.outbox.notify("s" * 300, "text")
    assert post.mails() == [("s" * 100, "text")]


class TestGone:
    """Neither method raises, and nothing arrives."""

    def test_at_aws(self, records: Records):
        with mock_aws():
            outbox: Outbox = AwsOutbox(
                settings(
                    checkup_queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/gone",
                    tick_queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/gone",
                    notify_topic_arn="arn:aws:sns:us-east-1:123456789012:gone",
                )
            )
            assert outbox.checkup_in(0, NOW) is None  # type: ignore[func-returns-value]
            assert outbox.tick_in(0, {}) is None  # type: ignore[func-returns-value]
            assert outbox.notify("subject", "text") is None  # type: ignore[func-returns-value]
        assert records.messages() == ["checkup not armed", "tick not armed", "not notified"]

    def test_in_the_simulator(self):
        lost = [Fault(f"tick 1/{number}", FaultKind.MESSAGE_LOST) for number in (1, 2, 3)]
        scheduler = scheduler_of(script=lost)
        arrived: list[int] = []
        simulated = SimulatedOutbox(
            scheduler, lambda: arrived.append(1), lambda _: arrived.append(2)
        )
        outbox: Outbox = simulated

        def work() -> None:
            outbox.checkup_in(0, NOW)
            outbox.tick_in(0, {})
            outbox.notify("subject", "text")

        ended(scheduler, work)
        assert scheduler.plan.injected == lost
        assert (arrived, simulated.mails) == ([], [])

    @pytest.mark.parametrize(
        ("kind", "count", "earliest_s"),
        [(FaultKind.MESSAGE_TWICE, 2, 30), (FaultKind.MESSAGE_LATE, 1, 40)],
    )
    def test_a_message_comes_twice_or_late_as_the_fault_says(self, kind, count, earliest_s):
        scheduler = scheduler_of(script=[Fault("tick 1/1", kind)])
        arrived: list[int] = []
        outbox = SimulatedOutbox(scheduler, lambda: arrived.append(scheduler.now))
        ended(scheduler, lambda: outbox.checkup_in(30, NOW))
        assert len(arrived) == count
        assert min(arrived) >= earliest_s * SECOND
