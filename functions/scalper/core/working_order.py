"""Reports of the symbol's working order: only a report that closes it ends its phase.

The broker's answers to requests and its events come here. A request that finds no such order comes
here too: the order may still be on its way, so that a single 404 decides nothing.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from scalper.core.limits import Facts, standing
from scalper.core.model import OrderSeen, Phase, Reason, Rules, Step, SubmitOrder, SymbolState
from scalper.core.order import (
    ABSENT,
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
    cancel,
    idle_phase,
    must_liquidate,
    retire,
    sell,
    sells_more_than_held,
)
from scalper.core.positions import book_sale

RESEND_WITHIN = timedelta(seconds=60)
"""A buy that the broker does not know is sent again until its decision is this old."""

ABANDON_AFTER = timedelta(seconds=120)
"""An order that the broker does not know is given up after this, at the earliest."""

ABSENCES_TO_ABANDON = 2
"""It takes so many "not found" answers to give an order up."""

COOL_DOWN = timedelta(minutes=5)
"""After a refused buy the symbol enters nothing for this time."""


def on_working_order(state: SymbolState, order: Order, event: OrderSeen, rules: Rules) -> Step:
    """Join a report of the working order, and go on once the order is closed."""
    report = event.report
    if report.status == ABSENT:
        return _on_absence(state, event, rules, join(order, report, event.at))
    if order.successor and report.broker_id not in ("", order.successor):
        # This report is of the replaced order, whose fills were carried over to the successor.
        return Step(state, (), Reason.NOTHING_NEW)
    if not report.confirmed and report.broker_id not in ("", order.broker_id or report.broker_id):
        # An event of another account, whose orders have the same client ids.
        return Step(state, (), Reason.UNKNOWN_ORDER)
    if report.status == REFUSED and order.progress is not Progress.INTENT:
        return Step(state, (), Reason.STILL_WORKING)
    if report.status == REFUSED and order.sends > 1:
        # An earlier send may still land. Only further 404s show that none did.
        doubted = replace(order, status=REFUSED, absences=0)
        return Step(replace(state, order=doubted), (), Reason.AWAITING_ANSWER)
    joined, halt = _joined(order, event, state.halt)
    changed = joined != order or halt != state.halt
    seen = replace(state, order=joined, halt=halt) if changed else state
    if joined.is_closed:
        return _on_closed(seen, joined, event, rules)
    return _still_working(state, seen, joined, event.at, rules)


def _joined(order: Order, event: OrderSeen, halt: Reason | None) -> tuple[Order, Reason | None]:
    """Return the order with the report joined in, and the symbol's halt after it."""
    report = event.report
    joined = join(order, report, event.at)
    if is_correction(order, report):
        halt = Reason.CORRECTED_FILL
        if joined.is_closed:
            # No further report will come: of the two quantities the newer one is what is held.
            filled_qty, filled_value = fills(joined, report)
            joined = replace(joined, filled_qty=filled_qty, filled_value=filled_value)
    if report.status == "replaced":
        halt = Reason.REPLACED_ORDER
        if report.replaced_by and report.confirmed and joined.filled_qty < joined.qty:
            joined = follow(joined, report.replaced_by)
    return joined, halt


def _still_working(
    before: SymbolState, seen: SymbolState, order: Order, at: datetime, rules: Rules
) -> Step:
    if order.needs_confirmation:
        return Step(seen, (), Reason.AWAITING_CONFIRMATION)
    if order.cancel_at is None and order.limit is not None and seen.liquidating:
        # The liquidation met an intent, which cannot be canceled. Now the order can.
        return cancel(seen, at, rules, Reason.LIQUIDATING)
    if order.cancel_at is None and sells_more_than_held(seen):
        # A correction took shares away while the sell was an intent: sell only what is held.
        return cancel(seen, at, rules, seen.halt or Reason.LATE_ORDER)
    if order.successor and (before.order is None or before.order.successor != order.successor):
        return Step(seen, (), Reason.REPLACED_ORDER)
    if seen == before:
        return Step(seen, (), Reason.NOTHING_NEW)
    return Step(seen, (), Reason.PARTLY_FILLED if order.filled_qty else Reason.STILL_WORKING)


