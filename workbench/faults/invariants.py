"""What must hold whatever goes wrong: pure checks of states against the exchange's ledger.

I1: never two live orders of one symbol. I2: never an entry above the lot, or on top of a position.
I3: never short. I4: never an order or a share that the states do not know. I5: flat at the end of
the day, with the profit that the ledger shows.

Each check yields one line for each thing that does not hold. Shares are whole, amounts are
ten-thousandths of a dollar, compared exactly.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scalper.core.model import Phase, SymbolState
from scalper.core.order import ClientOrderId, Purpose
from scalper.core.pricing import DOLLAR, Money
from workbench.exchange.ledger import VenueOrder

END_PHASES = frozenset({Phase.DONE, Phase.TO_BUY})
"""The phases in which a symbol may end its day."""


@dataclass(frozen=True, slots=True)
class OwnOrder:
    """An order of this system with all that the exchange put in its place."""

    name: ClientOrderId
    chain: tuple[VenueOrder, ...]
    """The order itself, then its successors in turn."""

    @property
    def client_order_id(self) -> str:
        """Return the id under which this system knows the order."""
        return self.chain[0].client_order_id

    @property
    def is_sell(self) -> bool:
        """Return whether the order sells."""
        return self.chain[0].side == "sell"

    @property
    def filled_qty(self) -> int:
        """Return the shares that filled."""
        return sum(one.filled_qty for one in self.chain)

    @property
    def earned(self) -> Money:
        """Return what the fills of a sell brought in; of a buy what they cost, below zero."""
        cost = sum(one.filled_cost for one in self.chain)
        return cost if self.is_sell else -cost


OwnOrders = Mapping[int, OwnOrder]
"""The orders of one symbol, by generation."""


def own_orders_by_generation(
    orders: Mapping[str, VenueOrder], successors: Mapping[str, str] | None = None
) -> dict[str, dict[int, OwnOrder]]:
    """Return this system's orders by symbol and generation; external ones are left out.

    `orders` are all of the ledger, by the broker's id. `successors` names the order in a replaced
    order's place, both by the broker's id.
    """
    found: dict[str, dict[int, OwnOrder]] = {}
    for order in orders.values():
        name = ClientOrderId.parse(order.client_order_id)
        if name is not None:
            chain = chain_of(order, orders, successors or {})
            found.setdefault(name.symbol, {})[name.generation] = OwnOrder(name, chain)
    return found


def chain_of(
    order: VenueOrder, orders: Mapping[str, VenueOrder], successors: Mapping[str, str]
) -> tuple[VenueOrder, ...]:
    """Return an order and those that the exchange put in its place, in turn."""
    chain = [order]
    while chain[-1].id in successors:
        chain.append(orders[successors[chain[-1].id]])
    return tuple(chain)


def count_trades(orders: Iterable[OwnOrder]) -> int:
    """Return how many sells filled, in full or in part: the number of trades."""
    return sum(order.is_sell and order.filled_qty > 0 for order in orders)


# As the exchange takes an order, and as one fills ----------------------------------------------


def at_landing(order: VenueOrder, *, live: Collection[str], held: int, lot: Money) -> Iterator[str]:
    """Yield what does not hold as the exchange takes an order: I1, I2, I3.

    `live` are the client ids of this system's open orders of the symbol, this one among them;
    `held` the shares of this system, and `lot` the most that an entry may cost.
    """
    said = order.client_order_id
    name = ClientOrderId.parse(said)
    if name is None:
        yield f"an id that is not this system's: {said}"
        return
    is_entry = name.purpose is Purpose.ENTRY
    if (order.side == "buy") is not is_entry:
        yield f"a {order.side} for {name.purpose}: {said}"
    if len(live) > 1:
        yield f"I1 two live orders of one symbol: {', '.join(live)}"
    if is_entry and order.qty * (order.limit or 0) > lot:
        yield f"I2 an entry above the lot: {said}"
    if is_entry and held > 0:
        yield f"I2 an entry on top of a position: {said}"
    if order.side == "sell" and order.qty > held:
        yield f"I3 sells more than is held: {said}"


def at_fill(symbol: str, held: int) -> Iterator[str]:
    """Yield what does not hold after a fill: I3. `held` are the shares of this system."""
    if held < 0:
        yield f"I3 short: {held} {symbol}"


def at_write(state: SymbolState, live: Iterable[str]) -> Iterator[str]:
    """Yield each live order that a state does not know: I4. `live` are client ids."""
    known = {*state.abandoned, state.order.client_order_id if state.order else ""}
    for client_order_id in live:
        if client_order_id not in known:
            yield f"I4 {client_order_id} is live, the item knows {sorted(known - {''})}"


# At the end of the day -------------------------------------------------------------------------


def account_at_end(held: Mapping[str, int], open_orders: Iterable[VenueOrder]) -> Iterator[str]:
    """Yield what is not flat: I5. `held` are this system's shares, by symbol."""
    for symbol, qty in held.items():
        if qty:
            yield f"I5 not flat: {qty} {symbol}"
    for order in open_orders:
        yield f"I5 not flat: {order.client_order_id} is {order.status}"


