"""A proxy on loopback that passes requests on and can lose an answer."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def _none(operation: str) -> tuple[int, bytes] | None:
    return None


@contextmanager
def losing_answers(
    target: str,
    loses: Callable[[str, bytes], bool] = lambda operation, body: False,
    instead: Callable[[str], tuple[int, bytes] | None] = _none,
) -> Iterator[str]:
    """Run a proxy to `target`; an answer for which `loses(operation, body)` says so is dropped.

    What `instead(operation)` gives is answered without asking the target.
    """
    host = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            operation = self.headers.get("x-amz-target", "")
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answered = instead(operation)
            if answered is not None:
                self.send_response(answered[0])
                self.send_header("content-length", str(len(answered[1])))
                self.end_headers()
                self.wfile.write(answered[1])
                return
            onward = http.client.HTTPConnection(host, timeout=10)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            onward.request("POST", self.path, body, headers)
            answer = onward.getresponse()
            content = answer.read()
            onward.close()
            if loses(operation, body):
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
