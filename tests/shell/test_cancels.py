"""The answer to a cancel proves nothing, and what filled before it is sold."""

from dataclasses import replace

import pytest

from scalper.core.model import Phase
from scalper.core.pricing import CENT
from scalper.shell.errors import BrokerDownError, UnknownOutcomeError
from tests.shell.conftest import Records
from tests.shell.fakes import (
    PRICE,
    QTY,
    Desk,
    client_id,
    minute,
)

TIME_OUT = UnknownOutcomeError("read timed out")


class TestCancels:
    @pytest.mark.fault("18")
    @pytest.mark.parametrize(
        "answer",
        [
            None,
            UnknownOutcomeError("504"),
        ],
    )
    def test_after_any_answer_to_a_cancel_the_order_is_asked_for(
        self, desk: Desk, answer: Exception | None
    ):
        desk.buy(1)
        desk.stop_entries()
        desk.broker.fail("cancel", answer)
        desk.tick(3)
        cancel = desk.log.index(("cancel", client_id(1)))
        assert desk.log[cancel + 1] == ("find", client_id(1))

    @pytest.mark.fault("18", "20")
    def test_after_a_cancel_that_loses_to_a_fill_the_shares_are_sold(self, desk: Desk):
        """Faults 18, 19, 20: 204 or 422 on an order that is filled."""
        desk.buy(1)
        desk.stop_entries()
        canceled = desk.broker.cancel

        def cancel(broker_id: str) -> None:
            desk.broker.fill(client_id(1), PRICE)
            canceled(broker_id)

        desk.broker.cancel = cancel  # type: ignore[method-assign]
        desk.tick(3)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]
        assert desk.phase() is Phase.SELL_SUBMITTED

    def test_a_late_fill_after_the_cancel_request_goes_to_sell(self, desk: Desk):
        desk.buy(1)
        desk.stop_entries()
        desk.broker.cancels_take = False
        desk.tick(3)
        assert desk.phase() is Phase.BUY_SUBMITTED
        desk.update(desk.broker.fill(client_id(1), PRICE), minute(3.1), PRICE)
        assert desk.phase() is Phase.SELL_SUBMITTED

    @pytest.mark.fault("21")
    def test_pending_cancel_counts_as_live_and_is_asked_for_again(self, desk: Desk):
        desk.buy(1)
        desk.stop_entries()
        desk.broker.cancels_take = False
        for number in (3.0, 3.2, 3.5, 4.0):
            desk.checkup(number)
        assert [one for one in desk.sent() if one[0] == "cancel"] == [("cancel", client_id(1))] * 3

    @pytest.mark.fault("22")
    def test_a_canceled_event_is_confirmed_before_it_counts(self, desk: Desk):
        """Fault 22: canceled and filled together; the event's quantity may be stale."""
        desk.buy(1)
        desk.stop_entries()
        stale = replace(desk.broker.book[client_id(1)], status="canceled", filled_qty=0)
        desk.broker.fill(client_id(1), PRICE, 5)
        desk.broker.say(client_id(1), status="canceled")
        desk.update(stale, minute(2))
        assert desk.sent()[-1] == ("submit", client_id(2, "target"), 5, PRICE + CENT)

    def test_a_confirmation_that_fails_waits_for_the_next_invocation(self, desk: Desk):
        desk.buy(1)
        desk.stop_entries()
        desk.broker.fail("find", BrokerDownError("down"))
        desk.update(desk.broker.say(client_id(1), status="canceled"), minute(2))
        assert desk.phase() is Phase.BUY_SUBMITTED
        assert desk.checkup(2.5)["status"] == "ok"
        assert desk.phase() is Phase.TO_BUY

    def test_a_late_order_whose_cancel_has_no_effect_is_canceled_once_per_invocation(
        self, desk: Desk, records: Records
    ):
        desk.trade("AAA")
        desk.broker.always_fail("submit", TIME_OUT)
        for number in (1, 2, 3, 4):
            desk.tick(number)
        desk.broker.heal()
        desk.broker.put("AAA", client_id(1))
        desk.broker.cancels_take = False
        desk.log.clear()
        desk.tick(5)
        assert desk.sent() == [("cancel", client_id(1))]
        assert records.of("a chain of events did not end") == []


class TestPartialFills:
    @pytest.mark.fault("27", "33")
    def test_a_partly_filled_buy_goes_on_until_it_ends(self, desk: Desk):
        desk.buy(1)
        desk.stop_entries()
        desk.update(desk.broker.fill(client_id(1), PRICE, 7), minute(1.5), PRICE)
        assert desk.phase() is Phase.BUY_SUBMITTED
        desk.tick(3)
        assert desk.sent()[-2:] == [
            ("cancel", client_id(1)),
            ("submit", client_id(2, "target"), 7, PRICE + CENT),
        ]

    @pytest.mark.fault("4", "5")
    def test_the_same_execution_twice_counts_once(self, desk: Desk):
        desk.buy(1)
        report = desk.broker.fill(client_id(1), PRICE, 7)
        for _ in range(3):
            desk.update(report, minute(1.5), PRICE)
        rest = desk.broker.fill(client_id(1), PRICE)
        desk.update(rest, minute(1.6), PRICE)
        desk.update(report, minute(1.7), PRICE)
        desk.update(rest, minute(1.8), PRICE)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]
        assert desk.state().qty == QTY

    @pytest.mark.fault("34")
    def test_the_rest_of_a_canceled_sell_is_sold_under_a_new_id(self, desk: Desk):
        target = desk.hold(1)
        desk.stop_entries()
        desk.broker.fill(target, PRICE + CENT, 8)
        desk.broker.say(target, status="canceled")
        desk.tick(2)
        assert desk.sent()[-1] == ("submit", client_id(3, "bailout"), 12, None)
        desk.broker.fill(client_id(3, "bailout"), PRICE)
        desk.tick(3)
        assert (desk.phase(), desk.state().qty) == (Phase.TO_BUY, 0)
        assert desk.state().pnl == 8 * CENT
