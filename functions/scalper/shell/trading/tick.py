"""The tick: once a minute, it decides every symbol of its shard.

It claims the minute; a second tick of the same minute only reconciles. From the liquidation's time
on, a tick liquidates instead.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scalper.core import limits
from scalper.core.limits import Facts
from scalper.core.model import AccountFacts, Phase, Rules
from scalper.core.order import ClientOrderId, OrderReport
from scalper.core.session import Session, floor_minute, new_york_day
from scalper.shell.errors import BrokerError, StoreError, UnauthorizedError, WrongAccountError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Stored, SymbolRules
from scalper.shell.shards import in_shard
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.batch import (
    CHECKUP_DELAY_S,
    Answer,
    failed,
    is_active,
    read_day_orders_if_many,
    read_open_orders,
    read_positions,
    read_rows,
    run_each,
)
from scalper.shell.trading.engine import Engine, rules_for
from scalper.shell.trading.liquidate import liquidate_states
from scalper.shell.trading.own_orders import own_reports
from scalper.shell.trading.pre_trade import (
    AtBroker,
    Candidate,
    admit,
    ask_signal,
    bar_closed,
    read_account_block,
    say_blocked_account,
)
from scalper.shell.trading.reconciliation import (
    by_client_order_id,
    reconcile,
    reconcile_all,
    recover,
)
from scalper.shell.trading.tick_metrics import log_unchanged, measure_bars, measure_tick
from scalper.shell.trading.tick_schedule import REDRIVEN_AFTER, TickDue, claim, wait_for_start

LATE_AFTER = timedelta(seconds=45)
"""A tick that starts later than this after its minute enters nothing."""

SKEW_LIMIT = timedelta(seconds=2)
"""The most by which this machine's clock and the broker's may differ."""

BAR_POLL_S = 0.5
"""Seconds between two requests for bars that are not there yet."""


def tick(engine: Engine, due: TickDue) -> Answer:
    """Decide each symbol of the shard, at the end of the minute `due.minute`."""
    count(Metric.HEARTBEAT)
    at = floor_minute(due.minute)
    try:
        session = engine.session(new_york_day(at))
        if session is None or not session.open < at <= session.close:
            return {"status": "closed", "minute": at.isoformat()}
        check = wait_for_start(engine, due, session, at)
        if check.skip:
            return {"status": check.skip, "minute": at.isoformat()}
        return _tick_in_session(engine, due, session, at, claimed=check.claimed)
    except WrongAccountError as error:
        return {"status": "wrong_account", "error": error.message}
    except UnauthorizedError as error:
        return _broker_refuses_keys(engine, error)
    except (BrokerError, StoreError) as error:
        return failed("tick", error)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a tick reads first, side by side."""

    now: datetime
    account: AccountFacts
    """What may keep the whole account from entering in this tick."""
    rows: Mapping[str, SymbolRules]
    states: dict[str, Stored]
    claimed: bool
    """Whether this tick claimed the minute. A tick that did not only reconciles."""


def _tick_in_session(
    engine: Engine, due: TickDue, session: Session, at: datetime, *, claimed: bool
) -> Answer:
    began = engine.timing.monotonic()
    inputs = _read_inputs(engine, due, session, at, is_claimed=claimed)
    if due.link and not inputs.claimed:
        return {"status": "repeated", "minute": at.isoformat()}
    if inputs.now - at > REDRIVEN_AFTER:
        return _tick_redriven(engine, inputs)
    states = inputs.states
    states = states | _recover(engine, session, [s for s in inputs.rows if s not in states], at)
    before = dict(states)
    if inputs.claimed and at < session.liquidate_at:
        states |= _decide(engine, session, due, inputs, states, at)
    elif inputs.claimed and session.liquidate_at < at < session.close:
        states |= liquidate_states(engine, session, states, at)
    else:
        # In the first minute of the liquidation, the liquidation's own function does the work.
        states |= reconcile_all(engine, session, states, at)
    if inputs.claimed:
        measure_tick(engine, states, at, began, inputs.now)
        log_unchanged(before, states, at)
    busy = [one for one in states.values() if is_active(one.state)]
    if busy and at < session.close:
        engine.outbox.checkup_in(CHECKUP_DELAY_S, at)
    return {
        "status": "ok" if inputs.claimed else "repeated",
        "minute": at.isoformat(),
        "symbols": len(states),
        "busy": len(busy),
    }


