"""Late news: what the broker says of orders that are over, or that the state never knew.

An order's numbers count whenever they are heard: more fills than were settled, fewer ones (a bust
or a correction), or an order that should not be there at all. Each halts the symbol; an order that
still lives is canceled, and what is held is put right.
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
from scalper.core.order_actions import cancel, idle_phase, oversized, sell, watch


def on_other_order(state: SymbolState, event: OrderSeen, rules: Rules) -> Step:
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
    if made.generation > state.generation:
        return _on_unknown_number(state, made, event, rules)
    if made.generation > len(state.settled):
        return Step(state, (), Reason.UNKNOWN_ORDER)
    more = report.filled_qty - state.settled[made.generation - 1]
    closed = event.at >= rules.session.close
    if progress_of(report.status) is Progress.LIVE and (more <= 0 or not closed):
        return _on_live(state, more, event, closed)
    if more < 0 and report.status != "replaced" and not report.confirmed:
        return Step(state, (), Reason.AWAITING_CONFIRMATION)
    # What filled in a replaced order's successor was settled with it and is in no report of it.
    if more == 0 or (more < 0 and report.status == "replaced"):
        return Step(state, (), Reason.NOTHING_NEW)
    why = Reason.LATE_ORDER if more > 0 else Reason.CORRECTED_FILL
    return _count(_halted(state, report, why), made, event, rules, why)


def _on_live(state: SymbolState, more: int, event: OrderSeen, closed: bool) -> Step:
    """Cancel an order that was over and lives; its fills count when it is over again.

    One without news may be an answer that lags behind, and is no reason to halt: only a request's
    answer is believed, and once the order is filled its cancel has no effect.
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


def _on_unknown_number(
    state: SymbolState, made: ClientOrderId, event: OrderSeen, rules: Rules
) -> Step:
    """Halt over an order of ours that the state does not know: the table was set back, say.

    It is canceled where it lives, and taken up as late news once no other order works.
    """
    report, number = event.report, made.generation
    halted = _halted(state, report, Reason.UNKNOWN_ORDER)
    if progress_of(report.status) is Progress.LIVE and event.at < rules.session.close:
        cancels = (CancelOrder(report.client_order_id, report.broker_id),)
        return Step(_numbered(halted, number), cancels, Reason.UNKNOWN_ORDER)
    if state.order is not None or report.filled_qty == 0:
        return Step(_numbered(halted, number), (), Reason.UNKNOWN_ORDER)
    return _count(_numbered(halted, number), made, event, rules, Reason.UNKNOWN_ORDER)


def _numbered(state: SymbolState, generation: int) -> SymbolState:
    """Return the state with the numbers up to `generation` given, unfilled as far as is known.

    While an order works, the newest number is its own.
    """
    if state.order is not None:
        return state
    unknown = generation - len(state.settled)
    return replace(state, generation=generation, settled=(*state.settled, *(0,) * unknown))


def _count(
    state: SymbolState, made: ClientOrderId, event: OrderSeen, rules: Rules, why: Reason
) -> Step:
    """Settle the order at the broker's number, and put right what is held by the difference."""
    report = event.report
    known = state.settled[made.generation - 1]
    is_entry = made.purpose is Purpose.ENTRY
    more = report.filled_qty - known
    shares = more if is_entry else -more
    if state.phase is Phase.BUY_SUBMITTED and shares > 0:
        # A buy holds nothing yet: the shares are taken up when it is over, its id being watched.
        return Step(state, (), why)
    settled = list(state.settled)
    # What it sold beyond what is held waits for the news of a buy, where one may still come.
    waits = not is_entry and _watches(state, entries=True)
    ahead = max(more - state.qty, 0) if waits else 0
    if ahead and ahead == more:
        return Step(state, (), why)
    settled[made.generation - 1] = report.filled_qty - ahead
    filled, undone = known == 0, report.filled_qty == 0
    before = replace(state, settled=tuple(settled))
    if is_entry:
        before = replace(before, entries=state.entries + filled - undone)
    elif undone or state.qty:
        before = replace(before, trades=max(state.trades + filled - undone, 0))
    after = _add(before, shares, event) if shares > 0 else _take(before, -shares, report, is_entry)
    if after.order is not None:
        live = after.order.progress is Progress.LIVE
        if oversized(after) and live and after.order.cancel_at is None:
            return cancel(after, event.at, rules, why)
        return Step(after, (), why)
    if after.qty == 0:
        if state.qty == 0:
            return Step(after, (), why)
        idle = replace(after, phase=idle_phase(after, event.at, rules), entered_at=None)
        return Step(idle, (), why)
    rests = replace(after, phase=Phase.TO_SELL)
    if state.qty == 0 and is_entry and not _watches(state, entries=False):
        return sell(rests, event.at, rules, event.last_trade, why)
    return Step(rests, (), why)


def _watches(state: SymbolState, *, entries: bool) -> bool:
    """Whether a buy, or a sell, is put aside of which there may be news.

    A sell may have sold already what is heard to be bought only now.
    """
    watched = (ClientOrderId.parse(client_order_id) for client_order_id in state.abandoned)
    return any(made is not None and (made.purpose is Purpose.ENTRY) == entries for made in watched)


def _add(state: SymbolState, shares: int, event: OrderSeen) -> SymbolState:
    """Hold shares that were bought late, or whose sale was taken back; they are bailed out."""
    report = event.report
    if report.filled_qty:
        value = report.filled_value * shares // report.filled_qty
    else:
        # All of a sale was taken back, and what it had brought is in no report any more.
        value = (report.limit or event.last_trade or 0) * shares
    # A position that was read before does not show them, and is not believed for a while.
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


def _take(state: SymbolState, shares: int, report: OrderReport, is_entry: bool) -> SymbolState:
    """Give up shares that were sold late, or whose purchase was taken back; never below none."""
    gone = min(shares, state.qty)
    if gone == 0:
        return state
    cost = state.cost * gone // state.qty
    left = replace(state, qty=state.qty - gone, cost=state.cost - cost)
    if is_entry:
        return left
    value = report.filled_value * gone // report.filled_qty
    return replace(left, pnl=state.pnl + value - cost)
