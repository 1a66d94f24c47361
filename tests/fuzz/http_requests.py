"""Raw HTTP requests to the webhook's address: what no HTTP library would send, among others."""

import socket
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.fuzz.deliveries import delivery
from tests.fuzz.judge import Judge, body_of
from workbench.local.invocations import function_url_event

ANSWER_WITHIN_S = 5.0
METHODS = ("POST",) * 12 + ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PROPFIND", "p\0st")
PATHS = ("/",) * 8 + ("/x", "//", "/?a=b", "/%00", "/é", "*", "http://other/", "/" + "a" * 3_000)


def application(judge: Judge) -> ASGIApp:
    """Return what turns each request into a Function URL's event, whatever its method and path."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        event = await function_url_event(Request(scope, receive))
        made = await run_in_threadpool(judge.take, event)
        response = Response(made["body"], made["statusCode"], headers=made.get("headers"))
        await response(scope, receive, send)

    app = Starlette()
    app.mount("/", answer)
    return app


def raw(random: Random, event: Mapping[str, Any]) -> bytes:
    """Return a request as bytes, its framing sometimes wrong."""
    try:
        body = body_of(event)
    except ValueError:
        body = str(event.get("body")).encode("utf-8", "replace")
    if random.random() < 0.05:
        body = bytes(random.randrange(256) for _ in range(200))
    headers = event.get("headers")
    named = [*headers.items()] if isinstance(headers, dict) else []
    lines = [f"{name}: {value}".encode("utf-8", "replace") for name, value in named]
    # A line break in a value would be another header, or the end of them.
    lines = [line.replace(b"\r", b"").replace(b"\n", b"") for line in lines]
    lines.append(b"host: hook")
    lines += random.choice(
        ([], [], [], [b"content-encoding: gzip"], [b"x: " + b"y" * 2_000], [b"expect: nothing"])
    )
    if lines and random.random() < 0.1:
        lines += [random.choice(lines)]
    framing = random.random()
    if framing < 0.85:
        lines.append(b"content-length: %d" % len(body))
    elif framing < 0.95:
        lines.append(b"transfer-encoding: chunked")
        body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:50], body[50:]) if p)
        body += b"0\r\n\r\n"
    else:
        lines += [random.choice((b"content-length: -1", b"content-length: x", b"broken", b": y"))]
    first = f"{random.choice(METHODS)} {random.choice(PATHS)} HTTP/1.1".encode()
    return first + b"\r\n" + b"\r\n".join([*lines, b"connection: close"]) + b"\r\n\r\n" + body


def asked(address: tuple[str, int], request: bytes) -> str:
    """Return the status of the answer to a request, "none" where the connection ended without."""
    with socket.create_connection(address, ANSWER_WITHIN_S) as connection:
        # The server may answer, and hang up, before it has read everything.
        with suppress(ConnectionError):
            connection.sendall(request)
        answer = b""
        with suppress(ConnectionError):
            while piece := connection.recv(65_536):
                answer += piece
    status = answer[9:12].decode("latin-1")
    return status if status.isdigit() else "none"


def storm(url: str, judge: Judge, seed: int, requests: int) -> Counter[str]:
    """Send so many requests; return how many were answered with each status."""
    random = Random(seed)
    host, _, port = url.removeprefix("http://").partition(":")
    statuses = Counter[str]()
    for _ in range(requests):
        event = delivery(random, judge.orders())
        statuses[asked((host, int(port)), raw(random, event))] += 1
    return statuses
