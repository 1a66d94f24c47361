"""Fakes of the ports, and a desk that puts them together.

The broker keeps its orders in a dictionary, and fails as a test tells it to. The store is the
MemoryStore, which the conformance suite compares with DynamoDB. Both log every call in one list.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from scalper.core.model import Phase, SymbolState
from scalper.core.order import ClientOrderId, Order, OrderReport, Purpose
from scalper.core.pricing import DOLLAR, Money, tick_size
from scalper.core.session import Session, floor_minute, new_york_day
from scalper.core.signal import Bar
from scalper.shell.alpaca.broker import NOT_UNIQUE
from scalper.shell.errors import (
    ConflictError,
    DuplicateOrderError,
    RefusedError,
    StoreDownError,
    UnknownOutcomeError,
)
from scalper.shell.memory_store import MemoryStore
from scalper.shell.ports import Bars, Clock, Delivery, Fill, Position, Stored, SymbolRules
from scalper.shell.settings import Settings
from scalper.shell.trading.checkup import checkup
from scalper.shell.trading.close_day import close_day
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.liquidate import liquidate
from scalper.shell.trading.tick import tick
from scalper.shell.trading.tick_schedule import TickDue
from scalper.shell.trading.trade_update import trade_update
from scalper.shell.trading.window import Window

T = TypeVar("T")
Log = list[tuple[Any, ...]]

DAY = date(2025, 3, 5)
SESSION = Session.of(DAY, "09:30", "16:00")
OPEN, CLOSE, CUTOFF = SESSION.open, SESSION.close, SESSION.liquidate_at
LOT: Money = 2000 * DOLLAR
PRICE: Money = 100 * DOLLAR
QTY = 20
"""Shares of a lot at PRICE."""


def minute(number: float) -> datetime:
    """Return a time so many minutes after the open."""
    return OPEN + timedelta(minutes=number)


def client_id(generation: int, purpose: str = "entry", symbol: str = "AAA", day: date = DAY) -> str:
    return str(ClientOrderId("paper", symbol, day, generation, Purpose(purpose)))


def settings(**changes: Any) -> Settings:
    given: dict[str, Any] = {
        "symbols_table": "symbols",
        "state_table": "state",
        "clock": "broker",
        "bar_wait_s": 0.0,
    }
    return Settings(**given | changes)


def always(bars: Sequence[Bar], /) -> bool:
    return True


def never(bars: Sequence[Bar], /) -> bool:
    return False


def bar(start: datetime, close: Money = PRICE) -> Bar:
    return Bar(start, close, close, close, close, 100)


class FakeBroker:
    """The Broker protocol over a dictionary of orders; `fail` lets a method's next calls fail."""

    def __init__(self, log: Log, now: datetime) -> None:
        self.log = log
        self.now = now
        self.skew = timedelta(0)
        self.sessions: dict[date, Session | None] = {DAY: SESSION}
        self.book: dict[str, OrderReport] = {}
        self.held: dict[str, int] = defaultdict(int)
        self.cancels_take = True
        self.positions_answer: dict[str, int] | None = None
        self.fill_before_answer: Money | None = None
        self.blocked = ""
        self.fills: list[Fill] = []
        self.requests_a_minute: int | None = None
        """The limit of requests a minute; a request above it is refused with 429."""
        self._taken: dict[datetime, int] = defaultdict(int)
        self._scripts: dict[str, deque[BaseException | None]] = defaultdict(deque)
        self._made = 0
        self._stamps = 0

    # Scripts

    def fail(self, method: str, *errors: BaseException | None) -> None:
        """Let the method's next calls raise before any effect; None lets one call succeed."""
        self._scripts[method].extend(errors)

    def fail_after(self, method: str, error: BaseException) -> None:
        """Let the method's next call take effect and raise all the same."""
        self._scripts[f"after {method}"].append(error)

    def always_fail(self, method: str, error: Exception) -> None:
        self.fail(method, *[error] * 500)

    def heal(self) -> None:
        self._scripts.clear()

    def _trip(self, method: str) -> None:
        if self.requests_a_minute is not None and not method.startswith("after "):
            this_minute = floor_minute(self.now)
            if self._taken[this_minute] == self.requests_a_minute:
                raise RefusedError(429, 42910000, "rate limit exceeded")
            self._taken[this_minute] += 1
        if self._scripts[method]:
            error = self._scripts[method].popleft()
            if error is not None:
                raise error

    # The protocol

    def clock(self) -> Clock:
        self._trip("clock")
        session = self.sessions.get(new_york_day(self.now))
        return Clock(self.now + self.skew, session is not None and session.holds(self.now))

    def session(self, day: date) -> Session | None:
        self._trip("session")
        return self.sessions.get(day)

    def account_block(self) -> str:
        self._trip("account_block")
        return self.blocked

    def submit(self, symbol: str, order: Order) -> OrderReport:
        self.log.append(("submit", order.client_order_id, order.qty, order.limit))
        self._trip("submit")
        if order.client_order_id in self.book:
            raise DuplicateOrderError(422, NOT_UNIQUE, "client_order_id must be unique")
        if order.limit is not None and order.limit % tick_size(order.limit):
            raise RefusedError(422, 42210000, "sub-penny increment")
        if self._would_trade_with_itself(symbol, order):
            raise RefusedError(403, 40310000, "potential wash trade detected")
        if not order.is_buy and order.qty > self.available(symbol):
            raise RefusedError(403, 40310000, "insufficient qty available for order")
        self.put(symbol, order.client_order_id, qty=order.qty, limit=order.limit)
        placed = self.book[order.client_order_id]
        if self.fill_before_answer is not None:
            self.fill(order.client_order_id, self.fill_before_answer)
        self._trip("after submit")
        return placed

    def cancel(self, broker_id: str) -> None:
        if not broker_id:
            raise UnknownOutcomeError("cancel: an order without the broker's id")
        report = next((one for one in self.book.values() if one.broker_id == broker_id), None)
        self.log.append(("cancel", report.client_order_id if report else broker_id))
        self._trip("cancel")
        if report and report.status in ("new", "partially_filled"):
            status = "canceled" if self.cancels_take else "pending_cancel"
            self.say(report.client_order_id, status=status)
        self._trip("after cancel")

    def find(self, client_order_id: str) -> OrderReport | None:
        self.log.append(("find", client_order_id))
        self._trip("find")
        report = self.book.get(client_order_id)
        return None if report is None else replace(report, confirmed=True)

    def find_by_id(self, broker_id: str) -> OrderReport | None:
        self.log.append(("find_by_id", broker_id))
        self._trip("find_by_id")
        found = [one for one in self.book.values() if one.broker_id == broker_id]
        return replace(found[0], confirmed=True) if found else None

    def open_orders(self) -> list[OrderReport]:
        self.log.append(("open_orders",))
        self._trip("open_orders")
        return self.open_orders_now()

    def orders_since(self, start: datetime) -> list[OrderReport]:
        self.log.append(("orders_since",))
        self._trip("orders_since")
        made = [one for one in self.book.values() if (one.submitted_at or start) >= start]
        return [replace(one, confirmed=True) for one in made]

    def positions(self) -> dict[str, Position]:
        self.log.append(("positions",))
        self._trip("positions")
        shown = self.positions_answer
        if shown is None:
            shown = {symbol: qty for symbol, qty in self.held.items() if qty}
        return {s: Position(qty, max(self.available(s), 0)) for s, qty in shown.items()}

    def fills_since(self, start: datetime) -> list[Fill]:
        self._trip("fills_since")
        return list(self.fills)

    # What happens at the broker

    def open_orders_now(self) -> list[OrderReport]:
        """Return every open order, without a request."""
        return [replace(one, confirmed=True) for one in self.book.values() if self._is_open(one)]

    def put(
        self, symbol: str, client_order_id: str, *, qty: int = QTY, limit: Money | None = PRICE
    ) -> None:
        """Place an order, also an external one."""
        self._made += 1
        self.book[client_order_id] = OrderReport(
            client_order_id=client_order_id,
            status="new",
            symbol=symbol,
            qty=qty,
            limit=limit,
            submitted_at=self.now,
            updated_at=self.now,
            broker_id=f"b{self._made}",
        )

    def fill(self, client_order_id: str, price: Money, qty: int | None = None) -> OrderReport:
        """Fill an order, `qty` shares more or all that is left; return what the broker says."""
        report = self.book[client_order_id]
        more = report.qty - report.filled_qty if qty is None else qty
        filled = report.filled_qty + more
        made = ClientOrderId.parse(client_order_id)
        buys = made is not None and made.purpose is Purpose.ENTRY
        self.held[report.symbol] += more if buys else -more
        self.fills.append(Fill(report.broker_id, report.symbol, buys, more, more * price))
        return self.say(
            client_order_id,
            status="filled" if filled == report.qty else "partially_filled",
            filled_qty=filled,
            filled_value=report.filled_value + more * price,
        )

    def say(self, client_order_id: str, **changes: Any) -> OrderReport:
        report = replace(self.book[client_order_id], updated_at=self._stamp(), **changes)
        self.book[client_order_id] = report
        return report

    def available(self, symbol: str) -> int:
        held_for_orders = sum(
            one.qty - one.filled_qty
            for one in self.book.values()
            if one.symbol == symbol and self._is_open(one) and not _is_entry(one)
        )
        return self.held[symbol] - held_for_orders

    def _would_trade_with_itself(self, symbol: str, order: Order) -> bool:
        """Whether an open order of the other side could fill this one."""
        for one in self.book.values():
            if one.symbol == symbol and self._is_open(one) and _is_entry(one) != order.is_buy:
                if one.limit is None or order.limit is None:
                    return True
                if (order.limit - one.limit) * (1 if order.is_buy else -1) >= 0:
                    return True
        return False

    def _is_open(self, report: OrderReport) -> bool:
        return report.status not in ("filled", "canceled", "expired", "rejected", "replaced")

    def _stamp(self) -> datetime:
        self._stamps += 1
        return self.now + timedelta(microseconds=self._stamps)


