"""Money is exact: reading, the tick grid, lots and targets."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.pricing import (
    CENT,
    DOLLAR,
    MAX_MONEY,
    money,
    notional,
    pnl_text,
    price_text,
    round_down,
    round_up,
    shares,
    target,
    text,
    tick_size,
)

PRICES = st.integers(1, 10**9)
AMOUNTS = st.integers(-MAX_MONEY, MAX_MONEY)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("2000", 2000_0000),
        (2000, 2000_0000),
        (Decimal("100.01"), 100_0100),
        (0.1, 1000),  # a float stands for its shortest text
        (0.1 + 0.2, 3000),
        (" 1.5 ", 1_5000),
        ("0.00005", 0),  # halves to even
        ("0.00015", 2),
        ("-0.00005", 0),
        ("-3.25", -3_2500),
        ("1e2", 100_0000),
        ("1e-9999999", 0),
        ("100000000000", MAX_MONEY),
    ],
)
def test_money_reads_dollars_onto_the_grid(given_: str | int | float | Decimal, expected) -> None:
    assert money(given_) == expected


@pytest.mark.parametrize(
    "broken",
    [
        *("", "abc", "1,5", "$5", "1 2", True),
        *("nan", "sNaN", "inf", float("nan"), float("-inf"), Decimal("Infinity")),
        *("100000000000.0001", "1e12", "-1e12", "1e9999999"),
    ],
)
def test_money_refuses_what_is_no_amount(broken: str | float) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        money(broken)


@given(amount=AMOUNTS)
def test_money_and_its_text_round_trip(amount: int) -> None:
    assert money(text(amount)) == amount


@pytest.mark.parametrize(
    ("amount", "shown"), [(0, "0.0000"), (-1, "-0.0001"), (12_3400, "12.3400")]
)
def test_text_has_four_decimals(amount: int, shown: str) -> None:
    assert text(amount) == shown


@given(price=PRICES)
def test_price_text_reads_back_and_has_two_decimals_from_a_dollar_on(price: int) -> None:
    limit = round_down(price)
    assert money(price_text(limit)) == limit
    assert len(price_text(limit).partition(".")[2]) == 2 or limit < DOLLAR


@pytest.mark.parametrize(("price", "step"), [(1, 1), (9_999, 1), (10_000, CENT), (50_0000, CENT)])
def test_tick_is_a_cent_from_one_dollar_on(price: int, step: int) -> None:
    assert tick_size(price) == step


@given(price=PRICES)
def test_rounding_stays_within_a_tick_on_its_side(price: int) -> None:
    down, up = round_down(price), round_up(price)
    assert down <= price <= up
    assert up - down in (0, tick_size(price))
    for rounded in (down, up):
        assert rounded % tick_size(rounded) == 0
        assert round_down(rounded) == rounded == round_up(rounded)


@pytest.mark.fault("30")
@pytest.mark.parametrize(
    ("price", "down", "up"),
    [
        ("100.0099", "100.00", "100.01"),
        ("1.0001", "1.00", "1.01"),
        ("1.00", "1.00", "1.00"),
        ("0.9999", "0.9999", "0.9999"),
    ],
)
def test_buys_round_down_and_sells_up(price: str, down: str, up: str) -> None:
    assert round_down(money(price)) == money(down)
    assert round_up(money(price)) == money(up)


@pytest.mark.fault("35")
@given(lot=PRICES, limit=PRICES)
def test_shares_are_as_many_as_the_lot_buys(lot: int, limit: int) -> None:
    qty = shares(lot, limit)
    assert qty * limit <= lot < (qty + 1) * limit


@pytest.mark.parametrize(
    ("entry", "last", "limit"),
    [
        ("100.00", "100.00", "100.01"),
        ("100.00", "99.00", "100.01"),
        ("100.00", "100.0001", "100.01"),
        ("100.00", "100.0101", "100.02"),
        ("100.0050", "100.00", "100.02"),
        ("0.5000", "0.5000", "0.5100"),
        ("0.5000", "0.5123", "0.5123"),
        ("0.9950", "0.9950", "1.01"),  # the tick is that of the sum
    ],
)
def test_target_is_a_cent_above_the_entry_or_the_last_trade(entry, last, limit) -> None:
    assert target(money(entry), money(last)) == money(limit)


@given(
    qty=st.integers(0, 10**6),
    price=st.decimals(min_value="0.0001", max_value="9999", places=9),
)
def test_notional_is_rounded_once_at_the_end(qty: int, price: Decimal) -> None:
    exact = qty * Fraction(price) * DOLLAR
    assert abs(notional(qty, price) - exact) <= Fraction(1, 2)


def test_notional_of_an_average_with_many_decimals_is_not_off_by_the_quantity() -> None:
    assert notional(3, "33.333333333") == money("100.0000")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(12_345_000, "+$1,234.50"), (-400, "-$0.04"), (0, "+$0.00"), (-198_000, "-$19.80")],
)
def test_a_profit_for_people_has_its_sign_thousands_and_cents(amount: int, expected: str) -> None:
    assert pnl_text(amount) == expected
