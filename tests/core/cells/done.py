"""DONE. The day is done."""

from functools import partial
from typing import Any

from scalper.core.model import CancelOrder, Phase, Reason
from scalper.core.pricing import money
from tests.core.build import after, at, bar_closed, checkup, client_id, liquidation, order, seen
from tests.core.cells.histories import (
    BAILOUT,
    DONE,
    ENTRY,
    GAVE_UP_AND_DONE,
    LIQUIDATION,
    SELLING,
    TARGET,
    Case,
    state_case,
)

CASES: list[Case] = []
case = partial(state_case, CASES)

for minute in ("10:00", "15:56", "16:00"):
    case(
        f"a signal at {minute} enters nothing once the day is done",
        DONE,
        bar_closed(minute, signal=True),
        Reason.DAY_IS_DONE,
    )
case(
    "an external order changes nothing once the day is done",
    DONE,
    seen("15:56", 1, ENTRY, "filled", 20, client_order_id="by hand"),
    Reason.UNKNOWN_ORDER,
)
case(
    "an old report changes nothing once the day is done",
    GAVE_UP_AND_DONE,
    seen("15:56", 1, ENTRY, "canceled", confirmed=True),
    Reason.NOTHING_NEW,
)
case(
    "an abandoned order that is reported live once the day is done is canceled",
    GAVE_UP_AND_DONE,
    seen("15:56", 1, ENTRY, "new"),
    Reason.LATE_ORDER,
    commands=(CancelOrder(client_id(), "broker-1"),),
    halt=Reason.LATE_ORDER,
)
LATE_FILL: dict[str, Any] = {
    "halt": Reason.LATE_ORDER,
    "settled": (20,),
    "qty": 20,
    "cost": money(2000),
    "entries": 1,
    "exit_as": BAILOUT,
}
case(
    "an abandoned order that filled is liquidated once the day is done",
    GAVE_UP_AND_DONE,
    seen("15:56", 1, ENTRY, "filled", 20),
    Reason.LATE_ORDER,
    **LATE_FILL,
    phase=Phase.SELL_SUBMITTED,
    entered_at=at("15:56"),
    exit_attempts=1,
    submits=order(2, LIQUIDATION, 20, None, "15:56"),
)
case(
    "an abandoned order that is found filled after the close is held",
    GAVE_UP_AND_DONE,
    seen("16:01", 1, ENTRY, "filled", 20),
    Reason.AFTER_CLOSE,
    **LATE_FILL,
    phase=Phase.TO_SELL,
    entered_at=at("16:01"),
)
SOLD_AND_DONE = after(
    SELLING, seen("10:05", 2, TARGET, "filled", 20, "100.01"), liquidation("15:55")
)
case(
    "shares of a sale taken back once the day is done rest for the liquidation",
    SOLD_AND_DONE,
    seen("15:56", 2, TARGET, "filled", 15, "100.01", confirmed=True),
    Reason.CORRECTED_FILL,
    phase=Phase.TO_SELL,
    halt=Reason.CORRECTED_FILL,
    settled=(20, 15),
    abandoned=(client_id(2, TARGET),),
    qty=5,
    cost=money("500.05"),
    entered_at=at("15:56"),
    exit_as=BAILOUT,
    exit_attempts=0,
)
case(
    "a purchase taken back once the day is done halts the symbol",
    SOLD_AND_DONE,
    seen("15:56", 1, ENTRY, "filled", 15, confirmed=True),
    Reason.CORRECTED_FILL,
    halt=Reason.CORRECTED_FILL,
    settled=(15, 20),
    abandoned=(client_id(),),
)
case("a checkup finds the day done", DONE, checkup("15:56:30", 0), Reason.DAY_IS_DONE)
case(
    "the repeated liquidation finds the day done", DONE, liquidation("15:56", 0), Reason.DAY_IS_DONE
)
