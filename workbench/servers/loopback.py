"""Sockets on 127.0.0.1 and on nothing else, and the end of a server's process."""

import os
import signal
import socket
import threading

HOST = "127.0.0.1"


def listen(port: int) -> socket.socket:
    """Return a socket bound to a loopback port, a free one for 0; raises OSError."""
    # asyncio sets TCP_NODELAY only if the protocol is named. Without it, Nagle's algorithm and
    # delayed acknowledgements make each answer 44 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        raise
    return listener


def address(listener: socket.socket) -> str:
    """Return the address under which a socket of `listen` is reached."""
    return f"http://{HOST}:{listener.getsockname()[1]}"


def end_with_stdin() -> None:
    """End this process as by SIGTERM when the other end closes its standard input."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="stdin", daemon=True).start()
