"""The broker of a simulated day: the shell's Broker protocol over the seeded venue.

Here each request meets its fault: it is lost, refused, late or unanswered. When orders fill and
cancels take effect is decided in `venue.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from random import Random
from typing import TypeVar

from scalper.core.order import Order, OrderReport
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
from workbench.exchange.ledger import OrderLedger, Update, VenueOrder
from workbench.exchange.refusals import Refusal
from workbench.exchange.wire import nanoseconds
from workbench.faults.kinds import FaultKind
from workbench.simulation.fault_plan import CANCEL, POSITIONS, READ, SUBMIT
from workbench.simulation.scheduler import SECOND, Scheduler
from workbench.simulation.venue import SeededVenue

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
"""How long an order may be on its way."""

HIDDEN_S = 45.0
"""How long an order may be there before a request shows it."""

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
    """The Broker protocol over a venue."""

    venue: SeededVenue
    late: int = 0
    """Orders on their way that have not landed yet."""
    is_down: bool = False
    """Whether no request is answered; none has an effect."""
    blocked: str = ""
    """Why the account's orders are refused, "" if they are taken."""
    scheduler: Scheduler = field(init=False)
    _hidden: dict[str, int] = field(default_factory=dict)
    """By the broker's id of an order until when no request shows it."""
    _told: dict[str, tuple[VenueOrder, OrderReport]] = field(default_factory=dict)
    """The last report of each order, for as long as the order is the same."""
    _delayed: set[str] = field(default_factory=set)
    """Client ids of orders whose first send lands late."""

    def __post_init__(self) -> None:
        self.scheduler = self.venue.scheduler

    @property
    def ledger(self) -> OrderLedger:
        """Return the venue's ledger."""
        return self.venue.ledger

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
                fault, self.venue.session if day == self.venue.session.day else None
            ),
        )

    def account_block(self) -> str:
        """Return why the broker takes no orders of the account, "" if it does."""
        return self.scheduler.call(
            "broker.account_block", READ, lambda fault: self._answered(fault, self.blocked)
        )

    def submit(self, symbol: str, order: Order) -> OrderReport:
        """Send the order once."""
        return self.scheduler.call(
            "broker.submit", SUBMIT, lambda fault: self._submit(fault, symbol, order)
        )

    def cancel(self, broker_id: str) -> None:
        """Ask for a cancel. Only `find` tells what came of it, whatever the answer."""
        if not broker_id:
            raise UnknownOutcomeError("cancel: an order without the broker's id")
        self.scheduler.call("broker.cancel", CANCEL, lambda fault: self._cancel(fault, broker_id))

    def find(self, client_order_id: str) -> OrderReport | None:
        """Return what the broker knows of an order, None if it answers 404."""
        return self.scheduler.call(
            "broker.find", READ, lambda fault: self._find(fault, client_order_id)
        )

    def find_by_id(self, broker_id: str) -> OrderReport | None:
        """Return what the broker knows of an order, None if it answers 404."""

        def effect(fault: FaultKind | None) -> OrderReport | None:
            found = self.ledger.orders.get(broker_id)
            return self._answered(fault, None if found is None else self._report(found))

        return self.scheduler.call("broker.find_by_id", READ, effect)

    def open_orders(self) -> list[OrderReport]:
        """Return every open order of the account, external ones included."""

        def effect(fault: FaultKind | None) -> list[OrderReport]:
            shown = [one for one in self.ledger.open_orders() if not self._is_hidden(one)]
            return self._answered(fault, [self._report(one) for one in shown])

        return self.scheduler.call("broker.open_orders", READ, effect)

    def orders_since(self, start: datetime) -> list[OrderReport]:
        """Return every order submitted after `start`, whatever became of it."""
        start_ns = nanoseconds(start)

        def effect(fault: FaultKind | None) -> list[OrderReport]:
            made = [one for one in self.ledger.orders.values() if one.submitted_ns > start_ns]
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
            return self._answered(
                fault, [_fill(one) for one in self.ledger.fills if one.at > start]
            )

        return self.scheduler.call("broker.fills_since", READ, effect)

    # What a request does -------------------------------------------------------------------

    def _clock(self, fault: FaultKind | None) -> Clock:
        now = self.scheduler.time()
        session = self.venue.session
        return self._answered(fault, Clock(now, session.open <= now < session.close))

    def _find(self, fault: FaultKind | None, client_order_id: str) -> OrderReport | None:
        try:
            found = self.ledger.order_by_client_id(client_order_id)
        except Refusal:
            return self._answered(fault, None)
        return self._answered(fault, None if self._is_hidden(found) else self._report(found))

    def _held(self, fault: FaultKind | None) -> dict[str, Position]:
        held = self.venue.shares(stale=fault is FaultKind.POSITIONS_STALE)
        # The shares held for open orders are those of now: they may exceed a stale position.
        positions = {
            symbol: Position(qty, max(qty - self.ledger.held(symbol), 0))
            for symbol, qty in held.items()
            if qty
        }
        return self._answered(fault, positions)

    def _submit(self, fault: FaultKind | None, symbol: str, order: Order) -> OrderReport:
        scheduler, name = self.scheduler, order.client_order_id
        self.venue.checks.sent(symbol, order)
        if name in self._delayed and not fault and not scheduler.plan.is_over:
            # A fault that strikes one send often strikes the next.
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
            # Mostly soon: the list of positions may not show the shares of a sell yet.
            wait = scheduler.plan.amount(0.0, 1.0) ** 3 * 40
            scheduler.after(wait, lambda: self.venue.reject(taken.id))
        if fault is FaultKind.SUBMIT_REPEATED:
            # The order arrived twice, and this is the answer to the second one.
            raise _error(refusals.duplicate_id())
        if fault is FaultKind.SUBMIT_HIDDEN and self.venue.checks.is_written(name):
            # If the table does not know the order either, nothing could ever find it.
            wait = scheduler.plan.amount(0.5, HIDDEN_S)
            self._hidden[taken.id] = scheduler.now + int(wait * SECOND)
        if fault in (FaultKind.SUBMIT_ANSWER_LOST, FaultKind.SUBMIT_HIDDEN):
            raise UnknownOutcomeError(f"{name}: no answer")
        return replace(self._report(taken), confirmed=False)

    def _land_late(self, symbol: str, order: Order) -> None:
        self.late -= 1
        if not order.is_buy and order.qty > self.venue.checks.own_qty(symbol):
            # Its shares were sold meanwhile: it could only sell shares of the manual trader. Nobody
            # can stop a request on its way, so this is no violation, and the order is dropped.
            return
        try:
            taken = self._land(symbol, order)
        except RefusedError as error:
            self.scheduler.note(f"broker refuses {order.client_order_id}: {error}")
            return
        if order.limit is not None and self.scheduler.plan.happens(
            FaultKind.REPLACED, 0.3, order.client_order_id
        ):
            # The system may have abandoned the order by now. The broker replaces it all the same.
            self.venue.accept(taken.id)
            if taken.status == "new":
                self.venue.replace(taken)

    def _land(self, symbol: str, order: Order) -> VenueOrder:
        """Let an order arrive at the venue; raises what the adapter makes of a refusal."""
        try:
            return self.venue.land(symbol, order)
        except Refusal as refusal:
            raise _error(refusal) from refusal

    def _cancel(self, fault: FaultKind | None, broker_id: str) -> None:
        if fault is FaultKind.CANCEL_LOST or self.is_down:
            raise UnknownOutcomeError(f"cancel {broker_id}: no answer")
        order = self.ledger.orders.get(broker_id)
        if order is not None and order.is_open:
            self.venue.cancel(fault, order)
        if fault is FaultKind.CANCEL_ANSWER_LOST:
            raise UnknownOutcomeError(f"cancel {broker_id}: no answer")

    def settle_down(self) -> None:
        """End what the faults left open: every request is answered, every order shown."""
        self.is_down, self.blocked = False, ""
        self.venue.settle_down()
        self._hidden.clear()

    def _answered(self, fault: FaultKind | None, answer: T) -> T:
        """Return the answer of a request without effect, or raise that none came."""
        if fault is FaultKind.READ_LOST or self.is_down:
            raise BrokerDownError("no answer")
        return answer

    def _report(self, order: VenueOrder) -> OrderReport:
        """Return the report that the adapter would make of the broker's answer about an order."""
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
            replaced_by=self.venue.successors.get(order.id, ""),
        )
        self._told[order.id] = (order, report)
        return report

    @property
    def hides(self) -> bool:
        """Whether the broker has an order that no request shows yet."""
        return any(until > self.scheduler.now for until in self._hidden.values())

    def _is_hidden(self, order: VenueOrder) -> bool:
        until = self._hidden.get(order.id)
        return until is not None and self.scheduler.now < until


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
