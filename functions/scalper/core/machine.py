"""What each phase makes of each event: `step` is the only doorway.

`step` reads no clock, and no answer of the broker makes it fail. `transitions.py` says as data what
may happen at all, and `step` asserts it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from scalper.core.corrections import on_other_order
from scalper.core.limits import Facts, entry_size, refusal
from scalper.core.model import (
    BarClosed,
    CheckupDue,
    Event,
    LiquidationDue,
    OrderSeen,
    Phase,
    Reason,
    Rules,
    Step,
    SymbolState,
)
from scalper.core.order import Progress, Purpose
from scalper.core.order_actions import (
    cancel,
    cancel_again,
    idle_phase,
    sell,
    submit,
    working,
)
from scalper.core.transitions import assert_legal
from scalper.core.working_order import on_working_order

BUY_TIMEOUT = timedelta(seconds=120)
"""A buy that did not fill within this is canceled: its signal is stale."""

POSITION_LAG = timedelta(seconds=15)
"""Alpaca's positions may lag about 10 s behind its orders: a position is believed after this."""


def step(state: SymbolState, event: Event, rules: Rules) -> Step:
    """Return what `event` makes of `state` under `rules`.

    Raises InvariantError if `TRANSITIONS` lacks the change of phase, or if the new state
    contradicts its phase. The caller must then store and send nothing.
    """
    result = _dispatch(state, event, rules)
    assert_legal(state, event, result)
    return result


def _dispatch(state: SymbolState, event: Event, rules: Rules) -> Step:
    match event:
        case BarClosed():
            return on_bar(state, event, rules)
        case OrderSeen():
            return on_order(state, event, rules)
        case CheckupDue():
            return on_checkup(state, event, rules)
        case LiquidationDue():
            return on_liquidation(state, event, rules)


def on_bar(state: SymbolState, event: BarClosed, rules: Rules) -> Step:
    """Decide once a minute: enter on a signal, cancel a stale buy, or cut a loss."""
    if event.at >= rules.session.liquidate_at and state.phase is not Phase.DONE:
        return Step(state, (), Reason.AFTER_CUTOFF)
    match state.phase:
        case Phase.TO_BUY:
            return _consider_entry(state, event, rules)
        case Phase.BUY_SUBMITTED:
            return _cancel_stale_buy(state, event.at, rules)
        case Phase.TO_SELL:
            return Step(state, (), Reason.AWAITING_RETRY)
        case Phase.SELL_SUBMITTED:
            return _apply_risk_controls(state, event, rules)
        case Phase.DONE:
            return Step(state, (), Reason.DAY_IS_DONE)


def on_order(state: SymbolState, event: OrderSeen, rules: Rules) -> Step:
    """Take up a report: of the working order, or of a closed or unknown one."""
    order = state.order
    if order is not None and event.report.client_order_id == order.client_order_id:
        return on_working_order(state, order, event, rules)
    return on_other_order(state, event, rules)


def on_checkup(state: SymbolState, event: CheckupDue, rules: Rules) -> Step:
    """Repeat a cancel, cancel a stale buy, or sell shares that rest after a failed exit."""
    match state.phase:
        case Phase.TO_BUY:
            return Step(state, (), Reason.NOTHING_NEW)
        case Phase.BUY_SUBMITTED:
            return _cancel_stale_buy(state, event.at, rules)
        case Phase.TO_SELL:
            return _retry_exit(state, event, rules, Reason.EXIT_RETRIED)
        case Phase.SELL_SUBMITTED:
            return cancel_again(state, event.at, rules)
        case Phase.DONE:
            return Step(state, (), Reason.DAY_IS_DONE)


def on_liquidation(state: SymbolState, event: LiquidationDue, rules: Rules) -> Step:
    """Bring the symbol one step closer to flat and done. At or after the close, send nothing."""
    state = replace(state, liquidating=True)
    match state.phase:
        case Phase.TO_BUY:
            return Step(replace(state, phase=Phase.DONE), (), Reason.NOTHING_TO_LIQUIDATE)
        case Phase.BUY_SUBMITTED:
            return _cancel_to_liquidate(state, event.at, rules)
        case Phase.TO_SELL:
            return _retry_exit(state, event, rules, Reason.LIQUIDATING)
        case Phase.SELL_SUBMITTED:
            return _cancel_to_liquidate(state, event.at, rules)
        case Phase.DONE:
            return Step(state, (), Reason.DAY_IS_DONE)


