"""Which of the broker's orders are ours, and what the broker says of them.

An order is asked for by its client id. If the broker replaced it, its successors are asked for
instead, and what they say counts under the client id that the state knows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeGuard

from scalper.core.machine import POSITION_LAG
from scalper.core.model import (
    CheckupDue,
    Event,
    LiquidationDue,
    OrderSeen,
    Phase,
    Rules,
    SymbolState,
)
from scalper.core.order import (
    ABSENT,
    ClientOrderId,
    OrderReport,
    Progress,
    Purpose,
    progress_of,
)
from scalper.core.session import Session, new_york_day
from scalper.shell.ports import NOTHING, Broker, Position

MAX_SUCCESSORS = 5
"""Successors of one order that are followed at once."""


def day_start(at: datetime) -> datetime:
    """Return the start of the New York day of `at`: the day's orders were submitted after it."""
    return Session.of(new_york_day(at), "00:00", "23:59").open


def own_reports(reports: Iterable[OrderReport], mode: str) -> dict[str, list[OrderReport]]:
    """Return the reports of orders that this system made, by symbol.

    A replaced order is reported together with its successor, if that is among the reports.
    """
    reports = list(reports)
    by_id = {report.broker_id: report for report in reports}
    own: dict[str, list[OrderReport]] = {}
    for report in reports:
        name = ClientOrderId.parse(report.client_order_id)
        if name is not None and name.mode == mode:
            own.setdefault(name.symbol, []).append(with_successors(report, by_id))
    return own


def recently_traded(reports: Iterable[OrderReport], since: datetime) -> set[str]:
    """Return the symbols in which a sell, or an external buy, filled after `since`.

    A successor counts as ours if the order that it replaced is ours. `reports`: oldest first.
    """
    traded: set[str] = set()
    in_place_of_buys: set[str] = set()
    for report in reports:
        name = ClientOrderId.parse(report.client_order_id)
        buys = name is not None and name.purpose is Purpose.ENTRY
        if buys or report.broker_id in in_place_of_buys:
            in_place_of_buys.add(report.replaced_by)
        elif report.filled_qty and (report.updated_at is None or report.updated_at > since):
            traded.add(report.symbol)
    return traded


def with_successors(report: OrderReport, by_id: Mapping[str, OrderReport]) -> OrderReport:
    """Return a replaced order and its successors, as far as `by_id` has them, as one report."""
    newest, qty, value = report, 0, 0
    for _ in range(len(by_id)):
        successor = by_id.get(newest.replaced_by) if newest.status == "replaced" else None
        if successor is None:
            break
        qty, value = qty + newest.filled_qty, value + newest.filled_value
        newest = successor
    if newest is report:
        return report
    return replace(
        newest,
        client_order_id=report.client_order_id,
        submitted_at=report.submitted_at,
        qty=qty + newest.qty,
        filled_qty=qty + newest.filled_qty,
        filled_value=value + newest.filled_value,
        carried=(qty, value),
    )


def find(broker: Broker, state: SymbolState, client_order_id: str) -> OrderReport:
    """Ask for an order; if the broker replaced it, ask for its successor instead.

    Raises BrokerError.
    """
    order = state.order
    if order is not None and order.successor and _is_working(state, client_order_id):
        report = next(_successors(broker, order.successor), None)
    else:
        report = broker.find(client_order_id)
    if report is None:
        return OrderReport(client_order_id=client_order_id, status=ABSENT, confirmed=True)
    if report.status == "replaced" and not _is_working(state, client_order_id):
        # A closed order: its successors say what became of it.
        chain = {one.broker_id: one for one in _successors(broker, report.replaced_by)}
        report = with_successors(report, {report.broker_id: report} | chain)
    return replace(report, client_order_id=client_order_id)


def _successors(broker: Broker, broker_id: str) -> Iterator[OrderReport]:
    """Ask for an order by the broker's id, and then for its successors."""
    for _ in range(MAX_SUCCESSORS):
        report = broker.find_by_id(broker_id) if broker_id else None
        if report is None:
            return
        yield report
        broker_id = report.replaced_by if report.status == "replaced" else ""


