"""One run of the relay: in market hours and under the lease, or not at all.

Runs follow each other as a chain. Each start looks at the lease first, which costs one read; the
broker is asked for its hours where the lease is free, so that a holiday costs next to nothing.
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
from scalper.shell.relay.stream import Line, Relay, relay_until
from scalper.shell.telemetry import logger
from scalper.shell.timing import SystemTiming

BEFORE_OPEN = timedelta(minutes=5)
AFTER_CLOSE = timedelta(minutes=1)
"""Orders expire at the close, and that is told."""

SKEW_LIMIT_S = 2.0
"""How far this machine's clock may be off the broker's: two such clocks are 4 s apart at most."""

RESERVE_S = 5.0
"""What is kept of a run's time to close the connection and to give the lease back."""

ENDS_WITHIN_S = 5.0
"""What the threads beside a tenancy may take to end."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run needs."""

    relay: Relay
    wanted_s: Callable[[], float]
    """Tells for how many seconds the market still needs a relay: 0 outside its hours."""
    leases: LeaseTable | None
    """None: without a lease, where nobody else relays."""
    watch_s: float | None = None
    """How long somebody else's lease is watched; None: as long as it takes to see a death."""
    timing: Timing = field(default_factory=SystemTiming)


def run(one: Run, time_left_s: Callable[[], float]) -> dict[str, Any]:
    """Relay under the lease while there is time left; return how many messages were posted.

    `status` is ok, held where somebody else has the lease, closed outside market hours. Raises
    UnauthorizedError where the broker refuses the keys or they open another account, SettingsError
    where one of the secrets has to be corrected.
    """

    def left_s() -> float:
        return time_left_s() - RESERVE_S

    if one.leases is not None:
        return _under_lease(one, Tenancy(one.leases, one.timing, uuid4().hex), left_s)
    ends = _first_of(one.wanted_s(), left_s)
    if ends() <= 0:
        return {"status": "closed", "posted": 0}
    one.relay.prepare()
    return {"status": "ok", "posted": relay_until(one.relay, ends)}


def _under_lease(one: Run, tenancy: Tenancy, left_s: Callable[[], float]) -> dict[str, Any]:
    """Relay whenever the lease is this run's: again after it was lost and became free."""
    posted = 0
    while left_s() > 0:
        if not tenancy.awaited(left_s, one.watch_s):
            return {"status": "held", "posted": posted}
        ends = _first_of(one.wanted_s(), left_s)
        if ends() <= 0:
            return {"status": "closed", "posted": posted}
        one.relay.prepare()
        if not tenancy.take(ends()):
            one.timing.sleep(POLL_S)
            continue
        relay = replace(one.relay, line=Line())
        try:
            with _kept(tenancy, relay.line):
                posted += relay_until(relay, partial(_sooner, ends, tenancy.left_s))
        finally:
            tenancy.release()
    return {"status": "ok", "posted": posted}


def market_s(broker: Callable[[], Broker], clock: str) -> float:
    """Return for how many seconds the market needs a relay: before its open to after its close.

    0 outside of it. Without an answer, or on a simulated clock (`clock` is broker), nobody can
    tell how long: the run's own end decides. Raises UnauthorizedError.
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


def admitted_s(broker: Callable[[], Broker], clock: str, *, live: bool) -> float:
    """Return what `market_s` does; in live mode 0 where it is unknown which account the keys open.

    The stream itself is not asked for an account, and would take another one's only place. Raises
    UnauthorizedError, WrongAccountError where it is another.
    """
    left_s = market_s(broker, clock)
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
    """Raise SettingsError where this machine's clock is too far from the broker's.

    Lambda's machines are kept in time; anybody's own may not be, and its lease would be worth
    nothing. Raises BrokerError where the broker does not say.
    """
    asked = datetime.now(UTC)
    now = broker.clock().now
    early_s, late_s = (asked - now).total_seconds(), (datetime.now(UTC) - now).total_seconds()
    if early_s > SKEW_LIMIT_S or late_s < -SKEW_LIMIT_S:
        off_s = early_s if early_s > 0 else late_s
        raise SettingsError(
            f"this machine's clock is {off_s:+.1f} s off the broker's: set it, "
            "for leases and signatures go by it"
        )


def _first_of(wanted_s: float, left_s: Callable[[], float]) -> Callable[[], float]:
    """Return what tells the seconds left until the first of two ends."""
    until = time.monotonic() + wanted_s
    return lambda: min(until - time.monotonic(), left_s())


def _sooner(one: Callable[[], float], other: Callable[[], float]) -> float:
    return min(one(), other())


@contextmanager
def _kept(tenancy: Tenancy, line: Line) -> Iterator[None]:
    """Renew the lease while the block lasts, and cut the line where that comes to nothing."""
    over = threading.Event()
    threads = [
        threading.Thread(target=tenancy.keep, args=(over.wait,), name="lease", daemon=True),
        threading.Thread(
            target=tenancy.guard, args=(over.wait, line.cut), name="guard", daemon=True
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
