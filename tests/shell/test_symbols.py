"""An invalid row is refused with one line; the others trade."""

import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.pricing import DOLLAR
from scalper.core.signal import crossover
from scalper.shell.aws.symbols_table import DynamoSymbols
from scalper.shell.errors import StoreDownError
from scalper.shell.ports import SymbolRules
from scalper.shell.symbols import MAX_SYMBOLS, parse_rows
from tests.shell.conftest import make_symbols_table
from tests.shell.fakes import LOT, always, settings


def row(symbol: str = "TSLA", **attributes: Any) -> dict[str, Any]:
    return {"symbol": {"S": symbol}, **attributes}


def test_the_symbol_alone_trades_with_the_defaults():
    assert parse_rows([row()], LOT) == ({"TSLA": SymbolRules("TSLA", LOT)}, ())


def test_every_attribute_is_read():
    accepted, refused = parse_rows(
        [
            row(
                "BRK.B",
                enabled={"BOOL": False},
                lot={"N": "1234.5"},
                signal={"S": "tests.shell.fakes:always"},
                stop_loss_pct={"N": "1.5"},
                max_hold_minutes={"N": "30"},
                max_entries_per_day={"N": "3"},
            )
        ],
        LOT,
    )
    assert refused == ()
    assert accepted == {
        "BRK.B": SymbolRules(
            "BRK.B",
            lot=12_345_000,
            enabled=False,
            signal=always,
            stop_loss_pct=Decimal("1.5"),
            max_hold=timedelta(minutes=30),
            max_entries=3,
        )
    }


@pytest.mark.fault("broken-row")
@pytest.mark.parametrize(
    "symbol", ["tsla", "tsla ", "TSLA ", " TSLA", "", "T" * 300, "A" * 11, "1X", "A/B", "ÄÖ", "A\n"]
)
def test_a_symbol_that_is_no_ticker_is_refused_and_the_others_trade(symbol: str):
    accepted, refused = parse_rows([row(symbol), row("IBM")], LOT)
    assert set(accepted) == {"IBM"}
    assert len(refused) == 1
    assert refused[0].startswith("symbol '")
    assert len(refused[0]) < 150
    assert "\n" not in refused[0]


@pytest.mark.parametrize("symbol", [{}, {"N": "5"}, {"S": None}, {"B": b"TSLA"}])
def test_a_symbol_of_another_type_is_refused(symbol: dict[str, Any]):
    accepted, refused = parse_rows([{"symbol": symbol}, {}, row("IBM")], LOT)
    assert set(accepted) == {"IBM"}
    assert len(refused) == 2


@pytest.mark.fault("broken-row")
@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("lot", {"S": "abc"}),
        ("lot", {"N": "abc"}),
        ("lot", {"N": "-5"}),
        ("lot", {"N": "0"}),
        ("lot", {"N": "0.00001"}),
        ("lot", {"N": "10000001"}),
        ("lot", {"N": "1E+125"}),
        ("lot", {"NULL": True}),
        ("lot", {"BOOL": True}),
        ("enabled", {"S": "true"}),
        ("enabled", {"N": "1"}),
        ("signal", {"S": ""}),
        ("signal", {"S": "crossover"}),
        ("signal", {"S": "no_such_module_at_all:buy"}),
        ("signal", {"S": "tests.shell.fakes:no_such_function"}),
        ("signal", {"S": "tests.shell.fakes:LOT"}),
        ("signal", {"S": "../x:y"}),
        ("signal", {"S": "a..b:c"}),
        ("signal", {"N": "5"}),
        ("stop_loss_pct", {"N": "0"}),
        ("stop_loss_pct", {"N": "100"}),
        ("stop_loss_pct", {"N": "-1"}),
        ("stop_loss_pct", {"N": "many"}),
        ("max_hold_minutes", {"N": "0"}),
        ("max_hold_minutes", {"N": "1.5"}),
        ("max_hold_minutes", {"N": "1001"}),
        ("max_hold_minutes", {"N": "soon"}),
        ("max_entries_per_day", {"N": "-3"}),
        ("max_entries_per_day", {"N": "NaN"}),
        ("max_entries_per_day", {"N": "1E+125"}),
        ("lots", {"N": "2000"}),
        ("Lot", {"N": "2000"}),
        ("x" * 300, {"S": "y"}),
    ],
)
def test_an_invalid_row_is_refused_with_one_line_that_names_it(name: str, typed: dict[str, Any]):
    accepted, refused = parse_rows([row("TSLA", **{name: typed}), row("IBM")], LOT)
    assert accepted == {"IBM": SymbolRules("IBM", LOT)}
    (line,) = refused
    assert line.startswith("TSLA: ")
    assert name[:40] in line
    assert "\n" not in line
    assert len(line) < 300


