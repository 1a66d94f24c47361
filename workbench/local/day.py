"""A whole trading day on one machine: the real handlers, real connections, a simulated market.

The exchange and AWS run in processes of their own. This one plays EventBridge Scheduler, the
queue's event source mapping and the Function URL, and invokes the six functions with the events
that AWS would send. Time is the exchange's (CLOCK=broker). A minute is over when the last event
that it caused was taken up, so a day takes seconds and comes out the same each time.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import TextIOBase
from typing import Any, Protocol, TextIO

import boto3

from scalper.core.order import OPEN_STATUSES
from scalper.core.session import MINUTE, floor_minute, parse_time
from scalper.shell.errors import ScalperError, SettingsError
from workbench.local import stack
from workbench.local.invocations import (
    CHECKUP,
    RELAY,
    TRADE_UPDATE,
    Context,
    InProcessInvoker,
    Invoker,
    queue_record,
)
from workbench.local.trade_updates import REFUSED_KEYS, RelayedTradeUpdates, TradeUpdates
from workbench.market.model import Market, MarketDay
from workbench.servers import aws
from workbench.servers.asgi import serving
from workbench.servers.processes import LocalDayError, Servers
from workbench.template.declared import load_template
from workbench.template.schedules import Schedule, schedules_of

LEAD = timedelta(minutes=5)
"""How long before the open and after the close of a session its schedules are played."""

HALF_MINUTE = timedelta(seconds=30)
PROGRESS_EVERY = 5
"""Minutes between two looks at the account for the progress bar."""


@dataclass(slots=True)
class Counts:
    """What only the run itself can count."""

    ticks: int = 0
    closed_days: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LocalOutcome:
    """The broker's orders and positions at the end, and what was counted on the way."""

    orders: list[dict[str, Any]]
    open_orders: int
    open_positions: int
    counts: Counts
    seconds: float


Progress = Callable[[datetime, int, float], None]
"""Called every few minutes: the time, how many minutes are done, and the P&L since the start."""

Invoke = Callable[[Schedule, datetime], None]
"""Invokes the function of a schedule for a minute."""


class Dispatcher(Protocol):
    """Starts the functions that are due in a minute, as EventBridge Scheduler does."""

    def dispatch(self, due: Sequence[Schedule], minute: datetime, invoke: Invoke) -> None:
        """Invoke what is due, and return when all of it has ended."""
        ...


