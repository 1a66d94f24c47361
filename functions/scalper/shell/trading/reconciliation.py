"""Reconciliation: the broker's reports of orders are joined into the states.

A list's report of a working or watched order counts; without one, the broker is asked for the
order. A list's report of another order of ours does not count, because the list may be old: the
broker is asked for that order first. A state that the table lacks is rebuilt from the day's orders.
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
    """Join the broker's reports of the symbol's orders into its state.

    `opened` are the account's open orders by client id, read after `stored` was. Closed orders of
    the day may be among them. Raises BrokerError, StoreError, InvariantError.
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
            # The report before this one closed the order: the list is older than that.
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
    """Join listed reports of own orders that the state does not record.

    Such a report is a correction of a closed order, or of an order that the state never made. The
    list may be older than the state, so the broker is asked for each of these orders.
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
    """Reconcile every state, and decide nothing else."""
    opened = read_open_orders(engine, states)
    if opened is None:
        return {}
    listed = by_client_order_id(opened, read_day_orders_if_many(engine, session, states, opened))
    return reconcile_each(engine, states, listed, at, engine.rules(session, None))


def reconcile_each(
    engine: Engine,
    states: Mapping[str, Stored],
    listed: Mapping[str, OrderReport],
    at: datetime,
    rules: Rules,
) -> dict[str, Stored]:
    """Reconcile the states side by side, with what the lists say."""
    return for_each(engine, states, lambda one: reconcile(engine, one, listed, at, rules))


def by_client_order_id(
    opened: Mapping[str, OrderReport], orders: Sequence[OrderReport] | None
) -> Mapping[str, OrderReport]:
    """Return the reports of open orders, and of the day's if they were listed, by client id.

    A replaced order is left out, so that the broker is asked for it or for its successor.
    """
    return {**opened, **{o.client_order_id: o for o in orders or () if o.status != "replaced"}}


def recover(
    engine: Engine,
    symbols: Iterable[str],
    session: Session,
    at: datetime,
    own: Mapping[str, Sequence[OrderReport]] | None = None,
) -> dict[str, Stored]:
    """Rebuild the states that the table lacks from the broker's orders of the day.

    `own` are these orders by symbol, if the caller has them. If another invocation has written a
    state meanwhile, that state is loaded. An item that can be neither read nor written is left
    out. Raises BrokerError if the orders cannot be read.
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
