"""The lease: one run at a time may hold the account's one connection, until a stated end.

Every write of the item is conditional on its version. The holder renews the lease every
`RENEW_EVERY_S`. After its last successful write it stays connected for at most
`LEASE_S - MARGIN_S`, by its own clocks. Another run waits for the end that the item names, or for
the release. So two runs never overlap, as long as the difference of the two machines' clocks and
the time to close a connection stay below `MARGIN_S` together.

Each tenancy has a higher number (`token`) than any before. A holder that was paused for too long
finds another run's number, and does not overwrite it. If somebody deletes the item, the lease is
free, and the holder may write it again.
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
"""How often a holder renews its lease."""

RETRY_EVERY_S = 1.0
"""How soon a holder repeats a renewal that got no answer."""

MARGIN_S = 5.0
"""A holder disconnects so long before its lease ends.

Two clocks differ by up to 4 s, and closing takes up to 1 s.
"""

WATCH_S = 20.0
"""How long a run watches another's lease before it leaves; a dead holder shows in this time.

A run starts each minute. It sees the death while it watches, or the next run does. So the lease
changes hands at most `max(LEASE_S, 60 - WATCH_S + 2 * RENEW_EVERY_S)` seconds after a death, plus
the time of a start.
"""

HAND_OVER_S = 75.0
"""A run waits for a holder that is to end within this time."""

POLL_S = 1.0
"""How often a waiting run reads the lease."""

GUARD_EVERY_S = 0.25
"""How often, at least, a holder checks that its lease is not over."""

FREE = datetime(1970, 1, 1, tzinfo=UTC)
"""The end of a lease that was released."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease's item; times are by the holder's clock, aware UTC."""

    holder: str
    """The run's unique name."""
    token: int
    """The tenancy's number."""
    until: datetime
    """When it ends unless it is renewed; `FREE` if it was released."""
    ends_at: datetime
    """When its holder plans to release it."""
    version: int = 0
    """The item's version; 0 if there is no item yet."""


class LeaseTable(Protocol):
    """The table of the lease; tests have another one."""

    def present(self) -> Lease | None:
        """Return the lease by a consistent read, or None if there is none; raises StoreError."""
        ...

    def put(self, lease: Lease) -> Lease:
        """Write the lease if the item still has its version; return it with the new version.

        Raises ConflictError if another run wrote it, StoreDownError if it may not be written.
        """
        ...


class Tenancy:
    """One run's use of the lease: it waits for it, takes it, keeps it and releases it.

    After `take` returned True, `keep` and `guard` run in threads beside the run.
    """

    def __init__(self, table: LeaseTable, timing: Timing, holder: str) -> None:
        self._table = table
        self._timing = timing
        self._holder = holder
        self._lease: Lease | None = None
        self._deadline = (-math.inf, FREE)
        self._is_over = True

    def wait_until_free(
        self, time_left_s: Callable[[], float], watch_s: float | None = None
    ) -> bool:
        """Return whether the lease is free; if another run holds it, watch it for `watch_s`.

        It watches for longer while the holder is late with a renewal or about to end.
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
        """Take the lease that `wait_until_free` found free; return whether that succeeded.

        A write without an answer counts as failed, although it may have succeeded: the caller waits
        for the lease again.
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
        """Return for how many seconds this run may stay connected; after 0 it stays 0.

        The shorter of two clocks counts: the monotonic clock stops while a machine sleeps, and the
        wall clock may be set back.
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
        """Return the number of this tenancy, or 0 before the first."""
        return self._lease.token if self._lease else 0

    def keep(self, pause: Callable[[float], bool]) -> None:
        """Renew the lease until it is lost or `pause`, which waits for seconds, returns True."""
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
        """Call `cut` when the lease is over; end earlier if `pause` returns True."""
        while (left := self.left_s()) > 0:
            if pause(min(left, GUARD_EVERY_S)):
                return
        cut()

    def release(self) -> None:
        """Release the lease, so that the next run need not wait; first close the connection."""
        self._is_over = True
        if self._lease is None:
            return
        try:
            self._put_own(replace(self._lease, until=FREE, ends_at=self._timing.now()))
        except ConflictError:
            return
        except StoreDownError as error:
            # The lease ends by itself.
            logger.warning("lease not given back", extra={"error": str(error)})
        else:
            logger.info("lease given back", extra={"token": self.token})

    def _renew(self) -> None:
        if self._lease is not None:
            self._put_own(self._lease, renews=True)

    def _put_own(self, lease: Lease, *, renews: bool = False) -> None:
        """Overwrite this run's own item; raises ConflictError if it is another run's.

        An earlier write may have succeeded although its answer was lost. If so, overwrite it. If
        the item was deleted, write it again. Raises StoreDownError if it may not be written.
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
        """Write the lease; a renewal gives it time, counted from before the write."""
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
        """Whether the holder plans to release the lease soon, or planned it just before now."""
        left = self._lease.ends_at - self._timing.now() if self._lease else timedelta(0)
        return -LEASE_S <= left.total_seconds() <= HAND_OVER_S
