"""The fill rules: at which price an order fills on a minute bar.

Fills are whole, and volume does not matter. An order meets only bars that start when it was
submitted or later, so nothing inside a bar is guessed. Whatever fills orders on bars calls this
module. It is pure: prices are integers, ten-thousandths of a dollar.
"""

from datetime import datetime
from typing import Literal

from scalper.core.pricing import Money
from scalper.core.signal import Bar

Side = Literal["buy", "sell"]


def works_on(submitted_at: datetime, bar: Bar) -> bool:
    """Return whether an order submitted at `submitted_at` (aware UTC) meets this bar."""
    return bar.start >= submitted_at


def buy_limit(limit: Money, bar: Bar) -> Money | None:
    """Return the price a limit buy fills at: the better of open and limit; None if it does not."""
    return min(bar.open, limit) if bar.low <= limit else None


def sell_limit(limit: Money, bar: Bar) -> Money | None:
    """Return the price a limit sell fills at: the better of open and limit; None if it does not."""
    return max(bar.open, limit) if bar.high >= limit else None


def market(bar: Bar) -> Money:
    """Return the price a market order fills at on the first bar it meets: the open."""
    return bar.open


def market_at_close(last: Bar) -> Money:
    """Return the price of a market order that meets no bar: the close of the session's `last`."""
    return last.close


def match(side: Side, limit: Money | None, bar: Bar) -> Money | None:
    """Return the price at which an order fills on a bar that it works on; None if it does not.

    A `limit` of None is a market order. The caller asks `works_on` first; a loop over bars in
    order need not ask it for each bar.
    """
    if limit is None:
        return market(bar)
    return buy_limit(limit, bar) if side == "buy" else sell_limit(limit, bar)
