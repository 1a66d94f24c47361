"""The crossover in exact integers; as a property it is I6 of test_invariants.py."""

import pytest

from scalper.core.signal import NEEDED, Bar, crossover
from tests.core.build import at


def bars(closes: list[int]) -> list[Bar]:
    return [Bar(at("10:00"), close, close, close, close, 0) for close in closes]


BELOW_THEN_ABOVE = [100] * 19 + [99, 102]


def test_close_that_rises_above_its_average_from_below_its_own_is_a_signal() -> None:
    assert crossover(bars(BELOW_THEN_ABOVE))


@pytest.mark.fault("41")
def test_signal_needs_21_bars() -> None:
    assert NEEDED == 21
    assert not crossover(bars(BELOW_THEN_ABOVE[1:]))
    assert not crossover(bars([100] * 18 + [1, 200])), "a dip and a rise, in 20 bars"
    assert not crossover(bars([]))


def test_bars_before_the_last_21_do_not_matter() -> None:
    assert crossover(bars([1, 10**9, *BELOW_THEN_ABOVE]))


@pytest.mark.parametrize(
    ("closes", "what"),
    [
        ([100] * 20 + [101], "the close before equals its average"),
        ([100] * 19 + [99, 99], "the newest stays below its average"),
        ([100] * 19 + [81, 99], "the newest equals its average: 20 * 99 = 18 * 100 + 81 + 99"),
        ([100] * 19 + [101, 103], "the close before lies above its average"),
        ([100] * 21, "nothing moves"),
    ],
)
def test_tie_or_no_crossing_is_no_signal(closes: list[int], what: str) -> None:
    assert not crossover(bars(closes)), what


def test_the_least_rise_above_a_tie_is_a_signal() -> None:
    closes = [100] * 19 + [81, 99]
    assert 20 * closes[-1] == sum(closes[-20:])
    assert crossover(bars([*closes[:-1], 100]))


def test_the_first_bar_of_the_21_counts_for_the_average_before_alone() -> None:
    rest = [100] * 18 + [100, 101]
    assert crossover(bars([101, *rest]))
    assert not crossover(bars([100, *rest]))
