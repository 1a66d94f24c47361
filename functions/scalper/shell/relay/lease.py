"""Who holds the account's one connection, until when: of two runs one has to do without it.

The lease is an item that is written under its version alone. Its holder writes it anew every
`RENEW_EVERY_S`; from the last write that it knows of it counts `LEASE_S - MARGIN_S` on its own
clocks, and is not connected any longer than that. Whoever else wants it waits for the end that the
item names, or for its release. So nobody overlaps as long as two machines' clocks, and the time
that closing takes, differ by less than `MARGIN_S` in all. Each tenancy has a higher number
(`token`) than any before: a holder that was away for too long finds another's, and writes nothing
over it. An item that somebody deletes is nobody's: its holder makes it again if it is the first.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from scalper.shell.errors import ConflictError, StoreDownError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Timing
from scalper.shell.telemetry import count, logger

LEASE_S = 20.0
"""How long a lease lasts from its last renewal."""

RENEW_EVERY_S = 5.0
RETRY_EVERY_S = 1.0
"""How soon a renewal without an answer is tried again."""

MARGIN_S = 5.0
"""How long before its lease ends a holder is gone: two clocks may be 4 s apart, closing takes 1."""

WATCH_S = 20.0
"""How long a run looks at another's lease before it leaves: a holder that died shows by then.

With a start each minute a death is either seen at once, and the lease taken when it ends, or by
the next start: `max(LEASE_S, 60 - WATCH_S + 2 * RENEW_EVERY_S)` seconds later at most, and what a
start takes.
"""

HAND_OVER_S = 75.0
"""A holder that is to end within this is waited for."""

POLL_S = 1.0
LOOK_S = 0.25
"""How often a holder at least looks whether it still is one."""

FREE = datetime(1970, 1, 1, tzinfo=UTC)
"""The end of a lease that was given back."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The item: times are its holder's, aware UTC."""

    holder: str
    """A name that no other run has."""
    token: int
    """The tenancy's number."""
    until: datetime
    """When it ends, unless it is renewed; `FREE` where it was given back."""
    ends_at: datetime
    """When its holder means to give it back."""
    version: int = 0
    """Of the item; 0 where there is none yet."""


class LeaseTable(Protocol):
    """Where the lease lies; tests have one of their own."""

    def present(self) -> Lease | None:
        """Return the lease by a consistent read, None where there is none; raises StoreError."""
        ...

    def put(self, lease: Lease) -> Lease:
        """Write the lease where the item still has its version; return it with the new one.

        Raises ConflictError where somebody else wrote, StoreDownError where that is unknown.
        """
        ...


