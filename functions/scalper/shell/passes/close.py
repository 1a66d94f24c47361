"""The end of the day: flat five minutes before the close, and an account of it after."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from scalper.core.model import SymbolState
from scalper.core.order import Progress, progress_of
from scalper.core.pricing import DOLLAR, Money
from scalper.core.recovery import rebuild
from scalper.core.session import MINUTE, Session, new_york_day
from scalper.shell.broker import day_start, own_reports
from scalper.shell.engine import Engine
from scalper.shell.errors import StoreError
from scalper.shell.memory_store import LastResortStore
from scalper.shell.passes.parts import (
    Answer,
    failed,
    for_each,
    liquidate_states,
    reconcile_all,
)
from scalper.shell.store import Stored
from scalper.shell.telemetry import count, logger

SUMMARY_WITHIN = timedelta(hours=1)
"""How long after the close the day's summary is sent; a schedule for half-days fires later too."""


def liquidate(engine: Engine, at: datetime) -> Answer:
    """Cancel what works, sell what this system bought; five minutes before the close and after.

    Works from the broker's orders alone where the state table is down. At or after the close
    it sends nothing and says what is left. What the broker says of orders that are over is compared
    with what was settled, so that a fill taken back is found without any event.
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
    own = own_reports(engine.broker.orders_since(day_start(at)), engine.settings.mode)
    states |= engine.recover(set(own) - set(states), session, at, own)
    rules = engine.rules(session, None)
    states |= for_each(
        engine,
        states,
        lambda one: engine.look_over(one, own.get(one.state.symbol, ()), at, rules),
    )
    states |= _finish(engine, session, states, at)
    unsold = sorted(s for s, one in states.items() if not one.state.is_flat)
    if unsold and at >= session.close - MINUTE:
        count("NotFlat", len(unsold))
        logger.error("not flat", extra={"symbols": unsold})
    return {"status": "ok", "flat": not unsold, "left": unsold}


def close_day(engine: Engine, at: datetime) -> Answer:
    """Verify at the broker that the day ended flat; record and send its summary.

    Everything is read from the broker's orders and positions, nothing from the table.
    """
    day = new_york_day(at)
    session = engine.session(day)
    if session is None or at < session.close:
        return {"status": "not closed", "session": day.isoformat()}
    orders = engine.broker.orders_since(day_start(session.open))
    positions = engine.broker.positions()
    own = own_reports(orders, engine.settings.mode)
    states = [rebuild(s, day, engine.settings.mode, own[s], at) for s in sorted(own)]
    held = {state.symbol: min(state.qty, positions.get(state.symbol, 0)) for state in states}
    # A short position of a symbol that was traded is ours: a fill taken back, or one too many.
    left = {symbol: qty for symbol, qty in held.items() if qty != 0}
    working = [
        report.client_order_id
        for reports in own.values()
        for report in reports
        if progress_of(report.status) is Progress.LIVE
    ]
    summary: Answer = {
        "session": day.isoformat(),
        "trades": sum(state.trades for state in states),
        "pnl_usd": sum(state.pnl for state in states) / DOLLAR,
        "flat": not left and not working,
        "symbols": len(states),
        "positions": left,
        "open_orders": working,
    }
    count("NotFlat", 0 if summary["flat"] else 1)
    if not summary["flat"]:
        logger.error("not flat", extra={"symbols": sorted(left), "open_orders": working})
    try:
        engine.store.record_day(day, json.dumps(summary))
    except StoreError as error:
        failed("day record", error)
    if at - session.close <= SUMMARY_WITHIN:
        engine.outbox.notify(*_summary_text(summary, states))
    logger.info("day closed", extra=summary)
    return summary


def _finish(
    engine: Engine, session: Session, states: Mapping[str, Stored], at: datetime
) -> dict[str, Stored]:
    """Liquidate before the close; from then on only see what became of it."""
    if at < session.close:
        return liquidate_states(engine, session, states, at)
    return reconcile_all(engine, session, states, at)


def _summary_text(summary: Answer, states: list[SymbolState]) -> tuple[str, str]:
    """Return the subject and the text of the day's mail."""
    pnl: Money = sum(state.pnl for state in states)
    flat = "flat" if summary["flat"] else "NOT FLAT"
    amount = f"{'-' if pnl < 0 else '+'}${abs(pnl) / DOLLAR:,.2f}"
    subject = f"Scalper {summary['session']}: {amount}, {summary['trades']} trades, {flat}"
    lines = [
        f"{state.symbol:<10} {state.trades:>4} trades {state.pnl / DOLLAR:>12,.2f}"
        for state in sorted(states, key=lambda state: state.pnl, reverse=True)
    ]
    lines += [f"STILL HELD: {qty} {symbol}" for symbol, qty in summary["positions"].items()]
    lines += [f"STILL OPEN: {client_order_id}" for client_order_id in summary["open_orders"]]
    return subject, "\n".join([subject, "", *lines])
