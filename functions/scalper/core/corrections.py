"""Corrections: reports of orders that are closed, or that the state never knew.

The quantities of an order count whenever a report of them comes: more fills than were settled,
fewer fills (a bust), or fills of an order that should not exist. Each of these halts the symbol.
An order that is still live is canceled, and the shares held are put right.
"""

from dataclasses import replace

from scalper.core.model import CancelOrder, OrderSeen, Phase, Reason, Rules, Step, SymbolState
from scalper.core.order import (
    ABSENT,
    REFUSED,
    ClientOrderId,
    OrderReport,
    Progress,
    Purpose,
    progress_of,
)
from scalper.core.order_actions import cancel, idle_phase, sell, sells_more_than_held, watch
from scalper.core.positions import book_sale, remove_shares


def on_other_order(state: SymbolState, event: OrderSeen, rules: Rules) -> Step:
    """Take up a report of an order that is not the working one, if this system made the order."""
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
    if made.generation > state.generation:
        return _on_unknown_generation(state, made, event, rules)
    if made.generation > len(state.settled):
        return Step(state, (), Reason.UNKNOWN_ORDER)
    more = report.filled_qty - state.settled[made.generation - 1]
    closed = event.at >= rules.session.close
    if progress_of(report.status) is Progress.LIVE and (more <= 0 or not closed):
        return _on_live(state, more, event, closed)
    if more < 0 and report.status != "replaced" and not report.confirmed:
        return Step(state, (), Reason.AWAITING_CONFIRMATION)
    # A replaced order was settled together with its successor, whose fills its own reports lack.
    if more == 0 or (more < 0 and report.status == "replaced"):
        return Step(state, (), Reason.NOTHING_NEW)
    why = Reason.LATE_ORDER if more > 0 else Reason.CORRECTED_FILL
    return _correct(_halted(state, report, why), made, event, rules, why)


def _on_live(state: SymbolState, more: int, event: OrderSeen, closed: bool) -> Step:
    """Cancel an order that was closed and is live; its fills count once it is closed again.

    A report without further fills may be older than the order's end, and is no reason to halt.
    Only the answer to a request is believed then. A cancel of a filled order has no effect.
    """
    report = event.report
    cancels = () if closed else (CancelOrder(report.client_order_id, report.broker_id),)
    if more > 0 or (more == 0 and report.client_order_id in state.abandoned):
        return Step(_halted(state, report, Reason.LATE_ORDER), cancels, Reason.LATE_ORDER)
    if report.confirmed and not closed:
        return Step(state, cancels, Reason.LATE_ORDER)
    return Step(state, (), Reason.AWAITING_CONFIRMATION if more < 0 else Reason.NOTHING_NEW)


def _halted(state: SymbolState, report: OrderReport, why: Reason) -> SymbolState:
    return watch(replace(state, halt=why), report.client_order_id)


def _on_unknown_generation(
    state: SymbolState, made: ClientOrderId, event: OrderSeen, rules: Rules
) -> Step:
    """Halt over an order of ours that the state does not know: the table was set back, say.

    A live order is canceled. Its fills count as soon as no other order works.
    """
    report, generation = event.report, made.generation
    halted = _halted(state, report, Reason.UNKNOWN_ORDER)
    if progress_of(report.status) is Progress.LIVE and event.at < rules.session.close:
        cancels = (CancelOrder(report.client_order_id, report.broker_id),)
        return Step(_with_generation(halted, generation), cancels, Reason.UNKNOWN_ORDER)
    if state.order is not None or report.filled_qty == 0:
        return Step(_with_generation(halted, generation), (), Reason.UNKNOWN_ORDER)
    return _correct(_with_generation(halted, generation), made, event, rules, Reason.UNKNOWN_ORDER)


def _with_generation(state: SymbolState, generation: int) -> SymbolState:
    """Return the state with all generations up to this one made, the missing ones unfilled.

    While an order works, the newest generation is its own and stays.
    """
    if state.order is not None:
        return state
    unknown = generation - len(state.settled)
    return replace(state, generation=generation, settled=(*state.settled, *(0,) * unknown))


