"""The tick: each minute a decision for every symbol."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from scalper.core.model import BarClosed, Phase, Reason, Rules, SymbolState
from scalper.core.order import ClientOrderId, OrderReport
from scalper.core.session import MINUTE, Session, floor_minute, new_york_day
from scalper.core.signal import Bar
from scalper.shell.errors import BrokerError, StoreError, UnauthorizedError, WrongAccountError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Stored, SymbolRules
from scalper.shell.shards import in_shard
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.batch import (
    CHECKUP_DELAY_S,
    Answer,
    by_client_order_id,
    failed,
    for_each,
    is_active,
    liquidate_states,
    read_day_orders_if_many,
    read_open_orders,
    read_positions,
    read_rows,
    reconcile_all,
)
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.own_orders import own_reports
from scalper.shell.trading.pre_trade import (
    Seen,
    may_enter,
    read_account_block,
    say_blocked_account,
    say_blocked_entry,
)
from scalper.shell.trading.tick_metrics import measure_bars, measure_tick
from scalper.shell.trading.tick_schedule import REDRIVEN_AFTER, TickDue, claim, wait_for_turn

LATE_AFTER = timedelta(seconds=45)
"""A tick that starts later enters nothing."""

SKEW_LIMIT = timedelta(seconds=2)
BAR_POLL_S = 0.5


def tick(engine: Engine, due: TickDue) -> Answer:
    """Decide once for each symbol of the shard, on the minute that ended at `due.minute`."""
    count(Metric.HEARTBEAT)
    at = floor_minute(due.minute)
    try:
        session = engine.session(new_york_day(at))
        if session is None or not session.open < at <= session.close:
            return {"status": "closed", "minute": at.isoformat()}
        turn = wait_for_turn(engine, due, session, at)
        if turn.answer:
            return {"status": turn.answer, "minute": at.isoformat()}
        return _tick_in_session(engine, due, session, at, claimed=turn.claimed)
    except WrongAccountError as error:
        return {"status": "wrong_account", "error": error.message}
    except UnauthorizedError as error:
        return _broker_refuses_keys(engine, error)
    except (BrokerError, StoreError) as error:
        return failed("tick", error)


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


def _tick_in_session(
    engine: Engine, due: TickDue, session: Session, at: datetime, *, claimed: bool
) -> Answer:
    began = engine.timing.monotonic()
    start = _read_start(engine, due, session, at, is_claimed=claimed)
    if due.link and not start.claimed:
        return {"status": "repeated", "minute": at.isoformat()}
    if start.now - at > REDRIVEN_AFTER:
        return _tick_redriven(engine, start)
    states = start.states
    states = states | _recover(engine, session, [s for s in start.rows if s not in states], at)
    if start.claimed and at < session.liquidate_at:
        states |= _decide(engine, session, due, start, states, at)
    elif start.claimed and session.liquidate_at < at < session.close:
        states |= liquidate_states(engine, session, states, at)
    else:
        # The minute of the liquidation is the liquidation's own.
        states |= reconcile_all(engine, session, states, at)
    if start.claimed:
        measure_tick(engine, states, at, began, start.now)
    busy = [one for one in states.values() if is_active(one.state)]
    if busy and at < session.close:
        engine.outbox.checkup_in(CHECKUP_DELAY_S, at)
    return {
        "status": "ok" if start.claimed else "repeated",
        "minute": at.isoformat(),
        "symbols": len(states),
        "busy": len(busy),
    }


def _recover(
    engine: Engine, session: Session, symbols: Collection[str], at: datetime
) -> dict[str, Stored]:
    """Rebuild states that the table lacks; without an answer these symbols alone wait."""
    if not symbols:
        return {}
    try:
        return engine.recover(symbols, session, at)
    except UnauthorizedError:
        raise
    except BrokerError as error:
        failed("orders of the day", error)
        return {}


def _tick_redriven(engine: Engine, start: _Start) -> Answer:
    """Delivered again: only reconcile, as of now; the event's minute may be of another day."""
    session = engine.session(new_york_day(start.now))
    if session is not None and session.open < start.now:
        reconcile_all(engine, session, start.states, start.now)
    return {"status": "too late", "symbols": len(start.states)}


def _read_start(
    engine: Engine, due: TickDue, session: Session, at: datetime, *, is_claimed: bool
) -> _Start:
    shard = (due.shard, due.shard_count)
    results: list[Any] = engine.fan_out(
        [
            lambda: _read_clock(engine, at),
            lambda: read_rows(engine),
            lambda: engine.states(session, *shard),
            engine.store.account_halt,
            lambda: is_claimed or claim(engine, due, session, at),
            lambda: read_account_block(engine),
        ]
    )
    (now, block), rows, states, halt, claimed, blocked = results
    if blocked:
        say_blocked_account(blocked, states)
        block = Reason.ACCOUNT_BLOCKED
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
            failed("clock", error)
        else:
            if abs(skew) > SKEW_LIMIT:
                logger.error("clock skew", extra={"skew_s": skew.total_seconds()})
                count(Metric.CLOCK_SKEW)
                return now, Reason.CLOCK_SKEW
    return now, Reason.LATE_TICK if now - at > LATE_AFTER else None


