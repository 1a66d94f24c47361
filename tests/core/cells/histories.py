"""What a case is, and the histories that the cases of all phases start from."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from scalper.core.model import (
    CancelOrder,
    Command,
    Event,
    Reason,
    Rules,
    Step,
    SubmitOrder,
    SymbolState,
)
from scalper.core.order import ABSENT, REFUSED, Order, Purpose
from tests.core.build import (
    RULES,
    after,
    bar_closed,
    checkup,
    liquidation,
    order,
    rules,
    seen,
    state,
)

ENTRY, TARGET, STOP = Purpose.ENTRY, Purpose.TARGET, Purpose.STOP
BAILOUT, LIQUIDATION = Purpose.BAILOUT, Purpose.LIQUIDATION


@dataclass(frozen=True)
class Case:
    """What one event makes of one history, as a sentence."""

    sentence: str
    before: SymbolState
    event: Event
    expected: Step
    rules: Rules


def state_case(
    cases: list[Case],
    sentence: str,
    before: SymbolState,
    event: Event,
    reason: Reason,
    *,
    submits: Order | None = None,
    cancels: Order | None = None,
    commands: tuple[Command, ...] = (),
    by: Rules = RULES,
    **changes: Any,
) -> None:
    """State an answer: `changes` to the state, and an order submitted or canceled with them."""
    expected = replace(before, **changes)
    if submits is not None:
        expected = replace(expected, order=submits, generation=before.generation + 1)
        commands = (SubmitOrder(submits),)
    if cancels is not None:
        expected = replace(expected, order=replace(cancels, cancel_at=event.at))
        commands = (CancelOrder(cancels.client_order_id, cancels.broker_id),)
    cases.append(Case(sentence, before, event, Step(expected, commands, reason), by))


IDLE = state()
BUY_SENT = after(IDLE, bar_closed("10:00", signal=True))
BUYING = after(BUY_SENT, seen("10:00:01", 1, ENTRY, "new"))
PARTLY_BOUGHT = after(BUYING, seen("10:00:02", 1, ENTRY, "partially_filled", 8))
BUY_CANCELING = after(BUYING, bar_closed("10:02"))
BUY_OVER_BY_EVENT = after(BUYING, seen("10:00:05", 1, ENTRY, "canceled"))
BUY_RESENT = after(BUY_SENT, seen("10:00:30", 1, ENTRY, ABSENT))
BUY_ABSENT = after(
    BUY_SENT,
    seen("10:01", 1, ENTRY, ABSENT),
    seen("10:01:30", 1, ENTRY, ABSENT),
)
SELL_SENT = after(BUYING, seen("10:00:10", 1, ENTRY, "filled", 20))
SELLING = after(SELL_SENT, seen("10:00:11", 2, TARGET, "new"))
PARTLY_SOLD = after(SELLING, seen("10:00:30", 2, TARGET, "partially_filled", 5, "100.01"))
STOPPING = after(SELLING, bar_closed("10:01", "99.00"), by=rules(stop_loss_pct=Decimal(1)))
SELL_RESENT = after(SELL_SENT, seen("10:00:40", 2, TARGET, ABSENT))
BAILING_OUT = after(
    SELLING,
    seen("10:01", 2, TARGET, "canceled", confirmed=True),
    checkup("10:01", 20),
    seen("10:01:01", 3, BAILOUT, "new"),
)
RESTING = after(SELL_SENT, seen("10:00:11", 2, TARGET, REFUSED))
DONE = after(IDLE, liquidation("15:55"))
GAVE_UP = after(BUY_ABSENT, seen("10:02", 1, ENTRY, ABSENT))
GAVE_UP_AND_DONE = after(GAVE_UP, liquidation("15:55"))
CANCELED = after(BUYING, seen("10:02:01", 1, ENTRY, "canceled", confirmed=True))
BUYING_AGAIN = after(CANCELED, bar_closed("10:10", signal=True))
HOLDING_AGAIN = after(BUYING_AGAIN, seen("10:10:01", 2, ENTRY, "filled", 20))
SELLING_AGAIN = after(HOLDING_AGAIN, seen("10:10:02", 3, TARGET, "new"))
# The target's second send was refused, and its first one never showed: it may still land.
SELL_DOUBTED = after(
    SELL_RESENT,
    seen("10:00:40", 2, TARGET, REFUSED),
    seen("10:01", 2, TARGET, ABSENT),
    seen("10:01:30", 2, TARGET, ABSENT),
)
SELL_DOUBTED_AND_SENT = after(SELL_DOUBTED, checkup("10:02", 20))
SELL_DOUBTED_AND_SELLING = after(SELL_DOUBTED_AND_SENT, seen("10:02:01", 3, TARGET, "new"))
BUY_REPLACED = after(
    PARTLY_BOUGHT,
    seen("10:00:20", 1, ENTRY, "replaced", 8, replaced_by="successor", confirmed=True),
)
SELL_REPLACED = after(
    PARTLY_SOLD,
    seen("10:01", 2, TARGET, "replaced", 5, "100.01", replaced_by="successor", confirmed=True),
)
TARGET_2 = order(2, TARGET, limit="100.01", submitted="10:00:10")
SOLD_BEFORE_BOUGHT = after(GAVE_UP, seen("10:03", 2, LIQUIDATION, "filled", 20, "101.00"))
"""A liquidation without the table found a buy that the state had given up, and sold it."""
# An intent still, which cannot be canceled.
BUY_LIQUIDATING = after(IDLE, bar_closed("15:54", signal=True), liquidation("15:55"))


def working(one: SymbolState) -> Order:
    assert one.order is not None
    return one.order
