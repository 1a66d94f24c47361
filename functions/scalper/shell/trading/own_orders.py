"""Which of the broker's orders are ours, and what moved shares lately."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from scalper.core.order import ClientOrderId, OrderReport, Purpose
from scalper.core.session import Session, new_york_day


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
