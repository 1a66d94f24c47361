"""TO_SELL. Shares rest without a sell."""

from dataclasses import replace
from functools import partial
from typing import Any

from scalper.core.model import CancelOrder, Phase, Reason
from scalper.core.order import REFUSED
from scalper.core.pricing import money
from tests.core.build import after, at, bar_closed, checkup, client_id, liquidation, order, seen
from tests.core.cells.histories import (
    BAILOUT,
    ENTRY,
    HOLDING_AGAIN,
    LIQUIDATION,
    RESTING,
    SELL_DOUBTED,
    SOLD_BEFORE_BOUGHT,
    TARGET,
    Case,
    state_case,
)

CASES: list[Case] = []
case = partial(state_case, CASES)

case(
    "a bar leaves resting shares to the checkup",
    RESTING,
    bar_closed("10:01"),
    Reason.AWAITING_RETRY,
)
case(
    "a bar leaves resting shares to the liquidation",
    RESTING,
    bar_closed("15:55"),
    Reason.AFTER_CUTOFF,
)
case(
    "an external order does not change resting shares",
    RESTING,
    seen("10:01", 1, ENTRY, "new", client_order_id="by hand"),
    Reason.UNKNOWN_ORDER,
)
case(
    "an old report of the buy does not change resting shares",
    RESTING,
    seen("10:01", 1, ENTRY, "partially_filled", 8),
    Reason.AWAITING_CONFIRMATION,
)
SOLD = after(SOLD_BEFORE_BOUGHT, seen("10:04", 1, ENTRY, "filled", 20))
case(
    "a sale that was reported before its buy counts once the buy is known",
    SOLD,
    seen("10:05", 2, LIQUIDATION, "filled", 20, "101.00", confirmed=True),
    Reason.LATE_ORDER,
    phase=Phase.TO_BUY,
    settled=(20, 20),
    qty=0,
    cost=0,
    entered_at=None,
    trades=1,
    pnl=money(20),
)
LATE_SALE: dict[str, Any] = {
    "halt": Reason.LATE_ORDER,
    "abandoned": (client_id(2, TARGET),),
    "trades": 1,
}
case(
    "a refused exit that fills after all sells what rests",
    RESTING,
    seen("10:01", 2, TARGET, "filled", 20, "100.01"),
    Reason.LATE_ORDER,
    **LATE_SALE,
    phase=Phase.TO_BUY,
    settled=(20, 20),
    qty=0,
    cost=0,
    entered_at=None,
    pnl=money("0.20"),
)
case(
    "an exit in doubt that sold all after 15:55 ends the day",
    SELL_DOUBTED,
    seen("15:56", 2, TARGET, "filled", 20, "100.01"),
    Reason.LATE_ORDER,
    **LATE_SALE,
    phase=Phase.DONE,
    settled=(20, 20),
    qty=0,
    cost=0,
    entered_at=None,
    pnl=money("0.20"),
)
case(
    "an exit in doubt that sold a part leaves the rest to the checkup",
    SELL_DOUBTED,
    seen("10:02", 2, TARGET, "canceled", 5, "100.01"),
    Reason.LATE_ORDER,
    **LATE_SALE,
    settled=(20, 5),
    qty=15,
    cost=money(1500),
    pnl=money("0.05"),
)
case(
    "an exit in doubt that shows up alive is canceled before anything is sold",
    SELL_DOUBTED,
    seen("10:02", 2, TARGET, "partially_filled", 5, "100.01"),
    Reason.LATE_ORDER,
    halt=Reason.LATE_ORDER,
    commands=(CancelOrder(client_id(2, TARGET), "broker-2"),),
)
CORRECTED: dict[str, Any] = {"halt": Reason.CORRECTED_FILL, "abandoned": (client_id(),)}
case(
    "if a purchase is taken back in part, the other shares still rest",
    RESTING,
    seen("10:01", 1, ENTRY, "filled", 15, confirmed=True),
    Reason.CORRECTED_FILL,
    **CORRECTED,
    settled=(15, 0),
    qty=15,
    cost=money(1500),
)
for minute, phase in (("10:01", Phase.TO_BUY), ("15:56", Phase.DONE)):
    case(
        f"a purchase taken back altogether at {minute} leaves nothing to sell",
        RESTING,
        seen(minute, 1, ENTRY, "canceled", confirmed=True),
        Reason.CORRECTED_FILL,
        **CORRECTED,
        phase=phase,
        settled=(0, 0),
        qty=0,
        cost=0,
        entered_at=None,
        entries=0,
    )
case(
    "shares of a late fill are added to those that rest, and are bailed out with them",
    after(HOLDING_AGAIN, seen("10:10:02", 3, TARGET, REFUSED)),
    seen("10:11", 1, ENTRY, "canceled", 3, confirmed=True),
    Reason.LATE_ORDER,
    halt=Reason.LATE_ORDER,
    abandoned=(client_id(),),
    settled=(3, 20, 0),
    qty=23,
    cost=money(2300),
    entered_at=at("10:11"),
    entries=2,
    exit_as=BAILOUT,
)
case(
    "a checkup that does not know the broker's position sells nothing",
    RESTING,
    checkup("10:00:30"),
    Reason.AWAITING_RETRY,
)
case(
    "nor does it after 15:55: only the liquidation sells then",
    RESTING,
    checkup("15:55:30"),
    Reason.AWAITING_RETRY,
)
case(
    "a position that was read before a late fill is not believed",
    after(
        HOLDING_AGAIN,
        seen("10:10:02", 3, TARGET, REFUSED),
        seen("10:11", 1, ENTRY, "canceled", 3, updated_at=at("10:11:20"), confirmed=True),
    ),
    checkup("10:11:30", 20),
    Reason.EXIT_RETRIED,
    phase=Phase.SELL_SUBMITTED,
    exit_attempts=2,
    submits=order(4, BAILOUT, 23, None, "10:11:30"),
)
for position in (20, 25):
    case(
        f"a checkup sends a refused target again where the broker holds {position}",
        RESTING,
        checkup("10:00:30", position),
        Reason.EXIT_RETRIED,
        phase=Phase.SELL_SUBMITTED,
        exit_attempts=2,
        submits=order(3, TARGET, 20, "100.01", "10:00:30"),
    )
