"""Whole simulated days: nothing breaks, whatever fails, and the process dies at every request."""

import pytest

from workbench.simulation.campaign import Tally, simulate

STEPS = 200_000
SEEDS = 500
"""Days per round; a round is some 400,000 steps."""

ROUNDS = 10


@pytest.fixture(autouse=True)
def _no_waits() -> None:
    """Leave the waits as they are: they pass in virtual time, and a seed is to replay exactly."""


def told(tally: Tally) -> str:
    return "\n".join(failure.text() for failure in tally.failures)


@pytest.mark.fault("killed-anywhere")
def test_every_crash_point_is_hit_and_nothing_breaks():
    missed: set[str] | None = None
    steps = 0
    for number in range(ROUNDS):
        tally = simulate(SEEDS, 1 + number * SEEDS)
        assert tally.failures == [], told(tally)
        steps += tally.steps
        now_missed = set(tally.points.missed())
        missed = now_missed if missed is None else missed & now_missed
        if steps >= STEPS and not missed:
            break
    assert steps >= STEPS
    assert missed == set()
