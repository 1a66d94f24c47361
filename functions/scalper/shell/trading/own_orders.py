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
"""Replacements of one order that are followed at once."""


def day_start(at: datetime) -> datetime:
    """Return when the New York day of `at` began: orders of the day were submitted after it."""
    return Session.of(new_york_day(at), "00:00", "23:59").open


def own_reports(reports: Iterable[OrderReport], mode: str) -> dict[str, list[OrderReport]]:
    """Return the reports of orders that this system made, by symbol.

    One that the broker replaced is told as the order that stands in its place, both taken together,
    where that is among the reports.
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
    """Return the symbols of which a sell, or somebody else's buy, filled after `since`.

    An order that the broker put in the place of another counts as made by who made that; `reports`
    are told oldest first.
    """
    moved: set[str] = set()
    in_place_of_buys: set[str] = set()
    for report in reports:
        name = ClientOrderId.parse(report.client_order_id)
        buys = name is not None and name.purpose is Purpose.ENTRY
        if buys or report.broker_id in in_place_of_buys:
            in_place_of_buys.add(report.replaced_by)
        elif report.filled_qty and (report.updated_at is None or report.updated_at > since):
            moved.add(report.symbol)
    return moved


def with_successors(report: OrderReport, by_id: Mapping[str, OrderReport]) -> OrderReport:
    """Return a replaced order and those that stand in its place, as far as told, as one report."""
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
    """Ask for an order, by its successor's id where the broker replaced it."""
    order = state.order
    if order is not None and order.successor and _is_working(state, client_order_id):
        report = next(_successors(broker, order.successor), None)
    else:
        report = broker.find(client_order_id)
    if report is None:
        return OrderReport(client_order_id=client_order_id, status=ABSENT, confirmed=True)
    if report.status == "replaced" and not _is_working(state, client_order_id):
        # An order put aside: what became of it is told by those in its place.
        chain = {one.broker_id: one for one in _successors(broker, report.replaced_by)}
        report = with_successors(report, {report.broker_id: report} | chain)
    return replace(report, client_order_id=client_order_id)


def _successors(broker: Broker, broker_id: str) -> Iterator[OrderReport]:
    """Ask for an order by the broker's id, and for those that the broker put in its place."""
    for _ in range(MAX_SUCCESSORS):
        report = broker.find_by_id(broker_id) if broker_id else None
        if report is None:
            return
        yield report
        broker_id = report.replaced_by if report.status == "replaced" else ""


def listed_or_found(
    broker: Broker, state: SymbolState, client_order_id: str, listed: Iterable[OrderReport]
) -> OrderReport:
    """Return what is said of an order: by its successor in the list, else as asked for."""
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
    """Return what the broker says of own orders that may have sold what is about to be sold.

    These are the watched ones and all that the state does not tell, where the broker holds
    less than the state says or a liquidation may have run without the table: before somebody
    else is said to have sold shares, or others' are taken for ours, it must not have been
    this system. `orders` are the day's, where they were listed after the state was read. Raises
    BrokerError.
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
    """Return the broker's shares of the symbols, without those of which some moved just now.

    Positions lie behind orders for some seconds: they may still show what was sold, and a sell of
    it would be a short one. `orders` are the day's, listed after the positions; where either is
    not known, nothing is.
    """
    if positions is None or orders is None:
        return {}
    moved = recently_traded(orders, at - POSITION_LAG)
    return {symbol: positions.get(symbol, NOTHING) for symbol in symbols if symbol not in moved}


def checkup_due(symbol: str, at: datetime, position: Position | None) -> CheckupDue:
    """Return the checkup of a symbol whose position is as asked for; None: not known."""
    if position is None:
        return CheckupDue(symbol=symbol, at=at)
    return CheckupDue(symbol=symbol, at=at, position=position.qty, free=position.free)


def may_already_be_sold(
    event: Event, state: SymbolState, rules: Rules
) -> TypeGuard[CheckupDue | LiquidationDue]:
    """Whether the event is about to sell shares that an order put aside may have sold."""
    if not isinstance(event, CheckupDue | LiquidationDue) or state.phase is not Phase.TO_SELL:
        return False
    return bool(state.abandoned) or _may_be_behind(state, event, rules)


def _may_be_behind(state: SymbolState, event: CheckupDue | LiquidationDue, rules: Rules) -> bool:
    """Whether own orders may have sold of which the state does not tell.

    From the liquidation's time on the position is no proof that none did: the account's owner may
    hold as many shares as were sold without the table.
    """
    lacks = event.position is not None and event.position < state.qty
    return lacks or event.at >= rules.session.liquidate_at


def is_asked_for(state: SymbolState, client_order_id: str) -> bool:
    """Whether the order works or is watched, so that each pass asks for it."""
    return _is_working(state, client_order_id) or client_order_id in state.abandoned


def is_unrecorded(state: SymbolState, report: OrderReport) -> bool:
    """Whether a report says more of an order put aside than the state of its symbol does."""
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
    """Whether the report is of the order that works in the replaced one's place."""
    order = state.order
    return order is not None and order.successor != "" and order.successor == report.broker_id
