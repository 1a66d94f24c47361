"""A whole trading day on one machine: the real handlers, real connections, a simulated market.

The exchange and AWS run in processes of their own; this one plays EventBridge Scheduler, the
queue's event source mapping and the Function URL, and calls the six handlers with the events that
AWS would send. Time is the exchange's (CLOCK=broker): a minute is over when the last event that
it caused has been taken up, so a day takes seconds and comes out the same each time.
"""

import base64
import importlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from scalper.core.order import OPEN_STATUSES
from scalper.core.session import MINUTE, floor_minute, parse_time
from scalper.shell.errors import ScalperError, SettingsError, UnauthorizedError
from scalper.shell.relay.stream import POST_ATTEMPTS
from workbench.local.invocations import (
    Context,
    LongInvocation,
    WithoutMetrics,
    function_url_event,
    queue_record,
)
from workbench.market.model import Market, MarketDay
from workbench.servers import aws
from workbench.servers.keys import KEY_ID, SECRET_KEY
from workbench.servers.loopback import serving
from workbench.servers.processes import STOP_WITHIN_S, LocalDayError, Servers
from workbench.template.declared import load_template
from workbench.template.schedules import Schedule, schedules_of

LEAD = timedelta(minutes=5)
"""How long before the open and after the close of a session its schedules are played."""

HALF_MINUTE = timedelta(seconds=30)
PROGRESS_EVERY = 5
"""Minutes between two looks at the account for the progress bar."""

SETTLE_WITHIN_S = 20.0
LISTEN_WITHIN_S = 45.0
"""The relay of a day that was killed may hold its lease for `LEASE_S` yet."""


@dataclass(slots=True)
class Counts:
    """What only the run itself can count."""

    ticks: int = 0
    closed_days: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The broker's books at the end, and what was counted on the way."""

    orders: list[dict[str, Any]]
    open_orders: int
    open_positions: int
    counts: Counts
    seconds: float


Progress = Callable[[datetime, int, float], None]
"""Called every few minutes: the time, how many minutes are done, and the P&L since the start."""


