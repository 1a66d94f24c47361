"""A tick says in one line which symbols it left as they were, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from scalper.core.model import Reason
from tests.shell.conftest import Records
from tests.shell.fakes import CUTOFF, PRICE, Desk, client_id, minute


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.trade("AAA", "BBB", "CCC")
    return desk


def unchanged(records: Records) -> list[Mapping[str, Sequence[str]]]:
    """Return the reasons of each line of a tick that left symbols as they were."""
    return [one.__dict__["reasons"] for one in records.of("nothing changed")]


def changed(records: Records) -> list[Any]:
    return [one.__dict__["symbol"] for one in records.of("decision") if one.levelname == "INFO"]


def test_an_idle_tick_writes_one_line_for_all_symbols(desk: Desk, records: Records) -> None:
    desk.stop_entries()
    desk.tick(1)
    assert unchanged(records) == [{Reason.NO_SIGNAL: ["AAA", "BBB", "CCC"]}]
    (line,) = records.of("nothing changed")
    assert line.__dict__["event_at"] == minute(1).isoformat()
    assert line.levelname == "INFO"
    assert changed(records) == []


def test_each_symbol_is_in_the_line_or_has_a_decision_of_its_own(
    desk: Desk, records: Records
) -> None:
    desk.tick(1)
    assert (unchanged(records), set(changed(records))) == ([], {"AAA", "BBB", "CCC"})
    desk.broker.fill(client_id(1, symbol="BBB"), PRICE)
    desk.market.by_symbol["CCC"] = []
    records.clear()
    desk.tick(2)
    assert unchanged(records) == [{Reason.STILL_WORKING: ["AAA", "CCC"]}]
    assert set(changed(records)) == {"BBB"}


def test_a_block_of_the_account_is_the_reason_of_each_symbol(desk: Desk, records: Records) -> None:
    desk.store.halt_account("looking")
    desk.tick(1)
    assert unchanged(records) == [{Reason.ACCOUNT_HALTED: ["AAA", "BBB", "CCC"]}]


def test_symbols_with_different_reasons_are_told_apart(desk: Desk, records: Records) -> None:
    desk.market.by_symbol["AAA"] = []
    desk.broker.put("BBB", "by-hand")
    desk.tick(1)
    assert unchanged(records) == [{Reason.NO_BAR: ["AAA"], Reason.EXTERNAL_ORDER: ["BBB"]}]


def test_a_symbol_whose_work_failed_is_not_in_the_line(desk: Desk, records: Records) -> None:
    desk.stop_entries()
    desk.tick(1)
    desk.trade("BBB")
    desk.store.down.add("save")
    records.clear()
    desk.tick(2)
    assert unchanged(records) == [{Reason.NO_SIGNAL: ["AAA", "CCC"]}]
    assert [one.__dict__["symbol"] for one in records.of("symbol failed")] == ["BBB"]


def test_a_repeated_tick_decides_nothing_and_says_nothing(desk: Desk, records: Records) -> None:
    desk.stop_entries()
    desk.tick(1)
    records.clear()
    desk.tick(1)
    assert unchanged(records) == []


def test_the_minute_of_the_liquidation_is_left_to_it(desk: Desk, records: Records) -> None:
    desk.stop_entries()
    desk.broker.now = CUTOFF
    desk.tick((CUTOFF - minute(0)).total_seconds() / 60)
    assert unchanged(records) == []
