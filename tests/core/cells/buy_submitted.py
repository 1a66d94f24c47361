"""BUY_SUBMITTED. A buy is stored, sent or live."""

from dataclasses import replace
from functools import partial
from typing import Any

from scalper.core.model import CancelOrder, Phase, Reason, SubmitOrder, SymbolFacts
from scalper.core.order import ABSENT, REFUSED, Progress
from scalper.core.pricing import money
from scalper.core.working_order import COOL_DOWN
from tests.core.build import (
    RULES,
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
    BUY_ABSENT,
    BUY_CANCELING,
    BUY_LIQUIDATING,
    BUY_OVER_BY_EVENT,
    BUY_REPLACED,
    BUY_RESENT,
    BUY_SENT,
    BUYING,
    BUYING_AGAIN,
    ENTRY,
    HOLDING_AGAIN,
    IDLE,
    LIQUIDATION,
    PARTLY_BOUGHT,
    TARGET,
    TARGET_2,
    Case,
    state_case,
    working,
)

CASES: list[Case] = []
case = partial(state_case, CASES)

for event_of in (bar_closed, checkup):
    name = event_of.__name__
    case(
        f"{name}: an unanswered buy is not canceled, for there is nothing to cancel yet",
        BUY_SENT,
        event_of("10:02"),
        Reason.AWAITING_ANSWER,
    )
    case(
        f"{name}: a buy of 119.999 s works on",
        BUYING,
        event_of("10:01:59.999"),
        Reason.STILL_WORKING,
    )
    case(
        f"{name}: a buy of 120 s is canceled",
        BUYING,
        event_of("10:02"),
        Reason.BUY_TIMED_OUT,
        cancels=working(BUYING),
    )
    case(
        f"{name}: the rest of a partly filled buy of 120 s is canceled",
        PARTLY_BOUGHT,
        event_of("10:02"),
        Reason.BUY_TIMED_OUT,
        cancels=working(PARTLY_BOUGHT),
    )
    case(
        f"{name}: a cancel of 29 s is waited for",
        BUY_CANCELING,
        event_of("10:02:29"),
        Reason.AWAITING_CONFIRMATION,
    )
    case(
        f"{name}: a cancel of 30 s without effect is repeated",
        BUY_CANCELING,
        event_of("10:02:30"),
        Reason.CANCEL_AGAIN,
        cancels=working(BUY_CANCELING),
    )
    case(
        f"{name}: a buy that an event called canceled is canceled all the same",
        BUY_OVER_BY_EVENT,
        event_of("10:02"),
        Reason.BUY_TIMED_OUT,
        cancels=working(BUY_OVER_BY_EVENT),
    )
    case(
        f"{name}: a buy that an event called canceled and no request is canceled again",
        after(BUY_CANCELING, seen("10:02:01", 1, ENTRY, "canceled")),
        event_of("10:03"),
        Reason.CANCEL_AGAIN,
        cancels=working(after(BUY_CANCELING, seen("10:02:01", 1, ENTRY, "canceled"))),
    )
