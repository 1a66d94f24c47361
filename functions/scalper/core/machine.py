"""What an event makes of a symbol's state, and what is to be sent; late news alone is in `late.py`.

`step` never reads a clock and never fails on a broker's word: each phase has a stated answer to
each event. What may happen at all stands as data in `transitions.py`, asserted at every step.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from scalper.core.corrections import on_other_order
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
    SubmitOrder,
    SymbolState,
)
from scalper.core.order import (
    ABSENT,
    MAX_GENERATION,
    REFUSED,
    Order,
    Progress,
    Purpose,
    fills,
    follow,
    is_correction,
    join,
)
from scalper.core.order_actions import (
    MAX_LIQUIDATION_ATTEMPTS,
    cancel,
    cancel_again,
    idle_phase,
    must_liquidate,
    oversized,
    retire,
    sell,
    submit,
    working,
)
from scalper.core.pricing import round_down, shares
from scalper.core.transitions import assert_legal

BUY_TIMEOUT = timedelta(seconds=120)
"""A buy unfilled for so long is canceled: its signal is stale."""

RESEND_WITHIN = timedelta(seconds=60)
"""A buy that the broker does not know is sent again while its decision is this fresh."""

ABANDON_AFTER = timedelta(seconds=120)
"""A buy that the broker does not know is given up after this, at the earliest."""

ABSENCES_TO_ABANDON = 2
"""Answers "not found" that it takes to give an order up."""

COOL_DOWN = timedelta(minutes=5)
"""After a refused buy the symbol enters nothing for so long."""

POSITION_LAG = timedelta(seconds=15)
"""Orders and positions may disagree for about 10 s: a position is believed after this."""


def step(state: SymbolState, event: Event, rules: Rules) -> Step:
    """Return what `event` makes of `state` under `rules`.

    Raises InvariantError where the result would not be in `TRANSITIONS` or would contradict
    its phase: then nothing may be stored or sent.
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
    """Decide once a minute: enter on a signal, give up a stale buy, cut a loss."""
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
    """Join what the broker said; go on when the working order can change no more."""
    order = state.order
    if order is None or event.report.client_order_id != order.client_order_id:
        return on_other_order(state, event, rules)
    if event.report.status == ABSENT:
        return _on_absence(state, event, rules, join(order, event.report, event.at))
    if order.successor and event.report.broker_id not in ("", order.successor):
        # The order that was replaced: what it filled was carried over.
        return Step(state, (), Reason.NOTHING_NEW)
    if not event.report.confirmed and event.report.broker_id not in (
        "",
        order.broker_id or event.report.broker_id,
    ):
        # An event of another account, whose orders have the same names.
        return Step(state, (), Reason.UNKNOWN_ORDER)
    if event.report.status == REFUSED and order.progress is not Progress.INTENT:
        return Step(state, (), Reason.STILL_WORKING)
    if event.report.status == REFUSED and order.sends > 1:
        # A send before this one may be on its way yet: it is, unless absences follow.
        doubted = replace(order, status=REFUSED, absences=0)
        return Step(replace(state, order=doubted), (), Reason.AWAITING_ANSWER)
    joined = join(order, event.report, event.at)
    halt = state.halt
    if is_correction(order, event.report):
        halt = Reason.CORRECTED_FILL
        if joined.is_settled:
            # Nothing is to come: of two numbers the newer one is what is held.
            filled_qty, filled_value = fills(joined, event.report)
            joined = replace(joined, filled_qty=filled_qty, filled_value=filled_value)
    if event.report.status == "replaced":
        halt = Reason.REPLACED_ORDER
        if event.report.replaced_by and event.report.confirmed and joined.filled_qty < joined.qty:
            joined = follow(joined, event.report.replaced_by)
    news = joined != order or halt != state.halt
    seen = replace(state, order=joined, halt=halt) if news else state
    if not joined.is_settled:
        return _still_working(state, seen, joined, event.at, rules)
    match state.phase:
        case Phase.BUY_SUBMITTED:
            return _buy_settled(seen, joined, event, rules)
        case _:
            return _sell_settled(seen, joined, event, rules)


