"""Reads bars files as a market, exactly or not at all: each error is one line with its place.

The columns are symbol,timestamp,open,high,low,close,volume in any order; others are ignored.
`timestamp` is the start of the bar, ISO 8601 in UTC. Rows may be unsorted and in several files. An
ambiguous row ends the run (`BarsError`). The rows of a day on which nothing can be traded are
refused one by one, as lines of `Market.refused`.

Rows are numbered as in the file: a CSV's header is row 1, a Parquet file's first row is row 1.
"""

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

from scalper.core.order import SYMBOL
from scalper.core.session import new_york_day
from scalper.core.signal import Bar
from workbench.market.bars.csv_file import csv_rows, of_width
from workbench.market.bars.fields import (
    COLUMNS,
    BarsError,
    Prices,
    Starts,
    check_header,
    disorder,
    start_of,
    symbol_fault,
    volume_of,
)
from workbench.market.bars.parquet_file import MAGIC, parquet_rows
from workbench.market.model import Market, MarketDay, sessions_between

SYNTHETIC_SYMBOL = re.compile(r"SYN\d\d")
"""A file of such symbols is a synthetic market: no listed symbol has digits."""


def read_bars(paths: Sequence[Path]) -> Market:
    """Return the market of CSV and Parquet files; raises BarsError with one line for people."""
    if not paths:
        raise BarsError("no bars file was given")
    files = _BarsByDay(tuple(paths))
    with _uncollected():
        for number, path in enumerate(paths):
            files.read(number, path)
        return files.market()


@dataclass(slots=True)
class _Series:
    """One symbol's bars of one New York date, in the order of the files, and their places."""

    bars: list[Bar] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)


_Day = dict[str, _Series]


class _BarsByDay:
    """Everything read so far: New York date -> symbol -> bars."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self.days: dict[date, _Day] = {}
        self.prices = Prices()
        self.starts = Starts()

    def read(self, number: int, path: Path) -> None:
        """Add every row of a file; raises BarsError at the first row with an error."""
        pick, rows = _rows(path)
        # A New York date begins on a whole UTC hour, so 13 characters of the text give the date.
        by_hour: dict[str, _Day] = {}
        prices, starts = self.prices, self.starts
        row = 0
        for row, fields in rows:
            try:
                symbol, stamp, first, high, low, last, volume = pick(fields)
                start = starts[stamp]
                opened, top, bottom, closed = prices[first], prices[high], prices[low], prices[last]
                shares = int(volume) if volume.isdecimal() else volume_of(volume)
            except (ValueError, IndexError):
                raise self._error(path, row, pick, fields) from None
            if not bottom <= opened <= top or not bottom <= closed <= top:
                raise BarsError(f"{path}: row {row}, {disorder(opened, top, bottom, closed)}")
            day = by_hour.get(stamp[:13])
            if day is None:
                day = by_hour[stamp[:13]] = self.days.setdefault(new_york_day(start), {})
            series = day.get(symbol)
            if series is None:
                if SYMBOL.fullmatch(symbol) is None:
                    raise BarsError(f"{path}: row {row}, column symbol: {symbol_fault(symbol)}")
                series = day[symbol] = _Series()
            series.bars.append(Bar(start, opened, top, bottom, closed, shares))
            series.places.append((number, row))
        if row == 0:
            raise BarsError(f"{path}: row 2, column symbol: no rows, only a header")

    def market(self) -> Market:
        """Return what was read, sorted; raises BarsError at a minute given twice."""
        sessions = sessions_between(min(self.days), max(self.days))
        days: list[MarketDay] = []
        refused: list[tuple[int, int, str]] = []
        for day in sorted(self.days):
            bars = {
                symbol: self._sorted(symbol, self.days[day][symbol])
                for symbol in sorted(self.days[day])
            }
            session = sessions.get(day)
            if session is None:
                refused += self._refuse(day, f"no session on {day:%A} {day} in New York")
            elif not any(session.holds(bar.start) for row in bars.values() for bar in row):
                refused += self._refuse(day, f"no bar of {day} lies in the session's hours")
            else:
                days.append(MarketDay(session, bars))
        lines = tuple(
            f"{self.paths[number]}: row {row}, column timestamp: {why}"
            for number, row, why in sorted(refused)
        )
        if not days:
            raise BarsError(lines[0])
        symbols = {symbol for day in days for symbol in day.bars}
        synthetic = all(SYNTHETIC_SYMBOL.fullmatch(symbol) for symbol in symbols)
        source = _names(self.paths)
        return Market(
            tuple(days), synthetic, f"synthetic market in {source}" if synthetic else source, lines
        )

    def _sorted(self, symbol: str, series: _Series) -> tuple[Bar, ...]:
        """Return the bars by start; raises BarsError naming both rows of a minute given twice."""
        bars = series.bars
        if all(before.start < after.start for before, after in pairwise(bars)):
            return tuple(bars)
        order = sorted(range(len(bars)), key=lambda n: (bars[n].start, series.places[n]))
        for n, m in pairwise(order):
            if bars[n].start == bars[m].start:
                (file, row), (number, again) = series.places[n], series.places[m]
                first = f"row {row}" if file == number else f"{self.paths[file]}, row {row}"
                raise BarsError(
                    f"{self.paths[number]}: row {again}, column timestamp: a second bar of "
                    f"{symbol} at {bars[m].start:%Y-%m-%dT%H:%MZ}, the first is in {first}"
                )
        return tuple(bars[n] for n in order)

    def _refuse(self, day: date, why: str) -> Iterator[tuple[int, int, str]]:
        for series in self.days[day].values():
            for number, row in series.places:
                yield number, row, why

    def _error(self, path: Path, row: int, pick: Any, fields: Sequence[str]) -> BarsError:
        """Return the error of a row that could not be read: that of its first wrong column."""
        try:
            values = dict(zip(COLUMNS, pick(fields), strict=True))
        except IndexError:
            return BarsError(
                f"{path}: row {row}, column {len(fields) + 1}: missing, "
                f"the row has {len(fields)} fields only"
            )
        for column, value in values.items():
            try:
                if column == "timestamp":
                    start_of(value)
                elif column == "volume":
                    volume_of(value)
                elif column != "symbol":
                    self.prices[value]
            except ValueError as error:
                return BarsError(f"{path}: row {row}, column {column}: {error}")
        raise AssertionError(f"{path}: row {row} was refused, and is right")


def _rows(path: Path) -> tuple[Any, Iterator[tuple[int, Sequence[str]]]]:
    """Return a getter of the seven columns and the numbered rows; raises BarsError."""
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except FileNotFoundError:
        raise BarsError(f"{path}: no such file") from None
    except OSError as error:
        raise BarsError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not head:
        raise BarsError(f"{path}: row 1: the file is empty; expected {','.join(COLUMNS)}")
    if head == MAGIC or path.suffix.lower() in {".parquet", ".pq"}:
        return itemgetter(*range(len(COLUMNS))), parquet_rows(path)
    rows = csv_rows(path)
    number, header = next(rows, (1, []))
    check_header(path, f"row {number}, ", header)
    return itemgetter(*(header.index(column) for column in COLUMNS)), of_width(path, header, rows)


def _names(paths: Sequence[Path]) -> str:
    names = [path.name for path in paths]
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)} files)"


@contextmanager
def _uncollected() -> Iterator[None]:
    """Stop the garbage collector: millions of bars hold no cycles, and it would visit them all."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
