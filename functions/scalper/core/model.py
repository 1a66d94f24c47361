"""The data of the core: phases, reasons, states, rules, events, commands and steps.

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
    """A step or a state breaks a rule of `transitions.py`: the symbol stops, the others go on."""


class Phase(StrEnum):
    """Where a symbol stands."""

    TO_BUY = "TO_BUY"
    """No shares are held and no order works: a signal may enter."""
    BUY_SUBMITTED = "BUY_SUBMITTED"
    """A limit buy is stored, sent or live."""
    TO_SELL = "TO_SELL"
    """Shares are held and no sell works: for part of a step after a buy, or until the next checkup
    after a failed sell."""
    SELL_SUBMITTED = "SELL_SUBMITTED"
    """Shares are held, and a sell is stored, sent or live."""
    DONE = "DONE"
    """The symbol is liquidated: it enters nothing until the next session."""


class Reason(StrEnum):
    """Why a step did what it did, or did nothing. Logs, metrics and reports show these values."""

    # Entries
    BUY_SIGNAL = "buy_signal"
    """The signal says buy: the step sends a limit buy."""
    NO_SIGNAL = "no_signal"
    """The bar gave no signal."""
    NO_BAR = "no_bar"
    """No trade in this minute, or its bar did not come in time."""
    LOT_TOO_SMALL = "lot_too_small"
    """One share costs more than the lot. No later minute acts on this signal."""
    ENTRY_LIMIT_REACHED = "entry_limit_reached"
    """The symbol's `max_entries_per_day` is used up."""
    COOLING_DOWN = "cooling_down"
    """The broker refused a buy, and the cool-down after it is not over."""
    ORDER_LIMIT_REACHED = "order_limit_reached"
    """So many orders were made today that the generations left are kept for exits."""

    # Entries blocked; `limits.py` decides by them, from facts that the shell collects
    PAUSED = "paused"
    """The symbol is disabled or no longer in the table."""
    SYMBOL_HALTED = "symbol_halted"
    """The symbol is halted; `halt` in its state says why."""
    ACCOUNT_HALTED = "account_halted"
    """Somebody halted the account."""
    ACCOUNT_BLOCKED = "account_blocked"
    """The broker accepts no orders from the account."""
    LATE_TICK = "late_tick"
    """The tick started too late for its minute."""
    CLOCK_SKEW = "clock_skew"
    """The clocks of this machine and of the broker disagree."""
    NEWER_SCHEMA = "newer_schema"
    """A newer version of this system wrote the state: only exits go on."""
    SIGNAL_FAILED = "signal_failed"
    """The user's signal raised an error."""
    ORDER_IN_DOUBT = "order_in_doubt"
    """An abandoned order may still reach the broker: the symbol enters nothing for the day."""
    EXTERNAL_ORDER = "external_order"
    """Somebody else's order is open on the symbol, or an event is of such an order."""
    EXTERNAL_POSITION = "external_position"
    """The broker holds shares that this system did not buy."""
    BROKER_UNREAD = "broker_unread"
    """Open orders or positions could not be read: the symbol enters nothing in this minute."""

    # Working orders
    STILL_WORKING = "still_working"
    """The order works, and this step changes nothing about it."""
    PARTLY_FILLED = "partly_filled"
    """A part of the order filled; the rest still works."""
    AWAITING_CONFIRMATION = "awaiting_confirmation"
    """A cancel was asked for, or an event called the order closed. A request has to confirm it."""
    AWAITING_ANSWER = "awaiting_answer"
    """The order was sent, and the broker has not reported it yet."""
    BUY_TIMED_OUT = "buy_timed_out"
    """The buy is stale: the step cancels it."""
    CANCEL_AGAIN = "cancel_again"
    """The last cancel had no effect: the step repeats it."""
    RESENT = "resent"
    """The broker does not know the order: the step sends it again, unchanged."""
    ABANDONED = "abandoned"
    """The broker never reported the order: it is given up, and its id is watched for the day."""

    # Closed orders
    BOUGHT = "bought"
    """The buy is closed with shares: the step sends the exit."""
    BUY_ENDED_UNFILLED = "buy_ended_unfilled"
    """The buy is closed without shares."""
    BUY_REFUSED = "buy_refused"
    """The broker refused the buy: the symbol cools down."""
    SOLD = "sold"
    """All shares are sold."""
    EXIT_REFUSED = "exit_refused"
    """The broker refused the sell: the shares rest until the next checkup."""
    EXIT_ENDED_UNFILLED = "exit_ended_unfilled"
    """The sell is closed with shares left: they are to be sold at market."""

    # Exits
    STOP_LOSS = "stop_loss"
    """The close reached the stop: the step cancels the target, to sell at market."""
    HELD_TOO_LONG = "held_too_long"
    """`max_hold_minutes` are over: the step cancels the target, to sell at market."""
    EXIT_RETRIED = "exit_retried"
    """The step sends another sell for shares that rest."""
    EXIT_EXHAUSTED = "exit_exhausted"
    """Too many sells for one position: the symbol is halted."""
    AWAITING_RETRY = "awaiting_retry"
    """Shares rest. The next checkup that knows the broker's position sells them."""
    SOLD_ELSEWHERE = "sold_elsewhere"
    """The broker holds fewer shares than the state: the broker's number counts."""

    # The end of the day
    LIQUIDATING = "liquidating"
    """The step cancels the working order, or sells the shares at market."""
    LIQUIDATED = "liquidated"
    """All shares are sold, and the day is done."""
    NOTHING_TO_LIQUIDATE = "nothing_to_liquidate"
    """No shares are held and no order works: the day is done."""
    AFTER_CUTOFF = "after_cutoff"
    """A bar in the last five minutes decides nothing: the liquidation does."""
    AFTER_CLOSE = "after_close"
    """The session is closed: nothing is sent any more."""
    DAY_IS_DONE = "day_is_done"
    """Nothing more happens in this session."""

    # Reports of other orders, corrections, and reports without news
    UNKNOWN_ORDER = "unknown_order"
    """The order is not one of this symbol and session. If its id is ours and its generation was not
    made yet, the symbol is halted and the order is canceled."""
    NOTHING_NEW = "nothing_new"
    """The report says nothing that the state does not know."""
    LATE_ORDER = "late_order"
    """A closed or abandoned order is live or filled after all: it is canceled, its fills count, and
    the symbol is halted."""
    CORRECTED_FILL = "corrected_fill"
    """The broker took a fill back: the broker's number counts, and the symbol is halted."""
    REPLACED_ORDER = "replaced_order"
    """The broker replaced an order: the symbol is halted. If the broker names the successor, it is
    followed; if not, the shares rest until the next checkup."""

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
    """All that is stored of one symbol."""

    symbol: str
    session: date
    phase: Phase = Phase.TO_BUY
    generation: int = 0
    """How many orders were made in this session, which is the newest order's number."""
    order: Order | None = None
    """The working order; only the *_SUBMITTED phases have one."""
    qty: int = 0
    """Shares held in TO_SELL and SELL_SUBMITTED. Fills of the working sell are not subtracted yet.

    A correction may leave fewer shares than the working sell is for, even none. That sell is
    canceled, and a new one sells only what is held."""
    cost: Money = 0
    """What all these shares cost together."""
    entered_at: datetime | None = None
    """When the shares were bought, or when a correction added some of them."""
    entries: int = 0
    """Buys of this session that filled, in full or in part."""
    exit_as: Purpose = Purpose.TARGET
    """What the next sell is for."""
    exit_attempts: int = 0
    """Sells made for the present position."""
    liquidating: bool = False
    """Whether the liquidation has reached the symbol: every further sell is at market."""
    cool_until: datetime | None = None
    """The symbol enters nothing before this time, after a refused buy."""
    pnl: Money = 0
    """Realised profit of this session, before fees."""
    trades: int = 0
    """Sells of this session that filled, in full or in part."""
    halt: Reason | None = None
    """Why the symbol enters nothing any more; exits go on. None: it is not halted."""
    settled: tuple[int, ...] = ()
    """The filled quantity of each closed order by generation, as the broker reported it last."""
    abandoned: tuple[str, ...] = ()
    """Client order ids that are asked for all day: of orders given up, and of corrected ones.

    While there is one, the symbol enters nothing."""

    @property
    def is_flat(self) -> bool:
        """Whether no shares are held and no order works."""
        return self.order is None and self.qty == 0

    @property
    def entry_price(self) -> Money:
        """The average price paid for the shares held, rounded up to $0.0001; 0 without shares."""
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
    """What one symbol may do in one session: its hours, its lot and its limits."""

    session: Session
    mode: str
    """paper or live, as in each client order id."""
    lot: Money
    account: AccountFacts = AccountFacts()
    symbol: SymbolFacts = SymbolFacts()
    stop_loss_pct: Decimal | None = None
    max_hold: timedelta | None = None
    max_entries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BarClosed:
    """A minute ended at `at`. `close` is the close of its bar, None if the minute had no bar."""

    symbol: str
    at: datetime
    close: Money | None
    signal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSeen:
    """The broker reported an order, or answered that it has no such order."""

    symbol: str
    at: datetime
    report: OrderReport
    last_trade: Money | None = None
    """The newest price known. For an execution it is the price of the execution."""
    other_order_open: bool = False
    """Whether the broker lists another open order of the symbol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckupDue:
    """The checkup looks at the symbol, after it joined the reports of the working order."""

    symbol: str
    at: datetime
    position: int | None = None
    """The broker's shares; None if the checkup did not ask, or cannot rely on the answer."""
    free: int | None = None
    """How many of them no open order holds, by the same answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidationDue:
    """It is time to cancel the working order and to sell the shares held."""

    symbol: str
    at: datetime
    position: int | None = None
    """The broker's shares; None if they could not be read."""
    free: int | None = None
    """How many of them no open order holds, by the same answer."""


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
    """Send the order once, with its client order id and body unchanged."""

    order: Order


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Ask the broker to cancel the order. Only a later request for the order tells the outcome."""

    client_order_id: str
    broker_id: str


Command = SubmitOrder | CancelOrder


@dataclass(frozen=True, slots=True)
class Step:
    """What one event led to: the new state, the commands to carry out, and why."""

    state: SymbolState
    commands: tuple[Command, ...]
    reason: Reason
