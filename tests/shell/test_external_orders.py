"""External orders and positions, and a blocked account, block entries; nothing touches them."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.pricing import CENT
from scalper.shell.errors import (
    BrokerDownError,
    RefusedError,
    UnauthorizedError,
    UnknownOutcomeError,
)
from scalper.shell.ports import Stored
from tests.shell.conftest import Records
from tests.shell.fakes import (
    CUTOFF,
    DAY,
    PRICE,
    QTY,
    Desk,
    client_id,
    minute,
    never,
)


def reasons(records: Records, symbol: str = "AAA") -> list[str]:
    told = (one.__dict__ for one in records.of("decision"))
    return [str(one["reason"]) for one in told if one["symbol"] == symbol]


def blocked(records: Records) -> list[tuple[str, str]]:
    lines = records.of("entry blocked")
    return [(r.symbol, str(r.__dict__["reason"])) for r in lines]  # type: ignore[attr-defined]


class TestExternalOrdersAndPositions:
    """Fault 38: they block their symbol's entries, a log line says so, nothing touches them."""

    @pytest.mark.fault("38")
    def test_an_external_order_blocks_only_its_symbol_until_it_is_gone(
        self, desk: Desk, records: Records
    ):
        desk.trade("AAA", "BBB")
        desk.broker.put("AAA", "by-hand")
        desk.tick(1)
        assert desk.sent() == [("submit", client_id(1, symbol="BBB"), QTY, PRICE)]
        assert blocked(records) == [("AAA", "external_order")]
        desk.broker.say("by-hand", status="canceled")
        desk.tick(2)
        assert desk.submitted()[-1] == client_id(1)

    @pytest.mark.fault("38")
    @pytest.mark.parametrize("shares", [7, -7])
    def test_an_external_position_blocks_only_its_symbol_until_it_is_gone(
        self, desk: Desk, records: Records, shares: int
    ):
        desk.trade("AAA", "BBB")
        desk.broker.held["AAA"] = shares
        desk.tick(1)
        assert desk.sent() == [("submit", client_id(1, symbol="BBB"), QTY, PRICE)]
        assert blocked(records) == [("AAA", "external_position")]
        desk.broker.held["AAA"] = 0
        desk.tick(2)
        assert desk.submitted()[-1] == client_id(1)

    def test_a_fraction_of_a_share_is_an_external_position(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.positions_answer = {"AAA": 0}
        desk.tick(1)
        assert desk.sent() == []

    def test_an_entry_waits_until_our_own_sale_shows_in_the_position(self, desk: Desk):
        target = desk.hold(1)
        desk.update(desk.broker.fill(target, PRICE + CENT), minute(1.9))
        desk.broker.positions_answer = {"AAA": QTY}
        desk.tick(2)
        assert desk.submitted() == [client_id(1), target]
        desk.broker.positions_answer = None
        desk.tick(3)
        assert desk.submitted()[-1] == client_id(3)

    def test_without_a_signal_no_blocked_entry_is_logged(self, desk: Desk, records: Records):
        desk.trade("AAA", signal=never)
        desk.broker.put("AAA", "by-hand")
        desk.tick(1)
        assert blocked(records) == []

    @pytest.mark.parametrize("method", ["open_orders", "positions"])
    def test_an_unread_list_blocks_entries_and_no_exit(
        self, desk: Desk, records: Records, method: str
    ):
        report = desk.broker.fill(desk.buy(1, "AAA"), PRICE)
        desk.trade("BBB")
        desk.broker.fail("submit", RefusedError(403, 40310000, "insufficient qty"))
        desk.update(report, minute(1.5), PRICE)
        desk.broker.fail(method, BrokerDownError("down"))
        desk.tick(2)
        assert client_id(1, symbol="BBB") not in desk.submitted()
        assert blocked(records) == [("BBB", "broker_unread")]
        desk.checkup(2.5)
        assert desk.phase("AAA") is Phase.SELL_SUBMITTED
        desk.tick(3)
        assert desk.submitted()[-1] == client_id(1, symbol="BBB")

    @pytest.mark.parametrize(
        ("stronger", "reason"), [("paused", "paused"), ("halted", "symbol_halted")]
    )
    def test_a_limit_that_comes_earlier_in_the_order_is_the_reason(
        self,
        desk: Desk,
        records: Records,
        caplog: pytest.LogCaptureFixture,
        stronger: str,
        reason: str,
    ):
        caplog.set_level(logging.DEBUG, logger="scalper")
        desk.trade("AAA", enabled=stronger != "paused")
        desk.trade("BBB")
        state = SymbolState(symbol="AAA", session=DAY)
        if stronger == "halted":
            state = replace(state, halt=Reason.SOLD_ELSEWHERE)
        desk.store.save(Stored(state, None), state)
        desk.broker.put("AAA", "by-hand")
        desk.tick(1)
        assert reasons(records)[-1] == reason
        assert blocked(records) == []

    def test_a_buy_in_doubt_is_not_sent_again_beside_an_external_order(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("submit", UnknownOutcomeError("504"))
        desk.tick(1)
        desk.broker.put("AAA", "by-hand")
        desk.checkup(1.5)
        assert desk.submitted() == [client_id(1)]


class TestBlockedAccounts:
    """Fault 29: the broker takes no orders of the account."""

    @pytest.mark.fault("29")
    def test_a_blocked_account_enters_nothing_until_the_broker_lifts_the_block(
        self, desk: Desk, records: Records
    ):
        desk.trade("AAA")
        desk.broker.blocked = "trading_blocked"
        desk.tick(1)
        assert desk.sent() == []
        (line,) = records.of("the broker blocks the account")
        assert (line.levelname, line.why, line.exits) == ("ERROR", "trading_blocked", "none")  # type: ignore[attr-defined]
        desk.broker.blocked = ""
        desk.tick(2)
        assert desk.submitted() == [client_id(1)]

    @pytest.mark.fault("29")
    def test_a_blocked_account_still_tries_its_exits_and_logs_that_they_may_be_refused(
        self, desk: Desk, records: Records
    ):
        target = desk.hold(1)
        desk.broker.blocked = "account_blocked"
        desk.broker.say(target, status="canceled")
        desk.tick(2)
        (line,) = records.of("the broker blocks the account")
        assert (line.exits, line.symbols) == ("may be refused", ["AAA"])  # type: ignore[attr-defined]
        assert desk.submitted()[-1] == client_id(3, "bailout")

    def test_an_account_that_cannot_be_read_blocks_nothing(self, desk: Desk, records: Records):
        desk.trade("AAA")
        desk.broker.fail("account_block", BrokerDownError("down"))
        desk.tick(1)
        assert desk.submitted() == [client_id(1)]
        assert records.of("request failed")

    def test_refused_keys_are_the_status_of_the_tick(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("account_block", UnauthorizedError(401, None, "unauthorized"))
        assert desk.tick(1) == {"status": "keys_refused"}


class TestTheOwnersTrades:
    @pytest.mark.fault("38")
    def test_external_orders_and_positions_are_left_alone(self, desk: Desk):
        desk.trade("AAA", signal=never)
        desk.broker.put("AAA", "by-hand")
        desk.broker.put("AAA", client_id(1).replace("paper", "live"))
        desk.broker.put("ZZZ", "by-hand-too")
        desk.broker.held["AAA"] = 7
        for number in range(1, 6):
            desk.tick(number)
        desk.liquidate(CUTOFF)
        assert desk.sent() == []

    @pytest.mark.fault("36")
    def test_an_order_that_the_owner_canceled_is_found(self, desk: Desk):
        desk.buy(1)
        desk.stop_entries()
        desk.broker.say(client_id(1), status="canceled")
        desk.tick(2)
        assert desk.phase() is Phase.TO_BUY

    @pytest.mark.fault("37")
    def test_shares_that_the_owner_sold_after_canceling_the_target_are_not_bailed_out(
        self, desk: Desk
    ):
        """A bailout would be a short sale, so it asks for the position first."""
        desk.hold(1)
        desk.stop_entries()
        desk.broker.say(client_id(2, "target"), status="canceled")
        desk.broker.held["AAA"] = 0
        sent = len(desk.sent())
        desk.tick(2)
        assert desk.sent()[sent:] == []
        assert desk.state().halt is Reason.SOLD_ELSEWHERE

    @pytest.mark.fault("37")
    @pytest.mark.parametrize("shown", [0, QTY], ids=["none shown", "still shown"])
    def test_shares_that_the_owner_has_just_sold_are_not_bailed_out_whatever_positions_show(
        self, desk: Desk, shown: int
    ):
        """Seeds 119 and 523: positions lag behind orders, so a recent one proves nothing."""
        target = desk.hold(1)
        canceled = desk.broker.say(target, status="canceled")
        desk.broker.now = minute(1) + timedelta(seconds=17)
        desk.broker.put("AAA", "by-hand", limit=None)
        desk.broker.fill("by-hand", PRICE)
        desk.broker.positions_answer = {"AAA": shown} if shown else {}
        sent = len(desk.sent())
        desk.update(canceled, minute(1) + timedelta(seconds=17), PRICE)
        assert desk.phase() is Phase.TO_SELL
        desk.checkup(1.5)
        assert desk.phase() is Phase.TO_SELL
        desk.broker.positions_answer = None
        desk.checkup(2)
        assert (desk.phase(), desk.state().halt) == (Phase.TO_BUY, Reason.SOLD_ELSEWHERE)
        assert desk.sent()[sent:] == []

    def test_an_external_trade_in_another_symbol_delays_no_bailout(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.say(target, status="canceled")
        desk.broker.now = minute(2)
        desk.broker.put("BBB", "by-hand")
        desk.broker.fill("by-hand", PRICE)
        desk.tick(2)
        assert desk.sent()[-1] == ("submit", client_id(3, "bailout"), QTY, None)

    @pytest.mark.fault("37")
    def test_shares_that_the_owner_sold_are_not_sold_again(self, desk: Desk, records: Records):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        desk.broker.fail("submit", RefusedError(403, 40310000, "insufficient qty"))
        desk.update(report, minute(1), PRICE)
        desk.broker.held["AAA"] = 5
        desk.checkup(2)
        assert desk.sent()[-1][2] == 5
        assert desk.state().halt is Reason.SOLD_ELSEWHERE
        assert [r.levelname for r in records.of("decision")].count("ERROR") == 1

    def test_a_refused_bailout_loses_no_shares(self, desk: Desk):
        """The exit of a checkup's reconciliation is refused; the next asks for the position."""
        desk.hold(1)
        desk.stop_entries()
        desk.broker.say(client_id(2, "target"), status="rejected")
        desk.broker.fail("submit", RefusedError(403, 40310000, "wash trade"))
        desk.checkup(2)
        state = desk.state()
        assert (state.qty, state.halt) == (QTY, None)
        assert desk.broker.held["AAA"] == QTY
        assert desk.submitted()[2:] == [client_id(3, "bailout")]

    def test_an_order_that_the_owner_replaced_halts_the_symbol_with_an_alarm(
        self, desk: Desk, records: Records
    ):
        desk.hold(1)
        desk.stop_entries()
        desk.broker.say(client_id(2, "target"), status="replaced")
        desk.tick(2)
        assert desk.state().halt is Reason.REPLACED_ORDER
        assert [r.levelname for r in records.of("decision")].count("ERROR") == 1

    @pytest.mark.fault("39")
    def test_a_bust_halts_the_symbol_with_an_alarm(self, desk: Desk, records: Records):
        """Fault 39; the step's own reason is another one."""
        desk.buy(1)
        desk.stop_entries()
        desk.update(desk.broker.fill(client_id(1), PRICE, 7), minute(1.5), PRICE)
        desk.broker.say(client_id(1), filled_qty=4, filled_value=4 * PRICE)
        desk.tick(2)
        assert desk.state().halt is Reason.CORRECTED_FILL
        assert [r.levelname for r in records.of("decision")].count("ERROR") == 1
