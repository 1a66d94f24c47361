"""What each kind of invocation does with all symbols: tick, trade update, checkup, liquidation,
the close of the day. One symbol's failure, or the broker's, never stops the others.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from scalper.core.model import (
    BarClosed,
    CheckupDue,
    LiquidationDue,
    OrderSeen,
    Phase,
    Reason,
    Rules,
    SymbolState,
)
from scalper.core.order import ClientOrderId, OrderReport, Progress, progress_of
from scalper.core.pricing import DOLLAR, Money
from scalper.core.recovery import rebuild
from scalper.core.session import MINUTE, Session, floor_minute, new_york_day
from scalper.core.signal import Bar
from scalper.shell.broker import day_start, own_reports
from scalper.shell.engine import Engine
from scalper.shell.errors import BrokerError, ScalperError, StoreError, UnauthorizedError
from scalper.shell.memory_store import LastResortStore
from scalper.shell.store import Stored, in_shard
from scalper.shell.symbols import SymbolRules
from scalper.shell.telemetry import count, logger
from scalper.shell.webhook import Delivery

LATE_AFTER = timedelta(seconds=45)
"""A tick that starts later enters nothing."""

REDRIVEN_AFTER = timedelta(minutes=2)
"""A tick that starts later still was delivered again: it only reconciles, as of now."""

SKEW_LIMIT = timedelta(seconds=2)
BAR_POLL_S = 0.5
CHECKUP_DELAY_S = 30
CANCEL_POLLS = 5
CANCEL_POLL_S = 0.2
MAX_REFUSED_LINES = 20
"""Lines of refused rows in one tick's log; all of them are counted."""

SUMMARY_WITHIN = timedelta(hours=1)
"""How long after the close the day's summary is sent; a schedule for half-days fires later too."""

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TickDue:
    """A tick's event: the minute that is over, and the part of the symbols to look after."""

    minute: datetime
    shard: int = 0
    shard_count: int = 1


def tick(engine: Engine, due: TickDue) -> Answer:
    """Decide once for each symbol of the shard, on the minute that ended at `due.minute`."""
    count("Heartbeat")
    at = floor_minute(due.minute)
    try:
        session = engine.session(new_york_day(at))
        if session is None or not session.open < at <= session.close:
            return {"status": "closed", "minute": at.isoformat()}
        return _tick_in_session(engine, due, session, at)
    except UnauthorizedError as error:
        return _broker_refuses_keys(engine, error)
    except (BrokerError, StoreError) as error:
        return _failed("tick", error)


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
    busy = {s: one for s, one in engine.store.load_all(0, 1).items() if _is_busy(one.state)}
    if not busy:
        return {"status": "ok", "busy": 0}
    resting = {s: one for s, one in busy.items() if one.state.phase is Phase.TO_SELL}
    answers: list[Any] = engine.fan_out(
        [
            lambda: _opened_for(engine, busy),
            lambda: _positions_for(engine, resting),
            lambda: _rows_for(engine, busy),
            engine.store.account_halt,
        ]
    )
    opened, positions, rows, halt = answers
    if opened is None:
        return {"status": "failed", "busy": len(busy)}
    block = Reason.ACCOUNT_HALTED if halt else None

    def look_after(stored: Stored) -> Stored:
        symbol = stored.state.symbol
        rules = engine.rules(session, rows.get(symbol), block)
        stored = engine.reconcile(stored, opened, at, rules)
        position = None if positions is None else positions.get(symbol, 0)
        event = CheckupDue(symbol=symbol, at=at, position=position)
        return engine.drive(stored, event, rules)

    _for_each(engine, busy, look_after)
    return {"status": "ok", "busy": len(busy)}