@pytest.mark.parametrize(
    "source",
    ["def buy(bars:\n", "1 / 0\n", "raise RuntimeError('two\\nlines')\n", "import no_such_thing\n"],
)
def test_a_signal_whose_module_cannot_be_imported_stops_only_its_symbol(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "broken_signal.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_signal", raising=False)
    accepted, refused = parse_rows([row(signal={"S": "broken_signal:buy"}), row("IBM")], LOT)
    assert set(accepted) == {"IBM"}
    (line,) = refused
    assert line.startswith("TSLA: signal 'broken_signal:buy' cannot be imported: ")
    assert "\n" not in line


@pytest.mark.fault("broken-row")
def test_rows_beyond_the_most_are_refused_in_the_order_of_their_symbols():
    names = [f"A{number:05d}" for number in range(MAX_SYMBOLS + 3)]
    accepted, refused = parse_rows([row(name) for name in reversed(names)], LOT)
    assert list(accepted) == names[:MAX_SYMBOLS]
    assert refused == tuple(f"{name}: more than 2000 symbols" for name in names[MAX_SYMBOLS:])


def test_a_refused_row_takes_no_place_of_a_good_one():
    names = [f"B{number:05d}" for number in range(MAX_SYMBOLS)]
    rows = [row("A", lot={"N": "0"}), *(row(name) for name in names)]
    accepted, refused = parse_rows(rows, LOT)
    assert len(accepted) == MAX_SYMBOLS
    assert len(refused) == 1


typed_values = st.dictionaries(
    st.sampled_from(["S", "N", "BOOL", "NULL", "L", "M", "B"]),
    st.one_of(st.text(max_size=12), st.booleans(), st.none(), st.integers().map(str)),
    max_size=2,
)
names = st.one_of(
    st.sampled_from(["lot", "enabled", "stop_loss_pct", "max_hold_minutes", "max_entries_per_day"]),
    st.text(max_size=12),
)


@given(st.lists(st.dictionaries(names, typed_values, max_size=4), max_size=4))
def test_no_row_whatsoever_stops_the_others(attributes: list[dict[str, Any]]):
    rows = [{**one, "symbol": {"S": f"A{number}"}} for number, one in enumerate(attributes)]
    accepted, refused = parse_rows([*rows, row("ZZZ")], LOT)
    assert "ZZZ" in accepted
    assert len(accepted) + len(refused) == len(rows) + 1


@pytest.mark.usefixtures("aws")
class TestTable:
    def test_the_table_is_read_anew_each_time(self):
        make_symbols_table()
        table = boto3.resource("dynamodb").Table("symbols")
        symbols = DynamoSymbols(settings())
        assert symbols.read() == ({}, ())
        table.put_item(Item={"symbol": "IBM", "lot": 500, "enabled": True})
        table.put_item(Item={"symbol": "tsla", "lot": 500})
        accepted, refused = symbols.read()
        assert accepted == {"IBM": SymbolRules("IBM", 500 * DOLLAR, signal=crossover)}
        assert len(refused) == 1
        table.delete_item(Key={"symbol": "IBM"})
        assert symbols.read()[0] == {}

    def test_every_page_is_read(self, monkeypatch: pytest.MonkeyPatch):
        make_symbols_table()
        table = boto3.resource("dynamodb").Table("symbols")
        # DynamoDB ends a page at 1 MB.
        with table.batch_writer() as batch:
            for number in range(9):
                batch.put_item(Item={"symbol": f"A{number}", "note": "x" * 390_000})
        accepted, refused = DynamoSymbols(settings()).read()
        assert accepted == {}
        assert len(refused) == 9

    def test_a_missing_table_is_a_store_that_is_down(self):
        with pytest.raises(StoreDownError, match="symbols table"):
            DynamoSymbols(settings()).read()
