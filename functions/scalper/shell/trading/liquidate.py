"""The liquidation: flat five minutes before the close."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from scalper.core.order import OrderReport
from scalper.core.session import MINUTE, Session, new_york_day
from scalper.shell.errors import BrokerError, UnauthorizedError
from scalper.shell.memory_store import LastResortStore
from scalper.shell.metrics import Metric
from scalper.shell.ports import Stored
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.batch import Answer, failed, for_each, liquidate_states, reconcile_all
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.own_orders import own_reports


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
    states |= engine.recover(set(own) - set(states), session, at, own)
    rules = engine.rules(session, None)
    states |= for_each(
        engine,
        states,
        lambda one: engine.reconcile_listed(one, own.get(one.state.symbol, ()), at, rules),
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
