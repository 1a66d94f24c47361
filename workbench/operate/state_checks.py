"""The doctor's comparison of the broker's positions and orders with the state table.

Table and broker are read one after the other while trading goes on, and the broker's own lists may
disagree for some seconds. So a check that finds a difference waits and reads again.
"""

import time
from collections.abc import Iterable, Mapping

from scalper.core.model import SymbolState
from scalper.core.order import ClientOrderId, OrderReport, Progress
from workbench.operate.broker_checks import named
from workbench.operate.findings import Finding, fail, ok, warn
from workbench.operate.subject import Subject

SETTLE_S = 10.0
"""Orders and positions at the broker may disagree for so long."""


def check_halts(subject: Subject) -> Iterable[Finding]:
    """Report halts of the account and of symbols, and states that cannot be read."""
    why = subject.store.account_halt()
    if why:
        yield warn(
            "halts", f"the account is halted: {why}", "scalper resume, once the reason is gone"
        )
    states = subject.states()
    halted = {symbol: state.halt for symbol, state in states.items() if state.halt is not None}
    for symbol, reason in sorted(halted.items()):
        yield warn(
            "halts",
            f"{symbol} is halted for the day: {reason}",
            "docs/runbook.md, halted symbols; its exits go on",
        )
    if not why and not halted:
        yield ok("halts", "nothing is halted")
    stored = {str(item["sk"]["S"]).partition("#")[2] for item in _items(subject)}
    unread = stored - set(states)
    if unread:
        yield fail(
            "state table",
            f"cannot be read: {named(unread)}",
            "a newer version may have written them: deploy that version",
        )


def check_positions(subject: Subject) -> Iterable[Finding]:
    """Check that the broker holds the shares that the table says were bought."""
    states, held = subject.states(), subject.positions()
    if states.keys() & _differences(states, held).keys():
        time.sleep(SETTLE_S)
        states, held = subject.states.again(), subject.positions.again()
    differing = _differences(states, held)
    rows, _ = subject.rows()
    for symbol, (ours, theirs) in sorted(differing.items()):
        if theirs < ours:
            yield fail(
                "positions",
                f"{symbol}: {ours} bought here, and the broker holds {theirs}",
                "the next tick uses the broker's number; if nobody sold by hand, scalper halt",
            )
        elif theirs > ours > 0:
            yield warn(
                "positions",
                f"{symbol}: {ours} bought here, and the broker holds {theirs}",
                "the other shares are external, and are never sold",
            )
    external = {symbol: qty for symbol, (ours, qty) in differing.items() if not ours and qty}
    blocking = set(external) & set(rows)
    if blocking:
        yield warn(
            "positions",
            f"external, in symbols of the table: {named(blocking)}",
            "these symbols are not entered until you sell them or take them off the table",
        )
    shorts = [symbol for symbol, qty in held.items() if qty < 0]
    if shorts:
        yield fail("positions", f"short: {named(shorts)}", "buy them back at Alpaca by hand")
    if not differing and not shorts:
        ours = sum(1 for state in states.values() if _expected(state))
        yield ok("positions", f"{ours} of ours, as in the table")
    elif set(differing) == set(external) - blocking and not shorts:
        yield ok("positions", f"as in the table; external ones are left alone: {named(external)}")


def check_orders(subject: Subject) -> Iterable[Finding]:
    """Check that every open order of ours is in the table."""
    states, opened = subject.states(), subject.open_orders()
    if _unrecorded(subject, states, opened) or _gone(states, opened):
        time.sleep(SETTLE_S)
        states, opened = subject.states.again(), subject.open_orders.again()
    unrecorded, gone = _unrecorded(subject, states, opened), _gone(states, opened)
    rows, _ = subject.rows()
    external = {one.symbol for one in opened if not _is_known(subject, states, one)}
    external -= {one.symbol for one in unrecorded}
    if unrecorded:
        yield fail(
            "open orders",
            f"ours, and not in the table: {', '.join(one.client_order_id for one in unrecorded)}",
            "the next tick records them; if they stay, cancel them at Alpaca by hand",
        )
    if gone:
        yield warn(
            "open orders",
            f"in the table, and not open at the broker: {named(gone)}",
            "the next checkup reconciles them: run the doctor again in a minute",
        )
    if external & set(rows):
        yield warn(
            "open orders",
            f"external, in symbols of the table: {named(external & set(rows))}",
            "these symbols are not entered until those orders are closed",
        )
    if not unrecorded and not gone and not external & set(rows):
        others = f"; external ones are left alone: {named(external)}" if external else ""
        yield ok("open orders", f"{len(opened)}, as in the table{others}")


def check_left_over(subject: Subject) -> Iterable[Finding]:
    """Check that no shares and no orders of an earlier session are left."""
    today = subject.trading_day()
    left = [s for s, one in subject.states().items() if one.session < today and not one.is_flat]
    if left:
        yield fail(
            "left over",
            f"not flat since an earlier session: {named(left)}",
            "docs/runbook.md, not flat",
        )
    else:
        yield ok("left over", "nothing of an earlier session")


def _items(subject: Subject) -> list[dict[str, dict[str, str]]]:
    return subject.items(f"state#{subject.settings.mode}")


def _expected(state: SymbolState) -> int:
    """Return the shares that the broker should hold: the state's, and the working order's fills."""
    order = state.order
    if order is None:
        return state.qty
    return state.qty + (order.filled_qty if order.is_buy else -order.filled_qty)


def _differences(
    states: Mapping[str, SymbolState], held: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Return our shares and the broker's, for each symbol in which they differ."""
    ours = {symbol: _expected(state) for symbol, state in states.items()}
    return {
        symbol: (ours.get(symbol, 0), held.get(symbol, 0))
        for symbol in ours.keys() | held.keys()
        if ours.get(symbol, 0) != held.get(symbol, 0)
    }


def _is_known(subject: Subject, states: Mapping[str, SymbolState], report: OrderReport) -> bool:
    """Return whether the order is ours by its id, or the successor of one of ours."""
    name = ClientOrderId.parse(report.client_order_id)
    if name is not None and name.mode == subject.settings.mode:
        return True
    order = states[report.symbol].order if report.symbol in states else None
    return order is not None and report.broker_id in (order.broker_id, order.successor)


def _unrecorded(
    subject: Subject, states: Mapping[str, SymbolState], opened: Iterable[OrderReport]
) -> list[OrderReport]:
    """Return the open orders that are ours by their id and that the table does not have."""
    found = []
    for report in opened:
        name = ClientOrderId.parse(report.client_order_id)
        if name is None or name.mode != subject.settings.mode:
            continue
        state = states.get(name.symbol)
        order = state.order if state else None
        watched = state.abandoned if state else ()
        if report.client_order_id not in watched and (
            order is None or order.client_order_id != report.client_order_id
        ):
            found.append(report)
    return found


def _gone(states: Mapping[str, SymbolState], opened: Iterable[OrderReport]) -> list[str]:
    """Return the symbols whose working order is live in the table and not open at the broker."""
    ids = {report.broker_id for report in opened}
    return [
        symbol
        for symbol, state in states.items()
        if state.order is not None
        and state.order.progress is Progress.LIVE
        and not ids & {state.order.broker_id, state.order.successor}
    ]
