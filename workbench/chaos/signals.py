"""A signal that enters often, so that a chaos day has many orders."""

from collections.abc import Sequence

from scalper.core.signal import Bar


def price_fell(bars: Sequence[Bar], /) -> bool:
    """Return whether the price fell."""
    return len(bars) > 1 and bars[-1].close < bars[-2].close
