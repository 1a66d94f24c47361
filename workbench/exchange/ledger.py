"""The account and its orders: what may be ordered, what is held, what every fill changes.

These are pure rules over integers, without web, bars or a clock: each call gets the time. A refusal
is raised and changes nothing. Everything else that happens to an order comes back as an `Update`,
in order, exactly once. Sales never exceed the shares held: the account is long only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from uuid import NAMESPACE_URL, UUID, uuid5

from scalper.core.order import OPEN_STATUSES
from scalper.core.pricing import Money, tick_size
from workbench.exchange import refusals
from workbench.exchange.wire import dollars, nanoseconds
from workbench.market.matching import Side

UNLIMITED_CASH: Money = 10**9 * 10_000
"""What an account without a cap shows as its cash at the start: a billion dollars."""

MARKET_BUY_MARGIN_PERCENT = 4
"""What a market buy reserves above the last trade; Alpaca documents 2.5 % to 4 %."""

_NAMES = uuid5(NAMESPACE_URL, "https://scalper.invalid/exchange")


@lru_cache(maxsize=10_000)
def named_uuid(kind: str, name: object) -> UUID:
    """Return the id of a thing; the same things have the same ids in every run."""
    return uuid5(_NAMES, f"{kind}:{name}")


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order as asked for: whole shares, `limit` None for a market order."""

    symbol: str
    side: Side
    qty: int
    limit: Money | None
    client_order_id: str | None


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the broker records it; times aware UTC, quantities in whole shares."""

    id: str
    client_order_id: str
    symbol: str
    side: Side
    qty: int
    limit: Money | None
    status: str
    submitted_at: datetime
    submitted_ns: int
    expires_at: datetime
    updated_at: datetime
    reserved: Money
    filled_qty: int = 0
    filled_cost: Money = 0
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    expired_at: datetime | None = None
    failed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the order may still fill."""
        return self.status in OPEN_STATUSES

    @property
    def remaining(self) -> int:
        """Return the shares not filled yet."""
        return self.qty - self.filled_qty


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """Shares held, and what they cost in all."""

    symbol: str
    qty: int
    cost: Money


@dataclass(frozen=True, slots=True)
class Update:
    """One thing that happened to an order; a fill has this execution's price and quantity."""

    number: int
    event: str
    order: VenueOrder
    at: datetime
    price: Money | None = None
    qty: int | None = None
    position_qty: int | None = None