def _correct(
    state: SymbolState, made: ClientOrderId, event: OrderSeen, rules: Rules, why: Reason
) -> Step:
    """Settle the order at the broker's quantity, and book the difference to the settled one."""
    filled_qty = event.report.filled_qty
    known = state.settled[made.generation - 1]
    is_entry = made.purpose is Purpose.ENTRY
    more = filled_qty - known
    if state.phase is Phase.BUY_SUBMITTED and is_entry == (more > 0):
        # A working buy holds no shares yet. These are booked once it is closed: the order's id
        # is watched until then.
        return Step(state, (), why)
    # The order sold more than is held: a buy that is watched may have bought the rest. That part
    # stays unsettled until the broker reports the buy.
    unsettled = 0
    if not is_entry and _watches(state, entries=True):
        unsettled = max(more - state.qty, 0)
    if unsettled and unsettled == more:
        return Step(state, (), why)
    settled = list(state.settled)
    settled[made.generation - 1] = filled_qty - unsettled
    booked = _booked(replace(state, settled=tuple(settled)), event, known, is_entry=is_entry)
    if booked.order is not None:
        live = booked.order.progress is Progress.LIVE
        if sells_more_than_held(booked) and live and booked.order.cancel_at is None:
            return cancel(booked, event.at, rules, why)
        return Step(booked, (), why)
    if booked.qty == 0:
        if state.qty == 0:
            return Step(booked, (), why)
        idle = replace(booked, phase=idle_phase(booked, event.at, rules), entered_at=None)
        return Step(idle, (), why)
    rests = replace(booked, phase=Phase.TO_SELL)
    if state.qty == 0 and is_entry and not _watches(state, entries=False):
        return sell(rests, event.at, rules, event.last_trade, why)
    return Step(rests, (), why)


def _watches(state: SymbolState, *, entries: bool) -> bool:
    """Return whether a buy (`entries`), or a sell, is watched that may still fill.

    A watched sell may already have sold the shares of a buy whose fill is reported only now.
    """
    watched = (ClientOrderId.parse(client_order_id) for client_order_id in state.abandoned)
    return any(made is not None and (made.purpose is Purpose.ENTRY) == entries for made in watched)


def _booked(state: SymbolState, event: OrderSeen, known: int, *, is_entry: bool) -> SymbolState:
    """Return the state with an order booked that filled another quantity than the `known` one."""
    report = event.report
    more = report.filled_qty - known
    undone = report.filled_qty == 0
    if is_entry:
        counted = replace(state, entries=state.entries + (known == 0) - undone)
        return _add_shares(counted, more, event) if more > 0 else remove_shares(counted, -more)
    if more < 0:
        counted = replace(state, trades=max(state.trades - undone, 0))
        return _add_shares(counted, -more, event)
    return book_sale(
        state,
        qty=more,
        order_qty=report.filled_qty,
        order_value=report.filled_value,
        is_new_trade=known == 0,
    )


def _add_shares(state: SymbolState, shares: int, event: OrderSeen) -> SymbolState:
    """Hold shares of a late buy, or of a sale that was taken back; a bail-out is to sell them."""
    report = event.report
    if report.filled_qty:
        value = report.filled_value * shares // report.filled_qty
    else:
        # The whole sale was taken back, and no report tells any more what it had brought.
        value = (report.limit or event.last_trade or 0) * shares
    # A position that was read earlier lacks these shares. It is not believed for POSITION_LAG.
    held = replace(
        state,
        qty=state.qty + shares,
        cost=state.cost + value,
        entered_at=max(event.at, report.updated_at or event.at),
    )
    if state.is_flat:
        return replace(held, exit_as=Purpose.BAILOUT, exit_attempts=0)
    as_before = state.exit_as is not Purpose.TARGET
    return replace(held, exit_as=state.exit_as if as_before else Purpose.BAILOUT)
