"""With TRADING_MODE=live requests go to one account alone, the one that the settings name."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from scalper.shell.alpaca.broker import AlpacaBroker
from scalper.shell.errors import (
    BrokerDownError,
    UnauthorizedError,
    UnknownOutcomeError,
    WrongAccountError,
)
from scalper.shell.ports import Stored
from scalper.shell.runtime import relay_of
from scalper.shell.settings import BrokerKeys
from scalper.shell.trading.checkup import checkup
from scalper.shell.trading.close_day import close_day
from scalper.shell.trading.liquidate import liquidate
from scalper.shell.trading.tick import tick
from scalper.shell.trading.tick_schedule import TickDue
from tests.shell.conftest import Records
from tests.shell.fakes import OPEN, Desk, minute, settings
from tests.shell.scripted import HANG, Request, Scripted
from tests.shell.test_broker import BUY, KEYS, OTHER_KEYS, document

OURS, OTHER = "123456789", "987654321"
CLOCK = {"timestamp": "2025-03-05T09:30:00-05:00", "is_open": True}


def account(number: str = OURS, **more: Any) -> tuple[int, Any]:
    return 200, {"account_number": number, **more}


def live(
    server: Scripted, fetch: Callable[[], BrokerKeys] = lambda: KEYS, number: str = OURS
) -> AlpacaBroker:
    return AlpacaBroker(
        settings(mode="live", trading_url=server.url, live_account_number=number), fetch
    )


def asked(server: Scripted) -> list[tuple[str, str]]:
    return [(one.method, one.path) for one in server.requests]


EVERYTHING: dict[str, Callable[[AlpacaBroker], object]] = {
    "submit": lambda broker: broker.submit("AAA", BUY),
    "cancel": lambda broker: broker.cancel("b1"),
    "find": lambda broker: broker.find(BUY.client_order_id),
    "find_by_id": lambda broker: broker.find_by_id("b1"),
    "open_orders": lambda broker: broker.open_orders(),
    "orders_since": lambda broker: broker.orders_since(OPEN),
    "positions": lambda broker: broker.positions(),
    "fills_since": lambda broker: broker.fills_since(OPEN),
    "account_block": lambda broker: broker.account_block(),
    "account_config": lambda broker: broker.account_config(),
    "set_no_shorting": lambda broker: broker.set_no_shorting(no_shorting=True),
}
"""Every method that means an account."""


def test_the_list_above_is_every_method_that_means_an_account():
    public = {name for name in vars(AlpacaBroker) if not name.startswith("_")}
    assert public - {"clock", "session"} == set(EVERYTHING)


class TestAnotherAccount:
    @pytest.mark.parametrize("name", EVERYTHING)
    def test_nothing_is_asked_of_it_or_sent_to_it(
        self, server: Scripted, records: Records, name: str
    ):
        server.answer(*[account(OTHER)] * 5)
        with pytest.raises(WrongAccountError, match=f"{OTHER}.*{OURS}"):
            EVERYTHING[name](live(server))
        assert set(asked(server)) == {("GET", "/v2/account")}
        (line,) = records.of("wrong account: nothing is sent")
        assert OTHER in line.__dict__["error"]

    @pytest.mark.parametrize("name", EVERYTHING)
    def test_without_a_number_nothing_is_asked_or_sent_at_all(
        self, server: Scripted, records: Records, name: str
    ):
        with pytest.raises(WrongAccountError, match="LIVE_ACCOUNT_NUMBER is not set"):
            EVERYTHING[name](live(server, number=""))
        assert server.requests == []
        assert records.messages() == ["wrong account: nothing is sent"]

    @pytest.mark.parametrize("answer", [{"id": "a"}, {"account_number": None}, [], "text"])
    def test_an_answer_without_its_number_is_not_ours(self, server: Scripted, answer: Any):
        server.answer(*[(200, answer)] * 6)
        with pytest.raises(UnknownOutcomeError if answer == "text" else WrongAccountError):
            live(server).submit("AAA", BUY)
        assert {method for method, _ in asked(server)} == {"GET"}

    def test_each_refusal_is_counted(self, server: Scripted, monkeypatch: pytest.MonkeyPatch):
        counted: list[str] = []
        monkeypatch.setattr("scalper.shell.alpaca.client.count", counted.append)
        server.answer(account(OTHER))
        with pytest.raises(WrongAccountError):
            live(server).submit("AAA", BUY)
        assert counted == ["WrongAccount"]

    def test_the_clock_and_the_calendar_are_everybodys(self, server: Scripted):
        server.answer((200, CLOCK), (200, []))
        broker = live(server)
        assert broker.clock().now == OPEN
        assert broker.session(OPEN.date()) is None
        assert [path for _, path in asked(server)] == ["/v2/clock", "/v2/calendar"]

    def test_the_secret_is_read_again_for_the_right_keys(self, server: Scripted):
        """A warm process still has the wrong keys when the owner has put the right ones."""
        fetched = iter([KEYS, OTHER_KEYS])
        server.answer(account(OTHER), account(OURS), (200, document()))
        report = live(server, lambda: next(fetched)).submit("AAA", BUY)
        assert report.client_order_id == BUY.client_order_id
        assert asked(server) == [
            ("GET", "/v2/account"),
            ("GET", "/v2/account"),
            ("POST", "/v2/orders"),
        ]
        keys = [one.headers["apca-api-key-id"] for one in server.requests]
        assert keys == ["PK1", "PK2", "PK2"]


class TestOurAccount:
    def test_it_is_asked_for_once_before_the_first_order(self, server: Scripted):
        server.answer(account(), (200, document()), (200, document()), (200, []))
        broker = live(server)
        broker.submit("AAA", BUY)
        broker.submit("AAA", BUY)
        broker.open_orders()
        assert asked(server) == [
            ("GET", "/v2/account"),
            ("POST", "/v2/orders"),
            ("POST", "/v2/orders"),
            ("GET", "/v2/orders"),
        ]

    def test_the_ticks_own_question_for_the_account_is_the_check(self, server: Scripted):
        server.answer(account(trading_blocked=True), (200, document()))
        broker = live(server)
        assert broker.account_block() == "trading_blocked"
        broker.submit("AAA", BUY)
        assert asked(server) == [("GET", "/v2/account"), ("POST", "/v2/orders")]

    def test_an_account_that_changes_under_the_same_keys_is_noticed(self, server: Scripted):
        server.answer(account(), account(OTHER), account(OTHER))
        broker = live(server)
        broker.account_block()
        with pytest.raises(WrongAccountError):
            broker.account_block()
        with pytest.raises(WrongAccountError):
            broker.submit("AAA", BUY)
        assert ("POST", "/v2/orders") not in asked(server)

    def test_rotated_keys_are_checked_before_the_order_goes_with_them(self, server: Scripted):
        fetched = iter([KEYS, OTHER_KEYS, OTHER_KEYS])
        server.answer(account(), (401, {"message": "unauthorized"}), account(OTHER))
        with pytest.raises(WrongAccountError):
            live(server, lambda: next(fetched)).submit("AAA", BUY)
        assert [(one.method, one.headers["apca-api-key-id"]) for one in server.requests[:3]] == [
            ("GET", "PK1"),
            ("POST", "PK1"),
            ("GET", "PK2"),
        ]
        posts = [one for one in server.requests if one.method == "POST"]
        assert [one.headers["apca-api-key-id"] for one in posts] == ["PK1"]

    def test_keys_rotated_within_the_account_go_on(self, server: Scripted):
        fetched = iter([KEYS, OTHER_KEYS])
        server.answer(account(), (401, {"message": "unauthorized"}), account(), (200, document()))
        report = live(server, lambda: next(fetched)).submit("AAA", BUY)
        assert report.status == "pending_new"
        assert [one.method for one in server.requests] == ["GET", "POST", "GET", "POST"]

    def test_keys_that_are_refused_are_said_as_such(self, server: Scripted):
        server.answer(*[(401, {"message": "unauthorized"})] * 3)
        with pytest.raises(UnauthorizedError) as raised:
            live(server).submit("AAA", BUY)
        assert not isinstance(raised.value, WrongAccountError)
        assert {method for method, _ in asked(server)} == {"GET"}

    @pytest.mark.parametrize("answer", [(500, "oops"), (404, {"message": "no"}), (429, {}), HANG])
    def test_without_an_answer_no_order_is_sent_and_it_may_be_sent_later(
        self, server: Scripted, answer: Any, monkeypatch: pytest.MonkeyPatch
    ):
        """Not a refusal: the order stays an intent, and goes with the next pass."""
        monkeypatch.setattr("scalper.shell.alpaca.client.READ_TIMEOUT_S", 0.2)
        server.answer(answer)
        broker = live(server)
        with pytest.raises(UnknownOutcomeError):
            broker.submit("AAA", BUY)
        assert asked(server) == [("GET", "/v2/account")]
        server.answer(account(), (200, document()))
        assert broker.submit("AAA", BUY).status == "pending_new"

    def test_a_question_without_an_answer_is_none(self, server: Scripted):
        server.answer(*[(503, "oops")] * 3)
        with pytest.raises(BrokerDownError):
            live(server).find(BUY.client_order_id)

    def test_side_by_side_the_first_asks_and_the_others_wait_for_it(self, server: Scripted):
        lock = threading.Lock()
        accounts = 0

        def answer(request: Request) -> tuple[int, Any]:
            nonlocal accounts
            with lock:
                accounts += request.path == "/v2/account"
            return account() if request.path == "/v2/account" else (200, [])

        server.answer(answer)
        broker = live(server)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: broker.open_orders(), range(8)))
        assert (accounts, len(server.requests)) == (1, 9)


def test_on_paper_no_account_is_asked_for(server: Scripted):
    server.answer((200, document()))
    broker = AlpacaBroker(settings(trading_url=server.url), lambda: KEYS)
    broker.submit("AAA", BUY)
    assert asked(server) == [("POST", "/v2/orders")]


class TestRelay:
    """The stream is told no account: the relay asks before it takes the place."""

    def wanted_s(self, server: Scripted, answer: tuple[int, Any], mode: str = "live") -> float:
        """Return for how long a relay is wanted whose keys open the account of the answer."""
        where = settings(
            mode=mode,
            clock="system",
            trading_url=server.url,
            live_account_number=OURS,
            webhook_url="http://hook",
        )
        hours = {"date": OPEN.date().isoformat(), "open": "09:30", "close": "16:00"}
        answers = {"/v2/clock": (200, CLOCK), "/v2/calendar": (200, [hours])}
        server.answer(lambda request: answers.get(request.path, answer))
        return relay_of(where, lambda: KEYS, lambda: ["whsec_"]).needed_for_s()

    @pytest.mark.usefixtures("aws")
    def test_another_accounts_stream_is_left_alone(self, server: Scripted):
        with pytest.raises(WrongAccountError, match=f"{OTHER}.*{OURS}"):
            self.wanted_s(server, account(OTHER))

    @pytest.mark.usefixtures("aws")
    def test_ours_is_listened_to(self, server: Scripted):
        assert self.wanted_s(server, account()) == 391 * 60

    @pytest.mark.usefixtures("aws")
    def test_an_account_that_is_unknown_is_left_alone(self, server: Scripted, records: Records):
        assert self.wanted_s(server, (503, "")) == 0
        assert records.messages() == ["account unknown"]

    @pytest.mark.usefixtures("aws")
    def test_on_paper_no_account_is_asked_for(self, server: Scripted):
        assert self.wanted_s(server, (503, ""), mode="paper") == 391 * 60


class TestPasses:
    """What the passes make of it: nothing, and each of them says so."""

    @pytest.fixture
    def wrong(self, server: Scripted) -> Desk:
        desk = Desk(mode="live", trading_url=server.url, live_account_number=OURS)
        desk.trade("AAA")
        broker = live(server)
        broker.clock = desk.broker.clock  # type: ignore[method-assign]
        broker.session = desk.broker.session  # type: ignore[method-assign]
        desk.broker.now = minute(1)
        server.answer(lambda request: account(OTHER))
        desk.engine.broker = broker
        return desk

    def test_a_tick_does_nothing_and_says_why_in_one_line(
        self, wrong: Desk, server: Scripted, records: Records
    ):
        answer = tick(wrong.engine, TickDue(minute(1)))
        assert answer["status"] == "wrong_account"
        assert OTHER in answer["error"]
        assert records.messages() == ["wrong account: nothing is sent"]
        assert set(asked(server)) == {("GET", "/v2/account")}
        assert wrong.store.load("AAA") is None

    def test_a_position_is_neither_sold_nor_taken_for_sold_by_somebody_else(
        self, desk: Desk, wrong: Desk, server: Scripted
    ):
        desk.hold(1)
        state = desk.state()
        order = state.order
        assert order is not None
        held = replace(state, order=replace(order, client_order_id=_live(order.client_order_id)))
        wrong.store.save(_new(held), held)
        before = wrong.state()
        wrong.broker.now = minute(3)
        assert tick(wrong.engine, TickDue(minute(3)))["status"] == "wrong_account"
        assert checkup(wrong.engine, minute(3))["status"] == "failed"
        with pytest.raises(WrongAccountError):
            liquidate(wrong.engine, minute(386))
        with pytest.raises(WrongAccountError):
            close_day(wrong.engine, minute(395))
        assert wrong.state() == before
        assert set(asked(server)) == {("GET", "/v2/account")}


def _live(client_order_id: str) -> str:
    return client_order_id.replace("paper", "live")


def _new(state: Any) -> Any:
    return Stored(state, None)