case(
    "from 15:55 on a bar leaves a stale buy to the liquidation",
    BUYING,
    bar_closed("15:55"),
    Reason.AFTER_CUTOFF,
)
case(
    "a stale buy is not canceled at the close any more",
    BUYING,
    checkup("16:00"),
    Reason.AFTER_CLOSE,
)
case(
    "the answer to the submit makes the buy a live order",
    BUY_SENT,
    event := seen("10:00:01", 1, ENTRY, "accepted"),
    Reason.STILL_WORKING,
    order=reported(BUY_SENT, event),
)
case(
    "the same report again changes nothing",
    BUYING,
    seen("10:00:01", 1, ENTRY, "new"),
    Reason.NOTHING_NEW,
)
case(
    "a partial fill works on",
    BUYING,
    event := seen("10:00:02", 1, ENTRY, "partially_filled", 8),
    Reason.PARTLY_FILLED,
    order=reported(BUYING, event),
)
case(
    "an older report after a partial fill changes nothing",
    PARTLY_BOUGHT,
    seen("10:00:01", 1, ENTRY, "new"),
    Reason.NOTHING_NEW,
)
BOUGHT: dict[str, Any] = {
    "phase": Phase.SELL_SUBMITTED,
    "settled": (20,),
    "qty": 20,
    "cost": money(2000),
    "entries": 1,
    "exit_attempts": 1,
}
case(
    "a full fill sends the exit at once, a cent above the entry",
    BUYING,
    seen("10:00:10", 1, ENTRY, "filled", 20),
    Reason.BOUGHT,
    **BOUGHT,
    entered_at=at("10:00:10"),
    submits=TARGET_2,
)
case(
    "a full fill that comes before the submit's answer sends the exit",
    BUY_SENT,
    seen("10:00:10", 1, ENTRY, "filled", 20),
    Reason.BOUGHT,
    **BOUGHT,
    entered_at=at("10:00:10"),
    submits=TARGET_2,
)
case(
    "the exit's limit is the last trade if that is higher",
    BUYING,
    seen("10:00:10", 1, ENTRY, "filled", 20, last_trade="100.1234"),
    Reason.BOUGHT,
    **BOUGHT,
    entered_at=at("10:00:10"),
    submits=replace(TARGET_2, limit=money("100.13")),
)
case(
    "a fill in full counts although the event calls it partial",
    PARTLY_BOUGHT,
    seen("10:00:10", 1, ENTRY, "partially_filled", 20),
    Reason.BOUGHT,
    **BOUGHT,
    entered_at=at("10:00:10"),
    submits=TARGET_2,
)
case(
    "a full fill after the cancel was asked for goes to the sell",
    BUY_CANCELING,
    seen("10:02:01", 1, ENTRY, "filled", 20),
    Reason.BOUGHT,
    **BOUGHT,
    entered_at=at("10:02:01"),
    submits=replace(TARGET_2, submitted_at=at("10:02:01")),
)
case(
    "a full fill at 15:55 is sold at market",
    after(IDLE, bar_closed("15:54", signal=True)),
    seen("15:55", 1, ENTRY, "filled", 20),
    Reason.BOUGHT,
    **BOUGHT,
    entered_at=at("15:55"),
    submits=order(2, LIQUIDATION, 20, None, "15:55"),
)
case(
    "a fill found after the close is held, for nothing can be sent",
    BUYING,
    seen("16:00", 1, ENTRY, "filled", 20),
    Reason.AFTER_CLOSE,
    **{**BOUGHT, "phase": Phase.TO_SELL, "exit_attempts": 0},
    entered_at=at("16:00"),
    order=None,
)
for status in ("canceled", "expired", "rejected", "filled"):
    case(
        f"{status} by an event alone awaits its confirmation",
        BUYING,
        event := seen("10:00:05", 1, ENTRY, status),
        Reason.AWAITING_CONFIRMATION,
        order=reported(BUYING, event, progress=Progress.TERMINAL),
    )
for status in ("canceled", "expired"):
    case(
        f"{status} confirmed without a fill frees the symbol",
        BUYING,
        seen("10:00:05", 1, ENTRY, status, confirmed=True),
        Reason.BUY_ENDED_UNFILLED,
        phase=Phase.TO_BUY,
        order=None,
        settled=(0,),
    )
case(
    "a buy confirmed canceled after 15:55 ends the day",
    BUYING,
    seen("15:55", 1, ENTRY, "canceled", confirmed=True),
    Reason.BUY_ENDED_UNFILLED,
    phase=Phase.DONE,
    order=None,
    settled=(0,),
)
case(
    "only the bought shares of a buy confirmed canceled are sold",
    PARTLY_BOUGHT,
    seen("10:02:01", 1, ENTRY, "canceled", 8, confirmed=True),
    Reason.BOUGHT,
    **{**BOUGHT, "settled": (8,), "qty": 8, "cost": money(800)},
    entered_at=at("10:02:01"),
    submits=replace(TARGET_2, qty=8, submitted_at=at("10:02:01")),
)
case(
    "rejected confirmed cools the symbol down",
    BUYING,
    seen("10:00:05", 1, ENTRY, "rejected", confirmed=True),
    Reason.BUY_REFUSED,
    phase=Phase.TO_BUY,
    order=None,
    settled=(0,),
    cool_until=at("10:05:05"),
)
case(
    "replaced by an event alone halts the symbol and awaits its confirmation",
    BUYING,
    event := seen("10:00:05", 1, ENTRY, "replaced"),
    Reason.AWAITING_CONFIRMATION,
    order=reported(BUYING, event, progress=Progress.TERMINAL),
    halt=Reason.REPLACED_ORDER,
)
case(
    "replaced confirmed halts the symbol",
    BUYING,
    seen("10:00:05", 1, ENTRY, "replaced", confirmed=True),
    Reason.BUY_ENDED_UNFILLED,
    phase=Phase.TO_BUY,
    order=None,
    settled=(0,),
    halt=Reason.REPLACED_ORDER,
)
for status in ("pending_cancel", "done_for_day", "held", "a_word_of_2031"):
    case(
        f"the status {status} counts as live",
        BUYING,
        event := seen("10:00:05", 1, ENTRY, status, confirmed=True),
        Reason.STILL_WORKING,
        order=reported(BUYING, event),
    )