def listed_or_found(
    broker: Broker, state: SymbolState, client_order_id: str, listed: Iterable[OrderReport]
) -> OrderReport:
    """Return the report of an order: its successor's in the list, or else the broker's answer."""
    for report in listed:
        if _succeeds(state, report) and _is_working(state, client_order_id):
            return replace(report, client_order_id=client_order_id)
    return find(broker, state, client_order_id)


def unrecorded_reports(
    broker: Broker,
    state: SymbolState,
    event: CheckupDue | LiquidationDue,
    rules: Rules,
    orders: Sequence[OrderReport] | None = None,
) -> list[OrderSeen]:
    """Return reports of own orders that may have sold the shares that are about to be sold.

    These are the watched orders. They are the unrecorded orders, too, if the broker holds less
    than the state says, or if a liquidation may have run without the table: this system may have
    sold the shares itself. `orders` are the day's, if they were listed after the state was read.
    Raises BrokerError.
    """
    ids = list(state.abandoned)
    if _may_be_behind(state, event, rules):
        if orders is None:
            orders = broker.orders_since(day_start(rules.session.open))
        of_symbol = [one for one in orders if one.symbol == state.symbol]
        own = own_reports(of_symbol, rules.mode).get(state.symbol, [])
        ids += [one.client_order_id for one in own if is_unrecorded(state, one)]
    found = [find(broker, state, client_order_id) for client_order_id in dict.fromkeys(ids)]
    return [
        OrderSeen(symbol=state.symbol, at=event.at, report=report)
        for report in found
        if report.status != ABSENT
    ]


def confirmed_positions(
    symbols: Iterable[str],
    positions: Mapping[str, Position] | None,
    orders: Iterable[OrderReport] | None,
    at: datetime,
) -> dict[str, Position]:
    """Return the broker's positions of the symbols, without those that may be out of date.

    Positions lag behind orders by some seconds. They may still show sold shares, and to sell these
    again would be a short sale. So a symbol that traded just now is left out. `orders` are the
    day's, listed after the positions. If either is None, nothing is confirmed.
    """
    if positions is None or orders is None:
        return {}
    traded = recently_traded(orders, at - POSITION_LAG)
    return {symbol: positions.get(symbol, NOTHING) for symbol in symbols if symbol not in traded}


def checkup_due(symbol: str, at: datetime, position: Position | None) -> CheckupDue:
    """Return the checkup of a symbol with its position; None if the position is not known."""
    if position is None:
        return CheckupDue(symbol=symbol, at=at)
    return CheckupDue(symbol=symbol, at=at, position=position.qty, free=position.free)


def may_already_be_sold(
    event: Event, state: SymbolState, rules: Rules
) -> TypeGuard[CheckupDue | LiquidationDue]:
    """Return whether the event may sell shares that a closed order of ours may have sold."""
    if not isinstance(event, CheckupDue | LiquidationDue) or state.phase is not Phase.TO_SELL:
        return False
    return bool(state.abandoned) or _may_be_behind(state, event, rules)


def _may_be_behind(state: SymbolState, event: CheckupDue | LiquidationDue, rules: Rules) -> bool:
    """Return whether unrecorded orders of ours may have sold shares.

    From the liquidation's time on, a position is no proof against it: a liquidation without the
    table may have sold our shares, and the owner may hold as many.
    """
    lacks = event.position is not None and event.position < state.qty
    return lacks or event.at >= rules.session.liquidate_at


def is_asked_for(state: SymbolState, client_order_id: str) -> bool:
    """Return whether the order works or is watched, so that each invocation asks for it."""
    return _is_working(state, client_order_id) or client_order_id in state.abandoned


def is_unrecorded(state: SymbolState, report: OrderReport) -> bool:
    """Return whether a report says something of a closed order that the state does not."""
    name = ClientOrderId.parse(report.client_order_id)
    if name is None or (name.symbol, name.day) != (state.symbol, state.session):
        return False
    if name.generation > len(state.settled) or progress_of(report.status) is Progress.LIVE:
        return True
    more = report.filled_qty - state.settled[name.generation - 1]
    return more > 0 or (more < 0 and report.status != "replaced")


def _is_working(state: SymbolState, client_order_id: str) -> bool:
    return state.order is not None and state.order.client_order_id == client_order_id


def _succeeds(state: SymbolState, report: OrderReport) -> bool:
    """Return whether the report is of the working order's successor."""
    order = state.order
    return order is not None and order.successor != "" and order.successor == report.broker_id