def liquidate(engine: Engine, at: datetime) -> Answer:
    """Cancel what works, sell what this system bought; five minutes before the close and after.

    Works from the broker's orders alone where the state table is down. At or after the close
    it sends nothing and says what is left.
    """
    session = engine.session(new_york_day(at))
    if session is not None and (now := engine.now()) >= session.close:
        # Delivered again after the close, or on another day: the time that counts is now.
        at = max(at, now)
        session = engine.session(new_york_day(at))
    if session is None or at < session.liquidate_at:
        return {"status": "not due", "flat": None}
    engine = replace(engine, store=LastResortStore(engine.store))
    states = engine.store.load_all(0, 1)
    own = own_reports(engine.broker.orders_since(day_start(at)), engine.settings.mode)
    states |= engine.recover(set(own) - set(states), session, at, own)
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
    left = {
        state.symbol: min(state.qty, positions.get(state.symbol, 0))
        for state in states
        if min(state.qty, positions.get(state.symbol, 0)) > 0
    }
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
        _failed("day record", error)
    if at - session.close <= SUMMARY_WITHIN:
        engine.outbox.notify(*_summary_text(summary, states))
    logger.info("day closed", extra=summary)
    return summary


# --- the tick --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Start:
    """What a tick reads first, side by side."""

    now: datetime
    block: Reason | None
    """Why the whole account enters nothing in this tick."""
    rows: Mapping[str, SymbolRules]
    states: dict[str, Stored]
    claimed: bool
    """Whether this is the minute's first tick; any other only reconciles."""


def _tick_in_session(engine: Engine, due: TickDue, session: Session, at: datetime) -> Answer:
    start = _read_start(engine, due, at)
    if start.now - at > REDRIVEN_AFTER:
        return _tick_redriven(engine, start)
    states = start.states
    missing = [s for s in start.rows if s not in states]
    if missing:
        states = states | engine.recover(missing, session, at)
    if start.claimed and at < session.liquidate_at:
        states |= _decide(engine, session, start, states, at)
    elif start.claimed and session.liquidate_at < at < session.close:
        states |= _liquidate_states(engine, session, states, at)
    else:
        # The minute of the liquidation is the liquidation's own.
        states |= _reconcile_all(engine, session, states, at)
    busy = [one for one in states.values() if _is_busy(one.state)]
    if busy and at < session.close:
        engine.outbox.checkup_in(CHECKUP_DELAY_S, at)
    return {
        "status": "ok" if start.claimed else "repeated",
        "minute": at.isoformat(),
        "symbols": len(states),
        "busy": len(busy),
    }


def _tick_redriven(engine: Engine, start: _Start) -> Answer:
    """Only reconcile, as of now: the minute of the event may be of another day."""
    session = engine.session(new_york_day(start.now))
    if session is not None and session.open < start.now:
        _reconcile_all(engine, session, start.states, start.now)
    return {"status": "too late", "symbols": len(start.states)}


def _read_start(engine: Engine, due: TickDue, at: datetime) -> _Start:
    shard = (due.shard, due.shard_count)
    results: list[Any] = engine.fan_out(
        [
            lambda: _read_clock(engine, at),
            lambda: _rows(engine),
            lambda: engine.store.load_all(*shard),
            engine.store.account_halt,
            lambda: engine.store.claim_minute(at, *shard),
        ]
    )
    (now, block), rows, states, halt, claimed = results
    if halt:
        block = Reason.ACCOUNT_HALTED
    mine = {symbol: row for symbol, row in rows.items() if in_shard(symbol, *shard)}
    return _Start(now, block, mine, states, claimed)


def _read_clock(engine: Engine, at: datetime) -> tuple[datetime, Reason | None]:
    """Return the time and why it forbids entries: a late start, or a clock that is off.

    Raises UnauthorizedError: with refused keys nothing can be done in this tick.
    """
    now = engine.now()
    if engine.settings.clock == "system":
        try:
            skew = engine.broker.clock().now - engine.now()
        except UnauthorizedError:
            raise
        except BrokerError as error:
            _failed("clock", error)
        else:
            if abs(skew) > SKEW_LIMIT:
                logger.error("clock skew", extra={"skew_s": skew.total_seconds()})
                count("ClockSkew")
                return now, Reason.CLOCK_SKEW
        count("StartLag", (now - at).total_seconds(), MetricUnit.Seconds)
    return now, Reason.LATE_TICK if now - at > LATE_AFTER else None


def _rows(engine: Engine) -> Mapping[str, SymbolRules]:
    """Return the rows of the symbols table that make sense; exits need none of them."""
    try:
        rows, refused = engine.symbols.read()
    except StoreError as error:
        _failed("symbols", error)
        return {}
    count("SymbolsRefused", len(refused))
    for line in refused[:MAX_REFUSED_LINES]:
        logger.warning("symbol refused", extra={"error": line})
    return rows


