"""What keeps a symbol from entering although nothing of ours does: the broker, and other hands."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import OrderReport
from scalper.shell.errors import BrokerError, UnauthorizedError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Position, Stored
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.batch import failed
from scalper.shell.trading.engine import Engine


@dataclass(frozen=True, slots=True)
class Seen:
    """What the account has, read once for all symbols; None: it is unknown."""

    ordered: Collection[str] | None
    """Symbols with an open order."""
    held: Collection[str] | None
    """Symbols with a position."""

    @classmethod
    def of(
        cls, opened: Mapping[str, OrderReport] | None, positions: Mapping[str, Position] | None
    ) -> "Seen":
        """Return what a list of open orders and one of positions show."""
        ordered = None if opened is None else {report.symbol for report in opened.values()}
        return cls(ordered, positions)

    def block(self, state: SymbolState) -> Reason | None:
        """Return why a symbol that could enter may not; None where it may or could not anyhow.

        Whatever is open or held at the broker is not ours then. What we just sold may show for some
        seconds: the entry waits for the next minute.
        """
        if not may_enter(state):
            return None
        if self.ordered is None or self.held is None:
            return Reason.BROKER_UNREAD
        if state.symbol in self.ordered:
            return Reason.EXTERNAL_ORDER
        if state.symbol in self.held:
            return Reason.EXTERNAL_POSITION
        return None


def may_enter(state: SymbolState) -> bool:
    """Whether nothing of the symbol's own keeps a signal from acting."""
    return state.phase is Phase.TO_BUY and state.halt is None and not state.abandoned


def read_account_block(engine: Engine) -> str:
    """Return why the broker takes no orders of the account, "" where it does or does not say.

    Raises UnauthorizedError: with refused keys nothing can be done.
    """
    try:
        return engine.broker.account_block()
    except UnauthorizedError:
        raise
    except BrokerError as error:
        failed("account", error)
        return ""


def say_blocked_account(why: str, states: Mapping[str, Stored]) -> None:
    """Alarm: nothing is entered, and where something is held or works, exits may be refused."""
    count(Metric.ACCOUNT_BLOCKED)
    exposed = sorted(symbol for symbol, one in states.items() if not one.state.is_flat)
    logger.error(
        "the broker blocks the account",
        extra={"why": why, "exits": "may be refused" if exposed else "none", "symbols": exposed},
    )


def say_blocked_entry(symbol: str, why: Reason) -> None:
    """Show that a signal came and could not act for another's order or a missing answer."""
    count(Metric.ENTRIES_BLOCKED)
    logger.warning("entry blocked", extra={"symbol": symbol, "reason": why})
