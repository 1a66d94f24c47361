"""The audit of a day: what must hold at its end, by the exchange's ledger and the table's items.

Amounts are ten-thousandths of a dollar, compared exactly.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scalper.core.model import Reason, SymbolState
from scalper.core.pricing import Money
from workbench.exchange.ledger import OrderLedger
from workbench.faults import invariants

CAUSELESS = frozenset(
    {
        Reason.UNKNOWN_ORDER,
        Reason.LATE_ORDER,
        Reason.SOLD_ELSEWHERE,
        Reason.CORRECTED_FILL,
        Reason.REPLACED_ORDER,
    }
)
"""Halts for reasons that no fault here gives: nobody else trades, no fill is taken back, and no
order lands after the core may abandon it. Such a halt means that the order path is wrong."""


def violations(
    ledger: OrderLedger,
    states: Mapping[str, SymbolState],
    closed_days: Sequence[Mapping[str, Any]],
    *,
    symbols: Sequence[str],
    cash_before: Money,
) -> Iterator[str]:
    """Yield a line for each violation; a day that ended well has none."""
    held = {symbol: position.qty for symbol, position in ledger.positions.items()}
    yield from invariants.account_at_end(held, ledger.open_orders())
    own = invariants.own_orders_by_generation(ledger.orders)
    for symbol in symbols:
        yield from invariants.symbol_at_end(symbol, states.get(symbol), own.get(symbol, {}))
    yield from invariants.summary_at_end(
        closed_days[-1] if closed_days else None,
        trades=sales(ledger),
        pnl=ledger.cash - cash_before,
    )


def halts_without_cause(states: Mapping[str, SymbolState]) -> Iterator[str]:
    """Yield a line for each symbol that is halted for something that never happened."""
    for state in states.values():
        if state.halt in CAUSELESS:
            yield f"I4 {state.symbol} is halted: {state.halt}"


def sales(ledger: OrderLedger, symbol: str | None = None) -> int:
    """Return how many sells filled, in full or in part: the number of trades."""
    return invariants.count_trades(
        order
        for own, orders in invariants.own_orders_by_generation(ledger.orders).items()
        for order in orders.values()
        if symbol in (None, own)
    )
