"""The functions' processes: warm ones are used again, and any of them may be killed at any time.

The workers have a pre-forked parent: a process that is forked before this one has a thread, with
everything imported and no client made. So a cold start takes some hundredths of a second. A worker
runs one invocation at a time, as a Lambda environment does. It ends with its parent.
"""

import importlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

from scalper.shell.errors import ScalperError
from scalper.shell.relay import lease, stream
from workbench.chaos.fault_plan import BEFORE, FaultPlan, KillPoint
from workbench.local.invocations import Context

TIME_SCALE = 0.02
"""Waits inside an invocation (backoffs, polls) last this share of their time."""

LEASE_TIME_SCALE = 0.1
"""The relay's lease lasts this share of its time."""

INVOCATION_WITHIN_S = 60.0
"""Lambda would end an invocation by then, too (template.yaml's Timeout)."""

_MAX_BYTES = 1 << 20


class WorkerDiedError(ScalperError):
    """The process ended during the invocation. What it did until then took effect."""


class InvocationFailedError(ScalperError):
    """The handler raised."""


@dataclass(slots=True)
class Worker:
    """One process, and the number of requests of its present invocation."""

    name: str
    function: str
    pid: int
    channel: Connection
    busy: bool = True
    requests: int = 0
    kill_point: KillPoint | None = None


class Workers:
    """The pool of all functions' processes of a day."""

    def __init__(self, plan: FaultPlan, log: Path) -> None:
        """Fork the workers' parent: this process may have no other thread yet."""
        self._plan = plan
        self._lock = Lock()
        self._workers: dict[str, Worker] = {}
        self._made = 0
        self._commands, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.parent = os.fork()
        if self.parent == 0:
            self._commands.close()
            _fork_workers(theirs, log)
        theirs.close()

    def invoke(
        self,
        handler: str,
        event: Mapping[str, Any],
        environment: Callable[[str], Mapping[str, str]],
        within_s: float | None = INVOCATION_WITHIN_S,
    ) -> Any:
        """Return what the handler answers in a process that is free, or in a new one.

        `environment` gives a new process's variables by its name. Raises WorkerDiedError,
        InvocationFailedError.
        """
        worker = self._take(handler, environment)
        try:
            worker.channel.send_bytes(json.dumps(event).encode())
            if within_s is not None and not worker.channel.poll(within_s):
                self._plan.count("timed_out")
                raise OSError(f"no answer within {within_s:g} s")
            answer = json.loads(worker.channel.recv_bytes())
        except (EOFError, OSError) as error:
            self._end(worker)
            raise WorkerDiedError(f"{handler}: {str(error) or 'the process is gone'}") from None
        with self._lock:
            worker.busy, worker.kill_point = False, None
        if "error" in answer:
            raise InvocationFailedError(f"{handler}: {answer['error']}")
        return answer["result"]

    def count_request(self, name: str) -> str:
        """Count a request of a worker; return when to kill it, "" for not at all."""
        with self._lock:
            worker = self._workers.get(name)
            if worker is None or not worker.busy:
                return ""
            worker.requests += 1
            if worker.kill_point is None or worker.requests != worker.kill_point.request:
                return ""
            return worker.kill_point.when

    def kill(self, name: str, when: str = BEFORE) -> None:
        """Kill a worker by SIGKILL, and count it."""
        with self._lock:
            worker = self._workers.pop(name, None)
        if worker is not None:
            _kill(worker)
            self._plan.killed(worker.function, when)

    def end(self, function: str) -> None:
        """End a function's workers; this counts as no kill."""
        for worker in list(self._workers.values()):
            if worker.function == function:
                self._end(worker)

    def close(self) -> None:
        """End every worker, and their parent."""
        for worker in list(self._workers.values()):
            self._end(worker)
        self._commands.close()
        os.waitpid(self.parent, 0)

    def _take(self, handler: str, environment: Callable[[str], Mapping[str, str]]) -> Worker:
        function = handler.partition(".")[0]
        kill_point = self._plan.kill_point(function)
        with self._lock:
            for worker in self._workers.values():
                if worker.function == function and not worker.busy:
                    worker.busy, worker.requests, worker.kill_point = True, 0, kill_point
                    return worker
            self._made += 1
            name = f"{function}-{self._made}"
            ours, theirs = socket.socketpair()
            order = {"handler": handler, "environment": dict(environment(name))}
            with theirs:
                socket.send_fds(self._commands, [json.dumps(order).encode()], [theirs.fileno()])
            (pid,) = struct.unpack("q", self._commands.recv(8))
            worker = Worker(name, function, pid, Connection(ours.detach()), kill_point=kill_point)
            self._workers[name] = worker
            return worker

    def _end(self, worker: Worker) -> None:
        with self._lock:
            present = self._workers.pop(worker.name, None)
        if present is not None:
            _kill(present)


def _kill(worker: Worker) -> None:
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)


# --- in the parent and in the workers --------------------------------------------------------


def _fork_workers(commands: socket.socket, log: Path) -> NoReturn:
    """Fork a worker for each command, until the commanding process ends."""
    # Nobody waits for the workers: let the kernel forget each one that ends.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_to(log)
    lifeline, ours = os.pipe()
    while True:
        message, fds, _, _ = socket.recv_fds(commands, _MAX_BYTES, 1)
        if not message:
            os._exit(0)
        order = json.loads(message)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            commands.close()
            os.close(ours)
            _end_with(lifeline)
            os.environ.update(order["environment"])
            _work(order["handler"], Connection(fds[0]))
        os.close(fds[0])
        commands.send(struct.pack("q", pid))


def log_to(log: Path) -> None:
    """Write what the handlers print and log to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    _log_by(sys.stdout)


def _log_by(stream: Any) -> None:
    from scalper.shell.telemetry import logger

    for handler in logger.handlers:
        getattr(handler, "setStream", lambda _: None)(stream)


def _work(handler: str, channel: Connection) -> NoReturn:
    """Run one invocation after the other, as a Lambda environment, until the channel is closed."""
    _scale_time()
    module, _, function = handler.partition(".")
    call = getattr(importlib.import_module(module), function)
    while True:
        try:
            event = json.loads(channel.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)
        try:
            answer = {"result": call(event, Context())}
        except Exception as error:  # noqa: BLE001 - as Lambda's runtime does
            answer = {"error": f"{type(error).__name__}: {error}"}
        try:
            channel.send_bytes(json.dumps(answer).encode())
        except OSError:
            os._exit(0)


def _end_with(lifeline: int) -> None:
    """End this process when the parent ends: a relay would listen on for a quarter hour."""

    def wait() -> None:
        os.read(lifeline, 1)
        os._exit(0)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _scale_time() -> None:
    sleep = time.sleep

    def scaled(seconds: float) -> None:
        sleep(seconds * TIME_SCALE)

    setattr(time, "sleep", scaled)  # noqa: B010 - the types have it as it was
    waits = tuple(wait * TIME_SCALE for wait in stream.BACKOFF_S)
    setattr(stream, "BACKOFF_S", waits)  # noqa: B010
    # A day lasts a quarter of a minute. A lease of full length would fill most of it.
    for name in ("LEASE_S", "RENEW_EVERY_S", "RETRY_EVERY_S", "MARGIN_S", "WATCH_S"):
        setattr(lease, name, getattr(lease, name) * LEASE_TIME_SCALE)
