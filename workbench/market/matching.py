"""A working order fills on a minute bar by these rules and no others, to the ten-thousandth.

The rules are those of the replay model: fills are whole, volume is not looked at, and an order
works on bars that start when it was submitted or later, so that nothing inside a bar is guessed.
The exchange, the replay and the sweep all fill through this module, hence agree. It is pure:
integers in, integers out.
"""

from datetime import datetime
from typing import Literal

from scalper.core.pricing import Money
from scalper.core.signal import Bar

Side = Literal["buy", "sell"]


def works_on(submitted_at: datetime, bar: Bar) -> bool:
    """Return whether an order submitted at `submitted_at` (aware UTC) meets this bar at all."""
    return bar.start >= submitted_at


def buy_limit(limit: Money, bar: Bar) -> Money | None:
    """Return the price a limit buy fills at: the better of open and limit; None if not reached."""
    return min(bar.open, limit) if bar.low <= limit else None


def sell_limit(limit: Money, bar: Bar) -> Money | None:
    """Return the price a limit sell fills at: the better of open and limit; None if not reached."""
    return max(bar.open, limit) if bar.high >= limit else None


def market(bar: Bar) -> Money:
    """Return the price a market order fills at on the first bar it meets: the open."""
    return bar.open


def market_at_close(last: Bar) -> Money:
    """Return the price of a market order that met no bar: the session's `last` close."""
    return last.close


def match(side: Side, limit: Money | None, bar: Bar) -> Money | None:
    """Return the price at which an order fills on a bar that it works on; None if it does not.

    A `limit` of None is a market order. Whether the order works on the bar is the caller's
    question (`works_on`): a loop that hands over bars in order need not ask it each time.
    """
    if limit is None:
        return market(bar)
    return buy_limit(limit, bar) if side == "buy" else sell_limit(limit, bar)
