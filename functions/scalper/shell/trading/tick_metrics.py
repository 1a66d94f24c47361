"""What a tick measures and logs of itself; no decision depends on it."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from scalper.core.model import SymbolState
from scalper.core.order import Progress
from scalper.core.session import MINUTE, Session
from scalper.shell.metrics import Metric
from scalper.shell.ports import Stored
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.engine import Engine

IN_DOUBT_AFTER = timedelta(seconds=60)
"""`UnknownOrders` counts an order without an answer for longer than this, or given up."""


def measure_bars(
    engine: Engine, session: Session, symbols: Collection[str], at: datetime, start: datetime
) -> None:
    """Count `BarAge` once the minute `at` is decided: how old the stalest bars are, in seconds.

    It is the time since the end of the newest bar of the symbol whose newest bar is the oldest. A
    symbol without any bar counts from the open. A simulated clock stands still during a tick: then
    the tick's `start` is the time of the decision.
    """
    if not symbols:
        return
    now = engine.timing.now() if engine.settings.clock == "system" else start
    bars = [engine.window.bars(symbol, at) for symbol in symbols]
    ended = min(one[-1].start + MINUTE if one else session.open for one in bars)
    count(Metric.BAR_AGE, (now - ended).total_seconds())


def measure_tick(
    engine: Engine, states: Mapping[str, Stored], at: datetime, began: float, start: datetime
) -> None:
    """Count what the run that claimed the minute `at` took.

    `began` and `start` are when it began, by the monotonic clock and by the wall clock.
    `StartLag`: seconds from the minute to the start; a simulated clock has none. `UnknownOrders`:
    orders in doubt. `TickMs`: from the start to the answer to the last order, if one was sent.
    """
    if engine.settings.clock == "system":
        count(Metric.START_LAG, (start - at).total_seconds())
    count(Metric.UNKNOWN_ORDERS, sum(_in_doubt(one.state, at) for one in states.values()))
    if engine.sent_at is not None and engine.sent_at >= began:
        count(Metric.TICK_MS, (engine.sent_at - began) * 1000)


def log_unchanged(before: Mapping[str, Stored], after: Mapping[str, Stored], at: datetime) -> None:
    """Write one line with the symbols whose state the tick left as it was, by reason.

    A symbol whose state changed has lines of its own, and so has one that failed.
    docs/decisions/why-nothing-happened.md says why this is one line, and at INFO.
    """
    reasons: dict[str, list[str]] = {}
    for symbol, stored in sorted(after.items()):
        known = before.get(symbol)
        if stored.reason is not None and known is not None and known.state == stored.state:
            reasons.setdefault(stored.reason, []).append(symbol)
    if reasons:
        logger.info("nothing changed", extra={"reasons": reasons, "event_at": at.isoformat()})


def _in_doubt(state: SymbolState, at: datetime) -> int:
    """Return how many of a symbol's orders have been in doubt for long."""
    order = state.order
    unanswered = (
        order is not None
        and order.progress is Progress.INTENT
        and at - order.submitted_at > IN_DOUBT_AFTER
    )
    return len(state.abandoned) + unanswered