def _is_entry(report: OrderReport) -> bool:
    return report.client_order_id.endswith("entry")


class RecordingStore(MemoryStore):
    """The memory store, with a log, faults and a hook before a write."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log
        self.down: set[str] = set()
        self.unreadable: set[str] = set()
        self.before_save: Callable[[SymbolState], None] | None = None

    def load(self, symbol: str) -> Stored | None:
        self._trip("load")
        if symbol in self.unreadable:
            raise StoreDownError(f"{symbol}: cannot be read")
        return super().load(symbol)

    def load_all(self, shard: int, shard_count: int) -> dict[str, Stored]:
        self._trip("load_all")
        found = super().load_all(shard, shard_count)
        return {s: one for s, one in found.items() if s not in self.unreadable}

    def save(self, before: Stored, state: SymbolState) -> Stored:
        self._trip("save")
        if self.before_save is not None:
            self.before_save(state)
        if state.symbol in self.unreadable:
            raise ConflictError(f"{state.symbol}: there is an item")
        stored = super().save(before, state)
        order = state.order.client_order_id if state.order else None
        self.log.append(("save", state.symbol, state.phase.value, order))
        return stored

    def claim_minute(self, minute: datetime, shard: int, shard_count: int) -> bool:
        self._trip("claim_minute")
        self.log.append(("claim", minute))
        return super().claim_minute(minute, shard, shard_count)

    def account_halt(self) -> str:
        self._trip("account_halt")
        return super().account_halt()

    def record_day(self, day: date, summary: str) -> None:
        self._trip("record_day")
        super().record_day(day, summary)

    def lose(self, symbol: str) -> None:
        del self._states[symbol]

    def _trip(self, method: str) -> None:
        if method in self.down or "all" in self.down:
            raise StoreDownError("the state table does not answer")


class FakeMarket:
    """The MarketData protocol over bars that the test puts there."""

    def __init__(self) -> None:
        self.by_symbol: dict[str, list[Bar]] = {}
        self.asked: list[tuple[tuple[str, ...], datetime, datetime]] = []
        self.error: Exception | None = None
        self.refused: tuple[str, ...] = ()

    def bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Bars:
        self.asked.append((tuple(symbols), start, end))
        if self.error is not None:
            raise self.error
        if start > end:
            return Bars({}, tuple(f"{one}: end should not be before start" for one in symbols))
        found = {
            symbol: [one for one in self.by_symbol.get(symbol, []) if start <= one.start <= end]
            for symbol in symbols
        }
        return Bars({symbol: bars for symbol, bars in found.items() if bars}, self.refused)


class FakeSymbols:
    """The Symbols protocol over a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, SymbolRules] = {}
        self.refused: tuple[str, ...] = ()
        self.error: Exception | None = None

    def read(self) -> tuple[dict[str, SymbolRules], tuple[str, ...]]:
        if self.error is not None:
            raise self.error
        return dict(sorted(self.rows.items())), self.refused


