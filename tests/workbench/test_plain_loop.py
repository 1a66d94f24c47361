"""The plain loop itself, a rule of the replay model at a time, worked out by hand."""

import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from tests.workbench.plain_loop import (
    CancelRow,
    TradeRow,
    crosses,
    plain_day,
    plain_trades,
    read_rows,
)
from workbench.market.bars.writer import write_bars
from workbench.market.synthetic import synthetic_market

REAL_BARS = Path(__file__).parents[3] / "shared" / "bars"
OPEN = datetime.fromisoformat("2013-10-04T13:30:00Z")
CLOSE = datetime.fromisoformat("2013-10-04T20:00:00Z")
L = 385
"""Bar 384 ends at 19:55, bar 385 starts then."""

Prices = tuple[float, float, float, float]

# 19 closes of 100, one of 99 (the average is 99.95), one of 101 (the average is 100): a signal
# at the end of bar 20, which is 13:51.
FLAT: Prices = (100, 100, 100, 100)
DIP: Prices = (99, 99, 99, 99)
RISE: Prices = (101, 101, 101, 101)
SIGNAL = [FLAT] * 19 + [DIP, RISE]
AWAY: Prices = (102, 103, 101.5, 102)
"""Does not touch a buy at 101."""
DEEP: Prices = (90, 90.5, 89, 90)
"""Does not touch a sell at 101.01."""


def rows(bars: Sequence[Prices | None], symbol: str = "SPY") -> list[dict[str, str]]:
    """Return CSV rows, one for each minute from the open; None is a minute without a bar."""
    return [
        {
            "symbol": symbol,
            "timestamp": (OPEN + timedelta(minutes=n)).isoformat(),
            **dict(zip(("open", "high", "low", "close"), map(str, bar), strict=True)),
            "volume": "0",
        }
        for n, bar in enumerate(bars)
        if bar is not None
    ]


def run(
    bars: Sequence[Prices | None], lot: str = "2000"
) -> tuple[list[tuple[str, ...]], list[CancelRow]]:
    """Return trades without symbol and session, with HH:MM times, and the canceled buys."""
    trades, cancels = plain_day(rows(bars), OPEN, CLOSE, lot)
    return [(t[2], t[3][11:16], t[4], t[5][11:16], *t[6:]) for t in trades], cancels


def at_end(bar: int) -> str:
    return f"{OPEN + timedelta(minutes=bar + 1):%H:%M}"


def test_a_row_is_the_whole_row_of_the_trades_file() -> None:
    bars = [*SIGNAL, RISE, (101, 101.01, 101, 101)]
    expected: TradeRow = (
        "SPY", "2013-10-04", "19", "2013-10-04T13:52:00Z", "101.0000",
        "2013-10-04T13:53:00Z", "101.0100", "target", "0.1900",
    )  # fmt: skip
    assert plain_trades(rows(bars), OPEN, CLOSE) == [expected]


def test_buy_fills_at_its_limit_and_the_exit_a_cent_above() -> None:
    bars = [*SIGNAL, (101.5, 101.5, 100.5, 100.9), (100, 101, 100, 100), (100, 101.02, 100, 100)]
    assert run(bars)[0] == [("19", "13:52", "101.0000", "13:54", "101.0100", "target", "0.1900")]


def test_buy_fills_at_a_lower_open_and_the_exit_follows_the_entry() -> None:
    bars = [*SIGNAL, (100.5, 101, 100, 100), (100, 100.51, 100, 100)]
    assert run(bars)[0] == [("19", "13:52", "100.5000", "13:53", "100.5100", "target", "0.1900")]


def test_buy_fills_where_the_low_just_touches_and_not_a_tick_above() -> None:
    after = [(102, 103, 102, 102)] * 3
    assert len(run([*SIGNAL, (102, 103, 101, 102), *after])[0]) == 1
    assert run([*SIGNAL, (102, 103, 101.0001, 102), *after])[0] == []


