"""`scalper relay`: the relay of the stack, on a machine of one's own.

It takes its turn under the same lease, so that it may run beside the stack's: whoever holds the
lease relays, the other waits. Settings come from the functions' environment variables.
"""

import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Any

from scalper.shell.alpaca.broker import AlpacaBroker
from scalper.shell.aws.secrets import broker_keys, webhook_keys
from scalper.shell.errors import BrokerDownError, SettingsError, StoreDownError
from scalper.shell.relay.run import Run, check_clock, run
from scalper.shell.runtime import relay_of
from scalper.shell.settings import BrokerKeys, Settings
from workbench.local.invocations import WithoutMetrics

KEY_ID, SECRET_KEY, WEBHOOK_KEY = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "WEBHOOK_KEY"
"""Variables that take the place of the secrets; the first two are Alpaca's own names."""

NOTHING = "-"
"""Stands for a table that is not used: the settings ask for all of them."""


def relay_here(environment: Mapping[str, str], *, leased: bool) -> dict[str, Any]:
    """Relay until the market is closed, or this process is asked to end; return what came of it.

    Raises ScalperError with one line for people: settings that are missing, a clock that is off,
    keys that are refused, a lease that cannot be read.
    """
    one = _run_of(environment, leased=leased)
    ended = Event()
    with _ending(ended), redirect_stdout(WithoutMetrics(sys.stdout)):
        where = "under the lease" if leased else "without a lease"
        print(
            f"relay: {one.relay.stream_url} to {one.relay.webhook_url}, {where}; Ctrl-C ends it",
            flush=True,
        )
        return run(one, lambda: 0.0 if ended.is_set() else math.inf)


def _run_of(environment: Mapping[str, str], *, leased: bool) -> Run:
    """Return the run, after a look at all that has to be right."""
    given = {"SYMBOLS_TABLE": NOTHING, **environment}
    if not leased:
        given["STATE_TABLE"] = NOTHING
    elif not given.get("STATE_TABLE"):
        raise SettingsError(
            "STATE_TABLE is not set: give the stack's, for the lease lies there; or --no-lease, "
            "where nothing else relays for the account"
        )
    settings = Settings.of(given)
    fetch_keys = _keys(environment, settings)
    one = relay_of(settings, fetch_keys, _webhook_keys(environment, settings))
    one.relay.prepare()
    if settings.clock == "system":
        try:
            check_clock(AlpacaBroker(settings, fetch_keys))
        except BrokerDownError as error:
            raise SettingsError(f"{settings.trading_url} does not answer: {error}") from error
    if not leased:
        return replace(one, leases=None)
    try:
        if one.leases is not None:
            one.leases.present()
    except StoreDownError as error:
        raise SettingsError(f"no lease in the table {settings.state_table}: {error}") from error
    return replace(one, watch_s=math.inf)


def _keys(environment: Mapping[str, str], settings: Settings) -> Callable[[], BrokerKeys]:
    """Return what gives the account's keys: those of the environment, else of the secret."""
    key_id, secret_key = environment.get(KEY_ID, ""), environment.get(SECRET_KEY, "")
    if key_id and secret_key:
        return lambda: BrokerKeys(key_id, secret_key)
    if not settings.broker_secret_id:
        raise SettingsError(f"no keys: set {KEY_ID} and {SECRET_KEY}, or BROKER_SECRET_ID")
    return partial(broker_keys, settings)


def _webhook_keys(
    environment: Mapping[str, str], settings: Settings
) -> Callable[[], Sequence[str]]:
    key = environment.get(WEBHOOK_KEY, "")
    if key:
        return lambda: (key,)
    if not settings.webhook_secret_id:
        raise SettingsError(f"no key of the webhook: set {WEBHOOK_KEY}, or WEBHOOK_SECRET_ID")
    return partial(webhook_keys, settings)


@contextmanager
def _ending(ended: Event) -> Iterator[None]:
    """Set the event on Ctrl-C or SIGTERM: the lease is to be given back; a second one ends it."""
    caught = (signal.SIGINT, signal.SIGTERM)
    before = {int(number): signal.getsignal(number) for number in caught}

    def end(number: int, _: object) -> None:
        ended.set()
        signal.signal(number, before[number])

    for number in caught:
        signal.signal(number, end)
    try:
        yield
    finally:
        for caught_one, handler in before.items():
            signal.signal(caught_one, handler)
