"""Every transition lives here: what an event makes of a symbol's state, and what is to be sent.

`step` never reads a clock and never fails on a broker's word: each phase has a stated answer to
each event. What may happen at all stands as data in `transitions.py`, asserted at every step.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from scalper.core.model import (
    BarClosed,
    CancelOrder,
    CheckupDue,
    Command,
    Event,
    InvariantError,
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
    ClientOrderId,
    Order,
    Progress,
    Purpose,
    is_correction,
    join,
    progress_of,
)
from scalper.core.pricing import Money, round_down, shares, target
from scalper.core.transitions import assert_legal

BUY_TIMEOUT = timedelta(seconds=120)
"""A buy unfilled for so long is canceled: its signal is stale."""

CANCEL_BACKOFF = timedelta(seconds=30)
"""A cancel that shows no effect is asked for again after this."""

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

MAX_EXIT_ATTEMPTS = 5
"""Sells for one position before the symbol is halted; the liquidation has as many again."""


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
        return _on_other_order(state, event, rules)
    if event.report.status == ABSENT:
        return _on_absence(state, event, rules, join(order, event.report, event.at))
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
    elif event.report.status == "replaced":
        halt = Reason.REPLACED_ORDER
    seen = replace(state, order=joined, halt=halt)
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
            return _cancel_again(state, event.at, rules)
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
    if not event.signal:
        return Step(state, (), Reason.NO_SIGNAL)
    if state.cool_until is not None and event.at < state.cool_until:
        return Step(state, (), Reason.COOLING_DOWN)
    if rules.max_entries is not None and state.entries >= rules.max_entries:
        return Step(state, (), Reason.ENTRY_LIMIT_REACHED)
    if state.generation + 2 * MAX_EXIT_ATTEMPTS >= MAX_GENERATION:
        return Step(state, (), Reason.ORDER_LIMIT_REACHED)
    limit = round_down(event.close)
    qty = shares(rules.lot, limit)
    if qty == 0:
        return Step(state, (), Reason.LOT_TOO_SMALL)
    return _submit(
        replace(state, phase=Phase.BUY_SUBMITTED),
        rules,
        Purpose.ENTRY,
        qty,
        limit,
        event.at,
        Reason.BUY_SIGNAL,
    )


def _cancel_stale_buy(state: SymbolState, at: datetime, rules: Rules) -> Step:
    order = _working(state)
    if order.progress is Progress.INTENT:
        return Step(state, (), Reason.AWAITING_ANSWER)
    if at - order.submitted_at < BUY_TIMEOUT:
        return Step(state, (), Reason.STILL_WORKING)
    if order.cancel_at is not None:
        return _cancel_again(state, at, rules)
    return _cancel(state, at, rules, Reason.BUY_TIMED_OUT)


def _buy_settled(state: SymbolState, order: Order, event: OrderSeen, rules: Rules) -> Step:
    state = _retire(state, order)
    if order.filled_qty > 0:
        held = replace(
            state,
            phase=Phase.TO_SELL,
            qty=order.filled_qty,
            cost=order.filled_value,
            entered_at=event.at,
            entries=state.entries + 1,
            exit_as=Purpose.TARGET,
            exit_attempts=0,
        )
        return _exit(held, event.at, rules, event.last_trade, Reason.BOUGHT)
    state = replace(state, phase=_idle_phase(state, event.at, rules))
    if order.status in (REFUSED, "rejected"):
        return Step(replace(state, cool_until=event.at + COOL_DOWN), (), Reason.BUY_REFUSED)
    return Step(state, (), Reason.BUY_ENDED_UNFILLED)


# --- exits -----------------------------------------------------------------------------------


def _exit(
    held: SymbolState, at: datetime, rules: Rules, last_trade: Money | None, reason: Reason
) -> Step:
    """Sell what is held, as `exit_as` says or at market once it is time to liquidate."""
    if at >= rules.session.close:
        return Step(held, (), Reason.AFTER_CLOSE)
    liquidating = _must_liquidate(held, at, rules)
    purpose = Purpose.LIQUIDATION if liquidating else held.exit_as
    allowed = 2 * MAX_EXIT_ATTEMPTS if liquidating else MAX_EXIT_ATTEMPTS
    if held.exit_attempts >= allowed or held.generation >= MAX_GENERATION:
        return Step(replace(held, halt=Reason.EXIT_EXHAUSTED), (), Reason.EXIT_EXHAUSTED)
    entry = held.entry_price
    limit = target(entry, last_trade or entry) if purpose is Purpose.TARGET else None
    state = replace(held, phase=Phase.SELL_SUBMITTED, exit_attempts=held.exit_attempts + 1)
    return _submit(state, rules, purpose, held.qty, limit, at, reason)


def _retry_exit(
    state: SymbolState, event: CheckupDue | LiquidationDue, rules: Rules, reason: Reason
) -> Step:
    """Sell what rests in TO_SELL, yet never more than the broker's position."""
    position = event.position
    settled = state.entered_at is None or event.at - state.entered_at >= POSITION_LAG
    if position is not None and position < state.qty and settled:
        held = max(position, 0)
        cost = state.cost * held // state.qty
        state = replace(state, qty=held, cost=cost, halt=Reason.SOLD_ELSEWHERE)
        if held == 0:
            gone = replace(state, phase=_idle_phase(state, event.at, rules), entered_at=None)
            return Step(gone, (), Reason.SOLD_ELSEWHERE)
    return _exit(state, event.at, rules, None, reason)


