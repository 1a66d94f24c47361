"""What each kind of invocation does with all symbols.

One symbol's failure, or the broker's, never stops the others.
"""

from scalper.shell.passes.close import close_day, liquidate
from scalper.shell.passes.orders import checkup, trade_update
from scalper.shell.passes.pace import MAX_LINKS, TickDue
from scalper.shell.passes.ticks import tick

__all__ = ["MAX_LINKS", "TickDue", "checkup", "close_day", "liquidate", "tick", "trade_update"]
