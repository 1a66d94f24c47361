"""Servers on 127.0.0.1 and nothing else: the socket, and an application run in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

HOST = "127.0.0.1"
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 3


def listen(port: int) -> socket.socket:
    """Return a socket bound to a loopback port, a free one for 0; raises OSError."""
    # The protocol is named because asyncio sets TCP_NODELAY only then: without it, Nagle's
    # algorithm and delayed acknowledgements make each answer 44 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    def __init__(self, app: Any, ready: threading.Event) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                access_log=False,
                log_level="error",
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=STOP_WITHIN_S,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()


@contextmanager
def serving(app: Any, name: str) -> Iterator[str]:
    """Run an ASGI application in a thread while the block lasts; gives its address.

    Raises TimeoutError where it cannot start.
    """
    ready = threading.Event()
    listener = listen(0)
    server = _Server(app, ready)
    thread = threading.Thread(target=server.run, args=([listener],), name=name, daemon=True)
    thread.start()
    try:
        if not ready.wait(READY_WITHIN_S):
            raise TimeoutError(f"{name} was not ready within {READY_WITHIN_S:g} s")
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_WITHIN_S + READY_WITHIN_S)
        listener.close()
