"""The audit of entries: each buy is compared with what was known when it was decided."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scalper.core.model import SymbolState
from scalper.core.order import Order
from scalper.core.pricing import Money, round_down
from scalper.core.session import MINUTE, Session
from scalper.shell.ports import Stored
from workbench.simulation.checks import Checks
from workbench.simulation.market import SimulatedMarket
from workbench.simulation.scheduler import Invocation, Scheduler
from workbench.simulation.table import Items, SimulatedSymbols
from workbench.simulation.venue import POSITION_LAG_S

LATEST_START = timedelta(seconds=50)
"""A tick that starts 45 s late enters nothing. Its clock may be off by five more seconds."""

LATEST_SEND = timedelta(seconds=240)
"""A buy is repeated for one minute. Its tick may start late and last for almost two more."""

POSITION_LAG = timedelta(seconds=POSITION_LAG_S)
"""External shares may be invisible for so long after they were bought."""


@dataclass(slots=True, eq=False)
class EntryAudit:
    """Audits the buys of one day."""

    scheduler: Scheduler
    session: Session
    symbols: SimulatedSymbols
    items: Items
    market: SimulatedMarket
    checks: Checks
    _made: set[tuple[str, datetime]] = field(default_factory=set)
    """Symbol and minute of each buy."""

    def began(self, invocation: Invocation) -> None:
        """Take note of what forbids entries when an invocation begins."""
        symbols = self.market.closes
        invocation.forbidden = {symbol: why for symbol in symbols if (why := self._forbids(symbol))}

    def objection(
        self, old: Stored | None, order: Order, invocation: Invocation, reads: int
    ) -> str:
        """Return what is wrong with a new buy, "" if nothing is.

        `old` is what the item was before, `reads` the newest schema that the writer knows.
        """
        before = old.state if old is not None else None
        if order.submitted_at >= self.session.liquidate_at:
            return "entered after the liquidation began"
        late = self.scheduler.time(invocation.began) - order.submitted_at
        if late > LATEST_START:
            return f"entered by an invocation {late.total_seconds():.0f} s late"
        if before is not None and (why := _unfit(before, order.submitted_at)):
            return f"entered although {why}"
        if old is not None and old.schema > reads:
            return "entered over what a newer version wrote"
        symbol = before.symbol if before is not None else order.client_order_id.split("-")[2]
        if symbol in invocation.forbidden and (why := self._forbids(symbol)):
            return f"entered although {why}"
        if (symbol, order.submitted_at) in self._made:
            return "entered twice in one minute"
        self._made.add((symbol, order.submitted_at))
        if order.limit not in self._closes(symbol, order.submitted_at - MINUTE):
            return f"entered at {order.limit}, which is not the minute's close"
        return ""

    def is_stale(self, order: Order) -> bool:
        """Return whether a buy is sent too long after it was decided."""
        return self.scheduler.time() - order.submitted_at > LATEST_SEND

    def _forbids(self, symbol: str) -> str:
        """Return why a tick that begins now may not enter the symbol, "" if it may."""
        row = self.symbols.rows.get(symbol)
        if self.items.account_halt():
            return "the account is halted"
        if row is None or symbol in self.symbols.broken:
            return "it has no row that makes sense"
        if not row.enabled:
            return "its row is paused"
        if self.checks.is_external_shown(symbol, POSITION_LAG):
            return "external shares are held"
        return ""

    def _closes(self, symbol: str, start: datetime) -> set[Money]:
        """Return the closes that the market data showed for the minute from `start`."""
        minute = (start - self.session.open) // MINUTE
        editions = self.market.editions[symbol][minute]
        return {round_down(one.bar.close) for one in editions if one.bar is not None}


def _unfit(state: SymbolState, at: datetime) -> str:
    """Return why the state allows no entry at a time, "" if it does."""
    if state.abandoned:
        return "an order is in doubt"
    if state.halt is not None:
        return f"the symbol is halted: {state.halt}"
    if state.cool_until is not None and at < state.cool_until:
        return "the symbol cools down"
    return ""