def _recover(
    engine: Engine, session: Session, symbols: Collection[str], at: datetime
) -> dict[str, Stored]:
    """Rebuild the states that the table lacks; if the broker does not answer, leave them out."""
    if not symbols:
        return {}
    try:
        return recover(engine, symbols, session, at)
    except UnauthorizedError:
        raise
    except BrokerError as error:
        failed("orders of the day", error)
        return {}


def _tick_redriven(engine: Engine, inputs: _Inputs) -> Answer:
    """Only reconcile, as of now: the event was delivered again, maybe on another day."""
    session = engine.session(new_york_day(inputs.now))
    if session is not None and session.open < inputs.now:
        reconcile_all(engine, session, inputs.states, inputs.now)
    return {"status": "too late", "symbols": len(inputs.states)}


def _read_inputs(
    engine: Engine, due: TickDue, session: Session, at: datetime, *, is_claimed: bool
) -> _Inputs:
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
    (now, skewed), rows, states, halt, claimed, blocked = results
    if blocked:
        say_blocked_account(blocked, states)
    account = AccountFacts(
        halted=bool(halt),
        blocked=bool(blocked),
        clock_skew=skewed,
        late=now - at > LATE_AFTER,
    )
    mine = {symbol: row for symbol, row in rows.items() if in_shard(symbol, *shard)}
    return _Inputs(now, account, mine, states, claimed)


