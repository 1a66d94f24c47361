"""A fault proxy stands in front of each server: it makes requests fail, and kills who asks.

A proxy knows a worker by the address that the worker was given: its paths begin with "/as/NAME".
Requests without such a path are the day's own, and nothing happens to them. A proxy sees requests
and answers as bytes. An `Interceptor` knows what they mean.
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

from workbench.chaos.fault_plan import AFTER, BEFORE, QUEUE, SECRETS, STORE, FaultPlan, Injection
from workbench.servers.aws import Application

PREFIX = "/as/"
SLOW_S = 0.05
"""How long a slow request waits before it takes effect. Others overtake it in this time."""

RESET = "reset"
_RST = struct.pack("ii", 1, 0)
_JSON = [("content-type", "application/json")]
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@dataclass(frozen=True, slots=True)
class ProxiedRequest:
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
class ProxiedResponse:
    """An answer: the server's, or one that the proxy made up."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Killer(Protocol):
    """Kills workers."""

    def count_request(self, name: str, /) -> str:
        """Count a request of a worker; return when to kill it, "" for not at all."""
        ...

    def kill(self, name: str, when: str = BEFORE, /) -> None:
        """Kill the worker."""
        ...


class Interceptor:
    """Knows what the requests of one server mean; this one changes nothing."""

    def answer_instead(self, request: ProxiedRequest) -> ProxiedResponse | None:
        """Return an answer in place of the server's, which then never sees the request."""
        return None

    def altered(self, request: ProxiedRequest, response: ProxiedResponse) -> ProxiedResponse:
        """Return what the caller gets instead of the server's answer."""
        return response

    def finished(self, request: ProxiedRequest, status: int) -> None:
        """Note the status that the caller got, 0 for none."""


def address(url: str, caller: str) -> str:
    """Return the address of a server for one worker."""
    return f"{url}{PREFIX}{caller}"


def caller_of(path: str) -> tuple[str, str]:
    """Return the worker that a path names and the path itself; "" for the day's own requests."""
    if not path.startswith(PREFIX):
        return "", path
    caller, _, rest = path.removeprefix(PREFIX).partition("/")
    return caller, "/" + rest


