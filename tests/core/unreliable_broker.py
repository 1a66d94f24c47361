"""A small broker that misbehaves, and a driver that takes one symbol through a day on it.

The broker loses requests and answers, answers late, fills in part, refuses orders, ends them by
itself, and sends events twice, late or never. Its answer to a request by client order id is true.
It accepts any sell, whatever sells work already, so that the machine alone prevents double sales.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from scalper.core.machine import step
from scalper.core.model import (
    BarClosed,
    CheckupDue,
    Event,
    LiquidationDue,
    OrderSeen,
    Phase,
    Rules,
    Step,
    SubmitOrder,
    SymbolState,
)
from scalper.core.order import ABSENT, REFUSED, Order, OrderReport
from scalper.core.pricing import Money, money
from scalper.core.session import Session
from tests.core.build import DAY, LOT, SYMBOL

HALF_HOUR = Session.of(DAY, "09:30", "10:00")
"""A whole session, short enough for a random walk to reach its end."""

LANDS_WITHIN = timedelta(seconds=4)
"""A delayed request lands within this, which is shorter than the gap between two absences."""

POSITION_LAG = timedelta(seconds=10)

SendOutcome = Literal["ok", "refused", "lost", "answer lost", "delayed"]


@dataclass
class PlacedOrder:
    """An order as the broker has it."""

    order: Order
    broker_id: str
    status: str = "new"
    filled_qty: int = 0
    filled_value: Money = 0
    updated_at: datetime | None = None
    canceling: bool = False

    @property
    def is_live(self) -> bool:
        return self.status in ("new", "partially_filled")

    @property
    def left(self) -> int:
        return self.order.qty - self.filled_qty if self.is_live else 0


@dataclass
class UnreliableBroker:
    """The broker's orders, events and position of one symbol."""

    now: datetime
    placed: dict[str, PlacedOrder] = field(default_factory=dict)
    under_way: list[tuple[datetime, Order]] = field(default_factory=list)
    events: list[OrderReport] = field(default_factory=list)
    position: int = 0
    cash: Money = 0
    positions: list[tuple[datetime, int]] = field(default_factory=list)
    stamps: int = 0
    strict: bool = True
    """Whether a broken I1, I2 or I3 is an error. Random days on an impossible broker break them."""

    @property
    def live(self) -> list[PlacedOrder]:
        return [one for one in self.placed.values() if one.is_live]

    def land(self, order: Order) -> None:
        """Accept an order with a new client order id, and ignore one whose id is not unique."""
        if order.client_order_id in self.placed:
            return
        one = PlacedOrder(order, f"broker-{len(self.placed) + 1}")
        self.placed[order.client_order_id] = one
        self.report(one)
        if not self.strict:
            return
        assert len(self.live) <= 1, "I1: two live orders"
        if order.is_buy:
            assert order.limit is not None
            assert order.qty * order.limit <= LOT, "I2: more than the lot in one entry"
        else:
            assert order.qty <= self.position, "I3: sells more than is held"

    def land_due(self) -> None:
        for due, order in list(self.under_way):
            if due <= self.now:
                self.under_way.remove((due, order))
                self.land(order)

    def fill(self, one: PlacedOrder, qty: int, price: Money) -> None:
        one.filled_qty += qty
        one.filled_value += qty * price
        one.status = "filled" if one.filled_qty == one.order.qty else "partially_filled"
        sign = 1 if one.order.is_buy else -1
        self.position += sign * qty
        self.cash -= sign * qty * price
        self.positions.append((self.now, self.position))
        self.report(one)
        assert self.position >= 0 or not self.strict, "I3: short"

    def correct(self, one: PlacedOrder, filled_qty: int, price: Money) -> None:
        """Change the filled quantity of a closed order: a bust or a late fill."""
        more = filled_qty - one.filled_qty
        one.filled_qty, one.filled_value = filled_qty, filled_qty * price
        self.position += more if one.order.is_buy else -more
        self.positions.append((self.now, self.position))
        self.report(one)

    def end(self, one: PlacedOrder, status: str) -> None:
        one.status = status
        self.report(one)

    def report(self, one: PlacedOrder) -> None:
        """Stamp the change, later than any before, and queue its event."""
        self.stamps += 1
        one.updated_at = self.now + timedelta(microseconds=self.stamps)
        self.events.append(self.report_of(one))

    def report_of(self, one: PlacedOrder, *, confirmed: bool = False) -> OrderReport:
        return OrderReport(
            client_order_id=one.order.client_order_id,
            status=one.status,
            symbol=SYMBOL,
            qty=one.order.qty,
            limit=one.order.limit,
            submitted_at=one.order.submitted_at,
            filled_qty=one.filled_qty,
            filled_value=one.filled_value,
            updated_at=one.updated_at,
            broker_id=one.broker_id,
            confirmed=confirmed,
        )

    def find(self, client_order_id: str) -> OrderReport:
        one = self.placed.get(client_order_id)
        if one is None:
            return OrderReport(client_order_id=client_order_id, status=ABSENT, confirmed=True)
        return self.report_of(one, confirmed=True)

    def position_seen(self, lag: timedelta) -> int:
        """Return the position of `lag` ago: positions may lag behind orders."""
        known = [qty for when, qty in self.positions if when <= self.now - lag]
        return known[-1] if known else 0