class Tenancy:
    """One run's part in the lease: it waits for it, holds it and gives it back.

    `keep` and `guard` run beside the one that `take` answered with True; nothing else does.
    """

    def __init__(self, table: LeaseTable, timing: Timing, holder: str) -> None:
        self._table = table
        self._timing = timing
        self._holder = holder
        self._lease: Lease | None = None
        self._deadline = (-math.inf, FREE)
        self._is_over = True

    def awaited(self, time_left_s: Callable[[], float], watch_s: float | None = None) -> bool:
        """Return whether the lease is free, after a look at whoever holds it for `watch_s`.

        The look lasts on while a holder is late with its renewal, or about to end.
        """
        began, is_known = self._timing.monotonic(), True
        watch_s = WATCH_S if watch_s is None else watch_s
        while time_left_s() > 0:
            waits = self._timing.monotonic() - began < watch_s
            try:
                self._lease = self._table.present()
            except StoreDownError as error:
                if is_known:
                    logger.warning("lease unknown", extra={"error": str(error)})
                is_known = False
            else:
                is_known = True
                if self._is_free():
                    return True
                waits = waits or self._is_late() or self._is_ending()
            if not waits:
                return False
            self._timing.sleep(POLL_S)
        return False

    def take(self, ends_in_s: float) -> bool:
        """Return whether the free lease that `awaited` saw is this run's now.

        A write without an answer does not count, though it may have been done: it is awaited again.
        """
        before = self._lease
        now = self._timing.now()
        token = max(before.token, before.version) + 1 if before else 1
        ends_at = now + timedelta(seconds=min(ends_in_s, 86_400.0))
        lease = Lease(self._holder, token, FREE, ends_at, before.version if before else 0)
        try:
            self._write(lease)
        except (ConflictError, StoreDownError) as error:
            logger.info("lease not taken", extra={"error": str(error)})
            return False
        self._is_over = False
        ran_out = before is not None and before.until != FREE and before.holder != self._holder
        if ran_out:
            count(Metric.RELAY_TAKEOVERS)
        logger.info("lease taken", extra={"token": token, "ran_out": ran_out})
        return True

    def left_s(self) -> float:
        """Return for how many seconds this run may be connected; 0, and for good, once it is over.

        Both clocks have to agree: the one that only counts stops where a machine sleeps, the one on
        the wall may be set back.
        """
        if self._is_over:
            return 0.0
        counted, wall = self._deadline
        left = min(counted - self._timing.monotonic(), (wall - self._timing.now()).total_seconds())
        if left <= 0:
            self._is_over = True
            logger.error("lease ran out", extra={"token": self.token})
            return 0.0
        return left

    @property
    def token(self) -> int:
        """Return the number of this tenancy, 0 where there was none yet."""
        return self._lease.token if self._lease else 0

    def keep(self, pause: Callable[[float], bool]) -> None:
        """Renew the lease until `pause` (seconds to wait) answers True, or it is lost."""
        wait_s = RENEW_EVERY_S
        while not pause(wait_s) and self.left_s() > 0:
            try:
                self._renew()
            except StoreDownError as error:
                if wait_s == RENEW_EVERY_S:
                    logger.warning("lease not renewed", extra={"error": str(error)})
                wait_s = RETRY_EVERY_S
            except ConflictError:
                self._is_over = True
                logger.error("lease lost to another", extra={"token": self.token})
                return
            else:
                wait_s = RENEW_EVERY_S

    def guard(self, pause: Callable[[float], bool], cut: Callable[[], None]) -> None:
        """Call `cut` when the lease is over; ends before that where `pause` answers True."""
        while (left := self.left_s()) > 0:
            if pause(min(left, LOOK_S)):
                return
        cut()

    def release(self) -> None:
        """Give the lease back, so that the next run need not wait; nothing may be connected."""
        self._is_over = True
        if self._lease is None:
            return
        try:
            self._put_own(replace(self._lease, until=FREE, ends_at=self._timing.now()))
        except ConflictError:
            return
        except StoreDownError as error:
            # It ends by itself.
            logger.warning("lease not given back", extra={"error": str(error)})
        else:
            logger.info("lease given back", extra={"token": self.token})

    def _renew(self) -> None:
        if self._lease is not None:
            self._put_own(self._lease, renews=True)

    def _put_own(self, lease: Lease, *, renews: bool = False) -> None:
        """Write over an own item; raises ConflictError where it is another's, StoreDownError.

        An earlier write of this run, whose answer was lost, may have been done: then it is over
        that that this one goes. An item that was deleted is nobody's, and is made again.
        """
        try:
            self._write(lease, renews=renews)
        except ConflictError:
            found = self._table.present()
            if renews and self._is_over:
                raise
            if found is not None and (found.holder, found.token) != (lease.holder, lease.token):
                raise
            self._write(replace(lease, version=found.version if found else 0), renews=renews)

    def _write(self, lease: Lease, *, renews: bool = True) -> None:
        """Write, and count from before the write if it gives the lease time."""
        counted, wall = self._timing.monotonic(), self._timing.now()
        if renews:
            lease = replace(lease, until=wall + timedelta(seconds=LEASE_S))
        self._lease = self._table.put(lease)
        if renews:
            held_s = LEASE_S - MARGIN_S
            self._deadline = (counted + held_s, wall + timedelta(seconds=held_s))

    def _is_free(self) -> bool:
        lease = self._lease
        return lease is None or lease.holder == self._holder or lease.until <= self._timing.now()

    def _is_late(self) -> bool:
        """Whether the holder has missed a renewal."""
        left = self._lease.until - self._timing.now() if self._lease else timedelta(0)
        return left.total_seconds() < LEASE_S - 2 * RENEW_EVERY_S

    def _is_ending(self) -> bool:
        """Whether the holder means to give the lease back soon, or should have just now."""
        left = self._lease.ends_at - self._timing.now() if self._lease else timedelta(0)
        return -LEASE_S <= left.total_seconds() <= HAND_OVER_S
