"""A request that changes something is sent once; an unknown outcome is never called a refusal."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alpaca.common import constants, rest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.order import Order, OrderReport, Purpose
from scalper.core.pricing import DOLLAR
from scalper.core.session import Session, parse_time
from scalper.shell.alpaca import client as client_module
from scalper.shell.alpaca.broker import MAX_PAGES, NOT_UNIQUE, PAGE, AlpacaBroker
from scalper.shell.alpaca.client import BoundedClient
from scalper.shell.alpaca.parsing import report_of
from scalper.shell.errors import (
    BrokerDownError,
    RefusedError,
    SettingsError,
    UnauthorizedError,
    UnknownOutcomeError,
)
from scalper.shell.ports import Clock, Position
from scalper.shell.settings import BrokerKeys
from scalper.shell.trading.own_orders import day_start, own_reports, recently_traded
from tests.shell.conftest import Records
from tests.shell.fakes import DAY, OPEN, PRICE, client_id, settings
from tests.shell.scripted import CUT, HANG, RESET, Request, Scripted

KEYS = BrokerKeys("PK1", "first-secret")
OTHER_KEYS = BrokerKeys("PK2", "second-secret")
BUY = Order(
    client_order_id=client_id(1),
    purpose=Purpose.ENTRY,
    qty=20,
    limit=100 * DOLLAR,
    submitted_at=OPEN,
)
HTML = "<html><body>504 Gateway Time-out</body></html>"


class Keys:
    """A secret that can be rotated."""

    def __init__(self, *keys: BrokerKeys | SettingsError) -> None:
        self.keys = list(keys) or [KEYS]
        self.fetched = 0

    def __call__(self) -> BrokerKeys:
        self.fetched += 1
        found = self.keys[0] if len(self.keys) == 1 else self.keys.pop(0)
        if isinstance(found, SettingsError):
            raise found
        return found


def alpaca(server: Scripted, keys: Keys | None = None) -> AlpacaBroker:
    return AlpacaBroker(settings(trading_url=server.url), keys or Keys())


def document(**changes: Any) -> dict[str, Any]:
    """Return an order object as Alpaca's documentation shows it."""
    return {
        "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
        "client_order_id": client_id(1),
        "created_at": "2025-03-05T14:31:00.123456789Z",
        "updated_at": "2025-03-05T14:31:00.5Z",
        "submitted_at": "2025-03-05T14:31:00.123456789Z",
        "filled_at": None,
        "asset_id": "b0b6dd9d-8b9b-48a9-ba46-b9d54906e415",
        "symbol": "AAA",
        "notional": None,
        "qty": "20",
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": "",
        "type": "limit",
        "side": "buy",
        "time_in_force": "day",
        "limit_price": "100",
        "status": "pending_new",
    } | changes


REPORT = OrderReport(
    client_order_id=client_id(1),
    status="pending_new",
    symbol="AAA",
    qty=20,
    limit=100 * DOLLAR,
    submitted_at=datetime(2025, 3, 5, 14, 31, 0, 123456, tzinfo=UTC),
    updated_at=datetime(2025, 3, 5, 14, 31, 0, 500000, tzinfo=UTC),
    broker_id="61e69015-8549-4bfd-b9c3-01e75843f47d",
)


