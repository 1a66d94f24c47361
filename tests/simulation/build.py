"""Small builders: a scheduler without faults, its time moved by hand, work run to its end."""

from collections.abc import Callable, Iterable
from datetime import datetime
from heapq import heappop
from typing import TypeVar

from tests.shell.fakes import OPEN
from workbench.simulation.checks import Checks
from workbench.simulation.crash_points import CrashPoints
from workbench.simulation.day import LOT, OPERATIONS
from workbench.simulation.fault_plan import Fault, SimulatedFaultPlan
from workbench.simulation.scheduler import SECOND, Invocation, Scheduler

T = TypeVar("T")


class AnyPoints(CrashPoints):
    """Takes requests from anywhere, not from the shell's source alone."""

    def reached(self, operation, caller) -> int:
        return 0


class Unwatched(Checks):
    """Checks that accept whatever a test does."""

    def saved(self, old, new) -> None:
        pass

    def sent(self, symbol, order) -> None:
        pass

    def landed(self, order) -> None:
        pass

    def unheld(self, symbol, order) -> None:
        pass

    def filled(self, symbol) -> None:
        pass


def scheduler_of(
    seed: int = 0, script: Iterable[Fault] = (), *, opens: datetime = OPEN, traced: bool = False
) -> Scheduler:
    """Return a scheduler that injects a script's faults, none without one."""
    points = AnyPoints(OPERATIONS)
    return Scheduler(seed, SimulatedFaultPlan(seed, script), points, opens, [] if traced else None)


def unwatched(scheduler: Scheduler) -> Checks:
    return Unwatched(scheduler, LOT)


def let_pass(scheduler: Scheduler, seconds: float) -> None:
    """Run what is due within so many seconds."""
    until = scheduler.now + int(seconds * SECOND)
    while scheduler._due and scheduler._due[0][0] <= until:
        scheduler.now, _, act = heappop(scheduler._due)
        act()
    scheduler.now = until


def invoked(scheduler: Scheduler, work: Callable[[], object], label: str = "tick 1") -> Invocation:
    """Begin an invocation; the scheduler runs the rest of it."""
    invocation = Invocation(label.partition(" ")[0], label)

    def run() -> None:
        work()

    scheduler.start(invocation, run)
    return invocation


def ended(scheduler: Scheduler, work: Callable[[], T], label: str = "tick 1") -> T:
    """Run work as an invocation to its end and return its result."""
    results: list[T] = []
    invoked(scheduler, lambda: results.append(work()), label)
    scheduler.run()
    (result,) = results
    return result