def _decide(
    engine: Engine,
    session: Session,
    due: TickDue,
    start: _Start,
    states: dict[str, Stored],
    at: datetime,
) -> dict[str, Stored]:
    """Reconcile and decide each symbol as soon as its bar is there, all of them in the end."""
    entering = start.block is None and any(row.enabled for row in start.rows.values())
    answers: list[Any] = engine.fan_out(
        [
            lambda: read_open_orders(engine, states, entering=entering),
            lambda: read_positions(engine, states, entering=True) if entering else None,
            lambda: _refresh(engine, session, start, at),
        ]
    )
    opened, positions, _ = answers
    seen = Seen.of(opened, positions)
    orders = None if opened is None else read_day_orders_if_many(engine, session, states, opened)
    told = None if opened is None else by_client_order_id(opened, orders)
    lost = _own_symbols(engine, due, session, opened or {}) - set(states)
    states = states | _recover(engine, session, lost, at)

    def decide(stored: Stored) -> Stored:
        symbol = stored.state.symbol
        row = start.rows.get(symbol)
        rules = engine.rules(session, row, start.block)
        if told is not None:
            last = engine.window.last_close(symbol)
            stored = engine.reconcile(stored, told, at, rules, last)
        event, rules = _bar_closed(engine, stored.state, row, rules, at)
        block = seen.block(stored.state) if rules.block is None else None
        if block is not None:
            rules = replace(rules, block=block)
            if event.signal:
                say_blocked_entry(symbol, block)
        return engine.drive(stored, event, rules)

    decided: dict[str, Stored] = {}
    waiting = dict(states)
    deadline = engine.timing.monotonic() + engine.settings.bar_wait_s
    while waiting:
        last_look = engine.timing.monotonic() >= deadline
        ready = {
            symbol: stored
            for symbol, stored in waiting.items()
            if last_look
            or not _needs_bar(stored.state, start.rows.get(symbol), start.block)
            or _bar_ended_at(engine.window.bars(symbol, at), at) is not None
        }
        decided |= for_each(engine, ready, decide)
        waiting = {s: one for s, one in waiting.items() if s not in ready}
        if waiting:
            left_s = deadline - engine.timing.monotonic()
            engine.timing.sleep(min(BAR_POLL_S, max(left_s, 0.0)))
            _refresh(engine, session, start, at)
    traded = [symbol for symbol, row in start.rows.items() if row.enabled]
    measure_bars(engine, session, traded, at, start.now)
    return decided


def _own_symbols(
    engine: Engine, due: TickDue, session: Session, opened: Mapping[str, OrderReport]
) -> set[str]:
    """Return the shard's symbols on which orders of ours, of this session, are open."""
    own = own_reports(opened.values(), engine.settings.mode)
    return {
        symbol
        for symbol, reports in own.items()
        if in_shard(symbol, due.shard, due.shard_count)
        for report in reports
        if (name := ClientOrderId.parse(report.client_order_id)) and name.day == session.day
    }


def _refresh(engine: Engine, session: Session, start: _Start, at: datetime) -> None:
    """Fetch the bars that the window lacks; without them nothing is entered."""
    symbols = sorted(s for s, row in start.rows.items() if row.enabled or s in start.states)
    if not symbols:
        return
    try:
        refused = engine.window.refresh(symbols, session, at)
    except BrokerError as error:
        failed("bars", error)
        return
    for line in refused:
        count(Metric.BARS_REFUSED)
        logger.warning("bar refused", extra={"error": line})


def _bar_closed(
    engine: Engine, state: SymbolState, row: SymbolRules | None, rules: Rules, at: datetime
) -> tuple[BarClosed, Rules]:
    """Return the minute's event; a signal that fails blocks its symbol's entry alone."""
    bars = engine.window.bars(state.symbol, at)
    newest = _bar_ended_at(bars, at)
    signal = False
    asks = may_enter(state) and rules.block is None
    if newest is not None and row is not None and asks:
        try:
            signal = bool(row.signal(bars))
        except Exception:  # noqa: BLE001 - a user's own code: its failure stops its symbol alone
            logger.exception("signal failed", extra={"symbol": state.symbol})
            count(Metric.SIGNALS_FAILED)
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
        return row.enabled and block is None and may_enter(state)
    return state.phase is Phase.SELL_SUBMITTED and row.stop_loss_pct is not None


def _broker_refuses_keys(engine: Engine, error: UnauthorizedError) -> Answer:
    count(Metric.KEYS_REFUSED)
    logger.error(
        "the broker refuses the keys",
        extra={
            "error": str(error),
            "todo": f"put a valid key of the {engine.settings.mode} account as "
            f'{{"key_id", "secret_key"}} into the secret {engine.settings.broker_secret_id}',
        },
    )
    return {"status": "keys_refused"}