def on_checkup(state: SymbolState, event: CheckupDue, rules: Rules) -> Step:
    """Look after what works: cancel again, give up a stale buy, retry a refused exit."""
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
    """Take the symbol one step closer to flat and done; at or after the close send nothing."""
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
    if event.close is None:
        return Step(state, (), Reason.NO_BAR)
    if rules.block is not None:
        return Step(state, (), rules.block)
    if state.halt is not None:
        return Step(state, (), Reason.SYMBOL_HALTED)
    if state.abandoned:
        return Step(state, (), Reason.ORDER_IN_DOUBT)
    if not event.signal:
        return Step(state, (), Reason.NO_SIGNAL)
    if state.cool_until is not None and event.at < state.cool_until:
        return Step(state, (), Reason.COOLING_DOWN)
    if rules.max_entries is not None and state.entries >= rules.max_entries:
        return Step(state, (), Reason.ENTRY_LIMIT_REACHED)
    if state.generation + MAX_LIQUIDATION_ATTEMPTS >= MAX_GENERATION:
        return Step(state, (), Reason.ORDER_LIMIT_REACHED)
    limit = round_down(event.close)
    qty = shares(rules.lot, limit)
    if qty == 0:
        return Step(state, (), Reason.LOT_TOO_SMALL)
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
    order = working(state)
    if order.progress is Progress.INTENT:
        return Step(state, (), Reason.AWAITING_ANSWER)
    stale = at - order.submitted_at >= BUY_TIMEOUT
    if not stale and not order.successor:
        return Step(state, (), Reason.STILL_WORKING)
    if order.cancel_at is not None:
        return cancel_again(state, at, rules)
    return cancel(state, at, rules, Reason.BUY_TIMED_OUT if stale else Reason.REPLACED_ORDER)


def _buy_settled(state: SymbolState, order: Order, event: OrderSeen, rules: Rules) -> Step:
    state = retire(state, order)
    if order.filled_qty > 0:
        held = replace(
            state,
            phase=Phase.TO_SELL,
            qty=order.filled_qty,
            cost=order.filled_value,
            entered_at=max(event.at, order.updated_at or event.at),
            entries=state.entries + 1,
            exit_as=Purpose.TARGET,
            exit_attempts=0,
        )
        return sell(held, event.at, rules, event.last_trade, Reason.BOUGHT)
    state = replace(state, phase=idle_phase(state, event.at, rules))
    if order.status in (REFUSED, "rejected"):
        return Step(replace(state, cool_until=event.at + COOL_DOWN), (), Reason.BUY_REFUSED)
    return Step(state, (), Reason.BUY_ENDED_UNFILLED)


# --- exits -----------------------------------------------------------------------------------


def _retry_exit(
    state: SymbolState, event: CheckupDue | LiquidationDue, rules: Rules, reason: Reason
) -> Step:
    """Sell what rests in TO_SELL, yet never more than the broker's position.

    Only the liquidation sells without knowing it. Where somebody's order holds a part of the
    shares, what is free is sold; that none is may be behind the times, and all is tried.
    """
    position = event.position
    if position is None and isinstance(event, CheckupDue):
        return Step(state, (), Reason.AWAITING_RETRY)
    settled = state.entered_at is None or event.at - state.entered_at >= POSITION_LAG
    if position is not None and position < state.qty and settled:
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
    """Cancel the resting target where the stop or the longest holding time is reached."""
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


def _sell_settled(state: SymbolState, order: Order, event: OrderSeen, rules: Rules) -> Step:
    state = retire(state, order)
    sold = min(order.filled_qty, state.qty)
    cost = state.cost * sold // state.qty if sold else 0
    value = order.filled_value * sold // order.filled_qty if sold else 0
    left = replace(
        state,
        qty=state.qty - sold,
        cost=state.cost - cost,
        pnl=state.pnl + value - cost,
        trades=state.trades + (1 if sold else 0),
    )
    if left.qty == 0:
        idle = replace(left, phase=idle_phase(left, event.at, rules), entered_at=None)
        return Step(idle, (), Reason.LIQUIDATED if idle.phase is Phase.DONE else Reason.SOLD)
    if order.status == REFUSED:
        attempts = left.exit_attempts - (1 if event.report.throttled else 0)
        rests = replace(left, phase=Phase.TO_SELL, exit_attempts=attempts)
        return Step(rests, (), Reason.EXIT_REFUSED)
    exit_as = Purpose.BAILOUT if left.exit_as is Purpose.TARGET else left.exit_as
    held = replace(left, phase=Phase.TO_SELL, exit_as=exit_as)
    if order.status == "replaced":
        return Step(held, (), Reason.REPLACED_ORDER)
    if order.cancel_at is None:
        # Nobody here canceled it. Who did may have sold the shares: the bail-out, at market,
        # waits in TO_SELL for the broker's position.
        return Step(held, (), Reason.EXIT_ENDED_UNFILLED)
    return sell(held, event.at, rules, None, Reason.EXIT_ENDED_UNFILLED)