@dataclass
class RecordingOutbox:
    """The Outbox protocol; keeps what it is given."""

    checkups: list[int] = field(default_factory=list)
    ticks: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    mails: list[tuple[str, str]] = field(default_factory=list)

    def checkup_in(self, delay_s: int, at: datetime) -> None:
        self.checkups.append(delay_s)

    def tick_in(self, delay_s: int, event: Mapping[str, Any]) -> None:
        self.ticks.append((delay_s, dict(event)))

    def notify(self, subject: str, text: str) -> None:
        self.mails.append((subject, text))


def in_turn(tasks: Sequence[Callable[[], T]], /) -> list[T]:
    """Run tasks one after the other; as the pool does, all of them before the first error."""
    results: list[T] = []
    first: Exception | None = None
    for task in tasks:
        try:
            results.append(task())
        except Exception as error:  # noqa: BLE001 - raised below
            first = first or error
    if first is not None:
        raise first
    return results


class Desk:
    """One account under an engine of fakes, and its functions as a test calls them."""

    def __init__(self, **changes: Any) -> None:
        self.log: Log = []
        self.broker = FakeBroker(self.log, OPEN)
        self.store = RecordingStore(self.log)
        self.market = FakeMarket()
        self.symbols = FakeSymbols()
        self.outbox = RecordingOutbox()
        self.engine = Engine(
            settings=settings(**changes),
            store=self.store,
            broker=self.broker,
            window=Window(self.market),
            symbols=self.symbols,
            outbox=self.outbox,
            fan_out=in_turn,
        )

    def trade(self, *names: str, **row: Any) -> None:
        """Put symbols into the table, with an always-buy signal and a bar at each minute."""
        for name in names:
            given: dict[str, Any] = {"lot": LOT, "signal": always}
            self.symbols.rows[name] = SymbolRules(name, **given | row)
            ticks = [*SESSION.ticks()]
            self.market.by_symbol[name] = [bar(at - timedelta(minutes=1)) for at in ticks]

    def tick(self, number: float, **late: Any) -> dict[str, Any]:
        self.broker.now = minute(number) + late.get("late", timedelta(0))
        return tick(self.engine, TickDue(minute(number)))

    def checkup(self, number: float) -> dict[str, Any]:
        self.broker.now = minute(number)
        return checkup(self.engine, minute(number))

    def liquidate(self, at: datetime) -> dict[str, Any]:
        self.broker.now = at
        return liquidate(self.engine, at)

    def close_day(self, at: datetime) -> dict[str, Any]:
        self.broker.now = at
        return close_day(self.engine, at)

    def update(self, report: OrderReport, at: datetime, price: Money | None = None) -> Any:
        self.broker.now = at
        return trade_update(self.engine, Delivery(report, price, at))

    def state(self, symbol: str = "AAA") -> SymbolState:
        stored = MemoryStore.load(self.store, symbol)
        assert stored is not None
        return stored.state

    def phase(self, symbol: str = "AAA") -> Phase:
        return self.state(symbol).phase

    def sent(self) -> list[tuple[Any, ...]]:
        """Return what was sent to the broker with an effect, in order."""
        return [one for one in self.log if one[0] in ("submit", "cancel")]

    def submitted(self) -> list[str]:
        return [one[1] for one in self.log if one[0] == "submit"]

    def buy(self, number: float = 1, symbol: str = "AAA") -> str:
        """Tick so that a buy works; return its client id."""
        if symbol not in self.symbols.rows:
            self.trade(symbol)
        self.tick(number)
        order = self.state(symbol).order
        assert order is not None
        assert order.is_buy
        return order.client_order_id

    def hold(self, number: float = 1, symbol: str = "AAA") -> str:
        """Buy, fill and deliver the event; return the client id of the target, which works."""
        report = self.broker.fill(self.buy(number, symbol), PRICE)
        self.update(report, minute(number) + timedelta(seconds=10), PRICE)
        order = self.state(symbol).order
        assert order is not None
        assert order.purpose is Purpose.TARGET
        return order.client_order_id

    def land_after_it_was_abandoned(self) -> None:
        """Let a buy be abandoned and land after that; no further signal comes."""
        self.trade("AAA")
        self.broker.always_fail("submit", UnknownOutcomeError("read timed out"))
        self.tick(1)
        self.stop_entries()
        for number in (2, 3, 4):
            self.tick(number)
        self.broker.heal()
        self.broker.put("AAA", client_id(1))

    def stop_entries(self) -> None:
        self.symbols.rows = {s: replace(r, signal=never) for s, r in self.symbols.rows.items()}
