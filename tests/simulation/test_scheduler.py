"""One thread, virtual time, turns: what is due comes in order, and the dead do nothing more."""

from collections.abc import Callable
from functools import partial

import pytest
from greenlet import getcurrent

from scalper.shell.errors import BrokerDownError
from tests.simulation.build import ended, invoked, let_pass, scheduler_of
from workbench.faults.kinds import FaultKind
from workbench.simulation.fault_plan import READ, Fault
from workbench.simulation.scheduler import SECOND, TIMEOUT_S, Scheduler, Violation


def request(scheduler: Scheduler, name: str) -> str:
    """Make a request whose effect is a line of the trace."""

    def effect(fault: FaultKind | None) -> str:
        scheduler.note(f"effect {name}")
        return name

    return scheduler.call(name, READ, effect)


def effects(scheduler: Scheduler, after: str = "") -> list[str]:
    """Return the names of the effects, those after a line of the trace alone where one is given."""
    lines = scheduler.trace or []
    begin = next((n for n, line in enumerate(lines) if after in line), len(lines)) if after else 0
    return [line.split()[-1] for line in lines[begin:] if " effect " in line]


class TestTime:
    def test_what_is_due_happens_in_the_order_of_time(self):
        scheduler = scheduler_of()
        seen: list[tuple[str, int]] = []

        def see(name: str) -> None:
            seen.append((name, scheduler.now))

        for when in (5, 1, 3):
            scheduler.at(when, partial(see, f"at {when}"))
        scheduler.after(2e-6, partial(see, "after 2"))
        scheduler.run()
        assert seen == [("at 1", 1), ("after 2", 2), ("at 3", 3), ("at 5", 5)]

    def test_of_the_same_time_the_first_asked_for_comes_first(self):
        scheduler = scheduler_of()
        seen: list[int] = []
        for number in range(20):
            scheduler.at(7, partial(seen.append, number))
        scheduler.run()
        assert seen == list(range(20))

    def test_nothing_happens_in_the_past(self):
        scheduler = scheduler_of()
        seen: list[int] = []
        scheduler.at(10, lambda: scheduler.at(3, lambda: seen.append(scheduler.now)))
        scheduler.run()
        assert seen == [10]

    def test_others_run_while_one_sleeps_or_waits_for_an_answer(self):
        scheduler = scheduler_of(traced=True)
        order: list[str] = []

        def sleeper() -> None:
            order.append("sleeps")
            scheduler.sleep(1)
            order.append("wakes")

        scheduler.at(0, lambda: invoked(scheduler, sleeper, "tick 1"))

        def other() -> None:
            order.append(request(scheduler, "other"))

        scheduler.at(0, lambda: invoked(scheduler, other, "tick 2"))
        scheduler.run()
        assert order == ["sleeps", "other", "wakes"]
        assert scheduler.now == 1 * SECOND

    def test_a_request_takes_time_and_comes_back_with_its_result(self):
        scheduler = scheduler_of()
        assert ended(scheduler, lambda: request(scheduler, "one")) == "one"
        assert 0 < scheduler.now < SECOND
        assert scheduler.steps == 1

    def test_outside_of_a_day_a_request_is_its_effect(self):
        scheduler = scheduler_of()
        assert request(scheduler, "one") == "one"
        assert (scheduler.now, scheduler.steps) == (0, 0)

    def test_an_error_is_raised_where_the_request_was_made_and_takes_its_time(self):
        scheduler = scheduler_of(script=[Fault("tick 1/1", FaultKind.READ_LOST)])

        def effect(fault: FaultKind | None) -> None:
            if fault:
                raise BrokerDownError(fault)

        def work() -> str:
            with pytest.raises(BrokerDownError, match=FaultKind.READ_LOST):
                scheduler.call("one", READ, effect)
            scheduler.call("two", READ, effect)
            return "went on"

        assert ended(scheduler, work) == "went on"
        assert 0.2 * SECOND < scheduler.now < (TIMEOUT_S + 1) * SECOND

    def test_a_slow_answer_is_late_but_its_effect_is_not(self):
        scheduler = scheduler_of(script=[Fault("tick 1/1", FaultKind.SLOW)], traced=True)
        invoked(scheduler, lambda: request(scheduler, "one"))
        let_pass(scheduler, 0.4)
        assert effects(scheduler) == ["one"]
        scheduler.run()
        assert scheduler.now > 0.5 * SECOND


class TestFanOut:
    def test_results_come_in_the_tasks_order_whatever_their_time(self):
        for seed in range(10):
            scheduler = scheduler_of(seed)

            def task(number: int, scheduler: Scheduler = scheduler) -> int:
                scheduler.sleep((7 * number) % 5)
                return number

            def work(scheduler: Scheduler = scheduler, task: Callable[[int], int] = task):
                return scheduler.fan_out([partial(task, n) for n in range(6)])

            assert ended(scheduler, work) == list(range(6))
            assert scheduler.now < 5 * SECOND

    def test_tasks_take_turns(self):
        scheduler = scheduler_of()
        order: list[tuple[int, int]] = []

        def task(number: int) -> None:
            for step in range(3):
                order.append((step, number))
                scheduler.sleep(1)

        ended(scheduler, lambda: scheduler.fan_out([partial(task, n) for n in range(3)]))
        assert [step for step, _ in order] == [0, 0, 0, 1, 1, 1, 2, 2, 2]

    def test_one_task_runs_in_place_and_none_is_none(self):
        scheduler = scheduler_of()
        assert ended(scheduler, lambda: scheduler.fan_out([])) == []

        def work() -> bool:
            return scheduler.fan_out([getcurrent]) == [getcurrent()]

        assert ended(scheduler, work)

    def test_outside_of_a_day_tasks_run_one_after_the_other(self):
        assert scheduler_of().fan_out([lambda: 1, lambda: 2]) == [1, 2]

    def test_all_end_before_the_error_of_the_first_task_is_raised(self):
        scheduler = scheduler_of()
        over: list[str] = []

        def slow() -> None:
            scheduler.sleep(9)
            over.append(FaultKind.SLOW)

        def first() -> None:
            scheduler.sleep(5)
            raise ValueError("first in the list")

        def second() -> None:
            raise KeyError("first in time")

        def work() -> list[str]:
            with pytest.raises(ValueError, match="first in the list"):
                scheduler.fan_out([slow, first, second, slow])
            return list(over)

        assert ended(scheduler, work) == [FaultKind.SLOW, FaultKind.SLOW]


