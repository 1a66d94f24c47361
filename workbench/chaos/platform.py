"""What AWS does on a chaos day: it starts processes, repeats events, and does not wait for long.

As on AWS a tick is not repeated. Messages of the queue come again once they are visible again.
The schedule repeats the liquidation. Functions due in the same minute run side by side.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from starlette.types import ASGIApp

from scalper.shell.errors import ScalperError
from scalper.shell.relay.stream import POST_ATTEMPTS
from workbench.chaos.exchange import UnreliableStream
from workbench.chaos.fault_plan import WEBHOOK, FaultPlan
from workbench.chaos.fault_proxy import HttpFaultProxy, Interceptor, ProxiedRequest, address
from workbench.chaos.processes import Workers
from workbench.faults.kinds import FaultKind
from workbench.local.day import Invoke
from workbench.local.invocations import RELAY, TRADE_UPDATE, Context, Invoker, LongInvocation
from workbench.local.trade_updates import function_url
from workbench.servers.processes import STOP_WITHIN_S, Servers
from workbench.template.schedules import Schedule

SETTLE_WITHIN_S = 1.0
"""How long the day waits for messages under way. After that they are late, and it goes on."""

POLL_S = 0.002
PARALLEL = 8
"""Functions that run side by side at most."""


class ProcessInvoker:
    """Runs each function in a process of its own, which may be killed at any request."""

    def __init__(self, workers: Workers, plan: FaultPlan, servers: Servers) -> None:
        self._workers = workers
        self._plan = plan
        self._servers = servers
        self._environment: dict[str, str] = {}

    def start(self, handlers: Iterable[str], environment: Mapping[str, str]) -> None:
        """Keep the environment, and let faults strike from now on."""
        self._environment = dict(environment)
        # The day itself reads the table by these settings.
        os.environ.update(environment)
        self._plan.start()

    def invoke(self, handler: str, event: Mapping[str, Any], context: Context) -> Any:
        """Return the handler's answer. Raises WorkerDiedError, InvocationFailedError."""
        if handler == RELAY:
            return self._workers.invoke(handler, event, self._variables_of, within_s=None)
        return self._workers.invoke(handler, event, self._variables_of)

    def _variables_of(self, caller: str) -> dict[str, str]:
        """Return a worker's environment: every address in it names the worker."""
        exchange_url = address(self._servers.exchange_url, caller)
        webhook_url = self._environment["WEBHOOK_URL"].rstrip("/")
        credentials = {name: value for name, value in os.environ.items() if name[:4] == "AWS_"}
        return {
            **credentials,
            **self._environment,
            "AWS_ENDPOINT_URL": address(self._servers.aws_url, caller),
            "ALPACA_TRADING_URL": exchange_url,
            "ALPACA_DATA_URL": exchange_url,
            "ALPACA_STREAM_URL": exchange_url.replace("http", "ws", 1) + "/stream",
            "WEBHOOK_URL": address(webhook_url, caller) + "/",
        }


class HastyTradeUpdates:
    """Waits for the messages under way while a relay lives, and not for long."""

    def __init__(
        self, invoker: Invoker, stream: UnreliableStream, plan: FaultPlan, workers: Workers
    ) -> None:
        self._invoker = invoker
        self._stream = stream
        self._plan = plan
        self._workers = workers
        self._relay: LongInvocation | None = None

    def webhook(self) -> ASGIApp:
        """Return the Function URL behind a fault proxy."""
        app = function_url(self._take_up)
        interceptor = WebhookInterceptor(self._stream)
        return HttpFaultProxy(app, WEBHOOK, self._plan, self._workers, interceptor)

    def _take_up(self, event: dict[str, Any]) -> dict[str, Any]:
        """Answer as a Function URL does if the function fails."""
        try:
            answer: dict[str, Any] = self._invoker.invoke(TRADE_UPDATE, event, Context())
        except ScalperError:
            return {"statusCode": 502, "body": "{}"}
        return answer

    def start_relay(self, event: Mapping[str, Any]) -> None:
        """Start the relay unless one runs, and give it a moment to connect."""
        if self._relay is not None and self._relay.is_alive():
            return
        self._relay = LongInvocation(self._invoker, RELAY, event)
        self._relay.start()
        deadline = time.monotonic() + SETTLE_WITHIN_S
        while self._relay.is_alive() and not self._stream.listening:
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)

    def settle(self, events: int | None = None) -> None:
        """Wait for the messages under way, for `SETTLE_WITHIN_S` at most."""
        deadline = time.monotonic() + SETTLE_WITHIN_S
        while self._stream.undelivered and self._relay is not None and self._relay.is_alive():
            if time.monotonic() > deadline:
                self._plan.count("event_late")
                break
            time.sleep(POLL_S)
        self._stream.clear_undelivered()

    def stop(self) -> None:
        """End the relay's process."""
        self._workers.end(RELAY.partition(".")[0])
        if self._relay is not None:
            self._relay.join(STOP_WITHIN_S)


class ParallelDispatcher:
    """Starts the functions of a minute side by side, and a tick twice if the plan says so."""

    def __init__(self, plan: FaultPlan, before: Callable[[datetime], None]) -> None:
        """`before` is called with each minute before its functions start."""
        self._plan = plan
        self._before = before

    def dispatch(self, due: Sequence[Schedule], minute: datetime, invoke: Invoke) -> None:
        """Invoke what is due, the relay first."""
        self._before(minute)
        starts = sorted(due, key=lambda schedule: schedule.handler != RELAY)
        ticks = [one for one in starts if one.handler == "tick.handler"]
        if ticks and self._plan.strikes("ticks", FaultKind.TICK_TWICE):
            starts += ticks
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="scheduler") as threads:
            for done in [threads.submit(invoke, one, minute) for one in starts]:
                done.result()


class WebhookInterceptor(Interceptor):
    """Tells the stream which messages are over: taken up, refused, or given up by the relay."""

    def __init__(self, stream: UnreliableStream) -> None:
        self._stream = stream
        self._attempts = Counter[str]()

    def finished(self, request: ProxiedRequest, status: int) -> None:
        """Count an attempt to post a message; the relay repeats it after a failure."""
        text = request.body.decode()
        self._attempts[text] += 1
        again = status == 0 or status >= 500 or status == 429
        if not again or self._attempts[text] >= POST_ATTEMPTS:
            del self._attempts[text]
            self._stream.mark_delivered(text)
