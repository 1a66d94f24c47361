"""Machines in virtual time: each has a clock that is off, pauses, dies; one table between them.

Every wait and every request of the code under test is a switch to the loop, which goes on with
whoever is due next. So real code runs one step at a time, in an order that a seed decides.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from greenlet import GreenletExit, getcurrent, greenlet

from scalper.shell.errors import ConflictError, StoreDownError
from scalper.shell.relay.lease import Lease

START = datetime(2025, 3, 5, 14, 25, tzinfo=UTC)


class Loop:
    """Virtual time in seconds; tasks are greenlets."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._hub: greenlet = getcurrent()

    def at(self, when: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._numbers), call))

    def start(self, task: Callable[[], None], when: float | None = None) -> greenlet:
        made = greenlet(task, parent=self._hub)
        self.at(self.now if when is None else when, lambda: None if made.dead else made.switch())
        return made

    def sleep(self, seconds: float) -> None:
        """Let others go on for so long."""
        me = getcurrent()
        self.at(self.now + max(seconds, 0.0), lambda: None if me.dead else me.switch())
        self._hub.switch()

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.now = until


@dataclass
class Host:
    """A machine of its own: the Timing protocol by a clock that is `skew_s` off."""

    loop: Loop
    skew_s: float = 0.0
    paused_until: float = 0.0
    offline_until: float = 0.0
    tasks: list[greenlet] = field(default_factory=list)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.loop.now + self.skew_s)

    def monotonic(self) -> float:
        return self.loop.now + 1_000.0

    def sleep(self, seconds: float) -> None:
        self.loop.sleep(seconds)
        while self.loop.now < self.paused_until:
            self.loop.sleep(self.paused_until - self.loop.now)

    def start(self, task: Callable[[], None]) -> None:
        self.tasks.append(self.loop.start(task))

    def die(self) -> None:
        """End every task where it is; none gets to clean up."""
        for task in self.tasks:
            if not task.dead:
                task.throw(GreenletExit)


@dataclass
class SharedTable:
    """The one item, with requests that take time, fail before and after, or land late."""

    loop: Loop
    item: Lease | None = None
    down_until: float = 0.0
    faults: float = 0.0
    """The odds that a request fails."""
    writes: list[tuple[float, Lease]] = field(default_factory=list)

    def of(self, host: Host) -> "TableOfHost":
        return TableOfHost(self, host)

    def write(self, lease: Lease) -> Lease:
        if (self.item.version if self.item else 0) != lease.version:
            raise ConflictError("another run wrote it")
        self.item = replace(lease, version=lease.version + 1)
        self.writes.append((self.loop.now, self.item))
        return self.item


@dataclass
class TableOfHost:
    """The LeaseTable protocol as one machine sees it."""

    shared: SharedTable
    host: Host

    def present(self) -> Lease | None:
        self._travel()
        return self.shared.item

    def put(self, lease: Lease) -> Lease:
        shared, random = self.shared, self.shared.loop.random
        if not self._is_offline() and random.random() < shared.faults / 2:
            # It goes on its way, its answer never comes, and it may land much later.
            late = random.choice((0.0, 0.5, 4.0, 12.0, 30.0))
            shared.loop.at(shared.loop.now + late, lambda: self._land(lease))
            self.host.sleep(3.0)
            raise StoreDownError("no answer")
        self._travel()
        return shared.write(lease)

    def _land(self, lease: Lease) -> None:
        try:
            self.shared.write(lease)
        except ConflictError:
            return

    def _is_offline(self) -> bool:
        return self.shared.loop.now < max(self.shared.down_until, self.host.offline_until)

    def _travel(self) -> None:
        shared, random = self.shared, self.shared.loop.random
        if self._is_offline() or random.random() < shared.faults / 2:
            self.host.sleep(random.choice((0.01, 1.0, 3.0)))
            raise StoreDownError("the table does not answer")
        self.host.sleep(random.choice((0.005, 0.05, 0.3)))
