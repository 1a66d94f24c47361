"""What several passes do: over all symbols side by side, one symbol's failure stops only it."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from scalper.core.model import LiquidationDue, Phase, SymbolState
from scalper.core.order import OrderReport
from scalper.core.session import Session
from scalper.shell.engine import Engine
from scalper.shell.errors import BrokerError, ScalperError, StoreError
from scalper.shell.store import Stored
from scalper.shell.symbols import SymbolRules
from scalper.shell.telemetry import count, logger

CHECKUP_DELAY_S = 30
CANCEL_POLLS = 5
CANCEL_POLL_S = 0.2
MAX_REFUSED_LINES = 20
"""Lines of refused rows in one tick's log; all of them are counted."""

Answer = dict[str, Any]


def liquidate_states(
    engine: Engine, session: Session, states: Mapping[str, Stored], at: datetime
) -> dict[str, Stored]:
    """Take each symbol one step closer to flat, and wait a little for cancels to take effect."""
    pending = {
        symbol: one
        for symbol, one in states.items()
        if one.state.phase is not Phase.DONE or is_busy(one.state)
    }
    answers: list[Any] = engine.fan_out(
        [lambda: opened_for(engine, pending), lambda: positions_for(engine, pending)]
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
            engine.timing.sleep(CANCEL_POLL_S * 2**attempt)
            stored = engine.reconcile(stored, {}, at, rules)
        return stored

    return for_each(engine, pending, step)


def reconcile_all(
    engine: Engine, session: Session, states: Mapping[str, Stored], at: datetime
) -> dict[str, Stored]:
    """Join what the broker says of every working order, and decide nothing else."""
    opened = opened_for(engine, states)
    if opened is None:
        return {}
    rules = engine.rules(session, None)
    return for_each(engine, states, lambda one: engine.reconcile(one, opened, at, rules))


def for_each(
    engine: Engine, states: Mapping[str, Stored], task: Callable[[Stored], Stored]
) -> dict[str, Stored]:
    """Run a task for each symbol side by side; one that fails keeps the state it had.

    What is held or works comes first: where requests are scarce, exits go before entries.
    """
    items = sorted(states.items(), key=lambda item: item[1].state.is_flat)
    results = engine.fan_out(
        [partial(engine.isolate, symbol, partial(task, one)) for symbol, one in items]
    )
    return {s: result or one for (s, one), result in zip(items, results, strict=True)}


def opened_for(
    engine: Engine, states: Mapping[str, Stored], *, entering: bool = False
) -> Mapping[str, OrderReport] | None:
    """Return the open orders, by one request and only where one is in question; None: no answer.

    Where something may be entered, anybody's order is in question.
    """
    if not entering and not any(one.state.order or one.state.abandoned for one in states.values()):
        return {}
    try:
        return engine.open_orders()
    except BrokerError as error:
        failed("open orders", error)
        return None


def positions_for(
    engine: Engine, states: Mapping[str, Stored], *, entering: bool = False
) -> Mapping[str, int] | None:
    """Return the broker's shares by symbol; None: unknown, or nothing hangs on them."""
    if not entering and all(one.state.is_flat for one in states.values()):
        return None
    try:
        return engine.broker.positions()
    except BrokerError as error:
        failed("positions", error)
        return None


def held_for(
    engine: Engine, symbols: Collection[str], session: Session, at: datetime
) -> Mapping[str, int]:
    """Return the broker's shares of symbols whose shares rest, as far as they are known."""
    if not symbols:
        return {}
    try:
        return engine.held(symbols, session, at)
    except BrokerError as error:
        failed("positions", error)
        return {}


def read_rows(engine: Engine) -> Mapping[str, SymbolRules]:
    """Return the rows of the symbols table that make sense; exits need none of them."""
    try:
        rows, refused = engine.symbols.read()
    except StoreError as error:
        failed("symbols", error)
        return {}
    count("SymbolsRefused", len(refused))
    for line in refused[:MAX_REFUSED_LINES]:
        logger.warning("symbol refused", extra={"error": line})
    return rows


def is_busy(state: SymbolState) -> bool:
    """Whether an order works or is in doubt, or a refused exit rests."""
    return not state.is_flat or bool(state.abandoned)


def failed(what: str, error: ScalperError) -> Answer:
    """Log and count a request that failed as a whole; the next pass tries again."""
    name = "StoreErrors" if isinstance(error, StoreError) else "BrokerErrors"
    count(name)
    logger.error("request failed", extra={"what": what, "error": str(error)})
    return {"status": "failed", "what": what, "error": str(error)}
