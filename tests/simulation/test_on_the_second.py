"""Whatever second Scheduler fires at, each minute of a session runs once, and on the second.

The real handler over virtual time and the simulator's fakes; Scheduler and SQS are played here: a
message comes up to a second after its delay, a tick takes what its requests take.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from scalper.core.pricing import DOLLAR
from scalper.core.session import MINUTE, Session
from scalper.shell import telemetry
from scalper.shell.ports import SymbolRules
from scalper.shell.trading.tick_schedule import MAX_LINKS
from tests.shell.fakes import DAY, OPEN, never, settings
from tests.simulation.build import scheduler_of, unwatched
from workbench.simulation.aws import SimulatedAws, SimulatedTiming, quiet
from workbench.simulation.broker import SimulatedBroker
from workbench.simulation.market import market_of
from workbench.simulation.scheduler import SECOND, Scheduler
from workbench.simulation.table import Items, SimulatedStore, SimulatedSymbols
from workbench.simulation.venue import SeededVenue

FULL, SHORT = 390, 60
MINUTES = 60 * SECOND
LATEST_S = 3.5
"""Within two seconds of second 1.5."""

TAKEN_FOR_A_LOOP = 16
"""Runs in a row at which Lambda stops a function that its own messages lead back to itself.

(https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html)
"""

Offsets = Callable[[int], list[float]]
"""The seconds after each minute at which Scheduler invokes for it."""


@dataclass
class Measured:
    """The metrics of the whole session."""

    values: dict[str, list[float]] = field(default_factory=dict)

    class provider:  # noqa: N801 - powertools' name
        metric_set: Mapping[str, Any] = {}

    def add_metric(self, *, name: str, unit: object, value: float) -> None:
        self.values.setdefault(name, []).append(value)


class Answers(dict[str, Any]):
    """Keeps each answer, not a function's last alone."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks: list[dict[str, Any]] = []

    def __setitem__(self, name: str, answer: Any) -> None:
        if name == "tick":
            self.ticks.append(answer)
        super().__setitem__(name, answer)


class Played:
    """A session whose Scheduler and queue are late, repeat or lose."""

    def __init__(
        self,
        offsets: Offsets,
        minutes: int = FULL,
        *,
        copies: Callable[[int], int] = lambda number: 1,
        slow_s: Callable[[Random], float] = lambda numbers: numbers.random(),
        clock: str = "system",
        queue: str = "ticks",
    ) -> None:
        """`copies`: how often the nth message is delivered; `slow_s`: how late one comes."""
        scheduler = scheduler_of()
        session = Session(DAY, OPEN, OPEN + minutes * MINUTE)
        numbers = Random("messages")
        prices = market_of(scheduler, ("AAA",), minutes)
        checks = unwatched(scheduler)
        self.messages: list[Mapping[str, Any]] = []
        self.answers = Answers()
        self.opens = OPEN
        cloud = SimulatedAws(
            scheduler,
            settings(clock=clock, tick_queue_url=queue),
            SimulatedBroker(
                SeededVenue(scheduler, session, prices.last_trade, checks, lambda update: None)
            ),
            SimulatedStore(scheduler, Items(), checks),
            prices,
            SimulatedSymbols(
                scheduler, {"AAA": SymbolRules("AAA", lot=2000 * DOLLAR, signal=never)}
            ),
            SimulatedTiming(scheduler),
        )
        cloud.answers = self.answers
        deliver = cloud.outbox.deliver_tick

        def send(event: Mapping[str, Any]) -> None:
            self.messages.append(event)
            for _ in range(copies(len(self.messages))):
                scheduler.after(slow_s(numbers), lambda: deliver(event))

        cloud.outbox.deliver_tick = send
        for number in range(1, minutes + 1):
            for offset in offsets(number):
                due = number * MINUTES
                event = {"scheduled_time": scheduler.time(due).isoformat()}
                _at(scheduler, due + int(offset * SECOND), cloud, number, event)
        measured = Measured()
        telemetry.metrics = measured  # type: ignore[assignment]
        scheduler.run()
        self.lags = measured.values.get("StartLag", [])
        self.ages = measured.values.get("BarAge", [])

    @property
    def statuses(self) -> Counter[str]:
        return Counter(one["status"] for one in self.answers.ticks)

    @property
    def ran(self) -> list[int]:
        """The minutes that ran, in the order of their ends."""
        return [
            (datetime.fromisoformat(one["minute"]) - self.opens) // MINUTE
            for one in self.answers.ticks
            if one["status"] == "ok"
        ]

    def assert_on_the_second(self, minutes: int = FULL, *, late: int = 1) -> None:
        """Each minute ran once, and all but the first `late` ones within their seconds."""
        assert sorted(self.ran) == list(range(1, minutes + 1))
        assert len(self.lags) == minutes
        assert all(0 <= lag < 60 for lag in self.lags[:late])
        on_time = self.lags[late:]
        assert 0 <= min(on_time) <= max(on_time) <= LATEST_S
        assert set(self.statuses) <= {"ok", "repeated"}


