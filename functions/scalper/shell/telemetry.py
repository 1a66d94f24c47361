"""The one logger and the one set of metrics; keys, secrets and whole payloads go into neither.

A decision is one structured line, always with the same keys. A symbol is a key of a log line and
never a dimension of a metric, because CloudWatch bills each set of dimensions.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock

from aws_lambda_powertools import Logger, Metrics

from scalper.core.model import Event, OrderSeen, Reason, Step, SymbolState
from scalper.core.order import KNOWN_STATUSES, REFUSED, Order, OrderReport
from scalper.core.pricing import price_text
from scalper.shell.metrics import Metric

NAMESPACE = "scalper"
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "scalper")
"""The one dimension of every metric. In AWS it is the stack's name, so that stacks do not mix."""

logger = Logger(service=SERVICE, utc=True, location=None)
metrics = Metrics(namespace=NAMESPACE, service=SERVICE)
_metrics_lock = Lock()

ALARMING = frozenset(
    {
        Reason.EXIT_EXHAUSTED,
        Reason.SOLD_ELSEWHERE,
        Reason.LATE_ORDER,
        Reason.CORRECTED_FILL,
        Reason.REPLACED_ORDER,
        Reason.UNKNOWN_ORDER,
    }
)
"""Halts that a person has to look at."""

_STATUSES = KNOWN_STATUSES | {"", REFUSED}
"""The broker's statuses, no status yet, and our own status of a refused order."""

MAX_SYMBOL, MAX_STATUS, MAX_ID = 12, 40, 128
"""Characters of a broker's texts in a log line; Alpaca's client ids have at most 128."""


def count(metric: Metric, value: float = 1) -> None:
    """Add a value, in the metric's unit, to this invocation's metrics; `flush` sends them."""
    with _metrics_lock:
        metrics.add_metric(name=metric.value, unit=metric.unit, value=value)


def log_step(
    before: SymbolState, event: Event, step: Step, version: int, lag_ms: int | None
) -> None:
    """Write a decision's line: ERROR for a new alarming halt, INFO for a change, else DEBUG."""
    changed = step.state != before or bool(step.commands)
    # The step's own reason may be another one: a correction can come with the last fill.
    alarming = step.state.halt in ALARMING and step.state.halt != before.halt
    level = logging.ERROR if alarming else logging.INFO if changed else logging.DEBUG
    if level >= logger.log_level:
        _write_decision(level, before, event, step, version, lag_ms)
    if alarming:
        count(Metric.SYMBOLS_HALTED)
    if step.state.order is not None:
        _log_unknown_status(before, step.state.order)


def log_ignored(report: OrderReport, reason: Reason, at: datetime | None) -> None:
    """Write the line of an order event that changed nothing; `at` is the time it was handled for.

    The symbol and the id may be anybody's text, so they are cut.
    """
    logger.info(
        "event ignored",
        extra={
            "symbol": report.symbol[:MAX_SYMBOL],
            "event": OrderSeen.__name__,
            "reason": reason,
            "client_order_id": report.client_order_id[:MAX_ID],
            "qty": report.qty,
            "status": report.status[:MAX_STATUS],
            "event_at": at.isoformat() if at else None,
        },
    )


def _write_decision(
    level: int, before: SymbolState, event: Event, step: Step, version: int, lag_ms: int | None
) -> None:
    order = step.state.order or before.order
    write = {logging.ERROR: logger.error, logging.INFO: logger.info}.get(level, logger.debug)
    write(
        "decision",
        extra={
            "symbol": before.symbol,
            "event": type(event).__name__,
            "phase_from": before.phase,
            "phase_to": step.state.phase,
            "reason": step.reason,
            "client_order_id": order.client_order_id if order else None,
            "qty": order.qty if order else None,
            "price": price_text(order.limit) if order and order.limit else None,
            "event_at": event.at.isoformat(),
            "lag_ms": lag_ms,
            "version": version,
        },
    )


def _log_unknown_status(before: SymbolState, order: Order) -> None:
    """Log once that the working order has a status that this version does not know."""
    known = before.order.status if before.order else ""
    if order.status == known or order.status in _STATUSES:
        return
    count(Metric.UNKNOWN_STATUSES)
    logger.error(
        "unknown status",
        extra={
            "symbol": before.symbol,
            "client_order_id": order.client_order_id,
            "status": order.status[:MAX_STATUS],
        },
    )


@contextmanager
def sent() -> Iterator[None]:
    """Send the metrics at the end of the block, also if it raises."""
    try:
        yield
    finally:
        flush()


def flush() -> None:
    """Send the metrics so far; an invocation that takes long calls this in between."""
    with _metrics_lock:
        if metrics.provider.metric_set:
            metrics.flush_metrics()