case(
    "if an external order holds some shares, the rest is sold",
    RESTING,
    checkup("10:00:30", 20, free=12),
    Reason.EXIT_RETRIED,
    phase=Phase.SELL_SUBMITTED,
    exit_attempts=2,
    submits=order(3, TARGET, 12, "100.01", "10:00:30"),
)
for free in (None, 0, -5, 25):
    case(
        f"with a free quantity of {free}, the liquidation tries to sell all",
        RESTING,
        liquidation("15:57", 20, free=free),
        Reason.LIQUIDATING,
        phase=Phase.SELL_SUBMITTED,
        liquidating=True,
        exit_attempts=2,
        submits=order(3, LIQUIDATION, 20, None, "15:57"),
    )
case(
    "the free quantity of a stale position is no reason to sell less",
    RESTING,
    checkup("10:00:24.999", 7, free=7),
    Reason.EXIT_RETRIED,
    phase=Phase.SELL_SUBMITTED,
    exit_attempts=2,
    submits=order(3, TARGET, 20, "100.01", "10:00:24.999"),
)
case(
    "a position younger than 15 s is not believed",
    RESTING,
    checkup("10:00:24.999", 0),
    Reason.EXIT_RETRIED,
    phase=Phase.SELL_SUBMITTED,
    exit_attempts=2,
    submits=order(3, TARGET, 20, "100.01", "10:00:24.999"),
)
case(
    "no more is sold than the broker holds, and the symbol is halted",
    RESTING,
    checkup("10:00:30", 7),
    Reason.EXIT_RETRIED,
    phase=Phase.SELL_SUBMITTED,
    qty=7,
    cost=money(700),
    halt=Reason.SOLD_ELSEWHERE,
    exit_attempts=2,
    submits=order(3, TARGET, 7, "100.01", "10:00:30"),
)
for position in (0, -5):
    case(
        f"nothing is sold where the broker holds {position}",
        RESTING,
        checkup("10:00:30", position),
        Reason.SOLD_ELSEWHERE,
        phase=Phase.TO_BUY,
        qty=0,
        cost=0,
        entered_at=None,
        halt=Reason.SOLD_ELSEWHERE,
    )
    case(
        f"the day is done where the broker holds {position} after 15:55",
        RESTING,
        checkup("15:55:30", position),
        Reason.SOLD_ELSEWHERE,
        phase=Phase.DONE,
        qty=0,
        cost=0,
        entered_at=None,
        halt=Reason.SOLD_ELSEWHERE,
    )
case(
    "a checkup after 15:55 sells at market",
    RESTING,
    checkup("15:55:30", 20),
    Reason.EXIT_RETRIED,
    phase=Phase.SELL_SUBMITTED,
    exit_attempts=2,
    submits=order(3, LIQUIDATION, 20, None, "15:55:30"),
)
case(
    "after five sells of one position the symbol is halted and nothing is sent",
    replace(RESTING, exit_attempts=5),
    checkup("10:05", 20),
    Reason.EXIT_EXHAUSTED,
    halt=Reason.EXIT_EXHAUSTED,
)
case(
    "without an order number left nothing is sent",
    replace(RESTING, generation=999, settled=(0,) * 999),
    checkup("10:05", 20),
    Reason.EXIT_EXHAUSTED,
    halt=Reason.EXIT_EXHAUSTED,
)
case("after the close nothing is sold", RESTING, checkup("16:00", 20), Reason.AFTER_CLOSE)
case(
    "the liquidation sells resting shares at market",
    RESTING,
    liquidation("15:55", 20),
    Reason.LIQUIDATING,
    liquidating=True,
    phase=Phase.SELL_SUBMITTED,
    exit_attempts=2,
    submits=order(3, LIQUIDATION, 20, None, "15:55"),
)
case(
    "the liquidation sells without knowing the broker's position",
    RESTING,
    liquidation("15:55"),
    Reason.LIQUIDATING,
    liquidating=True,
    phase=Phase.SELL_SUBMITTED,
    exit_attempts=2,
    submits=order(3, LIQUIDATION, 20, None, "15:55"),
)
case(
    "the liquidation has five more attempts",
    replace(RESTING, exit_attempts=9),
    liquidation("15:58"),
    Reason.LIQUIDATING,
    liquidating=True,
    phase=Phase.SELL_SUBMITTED,
    exit_attempts=10,
    submits=order(3, LIQUIDATION, 20, None, "15:58"),
)
case(
    "the liquidation stops after forty sells of one position",
    replace(RESTING, exit_attempts=40),
    liquidation("15:58"),
    Reason.EXIT_EXHAUSTED,
    liquidating=True,
    halt=Reason.EXIT_EXHAUSTED,
)
case(
    "the liquidation finds the shares gone",
    RESTING,
    liquidation("15:55", 0),
    Reason.SOLD_ELSEWHERE,
    liquidating=True,
    phase=Phase.DONE,
    qty=0,
    cost=0,
    entered_at=None,
    halt=Reason.SOLD_ELSEWHERE,
)
case(
    "at the close the liquidation sells nothing any more",
    RESTING,
    liquidation("16:00", 20),
    Reason.AFTER_CLOSE,
    liquidating=True,
)