def _at(scheduler: Scheduler, when: int, aws: SimulatedAws, number: int, event: Any) -> None:
    scheduler.at(when, lambda: aws.invoke("tick", str(number), event))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


class TestAWholeSession:
    @pytest.mark.parametrize("offset", range(60))
    def test_at_each_offset_every_minute_runs_once_on_the_second(self, offset: int):
        played = Played(lambda number: [offset])
        played.assert_on_the_second()
        # One by the claim of a minute and one by its schedule, for all minutes but the last.
        assert FULL - 1 <= len(played.messages) <= 2 * (FULL - 1)

    @pytest.mark.parametrize("per_minute", [0.37, -0.37, 7.3])
    def test_a_scheduler_that_drifts_through_the_minute(self, per_minute: float):
        Played(lambda number: [(30 + per_minute * number) % 60]).assert_on_the_second()

    def test_a_scheduler_that_fires_in_any_second(self):
        numbers = Random("any second")
        Played(lambda number: [numbers.uniform(0, 59.99)]).assert_on_the_second()

    def test_doubled_schedules_and_doubled_messages_do_not_multiply(self):
        played = Played(lambda number: [20.0, 20.4], copies=lambda number: 2)
        played.assert_on_the_second()
        # A minute is armed by its claim and by each of two schedules.
        assert len(played.messages) <= 3 * (FULL - 1)
        assert len(played.answers.ticks) == 2 * FULL + 2 * len(played.messages)

    def test_messages_delivered_five_times_do_not_multiply(self):
        played = Played(lambda number: [37.0], SHORT, copies=lambda number: 5)
        played.assert_on_the_second(SHORT)
        assert len(played.messages) <= 2 * (SHORT - 1)

    def test_missing_schedules_cost_nothing(self):
        numbers = Random("missing")
        played = Played(lambda number: [37.0] if number == 1 or numbers.random() < 0.6 else [])
        played.assert_on_the_second()

    def test_missing_schedules_in_a_row_cost_nothing_up_to_the_longest_chain(self):
        gap = range(20, 20 + MAX_LINKS - 1)
        played = Played(lambda number: [] if number in gap else [37.0], SHORT)
        played.assert_on_the_second(SHORT)

    def test_a_schedule_that_ends_ends_the_ticks_soon(self):
        played = Played(lambda number: [37.0] if number <= 10 else [], SHORT)
        assert sorted(played.ran) == list(range(1, 10 + MAX_LINKS + 1))

    def test_no_chain_is_so_long_that_lambda_takes_it_for_a_loop(self):
        played = Played(lambda number: [37.0] if number == 1 else [], SHORT)
        assert 1 < len(played.ran) < TAKEN_FOR_A_LOOP

    def test_one_lost_message_costs_nothing_if_the_other_comes(self):
        played = Played(lambda number: [37.0], copies=lambda number: min(number % 3, 1))
        played.assert_on_the_second()

    def test_a_minute_whose_messages_are_all_lost_runs_at_the_offset_and_the_next_on_the_second(
        self,
    ):
        def copies(number: int) -> int:
            return 0 if number in (39, 40, 41, 42) else 1

        played = Played(lambda number: [37.0], SHORT, copies=copies)
        assert sorted(played.ran) == list(range(1, SHORT + 1))
        late = [lag for lag in played.lags[1:] if lag > LATEST_S]
        assert 1 <= len(late) <= 2
        assert all(37.0 <= lag < 38.0 for lag in late)

    def test_no_message_at_all_leaves_every_minute_to_the_schedule(self):
        played = Played(lambda number: [37.0], SHORT, copies=lambda number: 0)
        assert sorted(played.ran) == list(range(1, SHORT + 1))
        assert {int(lag) for lag in played.lags} == {37}

    def test_everything_at_once(self):
        numbers = Random("everything")
        unscheduled: set[int] = set()

        def offsets(number: int) -> list[float]:
            base = (10 + 3.1 * number) % 60
            if number > 1 and numbers.random() < 0.1:
                unscheduled.add(number)
                return []
            return [base, min(base + 0.3, 59.9)] if numbers.random() < 0.2 else [base]

        played = Played(offsets, copies=lambda number: numbers.choice((0, 1, 1, 1, 1, 2)))
        missed = set(range(1, FULL + 1)) - set(played.ran)
        # Nothing is left of a minute whose schedule and messages are all lost.
        assert missed <= unscheduled
        assert len(played.ran) == len(set(played.ran)) == FULL - len(missed)
        assert len(missed) <= 3
        assert sum(lag > LATEST_S for lag in played.lags) < FULL / 10

    def test_schedules_a_few_seconds_before_their_minute_wait_for_it(self):
        played = Played(lambda number: [-3.0])
        assert sorted(played.ran) == list(range(1, FULL + 1))
        assert 0 <= min(played.lags) <= max(played.lags) <= LATEST_S

    def test_a_schedule_far_before_its_minute_arms_it(self):
        played = Played(lambda number: [-25.0], SHORT)
        assert sorted(played.ran) == list(range(1, SHORT + 1))
        assert 0 <= min(played.lags) <= max(played.lags) <= LATEST_S
        assert played.statuses["early"] == SHORT

    def test_a_message_that_comes_seconds_late_starts_its_tick_as_late(self):
        played = Played(
            lambda number: [37.0], SHORT, slow_s=lambda numbers: 5.0, copies=lambda number: 2
        )
        assert sorted(played.ran) == list(range(1, SHORT + 1))
        assert max(played.lags[1:]) < 6
        # Too late to wait for their second, they claim beside their reads; a copy stops at that.
        assert played.statuses["repeated"] == 2 * len(played.messages)