def _decide(
    engine: Engine, session: Session, start: _Start, states: dict[str, Stored], at: datetime
) -> dict[str, Stored]:
    """Reconcile and decide each symbol as soon as its bar is there, all of them in the end."""
    opened, _ = engine.fan_out(
        [lambda: _opened_for(engine, states), lambda: _refresh(engine, session, start, at)]
    )

    def rules_of(symbol: str) -> Rules:
        return engine.rules(session, start.rows.get(symbol), start.block)

    def decide(stored: Stored) -> Stored:
        symbol = stored.state.symbol
        rules = rules_of(symbol)
        if opened is not None:
            last = engine.window.last_close(symbol)
            stored = engine.reconcile(stored, opened, at, rules, last)
        event, rules = _bar_closed(engine, stored.state, start.rows.get(symbol), rules, at)
        return engine.drive(stored, event, rules)

    decided: dict[str, Stored] = {}
    waiting = dict(states)
    deadline = time.monotonic() + engine.settings.bar_wait_s
    while waiting:
        last_look = time.monotonic() >= deadline
        ready = {
            symbol: stored
            for symbol, stored in waiting.items()
            if last_look
            or not _needs_bar(stored.state, start.rows.get(symbol), start.block)
            or _bar_ended_at(engine.window.bars(symbol, at), at) is not None
        }
        decided |= _for_each(engine, ready, decide)
        waiting = {s: one for s, one in waiting.items() if s not in ready}
        if waiting:
            time.sleep(min(BAR_POLL_S, max(deadline - time.monotonic(), 0.0)))
            _refresh(engine, session, start, at)
    return decided


def _refresh(engine: Engine, session: Session, start: _Start, at: datetime) -> None:
    """Fetch the bars that the window lacks; without them nothing is entered."""
    symbols = sorted(s for s, row in start.rows.items() if row.enabled or s in start.states)
    if not symbols:
        return
    try:
        refused = engine.window.refresh(symbols, session, at)
    except BrokerError as error:
        _failed("bars", error)
        return
    for line in refused:
        count("BarsRefused")
        logger.warning("bar refused", extra={"error": line})


def _bar_closed(
    engine: Engine, state: SymbolState, row: SymbolRules | None, rules: Rules, at: datetime
) -> tuple[BarClosed, Rules]:
    """Return the minute's event; a signal that fails blocks its symbol's entry alone."""
    bars = engine.window.bars(state.symbol, at)
    newest = _bar_ended_at(bars, at)
    signal = False
    may_enter = state.phase is Phase.TO_BUY and rules.block is None and state.halt is None
    if newest is not None and row is not None and may_enter:
        try:
            signal = bool(row.signal(bars))
        except Exception:  # noqa: BLE001 - a user's own code: its failure stops its symbol alone
            logger.exception("signal failed", extra={"symbol": state.symbol})
            count("SignalsFailed")
            rules = replace(rules, block=Reason.SIGNAL_FAILED)
    close = newest.close if newest is not None else None
    return BarClosed(symbol=state.symbol, at=at, close=close, signal=signal), rules


def _bar_ended_at(bars: Sequence[Bar], at: datetime) -> Bar | None:
    return bars[-1] if bars and bars[-1].start == at - MINUTE else None


def _needs_bar(state: SymbolState, row: SymbolRules | None, block: Reason | None) -> bool:
    """Whether the decision is worth waiting for the minute's bar."""
    if row is None:
        return False
    if state.phase is Phase.TO_BUY:
        return row.enabled and block is None and state.halt is None
    return state.phase is Phase.SELL_SUBMITTED and row.stop_loss_pct is not None


# --- parts of several passes -----------------------------------------------------------------


