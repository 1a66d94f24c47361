"""In front of each server: a door that lets the weather at what the functions ask, and kills.

A worker is known by the address it was given: "/as/NAME" leads its path. Requests without that
are the day's own, and nothing happens to them. A door knows requests and answers as bytes alone;
what they mean is the server's business, or that of an `Inside`.
"""

import asyncio
import io
import json
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol
from wsgiref.types import StartResponse, WSGIEnvironment

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workbench.chaos.fault_plan import AFTER, BEFORE, QUEUE, SECRETS, STORE, Fate, Weather
from workbench.servers.aws import Application

PREFIX = "/as/"
SLOW_S = 0.05
"""How long a slow request waits before it takes effect; others overtake it meanwhile."""

RESET = "reset"
_RST = struct.pack("ii", 1, 0)
_JSON = [("content-type", "application/json")]
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: `caller` is the worker's name."""

    caller: str
    method: str
    path: str
    query: str
    body: bytes

    @property
    def function(self) -> str:
        """Return the function that asks."""
        return self.caller.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer: the server's, or the weather's."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Reaper(Protocol):
    """Who kills workers."""

    def request(self, name: str, /) -> str:
        """Count a request of a worker; return when it is to be killed, "" where it is not."""
        ...

    def kill(self, name: str, when: str = BEFORE, /) -> None:
        """Kill the worker."""
        ...


class Inside:
    """What a door knows of the server behind it: nothing, unless a subclass does."""

    def instead(self, asked: Asked) -> Answered | None:
        """Return an answer in the place of the server's, which is then not asked."""
        return None

    def seen(self, asked: Asked, answered: Answered) -> Answered:
        """Return how the server's answer looks to who asked."""
        return answered

    def over(self, asked: Asked, status: int) -> None:
        """Take note of the status that who asked got, 0 for none."""


def address(url: str, caller: str) -> str:
    """Return the address of a server for one worker."""
    return f"{url}{PREFIX}{caller}"


def caller_of(path: str) -> tuple[str, str]:
    """Return the worker that a path names and the path itself; "" for the day's own requests."""
    if not path.startswith(PREFIX):
        return "", path
    caller, _, rest = path.removeprefix(PREFIX).partition("/")
    return caller, "/" + rest


