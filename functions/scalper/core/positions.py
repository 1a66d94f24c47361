"""What a sale does to the shares held: their quantity, their cost, the profit and the trades.

This is the only place that books a sale. Money is in whole ten-thousandths of a dollar, and each
share of it is rounded down, so that parts never add up to more than the whole.
"""

from dataclasses import replace

from scalper.core.model import SymbolState
from scalper.core.pricing import Money


def book_sale(
    state: SymbolState,
    *,
    qty: int,
    order_qty: int,
    order_value: Money,
    is_new_trade: bool = True,
) -> SymbolState:
    """Return the state after `qty` shares of an order that sold `order_qty` for `order_value`.

    At most the shares held are booked: the rest was bought in no order that the state knows, so
    that its cost is unknown. `is_new_trade` is False for an order that counts as a trade already.
    """
    sold = min(qty, state.qty)
    if sold == 0:
        return state
    value = order_value * sold // order_qty
    left = remove_shares(state, sold)
    cost = state.cost - left.cost
    return replace(left, pnl=state.pnl + value - cost, trades=state.trades + is_new_trade)


def remove_shares(state: SymbolState, qty: int) -> SymbolState:
    """Return the state without `qty` of the shares held, and without their share of the cost.

    Takes all shares if fewer than `qty` are held.
    """
    gone = min(qty, state.qty)
    if gone == 0:
        return state
    cost = state.cost * gone // state.qty
    return replace(state, qty=state.qty - gone, cost=state.cost - cost)
