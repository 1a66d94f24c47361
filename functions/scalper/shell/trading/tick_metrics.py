"""What a tick measures of itself, for the alarms and the dashboard; nothing hangs on it."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from scalper.core.model import SymbolState
from scalper.core.order import Progress
from scalper.core.session import MINUTE, Session
from scalper.shell.metrics import Metric
from scalper.shell.ports import Stored
from scalper.shell.telemetry import count
from scalper.shell.trading.engine import Engine

IN_DOUBT_AFTER = timedelta(seconds=60)
"""An order that was not answered for so long, or given up, is counted by `UnknownOrders`."""


def measure_bars(
    engine: Engine, session: Session, symbols: Collection[str], at: datetime, start: datetime
) -> None:
    """Measure `BarAge` as the minute `at` was decided, in seconds: how old the stalest bars are.

    It is the time since the end of the newest bar of the symbol whose newest bar is the oldest; a
    symbol without any bar counts from the open. `start` is when the tick began, which is the
    decision's time too where a simulated clock stands still.
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
    """Measure the run that claimed the minute `at` and began at `began` (monotonic), `start`.

    `StartLag`: seconds from the minute to the start; a simulated clock has none. `UnknownOrders`:
    orders in doubt. `TickMs`: from the start to the last order's answer, where one was sent.
    """
    if engine.settings.clock == "system":
        count(Metric.START_LAG, (start - at).total_seconds())
    count(Metric.UNKNOWN_ORDERS, sum(_in_doubt(one.state, at) for one in states.values()))
    if engine.sent_at is not None and engine.sent_at >= began:
        count(Metric.TICK_MS, (engine.sent_at - began) * 1000)


def _in_doubt(state: SymbolState, at: datetime) -> int:
    """Return how many of a symbol's orders have been in doubt for long."""
    order = state.order
    unanswered = (
        order is not None
        and order.progress is Progress.INTENT
        and at - order.submitted_at > IN_DOUBT_AFTER
    )
    return len(state.abandoned) + unanswered
