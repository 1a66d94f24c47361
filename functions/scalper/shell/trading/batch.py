"""What several passes do: over all symbols side by side, one symbol's failure stops only it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from scalper.core.model import Phase, SymbolState
from scalper.core.order import OrderReport
from scalper.core.session import Session
from scalper.shell.errors import BrokerError, ScalperError, StoreError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Position, Stored, SymbolRules
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.engine import Engine

CHECKUP_DELAY_S = 30
MANY = 20
"""Symbols in question from which on the day's orders are listed rather than asked for one by one:
an account has 200 requests a minute, and hundreds of positions would not be sold by the close."""

MAX_REFUSED_LINES = 20
"""Lines of refused rows in one tick's log; all of them are counted."""

Answer = dict[str, Any]

T = TypeVar("T")


def for_each(
    engine: Engine, states: Mapping[str, Stored], task: Callable[[Stored], Stored]
) -> dict[str, Stored]:
    """Run a task for each symbol side by side; one that fails keeps the state it had."""
    return {**states, **run_each(engine, states, task)}


def run_each(
    engine: Engine, states: Mapping[str, Stored], task: Callable[[Stored], T]
) -> dict[str, T]:
    """Run a task for each symbol side by side; return what the tasks that did not fail returned.

    What is held or works comes first: where requests are scarce, exits go before entries.
    """
    items = sorted(states.items(), key=lambda item: item[1].state.is_flat)
    results = engine.fan_out(
        [partial(engine.isolate, symbol, partial(task, one)) for symbol, one in items]
    )
    done = zip(items, results, strict=True)
    return {symbol: result for (symbol, _), result in done if result is not None}


def read_open_orders(
    engine: Engine, states: Mapping[str, Stored], *, entering: bool = False
) -> Mapping[str, OrderReport] | None:
    """Return the open orders, by one request and only where one is in question; None: no answer.

    Where something may be entered, anybody's order is in question.
    """
    if not entering and not any(one.state.order or one.state.abandoned for one in states.values()):
        return {}
    try:
        return {one.client_order_id: one for one in engine.broker.open_orders()}
    except BrokerError as error:
        failed("open orders", error)
        return None


def read_day_orders_if_many(
    engine: Engine,
    session: Session,
    states: Mapping[str, Stored],
    opened: Mapping[str, OrderReport] | None = None,
) -> Sequence[OrderReport] | None:
    """Return the day's orders where many of the states' would be asked for; else, or unread, None.

    Asked for are orders that `opened` lacks, and those that may have sold shares that rest.
    """
    return orders_of_day(engine, session) if are_many(states, opened) else None


def orders_of_day(engine: Engine, session: Session) -> Sequence[OrderReport] | None:
    """Return every order of the day; None: no answer."""
    try:
        return engine.orders_of_day(session)
    except BrokerError as error:
        failed("orders of the day", error)
        return None


def are_many(states: Mapping[str, Stored], opened: Mapping[str, OrderReport] | None = None) -> bool:
    """Whether so many symbols' orders would be asked for that a list of them all is cheaper."""
    asked_for = [
        one.state
        for one in states.values()
        if one.state.phase is Phase.TO_SELL
        or (one.state.order is not None and one.state.order.client_order_id not in (opened or {}))
    ]
    return len(asked_for) > MANY


def read_positions(
    engine: Engine, states: Mapping[str, Stored], *, entering: bool = False
) -> Mapping[str, Position] | None:
    """Return the broker's shares by symbol; None: unknown, or nothing hangs on them."""
    if not entering and all(one.state.is_flat for one in states.values()):
        return None
    try:
        return engine.broker.positions()
    except BrokerError as error:
        failed("positions", error)
        return None


def read_rows(engine: Engine) -> Mapping[str, SymbolRules]:
    """Return the rows of the symbols table that make sense; exits need none of them."""
    try:
        rows, refused = engine.symbols.read()
    except StoreError as error:
        failed("symbols", error)
        return {}
    count(Metric.SYMBOLS_REFUSED, len(refused))
    for line in refused[:MAX_REFUSED_LINES]:
        logger.warning("symbol refused", extra={"error": line})
    return rows


def is_active(state: SymbolState) -> bool:
    """Whether an order works or is in doubt, or a refused exit rests."""
    return not state.is_flat or bool(state.abandoned)


def failed(what: str, error: ScalperError) -> Answer:
    """Log and count a request that failed as a whole; the next pass tries again."""
    count(Metric.STORE_ERRORS if isinstance(error, StoreError) else Metric.BROKER_ERRORS)
    logger.error("request failed", extra={"what": what, "error": str(error)})
    return {"status": "failed", "what": what, "error": str(error)}