def test_exit_does_not_fill_inside_the_bar_of_the_entry() -> None:
    bars = [*SIGNAL, (101, 105, 100, 101), DEEP, (90, 101.01, 90, 90)]
    assert run(bars)[0] == [("19", "13:52", "101.0000", "13:54", "101.0100", "target", "0.1900")]


def test_exit_fills_at_a_higher_open() -> None:
    bars = [*SIGNAL, RISE, (103, 103, 99, 99)]
    assert run(bars)[0] == [("19", "13:52", "101.0000", "13:53", "103.0000", "target", "38.0000")]


def test_buy_is_canceled_after_two_minutes_also_where_no_bar_comes() -> None:
    for between in (AWAY, None):
        trades, cancels = run([*SIGNAL, between, between, RISE, AWAY])
        assert trades == []
        assert cancels == [
            ("SPY", "19", "101.0000", "2013-10-04T13:51:00Z", "2013-10-04T13:53:00Z")
        ]


def test_fill_in_the_bar_that_ends_when_the_cancel_is_due_counts() -> None:
    trades, cancels = run([*SIGNAL, AWAY, RISE, AWAY])
    assert trades == [("19", "13:53", "101.0000", "13:54", "102.0000", "target", "19.0000")]
    assert cancels == []


def test_no_entry_at_the_minute_of_the_cancel() -> None:
    def flat(price: float) -> Prices:
        return (price, price, price, price)

    # The average stays above the rising closes because a close of 50 leaves the window: signals
    # at 13:51 (101 above 99.6) and at 13:53 (200 above 107), when the first buy is canceled.
    closes = [103, 50, *[103] * 17, 90, 101, 101.5, 200]
    bars = [flat(price) for price in closes]
    trades, cancels = run([*bars, flat(200), flat(250)])
    assert trades == []
    assert len(cancels) == 1
    exact = [Decimal(str(price)) for price in closes]
    assert [n for n in range(len(exact) + 1) if crosses(exact[:n])] == [21, 23]


def test_entry_may_follow_at_the_minute_of_the_exit() -> None:
    up: Prices = (99, 101.5, 99, 101.4)
    bars = [*SIGNAL, (101, 101, 99, 99), up, (101.4, 101.4, 101.3, 101.3), AWAY]
    assert run(bars)[0] == [
        ("19", "13:52", "101.0000", "13:53", "101.0100", "target", "0.1900"),
        ("19", "13:54", "101.4000", "13:55", "102.0000", "target", "11.4000"),
    ]


def test_a_lot_too_small_for_a_share_uses_the_signal_up() -> None:
    assert run([*SIGNAL, RISE, AWAY], lot="100.99") == ([], [])
    assert run([*SIGNAL, RISE, AWAY], lot="101")[0][0][0] == "1"


def test_twenty_bars_are_too_few_and_ties_are_no_signal() -> None:
    assert run([*SIGNAL[1:], RISE, AWAY]) == ([], [])
    assert run([*[FLAT] * 20, RISE, RISE, AWAY]) == ([], [])
    # The newest close, 100, equals its average (17*100 + 101 + 99 + 100) / 20, and then the one
    # before the newest does.
    tie = [*[FLAT] * 18, RISE, DIP, FLAT, RISE, AWAY]
    assert run(tie) == ([], [])


def test_bars_are_counted_not_minutes_and_only_those_of_the_session() -> None:
    gaps: list[Prices | None] = [*SIGNAL[:10], None, None, None, *SIGNAL[10:], RISE, AWAY]
    assert run(gaps)[0][0][1] == "13:55"
    early = [{**row, "timestamp": "2013-10-04T13:29:00Z"} for row in rows([RISE])]
    yesterday = [
        {**row, "timestamp": row["timestamp"].replace("10-04", "10-03")} for row in rows(SIGNAL)
    ]
    short = rows([*SIGNAL[1:], RISE, AWAY])
    assert plain_trades(early + yesterday + short, OPEN, CLOSE) == []


