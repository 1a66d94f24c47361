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
    """Nothing is held and nothing works: a signal may enter."""
    BUY_SUBMITTED = "BUY_SUBMITTED"
    """A limit buy is written down, sent or working."""
    TO_SELL = "TO_SELL"
    """Shares are held and no sell works: passed through at once, rested in after a failed sell."""
    SELL_SUBMITTED = "SELL_SUBMITTED"
    """Shares are held, and a sell is written down, sent or working."""
    DONE = "DONE"
    """Liquidated: nothing is entered until the next session."""


class Reason(StrEnum):
    """Why a step did what it did, or did nothing; the text of logs, metrics and reports."""

    # Entries
    BUY_SIGNAL = "buy_signal"
    """The signal came: a limit buy is sent."""
    NO_SIGNAL = "no_signal"
    """The bar gave no signal."""
    NO_BAR = "no_bar"
    """No trade in this minute, or its bar did not come in time."""
    LOT_TOO_SMALL = "lot_too_small"
    """One share costs more than the lot; the signal is used up."""
    ENTRY_LIMIT_REACHED = "entry_limit_reached"
    """The symbol's `max_entries_per_day` is used up."""
    COOLING_DOWN = "cooling_down"
    """A buy was refused minutes ago."""
    ORDER_LIMIT_REACHED = "order_limit_reached"
    """So many orders today that the numbers left are kept for exits."""

    # Entries blocked; `limits.py` decides by them, from facts that the shell collects
    PAUSED = "paused"
    """The symbol is disabled or no longer in the table."""
    SYMBOL_HALTED = "symbol_halted"
    """The symbol met what should not happen; its state says what."""
    ACCOUNT_HALTED = "account_halted"
    """Somebody halted the account."""
    ACCOUNT_BLOCKED = "account_blocked"
    """The broker takes no orders of the account."""
    LATE_TICK = "late_tick"
    """The tick started too late for its minute."""
    CLOCK_SKEW = "clock_skew"
    """This machine's clock and the broker's disagree."""
    NEWER_SCHEMA = "newer_schema"
    """A newer version wrote the state: exits only."""
    SIGNAL_FAILED = "signal_failed"
    """The user's signal raised an error."""
    ORDER_IN_DOUBT = "order_in_doubt"
    """An order given up may still land: nothing is entered beside it, for the day."""
    EXTERNAL_ORDER = "external_order"
    """Somebody else's order is open on the symbol, or an event is of such an order."""
    EXTERNAL_POSITION = "external_position"
    """The broker holds shares that this system does not know of."""
    BROKER_UNREAD = "broker_unread"
    """Open orders or positions could not be read: nothing is entered in this minute."""

    # Working orders
    STILL_WORKING = "still_working"
    """The order works on, and nothing is to be done about it."""
    PARTLY_FILLED = "partly_filled"
    """A part of the order filled; the rest works on."""
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    """A cancel was asked for, or an event called the order over: a request has to confirm it."""
    AWAITING_ANSWER = "awaiting_answer"
    """The order was sent and the broker has not shown it yet."""
    BUY_TIMED_OUT = "buy_timed_out"
    """The buy is stale: it is canceled."""
    CANCEL_AGAIN = "cancel_again"
    """The last cancel showed no effect: it is repeated."""
    RESENT = "resent"
    """The broker does not know the order: it is sent again, unchanged."""
    ABANDONED = "abandoned"
    """The broker never showed the order: it is given up, and its id watched for the day."""

    # Outcomes
    BOUGHT = "bought"
    """The buy is over with shares: the exit is sent."""
    BUY_ENDED_UNFILLED = "buy_ended_unfilled"
    """The buy is over without shares."""
    BUY_REFUSED = "buy_refused"
    """The broker refused the buy: the symbol cools down."""
    SOLD = "sold"
    """All shares are sold."""
    EXIT_REFUSED = "exit_refused"
    """The broker refused the sell: the shares rest until the next checkup."""
    EXIT_ENDED_UNFILLED = "exit_ended_unfilled"
    """The sell is over with shares left: they are sold at market."""

    # Exits
    STOP_LOSS = "stop_loss"
    """The close reached the stop: the target is canceled, then sold at market."""
    HELD_TOO_LONG = "held_too_long"
    """`max_hold_minutes` are over: the target is canceled, then sold at market."""
    EXIT_RETRIED = "exit_retried"
    """Resting shares are sold again."""
    EXIT_EXHAUSTED = "exit_exhausted"
    """Too many sells for one position: the symbol is halted."""
    AWAITING_RETRY = "awaiting_retry"
    """Shares rest; the next checkup that knows the broker's position sells them."""
    SOLD_ELSEWHERE = "sold_elsewhere"
    """The broker holds fewer shares than were bought here: its number counts."""

    # The end of the day
    LIQUIDATING = "liquidating"
    """The working order is canceled, or the shares are sold at market."""
    LIQUIDATED = "liquidated"
    """All shares are sold, and the day is done."""
    NOTHING_TO_LIQUIDATE = "nothing_to_liquidate"
    """Nothing is held and nothing works: the day is done."""
    AFTER_CUTOFF = "after_cutoff"
    """A bar in the last minutes decides nothing: the liquidation does."""
    AFTER_CLOSE = "after_close"
    """The session is over: nothing is sent any more."""
    DAY_IS_DONE = "day_is_done"
    """Nothing more happens in this session."""

    # What should not happen, and what does not matter
    UNKNOWN_ORDER = "unknown_order"
    """Not an order of this symbol and session; one of a number not yet given halts the symbol, and
    is canceled."""
    NOTHING_NEW = "nothing_new"
    """Everything in the report was known."""
    LATE_ORDER = "late_order"
    """An order that was over showed up or filled on: it is canceled, its fills count, and the
    symbol is halted."""
    CORRECTED_FILL = "corrected_fill"
    """The broker took a fill back: its number counts, and the symbol is halted."""
    REPLACED_ORDER = "replaced_order"
    """The broker replaced an order: the symbol is halted, and the new order followed where the
    broker names it; else shares rest until the next checkup."""

    # Deliveries to the webhook that lead to no step; the shell gives these
    OTHER_STREAM = "other_stream"
    """The message is of another stream than `trade_updates`: it is ignored."""
    OTHER_MODE = "other_mode"
    """The order's id is of the other mode, paper or live: the event is ignored."""
    OTHER_ACCOUNT = "other_account"
    """The order has an id of ours and is another order: an account that gives the same ids. The
    event is ignored."""
    MARKET_CLOSED = "market_closed"
    """There is no session on this day: the event is ignored."""
    DELIVERY_REFUSED = "delivery_refused"
    """The delivery has no good signature, or is no trade update. The log line `webhook refused`
    says which."""
    REQUEST_FAILED = "request_failed"
    """A request to the broker or to a table failed. The delivery comes again, and the next checkup
    finds what it said."""
    SYMBOL_FAILED = "symbol_failed"
    """The work on the symbol failed. The log line `symbol failed` says why."""


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
    """Shares held in TO_SELL and SELL_SUBMITTED, the working sell's fills not yet taken off.

    A fill taken back, or one that came late, may leave less than the working sell is of, even
    none: that sell is canceled, and only what is held is sold again."""
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
    """The filled quantity of each generation's order that is over, as the broker said it last."""
    abandoned: tuple[str, ...] = ()
    """Client ids that may still bring news today: given up without an answer, or late once.

    Kept for the day; while there is one, nothing is entered."""

    @property
    def is_flat(self) -> bool:
        """Whether nothing is held and nothing works."""
        return self.order is None and self.qty == 0

    @property
    def entry_price(self) -> Money:
        """The average price paid for the shares held, rounded up to the grid."""
        return -(-self.cost // self.qty) if self.qty else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """What the shell knows of the account and of the tick; the defaults forbid nothing."""

    halted: bool = False
    """The owner halted the account."""
    blocked: bool = False
    """The broker takes no orders of the account."""
    clock_skew: bool = False
    """This machine's clock and the broker's disagree."""
    late: bool = False
    """The tick started too late for its minute."""
    broker_unread: bool = False
    """Open orders or positions could not be read."""
    open_positions: int = 0
    """Symbols that hold shares or have a working order, and entries admitted before this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolFacts:
    """What the shell knows of one symbol besides its state; the defaults forbid nothing."""

    enabled: bool = True
    """The symbol is in the table, and not paused."""
    newer_schema: bool = False
    """A newer version of this system wrote the state."""
    signal_failed: bool = False
    """The user's signal raised an error."""
    external_order: bool = False
    """The broker lists an open order that is not ours."""
    external_position: bool = False
    """The broker lists a position, though the state holds nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for one symbol in one session."""

    session: Session
    mode: str
    """paper or live; part of each client order id."""
    lot: Money
    account: AccountFacts = AccountFacts()
    symbol: SymbolFacts = SymbolFacts()
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
    """The broker's shares; None where they were not asked for, or the answer is no proof."""
    free: int | None = None
    """Those of them that no open order holds, by the same answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationDue:
    """Cancel what works and sell what is held, now."""

    symbol: str
    at: datetime
    position: int | None = None
    """The broker's shares; None where they could not be read."""
    free: int | None = None
    """Those of them that no open order holds, by the same answer."""


Event = BarClosed | OrderSeen | CheckupDue | LiquidationDue
"""What `step` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBegan:
    """A new session begins with a state of an older one."""

    symbol: str
    session: date


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRebuilt:
    """The table has no state, and the broker's orders of the session tell one."""

    symbol: str
    session: date


Recovery = SessionBegan | StateRebuilt
"""What sets a phase without being an event of `step`; `recovery.py` makes these."""


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
