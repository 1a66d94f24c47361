"""One run of the relay: it is connected only in market hours and only under the lease.

A run starts each minute. It first reads the lease, by one request. Only if the lease is free, it
asks the broker for the market hours. So a run beside a holder, and a holiday, cost almost nothing.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from scalper.core.session import new_york_day
from scalper.shell.errors import BrokerError, SettingsError, UnauthorizedError
from scalper.shell.ports import Broker, Timing
from scalper.shell.relay.lease import POLL_S, LeaseTable, Tenancy
from scalper.shell.relay.stream import Connection, Relay, relay_until
from scalper.shell.telemetry import logger
from scalper.shell.timing import SystemTiming

BEFORE_OPEN = timedelta(minutes=5)
"""A relay connects so long before the open."""

AFTER_CLOSE = timedelta(minutes=1)
"""A relay stays so long after the close: orders expire then, and the stream reports it."""

SKEW_LIMIT_S = 2.0
"""How far this machine's clock may differ from the broker's: two machines differ by up to 4 s."""

RESERVE_S = 5.0
"""The part of a run's time that is left for closing the connection and releasing the lease."""

ENDS_WITHIN_S = 5.0
"""How long the threads beside a tenancy may take to end."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run works with."""

    relay: Relay
    needed_for_s: Callable[[], float]
    """Returns for how many seconds the market still needs a relay; 0 outside its hours."""
    leases: LeaseTable | None
    """None: no lease, because no other relay runs."""
    watch_s: float | None = None
    """How long another run's lease is watched; None: for `WATCH_S`."""
    timing: Timing = field(default_factory=SystemTiming)


def run(one: Run, time_left_s: Callable[[], float]) -> dict[str, Any]:
    """Relay under the lease while there is time left; return how many messages were posted.

    `status` is ok, or held if another run has the lease, or closed outside market hours. Raises
    UnauthorizedError if the broker refuses the keys or they open another account, SettingsError if
    a secret has to be corrected.
    """

    def left_s() -> float:
        return time_left_s() - RESERVE_S

    if one.leases is not None:
        return _under_lease(one, Tenancy(one.leases, one.timing, uuid4().hex), left_s)
    ends = _first_of(one.needed_for_s(), left_s)
    if ends() <= 0:
        return {"status": "closed", "posted": 0}
    one.relay.prepare()
    return {"status": "ok", "posted": relay_until(one.relay, ends)}


def _under_lease(one: Run, tenancy: Tenancy, left_s: Callable[[], float]) -> dict[str, Any]:
    """Relay while this run holds the lease; if it is lost and becomes free, take it again."""
    posted = 0
    while left_s() > 0:
        if not tenancy.wait_until_free(left_s, one.watch_s):
            return {"status": "held", "posted": posted}
        ends = _first_of(one.needed_for_s(), left_s)
        if ends() <= 0:
            return {"status": "closed", "posted": posted}
        one.relay.prepare()
        if not tenancy.take(ends()):
            one.timing.sleep(POLL_S)
            continue
        relay = replace(one.relay, connection=Connection())
        try:
            with _kept(tenancy, relay.connection):
                posted += relay_until(relay, partial(_sooner, ends, tenancy.left_s))
        finally:
            tenancy.release()
    return {"status": "ok", "posted": posted}


def market_hours_left_s(broker: Callable[[], Broker], clock: str) -> float:
    """Return for how many seconds the market still needs a relay, or 0 outside its hours.

    If the broker does not answer, or the clock is simulated (`clock` is broker), the time is
    infinite: the run's own end decides. Raises UnauthorizedError.
    """
    try:
        now = broker().clock().now
        session = broker().session(new_york_day(now))
    except UnauthorizedError:
        raise
    except BrokerError as error:
        logger.warning("market hours unknown", extra={"error": str(error)})
        return math.inf
    if session is None or not session.open - BEFORE_OPEN <= now < session.close + AFTER_CLOSE:
        return 0.0
    if clock == "broker":
        return math.inf
    return (session.close + AFTER_CLOSE - now).total_seconds()


def needed_s(broker: Callable[[], Broker], clock: str, *, live: bool) -> float:
    """Return `market_hours_left_s`, or 0 in live mode if the account of the keys is unknown.

    The stream does not say its account, and connecting to another account's stream would take that
    account's only place. Raises UnauthorizedError, WrongAccountError if it is another account.
    """
    left_s = market_hours_left_s(broker, clock)
    if live and left_s > 0:
        try:
            broker().account_block()
        except UnauthorizedError:
            raise
        except BrokerError as error:
            logger.warning("account unknown", extra={"error": str(error)})
            return 0.0
    return left_s


def check_clock(broker: Broker) -> None:
    """Raise SettingsError if this machine's clock is too far from the broker's.

    AWS sets the clocks of Lambda's machines. Another machine's clock may be wrong, and then its
    lease protects nothing. Raises BrokerError if the broker does not answer.
    """
    asked = datetime.now(UTC)
    now = broker.clock().now
    early_s, late_s = (asked - now).total_seconds(), (datetime.now(UTC) - now).total_seconds()
    if early_s > SKEW_LIMIT_S or late_s < -SKEW_LIMIT_S:
        off_s = early_s if early_s > 0 else late_s
        raise SettingsError(
            f"this machine's clock is {off_s:+.1f} s off the broker's: set it, "
            "because leases and signatures depend on it"
        )


def _first_of(needed_for_s: float, left_s: Callable[[], float]) -> Callable[[], float]:
    """Return a function that returns the seconds left until the first of two ends."""
    until = time.monotonic() + needed_for_s
    return lambda: min(until - time.monotonic(), left_s())


def _sooner(one: Callable[[], float], other: Callable[[], float]) -> float:
    return min(one(), other())


@contextmanager
def _kept(tenancy: Tenancy, connection: Connection) -> Iterator[None]:
    """Renew the lease while the block lasts, and cut the connection if the lease is over."""
    over = threading.Event()
    threads = [
        threading.Thread(target=tenancy.keep, args=(over.wait,), name="lease", daemon=True),
        threading.Thread(
            target=tenancy.guard, args=(over.wait, connection.cut), name="guard", daemon=True
        ),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(ENDS_WITHIN_S)
