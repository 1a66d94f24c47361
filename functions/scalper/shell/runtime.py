"""Builds the engine of this process from its environment, once while it is warm."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from typing import Any, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from scalper.shell.broker import AlpacaBroker
from scalper.shell.engine import Engine
from scalper.shell.errors import SettingsError
from scalper.shell.lease_table import DynamoLeaseTable
from scalper.shell.market_data import AlpacaMarketData, Window
from scalper.shell.relay import Relay, Rotating
from scalper.shell.relay_run import Run, admitted_s
from scalper.shell.settings import AWS_CONFIG, BrokerKeys, Settings, broker_keys, webhook_keys
from scalper.shell.store import DynamoStore
from scalper.shell.symbols import DynamoSymbols
from scalper.shell.telemetry import count, logger

T = TypeVar("T")

KEYS_KEPT_S = 60
KEYS_RENEWED_S = 10
"""How often at most a signature that does not fit has the webhook's keys fetched again."""

RESERVE_S = 5.0
DEFAULT_RELAY_S = 840.0
"""How long a relay runs whose context tells no deadline."""

WORKERS = 16
"""Symbols that are carried out side by side; each holds a connection or two."""


@dataclass(slots=True)
class Sources:
    """Where an invocation's collaborators come from; the simulator puts its own here."""

    settings: Callable[[], Settings]
    engine: Callable[[Settings], Engine]
    webhook_keys: Callable[[Settings], tuple[str, ...]]


def current_settings() -> Settings:
    """Return the settings of this process; raises SettingsError, after a line in the log."""
    try:
        return sources.settings()
    except SettingsError as error:
        logger.error("settings", extra={"error": str(error)})
        raise


def current_engine() -> Engine:
    """Return this process's engine; raises SettingsError, after a line in the log."""
    settings = current_settings()
    try:
        return sources.engine(settings)
    except SettingsError as error:
        logger.error("settings", extra={"error": str(error)})
        raise


@cache
def _engine(settings: Settings) -> Engine:
    fetch_keys = partial(broker_keys, settings)
    return Engine(
        settings=settings,
        store=DynamoStore(settings),
        broker=AlpacaBroker(settings, fetch_keys),
        window=Window(AlpacaMarketData(settings, fetch_keys)),
        symbols=DynamoSymbols(settings),
        outbox=AwsOutbox(settings),
        fan_out=Pool(),
    )


def current_webhook_keys() -> tuple[str, ...]:
    """Return the webhook's keys, read again after `KEYS_KEPT_S`: a rotation needs no deployment."""
    return _webhook_keys(current_settings(), int(time.monotonic() // KEYS_KEPT_S))


def renewed_webhook_keys() -> tuple[str, ...]:
    """Return the keys as the secret has them now, () where it was asked within `KEYS_RENEWED_S`.

    A signature may be by a key that was put there a moment ago; whoever sends bad ones all the time
    must not make each of them a request.
    """
    now = time.monotonic()
    if now - _renewed_at[0] < KEYS_RENEWED_S:
        return ()
    _renewed_at[0] = now
    _webhook_keys.cache_clear()
    return current_webhook_keys()


_renewed_at = [-float("inf")]


@lru_cache(maxsize=1)
def _webhook_keys(settings: Settings, _period: int) -> tuple[str, ...]:
    return sources.webhook_keys(settings)


sources = Sources(lambda: Settings.of(os.environ), _engine, webhook_keys)


def current_relay() -> Run:
    """Return a run of the relay by this process's settings; raises SettingsError."""
    settings = current_settings()
    return relay_of(settings, partial(broker_keys, settings), partial(webhook_keys, settings))


def relay_of(
    settings: Settings,
    fetch_keys: Callable[[], BrokerKeys],
    fetch_webhook_keys: Callable[[], Sequence[str]],
) -> Run:
    """Return a run of the relay under the lease; nothing is asked of anybody yet.

    Raises SettingsError where there is nowhere to post to.
    """
    if not settings.webhook_url:
        raise SettingsError("WEBHOOK_URL is not set: give the address of the webhook")
    outbox = AwsOutbox(settings)
    relay = Relay(
        stream_url=settings.stream_url,
        keys=Rotating(fetch_keys),
        webhook_url=settings.webhook_url,
        webhook_key=Rotating(lambda: fetch_webhook_keys()[0]),
        reconcile=lambda: outbox.checkup_in(0, datetime.now(UTC)),
    )
    # It is asked only where the lease is free, and fetches its keys by then.
    broker = cache(lambda: AlpacaBroker(settings, fetch_keys))
    wanted_s = partial(admitted_s, broker, settings.clock, live=settings.mode == "live")
    return Run(relay, wanted_s, DynamoLeaseTable(settings))


def time_left(context: object) -> Callable[[], float]:
    """Return what tells how many seconds an invocation may still use, a reserve kept back."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if callable(remaining):
        return lambda: remaining() / 1000 - RESERVE_S
    deadline = time.monotonic() + DEFAULT_RELAY_S
    return lambda: deadline - time.monotonic()


class Pool:
    """Runs tasks side by side in threads, a single one in place."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="pass")

    def __call__(self, tasks: Sequence[Callable[[], T]], /) -> list[T]:
        """Return the tasks' results in their order; raises the first exception, after all ended."""
        if len(tasks) <= 1:
            return [task() for task in tasks]
        futures = [self._threads.submit(task) for task in tasks]
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error
        return [future.result() for future in futures]


class AwsOutbox:
    """Messages by SQS and SNS; trading is correct without any of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queue: Any = None
        self._topic: Any = None

    def checkup_in(self, delay_s: int, at: datetime) -> None:
        """Let the checkup run after a delay; the next tick makes up for a lost message."""
        try:
            self._send(self._settings.checkup_queue_url, delay_s, {"armed_at": at.isoformat()})
        except (ClientError, BotoCoreError) as error:
            count("QueueErrors")
            logger.warning("checkup not armed", extra={"error": str(error)})

    def tick_in(self, delay_s: int, event: Mapping[str, Any]) -> None:
        """Let a tick's event come after a delay; the schedule makes up for a lost message."""
        try:
            self._send(self._settings.tick_queue_url, delay_s, event)
        except (ClientError, BotoCoreError) as error:
            count("QueueErrors")
            logger.warning("tick not armed", extra={"error": str(error)})

    def _send(self, queue_url: str, delay_s: int, body: Mapping[str, Any]) -> None:
        """Send a message to a queue; without an address to nowhere."""
        if not queue_url:
            return
        self._queue = self._queue or boto3.client("sqs", config=AWS_CONFIG)
        self._queue.send_message(
            QueueUrl=queue_url, DelaySeconds=delay_s, MessageBody=json.dumps(body)
        )

    def notify(self, subject: str, text: str) -> None:
        """Tell the owner, where there is a topic."""
        if not self._settings.notify_topic_arn:
            return
        try:
            self._topic = self._topic or boto3.client("sns", config=AWS_CONFIG)
            self._topic.publish(
                TopicArn=self._settings.notify_topic_arn, Subject=subject[:100], Message=text
            )
        except (ClientError, BotoCoreError) as error:
            count("NotifyErrors")
            logger.error("not notified", extra={"error": str(error)})
