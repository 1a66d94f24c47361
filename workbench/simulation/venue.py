"""The venue of a simulated day: the seed decides when orders are accepted, filled and canceled.

Orders, cash, positions and refusals are those of `workbench.exchange.ledger`. This module adds the
times at which things happen. What a request meets on its way stands in `broker.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from scalper.core.order import Order, Purpose
from scalper.core.pricing import CENT, Money
from scalper.core.session import Session
from workbench.exchange.fill_policy import FillPolicy
from workbench.exchange.ledger import OrderLedger, Ticket, Update, VenueOrder
from workbench.exchange.refusals import Refusal
from workbench.faults.kinds import FaultKind
from workbench.simulation.checks import Checks
from workbench.simulation.fault_plan import SimulatedFaultPlan
from workbench.simulation.manual_trader import ManualTrader
from workbench.simulation.scheduler import SECOND, Scheduler

POSITION_LAG_S = 10.0
"""How far positions may lie behind orders: Alpaca's do by about 10 s."""


class SeededFills:
    """The fill policy: fills in one part or two, by the day's fault plan and its random numbers."""

    def __init__(self, plan: SimulatedFaultPlan, numbers: Random) -> None:
        """Take the plan that says if an order is split, and the numbers that say where."""
        self._plan = plan
        self._numbers = numbers

    def qty_at_price(self, order: VenueOrder) -> int:
        """Return the shares of the order's first fill."""
        if order.remaining > 1 and self._plan.happens(
            FaultKind.PARTIAL_FILL, 0.3, order.client_order_id
        ):
            return self._numbers.randint(1, order.remaining - 1)
        return order.remaining

    def qty_before_cancel(self, order: VenueOrder) -> int:
        """Return all: the venue asks only if the plan lets the cancel lose to a fill."""
        return order.remaining


