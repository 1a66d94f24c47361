"""Checks one simulated day: after every step, and at its end.

The invariants themselves stand in `workbench/faults/invariants.py`. This module keeps the facts
that they are compared with, and adds what only a simulated day can see: that versions rise, that
known fills stay below the ledger's, and that each order is written before it is sent.
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
"""After two minutes the next tick or checkup cancels an unfilled buy, and the cancel lands."""

SOLD_WITHIN = timedelta(seconds=2)
"""How soon after its fill a buy without faults is offered again."""


class EntryChecks(Protocol):
    """Says what is wrong with a buy; `entry_audit.py` has it."""

    def began(self, invocation: Invocation) -> None:
        """Take note of what forbids entries when an invocation begins."""
        ...

    def objection(
        self, old: Stored | None, order: Order, invocation: Invocation, reads: int
    ) -> str:
        """Return what is wrong with a new buy, "" if nothing is."""
        ...

    def is_stale(self, order: Order) -> bool:
        """Return whether a buy is sent too long after it was decided."""
        ...


@dataclass(slots=True, eq=False)
class Checks:
    """Watches one day. Each check raises Violation at the first thing that does not hold."""

    scheduler: Scheduler
    lot: Money
    book: OrderLedger = field(default_factory=lambda: OrderLedger(None))
    external: dict[str, int] = field(default_factory=dict)
    """Shares that are not this system's, by symbol."""
    bought_by_hand: dict[str, datetime] = field(default_factory=dict)
    """When the manual trader last bought shares of a symbol."""
    sold_by_hand: dict[str, datetime] = field(default_factory=dict)
    """When the manual trader last sold this system's shares of a symbol."""
    entry_checks: EntryChecks | None = None
    """None in tests that run no whole day."""
    _written: dict[str, tuple[int, Money | None]] = field(default_factory=dict)
    """Quantity and limit of each order that was an intent in the table, by client id."""
    _items: dict[str, Stored] = field(default_factory=dict)
    _unlisted: set[str] = field(default_factory=set)
    """Orders of a liquidation whose table did not answer. The table may learn of them later."""
    _successors: dict[str, str] = field(default_factory=dict)
    """The successor of each replaced order, both by the broker's id."""
    _origins: dict[str, str] = field(default_factory=dict)
    """The client id of the own order that a successor stands for, by the broker's id."""
    _made: dict[tuple[str, int], str] = field(default_factory=dict)
    """The broker's id of each order of this system, by symbol and generation."""

    # After a step --------------------------------------------------------------------------

    def began(self, invocation: Invocation) -> None:
        """Take note of what forbids entries when an invocation begins."""
        if self.entry_checks is not None:
            self.entry_checks.began(invocation)

    def entered(self, old: Stored | None, state: SymbolState, reads: int) -> None:
        """Check a write that may hold a new buy. Its writer knows the schema `reads`."""
        order = state.order
        if self.entry_checks is None or order is None or not order.is_buy:
            return
        if order.client_order_id in self._written:
            return
        if wrong := self.entry_checks.objection(old, order, _invocation(), reads):
            self.fail(f"{order.client_order_id}: {wrong}")

    def decided(self, symbol: str, at: datetime) -> None:
        """Check a decision at the end of the minute `at`: its invocation took none before."""
        taken = _invocation().decided
        if (symbol, at) in taken:
            self.fail(f"{symbol}: the minute that ended at {at} is decided twice")
        taken.add((symbol, at))

    def saved(self, old: Stored | None, new: Stored) -> None:
        """Check a write: versions and known fills rise, and the fills stay below the ledger's."""
        symbol = new.state.symbol
        if new.version != ((old.version if old else None) or 0) + 1:
            self.fail(f"{symbol}: version {old and old.version} became {new.version}")
        if old is not None:
            self._check_monotone(old, new)
        known = old.state.settled if old is not None else ()
        for number, qty in enumerate(new.state.settled, 1):
            if known[number - 1 : number] != (qty,) and qty > self._ledger_fills(symbol, number):
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
        """Check a submit: its intent was written before it, with the same quantity and limit."""
        _invocation().unsent.discard(order.client_order_id)
        body = self._written.get(order.client_order_id)
        if body is None and not _by_memory():
            self.fail(f"{order.client_order_id}: sent before its intent was written")
        if body is not None and body != (order.qty, order.limit):
            self.fail(f"{order.client_order_id}: sent {order.qty} at {order.limit}, wrote {body}")
        if _by_memory():
            self._unlisted.add(order.client_order_id)
        if order.is_buy and self.entry_checks is not None and self.entry_checks.is_stale(order):
            self.fail(f"{order.client_order_id}: sent long after it was decided")

    def is_written(self, client_order_id: str) -> bool:
        """Return whether an order was ever written to the table."""
        return client_order_id in self._written

    def in_doubt(self, state: SymbolState) -> None:
        """Take note of a write that its writer takes for failed: the writer sends nothing."""
        if state.order is not None:
            _invocation().unsent.discard(state.order.client_order_id)

    def ended(self, invocation: Invocation) -> None:
        """Check an invocation at its end: it sent each intent that it wrote."""
        if invocation.unsent and not invocation.is_dead:
            self.fail(f"{invocation.label} wrote {sorted(invocation.unsent)} and did not send it")

    def landed(self, order: VenueOrder) -> None:
        """Check an order that the broker took: I1, I2, I3, I4."""
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
        """Check a sell that the broker refused because nothing is held: I3.

        An account that allows short sales would take it. A target and a stop are sent at once: the
        system cannot know that the manual trader sold the shares at that moment. A bailout comes
        after a manual cancel and has to ask for the position first. A liquidation without the
        table does not learn of a manual sale.
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

    def manual_buy(self, symbol: str, qty: int) -> None:
        """Take note of shares that the manual trader bought."""
        self.external[symbol] = self.external.get(symbol, 0) + qty
        self.bought_by_hand[symbol] = self.scheduler.time()

    def manual_sale(self, symbol: str, qty: int) -> None:
        """Take note of shares of the manual trader's own that the manual trader sold."""
        self.external[symbol] -= qty

    def is_external_shown(self, symbol: str, lag: timedelta) -> bool:
        """Return whether every list of positions or open orders shows what is not this system's.

        An open order shows at once, a position only after `lag`.
        """
        if not self.external.get(symbol):
            return False
        if any(not self.is_own(order) for order in self.book.open_orders(symbol)):
            return True
        return self.scheduler.time() - self.bought_by_hand[symbol] > lag

    def replaced(self, order: VenueOrder, successor: VenueOrder) -> None:
        """Take note of a successor that the broker made: it is an own order as well."""
        self._successors[order.id] = successor.id
        self._origins[successor.id] = self.name_of(order)

    def forget(self, symbol: str) -> None:
        """Take note of an item that was lost."""
        self._items.pop(symbol, None)

    # The end of the day --------------------------------------------------------------------

    def end(self, items: dict[str, Stored], summary: dict[str, Any]) -> tuple[int, Money]:
        """Check the day as a whole; return its trades and its profit."""
        own = invariants.own_orders_by_generation(self.book.orders, self._successors)
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
        trades = invariants.count_trades(
            order for orders in own.values() for order in orders.values()
        )
        told_pnl = None if self.sold_by_hand else pnl
        self._demand(invariants.summary_at_end(summary or None, trades=trades, pnl=told_pnl))
        return trades, pnl

    def _check_prompt(self, orders: invariants.OwnOrders) -> None:
        """Check a day without faults: stale buys are canceled, filled ones are offered at once."""
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

    # What the ledger says ------------------------------------------------------------------

    def own_qty(self, symbol: str) -> int:
        """Return the shares that this system holds."""
        return self.book.qty(symbol) - self.external.get(symbol, 0)

    def name_of(self, order: VenueOrder) -> str:
        """Return the client id under which this system knows an order."""
        return self._origins.get(order.id, order.client_order_id)

    def is_own(self, order: VenueOrder) -> bool:
        """Return whether an order is this system's, or a successor of one."""
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

    def _ledger_fills(self, symbol: str, number: int) -> int:
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
        """Check that the table knows each live order of this system: I4."""
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
        """End the day with a violation."""
        raise Violation(text)


def _invocation() -> Invocation:
    """Return the running invocation; in tests that run none, an empty one."""
    task = getcurrent()
    return task.invocation if isinstance(task, Task) else Invocation("", "")


def _by_memory() -> bool:
    """Return whether a liquidation runs whose table did not answer."""
    invocation = _invocation()
    return invocation.function == "liquidate" and invocation.store_failed
