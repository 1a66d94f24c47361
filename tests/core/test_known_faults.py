"""The twelve known faults of the example that this program succeeds are impossible here.

What of faults 8 and 10 lives in the shell (stream, concurrency, exceptions) is tested there.
"""

from dataclasses import replace
from functools import reduce
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.machine import step
from scalper.core.model import (
    CancelOrder,
    CheckupDue,
    Event,
    LiquidationDue,
    OrderSeen,
    Phase,
    Reason,
    Step,
    SubmitOrder,
    SymbolState,
)
from scalper.core.order import ABSENT, REFUSED, ClientOrderId, Purpose
from scalper.core.order_actions import MAX_EXIT_ATTEMPTS, MAX_LIQUIDATION_ATTEMPTS
from scalper.core.pricing import CENT, DOLLAR, money
from scalper.core.recovery import rebuild
from scalper.core.session import Session
from scalper.core.signal import Bar, crossover
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
    report,
    rules,
    seen,
    state,
)
from tests.core.unreliable_broker import SymbolDriver

ENTRY, TARGET, LIQUIDATION = Purpose.ENTRY, Purpose.TARGET, Purpose.LIQUIDATION
SIGNAL = bar_closed("10:00", signal=True)
BOUGHT = seen("10:00:10", 1, ENTRY, "filled", 20)
SELLING = after(state(), SIGNAL, BOUGHT, seen("10:00:11", 2, TARGET, "new"))
HALF_DAY = rules(session=Session.of(DAY, "09:30", "13:00"))


def sells(one: SymbolState, *events: Event) -> list[SubmitOrder]:
    """Return the sells that the last of the events sends."""
    *history, last = events
    result = step(after(one, *history), last, RULES)
    return [command for command in result.commands if isinstance(command, SubmitOrder)]


def test_fault_1_the_resting_sell_is_canceled_before_the_sale_at_the_end() -> None:
    due = step(SELLING, liquidation("15:55", 20), RULES)
    assert due.commands == (CancelOrder(client_id(2, TARGET), "broker-2"),)
    assert sells(SELLING, liquidation("15:55"), liquidation("15:56")) == []
    over = seen("15:55:01", 2, TARGET, "canceled", 5, "100.01", confirmed=True)
    (sale,) = sells(SELLING, liquidation("15:55"), over)
    assert (sale.order.qty, sale.order.limit) == (15, None)


def test_fault_1_a_sell_that_fills_in_between_leaves_nothing_to_sell() -> None:
    filled = seen("15:55:01", 2, TARGET, "filled", 20, "100.01")
    done = step(after(SELLING, liquidation("15:55")), filled, RULES)
    assert done.commands == ()
    assert done.state.phase is Phase.DONE


@pytest.mark.parametrize(
    ("by", "buys", "fills"), [(RULES, "15:54", "15:55"), (HALF_DAY, "12:54", "12:55")]
)
def test_fault_2_a_buy_that_fills_late_is_sold_at_market_on_half_days_too(by, buys, fills) -> None:
    bought = after(state(), bar_closed(buys, signal=True), by=by)
    result = step(bought, seen(fills, 1, ENTRY, "filled", 20), by)
    assert result.state.order is not None
    assert (result.state.order.purpose, result.state.order.limit) == (LIQUIDATION, None)


@pytest.mark.fault("46")
def test_fault_2_a_half_day_enters_nothing_from_12_55_on() -> None:
    late = step(state(), bar_closed("12:55", signal=True), HALF_DAY)
    assert late.reason is Reason.AFTER_CUTOFF


def test_fault_3_a_failed_sell_is_tried_again_at_the_next_checkup() -> None:
    refused = after(state(), SIGNAL, BOUGHT, seen("10:00:11", 2, TARGET, REFUSED))
    assert refused.phase is Phase.TO_SELL
    (again,) = sells(refused, checkup("10:00:41", 20))
    assert (again.order.qty, again.order.limit) == (20, money("100.01"))


