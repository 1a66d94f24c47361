"""A broker's HTTP server on loopback that answers as scripted, faults included."""

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

RESET = "reset"
HANG = "hang"
CUT = "cut"
"""An answer that ends in the middle."""


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str


@dataclass
class Scripted:
    """The script, which its last answer ends by being repeated, and the requests that came."""

    url: str = ""
    script: list[Any] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, *answers: Any) -> None:
        """Set the answers: a status and a body, or RESET, HANG, CUT."""
        self.script = list(answers)

    def next(self, request: Request) -> Any:
        with self.lock:
            self.requests.append(request)
            made = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        return made(request) if callable(made) else made


@contextmanager
def scripted() -> Iterator[Scripted]:
    """Run a scripted server while the block lasts."""
    made = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        # One packet an answer: a body sent after its head waits 40 ms for the client's delayed ACK.
        wbufsize = -1

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("content-length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = made.next(
                Request(
                    self.command,
                    parts.path,
                    dict(parse_qsl(parts.query, keep_blank_values=True)),
                    headers,
                    self.rfile.read(length).decode(),
                )
            )
            if answer == RESET:
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                return
            if answer == HANG:
                made.released.wait(20)
                self.close_connection = True
                return
            status, content = (200, '{"id": "b1"') if answer == CUT else answer
            raw = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(raw) + (50 if answer == CUT else 0)))
            self.end_headers()
            self.wfile.write(raw)
            self.close_connection = answer == CUT

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *args: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
