"""The account's owner in a simulated day: trades by hand beside us, now and then our shares."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import Random

from scalper.core.pricing import Money
from workbench.exchange.ledger import OrderLedger, Ticket, VenueOrder
from workbench.exchange.refusals import Refusal
from workbench.faults.kinds import FaultKind
from workbench.market.matching import Side
from workbench.simulation.checks import Checks
from workbench.simulation.scheduler import Scheduler

SOON_S = 20.0
"""How soon after an exit was sent its owner may cancel it, as positions still lie behind."""


@dataclass(slots=True, eq=False)
class ManualTrader:
    """Whoever has the keys to the account as well."""

    scheduler: Scheduler
    book: OrderLedger
    checks: Checks
    prices: Callable[[str], Money]
    """The last trade of a symbol."""
    closes: datetime
    numbers: Random
    cancel: Callable[[str], None]
    """Takes an order off the book, by the broker's id."""
    moved: Callable[[str], None]
    """Told of a symbol whose position changed."""
    hasty: bool
    """Whether they step in more often than most."""

    def trade(self, symbol: str, qty: int) -> None:
        """Buy some shares and offer a part of them far above the market.

        Where an order of ours could trade with it the broker refuses, and nothing happens.
        """
        if symbol in self.checks.sold_by_hand:
            return
        price = self.prices(symbol)
        number = len(self.book.orders)
        try:
            bought = self.order(symbol, "buy", qty, price, number)
        except Refusal:
            return
        self._fill(bought, price)
        self.checks.by_hand(symbol, qty)
        self.order(symbol, "sell", max(qty // 2, 1), 3 * price, number + 1)

    def sell(self, symbol: str) -> None:
        """Cancel our sell and sell some of our shares, none of their own."""
        if self.checks.external.get(symbol):
            return
        held = self.book.qty(symbol)
        for order in self.book.open_orders(symbol):
            if order.side == "sell" and self.checks.is_own(order):
                self.cancel(order.id)
        if held > 0 and self.book.held(symbol) == 0 and not self.book.open_orders(symbol):
            price = self.prices(symbol)
            qty = held if self.numbers.random() < 0.5 else self.numbers.randint(1, held)
            sold = self.order(symbol, "sell", qty, None, len(self.book.orders))
            self.checks.sold_by_hand[symbol] = self.scheduler.time()
            self._fill(sold, price)

    def step_in(self, target: VenueOrder) -> None:
        """Cancel a target soon after the buy, or close the position, now and then.

        Mostly where positions lie behind: that is when it is easily mistaken.
        """
        plan, name = self.scheduler.plan, target.client_order_id
        often = 4 if self.hasty else 1
        if plan.happens(FaultKind.CANCELED_BY_HAND, 0.03 * often, name):
            wait = plan.amount(0.5, SOON_S)
            self.scheduler.after(wait, partial(self.cancel, target.id))
        elif plan.happens(FaultKind.SOLD_BY_HAND, 0.015 * often, name):
            wait = plan.amount(0.5, SOON_S)
            self.scheduler.after(wait, partial(self.sell, target.symbol))

    def order(
        self, symbol: str, side: Side, qty: int, limit: Money | None, number: int
    ) -> VenueOrder:
        """Place an order that this system did not make."""
        return self.book.submit(
            Ticket(symbol, side, qty, limit, f"hand-{number}"),
            now=self.scheduler.time(),
            expires_at=self.closes,
            status="new",
            last_trade=self.prices(symbol),
        )

    def _fill(self, order: VenueOrder, price: Money) -> None:
        self.scheduler.note(f"by hand: {order.side} {order.qty} {order.symbol}")
        self.book.fill(order, price=price, qty=order.qty, at=self.scheduler.time())
        self.moved(order.symbol)
