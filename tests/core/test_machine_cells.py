"""Every phase x event cell of the machine has a stated answer: a history, one more event, and the
whole Step compared. The cases are in cells/; a cell without one fails.
"""

import pytest

from scalper.core.machine import step
from scalper.core.model import (
    BarClosed,
    CheckupDue,
    Event,
    LiquidationDue,
    OrderSeen,
    Phase,
    Reason,
)
from scalper.core.order import ABSENT, REFUSED, TERMINAL_STATUSES, ClientOrderId
from tests.core.cells import buy_submitted, done, sell_submitted, to_buy, to_sell
from tests.core.cells.histories import Case

CASES = [
    *to_buy.CASES,
    *buy_submitted.CASES,
    *to_sell.CASES,
    *sell_submitted.CASES,
    *done.CASES,
]


def cell_of(one: Case) -> tuple[Phase, type[Event]]:
    return one.before.phase, type(one.event)


@pytest.mark.parametrize("one", CASES, ids=lambda one: f"{one.before.phase}: {one.sentence}")
def test_cell(one: Case) -> None:
    assert step(one.before, one.event, one.rules) == one.expected


def test_every_cell_has_an_answer() -> None:
    cells = {
        (phase, kind)
        for phase in Phase
        for kind in (BarClosed, OrderSeen, CheckupDue, LiquidationDue)
    }
    assert {cell_of(one) for one in CASES} == cells


def kind_of(one: Case) -> str:
    """Return the kind of a report, as a step with a working order distinguishes them."""
    assert isinstance(one.event, OrderSeen)
    said, order = one.event.report, one.before.order
    made = ClientOrderId.parse(said.client_order_id)
    if order is None or said.client_order_id != order.client_order_id:
        return "external" if made is None else "another of ours"
    if said.status in (ABSENT, REFUSED):
        return said.status
    if said.filled_qty >= order.qty:
        return "full fill"
    if said.status in TERMINAL_STATUSES:
        return f"{said.status}, {'confirmed' if said.confirmed else 'by event'}"
    if said.status not in ("new", "accepted", "partially_filled"):
        return "unknown status"
    return "partial fill" if said.filled_qty else "live"


@pytest.mark.parametrize("phase", [Phase.BUY_SUBMITTED, Phase.SELL_SUBMITTED])
def test_every_kind_of_report_has_an_answer(phase: Phase) -> None:
    over = TERMINAL_STATUSES - {"filled"}
    kinds = {f"{status}, {how}" for status in over for how in ("confirmed", "by event")}
    kinds |= {"external", "another of ours", ABSENT, REFUSED, "full fill", "unknown status"}
    kinds |= {"filled, by event", "partial fill", "live"}
    assert {kind_of(one) for one in CASES if cell_of(one) == (phase, OrderSeen)} == kinds


def test_no_two_cases_say_the_same() -> None:
    names = [(one.before.phase, one.sentence) for one in CASES]
    assert len(set(names)) == len(names)


def test_every_reason_of_the_core_has_a_case() -> None:
    of_the_shell = {
        Reason.NEWER_SCHEMA,
        Reason.SIGNAL_FAILED,
        Reason.ACCOUNT_BLOCKED,
        Reason.EXTERNAL_ORDER,
        Reason.EXTERNAL_POSITION,
        Reason.BROKER_UNREAD,
        Reason.OTHER_STREAM,
        Reason.OTHER_MODE,
        Reason.OTHER_ACCOUNT,
        Reason.MARKET_CLOSED,
        Reason.DELIVERY_REFUSED,
        Reason.REQUEST_FAILED,
        Reason.SYMBOL_FAILED,
    }
    assert {one.expected.reason for one in CASES} == set(Reason) - of_the_shell
