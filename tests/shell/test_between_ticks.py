"""Between two ticks: a trade update is acted on at once, and a checkup reconciles every order."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from scalper.core.model import Phase, Reason
from scalper.core.pricing import CENT, DOLLAR
from scalper.shell.errors import BrokerDownError, RefusedError
from scalper.shell.memory_store import MemoryStore
from scalper.shell.trading.checkup import checkup
from tests.shell.conftest import Records
from tests.shell.fakes import (
    CLOSE,
    DAY,
    PRICE,
    QTY,
    Desk,
    bar,
    client_id,
    minute,
    never,
)


def ignored(records: Records) -> list[tuple[Any, ...]]:
    """Return the symbol, the reason and the client order id of each event that was ignored."""
    lines = [one.__dict__ for one in records.of("event ignored")]
    assert all(one["event"] == "OrderSeen" for one in lines)
    return [(one["symbol"], one["reason"], one["client_order_id"]) for one in lines]


class TestTradeUpdates:
    @pytest.mark.fault("bad-webhook")
    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("external", Reason.EXTERNAL_ORDER),
            ("", Reason.EXTERNAL_ORDER),
            (client_id(1, symbol="ZZZ"), Reason.EXTERNAL_ORDER),
            (client_id(1).replace("paper", "live"), Reason.OTHER_MODE),
        ],
    )
    def test_an_order_that_is_not_ours_changes_nothing(
        self, desk: Desk, name: str, reason: Reason, records: Records
    ):
        desk.hold(1)
        before = desk.state()
        desk.log.clear()
        report = replace(desk.broker.book[client_id(1)], client_order_id=name)
        records.clear()
        answer = desk.update(report, minute(2), PRICE)
        assert answer == {"status": "ignored", "reason": reason}
        assert (desk.state(), desk.log) == (before, [])
        assert ignored(records) == [("AAA", reason, name)]

    @pytest.mark.fault("bad-webhook")
    @pytest.mark.parametrize(
        "name", [client_id(9), client_id(1, symbol="NEW"), client_id(1, day=DAY.replace(day=4))]
    )
    def test_an_id_of_our_form_that_is_unknown_changes_nothing(
        self, desk: Desk, name: str, records: Records
    ):
        desk.hold(1)
        before = desk.state()
        desk.log.clear()
        symbol = name.split("-")[2]
        report = replace(desk.broker.book[client_id(1)], client_order_id=name, symbol=symbol)
        records.clear()
        answer = desk.update(report, minute(2), PRICE)
        assert answer == {"status": "ignored", "reason": Reason.UNKNOWN_ORDER}
        assert ignored(records) == [(symbol, Reason.UNKNOWN_ORDER, name)]
        assert desk.state() == before
        assert desk.log == [("find", name)]
        assert MemoryStore.load(desk.store, "NEW") is None

    def test_an_order_of_ours_that_the_state_does_not_know_halts_the_symbol(self, desk: Desk):
        desk.hold(1)
        desk.broker.put("AAA", client_id(9))
        desk.update(desk.broker.book[client_id(9)], minute(2))
        assert desk.state().halt is Reason.UNKNOWN_ORDER

    @pytest.mark.fault("lost-table")
    def test_a_missing_item_is_rebuilt_first(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        desk.store.lose("AAA")
        assert desk.update(report, minute(1.5), PRICE) == {
            "status": "taken",
            "reason": Reason.NOTHING_NEW,
        }
        assert desk.state().qty == QTY
        assert desk.outbox.checkups[-1] == 30
        desk.checkup(2)
        assert desk.sent()[-1][1] == client_id(2, "target")

    def test_the_target_is_at_the_price_of_the_execution_if_that_is_higher(self, desk: Desk):
        desk.broker.fill(desk.buy(1), PRICE - DOLLAR)
        report = desk.broker.book[client_id(1)]
        desk.update(report, minute(1.5), PRICE + 50 * CENT)
        assert desk.sent()[-1] == ("submit", client_id(2, "target"), QTY, PRICE + 50 * CENT)

    def test_a_fill_found_by_polling_takes_the_newest_close(self, desk: Desk):
        desk.broker.fill(desk.buy(1), PRICE - DOLLAR)
        desk.stop_entries()
        desk.market.by_symbol["AAA"] = [bar(minute(0)), bar(minute(1), PRICE + 25 * CENT)]
        desk.tick(2)
        assert desk.sent()[-1] == ("submit", client_id(2, "target"), QTY, PRICE + 25 * CENT)

    def test_a_fill_is_answered_with_the_reason_of_its_own_step(self, desk: Desk, records: Records):
        report = desk.broker.fill(desk.buy(1), PRICE)
        records.clear()
        answer = desk.update(report, minute(1.5), PRICE)
        assert answer == {"status": "taken", "reason": Reason.BOUGHT}
        assert ignored(records) == []

    def test_an_event_that_says_nothing_new_is_answered_and_logged_with_its_reason(
        self, desk: Desk, records: Records
    ):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.update(report, minute(1.5), PRICE)
        records.clear()
        answer = desk.update(report, minute(1.6), PRICE)
        assert answer == {"status": "taken", "reason": Reason.NOTHING_NEW}
        assert ignored(records) == [("AAA", Reason.NOTHING_NEW, client_id(1))]

    def test_a_fill_on_a_holiday_is_closed(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.broker.sessions.clear()
        desk.engine.sessions.clear()
        assert desk.update(report, minute(1.5)) == {
            "status": "closed",
            "reason": Reason.MARKET_CLOSED,
        }

    def test_an_update_whose_symbol_fails_answers_and_does_not_raise(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.store.down.add("save")
        assert desk.update(report, minute(1.5), PRICE) == {
            "status": "failed",
            "reason": Reason.SYMBOL_FAILED,
        }
        assert len(desk.sent()) == 1

    def test_an_update_whose_state_cannot_be_rebuilt_says_why(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.store.lose("AAA")
        desk.store.down.add("save")
        assert desk.update(report, minute(1.5), PRICE) == {
            "status": "failed",
            "reason": Reason.SYMBOL_FAILED,
        }
        assert len(desk.sent()) == 1

    def test_after_the_close_nothing_is_sent(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        assert desk.update(report, CLOSE, PRICE) == {
            "status": "taken",
            "reason": Reason.AFTER_CLOSE,
        }
        assert desk.phase() is Phase.TO_SELL
        assert len(desk.sent()) == 1


class TestCheckups:
    def test_a_checkup_without_a_working_order_makes_no_request(self, desk: Desk):
        desk.trade("AAA", signal=never)
        desk.tick(1)
        desk.log.clear()
        assert desk.checkup(1.5) == {"status": "ok", "busy": 0}
        assert desk.log == []

    @pytest.mark.fault("31")
    def test_one_list_serves_all_and_only_the_missing_are_asked_for(self, desk: Desk):
        desk.buy(1, "AAA")
        desk.buy(2, "BBB")
        desk.buy(3, "CCC")
        desk.broker.fill(client_id(1, symbol="BBB"), PRICE)
        desk.log.clear()
        desk.checkup(2.5)
        assert desk.log[:2] == [("open_orders",), ("find", client_id(1, symbol="BBB"))]
        assert len([one for one in desk.log if one[0] == "find"]) == 1

    @pytest.mark.fault("31")
    def test_exits_go_before_entries(self, desk: Desk):
        desk.buy(1, "ZZZ")
        desk.broker.fill(client_id(1, symbol="ZZZ"), PRICE)
        desk.trade("AAA", "BBB")
        desk.log.clear()
        desk.tick(2)
        assert desk.submitted() == [
            client_id(2, "target", symbol="ZZZ"),
            client_id(1, symbol="AAA"),
            client_id(1, symbol="BBB"),
        ]

    @pytest.mark.fault("1")
    def test_a_fill_whose_event_never_came_is_sold(self, desk: Desk):
        """Fault 1: correct with zero webhooks."""
        desk.broker.fill(desk.buy(1), PRICE)
        desk.checkup(1.5)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]

    @pytest.mark.parametrize("at", [CLOSE, CLOSE + timedelta(minutes=5)])
    def test_from_the_close_on_it_does_nothing(self, desk: Desk, at: datetime):
        desk.hold(1)
        desk.log.clear()
        desk.broker.now = at
        assert checkup(desk.engine, at) == {"status": "closed"}
        assert desk.log == []

    def test_it_enters_nothing(self, desk: Desk):
        desk.hold(1, "AAA")
        desk.trade("BBB")
        desk.log.clear()
        desk.checkup(1.5)
        assert desk.sent() == []

    @pytest.mark.parametrize("unread", ["positions", "orders_since"])
    def test_shares_whose_number_cannot_be_read_rest_until_it_can(self, desk: Desk, unread: str):
        """Somebody may have sold them: on an account that allows it the retry would sell short."""
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.broker.fail("submit", RefusedError(403, 40310000, "insufficient qty"))
        desk.update(report, minute(1), PRICE)
        sent = len(desk.sent())
        desk.broker.fail(unread, BrokerDownError("down"))
        desk.checkup(2)
        assert (desk.phase(), desk.sent()[sent:]) == (Phase.TO_SELL, [])
        desk.checkup(2.5)
        assert desk.sent()[sent:] == [("submit", client_id(3, "target"), QTY, PRICE + CENT)]
