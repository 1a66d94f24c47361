"""Runs an ASGI application on a loopback port, in this thread or in one of its own."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import uvicorn

from workbench.servers.loopback import address, listen

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 3
PING_EVERY_S, PONG_WITHIN_S = 30.0, 60.0
"""A dead websocket loses its slot after 90 s, as Alpaca's does."""


class Server(uvicorn.Server):
    """uvicorn that reports when it is ready, and that ends in order on a signal."""

    def __init__(self, app: Any, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="websockets-sansio",
                access_log=False,
                log_level="error",
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=STOP_WITHIN_S,
                ws_ping_interval=PING_EVERY_S,
                ws_ping_timeout=PONG_WITHIN_S,
                ws_per_message_deflate=False,
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then report it."""
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT without raising them again: the exit code is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        caught = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def serving(app: Any, name: str, port: int = 0) -> Iterator[str]:
    """Run an ASGI application in a thread while the block lasts; yields its URL.

    Raises OSError if the port is in use, TimeoutError if the application does not start.
    """
    ready = threading.Event()
    with closing(listen(port)) as listener:
        server = Server(app, ready.set)
        thread = threading.Thread(target=server.run, args=([listener],), name=name, daemon=True)
        thread.start()
        try:
            if not ready.wait(READY_WITHIN_S):
                raise TimeoutError(f"{name} was not ready within {READY_WITHIN_S:g} s")
            yield address(listener)
        finally:
            server.should_exit = True
            thread.join(STOP_WITHIN_S + READY_WITHIN_S)