def test_liquidation_sells_at_the_next_open() -> None:
    bars = [*SIGNAL, RISE, *[DEEP] * (390 - 22)]
    bars[L] = (91.25, 92, 89, 90)
    assert run(bars)[0] == [
        ("19", "13:52", "101.0000", "19:56", "91.2500", "liquidation", "-185.2500")
    ]


def test_liquidation_waits_for_a_bar_or_takes_the_last_close_at_the_close() -> None:
    bars: list[Prices | None] = [*SIGNAL, RISE, *[DEEP] * (L - 22), None, None, (91, 91, 89, 89)]
    assert run(bars)[0][0][3:6] == ("19:58", "91.0000", "liquidation")
    bars = [*SIGNAL, RISE, *[DEEP] * 50, (90, 90, 88, 88.5)]
    assert run(bars)[0][0][3:6] == ("20:00", "88.5000", "liquidation")


def test_buy_that_fills_in_the_bar_ending_at_liquidation_is_sold_at_once() -> None:
    bars = [*[FLAT] * (L - 3), DIP, RISE, RISE, (100.5, 102, 100, 101)]
    assert at_end(L - 1) == "19:55"
    assert run(bars)[0] == [
        ("19", "19:55", "101.0000", "19:56", "100.5000", "liquidation", "-9.5000")
    ]


def test_buy_still_working_at_liquidation_is_canceled() -> None:
    trades, cancels = run([*[FLAT] * (L - 3), DIP, RISE, AWAY, RISE, RISE])
    assert trades == []
    assert [cancel[4][11:16] for cancel in cancels] == ["19:55"]


def test_exit_that_fills_in_the_bar_ending_at_liquidation_is_a_target() -> None:
    bars = [*[FLAT] * (L - 4), DIP, RISE, RISE, (100, 101.01, 100, 100), DEEP]
    assert run(bars)[0] == [("19", "19:54", "101.0000", "19:55", "101.0100", "target", "0.1900")]


def test_nothing_is_entered_from_liquidation_on() -> None:
    assert run([*[FLAT] * (L - 2), DIP, RISE, RISE, AWAY]) == ([], [])
    assert run([*[FLAT] * (L - 1), DIP, RISE, RISE, AWAY]) == ([], [])


def test_half_day_is_liquidated_five_minutes_before_its_own_close() -> None:
    bars = [*SIGNAL, RISE, *[DEEP] * 368]
    [trade] = plain_trades(rows(bars), OPEN, OPEN + timedelta(minutes=210))
    assert trade[5:8] == ("2013-10-04T16:56:00Z", "90.0000", "liquidation")


def test_prices_are_rounded_to_the_tick_down_for_buys_and_up_for_sells() -> None:
    risen: Prices = (101, 101.24, 101, 101.2399)
    bars = [*SIGNAL[:20], risen, (101.2399, 101.3, 101.23, 101.23), (101.23, 102, 101, 101.23)]
    assert run(bars)[0][0][2:5] == ("101.2300", "13:53", "101.2400")
    bars = [*SIGNAL, (100.12345, 101, 100, 100), (100, 102, 100, 100)]
    # 100.12345 is 100.1234 on the grid (halves to even); a cent more is 100.1334, and 100.14.
    assert run(bars)[0][0][2:5] == ("100.1234", "13:53", "100.1400")