def _cancel_to_liquidate(state: SymbolState, at: datetime, rules: Rules) -> Step:
    order = working(state)
    if order.progress is Progress.INTENT:
        return Step(state, (), Reason.AWAITING_ANSWER)
    if order.limit is None:
        return Step(state, (), Reason.STILL_WORKING)
    if order.cancel_at is not None:
        return cancel_again(state, at, rules)
    return cancel(state, at, rules, Reason.LIQUIDATING)


# --- orders in doubt -------------------------------------------------------------------------


def _still_working(
    before: SymbolState, seen: SymbolState, order: Order, at: datetime, rules: Rules
) -> Step:
    if order.needs_confirmation:
        return Step(seen, (), Reason.AWAITING_CONFIRMATION)
    if order.cancel_at is None and order.limit is not None and seen.liquidating:
        # An intent at the time of the liquidation could not be canceled: now it can.
        return cancel(seen, at, rules, Reason.LIQUIDATING)
    if order.cancel_at is None and oversized(seen):
        # Shares were lost while it was an intent: only what is held is sold.
        return cancel(seen, at, rules, seen.halt or Reason.LATE_ORDER)
    if order.successor and (before.order is None or before.order.successor != order.successor):
        return Step(seen, (), Reason.REPLACED_ORDER)
    if seen == before:
        return Step(seen, (), Reason.NOTHING_NEW)
    return Step(seen, (), Reason.PARTLY_FILLED if order.filled_qty else Reason.STILL_WORKING)


def _on_absence(state: SymbolState, event: OrderSeen, rules: Rules, order: Order) -> Step:
    """Decide what a 404 means: send again, give up, or wait; it is never yet a "no"."""
    seen = replace(state, order=order)
    if order.progress is not Progress.INTENT:
        return Step(seen, (), Reason.STILL_WORKING)
    if event.at >= rules.session.close:
        return _close_unanswered(seen, order)
    if order.status == REFUSED:
        return _on_absence_after_refusal(seen, order, event, rules)
    age = event.at - order.submitted_at
    if order.is_buy:
        fresh = age < RESEND_WITHIN and not must_liquidate(state, event.at, rules)
        wanted = fresh and rules.block is None and state.halt is None and not event.contested
    else:
        # A liquidation that had to do without the table may have sold these shares meanwhile.
        older = must_liquidate(state, event.at, rules) and order.purpose is not Purpose.LIQUIDATION
        wanted = not older and not oversized(state)
    if wanted:
        again = replace(order, sends=order.sends + 1)
        return Step(replace(seen, order=again), (SubmitOrder(again),), Reason.RESENT)
    # A buy may be what lists show under another name; a sell is watched, and looked at before more.
    contested = event.contested and order.is_buy
    if age >= ABANDON_AFTER and order.absences >= ABSENCES_TO_ABANDON and not contested:
        phase = Phase.TO_SELL if state.qty else idle_phase(seen, event.at, rules)
        return Step(replace(retire(seen, order), phase=phase), (), Reason.ABANDONED)
    return Step(seen, (), Reason.AWAITING_ANSWER)


def _on_absence_after_refusal(
    state: SymbolState, order: Order, event: OrderSeen, rules: Rules
) -> Step:
    """Believe the refusal of an order sent again once no send before it has landed either."""
    if order.absences < ABSENCES_TO_ABANDON:
        return Step(state, (), Reason.AWAITING_ANSWER)
    refused = join(order, replace(event.report, status=REFUSED), event.at)
    settle = _buy_settled if order.is_buy else _sell_settled
    return settle(state, refused, event, rules)


def _close_unanswered(state: SymbolState, order: Order) -> Step:
    """Give up an order that never showed until the close: a day order cannot land any more."""
    phase = Phase.TO_SELL if state.qty else Phase.DONE
    return Step(replace(retire(state, order), phase=phase), (), Reason.ABANDONED)