class SequentialDispatcher:
    """Starts the functions of a minute in the template's order, each after the one before."""

    def dispatch(self, due: Sequence[Schedule], minute: datetime, invoke: Invoke) -> None:
        """Invoke what is due in order."""
        for schedule in due:
            invoke(schedule, minute)


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What a local day hands its work to; other days than `scalper run` give their own."""

    servers: Servers
    invoker: Invoker
    trade_updates: TradeUpdates
    dispatcher: Dispatcher = field(default_factory=SequentialDispatcher)

    @classmethod
    def of_one_process(cls, exchange_url: str, aws_url: str, log: TextIO) -> "Collaborators":
        """Return those of `scalper run`: the handlers run in this process and log to `log`."""
        servers = Servers(exchange_url, aws_url)
        invoker = InProcessInvoker(log)
        return cls(servers, invoker, RelayedTradeUpdates(servers, invoker))


class LocalDay:
    """Plays AWS for the functions, minute by minute, over every session of a market."""

    def __init__(
        self,
        market: Market,
        collaborators: Collaborators,
        *,
        output: TextIO | TextIOBase,
        lot: str = "2000",
        items: Sequence[stack.SymbolsItem] | None = None,
        progress: Progress | None = None,
        before_minute: Callable[[datetime], None] | None = None,
        after_minute: Callable[[datetime], None] | None = None,
    ) -> None:
        """Put a day together over servers that run; `lot` is decimal text in dollars.

        `output` takes what the handlers print. `items` are those of the symbols table; without
        them every symbol of the market has the default settings. `before_minute` and
        `after_minute` are called before and after all that a minute causes.
        """
        self._market = market
        self._servers = collaborators.servers
        self._invoker = collaborators.invoker
        self._trade_updates = collaborators.trade_updates
        self._dispatcher = collaborators.dispatcher
        self._output = output
        self._lot = lot
        self._items = items or [{"symbol": {"S": symbol}} for symbol in market.symbols]
        self._progress = progress
        self._before_minute = before_minute
        self._after_minute = after_minute
        self._counts = Counts()
        self._equity_usd = 0.0
        self._now = datetime.min.replace(tzinfo=UTC)

    def run(self) -> LocalOutcome:
        """Play every session from where the exchange's clock stands.

        Raises LocalDayError if a server is gone or an event is not taken up in time.
        """
        began = time.monotonic()
        template = load_template()
        schedules = schedules_of(template)
        with ExitStack() as cleanup:
            webhook_url = cleanup.enter_context(serving(self._trade_updates.webhook(), "webhook"))
            self._check_servers()
            resources = stack.deploy(template, self._servers, self._items)
            self._queues = boto3.client("sqs")
            cleanup.enter_context(redirect_stdout(self._output))
            self._invoker.start(
                {schedule.handler for schedule in schedules} | {TRADE_UPDATE, CHECKUP},
                stack.environment(resources, self._servers, webhook_url=webhook_url, lot=self._lot),
            )
            cleanup.callback(self._trade_updates.stop)
            self._equity_usd = self._servers.equity_usd()
            self._resume(schedules)
            minutes = [minute for day in self._market.days for minute in minutes_of(day)]
            for done, minute in enumerate(minutes, start=1):
                self._play(minute, schedules, resources)
                if self._progress and (done % PROGRESS_EVERY == 0 or done == len(minutes)):
                    self._progress(minute, done, self._servers.equity_usd() - self._equity_usd)
            orders = self._servers.orders()
            positions = self._servers.get("/v2/positions")
        open_orders = [order for order in orders if order["status"] in OPEN_STATUSES]
        seconds = time.monotonic() - began
        return LocalOutcome(orders, len(open_orders), len(positions), self._counts, seconds)

    def _check_servers(self) -> None:
        """Refuse an exchange that plays other bars than this run's; set the queues' clock by it."""
        state = self._servers.state()
        plays = {session["date"]: session["symbols"] for session in state["sessions"]}
        for day in self._market.days:
            if plays.get(day.session.day.isoformat()) != sorted(day.bars):
                raise LocalDayError(
                    f"{self._servers.exchange_url} plays other bars: it does not have the "
                    f"symbols of {day.session.day}"
                )
        self._servers.set_queues_clock(state["now"])

    def _resume(self, schedules: Sequence[Schedule]) -> None:
        """Start the relay at once if a killed day goes on: on AWS it would still run."""
        self._now = parse_time(self._servers.state()["now"])
        lately = [floor_minute(self._now) - n * MINUTE for n in range(LEAD // MINUTE)]
        for schedule in schedules:
            if schedule.handler == RELAY:
                for minute in filter(schedule.is_due, lately):
                    self._invoke(schedule, minute)

    # --- one minute ---------------------------------------------------------------------------

    def _play(
        self, minute: datetime, schedules: Sequence[Schedule], resources: aws.Resources
    ) -> None:
        """Play the minute that ends at `minute` and the half minute after it."""
        if self._now > minute + HALF_MINUTE:
            return
        if self._now <= minute:
            if self._before_minute is not None:
                self._before_minute(minute)
            self._advance(minute)
            due = [one for one in schedules if one.is_due(minute)]
            self._dispatcher.dispatch(due, minute, self._invoke)
        self._advance(minute + HALF_MINUTE)
        self._deliver(resources.checkup_queue_url, CHECKUP)
        if self._after_minute is not None:
            self._after_minute(minute)

    def _advance(self, to: datetime) -> None:
        """Move the exchange's clock and the queues', and let what follows be taken up."""
        events = self._servers.advance(to)
        self._now = to
        self._trade_updates.settle(events)

    def _invoke(self, schedule: Schedule, minute: datetime) -> None:
        event = schedule.event(minute)
        if schedule.handler == RELAY:
            self._trade_updates.start_relay(event)
            return
        answer = self._call(schedule.handler, event)
        if answer.get("status") == "keys_refused":
            raise LocalDayError(REFUSED_KEYS)
        if schedule.handler == "tick.handler" and answer.get("status") == "ok":
            self._counts.ticks += 1
        if schedule.handler == "close_day.handler" and "trades" in answer:
            self._counts.closed_days.append(answer)
        self._trade_updates.settle()

    def _call(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        """Invoke a function; return its answer, an empty one if it raised.

        What it left undone the next invocation does. Raises LocalDayError if none can do it.
        """
        try:
            answer: dict[str, Any] = self._invoker.invoke(name, event, Context())
        except SettingsError as error:
            raise LocalDayError(f"{name}: {error}") from error
        except ScalperError as error:
            logging.getLogger("scalper").exception(
                "invocation failed", extra={"handler": name, "error": str(error)}
            )
            return {}
        return answer

    def _deliver(self, queue_url: str, name: str) -> None:
        """Do what the event source mapping does: hand over what is due, delete what was taken."""
        with stack.aws_answers():
            messages = self._queues.receive_message(
                QueueUrl=queue_url, MaxNumberOfMessages=10, AttributeNames=["All"]
            ).get("Messages", [])
        if not messages:
            return
        answer = self._call(name, {"Records": [queue_record(one, queue_url) for one in messages]})
        if "batchItemFailures" not in answer:
            return
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        with stack.aws_answers():
            for message in messages:
                if message["MessageId"] not in failed:
                    self._queues.delete_message(
                        QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"]
                    )
        self._trade_updates.settle()


def minutes_of(day: MarketDay) -> list[datetime]:
    """Return the minutes of a session to be played, from before the open to after the close."""
    session = day.session
    count = (session.close - session.open + 2 * LEAD) // MINUTE
    return [session.open - LEAD + n * MINUTE for n in range(count + 1)]