def symbol_at_end(
    symbol: str, state: SymbolState | None, orders: OwnOrders, *, has_manual_sale: bool = False
) -> Iterator[str]:
    """Yield what of a symbol's state is not as the exchange's orders say: I4, I5 and the profit.

    `state` is None where the table has no item that can be read. The profit is not compared if
    somebody sold shares of this system by hand (`has_manual_sale`): the ledger cannot tell it.
    """
    if state is None:
        yield f"I4 {symbol} has no item that can be read"
        return
    if state.phase not in END_PHASES or not state.is_flat:
        yield f"I4 {symbol} ends in {state.phase} with {state.qty} shares"
    if max(orders, default=0) > state.generation:
        yield f"I4 {symbol}: the exchange has order {max(orders)}, the item {state.generation}"
    if len(state.settled) != state.generation:
        yield f"I4 {symbol}: {len(state.settled)} of {state.generation} orders are settled"
    for generation, settled in enumerate(state.settled, start=1):
        order = orders.get(generation)
        filled = order.filled_qty if order else 0
        if settled != filled:
            name = order.client_order_id if order else f"order {generation} of {symbol}"
            yield f"I4 {name}: {settled} shares in the item, {filled} at the exchange"
    entries = sum(not order.is_sell and order.filled_qty > 0 for order in orders.values())
    if state.entries != entries:
        yield f"I4 {symbol}: {state.entries} entries in the item, {entries} at the exchange"
    trades = count_trades(orders.values())
    if state.trades != trades:
        yield f"I4 {symbol}: {state.trades} trades in the item, {trades} made"
    earned = sum(order.earned for order in orders.values())
    if state.pnl != earned and not has_manual_sale:
        yield f"P&L of {symbol}: {state.pnl} in the item, {earned} at the exchange"


def summary_at_end(
    summary: Mapping[str, Any] | None, *, trades: int, pnl: Money | None
) -> Iterator[str]:
    """Yield what of the day's summary is not as the ledger says; `summary` is None without one.

    `pnl` is None if the ledger cannot tell the profit.
    """
    if summary is None:
        yield "the day was not closed"
        return
    if summary.get("flat") is not True:
        yield f"the summary says that the day is not flat: {dict(summary)}"
    if summary.get("mismatches"):
        yield f"the summary says that fills disagree: {summary['mismatches']}"
    if pnl is not None and round(float(summary["pnl_usd"]) * DOLLAR) != pnl:
        yield f"P&L: {summary['pnl_usd']} in the summary, {pnl / DOLLAR} at the exchange"
    if summary["trades"] != trades:
        yield f"trades: {summary['trades']} in the summary, {trades} at the exchange"
