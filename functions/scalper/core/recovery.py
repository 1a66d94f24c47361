"""Where a symbol's state begins: in a new session, or from the broker's orders if it was lost."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import pairwise

from scalper.core.model import Phase, Reason, SessionBegan, StateRebuilt, SymbolState
from scalper.core.order import ClientOrderId, Order, OrderReport, Progress, Purpose, progress_of
from scalper.core.positions import book_sale
from scalper.core.pricing import Money
from scalper.core.transitions import assert_recovered, contradiction


@dataclass(frozen=True, slots=True)
class Exit:
    """A closed sell that filled, at least in part: one trade."""

    purpose: Purpose
    pnl: Money


def begin_session(state: SymbolState, day: date) -> SymbolState:
    """Return the state to use on `day`: a new one, unless something is left of an older session.

    An order in doubt keeps its session until it is closed. Shares that are left over stay held,
    for a bail-out to sell. A state of `day`, or of a later day, is returned as it is.
    """
    if state.session >= day:
        return state
    after = _carried_over(state, day)
    # A damaged state is let through: its next step refuses it, which stops this symbol alone. An
    # error here would stop the invocation that reads the states of all symbols.
    if not contradiction(state):
        assert_recovered(state, SessionBegan(symbol=state.symbol, session=day), after)
    return after


def _carried_over(state: SymbolState, day: date) -> SymbolState:
    if state.order is not None:
        return state
    fresh = SymbolState(symbol=state.symbol, session=day, phase=Phase.TO_BUY)
    if state.qty == 0:
        return fresh
    return replace(
        fresh,
        phase=Phase.TO_SELL,
        qty=state.qty,
        cost=state.cost,
        entered_at=state.entered_at,
        exit_as=Purpose.BAILOUT,
        halt=state.halt,
    )


def rebuild(
    symbol: str, day: date, mode: str, reports: Iterable[OrderReport], at: datetime
) -> SymbolState:
    """Return the state that the broker's orders of `day` tell, oldest generation first.

    `reports` are answers to requests. Orders that this system did not make are left out. A live
    order that does not fit what is held halts the symbol; its next report makes the machine cancel
    it. Raises InvariantError if the phase would contradict the state.
    """
    *_, (_, state) = _replayed(symbol, day, mode, reports, at)
    if state.order is None:
        state = replace(state, phase=Phase.TO_SELL if state.qty else Phase.TO_BUY)
    elif state.order.is_buy:
        state = replace(state, phase=Phase.BUY_SUBMITTED)
    else:
        state = replace(state, phase=Phase.SELL_SUBMITTED)
    assert_recovered(None, StateRebuilt(symbol=symbol, session=day), state)
    return state


def exits_of(
    symbol: str, day: date, mode: str, reports: Iterable[OrderReport], at: datetime
) -> list[Exit]:
    """Return the trades that the broker's orders of `day` tell; their sum is `rebuild`'s `pnl`."""
    steps = _replayed(symbol, day, mode, reports, at)
    return [
        Exit(purpose, after.pnl - before.pnl)
        for (_, before), (purpose, after) in pairwise(steps)
        if purpose is not None and after.trades > before.trades
    ]


def _replayed(
    symbol: str, day: date, mode: str, reports: Iterable[OrderReport], at: datetime
) -> Iterator[tuple[Purpose | None, SymbolState]]:
    """Yield the state at the start and after each generation, with its order's purpose.

    The purpose is None at the start, and for a generation that the broker does not have.
    """
    made: dict[int, tuple[ClientOrderId, OrderReport]] = {}
    for report in reports:
        name = ClientOrderId.parse(report.client_order_id)
        if name is not None and (name.mode, name.symbol, name.day) == (mode, symbol, day):
            made[name.generation] = (name, report)
    state = SymbolState(symbol=symbol, session=day, generation=max(made, default=0))
    yield None, state
    for generation in range(1, state.generation + 1):
        if generation not in made:
            state = replace(state, settled=(*state.settled, 0))
            yield None, state
            continue
        name, report = made[generation]
        if progress_of(report.status) is Progress.TERMINAL:
            state = _add_closed(state, name, report, at)
        elif generation == state.generation and _fits(state, name, report):
            state = _take_up(state, name, report, at)
        else:
            state = _put_aside(state, report)
        yield name.purpose, state


def _fits(state: SymbolState, name: ClientOrderId, report: OrderReport) -> bool:
    """Return whether the machine could have made this live order from this state."""
    if name.purpose is Purpose.ENTRY:
        return state.qty == 0
    return 0 < report.qty <= state.qty


def _put_aside(state: SymbolState, report: OrderReport) -> SymbolState:
    """Halt the symbol over a live order too many. The next reconciliation cancels it."""
    return replace(
        state,
        settled=(*state.settled, 0),
        abandoned=(*state.abandoned, report.client_order_id),
        halt=Reason.LATE_ORDER,
    )


def _add_closed(
    state: SymbolState, name: ClientOrderId, report: OrderReport, at: datetime
) -> SymbolState:
    """Add a closed order to the state.

    An order that the broker replaced halts the symbol. If the broker does not name the successor,
    it counts as an external order, which blocks entries.
    """
    state = replace(state, settled=(*state.settled, report.filled_qty))
    if report.status == "replaced" or report.carried is not None:
        state = replace(state, halt=Reason.REPLACED_ORDER)
    if name.purpose is Purpose.ENTRY:
        if report.filled_qty == 0:
            return state
        return replace(
            state,
            qty=state.qty + report.filled_qty,
            cost=state.cost + report.filled_value,
            entered_at=report.updated_at or at,
            entries=state.entries + 1,
            exit_attempts=0,
        )
    # Shares of an older session have no buy among these orders: their sale books nothing.
    sold = book_sale(
        state,
        qty=report.filled_qty,
        order_qty=report.filled_qty,
        order_value=report.filled_value,
    )
    return replace(
        sold,
        exit_attempts=state.exit_attempts + 1,
        exit_as=Purpose.BAILOUT if sold.qty > 0 else Purpose.TARGET,
    )


def _take_up(
    state: SymbolState, name: ClientOrderId, report: OrderReport, at: datetime
) -> SymbolState:
    """Make the live order the working one."""
    order = Order(
        client_order_id=report.client_order_id,
        purpose=name.purpose,
        qty=report.qty,
        limit=report.limit,
        submitted_at=report.submitted_at or at,
        progress=Progress.LIVE,
        status=report.status,
        filled_qty=report.filled_qty,
        filled_value=report.filled_value,
        updated_at=report.updated_at,
        broker_id=report.broker_id,
    )
    if report.carried is None:
        return replace(state, order=order)
    qty, value = report.carried
    order = replace(order, successor=report.broker_id, carried_qty=qty, carried_value=value)
    return replace(state, order=order, halt=Reason.REPLACED_ORDER)
