"""The legal transitions as data: each change of a phase is a row here, and is asserted.

`TRANSITIONS` are the rows of `step`, `RECOVERIES` those of `recovery.py`. docs/state-machine.md
draws both.
"""

from scalper.core.model import (
    BarClosed,
    CheckupDue,
    Event,
    InvariantError,
    LiquidationDue,
    OrderSeen,
    Phase,
    Recovery,
    SessionBegan,
    StateRebuilt,
    Step,
    SubmitOrder,
    SymbolState,
)

TRANSITIONS: frozenset[tuple[Phase, type[Event], Phase]] = frozenset(
    {
        (Phase.TO_BUY, BarClosed, Phase.TO_BUY),
        (Phase.TO_BUY, BarClosed, Phase.BUY_SUBMITTED),
        (Phase.TO_BUY, OrderSeen, Phase.TO_BUY),
        (Phase.TO_BUY, OrderSeen, Phase.TO_SELL),
        (Phase.TO_BUY, OrderSeen, Phase.SELL_SUBMITTED),
        (Phase.TO_BUY, CheckupDue, Phase.TO_BUY),
        (Phase.TO_BUY, LiquidationDue, Phase.DONE),
        (Phase.BUY_SUBMITTED, BarClosed, Phase.BUY_SUBMITTED),
        (Phase.BUY_SUBMITTED, OrderSeen, Phase.BUY_SUBMITTED),
        (Phase.BUY_SUBMITTED, OrderSeen, Phase.TO_BUY),
        (Phase.BUY_SUBMITTED, OrderSeen, Phase.TO_SELL),
        (Phase.BUY_SUBMITTED, OrderSeen, Phase.SELL_SUBMITTED),
        (Phase.BUY_SUBMITTED, OrderSeen, Phase.DONE),
        (Phase.BUY_SUBMITTED, CheckupDue, Phase.BUY_SUBMITTED),
        (Phase.BUY_SUBMITTED, LiquidationDue, Phase.BUY_SUBMITTED),
        (Phase.TO_SELL, BarClosed, Phase.TO_SELL),
        (Phase.TO_SELL, OrderSeen, Phase.TO_SELL),
        (Phase.TO_SELL, OrderSeen, Phase.TO_BUY),
        (Phase.TO_SELL, OrderSeen, Phase.DONE),
        (Phase.TO_SELL, CheckupDue, Phase.TO_SELL),
        (Phase.TO_SELL, CheckupDue, Phase.TO_BUY),
        (Phase.TO_SELL, CheckupDue, Phase.DONE),
        (Phase.TO_SELL, CheckupDue, Phase.SELL_SUBMITTED),
        (Phase.TO_SELL, LiquidationDue, Phase.TO_SELL),
        (Phase.TO_SELL, LiquidationDue, Phase.DONE),
        (Phase.TO_SELL, LiquidationDue, Phase.SELL_SUBMITTED),
        (Phase.SELL_SUBMITTED, BarClosed, Phase.SELL_SUBMITTED),
        (Phase.SELL_SUBMITTED, OrderSeen, Phase.SELL_SUBMITTED),
        (Phase.SELL_SUBMITTED, OrderSeen, Phase.TO_BUY),
        (Phase.SELL_SUBMITTED, OrderSeen, Phase.TO_SELL),
        (Phase.SELL_SUBMITTED, OrderSeen, Phase.DONE),
        (Phase.SELL_SUBMITTED, CheckupDue, Phase.SELL_SUBMITTED),
        (Phase.SELL_SUBMITTED, LiquidationDue, Phase.SELL_SUBMITTED),
        (Phase.DONE, BarClosed, Phase.DONE),
        (Phase.DONE, OrderSeen, Phase.DONE),
        (Phase.DONE, OrderSeen, Phase.TO_SELL),
        (Phase.DONE, OrderSeen, Phase.SELL_SUBMITTED),
        (Phase.DONE, CheckupDue, Phase.DONE),
        (Phase.DONE, LiquidationDue, Phase.DONE),
    }
)


RECOVERIES: frozenset[tuple[Phase | None, type[Recovery], Phase]] = frozenset(
    {
        (None, StateRebuilt, Phase.TO_BUY),
        (None, StateRebuilt, Phase.BUY_SUBMITTED),
        (None, StateRebuilt, Phase.TO_SELL),
        (None, StateRebuilt, Phase.SELL_SUBMITTED),
        (Phase.TO_BUY, SessionBegan, Phase.TO_BUY),
        (Phase.BUY_SUBMITTED, SessionBegan, Phase.BUY_SUBMITTED),
        (Phase.TO_SELL, SessionBegan, Phase.TO_SELL),
        (Phase.SELL_SUBMITTED, SessionBegan, Phase.SELL_SUBMITTED),
        (Phase.DONE, SessionBegan, Phase.TO_BUY),
    }
)
"""Where a state begins. None stands for a symbol without a state."""


def assert_legal(before: SymbolState, event: Event, result: Step) -> None:
    """Raise InvariantError if `TRANSITIONS` lacks a step, or its state contradicts its phase."""
    after = result.state
    if (before.phase, type(event), after.phase) not in TRANSITIONS:
        raise InvariantError(
            f"{after.symbol}: {before.phase} to {after.phase} on {type(event).__name__}"
        )
    problem = contradiction(after)
    if problem:
        raise InvariantError(f"{after.symbol}: {problem}")
    order = after.order
    sends = any(isinstance(command, SubmitOrder) for command in result.commands)
    if order is not None and not order.is_buy and order.qty > after.qty and sends:
        raise InvariantError(f"{after.symbol}: sells {order.qty}, holds {after.qty}")


def assert_recovered(before: SymbolState | None, event: Recovery, after: SymbolState) -> None:
    """Raise InvariantError if `RECOVERIES` lacks a row, or the state contradicts its phase."""
    phase = before.phase if before is not None else None
    if (phase, type(event), after.phase) not in RECOVERIES:
        raise InvariantError(f"{after.symbol}: {phase} to {after.phase} on {type(event).__name__}")
    problem = contradiction(after)
    if problem:
        raise InvariantError(f"{after.symbol}: {problem}")


def contradiction(state: SymbolState) -> str:
    """Return how the state contradicts its phase or its order count; empty if it does not."""
    phase, order = state.phase, state.order
    submitted = phase in (Phase.BUY_SUBMITTED, Phase.SELL_SUBMITTED)
    holds = phase in (Phase.TO_SELL, Phase.SELL_SUBMITTED)
    # A correction may take shares away while a sell works, even all. It halts the symbol.
    lost = phase is Phase.SELL_SUBMITTED and state.halt is not None
    if submitted != (order is not None) or (holds != (state.qty > 0) and not lost):
        return f"{phase} contradicts {state!r}"
    if order is not None and order.is_buy != (phase is Phase.BUY_SUBMITTED):
        return f"{phase} with {order.purpose}"
    if order is not None and not order.is_buy and order.qty > state.qty and not lost:
        return f"sells {order.qty}, holds {state.qty}"
    if len(state.settled) + (order is not None) != state.generation:
        return f"{state.generation} orders, {state.settled}"
    return ""
