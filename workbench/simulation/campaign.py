"""A campaign: many seeded days in a row, and their sums."""

import gc
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench.simulation.aws import quiet
from workbench.simulation.crash_points import CrashPoints
from workbench.simulation.day import OPERATIONS, SimulatedOutcome, run_day
from workbench.simulation.fault_plan import Fault, Script
from workbench.simulation.shrink import TRACE_LINES, script_text, shrink

MAX_SHOWN = 3
"""How many failing days are shrunk and traced. For the others, only the seed is shown."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A day with a violation."""

    seed: int
    violation: str
    faults: Sequence[Fault] = ()
    """The faults that suffice, if the day was shrunk."""
    shrunk_violation: str = ""
    trace: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        shown: dict[str, Any] = {
            "seed": self.seed,
            "violation": self.violation,
            "replay": _replay(self.seed),
        }
        if self.trace:
            shown["faults"] = script_text(self.faults)
            shown["shrunk_violation"] = self.shrunk_violation
        return shown

    def text(self) -> str:
        """Return it for people: the violation, how to replay it, and the shrunk day's trace."""
        lines = [f"seed {self.seed}: {self.violation}", f"replay: {_replay(self.seed)}"]
        if self.trace:
            lines += [
                f"{len(self.faults)} faults suffice: {self.shrunk_violation}",
                f"  {_replay(self.seed)} --faults '{script_text(self.faults)}'",
                *self.trace,
            ]
        return "\n".join(lines)


def _replay(seed: int) -> str:
    return f"scalper simulate --seeds 1 --first {seed}"


@dataclass(slots=True)
class CampaignTally:
    """The sum of the days run so far."""

    first: int
    points: CrashPoints = field(default_factory=lambda: CrashPoints(OPERATIONS))
    seeds: int = 0
    steps: int = 0
    crashes: int = 0
    trades: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    invocations: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, outcome: SimulatedOutcome) -> None:
        """Add a day."""
        self.seeds += 1
        self.steps += outcome.steps
        self.crashes += outcome.crashes
        self.trades += outcome.trades
        self.faults.update(fault.kind for fault in outcome.faults)
        self.invocations.update(outcome.invocations)

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "first": self.first,
            "seeds": self.seeds,
            "steps": self.steps,
            "seconds": round(self.seconds, 2),
            "steps_per_s": round(self.steps / self.seconds) if self.seconds else 0,
            "invocations": dict(sorted(self.invocations.items())),
            "trades": self.trades,
            "crashes": self.crashes,
            "crash_points_hit": len(self.points.hit) - len(self.points.missed()),
            "crash_points_total": len(self.points.hit),
            "crash_points_missed": self.points.missed(),
            "faults": dict(sorted(self.faults.items())),
            "violations": len(self.failures),
            "failures": [failure.document() for failure in self.failures],
        }


def simulate(
    seeds: int,
    first: int,
    *,
    script: Script | None = None,
    until_failure: bool = False,
    shrinks: bool = True,
    progress: Callable[[CampaignTally], None] = lambda _: None,
) -> CampaignTally:
    """Run the days `first` to `first + seeds - 1`, or until one fails; with a script, its faults.

    The first `MAX_SHOWN` failing days are shrunk.
    """
    tally = CampaignTally(first)
    thresholds = gc.get_threshold()
    gc.freeze()
    # A day leaves few cycles. The default would look for them a thousand times a second.
    gc.set_threshold(50_000, 20, 50)
    try:
        with quiet():
            for seed in range(first, first + seeds):
                began = time.perf_counter()
                outcome = run_day(seed, tally.points, script)
                tally.seconds += time.perf_counter() - began
                tally.add(outcome)
                if outcome.violation:
                    shown = shrinks and len(tally.failures) < MAX_SHOWN
                    tally.failures.append(_shrunk(outcome) if shown else _named(outcome))
                    if until_failure:
                        break
                progress(tally)
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    return tally


def _named(outcome: SimulatedOutcome) -> Failure:
    return Failure(outcome.seed, outcome.violation)


def _shrunk(outcome: SimulatedOutcome) -> Failure:
    faults = shrink(outcome.seed, outcome.faults, OPERATIONS)
    small = run_day(outcome.seed, CrashPoints(OPERATIONS), faults, traced=True)
    return Failure(
        outcome.seed,
        outcome.violation,
        faults,
        small.violation,
        tuple(small.trace[-TRACE_LINES:]),
    )
