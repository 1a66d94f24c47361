"""Order actions: to submit, cancel, repeat or put aside an order. Every transition uses these.

They decide only what must not be sent: one sell too many, and anything after the close.
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
"""A cancel without effect is repeated after this time."""

MAX_EXIT_ATTEMPTS = 5
"""Sells for one position before the symbol is halted. The liquidation may make more."""

MAX_LIQUIDATION_ATTEMPTS = 40
"""Sells for one position in all. The invocations between the liquidation and the close make fewer,
so that an account that is blocked for a while is flat at the close all the same."""


def submit(
    state: SymbolState,
    rules: Rules,
    purpose: Purpose,
    qty: int,
    limit: Money | None,
    at: datetime,
    reason: Reason,
) -> Step:
    """Make the order of the next generation and send it."""
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
    """Sell the shares held, but at most `at_most`: as `exit_as` says, or to liquidate at market.

    `last_trade` raises a target's limit. Without attempts left, the symbol is halted instead.
    """
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
    """Cancel the working order; at or after the close send nothing."""
    if at >= rules.session.close:
        return Step(state, (), Reason.AFTER_CLOSE)
    order = replace(working(state), cancel_at=at)
    command: Command = CancelOrder(order.client_order_id, order.broker_id)
    return Step(replace(state, order=order), (command,), reason)


def cancel_again(state: SymbolState, at: datetime, rules: Rules) -> Step:
    """Repeat a cancel without effect after `CANCEL_BACKOFF`: pending_cancel may last for hours."""
    order = working(state)
    if order.progress is Progress.INTENT or order.cancel_at is None:
        return Step(state, (), Reason.STILL_WORKING)
    if at - order.cancel_at < CANCEL_BACKOFF:
        return Step(state, (), Reason.AWAITING_CONFIRMATION)
    return cancel(state, at, rules, Reason.CANCEL_AGAIN)


def retire(state: SymbolState, order: Order) -> SymbolState:
    """Put the working order aside, and keep its filled quantity, for corrections to compare with.

    An order that the broker never reported may still land, and so may the first send of one whose
    repeated send was refused. Both are watched.
    """
    retired = replace(state, order=None, settled=(*state.settled, order.filled_qty))
    unseen = order.progress is Progress.INTENT or (order.status == REFUSED and order.sends > 1)
    return watch(retired, order.client_order_id) if unseen else retired


def watch(state: SymbolState, client_order_id: str) -> SymbolState:
    """Watch an order: every invocation asks for it until the day ends, though it does not work."""
    if client_order_id in state.abandoned:
        return state
    return replace(state, abandoned=(*state.abandoned, client_order_id))


def sells_more_than_held(state: SymbolState) -> bool:
    """Return whether the working sell is for more shares than are still held."""
    order = state.order
    return order is not None and not order.is_buy and order.qty > state.qty


def idle_phase(state: SymbolState, at: datetime, rules: Rules) -> Phase:
    """Return the phase of a symbol that holds no shares."""
    return Phase.DONE if must_liquidate(state, at, rules) else Phase.TO_BUY


def must_liquidate(state: SymbolState, at: datetime, rules: Rules) -> bool:
    """Return whether all shares are to be sold at market now."""
    return state.liquidating or at >= rules.session.liquidate_at


def working(state: SymbolState) -> Order:
    """Return the working order. Raises InvariantError if there is none."""
    if state.order is None:
        raise InvariantError(f"{state.symbol}: {state.phase} without an order")
    return state.order
