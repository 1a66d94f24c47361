"""Incidents whose answers no other module's tests show: rows of workbench/docs/incidents.py."""

import json

import pytest

from scalper.core.model import Phase, Reason
from scalper.core.order import Progress
from scalper.core.pricing import CENT
from scalper.shell import telemetry
from scalper.shell.errors import BrokerDownError, UnknownOutcomeError
from tests.shell.conftest import Records
from tests.shell.fakes import CLOSE, CUTOFF, PRICE, QTY, Desk, bar, client_id, minute
from tests.shell.test_liquidation import MINUTE
from tests.shell.test_webhook import request, take, update

TIME_OUT = UnknownOutcomeError("read timed out")


class TestEvents:
    @pytest.mark.fault("3")
    def test_a_liquidation_whose_fill_event_was_lost_sells_once(self, desk: Desk):
        desk.hold(1)
        for number in range(2):
            desk.liquidate(CUTOFF + number * MINUTE)
        desk.broker.fill(client_id(3, "liquidation"), PRICE)
        for number in range(2, 4):
            assert desk.liquidate(CUTOFF + number * MINUTE)["flat"] is True
        assert desk.submitted()[2:] == [client_id(3, "liquidation")]

    @pytest.mark.fault("6")
    def test_an_unknown_status_alarms_once_and_the_order_goes_on(
        self, desk: Desk, records: Records
    ):
        desk.buy(1)
        desk.stop_entries()
        desk.broker.say(client_id(1), status="teleported")
        desk.checkup(1.5)
        desk.checkup(2)
        (alarm,) = [one for one in records.all if one.levelname == "ERROR"]
        assert (alarm.getMessage(), alarm.__dict__["status"]) == ("unknown status", "teleported")
        assert desk.phase() is Phase.BUY_SUBMITTED
        desk.broker.fill(client_id(1), PRICE)
        desk.checkup(2.5)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]

    @pytest.mark.fault("10")
    def test_an_event_whose_write_failed_takes_effect_when_it_is_delivered_again(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.store.down.add("save")
        assert desk.update(report, minute(1.5), PRICE)["status"] == "failed"
        desk.store.down.clear()
        assert desk.update(report, minute(1.6), PRICE) == {
            "status": "taken",
            "reason": Reason.BOUGHT,
        }
        assert desk.submitted() == [client_id(1), client_id(2, "target")]

    @pytest.mark.fault("5", "11")
    def test_a_fill_found_by_a_request_and_then_delivered_counts_once(self, desk: Desk):
        desk.buy(1)
        desk.stop_entries()
        first = desk.broker.fill(client_id(1), PRICE, 7)
        desk.checkup(1.2)
        desk.update(first, minute(1.3), PRICE)
        second = desk.broker.fill(client_id(1), PRICE, 6)
        desk.checkup(1.5)
        desk.update(second, minute(1.6), PRICE)
        order = desk.state().order
        assert order is not None
        assert (order.filled_qty, order.filled_value) == (13, 13 * PRICE)
        assert desk.phase() is Phase.BUY_SUBMITTED

    @pytest.mark.fault("7", "11")
    def test_an_execution_is_not_recognised_by_its_id(self):
        one, other = (take(request(json.dumps(update(execution_id=n)))) for n in ("e1", "e2"))
        assert one == other


class TestOrders:
    @pytest.mark.fault("16")
    def test_while_an_outcome_is_open_no_signal_enters_again(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail_after("submit", TIME_OUT)
        desk.tick(1)
        desk.broker.always_fail("open_orders", BrokerDownError("down"))
        for number in range(2, 9):
            desk.tick(number)
        assert desk.submitted() == [client_id(1)]
        assert desk.state().order.progress is Progress.INTENT  # type: ignore[union-attr]

    @pytest.mark.fault("17")
    def test_after_a_cancel_the_next_buy_has_an_id_of_its_own(self, desk: Desk):
        desk.buy(1)
        desk.tick(3)
        assert desk.sent()[-1] == ("cancel", client_id(1))
        desk.tick(4)
        assert desk.submitted() == [client_id(1), client_id(2)]
        assert desk.state().order.progress is Progress.LIVE  # type: ignore[union-attr]

    @pytest.mark.fault("21")
    @pytest.mark.parametrize("what", ["buy", "target"])
    def test_an_order_stuck_in_pending_cancel_is_an_alarm_before_the_close(
        self, desk: Desk, records: Records, what: str
    ):
        stuck = desk.buy(1) if what == "buy" else desk.hold(1)
        desk.broker.cancels_take = False
        desk.liquidate(CUTOFF)
        assert records.of("not flat") == []
        assert desk.liquidate(CLOSE - MINUTE)["flat"] is False
        assert records.of("not flat")[0].__dict__["symbols"] == ["AAA"]
        assert desk.sent()[-1] == ("cancel", stuck)

    @pytest.mark.fault("22")
    def test_a_cancel_that_is_acknowledged_while_the_order_stays_open_is_asked_about_on(
        self, desk: Desk
    ):
        desk.buy(1)
        desk.stop_entries()
        told = desk.broker.say(client_id(1), status="canceled")
        desk.broker.say(client_id(1), status="new")
        desk.update(told, minute(1.1))
        assert desk.phase() is Phase.BUY_SUBMITTED
        desk.broker.fill(client_id(1), PRICE)
        desk.checkup(1.5)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]

    @pytest.mark.fault("24")
    def test_an_accepted_buy_that_is_rejected_later_is_found_by_asking(self, desk: Desk):
        desk.buy(1)
        desk.broker.say(client_id(1), status="accepted")
        desk.checkup(1.5)
        assert desk.phase() is Phase.BUY_SUBMITTED
        desk.broker.say(client_id(1), status="rejected")
        desk.tick(2)
        assert (desk.phase(), desk.state().settled) == (Phase.TO_BUY, (0,))
        assert desk.submitted() == [client_id(1)], "it cools down"

    @pytest.mark.fault("24")
    def test_an_accepted_sell_that_is_rejected_later_is_sold_again(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.say(target, status="rejected")
        desk.tick(2)
        assert desk.sent()[-1] == ("submit", client_id(3, "bailout"), QTY, None)

    @pytest.mark.fault("18", "25")
    def test_an_order_whose_cancel_failed_is_followed_to_its_end(self, desk: Desk):
        desk.buy(1)
        desk.stop_entries()
        desk.broker.fail("cancel", TIME_OUT)
        desk.broker.fail("find", BrokerDownError("down"))
        desk.tick(3)
        assert desk.phase() is Phase.BUY_SUBMITTED
        desk.broker.fill(client_id(1), PRICE)
        desk.checkup(3.2)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]
        assert desk.state().qty == QTY


class TestRefused:
    @pytest.mark.fault("42", "broken-row")
    def test_refused_bars_and_rows_are_counted(self, desk: Desk):
        desk.trade("AAA")
        desk.market.refused = ("ZZZ: prices out of order",) * 2
        desk.symbols.refused = ("BBB: lot 'abc'",) * 3
        telemetry.metrics.clear_metrics()
        desk.tick(1)
        counted = telemetry.metrics.provider.metric_set
        assert sum(counted["BarsRefused"]["Value"]) == 2
        assert sum(counted["SymbolsRefused"]["Value"]) == 3


class TestBars:
    @pytest.mark.fault("47")
    def test_a_bar_that_comes_a_minute_late_enters_nothing(self, desk: Desk):
        desk.trade("AAA")
        desk.market.by_symbol["AAA"] = []
        desk.tick(1)
        desk.market.by_symbol["AAA"] = [bar(minute(0), PRICE - CENT)]
        desk.tick(2)
        assert desk.submitted() == []
        desk.market.by_symbol["AAA"] += [bar(minute(2))]
        desk.tick(3)
        assert desk.sent() == [("submit", client_id(1), QTY, PRICE)]
