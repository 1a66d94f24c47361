"""What every transition is made of: an order made, canceled, repeated or put aside.

These decide nothing by themselves but what may not be sent: too many sells, or one after the close.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from scalper.core.model import (
    CancelOrder,
    Command,
    InvariantError,
    Phase,
    Reason,
    Rules,
    Step,
    SubmitOrder,
    SymbolState,
)
from scalper.core.order import MAX_GENERATION, REFUSED, ClientOrderId, Order, Progress, Purpose
from scalper.core.pricing import Money, target

CANCEL_BACKOFF = timedelta(seconds=30)
"""A cancel that shows no effect is asked for again after this."""

MAX_EXIT_ATTEMPTS = 5
"""Sells for one position before the symbol is halted, until the liquidation."""

MAX_LIQUIDATION_ATTEMPTS = 40
"""Sells for one position in all: more than the passes between the liquidation and the close make,
so that an account which is blocked for a while is flat in the end all the same."""


def submit(
    state: SymbolState,
    rules: Rules,
    purpose: Purpose,
    qty: int,
    limit: Money | None,
    at: datetime,
    reason: Reason,
) -> Step:
    """Make the next order and send it."""
    generation = state.generation + 1
    name = ClientOrderId(rules.mode, state.symbol, state.session, generation, purpose)
    order = Order(client_order_id=str(name), purpose=purpose, qty=qty, limit=limit, submitted_at=at)
    return Step(replace(state, generation=generation, order=order), (SubmitOrder(order),), reason)


def sell(
    held: SymbolState,
    at: datetime,
    rules: Rules,
    last_trade: Money | None,
    reason: Reason,
    at_most: int | None = None,
) -> Step:
    """Sell what is held, as `exit_as` says or at market once it is time to liquidate."""
    if at >= rules.session.close:
        return Step(held, (), Reason.AFTER_CLOSE)
    liquidating = must_liquidate(held, at, rules)
    purpose = Purpose.LIQUIDATION if liquidating else held.exit_as
    allowed = MAX_LIQUIDATION_ATTEMPTS if liquidating else MAX_EXIT_ATTEMPTS
    if held.exit_attempts >= allowed or held.generation >= MAX_GENERATION:
        return Step(replace(held, halt=Reason.EXIT_EXHAUSTED), (), Reason.EXIT_EXHAUSTED)
    entry = held.entry_price
    limit = target(entry, last_trade or entry) if purpose is Purpose.TARGET else None
    state = replace(held, phase=Phase.SELL_SUBMITTED, exit_attempts=held.exit_attempts + 1)
    qty = held.qty if at_most is None else min(held.qty, at_most)
    return submit(state, rules, purpose, qty, limit, at, reason)


def cancel(state: SymbolState, at: datetime, rules: Rules, reason: Reason) -> Step:
    """Ask for the working order to be canceled, before the close."""
    if at >= rules.session.close:
        return Step(state, (), Reason.AFTER_CLOSE)
    order = replace(working(state), cancel_at=at)
    command: Command = CancelOrder(order.client_order_id, order.broker_id)
    return Step(replace(state, order=order), (command,), reason)


def cancel_again(state: SymbolState, at: datetime, rules: Rules) -> Step:
    """Repeat a cancel that shows no effect, at intervals: pending_cancel may last for hours."""
    order = working(state)
    if order.progress is Progress.INTENT or order.cancel_at is None:
        return Step(state, (), Reason.STILL_WORKING)
    if at - order.cancel_at < CANCEL_BACKOFF:
        return Step(state, (), Reason.AWAITING_CONFIRMATION)
    return cancel(state, at, rules, Reason.CANCEL_AGAIN)


def retire(state: SymbolState, order: Order) -> SymbolState:
    """Drop the working order and remember what it filled, for news that comes late.

    One given up unseen, or refused only when sent again, may still land: it is asked for again.
    """
    retired = replace(state, order=None, settled=(*state.settled, order.filled_qty))
    unseen = order.progress is Progress.INTENT or (order.status == REFUSED and order.sends > 1)
    return watch(retired, order.client_order_id) if unseen else retired


def watch(state: SymbolState, client_order_id: str) -> SymbolState:
    """Have an order that is not the working one asked for at each pass."""
    if client_order_id in state.abandoned:
        return state
    return replace(state, abandoned=(*state.abandoned, client_order_id))


def oversized(state: SymbolState) -> bool:
    """Whether the working sell is of more shares than are held any more."""
    order = state.order
    return order is not None and not order.is_buy and order.qty > state.qty


def idle_phase(state: SymbolState, at: datetime, rules: Rules) -> Phase:
    """Return the phase of a symbol that holds nothing."""
    return Phase.DONE if must_liquidate(state, at, rules) else Phase.TO_BUY


def must_liquidate(state: SymbolState, at: datetime, rules: Rules) -> bool:
    """Whether everything is to be sold at market now."""
    return state.liquidating or at >= rules.session.liquidate_at


def working(state: SymbolState) -> Order:
    """Return the working order. Raises InvariantError where there is none."""
    if state.order is None:
        raise InvariantError(f"{state.symbol}: {state.phase} without an order")
    return state.order
