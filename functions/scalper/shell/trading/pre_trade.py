"""The facts for the pre-trade gate, and the words about its answers; `core/limits.py` decides.

An account's facts are read once for all symbols of a tick.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from scalper.core import limits
from scalper.core.limits import Facts
from scalper.core.model import BarClosed, Rules
from scalper.core.order import OrderReport
from scalper.core.session import MINUTE
from scalper.core.signal import Bar
from scalper.shell.errors import BrokerError, UnauthorizedError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Position, Stored, SymbolRules
from scalper.shell.telemetry import count, logger
from scalper.shell.trading.batch import failed
from scalper.shell.trading.engine import Engine


@dataclass(frozen=True, slots=True)
class AtBroker:
    """The symbols with something at the broker, whoever's it is; None: it could not be read."""

    ordered: Collection[str] | None
    """Symbols with an open order."""
    held: Collection[str] | None
    """Symbols with a position."""

    @classmethod
    def of(
        cls, opened: Mapping[str, OrderReport] | None, positions: Mapping[str, Position] | None
    ) -> "AtBroker":
        """Return what a list of open orders and one of positions show."""
        ordered = None if opened is None else {report.symbol for report in opened.values()}
        return cls(ordered, positions)

    def add_to(self, rules: Rules, symbol: str) -> Rules:
        """Return the rules with what the broker has of a symbol that is flat.

        Whatever is open or held then is not ours. What we just sold may show for some seconds: the
        entry waits for the next minute.
        """
        unread = self.ordered is None or self.held is None
        return replace(
            rules,
            account=replace(rules.account, broker_unread=unread),
            symbol=replace(
                rules.symbol,
                external_order=symbol in (self.ordered or ()),
                external_position=symbol in (self.held or ()),
            ),
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A symbol that may enter at the end of a minute."""

    stored: Stored
    event: BarClosed
    rules: Rules

    @property
    def facts(self) -> Facts:
        """Return what the gate decides by."""
        return Facts.of_bar(self.stored.state, self.event, self.rules)


def ask_signal(
    engine: Engine, stored: Stored, row: SymbolRules | None, rules: Rules, at: datetime
) -> Candidate:
    """Return the minute's event with the signal; a signal that fails stops its symbol alone."""
    symbol = stored.state.symbol
    event = bar_closed(engine, symbol, at)
    if event.close is None or row is None:
        return Candidate(stored, event, rules)
    try:
        signal = bool(row.signal(engine.window.bars(symbol, at)))
    except Exception:  # noqa: BLE001 - a user's own code: its failure stops its symbol alone
        logger.exception("signal failed", extra={"symbol": symbol})
        count(Metric.SIGNALS_FAILED)
        rules = replace(rules, symbol=replace(rules.symbol, signal_failed=True))
        return Candidate(stored, event, rules)
    return Candidate(stored, replace(event, signal=signal), rules)


def admit(
    candidates: Mapping[str, Candidate], states: Mapping[str, Stored]
) -> dict[str, Candidate]:
    """Hand the candidates to the gate in its order, and tell which signals others kept back.

    `states` are those of the shard, as they stand. The candidates return with the account's facts
    of their turn, the refused ones too: the machine asks the same gate, and tells the Reason.
    """
    positions = sum(not one.state.is_flat for one in states.values())
    admitted: dict[str, Candidate] = {}
    for facts in limits.admit((one.facts for one in candidates.values()), positions):
        symbol = facts.state.symbol
        admitted[symbol] = replace(candidates[symbol], rules=facts.rules)
        why = limits.refusal(facts)
        if facts.signal and why in limits.EXTERNAL_REASONS:
            count(Metric.ENTRIES_BLOCKED)
            logger.warning("entry blocked", extra={"symbol": symbol, "reason": why})
    return admitted


def bar_closed(engine: Engine, symbol: str, at: datetime) -> BarClosed:
    """Return the event of the minute that ended at `at`, without a signal."""
    newest = _bar_ended_at(engine.window.bars(symbol, at), at)
    close = newest.close if newest is not None else None
    return BarClosed(symbol=symbol, at=at, close=close, signal=False)


def _bar_ended_at(bars: Sequence[Bar], at: datetime) -> Bar | None:
    """Return the newest bar if it is that of the minute that ended at `at`."""
    return bars[-1] if bars and bars[-1].start == at - MINUTE else None


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
