"""Virtual time: every invocation is a greenlet that is suspended at each request.

Handlers stay plain synchronous code. A request switches to the scheduler on its way out. Half of
the requests also switch on their way back. Whatever is due in between runs in between. If nothing
is due, a pause only moves the clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from random import Random
from types import CodeType, FrameType
from typing import Any, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from scalper.core.model import SymbolState
from scalper.core.order import OrderReport
from scalper.core.session import Session
from scalper.shell.errors import ScalperError
from scalper.shell.ports import Bars, Clock, Stored, SymbolRules
from workbench.faults.kinds import REFUSALS, FaultKind
from workbench.simulation.crash_points import CrashPoints
from workbench.simulation.fault_plan import FaultMenu, SimulatedFaultPlan

T = TypeVar("T")

SECOND = 1_000_000
MINUTE = 60 * SECOND
MAX_SHOWN = 6
"""How many entries of a long list a trace shows: the last ones."""

TIMEOUT_S = 7.0
"""The longest time that an unanswered request takes, as the adapters' time-outs have it."""


class Violation(BaseException):
    """The system did what it must never do."""


@dataclass(slots=True, eq=False)
class Invocation:
    """One call of a handler, with all the tasks that it runs side by side."""

    function: str
    label: str
    """The function and why it was called. It is the same in a replay with fewer faults."""
    requests: int = 0
    is_dead: bool = False
    is_over: bool = False
    unsent: set[str] = field(default_factory=set)
    """Orders whose intents it wrote and which it has not sent yet."""
    began: int = 0
    decided: set[tuple[str, datetime]] = field(default_factory=set)
    """Symbol and minute of each decision that it took."""
    forbidden: dict[str, str] = field(default_factory=dict)
    """Why symbols could not be entered when it began, by symbol."""
    store_failed: bool = False
    """Whether the store failed it. Its liquidation then works without the table."""


class Task(greenlet):  # type: ignore[misc] # greenlet has no types
    """A greenlet that does the jobs of invocations in turn: a new greenlet each time is slow."""

    invocation: Invocation
    job: Callable[[], None]
    caller: tuple[CodeType, int] | None = None
    """The place in the shell that gave the task to `fan_out`."""

    def __init__(self, scheduler: Scheduler, hub: greenlet) -> None:
        super().__init__(parent=hub)
        self._scheduler = scheduler

    def run(self) -> None:
        """Do one job after the other until the day is over."""
        while True:
            self.job()
            if self._scheduler.is_over:
                return
            self.caller = None
            self._scheduler.idle.append(self)
            self.parent.switch()


