"""The table of transitions is exactly what happens: random days reach each row and no other."""

import random
from datetime import timedelta
from decimal import Decimal

import pytest

from scalper.core import machine
from scalper.core.model import (
    BarClosed,
    Event,
    InvariantError,
    OrderSeen,
    Phase,
    Reason,
    Step,
    SubmitOrder,
    SymbolState,
)
from scalper.core.order import Purpose
from scalper.core.pricing import money
from scalper.core.transitions import TRANSITIONS, assert_legal
from tests.core.build import RULES, bar_closed, order, seen, state
from tests.core.venue import Fate, World

Row = tuple[Phase, type[Event], Phase]
DAYS = 4_000
ACTIONS = 140


def random_day(seed: int, reached: set[Row]) -> None:
    """Take a symbol through a day on a broker beyond reason; add the rows that it went through.

    Requests land minutes late, orders come back after they were given up, or fill when they are
    over, fills are taken back, shares are sold by hand, nothing is heard for minutes, the
    liquidation may not run and the day goes on after the close.
    """
    rng = random.Random(seed)
    world = World.fresh(stop_loss_pct=Decimal(1), max_hold=timedelta(minutes=8))
    venue = world.venue
    venue.strict = False
    fates: list[Fate] = rng.choice([["ok", "refused", "lost", "answer lost"], ["ok", "delayed"]])
    world.send_fate = lambda: rng.choice(fates)
    world.cancel_works = lambda: rng.random() < 0.7
    world.delay = lambda: timedelta(seconds=rng.choice([2, 200, 900]))
    world.on_step = lambda before, event, result: reached.add(
        (before.phase, type(event), result.state.phase)
    )
    liquidates = rng.random() < 0.7
    deaf_from = world.rules.session.open + timedelta(minutes=rng.randint(5, 60))

    def is_deaf() -> bool:
        return deaf_from <= venue.now < world.rules.session.close

    def pass_time() -> None:
        world.pass_time(timedelta(seconds=rng.choice([1, 30, 60, 120])))

    def tick() -> None:
        close = rng.choice([None, rng.randint(money(98), money(101))])
        world.tick(close, signal=rng.random() < 0.7)

    def fill() -> None:
        for one in venue.live:
            venue.fill(one, rng.randint(1, one.left), money(100))

    def end() -> None:
        for one in venue.live[:1]:
            venue.end(one, rng.choice(["canceled", "expired", "rejected", "replaced"]))

    def correct() -> None:
        over = [one for one in venue.placed.values() if not one.is_live]
        if over and rng.random() < 0.2:
            one = rng.choice(over)
            venue.correct(one, rng.choice([0, 1, one.order.qty]), money(100))
            world.ask(one.order.client_order_id)

    def tell() -> None:
        if venue.events and not is_deaf():
            world.tell(rng.randrange(99), again=rng.random() < 0.3)

    def check() -> None:
        world.check(rng.choice([None, max(venue.position, 0)]))

    def liquidate() -> None:
        if liquidates and venue.now >= world.rules.session.liquidate_at:
            world.liquidate(rng.choice([None, max(venue.position, 0)]))

    def sell_by_hand() -> None:
        if rng.random() < 0.1:
            venue.position = 0

    def reconcile() -> None:
        if not is_deaf():
            world.reconcile()

    actions = [pass_time, tick, fill, end, tell, check, liquidate, sell_by_hand, reconcile, correct]
    weights = [5, 3, 2, 1, 4, 1, 1, 1, 3, 1]
    for action in rng.choices(actions, weights, k=ACTIONS):
        action()


def test_random_days_reach_each_row_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "assert_legal", lambda before, event, result: None)
    reached: set[Row] = set()
    for seed in range(DAYS):
        random_day(seed, reached)
    assert reached == TRANSITIONS


SELL = order(purpose=Purpose.TARGET, qty=20)


@pytest.mark.parametrize(
    "after",
    [
        state(order=order(), generation=1),
        state(qty=1),
        state(generation=1),
        state(phase=Phase.BUY_SUBMITTED),
        state(phase=Phase.BUY_SUBMITTED, order=SELL, generation=1),
        state(phase=Phase.TO_SELL),
        state(phase=Phase.SELL_SUBMITTED, order=SELL, generation=1),
        state(phase=Phase.SELL_SUBMITTED, order=SELL, qty=19, generation=1),
        state(phase=Phase.SELL_SUBMITTED, order=order(), qty=20, generation=1),
        state(phase=Phase.TO_SELL, halt=Reason.CORRECTED_FILL),
        state(phase=Phase.TO_BUY, qty=1, halt=Reason.CORRECTED_FILL),
    ],
)
def test_state_that_contradicts_its_phase_is_refused(after: SymbolState) -> None:
    before = state(phase=after.phase)
    event = bar_closed("10:00")
    assert (before.phase, BarClosed, after.phase) in TRANSITIONS
    with pytest.raises(InvariantError, match="TSLA"):
        assert_legal(before, event, Step(after, (), Reason.NO_SIGNAL))


@pytest.mark.parametrize("qty", [0, 19])
def test_a_sell_of_more_than_is_held_may_work_where_shares_were_lost_and_is_never_sent(
    qty: int,
) -> None:
    lost = state(
        phase=Phase.SELL_SUBMITTED, order=SELL, qty=qty, generation=1, halt=Reason.CORRECTED_FILL
    )
    event = bar_closed("10:00")
    assert_legal(lost, event, Step(lost, (), Reason.STILL_WORKING))
    with pytest.raises(InvariantError, match=f"sells 20, holds {qty}"):
        assert_legal(lost, event, Step(lost, (SubmitOrder(SELL),), Reason.RESENT))


def test_step_that_the_table_lacks_is_refused() -> None:
    with pytest.raises(InvariantError, match="TO_BUY to DONE on BarClosed"):
        assert_legal(
            state(),
            bar_closed("10:00"),
            Step(state(phase=Phase.DONE), (), Reason.NO_SIGNAL),
        )


@pytest.mark.parametrize("phase", [Phase.BUY_SUBMITTED, Phase.SELL_SUBMITTED])
def test_step_from_a_submitted_phase_without_an_order_is_refused(phase: Phase) -> None:
    with pytest.raises(InvariantError, match="without an order"):
        machine.step(state(phase=phase), bar_closed("10:02"), RULES)


def test_step_whose_event_is_of_no_order_leaves_the_state_as_it_is() -> None:
    event: OrderSeen = seen("10:00", 1, Purpose.ENTRY, "new", client_order_id="")
    assert machine.step(state(), event, RULES).state == state()
