"""Builders with defaults: one symbol on one day, and the events and orders that it meets.

Times are New York wall-clock texts, prices are dollars as text.
"""

from dataclasses import replace
from datetime import date, datetime
from typing import Any

from scalper.core.machine import step
from scalper.core.model import (
    BarClosed,
    CheckupDue,
    Event,
    LiquidationDue,
    OrderSeen,
    Rules,
    SymbolState,
)
from scalper.core.order import ClientOrderId, Order, OrderReport, Progress, Purpose
from scalper.core.pricing import Money, money, notional
from scalper.core.session import Session, to_utc

SYMBOL = "TSLA"
DAY = date(2026, 7, 1)
SESSION = Session.of(DAY, "09:30", "16:00")
LOT = money(2000)


def at(clock: str) -> datetime:
    """Return a wall-clock time of the day, such as "10:00" or "10:00:30.5"."""
    return to_utc(DAY, clock)


def rules(**changes: Any) -> Rules:
    return replace(Rules(session=SESSION, mode="paper", lot=LOT), **changes)


RULES = rules()


def state(**changes: Any) -> SymbolState:
    """Return a fresh state of the day, changed."""
    return replace(SymbolState(symbol=SYMBOL, session=DAY), **changes)


def client_id(generation: int = 1, purpose: Purpose = Purpose.ENTRY) -> str:
    return str(ClientOrderId("paper", SYMBOL, DAY, generation, purpose))


def order(
    generation: int = 1,
    purpose: Purpose = Purpose.ENTRY,
    qty: int = 20,
    limit: str | None = "100.00",
    submitted: str = "10:00",
    **changes: Any,
) -> Order:
    """Return an order as it is first made, an intent, changed."""
    made = Order(
        client_order_id=client_id(generation, purpose),
        purpose=purpose,
        qty=qty,
        limit=None if limit is None else money(limit),
        submitted_at=at(submitted),
    )
    return replace(made, **changes)


def report(
    generation: int,
    purpose: Purpose,
    status: str,
    filled: int = 0,
    price: str = "100.00",
    stamp: str | None = None,
    **changes: Any,
) -> OrderReport:
    """Return a report of an order of ours; `filled` shares at an average `price`."""
    said = OrderReport(
        client_order_id=client_id(generation, purpose),
        status=status,
        symbol=SYMBOL,
        filled_qty=filled,
        filled_value=notional(filled, price),
        updated_at=None if stamp is None else at(stamp),
        broker_id=f"broker-{generation}",
    )
    return replace(said, **changes)


def seen(
    clock: str,
    generation: int,
    purpose: Purpose,
    status: str,
    filled: int = 0,
    price: str = "100.00",
    *,
    last_trade: str | None = None,
    other_order_open: bool = False,
    **changes: Any,
) -> OrderSeen:
    """Return the event of a report whose time stamp is the time of the event."""
    said = report(generation, purpose, status, filled, price, clock)
    return OrderSeen(
        symbol=SYMBOL,
        at=at(clock),
        report=replace(said, **changes),
        last_trade=None if last_trade is None else money(last_trade),
        other_order_open=other_order_open,
    )


def bar_closed(clock: str, close: str | None = "100.00", *, signal: bool = False) -> BarClosed:
    price: Money | None = None if close is None else money(close)
    return BarClosed(symbol=SYMBOL, at=at(clock), close=price, signal=signal)


def checkup(clock: str, position: int | None = None, free: int | None = None) -> CheckupDue:
    return CheckupDue(symbol=SYMBOL, at=at(clock), position=position, free=free)


def liquidation(clock: str, position: int | None = None, free: int | None = None) -> LiquidationDue:
    return LiquidationDue(symbol=SYMBOL, at=at(clock), position=position, free=free)


def after(before: SymbolState, *history: Event, by: Rules = RULES) -> SymbolState:
    """Return the state that a history of events leads to."""
    for event in history:
        before = step(before, event, by).state
    return before


def reported(before: SymbolState, event: OrderSeen, **changes: Any) -> Order:
    """Return the working order of `before` with the first or newest report written onto it."""
    assert before.order is not None
    said = event.report
    return replace(
        before.order,
        **{
            "progress": Progress.LIVE,
            "status": said.status,
            "filled_qty": said.filled_qty,
            "filled_value": said.filled_value,
            "updated_at": said.updated_at,
            "broker_id": said.broker_id,
            **changes,
        },
    )
