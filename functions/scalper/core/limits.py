"""The one pre-trade gate: everything that keeps an account or a symbol from entering.

A limit is a function that looks at the facts and returns a Reason, or None if it has no objection.
`LIMITS` is the order in which they are asked; the first Reason is the answer. A new limit is one
function and its place in that order. The shell collects the facts, and decides nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from scalper.core.model import AccountFacts, BarClosed, Phase, Reason, Rules, SymbolState
from scalper.core.order import MAX_GENERATION
from scalper.core.order_actions import MAX_LIQUIDATION_ATTEMPTS
from scalper.core.pricing import Money, round_down, shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one symbol, and of its account, when an entry is considered."""

    state: SymbolState
    rules: Rules
    at: datetime
    """The minute that is decided."""
    close: Money | None = None
    """The close of the bar that ended at `at`; None if there is none, or not yet."""
    signal: bool = False

    @classmethod
    def of_bar(cls, state: SymbolState, event: BarClosed, rules: Rules) -> "Facts":
        """Return the facts at the end of a minute."""
        return cls(state=state, rules=rules, at=event.at, close=event.close, signal=event.signal)


Limit = Callable[[Facts], Reason | None]


# --- limits of the account -------------------------------------------------------------------


def account_halted(account: AccountFacts) -> Reason | None:
    """The owner stopped all entries."""
    return Reason.ACCOUNT_HALTED if account.halted else None


def account_blocked(account: AccountFacts) -> Reason | None:
    """The broker would refuse the order."""
    return Reason.ACCOUNT_BLOCKED if account.blocked else None


def clock_skew(account: AccountFacts) -> Reason | None:
    """With a wrong clock, nobody knows which minute the bars belong to."""
    return Reason.CLOCK_SKEW if account.clock_skew else None


def late_tick(account: AccountFacts) -> Reason | None:
    """The signal is stale if the tick started late."""
    return Reason.LATE_TICK if account.late else None


ACCOUNT_LIMITS: tuple[Callable[[AccountFacts], Reason | None], ...] = (
    account_halted,
    account_blocked,
    clock_skew,
    late_tick,
)
"""Limits that concern every symbol, and that are known as a tick begins."""


def account_limit(account: AccountFacts) -> Reason | None:
    """Return why the account enters nothing, None if it may."""
    return next((why for limit in ACCOUNT_LIMITS if (why := limit(account))), None)


def account(facts: Facts) -> Reason | None:
    """The first limit of the account."""
    return account_limit(facts.rules.account)


# --- limits of the symbol, known before its bar ----------------------------------------------


def newer_schema(facts: Facts) -> Reason | None:
    """A newer version may mean by the state what this one does not understand."""
    return Reason.NEWER_SCHEMA if facts.rules.symbol.newer_schema else None


def paused(facts: Facts) -> Reason | None:
    """The owner disabled the symbol, or took it out of the table."""
    return None if facts.rules.symbol.enabled else Reason.PAUSED


def symbol_halted(facts: Facts) -> Reason | None:
    """The state says what happened that never should."""
    return Reason.SYMBOL_HALTED if facts.state.halt is not None else None


def order_in_doubt(facts: Facts) -> Reason | None:
    """An abandoned order may still land, and its shares would come on top."""
    return Reason.ORDER_IN_DOUBT if facts.state.abandoned else None


STANDING_LIMITS: tuple[Limit, ...] = (
    newer_schema,
    account,
    paused,
    symbol_halted,
    order_in_doubt,
)
"""Limits that need no bar: under one of them, no signal is asked, and no buy is sent again."""


# --- limits that are asked when the bar and the signal are there -----------------------------


def no_bar(facts: Facts) -> Reason | None:
    """Without the minute's bar there is neither a signal nor a price."""
    return Reason.NO_BAR if facts.close is None else None


def signal_failed(facts: Facts) -> Reason | None:
    """The user's signal raised an error."""
    return Reason.SIGNAL_FAILED if facts.rules.symbol.signal_failed else None