case(
    "a live report does not revive a buy that an event called canceled",
    BUY_OVER_BY_EVENT,
    event := seen("10:00:06", 1, ENTRY, "pending_cancel", confirmed=True),
    Reason.AWAITING_CONFIRMATION,
    order=reported(BUY_OVER_BY_EVENT, event, progress=Progress.TERMINAL),
)
case(
    "a buy refused at its first send is refused, and cools the symbol down",
    BUY_SENT,
    seen("10:00", 1, ENTRY, REFUSED),
    Reason.BUY_REFUSED,
    phase=Phase.TO_BUY,
    order=None,
    settled=(0,),
    cool_until=at("10:00") + COOL_DOWN,
)
case(
    "a refusal of a buy sent again is no answer to the first send",
    BUY_RESENT,
    seen("10:00:30", 1, ENTRY, REFUSED),
    Reason.AWAITING_ANSWER,
    order=replace(working(BUY_RESENT), status=REFUSED, absences=0),
)
case(
    "a refusal of a buy that is known to live is not believed",
    BUYING,
    seen("10:00:30", 1, ENTRY, REFUSED),
    Reason.STILL_WORKING,
)
BUY_DOUBTED = after(
    BUY_RESENT,
    seen("10:00:30", 1, ENTRY, REFUSED),
    seen("10:00:36", 1, ENTRY, ABSENT),
)
case(
    "one absence after the refusal of a buy sent again is not enough, and it is not sent again",
    after(BUY_RESENT, seen("10:00:30", 1, ENTRY, REFUSED)),
    seen("10:00:36", 1, ENTRY, ABSENT),
    Reason.AWAITING_ANSWER,
    order=working(BUY_DOUBTED),
)
case(
    "two absences after the refusal of a buy sent again settle it, and its id is watched",
    BUY_DOUBTED,
    seen("10:00:41", 1, ENTRY, ABSENT),
    Reason.BUY_REFUSED,
    phase=Phase.TO_BUY,
    order=None,
    settled=(0,),
    cool_until=at("10:05:41"),
    abandoned=(client_id(),),
)
case(
    "a buy that the broker does not know is sent again while it is fresh",
    BUY_SENT,
    event := seen("10:00:59.999", 1, ENTRY, ABSENT),
    Reason.RESENT,
    order=(again := order(sends=2, absences=1, absent_at=event.at)),
    commands=(SubmitOrder(again),),
)
for sentence, clock, by, halt in (
    ("of 60 s", "10:01", RULES, None),
    ("of a paused symbol", "10:00:30", rules(symbol=SymbolFacts(enabled=False)), None),
    ("of a halted symbol", "10:00:30", RULES, Reason.CORRECTED_FILL),
):
    case(
        f"an unknown buy {sentence} is not sent again",
        replace(BUY_SENT, halt=halt),
        event := seen(clock, 1, ENTRY, ABSENT),
        Reason.AWAITING_ANSWER,
        order=order(absences=1, absent_at=event.at),
        by=by,
    )
