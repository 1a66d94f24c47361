"""Bars files: read exactly, or refused in one line that names file, row and column."""

import csv
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalper.core.signal import Bar
from workbench.market.bars.fields import COLUMNS, BarsError
from workbench.market.bars.reader import read_bars
from workbench.market.bars.writer import write_bars
from workbench.market.model import Market, MarketDay, sessions_between

HEADER = ",".join(COLUMNS)
GOOD = "SPY,2013-10-04T13:30:00Z,168.1,168.3,168,168.2,1000"
LATER = "SPY,2013-10-04T13:31:00Z,168.2,168.2,168.1,168.1,500"
FRIDAY = date(2013, 10, 4)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def bars_file(folder: Path, *rows: str, header: str = HEADER, name: str = "bars.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def refusal(*paths: Path) -> str:
    with pytest.raises(BarsError) as caught:
        read_bars(paths)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_reads_prices_exactly_and_keeps_bars_out_of_hours(tmp_path: Path) -> None:
    early = "SPY,2013-10-04T08:06:00Z,167.65,167.65,167.65,167.65,20000"
    market = read_bars([bars_file(tmp_path, early, GOOD)])
    [day] = market.days
    assert day.session == sessions_between(FRIDAY, FRIDAY)[FRIDAY]
    assert dict(day.bars) == {
        "SPY": (
            Bar(at("2013-10-04T08:06Z"), 1676500, 1676500, 1676500, 1676500, 20000),
            Bar(at("2013-10-04T13:30Z"), 1681000, 1683000, 1680000, 1682000, 1000),
        )
    }
    assert day.session_bars("SPY") == day.bars["SPY"][1:]
    assert (market.symbols, market.bar_count) == (("SPY",), 1)
    assert (market.synthetic, market.source, market.refused) == (False, "bars.csv", ())


def test_unsorted_rows_and_several_files_are_one_sorted_market(tmp_path: Path) -> None:
    monday = "IBM,2013-10-07T14:00:00Z,181,182,180,181,10"
    two = bars_file(tmp_path, monday, name="two.csv")
    one = bars_file(tmp_path, LATER, GOOD, GOOD.replace("SPY", "AIG"), name="one.csv")
    market = read_bars([two, one])
    assert [day.session.day for day in market.days] == [FRIDAY, date(2013, 10, 7)]
    assert list(market.days[0].bars) == ["AIG", "SPY"]
    assert [bar.start.minute for bar in market.days[0].bars["SPY"]] == [30, 31]
    assert market.source == "two.csv, one.csv"


def test_columns_may_come_in_any_order_and_others_are_ignored(tmp_path: Path) -> None:
    header = "vwap,volume,close,low,high,open,timestamp,symbol"
    row = "168.15,1000,168.2,168,168.3,168.1,2013-10-04T13:30:00Z,SPY"
    shuffled = read_bars([bars_file(tmp_path, row, header=header)])
    assert shuffled == read_bars([bars_file(tmp_path, GOOD)])


@pytest.mark.parametrize(
    "stamp",
    ["2013-10-04T13:30:00+00:00", "2013-10-04 13:30:00Z", "2013-10-04T13:30Z",
     "2013-10-04T13:30:00.000000000Z", "2013-10-04T13:30:00+0000"],
)  # fmt: skip
def test_ways_of_writing_utc_are_the_same_minute(tmp_path: Path, stamp: str) -> None:
    row = GOOD.replace("2013-10-04T13:30:00Z", stamp)
    assert read_bars([bars_file(tmp_path, row)]) == read_bars([bars_file(tmp_path, GOOD)])


def test_blank_lines_a_byte_order_mark_and_windows_line_ends_are_forgiven(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_bytes(f"\ufeff{HEADER}\r\n\r\n{GOOD}\r\n\r\n".encode())
    assert read_bars([path]) == read_bars([bars_file(tmp_path, GOOD)])


def test_prices_are_rounded_to_the_grid_halves_to_even(tmp_path: Path) -> None:
    row = "F,2013-10-04T13:30:00Z,1.00005,1.00015,1e0,1.00005,0"
    [bar] = read_bars([bars_file(tmp_path, row)]).days[0].bars["F"]
    assert (bar.open, bar.high, bar.low, bar.close) == (10000, 10002, 10000, 10000)


def test_half_days_end_at_13_and_sessions_follow_daylight_saving() -> None:
    sessions = sessions_between(date(2015, 10, 30), date(2015, 12, 24))
    assert sessions[date(2015, 10, 30)].open == at("2015-10-30T13:30Z")
    assert sessions[date(2015, 11, 2)].open == at("2015-11-02T14:30Z")
    assert sessions[date(2015, 12, 24)].close == at("2015-12-24T18:00Z")
    assert date(2015, 11, 26) not in sessions


def test_a_bar_late_in_the_utc_evening_belongs_to_the_new_york_day_before(tmp_path: Path) -> None:
    monday, late, tuesday = (
        f"SPY,2013-10-{time}Z,168,168,168,168,100"
        for time in ("07T19:59:00", "08T00:10:00", "08T13:30:00")
    )
    market = read_bars([bars_file(tmp_path, monday, late, tuesday)])
    assert [(day.session.day.day, len(day.bars["SPY"])) for day in market.days] == [(7, 2), (8, 1)]
    assert market.refused == ()


def test_rows_of_a_day_without_a_session_are_refused_and_counted(tmp_path: Path) -> None:
    sunday = GOOD.replace("10-04", "10-06")
    night = GOOD.replace("10-04T13:30", "10-07T09:00")
    path = bars_file(tmp_path, night, GOOD, sunday)
    market = read_bars([path])
    assert [day.session.day for day in market.days] == [FRIDAY]
    assert market.refused == (
        f"{path}: row 2, column timestamp: no bar of 2013-10-07 lies in the session's hours",
        f"{path}: row 4, column timestamp: no session on Sunday 2013-10-06 in New York",
    )


def test_nothing_but_days_without_a_session_ends_the_run(tmp_path: Path) -> None:
    line = refusal(bars_file(tmp_path, GOOD.replace("10-04", "10-06")))
    assert "row 2, column timestamp: no session on Sunday" in line


FAULTS = {
    "symbol in small letters": ("symbol", "spy", "'spy' is no symbol"),
    "symbol with a blank": ("symbol", "SPY ", "'SPY ' is no symbol"),
    "symbol too long": ("symbol", "S" * 300, "is no symbol"),
    "no symbol": ("symbol", "", "is missing"),
    "naive time": ("timestamp", "2013-10-04T13:31:00", "has no offset"),
    "local time": ("timestamp", "2013-10-04T09:31:00-04:00", "is local time"),
    "no time": ("timestamp", "", "is missing"),
    "time off the minute": ("timestamp", "2013-10-04T13:31:30Z", "off the whole minute"),
    "time off by a nanosecond": ("timestamp", "2013-10-04T13:31:00.000000001Z", "off the whole"),
    "epoch seconds": ("timestamp", "1380893460", "not an ISO 8601 time"),
    "date alone": ("timestamp", "2013-10-04", "not an ISO 8601 time"),
    "February 30": ("timestamp", "2013-02-30T13:31:00Z", "no date and time"),
    "week date": ("timestamp", "2013-W40-5T13:31:00Z", "not an ISO 8601 time"),
    "year 1": ("timestamp", "0001-01-01T13:31:00Z", "is not within"),
    "year 9999": ("timestamp", "9999-01-01T13:31:00Z", "is not within"),
    "NaN": ("open", "NaN", "'NaN' is not a price"),
    "infinity": ("high", "inf", "'inf' is not a price"),
    "word": ("low", "abc", "'abc' is not a price"),
    "digits with an underscore": ("close", "16_8", "'16_8' is not a price"),
    "decimal comma": ("close", '"168,2"', "'168,2' is not a price"),
    "no price": ("close", "", "is missing"),
    "negative": ("low", "-1", "not above zero"),
    "zero": ("low", "0", "not above zero"),
    "zero on the grid": ("low", "0.00004", "not above zero"),
    "too much": ("high", "1e300", "out of range"),
    "no volume": ("volume", "", "is missing"),
    "negative volume": ("volume", "-5", "no whole number"),
    "part of a share": ("volume", "1.5", "no whole number"),
    "volume NaN": ("volume", "NaN", "no whole number"),
    "high below low": ("high", "167.9", "167.9000 is below the low 168.0000"),
    "open above high": ("open", "168.4", "168.4000 is above the high 168.3000"),
    "open below low": ("open", "167.5", "167.5000 is below the low 168.0000"),
    "close above high": ("close", "168.31", "168.3100 is above the high"),
    "close below low": ("close", "167.99", "167.9900 is below the low"),
}


@pytest.mark.parametrize(("column", "value", "why"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_value_is_named_by_file_row_and_column(
    tmp_path: Path, column: str, value: str, why: str
) -> None:
    fields = GOOD.replace("13:30", "13:31").split(",")
    fields[COLUMNS.index(column)] = value
    path = bars_file(tmp_path, GOOD, ",".join(fields))
    line = refusal(path)
    assert line.startswith(f"{path}: row 3, column {column}: ")
    assert why in line
    assert len(line) < len(str(path)) + 160


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    header = ",".join(name for name in COLUMNS if name != column)
    path = bars_file(tmp_path, GOOD, header=header)
    assert f"{path}: row 1, column {column}: not in the header" in refusal(path)


def test_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    path = bars_file(tmp_path, f"{GOOD},168", header=f"{HEADER},close")
    assert refusal(path) == f"{path}: row 1, column close: twice in the header"


def test_rows_with_too_few_or_too_many_fields_are_named(tmp_path: Path) -> None:
    path = bars_file(tmp_path, GOOD, "SPY,2013-10-04T13:31:00Z,168")
    assert f"{path}: row 3, column high: missing, the row has 3 of 7" in refusal(path)
    path = bars_file(tmp_path, GOOD, f"{LATER},9")
    assert f"{path}: row 3, column 8: '9' is one field more" in refusal(path)


def test_a_minute_given_twice_names_both_rows(tmp_path: Path) -> None:
    path = bars_file(tmp_path, LATER, GOOD, LATER)
    assert refusal(path) == (
        f"{path}: row 4, column timestamp: a second bar of SPY at 2013-10-04T13:31Z, "
        "the first is in row 2"
    )
    again = bars_file(tmp_path, GOOD, name="again.csv")
    assert f"{again}: row 2, column timestamp: a second bar" in refusal(
        bars_file(tmp_path, GOOD), again
    )


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.csv"
    assert refusal(missing) == f"{missing}: no such file"
    assert f"{tmp_path}: cannot be read: " in refusal(tmp_path)
    empty = tmp_path / "empty.csv"
    empty.touch()
    assert f"{empty}: row 1: the file is empty" in refusal(empty)
    alone = bars_file(tmp_path)
    assert f"{alone}: row 2, column symbol: no rows" in refusal(alone)
    blank = tmp_path / "blank.csv"
    blank.write_text("\n\n")
    assert f"{blank}: row 1, column symbol: not in the header" in refusal(blank)
    assert refusal() == "no bars file was given"


def test_files_that_are_not_text_or_not_csv_are_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes(f"{HEADER}\n{GOOD}\nÜ,".encode("latin-1"))
    assert refusal(latin) == f"{latin}: row 3: not UTF-8 text"
    quoted = bars_file(tmp_path, GOOD, '"SPY,2013')
    assert f"{quoted}: row 3: not CSV: " in refusal(quoted)
    parquet = tmp_path / "bars.parquet"
    parquet.write_text("PAR1 and nothing more")
    assert f"{parquet}: row 1: not readable as Parquet: " in refusal(parquet)


def parquet_file(folder: Path, **columns: pa.Array) -> Path:
    good = {
        "symbol": pa.array(["SPY", "SPY"]).dictionary_encode(),
        "timestamp": pa.array(
            [at("2013-10-04T13:30Z"), at("2013-10-04T13:31Z")], pa.timestamp("ns", "UTC")
        ),
        "open": pa.array([168.1, 168.2]),
        "high": pa.array([168.3, 168.2]),
        "low": pa.array([168, 168.1]),
        "close": pa.array([168.2, 168.1]),
        "volume": pa.array([1000, 500]),
    }
    path = folder / "bars.parquet"
    pq.write_table(pa.table({**good, **columns}), path)
    return path


def test_parquet_gives_the_same_bars_as_csv(tmp_path: Path) -> None:
    from_csv = read_bars([bars_file(tmp_path, GOOD, LATER)])
    from_parquet = read_bars([parquet_file(tmp_path)])
    assert from_parquet == replace(from_csv, source="bars.parquet")


def test_parquet_floats_stand_for_their_shortest_text(tmp_path: Path) -> None:
    prices = [1234.56, 1234.5]
    for kind in (pa.float32(), pa.float64(), pa.string(), pa.decimal128(12, 4)):
        texts = pa.array([str(price) for price in prices])
        column = pa.array(prices, kind) if pa.types.is_floating(kind) else texts.cast(kind)
        path = parquet_file(tmp_path, open=column, high=column, low=column, close=column)
        bars = read_bars([path]).days[0].bars["SPY"]
        assert [bar.open for bar in bars] == [12345600, 12345000]


PARQUET_FAULTS = {
    "naive": (
        "timestamp",
        pa.array([datetime(2013, 10, 4, 13, 30), datetime(2013, 10, 4, 13, 31)]),  # noqa: DTZ001
        "row 1, column timestamp: 2013-10-04 13:30:00.000000 has no offset",
    ),
    "local": (
        "timestamp",
        pa.array([0, 60], pa.timestamp("s", "America/New_York")),
        "row 1, column timestamp: in America/New_York, not in UTC",
    ),
    "NaN": ("open", pa.array([168.1, float("nan")]), "row 2, column open: 'nan' is not a price"),
    "null": ("close", pa.array([168.1, None]), "row 2, column close: is missing"),
    "no volume": ("volume", pa.array([None, 1.0]), "row 1, column volume: is missing"),
    "list": ("low", pa.array([[1.0], [2.0]]), "row 1, column low: list<"),
    "boolean": ("low", pa.array([True, True]), "row 1, column low: 'true' is not a price"),
}


@pytest.mark.parametrize(("column", "values", "why"), PARQUET_FAULTS.values(), ids=PARQUET_FAULTS)
def test_a_wrong_value_in_parquet_is_named_too(
    tmp_path: Path, column: str, values: pa.Array, why: str
) -> None:
    path = parquet_file(tmp_path, **{column: values})
    assert refusal(path).startswith(f"{path}: {why}")


def test_parquet_without_a_column_or_rows_is_named(tmp_path: Path) -> None:
    path = parquet_file(tmp_path)
    pq.write_table(pq.read_table(path).drop_columns(["low"]), path)
    assert f"{path}: column low: not in the header" in refusal(path)
    path = parquet_file(tmp_path)
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert f"{path}: row 1, column symbol: no rows" in refusal(path)


prices = st.integers(1, 10**10)


@st.composite
def minute_bars(draw: st.DrawFn, starts: list[datetime]) -> tuple[Bar, ...]:
    chosen = draw(st.lists(st.sampled_from(starts), min_size=1, max_size=5, unique=True))
    bars = []
    for start in sorted(chosen):
        low, first, last, high = sorted(draw(st.tuples(prices, prices, prices, prices)))
        if draw(st.booleans()):
            first, last = last, first
        bars.append(Bar(start, first, high, low, last, draw(st.integers(0, 10**12))))
    return tuple(bars)


@st.composite
def markets(draw: st.DrawFn) -> Market:
    days = []
    known = sessions_between(date(2015, 12, 21), date(2015, 12, 24))
    for day in sorted(draw(st.sets(st.sampled_from(sorted(known)), min_size=1))):
        session = known[day]
        inside = [session.open + timedelta(minutes=n) for n in range(0, 210, 7)]
        around = [session.open - timedelta(minutes=5), session.close, *inside]
        symbols = draw(st.sets(st.from_regex(r"[A-Z][A-Z0-9.]{0,9}", fullmatch=True), max_size=2))
        bars = {symbol: draw(minute_bars(around)) for symbol in symbols}
        bars["SPY"] = draw(minute_bars(inside))
        days.append(MarketDay(session, dict(sorted(bars.items()))))
    return Market(tuple(days), False, "bars.csv")


@given(market=markets())
@settings(deadline=None, max_examples=60)
def test_written_bars_are_read_back_exactly(
    market: Market, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("bars") / "bars.csv"
    write_bars(market, path)
    assert read_bars([path]) == market
    assert [entry.name for entry in path.parent.iterdir()] == ["bars.csv"]


@given(
    rows=st.lists(st.lists(st.text(max_size=8), max_size=9), max_size=3),
    good=st.booleans(),
)
@settings(deadline=None)
def test_whatever_a_file_holds_it_is_a_market_or_one_line(
    rows: list[list[str]], good: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("bars") / "bars.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([*([COLUMNS] if good else []), *rows])
    assert "\n" not in refusal(path)
