"""The list of symbols: the same of the table and of its fakes."""

from collections.abc import Iterator
from typing import Protocol

import boto3
import pytest
from moto import mock_aws

from scalper.core.pricing import DOLLAR
from scalper.shell.aws.symbols_table import DynamoSymbols
from scalper.shell.ports import SymbolRules, Symbols
from tests.shell.conftest import make_symbols_table
from tests.shell.fakes import FakeSymbols, settings
from tests.simulation.build import scheduler_of
from workbench.simulation.table import SimulatedSymbols


class Sheet(Protocol):
    """The rows, and the people who edit them."""

    symbols: Symbols

    def put(self, symbol: str, lot_usd: int, *, enabled: bool = True) -> None: ...
    def put_broken(self, symbol: str) -> None: ...
    def remove(self, symbol: str) -> None: ...


class DynamoSheet:
    def __init__(self) -> None:
        make_symbols_table()
        self.symbols: Symbols = DynamoSymbols(settings())
        self._table = boto3.resource("dynamodb").Table("symbols")

    def put(self, symbol: str, lot_usd: int, *, enabled: bool = True) -> None:
        self._table.put_item(Item={"symbol": symbol, "lot": lot_usd, "enabled": enabled})

    def put_broken(self, symbol: str) -> None:
        self._table.put_item(Item={"symbol": symbol, "lot": "abc"})

    def remove(self, symbol: str) -> None:
        self._table.delete_item(Key={"symbol": symbol})


class SimulatedSheet:
    def __init__(self) -> None:
        self._simulated = SimulatedSymbols(scheduler_of(), {})
        self.symbols: Symbols = self._simulated

    def put(self, symbol: str, lot_usd: int, *, enabled: bool = True) -> None:
        self._simulated.rows[symbol] = SymbolRules(symbol, lot_usd * DOLLAR, enabled=enabled)
        self._simulated.broken.discard(symbol)

    def put_broken(self, symbol: str) -> None:
        # As on a simulated day: a row that made sense is spoiled.
        self._simulated.rows.setdefault(symbol, SymbolRules(symbol, DOLLAR))
        self._simulated.broken.add(symbol)

    def remove(self, symbol: str) -> None:
        del self._simulated.rows[symbol]


class FakeSheet:
    """The fake of the shell's tests, which keeps the refused lines apart from the rows."""

    def __init__(self) -> None:
        self._fake = FakeSymbols()
        self.symbols: Symbols = self._fake

    def put(self, symbol: str, lot_usd: int, *, enabled: bool = True) -> None:
        self.remove(symbol)
        self._fake.rows[symbol] = SymbolRules(symbol, lot_usd * DOLLAR, enabled=enabled)

    def put_broken(self, symbol: str) -> None:
        self.remove(symbol)
        self._fake.refused = (*self._fake.refused, f"{symbol}: lot 'abc' is not a number")

    def remove(self, symbol: str) -> None:
        self._fake.rows.pop(symbol, None)
        lines = self._fake.refused
        self._fake.refused = tuple(one for one in lines if not one.startswith(f"{symbol}:"))


@pytest.fixture(params=[DynamoSheet, SimulatedSheet, FakeSheet])
def sheet(request: pytest.FixtureRequest) -> Iterator[Sheet]:
    with mock_aws():
        yield request.param()


def test_without_rows_nothing_trades(sheet: Sheet):
    assert sheet.symbols.read() == ({}, ())


def test_rows_come_by_symbol_as_they_are(sheet: Sheet):
    sheet.put("IBM", 500)
    sheet.put("BRK.B", 700, enabled=False)
    assert sheet.symbols.read() == (
        {
            "BRK.B": SymbolRules("BRK.B", 700 * DOLLAR, enabled=False),
            "IBM": SymbolRules("IBM", 500 * DOLLAR),
        },
        (),
    )


def test_rows_come_in_the_order_of_their_symbols(sheet: Sheet):
    for symbol in ("CCC", "AAA", "BBB"):
        sheet.put(symbol, 1)
    assert list(sheet.symbols.read()[0]) == ["AAA", "BBB", "CCC"]


def test_a_broken_row_is_a_line_that_names_it_and_the_others_trade(sheet: Sheet):
    sheet.put("IBM", 500)
    sheet.put_broken("TSLA")
    accepted, (line,) = sheet.symbols.read()
    assert set(accepted) == {"IBM"}
    assert line.startswith("TSLA: lot")
    assert "\n" not in line


def test_an_edit_acts_at_the_next_reading(sheet: Sheet):
    sheet.put("IBM", 500)
    first = sheet.symbols.read()
    sheet.put("IBM", 600)
    sheet.put("TSLA", 1)
    assert first == ({"IBM": SymbolRules("IBM", 500 * DOLLAR)}, ())
    assert sheet.symbols.read()[0]["IBM"].lot == 600 * DOLLAR
    sheet.remove("IBM")
    assert set(sheet.symbols.read()[0]) == {"TSLA"}


def test_a_row_that_is_mended_trades_and_one_that_is_gone_is_no_line(sheet: Sheet):
    sheet.put_broken("IBM")
    sheet.put_broken("TSLA")
    assert len(sheet.symbols.read()[1]) == 2
    sheet.put("IBM", 500)
    sheet.remove("TSLA")
    assert sheet.symbols.read() == ({"IBM": SymbolRules("IBM", 500 * DOLLAR)}, ())
