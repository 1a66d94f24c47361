"""A seed is a day, to the letter; what fails is told, replayed and shrunk to what matters."""

import gc
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workbench.cli.app import app
from workbench.faults.kinds import FaultKind
from workbench.simulation import campaign
from workbench.simulation.aws import quiet
from workbench.simulation.checks import Checks
from workbench.simulation.crash_points import CrashPoints
from workbench.simulation.day import OPERATIONS, SimulatedDay, SimulatedOutcome, run_day
from workbench.simulation.fault_plan import Fault, Script
from workbench.simulation.scheduler import Scheduler, Violation
from workbench.simulation.shrink import parse_script, script_text, shrink

ROOT = Path(__file__).parents[2]
SEEDS = range(1, 60)
PLANTED = "planted: a defect that these faults uncover"

TRACE = """
import hashlib
from workbench.simulation.aws import quiet
from workbench.simulation.day import OPERATIONS, run_day
from workbench.simulation.crash_points import CrashPoints
with quiet():
    for seed in (3, 8, 12):
        day = run_day(seed, CrashPoints(OPERATIONS), traced=True)
        text = repr((day.trace, day.faults, day.steps, day.pnl, sorted(day.invocations.items())))
        print(seed, len(day.trace), hashlib.sha256(text.encode()).hexdigest())
"""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


