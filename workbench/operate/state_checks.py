"""The doctor's last check: the broker's positions and orders agree with the state table.

The two are read one after the other while trading goes on, and the broker's own lists disagree
for some seconds; so what differs is looked at again before it is told.
"""

import time
from collections.abc import Iterable, Mapping

from scalper.core.model import SymbolState
from scalper.core.order import ClientOrderId, OrderReport, Progress
from workbench.operate.broker_checks import named
from workbench.operate.findings import Finding, fail, ok, warn
from workbench.operate.subject import Subject

SETTLE_S = 10.0
"""How long orders and positions may disagree at the broker."""


def check_halts(subject: Subject) -> Iterable[Finding]:
    """Tell what is halted, by hand or by what happened."""
    why = subject.store.account_halt()
    if why:
        yield warn("halts", f"the account is halted: {why}", "scalper resume, once that is settled")
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
            "a newer version may have written them: deploy that one",
        )


def check_positions(subject: Subject) -> Iterable[Finding]:
    """Check that the broker holds what the table says was bought."""
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
                "the next pass takes the broker's number; if it was not sold by hand, scalper halt",
            )
        elif theirs > ours > 0:
            yield warn(
                "positions",
                f"{symbol}: {ours} bought here, and the broker holds {theirs}",
                "what is more is somebody else's, and is never sold",
            )
    external = {symbol: qty for symbol, (ours, qty) in differing.items() if not ours and qty}
    blocking = set(external) & set(rows)
    if blocking:
        yield warn(
            "positions",
            f"held by somebody else: {named(blocking)}",
            "these symbols are not entered until you sell them or take them off the table",
        )
    shorts = [symbol for symbol, qty in held.items() if qty < 0]
    if shorts:
        yield fail("positions", f"short: {named(shorts)}", "buy them back at Alpaca by hand")
    if not differing and not shorts:
        ours = sum(1 for state in states.values() if _expected(state))
        yield ok("positions", f"{ours} of ours, as the table says")
    elif set(differing) == set(external) - blocking and not shorts:
        yield ok(
            "positions", f"as the table says; somebody else's are left alone: {named(external)}"
        )


def check_orders(subject: Subject) -> Iterable[Finding]:
    """Check that every open order of ours is in the table."""
    states, opened = subject.states(), subject.open_orders()
    if _strays(subject, states, opened) or _gone(states, opened):
        time.sleep(SETTLE_S)
        states, opened = subject.states.again(), subject.open_orders.again()
    strays, gone = _strays(subject, states, opened), _gone(states, opened)
    rows, _ = subject.rows()
    external = {one.symbol for one in opened if not _is_known(subject, states, one)}
    external -= {one.symbol for one in strays}
    if strays:
        yield fail(
            "open orders",
            f"of ours, and not in the table: {', '.join(one.client_order_id for one in strays)}",
            "the next tick takes them up; if they stay, cancel them at Alpaca by hand",
        )
    if gone:
        yield warn(
            "open orders",
            f"in the table, and not open at the broker: {named(gone)}",
            "the next checkup settles them: run the doctor again in a minute",
        )
    if external & set(rows):
        yield warn(
            "open orders",
            f"somebody else's on {named(external & set(rows))}",
            "these symbols are not entered until those orders are over",
        )
    if not strays and not gone and not external & set(rows):
        others = f"; somebody else's are left alone: {named(external)}" if external else ""
        yield ok("open orders", f"{len(opened)}, as the table says{others}")


def check_left_over(subject: Subject) -> Iterable[Finding]:
    """Check that nothing of an earlier session is still held or working."""
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
    """Return how many shares the broker holds by the state: its working order's fills included."""
    order = state.order
    if order is None:
        return state.qty
    return state.qty + (order.filled_qty if order.is_buy else -order.filled_qty)


def _differences(
    states: Mapping[str, SymbolState], held: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Return ours and the broker's shares of each symbol for which they differ."""
    ours = {symbol: _expected(state) for symbol, state in states.items()}
    return {
        symbol: (ours.get(symbol, 0), held.get(symbol, 0))
        for symbol in ours.keys() | held.keys()
        if ours.get(symbol, 0) != held.get(symbol, 0)
    }


def _is_known(subject: Subject, states: Mapping[str, SymbolState], report: OrderReport) -> bool:
    """Whether the order is ours by its id, or stands in the place of one of ours."""
    name = ClientOrderId.parse(report.client_order_id)
    if name is not None and name.mode == subject.settings.mode:
        return True
    order = states[report.symbol].order if report.symbol in states else None
    return order is not None and report.broker_id in (order.broker_id, order.successor)


def _strays(
    subject: Subject, states: Mapping[str, SymbolState], opened: Iterable[OrderReport]
) -> list[OrderReport]:
    """Return the open orders that are ours by their id, and that the table does not know."""
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
    """Return the symbols whose working order was seen live and is not open any more."""
    ids = {report.broker_id for report in opened}
    return [
        symbol
        for symbol, state in states.items()
        if state.order is not None
        and state.order.progress is Progress.LIVE
        and not ids & {state.order.broker_id, state.order.successor}
    ]