class OrderLedger:
    """One account: its cash, orders, positions and fills."""

    def __init__(self, cash: Money | None) -> None:
        """Open an account with `cash`; None is unlimited, shown as `UNLIMITED_CASH`."""
        self.limited = cash is not None
        self.cash: Money = UNLIMITED_CASH if cash is None else cash
        self.suspend_trade = False
        self.no_shorting = True
        self.orders: dict[str, VenueOrder] = {}
        self.fills: list[Update] = []
        self.positions: dict[str, VenuePosition] = {}
        self.updates = 0
        self._by_client_id: dict[str, str] = {}
        self._open: dict[str, dict[str, None]] = {}
        self._last_ns = 0

    # What is there -------------------------------------------------------------------------

    def order(self, order_id: str) -> VenueOrder:
        """Return the order; raises the 404 refusal."""
        found = self.orders.get(order_id)
        if found is None:
            raise refusals.no_order(order_id)
        return found

    def order_by_client_id(self, client_order_id: str) -> VenueOrder:
        """Return the order with this client id; raises the 404 refusal."""
        order_id = self._by_client_id.get(client_order_id)
        if order_id is None:
            raise refusals.no_order(client_order_id)
        return self.orders[order_id]

    def open_symbols(self) -> list[str]:
        """Return the symbols with open orders, sorted."""
        return sorted(symbol for symbol, ids in self._open.items() if ids)

    def open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """Return the open orders of one symbol or of all, in the order of submission."""
        if symbol is not None:
            return [self.orders[order_id] for order_id in self._open.get(symbol, ())]
        found = (self.orders[order_id] for ids in self._open.values() for order_id in ids)
        return sorted(found, key=lambda order: order.submitted_ns)

    def held(self, symbol: str) -> int:
        """Return the shares that open sell orders hold."""
        return sum(order.remaining for order in self.open_orders(symbol) if order.side == "sell")

    def qty(self, symbol: str) -> int:
        """Return the shares held of a symbol."""
        position = self.positions.get(symbol)
        return position.qty if position else 0

    def buying_power(self) -> Money:
        """Return the cash that no open buy has reserved."""
        return self.cash - sum(order.reserved for order in self.open_orders())

    # What may be ordered -------------------------------------------------------------------

    def submit(
        self,
        ticket: Ticket,
        *,
        now: datetime,
        expires_at: datetime,
        status: str,
        last_trade: Money | None,
    ) -> VenueOrder:
        """Take an order on and return it, or raise a refusal; ids are checked before amounts.

        A refused order leaves no trace: it does not use up its client id.
        """
        self._check(ticket, last_trade)
        number = len(self.orders) + 1
        order_id = str(named_uuid("order", number))
        self._last_ns = max(self._last_ns, nanoseconds(now)) + 1
        order = VenueOrder(
            id=order_id,
            client_order_id=ticket.client_order_id or str(named_uuid("client", number)),
            symbol=ticket.symbol,
            side=ticket.side,
            qty=ticket.qty,
            limit=ticket.limit,
            status=status,
            submitted_at=now,
            submitted_ns=self._last_ns,
            expires_at=expires_at,
            updated_at=now,
            reserved=_cost_basis(ticket, last_trade),
        )
        self.orders[order_id] = order
        self._by_client_id[order.client_order_id] = order_id
        self._open.setdefault(order.symbol, {})[order_id] = None
        return order

    def _check(self, ticket: Ticket, last_trade: Money | None) -> None:
        if self.suspend_trade:
            raise refusals.suspended()
        if ticket.limit is not None and ticket.limit % tick_size(ticket.limit):
            raise refusals.sub_penny(dollars(ticket.limit))
        if ticket.client_order_id in self._by_client_id:
            raise refusals.duplicate_id()
        self._check_wash_trade(ticket)
        if ticket.side == "sell":
            self._check_shares(ticket)
        elif self.limited:
            cost = _cost_basis(ticket, last_trade)
            available = self.buying_power()
            if cost > available:
                raise refusals.buying_power(dollars(available), dollars(cost))

    def _check_wash_trade(self, ticket: Ticket) -> None:
        """Refuse what could trade with an open order of the other side (Alpaca: User Protection).

        Two limits pass while they do not cross; a market order crosses everything.
        """
        for order in self.open_orders(ticket.symbol):
            if order.side == ticket.side:
                continue
            if order.limit is None or ticket.limit is None:
                raise refusals.wash_trade(order.id, existing_is_market=order.limit is None)
            buy, sell = (
                (ticket.limit, order.limit) if ticket.side == "buy" else (order.limit, ticket.limit)
            )
            if buy >= sell:
                raise refusals.wash_trade(order.id, existing_is_market=False)

    def _check_shares(self, ticket: Ticket) -> None:
        existing, held = self.qty(ticket.symbol), self.held(ticket.symbol)
        if ticket.qty > existing - held:
            sells = (o.id for o in self.open_orders(ticket.symbol) if o.side == "sell")
            raise refusals.held_quantity(
                ticket.symbol,
                requested=ticket.qty,
                existing=existing,
                held=held,
                related=list(sells),
            )

    # What happens to an order --------------------------------------------------------------

    def _update(self, event: str, order: VenueOrder, at: datetime, **execution: int) -> Update:
        if not order.is_open:
            order = replace(order, reserved=0)
            self._open[order.symbol].pop(order.id, None)
        self.orders[order.id] = order
        self.updates += 1
        return Update(self.updates, event, order, at, **execution)

    def accept(self, order: VenueOrder, at: datetime) -> Update:
        """Let the order work: the event `new`."""
        return self._update("new", replace(order, status="new", updated_at=at), at)

    def cancel(self, order_id: str, at: datetime) -> Update:
        """Cancel an open order at once; raises 404, or 422 if the order is closed."""
        order = self.order(order_id)
        if not order.is_open:
            raise refusals.not_cancelable(order.status)
        canceled = replace(order, status="canceled", canceled_at=at, updated_at=at)
        return self._update("canceled", canceled, at)

    def pend_cancel(self, order: VenueOrder, at: datetime) -> Update:
        """Take a cancel on and let the order work for now; no rule does so by itself."""
        pending = replace(order, status="pending_cancel", updated_at=at)
        return self._update("pending_cancel", pending, at)

    def replace(self, order: VenueOrder, at: datetime) -> Update:
        """End an order in whose place another works; no rule does so by itself."""
        return self._update("replaced", replace(order, status="replaced", updated_at=at), at)

    def expire(self, order: VenueOrder, at: datetime) -> Update:
        """End a day order at its session's close."""
        expired = replace(order, status="expired", expired_at=at, updated_at=at)
        return self._update("expired", expired, at)

    def reject(self, order: VenueOrder, at: datetime) -> Update:
        """Reject an order after it was taken on; no rule does so by itself."""
        rejected = replace(order, status="rejected", failed_at=at, updated_at=at)
        return self._update("rejected", rejected, at)

    def fill(self, order: VenueOrder, *, price: Money, qty: int, at: datetime) -> Update:
        """Fill `qty` shares of an open order; moves cash and position, tells fill or partial."""
        if not order.is_open or not 0 < qty <= order.remaining:
            raise ValueError(f"{order.id}: {qty} of {order.remaining} shares, {order.status}")
        filled = order.filled_qty + qty
        done = filled == order.qty
        order = replace(
            order,
            filled_qty=filled,
            filled_cost=order.filled_cost + qty * price,
            status="filled" if done else "partially_filled",
            filled_at=at if done else order.filled_at,
            reserved=order.reserved * (order.qty - filled) // (order.remaining or 1),
            updated_at=at,
        )
        self._settle(order, price, qty)
        update = self._update(
            "fill" if done else "partial_fill",
            order,
            at,
            price=price,
            qty=qty,
            position_qty=self.qty(order.symbol),
        )
        self.fills.append(update)
        return update

    def _settle(self, order: VenueOrder, price: Money, qty: int) -> None:
        symbol = order.symbol
        position = self.positions.get(symbol) or VenuePosition(symbol, 0, 0)
        if order.side == "buy":
            self.cash -= qty * price
            position = VenuePosition(symbol, position.qty + qty, position.cost + qty * price)
        else:
            self.cash += qty * price
            left = position.qty - qty
            position = VenuePosition(symbol, left, position.cost * left // position.qty)
        if position.qty:
            self.positions[symbol] = position
        else:
            del self.positions[symbol]


def _cost_basis(ticket: Ticket, last_trade: Money | None) -> Money:
    """Return what a buy reserves: limit times shares; a market buy the last trade and 4 %."""
    if ticket.side == "sell":
        return 0
    if ticket.limit is not None:
        return ticket.qty * ticket.limit
    return ticket.qty * (last_trade or 0) * (100 + MARKET_BUY_MARGIN_PERCENT) // 100


def newest_first(orders: Iterable[VenueOrder]) -> list[VenueOrder]:
    """Return the orders, the last submitted first."""
    return sorted(orders, key=lambda order: order.submitted_ns, reverse=True)
