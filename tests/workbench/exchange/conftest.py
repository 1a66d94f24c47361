"""A tiny market of two sessions whose every price is known, and an exchange that plays it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import httpx
import pytest

from scalper.core.pricing import CENT
from scalper.core.session import Session
from scalper.core.signal import Bar
from workbench.exchange.server import Exchange, Running, running
from workbench.market.model import Market, MarketDay

KEY, SECRET = "test-key", "test-secret"
HEADERS = {"APCA-API-KEY-ID": KEY, "APCA-API-SECRET-KEY": SECRET}
FRIDAY, MONDAY = date(2013, 10, 4), date(2013, 10, 7)
OPEN = Session.of(FRIDAY, "09:30", "16:00").open
CLOSE = Session.of(FRIDAY, "09:30", "16:00").close
MINUTE = timedelta(minutes=1)


def at(minutes: float, start: datetime = OPEN) -> datetime:
    """Return a time so many minutes after the open."""
    return start + timedelta(minutes=minutes)


def bar(start: datetime, open_: int, high: int, low: int, close: int) -> Bar:
    """Return a bar; prices in cents."""
    return Bar(start, open_ * CENT, high * CENT, low * CENT, close * CENT, 250)


def day(
    on: date, opens: str = "09:30", closes: str = "16:00", skip: tuple[int, ...] = ()
) -> MarketDay:
    """Return a day of AAA ($10, wide bars, one before the open, one after the close) and BBB.

    AAA's minute n opens at 1000+n cents, high +5, low -5, close +1. BBB has a bar each fifth
    minute of the first hour, always 500/510/490/505 cents.
    """
    session = Session.of(on, opens, closes)
    length = (session.close - session.open) // MINUTE
    aaa = [
        bar(session.open + n * MINUTE, 1000 + n, 1005 + n, 995 + n, 1001 + n)
        for n in range(length)
        if n not in skip
    ]
    early = bar(session.open - 5 * MINUTE, 900, 900, 900, 900)
    late = bar(session.close, 1, 100_000, 1, 777)
    bbb = [bar(session.open + n * MINUTE, 500, 510, 490, 505) for n in range(0, 60, 5)]
    return MarketDay(session, {"AAA": (early, *aaa, late), "BBB": tuple(bbb)})


def two_days() -> Market:
    return Market((day(FRIDAY), day(MONDAY)), synthetic=True, source="test")


@dataclass
class Client:
    """What the tests ask the exchange with."""

    running: Running
    http: httpx.Client

    def advance(self, to: datetime) -> httpx.Response:
        return self.http.post("/exchange/advance", json={"to": to.isoformat()})

    def order(self, **changes: object) -> httpx.Response:
        body: dict[str, object] = {
            "symbol": "AAA",
            "qty": "10",
            "side": "buy",
            "type": "limit",
            "limit_price": "10.00",
            "time_in_force": "day",
        } | changes
        return self.http.post(
            "/v2/orders", json={key: value for key, value in body.items() if value is not None}
        )

    def hold(self, qty: int = 10) -> None:
        """Buy shares of AAA at market and wait for the fill."""
        self.order(qty=str(qty), type="market", limit_price=None).raise_for_status()
        now = datetime.fromisoformat(self.http.get("/exchange/state").json()["now"])
        self.advance(now + MINUTE).raise_for_status()


@pytest.fixture
def options() -> dict[str, object]:
    """Options of the exchange; a test module or class overrides it."""
    return {}


@contextmanager
def asking(**options: Any) -> Iterator[Client]:
    """Run an exchange and yield a client with its keys."""
    exchange = Exchange(two_days(), key_id=KEY, secret_key=SECRET, **options)
    with (
        running(exchange) as live,
        httpx.Client(base_url=live.url, headers=HEADERS, timeout=10) as http,
    ):
        yield Client(live, http)


@pytest.fixture
def client(options: dict[str, object]) -> Iterator[Client]:
    """Return a client of an exchange of its own."""
    with asking(**options) as made:
        yield made


@pytest.fixture(scope="module")
def untouched() -> Iterator[Client]:
    """Return a client shared by tests that change nothing: stopping a server takes 0.2 s."""
    with asking() as made:
        yield made
