"""The manual trader of a simulated day: a person who trades on the same account by hand."""

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
"""The longest time between a target and the manual trader's step. Positions are stale then."""

KEEPS = 0.5
"""The share of purchases that the manual trader keeps, without an open order beside them."""

LONGEST_KEPT_S = 1800.0
"""The longest time for which the manual trader keeps shares."""


@dataclass(slots=True, eq=False)
class ManualTrader:
    """A person with access to the account."""

    scheduler: Scheduler
    book: OrderLedger
    checks: Checks
    prices: Callable[[str], Money]
    """Returns the last trade of a symbol."""
    closes: datetime
    numbers: Random
    cancel: Callable[[str], None]
    """Cancels an order, by the broker's id."""
    position_changed: Callable[[str], None]
    """Takes note of a symbol whose position changed."""
    is_frequent: bool
    """Whether the trader steps in more often than usual."""

    def trade(self, symbol: str, qty: int) -> None:
        """Buy some shares. Offer a part of them far above the market, or keep all for a while.

        Whether the shares are kept depends on the seed and on the fault that called this method.
        If the broker refuses the buy as a possible wash trade, nothing happens.
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
        self.checks.manual_buy(symbol, qty)
        keeps = self.scheduler.plan.amount(0, 1)
        if keeps < KEEPS:
            self.scheduler.after(LONGEST_KEPT_S * keeps / KEEPS, partial(self.give_up, symbol, qty))
            return
        self.order(symbol, "sell", max(qty // 2, 1), 3 * price, number + 1)

    def give_up(self, symbol: str, qty: int) -> None:
        """Sell shares that were kept. If the broker refuses, try again a minute later."""
        if self.scheduler.time() >= self.closes:
            return
        try:
            sold = self.order(symbol, "sell", qty, None, len(self.book.orders))
        except Refusal:
            self.scheduler.after(60, partial(self.give_up, symbol, qty))
            return
        self.checks.manual_sale(symbol, qty)
        self._fill(sold, self.prices(symbol))

    def sell(self, symbol: str) -> None:
        """Cancel this system's sell, and sell some of its shares."""
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
        """Now and then cancel a target, or sell its shares, soon after it was sent.

        This is more frequent on a day whose positions lag: then the system can be misled most.
        """
        plan, name = self.scheduler.plan, target.client_order_id
        often = 4 if self.is_frequent else 1
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
        self.position_changed(order.symbol)