def broker_unread(facts: Facts) -> Reason | None:
    """Nobody knows whether external orders or shares are there."""
    return Reason.BROKER_UNREAD if facts.rules.account.broker_unread else None


def external_order(facts: Facts) -> Reason | None:
    """An order that is not ours is open on the symbol."""
    return Reason.EXTERNAL_ORDER if facts.rules.symbol.external_order else None


def external_position(facts: Facts) -> Reason | None:
    """Shares are held that are not ours, or that the broker still shows after our sale."""
    return Reason.EXTERNAL_POSITION if facts.rules.symbol.external_position else None


def no_signal(facts: Facts) -> Reason | None:
    """The bar gave no signal."""
    return None if facts.signal else Reason.NO_SIGNAL


def cooling_down(facts: Facts) -> Reason | None:
    """The broker refused a buy of the symbol minutes ago."""
    cool_until = facts.state.cool_until
    return Reason.COOLING_DOWN if cool_until is not None and facts.at < cool_until else None


def entry_limit(facts: Facts) -> Reason | None:
    """The symbol's `max_entries_per_day` is used up."""
    most = facts.rules.max_entries
    return Reason.ENTRY_LIMIT_REACHED if most is not None and facts.state.entries >= most else None


def order_limit(facts: Facts) -> Reason | None:
    """The numbers that are left are kept for exits."""
    newest = facts.state.generation + MAX_LIQUIDATION_ATTEMPTS
    return Reason.ORDER_LIMIT_REACHED if newest >= MAX_GENERATION else None


def lot_too_small(facts: Facts) -> Reason | None:
    """The lot does not pay for one share."""
    return Reason.LOT_TOO_SMALL if entry_size(facts)[1] == 0 else None


EXTERNAL_LIMITS: tuple[Limit, ...] = (
    broker_unread,
    external_order,
    external_position,
)
"""Limits by what others have at the broker."""

EXTERNAL_REASONS = frozenset(
    {Reason.BROKER_UNREAD, Reason.EXTERNAL_ORDER, Reason.EXTERNAL_POSITION}
)
"""What these limits answer: the owner is told of a signal that came to nothing by one of them."""

LIMITS: tuple[Limit, ...] = (
    no_bar,
    *STANDING_LIMITS,
    signal_failed,
    *EXTERNAL_LIMITS,
    no_signal,
    cooling_down,
    entry_limit,
    order_limit,
    lot_too_small,
)
"""Every limit, in the order in which they are asked."""


def entry_size(facts: Facts) -> tuple[Money, int]:
    """Return the limit price and the whole shares of an entry; no shares without a bar."""
    if facts.close is None:
        return 0, 0
    limit = round_down(facts.close)
    return limit, shares(facts.rules.lot, limit)


def standing(facts: Facts) -> Reason | None:
    """Return why the symbol enters nothing, whatever its bar brings; None if nothing is known."""
    return _first(STANDING_LIMITS, facts)


def may_enter(facts: Facts) -> bool:
    """Return whether a signal is worth asking for."""
    return facts.state.phase is Phase.TO_BUY and standing(facts) is None


def refusal(facts: Facts) -> Reason | None:
    """Return why a symbol that could buy does not, None if it enters."""
    return _first(LIMITS, facts)


def admit(candidates: Iterable[Facts], open_positions: int) -> list[Facts]:
    """Put candidates into their order, each with the account's facts as they are at its turn.

    The order is that of the symbols' names. `open_positions` are those before the first of them;
    an entry that is admitted counts as one for all that follow.
    """
    ordered: list[Facts] = []
    for one in sorted(candidates, key=lambda one: one.state.symbol):
        account = replace(one.rules.account, open_positions=open_positions)
        facts = replace(one, rules=replace(one.rules, account=account))
        ordered.append(facts)
        if refusal(facts) is None:
            open_positions += 1
    return ordered


def _first(limits: tuple[Limit, ...], facts: Facts) -> Reason | None:
    return next((why for limit in limits if (why := limit(facts))), None)
