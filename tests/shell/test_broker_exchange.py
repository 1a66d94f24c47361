"""The real adapter over real HTTP against the simulated exchange: refusals, joins, lists, bars."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from scalper.core.order import Order, Purpose
from scalper.core.pricing import CENT, DOLLAR
from scalper.core.session import Session
from scalper.shell.alpaca.bars import AlpacaMarketData
from scalper.shell.alpaca.broker import FILLS_PAGE, NOT_UNIQUE, PAGE, AlpacaBroker
from scalper.shell.errors import RefusedError, UnauthorizedError, WrongAccountError
from scalper.shell.ports import Clock, Position
from scalper.shell.settings import BrokerKeys
from scalper.shell.trading.window import Window
from tests.shell.fakes import client_id, settings
from tests.workbench.exchange.conftest import (
    CLOSE,
    FRIDAY,
    KEY,
    MINUTE,
    MONDAY,
    OPEN,
    SECRET,
    Client,
    asking,
    at,
)
from workbench.exchange.render import ACCOUNT_NUMBER


@pytest.fixture
def client() -> Iterator[Client]:
    with asking() as made:
        yield made


def keys(secret: str = SECRET) -> Any:
    return lambda: BrokerKeys(KEY, secret)


def alpaca(client: Client, secret: str = SECRET) -> AlpacaBroker:
    return AlpacaBroker(settings(trading_url=client.running.url), keys(secret))


def order(number: int = 1, purpose: str = "entry", **changes: Any) -> Order:
    given: dict[str, Any] = {
        "client_order_id": client_id(number, purpose, day=FRIDAY),
        "purpose": Purpose(purpose),
        "qty": 10,
        "limit": 10 * DOLLAR,
        "submitted_at": OPEN,
    }
    return Order(**given | changes)


def test_clock_and_calendar_are_the_exchanges(client: Client):
    broker = alpaca(client)
    assert broker.clock() == Clock(OPEN, is_open=True)
    client.advance(at(7.5))
    assert broker.clock().now == at(7.5)
    assert broker.session(FRIDAY) == Session.of(FRIDAY, "09:30", "16:00")
    assert broker.session(MONDAY) == Session.of(MONDAY, "09:30", "16:00")
    assert broker.session(FRIDAY + timedelta(days=1)) is None


def test_an_order_works_fills_and_shows_as_a_position(client: Client):
    broker = alpaca(client)
    taken = broker.submit("AAA", order())
    assert taken.status in ("new", "accepted", "pending_new")
    assert (taken.qty, taken.limit, taken.filled_qty) == (10, 10 * DOLLAR, 0)
    assert [one.client_order_id for one in broker.open_orders()] == [client_id(1, day=FRIDAY)]
    client.advance(at(1))
    found = broker.find(client_id(1, day=FRIDAY))
    assert found is not None
    assert (found.status, found.filled_qty, found.filled_value) == ("filled", 10, 100 * DOLLAR)
    assert found.confirmed
    assert broker.open_orders() == []
    assert broker.positions() == {"AAA": Position(10, 10)}
    assert [one.status for one in broker.orders_since(OPEN - MINUTE)] == ["filled"]
    assert broker.orders_since(at(5)) == []


@pytest.mark.fault("17")
def test_an_id_is_taken_for_good(client: Client):
    broker = alpaca(client)
    taken = broker.submit("AAA", order(limit=DOLLAR))
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            broker.submit("AAA", order(limit=DOLLAR))
        assert refused.value.code == NOT_UNIQUE
        broker.cancel(taken.broker_id)


def test_a_cancel_takes_effect_and_its_answer_is_never_an_error(client: Client):
    broker = alpaca(client)
    taken = broker.submit("AAA", order(limit=DOLLAR))
    for _ in range(3):
        broker.cancel(taken.broker_id)
    found = broker.find(taken.client_order_id)
    assert found is not None
    assert found.status == "canceled"
    broker.cancel("00000000-0000-0000-0000-000000000000")


def test_an_order_is_found_by_the_brokers_id(client: Client):
    broker = alpaca(client)
    taken = broker.submit("AAA", order(limit=DOLLAR))
    found = broker.find_by_id(taken.broker_id)
    assert found == broker.find(taken.client_order_id)
    assert broker.find_by_id("00000000-0000-0000-0000-000000000000") is None


@pytest.mark.fault("29")
def test_an_account_suspended_by_its_owner_is_blocked(client: Client):
    broker = alpaca(client)
    assert broker.account_block() == ""
    client.http.patch("/v2/account/configurations", json={"suspend_trade": True})
    assert broker.account_block() == "trade_suspended_by_user"
    with pytest.raises(RefusedError):
        broker.submit("AAA", order(limit=DOLLAR))


def test_an_order_that_nobody_made_is_none(client: Client):
    assert alpaca(client).find(client_id(77, day=FRIDAY)) is None


def test_held_shares_and_the_wrong_grid_are_refused_with_their_codes(client: Client):
    broker = alpaca(client)
    with pytest.raises(RefusedError) as refused:
        broker.submit("AAA", order(limit=10 * DOLLAR + 1))
    assert (refused.value.status, refused.value.code) == (422, 42210000)
    client.hold()
    sell = order(2, "target", limit=90 * DOLLAR)
    broker.submit("AAA", sell)
    with pytest.raises(RefusedError) as refused:
        broker.submit("AAA", order(3, "liquidation", limit=None))
    assert (refused.value.status, refused.value.code) == (403, 40310000)


def test_more_orders_than_a_page_are_all_found(client: Client):
    broker = alpaca(client)
    count = PAGE + 3
    for number in range(count):
        client.order(limit_price="1.00", client_order_id=f"external-{number}").raise_for_status()
        if number % 100 == 0:
            # Time stands still there otherwise, and pages go on by the time of submission.
            client.advance(OPEN + timedelta(milliseconds=number + 1))
    assert len(broker.open_orders()) == count
    assert len(broker.orders_since(OPEN - MINUTE)) == count


def test_more_fills_than_a_page_are_all_found_and_those_before_are_left_out(client: Client):
    broker = alpaca(client)
    count = FILLS_PAGE + 3
    for number in range(count):
        if number == 3:
            client.advance(at(1))
        client.order(limit_price="1.00", client_order_id=f"external-{number}").raise_for_status()
        venue = client.running.exchange.venue
        placed = venue.ledger.order_by_client_id(f"external-{number}")
        venue.ledger.fill(placed, price=DOLLAR, qty=placed.qty, at=venue.now)
    fills = broker.fills_since(OPEN - MINUTE)
    assert len(fills) == count
    assert len({one.order_id for one in fills}) == count
    assert broker.fills_since(OPEN) == fills[3:]


def test_whether_the_account_may_go_short_is_read_and_set(client: Client):
    broker = alpaca(client)
    assert broker.account_config()["no_shorting"] is True
    assert broker.set_no_shorting(no_shorting=False)["no_shorting"] is False
    assert broker.account_config()["no_shorting"] is False
    assert broker.account_config()["suspend_trade"] is False


def test_a_live_account_is_traded_where_its_number_is_the_one_given(client: Client):
    def live(number: str) -> AlpacaBroker:
        return AlpacaBroker(
            settings(trading_url=client.running.url, mode="live", live_account_number=number),
            keys(),
        )

    name = client_id(1, day=FRIDAY).replace("paper", "live")
    with pytest.raises(WrongAccountError, match=ACCOUNT_NUMBER):
        live("123").submit("AAA", order(client_order_id=name))
    assert alpaca(client).open_orders() == []
    assert live(ACCOUNT_NUMBER).submit("AAA", order(client_order_id=name)).qty == 10


def test_wrong_keys_are_unauthorized(client: Client):
    with pytest.raises(UnauthorizedError):
        alpaca(client, "wrong").clock()


def test_a_rate_limit_refuses_a_post_once_it_is_reached():
    with asking(requests_per_minute=4) as client:
        broker = alpaca(client)
        for _ in range(4):
            broker.clock()
        with pytest.raises(RefusedError) as refused:
            broker.submit("AAA", order())
        assert refused.value.status == 429


def test_bars_are_the_sessions_complete_ones(client: Client):
    client.advance(at(30.5))
    market = AlpacaMarketData(settings(data_url=client.running.url), keys())
    window = Window(market)
    session = Session.of(FRIDAY, "09:30", "16:00")
    assert window.refresh(["AAA", "BBB", "ZZZ"], session, at(30)) == ()
    bars = window.bars("AAA", at(30))
    assert [one.start for one in bars] == [at(n) for n in range(30)]
    assert (bars[0].open, bars[29].close) == (1000 * CENT, 1030 * CENT)
    assert len(window.bars("BBB", at(30))) == 6
    assert list(window.bars("ZZZ", at(30))) == []
    client.advance(at(33))
    window.refresh(["AAA", "BBB", "ZZZ"], session, at(33))
    assert len(window.bars("AAA", at(33))) == 33


def test_nothing_after_the_close_counts(client: Client):
    client.advance(CLOSE + 10 * MINUTE)
    market = AlpacaMarketData(settings(data_url=client.running.url), keys())
    window = Window(market)
    session = Session.of(FRIDAY, "09:30", "16:00")
    window.refresh(["AAA"], session, CLOSE + 10 * MINUTE)
    bars = window.bars("AAA", CLOSE + 10 * MINUTE)
    assert (len(bars), bars[-1].start) == (390, CLOSE - MINUTE)
