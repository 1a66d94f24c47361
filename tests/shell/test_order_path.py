"""One effect, whatever fails: what is stored before what is sent, and what an answer leads to."""

from dataclasses import replace

import pytest

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import Progress, Purpose
from scalper.core.order_actions import MAX_EXIT_ATTEMPTS
from scalper.core.pricing import CENT
from scalper.shell.alpaca.broker import NOT_UNIQUE
from scalper.shell.codec import SCHEMA
from scalper.shell.errors import (
    BrokerDownError,
    DuplicateOrderError,
    RefusedError,
    UnauthorizedError,
    UnknownOutcomeError,
)
from scalper.shell.memory_store import MemoryStore
from scalper.shell.ports import Stored
from scalper.shell.trading.engine import MAX_CONFLICTS
from tests.shell.conftest import Records
from tests.shell.fakes import (
    DAY,
    PRICE,
    QTY,
    Desk,
    client_id,
    minute,
    never,
)

TIME_OUT = UnknownOutcomeError("read timed out")
NO_POWER = RefusedError(403, 40310000, "insufficient buying power")


def order_log(desk: Desk) -> list[tuple[object, ...]]:
    """Return writes and requests that have an effect, in order."""
    return [one for one in desk.log if one[0] in ("save", "submit", "cancel")]


class TestTheOrderOfEffects:
    @pytest.mark.fault("15")
    def test_the_intent_is_stored_before_the_order_is_sent(self, desk: Desk):
        desk.buy(1)
        assert order_log(desk) == [
            ("save", "AAA", "TO_BUY", None),
            ("save", "AAA", "BUY_SUBMITTED", client_id(1)),
            ("submit", client_id(1), QTY, PRICE),
            ("save", "AAA", "BUY_SUBMITTED", client_id(1)),
        ]
        order = desk.state().order
        assert order is not None
        assert (order.progress, order.status, order.broker_id) == (Progress.LIVE, "new", "b1")

    def test_a_fill_sends_the_sell_before_it_returns(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.log.clear()
        assert desk.update(report, minute(1), PRICE)["status"] == "taken"
        assert desk.log == [
            ("save", "AAA", "SELL_SUBMITTED", client_id(2, "target")),
            ("submit", client_id(2, "target"), QTY, PRICE + CENT),
            ("save", "AAA", "SELL_SUBMITTED", client_id(2, "target")),
        ]

    @pytest.mark.fault("throttled-store")
    def test_nothing_stored_nothing_sent(self, desk: Desk):
        desk.trade("AAA", signal=never)
        desk.tick(1)
        desk.trade("AAA")
        desk.store.down.add("save")
        assert desk.tick(2)["status"] == "ok"
        assert desk.sent() == []
        desk.store.down.clear()
        desk.tick(3)
        assert desk.submitted() == [client_id(1)]

    def test_a_cancel_is_stored_before_it_is_sent_and_its_effect_is_asked_for(self, desk: Desk):
        desk.buy(1)
        desk.log.clear()
        desk.tick(3)
        save, cancel, find, after = desk.log[-4:]
        assert save == ("save", "AAA", "BUY_SUBMITTED", client_id(1))
        assert (cancel, find) == (("cancel", client_id(1)), ("find", client_id(1)))
        assert after == ("save", "AAA", "TO_BUY", None)

    @pytest.mark.fault("9", "12")
    def test_a_fill_that_comes_before_the_answer_finds_its_order(self, desk: Desk):
        """Faults 9, 12: the event arrives while the submit call is under way."""
        desk.trade("AAA")
        asked: list[str] = []

        def fill_at_once(state: SymbolState) -> None:
            order = state.order
            if order is None or order.progress is not Progress.INTENT or asked:
                return
            asked.append(order.client_order_id)

        desk.store.before_save = fill_at_once
        send = desk.broker.submit

        def submit(symbol: str, order: object) -> object:
            answer = send(symbol, order)  # type: ignore[arg-type]
            if answer.client_order_id == client_id(1):
                desk.update(desk.broker.fill(client_id(1), PRICE), minute(1), PRICE)
            return answer

        desk.broker.submit = submit  # type: ignore[method-assign, assignment]
        desk.tick(1)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]
        assert desk.phase() is Phase.SELL_SUBMITTED
        assert desk.broker.held["AAA"] == QTY


