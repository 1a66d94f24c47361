"""Each minute decides once for every symbol; what fails stops only what needs it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from scalper.core.model import BarClosed, Phase, SymbolState
from scalper.core.pricing import CENT, DOLLAR
from scalper.core.session import Session, floor_minute, new_york_day
from scalper.core.signal import Bar
from scalper.shell.codec import SCHEMA
from scalper.shell.errors import (
    BrokerDownError,
    RefusedError,
    StoreDownError,
    UnauthorizedError,
    UnknownOutcomeError,
)
from scalper.shell.memory_store import MemoryStore
from scalper.shell.ports import Bars, Clock, Stored, SymbolRules
from scalper.shell.shards import in_shard
from scalper.shell.trading import pre_trade
from scalper.shell.trading import tick as ticks
from scalper.shell.trading.tick import tick
from scalper.shell.trading.tick_schedule import TickDue
from tests.shell.conftest import Records
from tests.shell.fakes import (
    CLOSE,
    DAY,
    LOT,
    OPEN,
    PRICE,
    QTY,
    SESSION,
    Desk,
    always,
    bar,
    client_id,
    minute,
    never,
)


class TestIdle:
    def test_an_idle_tick_writes_nothing_but_its_claim(self, desk: Desk):
        desk.trade("AAA", "BBB", signal=never)
        desk.tick(1)
        desk.log.clear()
        assert desk.tick(2) == {
            "status": "ok",
            "minute": "2025-03-05T14:32:00+00:00",
            "symbols": 2,
            "busy": 0,
        }
        assert desk.log == [("claim", minute(2)), ("open_orders",), ("positions",)]
        assert desk.outbox.checkups == []

    def test_a_tick_that_may_enter_nothing_asks_only_for_orders_that_it_needs(self, desk: Desk):
        desk.trade("AAA", "BBB", enabled=False)
        desk.tick(1)
        desk.log.clear()
        desk.tick(2)
        assert desk.log == [("claim", minute(2))]
        desk.trade("BBB")
        desk.tick(3)
        desk.symbols.rows.clear()
        desk.log.clear()
        desk.tick(4)
        assert desk.log == [("claim", minute(4)), ("open_orders",)]
        assert desk.outbox.checkups == [30, 30]

    @pytest.mark.parametrize("at", [OPEN, CLOSE + timedelta(minutes=1), OPEN - timedelta(hours=3)])
    def test_outside_the_session_nothing_happens(self, desk: Desk, at: datetime):
        desk.trade("AAA")
        desk.broker.now = at
        answer = tick(desk.engine, TickDue(at))
        assert answer == {"status": "closed", "minute": at.isoformat()}
        assert desk.log == []

    def test_a_session_is_asked_for_once(self, desk: Desk):
        desk.trade("AAA", signal=never)
        desk.tick(1)
        desk.broker.always_fail("session", BrokerDownError("down"))
        assert desk.tick(2)["status"] == "ok"

    @pytest.mark.fault("46")
    def test_a_calendar_that_lacked_the_day_once_costs_one_tick(self, desk: Desk):
        """Else a warm process would neither trade nor liquidate until the next day."""
        desk.trade("AAA")
        desk.broker.sessions = {}
        assert desk.tick(1)["status"] == "closed"
        desk.broker.sessions = {DAY: SESSION}
        assert desk.tick(2)["status"] == "ok"
        assert desk.liquidate(SESSION.liquidate_at)["status"] == "ok"

    def test_seconds_of_the_scheduled_time_do_no_harm(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.now = minute(1)
        tick(desk.engine, TickDue(minute(1) + timedelta(seconds=13)))
        assert desk.state().order.submitted_at == minute(1)  # type: ignore[union-attr]


class TestEntries:
    def test_a_symbol_that_was_done_yesterday_enters_again(self, desk: Desk):
        yesterday = new_york_day(minute(1)) - timedelta(days=1)
        done = SymbolState(symbol="AAA", session=yesterday, phase=Phase.DONE, liquidating=True)
        desk.store.save(Stored(done, None), done)
        desk.buy(1)
        assert desk.phase() is Phase.BUY_SUBMITTED
        assert desk.state().session == new_york_day(minute(1))

    def test_a_signal_buys_a_lot_at_the_close(self, desk: Desk):
        desk.trade("AAA")
        assert desk.tick(1)["busy"] == 1
        assert desk.sent() == [("submit", client_id(1), QTY, PRICE)]
        assert desk.outbox.checkups == [30]

    def test_each_row_has_its_own_rules(self, desk: Desk):
        desk.trade("AAA", lot=500 * DOLLAR)
        desk.trade("BBB", max_entries=0)
        desk.trade("CCC", enabled=False)
        desk.trade("DDD", lot=99 * DOLLAR)
        desk.tick(1)
        assert desk.sent() == [("submit", client_id(1), 5, PRICE)]

    def test_the_signal_sees_the_sessions_bars_so_far_oldest_first(self, desk: Desk):
        seen: list[Sequence[Bar]] = []

        def look(bars: Sequence[Bar], /) -> bool:
            seen.append(bars)
            return False

        desk.trade("AAA", signal=look)
        desk.tick(3)
        desk.tick(4)
        assert [[one.start for one in bars] for bars in seen] == [
            [minute(0), minute(1), minute(2)],
            [minute(0), minute(1), minute(2), minute(3)],
        ]

    @pytest.mark.fault("40", "47")
    def test_a_minute_without_a_bar_asks_no_signal_and_enters_nothing(
        self, desk: Desk, records: Records
    ):
        desk.trade("AAA", "BBB")
        desk.market.by_symbol["AAA"] = [bar(minute(n)) for n in range(10) if n != 4]
        desk.tick(5)
        assert desk.submitted() == [client_id(1, symbol="BBB")]
        desk.tick(6)
        assert client_id(1) in desk.submitted()

    def test_bars_that_cannot_be_had_enter_nothing_and_stop_nothing_else(self, desk: Desk):
        target = desk.hold(1)
        desk.trade("BBB")
        desk.market.error = BrokerDownError("down")
        desk.broker.fill(target, PRICE + CENT)
        assert desk.tick(2)["status"] == "ok"
        assert desk.phase() is Phase.TO_BUY
        assert client_id(1, symbol="BBB") not in desk.submitted()

    @pytest.mark.fault("42")
    def test_refused_bars_are_counted_and_logged(self, desk: Desk, records: Records):
        desk.trade("AAA")
        desk.market.refused = ("ZZZ: prices out of order",)
        desk.tick(1)
        assert records.of("bar refused")[0].error == "ZZZ: prices out of order"  # type: ignore[attr-defined]
        assert desk.submitted() == [client_id(1)]

    @pytest.mark.fault("broken-row")
    def test_refused_rows_are_logged_within_bounds_and_the_others_trade(
        self, desk: Desk, records: Records
    ):
        desk.trade("AAA")
        desk.symbols.refused = tuple(f"B{number}: lot 'abc'" for number in range(500))
        desk.tick(1)
        assert len(records.of("symbol refused")) == 20
        assert desk.submitted() == [client_id(1)]

    @pytest.mark.fault("broken-row")
    @pytest.mark.parametrize("error", [ValueError("oops"), ZeroDivisionError(), RecursionError()])
    def test_a_signal_that_fails_stops_its_own_symbol_alone(
        self, desk: Desk, records: Records, error: Exception
    ):
        def broken(bars: Sequence[Bar], /) -> bool:
            raise error

        desk.trade("AAA", "CCC")
        desk.trade("BBB", signal=broken)
        assert desk.tick(1)["status"] == "ok"
        assert desk.submitted() == [client_id(1), client_id(1, symbol="CCC")]
        assert records.of("signal failed")[0].symbol == "BBB"  # type: ignore[attr-defined]

    def test_a_signals_truth_counts_whatever_its_type(self, desk: Desk):
        desk.trade("AAA", signal=lambda bars: 1)
        desk.trade("BBB", signal=lambda bars: None)
        desk.tick(1)
        assert desk.submitted() == [client_id(1)]

    @pytest.mark.fault("43", "47")
    def test_after_a_bar_came_late_the_decision_uses_it(self, desk: Desk):
        desk = Desk(bar_wait_s=5.0)
        desk.trade("AAA", "BBB")
        desk.market.by_symbol["AAA"] = []
        fetch = desk.market.bars

        def bars(symbols: Sequence[str], start: datetime, end: datetime) -> Bars:
            if len(desk.market.asked) == 2:
                # BBB has its bar, so it is decided already.
                assert desk.submitted() == [client_id(1, symbol="BBB")]
                desk.market.by_symbol["AAA"] = [bar(minute(0))]
            return fetch(symbols, start, end)

        desk.market.bars = bars  # type: ignore[method-assign]
        desk.tick(1)
        assert desk.submitted() == [client_id(1, symbol="BBB"), client_id(1)]
        assert len(desk.market.asked) == 3

    def test_the_wait_for_a_bar_has_its_bound(self, desk: Desk):
        desk = Desk(bar_wait_s=0.05)
        desk.trade("AAA")
        desk.market.by_symbol["AAA"] = []
        assert desk.tick(1)["status"] == "ok"
        assert desk.submitted() == []

    def test_symbols_that_do_not_need_the_bar_are_not_waited_for(self, desk: Desk):
        desk = Desk(bar_wait_s=5.0)
        desk.trade("AAA", enabled=False)
        desk.hold(1, "BBB")
        desk.market.by_symbol["BBB"] = []
        desk.market.asked.clear()
        desk.tick(2)
        assert len(desk.market.asked) == 1


class TestFourSteps:
    """Reconcile, signal, admit, drive: each for all symbols whose bars are there."""

    def test_entries_are_made_in_the_order_of_the_names(self, desk: Desk):
        desk.trade("CCC", signal=never)
        desk.tick(1)
        # The states of the table come first, and those that it lacks after them.
        desk.trade("CCC", "AAA", "BBB")
        desk.tick(2)
        assert desk.submitted() == [client_id(1, symbol=name) for name in ("AAA", "BBB", "CCC")]

    @pytest.mark.parametrize("exit_as", ["bailout", "stop"])
    def test_no_exit_waits_for_a_signal_of_another_symbol(self, desk: Desk, exit_as: str):
        sent: list[list[str]] = []

        def look(bars: Sequence[Bar], /) -> bool:
            sent.append(desk.submitted())
            return True

        desk.trade("ZZZ", stop_loss_pct=Decimal(1))
        target = desk.hold(1, "ZZZ")
        desk.trade("AAA", signal=look)
        if exit_as == "bailout":
            desk.broker.say(target, status="canceled")
        else:
            desk.market.by_symbol["ZZZ"] = [bar(minute(n), PRICE - DOLLAR) for n in range(2)]
        desk.tick(2)
        assert sent[-1][-1] == client_id(3, exit_as, "ZZZ")
        assert desk.submitted()[-1] == client_id(1, symbol="AAA")

    def test_every_signal_is_asked_before_the_first_entry_is_sent(self, desk: Desk):
        sent: list[list[str]] = []

        def look(bars: Sequence[Bar], /) -> bool:
            sent.append(desk.submitted())
            return True

        desk.trade("AAA", "BBB", signal=look)
        desk.tick(1)
        assert sent == [[], []]
        assert len(desk.submitted()) == 2

    def test_a_symbol_that_fails_while_it_is_reconciled_takes_no_further_step(
        self, desk: Desk, records: Records
    ):
        target = desk.hold(1)
        desk.trade("BBB")
        desk.broker.fill(target, PRICE + CENT)

        def refuse_once(state: SymbolState) -> None:
            if state.symbol == "AAA":
                desk.store.before_save = None
                raise StoreDownError("throttled")

        desk.store.before_save = refuse_once
        desk.tick(2)
        assert [r.symbol for r in records.of("symbol failed")] == ["AAA"]  # type: ignore[attr-defined]
        assert desk.submitted()[2:] == [client_id(1, symbol="BBB")]
        desk.tick(3)
        assert desk.submitted()[3:] == [client_id(3)]

    def test_a_stale_buy_that_is_canceled_at_once_enters_again_in_the_next_minute(self, desk: Desk):
        desk.buy(1)
        desk.tick(2)
        desk.tick(3)
        assert desk.sent()[1:] == [("cancel", client_id(1))]
        assert desk.phase() is Phase.TO_BUY
        desk.tick(4)
        assert desk.submitted()[1:] == [client_id(2)]

    def test_a_target_that_fills_under_its_stop_enters_again_in_the_next_minute(self, desk: Desk):
        desk.trade("AAA", stop_loss_pct=Decimal(1))
        target = desk.hold(1)
        desk.market.by_symbol["AAA"] = [bar(minute(n), PRICE - DOLLAR) for n in range(9)]

        def fill_instead(broker_id: str) -> None:
            desk.broker.fill(target, PRICE + CENT)

        desk.broker.cancel = fill_instead  # type: ignore[method-assign]
        desk.tick(2)
        assert desk.phase() is Phase.TO_BUY
        assert len(desk.submitted()) == 2
        desk.tick(3)
        assert desk.submitted()[2:] == [client_id(3)]

    def test_a_symbol_that_was_sold_in_this_tick_may_enter_in_it(self, desk: Desk):
        target = desk.hold(1)
        desk.broker.fill(target, PRICE + CENT)
        desk.tick(2)
        assert desk.submitted()[2:] == [client_id(3)]

    def test_what_is_held_or_works_counts_as_an_open_position_at_the_gate(self, desk: Desk):
        held = SymbolState(symbol="AAA", session=DAY, phase=Phase.TO_SELL, qty=5, cost=1)
        flat = SymbolState(symbol="BBB", session=DAY)
        states = {one.symbol: Stored(one, 1) for one in (held, flat)}
        event = BarClosed(symbol="BBB", at=minute(1), close=PRICE, signal=True)
        rules = desk.engine.rules(SESSION, SymbolRules("BBB", LOT))
        admitted = pre_trade.admit(
            {"BBB": pre_trade.Candidate(states["BBB"], event, rules)}, states
        )
        assert admitted["BBB"].rules.account.open_positions == 1


class TestBlocks:
    @pytest.mark.fault("removed-while-held")
    @pytest.mark.parametrize("block", ["halted", "late", "paused", "removed"])
    def test_a_position_is_managed_to_its_end(self, block: str):
        desk = Desk()
        target = desk.hold(1)
        late = timedelta(0)
        if block == "halted":
            desk.store.halt_account("by hand")
        elif block == "late":
            late = timedelta(seconds=46)
        elif block == "paused":
            desk.symbols.rows["AAA"] = replace(desk.symbols.rows["AAA"], enabled=False)
        elif block == "removed":
            desk.symbols.rows.clear()
        desk.broker.fill(target, PRICE + CENT, 5)
        desk.broker.say(target, status="canceled")
        assert desk.tick(2, late=late)["status"] == "ok"
        assert desk.sent()[-1] == ("submit", client_id(3, "bailout"), QTY - 5, None)
        desk.broker.fill(client_id(3, "bailout"), PRICE)
        desk.tick(3, late=late)
        assert desk.phase() is Phase.TO_BUY
        assert len([one for one in desk.submitted() if one.endswith("entry")]) == 1

    @pytest.mark.fault("removed-while-held")
    @pytest.mark.parametrize("why", ["paused", "removed"])
    def test_a_stale_buy_of_a_paused_or_removed_symbol_is_canceled(self, desk: Desk, why: str):
        desk.buy(1)
        if why == "paused":
            desk.symbols.rows["AAA"] = replace(desk.symbols.rows["AAA"], enabled=False)
        else:
            desk.symbols.rows.clear()
        desk.tick(2)
        desk.tick(3)
        assert desk.sent()[-1] == ("cancel", client_id(1))
        assert desk.phase() is Phase.TO_BUY

    def test_a_halted_account_enters_nothing_until_resumed(self, desk: Desk):
        desk.trade("AAA")
        desk.store.halt_account("by hand")
        desk.tick(1)
        assert desk.sent() == []
        desk.store.halt_account("")
        desk.tick(2)
        assert desk.submitted() == [client_id(1)]

    @pytest.mark.fault("late-tick")
    @pytest.mark.parametrize(("seconds", "buys"), [(0, 1), (45, 1), (46, 0), (119, 0)])
    def test_a_tick_that_starts_over_45_s_late_enters_nothing(
        self, desk: Desk, seconds: int, buys: int
    ):
        desk.trade("AAA")
        assert desk.tick(1, late=timedelta(seconds=seconds))["status"] == "ok"
        assert len(desk.submitted()) == buys

    @pytest.mark.fault("mid-day-deploy")
    def test_a_newer_versions_item_enters_nothing_and_its_exit_goes_on(self, desk: Desk):
        target = desk.hold(1)
        stored = MemoryStore.load(desk.store, "AAA")
        assert stored is not None
        desk.store.save(replace(stored, schema=SCHEMA + 1, unknown={"venue": "IEX"}), stored.state)
        desk.broker.fill(target, PRICE + CENT)
        asked: list[int] = []

        def look(bars: Sequence[Bar], /) -> bool:
            asked.append(len(bars))
            return True

        desk.trade("AAA", signal=look)
        desk.tick(2)
        assert desk.phase() is Phase.TO_BUY
        assert len(desk.submitted()) == 2
        assert asked == []
        kept = MemoryStore.load(desk.store, "AAA")
        assert kept is not None
        assert (kept.schema, kept.unknown) == (SCHEMA + 1, {"venue": "IEX"})

    @pytest.mark.fault("broken-row")
    def test_symbols_that_cannot_be_read_stop_no_exit(self, desk: Desk):
        target = desk.hold(1)
        desk.symbols.error = StoreDownError("throttled")
        desk.broker.fill(target, PRICE + CENT)
        assert desk.tick(2)["status"] == "ok"
        assert desk.phase() is Phase.TO_BUY


class TestSystemClock:
    """CLOCK=system: the session lies around the real time, which the fakes cannot move."""

    @pytest.fixture
    def real(self) -> Desk:
        desk = Desk(clock="system")
        now = datetime.now(UTC)
        at = floor_minute(now)
        day = new_york_day(at)
        session = Session(day, at - timedelta(hours=1), at + timedelta(hours=1))
        desk.broker.sessions = {day: session}
        desk.broker.now = now
        desk.trade("AAA", signal=always)
        clock = desk.broker.clock

        def running() -> Clock:
            answer = clock()
            return replace(answer, now=datetime.now(UTC) + desk.broker.skew)

        desk.broker.clock = running  # type: ignore[method-assign]
        return desk

    def run(self, desk: Desk) -> dict[str, Any]:
        at = datetime.now(UTC)
        desk.market.by_symbol["AAA"] = [bar(floor_minute(at) - timedelta(minutes=1))]
        return tick(desk.engine, TickDue(at))

    @pytest.mark.fault("48")
    @pytest.mark.parametrize("skew", [-1, 0, 1])
    def test_clocks_that_agree_within_two_seconds_enter(
        self, real: Desk, skew: int, monkeypatch: pytest.MonkeyPatch
    ):
        # The test may run in any second of the minute.
        monkeypatch.setattr(ticks, "LATE_AFTER", timedelta(minutes=5))
        real.broker.skew = timedelta(seconds=skew)
        assert self.run(real)["status"] == "ok"
        assert len(real.submitted()) == 1

    @pytest.mark.fault("48", "46")
    @pytest.mark.parametrize("skew", [-3, 3])
    def test_clocks_that_disagree_enter_nothing(self, real: Desk, records: Records, skew: int):
        real.broker.skew = timedelta(seconds=skew)
        assert self.run(real)["status"] == "ok"
        assert real.submitted() == []
        assert records.messages() == ["clock skew"]

    def test_a_broker_clock_without_an_answer_is_no_skew(self, real: Desk, records: Records):
        real.broker.always_fail("clock", BrokerDownError("down"))
        assert self.run(real)["status"] == "ok"
        assert records.of("clock skew") == []

    def test_refused_keys_are_one_line_on_what_to_set_in_a_warm_process_too(
        self, real: Desk, records: Records
    ):
        assert self.run(real)["status"] == "ok"
        records.all.clear()
        real.broker.always_fail("clock", UnauthorizedError(401, None, "unauthorized"))
        assert self.run(real) == {"status": "keys_refused"}
        (line,) = [r for r in records.all if r.levelname in ("ERROR", "WARNING")]
        assert line.getMessage() == "the broker refuses the keys"
        assert "valid key of the paper account" in line.todo  # type: ignore[attr-defined]


class TestRepeats:
    @pytest.mark.fault("duplicate-schedule")
    def test_a_duplicate_tick_only_reconciles(self, desk: Desk):
        desk.trade("AAA")
        desk.tick(1)
        desk.broker.fill(client_id(1), PRICE)
        assert desk.tick(1)["status"] == "repeated"
        assert desk.submitted() == [client_id(1), client_id(2, "target")]
        desk.broker.fill(client_id(2, "target"), PRICE + CENT)
        desk.tick(1)
        assert desk.phase() is Phase.TO_BUY
        assert len(desk.submitted()) == 2

    def test_a_duplicate_tick_does_not_send_an_absent_buy_again(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("submit", UnknownOutcomeError("504"))
        desk.tick(1)
        desk.tick(1)
        assert desk.submitted() == [client_id(1)]

    def test_a_minute_whose_first_tick_fails_after_its_claim_only_reconciles(self, desk: Desk):
        desk.trade("AAA")
        desk.store.down.add("load_all")
        assert desk.tick(1)["status"] == "failed"
        desk.store.down.clear()
        assert desk.tick(1)["status"] == "repeated"
        assert desk.sent() == []
        desk.tick(2)
        assert desk.submitted() == [client_id(1)]

    @pytest.mark.fault("late-tick")
    def test_a_tick_of_yesterday_only_reconciles_as_of_now(self, desk: Desk):
        """Redriven from a dead-letter queue: today's state is not made yesterday's."""
        yesterday = Session.of(DAY - timedelta(days=1), "09:30", "16:00")
        desk.broker.sessions[yesterday.day] = yesterday
        target = desk.hold(1)
        desk.broker.fill(target, PRICE + CENT)
        desk.broker.now = minute(5)
        for at in (yesterday.open + timedelta(minutes=5), yesterday.close - timedelta(minutes=2)):
            answer = tick(desk.engine, TickDue(at))
            assert answer == {"status": "too late", "symbols": 1}
        state = desk.state()
        assert (state.phase, state.session, state.generation) == (Phase.TO_BUY, DAY, 2)

    @pytest.mark.fault("late-tick")
    def test_a_tick_redriven_after_the_close_sends_nothing(self, desk: Desk):
        desk.hold(1)
        sent = desk.sent()
        desk.broker.now = CLOSE + timedelta(minutes=20)
        tick(desk.engine, TickDue(CLOSE - timedelta(minutes=3)))
        assert desk.sent() == sent

    def test_an_earlier_minute_that_is_decided_later_undoes_nothing(self, desk: Desk):
        desk.buy(5)
        desk.tick(4)
        assert desk.submitted() == [client_id(1)]
        assert desk.phase() is Phase.BUY_SUBMITTED


class TestFailures:
    def test_one_symbols_failure_does_not_stop_the_others(self, desk: Desk, records: Records):
        desk.trade("AAA", "BBB", "CCC")
        desk.broker.fail("submit", None, BrokerDownError("not said by the adapter"), None)
        assert desk.tick(1)["status"] == "ok"
        assert desk.phase("AAA") is desk.phase("CCC") is Phase.BUY_SUBMITTED
        assert [r.symbol for r in records.of("symbol failed")] == ["BBB"]  # type: ignore[attr-defined]

    def test_a_question_that_fails_stops_its_own_symbol_alone(self, desk: Desk):
        desk.buy(1, "AAA")
        desk.buy(2, "BBB")
        desk.stop_entries()
        for symbol in ("AAA", "BBB"):
            desk.broker.say(client_id(1, symbol=symbol), status="canceled")
        desk.broker.fail("find", BrokerDownError("down"))
        desk.tick(3)
        assert desk.phase("AAA") is Phase.BUY_SUBMITTED
        assert desk.phase("BBB") is Phase.TO_BUY

    def test_an_invariant_that_breaks_stops_its_own_symbol_alone(
        self, desk: Desk, records: Records
    ):
        desk.trade("BBB")
        # SELL_SUBMITTED without an order contradicts itself.
        bad = SymbolState(symbol="AAA", session=DAY, phase=Phase.SELL_SUBMITTED, qty=5, cost=1)
        desk.store.save(Stored(bad, None), bad)
        assert desk.tick(1)["status"] == "ok"
        assert desk.submitted() == [client_id(1, symbol="BBB")]
        assert [r.symbol for r in records.of("symbol failed")] == ["AAA"]  # type: ignore[attr-defined]

    @pytest.mark.fault("throttled-store")
    @pytest.mark.parametrize("method", ["load_all", "claim_minute", "account_halt", "all"])
    def test_a_store_that_is_down_sends_nothing_and_does_not_raise(
        self, desk: Desk, method: str, records: Records
    ):
        desk.trade("AAA")
        desk.store.down.add(method)
        answer = desk.tick(1)
        assert (answer["status"], answer["what"]) == ("failed", "tick")
        assert desk.sent() == []
        assert "request failed" in records.messages()

    @pytest.mark.parametrize(
        "error", [BrokerDownError("down"), RefusedError(429, 42910000, "rate limit exceeded")]
    )
    def test_a_broker_that_is_down_does_not_raise(self, desk: Desk, error: Exception):
        desk.trade("AAA")
        desk.broker.always_fail("session", error)
        assert desk.tick(1)["status"] == "failed"

    @pytest.mark.fault("rotated-secret")
    def test_refused_keys_are_one_line_on_what_to_set(self, desk: Desk, records: Records):
        desk.broker.always_fail("session", UnauthorizedError(401, None, "unauthorized"))
        assert desk.tick(1) == {"status": "keys_refused"}
        assert records.messages() == ["the broker refuses the keys"]


class TestRiskControls:
    def test_a_stop_loss_cancels_the_target_and_sells_at_market(self, desk: Desk):
        desk.trade("AAA", stop_loss_pct=Decimal(1))
        desk.hold(1)
        desk.stop_entries()
        desk.market.by_symbol["AAA"] = [bar(minute(n), PRICE - 99 * CENT) for n in range(2)]
        desk.tick(2)
        assert len(desk.sent()) == 2
        desk.market.by_symbol["AAA"] = [bar(minute(n), PRICE - DOLLAR) for n in range(3)]
        desk.tick(3)
        assert desk.sent()[2:] == [
            ("cancel", client_id(2, "target")),
            ("submit", client_id(3, "stop"), QTY, None),
        ]

    def test_a_position_held_too_long_is_sold(self, desk: Desk):
        desk.trade("AAA", max_hold=timedelta(minutes=3))
        desk.hold(1)
        desk.stop_entries()
        for number in (2, 3, 4, 5):
            desk.tick(number)
        assert desk.sent()[-1] == ("submit", client_id(3, "stop"), QTY, None)


class TestShards:
    def test_a_shard_decides_its_own_symbols(self, desk: Desk):
        names = [f"A{letter}" for letter in "ABCDEFGH"]
        desk.trade(*names)
        for shard in range(3):
            desk.broker.now = minute(1)
            answer = tick(desk.engine, TickDue(minute(1), shard, 3))
            assert answer["status"] == "ok"
            mine = [name for name in names if in_shard(name, shard, 3)]
            assert answer["symbols"] == len(mine)
        assert sorted(desk.submitted()) == [client_id(1, symbol=name) for name in names]
