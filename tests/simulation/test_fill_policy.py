"""The fill policy of a simulated day splits an order as its fault plan says."""

from datetime import date
from random import Random
from typing import Any

import pytest

from scalper.core.pricing import DOLLAR
from scalper.core.session import MINUTE, Session
from workbench.exchange.ledger import OrderLedger, Ticket, VenueOrder
from workbench.faults.kinds import FaultKind
from workbench.simulation.venue import SeededFills

SESSION = Session.of(date(2024, 11, 29), "09:30", "13:00")


def order(qty: int) -> VenueOrder:
    return OrderLedger(None).submit(
        Ticket("AAA", "buy", qty, DOLLAR, "c1"),
        now=SESSION.open + MINUTE,
        expires_at=SESSION.close,
        status="new",
        last_trade=None,
    )


class Says:
    """A fault plan that gives one answer, and notes what it was asked."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.asked: list[tuple[object, ...]] = []

    def happens(self, *asked: object) -> bool:
        self.asked.append(asked)
        return self.answer


def fills(answer: bool) -> tuple[SeededFills, Says]:
    plan: Any = Says(answer)
    return SeededFills(plan, Random(1)), plan


def test_without_the_fault_an_order_fills_whole():
    policy, plan = fills(False)
    assert policy.qty_at_price(order(10)) == 10
    assert plan.asked == [(FaultKind.PARTIAL_FILL, 0.3, "c1")]


def test_with_the_fault_the_first_fill_is_a_part():
    policy, _ = fills(True)
    parts = {policy.qty_at_price(order(10)) for _ in range(200)}
    assert parts == set(range(1, 10))


@pytest.mark.parametrize("answer", [True, False])
def test_one_share_is_never_split(answer):
    policy, plan = fills(answer)
    assert policy.qty_at_price(order(1)) == 1
    assert plan.asked == []


def test_a_cancel_that_loses_to_a_fill_loses_to_all_of_it():
    policy, _ = fills(True)
    assert policy.qty_before_cancel(order(10)) == 10
