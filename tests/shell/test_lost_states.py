"""A state that the table lost is rebuilt from the broker's orders before anything is sent."""

from dataclasses import replace
from datetime import timedelta

import pytest

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.pricing import CENT
from scalper.core.session import Session
from scalper.shell.errors import BrokerDownError, StoreDownError
from scalper.shell.memory_store import MemoryStore
from scalper.shell.ports import Stored
from scalper.shell.shards import in_shard
from scalper.shell.trading.tick import tick
from scalper.shell.trading.tick_schedule import TickDue
from tests.shell.conftest import Records
from tests.shell.fakes import (
    DAY,
    PRICE,
    QTY,
    Desk,
    bar,
    client_id,
    minute,
    never,
)


class TestRecovery:
    @pytest.mark.fault("lost-table")
    def test_a_missing_item_is_rebuilt_before_anything_else(self, desk: Desk, records: Records):
        desk.hold(1)
        before = desk.state()
        desk.store.lose("AAA")
        desk.log.clear()
        desk.tick(2)
        after = desk.state()
        assert desk.log[:3] == [
            ("claim", minute(2)),
            ("orders_since",),
            ("save", "AAA", "SELL_SUBMITTED", client_id(2, "target")),
        ]
        assert (after.phase, after.qty, after.generation) == (
            before.phase,
            before.qty,
            before.generation,
        )
        assert desk.submitted() == []
        assert records.of("state rebuilt")

    @pytest.mark.fault("lost-table")
    def test_a_position_without_its_sell_is_sold_after_the_rebuild(self, desk: Desk):
        desk.broker.fill(desk.buy(1), PRICE)
        desk.store.lose("AAA")
        desk.stop_entries()
        desk.tick(2)
        assert desk.phase() is Phase.TO_SELL
        assert desk.outbox.checkups[-1] == 30
        desk.checkup(2.5)
        assert desk.sent()[-1] == ("submit", client_id(2, "target"), QTY, PRICE + CENT)

    def test_a_state_that_another_invocation_rebuilt_first_is_loaded(self, desk: Desk):
        desk.trade("AAA", signal=never)
        raced: list[int] = []

        def race(state: SymbolState) -> None:
            if not raced:
                raced.append(1)
                won = replace(state, pnl=7)
                desk.store.save(Stored(won, None), won)

        desk.store.before_save = race
        assert desk.tick(1)["symbols"] == 1
        assert desk.state().pnl == 7

    @pytest.mark.fault("lost-table")
    def test_orders_that_cannot_be_read_enter_nothing(self, desk: Desk):
        desk.trade("AAA")
        desk.broker.fail("orders_since", BrokerDownError("down"))
        assert desk.tick(1)["status"] == "ok"
        assert desk.sent() == []

    def test_orders_that_cannot_be_read_stop_no_other_symbol(self, desk: Desk):
        """A row is new while the broker fails: the exits of other symbols do not wait."""
        target = desk.hold(1, "AAA")
        desk.stop_entries()
        desk.trade("BBB")
        desk.broker.fill(target, PRICE + CENT)
        desk.broker.fail("orders_since", BrokerDownError("down"))
        desk.tick(2)
        assert desk.phase("AAA") is Phase.TO_BUY

    def test_an_order_of_ours_on_a_symbol_without_state_or_row_is_recovered(self, desk: Desk):
        desk.hold(1, "AAA")
        desk.trade("BBB", signal=never)
        del desk.symbols.rows["AAA"]
        desk.store.lose("AAA")
        assert desk.tick(2)["symbols"] == 2
        assert (desk.phase("AAA"), desk.state("AAA").qty) == (Phase.SELL_SUBMITTED, QTY)
        assert desk.outbox.checkups[-1] == 30

    def test_an_order_of_ours_is_recovered_by_its_own_shard(self, desk: Desk):
        desk.hold(1, "AAA")
        del desk.symbols.rows["AAA"]
        desk.store.lose("AAA")
        desk.trade(*[f"B{letter}" for letter in "ABCDEFGH"], signal=never)
        for shard in range(2):
            desk.broker.now = minute(2)
            tick(desk.engine, TickDue(minute(2), shard, 2))
            known = MemoryStore.load(desk.store, "AAA") is not None
            assert known == (in_shard("AAA", 0, 2) or shard == 1)

    def test_an_order_of_another_day_recovers_nothing(self, desk: Desk):
        desk.trade("BBB", signal=never)
        desk.broker.put("AAA", client_id(1, day=DAY - timedelta(days=1)))
        assert desk.tick(1)["symbols"] == 1

    @pytest.mark.parametrize("filled", [0, QTY])
    def test_a_table_set_back_to_before_an_order_halts_and_loses_no_share(
        self, desk: Desk, filled: int
    ):
        desk.buy(1)
        desk.stop_entries()
        stored = MemoryStore.load(desk.store, "AAA")
        assert stored is not None
        desk.store.save(stored, SymbolState(symbol="AAA", session=DAY))
        if filled:
            desk.broker.cancels_take = False
        desk.tick(2)
        assert desk.sent()[-1] == ("cancel", client_id(1))
        assert desk.state().halt is (Reason.LATE_ORDER if filled else Reason.UNKNOWN_ORDER)
        if filled:
            desk.broker.fill(client_id(1), PRICE)
        desk.tick(3)
        assert desk.state().qty == filled
        assert desk.state().generation == (2 if filled else 1)

    def test_a_rebuild_that_cannot_be_written_stops_its_own_symbol_alone(
        self, desk: Desk, records: Records
    ):
        desk.trade("AAA", "BBB")

        def throttled(state: SymbolState) -> None:
            if state.symbol == "AAA":
                raise StoreDownError("throttled")

        desk.store.before_save = throttled
        assert desk.tick(1)["symbols"] == 1
        assert desk.submitted() == [client_id(1, symbol="BBB")]
        assert [r.symbol for r in records.of("symbol failed")] == ["AAA"]  # type: ignore[attr-defined]
        desk.store.before_save = None
        desk.tick(2)
        assert desk.submitted()[-1] == client_id(1)

    def test_an_unreadable_item_stops_its_own_symbol_alone(self, desk: Desk, records: Records):
        desk.trade("AAA", "BBB", signal=never)
        desk.tick(1)
        desk.trade("AAA", "BBB")
        desk.store.unreadable.add("AAA")
        assert desk.tick(2)["status"] == "ok"
        assert desk.submitted() == [client_id(1, symbol="BBB")]
        assert [r.symbol for r in records.of("symbol failed")] == ["AAA"]  # type: ignore[attr-defined]
        desk.store.unreadable.clear()
        assert desk.state().generation == 0

    def test_a_new_session_begins_anew(self, desk: Desk):
        desk.broker.fill(desk.hold(1), PRICE + CENT)
        desk.stop_entries()
        desk.tick(2)
        assert desk.state().trades == 1
        tomorrow = Session.of(DAY + timedelta(days=1), "09:30", "16:00")
        desk.broker.sessions[tomorrow.day] = tomorrow
        desk.broker.now = tomorrow.open + timedelta(minutes=1)
        desk.trade("AAA")
        desk.market.by_symbol["AAA"] = [bar(tomorrow.open)]
        tick(desk.engine, TickDue(desk.broker.now))
        assert desk.submitted()[-1] == client_id(1, day=tomorrow.day)
        assert desk.state().trades == 0
