"""How orders fill on a bar: each rule by a worked cell, then as properties over any bar."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.pricing import Money
from scalper.core.signal import Bar
from workbench.market.matching import (
    Side,
    buy_limit,
    market,
    market_at_close,
    match,
    sell_limit,
    works_on,
)

START = datetime(2025, 9, 17, 13, 30, tzinfo=UTC)


def bar(open_: Money = 100, high: Money = 110, low: Money = 90, close: Money = 105) -> Bar:
    return Bar(START, open_, high, low, close, 0)


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    low = draw(st.integers(1, 10**7))
    high = draw(st.integers(low, 2 * 10**7))
    inside = st.integers(low, high)
    return Bar(START, draw(inside), high, low, draw(inside), draw(st.integers(0, 10**6)))


prices = st.integers(1, 3 * 10**7)


@pytest.mark.parametrize(
    ("limit", "price"),
    [
        (89, None),  # never reached
        (90, 90),  # touched at the low
        (95, 95),  # crossed inside the bar
        (100, 100),  # at the open
        (107, 100),  # the open is better than the limit
        (200, 100),  # above everything
    ],
)
def test_buy_limit_fills_at_the_better_of_open_and_limit(limit: Money, price: Money | None):
    assert buy_limit(limit, bar()) == price
    assert match("buy", limit, bar()) == price


@pytest.mark.parametrize(
    ("limit", "price"),
    [
        (111, None),
        (110, 110),
        (105, 105),
        (100, 100),
        (93, 100),
        (1, 100),
    ],
)
def test_sell_limit_fills_at_the_better_of_open_and_limit(limit: Money, price: Money | None):
    assert sell_limit(limit, bar()) == price
    assert match("sell", limit, bar()) == price


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_market_order_fills_at_the_open(side: Side):
    assert market(bar()) == match(side, None, bar()) == 100


def test_market_order_that_met_no_bar_fills_at_the_last_close():
    assert market_at_close(bar()) == 105


@pytest.mark.parametrize(
    ("seconds", "works"), [(-60, True), (-1, True), (0, True), (1, False), (60, False)]
)
def test_order_works_on_bars_that_start_when_it_was_submitted_or_later(seconds: int, works: bool):
    assert works_on(START + timedelta(seconds=seconds), bar()) is works


def test_volume_does_not_matter():
    assert buy_limit(100, Bar(START, 100, 110, 90, 105, 0)) == buy_limit(100, bar())


@given(bars(), prices)
def test_buy_never_fills_above_its_limit_or_outside_the_bar(some: Bar, limit: Money):
    price = buy_limit(limit, some)
    if price is None:
        assert some.low > limit
    else:
        assert price <= limit
        assert some.low <= price <= some.high
        assert price <= some.open


@given(bars(), prices)
def test_sell_never_fills_below_its_limit_or_outside_the_bar(some: Bar, limit: Money):
    price = sell_limit(limit, some)
    if price is None:
        assert some.high < limit
    else:
        assert price >= limit
        assert some.low <= price <= some.high
        assert price >= some.open


@given(bars(), prices, prices)
def test_a_more_generous_limit_fills_wherever_a_stricter_one_does(
    some: Bar, one: Money, other: Money
):
    low, high = sorted((one, other))
    if buy_limit(low, some) is not None:
        assert buy_limit(high, some) is not None
    if sell_limit(high, some) is not None:
        assert sell_limit(low, some) is not None


@given(bars(), prices)
def test_buying_and_selling_mirror_each_other(some: Bar, limit: Money):
    top = 10**9
    flipped = Bar(
        START, top - some.open, top - some.low, top - some.high, top - some.close, some.volume
    )
    sold = sell_limit(top - limit, flipped)
    assert buy_limit(limit, some) == (None if sold is None else top - sold)


@given(bars(), st.sampled_from(["buy", "sell"]))
def test_market_order_always_fills_inside_the_bar(some: Bar, side: Side):
    price = match(side, None, some)
    assert price == some.open
    assert some.low <= market_at_close(some) <= some.high
