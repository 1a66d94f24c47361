"""A small broker that misbehaves, and a driver that takes one symbol's machine through a day on it.

It loses answers and requests, answers late, fills in part, tells events twice, late or never,
refuses, and ends orders by itself. What it answers to a request by client id is true. It holds no
shares back for working sells and takes any sell, so that not to sell twice is up to the machine.
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
"""A whole session, so short that a random walk gets to its end."""

LANDS_WITHIN = timedelta(seconds=4)
"""A request on its way lands within this: less than two absences are apart."""

POSITION_LAG = timedelta(seconds=10)

Fate = Literal["ok", "refused", "lost", "answer lost", "delayed"]


@dataclass
class Placed:
    """An order at the venue, with what is true of it."""

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
class Venue:
    """The broker's truth of one symbol."""

    now: datetime
    placed: dict[str, Placed] = field(default_factory=dict)
    under_way: list[tuple[datetime, Order]] = field(default_factory=list)
    events: list[OrderReport] = field(default_factory=list)
    position: int = 0
    cash: Money = 0
    positions: list[tuple[datetime, int]] = field(default_factory=list)
    stamps: int = 0
    strict: bool = True
    """Whether a broken I1, I2 or I3 is an error; a broker beyond reason may break them."""

    @property
    def live(self) -> list[Placed]:
        return [one for one in self.placed.values() if one.is_live]

    def land(self, order: Order) -> None:
        """Take an order whose client id is new; another one is refused as not unique."""
        if order.client_order_id in self.placed:
            return
        one = Placed(order, f"broker-{len(self.placed) + 1}")
        self.placed[order.client_order_id] = one
        self.tell(one)
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

    def fill(self, one: Placed, qty: int, price: Money) -> None:
        one.filled_qty += qty
        one.filled_value += qty * price
        one.status = "filled" if one.filled_qty == one.order.qty else "partially_filled"
        sign = 1 if one.order.is_buy else -1
        self.position += sign * qty
        self.cash -= sign * qty * price
        self.positions.append((self.now, self.position))
        self.tell(one)
        assert self.position >= 0 or not self.strict, "I3: short"

    def correct(self, one: Placed, filled_qty: int, price: Money) -> None:
        """Let an order that is over be of another quantity than was said: a bust, a late fill."""
        more = filled_qty - one.filled_qty
        one.filled_qty, one.filled_value = filled_qty, filled_qty * price
        self.position += more if one.order.is_buy else -more
        self.positions.append((self.now, self.position))
        self.tell(one)

    def end(self, one: Placed, status: str) -> None:
        one.status = status
        self.tell(one)

    def tell(self, one: Placed) -> None:
        """Stamp the change, later than any before, and queue its event."""
        self.stamps += 1
        one.updated_at = self.now + timedelta(microseconds=self.stamps)
        self.events.append(self.say(one))

    def say(self, one: Placed, *, confirmed: bool = False) -> OrderReport:
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
        return self.say(one, confirmed=True)

    def position_seen(self, lag: timedelta) -> int:
        """Return the position as of a while ago: orders and positions may disagree so long."""
        known = [qty for when, qty in self.positions if when <= self.now - lag]
        return known[-1] if known else 0


