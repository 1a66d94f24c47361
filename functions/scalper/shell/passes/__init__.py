"""What each kind of invocation does with all symbols.

One symbol's failure, or the broker's, never stops the others.
"""

from scalper.shell.passes.close import close_day, liquidate
from scalper.shell.passes.orders import checkup, trade_update
from scalper.shell.passes.ticks import TickDue, tick

__all__ = ["TickDue", "checkup", "close_day", "liquidate", "tick", "trade_update"]
