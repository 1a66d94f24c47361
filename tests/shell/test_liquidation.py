"""The liquidation ends flat whatever is down, and sends nothing at or after the close."""

from datetime import timedelta

import pytest

from scalper.core.model import Phase, Reason
from scalper.core.order import OrderReport
from scalper.core.pricing import CENT
from scalper.core.session import Session
from scalper.shell.errors import BrokerDownError, RefusedError, UnknownOutcomeError
from scalper.shell.trading import batch
from scalper.shell.trading.liquidate import CANCEL_POLLS, liquidate
from scalper.shell.trading.tick import tick
from scalper.shell.trading.tick_schedule import TickDue
from tests.shell.conftest import Records
from tests.shell.fakes import CLOSE, CUTOFF, DAY, PRICE, QTY, Desk, client_id, minute, never

MINUTE = timedelta(minutes=1)


def sell(generation: int, qty: int = QTY) -> tuple[object, ...]:
    return ("submit", client_id(generation, "liquidation"), qty, None)


def tick_at(desk: Desk, at: object) -> dict[str, object]:
    desk.broker.now = at  # type: ignore[assignment]
    return tick(desk.engine, TickDue(desk.broker.now))


class TestDue:
    def test_before_its_time_it_does_nothing(self, desk: Desk):
        desk.hold(1)
        desk.log.clear()
        assert desk.liquidate(CUTOFF - MINUTE) == {"status": "not due", "flat": None}
        assert desk.log == []

    def test_a_holiday_has_no_liquidation(self, desk: Desk):
        desk.broker.sessions.clear()
        assert desk.liquidate(CUTOFF)["status"] == "not due"

    @pytest.mark.fault("46")
    def test_a_half_day_is_liquidated_five_minutes_before_its_close(self, desk: Desk):
        half = Session.of(DAY, "09:30", "13:00")
        desk.broker.sessions[DAY] = half
        desk.hold(1)
        assert desk.liquidate(half.close - 6 * MINUTE)["status"] == "not due"
        assert desk.liquidate(half.close - 5 * MINUTE)["status"] == "ok"
        assert desk.sent()[-1] == sell(3)

    def test_an_idle_symbol_is_done(self, desk: Desk):
        desk.trade("AAA", signal=never)
        desk.tick(1)
        assert desk.liquidate(CUTOFF) == {"status": "ok", "flat": True, "left": []}
        assert desk.phase() is Phase.DONE
        assert desk.sent() == []


