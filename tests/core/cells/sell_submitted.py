"""SELL_SUBMITTED. A sell is under way."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from scalper.core.model import CancelOrder, Phase, Reason, SubmitOrder
from scalper.core.order import ABSENT, REFUSED, Progress
from scalper.core.pricing import money
from tests.core.build import (
    after,
    at,
    bar_closed,
    checkup,
    client_id,
    liquidation,
    order,
    reported,
    rules,
    seen,
)
from tests.core.cells.histories import (
    BAILING_OUT,
    BAILOUT,
    BUYING,
    ENTRY,
    LIQUIDATION,
    PARTLY_SOLD,
    RESTING,
    SELL_DOUBTED_AND_SELLING,
    SELL_DOUBTED_AND_SENT,
    SELL_REPLACED,
    SELL_RESENT,
    SELL_SENT,
    SELLING,
    SELLING_AGAIN,
    STOP,
    STOPPING,
    TARGET,
    TARGET_2,
    Case,
    state_case,
    working,
)

WITH_STOP = rules(stop_loss_pct=Decimal(1))
WITH_HOLD = rules(max_hold=timedelta(minutes=10))

CASES: list[Case] = []
case = partial(state_case, CASES)

case(
    "a resting sell stays without limit of time",
    SELLING,
    bar_closed("15:54", "1.00"),
    Reason.STILL_WORKING,
)
case(
    "from 15:55 on a bar leaves a sell to the liquidation",
    SELLING,
    bar_closed("15:55", "1.00"),
    Reason.AFTER_CUTOFF,
    by=WITH_STOP,
)
case(
    "at a close of $0.0001 above the stop the shares are held",
    SELLING,
    bar_closed("10:01", "99.0001"),
    Reason.STILL_WORKING,
    by=WITH_STOP,
)
case(
    "a close at the stop cancels the target",
    SELLING,
    bar_closed("10:01", "99.00"),
    Reason.STOP_LOSS,
    by=WITH_STOP,
    exit_as=STOP,
    cancels=working(SELLING),
)
case(
    "an event of another account's order of the same name changes nothing",
    SELLING,
    seen("10:00:30", 2, TARGET, "filled", 20, broker_id="another"),
    Reason.UNKNOWN_ORDER,
)
case(
    "a target that an event called canceled and no request is stopped all the same",
    after(SELLING, seen("10:00:30", 2, TARGET, "canceled")),
    bar_closed("10:01", "99.00"),
    Reason.STOP_LOSS,
    by=WITH_STOP,
    exit_as=STOP,
    cancels=working(after(SELLING, seen("10:00:30", 2, TARGET, "canceled"))),
)
case(
    "the stop goes by the average cost of the shares bought",
    after(
        BUYING, seen("10:00:10", 1, ENTRY, "filled", 20, "90.00"), seen("10:01", 2, TARGET, "new")
    ),
    bar_closed("10:02", "89.11"),
    Reason.STILL_WORKING,
    by=WITH_STOP,
)
case(
    "a minute without a bar does not stop",
    SELLING,
    bar_closed("10:01", None),
    Reason.STILL_WORKING,
    by=WITH_STOP,
)
case(
    "an unanswered target cannot be stopped yet",
    SELL_SENT,
    bar_closed("10:01", "50.00"),
    Reason.STILL_WORKING,
    by=WITH_STOP,
)
case(
    "a market sell is not stopped",
    BAILING_OUT,
    bar_closed("10:02", "50.00"),
    Reason.STILL_WORKING,
    by=WITH_STOP,
)
case(
    "a stop's cancel of 29 s is waited for",
    STOPPING,
    bar_closed("10:01:29", "98.00"),
    Reason.AWAITING_CONFIRMATION,
    by=WITH_STOP,
)
case(
    "a stop's cancel without effect is repeated",
    STOPPING,
    bar_closed("10:02", "98.00"),
    Reason.CANCEL_AGAIN,
    by=WITH_STOP,
    cancels=working(STOPPING),
)
case(
    "shares held for less than the longest time are held",
    SELLING,
    bar_closed("10:10:09.999"),
    Reason.STILL_WORKING,
    by=WITH_HOLD,
)
case(
    "shares held for the longest time are sold",
    SELLING,
    bar_closed("10:10:10"),
    Reason.HELD_TOO_LONG,
    by=WITH_HOLD,
    exit_as=STOP,
    cancels=working(SELLING),
)
case(
    "the answer to the submit makes the sell a live order",
    SELL_SENT,
    event := seen("10:00:11", 2, TARGET, "new"),
    Reason.STILL_WORKING,
    order=reported(SELL_SENT, event),
)
case(
    "a partly filled exit works on, and its shares are subtracted when it is closed",
    SELLING,
    event := seen("10:00:30", 2, TARGET, "partially_filled", 5, "100.01"),
    Reason.PARTLY_FILLED,
    order=reported(SELLING, event),
)
SOLD: dict[str, Any] = {
    "phase": Phase.TO_BUY,
    "order": None,
    "settled": (20, 20),
    "qty": 0,
    "cost": 0,
    "entered_at": None,
    "pnl": money("0.20"),
    "trades": 1,
}
case(
    "a full fill frees the symbol for the next entry",
    SELLING,
    seen("10:05", 2, TARGET, "filled", 20, "100.01"),
    Reason.SOLD,
    **SOLD,
)
case(
    "a full fill of an unanswered sell counts",
    SELL_SENT,
    seen("10:05", 2, TARGET, "filled", 20, "100.01"),
    Reason.SOLD,
    **SOLD,
)
case(
    "a full fill of a sell whose cancel was asked for counts",
    STOPPING,
    seen("10:01:01", 2, TARGET, "filled", 20, "100.01"),
    Reason.SOLD,
    **SOLD,
)
case(
    "a full fill after 15:55 ends the day",
    SELLING,
    seen("15:55", 2, TARGET, "filled", 20, "100.01"),
    Reason.LIQUIDATED,
    **{**SOLD, "phase": Phase.DONE},
)
for status in ("canceled", "expired", "rejected", "filled"):
    case(
        f"a sell {status} by an event alone awaits its confirmation",
        SELLING,
        event := seen("10:01", 2, TARGET, status),
        Reason.AWAITING_CONFIRMATION,
        order=reported(SELLING, event, progress=Progress.TERMINAL),
    )
for status in ("canceled", "expired", "rejected"):
    case(
        f"a target {status} by somebody else rests until the broker's position is known",
        SELLING,
        seen("10:01", 2, TARGET, status, confirmed=True),
        Reason.EXIT_ENDED_UNFILLED,
        phase=Phase.TO_SELL,
        order=None,
        settled=(20, 0),
        exit_as=BAILOUT,
    )
case(
    "only the unsold shares of a target that somebody else canceled rest",
    PARTLY_SOLD,
    seen("10:01", 2, TARGET, "canceled", 5, "100.01", confirmed=True),
    Reason.EXIT_ENDED_UNFILLED,
    phase=Phase.TO_SELL,
    order=None,
    settled=(20, 5),
    qty=15,
    cost=money(1500),
    pnl=money("0.05"),
    trades=1,
    exit_as=BAILOUT,
)
case(
    "a target canceled for the stop is sold at market",
    STOPPING,
    seen("10:01:01", 2, TARGET, "canceled", confirmed=True),
    Reason.EXIT_ENDED_UNFILLED,
    settled=(20, 0),
    exit_attempts=2,
    submits=order(3, STOP, 20, None, "10:01:01"),
)
case(
    "a target canceled for the liquidation is sold at market",
    after(SELLING, liquidation("15:55", 20)),
    seen("15:55", 2, TARGET, "canceled", confirmed=True),
    Reason.EXIT_ENDED_UNFILLED,
    settled=(20, 0),
    exit_as=BAILOUT,
    exit_attempts=2,
    submits=order(3, LIQUIDATION, 20, None, "15:55"),
)
case(
    "shares of a target that expired at the close are held",
    SELLING,
    seen("16:00", 2, TARGET, "expired", confirmed=True),
    Reason.EXIT_ENDED_UNFILLED,
    phase=Phase.TO_SELL,
    order=None,
    settled=(20, 0),
    exit_as=BAILOUT,
)
case(
    "a replaced target rests until the broker's position is known",
    SELLING,
    seen("10:01", 2, TARGET, "replaced", confirmed=True),
    Reason.REPLACED_ORDER,
    phase=Phase.TO_SELL,
    order=None,
    settled=(20, 0),
    exit_as=BAILOUT,
    halt=Reason.REPLACED_ORDER,
)
case(
    "a target replaced by an event alone halts the symbol and awaits its confirmation",
    SELLING,
    event := seen("10:01", 2, TARGET, "replaced"),
    Reason.AWAITING_CONFIRMATION,
    order=reported(SELLING, event, progress=Progress.TERMINAL),
    halt=Reason.REPLACED_ORDER,
)
case(
    "the fifth sell of a position that ends unfilled is the last",
    replace(STOPPING, exit_attempts=5),
    seen("10:02", 2, TARGET, "canceled", confirmed=True),
    Reason.EXIT_EXHAUSTED,
    phase=Phase.TO_SELL,
    order=None,
    settled=(20, 0),
    halt=Reason.EXIT_EXHAUSTED,
)
case(
    "an unknown status of a sell counts as live",
    SELLING,
    event := seen("10:01", 2, TARGET, "a_word_of_2031", confirmed=True),
    Reason.STILL_WORKING,
    order=reported(SELLING, event),
)
case(
    "a sell refused at its first send rests until the checkup",
    SELL_SENT,
    seen("10:00:11", 2, TARGET, REFUSED),
    Reason.EXIT_REFUSED,
    phase=Phase.TO_SELL,
    order=None,
    settled=(20, 0),
)
case(
    "a refusal of a sell sent again is no answer to the first send",
    SELL_RESENT,
    seen("10:00:40", 2, TARGET, REFUSED),
    Reason.AWAITING_ANSWER,
    order=replace(working(SELL_RESENT), status=REFUSED, absences=0),
)
case(
    "two absences after the refusal of a sell sent again settle it, and its id is watched",
    after(
        SELL_RESENT,
        seen("10:00:40", 2, TARGET, REFUSED),
        seen("10:01", 2, TARGET, ABSENT),
    ),
    seen("10:01:30", 2, TARGET, ABSENT),
    Reason.EXIT_REFUSED,
    phase=Phase.TO_SELL,
    order=None,
    settled=(20, 0),
    abandoned=(client_id(2, TARGET),),
)
case(
    "a refusal of a sell that is known to live is not believed",
    SELLING,
    seen("10:01", 2, TARGET, REFUSED),
    Reason.STILL_WORKING,
)
case(
    "a sell that the broker does not know is sent again however old it is",
    SELL_SENT,
    event := seen("11:00", 2, TARGET, ABSENT),
    Reason.RESENT,
    order=(again := replace(TARGET_2, sends=2, absences=1, absent_at=event.at)),
    commands=(SubmitOrder(again),),
)
UNANSWERED = after(SELL_SENT, liquidation("15:55"))
case(
    "from 15:55 on it is not sent again: a liquidation without the table may have sold its shares",
    UNANSWERED,
    event := seen("15:55:30", 2, TARGET, ABSENT),
    Reason.AWAITING_ANSWER,
    order=replace(TARGET_2, absences=1, absent_at=event.at),
)
for other_order_open in (False, True):
    case(
        "it is given up then"
        + (", also beside another open order" if other_order_open else "")
        + ", and the shares are sold after a look",
        after(
            UNANSWERED,
            seen("15:55:30", 2, TARGET, ABSENT),
        ),
        seen("15:56", 2, TARGET, ABSENT, other_order_open=other_order_open),
        Reason.ABANDONED,
        phase=Phase.TO_SELL,
        order=None,
        settled=(20, 0),
        abandoned=(client_id(2, TARGET),),
    )
case(
    "a market sell of the liquidation that the broker does not know is sent again",
    after(RESTING, liquidation("15:55")),
    event := seen("15:55:30", 3, LIQUIDATION, ABSENT),
    Reason.RESENT,
    order=(
        again := order(3, LIQUIDATION, 20, None, "15:55", sends=2, absences=1, absent_at=event.at)
    ),
    commands=(SubmitOrder(again),),
)
case(
    "a live sell that is suddenly not found still works",
    SELLING,
    seen("10:01", 2, TARGET, ABSENT),
    Reason.STILL_WORKING,
)
case(
    "an unknown sell is given up at the close, its shares are not",
    SELL_SENT,
    seen("16:00", 2, TARGET, ABSENT),
    Reason.ABANDONED,
    phase=Phase.TO_SELL,
    order=None,
    settled=(20, 0),
    abandoned=(client_id(2, TARGET),),
)
case(
    "an unanswered target from before the liquidation is canceled as soon as the broker reports it",
    after(SELL_SENT, liquidation("15:55")),
    event := seen("15:55:01", 2, TARGET, "new"),
    Reason.LIQUIDATING,
    cancels=reported(SELL_SENT, event),
)
case(
    "a working liquidation order is left alone",
    after(RESTING, liquidation("15:55")),
    event := seen("15:55:01", 3, LIQUIDATION, "new"),
    Reason.STILL_WORKING,
    order=reported(after(RESTING, liquidation("15:55")), event),
)
case(
    "an external order changes nothing while a sell works",
    SELLING,
    seen("10:01", 1, ENTRY, "filled", 20, client_order_id="by hand"),
    Reason.UNKNOWN_ORDER,
)
case(
    "the buy's fill reported once more changes nothing while the sell works",
    SELLING,
    seen("10:01", 1, ENTRY, "filled", 20),
    Reason.NOTHING_NEW,
)
case(
    "an abandoned order that is reported live while a sell works is canceled",
    SELL_DOUBTED_AND_SELLING,
    seen("10:11", 2, TARGET, "new"),
    Reason.LATE_ORDER,
    commands=(CancelOrder(client_id(2, TARGET), "broker-2"),),
    halt=Reason.LATE_ORDER,
)
case(
    "shares of a canceled buy that fills later are added to those held",
    SELLING_AGAIN,
    seen("10:11", 1, ENTRY, "canceled", 3, confirmed=True),
    Reason.LATE_ORDER,
    halt=Reason.LATE_ORDER,
    abandoned=(client_id(),),
    settled=(3, 20),
    qty=23,
    cost=money(2300),
    entered_at=at("10:11"),
    entries=2,
    exit_as=BAILOUT,
)
case(
    "shares that a late fill adds to a stop are stopped too",
    replace(SELLING_AGAIN, exit_as=STOP),
    seen("10:11", 1, ENTRY, "canceled", 3, confirmed=True),
    Reason.LATE_ORDER,
    halt=Reason.LATE_ORDER,
    abandoned=(client_id(),),
    settled=(3, 20),
    qty=23,
    cost=money(2300),
    entered_at=at("10:11"),
    entries=2,
)
LATE_SALE: dict[str, Any] = {
    "halt": Reason.LATE_ORDER,
    "settled": (20, 5),
    "qty": 15,
    "cost": money(1500),
    "pnl": money("0.05"),
    "trades": 1,
}
CORRECTION = seen("10:03", 2, TARGET, "canceled", 5, "100.01", confirmed=True)
case(
    "an exit in doubt that sold five leaves the working sell too large: it is canceled",
    SELL_DOUBTED_AND_SELLING,
    CORRECTION,
    Reason.LATE_ORDER,
    **LATE_SALE,
    cancels=working(SELL_DOUBTED_AND_SELLING),
)
CANCELING = replace(
    SELL_DOUBTED_AND_SELLING,
    order=replace(working(SELL_DOUBTED_AND_SELLING), cancel_at=at("10:02:30")),
)
case(
    "a sell whose cancel was asked for is not canceled again after a correction",
    CANCELING,
    CORRECTION,
    Reason.LATE_ORDER,
    **LATE_SALE,
)
case(
    "at the close a sell too large is not canceled any more",
    SELL_DOUBTED_AND_SELLING,
    replace(CORRECTION, at=at("16:00")),
    Reason.AFTER_CLOSE,
    **LATE_SALE,
)
case(
    "an unanswered sell too large cannot be canceled yet",
    SELL_DOUBTED_AND_SENT,
    CORRECTION,
    Reason.LATE_ORDER,
    **LATE_SALE,
)
TOO_LARGE = after(SELL_DOUBTED_AND_SENT, CORRECTION)
case(
    "an unanswered sell too large is canceled as soon as the broker reports it",
    TOO_LARGE,
    event := seen("10:03:01", 3, TARGET, "new"),
    Reason.LATE_ORDER,
    cancels=reported(TOO_LARGE, event),
)
case(
    "an unknown sell too large is not sent again",
    TOO_LARGE,
    event := seen("10:03:01", 3, TARGET, ABSENT),
    Reason.AWAITING_ANSWER,
    order=replace(working(TOO_LARGE), absences=1, absent_at=event.at),
)
case(
    "an unknown sell too large is given up, and the shares held rest",
    after(TOO_LARGE, seen("10:03:01", 3, TARGET, ABSENT)),
    seen("10:04", 3, TARGET, ABSENT),
    Reason.ABANDONED,
    phase=Phase.TO_SELL,
    order=None,
    settled=(20, 5, 0),
    abandoned=(client_id(2, TARGET), client_id(3, TARGET)),
)
case(
    "after a sell too large is canceled, the shares held are sold under a new id",
    after(SELL_DOUBTED_AND_SELLING, CORRECTION),
    seen("10:03:01", 3, TARGET, "canceled", 2, "100.01", confirmed=True),
    Reason.EXIT_ENDED_UNFILLED,
    settled=(20, 5, 2),
    qty=13,
    cost=money(1300),
    pnl=money("0.07"),
    trades=2,
    exit_as=BAILOUT,
    exit_attempts=3,
    submits=order(4, BAILOUT, 13, None, "10:03:01"),
)
NONE_LEFT: dict[str, Any] = {
    "halt": Reason.CORRECTED_FILL,
    "settled": (0,),
    "abandoned": (client_id(),),
    "qty": 0,
    "cost": 0,
    "entries": 0,
}
BUSTED = seen("10:03", 1, ENTRY, "canceled", confirmed=True)
case(
    "a purchase taken back altogether leaves a sell of nothing: it is canceled",
    SELLING,
    BUSTED,
    Reason.CORRECTED_FILL,
    **NONE_LEFT,
    cancels=working(SELLING),
)
case(
    "a purchase taken back in part leaves the working sell too large: it is canceled",
    SELLING,
    seen("10:03", 1, ENTRY, "filled", 15, confirmed=True),
    Reason.CORRECTED_FILL,
    **{**NONE_LEFT, "settled": (15,), "qty": 15, "cost": money(1500), "entries": 1},
    cancels=working(SELLING),
)
for said, phase in (("canceled", Phase.TO_BUY), ("filled", Phase.TO_BUY)):
    case(
        f"a sell of nothing that is {said} leaves nothing",
        after(SELLING, BUSTED),
        seen("10:04", 2, TARGET, said, 0 if said == "canceled" else 20, "100.01", confirmed=True),
        Reason.SOLD,
        phase=phase,
        order=None,
        settled=(0, 0 if said == "canceled" else 20),
        entered_at=None,
    )
case(
    "an unknown sell of nothing is given up at the close",
    after(SELL_SENT, BUSTED),
    seen("16:00", 2, TARGET, ABSENT),
    Reason.ABANDONED,
    phase=Phase.DONE,
    order=None,
    settled=(0, 0),
    abandoned=(client_id(), client_id(2, TARGET)),
)
case(
    "a sale taken back while a later sell works adds its shares to those held",
    after(
        PARTLY_SOLD,
        seen("10:01", 2, TARGET, "canceled", 5, "100.01", confirmed=True),
        checkup("10:01", 15),
        seen("10:01:01", 3, BAILOUT, "new"),
    ),
    seen("10:02", 2, TARGET, "canceled", 3, "100.01", confirmed=True),
    Reason.CORRECTED_FILL,
    halt=Reason.CORRECTED_FILL,
    settled=(20, 3),
    abandoned=(client_id(2, TARGET),),
    qty=17,
    cost=money("1700.02"),
    entered_at=at("10:02"),
)
SELL_FOLLOWED = replace(
    working(PARTLY_SOLD),
    status="",
    broker_id="successor",
    successor="successor",
    carried_qty=5,
    carried_value=money("500.05"),
    updated_at=None,
)
case(
    "a replaced target is followed under its successor's id",
    PARTLY_SOLD,
    seen("10:01", 2, TARGET, "replaced", 5, "100.01", replaced_by="successor", confirmed=True),
    Reason.REPLACED_ORDER,
    order=SELL_FOLLOWED,
    halt=Reason.REPLACED_ORDER,
)
case(
    "a replaced target is not canceled for being replaced",
    SELL_REPLACED,
    checkup("10:02"),
    Reason.STILL_WORKING,
)
case(
    "the liquidation cancels the successor of a replaced target",
    SELL_REPLACED,
    liquidation("15:55", 15),
    Reason.LIQUIDATING,
    liquidating=True,
    cancels=working(SELL_REPLACED),
)
case(
    "the successor of a target replaced after the liquidation's cancel is canceled too",
    after(PARTLY_SOLD, liquidation("15:55", 15)),
    seen("15:55:01", 2, TARGET, "replaced", 5, "100.01", replaced_by="successor", confirmed=True),
    Reason.LIQUIDATING,
    halt=Reason.REPLACED_ORDER,
    cancels=SELL_FOLLOWED,
)
case(
    "the rest of a replaced target that somebody else canceled waits for the position",
    SELL_REPLACED,
    seen(
        "10:02", 2, TARGET, "canceled", 4, "100.01", qty=15, broker_id="successor", confirmed=True
    ),
    Reason.EXIT_ENDED_UNFILLED,
    phase=Phase.TO_SELL,
    order=None,
    settled=(20, 9),
    qty=11,
    cost=money(1100),
    pnl=money("0.09"),
    trades=1,
    exit_as=BAILOUT,
)
case(
    "a replaced target that fills in full is sold",
    SELL_REPLACED,
    seen("10:02", 2, TARGET, "filled", 15, "100.02", qty=15, broker_id="successor"),
    Reason.SOLD,
    **{**SOLD, "pnl": money("0.35")},
)
case(
    "a replaced target of more shares than are held is canceled",
    SELL_REPLACED,
    event := seen("10:02", 2, TARGET, "new", qty=16, broker_id="successor"),
    Reason.REPLACED_ORDER,
    cancels=reported(SELL_REPLACED, event, qty=21, filled_qty=5, filled_value=money("500.05")),
)
case(
    "a successor that is suddenly not found still works",
    SELL_REPLACED,
    seen("10:02", 2, TARGET, ABSENT, broker_id=""),
    Reason.STILL_WORKING,
)
case("a checkup lets a sell rest", SELLING, checkup("15:00"), Reason.STILL_WORKING)
case(
    "a checkup waits for a cancel of 29 s",
    STOPPING,
    checkup("10:01:29"),
    Reason.AWAITING_CONFIRMATION,
)
case(
    "a checkup repeats a cancel of 30 s",
    STOPPING,
    checkup("10:01:30"),
    Reason.CANCEL_AGAIN,
    cancels=working(STOPPING),
)
case("at the close a checkup cancels nothing", STOPPING, checkup("16:00"), Reason.AFTER_CLOSE)
case(
    "the liquidation cancels a resting target before anything is sold",
    SELLING,
    liquidation("15:55", 20),
    Reason.LIQUIDATING,
    liquidating=True,
    cancels=working(SELLING),
)
case(
    "the liquidation cannot cancel an unanswered sell",
    SELL_SENT,
    liquidation("15:55", 20),
    Reason.AWAITING_ANSWER,
    liquidating=True,
)
case(
    "the liquidation lets a market sell work",
    BAILING_OUT,
    liquidation("15:55", 20),
    Reason.STILL_WORKING,
    liquidating=True,
)
case(
    "the liquidation waits for a stop's cancel",
    STOPPING,
    liquidation("10:01:29", 20),
    Reason.AWAITING_CONFIRMATION,
    liquidating=True,
)
case(
    "the liquidation repeats a stop's cancel",
    STOPPING,
    liquidation("15:55", 20),
    Reason.CANCEL_AGAIN,
    liquidating=True,
    cancels=working(STOPPING),
)
case(
    "at the close a resting target is not canceled any more",
    SELLING,
    liquidation("16:00", 20),
    Reason.AFTER_CLOSE,
    liquidating=True,
)
