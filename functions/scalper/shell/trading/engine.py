"""The order path of one symbol: step, store the intent, send, join the answer, store.

An intent is in the table before its order is sent. One invocation sends an order once. If the
answer is lost, the order stays an intent until the broker says what became of it. If two
invocations write one state, one of them meets a conflict: it loads the state and decides again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TypeVar

from scalper.core import machine
from scalper.core.model import (
    AccountFacts,
    CancelOrder,
    Command,
    Event,
    InvariantError,
    OrderSeen,
    Reason,
    Rules,
    Step,
    SubmitOrder,
    SymbolFacts,
    SymbolState,
)
from scalper.core.order import ABSENT, REFUSED, Order, OrderReport, Progress, progress_of
from scalper.core.recovery import begin_session
from scalper.core.session import Session
from scalper.core.working_order import ABSENCES_TO_ABANDON
from scalper.shell.codec import SCHEMA
from scalper.shell.errors import (
    BrokerError,
    ConflictError,
    DuplicateOrderError,
    RefusedError,
    ScalperError,
    UnknownOutcomeError,
)
from scalper.shell.metrics import Metric
from scalper.shell.ports import (
    Broker,
    FanOut,
    Outbox,
    Store,
    Stored,
    SymbolRules,
    Symbols,
    Timing,
)
from scalper.shell.settings import Settings
from scalper.shell.telemetry import count, log_step, logger
from scalper.shell.timing import SystemTiming
from scalper.shell.trading.own_orders import (
    checkup_due,
    confirmed_positions,
    day_start,
    find,
    may_already_be_sold,
    unrecorded_reports,
)
from scalper.shell.trading.window import Window

T = TypeVar("T")

TOO_MANY_REQUESTS = 429

MAX_CONFLICTS = 5
"""Attempts to store one step while others write the same state."""

MAX_EVENTS = 12
"""Events that one event may lead to in one invocation. A longer chain is a defect."""


@dataclass(slots=True)
class Engine:
    """The ports of one invocation, and the order path over them."""

    settings: Settings
    store: Store
    broker: Broker
    window: Window
    symbols: Symbols
    outbox: Outbox
    fan_out: FanOut
    timing: Timing = field(default_factory=SystemTiming)
    sessions: dict[date, Session] = field(default_factory=dict)
    sent_at: float | None = None
    """When the newest order was answered, in seconds of the monotonic clock."""

    def now(self) -> datetime:
        """Return the time by which the system decides: this machine's, or the broker's (CLOCK)."""
        if self.settings.clock == "broker":
            return self.broker.clock().now
        return self.timing.now()

    def session(self, day: date) -> Session | None:
        """Return the trading hours of a New York date, None on a day without a session.

        A warm process asks the broker once, but asks again after None: if that was wrong, the next
        tick trades.
        """
        session = self.sessions.get(day) or self.broker.session(day)
        if session is not None:
            self.sessions[day] = session
        return session

    def states(self, session: Session, shard: int = 0, shard_count: int = 1) -> dict[str, Stored]:
        """Return a shard's states in this session; an idle state of an older one starts anew."""
        stored = self.store.load_all(shard, shard_count)
        return {
            s: _with_state(one, begin_session(one.state, session.day)) for s, one in stored.items()
        }

    def rules(
        self,
        session: Session,
        row: SymbolRules | None,
        account: AccountFacts = AccountFacts(),  # noqa: B008 - frozen, and it forbids nothing
    ) -> Rules:
        """Return what holds for a symbol; without a row it exits, and does not enter."""
        if row is None:
            return Rules(
                session=session,
                mode=self.settings.mode,
                lot=self.settings.default_lot,
                account=account,
                symbol=SymbolFacts(enabled=False),
            )
        return row.rules(session, self.settings.mode, account)

    def drive(
        self,
        stored: Stored,
        event: Event,
        rules: Rules,
        orders: Sequence[OrderReport] | None = None,
    ) -> Stored:
        """Take an event, and every event that follows from it, to the end.

        The result's `reason` is that of the event's own step. If the event has to wait for the
        next invocation, it is that of the first step taken instead.

        `orders` are the day's orders, if the caller has listed them because requests are scarce.
        Then this method asks neither for these orders nor for the effect of a cancel.

        Raises StoreError if a write failed, InvariantError if the machine refuses its own step.
        Nothing is sent that was not stored before.
        """
        asked = event
        reason: Reason | None = None
        pending = deque([event])
        canceled: set[str] = set()
        confirmed: set[str] = set()
        has_asked = False
        for _ in range(MAX_EVENTS):
            if not pending:
                return replace(stored, reason=reason)
            event = pending.popleft()
            if not has_asked and may_already_be_sold(event, stored.state, rules):
                has_asked = True
                news = unrecorded_reports(self.broker, stored.state, event, rules, orders)
                if not any(progress_of(one.report.status) is Progress.LIVE for one in news):
                    pending.appendleft(event)
                # Else an open order may sell the shares: they wait for the next invocation.
                pending.extendleft(reversed(news))
                continue
            stored, step = self._advance(stored, event, rules)
            if reason is None or event is asked:
                reason = step.reason
            state = stored.state
            for command in step.commands:
                if isinstance(command, CancelOrder):
                    # After a cancel the order may still be open; once is enough.
                    if command.client_order_id in canceled:
                        continue
                    canceled.add(command.client_order_id)
                pending += self._carry_out(state, command, event.at, asks=orders is None)
            if step.reason is Reason.EXIT_ENDED_UNFILLED and state.order is None:
                pending += self._bail_out(state, event.at, rules)
            doubted = _doubted(state, event, step)
            if doubted and doubted not in confirmed and not pending:
                confirmed.add(doubted)
                pending += self.ask(state, doubted, event.at)
        logger.error("a chain of events did not end", extra={"symbol": stored.state.symbol})
        return replace(stored, reason=reason)

    def orders_of_day(self, session: Session) -> list[OrderReport]:
        """Return every order of the session's day, external and closed orders included."""
        return self.broker.orders_since(day_start(session.open))

    def isolate(self, symbol: str, task: Callable[[], T]) -> T | None:
        """Run the task of one symbol; log its failure, which stops only that symbol: None."""
        try:
            return task()
        except (ScalperError, InvariantError) as error:
            count(Metric.SYMBOL_FAILURES)
            logger.error(
                "symbol failed",
                exc_info=isinstance(error, InvariantError),
                extra={"symbol": symbol, "error": f"{type(error).__name__}: {error}"},
            )
            return None

    def _advance(self, stored: Stored, event: Event, rules: Rules) -> tuple[Stored, Step]:
        """Step and store; on a conflict, load what another invocation wrote, and step again."""
        for _ in range(MAX_CONFLICTS):
            rules = rules_for(stored, rules)
            before = begin_session(stored.state, rules.session.day)
            step = machine.step(before, event, rules)
            version = stored.version
            try:
                if step.state == before and not step.commands and version is not None:
                    stored = _with_state(stored, before)
                else:
                    stored = self.store.save(stored, step.state)
            except ConflictError:
                count(Metric.CONFLICTS)
                present = self.store.load(before.symbol)
                if present is None:
                    raise
                stored = present
                # The report is older than this state, so it confirms nothing about it.
                event = _unconfirmed(event)
            else:
                # Only a stored decision is logged: one that met a conflict must not alarm.
                log_step(before, event, step, version or 0, self._lag_ms(event.at))
                return stored, step
        raise ConflictError(f"{event.symbol}: {MAX_CONFLICTS} conflicts in a row")

    def _lag_ms(self, at: datetime) -> int | None:
        """Return the event's age in milliseconds, None with a simulated clock."""
        if self.settings.clock == "broker":
            return None
        return round((self.timing.now() - at).total_seconds() * 1000)

    def _carry_out(
        self, state: SymbolState, command: Command, at: datetime, *, asks: bool
    ) -> list[Event]:
        """Send a command once; return the broker's answer as events, none if it is unknown.

        `asks`: ask for a canceled order at once, to learn whether the cancel had an effect.
        """
        match command:
            case SubmitOrder(order):
                answered = self._submit(state, order, at)
                self.sent_at = self.timing.monotonic()
                return answered
            case CancelOrder(client_order_id, broker_id):
                try:
                    self.broker.cancel(broker_id)
                except UnknownOutcomeError as error:
                    _log_unknown(state.symbol, client_order_id, error)
                return self.ask(state, client_order_id, at) if asks else []

    def _submit(self, state: SymbolState, order: Order, at: datetime) -> list[Event]:
        symbol = state.symbol
        try:
            report = self.broker.submit(symbol, order)
        except RefusedError as error:
            # A duplicate means that an earlier send of the order landed. If no request shows it,
            # the broker meant something else, and the machine takes it for a refusal.
            duplicate = isinstance(error, DuplicateOrderError)
            if duplicate and order.absences < ABSENCES_TO_ABANDON:
                return self.ask(state, order.client_order_id, at)
            count(Metric.ORDERS_REFUSED)
            logger.warning(
                "order refused",
                extra={
                    "symbol": symbol,
                    "client_order_id": order.client_order_id,
                    "status": error.status,
                    "code": error.code,
                    "error": error.message,
                },
            )
            report = OrderReport(
                client_order_id=order.client_order_id,
                status=REFUSED,
                throttled=error.status == TOO_MANY_REQUESTS,
            )
        except UnknownOutcomeError as error:
            _log_unknown(symbol, order.client_order_id, error)
            return []
        return [OrderSeen(symbol=symbol, at=at, report=report)]

    def ask(self, state: SymbolState, client_order_id: str, at: datetime) -> list[Event]:
        """Return what the broker says of an order, as an event; nothing if it says nothing."""
        try:
            report = find(self.broker, state, client_order_id)
        except ScalperError as error:
            _log_unknown(state.symbol, client_order_id, error)
            return []
        if report.status == ABSENT:
            # This request follows one with an effect, so it is too early to call the order absent.
            return []
        return [OrderSeen(symbol=state.symbol, at=at, report=report)]

    def _bail_out(self, state: SymbolState, at: datetime, rules: Rules) -> list[Event]:
        """Ask for the position before the shares of a sell that others ended are sold again.

        If the position is not known, the shares wait for a checkup.
        """
        if at >= rules.session.close:
            return []
        try:
            positions = self.broker.positions()
            held = confirmed_positions(
                [state.symbol], positions, self.orders_of_day(rules.session), at
            )
        except BrokerError as error:
            count(Metric.BROKER_ERRORS)
            logger.error("request failed", extra={"what": "positions", "error": str(error)})
            return []
        return [checkup_due(state.symbol, at, held.get(state.symbol))]


