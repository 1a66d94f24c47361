"""After the close: verify at the broker that the day ended flat, and report what it earned."""

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from scalper.core.order import Progress, progress_of
from scalper.core.pricing import DOLLAR, pnl_text
from scalper.core.session import new_york_day
from scalper.shell.errors import BrokerError, StoreError
from scalper.shell.metrics import Metric
from scalper.shell.ports import NOTHING, Fill, Position, Stored
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.batch import Answer, failed
from scalper.shell.trading.day_summary import (
    CloseCheck,
    DayResult,
    day_result,
    summary_text,
)
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.own_orders import day_start, own_reports

SUMMARY_WITHIN = timedelta(hours=3)
"""The mail is sent only within this time after the close, also if somebody starts the function.

The schedule of full days fires 3 h 5 min after the close of a half-day: that run sends no mail.
"""


def close_day(engine: Engine, at: datetime) -> Answer:
    """Verify at the broker that the day ended flat; record the day, and mail its summary.

    Orders, positions and fills come from the broker. The table adds the shares of older sessions,
    and why symbols are halted. On a day without a session the function only verifies. Raises
    BrokerError if orders or positions cannot be read.
    """
    day = new_york_day(at)
    session = engine.session(day)
    if session is not None and at < session.close:
        return {"status": "not closed", "session": day.isoformat()}
    result, check = _read_day(engine, day, at)
    count(Metric.NOT_FLAT, 0 if check.flat else 1)
    if not check.flat:
        extra = {"symbols": sorted(check.still_held), "open_orders": check.still_open}
        logger.error("not flat", extra=extra)
    if session is None:
        return {"status": "no session", "session": day.isoformat(), **_check_answer(check)}
    _alarm_mismatches(check)
    summary: Answer = {
        "session": day.isoformat(),
        "trades": result.trades,
        "pnl_usd": result.pnl / DOLLAR,
        "symbols": len(result.states),
        "wins": result.wins,
        "exits": dict(result.by_reason),
        **_check_answer(check),
    }
    try:
        engine.store.record_day(day, json.dumps(summary))
    except StoreError as error:
        failed("day record", error)
    if at - session.close <= SUMMARY_WITHIN:
        count(Metric.PNL_USD, result.pnl / DOLLAR)
        count(Metric.TRADES, result.trades)
        engine.outbox.notify(*summary_text(result, check, engine.settings.mode))
    logger.info("day closed", extra=summary)
    return summary


def _read_day(engine: Engine, day: date, at: datetime) -> tuple[DayResult, CloseCheck]:
    """Return what the day earned, and what is left after it."""
    answers: list[Any] = engine.fan_out(
        [
            lambda: engine.broker.orders_since(day_start(at)),
            engine.broker.open_orders,
            engine.broker.positions,
            lambda: _read_fills(engine, at),
            lambda: _read_states(engine),
        ]
    )
    orders, opened, positions, fills, stored = answers
    # An open order of an older session is not among the day's orders.
    reports = list({one.broker_id: one for one in [*opened, *orders]}.values())
    mode = engine.settings.mode
    result = day_result(reports, day, mode, at)
    check = CloseCheck(
        still_held=_still_held(result, stored, positions),
        still_open=[
            one.client_order_id
            for own in own_reports(reports, mode).values()
            for one in own
            if progress_of(one.status) is Progress.LIVE
        ],
        mismatches=None if fills is None else result.mismatches(fills),
        halts=_halts(result, stored),
    )
    return result, check


def _check_answer(check: CloseCheck) -> Answer:
    """Return the part of the answer that says what is left after the close."""
    return {
        "flat": check.flat,
        "positions": dict(check.still_held),
        "open_orders": list(check.still_open),
        "pnl_checked": check.mismatches is not None,
        "mismatches": {
            symbol: {"by_orders_usd": by_orders / DOLLAR, "by_fills_usd": by_fills / DOLLAR}
            for symbol, (by_orders, by_fills) in (check.mismatches or {}).items()
        },
        "halts": None if check.halts is None else dict(check.halts),
    }


def _read_fills(engine: Engine, at: datetime) -> list[Fill] | None:
    """Return the day's fills, None if they cannot be read: the summary is sent all the same."""
    try:
        return engine.broker.fills_since(day_start(at))
    except BrokerError as error:
        failed("fills", error)
        return None


def _read_states(engine: Engine) -> tuple[Mapping[str, Stored], str] | None:
    """Return the table's states, and why the account is halted; None if they cannot be read."""
    try:
        return engine.store.load_all(0, 1), engine.store.account_halt()
    except StoreError as error:
        failed("states", error)
        return None


def _still_held(
    result: DayResult,
    stored: tuple[Mapping[str, Stored], str] | None,
    positions: Mapping[str, Position],
) -> dict[str, int]:
    """Return the shares of ours that the broker still holds, by symbol.

    No order of the day shows shares of an older session. For a symbol without a buy of this
    session, the table says what is held.
    """
    ours = {state.symbol: state.qty for state in result.states}
    bought = {state.symbol for state in result.states if state.entries}
    for symbol, one in (stored[0] if stored else {}).items():
        if symbol not in bought and one.state.qty:
            ours[symbol] = one.state.qty
    held = {symbol: min(qty, positions.get(symbol, NOTHING).qty) for symbol, qty in ours.items()}
    # A short position in a traded symbol is ours: a correction, or a sell too many.
    return {symbol: qty for symbol, qty in sorted(held.items()) if qty != 0}


def _halts(
    result: DayResult, stored: tuple[Mapping[str, Stored], str] | None
) -> dict[str, str] | None:
    """Return why symbols and the account were halted at the end of the day."""
    if stored is None:
        return None
    states, account = stored
    halts = {
        state.symbol: state.halt.value
        for state in (one.state for _, one in sorted(states.items()))
        if state.halt is not None and state.session == result.day
    }
    return halts | ({"account": account} if account else {})


def _alarm_mismatches(check: CloseCheck) -> None:
    """Alarm if the P&L of the orders is not that of the fills."""
    if check.mismatches is None:
        return
    count(Metric.PNL_MISMATCH, 1 if check.mismatches else 0)
    if check.mismatches:
        logger.error(
            "the P&L does not agree with the broker's fills",
            extra={
                "symbols": {
                    symbol: f"{pnl_text(by_orders)} by its orders, "
                    f"{pnl_text(by_fills)} by its fills"
                    for symbol, (by_orders, by_fills) in check.mismatches.items()
                }
            },
        )
