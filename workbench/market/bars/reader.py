"""Bars files become a market, exactly, or nothing does: a fault is one line with its place.

Columns symbol,timestamp,open,high,low,close,volume in any order, others are ignored; `timestamp`
is the bar's start, ISO 8601 in UTC. Rows may come unsorted and from several files. A fault that
leaves open what was meant ends the run (`BarsError`); rows of a day on which nothing can be
traded are refused one by one and kept as lines in `Market.refused`.

Rows are numbered as in the file: a CSV's header is row 1, a Parquet file's first row is row 1.
"""

import csv
import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

from scalper.core.pricing import Money, money, text
from scalper.core.session import new_york_day
from scalper.core.signal import Bar
from workbench.market.model import Market, MarketDay, sessions_between

COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume")

SYNTHETIC_SYMBOL = re.compile(r"SYN\d\d")
"""Made-up bars keep being called synthetic after a round trip: no listed symbol has digits."""

FIRST_YEAR, LAST_YEAR = 1971, 2100
CACHE_LIMIT = 500_000
"""Distinct texts remembered; beyond it the memory is emptied, not grown."""
SHOWN = 40
"""Characters of a faulty value that a message shows."""
PARQUET_ROWS = 65_536
"""Rows held as text at a time."""

_SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,9}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"(\d{1,18})(?:\.0*)?", re.ASCII)
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_UTC_OFFSETS = frozenset({"Z", "+00:00", "-00:00", "+0000", "-0000"})
_UTC_ZONES = frozenset({"UTC", "Etc/UTC", "GMT", "Z", "+00:00"})
_PARQUET_MAGIC = b"PAR1"


class BarsError(ValueError):
    """The bars cannot be used: one line naming file, row and column, for people."""


def read_bars(paths: Sequence[Path]) -> Market:
    """Return the market of CSV and Parquet files; raises BarsError with one line for people."""
    if not paths:
        raise BarsError("no bars file was given")
    heap = _Heap(tuple(paths))
    with _uncollected():
        for number, path in enumerate(paths):
            heap.read(number, path)
        return heap.market()


def write_bars(market: Market, path: Path) -> None:
    """Write every bar as CSV by time, then symbol; `read_bars` gives the same bars back.

    The file appears whole or not at all.
    """
    rows = sorted(
        (bar.start, symbol, bar)
        for day in market.days
        for symbol, bars in day.bars.items()
        for bar in bars
    )
    beside = path.with_name(f".{path.name}.writing")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            write = csv.writer(file, lineterminator="\n").writerow
            write(COLUMNS)
            for start, symbol, bar in rows:
                prices = (text(price) for price in (bar.open, bar.high, bar.low, bar.close))
                write([symbol, f"{start:%Y-%m-%dT%H:%M:%SZ}", *prices, bar.volume])
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@dataclass(slots=True)
class _Series:
    """One symbol's bars of one New York date, as they come, and where each one came from."""

    bars: list[Bar] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)


_Day = dict[str, _Series]


class _Prices(dict[str, Money]):
    """Text -> price; most prices of a file repeat, so most are looked up, not parsed."""

    def __missing__(self, value: str) -> Money:
        """Parse a price not seen yet; raises ValueError saying what is wrong with it."""
        if value == "":
            raise ValueError("is missing")
        if _NUMBER.fullmatch(value) is None:
            raise ValueError(f"{_shown(value)} is not a price")
        try:
            price = money(value)
        except ValueError:
            raise ValueError(f"{_shown(value)} is out of range") from None
        if price <= 0:
            raise ValueError(f"{_shown(value)} is not above zero in ten-thousandths of a dollar")
        if len(self) >= CACHE_LIMIT:
            self.clear()
        self[value] = price
        return price


class _Starts(dict[str, datetime]):
    """Text -> start of a bar; symbols share their minutes."""

    def __missing__(self, value: str) -> datetime:
        """Parse a time not seen yet; raises ValueError saying what is wrong with it."""
        start = _start(value)
        if len(self) >= CACHE_LIMIT:
            self.clear()
        self[value] = start
        return start