@dataclass(slots=True, eq=False)
class Scheduler:
    """Runs what is due in the order of virtual time, in microseconds since the session's open."""

    seed: int
    plan: SimulatedFaultPlan
    points: CrashPoints
    opens: datetime
    trace: list[str] | None = None
    now: int = 0
    steps: int = 0
    crashes: int = 0
    is_over: bool = False
    idle: list[Task] = field(default_factory=list)
    """Tasks without a job."""
    running: int = 0
    _order: int = 0
    _due: list[tuple[int, int, Callable[[], object]]] = field(default_factory=list)
    _random: Callable[[], float] = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(f"latency {self.seed}").random

    def time(self, at: int | None = None) -> datetime:
        """Return the virtual time as aware UTC."""
        return self.opens + timedelta(microseconds=self.now if at is None else at)

    def at(self, when: int, act: Callable[[], object]) -> None:
        """Schedule an act at a time, now at the earliest."""
        self._order += 1
        heappush(self._due, (max(when, self.now), self._order, act))

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        """Schedule an act after so many seconds."""
        self.at(self.now + int(seconds * SECOND), act)

    def run(self) -> None:
        """Run every act in the order of its time, until none is left."""
        due = self._due
        try:
            while due:
                self.now, _, act = heappop(due)
                act()
        finally:
            self.is_over = True
            # A suspended greenlet, and the day that its frames hold, would never be collected.
            while self.idle:
                self.idle.pop().throw()

    def start(self, invocation: Invocation, work: Callable[[], None]) -> None:
        """Run an invocation up to its first request. The rest follows when that is answered."""
        invocation.began = self.now
        self._task(invocation, work, getcurrent()).switch()

    def call(self, operation: str, menu: FaultMenu, effect: Callable[[FaultKind | None], T]) -> T:
        """Make a request: it leaves, takes effect with the fault that strikes it, and returns.

        In the conformance tests, which run no simulated day, it is the effect alone.
        """
        task = getcurrent()
        if not isinstance(task, Task):
            return effect(None)
        invocation = task.invocation
        if invocation.is_dead:
            raise GreenletExit
        self.steps += 1
        invocation.requests += 1
        point = self.points.reached(operation, _caller(task))
        fault = self.plan.pick(menu, invocation.label, invocation.requests, point >> 1)
        if self.trace is not None:
            self._note(invocation, operation, fault)
        if fault is FaultKind.CRASH_BEFORE:
            self._crash(invocation, point)
        latency = self._random()
        self._pause(task, int(latency * latency * latency * 60_000) + 300)
        if fault is FaultKind.CRASH_AFTER:
            with suppress(ScalperError):  # The process that would see the answer is dead.
                effect(None)
            self._crash(invocation, point + 1)
        try:
            result = effect(fault)
        except ScalperError as error:
            if self.trace is not None:
                self._note(invocation, f"{operation} -> {type(error).__name__}: {error}")
            self._pause(task, self._lost_for(fault))
            raise
        if self.trace is not None:
            self._note(invocation, f"{operation} -> {_brief(result)}")
        if fault is FaultKind.SLOW:
            self._pause(task, int(self.plan.amount(0.5, 12.0) * SECOND))
            return result
        # Half of the answers come at once, so that nothing runs in between.
        latency = self._random() - 0.5
        if latency > 0:
            self._pause(task, int(latency * latency * 120_000))
        return result

    def fan_out(self, tasks: Sequence[Callable[[], T]], /) -> list[T]:
        """Return the tasks' results in their order. All tasks end before an error is raised."""
        if len(tasks) <= 1:
            return [task() for task in tasks]
        parent = getcurrent()
        if not isinstance(parent, Task):
            return [task() for task in tasks]
        frame = sys._getframe(1)
        caller = (frame.f_code, frame.f_lineno)
        results: list[Any] = [None] * len(tasks)
        errors: list[BaseException | None] = [None] * len(tasks)
        left = len(tasks)

        def work(place: int, task: Callable[[], T]) -> None:
            nonlocal left
            try:
                results[place] = task()
            except (Exception, GreenletExit) as error:  # noqa: BLE001 - raised below
                errors[place] = error
            left -= 1
            if left == 0:
                self.at(self.now, parent.switch)

        for place, task in enumerate(tasks):
            child = self._task(parent.invocation, partial(work, place, task), parent.parent)
            child.caller = caller
            self.at(self.now + int(self._random() * 2_000), child.switch)
        parent.parent.switch()
        if parent.invocation.is_dead:
            raise GreenletExit
        for error in errors:
            if error is not None:
                raise error
        return results

    def sleep(self, seconds: float) -> None:
        """Suspend the running task."""
        task = getcurrent()
        if isinstance(task, Task):
            self._pause(task, int(seconds * SECOND))

    def _task(self, invocation: Invocation, job: Callable[[], None], hub: greenlet) -> Task:
        task = self.idle.pop() if self.idle else Task(self, hub)
        task.invocation = invocation
        task.job = job
        return task

    def _pause(self, task: Task, delay: int) -> None:
        when = self.now + delay
        if not self._due or when < self._due[0][0]:
            # Nothing is due in between, so a switch would change nothing.
            self.now = when
            return
        self._order += 1
        heappush(self._due, (when, self._order, task.switch))
        task.parent.switch()
        if task.invocation.is_dead:
            raise GreenletExit

    def _crash(self, invocation: Invocation, point: int) -> None:
        invocation.is_dead = True
        self.crashes += 1
        self.points.hit[point] += 1
        raise GreenletExit

    def _lost_for(self, fault: FaultKind | None) -> int:
        """Return how long a failed request takes, in microseconds: a refusal is fast."""
        if fault is None or fault in REFUSALS:
            return 20_000
        return int(self.plan.amount(0.2, TIMEOUT_S) * SECOND)

    def _note(self, invocation: Invocation, what: str, fault: FaultKind | None = None) -> None:
        self.note(f"[{invocation.label}/{invocation.requests}] {what}", fault)

    def note(self, what: str, fault: FaultKind | None = None) -> None:
        """Add a line to the trace, if one is kept."""
        if self.trace is not None:
            at = self.now / SECOND
            mark = f"   <-- {fault}" if fault else ""
            self.trace.append(f"{int(at // 60):3d}:{at % 60:09.6f} {what}{mark}")


def _caller(task: Task) -> tuple[CodeType, int]:
    """Return where the shell made the request: three frames up, over `call` and the fake."""
    frame: FrameType = sys._getframe(3)
    if frame.f_code is _WORK and task.caller is not None:
        return task.caller
    return frame.f_code, frame.f_lineno


_WORK: CodeType = next(
    constant
    for constant in Scheduler.fan_out.__code__.co_consts
    if isinstance(constant, CodeType) and constant.co_name == "work"
)


def _brief(result: object) -> str:
    """Return a result as a line of a trace shows it."""
    match result:
        case Stored(state=state):
            return f"v{result.version} {_brief(state)}"
        case SymbolState(order=order):
            works = f" {order.status or 'intent'} {order.client_order_id}" if order else ""
            held = f" qty={result.qty}" if result.qty else ""
            doubt = f" abandoned={','.join(result.abandoned)}" if result.abandoned else ""
            halt = f" halt={result.halt}" if result.halt else ""
            return f"{result.symbol} {result.phase}{works}{held}{doubt}{halt}"
        case OrderReport():
            return f"{result.client_order_id} {result.status} {result.filled_qty}/{result.qty}"
        case SymbolRules():
            return f"lot {result.lot}"
        case Clock():
            return f"{result.now:%H:%M:%S.%f}"
        case Session():
            return f"{result.day}"
        case dict():
            return ", ".join(f"{name}: {_brief(one)}" for name, one in result.items()) or "{}"
        case list() | tuple():
            shown = ", ".join(_brief(one) for one in result[-MAX_SHOWN:]) or "[]"
            return shown if len(result) <= MAX_SHOWN else f"{len(result)}, the last: {shown}"
        case Bars():
            return f"{sum(len(bars) for bars in result.by_symbol.values())} bars"
    return str(result)
