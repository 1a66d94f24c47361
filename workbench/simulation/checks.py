"""What must hold after every step and at the end of the day, against the broker's truth.

I1 never two live orders for one symbol. I2 never more than the lot in an entry. I3 never short.
I4 never an order or a share that the table does not know. I5 flat at the end of the day.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn, Protocol

from greenlet import getcurrent

from scalper.core.model import SymbolState
from scalper.core.order import ClientOrderId, Order, Progress, Purpose
from scalper.core.pricing import Money
from scalper.shell.ports import Stored
from workbench.exchange.ledger import OrderLedger, VenueOrder
from workbench.exchange.refusals import Refusal
from workbench.faults import invariants
from workbench.simulation.scheduler import Invocation, Scheduler, Task, Violation

STALE_AFTER = timedelta(seconds=200)
"""A buy unfilled for two minutes is canceled by the next tick or checkup, and that takes effect."""

SOLD_WITHIN = timedelta(seconds=2)


class EntryAudit(Protocol):
    """Knows what may be entered, and when."""

    def began(self, invocation: Invocation) -> None:
        """Take note of what already forbids entries as an invocation begins."""
        ...

    def fault(self, old: Stored | None, order: Order, invocation: Invocation, reads: int) -> str:
        """Return what is wrong with a new buy, "" where nothing is."""
        ...

    def is_stale(self, order: Order) -> bool:
        """Return whether a buy is sent long after it was decided."""
        ...


@dataclass(slots=True, eq=False)
class Checks:
    """Watches one day; raises Violation."""

    scheduler: Scheduler
    lot: Money
    book: OrderLedger = field(default_factory=lambda: OrderLedger(None))
    external: dict[str, int] = field(default_factory=dict)
    """Shares that are not this system's, by symbol."""
    sold_by_hand: dict[str, datetime] = field(default_factory=dict)
    """When the owner last sold shares of a symbol over our head: its profit is the owner's too."""
    entries: EntryAudit | None = None
    """None outside of a day."""
    _written: dict[str, tuple[int, Money | None]] = field(default_factory=dict)
    """Quantity and limit of each order that was ever an intent in the table."""
    _items: dict[str, Stored] = field(default_factory=dict)
    _unlisted: set[str] = field(default_factory=set)
    """Orders of a liquidation whose table did not answer: it may not know them before the end."""
    _successors: dict[str, str] = field(default_factory=dict)
    """By the broker's id of a replaced order the id of the one in its place."""
    _origins: dict[str, str] = field(default_factory=dict)
    """By the broker's id of such an order the client id of ours that it goes back to."""
    _made: dict[tuple[str, int], str] = field(default_factory=dict)
    """The broker's id of each order of this system, by symbol and number."""

    # After a step --------------------------------------------------------------------------

    def began(self, invocation: Invocation) -> None:
        """Take note of how things stand as an invocation begins."""
        if self.entries is not None:
            self.entries.began(invocation)

    def entered(self, old: Stored | None, state: SymbolState, reads: int) -> None:
        """Check a write that may make a buy, by a version that knows the schema `reads`."""
        order = state.order
        if self.entries is None or order is None or not order.is_buy:
            return
        if order.client_order_id in self._written:
            return
        if wrong := self.entries.fault(old, order, _invocation(), reads):
            self.fail(f"{order.client_order_id}: {wrong}")

    def saved(self, old: Stored | None, new: Stored) -> None:
        """Check a write: versions rise, known fills rise and stay below the truth."""
        symbol = new.state.symbol
        if new.version != ((old.version if old else None) or 0) + 1:
            self.fail(f"{symbol}: version {old and old.version} became {new.version}")
        if old is not None:
            self._check_monotone(old, new)
        known = old.state.settled if old is not None else ()
        for number, qty in enumerate(new.state.settled, 1):
            if known[number - 1 : number] != (qty,) and qty > self._truth(symbol, number):
                self.fail(f"{symbol}: order {number} is said to have filled {qty}")
        order = new.state.order
        if order is not None:
            if order.filled_qty > self._filled(order.client_order_id):
                self.fail(f"{order.client_order_id}: said to have filled {order.filled_qty}")
            is_intent = order.progress is Progress.INTENT
            if is_intent and order.client_order_id not in self._written:
                _invocation().unsent.add(order.client_order_id)
            self._written[order.client_order_id] = (order.qty, order.limit)
        self._items[symbol] = new
        self._check_listed(symbol)

    def sent(self, symbol: str, order: Order) -> None:
        """Check a submit: its intent was written before, with the same body."""
        _invocation().unsent.discard(order.client_order_id)
        body = self._written.get(order.client_order_id)
        if body is None and not _by_memory():
            self.fail(f"{order.client_order_id}: sent before its intent was written")
        if body is not None and body != (order.qty, order.limit):
            self.fail(f"{order.client_order_id}: sent {order.qty} at {order.limit}, wrote {body}")
        if _by_memory():
            self._unlisted.add(order.client_order_id)
        if order.is_buy and self.entries is not None and self.entries.is_stale(order):
            self.fail(f"{order.client_order_id}: sent long after it was decided")

    def is_written(self, client_order_id: str) -> bool:
        """Whether the table was ever told of an order before it was sent."""
        return client_order_id in self._written

    def in_doubt(self, state: SymbolState) -> None:
        """Take note of a write whose writer was told that it failed: it sends nothing."""
        if state.order is not None:
            _invocation().unsent.discard(state.order.client_order_id)

    def ended(self, invocation: Invocation) -> None:
        """Check an invocation that came to its end: each intent that it wrote was sent."""
        if invocation.unsent and not invocation.is_dead:
            self.fail(f"{invocation.label} wrote {sorted(invocation.unsent)} and did not send it")

    def landed(self, order: VenueOrder) -> None:
        """Check an order that the broker took on: I1, I2, I3, I4."""
        name = ClientOrderId.parse(order.client_order_id)
        if name is None:
            self.fail(f"{order.client_order_id}: not an id of this system")
        if (order.symbol, name.generation) in self._made:
            self.fail(f"{order.client_order_id}: the number was used before")
        self._made[order.symbol, name.generation] = order.id
        self._demand(
            invariants.at_landing(
                order,
                live=self._live_names(order.symbol),
                held=self.own_qty(order.symbol),
                lot=self.lot,
            )
        )
        self._check_listed(order.symbol)

    def unheld(self, symbol: str, order: Order) -> None:
        """Check a sell that was refused as nothing is held: an account may allow short sales.

        What is bought is offered, and a stop is sold, at once: that the owner sells the shares in
        that moment cannot be helped. A bail-out comes after somebody else's hand, and has to look.
        A liquidation that lost the table does not hear what another sold meanwhile.
        """
        if order.purpose is Purpose.LIQUIDATION and _invocation().store_failed:
            return
        sold_at = self.sold_by_hand.get(symbol)
        if sold_at is not None:
            looks = order.purpose is Purpose.BAILOUT
            if not looks or order.submitted_at <= sold_at:
                return
        self.fail(f"I3: {order.client_order_id} would sell short where the account allows it")

    def filled(self, symbol: str) -> None:
        """Check a fill: never short."""
        self._demand(invariants.at_fill(symbol, self.own_qty(symbol)))

    def by_hand(self, symbol: str, qty: int) -> None:
        """Take note of shares that the owner bought."""
        self.external[symbol] = self.external.get(symbol, 0) + qty

    def replaced(self, order: VenueOrder, successor: VenueOrder) -> None:
        """Take note of an order in whose place the broker put another: it is ours as well."""
        self._successors[order.id] = successor.id
        self._origins[successor.id] = self.name_of(order)

    def forget(self, symbol: str) -> None:
        """Take note of an item that was lost."""
        self._items.pop(symbol, None)

    # The end of the day --------------------------------------------------------------------

    def end(self, items: dict[str, Stored], summary: dict[str, Any]) -> tuple[int, Money]:
        """Check the day as a whole; return its trades and its profit."""
        own = invariants.own_orders(self.book.orders, self._successors)
        opened = [
            one
            for orders in own.values()
            for order in orders.values()
            for one in order.chain
            if one.is_open
        ]
        self._demand(
            invariants.account_at_end({symbol: self.own_qty(symbol) for symbol in own}, opened)
        )
        pnl: Money = 0
        for symbol, orders in sorted(own.items()):
            state = items[symbol].state if symbol in items else None
            by_hand = symbol in self.sold_by_hand
            self._demand(invariants.symbol_at_end(symbol, state, orders, has_manual_sale=by_hand))
            if self.scheduler.plan.is_faultless:
                self._check_prompt(orders)
            if by_hand and state is not None:
                pnl += state.pnl
            else:
                pnl += sum(order.earned for order in orders.values())
        trades = invariants.trades_of(order for orders in own.values() for order in orders.values())
        told_pnl = None if self.sold_by_hand else pnl
        self._demand(invariants.summary_at_end(summary or None, trades=trades, pnl=told_pnl))
        return trades, pnl

    def _check_prompt(self, orders: invariants.OwnOrders) -> None:
        """Check a day without faults: a stale buy is canceled, what is bought offered at once."""
        for number, own in orders.items():
            order = own.chain[0]
            if own.is_sell:
                continue
            if order.updated_at - order.submitted_at > STALE_AFTER:
                self.fail(f"{order.client_order_id} worked until {order.updated_at}")
            if order.filled_qty == order.qty:
                exits = orders.get(number + 1)
                if exits is None or exits.chain[0].submitted_at - order.updated_at > SOLD_WITHIN:
                    self.fail(f"{order.client_order_id} filled and was not offered at once")

    # The truth -----------------------------------------------------------------------------

    def own_qty(self, symbol: str) -> int:
        """Return the shares that this system holds."""
        return self.book.qty(symbol) - self.external.get(symbol, 0)

    def name_of(self, order: VenueOrder) -> str:
        """Return the client id that this system knows an order by."""
        return self._origins.get(order.id, order.client_order_id)

    def is_own(self, order: VenueOrder) -> bool:
        """Return whether an order is this system's, or stands in the place of one."""
        return order.id in self._origins or order.client_order_id.startswith("scalp-")

    def _own_live(self, symbol: str) -> list[VenueOrder]:
        return [one for one in self.book.open_orders(symbol) if self.is_own(one)]

    def _live_names(self, symbol: str) -> list[str]:
        return [self.name_of(one) for one in self._own_live(symbol)]

    def _chain(self, order: VenueOrder) -> tuple[VenueOrder, ...]:
        return invariants.chain_of(order, self.book.orders, self._successors)

    def _filled(self, client_order_id: str) -> int:
        try:
            order = self.book.order_by_client_id(client_order_id)
        except Refusal:
            return 0
        return sum(one.filled_qty for one in self._chain(order))

    def _truth(self, symbol: str, number: int) -> int:
        order_id = self._made.get((symbol, number))
        chain = self._chain(self.book.orders[order_id]) if order_id else ()
        return sum(one.filled_qty for one in chain)

    def _check_monotone(self, old: Stored, new: Stored) -> None:
        before, after = old.state, new.state
        if after.generation < before.generation:
            self.fail(f"{after.symbol}: order numbers fell")
        if any(b > a for b, a in zip(before.settled, after.settled, strict=False)):
            self.fail(f"{after.symbol}: fills fell: {before.settled} to {after.settled}")
        same = (
            before.order is not None
            and after.order is not None
            and before.order.client_order_id == after.order.client_order_id
        )
        if same and before.order.filled_qty > after.order.filled_qty:  # type: ignore[union-attr]
            self.fail(f"{after.symbol}: known fills fell")
        if not old.unknown.items() <= new.unknown.items() or new.schema < old.schema:
            self.fail(f"{after.symbol}: what a newer version wrote was lost")

    def _check_listed(self, symbol: str) -> None:
        """Check that the table knows each live order of this system."""
        item = self._items.get(symbol)
        if item is None:
            return
        listed = [name for name in self._live_names(symbol) if name not in self._unlisted]
        self._demand(invariants.at_write(item.state, listed))

    def _demand(self, broken: Iterable[str]) -> None:
        """Break the day off at the first thing that does not hold."""
        for text in broken:
            self.fail(text)

    def fail(self, text: str) -> NoReturn:
        """Break the day off."""
        raise Violation(text)


def _invocation() -> Invocation:
    """Return the running invocation; outside of a simulated day one that nobody looks at."""
    task = getcurrent()
    return task.invocation if isinstance(task, Task) else Invocation("", "")


def _by_memory() -> bool:
    """Whether the running invocation is a liquidation whose table did not answer."""
    invocation = _invocation()
    return invocation.function == "liquidate" and invocation.store_failed