class _Heap:
    """Everything read so far: New York date -> symbol -> bars."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self.days: dict[date, _Day] = {}
        self.prices = _Prices()
        self.starts = _Starts()

    def read(self, number: int, path: Path) -> None:
        """Add every row of a file; raises BarsError at the first that is at fault."""
        pick, rows = _rows(path)
        # A New York date begins on a whole UTC hour, so the text's first 13 characters tell it.
        by_hour: dict[str, _Day] = {}
        prices, starts = self.prices, self.starts
        row = 0
        for row, fields in rows:
            try:
                symbol, stamp, first, high, low, last, volume = pick(fields)
                start = starts[stamp]
                opened, top, bottom, closed = prices[first], prices[high], prices[low], prices[last]
                shares = int(volume) if volume.isdecimal() else _volume(volume)
            except (ValueError, IndexError):
                raise self._fault(path, row, pick, fields) from None
            if not bottom <= opened <= top or not bottom <= closed <= top:
                raise BarsError(f"{path}: row {row}, {_disorder(opened, top, bottom, closed)}")
            day = by_hour.get(stamp[:13])
            if day is None:
                day = by_hour[stamp[:13]] = self.days.setdefault(new_york_day(start), {})
            series = day.get(symbol)
            if series is None:
                if _SYMBOL.fullmatch(symbol) is None:
                    raise BarsError(f"{path}: row {row}, column symbol: {_symbol_fault(symbol)}")
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

    def _fault(self, path: Path, row: int, pick: Any, fields: Sequence[str]) -> BarsError:
        """Return the error of a row that could not be read: its first faulty column's."""
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
                    _start(value)
                elif column == "volume":
                    _volume(value)
                elif column != "symbol":
                    self.prices[value]
            except ValueError as fault:
                return BarsError(f"{path}: row {row}, column {column}: {fault}")
        raise AssertionError(f"{path}: row {row} was refused, and is right")


def _rows(path: Path) -> tuple[Any, Iterator[tuple[int, Sequence[str]]]]:
    """Return a getter of the seven columns and the numbered rows; raises BarsError."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_PARQUET_MAGIC))
    except FileNotFoundError:
        raise BarsError(f"{path}: no such file") from None
    except OSError as fault:
        raise BarsError(f"{path}: cannot be read: {fault.strerror or fault}") from None
    if not head:
        raise BarsError(f"{path}: row 1: the file is empty; expected {','.join(COLUMNS)}")
    if head == _PARQUET_MAGIC or path.suffix.lower() in {".parquet", ".pq"}:
        return itemgetter(*range(len(COLUMNS))), _parquet_rows(path)
    rows = _csv_rows(path)
    number, header = next(rows, (1, []))
    _check_header(path, f"row {number}, ", header)
    return itemgetter(*(header.index(column) for column in COLUMNS)), _of_width(path, header, rows)


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, numbered from 1; raises BarsError where unreadable."""
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row, fields in enumerate(csv.reader(file, strict=True), start=1):
                if fields:
                    yield row, fields
    except UnicodeDecodeError:
        raise BarsError(f"{path}: row {_undecodable(path)}: not UTF-8 text") from None
    except csv.Error as fault:
        raise BarsError(f"{path}: row {row + 1}: not CSV: {fault}") from None
    except OSError as fault:
        raise BarsError(f"{path}: cannot be read: {fault.strerror or fault}") from None