def _liquidate_states(
    engine: Engine, session: Session, states: Mapping[str, Stored], at: datetime
) -> dict[str, Stored]:
    """Take each symbol one step closer to flat, and wait a little for cancels to take effect."""
    pending = {s: one for s, one in states.items() if one.state.phase is not Phase.DONE}
    answers: list[Any] = engine.fan_out(
        [lambda: _opened_for(engine, pending), lambda: _positions_for(engine, pending)]
    )
    opened, positions = answers
    rules = engine.rules(session, None)

    def step(stored: Stored) -> Stored:
        symbol = stored.state.symbol
        if opened is not None:
            stored = engine.reconcile(stored, opened, at, rules)
        position = None if positions is None else positions.get(symbol, 0)
        due = LiquidationDue(symbol=symbol, at=at, position=position)
        stored = engine.drive(stored, due, rules)
        for attempt in range(CANCEL_POLLS):
            order = stored.state.order
            if order is None or order.cancel_at is None:
                break
            time.sleep(CANCEL_POLL_S * 2**attempt)
            stored = engine.reconcile(stored, {}, at, rules)
        return stored

    return _for_each(engine, pending, step)


def _finish(
    engine: Engine, session: Session, states: Mapping[str, Stored], at: datetime
) -> dict[str, Stored]:
    """Liquidate before the close; from then on only see what became of it."""
    if at < session.close:
        return _liquidate_states(engine, session, states, at)
    return _reconcile_all(engine, session, states, at)


def _reconcile_all(
    engine: Engine, session: Session, states: Mapping[str, Stored], at: datetime
) -> dict[str, Stored]:
    opened = _opened_for(engine, states)
    if opened is None:
        return {}
    rules = engine.rules(session, None)
    return _for_each(engine, states, lambda one: engine.reconcile(one, opened, at, rules))


def _for_each(
    engine: Engine, states: Mapping[str, Stored], task: Callable[[Stored], Stored]
) -> dict[str, Stored]:
    """Run a task for each symbol side by side; one that fails keeps the state it had."""
    results = engine.fan_out(
        [partial(engine.isolate, symbol, partial(task, one)) for symbol, one in states.items()]
    )
    return {s: result or one for (s, one), result in zip(states.items(), results, strict=True)}


def _opened_for(engine: Engine, states: Mapping[str, Stored]) -> Mapping[str, OrderReport] | None:
    """Return the open orders, by one request and only where one is in question; None: no answer."""
    if not any(one.state.order or one.state.abandoned for one in states.values()):
        return {}
    try:
        return engine.open_orders()
    except BrokerError as error:
        _failed("open orders", error)
        return None


def _positions_for(engine: Engine, states: Mapping[str, Stored]) -> Mapping[str, int] | None:
    """Return the broker's shares by symbol; None: unknown, or no sell is to be sized by them."""
    if all(one.state.is_flat for one in states.values()):
        return None
    try:
        return engine.broker.positions()
    except BrokerError as error:
        _failed("positions", error)
        return None


def _rows_for(engine: Engine, states: Mapping[str, Stored]) -> Mapping[str, SymbolRules]:
    """Return the symbols' rows where a buy may have to be sent again."""
    orders = [one.state.order for one in states.values()]
    if any(order and order.is_buy and order.progress is Progress.INTENT for order in orders):
        return _rows(engine)
    return {}


def _made(stored: Stored | None, name: ClientOrderId) -> bool:
    """Whether the state knows that this system made the order."""
    state = stored.state if stored else None
    return state is not None and state.session == name.day and name.generation <= state.generation


def _is_busy(state: SymbolState) -> bool:
    """Whether an order works or is in doubt, or a refused exit rests."""
    return not state.is_flat or bool(state.abandoned)


def _broker_refuses_keys(engine: Engine, error: UnauthorizedError) -> Answer:
    count("KeysRefused")
    logger.error(
        "the broker refuses the keys",
        extra={
            "error": str(error),
            "todo": f"put a valid key of the {engine.settings.mode} account as "
            f'{{"key_id", "secret_key"}} into the secret {engine.settings.broker_secret_id}',
        },
    )
    return {"status": "keys_refused"}


def _failed(what: str, error: ScalperError) -> Answer:
    """Log and count a request that failed as a whole; the next pass tries again."""
    name = "StoreErrors" if isinstance(error, StoreError) else "BrokerErrors"
    count(name)
    logger.error("request failed", extra={"what": what, "error": str(error)})
    return {"status": "failed", "what": what, "error": str(error)}


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
