"""What strikes: fixed by seed and number, counted, switched off, out for a while."""

from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest

from scalper.core.session import MINUTE, Session
from workbench.chaos.fault_plan import (
    AFTER,
    BEFORE,
    EXCHANGE,
    FAULTS_END_AFTER,
    KILLED,
    KILLS,
    MAX_RATE,
    RATES,
    STORE,
    WITHOUT_EFFECT,
    FaultPlan,
    Injection,
    KillPoint,
    Outage,
    Planned,
    PlannedKill,
)

SESSION = Session.of(date(2024, 11, 29), "09:30", "13:00")
EVEN = dict.fromkeys(RATES, 1.0)
NUMBER = 4000


def active_plan(seed: int = 1, **factors: float) -> FaultPlan:
    plan = FaultPlan(seed, SESSION, factors={**EVEN, **factors})
    plan.outages = ()
    plan.start()
    return plan


def injections(plan: FaultPlan, function: str = "tick") -> list[Injection]:
    return [plan.on_request(EXCHANGE, function, has_effect=True) for _ in range(NUMBER)]


def test_no_fault_strikes_before_the_start_and_after_the_end():
    plan = FaultPlan(1, SESSION)
    for change in (lambda: None, plan.end_faults):
        change()
        assert not any(injection.answer or injection.slow for injection in injections(plan))
        assert not any(plan.strikes("cancels", "cancel_stuck") for _ in range(NUMBER))
        assert not any(plan.kill_point("tick") for _ in range(NUMBER))
        plan.start()
    assert plan.faults == {}
    assert plan.requests == 2 * NUMBER


def test_a_seed_gives_the_same_faults_whatever_the_other_functions_ask():
    one, other = active_plan(), active_plan()
    injections(other, "checkup")
    assert injections(one) == injections(other)
    assert [one.kill_point("tick") for _ in range(NUMBER)] == [
        other.kill_point("tick") for _ in range(NUMBER)
    ]
    assert injections(one) != injections(active_plan(2))


def test_the_time_without_faults_does_not_shift_what_strikes_later():
    early, late = active_plan(), FaultPlan(1, SESSION, factors=EVEN)
    late.outages = ()
    injections(early)
    injections(late)
    late.start()
    assert injections(early) == injections(late)


@pytest.mark.parametrize("kind", sorted(kind for kind in RATES if kind.startswith("exchange_")))
def test_each_answer_comes_about_as_often_as_its_odds_say(kind):
    plan = active_plan()
    injections(plan)
    counted = sum(number for name, number in plan.faults.items() if name.startswith(kind))
    assert counted == pytest.approx(RATES[kind] * NUMBER, rel=0.35)


def test_an_answer_that_says_that_nothing_was_done_comes_before_the_effect():
    plan = active_plan(exchange_429=100.0)
    told = [injection for injection in injections(plan) if injection.answer == "429"]
    assert len(told) == pytest.approx(MAX_RATE * NUMBER, rel=0.1)
    assert {injection.when for injection in told} == {BEFORE}
    others = {
        injection.when for injection in injections(active_plan()) if injection.answer == "reset"
    }
    assert others == {BEFORE, AFTER}
    assert "429" in WITHOUT_EFFECT


def test_a_question_has_no_before_and_after_in_the_counts():
    plan = active_plan()
    for _ in range(NUMBER):
        plan.on_request(EXCHANGE, "tick", has_effect=False)
    assert plan.faults["exchange_reset"]
    assert not any(name.endswith((BEFORE, AFTER)) for name in plan.faults)


def test_a_kind_may_be_left_out_of_a_day():
    plan = active_plan(exchange_reset=0.0)
    assert not any(injection.answer == "reset" for injection in injections(plan))
    factors = [FaultPlan(seed, SESSION)._rates["exchange_reset"] for seed in range(60)]
    assert min(factors) == 0.0
    assert max(factors) == RATES["exchange_reset"] * 4


def test_a_server_that_is_out_answers_next_to_nothing_until_it_is_back():
    plan = active_plan()
    plan.outages = (Outage(STORE, SESSION.open + MINUTE, SESSION.open + 3 * MINUTE),)
    for minutes, is_out in ((0, False), (1, True), (2.9, True), (3, False)):
        now = SESSION.open + timedelta(minutes=minutes)
        plan.now = partial(datetime.fromtimestamp, now.timestamp(), UTC)
        asked = [plan.on_request(STORE, "tick", has_effect=False) for _ in range(200)]
        failed = sum(bool(injection.answer) for injection in asked)
        assert (failed > 120) is is_out
        assert sum(bool(injection.answer) for injection in injections(plan)) < NUMBER / 4, (
            "the other is not"
        )


