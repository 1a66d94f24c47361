"""The websocket as a client sees it: one connection, keys first, binary frames, no replay."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.workbench.exchange.conftest import KEY, SECRET, Client, at
from workbench.exchange import stream

WITHIN_S = 5.0


def receive(socket: ClientConnection) -> Any:
    frame = socket.recv(timeout=WITHIN_S)
    assert isinstance(frame, bytes)
    return json.loads(frame)


def ask(socket: ClientConnection, message: object) -> Any:
    socket.send(json.dumps(message))
    return receive(socket)


def authenticate(key: str = KEY, secret: str = SECRET) -> dict[str, object]:
    return {"action": "authenticate", "data": {"key_id": key, "secret_key": secret}}


LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


@contextmanager
def listening(client: Client) -> Iterator[ClientConnection]:
    with connect(client.running.stream_url) as socket:
        ask(socket, authenticate())
        ask(socket, LISTEN)
        yield socket


def state(client: Client) -> Any:
    return client.http.get("/exchange/state").json()


def until_listening(client: Client, count: int) -> None:
    """Ask until as many sockets listen: a close reaches the server a little later."""
    for _ in range(1000):
        if state(client)["listening"] == count:
            return
    raise AssertionError(state(client))


def test_keys_are_taken_and_streams_confirmed(client: Client):
    with connect(client.running.stream_url) as socket:
        assert ask(socket, authenticate()) == {
            "stream": "authorization",
            "data": {"status": "authorized", "action": "authenticate"},
        }
        assert state(client)["listening"] == 0
        asked = {"action": "listen", "data": {"streams": ["trade_updates", "moon_phases"]}}
        assert ask(socket, asked) == {
            "stream": "listening",
            "data": {"streams": ["trade_updates"]},
        }
        assert state(client)["listening"] == 1


def test_keys_at_the_top_level_are_taken_too(client: Client):
    with connect(client.running.stream_url) as socket:
        asked = {"action": "auth", "key": KEY, "secret": SECRET}
        assert ask(socket, asked)["data"]["status"] == "authorized"


@pytest.mark.parametrize(
    "wrong",
    [
        authenticate(key="wrong"),
        authenticate(secret="wrong"),
        {"action": "authenticate"},
        {"action": "authenticate", "data": {"key_id": 1, "secret_key": None}},
        LISTEN,
        [],
        "nonsense",
    ],
)
def test_wrong_keys_are_unauthorized_and_may_be_tried_again(client: Client, wrong: object):
    with connect(client.running.stream_url) as socket:
        assert ask(socket, wrong)["data"]["status"] == "unauthorized"
        assert ask(socket, authenticate())["data"]["status"] == "authorized"


def test_client_that_never_authenticates_loses_its_place(
    client: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stream, "AUTHENTICATE_WITHIN_S", 0.05)
    with connect(client.running.stream_url) as socket, pytest.raises(ConnectionClosed):
        socket.recv(timeout=WITHIN_S)


def test_second_connection_gets_429_at_the_handshake_until_the_first_is_gone(client: Client):
    with listening(client):
        with pytest.raises(InvalidStatus) as refused, connect(client.running.stream_url):
            pass
        assert refused.value.response.status_code == 429
        assert state(client)["listening"] == 1
    until_listening(client, 0)
    with listening(client):
        pass


def test_order_events_come_in_order_with_the_fill_in_full(client: Client):
    with listening(client) as socket:
        order = client.order(client_order_id="mine").json()
        new = receive(socket)
        assert new["stream"] == "trade_updates"
        assert (new["data"]["event"], new["data"]["order"]["status"]) == ("new", "new")
        client.advance(at(1))
        data = receive(socket)["data"]
        assert data["event"] == "fill"
        assert (data["price"], data["qty"], data["position_qty"]) == ("10", "10", "10")
        assert data["timestamp"] == "2013-10-04T13:31:00Z"
        assert data["order"] == client.http.get(f"/v2/orders/{order['id']}").json()
        assert data["execution_id"] != new["data"]["execution_id"]
        assert data["event_id"] > new["data"]["event_id"]


def test_cancel_and_expiry_are_told(client: Client):
    with listening(client) as socket:
        first = client.order(limit_price="1").json()
        client.order(limit_price="1")
        client.http.delete(f"/v2/orders/{first['id']}")
        client.advance(at(390))
        events = [receive(socket)["data"]["event"] for _ in range(4)]
    assert events == ["new", "new", "canceled", "expired"]


def test_a_refused_order_is_not_told(client: Client):
    with listening(client) as socket:
        client.order(limit_price="1.001")
        client.order(limit_price="1")
        assert receive(socket)["data"]["event"] == "new"
    assert state(client)["events"] == 1


def test_what_happened_while_nobody_listened_is_not_told_later(client: Client):
    with listening(client):
        pass
    until_listening(client, 0)
    client.order(limit_price="1", client_order_id="missed")
    with listening(client) as socket:
        client.order(limit_price="1", client_order_id="seen")
        assert receive(socket)["data"]["order"]["client_order_id"] == "seen"
    assert state(client)["events"] == 2


def test_events_before_listening_are_not_told(client: Client):
    with connect(client.running.stream_url) as socket:
        ask(socket, authenticate())
        client.order(limit_price="1")
        assert ask(socket, LISTEN)["stream"] == "listening"


def test_a_client_that_stays_far_behind_is_cut_off(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stream, "MAX_QUEUED", 0)
    with listening(client) as socket:
        client.order(limit_price="1")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=WITHIN_S)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == stream.TRY_AGAIN_LATER
    until_listening(client, 0)
