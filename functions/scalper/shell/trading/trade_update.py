"""The webhook's order event: acted on at once, or ignored with a reason.

Every answer has a `status` and a `reason`: `taken` if the machine saw the event, `closed` without a
session, `ignored` if the event is not of an order of ours, `failed` if it is to be sent again.
"""

from datetime import datetime

from scalper.core.model import OrderSeen, Phase, Reason, SymbolState
from scalper.core.order import ClientOrderId, Order, OrderReport, Progress
from scalper.core.session import Session, new_york_day
from scalper.shell.metrics import Metric
from scalper.shell.ports import Delivery, Stored
from scalper.shell.telemetry import count, log_ignored, logger
from scalper.shell.trading.batch import CHECKUP_DELAY_S, Answer
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.reconciliation import recover


def trade_update(engine: Engine, delivery: Delivery) -> Answer:
    """Act on one order event at once: after a full fill the exit is sent before this returns.

    The event of an order that this system did not make changes nothing. An event that changes
    nothing is logged once, with the reason of the answer.
    """
    report = delivery.report
    at = _time_of(engine, delivery)
    name = ClientOrderId.parse(report.client_order_id)
    if name is None or name.symbol != report.symbol:
        return _ignore(report, at, Reason.EXTERNAL_ORDER)
    if name.mode != engine.settings.mode:
        return _ignore(report, at, Reason.OTHER_MODE)
    at = at or engine.now()
    session = engine.session(new_york_day(at))
    if session is None:
        return {**_ignore(report, at, Reason.MARKET_CLOSED), "status": "closed"}
    stored = engine.store.load(name.symbol)
    if not _made(stored, name) and engine.broker.find(report.client_order_id) is None:
        return _ignore(report, at, Reason.UNKNOWN_ORDER)
    if stored is not None and not _fits(stored.state.order, report):
        return _ignore_other_account(report)
    if stored is None:
        stored = recover(engine, [name.symbol], session, at).get(name.symbol)
    if stored is None:
        return {"status": "failed", "reason": Reason.SYMBOL_FAILED}
    return _act(engine, session, stored, delivery, at)


def _act(
    engine: Engine, session: Session, stored: Stored, delivery: Delivery, at: datetime
) -> Answer:
    """Drive the machine with the event, and queue a checkup if the symbol needs one soon."""
    report = delivery.report
    symbol = stored.state.symbol
    event = OrderSeen(symbol=symbol, at=at, report=report, last_trade=delivery.price)
    rules = engine.rules(session, None)
    done = engine.isolate(symbol, lambda: engine.drive(stored, event, rules))
    if done is None:
        return {"status": "failed", "reason": Reason.SYMBOL_FAILED}
    reason = done.reason or Reason.NOTHING_NEW
    if done.state == stored.state:
        log_ignored(report, reason, at)
    if _needs_checkup(done.state):
        engine.outbox.checkup_in(CHECKUP_DELAY_S, at)
    return {"status": "taken", "reason": reason}


def _time_of(engine: Engine, delivery: Delivery) -> datetime | None:
    """Return the event's time if the clock is simulated; None: ask the engine for the time.

    A simulated clock's time comes with the event, so that no request delays the sell.
    """
    return delivery.at if engine.settings.clock == "broker" else None


def _ignore(report: OrderReport, at: datetime | None, reason: Reason) -> Answer:
    log_ignored(report, reason, at)
    return {"status": "ignored", "reason": reason}


def _ignore_other_account(report: OrderReport) -> Answer:
    count(Metric.WEBHOOK_OTHER_ACCOUNT)
    logger.error(
        "event of another account",
        extra={
            "symbol": report.symbol,
            "event": OrderSeen.__name__,
            "reason": Reason.OTHER_ACCOUNT,
            "client_order_id": report.client_order_id,
        },
    )
    return {"status": "ignored", "reason": Reason.OTHER_ACCOUNT}


def _needs_checkup(state: SymbolState) -> bool:
    """Whether shares rest, or an order has no answer yet."""
    unanswered = state.order is not None and state.order.progress is Progress.INTENT
    return state.phase is Phase.TO_SELL or unanswered


def _fits(order: Order | None, report: OrderReport) -> bool:
    """Whether an event can be of the working order, if it has its client id.

    Two accounts may give the same client ids, but a broker's own id is given once. A replaced order
    has two ids, and its fills include those made before the replacement: it always fits.
    """
    if order is None or order.client_order_id != report.client_order_id or order.successor:
        return True
    return order.broker_id in ("", report.broker_id) and report.filled_qty <= order.qty


def _made(stored: Stored | None, name: ClientOrderId) -> bool:
    """Whether the state says that this system made the order."""
    state = stored.state if stored else None
    return state is not None and state.session == name.day and name.generation <= state.generation
