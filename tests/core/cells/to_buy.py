"""TO_BUY. Nothing is held: what may enter, and corrections."""

from functools import partial

from scalper.core.model import (
    AccountFacts,
    CancelOrder,
    Phase,
    Reason,
    SubmitOrder,
    SymbolFacts,
)
from scalper.core.order import ABSENT, REFUSED
from scalper.core.pricing import money
from tests.core.build import (
    after,
    at,
    bar_closed,
    checkup,
    client_id,
    liquidation,
    order,
    rules,
    seen,
    state,
)
from tests.core.cells.histories import (
    BAILOUT,
    BUYING,
    CANCELED,
    ENTRY,
    GAVE_UP,
    IDLE,
    PARTLY_BOUGHT,
    SELLING,
    SOLD_BEFORE_BOUGHT,
    TARGET,
    Case,
    state_case,
)

CASES: list[Case] = []
case = partial(state_case, CASES)

case("a minute without a bar decides nothing", IDLE, bar_closed("10:00", None), Reason.NO_BAR)
case("a bar without a signal enters nothing", IDLE, bar_closed("10:00"), Reason.NO_SIGNAL)
case(
    "a signal sends a limit buy at the close, rounded down, of as many shares as the lot buys",
    IDLE,
    bar_closed("10:00", "300.0199", signal=True),
    Reason.BUY_SIGNAL,
    phase=Phase.BUY_SUBMITTED,
    submits=order(1, ENTRY, 6, "300.01"),
)
case(
    "the last minute before the liquidation still enters",
    IDLE,
    bar_closed("15:54", signal=True),
    Reason.BUY_SIGNAL,
    phase=Phase.BUY_SUBMITTED,
    submits=order(submitted="15:54"),
)
for minute in ("15:55", "15:56", "16:00"):
    case(
        f"a signal at {minute} enters nothing",
        IDLE,
        bar_closed(minute, signal=True),
        Reason.AFTER_CUTOFF,
    )
for reason, by in (
    (Reason.PAUSED, rules(symbol=SymbolFacts(enabled=False))),
    (Reason.ACCOUNT_HALTED, rules(account=AccountFacts(halted=True))),
    (Reason.CLOCK_SKEW, rules(account=AccountFacts(clock_skew=True))),
    (Reason.LATE_TICK, rules(account=AccountFacts(late=True))),
):
    case(
        f"an entry blocked as {reason} says so",
        IDLE,
        bar_closed("10:00", signal=True),
        reason,
        by=by,
    )
case(
    "a halted symbol enters nothing",
    state(halt=Reason.LATE_ORDER),
    bar_closed("10:00", signal=True),
    Reason.SYMBOL_HALTED,
)
case(
    "after a refused buy a signal enters nothing",
    state(cool_until=at("10:05")),
    bar_closed("10:04", signal=True),
    Reason.COOLING_DOWN,
)
case(
    "a symbol that has cooled down enters",
    state(cool_until=at("10:05")),
    bar_closed("10:05", signal=True),
    Reason.BUY_SIGNAL,
    phase=Phase.BUY_SUBMITTED,
    submits=order(submitted="10:05"),
)
case(
    "the day's last allowed entry is not exceeded",
    state(entries=3),
    bar_closed("10:00", signal=True),
    Reason.ENTRY_LIMIT_REACHED,
    by=rules(max_entries=3),
)
case(
    "the day's last allowed entry is made",
    state(entries=2),
    bar_closed("10:00", signal=True),
    Reason.BUY_SIGNAL,
    by=rules(max_entries=3),
    phase=Phase.BUY_SUBMITTED,
    submits=order(),
)
case(
    "the last ten order numbers are kept for exits",
    state(generation=989, settled=(0,) * 989),
    bar_closed("10:00", signal=True),
    Reason.ORDER_LIMIT_REACHED,
)
case(
    "a lot smaller than one share sends nothing",
    IDLE,
    bar_closed("10:00", "2000.01", signal=True),
    Reason.LOT_TOO_SMALL,
)
case(
    "a lot of exactly one share buys it",
    IDLE,
    bar_closed("10:00", "2000.00", signal=True),
    Reason.BUY_SIGNAL,
    phase=Phase.BUY_SUBMITTED,
    submits=order(qty=1, limit="2000.00"),
)
case(
    "an external order changes nothing",
    IDLE,
    seen("10:00", 1, ENTRY, "filled", 20, client_order_id="by hand"),
    Reason.UNKNOWN_ORDER,
)
for what, external in {
    "symbol": client_id().replace("TSLA", "AAPL"),
    "day": client_id().replace("0701", "0630"),
    "mode": client_id().replace("paper", "live"),
}.items():
    case(
        f"an order of another {what} changes nothing",
        IDLE,
        seen("10:00", 1, ENTRY, "filled", 20, client_order_id=external),
        Reason.UNKNOWN_ORDER,
    )
