"""Between two ticks: an order event taken up at once, and the checkup of what works."""

from scalper.core.model import OrderSeen, Phase
from scalper.core.order import ClientOrderId, Order, OrderReport, Progress
from scalper.core.session import new_york_day
from scalper.shell.metrics import Metric
from scalper.shell.ports import Stored
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.batch import CHECKUP_DELAY_S, Answer
from scalper.shell.trading.engine import Engine
from scalper.shell.webhook import Delivery


def trade_update(engine: Engine, delivery: Delivery) -> Answer:
    """Take one order event up at once: on a full fill the exit is sent before this returns.

    An order that this system did not make changes nothing.
    """
    report = delivery.report
    name = ClientOrderId.parse(report.client_order_id)
    if name is None or name.mode != engine.settings.mode or name.symbol != report.symbol:
        logger.info("external order", extra={"symbol": report.symbol[:12], "status": report.status})
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
        count(Metric.WEBHOOK_OTHER_ACCOUNT)
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
