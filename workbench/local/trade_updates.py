"""How trade updates come from the exchange to the function: the relay, the webhook, and the wait.

A minute of a local day is over only when its trade updates were taken up.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from scalper.shell.errors import UnauthorizedError
from scalper.shell.relay.stream import POST_ATTEMPTS
from workbench.local.invocations import (
    RELAY,
    TRADE_UPDATE,
    Context,
    Invoker,
    LongInvocation,
    function_url_event,
)
from workbench.servers.processes import STOP_WITHIN_S, LocalDayError, Servers

SETTLE_WITHIN_S = 20.0
LISTEN_WITHIN_S = 45.0
"""The relay of a day that was killed may still hold its lease, for `LEASE_S`."""

LISTEN_POLL_S = 0.01

REFUSED_KEYS = (
    "the exchange refuses the keys in the secret BrokerSecret: put "
    '{"key_id": "...", "secret_key": "..."} of its account there'
)

TakeUp = Callable[[dict[str, Any]], dict[str, Any]]
"""Returns the answer of the function behind a Function URL to an event."""


class TradeUpdates(Protocol):
    """The way of the trade updates of a day."""

    def webhook(self) -> ASGIApp:
        """Return the application that the relay posts to."""
        ...

    def start_relay(self, event: Mapping[str, Any]) -> None:
        """Invoke the relay, unless one runs. Raises LocalDayError if it cannot connect."""
        ...

    def settle(self, events: int | None = None) -> None:
        """Wait until all trade updates so far were taken up, and those that they cause.

        `events` is how many the exchange has told, if the caller knows it. Raises LocalDayError
        if they take too long.
        """
        ...

    def stop(self) -> None:
        """Stop the relay."""
        ...


class Deliveries:
    """Counts the trade updates that are taken up, or given up by the relay."""

    def __init__(self) -> None:
        self.over = 0
        self._attempts = Counter[str]()
        self._changed = threading.Condition()

    def add(self, body: str, status: int) -> None:
        """Count one answer to a post; after a failure the relay posts the same body again."""
        with self._changed:
            self._attempts[body] += 1
            if (status >= 500 or status == 429) and self._attempts[body] < POST_ATTEMPTS:
                return
            del self._attempts[body]
            self.over += 1
            self._changed.notify_all()

    def reached(self, count: int, timeout_s: float) -> bool:
        """Wait until `count` updates are over; return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self.over >= count, timeout_s)


def function_url(take_up: TakeUp, answered: Callable[[str, int], None] | None = None) -> ASGIApp:
    """Return the application that turns requests into the events of a Function URL.

    `answered` gets the body and the status of each request that was answered.
    """

    async def answer(request: Request) -> Response:
        event = await function_url_event(request)
        response = await run_in_threadpool(take_up, event)
        if answered is not None:
            answered(event["body"], response["statusCode"])
        return Response(response["body"], response["statusCode"], headers=response.get("headers"))

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


class RelayedTradeUpdates:
    """Waits for every trade update, so that a day comes out the same each time."""

    def __init__(
        self, servers: Servers, invoker: Invoker, settle_within_s: float = SETTLE_WITHIN_S
    ) -> None:
        """Give up a wait after `settle_within_s` seconds."""
        self.deliveries = Deliveries()
        self._servers = servers
        self._invoker = invoker
        self._settle_within_s = settle_within_s
        self._relay: LongInvocation | None = None
        self._missed = 0
        self._settled = 0

    def webhook(self) -> ASGIApp:
        """Return the Function URL of the trade updates' function."""
        return function_url(
            lambda event: self._invoker.invoke(TRADE_UPDATE, event, Context()), self.deliveries.add
        )

    def start_relay(self, event: Mapping[str, Any]) -> None:
        """Invoke the relay unless one runs: the exchange would turn a second one away."""
        if self._relay is not None and self._relay.is_alive():
            return
        if int(self._servers.state()["listening"]):
            # Another program listens. Polling finds the fills, and the next start tries again.
            return
        self._relay = LongInvocation(self._invoker, RELAY, event)
        self._relay.start()
        deadline = time.monotonic() + LISTEN_WITHIN_S
        while int(self._servers.state()["listening"]) == 0:
            if isinstance(self._relay.failure, UnauthorizedError):
                raise LocalDayError(REFUSED_KEYS)
            if time.monotonic() > deadline or not self._relay.is_alive():
                why = self._relay.failure or "no connection"
                raise LocalDayError(f"the relay did not connect to the exchange: {why}")
            time.sleep(LISTEN_POLL_S)
        self._settled = int(self._servers.state()["events"])
        self._missed = self._settled - self.deliveries.over

    def settle(self, events: int | None = None) -> None:
        """Wait until every trade update is taken up; without a relay there is nothing to wait for.

        Raises LocalDayError after the time given.
        """
        if self._relay is None:
            return
        if events is None:
            events = int(self._servers.state()["events"])
        while events != self._settled:
            expected = events - self._missed
            if not self.deliveries.reached(expected, self._settle_within_s):
                raise LocalDayError(
                    f"{expected - self.deliveries.over} trade updates did not arrive "
                    f"within {self._settle_within_s:g} s"
                )
            self._settled = events
            events = int(self._servers.state()["events"])

    def stop(self) -> None:
        """Leave the relay no time, and wait for its end."""
        if self._relay is not None:
            self._relay.stop()
            self._relay.join(STOP_WITHIN_S)