case(
    "an unknown buy is not sent again at 15:55",
    after(IDLE, bar_closed("15:54", signal=True)),
    event := seen("15:55", 1, ENTRY, ABSENT),
    Reason.AWAITING_ANSWER,
    order=order(submitted="15:54", absences=1, absent_at=event.at),
)
case(
    "a second absence within 5 s does not count",
    after(BUY_SENT, seen("10:01", 1, ENTRY, ABSENT)),
    seen("10:01:04.999", 1, ENTRY, ABSENT),
    Reason.AWAITING_ANSWER,
)
case(
    "a live buy that is suddenly not found still works",
    BUYING,
    seen("10:01", 1, ENTRY, ABSENT),
    Reason.STILL_WORKING,
)
case(
    "a buy absent twice is not given up before 120 s",
    BUY_ABSENT,
    event := seen("10:01:59.999", 1, ENTRY, ABSENT),
    Reason.AWAITING_ANSWER,
    order=order(absences=3, absent_at=event.at),
)
case(
    "a buy of 120 s is not given up by its first absence",
    BUY_SENT,
    event := seen("10:02", 1, ENTRY, ABSENT),
    Reason.AWAITING_ANSWER,
    order=order(absences=1, absent_at=event.at),
)
case(
    "a buy absent twice is given up at 120 s, and its id is watched",
    BUY_ABSENT,
    seen("10:02", 1, ENTRY, ABSENT),
    Reason.ABANDONED,
    phase=Phase.TO_BUY,
    order=None,
    settled=(0,),
    abandoned=(client_id(),),
)
case(
    "a buy is not given up while the broker lists another open order of the symbol",
    BUY_ABSENT,
    event := seen("10:02", 1, ENTRY, ABSENT, other_order_open=True),
    Reason.AWAITING_ANSWER,
    order=order(absences=3, absent_at=event.at),
)
case(
    "an unknown buy is given up at the close",
    BUY_SENT,
    seen("16:00", 1, ENTRY, ABSENT),
    Reason.ABANDONED,
    phase=Phase.DONE,
    order=None,
    settled=(0,),
    abandoned=(client_id(),),
)
case(
    "a fill that is taken back halts the symbol, and the highest quantity stays",
    PARTLY_BOUGHT,
    event := seen("10:00:05", 1, ENTRY, "new", 3, confirmed=True),
    Reason.PARTLY_FILLED,
    order=replace(working(PARTLY_BOUGHT), status="new", updated_at=event.at),
    halt=Reason.CORRECTED_FILL,
)
case(
    "an intent from before the liquidation is canceled as soon as the broker reports it",
    BUY_LIQUIDATING,
    event := seen("15:55:01", 1, ENTRY, "new"),
    Reason.LIQUIDATING,
    cancels=reported(BUY_LIQUIDATING, event),
)
case(
    "an intent from before the liquidation that is reported at the close is not canceled",
    BUY_LIQUIDATING,
    event := seen("16:00", 1, ENTRY, "new"),
    Reason.AFTER_CLOSE,
    order=reported(BUY_LIQUIDATING, event),
)
case(
    "an external order changes nothing while a buy works",
    BUYING,
    seen("10:00:05", 1, ENTRY, "filled", 20, client_order_id="by hand"),
    Reason.UNKNOWN_ORDER,
)
case(
    "another order with the number of the working one changes nothing",
    BUYING,
    seen("10:00:05", 1, TARGET, "new"),
    Reason.UNKNOWN_ORDER,
)
case(
    "a canceled buy that fills while another works waits until that is closed, and is watched",
    BUYING_AGAIN,
    seen("10:10:05", 1, ENTRY, "canceled", 20, confirmed=True),
    Reason.LATE_ORDER,
    halt=Reason.LATE_ORDER,
    abandoned=(client_id(),),
)
SOLD_BEFORE = after(
    HOLDING_AGAIN,
    seen("10:11", 3, TARGET, "filled", 20, "100.01"),
    bar_closed("10:12", signal=True),
)
case(
    "a sale taken back while another buy works waits until that is closed, and is watched",
    SOLD_BEFORE,
    seen("10:12:05", 3, TARGET, "filled", 15, "100.01", confirmed=True),
    Reason.CORRECTED_FILL,
    halt=Reason.CORRECTED_FILL,
    abandoned=(client_id(3, TARGET),),
)
case(
    "a purchase taken back after its shares were sold is settled, and halts the symbol",
    SOLD_BEFORE,
    seen("10:12:05", 2, ENTRY, "filled", 15, confirmed=True),
    Reason.CORRECTED_FILL,
    halt=Reason.CORRECTED_FILL,
    settled=(0, 15, 20),
    abandoned=(client_id(2),),
)
case(
    "an order of ours with an unknown generation is canceled and watched while a buy works",
    BUYING,
    seen("10:00:05", 2, TARGET, "new"),
    Reason.UNKNOWN_ORDER,
    halt=Reason.UNKNOWN_ORDER,
    abandoned=(client_id(2, TARGET),),
    commands=(CancelOrder(client_id(2, TARGET), "broker-2"),),
)
FOLLOWED = replace(
    working(PARTLY_BOUGHT),
    status="",
    broker_id="successor",
    successor="successor",
    carried_qty=8,
    carried_value=money(800),
    updated_at=None,
)
case(
    "an order that the broker replaced is followed under its successor's id",
    PARTLY_BOUGHT,
    seen("10:00:20", 1, ENTRY, "replaced", 8, replaced_by="successor", confirmed=True),
    Reason.REPLACED_ORDER,
    order=FOLLOWED,
    halt=Reason.REPLACED_ORDER,
)
case(
    "replaced by an event alone awaits its confirmation, even if it names a successor",
    PARTLY_BOUGHT,
    event := seen("10:00:20", 1, ENTRY, "replaced", 8, replaced_by="successor"),
    Reason.AWAITING_CONFIRMATION,
    order=reported(PARTLY_BOUGHT, event, progress=Progress.TERMINAL),
    halt=Reason.REPLACED_ORDER,
)
case(
    "a buy that filled in full before it was replaced counts as bought",
    PARTLY_BOUGHT,
    seen("10:00:20", 1, ENTRY, "replaced", 20, replaced_by="successor", confirmed=True),
    Reason.BOUGHT,
    **BOUGHT,
    entered_at=at("10:00:20"),
    halt=Reason.REPLACED_ORDER,
    submits=replace(TARGET_2, submitted_at=at("10:00:20")),
)
case(
    "fills of the successor are added to the fills before",
    BUY_REPLACED,
    event := seen("10:00:30", 1, ENTRY, "partially_filled", 3, broker_id="successor", qty=12),
    Reason.PARTLY_FILLED,
    order=reported(BUY_REPLACED, event, filled_qty=11, filled_value=money(1100)),
)
case(
    "a successor of another size sets the order's size",
    BUY_REPLACED,
    event := seen("10:00:30", 1, ENTRY, "new", broker_id="successor", qty=5),
    Reason.PARTLY_FILLED,
    order=reported(BUY_REPLACED, event, qty=13, filled_qty=8, filled_value=money(800)),
)
case(
    "the successor of a successor is followed too",
    after(
        BUY_REPLACED,
        seen("10:00:30", 1, ENTRY, "partially_filled", 3, broker_id="successor", qty=12),
    ),
    seen(
        "10:00:40",
        1,
        ENTRY,
        "replaced",
        4,
        broker_id="successor",
        qty=12,
        replaced_by="third",
        confirmed=True,
    ),
    Reason.REPLACED_ORDER,
    order=replace(
        FOLLOWED,
        broker_id="third",
        successor="third",
        filled_qty=12,
        filled_value=money(1200),
        carried_qty=12,
        carried_value=money(1200),
    ),
)
case(
    "a report of the replaced order changes nothing more",
    BUY_REPLACED,
    seen("10:00:30", 1, ENTRY, "replaced", 9, replaced_by="other", confirmed=True),
    Reason.NOTHING_NEW,
)
for event_of in (bar_closed, checkup):
    case(
        f"{event_of.__name__}: a buy that was replaced is canceled under its successor's id",
        BUY_REPLACED,
        event_of("10:01"),
        Reason.REPLACED_ORDER,
        cancels=working(BUY_REPLACED),
    )
