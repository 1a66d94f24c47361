"""The made-up market: the same for a seed everywhere, realistic, and called synthetic."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalper.core.pricing import DOLLAR, tick_size
from scalper.core.signal import Bar
from tests.workbench.plain_loop import plain_day, read_rows
from workbench.market.bars.fields import BarsError
from workbench.market.bars.reader import read_bars
from workbench.market.bars.writer import write_bars
from workbench.market.synthetic import synthetic_market

MINUTE = timedelta(minutes=1)


def test_a_seed_gives_the_same_cents_on_every_machine_and_python(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    write_bars(synthetic_market(7), path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == (
        "2bd192c3c7db6d9159b3b301099ed02cabfc9876d7e2644938ec814c5a177089"
    )


def test_ten_liquid_symbols_trade_a_full_session_with_some_minutes_missing() -> None:
    market = synthetic_market(7)
    [day] = market.days
    assert market.symbols == tuple(f"SYN{n:02d}" for n in range(1, 11))
    assert day.session.close - day.session.open == timedelta(minutes=390)
    counts = [len(day.session_bars(symbol)) for symbol in market.symbols]
    assert all(360 <= count <= 390 for count in counts)
    assert 0 < 3900 - sum(counts) < 200
    levels = [day.session_bars(symbol)[0].open / DOLLAR for symbol in market.symbols]
    assert min(levels) < 12
    assert max(levels) > 300
    for bars in day.bars.values():
        assert bars[0].start < day.session.open
        assert bars[-1].start >= day.session.close


def mean_range(bars: Sequence[Bar]) -> float:
    return sum((bar.high - bar.low) / bar.open for bar in bars) / len(bars)


def mean_volume(bars: Sequence[Bar]) -> float:
    return sum(bar.volume for bar in bars) / len(bars)


def test_range_and_volume_are_high_after_the_open_and_before_the_close() -> None:
    market = synthetic_market(7)
    for symbol in market.symbols[1:]:
        bars = market.days[0].session_bars(symbol)
        opening, noon, closing = bars[:15], bars[150:240], bars[-15:]
        for mean in (mean_range, mean_volume):
            assert mean(opening) > 1.5 * mean(noon)
            assert mean(closing) > 1.2 * mean(noon)


def test_it_is_called_synthetic_also_when_read_again(tmp_path: Path) -> None:
    market = synthetic_market(42, symbols=3)
    assert (market.synthetic, market.source) == (True, "synthetic market, seed 42")
    path = tmp_path / "bars.csv"
    write_bars(market, path)
    assert read_bars([path]) == replace(market, source="synthetic market in bars.csv")


def test_a_symbol_does_not_depend_on_how_many_others_there_are() -> None:
    few, many = synthetic_market(1, symbols=2), synthetic_market(1, symbols=12)
    assert few.days[0].bars["SYN02"] == many.days[0].bars["SYN02"]
    assert few.days[0].bars["SYN01"] != synthetic_market(2, symbols=1).days[0].bars["SYN01"]
    # The eleventh begins the list of price levels again, with bars of its own.
    assert many.days[0].bars["SYN11"] != many.days[0].bars["SYN01"]


def test_a_half_day_is_short() -> None:
    [day] = synthetic_market(1, symbols=1, day=date(2015, 12, 24)).days
    assert day.session.close - day.session.open == timedelta(minutes=210)
    assert len(day.session_bars("SYN01")) <= 210


@pytest.mark.parametrize("symbols", [0, -1, 100])
def test_a_number_of_symbols_out_of_bounds_is_refused(symbols: int) -> None:
    with pytest.raises(BarsError, match="1 to 99 symbols"):
        synthetic_market(1, symbols=symbols)


def test_a_day_without_a_session_is_refused() -> None:
    with pytest.raises(BarsError, match="no session on Saturday 2025-09-20"):
        synthetic_market(1, day=date(2025, 9, 20))


@given(seed=st.integers())
@settings(deadline=None, max_examples=10)
def test_any_seed_gives_a_sound_market_that_a_scalper_can_trade(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    market = synthetic_market(seed, symbols=10)
    [day] = market.days
    for bars in day.bars.values():
        for before, bar in zip((None, *bars), bars, strict=False):
            assert before is None or before.start < bar.start
            assert 0 < bar.low <= min(bar.open, bar.close)
            assert max(bar.open, bar.close) <= bar.high
            assert all(price % tick_size(price) == 0 for price in (bar.open, bar.high, bar.low))
            assert bar.volume > 0
    path = tmp_path_factory.mktemp("bars") / "bars.csv"
    write_bars(market, path)
    trades, _ = plain_day(read_rows(path), day.session.open, day.session.close)
    assert len(trades) >= 40
    # A long hold can make one symbol quiet, but hardly any stays without an entry.
    assert len({trade[0] for trade in trades}) >= 8