def busy(scheduler: Scheduler) -> Callable[[], None]:
    """Return a handler of many requests, most of them side by side."""

    def part(name: str) -> None:
        for number in range(5):
            request(scheduler, f"{name}{number}")

    def handler() -> None:
        request(scheduler, "first")
        try:
            scheduler.fan_out([partial(part, name) for name in "abc"])
        except Exception as error:
            raise AssertionError("a death is no error") from error
        request(scheduler, "last")

    return handler


class TestCrash:
    @pytest.mark.parametrize("at", range(1, 18))
    @pytest.mark.parametrize("seed", range(3))
    def test_a_crash_before_a_request_stops_the_invocation_before_its_effect(
        self, at: int, seed: int
    ):
        scheduler = scheduler_of(seed, [Fault(f"tick 1/{at}", FaultKind.CRASH_BEFORE)], traced=True)
        invocation = invoked(scheduler, busy(scheduler))
        scheduler.run()
        assert invocation.is_dead
        assert scheduler.crashes == 1
        assert invocation.requests == at
        assert effects(scheduler, after="<-- crash_before") == []
        assert len(effects(scheduler)) < at

    @pytest.mark.parametrize("at", range(1, 18))
    @pytest.mark.parametrize("seed", range(3))
    def test_a_crash_after_a_request_makes_its_effect_the_last(self, at: int, seed: int):
        scheduler = scheduler_of(seed, [Fault(f"tick 1/{at}", FaultKind.CRASH_AFTER)], traced=True)
        invocation = invoked(scheduler, busy(scheduler))
        scheduler.run()
        assert invocation.is_dead
        assert scheduler.crashes == 1
        (line,) = [one for one in scheduler.trace or [] if "<-- crash_after" in one]
        name = line.split("] ")[1].split()[0]
        assert effects(scheduler)[-1] == name
        assert (name == "last") == (at == 17)

    def test_without_a_crash_everything_happens(self):
        scheduler = scheduler_of(traced=True)
        invocation = invoked(scheduler, busy(scheduler))
        scheduler.run()
        assert not invocation.is_dead
        assert len(effects(scheduler)) == 17
        assert (effects(scheduler)[0], effects(scheduler)[-1]) == ("first", "last")

    def test_other_invocations_live_on(self):
        scheduler = scheduler_of(script=[Fault("tick 1/4", FaultKind.CRASH_BEFORE)], traced=True)
        dead = invoked(scheduler, busy(scheduler), "tick 1")
        alive = invoked(scheduler, busy(scheduler), "tick 2")
        scheduler.run()
        assert (dead.is_dead, alive.is_dead) == (True, False)
        assert effects(scheduler)[-1] == "last"
        assert effects(scheduler).count("a4") == 1

    def test_one_killed_from_outside_does_nothing_any_more(self):
        scheduler = scheduler_of(traced=True)
        invocation = invoked(scheduler, busy(scheduler))

        def kill() -> None:
            invocation.is_dead = True
            scheduler.note("killed")

        scheduler.after(0.03, kill)
        scheduler.run()
        assert 0 < len(effects(scheduler)) < 17
        assert effects(scheduler, after="killed") == []

    def test_one_killed_while_its_tasks_ask_for_nothing_does_nothing_any_more(self):
        scheduler = scheduler_of(traced=True)

        def handler() -> None:
            scheduler.fan_out([lambda: 1, lambda: 2])
            scheduler.note("went on")

        invocation = invoked(scheduler, handler)
        invocation.is_dead = True
        scheduler.run()
        assert scheduler.trace == []

    def test_a_crash_after_a_request_hides_its_error(self):
        scheduler = scheduler_of(script=[Fault("tick 1/1", FaultKind.CRASH_AFTER)])

        def fail(fault: FaultKind | None) -> None:
            raise BrokerDownError("x")

        invocation = invoked(scheduler, lambda: scheduler.call("one", READ, fail))
        scheduler.run()
        assert invocation.is_dead


class TestViolation:
    def violate(self, fault: FaultKind | None) -> None:
        raise Violation("never")

    def test_a_crash_passes_through_handlers(self):
        scheduler = scheduler_of()

        def handler() -> None:
            try:
                scheduler.call("one", READ, self.violate)
            except Exception:  # noqa: BLE001 - what must not help
                request(scheduler, "two")

        scheduler.at(0, lambda: invoked(scheduler, handler))
        with pytest.raises(Violation, match="never"):
            scheduler.run()

    def test_a_crash_passes_through_a_fan_out(self):
        scheduler = scheduler_of()

        def handler() -> None:
            try:
                scheduler.fan_out(
                    [
                        lambda: scheduler.call("one", READ, self.violate),
                        lambda: scheduler.sleep(1),
                    ]
                )
            except Exception:  # noqa: BLE001 - what must not help
                request(scheduler, "two")

        scheduler.at(0, lambda: invoked(scheduler, handler))
        with pytest.raises(Violation, match="never"):
            scheduler.run()
