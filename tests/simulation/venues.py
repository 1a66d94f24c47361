"""Three brokers, each with a way to move its time, fill its orders and place external ones.

Orders that are to rest are bought at $1 and sold at $90: no market here comes near. An order at
market fills within the next minute by the venue's own rules.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Protocol

from scalper.core.pricing import DOLLAR, Money
from scalper.core.session import Session
from scalper.shell.alpaca.broker import AlpacaBroker
from scalper.shell.ports import Broker
from scalper.shell.settings import BrokerKeys
from tests.shell.fakes import DAY, OPEN, SESSION, FakeBroker, settings
from tests.simulation.build import let_pass, scheduler_of, unwatched
from tests.workbench.exchange.conftest import FRIDAY, KEY, SECRET, Client, asking
from workbench.exchange.ledger import OrderLedger, Ticket
from workbench.simulation.broker import SimulatedBroker
from workbench.simulation.venue import SeededVenue

MARKET: Money = 10 * DOLLAR


class Venue(Protocol):
    """A broker, and what happens there without this system."""

    broker: Broker
    session: Session

    @property
    def day(self) -> date: ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def fill(self, client_order_id: str, qty: int, price: Money) -> None:
        """Fill so many shares of an order at a price."""

    def place(self, symbol: str, client_order_id: str, qty: int, limit: Money) -> None:
        """Place an external buy."""


@dataclass
class AlpacaVenue:
    """The real adapter over HTTP, with the exchange's ledger."""

    client: Client

    def __post_init__(self) -> None:
        url = self.client.running.url
        self.broker: Broker = AlpacaBroker(
            settings(trading_url=url), lambda: BrokerKeys(KEY, SECRET)
        )
        self.session = Session.of(FRIDAY, "09:30", "16:00")
        self.day = FRIDAY

    def wait(self, seconds: float) -> None:
        now = self.client.running.exchange.venue.now
        self.client.advance(now + timedelta(seconds=seconds)).raise_for_status()

    def fill(self, client_order_id: str, qty: int, price: Money) -> None:
        venue = self.client.running.exchange.venue
        order = venue.ledger.order_by_client_id(client_order_id)
        venue.ledger.fill(order, price=price, qty=qty, at=venue.now)

    def place(self, symbol: str, client_order_id: str, qty: int, limit: Money) -> None:
        self.client.order(
            symbol=symbol,
            client_order_id=client_order_id,
            qty=str(qty),
            limit_price=str(limit / DOLLAR),
        ).raise_for_status()


class SimulatedVenue:
    """The simulator's broker; limit orders fill only by `fill`."""

    def __init__(self, seed: int) -> None:
        self.session = SESSION
        self.day = DAY
        self.scheduler = scheduler_of(seed)
        self._simulated = SimulatedBroker(
            SeededVenue(
                self.scheduler,
                SESSION,
                lambda symbol: MARKET,
                unwatched(self.scheduler),
                lambda update: None,
                liquid=1e-9,
            )
        )
        self.broker: Broker = self._simulated

    @property
    def book(self) -> OrderLedger:
        return self._simulated.ledger

    def wait(self, seconds: float) -> None:
        let_pass(self.scheduler, seconds)

    def fill(self, client_order_id: str, qty: int, price: Money) -> None:
        order = self.book.order_by_client_id(client_order_id)
        self.book.fill(order, price=price, qty=qty, at=self.scheduler.time())

    def place(self, symbol: str, client_order_id: str, qty: int, limit: Money) -> None:
        self.book.submit(
            Ticket(symbol, "buy", qty, limit, client_order_id),
            now=self.scheduler.time(),
            expires_at=SESSION.close,
            status="new",
            last_trade=MARKET,
        )


class FakeVenue:
    """The fake of the shell's tests; it fills market orders when told to wait."""

    def __init__(self) -> None:
        self.session = SESSION
        self.day = DAY
        self._fake = FakeBroker([], OPEN)
        self.broker: Broker = self._fake

    def wait(self, seconds: float) -> None:
        self._fake.now += timedelta(seconds=seconds)
        for order in self.broker.open_orders():
            if order.limit is None and seconds >= 60:
                self.fill(order.client_order_id, order.qty - order.filled_qty, MARKET)

    def fill(self, client_order_id: str, qty: int, price: Money) -> None:
        self._fake.fill(client_order_id, price, qty)

    def place(self, symbol: str, client_order_id: str, qty: int, limit: Money) -> None:
        self._fake.put(symbol, client_order_id, qty=qty, limit=limit)


@contextmanager
def alpaca_venue() -> Iterator[Venue]:
    with asking() as client:
        yield AlpacaVenue(client)


SIMULATED: dict[str, Callable[[], Venue]] = {
    # A seed decides whether a cancel takes effect at once, and how fast orders are accepted.
    **{f"simulated-{seed}": partial(SimulatedVenue, seed) for seed in range(4)},
    "fake": FakeVenue,
}
