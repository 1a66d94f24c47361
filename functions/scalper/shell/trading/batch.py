"""What several passes do: over all symbols side by side, one symbol's failure stops only it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from scalper.core.model import LiquidationDue, Phase, Rules, SymbolState
from scalper.core.order import OrderReport
from scalper.core.session import Session
from scalper.shell.errors import BrokerError, ScalperError, StoreError
from scalper.shell.metrics import Metric
from scalper.shell.ports import NOTHING, Position, Stored, SymbolRules
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.engine import Engine

CHECKUP_DELAY_S = 30
CANCEL_POLLS = 5
CANCEL_POLL_S = 0.2
MANY = 20
"""Symbols in question from which on the day's orders are listed rather than asked for one by one:
an account has 200 requests a minute, and hundreds of positions would not be sold by the close."""

MAX_REFUSED_LINES = 20
"""Lines of refused rows in one tick's log; all of them are counted."""

Answer = dict[str, Any]


def liquidate_states(
    engine: Engine,
    session: Session,
    states: Mapping[str, Stored],
    at: datetime,
    orders: Sequence[OrderReport] | None = None,
) -> dict[str, Stored]:
    """Take each symbol one step closer to flat, and wait a little for cancels to take effect.

    The wait is one for all symbols, so that it is as long for hundreds as for one. `orders` are the
    day's where the caller has them, listed after the states were read.
    """
    pending = {
        symbol: one
        for symbol, one in states.items()
        if one.state.phase is not Phase.DONE or is_active(one.state)
    }
    answers: list[Any] = engine.fan_out(
        [lambda: read_open_orders(engine, pending), lambda: read_positions(engine, pending)]
    )
    opened, positions = answers
    if not _are_many(pending):
        orders = None
    elif orders is None:
        orders = read_day_orders_if_many(engine, session, pending)
    told = None if opened is None else by_client_order_id(opened, orders)
    rules = engine.rules(session, None)

    def step(stored: Stored) -> Stored:
        symbol = stored.state.symbol
        if told is not None:
            stored = engine.reconcile(stored, told, at, rules)
        due = LiquidationDue(symbol=symbol, at=at)
        if positions is not None:
            held = positions.get(symbol, NOTHING)
            due = replace(due, position=held.qty, free=held.free)
        return engine.drive(stored, due, rules, orders)

    stepped = for_each(engine, pending, step)
    for attempt in range(CANCEL_POLLS):
        canceled = {
            symbol: one
            for symbol, one in stepped.items()
            if one.state.order is not None and one.state.order.cancel_at is not None
        }
        if not canceled:
            break
        engine.timing.sleep(CANCEL_POLL_S * 2**attempt)
        orders = read_day_orders_if_many(engine, session, canceled)
        if orders is None and _are_many(canceled):
            # Without the list each would be a request, which nothing may be left for.
            continue
        join = partial(_reconciled, engine, by_client_order_id({}, orders), at, rules)
        stepped |= for_each(engine, canceled, join)
    return stepped


def _reconciled(
    engine: Engine,
    told: Mapping[str, OrderReport],
    at: datetime,
    rules: Rules,
    stored: Stored,
) -> Stored:
    return engine.reconcile(stored, told, at, rules)


def reconcile_all(
    engine: Engine, session: Session, states: Mapping[str, Stored], at: datetime
) -> dict[str, Stored]:
    """Join what the broker says of every working order, and decide nothing else."""
    opened = read_open_orders(engine, states)
    if opened is None:
        return {}
    told = by_client_order_id(opened, read_day_orders_if_many(engine, session, states, opened))
    rules = engine.rules(session, None)
    return for_each(engine, states, partial(_reconciled, engine, told, at, rules))


def for_each(
    engine: Engine, states: Mapping[str, Stored], task: Callable[[Stored], Stored]
) -> dict[str, Stored]:
    """Run a task for each symbol side by side; one that fails keeps the state it had.

    What is held or works comes first: where requests are scarce, exits go before entries.
    """
    items = sorted(states.items(), key=lambda item: item[1].state.is_flat)
    results = engine.fan_out(
        [partial(engine.isolate, symbol, partial(task, one)) for symbol, one in items]
    )
    return {s: result or one for (s, one), result in zip(items, results, strict=True)}


def read_open_orders(
    engine: Engine, states: Mapping[str, Stored], *, entering: bool = False
) -> Mapping[str, OrderReport] | None:
    """Return the open orders, by one request and only where one is in question; None: no answer.

    Where something may be entered, anybody's order is in question.
    """
    if not entering and not any(one.state.order or one.state.abandoned for one in states.values()):
        return {}
    try:
        return engine.open_orders()
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
    return orders_of_day(engine, session) if _are_many(states, opened) else None


def orders_of_day(engine: Engine, session: Session) -> Sequence[OrderReport] | None:
    """Return every order of the day; None: no answer."""
    try:
        return engine.orders_of_day(session)
    except BrokerError as error:
        failed("orders of the day", error)
        return None


def _are_many(
    states: Mapping[str, Stored], opened: Mapping[str, OrderReport] | None = None
) -> bool:
    """Whether so many symbols' orders would be asked for that a list of them all is cheaper."""
    asked_for = [
        one.state
        for one in states.values()
        if one.state.phase is Phase.TO_SELL
        or (one.state.order is not None and one.state.order.client_order_id not in (opened or {}))
    ]
    return len(asked_for) > MANY


def by_client_order_id(
    opened: Mapping[str, OrderReport], orders: Sequence[OrderReport] | None
) -> Mapping[str, OrderReport]:
    """Return what the open orders and, where they were listed, the day's tell, by client id.

    A replaced one is left out: it, or what works in its place, is asked for.
    """
    return {**opened, **{o.client_order_id: o for o in orders or () if o.status != "replaced"}}


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
