"""What holds at the end of a day, by the exchange's books and the table's items alone.

Amounts are ten-thousandths of a dollar, compared exactly.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import ClientOrderId, Purpose
from scalper.core.pricing import DOLLAR, Money
from workbench.exchange.ledger import Book, Order

SETTLED_PHASES = frozenset({Phase.DONE, Phase.TO_BUY})

CAUSELESS = frozenset(
    {
        Reason.UNKNOWN_ORDER,
        Reason.LATE_ORDER,
        Reason.SOLD_ELSEWHERE,
        Reason.CORRECTED_FILL,
        Reason.REPLACED_ORDER,
    }
)
"""Halts over what the weather never does: nobody else trades here, no fill is taken back, and no
order lands after it may be given up. Where one is seen, the order path itself lost its way."""


def violations(
    book: Book,
    states: Mapping[str, SymbolState],
    closed_days: Sequence[Mapping[str, Any]],
    *,
    symbols: Sequence[str],
    cash_before: Money,
) -> Iterator[str]:
    """Yield a line for each thing that does not hold; a day that ended well has none."""
    for position in book.positions.values():
        yield f"I5 not flat: {position.qty} {position.symbol}"
    for order in book.open_orders():
        yield f"I5 not flat: {order.client_order_id} is {order.status}"
    for symbol in symbols:
        state = states.get(symbol)
        if state is None:
            yield f"I4 {symbol} has no item that can be read"
        else:
            yield from _of_symbol(book, state)
    earned = book.cash - cash_before
    yield from _of_summary(book, closed_days, earned)


def halts_without_cause(states: Mapping[str, SymbolState]) -> Iterator[str]:
    """Yield a line for each symbol that is halted over what never happened."""
    for state in states.values():
        if state.halt in CAUSELESS:
            yield f"I4 {state.symbol} is halted: {state.halt}"


def sales(book: Book, symbol: str | None = None) -> int:
    """Return how many sells filled, in full or in part: the number of trades."""
    return sum(
        order.side == "sell" and order.filled_qty > 0 and symbol in (None, order.symbol)
        for order in book.orders.values()
    )


def _of_symbol(book: Book, state: SymbolState) -> Iterator[str]:
    """Yield what of a symbol's item is not as the exchange's orders say."""
    symbol = state.symbol
    if state.phase not in SETTLED_PHASES or not state.is_flat:
        yield f"I4 {symbol} ends in {state.phase} with {state.qty} shares"
    orders = _by_generation(book, symbol)
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
    entries = sum(_is_entry(order) and order.filled_qty > 0 for order in orders.values())
    if state.entries != entries:
        yield f"I4 {symbol}: {state.entries} entries in the item, {entries} at the exchange"
    if state.trades != sales(book, symbol):
        yield f"I4 {symbol}: {state.trades} trades in the item, {sales(book, symbol)} made"
    if state.pnl != _earned(book, symbol):
        yield f"P&L of {symbol}: {state.pnl} in the item, {_earned(book, symbol)} at the exchange"


def _of_summary(
    book: Book, closed_days: Sequence[Mapping[str, Any]], earned: Money
) -> Iterator[str]:
    """Yield what of the day's summary is not as the exchange's books say."""
    if not closed_days:
        yield "the day was not closed"
        return
    summary = closed_days[-1]
    if summary.get("flat") is not True:
        yield f"the summary says that the day is not flat: {dict(summary)}"
    if round(float(summary["pnl_usd"]) * DOLLAR) != earned:
        yield f"P&L: {summary['pnl_usd']} in the summary, {earned / DOLLAR} at the exchange"
    if summary["trades"] != sales(book):
        yield f"trades: {summary['trades']} in the summary, {sales(book)} at the exchange"


def _by_generation(book: Book, symbol: str) -> dict[int, Order]:
    found = {}
    for order in book.orders.values():
        name = ClientOrderId.parse(order.client_order_id)
        if name is not None and name.symbol == symbol:
            found[name.generation] = order
    return found


def _is_entry(order: Order) -> bool:
    name = ClientOrderId.parse(order.client_order_id)
    return name is not None and name.purpose is Purpose.ENTRY


def _earned(book: Book, symbol: str) -> Money:
    """Return what the executions of a symbol brought in less what they cost."""
    signs = {"sell": 1, "buy": -1}
    amounts = Counter[str]()
    for fill in book.fills:
        amounts[fill.order.symbol] += signs[fill.order.side] * (fill.price or 0) * (fill.qty or 0)
    return amounts[symbol]
