"""What the engine may expect of a broker: the same of the real adapter and of its fakes."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from scalper.core.order import TERMINAL_STATUSES, Order, OrderReport, Purpose
from scalper.core.pricing import CENT, DOLLAR
from scalper.shell.alpaca.broker import NOT_UNIQUE
from scalper.shell.errors import DuplicateOrderError, RefusedError, UnknownOutcomeError
from scalper.shell.ports import Clock, Fill, Position
from tests.shell.fakes import client_id
from tests.simulation.venues import SIMULATED, Venue, alpaca_venue

NOBODYS = "00000000-0000-0000-0000-000000000000"
FORBIDDEN, INVALID = 40310000, 42210000
LOW, HIGH = DOLLAR, 90 * DOLLAR


@pytest.fixture(params=["alpaca", *SIMULATED])
def venue(request: pytest.FixtureRequest) -> Iterator[Venue]:
    if request.param == "alpaca":
        with alpaca_venue() as made:
            yield made
    else:
        yield SIMULATED[request.param]()


def order(venue: Venue, number: int = 1, purpose: str = "entry", **changes: Any) -> Order:
    given: dict[str, Any] = {
        "client_order_id": client_id(number, purpose, day=venue.day),
        "purpose": Purpose(purpose),
        "qty": 10,
        "limit": LOW if purpose == "entry" else HIGH,
        "submitted_at": venue.session.open,
    }
    return Order(**given | changes)


def buy(venue: Venue, number: int = 1, **changes: Any) -> OrderReport:
    """Send a buy that rests, and let it be accepted."""
    taken = venue.broker.submit("AAA", order(venue, number, **changes))
    venue.wait(1)
    return taken


def hold(venue: Venue, qty: int = 10) -> None:
    """Own shares of AAA, bought by order 1."""
    venue.fill(buy(venue, 1, qty=qty).client_order_id, qty, LOW)
    venue.wait(1)


def found(venue: Venue, report: OrderReport) -> OrderReport:
    one = venue.broker.find(report.client_order_id)
    assert one is not None
    return one


def stamp(venue: Venue, report: OrderReport) -> datetime:
    at = found(venue, report).updated_at
    assert at is not None
    return at


def refusal(venue: Venue, sent: Order) -> tuple[int, int | None]:
    """Return status and code of the refusal that an order meets."""
    with pytest.raises(RefusedError) as refused:
        venue.broker.submit("AAA", sent)
    taken = refused.value.code == NOT_UNIQUE
    assert type(refused.value) is (DuplicateOrderError if taken else RefusedError)
    return refused.value.status, refused.value.code


class TestSubmit:
    @pytest.mark.parametrize("limit", [LOW, 123 * CENT, None])
    def test_the_answer_is_the_order_alive_and_not_filled_yet(self, venue: Venue, limit):
        sent = order(venue, qty=7, limit=limit)
        taken = venue.broker.submit("AAA", sent)
        assert (taken.client_order_id, taken.symbol) == (sent.client_order_id, "AAA")
        assert (taken.qty, taken.limit) == (7, limit)
        assert (taken.filled_qty, taken.filled_value) == (0, 0)
        assert taken.status in ("new", "accepted", "pending_new")
        assert taken.broker_id
        assert not taken.confirmed
        assert taken.submitted_at == taken.updated_at == venue.broker.clock().now

    def test_an_order_at_market_fills_by_itself(self, venue: Venue):
        taken = venue.broker.submit("AAA", order(venue, limit=None))
        venue.wait(120)
        assert (found(venue, taken).status, found(venue, taken).filled_qty) == ("filled", 10)
        assert venue.broker.positions() == {"AAA": Position(10, 10)}

    def test_an_order_far_off_the_market_rests(self, venue: Venue):
        taken = buy(venue)
        venue.wait(120)
        assert (found(venue, taken).status, found(venue, taken).filled_qty) == ("new", 0)

    def test_an_id_is_taken_for_good_after_a_cancel_too(self, venue: Venue):
        taken = buy(venue)
        for _ in range(2):
            assert refusal(venue, order(venue)) == (422, NOT_UNIQUE)
            venue.broker.cancel(taken.broker_id)
            venue.wait(10)
        assert found(venue, taken).status == "canceled"
        assert [one.broker_id for one in venue.broker.orders_since(venue.session.open)] == [
            taken.broker_id
        ]

    def test_a_refused_order_does_not_use_up_its_id(self, venue: Venue):
        refusal(venue, order(venue, limit=LOW + 1))
        assert venue.broker.find(order(venue).client_order_id) is None
        assert venue.broker.submit("AAA", order(venue)).broker_id

    @pytest.mark.parametrize("venue", ["alpaca", "simulated-0"], indirect=True)
    @pytest.mark.parametrize("limit", [LOW, None])
    def test_after_the_close_an_order_is_taken_for_the_next_session(self, venue: Venue, limit):
        venue.wait((venue.session.close - venue.session.open).total_seconds())
        taken = venue.broker.submit("AAA", order(venue, limit=limit))
        assert taken.status == "accepted"
        venue.wait(180)
        assert (found(venue, taken).status, found(venue, taken).filled_qty) == ("accepted", 0)
        assert len(venue.broker.open_orders()) == 1
        venue.broker.cancel(taken.broker_id)
        venue.wait(10)
        assert found(venue, taken).status == "canceled"

    def test_ids_of_the_broker_differ(self, venue: Venue):
        assert len({buy(venue, number).broker_id for number in (1, 2, 3)}) == 3

    def test_shares_that_are_not_held_are_not_sold(self, venue: Venue):
        assert refusal(venue, order(venue, 2, "target")) == (403, FORBIDDEN)
        hold(venue)
        assert refusal(venue, order(venue, 2, "target", qty=11)) == (403, FORBIDDEN)
        assert venue.broker.submit("AAA", order(venue, 2, "target")).qty == 10

    def test_shares_that_another_sell_holds_are_not_sold(self, venue: Venue):
        hold(venue)
        rests = venue.broker.submit("AAA", order(venue, 2, "target", qty=6))
        assert refusal(venue, order(venue, 3, "liquidation", limit=None)) == (403, FORBIDDEN)
        assert refusal(venue, order(venue, 3, "liquidation", qty=5)) == (403, FORBIDDEN)
        assert venue.broker.submit("AAA", order(venue, 4, "liquidation", qty=4)).qty == 4
        venue.broker.cancel(rests.broker_id)
        venue.wait(10)
        assert venue.broker.submit("AAA", order(venue, 5, "liquidation", qty=6)).qty == 6

    @pytest.mark.parametrize("limit", [LOW + 1, 10 * DOLLAR + CENT // 2])
    def test_a_price_off_the_grid_is_refused(self, venue: Venue, limit):
        assert refusal(venue, order(venue, limit=limit)) == (422, INVALID)

    def test_a_market_order_against_an_open_one_is_a_wash_trade(self, venue: Venue):
        hold(venue)
        venue.broker.submit("AAA", order(venue, 2))
        assert refusal(venue, order(venue, 3, "liquidation", limit=None)) == (403, FORBIDDEN)
        assert venue.broker.find(client_id(3, "liquidation", day=venue.day)) is None
        # Two limits that do not cross pass.
        assert venue.broker.submit("AAA", order(venue, 4, "target")).broker_id

    def test_a_crossing_limit_is_a_wash_trade(self, venue: Venue):
        hold(venue)
        venue.broker.submit("AAA", order(venue, 2, "target"))
        assert refusal(venue, order(venue, 3, limit=HIGH)) == (403, FORBIDDEN)
        assert venue.broker.submit("AAA", order(venue, 3, limit=HIGH - CENT)).broker_id


class TestFind:
    def test_an_order_that_nobody_made_is_none(self, venue: Venue):
        assert venue.broker.find(client_id(77, day=venue.day)) is None

    def test_what_is_found_is_confirmed_and_the_order_that_was_sent(self, venue: Venue):
        taken = buy(venue)
        one = found(venue, taken)
        assert one.confirmed
        assert (one.broker_id, one.client_order_id) == (taken.broker_id, taken.client_order_id)
        assert (one.symbol, one.qty, one.limit) == ("AAA", 10, LOW)
        assert (one.status, one.submitted_at) == ("new", taken.submitted_at)


class TestFills:
    def test_a_full_fill_shows_everywhere_and_the_order_is_over(self, venue: Venue):
        taken = buy(venue, qty=7, limit=123 * CENT)
        venue.fill(taken.client_order_id, 7, 121 * CENT)
        one = found(venue, taken)
        assert (one.status, one.filled_qty, one.filled_value) == ("filled", 7, 7 * 121 * CENT)
        assert venue.broker.positions() == {"AAA": Position(7, 7)}
        assert venue.broker.open_orders() == []
        assert venue.broker.orders_since(venue.session.open - timedelta(hours=1)) == [one]

    def test_parts_add_up_and_their_value_is_exact(self, venue: Venue):
        taken = buy(venue, qty=7, limit=123 * CENT)
        for qty, price, status, filled, value in (
            (1, 121, "partially_filled", 1, 121),
            (2, 123, "partially_filled", 3, 367),
            (4, 122, "filled", 7, 855),
        ):
            venue.fill(taken.client_order_id, qty, price * CENT)
            one = found(venue, taken)
            assert (one.status, one.filled_qty) == (status, filled)
            assert one.filled_value == value * CENT
            assert one.qty == 7
            assert venue.broker.positions() == {"AAA": Position(filled, filled)}
            assert venue.broker.open_orders() == ([one] if filled < 7 else [])

    def test_a_canceled_order_keeps_what_it_filled(self, venue: Venue):
        taken = buy(venue)
        venue.fill(taken.client_order_id, 4, LOW)
        venue.broker.cancel(taken.broker_id)
        venue.wait(10)
        one = found(venue, taken)
        assert (one.status, one.filled_qty, one.filled_value) == ("canceled", 4, 4 * LOW)
        assert venue.broker.positions() == {"AAA": Position(4, 4)}

    def test_what_an_open_sell_holds_is_not_free(self, venue: Venue):
        hold(venue)
        sold = venue.broker.submit("AAA", order(venue, 2, "target", qty=6))
        venue.wait(1)
        assert venue.broker.positions() == {"AAA": Position(10, 4)}
        venue.fill(sold.client_order_id, 1, HIGH)
        assert venue.broker.positions() == {"AAA": Position(9, 4)}

    def test_what_is_sold_again_is_no_position(self, venue: Venue):
        assert venue.broker.positions() == {}
        hold(venue)
        sold = venue.broker.submit("AAA", order(venue, 2, "target"))
        venue.fill(sold.client_order_id, 10, HIGH)
        assert venue.broker.positions() == {}
        assert found(venue, sold).filled_value == 10 * HIGH

    def test_each_change_is_later_than_the_one_before(self, venue: Venue):
        taken = buy(venue)
        stamps = [stamp(venue, taken)]
        for _ in range(2):
            venue.wait(1)
            venue.fill(taken.client_order_id, 3, LOW)
            stamps.append(stamp(venue, taken))
        venue.wait(1)
        venue.broker.cancel(taken.broker_id)
        venue.wait(10)
        stamps.append(stamp(venue, taken))
        assert all(before < after for before, after in pairwise(stamps))
        assert found(venue, taken).submitted_at == taken.submitted_at


class TestCancel:
    def test_it_takes_effect_or_pends_and_then_takes_effect(self, venue: Venue):
        taken = buy(venue)
        venue.broker.cancel(taken.broker_id)
        assert found(venue, taken).status in ("canceled", "pending_cancel")
        venue.wait(10)
        assert found(venue, taken).status == "canceled"
        assert venue.broker.open_orders() == []

    def test_a_repeat_is_no_error(self, venue: Venue):
        taken = buy(venue)
        for _ in range(3):
            venue.broker.cancel(taken.broker_id)
        venue.wait(10)
        venue.broker.cancel(taken.broker_id)
        assert found(venue, taken).status == "canceled"

    def test_a_filled_order_stays_filled_without_an_error(self, venue: Venue):
        hold(venue)
        before = venue.broker.orders_since(venue.session.open)
        for _ in range(4):
            venue.broker.cancel(before[0].broker_id)
            venue.wait(10)
            assert venue.broker.orders_since(venue.session.open) == before

    def test_an_order_that_nobody_made_is_no_error(self, venue: Venue):
        venue.broker.cancel(NOBODYS)

    def test_without_an_id_nothing_is_canceled(self, venue: Venue):
        taken = buy(venue)
        with pytest.raises(UnknownOutcomeError):
            venue.broker.cancel("")
        venue.wait(10)
        assert found(venue, taken).status == "new"


class TestLists:
    def test_without_orders_they_are_empty(self, venue: Venue):
        assert venue.broker.open_orders() == []
        assert venue.broker.orders_since(venue.session.open - timedelta(hours=1)) == []

    def test_orders_of_others_show_as_ones_own_do(self, venue: Venue):
        venue.place("BBB", "external", 3, LOW)
        taken = buy(venue)
        listed = venue.broker.open_orders()
        assert [(one.client_order_id, one.symbol, one.qty) for one in listed] == [
            ("external", "BBB", 3),
            (taken.client_order_id, "AAA", 10),
        ]
        assert listed == [found(venue, one) for one in listed]
        assert listed == venue.broker.orders_since(venue.session.open - timedelta(hours=1))

    def test_what_is_over_is_listed_since_and_not_as_open(self, venue: Venue):
        hold(venue)
        rests = buy(venue, 2)
        gone = buy(venue, 3)
        venue.broker.cancel(gone.broker_id)
        venue.wait(10)
        assert [one.broker_id for one in venue.broker.open_orders()] == [rests.broker_id]
        since = venue.broker.orders_since(venue.session.open - timedelta(hours=1))
        assert [one.status for one in since] == ["filled", "new", "canceled"]
        assert all(one.confirmed for one in since)
        assert [one.status in TERMINAL_STATUSES for one in since] == [True, False, True]

    def test_what_was_submitted_before_is_left_out(self, venue: Venue):
        early = buy(venue, 1)
        venue.wait(5)
        start = venue.broker.clock().now
        assert venue.broker.orders_since(start) == []
        venue.wait(5)
        late = buy(venue, 2)
        assert [one.broker_id for one in venue.broker.orders_since(start)] == [late.broker_id]
        assert early.submitted_at is not None
        before = early.submitted_at - timedelta(microseconds=1)
        assert len(venue.broker.orders_since(before)) == 2

    def test_an_order_of_the_same_microsecond_counts_as_later(self, venue: Venue):
        """The broker counts nanoseconds, and a report's stamp is cut to the microsecond."""
        taken = buy(venue)
        assert taken.submitted_at is not None
        assert len(venue.broker.orders_since(taken.submitted_at)) == 1


