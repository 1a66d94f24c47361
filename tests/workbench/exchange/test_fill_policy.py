"""The fill policy decides the quantity of each fill, and the venue makes every fill."""

import pytest

from scalper.core.pricing import CENT
from tests.workbench.exchange.conftest import at, two_days
from workbench.exchange.fill_policy import WholeFills
from workbench.exchange.ledger import Ticket, Update, VenueOrder
from workbench.exchange.refusals import Refusal
from workbench.exchange.venue import Venue


class Parts:
    """Fills so many shares at each price, and so many before a cancel."""

    def __init__(self, at_price: int, before_cancel: int = 0) -> None:
        self._at_price = at_price
        self._before_cancel = before_cancel

    def qty_at_price(self, order: VenueOrder) -> int:
        return min(self._at_price, order.remaining)

    def qty_before_cancel(self, order: VenueOrder) -> int:
        return self._before_cancel


def placed(
    policy: Parts | WholeFills | None, cents: int | None
) -> tuple[Venue, VenueOrder, list[Update]]:
    """Return a venue, its one buy of ten shares, and the list of what it tells from now on."""
    venue = Venue(two_days(), fill_policy=policy)
    told: list[Update] = []
    order = venue.submit(Ticket("AAA", "buy", 10, None if cents is None else cents * CENT, None))
    venue.tell = told.append
    return venue, order, told


@pytest.mark.parametrize("policy", [None, WholeFills()])
def test_without_a_policy_an_order_fills_whole(policy):
    venue, _, told = placed(policy, 1000)
    venue.advance(at(1))
    assert [(one.event, one.qty) for one in told] == [("fill", 10)]


def test_a_policy_splits_an_order_over_the_bars_that_meet_its_price():
    venue, order, told = placed(Parts(4), None)
    venue.advance(at(3))
    assert [(one.event, one.qty, one.at) for one in told] == [
        ("partial_fill", 4, at(1)),
        ("partial_fill", 4, at(2)),
        ("fill", 2, at(3)),
    ]
    assert venue.ledger.order(order.id).status == "filled"
    assert venue.ledger.qty("AAA") == 10


def test_a_policy_fills_a_part_before_a_cancel_at_the_limit():
    venue, order, told = placed(Parts(10, before_cancel=3), 500)
    venue.cancel(order.id)
    assert [(one.event, one.qty, one.price) for one in told] == [
        ("partial_fill", 3, 500 * CENT),
        ("canceled", None, None),
    ]
    assert venue.last_trade("AAA") == 500 * CENT


def test_a_cancel_that_loses_to_the_whole_fill_is_refused():
    venue, order, told = placed(Parts(10, before_cancel=10), 500)
    with pytest.raises(Refusal, match="filled"):
        venue.cancel(order.id)
    assert [one.event for one in told] == ["fill"]


def test_a_closed_order_fills_no_more_by_a_cancel():
    venue, order, told = placed(Parts(10, before_cancel=3), 500)
    venue.ledger.cancel(order.id, venue.now)
    with pytest.raises(Refusal, match="canceled"):
        venue.cancel(order.id)
    assert told == []