@dataclass(slots=True, eq=False)
class SeededVenue:
    """The ledger of a day, and all that happens to its orders without a request of ours."""

    scheduler: Scheduler
    session: Session
    prices: Callable[[str], Money]
    """Returns the last trade of a symbol."""
    checks: Checks
    tell: Callable[[Update], None]
    """Takes what the broker's stream would say."""
    liquid: float = 1.0
    """How readily limit orders fill on this day."""
    ledger: OrderLedger = field(default_factory=lambda: OrderLedger(None))
    successors: dict[str, str] = field(default_factory=dict)
    """By the broker's id of a replaced order the id of the one in its place."""
    manual_trader: ManualTrader = field(init=False)
    _positions: list[tuple[int, str, int]] = field(default_factory=list)
    """Time, symbol and shares after each change of a position."""
    _lags: bool = field(init=False)
    """Whether every list of positions lies behind on this day."""
    _random: Random = field(init=False)
    _fill_policy: FillPolicy = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(f"fills {self.scheduler.seed}")
        self._fill_policy = SeededFills(self.scheduler.plan, self._random)
        self._lags = self.scheduler.plan.happens(FaultKind.POSITIONS_LAG, 0.8, "day")
        self.checks.book = self.ledger
        self.manual_trader = ManualTrader(
            self.scheduler,
            self.ledger,
            self.checks,
            self.prices,
            self.session.close,
            self._random,
            self.finish_cancel,
            self._note_position,
            is_frequent=self._lags,
        )

    # Orders --------------------------------------------------------------------------------

    def land(self, symbol: str, order: Order) -> VenueOrder:
        """Take an order on and schedule what happens to it; raises the ledger's Refusal."""
        now = self.scheduler.time()
        ticket = Ticket(
            symbol, "buy" if order.is_buy else "sell", order.qty, order.limit, order.client_order_id
        )
        try:
            taken = self.ledger.submit(
                ticket,
                now=now,
                expires_at=self.session.close,
                # After the close it is taken for the next session.
                status="pending_new" if now < self.session.close else "accepted",
                last_trade=self.prices(symbol),
            )
        except Refusal:
            if not order.is_buy and not self.ledger.qty(symbol) and not self._knows(order):
                self.checks.unheld(symbol, order)
            raise
        self.scheduler.note(f"broker takes {order.client_order_id} {order.qty}@{order.limit}")
        self.checks.landed(taken)
        self.scheduler.after(self._random.uniform(0, 0.05), lambda: self.accept(taken.id))
        self._let_fill(taken)
        if order.purpose is Purpose.TARGET:
            self.manual_trader.step_in(taken)
        return taken

    def _knows(self, order: Order) -> bool:
        try:
            self.ledger.order_by_client_id(order.client_order_id)
        except Refusal:
            return False
        return True

    def accept(self, order_id: str) -> None:
        """Let a pending order become new."""
        order = self.ledger.order(order_id)
        if order.status == "pending_new":
            self._say(self.ledger.accept(order, self.scheduler.time()))

    def reject(self, order_id: str) -> None:
        """Reject an open order of which nothing filled."""
        order = self.ledger.order(order_id)
        if order.is_open and not order.filled_qty:
            self._say(self.ledger.reject(order, self.scheduler.time()))

    def cancel(self, fault: FaultKind | None, order: VenueOrder) -> None:
        """Begin the cancel of an open order: most take effect at once or within seconds."""
        if fault is FaultKind.CANCEL_LOSES_TO_FILL:
            self._fill(order.id, self._fill_policy.qty_before_cancel(order))
            return
        if fault is FaultKind.CANCEL_STUCK:
            self._pend_cancel(order)
            self.scheduler.after(
                self.scheduler.plan.amount(30.0, 1200.0), lambda: self.finish_cancel(order.id)
            )
            return
        if self._random.random() < 0.6:
            self.finish_cancel(order.id)
        else:
            self._pend_cancel(order)
            wait = self._random.random() ** 2 * 4
            self.scheduler.after(wait, lambda: self.finish_cancel(order.id))

    def _pend_cancel(self, order: VenueOrder) -> None:
        self._say(self.ledger.pend_cancel(order, self.scheduler.time()))

    def finish_cancel(self, order_id: str) -> None:
        """Cancel an order that is still open."""
        if self.ledger.order(order_id).is_open:
            self._say(self.ledger.cancel(order_id, self.scheduler.time()))

    def settle_down(self) -> None:
        """End what the faults left open: cancels take effect, market orders fill."""
        for order in self.ledger.open_orders():
            if order.status == "pending_cancel":
                self.finish_cancel(order.id)
            elif order.limit is None:
                self._fill(order.id, order.remaining)

    def expire(self) -> None:
        """End every day order at the close."""
        for order in self.ledger.open_orders():
            self._say(self.ledger.expire(order, self.scheduler.time()))

    def live_own(self) -> list[str]:
        """Return the ids of this system's open orders."""
        return [one.id for one in self.ledger.open_orders() if self.checks.is_own(one)]

    def replace_one(self) -> None:
        """Replace one of our limit orders by another of what is left, as Alpaca itself may."""
        for order in self.ledger.open_orders():
            if order.limit is not None and order.status == "new" and self.checks.is_own(order):
                self.replace(order)
                return

    def replace(self, order: VenueOrder) -> None:
        """Put another order for what is left in the place of a limit order."""
        replaced = self.ledger.replace(order, self.scheduler.time())
        successor = self.manual_trader.order(
            order.symbol, order.side, order.remaining, order.limit, len(self.ledger.orders)
        )
        self.successors[order.id] = successor.id
        self.checks.replaced(order, successor)
        self._say(replaced)
        self._let_fill(successor)

    # Fills and positions -------------------------------------------------------------------

    def _let_fill(self, order: VenueOrder) -> None:
        """Decide when the order fills, in how many parts, or that it does not."""
        scheduler, numbers = self.scheduler, self._random
        first = self._fill_policy.qty_at_price(order)
        rest = order.remaining - first
        if order.limit is None:
            wait = numbers.random() * 2
            if scheduler.plan.happens(FaultKind.FILL_DELAYED, 0.15, order.client_order_id):
                wait = scheduler.plan.amount(5.0, 150.0)
            scheduler.after(wait, lambda: self._fill(order.id, first))
            if rest:
                scheduler.after(wait + numbers.random() * 20, lambda: self._fill(order.id, rest))
            return
        mean = 20.0 if order.side == "buy" else 60.0
        roll = numbers.random() / self.liquid
        if roll < 0.15:
            scheduler.after(0, lambda: self._fill(order.id, first))
        elif roll < 0.8:
            scheduler.after(numbers.expovariate(1 / mean), lambda: self._fill(order.id, first))
        else:
            return
        if rest and numbers.random() < 0.6:
            scheduler.after(numbers.expovariate(1 / (2 * mean)), lambda: self._fill(order.id, rest))

    def _fill(self, order_id: str, qty: int) -> None:
        order = self.ledger.order(order_id)
        qty = min(qty, order.remaining)
        if not order.is_open or qty == 0 or self.scheduler.time() >= self.session.close:
            return
        better = self._random.choice((0, 0, 1, 2)) * CENT
        if order.limit is None:
            price = self.prices(order.symbol)
        else:
            price = order.limit + (better if order.side == "sell" else -better)
        self._say(self.ledger.fill(order, price=price, qty=qty, at=self.scheduler.time()))
        self.checks.filled(order.symbol)
        self._note_position(order.symbol)

    def _note_position(self, symbol: str) -> None:
        self._positions.append((self.scheduler.now, symbol, self.ledger.qty(symbol)))

    def shares(self, *, stale: bool) -> dict[str, int]:
        """Return the shares held as a list of positions shows them, by symbol.

        They are those of some seconds ago if `stale` is set, and on a day whose positions lag.
        """
        plan = self.scheduler.plan
        if stale or (self._lags and not plan.is_over):
            lag = plan.amount(0.5, POSITION_LAG_S) if stale else POSITION_LAG_S
            then = self.scheduler.now - int(lag * SECOND)
            return {symbol: qty for at, symbol, qty in self._positions if at <= then}
        return {symbol: one.qty for symbol, one in self.ledger.positions.items()}

    def _say(self, update: Update) -> None:
        self.scheduler.note(f"broker {update.event} {update.order.client_order_id}")
        self.tell(update)
