"""Messages by SQS and SNS: trading stays correct if any of them is lost."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from scalper.shell.aws.config import AWS_CONFIG
from scalper.shell.metrics import Metric
from scalper.shell.settings import Settings
from scalper.shell.telemetry import count, logger


class AwsOutbox:
    """The port `Outbox` by SQS and SNS; a message that is not accepted is logged and counted."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queue: Any = None
        self._topic: Any = None

    def checkup_in(self, delay_s: int, at: datetime) -> None:
        """Queue a checkup that runs after a delay; the next tick replaces a lost one."""
        try:
            self._send(self._settings.checkup_queue_url, delay_s, {"armed_at": at.isoformat()})
        except (ClientError, BotoCoreError) as error:
            count(Metric.QUEUE_ERRORS)
            logger.warning("checkup not armed", extra={"error": str(error)})

    def tick_in(self, delay_s: int, event: Mapping[str, Any]) -> None:
        """Queue a tick's event that arrives after a delay; the schedule replaces a lost one."""
        try:
            self._send(self._settings.tick_queue_url, delay_s, event)
        except (ClientError, BotoCoreError) as error:
            count(Metric.QUEUE_ERRORS)
            logger.warning("tick not armed", extra={"error": str(error)})

    def _send(self, queue_url: str, delay_s: int, body: Mapping[str, Any]) -> None:
        """Send a message to a queue; without an address, send nothing."""
        if not queue_url:
            return
        self._queue = self._queue or boto3.client("sqs", config=AWS_CONFIG)
        self._queue.send_message(
            QueueUrl=queue_url, DelaySeconds=delay_s, MessageBody=json.dumps(body)
        )

    def notify(self, subject: str, text: str) -> None:
        """Send the owner a mail, if there is a topic."""
        if not self._settings.notify_topic_arn:
            return
        try:
            self._topic = self._topic or boto3.client("sns", config=AWS_CONFIG)
            self._topic.publish(
                TopicArn=self._settings.notify_topic_arn, Subject=subject[:100], Message=text
            )
        except (ClientError, BotoCoreError) as error:
            count(Metric.NOTIFY_ERRORS)
            logger.error("not notified", extra={"error": str(error)})