# --- the order is closed ---------------------------------------------------------------------


def _on_closed(state: SymbolState, order: Order, event: OrderSeen, rules: Rules) -> Step:
    on_closed = _on_buy_closed if order.is_buy else _on_sell_closed
    return on_closed(retire(state, order), order, event, rules)


def _on_buy_closed(state: SymbolState, order: Order, event: OrderSeen, rules: Rules) -> Step:
    """Sell what was bought; without shares the symbol is idle again."""
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


def _on_sell_closed(state: SymbolState, order: Order, event: OrderSeen, rules: Rules) -> Step:
    """Book the sale; sell what is left, at once if this system canceled the order."""
    left = book_sale(
        state,
        qty=order.filled_qty,
        order_qty=order.filled_qty,
        order_value=order.filled_value,
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
        # Somebody else canceled it, and may have sold the shares. The bail-out waits in TO_SELL
        # until the broker's position is known.
        return Step(held, (), Reason.EXIT_ENDED_UNFILLED)
    return sell(held, event.at, rules, None, Reason.EXIT_ENDED_UNFILLED)


# --- the order is in doubt -------------------------------------------------------------------


def _on_absence(state: SymbolState, event: OrderSeen, rules: Rules, order: Order) -> Step:
    """Decide what a 404 means: send again, give up, or wait. A single one never means "no"."""
    seen = replace(state, order=order)
    if order.progress is not Progress.INTENT:
        return Step(seen, (), Reason.STILL_WORKING)
    if event.at >= rules.session.close:
        return _close_unanswered(seen, order)
    if order.status == REFUSED:
        return _on_absence_after_refusal(seen, order, event, rules)
    if _wants_resend(state, order, event, rules):
        again = replace(order, sends=order.sends + 1)
        return Step(replace(seen, order=again), (SubmitOrder(again),), Reason.RESENT)
    age = event.at - order.submitted_at
    # The other open order may be this buy under another client id. A sell may be given up all the
    # same: the engine asks for given-up sells before it sells more.
    may_be_open = event.other_order_open and order.is_buy
    if age >= ABANDON_AFTER and order.absences >= ABSENCES_TO_ABANDON and not may_be_open:
        phase = Phase.TO_SELL if state.qty else idle_phase(seen, event.at, rules)
        return Step(replace(retire(seen, order), phase=phase), (), Reason.ABANDONED)
    return Step(seen, (), Reason.AWAITING_ANSWER)


def _wants_resend(state: SymbolState, order: Order, event: OrderSeen, rules: Rules) -> bool:
    """Return whether an order that the broker does not know is to be sent again, unchanged."""
    liquidating = must_liquidate(state, event.at, rules)
    if order.is_buy:
        fresh = event.at - order.submitted_at < RESEND_WITHIN and not liquidating
        allowed = standing(Facts(state=state, rules=rules, at=event.at)) is None
        return fresh and allowed and not event.other_order_open
    # A liquidation that worked without the state table may have sold these shares meanwhile.
    made_before = liquidating and order.purpose is not Purpose.LIQUIDATION
    return not made_before and not sells_more_than_held(state)


def _on_absence_after_refusal(
    state: SymbolState, order: Order, event: OrderSeen, rules: Rules
) -> Step:
    """Believe the refusal of a repeated send once no earlier send has landed either."""
    if order.absences < ABSENCES_TO_ABANDON:
        return Step(state, (), Reason.AWAITING_ANSWER)
    refused = join(order, replace(event.report, status=REFUSED), event.at)
    return _on_closed(state, refused, event, rules)


def _close_unanswered(state: SymbolState, order: Order) -> Step:
    """Give up an order that never showed until the close: a day order can land no more."""
    phase = Phase.TO_SELL if state.qty else Phase.DONE
    return Step(replace(retire(state, order), phase=phase), (), Reason.ABANDONED)