# --- entries ---------------------------------------------------------------------------------


def _consider_entry(state: SymbolState, event: BarClosed, rules: Rules) -> Step:
    """Enter on a signal, or say why not."""
    facts = Facts.of_bar(state, event, rules)
    why = refusal(facts)
    if why is not None:
        return Step(state, (), why)
    limit, qty = entry_size(facts)
    return submit(
        replace(state, phase=Phase.BUY_SUBMITTED),
        rules,
        Purpose.ENTRY,
        qty,
        limit,
        event.at,
        Reason.BUY_SIGNAL,
    )


def _cancel_stale_buy(state: SymbolState, at: datetime, rules: Rules) -> Step:
    """Cancel a buy that is older than `BUY_TIMEOUT`, or that the broker replaced."""
    order = working(state)
    if order.progress is Progress.INTENT:
        return Step(state, (), Reason.AWAITING_ANSWER)
    stale = at - order.submitted_at >= BUY_TIMEOUT
    if not stale and not order.successor:
        return Step(state, (), Reason.STILL_WORKING)
    if order.cancel_at is not None:
        return cancel_again(state, at, rules)
    return cancel(state, at, rules, Reason.BUY_TIMED_OUT if stale else Reason.REPLACED_ORDER)


# --- exits -----------------------------------------------------------------------------------


def _retry_exit(
    state: SymbolState, event: CheckupDue | LiquidationDue, rules: Rules, reason: Reason
) -> Step:
    """Sell the shares that rest in TO_SELL, but never more than the broker's position.

    Only the liquidation sells without knowing the position. If an external order holds some
    shares, sell the rest. A free quantity of zero may be stale: try all.
    """
    position = event.position
    if position is None and isinstance(event, CheckupDue):
        return Step(state, (), Reason.AWAITING_RETRY)
    current = state.entered_at is None or event.at - state.entered_at >= POSITION_LAG
    if position is not None and position < state.qty and current:
        held = max(position, 0)
        cost = state.cost * held // state.qty
        state = replace(state, qty=held, cost=cost, halt=Reason.SOLD_ELSEWHERE)
        if held == 0:
            gone = replace(state, phase=idle_phase(state, event.at, rules), entered_at=None)
            return Step(gone, (), Reason.SOLD_ELSEWHERE)
    at_most = event.free if position is not None and position >= state.qty else None
    if at_most is not None and at_most <= 0:
        at_most = None
    return sell(state, event.at, rules, None, reason, at_most)


def _apply_risk_controls(state: SymbolState, event: BarClosed, rules: Rules) -> Step:
    """Cancel the live target if the stop or the longest holding time is reached."""
    order = working(state)
    if order.purpose is not Purpose.TARGET or order.progress is Progress.INTENT:
        return Step(state, (), Reason.STILL_WORKING)
    if order.cancel_at is not None:
        return cancel_again(state, event.at, rules)
    if (
        rules.stop_loss_pct is not None
        and event.close is not None
        and event.close * state.qty * 100 <= state.cost * (100 - rules.stop_loss_pct)
    ):
        stopped = replace(state, exit_as=Purpose.STOP)
        return cancel(stopped, event.at, rules, Reason.STOP_LOSS)
    if (
        rules.max_hold is not None
        and state.entered_at is not None
        and event.at - state.entered_at >= rules.max_hold
    ):
        stopped = replace(state, exit_as=Purpose.STOP)
        return cancel(stopped, event.at, rules, Reason.HELD_TOO_LONG)
    return Step(state, (), Reason.STILL_WORKING)


def _cancel_to_liquidate(state: SymbolState, at: datetime, rules: Rules) -> Step:
    """Cancel the working order unless it is a market order; repeat a cancel without effect."""
    order = working(state)
    if order.progress is Progress.INTENT:
        return Step(state, (), Reason.AWAITING_ANSWER)
    if order.limit is None:
        return Step(state, (), Reason.STILL_WORKING)
    if order.cancel_at is not None:
        return cancel_again(state, at, rules)
    return cancel(state, at, rules, Reason.LIQUIDATING)
