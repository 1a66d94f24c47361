"""What trading needs of the world: protocols, and the plain data that they speak in."""

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
    """One execution as the broker's book of the account's activities has it."""

    order_id: str
    """The broker's id of the order."""
    symbol: str
    is_buy: bool
    qty: int
    value: Money
    """Quantity times price."""


@dataclass(frozen=True, slots=True)
class Position:
    """Whole shares of a symbol, whoever bought them; a short position's are negative."""

    qty: int
    free: int
    """Those that no open order holds (`qty_available`)."""


NOTHING = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A trade update: what it says of the order, and the execution's price and time."""

    report: OrderReport
    price: Money | None
    at: datetime | None


class Broker(Protocol):
    """What the engine needs of a broker; the simulator has one of its own."""

    def clock(self) -> Clock:
        """Return the broker's time."""
        ...

    def session(self, day: date) -> Session | None:
        """Return the trading hours of a New York date, None on a day without any."""
        ...

    def account_block(self) -> str:
        """Return why the broker takes no orders of the account, "" where it does."""
        ...

    def submit(self, symbol: str, order: Order) -> OrderReport:
        """Send the order once.

        Raises DuplicateOrderError if the broker may have it already, another RefusedError if the
        order had no effect, UnknownOutcomeError if it may have had one.
        """
        ...

    def cancel(self, broker_id: str) -> None:
        """Ask for a cancel; whatever the answer, only `find` tells what came of it."""
        ...

    def find(self, client_order_id: str) -> OrderReport | None:
        """Return what the broker knows of an order, None where it answers 404."""
        ...

    def find_by_id(self, broker_id: str) -> OrderReport | None:
        """Return what the broker knows of an order by its own id, None where it answers 404."""
        ...

    def open_orders(self) -> list[OrderReport]:
        """Return every open order of the account, external ones included."""
        ...

    def orders_since(self, start: datetime) -> list[OrderReport]:
        """Return every order submitted after `start`, whatever became of it, oldest first."""
        ...

    def positions(self) -> dict[str, Position]:
        """Return what is held by symbol, external shares included.

        A symbol of which less than a share is held is there, with 0; one without a position is not.
        """
        ...

    def fills_since(self, start: datetime) -> list[Fill]:
        """Return every execution after `start`, external orders' included, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class Bars:
    """What one request brought."""

    by_symbol: Mapping[str, Sequence[Bar]]
    refused: tuple[str, ...] = ()
    """A line for each bar that made no sense."""


class MarketData(Protocol):
    """Where minute bars come from; the simulator has one of its own."""

    def bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Bars:
        """Return the bars whose starts lie in [start, end]; a symbol may be missing."""
        ...


@dataclass(frozen=True, slots=True)
class Stored:
    """A symbol's state as it was read or written, with what the next write has to match."""

    state: SymbolState
    version: int | None
    """None: there is no item yet."""
    schema: int = SCHEMA
    unknown: dict[str, Any] = field(default_factory=dict)
    reason: Reason | None = field(default=None, compare=False)
    """Why this invocation's newest event changed the state, or left it alone; not stored."""


class Store(Protocol):
    """What the engine needs of the state table; the simulator has one of its own."""

    def load(self, symbol: str) -> Stored | None:
        """Return the symbol's state by a consistent read, None where there is no item."""
        ...

    def load_all(self, shard: int, shard_count: int) -> dict[str, Stored]:
        """Return every state of a shard that can be read, by symbol, by consistent reads."""
        ...

    def save(self, before: Stored, state: SymbolState) -> Stored:
        """Write the state if the item still is `before`; raises ConflictError otherwise."""
        ...

    def claim_minute(self, minute: datetime, shard: int, shard_count: int) -> bool:
        """Return whether this call is the first for the minute and shard."""
        ...

    def account_halt(self) -> str:
        """Return why the account enters nothing, "" where it may."""
        ...

    def halt_account(self, why: str) -> None:
        """Let the account enter nothing until resumed; "" resumes it."""
        ...

    def record_day(self, day: date, summary: str) -> None:
        """Keep a session's summary, JSON text, in the place of an earlier one."""
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
    """Where the list of symbols comes from."""

    def read(self) -> tuple[dict[str, SymbolRules], tuple[str, ...]]:
        """Return the rows that make sense by symbol, and a line for each that does not."""
        ...


class FanOut(Protocol):
    """Runs tasks side by side; the simulator takes turns instead."""

    def __call__(self, tasks: Sequence[Callable[[], T]], /) -> list[T]:
        """Return the tasks' results in their order; an exception of one is raised."""
        ...


class Outbox(Protocol):
    """Where messages to other functions and to people go."""

    def checkup_in(self, delay_s: int, at: datetime) -> None:
        """Let the checkup run after a delay."""
        ...

    def tick_in(self, delay_s: int, event: Mapping[str, Any]) -> None:
        """Let a tick's event come after a delay, where there is a queue for it."""
        ...

    def notify(self, subject: str, text: str) -> None:
        """Tell the owner."""
        ...


class Timing(Protocol):
    """A clock on the wall, one that only counts, and a wait."""

    def now(self) -> datetime:
        """Return this machine's time, aware UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only rise, to bound waits by."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