for status in (ABSENT, REFUSED):
    case(
        f"{status} for a closed order changes nothing",
        GAVE_UP,
        seen("10:10", 1, ENTRY, status),
        Reason.UNKNOWN_ORDER,
    )
case(
    "an order of ours with an unknown generation halts the symbol",
    IDLE,
    seen("10:00", 1, ENTRY, "new"),
    Reason.UNKNOWN_ORDER,
    halt=Reason.UNKNOWN_ORDER,
    generation=1,
    settled=(0,),
    abandoned=(client_id(),),
    commands=(CancelOrder(client_id(), "broker-1"),),
)
case(
    "an order of ours with an unknown generation is not canceled at the close",
    IDLE,
    seen("16:00", 1, ENTRY, "new"),
    Reason.UNKNOWN_ORDER,
    halt=Reason.UNKNOWN_ORDER,
    generation=1,
    settled=(0,),
    abandoned=(client_id(),),
)
case(
    "an order of ours with an unknown generation that filled is sold at market at once",
    IDLE,
    seen("10:03", 3, ENTRY, "filled", 20),
    Reason.UNKNOWN_ORDER,
    halt=Reason.UNKNOWN_ORDER,
    generation=4,
    settled=(0, 0, 20),
    abandoned=(client_id(3),),
    phase=Phase.SELL_SUBMITTED,
    qty=20,
    cost=money(2000),
    entered_at=at("10:03"),
    entries=1,
    exit_as=BAILOUT,
    exit_attempts=1,
    order=(bailout := order(4, BAILOUT, 20, None, "10:03")),
    commands=(SubmitOrder(bailout),),
)
case(
    "while an abandoned order may still land, the symbol enters nothing",
    GAVE_UP,
    bar_closed("10:10", signal=True),
    Reason.ORDER_IN_DOUBT,
)
case(
    "an old report of a closed order changes nothing",
    after(BUYING, seen("10:02:01", 1, ENTRY, "canceled", confirmed=True)),
    seen("10:02:02", 1, ENTRY, "new"),
    Reason.NOTHING_NEW,
)
case(
    "an abandoned order that is reported live is canceled, and the symbol halted",
    GAVE_UP,
    seen("10:03", 1, ENTRY, "new"),
    Reason.LATE_ORDER,
    commands=(CancelOrder(client_id(), "broker-1"),),
    halt=Reason.LATE_ORDER,
)
case(
    "an abandoned order that is first reported at the close is not canceled",
    GAVE_UP,
    seen("16:00", 1, ENTRY, "new"),
    Reason.LATE_ORDER,
    halt=Reason.LATE_ORDER,
)
case(
    "an abandoned order that filled is sold at market at once",
    GAVE_UP,
    seen("10:03", 1, ENTRY, "filled", 20),
    Reason.LATE_ORDER,
    halt=Reason.LATE_ORDER,
    phase=Phase.SELL_SUBMITTED,
    settled=(20,),
    qty=20,
    cost=money(2000),
    entered_at=at("10:03"),
    entries=1,
    exit_as=BAILOUT,
    exit_attempts=1,
    submits=order(2, BAILOUT, 20, None, "10:03"),
)
case(
    "an abandoned order that is found filled after the close is held, for nothing can be sent",
    GAVE_UP,
    seen("16:00", 1, ENTRY, "filled", 20),
    Reason.AFTER_CLOSE,
    halt=Reason.LATE_ORDER,
    phase=Phase.TO_SELL,
    settled=(20,),
    qty=20,
    cost=money(2000),
    entered_at=at("16:00"),
    entries=1,
    exit_as=BAILOUT,
)
case(
    "a canceled order that fills later is canceled again, and watched from then on",
    after(BUYING, seen("10:02:01", 1, ENTRY, "canceled", confirmed=True)),
    seen("10:02:02", 1, ENTRY, "partially_filled", 3),
    Reason.LATE_ORDER,
    commands=(CancelOrder(client_id(), "broker-1"),),
    halt=Reason.LATE_ORDER,
    abandoned=(client_id(),),
)
SOLD_TWICE = after(
    SELLING,
    seen("10:01", 2, TARGET, "canceled", confirmed=True),
    checkup("10:01", 20),
    seen("10:01:01", 3, BAILOUT, "filled", 20, "99.00"),
)
case(
    "an exit that fills more when nothing is held is settled, and halts the symbol",
    SOLD_TWICE,
    seen("10:02", 2, TARGET, "filled", 20, "100.01"),
    Reason.LATE_ORDER,
    halt=Reason.LATE_ORDER,
    settled=(20, 20, 20),
    abandoned=(client_id(2, TARGET),),
)
case(
    "a buy that is reported only after its sale rests, and is not sold a second time",
    SOLD_BEFORE_BOUGHT,
    seen("10:04", 1, ENTRY, "filled", 20),
    Reason.LATE_ORDER,
    phase=Phase.TO_SELL,
    halt=Reason.LATE_ORDER,
    settled=(20, 0),
    qty=20,
    cost=money(2000),
    entered_at=at("10:04"),
    entries=1,
    exit_as=BAILOUT,
)
case(
    "of a closed order that fills later, only the shares that were not known are sold",
    after(
        PARTLY_BOUGHT,
        seen("10:02:01", 1, ENTRY, "canceled", 8, confirmed=True),
        seen("10:03", 2, TARGET, "filled", 8, "100.01"),
    ),
    seen("10:04", 1, ENTRY, "canceled", 20, confirmed=True),
    Reason.LATE_ORDER,
    halt=Reason.LATE_ORDER,
    abandoned=(client_id(),),
    phase=Phase.SELL_SUBMITTED,
    settled=(20, 8),
    qty=12,
    cost=money(1200),
    entered_at=at("10:04"),
    entries=1,
    exit_as=BAILOUT,
    exit_attempts=1,
    submits=order(3, BAILOUT, 12, None, "10:04"),
)
SOLD = after(SELLING, seen("10:05", 2, TARGET, "filled", 20, "100.01"))
case(
    "fewer fills than settled, by an event alone, await their confirmation",
    SOLD,
    seen("10:06", 2, TARGET, "filled", 15, "100.01"),
    Reason.AWAITING_CONFIRMATION,
)
case(
    "fewer fills than settled in a live report change nothing until a request confirms them",
    SOLD,
    seen("10:06", 2, TARGET, "partially_filled", 15, "100.01"),
    Reason.AWAITING_CONFIRMATION,
)
case(
    "a closed order that answers as live is canceled, and changes nothing until it is closed again",
    SOLD,
    seen("10:06", 2, TARGET, "partially_filled", 15, "100.01", confirmed=True),
    Reason.LATE_ORDER,
    commands=(CancelOrder(client_id(2, TARGET), "broker-2"),),
)
case(
    "a canceled order that answers as live once more is canceled again",
    CANCELED,
    seen("10:03", 1, ENTRY, "pending_cancel", confirmed=True),
    Reason.LATE_ORDER,
    commands=(CancelOrder(client_id(), "broker-1"),),
)
for price, filled, cost in (("100.01", 15, "500.05"), ("90.00", 15, "450")):
    case(
        f"five shares whose sale at {price} was taken back cost what that had brought",
        SOLD,
        seen("10:06", 2, TARGET, "filled", filled, price, confirmed=True),
        Reason.CORRECTED_FILL,
        phase=Phase.TO_SELL,
        halt=Reason.CORRECTED_FILL,
        settled=(20, filled),
        abandoned=(client_id(2, TARGET),),
        qty=5,
        cost=money(cost),
        entered_at=at("10:06"),
        exit_as=BAILOUT,
        exit_attempts=0,
    )
