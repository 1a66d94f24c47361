"""A seed gives the same faults each time, a script its own, and a plan that is over none."""

import pytest

from workbench.faults.kinds import FaultKind
from workbench.simulation.fault_plan import (
    CANCEL,
    KINDS,
    POSITIONS,
    READ,
    SEND,
    STORE_READ,
    STORE_WRITE,
    SUBMIT,
    WITHOUT_REQUEST,
    Fault,
    SimulatedFaultPlan,
)

MENUS = (READ, SUBMIT, CANCEL, POSITIONS, STORE_READ, STORE_WRITE, SEND)
REQUESTS = 300


def drawn(plan: SimulatedFaultPlan) -> list[Fault]:
    """Ask a plan at many places and return what it injected."""
    for number in range(1, REQUESTS + 1):
        plan.pick(MENUS[number % len(MENUS)], "tick 1", number)
        plan.happens(WITHOUT_REQUEST[number % len(WITHOUT_REQUEST)], 0.05, "AAA", number)
    return plan.injected


def eventful() -> int:
    """Return a seed with many faults at requests and by themselves."""
    for seed in range(1, 200):
        found = drawn(SimulatedFaultPlan(seed))
        if min(sum("/" in one.place for one in found), sum(" " in one.place for one in found)) > 9:
            return seed
    raise AssertionError("no seed has many faults")


def test_a_seed_gives_the_same_faults_each_time_and_seeds_differ():
    assert all(
        drawn(SimulatedFaultPlan(seed)) == drawn(SimulatedFaultPlan(seed)) for seed in range(40)
    )
    assert len({tuple(drawn(SimulatedFaultPlan(seed))) for seed in range(40)}) > 20


def test_the_plan_lists_each_fault_that_it_injects():
    plan = SimulatedFaultPlan(eventful())
    told = []
    for number in range(1, REQUESTS + 1):
        kind = plan.pick(SUBMIT, "tick 1", number)
        if kind:
            told.append(Fault(f"tick 1/{number}", kind))
        if plan.happens(FaultKind.EVENT_LOST, 0.2, "AAA", number):
            told.append(Fault(f"AAA {number}", FaultKind.EVENT_LOST))
    assert plan.injected == told


def test_a_request_meets_only_the_faults_of_its_menu():
    for seed in range(60):
        for menu in MENUS:
            plan = SimulatedFaultPlan(seed)
            picked = {plan.pick(menu, "tick 1", number) for number in range(REQUESTS)}
            assert picked <= {None, *menu.kinds}


def test_every_kind_strikes_on_some_day():
    seen = {fault.kind for seed in range(400) for fault in drawn(SimulatedFaultPlan(seed))}
    assert seen == set(KINDS)


def test_a_script_injects_exactly_what_it_holds():
    script = drawn(SimulatedFaultPlan(eventful()))
    assert drawn(SimulatedFaultPlan(1, script)) == script
    half = script[::2]
    assert drawn(SimulatedFaultPlan(1, half)) == half
    assert drawn(SimulatedFaultPlan(1, [])) == []


def test_a_script_hits_its_own_place_alone():
    plan = SimulatedFaultPlan(
        1, [Fault("tick 7/3", FaultKind.SLOW), Fault("AAA 4", FaultKind.EVENT_LOST)]
    )
    assert plan.pick(READ, "tick 7", 2) is None
    assert plan.pick(READ, "tick 8", 3) is None
    assert plan.pick(READ, "tick 7", 3) == FaultKind.SLOW
    assert plan.pick(SUBMIT, "tick 7", 3) == FaultKind.SLOW
    assert not plan.happens(FaultKind.EVENT_LOST, 1.0, "AAA", 5)
    assert not plan.happens(FaultKind.EVENT_TWICE, 1.0, "AAA", 4)
    assert plan.happens(FaultKind.EVENT_LOST, 0.0, "AAA", 4)


def test_a_fault_that_the_request_cannot_meet_is_not_injected():
    plan = SimulatedFaultPlan(1, [Fault("tick 7/3", FaultKind.SUBMIT_LOST)])
    assert plan.pick(READ, "tick 7", 3) is None
    assert plan.injected == []


def test_a_plan_that_is_over_injects_nothing():
    plan = SimulatedFaultPlan(eventful())
    plan.is_over = True
    assert drawn(plan) == []
    plan.is_over = False
    assert drawn(plan) != []


def test_a_plan_that_is_over_draws_the_same_numbers():
    seed = eventful()
    one, other = SimulatedFaultPlan(seed), SimulatedFaultPlan(seed)
    other.is_over = True
    for plan in (one, other):
        for number in range(100):
            plan.happens(FaultKind.EVENT_LOST, 0.2, number)
    other.is_over = False
    for plan in (one, other):
        plan.injected.clear()
        for number in range(100):
            plan.happens(FaultKind.EVENT_LOST, 0.2, number)
    assert one.injected == other.injected != []


def test_the_amount_of_a_fault_depends_on_seed_and_fault_alone():
    def amount(seed: int, *script: Fault) -> float:
        plan = SimulatedFaultPlan(seed, script)
        for fault in script:
            assert plan.happens(fault.kind, 0.0, fault.place)
        return plan.amount(5, 10)

    late, other = Fault("31", FaultKind.TICK_LATE), Fault("32", FaultKind.TICK_LATE)
    assert 5 <= amount(1, late) <= 10
    assert amount(1, late) == amount(1, other, late)
    assert len({amount(1, late), amount(2, late), amount(1, other)}) == 3


@pytest.mark.parametrize("menu", MENUS)
def test_a_process_may_die_at_every_request(menu):
    assert {FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER} <= set(menu.kinds)