def test_fault_3_a_restart_with_shares_sells_them_at_the_next_checkup() -> None:
    bought = report(1, ENTRY, "filled", 20, stamp="10:00:10", confirmed=True)
    restarted = rebuild(SYMBOL, DAY, "paper", [bought], at("10:30"))
    (again,) = sells(restarted, checkup("10:30", 20))
    assert again.order.client_order_id == client_id(2, TARGET)


def test_fault_4_a_restart_with_a_partly_filled_buy_waits_for_the_rest_of_it() -> None:
    partly = report(1, ENTRY, "partially_filled", 8, qty=20, limit=money(100), confirmed=True)
    restarted = rebuild(SYMBOL, DAY, "paper", [partly], at("10:01"))
    assert restarted.phase is Phase.BUY_SUBMITTED
    assert restarted.order is not None
    assert (restarted.order.qty, restarted.order.filled_qty) == (20, 8)


@pytest.mark.fault("12")
def test_fault_5_the_state_expects_the_fill_before_the_order_is_sent() -> None:
    sent = step(state(), SIGNAL, RULES)
    assert sent.state.order is not None
    assert sent.commands == (SubmitOrder(sent.state.order),)
    assert step(sent.state, BOUGHT, RULES).reason is Reason.BOUGHT


@pytest.mark.fault("13")
def test_fault_5_a_fill_in_an_unexpected_state_is_not_lost() -> None:
    absent = [seen(clock, 1, ENTRY, ABSENT) for clock in ("10:01", "10:01:30", "10:02")]
    for history in ([], [liquidation("15:55")]):
        idle = after(state(), SIGNAL, *absent, *history)
        assert idle.phase in (Phase.TO_BUY, Phase.DONE)
        (sale,) = sells(idle, seen("15:56", 1, ENTRY, "filled", 20))
        assert (sale.order.qty, sale.order.limit) == (20, None)


@pytest.mark.fault("30")
@given(close=st.integers(1, 3_000_0000), average=st.integers(1, 3_000_0000))
def test_fault_6_every_limit_lies_on_the_tick_grid(close: int, average: int) -> None:
    by = rules(lot=money(10_000))
    bar = replace(SIGNAL, close=close)
    sent = after(state(), bar, by=by)
    assert sent.order is not None
    qty = sent.order.qty
    filled = seen("10:00:10", 1, ENTRY, "filled", qty)
    filled = replace(filled, report=replace(filled.report, filled_value=qty * average))
    sold = after(sent, filled, by=by)
    assert sold.order is not None
    for limit in (sent.order.limit, sold.order.limit):
        assert limit is not None
        assert limit > 0
        assert limit % CENT == 0 or limit < DOLLAR
    assert sent.order.limit is not None
    assert sent.order.limit <= close
    assert sold.order.limit is not None
    assert sold.order.limit >= average + CENT


def test_a_position_is_believed_by_the_time_of_the_fill_not_of_the_minute_of_the_report() -> None:
    """Seed 9724: a tick may take most of a minute; reports it gets are newer than its minute."""
    stamp = at("10:00:40")
    bought = after(
        state(), SIGNAL, seen("10:00", 1, ENTRY, "filled", 20, updated_at=stamp, confirmed=True)
    )
    assert bought.entered_at == stamp


def test_fault_7_an_order_of_no_shares_is_never_sent() -> None:
    dear = step(state(), bar_closed("10:00", "2000.01", signal=True), RULES)
    assert (dear.commands, dear.reason) == ((), Reason.LOT_TOO_SMALL)


@pytest.mark.parametrize(
    "external", ["", "by hand", "scalp-paper-TSLA-20260701-1", client_id().replace("paper", "live")]
)
def test_fault_8_an_external_order_on_the_symbol_changes_nothing(external: str) -> None:
    event = seen("10:05", 1, ENTRY, "filled", 20, client_order_id=external)
    for one in (state(), after(state(), SIGNAL), SELLING, after(state(), liquidation("15:55"))):
        assert step(one, event, RULES) == Step(one, (), Reason.UNKNOWN_ORDER)