def _apply_risk_controls(state: SymbolState, event: BarClosed, rules: Rules) -> Step:
    """Cancel the resting target where the stop or the longest holding time is reached."""
    order = _working(state)
    if order.purpose is not Purpose.TARGET or order.progress is not Progress.LIVE:
        return Step(state, (), Reason.STILL_WORKING)
    if order.cancel_at is not None:
        return _cancel_again(state, event.at, rules)
    if (
        rules.stop_loss_pct is not None
        and event.close is not None
        and event.close * state.qty * 100 <= state.cost * (100 - rules.stop_loss_pct)
    ):
        stopped = replace(state, exit_as=Purpose.STOP)
        return _cancel(stopped, event.at, rules, Reason.STOP_LOSS)
    if (
        rules.max_hold is not None
        and state.entered_at is not None
        and event.at - state.entered_at >= rules.max_hold
    ):
        stopped = replace(state, exit_as=Purpose.STOP)
        return _cancel(stopped, event.at, rules, Reason.HELD_TOO_LONG)
    return Step(state, (), Reason.STILL_WORKING)


def _sell_settled(state: SymbolState, order: Order, event: OrderSeen, rules: Rules) -> Step:
    state = _retire(state, order)
    sold = min(order.filled_qty, state.qty)
    cost = state.cost * sold // state.qty
    left = replace(
        state,
        qty=state.qty - sold,
        cost=state.cost - cost,
        pnl=state.pnl + (order.filled_value - cost if sold else 0),
        trades=state.trades + (1 if sold else 0),
    )
    if left.qty == 0:
        idle = replace(left, phase=_idle_phase(left, event.at, rules), entered_at=None)
        return Step(idle, (), Reason.LIQUIDATED if idle.phase is Phase.DONE else Reason.SOLD)
    if order.status == REFUSED:
        return Step(replace(left, phase=Phase.TO_SELL), (), Reason.EXIT_REFUSED)
    exit_as = Purpose.BAILOUT if left.exit_as is Purpose.TARGET else left.exit_as
    held = replace(left, phase=Phase.TO_SELL, exit_as=exit_as)
    if order.status == "replaced":
        return Step(held, (), Reason.REPLACED_ORDER)
    if order.cancel_at is None:
        # Nobody here canceled it. Who did may have sold the shares: the bail-out, at market,
        # waits in TO_SELL for the broker's position.
        return Step(held, (), Reason.EXIT_ENDED_UNFILLED)
    return _exit(held, event.at, rules, None, Reason.EXIT_ENDED_UNFILLED)


# --- orders in doubt -------------------------------------------------------------------------


def _still_working(
    before: SymbolState, seen: SymbolState, order: Order, at: datetime, rules: Rules
) -> Step:
    if order.needs_confirmation:
        return Step(seen, (), Reason.AWAITING_CONFIRMATION)
    if seen.liquidating and order.cancel_at is None and order.limit is not None:
        # An intent at the time of the liquidation could not be canceled: now it can.
        return _cancel(seen, at, rules, Reason.LIQUIDATING)
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
    wanted = not order.is_buy or (
        age < RESEND_WITHIN
        and rules.block is None
        and state.halt is None
        and not _must_liquidate(state, event.at, rules)
    )
    if wanted:
        again = replace(order, sends=order.sends + 1)
        return Step(replace(seen, order=again), (SubmitOrder(again),), Reason.RESENT)
    if age >= ABANDON_AFTER and order.absences >= ABSENCES_TO_ABANDON and not event.contested:
        given_up = replace(_retire(seen, order), phase=_idle_phase(seen, event.at, rules))
        return Step(given_up, (), Reason.ABANDONED)
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
    phase = Phase.DONE if order.is_buy else Phase.TO_SELL
    return Step(replace(_retire(state, order), phase=phase), (), Reason.ABANDONED)