class TestBounds:
    def test_nothing_is_armed_beyond_the_close(self):
        played = Played(lambda number: [37.0], SHORT)
        last = OPEN + SHORT * MINUTE
        minutes = [datetime.fromisoformat(one["scheduled_time"]) for one in played.messages]
        assert max(minutes) == last

    def test_a_message_delivered_after_the_session_does_nothing(self):
        played = Played(lambda number: [37.0], SHORT, slow_s=lambda numbers: 7200.0)
        assert sorted(played.ran) == list(range(1, SHORT + 1))
        assert played.statuses == {"ok": SHORT, "too late": len(played.messages)}
        # A late message arms nothing.
        assert len(played.messages) == SHORT - 1

    @pytest.mark.parametrize("given", [{"clock": "broker"}, {"queue": ""}])
    def test_a_simulated_clock_or_no_queue_arms_nothing_and_runs_by_the_schedule(
        self, given: dict[str, str]
    ):
        played = Played(lambda number: [2.0], SHORT, **given)  # type: ignore[arg-type]
        assert played.messages == []
        assert sorted(played.ran) == list(range(1, SHORT + 1))
        assert len(played.lags) == (0 if "clock" in given else SHORT)

    def test_the_bars_age_is_measured_at_each_decision(self):
        played = Played(lambda number: [37.0], SHORT)
        # Every minute before the liquidation decides; bars come within seconds of their end.
        assert len(played.ages) == SHORT - 6
        assert timedelta(seconds=max(played.ages)) < 2 * MINUTE
