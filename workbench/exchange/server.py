"""The exchange on a loopback port: routes, the control endpoints, the pace, start and stop.

It binds to 127.0.0.1 and to nothing else. Everything runs on one event loop and every handler is
synchronous, so requests and the clock never interleave.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from scalper.core.pricing import Money
from workbench.exchange import account, market_data, trading
from workbench.exchange.calls import Answer, Call, Endpoint
from workbench.exchange.gate import Credentials, Gate, respond
from workbench.exchange.refusals import Refusal
from workbench.exchange.stream import Stream
from workbench.exchange.venue import END_OF_TIME, Venue
from workbench.exchange.wire import parse_wire_time, stamp
from workbench.market.model import Market
from workbench.servers.asgi import Server, serving
from workbench.servers.loopback import address, listen

PACE_STEP_S = 0.05
"""How often, in real seconds, a paced clock moves."""
MAX_PACE = 100_000.0


class Exchange:
    """One exchange: a venue, its gate and its stream, as an ASGI application."""

    def __init__(
        self,
        market: Market,
        *,
        key_id: str,
        secret_key: str,
        cash: Money | None = None,
        pace: float = 0.0,
        start: datetime | None = None,
        requests_per_minute: int | None = None,
        venue: Venue | None = None,
        stream: Stream | None = None,
        control: Sequence[Endpoint] = (),
    ) -> None:
        """Put an exchange together; raises ValueError if an option makes no sense.

        `pace` is simulated seconds per real second, 0 for a clock moved by hand alone. A `venue`
        given replaces the one of `market`, `cash` and `start`; a `stream` given replaces the plain
        one. `control` are more endpoints for whoever drives the exchange.
        """
        if not 0 <= pace <= MAX_PACE:
            raise ValueError(f"the pace must be from 0 to {MAX_PACE:g}")
        if requests_per_minute is not None and requests_per_minute < 1:
            raise ValueError("requests_per_minute must be at least 1")
        credentials = Credentials(key_id, secret_key)
        self.venue = venue or Venue(market, cash=cash, start=start)
        self.gate = Gate(self.venue, credentials, requests_per_minute)
        self.stream = stream or Stream(credentials)
        self.venue.tell = self.stream.tell
        self._pace = pace
        endpoints = (
            *control,
            Endpoint("POST", "/exchange/advance", self._advance),
            Endpoint("GET", "/exchange/state", self._state),
            *trading.ENDPOINTS,
            *account.ENDPOINTS,
            *market_data.ENDPOINTS,
        )
        routes: list[BaseRoute] = [self._route(endpoint) for endpoint in endpoints]
        routes.append(WebSocketRoute("/stream", self.stream.connect))
        self.app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _unrouted},
        )
        self.app.router.redirect_slashes = False

    def _route(self, endpoint: Endpoint) -> Route:
        async def answer(request: Request) -> Response:
            return await self.gate.answer(endpoint, request)

        return Route(endpoint.path, answer, methods=[endpoint.method])

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        pacer = asyncio.create_task(self._keep_pace()) if self._pace else None
        try:
            yield
        finally:
            if pacer is not None:
                pacer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pacer

    async def _keep_pace(self) -> None:
        """Move the clock with real time; what the control endpoint adds is kept."""
        then_s = time.monotonic()
        while True:
            await asyncio.sleep(PACE_STEP_S)
            now_s = time.monotonic()
            to = self.venue.now + timedelta(seconds=(now_s - then_s) * self._pace)
            if to > END_OF_TIME:
                return
            self.venue.advance(to)
            then_s = now_s

    # Control -------------------------------------------------------------------------------

    def _advance(self, venue: Venue, call: Call) -> Answer:
        """Move the clock to `to`; 422 if that is backwards or not a time."""
        to = call.fields().get("to")
        if not isinstance(to, str):
            raise Refusal(422, {"message": "to is required: an RFC 3339 time"})
        try:
            venue.advance(parse_wire_time(to))
        except (ValueError, OverflowError) as error:
            raise Refusal(422, {"message": f"cannot advance to {to}: {error}"}) from None
        return Answer({"now": stamp(venue.now), "events": venue.ledger.updates})

    def _state(self, venue: Venue, _: Call) -> Answer:
        """Tell where the exchange stands, for whoever drives it."""
        return Answer(
            {
                "now": stamp(venue.now),
                "synthetic": venue.market.synthetic,
                "sessions": [
                    {
                        "date": day.session.day.isoformat(),
                        "open": stamp(day.session.open),
                        "close": stamp(day.session.close),
                        "symbols": sorted(day.bars),
                    }
                    for day in venue.market.days
                ],
                "events": venue.ledger.updates,
                "listening": self.stream.listening,
                "requests": dict(self.gate.requests),
            }
        )


async def _unrouted(_: Request, error: Exception) -> Response:
    """Answer a path or method that does not exist the way Alpaca does."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = {404: "Not Found", 405: "Method Not Allowed"}.get(status, "error")
    return respond(Answer({"message": message}, status))


def serve(
    market: Market,
    *,
    port: int,
    key_id: str,
    secret_key: str,
    cash: Money | None = None,
    pace: float = 0.0,
    start: datetime | None = None,
    requests_per_minute: int | None = None,
) -> None:
    """Run an exchange until SIGTERM or SIGINT; prints exactly one line, when it is ready.

    Port 0 takes a free one. `cash` None is unlimited; `pace` is simulated seconds per real
    second, 0 for a clock that only `POST /exchange/advance` moves; `start` defaults to the first
    session's open. Raises ValueError on a senseless option, OSError on a port in use.
    """
    exchange = Exchange(
        market,
        key_id=key_id,
        secret_key=secret_key,
        cash=cash,
        pace=pace,
        start=start,
        requests_per_minute=requests_per_minute,
    )
    listener = listen(port)
    kind = "synthetic" if market.synthetic else "real"
    line = (
        f"exchange ready on {address(listener)} ({kind} bars, "
        f"{len(exchange.venue.tape.symbols)} symbols, {len(market.days)} sessions, "
        f"now {stamp(exchange.venue.now)})"
    )
    with contextlib.closing(listener):
        Server(exchange.app, lambda: print(line, flush=True)).run([listener])


@dataclass(frozen=True, slots=True)
class Running:
    """An exchange that runs in a thread of this process."""

    url: str
    exchange: Exchange

    @property
    def stream_url(self) -> str:
        """Return the websocket's address, /stream included."""
        return self.url.replace("http", "ws", 1) + "/stream"


@contextmanager
def running(exchange: Exchange, *, port: int = 0) -> Iterator[Running]:
    """Run an exchange in a thread while the block lasts; raises TimeoutError if it cannot start.

    Its parts belong to that thread: read `venue` and `ledger` only while no request runs.
    """
    with serving(exchange.app, "exchange", port) as url:
        yield Running(url, exchange)
