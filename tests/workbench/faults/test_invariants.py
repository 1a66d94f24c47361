"""Each broken invariant gives its line, by the exchange's ledger alone; a sound day gives none.

What of a symbol's state does not agree at the end of a day is tested with the audit of chaos days.
"""

from dataclasses import replace
from datetime import date

import pytest

from scalper.core.model import Phase, SymbolState
from scalper.core.order import Order, Purpose
from scalper.core.pricing import DOLLAR
from scalper.core.session import MINUTE, Session
from workbench.exchange.ledger import OrderLedger, Ticket, VenueOrder
from workbench.faults import invariants
from workbench.market.matching import Side

DAY = date(2024, 11, 29)
SESSION = Session.of(DAY, "09:30", "13:00")
LOT = 100 * DOLLAR


def name(generation: int, purpose: str) -> str:
    return f"scalp-paper-AAA-20241129-{generation}-{purpose}"


def order(
    book: OrderLedger, client_order_id: str, qty: int, *, filled: int = 0, side: Side | None = None
) -> VenueOrder:
    """Send an order at $10 of which so much fills."""
    taken = book.submit(
        Ticket(
            "AAA",
            side or ("buy" if client_order_id.endswith("entry") else "sell"),
            qty,
            10 * DOLLAR,
            client_order_id,
        ),
        now=SESSION.open,
        expires_at=SESSION.close,
        status="new",
        last_trade=None,
    )
    if not filled:
        return taken
    return book.fill(taken, price=10 * DOLLAR, qty=filled, at=SESSION.open + MINUTE).order


@pytest.fixture
def book() -> OrderLedger:
    """Ten shares bought and five of them sold; the other five are offered."""
    made = OrderLedger(1000 * DOLLAR)
    order(made, name(1, "entry"), 10, filled=10)
    order(made, name(2, "target"), 5, filled=5)
    order(made, name(3, "target"), 5)
    return made


def landed(one: VenueOrder, *, live: int = 1, held: int = 0, lot: int = LOT) -> list[str]:
    others = ["other"] * (live - 1)
    return list(invariants.at_landing(one, live=[*others, one.client_order_id], held=held, lot=lot))


def test_an_order_of_a_sound_system_breaks_nothing() -> None:
    book = OrderLedger(None)
    assert landed(order(book, name(1, "entry"), 10, filled=10)) == []
    assert landed(order(book, name(2, "target"), 10), held=10) == []


def test_an_order_breaks_the_first_three_invariants_each_with_its_line(book: OrderLedger) -> None:
    entry = order(OrderLedger(None), name(1, "entry"), 10)
    sell = book.order_by_client_id(name(3, "target"))
    assert landed(entry, live=2) == [f"I1 two live orders of one symbol: other, {name(1, 'entry')}"]
    assert landed(entry, lot=LOT - 1) == [f"I2 an entry above the lot: {name(1, 'entry')}"]
    assert landed(entry, held=1) == [f"I2 an entry on top of a position: {name(1, 'entry')}"]
    assert landed(sell, held=4) == [f"I3 sells more than is held: {name(3, 'target')}"]


def test_an_order_of_the_wrong_side_or_of_somebody_else_is_told() -> None:
    book = OrderLedger(None)
    wrong = order(book, name(1, "target"), 1, side="buy")
    assert landed(wrong) == [f"a buy for target: {name(1, 'target')}"]
    assert landed(order(book, "mine", 1, side="buy")) == ["an id that is not this system's: mine"]


def test_a_position_below_zero_is_short() -> None:
    assert list(invariants.at_fill("AAA", 0)) == []
    assert list(invariants.at_fill("AAA", -3)) == ["I3 short: -3 AAA"]


def test_a_live_order_has_to_be_the_states_working_or_abandoned_one() -> None:
    working = Order(
        client_order_id="working",
        purpose=Purpose.TARGET,
        qty=1,
        limit=1,
        submitted_at=SESSION.open,
    )
    state = SymbolState(symbol="AAA", session=DAY, phase=Phase.SELL_SUBMITTED, order=working, qty=1)
    state = replace(state, abandoned=("given up",))
    assert list(invariants.at_write(state, ["working", "given up"])) == []
    (line,) = invariants.at_write(state, ["unknown"])
    assert line == "I4 unknown is live, the item knows ['given up', 'working']"


def test_what_is_held_or_open_at_the_end_is_not_flat(book: OrderLedger) -> None:
    held = {"AAA": book.qty("AAA"), "BBB": 0}
    assert list(invariants.account_at_end(held, book.open_orders())) == [
        "I5 not flat: 5 AAA",
        f"I5 not flat: {name(3, 'target')} is new",
    ]


def test_own_orders_are_by_symbol_and_generation_without_external_ones(book: OrderLedger) -> None:
    book.cancel(book.order_by_client_id(name(3, "target")).id, SESSION.open + MINUTE)
    order(book, "hand-1", 1, filled=1, side="buy")
    own = invariants.own_orders_by_generation(book.orders)
    assert list(own) == ["AAA"]
    assert sorted(own["AAA"]) == [1, 2, 3]
    assert [own["AAA"][n].earned for n in (1, 2, 3)] == [-100 * DOLLAR, 50 * DOLLAR, 0]
    assert invariants.count_trades(own["AAA"].values()) == 1


def test_a_replaced_order_counts_with_what_stands_in_its_place(book: OrderLedger) -> None:
    replaced = book.order_by_client_id(name(3, "target"))
    book.replace(replaced, SESSION.open + MINUTE)
    successor = order(book, "the exchange's own", 5, filled=2, side="sell")
    own = invariants.own_orders_by_generation(book.orders, {replaced.id: successor.id})["AAA"][3]
    assert [one.id for one in own.chain] == [replaced.id, successor.id]
    assert (own.client_order_id, own.filled_qty) == (name(3, "target"), 2)
    assert own.earned == 20 * DOLLAR


def test_the_profit_is_not_compared_where_a_person_sold_our_shares(book: OrderLedger) -> None:
    book.cancel(book.order_by_client_id(name(3, "target")).id, SESSION.open + MINUTE)
    state = SymbolState(
        symbol="AAA",
        session=DAY,
        phase=Phase.DONE,
        generation=3,
        settled=(10, 5, 0),
        entries=1,
        trades=1,
        pnl=7,
    )
    own = invariants.own_orders_by_generation(book.orders)["AAA"]
    assert list(invariants.symbol_at_end("AAA", state, own, has_manual_sale=True)) == []
    (line,) = invariants.symbol_at_end("AAA", state, own)
    assert line == "P&L of AAA: 7 in the item, -500000 at the exchange"


def test_a_summary_that_found_mismatches_is_told() -> None:
    summary = {"flat": True, "trades": 1, "pnl_usd": 2.5, "mismatches": ["AAA"]}
    (line,) = invariants.summary_at_end(summary, trades=1, pnl=25_000)
    assert "fills disagree" in line
    assert list(invariants.summary_at_end({**summary, "mismatches": []}, trades=1, pnl=None)) == []
