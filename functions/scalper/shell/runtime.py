"""Builds what an invocation needs from the environment, once for each process."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from typing import TypeVar

from scalper.shell.alpaca.bars import AlpacaMarketData
from scalper.shell.alpaca.broker import AlpacaBroker
from scalper.shell.aws.lease_table import DynamoLeaseTable
from scalper.shell.aws.outbox import AwsOutbox
from scalper.shell.aws.secrets import broker_keys, webhook_keys
from scalper.shell.aws.state_table import DynamoStore
from scalper.shell.aws.symbols_table import DynamoSymbols
from scalper.shell.errors import SettingsError
from scalper.shell.relay.run import Run, needed_s
from scalper.shell.relay.stream import Relay, RotatingSecret
from scalper.shell.settings import BrokerKeys, Settings
from scalper.shell.telemetry import logger
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.window import Window

T = TypeVar("T")

KEYS_KEPT_S = 60
"""How long a process uses the webhook's keys before it reads the secret again."""

KEYS_RENEWED_S = 10
"""A signature that does not fit has the secret read again, at most once in this time."""

RESERVE_S = 5.0
"""The part of an invocation's time that the relay leaves unused."""

DEFAULT_RELAY_S = 840.0
"""How long the relay runs if its context has no deadline."""

WORKERS = 16
"""Symbols that an invocation works on side by side; each holds a connection or two."""


@dataclass(slots=True)
class Sources:
    """Makes the settings, the engine and the webhook's keys; the simulator puts its own here."""

    settings: Callable[[], Settings]
    engine: Callable[[Settings], Engine]
    webhook_keys: Callable[[Settings], tuple[str, ...]]


def current_settings() -> Settings:
    """Return the settings of this process; logs a SettingsError before it raises it."""
    try:
        return sources.settings()
    except SettingsError as error:
        logger.error("settings", extra={"error": str(error)})
        raise


def current_engine() -> Engine:
    """Return the engine of this process; logs a SettingsError before it raises it."""
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
    """Return the keys that the secret has now, or () if it was read within `KEYS_RENEWED_S`.

    A signature may be by a key that is a moment old. Without the bound, a stranger's bad signatures
    would each cost a request for the secret.
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
    """Return a run of the relay with this process's settings; raises SettingsError."""
    settings = current_settings()
    return relay_of(settings, partial(broker_keys, settings), partial(webhook_keys, settings))


def relay_of(
    settings: Settings,
    fetch_keys: Callable[[], BrokerKeys],
    fetch_webhook_keys: Callable[[], Sequence[str]],
) -> Run:
    """Return a run of the relay under the lease; no request is made yet.

    Raises SettingsError if the webhook's address is not set.
    """
    if not settings.webhook_url:
        raise SettingsError("WEBHOOK_URL is not set: give the address of the webhook")
    outbox = AwsOutbox(settings)
    relay = Relay(
        stream_url=settings.stream_url,
        keys=RotatingSecret(fetch_keys),
        webhook_url=settings.webhook_url,
        webhook_key=RotatingSecret(lambda: fetch_webhook_keys()[0]),
        reconcile=lambda: outbox.checkup_in(0, datetime.now(UTC)),
    )
    # Made only if the lease is free: then it fetches its keys.
    broker = cache(lambda: AlpacaBroker(settings, fetch_keys))
    needed_for_s = partial(needed_s, broker, settings.clock, live=settings.mode == "live")
    return Run(relay, needed_for_s, DynamoLeaseTable(settings))


def time_left(context: object) -> Callable[[], float]:
    """Return a function that returns the seconds an invocation may still use, less the reserve."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    if callable(remaining):
        return lambda: remaining() / 1000 - RESERVE_S
    deadline = time.monotonic() + DEFAULT_RELAY_S
    return lambda: deadline - time.monotonic()


class Pool:
    """Runs tasks side by side in threads; a single task runs in the calling thread."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="batch")

    def __call__(self, tasks: Sequence[Callable[[], T]], /) -> list[T]:
        """Return the results in the tasks' order; once all ended, raises the first exception."""
        if len(tasks) <= 1:
            return [task() for task in tasks]
        futures = [self._threads.submit(task) for task in tasks]
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error
        return [future.result() for future in futures]