@dataclass
class SymbolDriver:
    """The machine of one symbol on the broker. `send_outcome` and `cancel_works` inject faults."""

    rules: Rules
    broker: UnreliableBroker
    state: SymbolState
    send_outcome: Callable[[], SendOutcome] = lambda: "ok"
    cancel_works: Callable[[], bool] = lambda: True
    delay: Callable[[], timedelta] = lambda: LANDS_WITHIN
    on_step: Callable[[SymbolState, Event, Step], None] = lambda before, event, result: None

    @classmethod
    def fresh(cls, **changes: object) -> "SymbolDriver":
        rules = replace(Rules(session=HALF_HOUR, mode="paper", lot=LOT), **changes)  # type: ignore[arg-type]
        state = SymbolState(symbol=SYMBOL, session=DAY)
        return cls(rules, UnreliableBroker(HALF_HOUR.open), state)

    # --- what the engine does ---

    def drive(self, event: Event) -> None:
        """Step, carry out the commands, join the answers and confirm ends, as the engine does."""
        pending = deque([event])
        confirmed = False
        canceled = set[str]()
        for _ in range(12):
            if not pending:
                return
            event = pending.popleft()
            before = self.state
            result = step(before, event, self.rules)
            self.on_step(before, event, result)
            self.state = result.state
            for command in result.commands:
                if isinstance(command, SubmitOrder):
                    pending += self._submit(command.order)
                elif command.client_order_id not in canceled:
                    canceled.add(command.client_order_id)
                    pending += self._cancel(command.client_order_id)
            order = self.state.order
            if order is not None and order.needs_confirmation and not confirmed and not pending:
                confirmed = True
                pending += self._ask(order.client_order_id)
        raise AssertionError("a chain of events did not end")

    def _submit(self, order: Order) -> list[Event]:
        assert self.broker.now < self.rules.session.close, "sends after the close"
        outcome = self.send_outcome()
        if outcome == "refused" and order.client_order_id not in self.broker.placed:
            refusal = OrderReport(client_order_id=order.client_order_id, status=REFUSED)
            return [OrderSeen(symbol=SYMBOL, at=self.broker.now, report=refusal)]
        if outcome == "delayed":
            self.broker.under_way.append((self.broker.now + self.delay(), order))
            return []
        if outcome == "lost":
            return []
        self.broker.land(order)
        return [] if outcome == "answer lost" else self._ask(order.client_order_id, confirmed=False)

    def _cancel(self, client_order_id: str) -> list[Event]:
        assert self.broker.now < self.rules.session.close, "cancels after the close"
        one = self.broker.placed[client_order_id]
        if one.is_live and self.cancel_works():
            self.broker.end(one, "canceled")
        return self._ask(client_order_id)

    def _ask(self, client_order_id: str, *, confirmed: bool = True) -> list[Event]:
        said = self.broker.find(client_order_id)
        if said.status == ABSENT:
            return []
        said = replace(said, confirmed=confirmed)
        return [OrderSeen(symbol=SYMBOL, at=self.broker.now, report=said)]

    # --- what happens ---

    def pass_time(self, by: timedelta) -> None:
        self.broker.now += by
        self.broker.land_due()
        if self.broker.now >= self.rules.session.close:
            for one in self.broker.live:
                self.broker.end(one, "expired")

    def deliver(self, index: int, *, again: bool = False) -> None:
        """Deliver one of the waiting events. With `again`, it stays, to be delivered once more."""
        events = self.broker.events
        said = events[index % len(events)] if again else events.pop(index % len(events))
        self.drive(OrderSeen(symbol=SYMBOL, at=self.broker.now, report=said))

    def ask(self, client_order_id: str) -> None:
        """Take up the answer to a request for an order."""
        for event in self._ask(client_order_id):
            self.drive(event)

    def reconcile(self) -> None:
        state = self.state
        for client_order_id in (
            *state.abandoned,
            *([state.order.client_order_id] if state.order else []),
        ):
            said = self.broker.find(client_order_id)
            if said.status == ABSENT and client_order_id in state.abandoned:
                continue
            another_open = any(
                one.order.client_order_id != client_order_id for one in self.broker.live
            )
            event = OrderSeen(
                symbol=SYMBOL, at=self.broker.now, report=said, other_order_open=another_open
            )
            self.drive(event)

    def tick(self, close: Money | None, *, signal: bool) -> None:
        self.drive(BarClosed(symbol=SYMBOL, at=self.broker.now, close=close, signal=signal))

    def check(self, position: int | None) -> None:
        self.drive(CheckupDue(symbol=SYMBOL, at=self.broker.now, position=position))

    def liquidate(self, position: int | None) -> None:
        self.drive(LiquidationDue(symbol=SYMBOL, at=self.broker.now, position=position))

    def fill_market_orders(self) -> None:
        for one in self.broker.live:
            if one.order.limit is None:
                self.broker.fill(one, one.left, money(100))

    def finish(self) -> None:
        """Play the rest of the day without faults; start at the liquidation at the latest."""
        self.send_outcome, self.cancel_works = lambda: "ok", lambda: True
        session = self.rules.session
        if self.broker.now < session.liquidate_at:
            self.pass_time(session.liquidate_at - self.broker.now)
        while self.broker.now < session.close:
            self.reconcile()
            self.liquidate(self.broker.position)
            self.fill_market_orders()
            self.reconcile()
            self.check(self.broker.position)
            self.pass_time(timedelta(seconds=30))
        self.reconcile()
        self.liquidate(None)

    # --- what must hold ---

    def assert_sound(self) -> None:
        """Compare the state with the broker, as far as no order is under way."""
        state, broker = self.state, self.broker
        known = {state.order.client_order_id} if state.order else set()
        for one in broker.live:
            assert one.order.client_order_id in known | set(state.abandoned), "I4: a lost order"
        unseen = [
            order for _, order in broker.under_way if order.client_order_id not in broker.placed
        ]
        for order in unseen:
            assert order.client_order_id in known | set(state.abandoned), "I4: a lost order"
        if state.order is None and not unseen:
            assert state.qty == broker.position, "I4: a lost position"
        if state.phase in (Phase.TO_BUY, Phase.DONE) and not unseen:
            assert broker.position == 0, "I4: a lost position"
            assert state.pnl == broker.cash, "the profit is not what was earned"