def test_outages_lie_within_the_time_of_faults():
    ends = SESSION.liquidate_at + FAULTS_END_AFTER
    found = [one for seed in range(200) for one in FaultPlan(seed, SESSION).outages]
    assert all(SESSION.open <= one.begins < one.ends <= ends for one in found)
    assert any(one.ends == ends for one in found)
    assert {one.server for one in found} == {EXCHANGE, STORE}


@pytest.mark.parametrize("function", KILLS)
def test_a_function_dies_about_as_often_as_its_odds_say_at_any_request(function):
    plan = active_plan()
    odds, latest = KILLS[function]
    kill_points = [kill_point for _ in range(NUMBER) if (kill_point := plan.kill_point(function))]
    assert len(kill_points) == pytest.approx(odds * NUMBER, rel=0.35)
    assert {kill_point.request for kill_point in kill_points} == set(range(1, latest + 1))
    assert {kill_point.when for kill_point in kill_points} == {BEFORE, AFTER}


def test_the_function_that_closes_the_day_is_never_killed():
    plan = active_plan()
    assert not any(plan.kill_point("close_day") for _ in range(NUMBER))


# --- planned injections --------------------------------------------------------------------------

NONE = dict.fromkeys((*RATES, KILLED), 0.0)


def planned_only(*planned: Planned | PlannedKill) -> FaultPlan:
    plan = FaultPlan(1, SESSION, factors=NONE, planned=planned)
    plan.outages = ()
    plan.start()
    return plan


def test_a_planned_fault_strikes_at_the_nth_decision_that_it_fits_and_once():
    plan = planned_only(Planned("cancel_stuck", 3))
    kinds = [plan.strikes("cancels", "cancel_stuck", "cancel_late") for _ in range(5)]
    others = [plan.strikes("orders", "submit_late") for _ in range(5)]
    assert kinds == ["", "", "cancel_stuck", "", ""]
    assert not any(others)
    assert plan.faults == {"cancel_stuck": 1}
    assert plan.pending == ()


def test_planned_faults_of_the_same_decision_take_turns():
    plan = planned_only(Planned("cancel_stuck"), Planned("cancel_late"), Planned("cancel_late"))
    kinds = [plan.strikes("cancels", "cancel_stuck", "cancel_late") for _ in range(4)]
    assert kinds == ["cancel_stuck", "cancel_late", "cancel_late", ""]


def test_a_planned_fault_of_a_request_waits_for_one_with_an_effect():
    plan = planned_only(Planned("exchange_5xx_after"), Planned("exchange_slow"))
    asked = plan.on_request(EXCHANGE, "tick", has_effect=False)
    other = plan.on_request(STORE, "tick", has_effect=True)
    sent = plan.on_request(EXCHANGE, "tick", has_effect=True)
    assert (asked, other) == (Injection(slow=True), Injection())
    assert sent == Injection("5xx", AFTER)
    assert plan.pending == ()


def test_what_is_planned_does_not_shift_what_the_seed_draws():
    plan = FaultPlan(1, SESSION, factors=EVEN, planned=[Planned("exchange_5xx_before", 2)])
    plan.outages = ()
    plan.start()
    with_plan, without = injections(plan), injections(active_plan())
    assert with_plan[1] == Injection("5xx", BEFORE)
    assert with_plan[:1] + with_plan[2:] == without[:1] + without[2:]


def test_a_planned_kill_is_tried_again_until_an_invocation_gets_so_far():
    plan = planned_only(PlannedKill("tick", AFTER, nth=2, request=5))
    assert plan.kill_point("tick") is None
    assert plan.kill_point("checkup") is None
    assert plan.kill_point("tick") == KillPoint(5, AFTER)
    assert plan.pending
    assert plan.kill_point("tick") == KillPoint(5, AFTER), "the one before made four requests"
    plan.killed("tick", AFTER)
    assert plan.pending == ()
    assert plan.kill_point("tick") is None


def test_nothing_planned_strikes_while_faults_are_off():
    plan = FaultPlan(1, SESSION, planned=[Planned("cancel_stuck"), PlannedKill("tick", BEFORE)])
    assert plan.strikes("cancels", "cancel_stuck") == ""
    assert plan.kill_point("tick") is None
    assert len(plan.pending) == 2


def test_an_unknown_planned_kind_is_refused():
    with pytest.raises(ValueError, match="exchange_6xx"):
        planned_only(Planned("exchange_6xx"))
