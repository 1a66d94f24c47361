"""Over HTTP: every refusal with Alpaca's status and body, every list with its filters and pages."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from scalper.core.pricing import DOLLAR
from tests.workbench.exchange.conftest import (
    CLOSE,
    HEADERS,
    MONDAY,
    OPEN,
    Client,
    at,
    day,
    two_days,
)
from workbench.exchange.gate import RateLimit
from workbench.exchange.server import Exchange, running

NOBODY = "00000000-0000-0000-0000-000000000000"


def refused(response: httpx.Response) -> tuple[int, Any]:
    return response.status_code, response.json()


def iso(when: datetime) -> str:
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


# Refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"APCA-API-KEY-ID": "test-key"},
        HEADERS | {"APCA-API-SECRET-KEY": "wrong"},
        HEADERS | {"APCA-API-KEY-ID": "wrong"},
        HEADERS | {"APCA-API-SECRET-KEY": "ümlaut"},
    ],
)
@pytest.mark.parametrize("path", ["/v2/account", "/v2/stocks/bars"])
def test_missing_or_wrong_keys_are_unauthorized(
    untouched: Client, headers: dict[str, str], path: str
):
    encoded = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    answer = httpx.get(untouched.running.url + path, headers=encoded)
    assert refused(answer) == (401, {"message": "unauthorized"})


def test_unknown_path_and_method_are_refused(untouched: Client):
    assert refused(untouched.http.get("/v2/nothing")) == (404, {"message": "Not Found"})
    assert refused(untouched.http.put("/v2/orders")) == (405, {"message": "Method Not Allowed"})


@pytest.mark.parametrize(
    ("changes", "status", "code", "message"),
    [
        (
            {"limit_price": "290.123"},
            422,
            42210000,
            "invalid limit_price 290.123. "
            "sub-penny increment does not fulfill minimum pricing criteria",
        ),
        (
            {"limit_price": 0.99991},
            422,
            42210000,
            "invalid limit_price 0.99991. "
            "sub-penny increment does not fulfill minimum pricing criteria",
        ),
        ({"symbol": "ZZZZ"}, 422, 42210000, 'asset "ZZZZ" not found'),
        ({"symbol": "aaa"}, 422, 42210000, 'asset "aaa" not found'),
        ({"symbol": None}, 422, 40010001, "symbol is required"),
        ({"qty": None}, 422, 40010001, "qty is required"),
        ({"qty": "abc"}, 422, 40010001, "invalid qty: abc"),
        ({"qty": "NaN"}, 422, 40010001, "invalid qty: NaN"),
        ({"qty": "0"}, 422, 42210000, "qty must be > 0"),
        ({"qty": -3}, 422, 42210000, "qty must be > 0"),
        ({"qty": "1e30"}, 422, 42210000, "qty must be <= 1000000000"),
        ({"limit_price": None}, 422, 40010001, "limit orders require a limit_price"),
        ({"limit_price": "0"}, 422, 42210000, "limit_price must be > 0"),
        ({"limit_price": "1e40"}, 422, 42210000, "limit_price is too high"),
        ({"type": "market"}, 422, 40010001, "market orders must not have a limit_price"),
        ({"side": "hold"}, 422, 40010001, "invalid side: hold"),
        ({"client_order_id": "x" * 129}, 422, 40010001, None),
        ({"qty": "1.5"}, 422, 40010001, None),
        ({"type": "stop"}, 422, 40010001, None),
        ({"time_in_force": "gtc"}, 422, 40010001, None),
        ({"extended_hours": True}, 422, 40010001, None),
        ({"order_class": "bracket"}, 422, 40010001, None),
        ({"notional": "100"}, 422, 40010001, None),
    ],
)
def test_an_order_that_cannot_be_is_refused(
    untouched: Client, changes: dict[str, Any], status: int, code: int, message: str | None
):
    got, body = refused(untouched.order(**changes))
    assert (got, body["code"]) == (status, code)
    if message is None:
        assert "not supported by the simulated exchange" in body["message"] or (
            "at most 128" in body["message"]
        )
    else:
        assert body == {"code": code, "message": message}
    assert untouched.http.get("/v2/orders", params={"status": "all"}).json() == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"qty": NaN}', b"[" * 50_000])
def test_a_body_that_is_no_object_is_refused(untouched: Client, body: bytes):
    answer = untouched.http.post("/v2/orders", content=body)
    assert refused(answer) == (
        400,
        {"code": 40010000, "message": "request body format is invalid"},
    )


def test_a_huge_body_is_refused(untouched: Client):
    assert untouched.http.post("/v2/orders", content=b" " * 70_000).status_code == 400


def test_duplicate_client_id_is_refused_even_after_the_first_was_canceled(client: Client):
    first = client.order(client_order_id="mine").json()
    expected = (422, {"code": 40010001, "message": "client_order_id must be unique"})
    assert refused(client.order(client_order_id="mine")) == expected
    assert client.http.delete(f"/v2/orders/{first['id']}").status_code == 204
    assert refused(client.order(client_order_id="mine")) == expected


class TestCapped:
    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"cash": 150 * DOLLAR}

    def test_an_order_beyond_the_buying_power_is_refused(self, client: Client):
        client.order(qty="9").raise_for_status()
        assert refused(client.order(qty="7")) == (
            403,
            {
                "code": 40310000,
                "message": "insufficient buying power",
                "buying_power": "60",
                "cost_basis": "70",
            },
        )
        account = client.http.get("/v2/account").json()
        assert (account["cash"], account["buying_power"]) == ("150", "60")


def test_held_shares_are_refused_with_who_holds_them(client: Client):
    client.hold(10)
    sell = client.order(side="sell", limit_price="20").json()
    assert refused(client.order(side="sell", qty="1", limit_price="20")) == (
        403,
        {
            "code": 40310000,
            "message": "insufficient qty available for order (requested: 1, available: 0)",
            "available": "0",
            "existing_qty": "10",
            "held_for_orders": "10",
            "related_orders": [sell["id"]],
            "symbol": "AAA",
        },
    )
    assert client.http.get("/v2/positions/AAA").json()["qty_available"] == "0"


def test_wash_trade_is_refused_with_its_reason(client: Client):
    buy = client.order(limit_price="9").json()
    client.hold(1)
    assert refused(client.order(side="sell", qty="1", limit_price="9")) == (
        403,
        {
            "code": 40310000,
            "message": "potential wash trade detected. use complex orders",
            "existing_order_id": buy["id"],
            "reject_reason": (
                "opposite side limit order exists. use complex/limit/stop_limit orders"
            ),
        },
    )


def test_suspended_account_refuses_orders_but_cancels(client: Client):
    order = client.order().json()
    client.http.patch("/v2/account/configurations", json={"suspend_trade": True})
    assert refused(client.order()) == (
        403,
        {"code": 40310000, "message": "new orders are rejected by user request"},
    )
    assert client.http.get("/v2/account").json()["trade_suspended_by_user"] is True
    assert client.http.delete(f"/v2/orders/{order['id']}").status_code == 204


def test_configurations_change_where_they_can(client: Client):
    path = "/v2/account/configurations"
    assert client.http.get(path).json()["no_shorting"] is True
    whole = client.http.get(path).json() | {"no_shorting": False}
    assert client.http.patch(path, json=whole).json()["no_shorting"] is False
    assert client.http.patch(path, json={"no_shorting": "yes"}).status_code == 422
    assert client.http.patch(path, json={"fractional_trading": True}).status_code == 422


def test_cancel_of_a_filled_order_is_refused(client: Client):
    client.hold()
    order = client.http.get("/v2/orders", params={"status": "closed"}).json()[0]
    assert refused(client.http.delete(f"/v2/orders/{order['id']}")) == (
        422,
        {"code": 42210000, "message": 'order is already in "filled" state'},
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "message"),
    [
        ("GET", f"/v2/orders/{NOBODY}", 404, 40410000, f"order not found for {NOBODY}"),
        ("DELETE", f"/v2/orders/{NOBODY}", 404, 40410000, f"order not found for {NOBODY}"),
        ("GET", "/v2/orders/some_order_id", 422, 40010001, "order_id is missing"),
        (
            "GET",
            "/v2/orders:by_client_order_id?client_order_id=no",
            404,
            40410000,
            "order not found for no",
        ),
        ("GET", "/v2/orders:by_client_order_id", 422, 40010001, "client_order_id is missing"),
        ("GET", "/v2/positions/AAA", 404, 40410000, "position does not exist"),
        ("DELETE", "/v2/positions/AAA", 404, 40410000, "position does not exist"),
        ("GET", "/v2/assets/ZZZZ", 404, 40410000, "asset not found for ZZZZ"),
        ("GET", "/v2/orders?status=some", 422, 40010001, "invalid status: some"),
        ("GET", "/v2/orders?limit=501", 422, 40010001, "limit must be from 1 to 500"),
        ("GET", "/v2/orders?after=noon", 422, 40010001, "invalid after: noon"),
        ("GET", "/v2/calendar?start=soon", 422, 40010001, "invalid start: soon"),
        ("GET", "/v2/account/activities?page_size=0", 422, 40010001, None),
        ("GET", "/v2/account/activities?page_token=x", 422, 40010001, "invalid page_token"),
        (
            "PATCH",
            f"/v2/orders/{NOBODY}",
            422,
            40010001,
            "replacing an order is not supported by the simulated exchange",
        ),
    ],
)
def test_what_is_not_there_or_cannot_be_read(
    untouched: Client, method: str, path: str, status: int, code: int, message: str | None
):
    got, body = refused(untouched.http.request(method, path))
    assert (got, body["code"]) == (status, code)
    assert message is None or body["message"] == message


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v2/stocks/bars?timeframe=1Min", 400, "symbols is required"),
        ("/v2/stocks/bars?symbols=AAA,tsla&timeframe=1Min", 400, "invalid symbol: tsla"),
        ("/v2/stocks/bars?symbols=AAA,&timeframe=1Min", 400, "invalid symbol: "),
        ("/v2/stocks/bars?symbols=AAA", 400, None),
        ("/v2/stocks/bars?symbols=AAA&timeframe=1Day", 400, None),
        ("/v2/stocks/bars?symbols=AAA&timeframe=1Min&feed=x", 400, "invalid feed: x"),
        ("/v2/stocks/bars?symbols=AAA&timeframe=1Min&start=x", 400, "invalid start: x"),
        ("/v2/stocks/bars?symbols=AAA&timeframe=1Min&limit=10001", 400, None),
        ("/v2/stocks/bars?symbols=AAA&timeframe=1Min&page_token=x", 400, "invalid page_token"),
        ("/v2/stocks/bars?symbols=AAA&timeframe=1Min&adjustment=x", 400, "invalid adjustment: x"),
        (
            "/v2/stocks/bars?symbols=AAA&timeframe=1Min&start=2013-10-05&end=2013-10-04",
            400,
            "end should not be before start",
        ),
        ("/v2/stocks/ZZZZ/trades/latest", 404, "no trade found for ZZZZ"),
        ("/v2/stocks/ZZZZ/snapshot", 404, "no snapshot found for ZZZZ"),
        ("/v2/stocks/quotes/latest?symbols=AAA&feed=x", 400, "invalid feed: x"),
    ],
)
def test_refusals_of_market_data_have_a_message_and_no_code(
    untouched: Client, path: str, status: int, message: str | None
):
    got, body = refused(untouched.http.get(path))
    assert got == status
    assert set(body) == {"message"}
    assert message is None or body["message"] == message


class TestLimited:
    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"requests_per_minute": 3}

    def test_trading_and_data_have_a_minute_each(self, client: Client):
        for left in (2, 1, 0):
            headers = client.http.get("/v2/clock").headers
            assert headers["X-RateLimit-Limit"] == "3"
            assert headers["X-RateLimit-Remaining"] == str(left)
            assert int(headers["X-RateLimit-Reset"]) > 1_700_000_000
        over = client.http.get("/v2/clock")
        assert refused(over) == (429, {"code": 42910000, "message": "rate limit exceeded"})
        assert over.headers["X-RateLimit-Remaining"] == "0"
        trades = "/v2/stocks/trades/latest?symbols=AAA"
        for _ in range(3):
            assert client.http.get(trades).status_code == 200
        assert refused(client.http.get(trades)) == (429, {"message": "too many requests"})
        assert client.http.get("/exchange/state").status_code == 200


def test_rate_limit_slides():
    limit = RateLimit(2)
    assert [limit.take(t) for t in (0, 30, 59.9, 60, 61, 90)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


# Orders, positions, account ----------------------------------------------------------------


def test_order_lives_from_pending_new_to_filled(client: Client):
    made = client.order(client_order_id="mine").json()
    assert (made["status"], made["order_class"], made["filled_at"]) == ("pending_new", "", None)
    assert (made["qty"], made["limit_price"], made["filled_qty"]) == ("10", "10", "0")
    assert made["submitted_at"] == "2013-10-04T13:30:00.000000001Z"
    assert client.http.get(f"/v2/orders/{made['id']}").json()["status"] == "new"
    client.advance(at(1))
    by_client_id = client.http.get(
        "/v2/orders:by_client_order_id", params={"client_order_id": "mine"}
    ).json()
    assert by_client_id["status"] == "filled"
    assert by_client_id["filled_avg_price"] == "10"
    assert by_client_id["filled_at"] == "2013-10-04T13:31:00Z"


def test_order_after_the_close_is_answered_as_accepted(client: Client):
    client.advance(CLOSE)
    order = client.order().json()
    assert order["status"] == "accepted"
    assert order["expires_at"] == iso(day(MONDAY).session.close)


def test_numbers_are_taken_as_text_or_numbers(client: Client):
    order = client.order(qty=10.0, limit_price=9.5).json()
    assert (order["qty"], order["limit_price"]) == ("10", "9.5")


def test_orders_are_listed_newest_first_with_exclusive_bounds(client: Client):
    made = [client.order(client_order_id=f"o{n}", limit_price="1").json() for n in range(5)]
    client.http.delete(f"/v2/orders/{made[0]['id']}")

    def listed(**query: Any) -> list[str]:
        found = client.http.get("/v2/orders", params=query).json()
        return [order["client_order_id"] for order in found]

    assert listed() == ["o4", "o3", "o2", "o1"]
    assert listed(status="closed") == ["o0"]
    assert listed(status="all", direction="asc") == ["o0", "o1", "o2", "o3", "o4"]
    assert listed(limit=2) == ["o4", "o3"]
    assert listed(after=made[2]["submitted_at"]) == ["o4", "o3"]
    assert listed(until=made[2]["submitted_at"]) == ["o1"]
    assert listed(after=made[1]["submitted_at"], until=made[4]["submitted_at"]) == ["o3", "o2"]
    assert listed(symbols="BBB") == []
    assert listed(symbols="BBB,AAA", nested="true", side="buy", limit=1) == ["o4"]
    assert listed(side="sell") == []


def test_fifty_orders_are_listed_by_default(client: Client):
    for _ in range(60):
        client.order(limit_price="1").raise_for_status()
    assert len(client.http.get("/v2/orders").json()) == 50
    assert len(client.http.get("/v2/orders", params={"limit": 500}).json()) == 60


def test_all_orders_are_canceled_at_once(client: Client):
    made = [client.order(limit_price="1").json()["id"] for _ in range(3)]
    answer = client.http.delete("/v2/orders")
    assert answer.status_code == 207
    assert answer.json() == [{"id": order_id, "status": 200} for order_id in made]
    assert client.http.get("/v2/orders").json() == []
    assert client.http.delete("/v2/orders").json() == []


def test_position_is_valued_at_the_last_trade(client: Client):
    client.hold(10)  # at 10.00
    client.advance(at(3))  # the third bar closes at 10.03
    position = client.http.get("/v2/positions").json()[0]
    shown = {key: position[key] for key in ("qty", "avg_entry_price", "cost_basis")}
    assert shown == {"qty": "10", "avg_entry_price": "10", "cost_basis": "100"}
    assert (position["current_price"], position["market_value"]) == ("10.03", "100.3")
    assert (position["unrealized_pl"], position["unrealized_plpc"]) == ("0.3", "0.003")
    by_id = client.http.get(f"/v2/positions/{position['asset_id']}").json()
    assert by_id == position
    account = client.http.get("/v2/account").json()
    assert (account["long_market_value"], account["equity"]) == ("100.3", "1000000000.3")


def test_positions_are_closed_at_market(client: Client):
    client.hold(10)
    part = client.http.delete("/v2/positions/AAA", params={"percentage": "30"}).json()
    assert (part["qty"], part["side"], part["type"]) == ("3", "sell", "market")
    blocked = client.http.delete("/v2/positions")
    assert blocked.status_code == 207
    assert [(one["symbol"], one["status"]) for one in blocked.json()] == [("AAA", 403)]
    assert blocked.json()[0]["body"]["available"] == "7"
    closed = client.http.delete("/v2/positions", params={"cancel_orders": "true"}).json()
    assert (closed[0]["status"], closed[0]["body"]["qty"]) == (200, "10")
    client.advance(at(2))
    assert client.http.get("/v2/positions").json() == []


def test_fills_are_activities_newest_first_in_pages(client: Client):
    for _ in range(3):
        client.hold(1)
    path = "/v2/account/activities/FILL"
    fills = client.http.get(path).json()
    assert [fill["transaction_time"] for fill in fills] == [iso(at(n)) for n in (3, 2, 1)]
    assert (fills[0]["price"], fills[0]["qty"], fills[0]["cum_qty"]) == ("10.02", "1", "1")
    assert "client_order_id" not in fills[0]
    assert client.http.get("/v2/account/activities").json() == fills
    assert client.http.get("/v2/account/activities?activity_types=DIV").json() == []
    assert client.http.get("/v2/account/activities/DIV").json() == []
    first = client.http.get(path, params={"page_size": 2}).json()
    rest = client.http.get(path, params={"page_token": first[-1]["id"]}).json()
    assert first + rest == fills
    assert client.http.get(path, params={"after": iso(at(2))}).json() == fills[:1]
    assert client.http.get(path, params={"until": iso(at(2))}).json() == fills[2:]
    assert (
        client.http.get(path, params={"date": "2013-10-04", "direction": "asc"}).json()
        == (fills[::-1])
    )
    assert client.http.get(path, params={"date": "2013-10-07"}).json() == []


# Time --------------------------------------------------------------------------------------


def test_clock_has_new_york_offsets(client: Client):
    assert client.http.get("/v2/clock").json() == {
        "timestamp": "2013-10-04T09:30:00-04:00",
        "is_open": True,
        "next_open": "2013-10-07T09:30:00-04:00",
        "next_close": "2013-10-04T16:00:00-04:00",
    }
    client.advance(CLOSE)
    clock = client.http.get("/v2/clock").json()
    assert clock["is_open"] is False
    assert clock["next_close"] == "2013-10-07T16:00:00-04:00"


def test_calendar_has_half_days_and_no_holidays(untouched: Client):
    def days(start: str, end: str) -> list[tuple[str, str, str]]:
        found = untouched.http.get("/v2/calendar", params={"start": start, "end": end}).json()
        return [(one["date"], one["open"], one["close"]) for one in found]

    assert days("2013-10-04", "2013-10-06") == [("2013-10-04", "09:30", "16:00")]
    assert days("2015-12-24", "2015-12-28") == [
        ("2015-12-24", "09:30", "13:00"),
        ("2015-12-28", "09:30", "16:00"),
    ]
    assert days("2025-01-02", "2025-01-01") == []


def test_control_moves_the_clock_forward_only(client: Client):
    client.order(limit_price="10.00")
    assert client.advance(at(1)).json() == {"now": iso(at(1)), "events": 2}
    assert client.advance(at(1)).json()["now"] == iso(at(1))
    assert client.advance(OPEN).status_code == 422
    for to in (
        None,
        5,
        "soon",
        "2013-10-04T14:00:00",
        "9999-12-31T00:00:00Z",
        "2060-10-04T14:00:00Z",
    ):
        assert client.http.post("/exchange/advance", json={"to": to}).status_code == 422
    state = client.http.get("/exchange/state").json()
    assert state["now"] == iso(at(1))
    assert (state["events"], state["listening"]) == (2, 0)
    assert [session["date"] for session in state["sessions"]] == ["2013-10-04", "2013-10-07"]
    assert state["sessions"][0]["symbols"] == ["AAA", "BBB"]
    assert state["requests"]["POST /v2/orders"] == 1
    assert state["requests"]["POST /exchange/advance"] == 9


class TestPaced:
    @pytest.fixture
    def options(self) -> dict[str, object]:
        return {"pace": 6000.0}

    def test_a_paced_clock_moves_by_itself_and_fills(self, client: Client):
        client.order(limit_price="20")
        orders: Any = []
        for _ in range(500):
            orders = client.http.get("/v2/orders", params={"status": "closed"}).json()
            if orders:
                break
        assert orders[0]["status"] == "filled"


@pytest.mark.parametrize(
    "wrong",
    [
        {"pace": -1},
        {"requests_per_minute": 0},
        {"start": datetime(2013, 10, 4)},  # noqa: DTZ001 - the point
    ],
)
def test_senseless_options_are_refused(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=r"pace|requests_per_minute|offset"):
        Exchange(two_days(), key_id="k", secret_key="s", **wrong)


def test_start_can_be_chosen():
    exchange = Exchange(two_days(), key_id="k", secret_key="s", start=at(30))
    with running(exchange) as live:
        state = httpx.get(live.url + "/exchange/state").json()
    assert state["now"] == iso(at(30))


# Market data -------------------------------------------------------------------------------


def bars(client: Client, **query: Any) -> Any:
    asked = {"symbols": "AAA", "timeframe": "1Min", **query}
    return client.http.get("/v2/stocks/bars", params=asked)


def test_bar_is_never_served_before_its_minute_is_over(client: Client):
    def starts() -> list[str]:
        found = bars(client, start=iso(OPEN), end=iso(CLOSE)).json()["bars"].get("AAA", [])
        return [one["t"] for one in found]

    assert starts() == []
    client.advance(at(1) - timedelta(seconds=1))
    assert starts() == []
    client.advance(at(1))
    assert starts() == [iso(OPEN)]
    client.advance(at(2.5))
    assert starts() == [iso(OPEN), iso(at(1))]


def test_bars_have_numbers_and_bounds_are_inclusive(client: Client):
    client.advance(at(10))
    found = bars(client, start=iso(at(2)), end=iso(at(4)), feed="iex", adjustment="split").json()
    assert [one["t"] for one in found["bars"]["AAA"]] == [iso(at(n)) for n in (2, 3, 4)]
    first = found["bars"]["AAA"][0]
    assert first == {
        "t": "2013-10-04T13:32:00Z",
        "o": 10.02,
        "h": 10.07,
        "l": 9.97,
        "c": 10.03,
        "v": 250,
        "n": 3,
        "vw": 10.0233,
    }
    assert found["next_page_token"] is None


def test_bars_outside_regular_hours_are_served(untouched: Client):
    found = bars(untouched, start="2013-10-04").json()
    assert [one["c"] for one in found["bars"]["AAA"]] == [9.0]


def test_missing_symbol_is_a_missing_key(client: Client):
    client.advance(at(1))
    found = bars(client, symbols="ZZZZ,AAA", start=iso(OPEN)).json()
    assert list(found["bars"]) == ["AAA"]
    latest = client.http.get("/v2/stocks/trades/latest?symbols=ZZZZ,AAA").json()
    assert list(latest["trades"]) == ["AAA"]


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
def test_pages_join_up_across_symbols(client: Client, limit: int, sort: str):
    client.advance(at(10))
    query = {"symbols": "BBB,AAA,ZZZZ", "start": iso(OPEN), "sort": sort}
    whole = bars(client, **query).json()["bars"]
    assert [len(whole["AAA"]), len(whole["BBB"])] == [10, 2]
    joined: dict[str, list[Any]] = {}
    order: list[str] = []
    token = None
    for _ in range(20):
        page = bars(client, **query, limit=limit, **({"page_token": token} if token else {})).json()
        assert sum(len(found) for found in page["bars"].values()) <= limit
        for symbol, found in page["bars"].items():
            joined.setdefault(symbol, []).extend(found)
            order.append(symbol)
        token = page["next_page_token"]
        if token is None:
            break
    assert joined == whole
    assert order == sorted(order)


def test_single_symbol_forms_hold_the_same(client: Client):
    client.advance(at(3))
    one = client.http.get(f"/v2/stocks/AAA/bars?timeframe=1Min&start={iso(OPEN)}&limit=2").json()
    assert one["symbol"] == "AAA"
    assert len(one["bars"]) == 2
    assert one["next_page_token"]
    for many, single, key in (
        ("bars/latest", "bars/latest", "bar"),
        ("trades/latest", "trades/latest", "trade"),
        ("quotes/latest", "quotes/latest", "quote"),
    ):
        both = client.http.get(f"/v2/stocks/{many}?symbols=AAA").json()
        alone = client.http.get(f"/v2/stocks/AAA/{single}").json()
        assert alone == {"symbol": "AAA", key: both[key + "s"]["AAA"]}
    snapshots = client.http.get("/v2/stocks/snapshots?symbols=AAA").json()
    assert client.http.get("/v2/stocks/AAA/snapshot").json() == {
        "symbol": "AAA",
        **snapshots["AAA"],
    }


def test_latest_trade_is_the_last_ended_close_and_the_fill_while_it_is_told(client: Client):
    def last() -> SimpleNamespace:
        trade = client.http.get("/v2/stocks/AAA/trades/latest").json()["trade"]
        return SimpleNamespace(price=trade["p"], at=trade["t"])

    assert (last().price, last().at) == (9.0, iso(at(-4)))
    client.order(limit_price="9.98")
    client.advance(at(1))
    assert (last().price, last().at) == (9.98, iso(at(1)))
    client.advance(at(1.5))
    assert (last().price, last().at) == (10.01, iso(at(1)))


def test_snapshot_holds_the_days_so_far(client: Client):
    client.advance(at(3))
    shown = client.http.get("/v2/stocks/snapshots?symbols=AAA").json()["AAA"]
    assert shown["dailyBar"]["o"] == 10.0
    assert (shown["dailyBar"]["h"], shown["dailyBar"]["l"]) == (10.07, 9.95)
    assert shown["dailyBar"]["v"] == 750
    assert "prevDailyBar" not in shown
    client.advance(day(MONDAY).session.open + timedelta(minutes=1))
    shown = client.http.get("/v2/stocks/snapshots?symbols=AAA").json()["AAA"]
    assert (shown["prevDailyBar"]["o"], shown["prevDailyBar"]["c"]) == (10.0, 13.9)