def day(seed: int, script: Script | None = None) -> SimulatedOutcome:
    return run_day(seed, CrashPoints(OPERATIONS), script, traced=True)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what plants a defect: a day on which all these kinds of faults happened fails."""

    def planting(*kinds: str) -> None:
        saved = Checks.saved

        def check(self, old, new) -> None:
            saved(self, old, new)
            if {fault.kind for fault in self.scheduler.plan.injected}.issuperset(kinds):
                self.fail(PLANTED)

        monkeypatch.setattr(Checks, "saved", check)

    return planting


def failing_seed() -> int:
    return next(seed for seed in SEEDS if day(seed).violation)


class TestReplay:
    def test_a_day_is_the_same_in_every_process(self):
        answers = set()
        for hash_seed in ("0", "1", "77"):
            environment = os.environ | {
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.pathsep.join((str(ROOT / "functions"), str(ROOT))),
            }
            ended = subprocess.run(
                [sys.executable, "-c", TRACE],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            )
            answers.add(ended.stdout)
        (answer,) = answers
        assert [line.split()[0] for line in answer.splitlines()] == ["3", "8", "12"]
        assert all(int(line.split()[1]) > 100 for line in answer.splitlines())

    def test_a_day_does_not_depend_on_the_days_before_it(self):
        alone = [day(seed).trace for seed in (5, 6)]
        points = CrashPoints(OPERATIONS)
        for seed in range(1, 5):
            run_day(seed, points)
        assert [run_day(seed, points, traced=True).trace for seed in (5, 6)] == alone

    def test_only_the_last_day_stays_in_memory(self):
        """A campaign runs tens of thousands of them in one process."""

        def alive() -> int:
            gc.collect()
            return sum(isinstance(one, Scheduler) for one in gc.get_objects())

        before = alive()
        for seed in range(1, 6):
            day(seed)
        assert alive() <= before + 1

    def test_a_trace_changes_nothing(self):
        plain = run_day(9, CrashPoints(OPERATIONS))
        traced = day(9)
        assert (plain.steps, plain.faults, plain.pnl) == (traced.steps, traced.faults, traced.pnl)
        assert (plain.trace, len(traced.trace) > 100) == ([], True)

    def test_seeds_are_different_days(self):
        texts = {hashlib.sha256(repr(day(seed).trace).encode()).digest() for seed in range(1, 9)}
        assert len(texts) == 8

    def test_the_faults_of_a_day_as_a_script_are_the_same_day(self):
        faulty = [one for one in map(day, range(1, 20)) if len(one.faults) > 5]
        assert len(faulty) > 5
        for one in faulty:
            again = day(one.seed, one.faults)
            assert again.trace == one.trace
            assert again.faults == one.faults

    def test_a_day_without_faults_trades_and_ends_well(self):
        plain = day(3, [])
        assert (plain.violation, plain.faults, plain.crashes) == ("", [], 0)
        assert plain.trades > 0


class TestScriptText:
    def test_a_script_reads_back_from_its_text(self):
        scripts = [one.faults for one in map(day, range(1, 12))]
        assert any(scripts)
        for script in scripts:
            assert parse_script(script_text(script)) == script

    def test_no_fault_at_all_is_none(self):
        assert script_text([]) == "none"
        assert parse_script("none") == []

    def test_the_last_colon_separates_place_and_kind(self):
        text = "tick 31/3:crash_before, AAA 4:bar_late"
        assert parse_script(text) == [
            Fault("tick 31/3", FaultKind.CRASH_BEFORE),
            Fault("AAA 4", FaultKind.BAR_LATE),
        ]

    @pytest.mark.parametrize("text", ["", "x", "tick 1/1:no_such_kind", ":slow", "a:slow,,b:slow"])
    def test_a_text_that_is_no_fault_is_refused(self, text: str):
        with pytest.raises(ValueError, match="not a fault"):
            parse_script(text)


class TestShrink:
    # These happen whatever else does; an event may be lost of a fill that is a fault itself.
    @pytest.mark.parametrize(
        "kinds", [(FaultKind.TICK_LOST,), (FaultKind.ROW_PAUSED, FaultKind.TICK_LOST)]
    )
    def test_shrinking_leaves_the_faults_that_matter(self, plant, kinds: tuple[str, ...]):
        plant(*kinds)
        seed = failing_seed()
        failed = day(seed)
        left = shrink(seed, failed.faults, OPERATIONS)
        assert len(failed.faults) > len(left)
        assert sorted(fault.kind for fault in left) == sorted(kinds)
        assert set(left) <= set(failed.faults)
        assert day(seed, left).violation == failed.violation == PLANTED
        for number in range(len(left)):
            assert not day(seed, left[:number] + left[number + 1 :]).violation

    def test_a_day_that_fails_by_itself_needs_no_fault(self, plant):
        plant()
        failed = day(2)
        assert failed.violation == PLANTED
        assert shrink(2, failed.faults, OPERATIONS) == []

    def test_a_fault_that_is_needless_without_a_later_one_is_removed_too(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        """The day fails by b; c hides it unless a is there too."""
        a, b, c = (Fault(f"tick {name}/1", FaultKind.SLOW) for name in "abc")

        def fails(self) -> tuple[int, int]:
            script = self.scheduler.plan._script
            if b in script and (a in script or c not in script):
                raise Violation(PLANTED)
            return 0, 0

        monkeypatch.setattr(SimulatedDay, "run", fails)
        assert shrink(1, [a, b, c], OPERATIONS) == [b]

    def test_shrinking_ends_after_a_bounded_number_of_days(
        self, plant, monkeypatch: pytest.MonkeyPatch
    ):
        plant(FaultKind.EVENT_LOST, FaultKind.TICK_LATE)
        seed = failing_seed()
        faults = day(seed).faults
        monkeypatch.setattr("workbench.simulation.shrink.MAX_RUNS", 2)
        left = shrink(seed, faults, OPERATIONS)
        assert day(seed, left).violation


class TestDocument:
    def test_its_figures_are_the_sum_of_the_days(self):
        days = [day(seed) for seed in (4, 5, 6)]
        tally = campaign.simulate(3, 4)
        figures = tally.document()
        assert list(figures) == [
            "first",
            "seeds",
            "steps",
            "seconds",
            "steps_per_s",
            "invocations",
            "trades",
            "crashes",
            "crash_points_hit",
            "crash_points_total",
            "crash_points_missed",
            "faults",
            "violations",
            "failures",
        ]
        assert (figures["first"], figures["seeds"]) == (4, 3)
        assert figures["steps"] == sum(one.steps for one in days)
        assert figures["trades"] == sum(one.trades for one in days)
        assert figures["crashes"] == sum(one.crashes for one in days)
        assert sum(figures["faults"].values()) == sum(len(one.faults) for one in days)
        assert figures["invocations"].keys() <= {
            "tick",
            "trade_update",
            "checkup",
            "liquidate",
            "close_day",
        }
        assert sum(figures["invocations"].values()) == sum(
            sum(one.invocations.values()) for one in days
        )
        missed = len(figures["crash_points_missed"])
        assert figures["crash_points_hit"] + missed == figures["crash_points_total"]
        assert (figures["violations"], figures["failures"]) == (0, [])
        assert json.loads(json.dumps(figures)) == figures

    def test_a_failure_names_its_seed_its_replay_and_the_faults_that_suffice(self, plant):
        plant(FaultKind.TICK_LOST)
        tally = campaign.simulate(60, 1, until_failure=True)
        (failure,) = tally.document()["failures"]
        seed = failure["seed"]
        assert seed == tally.seeds
        assert failure["violation"] == failure["shrunk_violation"] == PLANTED
        assert failure["replay"] == f"scalper simulate --seeds 1 --first {seed}"
        (fault,) = parse_script(failure["faults"])
        assert fault.kind == FaultKind.TICK_LOST
        text = tally.failures[0].text()
        assert f"--first {seed} --faults '{fault}'" in text
        assert "<-- " in text or "broker" in text

    def test_only_the_first_failures_are_shrunk(self, plant):
        plant()
        tally = campaign.simulate(campaign.MAX_SHOWN + 2, 1)
        shown = [bool(failure.trace) for failure in tally.failures]
        assert shown == [True] * campaign.MAX_SHOWN + [False, False]
        assert tally.document()["violations"] == campaign.MAX_SHOWN + 2


class TestCommand:
    def test_days_without_a_violation_end_with_exit_code_0(self):
        ended = CliRunner().invoke(app, ["simulate", "--seeds", "2", "--first", "7"])
        assert ended.exit_code == 0
        assert json.loads(ended.stdout)["seeds"] == 2
        assert ended.stderr == ""

    def test_a_violation_ends_with_exit_code_1_and_tells_how_to_replay_it(self, plant):
        plant(FaultKind.EVENT_LOST)
        ended = CliRunner().invoke(app, ["simulate", "--seeds", "60", "--until-failure"])
        assert ended.exit_code == 1
        (failure,) = json.loads(ended.stdout)["failures"]
        assert f"seed {failure['seed']}: {PLANTED}" in ended.stderr
        again = failure["replay"].split()[1:]
        assert CliRunner().invoke(app, again).exit_code == 1
        assert CliRunner().invoke(app, [*again, "--faults", failure["faults"]]).exit_code == 1
        assert CliRunner().invoke(app, [*again, "--faults", "none"]).exit_code == 0

    def test_a_text_that_is_no_fault_ends_with_exit_code_2(self):
        ended = CliRunner().invoke(app, ["simulate", "--faults", "tick 1/1:sunshine"])
        assert ended.exit_code == 2
        assert "sunshine" in ended.stderr
