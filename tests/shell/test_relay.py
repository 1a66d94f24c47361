"""Each message of the broker's websocket reaches the webhook, signed; the relay ends in time."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response
from websockets.sync.server import ServerConnection, serve

from scalper.shell.errors import SettingsError, UnauthorizedError, WebhookRefusedError
from scalper.shell.relay import stream as relay_module
from scalper.shell.relay.stream import Relay, RotatingSecret, relay_until
from scalper.shell.settings import BrokerKeys
from scalper.shell.webhook import MAX_BODY, receive
from tests.shell.conftest import Records
from tests.shell.scripted import HANG, RESET, Request, Scripted
from tests.shell.test_webhook import KEY, OTHER_KEY, update
from tests.workbench.exchange.conftest import KEY as KEY_ID
from tests.workbench.exchange.conftest import SECRET, Client, asking, at

WITHIN_S = 10.0
MESSAGE = json.dumps(update())


class Time:
    """Time that is over when the test says so, or long after it should have been."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._until = time.monotonic() + WITHIN_S

    def __call__(self) -> float:
        return 0.0 if self.over.is_set() else self._until - time.monotonic()


class Running:
    """A relay in a thread."""

    def __init__(self, relay: Relay, left: Time) -> None:
        self.left = left
        self._answer: list[Any] = []
        self._thread = threading.Thread(target=self._run, args=(relay,))
        self._thread.start()

    def _run(self, relay: Relay) -> None:
        self._answer.append(relay_until(relay, self.left))

    def stop(self) -> Any:
        self.left.over.set()
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive()
        return self._answer[0]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def relay(stream_url: str, webhook: Scripted, secret: str = SECRET, **changes: Any) -> Relay:
    given: dict[str, Any] = {
        "stream_url": stream_url,
        "keys": RotatingSecret(lambda: BrokerKeys(KEY_ID, secret)),
        "webhook_url": webhook.url + "/",
        "webhook_key": RotatingSecret(lambda: KEY),
        "reconcile": lambda: None,
    }
    return Relay(**given | changes)


def delivered(request: Request) -> Any:
    """Check a post as the webhook does; return its message."""
    event = {"headers": request.headers, "body": request.body, "isBase64Encoded": False}
    receive(event, lambda: (KEY,))
    return json.loads(request.body)


class TestAgainstTheExchange:
    @pytest.fixture
    def client(self) -> Iterator[Client]:
        with asking() as made:
            yield made

    def test_a_fill_travels_to_the_webhook(self, client: Client, server: Scripted):
        server.answer((200, {"status": "taken"}))
        reconciled: list[int] = []
        running = Running(
            relay(client.running.stream_url, server, reconcile=lambda: reconciled.append(1)), Time()
        )
        wait_until(lambda: client.running.exchange.stream.listening == 1)
        client.order(client_order_id="mine").raise_for_status()
        client.advance(at(1)).raise_for_status()
        wait_until(lambda: any('"fill"' in one.body for one in server.requests))
        assert running.stop() == len(server.requests)
        fill = next(
            message
            for message in map(delivered, server.requests)
            if message["data"]["event"] == "fill"
        )
        assert fill["data"]["order"]["client_order_id"] == "mine"
        assert reconciled == [1]

    def test_refused_keys_raise(self, client: Client, server: Scripted):
        with pytest.raises(UnauthorizedError):
            relay_until(relay(client.running.stream_url, server, "wrong"), Time())

    @pytest.mark.fault("2")
    def test_a_second_relay_waits_for_the_place_and_gets_it(
        self, client: Client, server: Scripted, records: Records
    ):
        server.answer((200, {}))
        stream = client.running.exchange.stream
        first = Running(relay(client.running.stream_url, server), Time())
        wait_until(lambda: stream.listening == 1)
        reconciled: list[int] = []
        second = Running(
            relay(client.running.stream_url, server, reconcile=lambda: reconciled.append(1)), Time()
        )
        wait_until(lambda: records.messages() == ["another connection has the place"])
        assert reconciled == []
        first.stop()
        wait_until(lambda: reconciled == [1])
        second.stop()
        # It asked more than once, and said so once.
        assert records.messages() == ["another connection has the place"]

    @pytest.mark.fault("dead-relay")
    def test_after_the_first_has_ended_the_next_takes_over(self, client: Client, server: Scripted):
        server.answer((200, {}))
        for _ in range(2):
            running = Running(relay(client.running.stream_url, server), Time())
            wait_until(lambda: client.running.exchange.stream.listening == 1)
            assert running.stop() == 0
            wait_until(lambda: client.running.exchange.stream.listening == 0)


