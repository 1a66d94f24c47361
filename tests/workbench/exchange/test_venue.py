"""The exchange's rules without any web: clock, matching, account, in the replay model's terms."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalper.core.pricing import CENT, DOLLAR, Money
from scalper.core.session import Session
from tests.workbench.exchange.conftest import CLOSE, FRIDAY, MONDAY, OPEN, at, day, two_days
from workbench.exchange.ledger import Ticket, Update, VenueOrder
from workbench.exchange.refusals import Refusal
from workbench.exchange.venue import END_OF_TIME, Venue
from workbench.market.matching import Side
from workbench.market.model import Market


def venue(cash: Money | None = None, market: Market | None = None) -> Venue:
    made = Venue(market or two_days(), cash=cash)
    made.tell = TOLD.append
    TOLD.clear()
    return made


TOLD: list[Update] = []


def ticket(
    side: Side = "buy", cents: int | None = 1000, qty: int = 10, symbol: str = "AAA"
) -> Ticket:
    return Ticket(symbol, side, qty, None if cents is None else cents * CENT, None)


def events() -> list[tuple[str, datetime]]:
    return [(update.event, update.at) for update in TOLD]


def now_of(ledger: Venue, order: VenueOrder) -> VenueOrder:
    return ledger.ledger.order(order.id)


def holding(qty: int = 10, cash: Money | None = None) -> Venue:
    made = venue(cash)
    made.submit(ticket(cents=None, qty=qty))
    made.advance(at(1))
    TOLD.clear()
    return made


def test_clock_starts_at_the_first_open():
    assert venue().now == OPEN


def test_buy_submitted_at_the_open_fills_on_the_first_bar_and_is_known_at_its_end():
    v = venue()
    order = v.submit(ticket(cents=1000))
    assert (order.status, now_of(v, order).status) == ("pending_new", "new")
    v.advance(at(1))
    filled = now_of(v, order)
    assert (filled.status, filled.filled_cost, filled.filled_at) == ("filled", 10_000 * CENT, at(1))
    assert events() == [("new", OPEN), ("fill", at(1))]
    assert (TOLD[1].price, TOLD[1].qty, TOLD[1].position_qty) == (1000 * CENT, 10, 10)


def test_exit_placed_on_the_fill_works_from_the_next_bar_only():
    v = venue()
    v.submit(ticket(cents=1000))
    v.advance(at(1))
    # 1001 lies inside the bar that has just ended; the next bar opens at 1001, high 1006.
    v.submit(ticket("sell", 1001))
    v.advance(at(1.9))
    assert events()[-1] == ("new", at(1))
    v.advance(at(2))
    assert events()[-1] == ("fill", at(2))
    assert TOLD[-1].price == 1001 * CENT


def test_order_between_minutes_works_from_the_next_whole_bar():
    v = venue()
    v.advance(at(0.5))
    v.submit(ticket(cents=1050))
    v.advance(at(1))
    assert events() == [("new", at(0.5))]
    v.advance(at(2))
    assert TOLD[-1].price == 1001 * CENT


def test_a_minute_without_a_bar_fills_nothing():
    v = venue()
    v.advance(at(1))
    v.submit(ticket(cents=None, symbol="BBB"))
    v.advance(at(5))
    assert [update.event for update in TOLD] == ["new"]
    v.advance(at(6))
    assert (TOLD[-1].event, TOLD[-1].price) == ("fill", 500 * CENT)


def test_market_order_after_the_last_bar_fills_at_the_last_close_at_the_session_end():
    v = venue()
    v.submit(ticket(cents=None, symbol="BBB"))
    v.advance(at(90))
    v.submit(ticket("sell", None, symbol="BBB"))
    v.advance(CLOSE - timedelta(minutes=1))
    assert TOLD[-1].event == "new"
    v.advance(CLOSE)
    assert (TOLD[-1].event, TOLD[-1].price, TOLD[-1].at) == ("fill", 505 * CENT, CLOSE)


def test_day_order_expires_at_the_close_after_the_last_match():
    v = venue()
    never = v.submit(ticket(cents=100))
    v.advance(CLOSE - timedelta(minutes=1))
    last = v.submit(ticket(cents=1389))  # the last bar opens at 1389
    v.advance(CLOSE)
    assert now_of(v, last).status == "filled"
    assert (now_of(v, never).status, now_of(v, never).expired_at) == ("expired", CLOSE)
    assert [event for event, when in events() if when == CLOSE] == ["fill", "expired"]


def test_bars_after_the_close_are_untouched():
    v = venue()
    v.submit(ticket(cents=2))
    v.advance(CLOSE + timedelta(minutes=30))  # the bar at the close has low 1, high 100,000
    assert [update.event for update in TOLD] == ["new", "expired"]


def test_order_after_the_close_is_accepted_and_works_in_the_next_session():
    v = venue()
    v.advance(CLOSE)
    order = v.submit(ticket(cents=1100))
    assert order.status == now_of(v, order).status == "accepted"
    monday = day(MONDAY).session
    assert order.expires_at == monday.close
    v.advance(monday.open)
    assert events() == [("new", monday.open)]
    v.advance(monday.open + timedelta(minutes=1))
    assert (TOLD[-1].event, TOLD[-1].price) == ("fill", 1000 * CENT)


def test_half_day_ends_at_its_own_close():
    half = Market((day(FRIDAY, closes="13:00"),), synthetic=True, source="test")
    v = venue(market=half)
    v.submit(ticket(cents=1))
    v.advance(at(210))
    assert events()[-1] == ("expired", at(210))


def test_one_long_step_equals_many_short_ones():
    def run(minutes: int) -> list[Update]:
        v = venue()
        v.submit(ticket(cents=995))
        v.submit(ticket(cents=None, symbol="BBB"))
        while v.now < CLOSE:
            v.advance(min(v.now + timedelta(minutes=minutes), CLOSE))
        return list(TOLD)

    assert run(1) == run(7) == run(390)


def test_symbols_are_matched_in_sorted_order():
    v = venue()
    v.submit(ticket(cents=None, symbol="BBB"))
    v.submit(ticket(cents=None, symbol="AAA"))
    v.advance(at(1))
    assert [update.order.symbol for update in TOLD] == ["BBB", "AAA", "AAA", "BBB"]


def test_clock_does_not_move_backwards():
    v = venue()
    v.advance(at(5))
    with pytest.raises(ValueError, match="backwards"):
        v.advance(at(4))
    assert v.now == at(5)


def test_clock_ends_with_the_calendar():
    late = Market((day(date(2099, 6, 1)),), synthetic=True, source="test")
    v = venue(market=late)
    v.advance(END_OF_TIME)
    with pytest.raises(ValueError, match="calendar ends"):
        v.advance(END_OF_TIME + timedelta(seconds=1))
    assert v.hours.closing_after(v.now).close > END_OF_TIME


def test_day_without_bars_between_sessions_expires_its_orders():
    v = venue(market=Market((day(FRIDAY),), synthetic=True, source="test"))
    v.advance(CLOSE)
    order = v.submit(ticket())
    monday = Session.of(MONDAY, "09:30", "16:00")
    v.advance(monday.close)
    assert now_of(v, order).status == "expired"
    assert events() == [("new", monday.open), ("expired", monday.close)]


def test_last_trade_is_the_fill_while_it_is_told_and_the_close_afterwards():
    v = venue()
    assert v.last_trade("AAA") == 900 * CENT  # before the open: the early bar
    v.submit(ticket(cents=998))
    v.advance(at(1))
    assert v.last_trade("AAA") == 998 * CENT
    v.advance(at(1.5))
    assert v.last_trade("AAA") == 1001 * CENT


def test_cash_positions_and_equity_after_a_round_trip():
    v = holding(cash=1000 * DOLLAR)
    assert v.ledger.cash == 900 * DOLLAR
    assert v.ledger.positions["AAA"].cost == 100 * DOLLAR
    v.submit(ticket("sell", 1006))
    v.advance(at(3))
    assert v.ledger.positions == {}
    assert v.ledger.cash == v.equity() == (900 * DOLLAR) + 10 * 1006 * CENT


def test_open_buys_reserve_buying_power_while_cash_does_not_fall():
    v = venue(cash=150 * DOLLAR)
    first = v.submit(ticket(cents=900))
    assert (v.ledger.cash, v.ledger.buying_power()) == (150 * DOLLAR, 60 * DOLLAR)
    with pytest.raises(Refusal) as refused:
        v.submit(ticket(cents=900))
    assert refused.value.body == {
        "code": 40310000,
        "message": "insufficient buying power",
        "buying_power": "60",
        "cost_basis": "90",
    }
    v.cancel(first.id)
    assert v.ledger.buying_power() == 150 * DOLLAR
    v.submit(ticket(cents=900))


def test_market_buy_reserves_four_percent_more_than_the_last_trade():
    v = venue(cash=93 * DOLLAR)
    with pytest.raises(Refusal, match="403"):
        v.submit(ticket(cents=None))  # 10 x $9 and 4 %: $93.60
    v.submit(ticket(cents=None, qty=9))
    assert v.ledger.buying_power() == 93 * DOLLAR - 9 * 936 * CENT


def test_cash_is_unlimited_unless_capped():
    v = venue()
    v.submit(ticket(cents=1000, qty=10**9))
    v.advance(at(1))
    assert TOLD[-1].event == "fill"


def test_sell_without_shares_is_refused_like_one_of_too_many():
    with pytest.raises(Refusal) as refused:
        venue().submit(ticket("sell", 1100, qty=1))
    assert refused.value.body["message"] == (
        "insufficient qty available for order (requested: 1, available: 0)"
    )


def test_shares_held_by_an_open_sell_are_not_available():
    v = holding()
    first = v.submit(ticket("sell", 2000, qty=7))
    with pytest.raises(Refusal) as refused:
        v.submit(ticket("sell", 2000, qty=4))
    assert refused.value.body == {
        "code": 40310000,
        "message": "insufficient qty available for order (requested: 4, available: 3)",
        "available": "3",
        "existing_qty": "10",
        "held_for_orders": "7",
        "related_orders": [first.id],
        "symbol": "AAA",
    }
    v.submit(ticket("sell", 2000, qty=3))


@pytest.mark.parametrize(
    ("existing", "new", "refused"),
    [
        (("sell", 1200), ("buy", 1199), False),
        (("sell", 1200), ("buy", 1200), True),
        (("sell", 1200), ("buy", None), True),
        (("sell", None), ("buy", 1), True),
        (("buy", 800), ("sell", 801), False),
        (("buy", 800), ("sell", 800), True),
        (("buy", 800), ("sell", None), True),
        (("buy", None), ("sell", 9999), True),
        (("buy", 800), ("buy", 800), False),
    ],
)
def test_wash_trades_are_refused_where_the_orders_could_meet(
    existing: tuple[Side, int | None], new: tuple[Side, int | None], refused: bool
):
    v = holding()
    first = v.submit(ticket(*existing, qty=5))
    if not refused:
        v.submit(ticket(*new, qty=5))
        return
    with pytest.raises(Refusal) as caught:
        v.submit(ticket(*new, qty=5))
    assert caught.value.status == 403
    assert caught.value.body["existing_order_id"] == first.id
    kind = "market/stop" if existing[1] is None else "limit"
    assert str(caught.value.body["reject_reason"]).startswith(f"opposite side {kind} order exists")


def test_refused_order_does_not_use_up_its_client_id_but_a_canceled_one_does():
    v = venue()
    named = replace(ticket("sell", 1100), client_order_id="mine")
    with pytest.raises(Refusal, match="403"):
        v.submit(named)
    order = v.submit(replace(ticket(), client_order_id="mine"))
    v.cancel(order.id)
    with pytest.raises(Refusal, match="client_order_id must be unique"):
        v.submit(replace(ticket(), client_order_id="mine"))


@pytest.mark.parametrize("status", ["filled", "canceled", "expired", "rejected"])
def test_order_that_is_over_cannot_be_canceled(status: str):
    v = venue()
    order = v.submit(ticket(cents=None if status == "filled" else 1))
    match status:
        case "filled":
            v.advance(at(1))
        case "canceled":
            v.cancel(order.id)
        case "expired":
            v.advance(CLOSE)
        case _:
            v.ledger.reject(v.ledger.order(order.id), v.now)
    with pytest.raises(Refusal) as refused:
        v.cancel(order.id)
    assert (refused.value.status, refused.value.body) == (
        422,
        {"code": 42210000, "message": f'order is already in "{status}" state'},
    )


def test_partial_fills_add_up_and_cancel_keeps_what_was_filled():
    v = venue(cash=1000 * DOLLAR)
    order = v.submit(ticket(cents=1000))
    first = v.ledger.fill(v.ledger.order(order.id), price=990 * CENT, qty=4, at=v.now)
    assert (first.event, first.order.status, first.position_qty) == (
        "partial_fill",
        "partially_filled",
        4,
    )
    assert v.ledger.buying_power() == 1000 * DOLLAR - 4 * 990 * CENT - 6 * 1000 * CENT
    v.cancel(order.id)
    ended = v.ledger.order(order.id)
    assert (ended.status, ended.filled_qty, ended.filled_cost) == ("canceled", 4, 4 * 990 * CENT)
    with pytest.raises(ValueError, match="canceled"):
        v.ledger.fill(ended, price=1, qty=1, at=v.now)


def test_submission_times_are_unique_so_that_exclusive_paging_loses_none():
    v = venue()
    times = [v.submit(ticket(cents=1)).submitted_ns for _ in range(50)]
    v.advance(at(1))
    times.append(v.submit(ticket(cents=1)).submitted_ns)
    assert times == sorted(set(times))


def test_two_runs_are_the_same_to_the_id():
    def run() -> list[Update]:
        v = holding()
        v.submit(ticket("sell", 1010))
        v.advance(CLOSE)
        return list(TOLD)

    assert run() == run()


actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("order"),
            st.sampled_from(["buy", "sell"]),
            st.one_of(st.none(), st.integers(900, 1500)),
            st.integers(1, 20),
            st.sampled_from(["AAA", "BBB"]),
        ),
        st.tuples(st.just("advance"), st.integers(1, 40 * 60)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(actions, st.one_of(st.none(), st.integers(0, 5000).map(lambda usd: usd * DOLLAR)))
def test_the_books_balance_whatever_is_asked(steps: list[Any], cash: Money | None):
    v = venue(cash)
    start = v.ledger.cash
    for step in steps:
        try:
            match step:
                case ("order", side, cents, qty, symbol):
                    v.submit(ticket(side, cents, qty, symbol))
                case ("advance", seconds):
                    v.advance(v.now + timedelta(seconds=seconds))
                case ("cancel", n) if n < len(v.ledger.orders):
                    v.cancel(list(v.ledger.orders)[n])
        except Refusal as refusal:
            assert refusal.status in (403, 422)  # noqa: PT017
        for symbol in ("AAA", "BBB"):
            assert 0 <= v.ledger.held(symbol) <= v.ledger.qty(symbol)
            sides: dict[Side, list[Any]] = {"buy": [], "sell": []}
            for order in v.ledger.open_orders(symbol):
                assert order.is_open
                sides[order.side].append(order.limit)
            if sides["buy"] and sides["sell"]:
                assert None not in sides["buy"] + sides["sell"]
                assert max(sides["buy"]) < min(sides["sell"])
    moved = sum(
        (1 if update.order.side == "sell" else -1) * (update.price or 0) * (update.qty or 0)
        for update in TOLD
        if update.event == "fill"
    )
    assert v.ledger.cash == start + moved
    for order in v.ledger.orders.values():
        told = [u.event for u in TOLD if u.order.id == order.id and u.event != "new"]
        assert told == ([{"filled": "fill"}.get(order.status, order.status)] * (not order.is_open))
        if order.status == "filled" and order.limit is not None:
            average = order.filled_cost // order.qty
            assert average <= order.limit if order.side == "buy" else average >= order.limit
    assert [update.number for update in TOLD] == list(range(1, len(TOLD) + 1))