def _of_width(
    path: Path, header: Sequence[str], rows: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows; one with more or fewer fields than the header is a fault."""
    width = len(header)
    for row, fields in rows:
        if len(fields) < width:
            raise BarsError(
                f"{path}: row {row}, column {header[len(fields)]}: missing, the row has "
                f"{len(fields)} of {width} fields"
            )
        if len(fields) > width:
            raise BarsError(
                f"{path}: row {row}, column {width + 1}: {_shown(fields[width])} is one field "
                f"more than the header has"
            )
        yield row, fields


def _parquet_rows(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the rows as text, so that they go through the same checks as a CSV's."""
    try:
        import pyarrow as pa  # large, and CSV needs none of it
        import pyarrow.parquet as pq
    except ImportError:
        raise BarsError(f"{path}: reading Parquet needs pyarrow: pip install pyarrow") from None
    row = 0
    try:
        with pq.ParquetFile(path) as file:
            _check_header(path, "", file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=list(COLUMNS)):
                columns = [_as_text(path, row, name, batch.column(name)) for name in COLUMNS]
                for fields in zip(*columns, strict=True):
                    row += 1
                    yield row, fields
    except (pa.ArrowException, OSError) as fault:
        line = " ".join(str(fault).split())[:200]
        raise BarsError(f"{path}: row {row + 1}: not readable as Parquet: {line}") from None
    if row == 0:
        raise BarsError(f"{path}: row 1, column symbol: no rows, only a schema")


def _as_text(path: Path, row: int, name: str, column: Any) -> list[str]:
    """Return a Parquet column as text, a float as its shortest; null is "". Raises BarsError."""
    import pyarrow as pa

    suffix = ""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        if kind.tz not in _UTC_ZONES:
            raise BarsError(f"{path}: row {row + 1}, column {name}: in {kind.tz}, not in UTC")
        column = column.cast(pa.timestamp(kind.unit))
        suffix = "Z"
    try:
        texts: list[str | None] = column.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        why = f"{kind} is not a type that can be read here"
        raise BarsError(f"{path}: row {row + 1}, column {name}: {why}") from None
    return ["" if value is None else value + suffix for value in texts]


def _check_header(path: Path, place: str, header: Sequence[str]) -> None:
    for column in COLUMNS:
        if column not in header:
            found = _shown(",".join(header))
            raise BarsError(f"{path}: {place}column {column}: not in the header, which is {found}")
        if header.count(column) > 1:
            raise BarsError(f"{path}: {place}column {column}: twice in the header")


def _start(value: str) -> datetime:
    """Return the start that a timestamp names; raises ValueError saying what is wrong."""
    found = _STAMP.fullmatch(value)
    if found is None:
        why = f"{_shown(value)} is not an ISO 8601 time" if value else "is missing"
        raise ValueError(why)
    day, minute, seconds, fraction, offset = found.groups()
    if offset is None:
        raise ValueError(f"{value} has no offset; UTC is written {day}T{minute}:00Z")
    if offset not in _UTC_OFFSETS:
        raise ValueError(f"{value} is local time; write it in UTC, ending in Z")
    if (seconds or "00") != "00" or (fraction or "0").strip("0"):
        raise ValueError(f"{value} is off the whole minute")
    try:
        start = datetime.fromisoformat(f"{day}T{minute}:00").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{value} is no date and time") from None
    if not FIRST_YEAR <= start.year <= LAST_YEAR:
        raise ValueError(f"{value} is not within {FIRST_YEAR} to {LAST_YEAR}")
    return start


def _volume(value: str) -> int:
    """Return whole shares, zero included; raises ValueError saying what is wrong."""
    found = _WHOLE.fullmatch(value)
    if found is None:
        why = f"{_shown(value)} is no whole number of shares" if value else "is missing"
        raise ValueError(why)
    return int(found[1])


def _symbol_fault(symbol: str) -> str:
    if symbol == "":
        return "is missing"
    return f"{_shown(symbol)} is no symbol: capitals, digits and dots, at most 10"


def _disorder(opened: Money, top: Money, bottom: Money, closed: Money) -> str:
    """Return which column breaks low <= open, close <= high, and how."""
    if top < bottom:
        return f"column high: {text(top)} is below the low {text(bottom)}"
    for column, price in (("open", opened), ("close", closed)):
        if price > top:
            return f"column {column}: {text(price)} is above the high {text(top)}"
        if price < bottom:
            return f"column {column}: {text(price)} is below the low {text(bottom)}"
    raise AssertionError("the prices are in order")


def _shown(value: str) -> str:
    """Return a faulty value on one line, cut to a length that can be read."""
    return repr(value if len(value) <= SHOWN else value[:SHOWN] + "…")


def _names(paths: Sequence[Path]) -> str:
    names = [path.name for path in paths]
    if len(names) <= 3:
        return ", ".join(names)
    return f"{names[0]} … {names[-1]} ({len(names)} files)"


def _undecodable(path: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    with path.open("rb") as file:
        for row, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return row
    return 1


@contextmanager
def _uncollected() -> Iterator[None]:
    """Suspend the cycle collector: millions of bars hold no cycles, and it would walk them all."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
