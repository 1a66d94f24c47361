"""The state rebuilt from the broker's orders is the state that led to them."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import settings
from hypothesis.stateful import precondition, rule

from scalper.core.machine import step
from scalper.core.model import CancelOrder, Phase, Reason, SymbolState
from scalper.core.order import OrderReport, Progress, Purpose
from scalper.core.pricing import money
from scalper.core.recovery import Exit, begin_session, exits_of, rebuild
from tests.core.build import (
    DAY,
    RULES,
    SYMBOL,
    after,
    at,
    bar_closed,
    checkup,
    client_id,
    liquidation,
    order,
    report,
    seen,
    state,
)
from tests.core.days import Day

ENTRY, TARGET, BAILOUT = Purpose.ENTRY, Purpose.TARGET, Purpose.BAILOUT
TOMORROW = date(2026, 7, 2)
NOW = at("11:00")


def rebuilt(*reports: OrderReport) -> SymbolState:
    return rebuild(SYMBOL, DAY, "paper", reports, NOW)


def known_to_the_broker(one: SymbolState) -> SymbolState:
    """Return the part of a state that the broker's orders can tell.

    The broker has no refused orders, and does not know why an order was sent or canceled.
    """
    settled = list(one.settled)
    while settled and settled[-1] == 0 and one.order is None:
        settled.pop()
    order = one.order and replace(
        one.order, sends=1, confirmed=False, cancel_at=None, absences=0, absent_at=None
    )
    return replace(
        one,
        phase=Phase.TO_BUY if one.phase is Phase.DONE else one.phase,
        generation=len(settled) + (order is not None),
        order=order,
        entered_at=None,
        exit_as=TARGET,
        exit_attempts=0,
        liquidating=False,
        cool_until=None,
        halt=None,
        settled=tuple(settled),
        abandoned=(),
    )


class DayWithRestarts(Day):
    """A day that sometimes loses the table. All invariants of the day still hold."""

    @precondition(lambda self: not self.driver.broker.under_way)
    @rule()
    def the_table_is_lost(self) -> None:
        driver, broker = self.driver, self.driver.broker
        self.outcomes, self.failing_cancels = [], 0
        driver.reconcile()
        reports = [broker.report_of(one, confirmed=True) for one in broker.placed.values()]
        state = rebuild(SYMBOL, DAY, "paper", reversed(reports), broker.now)
        if driver.state.order is None or driver.state.order.progress:
            assert known_to_the_broker(state) == known_to_the_broker(driver.state)
        driver.state = state


TestDayWithRestarts = DayWithRestarts.TestCase
TestDayWithRestarts.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)

BOUGHT = report(1, ENTRY, "filled", 20, qty=20, stamp="10:00:10", confirmed=True)
HELD = state(
    phase=Phase.TO_SELL,
    generation=1,
    settled=(20,),
    qty=20,
    cost=money(2000),
    entered_at=at("10:00:10"),
    entries=1,
)


def test_no_orders_make_a_fresh_state() -> None:
    assert rebuilt() == state()


def test_external_orders_are_left_out() -> None:
    others = [
        client_id().replace("TSLA", "AAPL"),
        client_id().replace("paper", "live"),
        client_id().replace("0701", "0630"),
        "by hand",
    ]
    assert rebuilt(*(replace(BOUGHT, client_order_id=other) for other in others)) == state()


def test_bought_shares_rest_until_the_checkup_sells_them() -> None:
    assert rebuilt(BOUGHT) == HELD
    assert step(HELD, checkup("11:00", 20), RULES).reason is Reason.EXIT_RETRIED


def test_a_fill_without_a_stamp_counts_from_now() -> None:
    assert rebuilt(replace(BOUGHT, updated_at=None)) == replace(HELD, entered_at=NOW)


def test_a_working_order_is_taken_up_with_its_fills() -> None:
    said = report(1, ENTRY, "partially_filled", 8, qty=20, limit=money(100), stamp="10:00:02")
    taken_up = order(
        submitted="10:00:01.5",
        progress=Progress.LIVE,
        status="partially_filled",
        filled_qty=8,
        filled_value=money(800),
        updated_at=at("10:00:02"),
        broker_id="broker-1",
    )
    submitting = state(phase=Phase.BUY_SUBMITTED, generation=1)
    assert rebuilt(replace(said, submitted_at=at("10:00:01.5"))) == replace(
        submitting, order=taken_up
    )
    assert rebuilt(said) == replace(submitting, order=replace(taken_up, submitted_at=NOW))


def test_a_working_sell_is_taken_up_over_the_shares_held() -> None:
    live = report(2, TARGET, "new", qty=20, limit=money("100.01"))
    state = rebuilt(BOUGHT, live)
    assert (state.phase, state.qty, state.generation) == (Phase.SELL_SUBMITTED, 20, 2)


def test_generations_that_the_broker_lacks_count_as_unfilled() -> None:
    bought = replace(BOUGHT, client_order_id=client_id(3))
    assert rebuilt(bought) == replace(HELD, generation=3, settled=(0, 0, 20))


def test_shares_of_a_target_that_was_canceled_are_bailed_out() -> None:
    state = rebuilt(BOUGHT, report(2, TARGET, "canceled", 5, "100.01"))
    assert state == replace(
        HELD,
        generation=2,
        settled=(20, 5),
        qty=15,
        cost=money(1500),
        pnl=money("0.05"),
        trades=1,
        exit_as=BAILOUT,
        exit_attempts=1,
    )


def test_a_target_that_was_canceled_unfilled_is_bailed_out() -> None:
    state = rebuilt(BOUGHT, report(2, TARGET, "canceled"))
    assert state == replace(HELD, generation=2, settled=(20, 0), exit_as=BAILOUT, exit_attempts=1)


def test_the_trades_of_a_day_add_up_to_its_profit() -> None:
    reports = [
        BOUGHT,
        report(2, TARGET, "canceled", 5, "100.01"),
        report(3, BAILOUT, "filled", 15, "99.00"),
        report(5, ENTRY, "canceled"),
        report(6, ENTRY, "filled", 10, "50.00"),
        report(7, TARGET, "filled", 10, "50.02"),
        report(8, ENTRY, "filled", 10, "50.00"),
        report(9, TARGET, "new", qty=10),
    ]
    exits = exits_of(SYMBOL, DAY, "paper", reports, NOW)
    assert exits == [
        Exit(TARGET, money("0.05")),
        Exit(BAILOUT, money("-15")),
        Exit(TARGET, money("0.20")),
    ]
    state = rebuilt(*reports)
    assert (sum(one.pnl for one in exits), len(exits)) == (state.pnl, state.trades)


def test_a_sale_of_shares_of_an_older_session_is_no_trade() -> None:
    assert exits_of(SYMBOL, DAY, "paper", [report(1, BAILOUT, "filled", 20, "99.00")], NOW) == []


def test_a_sale_of_shares_of_an_older_session_earns_nothing_that_is_known() -> None:
    sold = report(1, BAILOUT, "filled", 20, "99.00")
    assert rebuilt(sold) == state(generation=1, settled=(20,), exit_attempts=1)


@pytest.mark.parametrize(
    ("reports", "late"),
    [
        ([report(1, ENTRY, "new", qty=20), report(2, ENTRY, "new", qty=20)], client_id()),
        ([BOUGHT, report(2, ENTRY, "new", qty=20)], client_id(2)),
        ([report(1, TARGET, "new", qty=20)], client_id(1, TARGET)),
        ([BOUGHT, report(2, TARGET, "new", qty=21)], client_id(2, TARGET)),
        ([report(1, TARGET, "new", qty=0)], client_id(1, TARGET)),
    ],
    ids=["not the newest", "buys while holding", "sells nothing", "sells too much", "no shares"],
)
def test_a_live_order_too_many_halts_the_symbol_and_is_canceled_once_reported(
    reports, late
) -> None:
    state = rebuilt(*reports)
    assert (state.halt, state.abandoned) == (Reason.LATE_ORDER, (late,))
    report_of = {said.client_order_id: said for said in reports}
    again = replace(seen("11:00", 1, ENTRY, "new"), report=report_of[late])
    assert step(state, again, RULES).commands == (CancelOrder(late, report_of[late].broker_id),)


def test_an_order_that_the_broker_replaced_counts_as_it_ended_and_halts_the_symbol() -> None:
    replaced = report(2, TARGET, "replaced", 5, "100.01", replaced_by="successor", confirmed=True)
    state = rebuilt(BOUGHT, replaced)
    assert (state.halt, state.qty, state.settled) == (Reason.REPLACED_ORDER, 15, (20, 5))
    assert (state.phase, state.order) == (Phase.TO_SELL, None)


def test_the_successor_of_a_replaced_order_is_taken_up_as_that_order() -> None:
    # As `own_reports` reports it: 5 sold before, 3 of the successor's 15.
    both = report(
        2, TARGET, "partially_filled", 8, "100.01", qty=20, broker_id="successor", confirmed=True
    )
    state = rebuilt(BOUGHT, replace(both, carried=(5, money("500.05"))))
    assert (state.phase, state.qty, state.halt) == (
        Phase.SELL_SUBMITTED,
        20,
        Reason.REPLACED_ORDER,
    )
    assert state.order is not None
    assert (state.order.successor, state.order.filled_qty, state.order.carried_qty) == (
        "successor",
        8,
        5,
    )
    # The broker's cumulative number of the successor alone counts on top of what was carried.
    over = seen("11:00", 2, TARGET, "canceled", 4, broker_id="successor", qty=15, confirmed=True)
    assert step(state, over, RULES).state.settled == (20, 9)


def test_the_same_day_goes_on() -> None:
    assert begin_session(HELD, DAY) is HELD


def test_an_older_day_resets_nothing() -> None:
    """Yesterday's event is delivered again: today's generations must not repeat."""
    assert begin_session(replace(HELD, session=TOMORROW), DAY).session == TOMORROW


def test_a_new_day_begins_anew() -> None:
    done = after(state(pnl=5, trades=1, halt=Reason.LATE_ORDER), liquidation("15:55"))
    assert begin_session(done, TOMORROW) == state(session=TOMORROW)


def test_an_order_in_doubt_keeps_its_session() -> None:
    sent = after(state(), bar_closed("15:54", signal=True))
    assert begin_session(sent, TOMORROW) is sent


def test_shares_left_over_are_bailed_out_on_the_new_day() -> None:
    left = replace(HELD, liquidating=True, exit_attempts=10, halt=Reason.EXIT_EXHAUSTED)
    new = begin_session(left, TOMORROW)
    assert new == state(
        session=TOMORROW,
        phase=Phase.TO_SELL,
        qty=20,
        cost=money(2000),
        entered_at=HELD.entered_at,
        exit_as=BAILOUT,
        halt=Reason.EXIT_EXHAUSTED,
    )
