"""The broker of a simulated day: the exchange's own book under a nature that the seed decides.

Orders, cash, positions and refusals are `workbench.exchange.ledger`'s. What this module adds is
when things happen: orders land, fill in parts, are canceled late or never, are shown late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from random import Random
from typing import TypeVar

from scalper.core.order import Order, OrderReport, Purpose
from scalper.core.pricing import CENT, Money
from scalper.core.session import Session
from scalper.shell.errors import (
    BrokerDownError,
    DuplicateOrderError,
    RefusedError,
    UnauthorizedError,
    UnknownOutcomeError,
)
from scalper.shell.ports import Clock, Fill, Position
from workbench.exchange import refusals
from workbench.exchange.fill_policy import FillPolicy
from workbench.exchange.ledger import OrderLedger, Ticket, Update, VenueOrder
from workbench.exchange.refusals import Refusal
from workbench.exchange.wire import nanoseconds
from workbench.faults.kinds import FaultKind
from workbench.simulation.checks import Checks
from workbench.simulation.faults import CANCEL, POSITIONS, READ, SUBMIT
from workbench.simulation.fill_policy import SeededFills
from workbench.simulation.owner import Owner
from workbench.simulation.scheduler import SECOND, Scheduler

OPERATIONS = frozenset(
    f"broker.{name}"
    for name in (
        "account_block",
        "cancel",
        "clock",
        "fills_since",
        "find",
        "find_by_id",
        "open_orders",
        "orders_since",
        "positions",
        "session",
        "submit",
    )
)

T = TypeVar("T")

LATEST_LANDING_S = 300.0
HIDDEN_S = 45.0
"""How long an order may be there before a request shows it."""

POSITION_LAG_S = 10.0
"""How far positions may lie behind orders (facts: about 10 s)."""

_REFUSALS: dict[str, Callable[[], Refusal]] = {
    FaultKind.REFUSED_BUYING_POWER: lambda: refusals.buying_power("1.00", "2000.00"),
    FaultKind.REFUSED_WASH_TRADE: lambda: refusals.wash_trade("x", existing_is_market=False),
    FaultKind.REFUSED_QUANTITY: lambda: refusals.held_quantity(
        "AAA", requested=1, existing=0, held=0, related=[]
    ),
    FaultKind.REFUSED_SUSPENDED: refusals.suspended,
    FaultKind.REFUSED_SUB_PENNY: lambda: refusals.sub_penny("1.001"),
    FaultKind.REFUSED_RATE_LIMIT: lambda: refusals.rate_limited(data=False),
    FaultKind.REFUSED_KEYS: refusals.unauthorized,
}


@dataclass(slots=True, eq=False)
class SimulatedBroker:
    """The Broker protocol over a book."""

    scheduler: Scheduler
    session_of_day: Session
    prices: Callable[[str], Money]
    """The last trade of a symbol."""
    checks: Checks
    tell: Callable[[Update], None]
    """Takes what the broker's stream would say."""
    liquid: float = 1.0
    """How readily limit orders fill on this day."""
    book: OrderLedger = field(default_factory=lambda: OrderLedger(None))
    late: int = 0
    """Orders on their way that have not landed yet."""
    is_down: bool = False
    """Whether no request is answered; none has an effect."""
    blocked: str = ""
    """Why the account's orders are refused, "" where they are not."""
    _successors: dict[str, str] = field(default_factory=dict)
    """By the broker's id of a replaced order the id of the one in its place."""
    _hidden: dict[str, int] = field(default_factory=dict)
    _told: dict[str, tuple[VenueOrder, OrderReport]] = field(default_factory=dict)
    """The last report of each order, for as long as the order is the same."""
    _positions: list[tuple[int, str, int]] = field(default_factory=list)
    _delayed: set[str] = field(default_factory=set)
    """Client ids of orders whose first send lands late."""
    _lags: bool = field(init=False)
    """Whether every list of positions lies behind on this day."""
    _nature: Random = field(init=False)
    _fill_policy: FillPolicy = field(init=False)
    owner: Owner = field(init=False)

    def __post_init__(self) -> None:
        self._nature = Random(f"fills {self.scheduler.seed}")
        self._fill_policy = SeededFills(self.scheduler.plan, self._nature)
        self._lags = self.scheduler.plan.happens(FaultKind.POSITIONS_LAG, 0.8, "day")
        self.checks.book = self.book
        self.owner = Owner(
            self.scheduler,
            self.book,
            self.checks,
            self.prices,
            self.session_of_day.close,
            self._nature,
            self.finish_cancel,
            self._has_moved,
            hasty=self._lags,
        )

    # The protocol --------------------------------------------------------------------------

    def clock(self) -> Clock:
        """Return the broker's time."""
        return self.scheduler.call("broker.clock", READ, self._clock)

    def session(self, day: date) -> Session | None:
        """Return the trading hours of a New York date, None on a day without any."""
        return self.scheduler.call(
            "broker.session",
            READ,
            lambda fault: self._answered(
                fault, self.session_of_day if day == self.session_of_day.day else None
            ),
        )

    def account_block(self) -> str:
        """Return why the broker takes no orders of the account, "" where it does."""
        return self.scheduler.call(
            "broker.account_block", READ, lambda fault: self._answered(fault, self.blocked)
        )

    def submit(self, symbol: str, order: Order) -> OrderReport:
        """Send the order once."""
        return self.scheduler.call(
            "broker.submit", SUBMIT, lambda fault: self._submit(fault, symbol, order)
        )

    def cancel(self, broker_id: str) -> None:
        """Ask for a cancel; whatever the answer, only `find` tells what came of it."""
        if not broker_id:
            raise UnknownOutcomeError("cancel: an order without the broker's id")
        self.scheduler.call("broker.cancel", CANCEL, lambda fault: self._cancel(fault, broker_id))

    def find(self, client_order_id: str) -> OrderReport | None:
        """Return what the broker knows of an order, None where it answers 404."""
        return self.scheduler.call(
            "broker.find", READ, lambda fault: self._find(fault, client_order_id)
        )

    def find_by_id(self, broker_id: str) -> OrderReport | None:
        """Return what the broker knows of an order, None where it answers 404."""

        def effect(fault: FaultKind | None) -> OrderReport | None:
            found = self.book.orders.get(broker_id)
            return self._answered(fault, None if found is None else self._report(found))

        return self.scheduler.call("broker.find_by_id", READ, effect)

    def open_orders(self) -> list[OrderReport]:
        """Return every open order of the account, external ones included."""

        def effect(fault: FaultKind | None) -> list[OrderReport]:
            shown = [one for one in self.book.open_orders() if not self._is_hidden(one)]
            return self._answered(fault, [self._report(one) for one in shown])

        return self.scheduler.call("broker.open_orders", READ, effect)

    def orders_since(self, start: datetime) -> list[OrderReport]:
        """Return every order submitted after `start`, whatever became of it."""
        start_ns = nanoseconds(start)

        def effect(fault: FaultKind | None) -> list[OrderReport]:
            made = [one for one in self.book.orders.values() if one.submitted_ns > start_ns]
            return self._answered(
                fault, [self._report(one) for one in made if not self._is_hidden(one)]
            )

        return self.scheduler.call("broker.orders_since", READ, effect)

    def positions(self) -> dict[str, Position]:
        """Return the whole shares held by symbol, external ones included."""
        return self.scheduler.call("broker.positions", POSITIONS, self._held)

    def fills_since(self, start: datetime) -> list[Fill]:
        """Return every execution after `start`, external orders' included, oldest first."""

        def effect(fault: FaultKind | None) -> list[Fill]:
            return self._answered(fault, [_fill(one) for one in self.book.fills if one.at > start])

        return self.scheduler.call("broker.fills_since", READ, effect)

    # What a request does -------------------------------------------------------------------

    def _clock(self, fault: FaultKind | None) -> Clock:
        now = self.scheduler.time()
        session = self.session_of_day
        return self._answered(fault, Clock(now, session.open <= now < session.close))

    def _find(self, fault: FaultKind | None, client_order_id: str) -> OrderReport | None:
        try:
            found = self.book.order_by_client_id(client_order_id)
        except Refusal:
            return self._answered(fault, None)
        return self._answered(fault, None if self._is_hidden(found) else self._report(found))

    def _held(self, fault: FaultKind | None) -> dict[str, Position]:
        plan = self.scheduler.plan
        lags = self._lags and not plan.calm
        if fault is FaultKind.POSITIONS_STALE or lags:
            lag = (
                plan.amount(0.5, POSITION_LAG_S)
                if fault is FaultKind.POSITIONS_STALE
                else POSITION_LAG_S
            )
            then = self.scheduler.now - int(lag * SECOND)
            held = {symbol: qty for at, symbol, qty in self._positions if at <= then}
        else:
            held = {symbol: one.qty for symbol, one in self.book.positions.items()}
        # What open orders hold is told as of now: it may be more than the position shows.
        positions = {
            symbol: Position(qty, max(qty - self.book.held(symbol), 0))
            for symbol, qty in held.items()
            if qty
        }
        return self._answered(fault, positions)

    def _submit(self, fault: FaultKind | None, symbol: str, order: Order) -> OrderReport:
        scheduler, name = self.scheduler, order.client_order_id
        self.checks.sent(symbol, order)
        if name in self._delayed and not fault and not scheduler.plan.calm:
            # What hit one send often hits the next.
            again = Random(f"again {scheduler.seed} {name} {order.sends}")
            fault = again.choice(
                (None, FaultKind.SUBMIT_LOST, FaultKind.SUBMIT_LOST, FaultKind.REFUSED_RATE_LIMIT)
            )
        if self.blocked:
            raise _error(refusals.suspended())
        if fault in _REFUSALS:
            raise _error(_REFUSALS[fault]())
        if fault is FaultKind.SUBMIT_LOST or self.is_down:
            raise UnknownOutcomeError(f"{name}: no answer")
        if fault is FaultKind.SUBMIT_LATE:
            self.late += 1
            self._delayed.add(name)
            scheduler.after(
                scheduler.plan.amount(0.5, LATEST_LANDING_S),
                lambda: self._land_late(symbol, order),
            )
            raise UnknownOutcomeError(f"{name}: no answer")
        taken = self._land(symbol, order)
        if fault is FaultKind.REJECTED_LATER:
            # Mostly soon: the shares that it was to sell may not show as a position yet.
            wait = scheduler.plan.amount(0.0, 1.0) ** 3 * 40
            scheduler.after(wait, lambda: self._reject(taken.id))
        if fault is FaultKind.SUBMIT_REPEATED:
            # Somewhere on the way it was sent twice, and this is the second answer.
            raise _error(refusals.duplicate_id())
        if fault is FaultKind.SUBMIT_HIDDEN and self.checks.is_written(name):
            # Nobody would know of one that neither the table nor the broker's lists tell.
            wait = scheduler.plan.amount(0.5, HIDDEN_S)
            self._hidden[taken.id] = scheduler.now + int(wait * SECOND)
        if fault in (FaultKind.SUBMIT_ANSWER_LOST, FaultKind.SUBMIT_HIDDEN):
            raise UnknownOutcomeError(f"{name}: no answer")
        return replace(self._report(taken), confirmed=False)

    def _land_late(self, symbol: str, order: Order) -> None:
        self.late -= 1
        if not order.is_buy and order.qty > self.checks.own_qty(symbol):
            # Its shares were sold meanwhile. It could only sell the owner's, where there are any:
            # once it is on its way nobody can keep it from that, and no day is held against it.
            return
        try:
            taken = self._land(symbol, order)
        except RefusedError as error:
            self.scheduler.note(f"broker refuses {order.client_order_id}: {error}")
            return
        if order.limit is not None and self.scheduler.plan.happens(
            FaultKind.REPLACED, 0.3, order.client_order_id
        ):
            # It may have been given up by now, and is replaced all the same.
            self._accept(taken.id)
            if taken.status == "new":
                self._replace(taken)

    def _land(self, symbol: str, order: Order) -> VenueOrder:
        """Take an order on, or raise the refusal, and let nature have it."""
        now = self.scheduler.time()
        ticket = Ticket(
            symbol, "buy" if order.is_buy else "sell", order.qty, order.limit, order.client_order_id
        )
        try:
            taken = self.book.submit(
                ticket,
                now=now,
                expires_at=self.session_of_day.close,
                # After the close it is taken for the next session.
                status="pending_new" if now < self.session_of_day.close else "accepted",
                last_trade=self.prices(symbol),
            )
        except Refusal as refusal:
            if not order.is_buy and not self.book.qty(symbol) and not self._knows(order):
                self.checks.unheld(symbol, order)
            raise _error(refusal) from refusal
        self.scheduler.note(f"broker takes {order.client_order_id} {order.qty}@{order.limit}")
        self.checks.landed(taken)
        self.scheduler.after(self._nature.uniform(0, 0.05), lambda: self._accept(taken.id))
        self._let_fill(taken)
        if order.purpose is Purpose.TARGET:
            self.owner.step_in(taken)
        return taken

    def _knows(self, order: Order) -> bool:
        try:
            self.book.order_by_client_id(order.client_order_id)
        except Refusal:
            return False
        return True

    def _accept(self, order_id: str) -> None:
        order = self.book.order(order_id)
        if order.status == "pending_new":
            self._say(self.book.accept(order, self.scheduler.time()))

    def _reject(self, order_id: str) -> None:
        order = self.book.order(order_id)
        if order.is_open and not order.filled_qty:
            self._say(self.book.reject(order, self.scheduler.time()))

    def _cancel(self, fault: FaultKind | None, broker_id: str) -> None:
        if fault is FaultKind.CANCEL_LOST or self.is_down:
            raise UnknownOutcomeError(f"cancel {broker_id}: no answer")
        order = self.book.orders.get(broker_id)
        if order is not None and order.is_open:
            self._begin_cancel(fault, order)
        if fault is FaultKind.CANCEL_ANSWER_LOST:
            raise UnknownOutcomeError(f"cancel {broker_id}: no answer")

    def _begin_cancel(self, fault: FaultKind | None, order: VenueOrder) -> None:
        if fault is FaultKind.CANCEL_LOSES_TO_FILL:
            self._fill(order.id, self._fill_policy.qty_before_cancel(order))
            return
        if fault is FaultKind.CANCEL_STUCK:
            self._pend(order)
            self.scheduler.after(
                self.scheduler.plan.amount(30.0, 1200.0), lambda: self.finish_cancel(order.id)
            )
            return
        if self._nature.random() < 0.6:
            self.finish_cancel(order.id)
        else:
            self._pend(order)
            wait = self._nature.random() ** 2 * 4
            self.scheduler.after(wait, lambda: self.finish_cancel(order.id))

    def _pend(self, order: VenueOrder) -> None:
        self._say(self.book.pend_cancel(order, self.scheduler.time()))

    def finish_cancel(self, order_id: str) -> None:
        """Cancel an order that is still open."""
        if self.book.order(order_id).is_open:
            self._say(self.book.cancel(order_id, self.scheduler.time()))

    # Nature --------------------------------------------------------------------------------

    def _let_fill(self, order: VenueOrder) -> None:
        """Decide when the order fills, in how many parts, or that it does not."""
        scheduler, nature = self.scheduler, self._nature
        first = self._fill_policy.qty_at_price(order)
        rest = order.remaining - first
        if order.limit is None:
            wait = nature.random() * 2
            if scheduler.plan.happens(FaultKind.FILL_DELAYED, 0.15, order.client_order_id):
                wait = scheduler.plan.amount(5.0, 150.0)
            scheduler.after(wait, lambda: self._fill(order.id, first))
            if rest:
                scheduler.after(wait + nature.random() * 20, lambda: self._fill(order.id, rest))
            return
        mean = 20.0 if order.side == "buy" else 60.0
        roll = nature.random() / self.liquid
        if roll < 0.15:
            scheduler.after(0, lambda: self._fill(order.id, first))
        elif roll < 0.8:
            scheduler.after(nature.expovariate(1 / mean), lambda: self._fill(order.id, first))
        else:
            return
        if rest and nature.random() < 0.6:
            scheduler.after(nature.expovariate(1 / (2 * mean)), lambda: self._fill(order.id, rest))

    def _fill(self, order_id: str, qty: int) -> None:
        order = self.book.order(order_id)
        qty = min(qty, order.remaining)
        if not order.is_open or qty == 0 or self.scheduler.time() >= self.session_of_day.close:
            return
        better = self._nature.choice((0, 0, 1, 2)) * CENT
        if order.limit is None:
            price = self.prices(order.symbol)
        else:
            price = order.limit + (better if order.side == "sell" else -better)
        self._say(self.book.fill(order, price=price, qty=qty, at=self.scheduler.time()))
        self.checks.filled(order.symbol)
        self._has_moved(order.symbol)

    def _has_moved(self, symbol: str) -> None:
        self._positions.append((self.scheduler.now, symbol, self.book.qty(symbol)))

    def settle_down(self) -> None:
        """End what the faults left hanging: cancels take effect, market orders fill."""
        self.is_down, self.blocked = False, ""
        for order in self.book.open_orders():
            if order.status == "pending_cancel":
                self.finish_cancel(order.id)
            elif order.limit is None:
                self._fill(order.id, order.remaining)
        self._hidden.clear()

    def expire(self) -> None:
        """End every day order at the close."""
        for order in self.book.open_orders():
            self._say(self.book.expire(order, self.scheduler.time()))

    def live_own(self) -> list[str]:
        """Return the ids of this system's open orders."""
        return [one.id for one in self.book.open_orders() if self.checks.is_own(one)]

    def replace_one(self) -> None:
        """Replace one of our limit orders by another of what is left, as Alpaca itself may."""
        for order in self.book.open_orders():
            if order.limit is not None and order.status == "new" and self.checks.is_own(order):
                self._replace(order)
                return

    def _replace(self, order: VenueOrder) -> None:
        replaced = self.book.replace(order, self.scheduler.time())
        successor = self.owner.order(
            order.symbol, order.side, order.remaining, order.limit, len(self.book.orders)
        )
        self._successors[order.id] = successor.id
        self.checks.replaced(order, successor)
        self._say(replaced)
        self._let_fill(successor)

    def _answered(self, fault: FaultKind | None, answer: T) -> T:
        """Return the answer of a request without effect, or raise that none came."""
        if fault is FaultKind.READ_LOST or self.is_down:
            raise BrokerDownError("no answer")
        return answer

    def _report(self, order: VenueOrder) -> OrderReport:
        """Return what the adapter makes of the broker's answer to a request about an order."""
        told = self._told.get(order.id)
        if told is not None and told[0] is order:
            return told[1]
        report = OrderReport(
            client_order_id=order.client_order_id,
            status=order.status,
            symbol=order.symbol,
            qty=order.qty,
            limit=order.limit,
            submitted_at=order.submitted_at,
            filled_qty=order.filled_qty,
            filled_value=order.filled_cost,
            updated_at=order.updated_at,
            broker_id=order.id,
            confirmed=True,
            replaced_by=self._successors.get(order.id, ""),
        )
        self._told[order.id] = (order, report)
        return report

    @property
    def hides(self) -> bool:
        """Whether some order is there that no request shows yet."""
        return any(until > self.scheduler.now for until in self._hidden.values())

    def _is_hidden(self, order: VenueOrder) -> bool:
        until = self._hidden.get(order.id)
        return until is not None and self.scheduler.now < until

    def _say(self, update: Update) -> None:
        self.scheduler.note(f"broker {update.event} {update.order.client_order_id}")
        self.tell(update)


def _fill(update: Update) -> Fill:
    order, qty = update.order, update.qty or 0
    return Fill(order.id, order.symbol, order.side == "buy", qty, qty * (update.price or 0))


def _error(refusal: Refusal) -> RefusedError:
    """Return the error that the adapter makes of a refusal."""
    code, message = refusal.body.get("code"), str(refusal.body.get("message", ""))
    kind = UnauthorizedError if refusal.status == 401 else RefusedError
    if code == refusals.BAD_REQUEST:
        kind = DuplicateOrderError
    return kind(refusal.status, code if isinstance(code, int) else None, message)