@pytest.mark.fault("6")
@pytest.mark.parametrize(
    ("status", "phase", "at_the_end"),
    [
        ("expired", Phase.TO_BUY, Phase.DONE),
        ("replaced", Phase.TO_BUY, Phase.DONE),
        # Live until the broker says otherwise.
        ("done_for_day", Phase.BUY_SUBMITTED, Phase.BUY_SUBMITTED),
    ],
)
def test_fault_9_every_status_has_an_answer_and_is_found_by_asking(
    status: str, phase: Phase, at_the_end: Phase
) -> None:
    driver = SymbolDriver.fresh()
    driver.tick(money(100), signal=True)
    (placed,) = driver.broker.live
    driver.broker.end(placed, status)
    driver.broker.events.clear()  # no event is delivered
    phases = []
    for way_on in (driver.reconcile, driver.finish):
        way_on()
        phases.append(driver.state.phase)
    assert phases == [phase, at_the_end]


@pytest.mark.fault("1")
def test_fault_9_a_missed_fill_is_found_by_asking() -> None:
    driver = SymbolDriver.fresh()
    driver.tick(money(100), signal=True)
    (placed,) = driver.broker.live
    driver.broker.fill(placed, placed.left, money(100))
    driver.broker.events.clear()
    driver.reconcile()
    assert driver.state.phase is Phase.SELL_SUBMITTED


def test_fault_10_symbols_share_nothing_so_that_all_orders_can_go_at_once() -> None:
    symbols = [f"S{n}" for n in range(50)]
    orders = []
    for symbol in symbols:
        sent = step(replace(state(), symbol=symbol), replace(SIGNAL, symbol=symbol), RULES)
        orders += [c.order for c in sent.commands if isinstance(c, SubmitOrder)]
    made = [ClientOrderId.parse(order.client_order_id) for order in orders]
    assert [name and name.symbol for name in made] == symbols


@pytest.mark.fault("3")
@pytest.mark.parametrize("how", [REFUSED, "rejected"])
def test_fault_11_a_rejected_sell_is_retried_within_a_bound(how: str) -> None:
    one = after(state(), SIGNAL, BOUGHT)  # the first sell, refused in the first round below
    sent: set[str] = set()

    def retry(one: SymbolState, due: CheckupDue | LiquidationDue) -> SymbolState:
        one = after(one, due)
        while one.order is not None:
            sent.add(one.order.client_order_id)
            said = report(one.generation, one.order.purpose, how, confirmed=True)
            one = after(one, OrderSeen(symbol=SYMBOL, at=due.at, report=said))
        return one

    for minute in range(60):
        one = retry(one, checkup(f"14:{minute:02d}", 20))
    assert len(sent) == MAX_EXIT_ATTEMPTS
    assert (one.phase, one.halt, one.qty) == (Phase.TO_SELL, Reason.EXIT_EXHAUSTED, 20)
    for second in range(60):
        one = retry(one, liquidation(f"15:55:{second:02d}", 20))
    assert len(sent) == MAX_LIQUIDATION_ATTEMPTS
    assert (one.phase, one.qty) == (Phase.TO_SELL, 20)


def test_fault_12_a_tie_that_floats_take_for_a_crossover_is_none() -> None:
    prices = [10.02] * 20 + [10.03]
    before, now = _float_average(prices[:-1]), _float_average(prices[1:])
    assert prices[-2] < before, "in floats the close before lies below its own average"
    assert prices[-1] > now
    bars = [Bar(at("10:00"), money(p), money(p), money(p), money(p), 0) for p in prices]
    assert not crossover(bars)


def _float_average(prices: list[float]) -> float:
    """Add one by one, as the example does: `sum` corrects the rounding error since Python 3.12."""
    return reduce(add, prices) / len(prices)
