"""The liquidation: flat five minutes before the close."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from scalper.core.model import LiquidationDue, Phase
from scalper.core.order import OrderReport
from scalper.core.session import MINUTE, Session, new_york_day
from scalper.shell.errors import BrokerError, UnauthorizedError
from scalper.shell.memory_store import LastResortStore
from scalper.shell.metrics import Metric
from scalper.shell.ports import NOTHING, Stored
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.batch import (
    Answer,
    are_many,
    failed,
    for_each,
    is_active,
    read_day_orders_if_many,
    read_open_orders,
    read_positions,
)
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.own_orders import own_reports
from scalper.shell.trading.reconciliation import (
    by_client_order_id,
    reconcile,
    reconcile_all,
    reconcile_each,
    reconcile_listed,
    recover,
)

CANCEL_POLLS = 5
CANCEL_POLL_S = 0.2


def liquidate(engine: Engine, at: datetime) -> Answer:
    """Cancel what works, sell what this system bought; five minutes before the close and after.

    Works from the broker's orders alone where the state table is down. At or after the close
    it sends nothing and says what is left. What the broker says of orders that are over is compared
    with what was settled, so that a fill taken back is found without any event. Raises BrokerError
    where the day's orders cannot be read, once the symbols of the table are done.
    """
    session = engine.session(new_york_day(at))
    if session is not None and (now := engine.now()) >= session.close:
        # Delivered again after the close, or on another day: the time that counts is now.
        at = max(at, now)
        session = engine.session(new_york_day(at))
    if session is None or at < session.liquidate_at:
        return {"status": "not due", "flat": None}
    engine = replace(engine, store=LastResortStore(engine.store))
    states = engine.states(session)
    orders, unread = _read_orders(engine, session)
    if unread is not None and not states:
        raise unread
    own = own_reports(orders or (), engine.settings.mode)
    states |= recover(engine, set(own) - set(states), session, at, own)
    rules = engine.rules(session, None)
    states |= for_each(
        engine,
        states,
        lambda one: reconcile_listed(engine, one, own.get(one.state.symbol, ()), at, rules),
    )
    states |= _finish(engine, session, states, at, orders)
    unsold = sorted(s for s, one in states.items() if not one.state.is_flat)
    if unsold and at >= session.close - MINUTE:
        count(Metric.NOT_FLAT)
        logger.error("not flat", extra={"symbols": unsold})
    if unread is not None:
        # What the table tells was done; what it does not needs the list, by the next try.
        raise unread
    return {"status": "ok", "flat": not unsold, "left": unsold}


def _read_orders(
    engine: Engine, session: Session
) -> tuple[Sequence[OrderReport] | None, BrokerError | None]:
    """Return the day's orders, or why they cannot be read. Raises UnauthorizedError."""
    try:
        return engine.orders_of_day(session), None
    except UnauthorizedError:
        raise
    except BrokerError as error:
        failed("orders of the day", error)
        return None, error


def _finish(
    engine: Engine,
    session: Session,
    states: Mapping[str, Stored],
    at: datetime,
    orders: Sequence[OrderReport] | None,
) -> dict[str, Stored]:
    """Liquidate before the close; from then on only see what became of it."""
    if at < session.close:
        return liquidate_states(engine, session, states, at, orders)
    return reconcile_all(engine, session, states, at)


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
    if not are_many(pending):
        orders = None
    elif orders is None:
        orders = read_day_orders_if_many(engine, session, pending)
    told = None if opened is None else by_client_order_id(opened, orders)
    rules = engine.rules(session, None)

    def step(stored: Stored) -> Stored:
        symbol = stored.state.symbol
        if told is not None:
            stored = reconcile(engine, stored, told, at, rules)
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
        if orders is None and are_many(canceled):
            # Without the list each would be a request, which nothing may be left for.
            continue
        listed = by_client_order_id({}, orders)
        stepped |= reconcile_each(engine, canceled, listed, at, rules)
    return stepped