def test_below_a_dollar_the_tick_is_a_hundredth_of_a_cent() -> None:
    def scaled(price: float) -> Prices:
        return (price, price, price, price)

    start = [scaled(0.99)] * 19 + [scaled(0.98), scaled(0.9955)]
    # The sum 1.0055 is above a dollar: its tick is a cent.
    bars = [*start, scaled(0.9955), (0.99, 1.02, 0.99, 0.99)]
    assert run(bars)[0][0][:5] == ("2009", "13:52", "0.9955", "13:53", "1.0100")
    start = [scaled(0.5)] * 19 + [scaled(0.49), scaled(0.5123)]
    bars = [*start, scaled(0.5123), (0.5, 0.6, 0.5, 0.5)]
    assert run(bars)[0][0][:5] == ("3903", "13:52", "0.5123", "13:53", "0.5223")


def test_symbols_do_not_affect_each_other() -> None:
    bars = [*SIGNAL, RISE, AWAY]
    both = plain_trades(rows(bars, "SPY") + rows(bars, "AIG"), OPEN, CLOSE)
    assert [trade[0] for trade in both] == ["AIG", "SPY"]
    assert both[0][1:] == both[1][1:]


DAYS = {
    "2013-10-04": ("13:30", "20:00"),
    "2013-10-07": ("13:30", "20:00"),
    "2014-06-06": ("13:30", "20:00"),
    "2014-06-09": ("13:30", "20:00"),
    "2015-12-23": ("14:30", "21:00"),
    "2015-12-24": ("14:30", "18:00"),
}


@pytest.mark.skipif(not REAL_BARS.is_dir(), reason="the real minute bars may not be copied here")
@pytest.mark.parametrize("day", DAYS)
def test_real_days_give_plausible_trades(day: str, capsys: pytest.CaptureFixture[str]) -> None:
    opens, closes = (datetime.fromisoformat(f"{day}T{time}Z") for time in DAYS[day])
    bars = read_rows(REAL_BARS / f"{day}.csv")
    trades, cancels = plain_day(bars, opens, closes)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{day}: {len(trades)} trades {dict(Counter(trade[7] for trade in trades))},"
            f" {len(cancels)} buys canceled, ${sum(Decimal(trade[8]) for trade in trades)} "
        )
    assert_plausible(trades, day, opens, closes, {"SPY", "IBM", "BAC", "AIG", "AAPL", "GOOG"})


@pytest.mark.parametrize("seed", range(1, 7))
@pytest.mark.parametrize(
    ("day", "close"), [(date(2024, 11, 27), "21:00"), (date(2024, 11, 29), "18:00")], ids=str
)
def test_synthetic_days_give_plausible_trades(
    seed: int, day: date, close: str, tmp_path: Path
) -> None:
    market = synthetic_market(seed, 4, day)
    write_bars(market, tmp_path / "bars.csv")
    opens, closes = (datetime.fromisoformat(f"{day}T{time}Z") for time in ("14:30", close))
    trades, _ = plain_day(read_rows(tmp_path / "bars.csv"), opens, closes)
    assert_plausible(trades, str(day), opens, closes, set(market.symbols))


def assert_plausible(
    trades: Sequence[TradeRow], day: str, opens: datetime, closes: datetime, symbols: set[str]
) -> None:
    assert trades
    for symbol, session, qty, bought_at, bought, sold_at, sold, reason, pnl in trades:
        assert session == day
        start, end = datetime.fromisoformat(bought_at), datetime.fromisoformat(sold_at)
        assert opens + timedelta(minutes=22) <= start < end <= closes
        assert start <= closes - timedelta(minutes=5)
        # Bought at the limit or below: 2000 dollars are never exceeded.
        assert 0 < int(qty) * Decimal(bought) <= 2000
        assert Decimal(pnl) == int(qty) * (Decimal(sold) - Decimal(bought))
        if reason == "target":
            assert Decimal(sold) >= Decimal(bought) + Decimal("0.01")
            assert end <= closes - timedelta(minutes=5)
        else:
            assert reason == "liquidation"
            assert end > closes - timedelta(minutes=5)
        assert symbol in symbols
    # One position at a time: an entry is never before the exit that came before it.
    for before, after in pairwise(trades):
        assert before[0] != after[0] or before[5] < after[3]
