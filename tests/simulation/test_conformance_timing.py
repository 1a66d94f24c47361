"""The time of an invocation: the machine's own and the simulator's keep the same promises."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from scalper.shell.ports import Timing
from scalper.shell.timing import SystemTiming
from tests.shell.fakes import OPEN
from tests.simulation.build import ended, scheduler_of
from workbench.simulation.aws import SimulatedTiming
from workbench.simulation.scheduler import SECOND

SHORT_S = 0.02


class Runner(Protocol):
    def __call__(self, work: Callable[[Timing], Any], /) -> Any:
        """Run work that goes by a timing."""


def on_the_machine(work: Callable[[Timing], Any], /) -> Any:
    return work(SystemTiming())


def in_the_simulator(work: Callable[[Timing], Any], /) -> Any:
    scheduler = scheduler_of()
    timing = SimulatedTiming(scheduler)
    return ended(scheduler, lambda: work(timing))


@pytest.fixture(params=[on_the_machine, in_the_simulator])
def run(request: pytest.FixtureRequest) -> Runner:
    return request.param


def test_now_is_aware_utc(run: Runner):
    now: datetime = run(lambda timing: timing.now())
    assert now.tzinfo is UTC


def test_both_clocks_never_fall(run: Runner):
    def work(timing: Timing) -> list[tuple[float, datetime]]:
        seen = []
        for _ in range(50):
            seen.append((timing.monotonic(), timing.now()))
            timing.sleep(0)
        return seen

    seen = run(work)
    assert seen == sorted(seen)


def test_a_sleep_lets_at_least_that_much_pass_on_both_clocks(run: Runner):
    def work(timing: Timing) -> tuple[float, timedelta]:
        began, at = timing.monotonic(), timing.now()
        timing.sleep(SHORT_S)
        return timing.monotonic() - began, timing.now() - at

    counted, told = run(work)
    # A count of seconds as a float is exact to far less than a microsecond.
    assert counted >= SHORT_S - 1e-9
    # The wall's clock may be set while the test waits.
    assert told >= timedelta(seconds=SHORT_S / 2)
    assert counted < 60


def test_a_skewed_machine_tells_another_time_and_counts_the_same():
    scheduler = scheduler_of()
    timing = SimulatedTiming(scheduler, skew=-5 * SECOND)
    assert timing.now() == OPEN - timedelta(seconds=5)
    assert timing.monotonic() == 0.0
