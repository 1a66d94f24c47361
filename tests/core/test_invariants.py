"""I1-I6 of facts/faults.md hold whatever the broker does: random days on one that misbehaves."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from scalper.core.machine import step
from scalper.core.model import BarClosed, Reason, SubmitOrder
from scalper.core.signal import Bar, crossover
from tests.core.build import at, rules, state
from tests.core.days import Day

TestDay = Day.TestCase
TestDay.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


@given(lot=st.integers(1, 10**12), close=st.integers(1, 10**9))
def test_i2_an_entry_never_costs_more_than_the_lot(lot: int, close: int) -> None:
    signal = BarClosed(symbol="TSLA", at=at("10:00"), close=close, signal=True)
    result = step(state(), signal, rules(lot=lot))
    match result.commands:
        case ():
            assert result.reason is Reason.LOT_TOO_SMALL
            assert lot < close
        case (SubmitOrder(sent),):
            assert sent.limit is not None
            assert sent.qty * sent.limit <= lot < (sent.qty + 1) * sent.limit
            assert sent.limit <= close


@given(closes=st.lists(st.integers(9_900, 10_100), min_size=1, max_size=40))
def test_i6_a_signal_comes_by_the_exact_crossover_alone(closes: list[int]) -> None:
    bars = [Bar(at("10:00"), close, close, close, close, 0) for close in closes]
    expected = (
        len(closes) >= 21
        and closes[-2] < Fraction(sum(closes[-21:-1]), 20)
        and closes[-1] > Fraction(sum(closes[-20:]), 20)
    )
    assert crossover(bars) is expected
