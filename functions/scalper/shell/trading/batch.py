"""A batch: all symbols of one invocation, side by side; a failure stops only its own symbol.

The lists that a batch needs are read here, each by one request.
"""

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
"""Seconds from a tick or a trade update to its checkup."""

MANY = 20
"""Above this many symbols, fetch the day's orders in one list.

Alpaca allows 200 requests a minute. With a request for each order, hundreds of positions would not
be sold by the close."""

MAX_REFUSED_LINES = 20
"""Lines in one invocation's log about refused rows. The metric counts every refused row."""

Answer = dict[str, Any]

T = TypeVar("T")


def for_each(
    engine: Engine, states: Mapping[str, Stored], task: Callable[[Stored], Stored]
) -> dict[str, Stored]:
    """Run a task for each symbol side by side; a symbol whose task fails keeps its state."""
    return {**states, **run_each(engine, states, task)}


def run_each(
    engine: Engine, states: Mapping[str, Stored], task: Callable[[Stored], T]
) -> dict[str, T]:
    """Run a task for each symbol side by side; return the results of the tasks that succeeded.

    Symbols with shares or a working order come first: if requests are scarce, exits go before
    entries.
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
    """Return the account's open orders by client id, by one request; None if unanswered.

    If no state has an order and nothing may be entered, nobody needs them: {} without a request.
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
    """Return the day's orders if many states need a request; None otherwise, or if unanswered.

    A state needs one if `opened` lacks its order, or if an order of ours may have sold its shares.
    """
    return orders_of_day(engine, session) if are_many(states, opened) else None


def orders_of_day(engine: Engine, session: Session) -> Sequence[OrderReport] | None:
    """Return every order of the day, None if unanswered."""
    try:
        return engine.orders_of_day(session)
    except BrokerError as error:
        failed("orders of the day", error)
        return None


def are_many(states: Mapping[str, Stored], opened: Mapping[str, OrderReport] | None = None) -> bool:
    """Return whether so many states need a request that one list of the day's orders is better."""
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
    """Return the broker's positions by symbol; None if unanswered, or if nobody needs them."""
    if not entering and all(one.state.is_flat for one in states.values()):
        return None
    try:
        return engine.broker.positions()
    except BrokerError as error:
        failed("positions", error)
        return None


def read_rows(engine: Engine) -> Mapping[str, SymbolRules]:
    """Return the valid rows of the symbols table; none if it cannot be read: exits need none."""
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
    """Return whether a symbol holds shares, or has an order that works or is watched."""
    return not state.is_flat or bool(state.abandoned)


def failed(what: str, error: ScalperError) -> Answer:
    """Log and count a failed request; return the answer of the invocation, if it ends here."""
    count(Metric.STORE_ERRORS if isinstance(error, StoreError) else Metric.BROKER_ERRORS)
    logger.error("request failed", extra={"what": what, "error": str(error)})
    return {"status": "failed", "what": what, "error": str(error)}