def mangled(fate: Fate, true: Answered | None) -> Answered:
    """Return the answer that a fate gives; `true` is what was to be said, where it took effect."""
    match fate.answer:
        case "5xx":
            status = 504 if true is not None else 502
            return Answered(status, [("content-type", "text/html")], _HTML)
        case "429":
            told = {"code": 42910000, "message": "rate limit exceeded"}
            return Answered(429, _JSON, json.dumps(told).encode())
        case "empty":
            return Answered(200, _JSON, b"")
        case _:
            body = true.body if true is not None else b'{"id": "'
            return Answered(200, _JSON, body[: len(body) // 2] or b"{")


class HttpDoor:
    """A door of an ASGI application: the exchange's, or the webhook's."""

    def __init__(
        self,
        app: ASGIApp,
        door: str,
        weather: Weather,
        reaper: Reaper,
        inside: Inside | None = None,
    ) -> None:
        self._app = app
        self._door = door
        self._weather = weather
        self._reaper = reaper
        self._inside = inside or Inside()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or not, and its answer out, or not."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        caller, path = caller_of(scope["path"])
        if not caller:
            await self._app(scope, receive, send)
            return
        scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        asked = Asked(caller, scope["method"], path, scope["query_string"].decode(), body)
        answered = await self._answer(scope, asked)
        self._inside.over(asked, answered.status if answered else 0)
        if answered is None:
            await _reset(receive, send)
            return
        headers = [(name.encode(), value.encode()) for name, value in answered.headers]
        headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        if answered.status != 204:
            headers.append((b"content-length", str(len(answered.body)).encode()))
        await send({"type": "http.response.start", "status": answered.status, "headers": headers})
        await send({"type": "http.response.body", "body": answered.body})

    async def _answer(self, scope: Scope, asked: Asked) -> Answered | None:
        """Return what is answered; None for a connection that is reset."""
        killed = self._reaper.request(asked.caller)
        if killed == BEFORE:
            self._reaper.kill(asked.caller, BEFORE)
            return None
        fate = self._weather.request(self._door, asked.function, has_effect=asked.method != "GET")
        if fate.slow:
            await asyncio.sleep(SLOW_S)
        true = None
        if not fate.answer or fate.when == AFTER or killed:
            true = self._inside.instead(asked) or await self._effect(scope, asked)
        if killed:
            self._reaper.kill(asked.caller, AFTER)
            return None
        if fate.answer == RESET:
            return None
        if fate.answer:
            return mangled(fate, true)
        return self._inside.seen(asked, true) if true is not None else None

    async def _effect(self, scope: Scope, asked: Asked) -> Answered:
        """Have the server answer."""
        messages: list[Message] = []
        given: list[Message] = [{"type": "http.request", "body": asked.body, "more_body": False}]

        async def receive() -> Message:
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, send)
        start, *rest = messages
        headers = [(name.decode(), value.decode()) for name, value in start.get("headers", [])]
        body = b"".join(message.get("body", b"") for message in rest)
        return Answered(start["status"], headers, body)


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _reset(receive: Receive, send: Send) -> None:
    """Break the connection: uvicorn's `send` belongs to the request, which has the transport."""
    transport = send.__self__.transport  # type: ignore[attr-defined]
    connection = transport.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    transport.abort()
    await receive()


class AwsDoor:
    """A door of AWS, a WSGI application: which service is asked stands in a header."""

    def __init__(self, app: Application, weather: Weather, reaper: Reaper) -> None:
        self._app = app
        self._weather = weather
        self._reaper = reaper

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Let a request in, or not, and its answer out, or not."""
        caller, path = caller_of(environ["PATH_INFO"])
        if not caller:
            return self._app(environ, start)
        environ["PATH_INFO"] = path
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        asked = Asked(caller, "POST", target, "", body)
        answered = self._answer(environ, asked)
        if answered is None:
            connection = environ["werkzeug.socket"]
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
                connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        start(f"{answered.status} -", answered.headers)
        return [answered.body]

    def _answer(self, environ: WSGIEnvironment, asked: Asked) -> Answered | None:
        killed = self._reaper.request(asked.caller)
        if killed == BEFORE:
            self._reaper.kill(asked.caller, BEFORE)
            return None
        door = door_of(asked.path)
        fate = self._weather.request(door, asked.function, has_effect=has_effect(asked.path))
        if fate.slow:
            time.sleep(SLOW_S)
        true = None
        if not fate.answer or fate.when == AFTER or killed:
            true = self._effect(environ, asked)
        if killed:
            self._reaper.kill(asked.caller, AFTER)
            return None
        if fate.answer == RESET:
            return None
        return _aws_error(fate.answer) if fate.answer else true

    def _effect(self, environ: WSGIEnvironment, asked: Asked) -> Answered:
        """Have the server answer."""
        started: list[Answered] = []

        def start(
            status: str, headers: list[tuple[str, str]], _exc_info: Any = None, /
        ) -> Callable[[bytes], object]:
            started.append(Answered(int(status.split()[0]), headers, b""))
            return lambda _: None

        environ["wsgi.input"] = io.BytesIO(asked.body)
        body = b"".join(self._app(environ, start))
        return Answered(started[-1].status, started[-1].headers, body)


def door_of(target: str) -> str:
    """Return whose door a request of AWS is at, by its X-Amz-Target; SNS has none."""
    if target.startswith("DynamoDB_"):
        return STORE
    return SECRETS if target.startswith("secretsmanager") else QUEUE


def has_effect(target: str) -> bool:
    """Return whether a request of AWS changes anything."""
    action = target.rpartition(".")[2]
    return not action.startswith(("Get", "BatchGet", "Query", "Scan", "Describe", "List"))


def _aws_error(answer: str) -> Answered:
    """Return an error as DynamoDB, SQS and Secrets Manager give it."""
    if answer == "throttled":
        told = {"__type": "ThrottlingException", "message": "Rate exceeded"}
        return Answered(400, [("content-type", "application/x-amz-json-1.0")], _text(told))
    told = {"__type": "InternalServerError", "message": "Internal server error"}
    return Answered(500, [("content-type", "application/x-amz-json-1.0")], _text(told))


def _text(told: dict[str, str]) -> bytes:
    return json.dumps(told).encode()