class TestSubmit:
    def test_a_limit_order_goes_out_as_a_day_order_in_exact_text(self, server: Scripted):
        server.answer((200, document()))
        assert alpaca(server).submit("AAA", BUY) == REPORT
        (request,) = server.requests
        assert (request.method, request.path) == ("POST", "/v2/orders")
        assert json.loads(request.body) == {
            "symbol": "AAA",
            "qty": "20",
            "side": "buy",
            "type": "limit",
            "time_in_force": "day",
            "limit_price": "100.00",
            "client_order_id": client_id(1),
        }
        assert request.headers["apca-api-key-id"] == "PK1"

    def test_a_market_sell_has_no_limit(self, server: Scripted):
        name = client_id(2, "liquidation")
        server.answer((200, document(client_order_id=name, limit_price=None)))
        sell = Order(
            client_order_id=name, purpose=Purpose.LIQUIDATION, qty=7, limit=None, submitted_at=OPEN
        )
        assert alpaca(server).submit("AAA", sell).limit is None
        assert json.loads(server.requests[0].body) == {
            "symbol": "AAA",
            "qty": "7",
            "side": "sell",
            "type": "market",
            "time_in_force": "day",
            "client_order_id": name,
        }

    @pytest.mark.fault("8", "14", "31", "32")
    @pytest.mark.parametrize(
        "answer",
        [
            (500, '{"code": 50010000, "message": "internal server error occurred"}'),
            (502, HTML),
            (503, ""),
            (504, HTML),
            (504, '{"message": "time-out"}'),
            (200, ""),
            (200, HTML),
            (200, "{}"),
            (200, "[]"),
            (200, "null"),
            (200, "5"),
            (200, document(id=None)),
            (200, document(status=None)),
            (200, document(qty="many")),
            (200, document(client_order_id=client_id(2))),
            (200, document(client_order_id=None)),
            (302, ""),
            (403, HTML),
            (408, "Request Timeout"),
            (429, "<html>too many</html>"),
            RESET,
            HANG,
            CUT,
        ],
        ids=repr,
    )
    def test_what_is_no_order_and_no_refusal_is_unknown_and_sent_once(
        self, server: Scripted, answer: Any, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(client_module, "READ_TIMEOUT_S", 0.2)
        server.answer(answer)
        with pytest.raises(UnknownOutcomeError):
            alpaca(server).submit("AAA", BUY)
        assert [request.method for request in server.requests] == ["POST"]

    def test_a_port_that_nobody_listens_on_is_unknown(self, server: Scripted):
        down = AlpacaBroker(settings(trading_url="http://127.0.0.1:9"), Keys())
        with pytest.raises(UnknownOutcomeError):
            down.submit("AAA", BUY)

    @pytest.mark.fault("28")
    @pytest.mark.parametrize(
        ("status", "code", "message"),
        [
            (403, 40310000, "insufficient buying power"),
            (422, 42210000, "sub-penny increment does not fulfill minimum pricing criteria"),
            (422, NOT_UNIQUE, "client_order_id must be unique"),
            (429, 42910000, "rate limit exceeded"),
            (404, None, "not found"),
        ],
    )
    def test_a_parsed_refusal_is_definite_and_sent_once(
        self, server: Scripted, status: int, code: int | None, message: str
    ):
        body = {"message": message} | ({} if code is None else {"code": code})
        server.answer((status, body))
        with pytest.raises(RefusedError) as refused:
            alpaca(server).submit("AAA", BUY)
        error = refused.value
        assert (error.status, error.code, error.message) == (status, code, message)
        assert len(server.requests) == 1

    @pytest.mark.fault("dead-socket")
    def test_a_dead_keep_alive_connection_is_unknown_after_a_thaw(self, server: Scripted):
        broker = alpaca(server)
        server.answer((200, {"timestamp": OPEN.isoformat(), "is_open": True}), RESET)
        broker.clock()
        with pytest.raises(UnknownOutcomeError):
            broker.submit("AAA", BUY)
        assert [request.method for request in server.requests] == ["GET", "POST"]

    @pytest.mark.fault("8")
    def test_an_unknown_status_and_unknown_fields_do_no_harm(self, server: Scripted):
        server.answer((200, document(status="teleported", moon="full", legs=[{}])))
        assert alpaca(server).submit("AAA", BUY).status == "teleported"


class TestCancel:
    def test_it_asks_for_one_order(self, server: Scripted):
        server.answer((204, ""))
        alpaca(server).cancel("b1")
        (request,) = server.requests
        assert (request.method, request.path) == ("DELETE", "/v2/orders/b1")

    @pytest.mark.fault("19")
    @pytest.mark.parametrize("status", [404, 422, 403, 429])
    def test_a_refusal_proves_nothing_and_is_no_error(self, server: Scripted, status: int):
        server.answer((status, {"code": 42210000, "message": 'order is already in "filled" state'}))
        alpaca(server).cancel("b1")
        assert len(server.requests) == 1

    @pytest.mark.parametrize("answer", [(504, HTML), (500, ""), RESET, HANG, (200, HTML)])
    def test_no_answer_is_unknown_and_not_repeated(
        self, server: Scripted, answer: Any, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(client_module, "READ_TIMEOUT_S", 0.2)
        server.answer(answer)
        with pytest.raises(UnknownOutcomeError):
            alpaca(server).cancel("b1")
        assert len(server.requests) == 1

    def test_without_an_id_nothing_is_sent_for_that_would_cancel_every_order(
        self, server: Scripted
    ):
        with pytest.raises(UnknownOutcomeError):
            alpaca(server).cancel("")
        assert server.requests == []


class TestQuestions:
    @pytest.mark.fault("31", "dead-socket")
    @pytest.mark.parametrize("answer", [(500, ""), (504, HTML), (200, HTML), RESET, CUT])
    def test_a_question_is_repeated(self, server: Scripted, answer: Any):
        server.answer(answer, answer, (200, document()))
        found = alpaca(server).find(client_id(1))
        assert found is not None
        assert found.confirmed
        assert len(server.requests) == 3

    @pytest.mark.fault("31")
    @pytest.mark.parametrize("answer", [(500, ""), (504, HTML), (200, HTML), RESET, CUT, HANG])
    def test_a_question_is_repeated_within_bounds(
        self, server: Scripted, answer: Any, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(client_module, "READ_TIMEOUT_S", 0.1)
        server.answer(answer)
        with pytest.raises(BrokerDownError):
            alpaca(server).clock()
        assert len(server.requests) == 3

    def test_a_rate_limit_is_waited_for_and_then_a_refusal(self, server: Scripted):
        limit = (429, {"code": 42910000, "message": "rate limit exceeded"})
        server.answer(limit, limit, (200, []))
        assert alpaca(server).open_orders() == []
        server.requests.clear()
        server.answer(limit)
        with pytest.raises(RefusedError):
            alpaca(server).open_orders()
        assert len(server.requests) == 3

    def test_a_refusal_is_not_asked_again(self, server: Scripted):
        server.answer((403, {"message": "forbidden."}))
        with pytest.raises(RefusedError):
            alpaca(server).positions()
        assert len(server.requests) == 1

    def test_a_404_by_client_id_is_none(self, server: Scripted):
        server.answer((404, {"code": 40410000, "message": "order not found"}))
        assert alpaca(server).find(client_id(1)) is None
        assert server.requests[0].path == "/v2/orders:by_client_order_id"
        assert server.requests[0].query == {"client_order_id": client_id(1)}

    def test_an_order_is_found_by_the_brokers_id(self, server: Scripted):
        server.answer((200, document(status="replaced", replaced_by="b2")))
        found = alpaca(server).find_by_id("b1")
        assert found == replace(REPORT, status="replaced", replaced_by="b2", confirmed=True)
        assert server.requests[0].path == "/v2/orders/b1"

    def test_a_404_by_the_brokers_id_is_none(self, server: Scripted):
        server.answer((404, {"code": 40410000, "message": "order not found"}))
        assert alpaca(server).find_by_id("b1") is None

    def test_without_an_id_nothing_is_asked_for_that_would_be_a_list(self, server: Scripted):
        assert alpaca(server).find_by_id("") is None
        assert server.requests == []

    @pytest.mark.parametrize(
        ("account", "why"),
        [
            ({"trading_blocked": False, "account_blocked": False}, ""),
            ({}, ""),
            ({"trading_blocked": None, "account_blocked": "no"}, ""),
            ({"trading_blocked": True}, "trading_blocked"),
            ({"account_blocked": True, "status": "ACTIVE"}, "account_blocked"),
            (
                {"trading_blocked": True, "trade_suspended_by_user": True},
                "trading_blocked, trade_suspended_by_user",
            ),
        ],
    )
    @pytest.mark.fault("29")
    def test_an_account_is_blocked_by_any_of_its_flags(
        self, server: Scripted, account: dict[str, Any], why: str
    ):
        server.answer((200, account))
        assert alpaca(server).account_block() == why
        assert server.requests[0].path == "/v2/account"

    def test_an_account_of_another_shape_is_no_answer(self, server: Scripted):
        server.answer((200, []))
        with pytest.raises(BrokerDownError):
            alpaca(server).account_block()

    def test_a_404_that_is_a_page_of_html_is_no_answer(self, server: Scripted):
        server.answer((404, HTML))
        with pytest.raises(BrokerDownError):
            alpaca(server).find(client_id(1))

    def test_the_clock_has_a_new_york_offset(self, server: Scripted):
        server.answer((200, {"timestamp": "2025-03-05T09:30:00.123456789-05:00", "is_open": True}))
        assert alpaca(server).clock() == Clock(OPEN + timedelta(microseconds=123456), is_open=True)

    @pytest.mark.fault("46")
    def test_a_session_comes_from_the_calendar(self, server: Scripted):
        server.answer((200, [{"date": "2025-03-05", "open": "09:30", "close": "13:00"}]))
        assert alpaca(server).session(DAY) == Session.of(DAY, "09:30", "13:00")
        assert server.requests[0].query == {"start": "2025-03-05", "end": "2025-03-05"}

    def test_a_holiday_has_no_session(self, server: Scripted):
        server.answer((200, []))
        assert alpaca(server).session(DAY) is None

    def test_another_days_hours_are_not_taken(self, server: Scripted):
        server.answer((200, [{"date": "2025-03-06", "open": "09:30", "close": "16:00"}]))
        assert alpaca(server).session(DAY) is None

    def test_positions_are_whole_shares_and_shorts_are_negative(self, server: Scripted):
        server.answer(
            (
                200,
                [
                    {"symbol": "AAA", "qty": "20", "qty_available": "12.5"},
                    {"symbol": "BBB", "qty": "-5", "qty_available": "-5"},
                    {"symbol": "CCC", "qty": "0.75", "qty_available": "0.75"},
                    {"symbol": "DDD", "qty": "3"},
                ],
            )
        )
        assert alpaca(server).positions() == {
            "AAA": Position(20, 12),
            "BBB": Position(-5, -5),
            "CCC": Position(0, 0),
            "DDD": Position(3, 3),
        }

    @pytest.mark.parametrize("body", ["", "{}", "null", "5", '"x"', "[5]", "[null]", "[{}]"])
    @pytest.mark.parametrize("method", ["open_orders", "positions", "session", "clock", "find"])
    def test_an_answer_of_another_shape_is_no_answer(
        self, server: Scripted, method: str, body: str
    ):
        server.answer((200, body))
        broker = alpaca(server)
        asked: dict[str, Any] = {
            "open_orders": broker.open_orders,
            "positions": broker.positions,
            "session": lambda: broker.session(DAY),
            "clock": broker.clock,
            "find": lambda: broker.find(client_id(1)),
        }
        with pytest.raises(BrokerDownError):
            asked[method]()


class TestPages:
    def orders(self, count: int) -> list[dict[str, Any]]:
        return [
            document(
                id=f"b{number}",
                client_order_id=f"external-{number}",
                submitted_at=(OPEN + timedelta(milliseconds=10 * (number // 3))).isoformat(),
            )
            for number in range(count)
        ]

    def paged(self, orders: list[dict[str, Any]]) -> Any:
        def answer(request: Request) -> tuple[int, Any]:
            after = request.query.get("after")
            found = [
                one
                for one in orders
                if after is None or parse_time(one["submitted_at"]) > parse_time(after)
            ]
            return 200, found[: int(request.query["limit"])]

        return answer

    @pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 7])
    def test_every_order_is_found_though_some_share_an_instant(self, server: Scripted, count: int):
        server.answer(self.paged(self.orders(count)))
        found = alpaca(server).orders_since(OPEN - timedelta(hours=1))
        assert [one.broker_id for one in found] == [f"b{number}" for number in range(count)]
        assert all(one.confirmed for one in found)

    def test_more_than_a_page_within_one_microsecond_ends(self, server: Scripted):
        """A simulated exchange stamps a large liquidation so: nanoseconds apart."""

        def to_the_nanosecond(stamp: str) -> tuple[datetime, int]:
            digits = stamp.partition(".")[2].rstrip("Z")
            return parse_time(stamp), int(digits[6:9]) if digits.isdigit() else 0

        orders = [
            one | {"submitted_at": f"2025-03-05T14:31:00.000000{number:03d}Z"}
            for number, one in enumerate(self.orders(PAGE + 2))
        ]

        def answer(request: Request) -> tuple[int, Any]:
            after = to_the_nanosecond(request.query["after"])
            found = [one for one in orders if to_the_nanosecond(one["submitted_at"]) > after]
            return 200, found[: int(request.query["limit"])]

        server.answer(answer)
        assert len(alpaca(server).orders_since(OPEN)) == PAGE + 2

    def test_the_query_asks_for_all_orders_oldest_first(self, server: Scripted):
        server.answer((200, []))
        alpaca(server).orders_since(OPEN)
        assert server.requests[0].query == {
            "status": "all",
            "after": "2025-03-05T14:30:00+00:00",
            "limit": "500",
            "direction": "asc",
            "nested": "false",
        }

    def test_pages_have_a_bound(self, server: Scripted):
        same = [one | {"submitted_at": OPEN.isoformat()} for one in self.orders(PAGE)]
        server.answer((200, same))
        with pytest.raises(BrokerDownError, match="more than"):
            alpaca(server).open_orders()
        assert len(server.requests) == MAX_PAGES

    def test_a_external_order_that_cannot_be_read_hides_none_of_ours(
        self, server: Scripted, records: Records
    ):
        legs = document(id="m1", client_order_id="mine", symbol=None, qty=None, order_class="mleg")
        server.answer((200, [legs, document(), document(client_order_id="x", id=None)]))
        assert [one.client_order_id for one in alpaca(server).open_orders()] == [client_id(1)]
        assert records.messages() == ["external order cannot be read"] * 2

    def test_one_of_ours_that_cannot_be_read_is_no_answer(self, server: Scripted):
        server.answer((200, [document(symbol=None)]))
        with pytest.raises(BrokerDownError):
            alpaca(server).open_orders()

    def test_a_page_without_its_last_time_is_no_answer(self, server: Scripted):
        orders = self.orders(PAGE)
        del orders[-1]["submitted_at"]
        server.answer((200, orders))
        with pytest.raises(BrokerDownError):
            alpaca(server).open_orders()


class TestKeys:
    def protected(self, *valid: BrokerKeys) -> Any:
        known = {(keys.key_id, keys.secret_key) for keys in valid}

        def answer(request: Request) -> tuple[int, Any]:
            given = request.headers["apca-api-key-id"], request.headers["apca-api-secret-key"]
            if given not in known:
                return 401, {"message": "unauthorized"}
            if request.method == "POST":
                return 200, document()
            return 200, {"timestamp": OPEN.isoformat(), "is_open": True}

        return answer

    @pytest.mark.fault("rotated-secret")
    def test_rotated_keys_are_fetched_once_and_even_a_post_goes_out_again(self, server: Scripted):
        server.answer(self.protected(OTHER_KEYS))
        keys = Keys(KEYS, OTHER_KEYS)
        broker = alpaca(server, keys)
        assert broker.submit("AAA", BUY) == REPORT
        assert [one.method for one in server.requests] == ["POST", "POST"]
        assert server.requests[0].body == server.requests[1].body
        assert keys.fetched == 2
        broker.clock()
        assert len(server.requests) == 3

    @pytest.mark.fault("rotated-secret")
    def test_keys_that_did_not_change_are_not_tried_again(self, server: Scripted):
        server.answer(self.protected())
        broker = alpaca(server, keys := Keys())
        with pytest.raises(UnauthorizedError):
            broker.clock()
        assert (len(server.requests), keys.fetched) == (1, 2)
        with pytest.raises(UnauthorizedError):
            broker.submit("AAA", BUY)
        with pytest.raises(UnauthorizedError):
            broker.cancel("b1")

    def test_new_keys_that_are_refused_too_are_tried_once(self, server: Scripted):
        server.answer(self.protected())
        with pytest.raises(UnauthorizedError):
            alpaca(server, Keys(KEYS, OTHER_KEYS)).clock()
        assert len(server.requests) == 2

    def test_a_secret_that_cannot_be_read_leaves_the_401(self, server: Scripted, records: Records):
        server.answer(self.protected())
        broken = SettingsError("the secret cannot be read")
        with pytest.raises(UnauthorizedError):
            alpaca(server, Keys(KEYS, broken)).clock()
        assert records.messages() == ["settings"]

    def test_of_many_refused_at_once_one_fetches_and_all_go_out_again(self, server: Scripted):
        together = threading.Barrier(8, timeout=10)
        protected = self.protected(OTHER_KEYS)

        def answer(request: Request) -> tuple[int, Any]:
            if request.headers["apca-api-key-id"] == KEYS.key_id:
                together.wait()
            return protected(request)

        server.answer(answer)
        keys = Keys(KEYS, OTHER_KEYS)
        broker = alpaca(server, keys)
        with ThreadPoolExecutor(8) as pool:
            clocks = list(pool.map(lambda _: broker.clock(), range(8)))
        assert len(clocks) == 8
        assert keys.fetched == 2

    def test_no_key_is_in_an_error(self, server: Scripted):
        server.answer(self.protected())
        with pytest.raises(UnauthorizedError) as refused:
            alpaca(server).clock()
        assert "secret" not in str(refused.value)


class TestPinned:
    """What BoundedClient leans on in alpaca-py; a new version has to pass all of it."""

    def test_the_private_attributes_are_there(self):
        client = rest.RESTClient("http://127.0.0.1:9", "key", "secret", raw_data=True)
        assert client._session.trust_env
        assert client._retry == constants.DEFAULT_RETRY_ATTEMPTS == 3
        assert (client._api_key, client._secret_key) == ("key", "secret")
        assert client._get_auth_headers() == {
            "APCA-API-KEY-ID": "key",
            "APCA-API-SECRET-KEY": "secret",
        }

    def test_each_verb_goes_through_one_request(self):
        seen: list[tuple[str, str, Any, int]] = []

        class Client(rest.RESTClient):
            def _one_request(self, method: str, url: str, opts: Any, retry: int) -> Any:
                seen.append((method, url, opts.get("params") or opts.get("json"), retry))
                assert opts["allow_redirects"] is False
                return {}

        client = Client("http://h", "key", "secret", raw_data=True)
        client._retry = 0
        client.get("/a", {"q": "1"})
        client.post("/b", {"x": 2})
        client.delete("/c")
        assert seen == [
            ("GET", "http://h/v2/a", {"q": "1"}, 0),
            ("POST", "http://h/v2/b", {"x": 2}, 0),
            ("DELETE", "http://h/v2/c", None, 0),
        ]

    def test_left_alone_it_repeats_a_post_which_is_why(
        self, server: Scripted, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(rest, "DEFAULT_RETRY_WAIT_SECONDS", 0)
        server.answer((504, HTML), (200, document()))
        client = rest.RESTClient(server.url, "key", "secret", raw_data=True)
        client._retry_wait = 0
        client.post("/orders", {})
        assert len(server.requests) == 2

    def test_every_request_has_its_time_outs(
        self, server: Scripted, monkeypatch: pytest.MonkeyPatch
    ):
        client = BoundedClient(server.url, Keys())
        given: list[Any] = []
        send = client._session.request

        def request(*args: Any, **opts: Any) -> Any:
            given.append(opts["timeout"])
            return send(*args, **opts)

        monkeypatch.setattr(client._session, "request", request)
        server.answer((200, {}))
        client.get("/a")
        client.post("/b", {})
        client.delete("/c")
        assert given == [(2.0, 5.0)] * 3

    @pytest.mark.fault("14")
    def test_the_clients_own_repeats_are_off(self, server: Scripted):
        assert BoundedClient(server.url, Keys())._retry == 0

    def test_numbers_are_read_exactly(self, server: Scripted):
        server.answer((200, '{"c": 10.1, "n": 3}'))
        assert repr(BoundedClient(server.url, Keys()).get("/a")) == "{'c': Decimal('10.1'), 'n': 3}"

    def test_a_redirect_is_not_followed_with_the_keys(self, server: Scripted):
        server.answer((302, "see /v2/b"))
        with pytest.raises(ValueError, match=r"\S"):
            BoundedClient(server.url, Keys()).get("/a")
        assert len(server.requests) == 1

    def test_neither_pandas_nor_numpy_is_loaded(self):
        functions = Path(client_module.__file__).parents[3]
        code = (
            "import sys, pkgutil, importlib, scalper.shell as shell\n"
            "for one in pkgutil.iter_modules(shell.__path__):\n"
            "    importlib.import_module(f'scalper.shell.{one.name}')\n"
            "import tick, trade_update, checkup, liquidate, relay, close_day\n"
            "print(sorted({'pandas', 'numpy', 'pytz', 'msgpack'} & set(sys.modules)))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=functions, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"


class TestReports:
    def test_the_filled_value_keeps_the_averages_digits(self):
        report = report_of(document(filled_qty="3", filled_avg_price="10.0033333333"))
        assert (report.filled_qty, report.filled_value) == (3, 300_100)

    def test_the_newest_fields_may_be_missing(self):
        least = {name: document()[name] for name in ("id", "client_order_id", "status", "symbol")}
        assert report_of(least) == OrderReport(
            client_order_id=client_id(1),
            status="pending_new",
            symbol="AAA",
            broker_id=REPORT.broker_id,
        )

    @pytest.mark.parametrize(
        ("said", "read"), [("b2", "b2"), (None, ""), ("", ""), (7, ""), (["b2"], "")]
    )
    def test_who_replaced_it_is_read_with_tolerance(self, said: object, read: str):
        assert report_of(document(replaced_by=said)).replaced_by == read

    def test_a_fill_without_a_price_is_no_order(self):
        with pytest.raises(ValueError, match="price"):
            report_of(document(filled_qty="3", filled_avg_price=None))

    @pytest.mark.parametrize(
        "name", ["id", "client_order_id", "status", "symbol", "qty", "limit_price", "submitted_at"]
    )
    @given(value=st.one_of(st.text(), st.integers(), st.lists(st.none()), st.floats(), st.none()))
    def test_any_value_is_read_or_a_value_error(self, name: str, value: object):
        try:
            report_of(document(**{name: value}))
        except ValueError:
            return

    def test_own_orders_are_told_by_mode_and_form(self):
        names = [client_id(1), client_id(2), client_id(1, symbol="BBB"), "external", ""]
        live = client_id(3).replace("paper", "live")
        reports = [report_of(document(client_order_id=name)) for name in [*names, live]]
        assert {s: len(r) for s, r in own_reports(reports, "paper").items()} == {"AAA": 2, "BBB": 1}
        assert list(own_reports(reports, "live")) == ["AAA"]

    @pytest.mark.fault("23")
    def test_a_replaced_order_and_those_in_its_place_are_told_as_one(self):
        def told(number: int, name: str, status: str, qty: int, filled: int) -> OrderReport:
            return OrderReport(
                client_order_id=name,
                status=status,
                symbol="AAA",
                qty=qty,
                filled_qty=filled,
                filled_value=filled * PRICE,
                broker_id=f"b{number}",
                replaced_by=f"b{number + 1}" if status == "replaced" else "",
            )

        chain = [
            told(1, client_id(2, "target"), "replaced", 20, 5),
            told(2, "new name", "replaced", 15, 3),
            told(3, "newer name", "partially_filled", 12, 2),
        ]
        (own,) = own_reports(chain, "paper")["AAA"]
        assert (own.client_order_id, own.broker_id) == (client_id(2, "target"), "b3")
        assert (own.status, own.qty, own.filled_qty) == ("partially_filled", 20, 10)
        assert (own.filled_value, own.carried) == (10 * PRICE, (8, 8 * PRICE))
        # What filled in the place of a buy of ours is one, too; in the place of others it is not.
        for name, moved in ((client_id(1), set()), ("by hand", {"AAA"})):
            replaced = replace(chain[0], client_order_id=name, filled_qty=0)
            assert recently_traded([replaced, *chain[1:]], OPEN) == moved
        # Without its successor among the reports it is told as it is.
        assert own_reports(chain[:1], "paper")["AAA"] == chain[:1]


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({}, {"AAA"}),
        ({"client_order_id": client_id(1)}, set()),
        ({"client_order_id": client_id(2, "target")}, {"AAA"}),
        ({"filled_qty": 0}, set()),
        ({"updated_at": OPEN}, set()),
        ({"updated_at": None}, {"AAA"}),
        ({"status": "canceled"}, {"AAA"}),
    ],
)
def test_shares_move_by_sells_and_by_the_buys_of_others(changes: dict[str, Any], moved: set[str]):
    just_now = OPEN + timedelta(seconds=1)
    sold = OrderReport(
        client_order_id="by hand",
        status="filled",
        symbol="AAA",
        qty=20,
        filled_qty=20,
        updated_at=just_now,
        broker_id="b1",
    )
    assert recently_traded([replace(sold, **changes)], OPEN) == moved


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-03-05T14:30:00Z", OPEN),
        ("2025-03-05T09:30:00-05:00", OPEN),
        ("2025-03-05T14:30:00.1Z", OPEN + timedelta(milliseconds=100)),
        ("2025-03-05T14:30:00.000001999Z", OPEN + timedelta(microseconds=1)),
    ],
)
def test_times_are_read_to_the_microsecond(text: str, expected: datetime):
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "2025-03-05", "2025-03-05T14:30:00", "14:30Z"])
def test_a_time_without_an_offset_is_refused(text: str):
    with pytest.raises(ValueError, match=r"\S"):
        parse_time(text)


def test_the_new_york_day_begins_at_its_midnight():
    assert day_start(OPEN) == datetime(2025, 3, 5, 5, tzinfo=UTC)
    assert day_start(datetime(2025, 3, 6, 4, 59, tzinfo=UTC)) == datetime(2025, 3, 5, 5, tzinfo=UTC)
    assert day_start(datetime(2025, 7, 5, 12, tzinfo=UTC)) == datetime(2025, 7, 5, 4, tzinfo=UTC)