def rules_for(stored: Stored, rules: Rules) -> Rules:
    """Return the rules with the fact that only the stored item shows: whose schema it has."""
    if stored.schema > SCHEMA:
        return replace(rules, symbol=replace(rules.symbol, newer_schema=True))
    return rules


def _with_state(stored: Stored, state: SymbolState) -> Stored:
    return stored if stored.state is state else replace(stored, state=state)


def _doubted(state: SymbolState, event: Event, step: Step) -> str:
    """Return the client id of an order that needs a request before the chain may end, or ""."""
    order = state.order
    if order is not None and order.needs_confirmation:
        return order.client_order_id
    if not isinstance(event, OrderSeen):
        return ""
    followed = step.reason is Reason.REPLACED_ORDER and order is not None and order.successor
    if followed or step.reason is Reason.AWAITING_CONFIRMATION:
        return event.report.client_order_id
    return ""


def _unconfirmed(event: Event) -> Event:
    if isinstance(event, OrderSeen) and event.report.status != ABSENT:
        return replace(event, report=replace(event.report, confirmed=False))
    return event


def _log_unknown(symbol: str, client_order_id: str, error: ScalperError) -> None:
    count(Metric.UNKNOWN_OUTCOMES)
    logger.warning(
        "outcome unknown",
        extra={"symbol": symbol, "client_order_id": client_order_id, "error": str(error)},
    )