class LocalDay:
    """Plays AWS for the handlers, minute by minute, over every session of a market."""

    def __init__(
        self,
        market: Market,
        *,
        exchange_url: str,
        aws_url: str,
        log: TextIO,
        lot: str = "2000",
        progress: Progress | None = None,
        after_minute: Callable[[datetime], None] | None = None,
    ) -> None:
        """Put a day together over servers that are running; `lot` is decimal text in dollars.

        `after_minute` is called once all that a minute caused is over: a test's way in.
        """
        self._market = market
        self._servers = Servers(exchange_url, aws_url)
        self._log = log
        self._lot = lot
        self._progress = progress
        self._after_minute = after_minute
        self._counts = Counts()
        self._equity_usd = 0.0
        self._taken = _Deliveries()
        self._missed = 0
        self._settled = 0
        self._now = datetime.min.replace(tzinfo=UTC)
        self._relay: LongInvocation | None = None
        self._handlers: dict[str, Callable[[Any, Any], Any]] = {}
        self._environment: dict[str, str] = {}

    def run(self) -> Outcome:
        """Play every session from where the exchange's clock stands; return the broker's books.

        Raises LocalDayError where a server is gone or an event is not taken up in time.
        """
        began = time.monotonic()
        template = load_template()
        schedules = schedules_of(template)
        with ExitStack() as stack:
            webhook_url = stack.enter_context(serving(self._function_url(), "webhook"))
            self._check_servers()
            resources = self._prepare(template, webhook_url)
            stack.enter_context(redirect_stdout(WithoutMetrics(self._log)))
            self._load_handlers(schedules, resources)
            stack.callback(self._stop_relay)
            self._equity_usd = self._servers.equity_usd()
            self._resume(schedules)
            minutes = [minute for day in self._market.days for minute in _minutes(day)]
            for done, minute in enumerate(minutes, start=1):
                self._play(minute, schedules, resources)
                if self._progress and (done % PROGRESS_EVERY == 0 or done == len(minutes)):
                    self._progress(minute, done, self._servers.equity_usd() - self._equity_usd)
            orders = self._servers.orders()
            positions = self._servers.get("/v2/positions")
        open_orders = [order for order in orders if order["status"] in OPEN_STATUSES]
        seconds = time.monotonic() - began
        return Outcome(orders, len(open_orders), len(positions), self._counts, seconds)

    def _resume(self, schedules: Sequence[Schedule]) -> None:
        """Start the relay at once where a killed day goes on: on AWS it would still run."""
        self._now = parse_time(self._servers.state()["now"])
        lately = [floor_minute(self._now) - n * MINUTE for n in range(LEAD // MINUTE)]
        for schedule in schedules:
            if schedule.handler == "relay.handler":
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
            self._advance(minute)
            self._fire([one for one in schedules if one.is_due(minute)], minute)
        self._advance(minute + HALF_MINUTE)
        self._deliver(resources.checkup_queue_url, "checkup.handler")
        if self._after_minute is not None:
            self._after_minute(minute)

    def _fire(self, due: Sequence[Schedule], minute: datetime) -> None:
        """Be Scheduler in a minute."""
        for schedule in due:
            self._invoke(schedule, minute)

    def _advance(self, to: datetime) -> None:
        """Move the exchange's clock and the queues', and let what follows be taken up."""
        events = self._servers.advance(to)
        self._now = to
        self._settle(events)

    def _invoke(self, schedule: Schedule, minute: datetime) -> None:
        event = schedule.event(minute)
        if schedule.handler == "relay.handler":
            self._start_relay(event)
            return
        answer = self._call(schedule.handler, event)
        if answer.get("status") == "keys_refused":
            raise LocalDayError(_REFUSED_KEYS)
        if schedule.handler == "tick.handler" and answer.get("status") == "ok":
            self._counts.ticks += 1
        if schedule.handler == "close_day.handler" and "trades" in answer:
            self._counts.closed_days.append(answer)
        self._settle()

    def _call(self, name: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke a function; return its answer, an empty one where it raised.

        What it left undone the next invocation does. Raises LocalDayError where none can do it.
        """
        try:
            answer: dict[str, Any] = self._handlers[name](event, Context())
        except SettingsError as error:
            raise LocalDayError(f"{name}: {error}") from error
        except ScalperError as error:
            logging.getLogger("scalper").exception(
                "invocation failed", extra={"handler": name, "error": str(error)}
            )
            return {}
        return answer

    def _deliver(self, queue_url: str, name: str) -> None:
        """Be the event source mapping: hand over what is due and delete what was taken."""
        with _aws_answers():
            messages = self._queues.receive_message(
                QueueUrl=queue_url, MaxNumberOfMessages=10, AttributeNames=["All"]
            ).get("Messages", [])
        if not messages:
            return
        answer = self._call(name, {"Records": [queue_record(one, queue_url) for one in messages]})
        if "batchItemFailures" not in answer:
            return
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        with _aws_answers():
            for message in messages:
                if message["MessageId"] not in failed:
                    self._queues.delete_message(
                        QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"]
                    )
        self._settle()

    def _settle(self, events: int | None = None) -> None:
        """Wait until every trade update so far, and those that they cause, were taken up.

        `events` is how many there were just now, where the caller knows.
        """
        if self._relay is None:
            return
        if events is None:
            events = int(self._servers.state()["events"])
        while events != self._settled:
            if not self._taken.reached(events - self._missed, SETTLE_WITHIN_S):
                raise LocalDayError(
                    f"{events - self._missed - self._taken.over} trade updates did not arrive "
                    f"within {SETTLE_WITHIN_S:g} s"
                )
            self._settled = events
            events = int(self._servers.state()["events"])

    # --- the relay and the webhook ------------------------------------------------------------

    def _start_relay(self, event: Mapping[str, Any]) -> None:
        """Start the relay where none runs; a second one would be turned away by the exchange."""
        if self._relay is not None and self._relay.is_alive():
            return
        if int(self._servers.state()["listening"]):
            # Somebody else's: what fills is found by polling, and the next run looks again.
            return
        self._relay = LongInvocation(self._handlers["relay.handler"], event)
        self._relay.start()
        deadline = time.monotonic() + LISTEN_WITHIN_S
        while int(self._servers.state()["listening"]) == 0:
            if isinstance(self._relay.failure, UnauthorizedError):
                raise LocalDayError(_REFUSED_KEYS)
            if time.monotonic() > deadline or not self._relay.is_alive():
                why = self._relay.failure or "no connection"
                raise LocalDayError(f"the relay did not connect to the exchange: {why}")
            time.sleep(0.01)
        self._settled = int(self._servers.state()["events"])
        self._missed = self._settled - self._taken.over

    def _stop_relay(self) -> None:
        if self._relay is not None:
            self._relay.stop()
            self._relay.join(STOP_WITHIN_S)

    def _function_url(self) -> ASGIApp:
        """Return the application that turns requests into the events of a Function URL."""

        async def answer(request: Request) -> Response:
            event = await function_url_event(request)
            response = await run_in_threadpool(self._take_up, event)
            self._taken.add(event["body"], response["statusCode"])
            return Response(
                response["body"], response["statusCode"], headers=response.get("headers")
            )

        return Starlette(routes=[Route("/", answer, methods=["POST"])])

    def _take_up(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the function answers to a request."""
        answer: dict[str, Any] = self._handlers["trade_update.handler"](event, Context())
        return answer

    # --- preparation --------------------------------------------------------------------------

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

    def _prepare(self, template: Mapping[str, Any], webhook_url: str) -> aws.Resources:
        """Create the stack's resources, fill the secrets and the list, set the environment."""
        aws.use_endpoint(self._servers.aws_url)
        self._queues = boto3.client("sqs")
        key = "whsec_" + base64.b64encode(b"of the local day, guards nothing").decode()
        with _aws_answers():
            resources = aws.create_resources(
                template,
                broker={"key_id": KEY_ID, "secret_key": SECRET_KEY},
                webhook={"current": key, "previous": ""},
            )
            client = boto3.client("dynamodb")
            for row in self._rows():
                client.put_item(TableName=resources.symbols_table, Item=row)
        self._environment = self._variables(resources, webhook_url)
        os.environ.update(self._environment)
        return resources

    def _rows(self) -> list[dict[str, Any]]:
        """Return the items of the symbols table: every symbol of the market, by the defaults."""
        return [{"symbol": {"S": symbol}} for symbol in self._market.symbols]

    def _variables(self, resources: aws.Resources, webhook_url: str) -> dict[str, str]:
        """Return the functions' environment."""
        return {
            "SYMBOLS_TABLE": resources.symbols_table,
            "STATE_TABLE": resources.state_table,
            "CHECKUP_QUEUE_URL": resources.checkup_queue_url,
            "TICK_QUEUE_URL": resources.tick_queue_url,
            "BROKER_SECRET_ID": resources.broker_secret_id,
            "WEBHOOK_SECRET_ID": resources.webhook_secret_id,
            "WEBHOOK_URL": webhook_url + "/",
            "TRADING_MODE": "paper",
            "ALPACA_TRADING_URL": self._servers.exchange_url,
            "ALPACA_DATA_URL": self._servers.exchange_url,
            "ALPACA_STREAM_URL": self._servers.exchange_url.replace("http", "ws", 1) + "/stream",
            "DATA_FEED": "iex",
            "DEFAULT_LOT": self._lot,
            "CLOCK": "broker",
            "NOTIFY_TOPIC_ARN": resources.notify_topic_arn,
            "BAR_WAIT_S": "0",
        }

    def _load_handlers(self, schedules: Sequence[Schedule], resources: aws.Resources) -> None:
        """Import the handlers, as Lambda does at a cold start, and send their log to its file."""
        names = {schedule.handler for schedule in schedules}
        for name in names | {"trade_update.handler", "checkup.handler"}:
            module, _, function = name.partition(".")
            self._handlers[name] = getattr(importlib.import_module(module), function)
        for handler in logging.getLogger("scalper").handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(self._log)


_REFUSED_KEYS = (
    "the exchange refuses the keys in the secret BrokerSecret: put "
    '{"key_id": "...", "secret_key": "..."} of its account there'
)


@contextmanager
def _aws_answers() -> Iterator[None]:
    """Raise LocalDayError where AWS does not answer, or refuses."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise LocalDayError(f"AWS does not answer: {error}") from error


class _Deliveries:
    """How many trade updates are over: taken up, or given up by the relay; others wait for it."""

    def __init__(self) -> None:
        self.over = 0
        self._attempts = Counter[str]()
        self._changed = threading.Condition()

    def add(self, body: str, status: int) -> None:
        """Count one answer to a post; after a failure the relay posts the same body again."""
        with self._changed:
            self._attempts[body] += 1
            if (status >= 500 or status == 429) and self._attempts[body] < POST_ATTEMPTS:
                return
            del self._attempts[body]
            self.over += 1
            self._changed.notify_all()

    def reached(self, count: int, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.over >= count, timeout_s)


def _minutes(day: MarketDay) -> list[datetime]:
    """Return the minutes of a session to be played, from before the open to after the close."""
    session = day.session
    count = (session.close - session.open + 2 * LEAD) // MINUTE
    return [session.open - LEAD + n * MINUTE for n in range(count + 1)]