@dataclass
class World:
    """One symbol's machine on the venue; `send_fate` and `cancel_works` say what goes wrong."""

    rules: Rules
    venue: Venue
    state: SymbolState
    send_fate: Callable[[], Fate] = lambda: "ok"
    cancel_works: Callable[[], bool] = lambda: True
    delay: Callable[[], timedelta] = lambda: LANDS_WITHIN
    on_step: Callable[[SymbolState, Event, Step], None] = lambda before, event, result: None

    @classmethod
    def fresh(cls, **changes: object) -> "World":
        rules = replace(Rules(session=HALF_HOUR, mode="paper", lot=LOT), **changes)  # type: ignore[arg-type]
        state = SymbolState(symbol=SYMBOL, session=DAY)
        return cls(rules, Venue(HALF_HOUR.open), state)

    # --- what the engine does ---

    def drive(self, event: Event) -> None:
        """Step, carry out, join the answers, confirm what is called over: as the engine does."""
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
        assert self.venue.now < self.rules.session.close, "sends after the close"
        fate = self.send_fate()
        if fate == "refused" and order.client_order_id not in self.venue.placed:
            refusal = OrderReport(client_order_id=order.client_order_id, status=REFUSED)
            return [OrderSeen(symbol=SYMBOL, at=self.venue.now, report=refusal)]
        if fate == "delayed":
            self.venue.under_way.append((self.venue.now + self.delay(), order))
            return []
        if fate == "lost":
            return []
        self.venue.land(order)
        return [] if fate == "answer lost" else self._ask(order.client_order_id, confirmed=False)

    def _cancel(self, client_order_id: str) -> list[Event]:
        assert self.venue.now < self.rules.session.close, "cancels after the close"
        one = self.venue.placed[client_order_id]
        if one.is_live and self.cancel_works():
            self.venue.end(one, "canceled")
        return self._ask(client_order_id)

    def _ask(self, client_order_id: str, *, confirmed: bool = True) -> list[Event]:
        said = self.venue.find(client_order_id)
        if said.status == ABSENT:
            return []
        said = replace(said, confirmed=confirmed)
        return [OrderSeen(symbol=SYMBOL, at=self.venue.now, report=said)]

    # --- what happens ---

    def pass_time(self, by: timedelta) -> None:
        self.venue.now += by
        self.venue.land_due()
        if self.venue.now >= self.rules.session.close:
            for one in self.venue.live:
                self.venue.end(one, "expired")

    def tell(self, index: int, *, again: bool = False) -> None:
        """Deliver one of the events that wait, the oldest or a later one, once or once more."""
        events = self.venue.events
        said = events[index % len(events)] if again else events.pop(index % len(events))
        self.drive(OrderSeen(symbol=SYMBOL, at=self.venue.now, report=said))

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
            said = self.venue.find(client_order_id)
            if said.status == ABSENT and client_order_id in state.abandoned:
                continue
            another_open = any(
                one.order.client_order_id != client_order_id for one in self.venue.live
            )
            event = OrderSeen(
                symbol=SYMBOL, at=self.venue.now, report=said, other_order_open=another_open
            )
            self.drive(event)

    def tick(self, close: Money | None, *, signal: bool) -> None:
        self.drive(BarClosed(symbol=SYMBOL, at=self.venue.now, close=close, signal=signal))

    def check(self, position: int | None) -> None:
        self.drive(CheckupDue(symbol=SYMBOL, at=self.venue.now, position=position))

    def liquidate(self, position: int | None) -> None:
        self.drive(LiquidationDue(symbol=SYMBOL, at=self.venue.now, position=position))

    def fill_market_orders(self) -> None:
        for one in self.venue.live:
            if one.order.limit is None:
                self.venue.fill(one, one.left, money(100))

    def finish(self) -> None:
        """Let the rest of the day go by, from L on at the latest, with everything working."""
        self.send_fate, self.cancel_works = lambda: "ok", lambda: True
        session = self.rules.session
        if self.venue.now < session.liquidate_at:
            self.pass_time(session.liquidate_at - self.venue.now)
        while self.venue.now < session.close:
            self.reconcile()
            self.liquidate(self.venue.position)
            self.fill_market_orders()
            self.reconcile()
            self.check(self.venue.position)
            self.pass_time(timedelta(seconds=30))
        self.reconcile()
        self.liquidate(None)

    # --- what must hold ---

    def assert_sound(self) -> None:
        """Compare what the state says with the venue's truth, where nothing is under way."""
        state, venue = self.state, self.venue
        known = {state.order.client_order_id} if state.order else set()
        for one in venue.live:
            assert one.order.client_order_id in known | set(state.abandoned), "I4: a lost order"
        unseen = [
            order for _, order in venue.under_way if order.client_order_id not in venue.placed
        ]
        for order in unseen:
            assert order.client_order_id in known | set(state.abandoned), "I4: a lost order"
        if state.order is None and not unseen:
            assert state.qty == venue.position, "I4: a lost position"
        if state.phase in (Phase.TO_BUY, Phase.DONE) and not unseen:
            assert venue.position == 0, "I4: a lost position"
            assert state.pnl == venue.cash, "the profit is not what was earned"
