"""News of closed, abandoned and replaced orders still counts, as late fills and busts do."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import OrderReport
from scalper.core.pricing import CENT, DOLLAR, Money
from scalper.core.session import Session
from scalper.shell.errors import RefusedError, UnknownOutcomeError
from scalper.shell.memory_store import MemoryStore
from scalper.shell.trading.tick import tick
from scalper.shell.trading.tick_schedule import TickDue
from tests.shell.conftest import Records
from tests.shell.fakes import (
    CLOSE,
    CUTOFF,
    DAY,
    PRICE,
    QTY,
    Desk,
    bar,
    client_id,
    minute,
)

TIME_OUT = UnknownOutcomeError("read timed out")
NO_POWER = RefusedError(403, 40310000, "insufficient buying power")


class TestOrdersInDoubt:
    """I1: while an order may still land, no other order is sent."""

    def abandon(self, desk: Desk) -> None:
        desk.trade("AAA")
        desk.broker.always_fail("submit", TIME_OUT)
        for number in (1, 2, 3, 4):
            desk.tick(number)
        desk.broker.heal()
        assert desk.state().abandoned == (client_id(1),)

    def test_beside_an_abandoned_order_nothing_is_entered(self, desk: Desk):
        self.abandon(desk)
        for number in (5, 6, 7):
            desk.tick(number)
        assert set(desk.submitted()) == {client_id(1)}
        assert desk.phase() is Phase.TO_BUY

    def test_the_next_session_enters_again(self, desk: Desk):
        self.abandon(desk)
        tomorrow = Session.of(DAY + timedelta(days=1), "09:30", "16:00")
        desk.broker.sessions[tomorrow.day] = tomorrow
        desk.market.by_symbol["AAA"] = [bar(tomorrow.open)]
        desk.broker.now = tomorrow.open + timedelta(minutes=1)
        tick(desk.engine, TickDue(desk.broker.now))
        assert desk.submitted()[-1] == client_id(1, day=tomorrow.day)

    def test_an_exit_in_doubt_that_sold_five_leaves_fifteen_to_sell(self, desk: Desk):
        """The later sell is canceled first, and only what is held is sold under a new id."""
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        desk.broker.fail("submit", TIME_OUT, NO_POWER)
        desk.update(report, minute(1), PRICE)
        for number in (1.2, 1.4, 1.6, 1.8):
            desk.checkup(number)
        second = client_id(3, "target")
        assert desk.state().abandoned == (client_id(2, "target"),)
        assert desk.state().order.client_order_id == second  # type: ignore[union-attr]
        desk.broker.put("AAA", client_id(2, "target"))
        desk.broker.fill(client_id(2, "target"), PRICE, 5)
        desk.broker.say(client_id(2, "target"), status="canceled")
        sent = len(desk.sent())
        desk.tick(3)
        assert desk.sent()[sent:] == [
            ("cancel", second),
            ("submit", client_id(4, "bailout"), QTY - 5, None),
        ]
        desk.broker.fill(client_id(4, "bailout"), PRICE)
        desk.tick(4)
        assert (desk.phase(), desk.broker.held["AAA"]) == (Phase.TO_BUY, 0)
        assert desk.state().halt is Reason.LATE_ORDER

    def test_an_abandoned_exit_that_lands_delays_the_next_exit(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        target = client_id(2, "target")
        desk.broker.fail("submit", TIME_OUT, *[NO_POWER] * 3)
        desk.update(report, minute(1), PRICE)
        for number in (1.2, 1.4, 1.6, 1.8):
            desk.checkup(number)
        assert (desk.phase(), desk.state().abandoned) == (Phase.TO_SELL, (target,))
        asked = desk.broker.find

        def land_once_asked_for(client_order_id: str) -> OrderReport | None:
            answer = asked(client_order_id)
            if target not in desk.broker.book:
                desk.broker.put("AAA", target)
            return answer

        desk.broker.find = land_once_asked_for  # type: ignore[method-assign]
        sent = len(desk.sent())
        desk.checkup(2)
        assert desk.sent()[sent:] == [("cancel", target)]

    def test_a_sale_that_an_older_item_lacks_is_not_taken_for_sold_elsewhere(self, desk: Desk):
        """The table was restored from a backup of a minute before."""
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.say(target, status="canceled")
        desk.broker.always_fail("submit", NO_POWER)
        desk.checkup(1.5)
        desk.broker.heal()
        older = desk.state()
        assert older.phase is Phase.TO_SELL
        desk.checkup(2)
        desk.broker.fill(desk.submitted()[-1], PRICE + CENT)
        stored = MemoryStore.load(desk.store, "AAA")
        assert stored is not None
        MemoryStore.save(desk.store, stored, older)
        desk.checkup(3)
        state = desk.state()
        assert (state.phase, state.qty, state.pnl) == (Phase.TO_BUY, 0, QTY * CENT)


class TestReplacedOrders:
    """Fault 23: the broker made another order of a working one."""

    def replace_by_hand(self, desk: Desk, client_order_id: str, successor: str, **new: Any) -> None:
        old = desk.broker.book[client_order_id]
        left = old.qty - old.filled_qty
        desk.broker.put("AAA", successor, **{"qty": left, "limit": old.limit} | new)
        broker_id = desk.broker.book[successor].broker_id
        desk.broker.say(client_order_id, status="replaced", replaced_by=broker_id)

    @pytest.mark.fault("23")
    def test_a_replaced_target_is_followed_and_no_other_sell_is_sent(
        self, desk: Desk, records: Records
    ):
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.fill(target, PRICE + CENT, 5)
        self.replace_by_hand(desk, target, "by-hand", limit=PRICE + DOLLAR)
        sent = len(desk.sent())
        for number in (2, 3, 4):
            desk.tick(number)
        assert desk.sent()[sent:] == []
        assert desk.state().halt is Reason.REPLACED_ORDER
        assert [one.levelname for one in records.of("decision")].count("ERROR") == 1
        desk.broker.fill("by-hand", PRICE + DOLLAR)
        desk.broker.held["AAA"] = 0
        desk.tick(5)
        state = desk.state()
        assert (state.phase, state.qty, state.settled) == (Phase.TO_BUY, 0, (QTY, QTY))
        assert state.pnl == 5 * CENT + 15 * DOLLAR
        assert desk.sent()[sent:] == []

    def test_a_successor_that_has_filled_is_found_in_the_same_invocation(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        self.replace_by_hand(desk, target, "by-hand")
        desk.broker.fill("by-hand", PRICE + CENT)
        desk.tick(2)
        assert (desk.phase(), desk.state().settled) == (Phase.TO_BUY, (QTY, QTY))

    def test_a_listed_successor_is_not_asked_for_by_itself(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        self.replace_by_hand(desk, target, "by-hand")
        desk.tick(2)
        desk.log.clear()
        desk.tick(3)
        assert [one for one in desk.log if one[0].startswith("find")] == []
        assert desk.phase() is Phase.SELL_SUBMITTED

    @pytest.mark.fault("23")
    def test_a_replaced_buy_is_canceled_at_once_and_its_fills_are_sold(self, desk: Desk):
        buy = desk.buy(1)
        desk.stop_entries()
        desk.broker.fill(buy, PRICE, 7)
        self.replace_by_hand(desk, buy, "by-hand")
        desk.checkup(1.5)
        assert desk.sent()[1:] == [
            ("cancel", "by-hand"),
            ("submit", client_id(2, "target"), 7, PRICE + CENT),
        ]
        assert desk.state().halt is Reason.REPLACED_ORDER

    @pytest.mark.fault("23")
    def test_the_rest_of_a_replaced_sell_is_sold_under_a_new_id(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.fill(target, PRICE + CENT, 5)
        self.replace_by_hand(desk, target, "by-hand")
        desk.tick(2)
        desk.broker.say("by-hand", status="canceled")
        desk.tick(3)
        assert desk.sent()[-1] == ("submit", client_id(3, "bailout"), QTY - 5, None)

    def test_the_fills_of_an_abandoned_order_that_was_replaced_are_sold(self, desk: Desk):
        """Seed 13530: an abandoned buy landed, was replaced, and its successor filled."""
        desk.land_after_it_was_abandoned()
        self.replace_by_hand(desk, client_id(1), "by-hand")
        desk.broker.fill("by-hand", PRICE)
        desk.broker.held["AAA"] = QTY
        desk.tick(5)
        assert desk.sent()[-1] == ("submit", client_id(2, "bailout"), QTY, None)
        assert desk.state().settled[0] == QTY

    def test_a_successor_that_is_replaced_again_is_followed(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        self.replace_by_hand(desk, target, "first-hand")
        desk.tick(2)
        self.replace_by_hand(desk, "first-hand", "second-hand")
        desk.tick(3)
        order = desk.state().order
        assert order is not None
        assert order.successor == desk.broker.book["second-hand"].broker_id

    def test_the_liquidation_cancels_the_successor_and_sells_what_is_left(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        self.replace_by_hand(desk, target, "by-hand")
        desk.tick(2)
        sent = len(desk.sent())
        desk.liquidate(CUTOFF)
        assert desk.sent()[sent:] == [
            ("cancel", "by-hand"),
            ("submit", client_id(3, "liquidation"), QTY, None),
        ]

    def test_what_a_successor_filled_is_no_correction_at_the_liquidation(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        self.replace_by_hand(desk, target, "by-hand")
        desk.tick(2)
        desk.broker.fill("by-hand", PRICE + CENT)
        desk.broker.held["AAA"] = 0
        desk.tick(3)
        desk.log.clear()
        desk.liquidate(CUTOFF)
        assert ("find", target) not in desk.log
        assert desk.state().halt is Reason.REPLACED_ORDER
        assert (desk.phase(), desk.state().qty) == (Phase.DONE, 0)

    def test_a_replaced_order_without_a_named_successor_is_closed(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.say(target, status="replaced")
        desk.tick(2)
        assert desk.state().halt is Reason.REPLACED_ORDER
        assert (desk.phase(), desk.state().order) == (Phase.TO_SELL, None)


class TestCorrections:
    """Fault 39: the broker changes the fills of a closed order."""

    def bust(self, desk: Desk, name: str, qty: int, price: Money = PRICE) -> OrderReport:
        was = desk.broker.book[name].filled_qty
        bought = name.endswith("entry")
        desk.broker.held["AAA"] += (qty - was) * (1 if bought else -1)
        return desk.broker.say(name, filled_qty=qty, filled_value=qty * price)

    @pytest.mark.fault("39")
    def test_an_event_of_a_bust_is_confirmed_and_what_is_left_is_sold(
        self, desk: Desk, records: Records
    ):
        target = desk.hold(1)
        desk.stop_entries()
        sent = len(desk.sent())
        desk.log.clear()
        desk.update(self.bust(desk, client_id(1), 15), minute(2))
        assert ("find", client_id(1)) in desk.log
        assert desk.sent() == [
            ("cancel", target),
            ("submit", client_id(3, "bailout"), 15, None),
        ]
        assert sent
        state = desk.state()
        assert (state.halt, state.qty, state.settled) == (Reason.CORRECTED_FILL, 15, (15, 0))
        assert [one.levelname for one in records.of("decision")].count("ERROR") == 1

    def test_an_old_event_changes_nothing(self, desk: Desk):
        desk.buy(1)
        early = desk.broker.fill(client_id(1), PRICE, 7)
        desk.update(desk.broker.fill(client_id(1), PRICE), minute(1.5), PRICE)
        before = desk.state()
        desk.update(early, minute(1.6), PRICE)
        desk.update(replace(early, status="canceled"), minute(1.7), PRICE)
        assert desk.state() == before

    def test_an_answer_that_is_older_than_the_state_corrects_nothing(self, desk: Desk):
        """A tick's list says 7 while the event of the rest is joined: 7 is old."""
        desk.buy(1)
        desk.stop_entries()
        desk.broker.fill(client_id(1), PRICE, 7)
        raced: list[int] = []

        def race(state: SymbolState) -> None:
            if not raced:
                raced.append(1)
                desk.update(desk.broker.fill(client_id(1), PRICE), minute(2), PRICE)

        desk.store.before_save = race
        desk.tick(2)
        assert raced
        assert (desk.state().halt, desk.state().qty) == (None, QTY)
        assert desk.sent()[-1] == ("submit", client_id(2, "target"), QTY, PRICE + CENT)

    def test_a_decision_that_meets_a_conflict_raises_no_alarm(self, desk: Desk, records: Records):
        """The list shows the target, which a state read before it cannot know."""
        desk.buy(1)
        desk.stop_entries()
        listed = replace(desk.broker.book[client_id(1)], confirmed=True)
        raced: list[int] = []

        def lists() -> list[OrderReport]:
            if not raced:
                raced.append(1)
                desk.update(desk.broker.fill(client_id(1), PRICE), minute(2), PRICE)
            return [listed, replace(desk.broker.book[client_id(2, "target")], confirmed=True)]

        desk.broker.open_orders = lists  # type: ignore[method-assign]
        sent = len(desk.sent())
        desk.tick(2)
        assert raced
        assert desk.sent()[sent:] == [("submit", client_id(2, "target"), QTY, PRICE + CENT)]
        assert desk.state().halt is None
        assert [one for one in records.of("decision") if one.levelname == "ERROR"] == []

    @pytest.mark.fault("39")
    def test_a_busted_sale_is_found_at_the_liquidation_and_sold_again(self, desk: Desk):
        """With zero webhooks."""
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.fill(target, PRICE + CENT)
        desk.tick(2)
        assert desk.state().is_flat
        self.bust(desk, target, 14, PRICE + CENT)
        sent = len(desk.sent())
        answer = desk.liquidate(CUTOFF)
        assert desk.sent()[sent:] == [("submit", client_id(3, "liquidation"), 6, None)]
        assert answer == {"status": "ok", "flat": False, "left": ["AAA"]}
        desk.broker.fill(client_id(3, "liquidation"), PRICE)
        assert desk.liquidate(CUTOFF + timedelta(minutes=1))["flat"] is True
        assert desk.state().halt is Reason.CORRECTED_FILL
        assert desk.state().pnl == 14 * CENT

    def test_a_busted_sale_is_found_after_the_day_was_done(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.fill(target, PRICE + CENT)
        desk.liquidate(CUTOFF)
        desk.liquidate(CUTOFF + timedelta(minutes=1))
        assert desk.phase() is Phase.DONE
        self.bust(desk, target, 14, PRICE + CENT)
        desk.liquidate(CUTOFF + timedelta(minutes=2))
        assert desk.sent()[-1] == ("submit", client_id(3, "liquidation"), 6, None)

    def test_a_busted_purchase_found_at_the_liquidation_sells_what_is_held(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        self.bust(desk, client_id(1), 15)
        sent = len(desk.sent())
        desk.liquidate(CUTOFF)
        assert desk.sent()[sent:] == [
            ("cancel", target),
            ("submit", client_id(3, "liquidation"), 15, None),
        ]

    def test_a_bust_of_all_leaves_nothing_to_sell(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        desk.update(self.bust(desk, client_id(1), 0), minute(2))
        assert desk.sent()[-1] == ("cancel", target)
        assert (desk.phase(), desk.state().qty) == (Phase.TO_BUY, 0)

    def test_a_correction_found_after_the_close_counts_and_sends_nothing(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.fill(target, PRICE + CENT)
        desk.tick(2)
        self.bust(desk, target, 14, PRICE + CENT)
        sent = desk.sent()
        assert desk.liquidate(CLOSE)["left"] == ["AAA"]
        assert desk.sent() == sent

    def test_an_order_in_a_list_that_lags_behind_is_asked_for_before_it_counts(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        live = replace(desk.broker.book[target], confirmed=True)
        desk.broker.fill(target, PRICE + CENT)
        desk.update(desk.broker.book[target], minute(2))
        desk.broker.open_orders = lambda: [live]  # type: ignore[method-assign]
        desk.broker.orders_since = lambda start: [live]  # type: ignore[method-assign]
        sent = desk.sent()
        desk.tick(3)
        desk.liquidate(CUTOFF)
        assert desk.sent() == sent
        assert desk.state().halt is None
