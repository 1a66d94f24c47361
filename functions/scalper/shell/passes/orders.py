"""Between two ticks: an order event taken up at once, and the checkup of what works."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scalper.core.model import OrderSeen, Phase, Reason
from scalper.core.order import ClientOrderId, Order, OrderReport, Progress
from scalper.core.session import new_york_day
from scalper.shell.engine import Engine
from scalper.shell.inquiry import checkup_due, held_for_certain
from scalper.shell.passes.parts import (
    CHECKUP_DELAY_S,
    Answer,
    for_each,
    is_busy,
    opened_for,
    orders_for,
    orders_of_day,
    positions_for,
    read_rows,
    told_by,
)
from scalper.shell.store import Stored
from scalper.shell.symbols import SymbolRules
from scalper.shell.telemetry import count, logger
from scalper.shell.webhook import Delivery


def trade_update(engine: Engine, delivery: Delivery) -> Answer:
    """Take one order event up at once: on a full fill the exit is sent before this returns.

    An order that this system did not make changes nothing.
    """
    report = delivery.report
    name = ClientOrderId.parse(report.client_order_id)
    if name is None or name.mode != engine.settings.mode or name.symbol != report.symbol:
        logger.info("foreign order", extra={"symbol": report.symbol[:12], "status": report.status})
        return {"status": "ignored"}
    # A simulated clock's time comes with the event: the way to the sell has no request to spare.
    simulated = engine.settings.clock == "broker" and delivery.at is not None
    at = delivery.at if simulated and delivery.at else engine.now()
    session = engine.session(new_york_day(at))
    if session is None:
        return {"status": "closed"}
    stored = engine.store.load(name.symbol)
    if not _made(stored, name) and engine.broker.find(report.client_order_id) is None:
        logger.warning("unknown order", extra={"client_order_id": report.client_order_id})
        return {"status": "ignored"}
    if stored is not None and not _fits(stored.state.order, report):
        count("WebhookForeign")
        logger.error(
            "event of another account",
            extra={"symbol": name.symbol, "client_order_id": report.client_order_id},
        )
        return {"status": "ignored"}
    if stored is None:
        stored = engine.recover([name.symbol], session, at).get(name.symbol)
    if stored is None:
        return {"status": "failed"}
    event = OrderSeen(symbol=name.symbol, at=at, report=report, last_trade=delivery.price)
    rules = engine.rules(session, None)
    present = stored
    done = engine.isolate(name.symbol, lambda: engine.drive(present, event, rules))
    if done is None:
        return {"status": "failed"}
    order = done.state.order
    if done.state.phase is Phase.TO_SELL or (order and order.progress is Progress.INTENT):
        engine.outbox.checkup_in(CHECKUP_DELAY_S, at)
    return {"status": "taken"}


def checkup(engine: Engine, at: datetime) -> Answer:
    """Look after every working order, order in doubt and refused exit."""
    session = engine.session(new_york_day(at))
    if session is None or at >= session.close:
        return {"status": "closed"}
    busy = {s: one for s, one in engine.states(session).items() if is_busy(one.state)}
    if not busy:
        return {"status": "ok", "busy": 0}
    resting = {s: one for s, one in busy.items() if one.state.phase is Phase.TO_SELL}
    answers: list[Any] = engine.fan_out(
        [
            lambda: opened_for(engine, busy),
            lambda: positions_for(engine, resting),
            lambda: _rows_for(engine, busy),
            engine.store.account_halt,
        ]
    )
    opened, positions, rows, halt = answers
    if opened is None:
        return {"status": "failed", "busy": len(busy)}
    block = Reason.ACCOUNT_HALTED if halt else None
    orders = orders_for(engine, session, busy, opened)
    told = told_by(opened, orders)
    newest = orders_of_day(engine, session) if resting and orders is None else orders
    held = held_for_certain(resting, positions, newest, at)

    def look_after(stored: Stored) -> Stored:
        symbol = stored.state.symbol
        rules = engine.rules(session, rows.get(symbol), block)
        stored = engine.reconcile(stored, told, at, rules)
        event = checkup_due(symbol, at, held.get(symbol))
        return engine.drive(stored, event, rules, orders)

    for_each(engine, busy, look_after)
    return {"status": "ok", "busy": len(busy)}


def _rows_for(engine: Engine, states: Mapping[str, Stored]) -> Mapping[str, SymbolRules]:
    """Return the symbols' rows where a buy may have to be sent again."""
    orders = [one.state.order for one in states.values()]
    if any(order and order.is_buy and order.progress is Progress.INTENT for order in orders):
        return read_rows(engine)
    return {}


def _fits(order: Order | None, report: OrderReport) -> bool:
    """Whether an event can be of the working order, if it has its client id.

    Two accounts may give the same client ids, a broker's own id is given once. Where an order was
    replaced it has two, and what filled is counted on top of what had before.
    """
    if order is None or order.client_order_id != report.client_order_id or order.successor:
        return True
    return order.broker_id in ("", report.broker_id) and report.filled_qty <= order.qty


def _made(stored: Stored | None, name: ClientOrderId) -> bool:
    """Whether the state knows that this system made the order."""
    state = stored.state if stored else None
    return state is not None and state.session == name.day and name.generation <= state.generation