class TestUnknownOutcomes:
    def test_an_unanswered_order_that_the_next_request_finds_is_joined(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail_after("submit", TIME_OUT)
        desk.tick(1)
        assert desk.state().order.progress is Progress.INTENT  # type: ignore[union-attr]
        assert desk.outbox.checkups == [30]
        desk.checkup(1.5)
        assert desk.state().order.progress is Progress.LIVE  # type: ignore[union-attr]
        assert desk.submitted() == [client_id(1)]

    def test_shares_that_filled_under_a_lost_answer_are_sold(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail_after("submit", TIME_OUT)
        desk.tick(1)
        desk.broker.fill(client_id(1), PRICE)
        desk.checkup(1.5)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]

    @pytest.mark.fault("14", "15")
    def test_an_absent_order_is_sent_again_with_the_same_id_and_body(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("submit", TIME_OUT)
        desk.tick(1)
        desk.checkup(1.5)
        first, again = desk.sent()
        assert first == again == ("submit", client_id(1), QTY, PRICE)
        assert desk.state().order.progress is Progress.LIVE  # type: ignore[union-attr]
        assert list(desk.broker.book) == [client_id(1)]

    @pytest.mark.fault("removed-while-held")
    @pytest.mark.parametrize("why", ["paused", "removed", "halted"])
    def test_an_absent_order_that_is_no_longer_wanted_is_not_sent_again(self, desk: Desk, why: str):
        desk.trade("AAA")
        desk.broker.fail("submit", TIME_OUT)
        desk.tick(1)
        if why == "paused":
            desk.symbols.rows["AAA"] = replace(desk.symbols.rows["AAA"], enabled=False)
        elif why == "removed":
            del desk.symbols.rows["AAA"]
        else:
            desk.store.halt_account("by hand")
        desk.checkup(1.5)
        assert desk.submitted() == [client_id(1)]

    def test_a_sell_is_sent_again_whatever_its_age(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        desk.broker.fail("submit", TIME_OUT, TIME_OUT, TIME_OUT)
        desk.update(report, minute(1), PRICE)
        for number in (2, 3, 4):
            desk.tick(number)
        sells = [one for one in desk.sent() if one[1] == client_id(2, "target")]
        assert sells == [("submit", client_id(2, "target"), QTY, PRICE + CENT)] * 4
        assert desk.phase() is Phase.SELL_SUBMITTED
        assert list(desk.broker.book) == [client_id(1), client_id(2, "target")]

    def test_a_buy_that_stays_absent_is_abandoned_and_watched(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.always_fail("submit", TIME_OUT)
        desk.tick(1)
        for number in (2, 3, 4):
            desk.tick(number)
        assert desk.state().abandoned == (client_id(1),)
        assert desk.outbox.checkups

    def test_an_abandoned_order_that_lands_is_canceled_and_halts_the_symbol(
        self, desk: Desk, records: Records
    ):
        desk.trade("AAA")
        desk.broker.always_fail("submit", TIME_OUT)
        desk.tick(1)
        desk.stop_entries()
        for number in (2, 3, 4):
            desk.tick(number)
        assert desk.phase() is Phase.TO_BUY
        desk.broker.heal()
        desk.broker.put("AAA", client_id(1))
        desk.log.clear()
        desk.tick(5)
        assert desk.sent() == [("cancel", client_id(1))]
        assert desk.state().halt is Reason.LATE_ORDER
        assert any(one.reason == "late_order" for one in records.of("decision"))  # type: ignore[attr-defined]

    @pytest.mark.fault("13")
    def test_the_shares_of_an_abandoned_order_that_fills_are_sold(self, desk: Desk):
        desk.land_after_it_was_abandoned()
        desk.broker.fill(client_id(1), PRICE)
        desk.tick(5)
        assert desk.sent()[-1] == ("submit", client_id(2, "bailout"), QTY, None)

    def test_a_buy_beside_an_external_order_is_not_abandoned(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.always_fail("submit", TIME_OUT)
        desk.tick(1)
        desk.broker.put("AAA", "by-hand")
        for number in range(2, 6):
            desk.tick(number)
        assert desk.state().abandoned == ()
        assert desk.state().order is not None

    def test_two_absences_within_five_seconds_are_one(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.always_fail("submit", TIME_OUT)
        desk.tick(1)
        desk.checkup(3.01)
        desk.checkup(3.02)
        assert desk.state().order is not None
        desk.checkup(3.2)
        assert desk.state().order is None

    @pytest.mark.fault("16")
    def test_a_list_that_cannot_be_read_changes_nothing(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("submit", TIME_OUT)
        desk.tick(1)
        desk.broker.fail("open_orders", BrokerDownError("down"))
        before = desk.state()
        assert desk.checkup(1.5)["status"] == "failed"
        assert desk.state() == before

    @pytest.mark.fault("16")
    def test_a_request_that_fails_leaves_the_intent(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("submit", TIME_OUT)
        desk.tick(1)
        before = desk.state()
        desk.broker.fail("find", BrokerDownError("down"))
        assert desk.checkup(1.5)["status"] == "ok"
        assert desk.state() == before
        assert desk.submitted() == [client_id(1)]


class TestRefusals:
    def test_a_duplicate_that_no_request_shows_is_a_refusal_in_the_end(self, desk: Desk):
        """Alpaca gives this code for other refusals, too: the shares would not be sold that day."""
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        desk.broker.always_fail(
            "submit", DuplicateOrderError(422, NOT_UNIQUE, "the request is invalid")
        )
        desk.update(report, minute(1), PRICE)
        for number in (1.5, 2.0, 2.5):
            desk.checkup(number)
            assert desk.phase() is Phase.SELL_SUBMITTED
        desk.checkup(3)
        # The next checkup that knows the position sells again.
        assert desk.phase() is Phase.TO_SELL
        desk.broker.heal()
        desk.checkup(3.5)
        assert desk.submitted()[-1] == client_id(3, "target")
        assert desk.state().abandoned == (client_id(2, "target"),)

    def test_a_duplicate_that_a_late_request_shows_is_no_refusal(self, desk: Desk):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        desk.broker.always_fail("submit", DuplicateOrderError(422, NOT_UNIQUE, "must be unique"))
        desk.update(report, minute(1), PRICE)
        for number in (1.5, 2.0, 2.5):
            desk.checkup(number)
        desk.broker.put("AAA", client_id(2, "target"), limit=PRICE + CENT)
        desk.checkup(3)
        desk.checkup(3.5)
        assert desk.state().order.progress is Progress.LIVE  # type: ignore[union-attr]
        assert set(desk.submitted()[1:]) == {client_id(2, "target")}

    @pytest.mark.fault("17")
    def test_a_duplicate_exists_and_is_joined(self, desk: Desk):
        desk.trade("AAA")
        # The state was restored from a backup of before the order.
        state = SymbolState(symbol="AAA", session=DAY)
        desk.store.save(Stored(state, None), state)
        desk.broker.put("AAA", client_id(1))
        # The list of open orders lags behind.
        desk.broker.open_orders = list  # type: ignore[method-assign]
        desk.tick(1)
        assert desk.submitted() == [client_id(1)]
        assert desk.log[-2:] == [
            ("find", client_id(1)),
            ("save", "AAA", "BUY_SUBMITTED", client_id(1)),
        ]
        assert desk.state().order.broker_id == "b1"  # type: ignore[union-attr]

    def test_a_duplicate_that_is_absent_stays_unknown(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail(
            "submit", DuplicateOrderError(422, NOT_UNIQUE, "client_order_id must be unique")
        )
        desk.tick(1)
        assert desk.state().order.progress is Progress.INTENT  # type: ignore[union-attr]

    @pytest.mark.fault("31")
    def test_a_sell_refused_for_too_many_requests_uses_up_no_attempt(self, desk: Desk):
        """Otherwise a few minutes of 429 leave the shares without an exit until the liquidation."""
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        limit = RefusedError(429, 42910000, "rate limit exceeded")
        desk.broker.fail("submit", *[limit] * (2 * MAX_EXIT_ATTEMPTS))
        desk.update(report, minute(1), PRICE)
        for number in range(2 * MAX_EXIT_ATTEMPTS):
            assert desk.phase() is Phase.TO_SELL
            desk.checkup(1.5 + number / 2)
        assert (desk.phase(), desk.state().exit_attempts) == (Phase.SELL_SUBMITTED, 1)
        assert desk.state().halt is None

    @pytest.mark.fault("28")
    def test_a_refusal_of_the_first_attempt_is_definite_and_cools_down(
        self, desk: Desk, records: Records
    ):
        desk.trade("AAA")
        desk.broker.fail("submit", NO_POWER)
        desk.tick(1)
        state = desk.state()
        assert (state.phase, state.order, state.settled) == (Phase.TO_BUY, None, (0,))
        assert records.messages() == ["order refused"]
        for number in (2, 3, 4, 5):
            desk.tick(number)
        assert desk.submitted() == [client_id(1)]
        desk.tick(6)
        assert desk.submitted() == [client_id(1), client_id(2)]

    def test_a_refused_repeat_is_not_believed_because_the_first_send_may_have_landed(
        self, desk: Desk
    ):
        desk.trade("AAA")
        desk.broker.fail("submit", TIME_OUT, NO_POWER)
        desk.tick(1)
        desk.checkup(1.5)
        assert desk.submitted() == [client_id(1)] * 2
        assert desk.phase() is Phase.BUY_SUBMITTED
        desk.broker.put("AAA", client_id(1))
        desk.tick(2)
        assert desk.state().order.progress is Progress.LIVE  # type: ignore[union-attr]

    def test_refused_keys_are_a_refusal_of_the_order(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("submit", UnauthorizedError(401, None, "unauthorized"))
        desk.tick(1)
        assert (desk.phase(), desk.state().order) == (Phase.TO_BUY, None)

    @pytest.mark.fault("3")
    def test_a_refused_exit_rests_and_is_retried_within_bounds(self, desk: Desk, records: Records):
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        desk.broker.always_fail("submit", RefusedError(403, 40310000, "insufficient qty"))
        desk.outbox.checkups.clear()
        desk.update(report, minute(1), PRICE)
        assert desk.phase() is Phase.TO_SELL
        assert desk.outbox.checkups == [30]
        for number in range(2, 12):
            desk.checkup(number)
        sells = [one for one in desk.submitted() if not one.endswith("entry")]
        assert sells == [client_id(number, "target") for number in (2, 3, 4, 5, 6)]
        assert desk.state().halt is Reason.EXIT_EXHAUSTED
        assert desk.state().qty == QTY
        halts = [one for one in records.of("decision") if one.levelname == "ERROR"]
        assert len(halts) == 1

    @pytest.mark.fault("26")
    def test_a_sell_refused_right_after_the_fill_goes_out_at_the_next_checkup(self, desk: Desk):
        """Fault 26: the position lags behind the order."""
        report = desk.broker.fill(desk.buy(1), PRICE)
        desk.stop_entries()
        desk.broker.held["AAA"] = 0
        desk.update(report, minute(1), PRICE)
        assert desk.phase() is Phase.TO_SELL
        desk.checkup(1 + 10 / 60)
        assert desk.state().qty == QTY
        desk.broker.held["AAA"] = QTY
        desk.checkup(1.5)
        assert desk.phase() is Phase.SELL_SUBMITTED


class TestConflicts:
    def test_a_conflict_makes_the_engine_decide_again(self, desk: Desk):
        desk.trade("AAA")
        desk.tick(1)
        desk.broker.fill(client_id(1), PRICE)
        report = desk.broker.book[client_id(1)]
        raced: list[int] = []

        def race(state: SymbolState) -> None:
            if state.phase is Phase.SELL_SUBMITTED and not raced:
                raced.append(1)
                desk.update(report, minute(1.5), PRICE)

        desk.store.before_save = race
        desk.update(report, minute(1.5), PRICE)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]
        assert desk.phase() is Phase.SELL_SUBMITTED

    @pytest.mark.fault("mid-day-deploy")
    def test_a_state_that_a_newer_version_wrote_in_the_meantime_is_not_entered(self, desk: Desk):
        desk.trade("AAA", signal=never)
        desk.tick(1)
        desk.trade("AAA")
        raced: list[int] = []

        def race(state: SymbolState) -> None:
            if state.phase is Phase.BUY_SUBMITTED and not raced:
                raced.append(1)
                stored = desk.store.load("AAA")
                assert stored is not None
                desk.store.save(replace(stored, schema=SCHEMA + 1), stored.state)

        desk.store.before_save = race
        desk.tick(2)
        assert raced
        assert (desk.submitted(), desk.phase()) == ([], Phase.TO_BUY)

    @pytest.mark.fault("duplicate-schedule")
    def test_two_ticks_of_one_decision_buy_once(self, desk: Desk):
        desk.trade("AAA", signal=never)
        desk.tick(1)
        desk.trade("AAA")
        raced: list[int] = []

        def race(state: SymbolState) -> None:
            if state.phase is Phase.BUY_SUBMITTED and not raced:
                raced.append(1)
                desk.tick(3)

        desk.store.before_save = race
        desk.tick(2)
        assert raced
        assert desk.submitted() == [client_id(1)]

    @pytest.mark.fault("duplicate-schedule")
    def test_repeated_conflicts_stop_the_symbol_within_bounds(self, desk: Desk, records: Records):
        desk.trade("AAA", "BBB", signal=never)
        desk.tick(1)
        desk.trade("AAA", "BBB")
        tries: list[int] = []
        nested: list[int] = []

        def race(state: SymbolState) -> None:
            if state.symbol == "AAA" and state.phase is Phase.BUY_SUBMITTED and not nested:
                tries.append(1)
                nested.append(1)
                present = MemoryStore.load(desk.store, "AAA")
                assert present is not None
                desk.store.save(present, replace(present.state, pnl=len(tries)))
                nested.clear()

        desk.store.before_save = race
        desk.tick(2)
        assert len(tries) == MAX_CONFLICTS
        assert desk.submitted() == [client_id(1, symbol="BBB")]
        assert "symbol failed" in records.messages()

    def test_the_invocation_that_meets_the_conflict_sends_nothing(self, desk: Desk):
        desk.trade("AAA")
        desk.tick(1)
        report = desk.broker.fill(client_id(1), PRICE)
        desk.update(report, minute(1.5), PRICE)
        desk.log.clear()
        desk.update(report, minute(1.5), PRICE)
        assert desk.log == []


class TestRestarts:
    """A process dies between two steps: the next invocation goes by the table and the broker."""

    @pytest.mark.fault("killed-anywhere")
    def test_a_crash_after_the_intent_and_before_the_order(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("submit", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            desk.tick(1)
        assert desk.broker.book == {}
        desk.checkup(1.5)
        assert desk.submitted() == [client_id(1)] * 2
        assert list(desk.broker.book) == [client_id(1)]

    @pytest.mark.fault("killed-anywhere")
    def test_a_crash_after_the_order_and_before_its_answer_is_stored(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail_after("submit", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            desk.tick(1)
        desk.broker.fill(client_id(1), PRICE)
        desk.tick(2)
        assert desk.submitted() == [client_id(1), client_id(2, "target")]

    @pytest.mark.fault("killed-anywhere")
    def test_a_crash_after_the_cancel_and_before_its_answer_is_stored(self, desk: Desk):
        desk.buy(1)
        desk.stop_entries()
        desk.broker.fail_after("cancel", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            desk.tick(3)
        desk.checkup(3.5)
        assert desk.phase() is Phase.TO_BUY
        assert desk.sent().count(("cancel", client_id(1))) == 1

    def test_a_crash_leaves_a_partly_filled_buy_a_buy(self, desk: Desk):
        desk.buy(1)
        desk.stop_entries()
        desk.broker.fill(client_id(1), PRICE, 7)
        desk.store.lose("AAA")
        desk.tick(2)
        state = desk.state()
        assert (state.phase, state.generation) == (Phase.BUY_SUBMITTED, 1)
        assert state.order is not None
        assert (state.order.purpose, state.order.filled_qty) == (Purpose.ENTRY, 7)
        desk.tick(4)
        assert desk.sent()[-2:] == [
            ("cancel", client_id(1)),
            ("submit", client_id(2, "target"), 7, PRICE + CENT),
        ]
