"""A sale is booked in one place: as the three former copies of its arithmetic did, to the unit."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.model import SymbolState
from scalper.core.positions import book_sale, remove_shares
from scalper.core.pricing import money
from tests.core.build import state

QUANTITIES = st.integers(0, 10_000)
AMOUNTS = st.integers(0, 10**13)
STATES = st.builds(
    lambda qty, cost, pnl, trades: state(qty=qty, cost=cost if qty else 0, pnl=pnl, trades=trades),
    QUANTITIES,
    AMOUNTS,
    st.integers(-(10**13), 10**13),
    st.integers(0, 999),
)


def closed_sell_as_before(one: SymbolState, filled_qty: int, filled_value: int) -> SymbolState:
    """Book a closed sell as machine.py and recovery.py each did before there was `book_sale`."""
    sold = min(filled_qty, one.qty)
    cost = one.cost * sold // one.qty if sold else 0
    value = filled_value * sold // filled_qty if sold else 0
    return replace(
        one,
        qty=one.qty - sold,
        cost=one.cost - cost,
        pnl=one.pnl + value - cost,
        trades=one.trades + (1 if sold else 0),
    )


def late_sale_as_before(
    one: SymbolState, known: int, filled_qty: int, filled_value: int
) -> SymbolState:
    """Book a sale that grew from `known` shares as corrections.py did, the trade included."""
    shares = filled_qty - known
    filled, undone = known == 0, filled_qty == 0
    if undone or one.qty:
        one = replace(one, trades=max(one.trades + filled - undone, 0))
    gone = min(shares, one.qty)
    if gone == 0:
        return one
    cost = one.cost * gone // one.qty
    value = filled_value * gone // filled_qty
    return replace(one, qty=one.qty - gone, cost=one.cost - cost, pnl=one.pnl + value - cost)


@given(one=STATES, filled_qty=QUANTITIES, filled_value=AMOUNTS)
def test_a_closed_sell_is_booked_as_it_always_was(
    one: SymbolState, filled_qty: int, filled_value: int
) -> None:
    booked = book_sale(one, qty=filled_qty, order_qty=filled_qty, order_value=filled_value)
    assert booked == closed_sell_as_before(one, filled_qty, filled_value)


@given(one=STATES, known=QUANTITIES, more=st.integers(1, 10_000), filled_value=AMOUNTS)
def test_a_late_sale_is_booked_as_it_always_was(
    one: SymbolState, known: int, more: int, filled_value: int
) -> None:
    filled_qty = known + more
    booked = book_sale(
        one,
        qty=more,
        order_qty=filled_qty,
        order_value=filled_value,
        is_new_trade=known == 0,
    )
    assert booked == late_sale_as_before(one, known, filled_qty, filled_value)


@given(one=STATES, qty=QUANTITIES)
def test_shares_taken_away_take_their_part_of_the_cost_along(one: SymbolState, qty: int) -> None:
    left = remove_shares(one, qty)
    gone = min(qty, one.qty)
    cost = one.cost * gone // one.qty if gone else 0
    assert left == replace(one, qty=one.qty - gone, cost=one.cost - cost)


@given(one=STATES, parts=st.lists(st.integers(1, 500), max_size=8), price=st.integers(1, 10**7))
def test_a_position_sold_in_parts_earns_what_it_earns_in_one(
    one: SymbolState, parts: list[int], price: int
) -> None:
    held = replace(one, qty=sum(parts), cost=one.cost if parts else 0)
    at_once = book_sale(
        held, qty=held.qty, order_qty=held.qty, order_value=held.qty * price, is_new_trade=False
    )
    for qty in parts:
        held = book_sale(held, qty=qty, order_qty=qty, order_value=qty * price, is_new_trade=False)
    assert held == at_once
    assert (held.qty, held.cost) == (0, 0)


HELD = state(qty=3, cost=100, pnl=7, trades=1)


@pytest.mark.parametrize(
    ("qty", "order_qty", "order_value", "expected"),
    [
        # A third of the cost, and a fifth of what the order brought, both rounded down.
        (1, 5, 201, replace(HELD, qty=2, cost=67, pnl=7 + 40 - 33, trades=2)),
        (3, 3, 120, replace(HELD, qty=0, cost=0, pnl=7 + 20, trades=2)),
        # Only what is held is booked.
        (5, 5, 200, replace(HELD, qty=0, cost=0, pnl=7 + 20, trades=2)),
        (0, 0, 0, HELD),
        (0, 5, 200, HELD),
    ],
)
def test_examples_of_a_sale(
    qty: int, order_qty: int, order_value: int, expected: SymbolState
) -> None:
    assert book_sale(HELD, qty=qty, order_qty=order_qty, order_value=order_value) == expected


def test_a_sale_without_shares_held_books_nothing() -> None:
    flat = state(pnl=5, trades=2)
    assert book_sale(flat, qty=20, order_qty=20, order_value=money(2000)) == flat


def test_shares_that_a_correction_adds_to_a_trade_are_no_trade_of_their_own() -> None:
    booked = book_sale(HELD, qty=1, order_qty=2, order_value=80, is_new_trade=False)
    assert booked == replace(HELD, qty=2, cost=67, pnl=7 + 40 - 33)
