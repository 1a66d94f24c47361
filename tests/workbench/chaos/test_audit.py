"""What has to hold at the end of a day is looked at: each thing that does not hold is told."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import Order, Purpose
from scalper.core.pricing import DOLLAR
from scalper.core.session import MINUTE, Session
from workbench.chaos.audit import halts_without_cause, sales, violations
from workbench.exchange.ledger import OrderLedger, Ticket

DAY = date(2024, 11, 29)
SESSION = Session.of(DAY, "09:30", "13:00")
CASH = 10_000 * DOLLAR


def send(
    ledger: OrderLedger, generation: int, purpose: str, qty: int, filled: int, price: int
) -> None:
    """Play an order of which so much fills; the rest is canceled."""
    side: Any = "buy" if purpose == "entry" else "sell"
    name = f"scalp-paper-AAA-20241129-{generation}-{purpose}"
    order = ledger.submit(
        Ticket("AAA", side, qty, price, name),
        now=SESSION.open,
        expires_at=SESSION.close,
        status="new",
        last_trade=None,
    )
    if filled:
        order = ledger.fill(order, price=price, qty=filled, at=SESSION.open + MINUTE).order
    if order.is_open:
        ledger.cancel(order.id, SESSION.open + MINUTE)


@pytest.fixture
def ledger() -> OrderLedger:
    """Two trades, $5 and -$0.04: the second one's exit in two orders."""
    made = OrderLedger(CASH)
    send(made, 1, "entry", 10, 0, 9 * DOLLAR)
    send(made, 2, "entry", 10, 10, 10 * DOLLAR)
    send(made, 3, "target", 10, 10, 105_000)
    send(made, 4, "entry", 4, 3, 10 * DOLLAR)
    send(made, 5, "target", 3, 1, 10 * DOLLAR)
    send(made, 6, "liquidation", 2, 2, 99_800)
    return made


STATE = SymbolState(
    symbol="AAA",
    session=DAY,
    phase=Phase.DONE,
    generation=7,
    settled=(0, 10, 10, 3, 1, 2, 0),
    entries=2,
    trades=3,
    pnl=5 * DOLLAR - 400,
)
"""The seventh order never landed."""

SUMMARY = {"flat": True, "pnl_usd": 4.96, "trades": 3}


def found(
    ledger: OrderLedger,
    state: SymbolState | None = STATE,
    summary: Mapping[str, Any] | None = SUMMARY,
) -> list[str]:
    states = {} if state is None else {"AAA": state}
    closed = [] if summary is None else [{"flat": False, "pnl_usd": 1, "trades": 0}, summary]
    return list(violations(ledger, states, closed, symbols=["AAA"], cash_before=CASH))


def test_a_day_that_ended_well_has_no_violation(ledger):
    assert found(ledger) == []
    assert sales(ledger) == sales(ledger, "AAA") == 3
    assert sales(ledger, "BBB") == 0


HELD = Order(
    client_order_id="scalp-paper-AAA-20241129-8-target",
    purpose=Purpose.TARGET,
    qty=2,
    limit=1,
    submitted_at=SESSION.open,
)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"phase": Phase.TO_SELL, "qty": 1}, "ends in TO_SELL with 1 shares"),
        ({"phase": Phase.SELL_SUBMITTED, "order": HELD, "qty": 2}, "ends in SELL_SUBMITTED"),
        ({"generation": 5, "settled": (0, 10, 10, 3, 1)}, "the exchange has order 6, the item 5"),
        ({"generation": 8}, "7 of 8 orders are settled"),
        ({"settled": (0, 10, 9, 3, 1, 2, 0)}, "3-target: 9 shares in the item, 10 at"),
        ({"settled": (0, 10, 10, 3, 1, 2, 1)}, "order 7 of AAA: 1 shares in the item, 0 at"),
        ({"entries": 3}, "3 entries in the item, 2 at the exchange"),
        ({"trades": 2}, "2 trades in the item, 3 made"),
        ({"pnl": STATE.pnl + 1}, "P&L of AAA: 49601 in the item, 49600 at the exchange"),
    ],
)
def test_an_item_that_is_not_as_the_orders_say_is_told(ledger, changed, told):
    lines = found(ledger, replace(STATE, **changed))
    assert len(lines) == 1, lines
    assert told in lines[0]


def test_a_halt_is_no_violation(ledger):
    assert found(ledger, replace(STATE, halt=Reason.EXIT_EXHAUSTED)) == []


def test_a_halt_over_what_never_happened_is_told():
    def told(halt: Reason | None) -> list[str]:
        return list(halts_without_cause({"AAA": replace(STATE, halt=halt)}))

    assert told(None) == told(Reason.EXIT_EXHAUSTED) == []
    assert told(Reason.LATE_ORDER) == ["I4 AAA is halted: late_order"]


def test_an_item_that_is_missing_is_told(ledger):
    assert found(ledger, None) == ["I4 AAA has no item that can be read"]


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        (None, "the day was not closed"),
        ({**SUMMARY, "flat": False}, "not flat"),
        ({**SUMMARY, "pnl_usd": 4.9601}, "P&L: 4.9601 in the summary, 4.96 at the exchange"),
        ({**SUMMARY, "trades": 2}, "trades: 2 in the summary, 3 at the exchange"),
    ],
)
def test_a_summary_that_is_not_as_the_books_say_is_told(ledger, summary, told):
    (line,) = found(ledger, STATE, summary)
    assert told in line


def test_what_is_held_or_works_at_the_end_is_told(ledger):
    send(ledger, 7, "entry", 1, 1, DOLLAR)
    ledger.submit(
        Ticket("AAA", "sell", 1, 2 * DOLLAR, "scalp-paper-AAA-20241129-8-target"),
        now=SESSION.open,
        expires_at=SESSION.close,
        status="new",
        last_trade=None,
    )
    lines = found(ledger)
    assert "I5 not flat: 1 AAA" in lines
    assert "I5 not flat: scalp-paper-AAA-20241129-8-target is new" in lines
