"""The end of the day: flat five minutes before the close, and an account of it after."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
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
"""How long after the close the day's summary is sent, by a run by hand as well.

The full day's schedule fires three hours and five minutes after a half-day's close.
"""


def close_day(engine: Engine, at: datetime) -> Answer:
    """Verify at the broker that the day ended flat; day_result, record and send its summary.

    What was traded, is held and works is read from the broker; the table adds what is left of older
    sessions and why symbols are halted. On a day without a session it only verifies. Raises
    BrokerError where orders or positions cannot be read.
    """
    day = new_york_day(at)
    session = engine.session(day)
    if session is not None and at < session.close:
        return {"status": "not closed", "session": day.isoformat()}
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
    # An order of an older session may still be open, and is not among the day's.
    reports = list({one.broker_id: one for one in [*opened, *orders]}.values())
    mode = engine.settings.mode
    reckoning = day_result(reports, day, mode, at)
    found = CloseCheck(
        still_held=_left(reckoning, stored, positions),
        still_open=[
            one.client_order_id
            for own in own_reports(reports, mode).values()
            for one in own
            if progress_of(one.status) is Progress.LIVE
        ],
        mismatches=None if fills is None else reckoning.mismatches(fills),
        halts=_halts(reckoning, stored),
    )
    count(Metric.NOT_FLAT, 0 if found.flat else 1)
    if not found.flat:
        extra = {"symbols": sorted(found.still_held), "open_orders": found.still_open}
        logger.error("not flat", extra=extra)
    if session is None:
        return {"status": "no session", "session": day.isoformat(), **_rest(found)}
    _say_mismatches(found)
    summary: Answer = {
        "session": day.isoformat(),
        "trades": reckoning.trades,
        "pnl_usd": reckoning.pnl / DOLLAR,
        "symbols": len(reckoning.states),
        "wins": reckoning.wins,
        "exits": dict(reckoning.by_reason),
        **_rest(found),
    }
    try:
        engine.store.record_day(day, json.dumps(summary))
    except StoreError as error:
        failed("day record", error)
    if at - session.close <= SUMMARY_WITHIN:
        count(Metric.PNL_USD, reckoning.pnl / DOLLAR)
        count(Metric.TRADES, reckoning.trades)
        engine.outbox.notify(*summary_text(reckoning, found, mode))
    logger.info("day closed", extra=summary)
    return summary


def _rest(found: CloseCheck) -> Answer:
    """Return what the answer says of the account after the close."""
    return {
        "flat": found.flat,
        "positions": dict(found.still_held),
        "open_orders": list(found.still_open),
        "pnl_checked": found.mismatches is not None,
        "mismatches": {
            symbol: {"by_orders_usd": by_orders / DOLLAR, "by_fills_usd": by_fills / DOLLAR}
            for symbol, (by_orders, by_fills) in (found.mismatches or {}).items()
        },
        "halts": None if found.halts is None else dict(found.halts),
    }


def _read_fills(engine: Engine, at: datetime) -> list[Fill] | None:
    """Return the day's fills, None where they cannot be read: the owner is told all the same."""
    try:
        return engine.broker.fills_since(day_start(at))
    except BrokerError as error:
        failed("fills", error)
        return None


def _read_states(engine: Engine) -> tuple[Mapping[str, Stored], str] | None:
    """Return the table's states and why the account is halted, None where they cannot be read."""
    try:
        return engine.store.load_all(0, 1), engine.store.account_halt()
    except StoreError as error:
        failed("states", error)
        return None


def _left(
    reckoning: DayResult,
    stored: tuple[Mapping[str, Stored], str] | None,
    positions: Mapping[str, Position],
) -> dict[str, int]:
    """Return the shares of ours that the broker still holds, by symbol.

    Those of an older session are in no order of the day: where nothing was bought on it, the table
    tells of them.
    """
    ours = {state.symbol: state.qty for state in reckoning.states}
    bought = {state.symbol for state in reckoning.states if state.entries}
    for symbol, one in (stored[0] if stored else {}).items():
        if symbol not in bought and one.state.qty:
            ours[symbol] = one.state.qty
    held = {symbol: min(qty, positions.get(symbol, NOTHING).qty) for symbol, qty in ours.items()}
    # A short position of a symbol that was traded is ours: a fill taken back, or one too many.
    return {symbol: qty for symbol, qty in sorted(held.items()) if qty != 0}


def _halts(
    reckoning: DayResult, stored: tuple[Mapping[str, Stored], str] | None
) -> dict[str, str] | None:
    """Return why symbols and the account were halted at the end of the day."""
    if stored is None:
        return None
    states, account = stored
    halts = {
        state.symbol: state.halt.value
        for state in (one.state for _, one in sorted(states.items()))
        if state.halt is not None and state.session == reckoning.day
    }
    return halts | ({"account": account} if account else {})


def _say_mismatches(found: CloseCheck) -> None:
    """Alarm where the P&L that the orders tell is not what the fills paid."""
    if found.mismatches is None:
        return
    count(Metric.PNL_MISMATCH, 1 if found.mismatches else 0)
    if found.mismatches:
        logger.error(
            "the P&L does not agree with the broker's fills",
            extra={
                "symbols": {
                    symbol: f"{pnl_text(by_orders)} by its orders, "
                    f"{pnl_text(by_fills)} by its fills"
                    for symbol, (by_orders, by_fills) in found.mismatches.items()
                }
            },
        )
