"""The nouns: a symbol's phase and state, the events that reach it and the commands that leave it.

Every dataclass is frozen: a step returns a new state and changes none.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from scalper.core.order import Order, OrderReport, Purpose
from scalper.core.pricing import Money
from scalper.core.session import Session


class InvariantError(Exception):
    """The machine was about to do what it never may; the symbol stops, the others go on."""


class Phase(StrEnum):
    """Where a symbol stands."""

    TO_BUY = "TO_BUY"
    BUY_SUBMITTED = "BUY_SUBMITTED"
    TO_SELL = "TO_SELL"
    SELL_SUBMITTED = "SELL_SUBMITTED"
    DONE = "DONE"


class Reason(StrEnum):
    """Why a step did what it did, or did nothing; the text of logs, metrics and reports."""

    # entries
    BUY_SIGNAL = "buy_signal"
    NO_SIGNAL = "no_signal"
    NO_BAR = "no_bar"
    LOT_TOO_SMALL = "lot_too_small"
    ENTRY_LIMIT_REACHED = "entry_limit_reached"
    COOLING_DOWN = "cooling_down"
    ORDER_LIMIT_REACHED = "order_limit_reached"
    # why entries are blocked, also given by the shell through Rules.block
    PAUSED = "paused"
    SYMBOL_HALTED = "symbol_halted"
    ACCOUNT_HALTED = "account_halted"
    LATE_TICK = "late_tick"
    REPEATED_TICK = "repeated_tick"
    CLOCK_SKEW = "clock_skew"
    NEWER_SCHEMA = "newer_schema"
    SIGNAL_FAILED = "signal_failed"
    # working orders
    STILL_WORKING = "still_working"
    PARTLY_FILLED = "partly_filled"
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    AWAITING_ANSWER = "awaiting_answer"
    BUY_TIMED_OUT = "buy_timed_out"
    CANCEL_AGAIN = "cancel_again"
    RESENT = "resent"
    ABANDONED = "abandoned"
    # outcomes
    BOUGHT = "bought"
    BUY_ENDED_UNFILLED = "buy_ended_unfilled"
    BUY_REFUSED = "buy_refused"
    SOLD = "sold"
    EXIT_REFUSED = "exit_refused"
    EXIT_ENDED_UNFILLED = "exit_ended_unfilled"
    # exits
    STOP_LOSS = "stop_loss"
    HELD_TOO_LONG = "held_too_long"
    EXIT_RETRIED = "exit_retried"
    EXIT_EXHAUSTED = "exit_exhausted"
    AWAITING_RETRY = "awaiting_retry"
    SOLD_ELSEWHERE = "sold_elsewhere"
    # the end of the day
    LIQUIDATING = "liquidating"
    LIQUIDATED = "liquidated"
    NOTHING_TO_LIQUIDATE = "nothing_to_liquidate"
    AFTER_CUTOFF = "after_cutoff"
    AFTER_CLOSE = "after_close"
    DAY_IS_DONE = "day_is_done"
    # what should not happen
    UNKNOWN_ORDER = "unknown_order"
    NOTHING_NEW = "nothing_new"
    LATE_ORDER = "late_order"
    CORRECTED_FILL = "corrected_fill"
    REPLACED_ORDER = "replaced_order"


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolState:
    """All that is remembered of one symbol; it survives every crash."""

    symbol: str
    session: date
    phase: Phase = Phase.TO_BUY
    generation: int = 0
    """Orders made in this session; the newest one's number."""
    order: Order | None = None
    """The working order, of the *_SUBMITTED phases alone."""
    qty: int = 0
    """Shares held in TO_SELL and SELL_SUBMITTED, the working sell's fills not yet taken off."""
    cost: Money = 0
    """What those shares cost in all."""
    entered_at: datetime | None = None
    entries: int = 0
    """Buys of this session that filled, in full or in part."""
    exit_as: Purpose = Purpose.TARGET
    """What the next sell is for."""
    exit_attempts: int = 0
    """Sells made for the position at hand."""
    liquidating: bool = False
    cool_until: datetime | None = None
    """No entry before this, after a refusal."""
    pnl: Money = 0
    """Realised in this session, before fees."""
    trades: int = 0
    """Sells of this session that filled, in full or in part."""
    halt: Reason | None = None
    """Why nothing is entered any more; exits go on."""
    settled: tuple[int, ...] = ()
    """The final filled quantity of each generation's order, the working one's excepted."""
    abandoned: tuple[str, ...] = ()
    """Client ids given up without an answer: they may still show up today."""

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held and nothing works."""
        return self.order is None and self.qty == 0

    @property
    def entry_price(self) -> Money:
        """The average price paid for the shares held, rounded up to the grid."""
        return -(-self.cost // self.qty) if self.qty else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for one symbol in one session."""

    session: Session
    mode: str
    """paper or live; part of each client order id."""
    lot: Money
    block: Reason | None = None
    """Why entries are refused at present; None allows them."""
    stop_loss_pct: Decimal | None = None
    max_hold: timedelta | None = None
    max_entries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BarClosed:
    """A minute is over: `close` is the close of the bar that ended at `at`, if there was one."""

    symbol: str
    at: datetime
    close: Money | None
    signal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSeen:
    """The broker said something of an order, or answered that it has none."""

    symbol: str
    at: datetime
    report: OrderReport
    last_trade: Money | None = None
    """The newest price at hand; the price of the execution, where it is one."""
    contested: bool = False
    """Whether the broker lists another open order for the symbol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckupDue:
    """Time to look after what works: reports of it were joined just before."""

    symbol: str
    at: datetime
    position: int | None = None
    """The broker's shares; None where they were not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationDue:
    """Cancel what works and sell what is held, now."""

    symbol: str
    at: datetime
    position: int | None = None
    """The broker's shares; None where they could not be read."""


Event = BarClosed | OrderSeen | CheckupDue | LiquidationDue


@dataclass(frozen=True, slots=True)
class SubmitOrder:
    """Send the order, its client id and body unchanged, once."""

    order: Order


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Ask for the order to be canceled; only a request for it tells what came of that."""

    client_order_id: str
    broker_id: str


Command = SubmitOrder | CancelOrder


@dataclass(frozen=True, slots=True)
class Step:
    """What one event led to."""

    state: SymbolState
    commands: tuple[Command, ...]
    reason: Reason