class TestExecutions:
    SINCE = timedelta(hours=1)

    def test_without_fills_there_are_none(self, venue: Venue):
        buy(venue)
        assert venue.broker.fills_since(venue.session.open - self.SINCE) == []

    def test_each_execution_is_told_by_its_orders_id_oldest_first(self, venue: Venue):
        taken = buy(venue)
        venue.fill(taken.client_order_id, 4, LOW)
        venue.fill(taken.client_order_id, 6, LOW)
        told = found(venue, taken)
        fills = venue.broker.fills_since(venue.session.open - self.SINCE)
        assert fills == [
            Fill(told.broker_id, "AAA", is_buy=True, qty=4, value=4 * LOW),
            Fill(told.broker_id, "AAA", is_buy=True, qty=6, value=6 * LOW),
        ]
        assert sum(one.value for one in fills) == told.filled_value

    def test_a_sale_is_no_buy_and_every_fill_has_its_order(self, venue: Venue):
        hold(venue)
        sold = venue.broker.submit("AAA", order(venue, 2, "target"))
        venue.wait(1)
        venue.fill(sold.client_order_id, 10, HIGH)
        fills = venue.broker.fills_since(venue.session.open - self.SINCE)
        assert [one.is_buy for one in fills] == [True, False]
        assert fills[-1].order_id == found(venue, sold).broker_id
        assert fills[-1].value == 10 * HIGH


class TestTime:
    def test_the_clock_goes_with_the_venues_time(self, venue: Venue):
        opens, closes = venue.session.open, venue.session.close
        assert venue.broker.clock() == Clock(opens, is_open=True)
        venue.wait(7.25)
        assert venue.broker.clock() == Clock(opens + timedelta(seconds=7.25), is_open=True)
        venue.wait((closes - opens).total_seconds() - 8.25)
        assert venue.broker.clock().is_open
        venue.wait(1)
        assert venue.broker.clock() == Clock(closes, is_open=False)

    def test_a_trading_day_has_hours_and_a_sunday_none(self, venue: Venue):
        assert venue.broker.session(venue.day) == venue.session
        sunday = venue.day + timedelta(days=6 - venue.day.weekday())
        assert venue.broker.session(sunday) is None