case(
    "after a successor is confirmed canceled, the shares filled before and after are sold",
    BUY_REPLACED,
    seen("10:02:01", 1, ENTRY, "canceled", 3, broker_id="successor", qty=12, confirmed=True),
    Reason.BOUGHT,
    **{**BOUGHT, "settled": (11,), "qty": 11, "cost": money(1100)},
    entered_at=at("10:02:01"),
    submits=replace(TARGET_2, qty=11, submitted_at=at("10:02:01")),
)
case(
    "a fill taken back before the buy was over is not held",
    PARTLY_BOUGHT,
    seen("10:02:01", 1, ENTRY, "canceled", 3, confirmed=True),
    Reason.BOUGHT,
    **{**BOUGHT, "settled": (3,), "qty": 3, "cost": money(300)},
    entered_at=at("10:02:01"),
    halt=Reason.CORRECTED_FILL,
    submits=replace(TARGET_2, qty=3, submitted_at=at("10:02:01")),
)
case(
    "an unknown buy is not sent again beside another open order of the symbol",
    BUY_SENT,
    event := seen("10:00:30", 1, ENTRY, ABSENT, other_order_open=True),
    Reason.AWAITING_ANSWER,
    order=order(absences=1, absent_at=event.at),
)
case(
    "the liquidation cancels a live buy",
    BUYING,
    liquidation("15:55", 0),
    Reason.LIQUIDATING,
    liquidating=True,
    cancels=working(BUYING),
)
case(
    "the liquidation cannot cancel an intent",
    BUY_SENT,
    liquidation("15:55", 0),
    Reason.AWAITING_ANSWER,
    liquidating=True,
)
case(
    "the liquidation waits for a cancel of 29 s",
    BUY_CANCELING,
    liquidation("10:02:29"),
    Reason.AWAITING_CONFIRMATION,
    liquidating=True,
)
case(
    "the liquidation repeats a cancel of 30 s",
    BUY_CANCELING,
    liquidation("15:55"),
    Reason.CANCEL_AGAIN,
    liquidating=True,
    cancels=working(BUY_CANCELING),
)
case(
    "at the close a live buy is not canceled any more",
    BUYING,
    liquidation("16:00"),
    Reason.AFTER_CLOSE,
    liquidating=True,
)
