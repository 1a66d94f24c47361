"""Reconciliation: what the broker says of orders is joined into the states.

An order that works or is watched is asked for, unless a list says of it already. What a list says
of other orders of ours is asked for before it counts, because a list may be old. A state that the
table lacks is rebuilt from the day's orders.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from scalper.core.model import OrderSeen, Rules
from scalper.core.order import ABSENT, OrderReport, Progress, progress_of
from scalper.core.pricing import Money
from scalper.core.recovery import rebuild
from scalper.core.session import Session
from scalper.shell.errors import ConflictError, StoreError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Stored
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.batch import for_each, read_day_orders_if_many, read_open_orders
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.own_orders import (
    is_asked_for,
    is_unrecorded,
    listed_or_found,
    own_reports,
)


def reconcile(
    engine: Engine,
    stored: Stored,
    opened: Mapping[str, OrderReport],
    at: datetime,
    rules: Rules,
    last_trade: Money | None = None,
) -> Stored:
    """Join what the broker says of the symbol's orders: by the list, else by asking for each.

    `opened` are the account's open orders by client id, read after `stored` was; others of the
    day may be among them.
    """
    state = stored.state
    ids = [*state.abandoned, *([state.order.client_order_id] if state.order else [])]
    listed = [report for report in opened.values() if report.symbol == state.symbol]
    contested = any(
        report.client_order_id not in ids and progress_of(report.status) is Progress.LIVE
        for report in listed
    )
    for client_order_id in ids:
        if not is_asked_for(stored.state, client_order_id):
            # Over by what was just taken up: the list is older than that.
            continue
        report = opened.get(client_order_id) or listed_or_found(
            engine.broker, stored.state, client_order_id, listed
        )
        if report.status == ABSENT and client_order_id in state.abandoned:
            continue
        event = OrderSeen(
            symbol=state.symbol,
            at=at,
            report=report,
            last_trade=last_trade,
            other_order_open=contested,
        )
        stored = engine.drive(stored, event, rules)
    return reconcile_listed(engine, stored, listed, at, rules)


def reconcile_listed(
    engine: Engine, stored: Stored, reports: Iterable[OrderReport], at: datetime, rules: Rules
) -> Stored:
    """Take up what the broker lists of the symbol's own orders and the state does not say.

    A fill taken back or added when the order was over, an order of a number never given. A
    list may lag behind what was heard since, so each such order is asked for before it counts.
    """
    for report in reports:
        asked_for = is_asked_for(stored.state, report.client_order_id)
        if asked_for or not is_unrecorded(stored.state, report):
            continue
        for event in engine.ask(stored.state, report.client_order_id, at):
            stored = engine.drive(stored, event, rules)
    return stored


def reconcile_all(
    engine: Engine, session: Session, states: Mapping[str, Stored], at: datetime
) -> dict[str, Stored]:
    """Join what the broker says of every working order, and decide nothing else."""
    opened = read_open_orders(engine, states)
    if opened is None:
        return {}
    told = by_client_order_id(opened, read_day_orders_if_many(engine, session, states, opened))
    return reconcile_each(engine, states, told, at, engine.rules(session, None))


def reconcile_each(
    engine: Engine,
    states: Mapping[str, Stored],
    told: Mapping[str, OrderReport],
    at: datetime,
    rules: Rules,
) -> dict[str, Stored]:
    """Join what the lists, and the broker asked anew, say of each of the states."""
    return for_each(engine, states, lambda one: reconcile(engine, one, told, at, rules))


def by_client_order_id(
    opened: Mapping[str, OrderReport], orders: Sequence[OrderReport] | None
) -> Mapping[str, OrderReport]:
    """Return what the open orders and, where they were listed, the day's tell, by client id.

    A replaced one is left out: it, or what works in its place, is asked for.
    """
    return {**opened, **{o.client_order_id: o for o in orders or () if o.status != "replaced"}}


def recover(
    engine: Engine,
    symbols: Iterable[str],
    session: Session,
    at: datetime,
    own: Mapping[str, Sequence[OrderReport]] | None = None,
) -> dict[str, Stored]:
    """Build the states that the table lacks from the broker's orders of the day.

    `own` are these orders by symbol where the caller has them. A state that somebody else
    wrote meanwhile is loaded instead; an item that can be neither read nor written is left
    out.
    """
    if own is None:
        own = own_reports(engine.orders_of_day(session), engine.settings.mode)
    recovered: dict[str, Stored] = {}
    for symbol in sorted(set(symbols)):
        reports = own.get(symbol, [])
        state = rebuild(symbol, session.day, engine.settings.mode, reports, at)
        try:
            recovered[symbol] = engine.store.save(Stored(state, None), state)
        except ConflictError:
            present = _load_instead(engine, symbol)
            if present is not None:
                recovered[symbol] = present
            continue
        except StoreError as error:
            _log_not_recovered(symbol, error)
            continue
        if state.generation:
            count(Metric.STATES_RECOVERED)
            logger.error("state rebuilt", extra={"symbol": symbol, "phase_to": state.phase})
    return recovered


def _load_instead(engine: Engine, symbol: str) -> Stored | None:
    try:
        return engine.store.load(symbol)
    except StoreError as error:
        _log_not_recovered(symbol, error)
        return None


def _log_not_recovered(symbol: str, error: StoreError) -> None:
    count(Metric.SYMBOL_FAILURES)
    logger.error("symbol failed", extra={"symbol": symbol, "error": str(error)})