@contextmanager
def stream(
    talk: Callable[[ServerConnection], None], status: HTTPStatus | None = None
) -> Iterator[str]:
    """Run a websocket server that authenticates, and then talks as told."""

    def handle(socket: ServerConnection) -> None:
        try:
            greet(socket)
            talk(socket)
        except ConnectionClosed:
            return

    def refuse(socket: ServerConnection, request: object) -> Response | None:
        if status is None:
            return None
        return Response(status.value, status.phrase, Headers({"Content-Length": "0"}))

    with serve(handle, "127.0.0.1", 0, process_request=refuse) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{made.socket.getsockname()[1]}/stream"
        made.shutdown()
        thread.join(WITHIN_S)


def greet(socket: ServerConnection) -> None:
    socket.recv(timeout=WITHIN_S)
    socket.send(json.dumps({"stream": "authorization", "data": {"status": "authorized"}}))
    socket.recv(timeout=WITHIN_S)
    socket.send(json.dumps({"stream": "listening", "data": {"streams": ["trade_updates"]}}))


def quiet(socket: ServerConnection) -> None:
    """Say nothing until the other side is gone."""
    while True:
        try:
            socket.recv(timeout=WITHIN_S)
        except ConnectionClosed:
            return


class TestStreams:
    @pytest.mark.fault("2")
    def test_a_lost_connection_is_made_again_and_asks_for_a_checkup_each_time(
        self, server: Scripted, records: Records
    ):
        server.answer((200, {}))
        talks: list[int] = []
        reconciled: list[int] = []

        def talk(socket: ServerConnection) -> None:
            talks.append(1)
            socket.send(MESSAGE.encode())
            if len(talks) >= 3:
                quiet(socket)

        with stream(talk) as url:
            running = Running(relay(url, server, reconcile=lambda: reconciled.append(1)), Time())
            wait_until(lambda: len(server.requests) == 3)
            assert running.stop() == 3
        assert len(reconciled) == 3
        assert records.messages() == ["stream lost", "stream lost"]

    @pytest.mark.fault("2")
    def test_a_connection_that_breaks_at_once_each_time_is_made_ever_more_slowly(
        self, server: Scripted, monkeypatch: pytest.MonkeyPatch
    ):
        waited: list[int] = []
        back_off = relay_module._back_off

        def noted(failures: int, *rest: Any) -> int:
            waited.append(failures)
            return back_off(failures, *rest)

        monkeypatch.setattr(relay_module, "_back_off", noted)
        left = Time()

        def talk(socket: ServerConnection) -> None:
            if len(waited) >= 3:
                left.over.set()

        with stream(talk) as url:
            relay_until(relay(url, server), left)
        assert waited[:3] == [0, 1, 2]

    @pytest.mark.fault("2")
    def test_a_stream_that_is_open_but_mute_is_closed_and_made_again(
        self, server: Scripted, records: Records, monkeypatch: pytest.MonkeyPatch
    ):
        assert relay_module.PING_INTERVAL_S + relay_module.PING_TIMEOUT_S <= 60
        monkeypatch.setattr(relay_module, "PING_INTERVAL_S", 0.05)
        monkeypatch.setattr(relay_module, "PING_TIMEOUT_S", 0.05)
        reconciled: list[int] = []

        def mute(socket: ServerConnection) -> None:
            socket.protocol.send_frame = lambda frame: None  # type: ignore[method-assign]
            quiet(socket)

        with stream(mute) as url:
            running = Running(relay(url, server, reconcile=lambda: reconciled.append(1)), Time())
            wait_until(lambda: len(reconciled) >= 3)
            running.stop()
        assert set(records.messages()) == {"stream lost"}

    @pytest.mark.fault("2")
    def test_waits_between_connections_grow_and_are_never_in_step(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(relay_module, "BACKOFF_S", (1.0, 8.0))
        for failures, longest in ((0, 1.0), (1, 8.0), (99, 8.0)):
            waits = [relay_module.wait_s(failures) for _ in range(50)]
            assert all(longest / 2 <= wait <= longest for wait in waits)
            assert len(set(waits)) > 25

    def test_text_and_binary_frames_are_posted_as_they_came(self, server: Scripted):
        server.answer((200, {}))

        def talk(socket: ServerConnection) -> None:
            socket.send(MESSAGE)
            socket.send(MESSAGE.encode())
            quiet(socket)

        with stream(talk) as url:
            running = Running(relay(url, server), Time())
            wait_until(lambda: len(server.requests) == 2)
            running.stop()
        assert [one.body for one in server.requests] == [MESSAGE, MESSAGE]
        ids = {one.headers["webhook-id"] for one in server.requests}
        assert len(ids) == 2
        for one in server.requests:
            delivered(one)

    def test_what_is_no_trade_update_is_left_out(self, server: Scripted, records: Records):
        server.answer((200, {}))

        def talk(socket: ServerConnection) -> None:
            for frame in (
                b"\xff\xfe\x00",
                "no json",
                "[" * 50_000,
                "[]",
                "5",
                json.dumps({"stream": "listening", "data": {}}),
                json.dumps(update(pad="x" * MAX_BODY)),
                json.dumps(update(pad="é" * (MAX_BODY // 2)), ensure_ascii=False),
                MESSAGE,
            ):
                socket.send(frame)
            quiet(socket)

        with stream(talk) as url:
            running = Running(relay(url, server), Time())
            wait_until(lambda: len(server.requests) == 1)
            assert running.stop() == 1
        assert records.messages() == ["message over 64 KiB"] * 2

    def test_a_stream_that_refuses_the_handshake_is_tried_again(
        self, server: Scripted, records: Records
    ):
        left = Time()
        with stream(quiet, HTTPStatus.SERVICE_UNAVAILABLE) as url:
            running = Running(relay(url, server), left)
            wait_until(lambda: len(records.messages()) >= 2)
            assert running.stop() == 0
        assert set(records.messages()) == {"stream lost"}

    @pytest.mark.fault("2")
    def test_a_place_that_is_taken_is_asked_for_ever_more_slowly_up_to_a_bound(
        self, server: Scripted, records: Records, monkeypatch: pytest.MonkeyPatch
    ):
        waited: list[int] = []
        wait = relay_module._wait

        def noted(failures: int, left: Callable[[], float]) -> int:
            waited.append(failures)
            return wait(failures, left)

        monkeypatch.setattr(relay_module, "_wait", noted)
        monkeypatch.setattr(relay_module, "CROWDED_LINE_S", 0.0)
        with stream(quiet, HTTPStatus.TOO_MANY_REQUESTS) as url:
            running = Running(relay(url, server), Time())
            wait_until(lambda: len(waited) >= 7)
            assert running.stop() == 0
        assert waited[:7] == [0, 1, 2, 3, 4, 4, 4]
        assert relay_module.wait_s(relay_module.CROWDED_FAILURES) <= 8.0
        assert set(records.messages()) == {"another connection has the place"}

    def test_the_heartbeat_beats_while_it_is_connected_and_only_then(
        self, server: Scripted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        monkeypatch.setattr(relay_module, "HEARTBEAT_S", 0.05)
        running = Running(relay("ws://127.0.0.1:9/stream", server), Time())
        threading.Event().wait(0.3)
        running.stop()
        assert "RelayHeartbeat" not in capsys.readouterr().out
        with stream(quiet) as url:
            running = Running(relay(url, server), Time())
            threading.Event().wait(0.5)
            running.stop()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        beats = [line["RelayHeartbeat"] for line in lines if "RelayHeartbeat" in line]
        assert len(beats) >= 3
        assert all(beat == [1.0] for beat in beats)

    def test_a_line_that_is_cut_ends_the_relay_though_a_post_hangs(self, server: Scripted):
        server.answer(HANG)
        closed = threading.Event()

        def talk(socket: ServerConnection) -> None:
            socket.send(MESSAGE)
            quiet(socket)
            closed.set()

        with stream(talk) as url:
            one = relay(url, server)
            left = Time()
            running = Running(one, left)
            wait_until(lambda: len(server.requests) == 1)
            began = time.monotonic()
            one.connection.cut()
            assert closed.wait(WITHIN_S)
            assert time.monotonic() - began < 1.0
            server.released.set()
            assert running.stop() == 0
        assert len(server.requests) == 1

    def test_a_line_that_is_cut_connects_no_more(self, server: Scripted):
        reconciled: list[int] = []
        with stream(quiet) as url:
            one = relay(url, server, reconcile=lambda: reconciled.append(1))
            one.connection.cut()
            assert relay_until(one, Time()) == 0
        assert reconciled == []

    def test_a_stream_that_does_not_answer_is_tried_until_the_time_is_over(
        self, server: Scripted, records: Records
    ):
        running = Running(relay("ws://127.0.0.1:9/stream", server), Time())
        wait_until(lambda: len(records.messages()) >= 2)
        assert running.stop() == 0

    def test_a_stream_that_does_not_answer_is_given_up_within_bounds(
        self, server: Scripted, records: Records, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(relay_module, "ANSWER_TIMEOUT_S", 0.05)
        monkeypatch.setattr("tests.shell.test_relay.greet", quiet)
        with stream(quiet) as url:
            running = Running(relay(url, server), Time())
            wait_until(lambda: len(records.messages()) >= 2)
            assert running.stop() == 0

    def test_a_stream_that_leaves_trade_updates_out_is_not_listened_to(
        self, server: Scripted, records: Records, monkeypatch: pytest.MonkeyPatch
    ):
        def greet_without(socket: ServerConnection) -> None:
            socket.recv(timeout=WITHIN_S)
            socket.send(json.dumps({"stream": "authorization", "data": {"status": "authorized"}}))
            socket.recv(timeout=WITHIN_S)
            socket.send(json.dumps({"stream": "listening", "data": {"streams": []}}))

        monkeypatch.setattr("tests.shell.test_relay.greet", greet_without)
        with stream(quiet) as url:
            running = Running(relay(url, server), Time())
            wait_until(lambda: len(records.messages()) >= 2)
            running.stop()
        assert set(records.messages()) == {"stream lost"}

    def test_no_key_is_logged(self, server: Scripted, records: Records):
        running = Running(relay("ws://127.0.0.1:9/stream", server), Time())
        wait_until(lambda: len(records.messages()) >= 1)
        running.stop()
        assert SECRET not in records.text()


class TestKeys:
    def test_rotated_keys_are_read_again_if_the_stream_refuses_them(self, server: Scripted):
        secrets = iter(["wrong", SECRET])
        reconciled: list[int] = []
        with asking() as client:
            one = relay(
                client.running.stream_url,
                server,
                keys=RotatingSecret(lambda: BrokerKeys(KEY_ID, next(secrets))),
                reconcile=lambda: reconciled.append(1),
            )
            running = Running(one, Time())
            wait_until(lambda: reconciled == [1])
            assert running.stop() == 0

    def test_an_unauthorized_handshake_reads_them_again_too(self, server: Scripted):
        fetched: list[int] = []

        def fetch() -> BrokerKeys:
            fetched.append(1)
            return BrokerKeys(KEY_ID, SECRET)

        with (
            stream(quiet, HTTPStatus.UNAUTHORIZED) as url,
            pytest.raises(UnauthorizedError),
        ):
            relay_until(relay(url, server, keys=RotatingSecret(fetch)), Time())
        assert fetched == [1, 1]

    @pytest.mark.fault("rotated-secret")
    def test_a_webhook_that_refuses_the_signature_gets_another_by_the_key_as_it_is_now(
        self, server: Scripted
    ):
        server.answer((401, {}), (200, {}))
        keys = iter([OTHER_KEY, KEY])

        def talk(socket: ServerConnection) -> None:
            socket.send(MESSAGE)
            quiet(socket)

        with stream(talk) as url:
            one = relay(url, server, webhook_key=RotatingSecret(lambda: next(keys)))
            running = Running(one, Time())
            wait_until(lambda: len(server.requests) == 2)
            assert running.stop() == 1
        with pytest.raises(WebhookRefusedError):
            delivered(server.requests[0])
        delivered(server.requests[1])

    def test_a_secret_that_cannot_be_read_leaves_the_keys_as_they_were(self, records: Records):
        answers = iter(["first"])

        def fetch() -> str:
            try:
                return next(answers)
            except StopIteration:
                raise SettingsError("the secret cannot be read") from None

        secret = RotatingSecret(fetch)
        assert secret.value == secret.value == "first"
        assert not secret.renew()
        assert secret.value == "first"
        assert records.messages() == ["settings"]


class TestPosts:
    def posted(self, server: Scripted, *answers: Any) -> Any:
        server.answer(*answers)
        done = threading.Event()

        def talk(socket: ServerConnection) -> None:
            socket.send(MESSAGE)
            done.set()
            quiet(socket)

        with stream(talk) as url:
            running = Running(relay(url, server), Time())
            assert done.wait(WITHIN_S)
            wait_until(lambda: len(server.requests) >= len(answers))
            return running.stop()

    @pytest.mark.parametrize("answer", [(500, ""), (503, {}), (429, {}), RESET])
    def test_a_post_without_an_answer_is_repeated(self, server: Scripted, answer: Any):
        assert self.posted(server, answer, answer, (200, {})) == 1
        assert len(server.requests) == 3
        for request in server.requests:
            delivered(request)

    @pytest.mark.fault("webhook-flood")
    @pytest.mark.parametrize("answer", [(500, ""), (429, {}), RESET])
    def test_within_bounds_for_polling_finds_what_it_said(
        self, server: Scripted, answer: Any, records: Records
    ):
        server.answer(answer)
        assert self.posted(server, answer, answer, answer) == 0
        assert len(server.requests) == 3
        assert records.messages() == ["webhook did not answer"] * 3

    def test_a_signature_that_stays_refused_is_said_after_as_many_attempts(
        self, server: Scripted, records: Records
    ):
        assert self.posted(server, (401, {}), (401, {}), (401, {})) == 0
        assert len(server.requests) == 3
        assert records.messages()[-1] == "webhook refused"

    @pytest.mark.parametrize("status", [400, 413, 404])
    def test_a_refused_post_is_not_repeated_and_is_said(
        self, server: Scripted, status: int, records: Records
    ):
        assert self.posted(server, (status, {})) == 0
        assert len(server.requests) == 1
        assert records.messages() == ["webhook refused"]


class TestTime:
    def test_without_time_it_does_not_connect(self, server: Scripted):
        left = Time()
        left.over.set()
        answer = relay_until(relay("ws://127.0.0.1:9/stream", server), left)
        assert answer == 0

    def test_it_ends_in_time_though_the_webhook_hangs(
        self, server: Scripted, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(relay_module, "MIN_POST_TIMEOUT_S", 0.2)
        server.answer(HANG)
        ends = time.monotonic() + 0.5

        def talk(socket: ServerConnection) -> None:
            for _ in range(10):
                socket.send(MESSAGE)
            quiet(socket)

        with stream(talk) as url:
            relay_until(relay(url, server), lambda: ends - time.monotonic())
            assert time.monotonic() - ends < 3
        assert len(server.requests) <= 2

    def test_it_ends_in_time_though_the_stream_is_mute(self, server: Scripted):
        ends = time.monotonic() + 0.2
        with stream(quiet) as url:
            relay_until(relay(url, server), lambda: ends - time.monotonic())
        assert time.monotonic() - ends < 3

    def test_it_ends_in_time_in_the_middle_of_a_wait(
        self, server: Scripted, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(relay_module, "BACKOFF_S", (60.0,))
        ends = time.monotonic() + 0.2
        relay_until(relay("ws://127.0.0.1:9/stream", server), lambda: ends - time.monotonic())
        assert time.monotonic() - ends < 3