def _read_clock(engine: Engine, at: datetime) -> tuple[datetime, bool]:
    """Return the time, and whether this machine's clock and the broker's disagree.

    Raises UnauthorizedError, because a tick can do nothing if the broker refuses the keys.
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
                return now, True
    return now, False


def _decide(
    engine: Engine,
    session: Session,
    due: TickDue,
    inputs: _Inputs,
    states: dict[str, Stored],
    at: datetime,
) -> dict[str, Stored]:
    """Decide each symbol as soon as its bar is there; after `bar_wait_s`, decide the others."""
    enabled = [symbol for symbol, row in inputs.rows.items() if row.enabled]
    entering = limits.account_limit(inputs.account) is None and bool(enabled)
    answers: list[Any] = engine.fan_out(
        [
            lambda: read_open_orders(engine, states, entering=entering),
            lambda: read_positions(engine, states, entering=True) if entering else None,
            lambda: _refresh(engine, session, inputs, at),
        ]
    )
    opened, positions, _ = answers
    orders = None if opened is None else read_day_orders_if_many(engine, session, states, opened)
    listed = None if opened is None else by_client_order_id(opened, orders)
    lost = _own_symbols(engine, due, session, opened or {}) - set(states)
    states = states | _recover(engine, session, lost, at)
    decision = _Decision(engine, session, at, inputs, listed, AtBroker.of(opened, positions))
    waiting = set(states)
    deadline = engine.timing.monotonic() + engine.settings.bar_wait_s
    while waiting:
        last_look = engine.timing.monotonic() >= deadline
        ready = {s for s in waiting if last_look or decision.is_ready(states[s])}
        states |= decision.decide(states, ready)
        waiting -= ready
        if waiting:
            left_s = deadline - engine.timing.monotonic()
            engine.timing.sleep(min(BAR_POLL_S, max(left_s, 0.0)))
            _refresh(engine, session, inputs, at)
    measure_bars(engine, session, enabled, at, inputs.now)
    return states


@dataclass(frozen=True, slots=True)
class _Decision:
    """The decision of one minute; `decide` takes it for the symbols whose bars are there."""

    engine: Engine
    session: Session
    at: datetime
    inputs: _Inputs
    listed: Mapping[str, OrderReport] | None
    """Reports from the lists of orders, by client id; None if a list could not be read."""
    at_broker: AtBroker

    def is_ready(self, stored: Stored) -> bool:
        """Return whether the symbol's bar is there, or its decision does not need one."""
        symbol = stored.state.symbol
        row = self.inputs.rows.get(symbol)
        stops = row is not None and row.stop_loss_pct is not None
        watched = stops and stored.state.phase is Phase.SELL_SUBMITTED
        if not watched and not self._may_enter(stored):
            return True
        return bar_closed(self.engine, symbol, self.at).close is not None

    def decide(self, states: Mapping[str, Stored], ready: Collection[str]) -> dict[str, Stored]:
        """Take the four steps for the symbols that are ready; return the states they end in.

        The steps are: reconcile, signal, admit, drive. Every candidate takes a step before any
        takes the next. Only the admission has an order. A symbol that cannot enter is driven as
        soon as it is reconciled, so no exit waits for another symbol. A symbol that fails in a
        step keeps its state and takes no further step.
        """
        mine = {symbol: one for symbol, one in states.items() if symbol in ready}
        done = run_each(self.engine, mine, self._reconcile)
        reconciled = {symbol: stored for symbol, (stored, _) in done.items()}
        entering = {symbol: stored for symbol, (stored, is_driven) in done.items() if not is_driven}
        asked = run_each(self.engine, entering, self._ask_signal)
        admitted = admit(asked, {**states, **reconciled})
        driven = run_each(
            self.engine,
            {symbol: one.stored for symbol, one in admitted.items()},
            lambda stored: self._drive(admitted[stored.state.symbol]),
        )
        return {**mine, **reconciled, **driven}

    def _rules(self, stored: Stored) -> Rules:
        row = self.inputs.rows.get(stored.state.symbol)
        return rules_for(stored, self.engine.rules(self.session, row, self.inputs.account))

    def _may_enter(self, stored: Stored) -> bool:
        facts = Facts(state=stored.state, rules=self._rules(stored), at=self.at)
        return limits.may_enter(facts)

    def _reconcile(self, stored: Stored) -> tuple[Stored, bool]:
        """Reconcile the symbol; if it cannot enter, drive its minute at once, and return True."""
        symbol, rules = stored.state.symbol, self._rules(stored)
        if self.listed is not None:
            last = self.engine.window.last_close(symbol)
            stored = reconcile(self.engine, stored, self.listed, self.at, rules, last)
        if self._may_enter(stored):
            return stored, False
        event = bar_closed(self.engine, symbol, self.at)
        return self.engine.drive(stored, event, rules), True

    def _ask_signal(self, stored: Stored) -> Candidate:
        symbol = stored.state.symbol
        rules = self.at_broker.add_to(self._rules(stored), symbol)
        return ask_signal(self.engine, stored, self.inputs.rows.get(symbol), rules, self.at)

    def _drive(self, one: Candidate) -> Stored:
        return self.engine.drive(one.stored, one.event, one.rules)


def _own_symbols(
    engine: Engine, due: TickDue, session: Session, opened: Mapping[str, OrderReport]
) -> set[str]:
    """Return the shard's symbols with an open order of ours, made in this session."""
    own = own_reports(opened.values(), engine.settings.mode)
    return {
        symbol
        for symbol, reports in own.items()
        if in_shard(symbol, due.shard, due.shard_count)
        for report in reports
        if (name := ClientOrderId.parse(report.client_order_id)) and name.day == session.day
    }


def _refresh(engine: Engine, session: Session, inputs: _Inputs, at: datetime) -> None:
    """Fetch the bars that the window lacks; a symbol without its bar enters nothing."""
    symbols = sorted(s for s, row in inputs.rows.items() if row.enabled or s in inputs.states)
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
