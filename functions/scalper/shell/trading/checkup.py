"""The checkup: 30 seconds after a tick, it reconciles every order that works or is in doubt.

So trading stays correct if no trade update arrives at all.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scalper.core.model import AccountFacts, Phase
from scalper.core.order import Progress
from scalper.core.session import new_york_day
from scalper.shell.ports import Stored, SymbolRules
from scalper.shell.trading.batch import (
    Answer,
    for_each,
    is_active,
    orders_of_day,
    read_day_orders_if_many,
    read_open_orders,
    read_positions,
    read_rows,
)
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.own_orders import checkup_due, confirmed_positions
from scalper.shell.trading.reconciliation import by_client_order_id, reconcile


def checkup(engine: Engine, at: datetime) -> Answer:
    """Reconcile the orders that work or are in doubt, and retry the refused exits."""
    session = engine.session(new_york_day(at))
    if session is None or at >= session.close:
        return {"status": "closed"}
    busy = {s: one for s, one in engine.states(session).items() if is_active(one.state)}
    if not busy:
        return {"status": "ok", "busy": 0}
    resting = {s: one for s, one in busy.items() if one.state.phase is Phase.TO_SELL}
    answers: list[Any] = engine.fan_out(
        [
            lambda: read_open_orders(engine, busy),
            lambda: read_positions(engine, resting),
            lambda: _rows_for(engine, busy),
            engine.store.account_halt,
        ]
    )
    opened, positions, rows, halt = answers
    if opened is None:
        return {"status": "failed", "busy": len(busy)}
    account = AccountFacts(halted=bool(halt))
    orders = read_day_orders_if_many(engine, session, busy, opened)
    listed = by_client_order_id(opened, orders)
    newest = orders_of_day(engine, session) if resting and orders is None else orders
    held = confirmed_positions(resting, positions, newest, at)

    def check(stored: Stored) -> Stored:
        symbol = stored.state.symbol
        rules = engine.rules(session, rows.get(symbol), account)
        stored = reconcile(engine, stored, listed, at, rules)
        event = checkup_due(symbol, at, held.get(symbol))
        return engine.drive(stored, event, rules, orders)

    for_each(engine, busy, check)
    return {"status": "ok", "busy": len(busy)}


def _rows_for(engine: Engine, states: Mapping[str, Stored]) -> Mapping[str, SymbolRules]:
    """Return the symbols' rows if a buy may have to be sent again; else none."""
    orders = [one.state.order for one in states.values()]
    if any(order and order.is_buy and order.progress is Progress.INTENT for order in orders):
        return read_rows(engine)
    return {}
