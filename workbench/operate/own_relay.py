"""Runs the relay of a stack on a person's machine, for `scalper relay`.

It uses the lease of the stack's own relay, so both may run: the one that holds the lease relays,
and the other waits. Settings come from the functions' environment variables.
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
from workbench.operate.subject import KEY_VARIABLES, local_keys

WEBHOOK_KEY = "WEBHOOK_KEY"
"""Environment variable that replaces the webhook's secret."""

NOTHING = "-"
"""Name of a table that is not used; the settings require a name."""


def relay_here(environment: Mapping[str, str], *, leased: bool) -> dict[str, Any]:
    """Relay until the market closes or a signal ends this process; return the relay's summary.

    Raises ScalperError with one line for people if settings are missing, the clock is wrong, the
    broker refuses the keys, or the lease cannot be read.
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
    """Return the run, its settings, keys, clock and lease checked."""
    given = {"SYMBOLS_TABLE": NOTHING, **environment}
    if not leased:
        given["STATE_TABLE"] = NOTHING
    elif not given.get("STATE_TABLE"):
        raise SettingsError(
            "STATE_TABLE is not set: name the stack's state table, which has the lease; or give "
            "--no-lease, if no other relay runs for the account"
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
        raise SettingsError(
            f"the lease cannot be read in the table {settings.state_table}: {error}"
        ) from error
    return replace(one, watch_s=math.inf)


def _keys(environment: Mapping[str, str], settings: Settings) -> Callable[[], BrokerKeys]:
    """Return a function that returns the account's keys, from the environment or the secret."""
    if all(environment.get(name) for name in KEY_VARIABLES):
        return partial(local_keys, environment)
    if not settings.broker_secret_id:
        raise SettingsError(f"no keys: set {' and '.join(KEY_VARIABLES)}, or BROKER_SECRET_ID")
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
    """Set the event on the first Ctrl-C or SIGTERM, so that the relay gives the lease back.

    A second one ends the process at once.
    """
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
