"""The legal transitions as data: asserted at every step, drawn as docs/state-machine.md."""

from scalper.core.model import (
    BarClosed,
    CheckupDue,
    Event,
    InvariantError,
    LiquidationDue,
    OrderSeen,
    Phase,
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


def assert_legal(before: SymbolState, event: Event, result: Step) -> None:
    """Raise InvariantError where the table lacks a step or its state contradicts its phase."""
    after = result.state
    if (before.phase, type(event), after.phase) not in TRANSITIONS:
        raise InvariantError(
            f"{after.symbol}: {before.phase} to {after.phase} on {type(event).__name__}"
        )
    submitted = after.phase in (Phase.BUY_SUBMITTED, Phase.SELL_SUBMITTED)
    # Shares lost while a sell works leave less than it is of, or none; the symbol is halted then.
    lost = after.phase is Phase.SELL_SUBMITTED and after.halt is not None
    holds = after.phase in (Phase.TO_SELL, Phase.SELL_SUBMITTED)
    if submitted != (after.order is not None) or (holds != (after.qty > 0) and not lost):
        raise InvariantError(f"{after.symbol}: {after.phase} contradicts {after!r}")
    if after.order is not None and after.order.is_buy != (after.phase is Phase.BUY_SUBMITTED):
        raise InvariantError(f"{after.symbol}: {after.phase} with {after.order.purpose}")
    if after.phase is Phase.SELL_SUBMITTED and after.order and after.order.qty > after.qty:
        sends = any(isinstance(command, SubmitOrder) for command in result.commands)
        if sends or not lost:
            raise InvariantError(f"{after.symbol}: sells {after.order.qty}, holds {after.qty}")
    if len(after.settled) + (after.order is not None) != after.generation:
        raise InvariantError(f"{after.symbol}: {after.generation} orders, {after.settled}")