def spoiled(injection: Injection, true: ProxiedResponse | None) -> ProxiedResponse:
    """Return the wrong answer of an injection; `true` is the right one, if there was an effect."""
    match injection.answer:
        case "5xx":
            status = 504 if true is not None else 502
            return ProxiedResponse(status, [("content-type", "text/html")], _HTML)
        case "429":
            told = {"code": 42910000, "message": "rate limit exceeded"}
            return ProxiedResponse(429, _JSON, json.dumps(told).encode())
        case "empty":
            return ProxiedResponse(200, _JSON, b"")
        case _:
            body = true.body if true is not None else b'{"id": "'
            return ProxiedResponse(200, _JSON, body[: len(body) // 2] or b"{")


class HttpFaultProxy:
    """The fault proxy of an ASGI application: the exchange or the webhook."""

    def __init__(
        self,
        app: ASGIApp,
        server: str,
        plan: FaultPlan,
        killer: Killer,
        interceptor: Interceptor | None = None,
    ) -> None:
        self._app = app
        self._server = server
        self._plan = plan
        self._killer = killer
        self._interceptor = interceptor or Interceptor()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request and its answer on, unless the plan says otherwise."""
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
        request = ProxiedRequest(
            caller, scope["method"], path, scope["query_string"].decode(), body
        )
        response = await self._answer(scope, request)
        self._interceptor.finished(request, response.status if response else 0)
        if response is None:
            await _reset(receive, send)
            return
        headers = [(name.encode(), value.encode()) for name, value in response.headers]
        headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        if response.status != 204:
            headers.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    async def _answer(self, scope: Scope, request: ProxiedRequest) -> ProxiedResponse | None:
        """Return the answer; None for a connection that is reset."""
        killed = self._killer.count_request(request.caller)
        if killed == BEFORE:
            self._killer.kill(request.caller, BEFORE)
            return None
        injection = self._plan.on_request(
            self._server, request.function, has_effect=request.method != "GET"
        )
        if injection.slow:
            await asyncio.sleep(SLOW_S)
        true = None
        if not injection.answer or injection.when == AFTER or killed:
            true = self._interceptor.answer_instead(request) or await self._effect(scope, request)
        if killed:
            self._killer.kill(request.caller, AFTER)
            return None
        if injection.answer == RESET:
            return None
        if injection.answer:
            return spoiled(injection, true)
        return self._interceptor.altered(request, true) if true is not None else None

    async def _effect(self, scope: Scope, request: ProxiedRequest) -> ProxiedResponse:
        """Have the server answer."""
        messages: list[Message] = []
        given: list[Message] = [{"type": "http.request", "body": request.body, "more_body": False}]

        async def receive() -> Message:
            return given.pop() if given else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, send)
        start, *rest = messages
        headers = [(name.decode(), value.decode()) for name, value in start.get("headers", [])]
        body = b"".join(message.get("body", b"") for message in rest)
        return ProxiedResponse(start["status"], headers, body)


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


class AwsFaultProxy:
    """The fault proxy of AWS, a WSGI application: a header names the service."""

    def __init__(self, app: Application, plan: FaultPlan, killer: Killer) -> None:
        self._app = app
        self._plan = plan
        self._killer = killer

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Pass a request and its answer on, unless the plan says otherwise."""
        caller, path = caller_of(environ["PATH_INFO"])
        if not caller:
            return self._app(environ, start)
        environ["PATH_INFO"] = path
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        request = ProxiedRequest(caller, "POST", target, "", body)
        response = self._answer(environ, request)
        if response is None:
            connection = environ["werkzeug.socket"]
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
                connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        start(f"{response.status} -", response.headers)
        return [response.body]

    def _answer(self, environ: WSGIEnvironment, request: ProxiedRequest) -> ProxiedResponse | None:
        killed = self._killer.count_request(request.caller)
        if killed == BEFORE:
            self._killer.kill(request.caller, BEFORE)
            return None
        server = server_of(request.path)
        injection = self._plan.on_request(
            server, request.function, has_effect=has_effect(request.path)
        )
        if injection.slow:
            time.sleep(SLOW_S)
        true = None
        if not injection.answer or injection.when == AFTER or killed:
            true = self._effect(environ, request)
        if killed:
            self._killer.kill(request.caller, AFTER)
            return None
        if injection.answer == RESET:
            return None
        return _aws_error(injection.answer) if injection.answer else true

    def _effect(self, environ: WSGIEnvironment, request: ProxiedRequest) -> ProxiedResponse:
        """Have the server answer."""
        started: list[ProxiedResponse] = []

        def start(
            status: str, headers: list[tuple[str, str]], _exc_info: Any = None, /
        ) -> Callable[[bytes], object]:
            started.append(ProxiedResponse(int(status.split()[0]), headers, b""))
            return lambda _: None

        environ["wsgi.input"] = io.BytesIO(request.body)
        body = b"".join(self._app(environ, start))
        return ProxiedResponse(started[-1].status, started[-1].headers, body)


def server_of(target: str) -> str:
    """Return the service of an AWS request by its X-Amz-Target; SNS has none."""
    if target.startswith("DynamoDB_"):
        return STORE
    return SECRETS if target.startswith("secretsmanager") else QUEUE


def has_effect(target: str) -> bool:
    """Return whether a request of AWS changes anything."""
    action = target.rpartition(".")[2]
    return not action.startswith(("Get", "BatchGet", "Query", "Scan", "Describe", "List"))


def _aws_error(answer: str) -> ProxiedResponse:
    """Return an error as DynamoDB, SQS and Secrets Manager give it."""
    if answer == "throttled":
        told = {"__type": "ThrottlingException", "message": "Rate exceeded"}
        return ProxiedResponse(400, [("content-type", "application/x-amz-json-1.0")], _text(told))
    told = {"__type": "InternalServerError", "message": "Internal server error"}
    return ProxiedResponse(500, [("content-type", "application/x-amz-json-1.0")], _text(told))


def _text(told: dict[str, str]) -> bytes:
    return json.dumps(told).encode()
