"""Builds the engine of this process from its environment, once while it is warm."""

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
from scalper.shell.relay.run import Run, admitted_s
from scalper.shell.relay.stream import Relay, Rotating
from scalper.shell.settings import BrokerKeys, Settings
from scalper.shell.telemetry import logger
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.window import Window

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