def _on_other_order(state: SymbolState, event: OrderSeen, rules: Rules) -> Step:
    """Take up an order that is not the working one: late news of ours, or nothing to us."""
    report = event.report
    made = ClientOrderId.parse(report.client_order_id)
    if (
        made is None
        or made.symbol != state.symbol
        or made.day != state.session
        or made.mode != rules.mode
        or report.status in (ABSENT, REFUSED)
    ):
        return Step(state, (), Reason.UNKNOWN_ORDER)
    if made.generation > len(state.settled) + (0 if state.order is None else 1):
        return Step(replace(state, halt=Reason.UNKNOWN_ORDER), (), Reason.UNKNOWN_ORDER)
    if made.generation > len(state.settled):
        return Step(state, (), Reason.UNKNOWN_ORDER)
    extra = report.filled_qty - state.settled[made.generation - 1]
    live = progress_of(report.status) is Progress.LIVE
    if extra <= 0 and not (live and report.client_order_id in state.abandoned):
        return Step(state, (), Reason.NOTHING_NEW)
    halted = _watch(replace(state, halt=Reason.LATE_ORDER), report.client_order_id)
    if live and event.at < rules.session.close:
        cancel = CancelOrder(report.client_order_id, report.broker_id)
        return Step(halted, (cancel,), Reason.LATE_ORDER)
    if extra <= 0 or made.purpose is not Purpose.ENTRY or not state.is_flat:
        return Step(halted, (), Reason.LATE_ORDER)
    settled = list(halted.settled)
    settled[made.generation - 1] = report.filled_qty
    held = replace(
        halted,
        phase=Phase.TO_SELL,
        settled=tuple(settled),
        qty=extra,
        cost=report.filled_value * extra // report.filled_qty,
        entered_at=event.at,
        entries=state.entries + 1,
        exit_as=Purpose.BAILOUT,
        exit_attempts=0,
    )
    return _exit(held, event.at, rules, event.last_trade, Reason.LATE_ORDER)


# --- leaves ----------------------------------------------------------------------------------


def _submit(
    state: SymbolState,
    rules: Rules,
    purpose: Purpose,
    qty: int,
    limit: Money | None,
    at: datetime,
    reason: Reason,
) -> Step:
    generation = state.generation + 1
    name = ClientOrderId(rules.mode, state.symbol, state.session, generation, purpose)
    order = Order(client_order_id=str(name), purpose=purpose, qty=qty, limit=limit, submitted_at=at)
    return Step(replace(state, generation=generation, order=order), (SubmitOrder(order),), reason)


def _cancel(state: SymbolState, at: datetime, rules: Rules, reason: Reason) -> Step:
    if at >= rules.session.close:
        return Step(state, (), Reason.AFTER_CLOSE)
    order = replace(_working(state), cancel_at=at)
    command: Command = CancelOrder(order.client_order_id, order.broker_id)
    return Step(replace(state, order=order), (command,), reason)


def _cancel_again(state: SymbolState, at: datetime, rules: Rules) -> Step:
    """Repeat a cancel that shows no effect, at intervals: pending_cancel may last for hours."""
    order = _working(state)
    if order.progress is not Progress.LIVE or order.cancel_at is None:
        return Step(state, (), Reason.STILL_WORKING)
    if at - order.cancel_at < CANCEL_BACKOFF:
        return Step(state, (), Reason.AWAITING_CONFIRMATION)
    return _cancel(state, at, rules, Reason.CANCEL_AGAIN)


def _cancel_to_liquidate(state: SymbolState, at: datetime, rules: Rules) -> Step:
    order = _working(state)
    if order.progress is Progress.INTENT:
        return Step(state, (), Reason.AWAITING_ANSWER)
    if order.limit is None:
        return Step(state, (), Reason.STILL_WORKING)
    if order.cancel_at is not None:
        return _cancel_again(state, at, rules)
    return _cancel(state, at, rules, Reason.LIQUIDATING)


def _retire(state: SymbolState, order: Order) -> SymbolState:
    """Drop the working order and remember what it filled, for news that comes late.

    One given up unseen, or refused only when sent again, may still land: it is asked for again.
    """
    retired = replace(state, order=None, settled=(*state.settled, order.filled_qty))
    unseen = order.progress is Progress.INTENT or (order.status == REFUSED and order.sends > 1)
    return _watch(retired, order.client_order_id) if unseen else retired


def _watch(state: SymbolState, client_order_id: str) -> SymbolState:
    """Have an order that is not the working one asked for at each pass."""
    if client_order_id in state.abandoned:
        return state
    return replace(state, abandoned=(*state.abandoned, client_order_id))


def _idle_phase(state: SymbolState, at: datetime, rules: Rules) -> Phase:
    return Phase.DONE if _must_liquidate(state, at, rules) else Phase.TO_BUY


def _must_liquidate(state: SymbolState, at: datetime, rules: Rules) -> bool:
    return state.liquidating or at >= rules.session.liquidate_at


def _working(state: SymbolState) -> Order:
    if state.order is None:
        raise InvariantError(f"{state.symbol}: {state.phase} without an order")
    return state.order
