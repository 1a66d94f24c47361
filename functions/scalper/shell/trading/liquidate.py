"""The liquidation: from five minutes before the close, cancel and sell until all is flat.

The broker's orders are enough for it, so it works without the state table, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from scalper.core.model import LiquidationDue, Phase, Rules
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
"""How often one invocation looks whether its cancels have taken effect."""

CANCEL_POLL_S = 0.2
"""Seconds before the first look. Each further wait is twice as long."""


def liquidate(engine: Engine, at: datetime) -> Answer:
    """Cancel the working orders, and sell at market what this system bought.

    If the state table is down, the broker's orders of the day are enough. At or after the close
    the function sends nothing, and says what is left. It compares the closed orders with what
    was settled, so it finds a correction without an event. Raises BrokerError if the day's orders
    cannot be read, after it has liquidated the symbols of the table.
    """
    session = engine.session(new_york_day(at))
    if session is not None and (now := engine.now()) >= session.close:
        # The event was delivered again, after the close or on another day: go by the present time.
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
        # The symbols of the table are done. Lambda's next try reads the list for the others.
        raise unread
    return {"status": "ok", "flat": not unsold, "left": unsold}


def _read_orders(
    engine: Engine, session: Session
) -> tuple[Sequence[OrderReport] | None, BrokerError | None]:
    """Return the day's orders, or the error of the request. Raises UnauthorizedError."""
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
    """Liquidate before the close; at the close and after it, only reconcile."""
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
    """Take each symbol one step closer to flat, and wait for the cancels to take effect.

    `orders` are the day's, if the caller has listed them after the states were read.
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
    listed = None if opened is None else by_client_order_id(opened, orders)
    rules = engine.rules(session, None)

    def step(stored: Stored) -> Stored:
        symbol = stored.state.symbol
        if listed is not None:
            stored = reconcile(engine, stored, listed, at, rules)
        due = LiquidationDue(symbol=symbol, at=at)
        if positions is not None:
            held = positions.get(symbol, NOTHING)
            due = replace(due, position=held.qty, free=held.free)
        return engine.drive(stored, due, rules, orders)

    stepped = for_each(engine, pending, step)
    return _wait_for_cancels(engine, session, stepped, at, rules)


def _wait_for_cancels(
    engine: Engine, session: Session, states: dict[str, Stored], at: datetime, rules: Rules
) -> dict[str, Stored]:
    """Reconcile the canceled orders until all are closed, or until the polls are used up.

    All symbols share each wait, so it takes as long for hundreds as for one.
    """
    for attempt in range(CANCEL_POLLS):
        canceled = {
            symbol: one
            for symbol, one in states.items()
            if one.state.order is not None and one.state.order.cancel_at is not None
        }
        if not canceled:
            break
        engine.timing.sleep(CANCEL_POLL_S * 2**attempt)
        orders = read_day_orders_if_many(engine, session, canceled)
        if orders is None and are_many(canceled):
            # Without the list, each order needs a request of its own: too many.
            continue
        listed = by_client_order_id({}, orders)
        states |= reconcile_each(engine, canceled, listed, at, rules)
    return states