class TestBeforeTheClose:
    @pytest.mark.fault("3", "27")
    def test_the_target_is_canceled_before_the_market_sell(self, desk: Desk):
        target = desk.hold(1)
        sent = len(desk.sent())
        answer = desk.liquidate(CUTOFF)
        assert desk.sent()[sent:] == [("cancel", target), sell(3)]
        assert answer == {"status": "ok", "flat": False, "left": ["AAA"]}
        desk.broker.fill(client_id(3, "liquidation"), PRICE)
        assert desk.liquidate(CUTOFF + MINUTE) == {"status": "ok", "flat": True, "left": []}
        assert desk.phase() is Phase.DONE
        assert len(desk.sent()) == sent + 2

    @pytest.mark.fault("26", "27")
    def test_nothing_is_sold_before_a_slow_cancel_has_taken_effect(self, desk: Desk):
        target = desk.hold(1)
        desk.broker.cancels_take = False
        sent = len(desk.sent())
        desk.liquidate(CUTOFF)
        assert desk.sent()[sent:] == [("cancel", target)]
        finds = [one for one in desk.log if one == ("find", target)]
        assert len(finds) == 1 + CANCEL_POLLS
        desk.broker.say(target, status="canceled")
        desk.liquidate(CUTOFF + MINUTE)
        assert desk.sent()[sent:] == [("cancel", target), sell(3)]

    @pytest.mark.fault("26")
    def test_shares_that_an_external_order_does_not_hold_are_sold_and_the_rest_once_free(
        self, desk: Desk
    ):
        desk.hold(1)
        desk.broker.put("AAA", "by-hand", qty=8)
        desk.liquidate(CUTOFF)
        assert desk.sent()[-1] == sell(3)
        assert desk.phase() is Phase.TO_SELL
        desk.liquidate(CUTOFF + MINUTE)
        assert desk.sent()[-1] == sell(4, QTY - 8)
        desk.broker.fill(client_id(4, "liquidation"), PRICE)
        desk.liquidate(CUTOFF + 2 * MINUTE)
        assert desk.state().qty == 8
        desk.broker.say("by-hand", status="canceled")
        desk.liquidate(CUTOFF + 3 * MINUTE)
        assert desk.sent()[-1][2] == 8
        desk.broker.fill(desk.submitted()[-1], PRICE)
        assert desk.liquidate(CUTOFF + 4 * MINUTE)["flat"]

    def test_a_target_that_fills_as_it_is_canceled_is_not_sold_again(self, desk: Desk):
        """Known fault 1: never short."""
        target = desk.hold(1)
        canceled = desk.broker.cancel

        def cancel(broker_id: str) -> None:
            desk.broker.fill(target, PRICE + CENT)
            canceled(broker_id)

        desk.broker.cancel = cancel  # type: ignore[method-assign]
        desk.liquidate(CUTOFF)
        assert desk.broker.held["AAA"] == 0
        assert desk.phase() is Phase.DONE
        assert desk.submitted() == [client_id(1), target]

    def test_a_working_buy_is_canceled(self, desk: Desk):
        desk.buy(380)
        desk.liquidate(CUTOFF)
        assert desk.sent()[-1] == ("cancel", client_id(1))
        assert desk.phase() is Phase.DONE

    def test_a_partly_filled_buy_is_canceled_and_what_it_bought_is_sold(self, desk: Desk):
        desk.buy(384)
        desk.broker.fill(client_id(1), PRICE, 7)
        desk.liquidate(CUTOFF)
        assert desk.sent()[-2:] == [("cancel", client_id(1)), sell(2, 7)]

    def test_a_buy_that_fills_after_the_liquidation_is_sold_at_market(self, desk: Desk):
        """Known fault 2."""
        desk.buy(384)
        desk.broker.cancels_take = False
        desk.liquidate(CUTOFF)
        desk.update(desk.broker.fill(client_id(1), PRICE), CUTOFF + MINUTE / 2, PRICE)
        assert desk.sent()[-1] == sell(2)

    def test_an_unanswered_buy_that_shows_up_is_canceled(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail_after("submit", UnknownOutcomeError("504"))
        desk.tick(384)
        desk.liquidate(CUTOFF)
        assert desk.sent()[-1] == ("cancel", client_id(1))
        assert desk.phase() is Phase.DONE

    def test_an_abandoned_order_that_fills_after_the_day_was_done_is_sold(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.always_fail("submit", UnknownOutcomeError("504"))
        for number in (380, 381, 382, 383):
            desk.tick(number)
        desk.broker.heal()
        desk.liquidate(CUTOFF)
        assert (desk.phase(), desk.state().abandoned) == (Phase.DONE, (client_id(1),))
        desk.broker.put("AAA", client_id(1))
        desk.broker.fill(client_id(1), PRICE)
        answer = desk.liquidate(CUTOFF + MINUTE)
        assert desk.sent()[-1] == sell(2)
        assert answer["left"] == ["AAA"]

    def test_an_order_that_cannot_be_reconciled_stops_no_sale(self, desk: Desk):
        target = desk.hold(1)
        desk.broker.say(client_id(1), filled_qty=15, filled_value=15 * PRICE)
        desk.broker.fail("find", BrokerDownError("down"))
        desk.liquidate(CUTOFF)
        assert desk.sent()[-2:] == [("cancel", target), sell(3)]

    def test_a_refused_sale_is_retried_by_each_repetition_within_bounds(self, desk: Desk):
        desk.hold(1)
        desk.broker.always_fail("submit", RefusedError(403, 40310000, "insufficient qty"))
        for number in range(4):
            desk.liquidate(CUTOFF + number * MINUTE)
        sales = [one for one in desk.submitted() if one.endswith("liquidation")]
        assert sales == [client_id(number, "liquidation") for number in (3, 4, 5, 6)]
        desk.broker.heal()
        desk.liquidate(CUTOFF + 4 * MINUTE)
        assert desk.sent()[-1] == sell(7)

    def test_an_unanswered_sale_is_sent_again_under_the_same_id(self, desk: Desk):
        desk.hold(1)
        desk.broker.fail("submit", UnknownOutcomeError("504"))
        desk.liquidate(CUTOFF)
        desk.liquidate(CUTOFF + MINUTE)
        assert desk.sent()[-2:] == [sell(3), sell(3)]
        assert [one for one in desk.broker.book if one.endswith("liquidation")] == [sell(3)[1]]

    def test_one_symbols_failure_does_not_stop_the_others(self, desk: Desk, records: Records):
        desk.hold(1, "AAA")
        desk.hold(2, "BBB")
        desk.stop_entries()
        desk.broker.fail("cancel", BrokerDownError("not said by the adapter"))
        answer = desk.liquidate(CUTOFF)
        assert desk.sent()[-1] == ("submit", client_id(3, "liquidation", "BBB"), QTY, None)
        assert answer["left"] == ["AAA", "BBB"]
        assert len(records.of("symbol failed")) == 1

    @pytest.mark.fault("35")
    def test_external_shares_and_orders_are_left_alone(self, desk: Desk):
        desk.hold(1)
        desk.broker.held["AAA"] += 100
        desk.broker.held["ZZZ"] = 50
        desk.broker.put("AAA", "by-hand")
        desk.liquidate(CUTOFF)
        desk.broker.fill(client_id(3, "liquidation"), PRICE)
        desk.liquidate(CUTOFF + MINUTE)
        assert dict(desk.broker.held) == {"AAA": 100, "ZZZ": 50}
        assert desk.broker.book["by-hand"].status == "new"

    @pytest.mark.fault("37")
    def test_a_position_below_ours_is_adopted(self, desk: Desk, records: Records):
        desk.hold(1)
        desk.broker.say(client_id(2, "target"), status="canceled")
        desk.broker.fail("submit", RefusedError(403, 40310000, "insufficient qty"))
        desk.stop_entries()
        desk.tick(2)
        assert desk.phase() is Phase.TO_SELL
        desk.broker.held["AAA"] = 5
        desk.liquidate(CUTOFF)
        assert desk.sent()[-1][2:] == (5, None)
        assert desk.state().halt is Reason.SOLD_ELSEWHERE

    def test_an_unread_list_of_orders_raises_after_the_symbols_of_the_table_are_done(
        self, desk: Desk
    ):
        """One order of ours that cannot be read must not keep all others from being sold."""
        target = desk.hold(1)
        desk.broker.always_fail("orders_since", BrokerDownError("an order that cannot be read"))
        with pytest.raises(BrokerDownError):
            desk.liquidate(CUTOFF)
        assert desk.sent()[-2:] == [("cancel", target), sell(3)]
        desk.broker.heal()
        desk.broker.fill(client_id(3, "liquidation"), PRICE)
        assert desk.liquidate(CUTOFF + MINUTE)["flat"]

    def test_without_the_table_and_the_list_the_liquidation_raises(self, desk: Desk):
        target = desk.hold(1)
        desk.store.down.add("load_all")
        desk.broker.always_fail("orders_since", BrokerDownError("down"))
        with pytest.raises(BrokerDownError):
            desk.liquidate(CUTOFF)
        assert desk.submitted()[-1] == target

    def test_unread_positions_and_open_orders_stop_nothing(self, desk: Desk):
        desk.hold(1)
        desk.broker.fail("open_orders", BrokerDownError("down"))
        desk.broker.fail("positions", BrokerDownError("down"))
        desk.liquidate(CUTOFF)
        assert desk.sent()[-1] == sell(3)


class TestManyPositions:
    """Alpaca allows 200 requests a minute, and the liquidation has five minutes."""

    NAMES = tuple(f"{a}{b}" for a in "ABCDEFGHIJKLMNO" for b in "ABCDEFGHIJKLMNOPQRST")

    @pytest.fixture
    def crowd(self, desk: Desk) -> Desk:
        """Hold three hundred positions, each with its target at work."""
        desk.trade(*self.NAMES)
        desk.tick(1)
        for name in self.NAMES:
            report = desk.broker.fill(client_id(1, symbol=name), PRICE)
            desk.update(report, minute(1) + timedelta(seconds=10), PRICE)
        desk.stop_entries()
        desk.log.clear()
        return desk

    @pytest.mark.fault("31")
    @pytest.mark.parametrize("told", [True, False])
    @pytest.mark.parametrize("cancels_take", [True, False])
    def test_three_hundred_are_sold_within_the_accounts_requests(
        self, crowd: Desk, cancels_take: bool, told: bool
    ):
        crowd.broker.requests_a_minute = 200
        crowd.broker.cancels_take = cancels_take

        def fill() -> None:
            for order in crowd.broker.open_orders_now():
                if order.limit is None:
                    tell(crowd.broker.fill(order.client_order_id, PRICE))
                elif order.status == "pending_cancel":
                    tell(crowd.broker.say(order.client_order_id, status="canceled"))

        def tell(report: OrderReport) -> None:
            if told:
                crowd.update(report, crowd.broker.now, PRICE)

        for number in range(5):
            at = CUTOFF + number * MINUTE
            crowd.liquidate(at)
            fill()
            tick_at(crowd, at)
            fill()
            crowd.checkup(385.5 + number)
            fill()
        assert not any(crowd.broker.held.values())
        assert crowd.liquidate(CLOSE) == {"status": "ok", "flat": True, "left": []}
        assert len([one for one in crowd.log if one[0] == "submit"]) < 2 * len(self.NAMES)

    def test_for_many_symbols_one_list_shows_the_effect_of_the_cancels(self, crowd: Desk):
        crowd.liquidate(CUTOFF)
        asked = [one[0] for one in crowd.log if one[0] not in ("save", "cancel", "submit")]
        assert asked == ["orders_since", "open_orders", "positions", "orders_since"]
        assert crowd.sent()[:300] == [("cancel", client_id(2, "target", s)) for s in self.NAMES]
        sold = [("submit", client_id(3, "liquidation", s), QTY, None) for s in self.NAMES]
        assert crowd.sent()[300:] == sold

    def test_a_cancel_that_the_list_does_not_confirm_yet_sells_nothing(self, crowd: Desk):
        crowd.broker.cancels_take = False
        crowd.liquidate(CUTOFF)
        assert {one[0] for one in crowd.sent()} == {"cancel"}

    def test_an_unread_list_does_not_lead_to_a_request_for_each_order(self, crowd: Desk):
        crowd.broker.fail("orders_since", None, *[BrokerDownError("down")] * CANCEL_POLLS)
        crowd.liquidate(CUTOFF)
        assert not [one for one in crowd.log if one[0] in ("find", "submit")]

    def test_unsold_shares_are_sold_without_a_list_for_each_symbol(self, crowd: Desk):
        crowd.broker.fail("submit", *[RefusedError(429, 42910000, "rate limit exceeded")] * 300)
        crowd.liquidate(CUTOFF)
        assert {crowd.phase(name) for name in self.NAMES} == {Phase.TO_SELL}
        crowd.log.clear()
        tick_at(crowd, CUTOFF + MINUTE)
        assert [one for one in crowd.log if one[0] == "orders_since"] == [("orders_since",)]
        assert len(crowd.sent()) == 300

    @pytest.mark.parametrize("by", ["tick", "checkup", "duplicate"])
    def test_fills_without_an_event_are_found_by_one_list(self, crowd: Desk, by: str):
        for name in self.NAMES:
            crowd.broker.fill(client_id(2, "target", name), PRICE + CENT)
        if by == "checkup":
            crowd.checkup(2)
        else:
            crowd.tick(1 if by == "duplicate" else 2)
        assert {crowd.phase(name) for name in self.NAMES} == {Phase.TO_BUY}
        assert not [one for one in crowd.log if one[0] == "find"]
        assert [one for one in crowd.log if one[0] == "orders_since"] == [("orders_since",)]

    def test_a_successor_is_canceled_and_its_shares_are_sold(self, crowd: Desk):
        crowd.broker.put("AA", "by-hand", qty=QTY, limit=PRICE + 2 * CENT)
        place = crowd.broker.book["by-hand"].broker_id
        crowd.broker.say(client_id(2, "target", "AA"), status="replaced", replaced_by=place)
        crowd.tick(2)
        crowd.log.clear()
        crowd.liquidate(CUTOFF)
        assert ("find_by_id", place) not in crowd.log
        assert crowd.sent()[0] == ("cancel", "by-hand")
        assert ("submit", client_id(3, "liquidation", "AA"), QTY, None) in crowd.sent()

    def test_closed_orders_in_a_list_do_not_contest_a_buy_in_doubt(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(batch, "MANY", 0)
        desk.broker.fill(desk.hold(1), PRICE + CENT)
        desk.broker.fail("submit", UnknownOutcomeError("504"))
        desk.tick(2)
        assert desk.submitted()[-1] == client_id(3)
        desk.checkup(2.5)
        assert desk.submitted()[-2:] == [client_id(3), client_id(3)]


class TestWithoutTheTable:
    @pytest.mark.fault("throttled-store")
    def test_the_brokers_orders_alone_are_enough(self, desk: Desk, records: Records):
        target = desk.hold(1, "AAA")
        desk.buy(384, "BBB")
        desk.store.down.add("all")
        sent = len(desk.sent())
        assert desk.liquidate(CUTOFF)["left"] == ["AAA"]
        assert desk.sent()[sent:] == [
            ("cancel", target),
            sell(3),
            ("cancel", client_id(1, symbol="BBB")),
        ]
        assert "liquidating without the table" in records.messages()

    def test_a_table_that_can_be_read_but_not_written_stops_nothing(self, desk: Desk):
        target = desk.hold(1)
        desk.store.down.add("save")
        sent = len(desk.sent())
        desk.liquidate(CUTOFF)
        assert desk.sent()[sent:] == [("cancel", target), sell(3)]

    def test_a_repeated_liquidation_sells_once(self, desk: Desk):
        desk.hold(1)
        desk.store.down.add("all")
        for number in range(4):
            desk.liquidate(CUTOFF + number * MINUTE)
        assert desk.submitted().count(client_id(3, "liquidation")) == 1
        desk.broker.fill(client_id(3, "liquidation"), PRICE)
        assert desk.liquidate(CUTOFF + 4 * MINUTE)["flat"] is True

    def test_a_table_that_is_back_records_what_was_done_without_it(self, desk: Desk):
        desk.hold(1)
        desk.store.down.add("all")
        desk.liquidate(CUTOFF)
        desk.store.down.clear()
        assert desk.state().generation == 2
        desk.broker.fill(client_id(3, "liquidation"), PRICE)
        desk.liquidate(CUTOFF + MINUTE)
        assert desk.liquidate(CUTOFF + 2 * MINUTE)["flat"] is True
        assert (desk.phase(), desk.broker.held["AAA"]) == (Phase.DONE, 0)

    @pytest.mark.fault("lost-table")
    def test_shares_that_we_sold_without_the_table_are_not_taken_for_sold_elsewhere(
        self, desk: Desk
    ):
        desk.hold(1)
        desk.store.down.add("all")
        desk.liquidate(CUTOFF)
        desk.broker.fill(client_id(3, "liquidation"), PRICE + 100)
        desk.store.down.clear()
        desk.tick(387)
        state = desk.state()
        assert (state.phase, state.qty, state.settled) == (Phase.DONE, 0, (QTY, 0, QTY))
        assert (state.trades, state.pnl) == (1, QTY * 100)

    def test_shares_sold_without_the_table_are_not_sold_again_out_of_the_owners_shares(
        self, desk: Desk
    ):
        """Seed 7284: the owner held as many shares as the state still believed to hold."""
        desk.hold(1)
        desk.store.down.add("all")
        desk.liquidate(CUTOFF)
        desk.broker.fill(client_id(3, "liquidation"), PRICE)
        desk.store.down.clear()
        desk.broker.held["AAA"] += QTY + 3
        desk.tick(387)
        assert desk.submitted().count(client_id(4, "liquidation")) == 0
        assert (desk.phase(), desk.broker.held["AAA"]) == (Phase.DONE, QTY + 3)

    @pytest.mark.parametrize("owned", [QTY - 5, QTY, QTY + 3])
    def test_shares_sold_without_the_table_under_another_client_id_are_not_sold_again(
        self, desk: Desk, owned: int
    ):
        """A refused exit uses up a generation that no order of the broker shows."""
        target = desk.hold(1)
        desk.broker.say(target, status="canceled")
        desk.broker.always_fail("submit", RefusedError(403, 40310000, "account is restricted"))
        desk.checkup(384)
        desk.checkup(384.5)
        desk.broker.heal()
        assert (desk.state().generation, desk.state().order) == (4, None)
        desk.store.down.add("all")
        desk.liquidate(CUTOFF)
        desk.broker.fill(client_id(3, "liquidation"), PRICE)
        desk.store.down.clear()
        desk.broker.held["AAA"] += owned
        desk.tick(387)
        assert desk.sent()[-1] == sell(3)
        assert (desk.phase(), desk.broker.held["AAA"]) == (Phase.DONE, owned)

    @pytest.mark.parametrize("owned", [0, QTY])
    def test_an_unanswered_exit_is_not_sent_again_for_shares_sold_without_the_table(
        self, desk: Desk, owned: int
    ):
        """Seeds 56 and 2464: both have one generation, and the sale would be a short one."""
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.broker.fail("submit", UnknownOutcomeError("504"))
        desk.update(report, minute(1), PRICE)
        desk.store.down.add("all")
        desk.liquidate(CUTOFF)
        desk.broker.fill(client_id(2, "liquidation"), PRICE)
        desk.store.down.clear()
        desk.broker.held["AAA"] += owned
        sent = len(desk.sent())
        for number in (386, 387, 388, 389):
            desk.tick(number)
        assert desk.sent()[sent:] == []
        state = desk.state()
        assert (state.phase, state.qty, state.settled) == (Phase.DONE, 0, (QTY, QTY))
        assert desk.broker.held["AAA"] == owned

    def test_the_shares_wait_while_a_sell_made_without_the_table_is_open(self, desk: Desk):
        desk.hold(1)
        desk.store.down.add("all")
        desk.liquidate(CUTOFF)
        desk.broker.fill(client_id(3, "liquidation"), PRICE, 5)
        desk.store.down.clear()
        desk.broker.cancels_take = False
        desk.checkup(385.5)
        desk.checkup(386)
        state = desk.state()
        assert (state.phase, state.qty) == (Phase.TO_SELL, QTY)
        assert desk.submitted().count(client_id(4, "liquidation")) == 0
        desk.broker.say(client_id(3, "liquidation"), status="canceled")
        desk.checkup(386.5)
        assert desk.sent()[-1] == sell(4, QTY - 5)
        assert desk.state().settled == (QTY, 0, 5)

    @pytest.mark.fault("lost-table")
    def test_a_missing_item_is_rebuilt(self, desk: Desk):
        desk.hold(1)
        desk.store.lose("AAA")
        desk.liquidate(CUTOFF)
        assert desk.sent()[-1] == sell(3)

    def test_an_unreadable_item_is_liquidated_from_the_brokers_orders(
        self, desk: Desk, records: Records
    ):
        desk.hold(1, "AAA")
        desk.hold(2, "BBB")
        desk.stop_entries()
        desk.store.unreadable.add("AAA")
        answer = desk.liquidate(CUTOFF)
        assert answer == {"status": "ok", "flat": False, "left": ["AAA", "BBB"]}
        assert [one for one in desk.submitted() if one.endswith("liquidation")] == [
            client_id(3, "liquidation", "BBB"),
            client_id(3, "liquidation"),
        ]
        for symbol in ("AAA", "BBB"):
            desk.broker.fill(client_id(3, "liquidation", symbol), PRICE)
        assert desk.liquidate(CUTOFF + MINUTE)["flat"] is True
        assert len([one for one in desk.submitted() if one.endswith("liquidation")]) == 2


class TestTheTicksPart:
    def test_from_the_cutoff_on_nothing_is_entered(self, desk: Desk):
        desk.trade("AAA", "BBB")
        for at in (CUTOFF, CUTOFF + MINUTE, CLOSE - MINUTE, CLOSE):
            tick_at(desk, at)
        assert desk.sent() == []

    def test_the_last_minute_before_the_cutoff_enters(self, desk: Desk):
        desk.trade("AAA")
        tick_at(desk, CUTOFF - MINUTE)
        assert desk.submitted() == [client_id(1)]

    def test_the_tick_leaves_the_first_minute_to_the_liquidation(self, desk: Desk):
        desk.hold(1)
        sent = desk.sent()
        tick_at(desk, CUTOFF)
        assert desk.sent() == sent

    def test_a_minute_later_the_tick_liquidates_too(self, desk: Desk):
        target = desk.hold(1)
        sent = len(desk.sent())
        tick_at(desk, CUTOFF + MINUTE)
        assert desk.sent()[sent:] == [("cancel", target), sell(3)]

    def test_tick_and_liquidation_together_sell_once(self, desk: Desk):
        desk.hold(1)
        raced: list[int] = []

        def race(state: object) -> None:
            if not raced:
                raced.append(1)
                tick_at(desk, CUTOFF + MINUTE)

        desk.store.before_save = race
        desk.liquidate(CUTOFF + MINUTE)
        assert raced
        assert desk.submitted().count(client_id(3, "liquidation")) == 1
        assert desk.broker.available("AAA") == 0


class TestFromTheCloseOn:
    @pytest.mark.parametrize("at", [CLOSE, CLOSE + MINUTE, CLOSE + timedelta(hours=3)])
    @pytest.mark.parametrize("what", ["target", "buy", "unanswered", "refused", "abandoned"])
    def test_nothing_is_sent(self, at: object, what: str):
        desk = Desk()
        if what == "target":
            desk.hold(380)
        elif what == "buy":
            desk.buy(380)
        elif what == "unanswered":
            desk.trade("AAA")
            desk.broker.fail_after("submit", UnknownOutcomeError("504"))
            desk.tick(380)
        elif what == "refused":
            report = desk.broker.fill(desk.buy(380), PRICE)
            desk.broker.fail("submit", RefusedError(403, 40310000, "insufficient qty"))
            desk.update(report, minute(380), PRICE)
        else:
            desk.trade("AAA")
            desk.broker.always_fail("submit", UnknownOutcomeError("504"))
            desk.tick(370)
            desk.stop_entries()
            for number in (371, 372, 373):
                desk.tick(number)
            desk.broker.heal()
            desk.broker.put("AAA", client_id(1))
        sent = desk.sent()
        tick_at(desk, CLOSE)
        desk.checkup(390)
        desk.liquidate(at)  # type: ignore[arg-type]
        desk.close_day(at)  # type: ignore[arg-type]
        assert desk.sent() == sent

    def test_an_intent_found_alive_at_the_close_is_not_canceled_any_more(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("submit", UnknownOutcomeError("504"))
        desk.tick(384)
        desk.stop_entries()
        desk.broker.always_fail("find", BrokerDownError("down"))
        desk.liquidate(CUTOFF)
        desk.broker.heal()
        desk.broker.put("AAA", client_id(1))
        sent = desk.sent()
        desk.liquidate(CLOSE)
        assert desk.sent() == sent

    def test_shares_that_are_left_raise_an_alarm(self, desk: Desk, records: Records):
        desk.hold(1)
        assert desk.liquidate(CLOSE) == {"status": "ok", "flat": False, "left": ["AAA"]}
        assert "not flat" in records.messages()

    def test_a_liquidation_delivered_after_the_close_goes_by_the_present_time(self, desk: Desk):
        desk.hold(1)
        sent = desk.sent()
        desk.broker.now = CLOSE + MINUTE
        assert liquidate(desk.engine, CUTOFF)["left"] == ["AAA"]
        assert desk.sent() == sent

    def test_a_liquidation_of_yesterday_is_not_due_today(self, desk: Desk):
        yesterday = Session.of(DAY - timedelta(days=1), "09:30", "16:00")
        desk.broker.sessions[yesterday.day] = yesterday
        desk.hold(1)
        before = desk.state()
        desk.broker.now = minute(5)
        assert liquidate(desk.engine, yesterday.liquidate_at)["status"] == "not due"
        assert desk.state() == before
