"""The ports: protocols for everything that trading needs from outside, and their plain data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from scalper.core.model import AccountFacts, Reason, Rules, SymbolFacts, SymbolState
from scalper.core.order import Order, OrderReport
from scalper.core.pricing import Money
from scalper.core.session import Session
from scalper.core.signal import Bar, Signal, crossover
from scalper.shell.codec import SCHEMA

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """The broker's clock; times are aware UTC."""

    now: datetime
    is_open: bool


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, from the broker's list of account activities."""

    order_id: str
    """The broker's id of the order."""
    symbol: str
    is_buy: bool
    qty: int
    value: Money
    """Quantity times price."""


@dataclass(frozen=True, slots=True)
class Position:
    """Whole shares of a symbol, ours and external ones; negative if short."""

    qty: int
    free: int
    """Shares that no open order holds (`qty_available`)."""


NOTHING = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A trade update: the order's report, and the price and the time of the execution."""

    report: OrderReport
    price: Money | None
    at: datetime | None


class Broker(Protocol):
    """What trading needs of a broker; the simulator has its own."""

    def clock(self) -> Clock:
        """Return the broker's time."""
        ...

    def session(self, day: date) -> Session | None:
        """Return the trading hours of a New York date, or None if there is no session."""
        ...

    def account_block(self) -> str:
        """Return why the broker takes no orders of the account, "" if it takes them."""
        ...

    def submit(self, symbol: str, order: Order) -> OrderReport:
        """Send the order once.

        Raises DuplicateOrderError if the broker may have it already, another RefusedError if the
        order had no effect, UnknownOutcomeError if it may have had one.
        """
        ...

    def cancel(self, broker_id: str) -> None:
        """Ask for a cancel. Whatever the answer is, only `find` shows the effect."""
        ...

    def find(self, client_order_id: str) -> OrderReport | None:
        """Return the broker's report of an order, None if it answers 404."""
        ...

    def find_by_id(self, broker_id: str) -> OrderReport | None:
        """Return the report of the order with a broker's id, None if the broker answers 404."""
        ...

    def open_orders(self) -> list[OrderReport]:
        """Return every open order of the account, external ones included."""
        ...

    def orders_since(self, start: datetime) -> list[OrderReport]:
        """Return every order submitted after `start`, closed ones included, oldest first."""
        ...

    def positions(self) -> dict[str, Position]:
        """Return the positions by symbol, external shares included.

        A position of less than one share is there, with 0 shares.
        """
        ...

    def fills_since(self, start: datetime) -> list[Fill]:
        """Return every execution after `start`, external orders' included, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Bars:
    """The bars of one request."""

    by_symbol: Mapping[str, Sequence[Bar]]
    refused: tuple[str, ...] = ()
    """A line for each bar that is not valid."""


class MarketData(Protocol):
    """The source of minute bars; the simulator has its own."""

    def bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Bars:
        """Return the bars that start from `start` to `end`, both included.

        A symbol without bars may be missing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A symbol's state as it was read or written, with the version that the next write replaces."""

    state: SymbolState
    version: int | None
    """None: there is no item yet."""
    schema: int = SCHEMA
    unknown: dict[str, Any] = field(default_factory=dict)
    reason: Reason | None = field(default=None, compare=False)
    """Why this invocation's newest event changed the state or left it unchanged; not stored."""


class Store(Protocol):
    """What trading needs of the state table; the simulator has its own."""

    def load(self, symbol: str) -> Stored | None:
        """Return the symbol's state by a consistent read, None if there is no item."""
        ...

    def load_all(self, shard: int, shard_count: int) -> dict[str, Stored]:
        """Return the readable states of a shard by symbol, by consistent reads."""
        ...

    def save(self, before: Stored, state: SymbolState) -> Stored:
        """Write the state if the item is still `before`; otherwise raise ConflictError."""
        ...

    def claim_minute(self, minute: datetime, shard: int, shard_count: int) -> bool:
        """Return whether this call is the first for the minute and shard."""
        ...

    def account_halt(self) -> str:
        """Return why the account enters nothing, "" if it may enter."""
        ...

    def halt_account(self, why: str) -> None:
        """Halt the account with a reason; "" ends the halt."""
        ...

    def record_day(self, day: date, summary: str) -> None:
        """Keep a session's summary, JSON text; replace an earlier one."""
        ...


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """One row of the symbols table, checked, with the defaults filled in."""

    symbol: str
    lot: Money
    enabled: bool = True
    signal: Signal = crossover
    stop_loss_pct: Decimal | None = None
    max_hold: timedelta | None = None
    max_entries: int | None = None

    def rules(self, session: Session, mode: str, account: AccountFacts) -> Rules:
        """Return what holds for the symbol in a session; `mode` is paper or live."""
        return Rules(
            session=session,
            mode=mode,
            lot=self.lot,
            account=account,
            symbol=SymbolFacts(enabled=self.enabled),
            stop_loss_pct=self.stop_loss_pct,
            max_hold=self.max_hold,
            max_entries=self.max_entries,
        )


class Symbols(Protocol):
    """The source of the list of symbols."""

    def read(self) -> tuple[dict[str, SymbolRules], tuple[str, ...]]:
        """Return the valid rows by symbol, and a line for each other row."""
        ...


class FanOut(Protocol):
    """Runs tasks side by side; the simulator runs them in turns."""

    def __call__(self, tasks: Sequence[Callable[[], T]], /) -> list[T]:
        """Return the results in the tasks' order; raises the first exception."""
        ...


class Outbox(Protocol):
    """Sends messages to other functions and to the owner."""

    def checkup_in(self, delay_s: int, at: datetime) -> None:
        """Queue a checkup that runs after a delay."""
        ...

    def tick_in(self, delay_s: int, event: Mapping[str, Any]) -> None:
        """Send a tick's event with a delay, if there is a queue for it."""
        ...

    def notify(self, subject: str, text: str) -> None:
        """Send the owner a mail."""
        ...


class Timing(Protocol):
    """A wall clock, a monotonic clock, and a wait."""

    def now(self) -> datetime:
        """Return this machine's time, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a monotonic clock, for bounds of waits."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""
        ...