case(
    "a sale taken back altogether is no trade, and its shares cost what was asked for them",
    SOLD,
    seen("10:06", 2, TARGET, "canceled", limit=money("100.01"), confirmed=True),
    Reason.CORRECTED_FILL,
    phase=Phase.TO_SELL,
    halt=Reason.CORRECTED_FILL,
    settled=(20, 0),
    abandoned=(client_id(2, TARGET),),
    qty=20,
    cost=money("2000.20"),
    trades=0,
    entered_at=at("10:06"),
    exit_as=BAILOUT,
    exit_attempts=0,
)
case(
    "a purchase taken back after its shares were sold removes nothing, and halts the symbol",
    SOLD,
    seen("10:06", 1, ENTRY, "filled", 15, confirmed=True),
    Reason.CORRECTED_FILL,
    halt=Reason.CORRECTED_FILL,
    settled=(15, 20),
    abandoned=(client_id(),),
)
case(
    "the fills of a replaced order's successor are no correction",
    SOLD,
    seen("10:06", 2, TARGET, "replaced", 15, "100.01", confirmed=True),
    Reason.NOTHING_NEW,
)
case("a checkup finds nothing to do", IDLE, checkup("10:00:30", 0), Reason.NOTHING_NEW)
for minute in ("15:55", "16:00"):
    case(
        f"the liquidation at {minute} finds nothing and ends the day",
        IDLE,
        liquidation(minute, 0),
        Reason.NOTHING_TO_LIQUIDATE,
        phase=Phase.DONE,
        liquidating=True,
    )
