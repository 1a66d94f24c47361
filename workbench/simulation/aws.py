"""AWS around the handlers of a simulated day: containers, invocations, queues and the relay."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from random import Random
from typing import Any, TypeVar

from greenlet import GreenletExit

from scalper.core.model import BarClosed, Event, InvariantError, Rules
from scalper.core.order import OrderReport
from scalper.core.session import parse_time
from scalper.shell import runtime, telemetry
from scalper.shell.errors import ScalperError
from scalper.shell.ports import Stored
from scalper.shell.relay.stream import POST_ATTEMPTS
from scalper.shell.settings import Settings
from scalper.shell.trading.engine import Engine
from scalper.shell.trading.window import Window
from scalper.shell.webhook import sign
from workbench.exchange import render
from workbench.exchange.ledger import Update
from workbench.faults.kinds import FaultKind
from workbench.simulation.broker import SimulatedBroker
from workbench.simulation.checks import Checks
from workbench.simulation.fault_plan import SEND
from workbench.simulation.market import SimulatedMarket
from workbench.simulation.scheduler import MINUTE, SECOND, Invocation, Scheduler, Violation
from workbench.simulation.table import SimulatedStore, SimulatedSymbols
from workbench.template.declared import functions, queue

OPERATIONS = frozenset({"outbox.checkup_in", "outbox.notify", "outbox.tick_in"})

TIMEOUT_S = {name: one.timeout_s for name, one in functions().items() if name != "relay"}
"""How long each simulated function may run, as template.yaml declares it."""

_CHECKUP_QUEUE = queue("CheckupQueue")

VISIBILITY_S = int(_CHECKUP_QUEUE["VisibilityTimeout"])
"""After this an unacknowledged message of the checkup queue is delivered again."""

DELIVERIES = int(_CHECKUP_QUEUE["RedrivePolicy"]["maxReceiveCount"])
"""How often a message of the checkup queue is delivered before it is a dead letter."""

RETRY_AFTER_S = 60
"""After how long Lambda repeats an asynchronous invocation that failed."""

T = TypeVar("T")

WEBHOOK_KEY = "whsec_c2ltdWxhdGVk"


class SimulatedContext:
    """Lambda's context object. The handlers ask nothing of it."""


@dataclass(slots=True)
class StrictEngine(Engine):
    """The engine. A broken invariant ends the whole day, and not its symbol alone."""

    checks: Checks = field(kw_only=True)

    def drive(
        self,
        stored: Stored,
        event: Event,
        rules: Rules,
        orders: Sequence[OrderReport] | None = None,
    ) -> Stored:
        """Take an event to its end. An invocation decides a symbol's minute once."""
        if isinstance(event, BarClosed):
            self.checks.decided(event.symbol, event.at)
        return Engine.drive(self, stored, event, rules, orders)

    def isolate(self, symbol: str, task: Callable[[], T]) -> T | None:
        """Run one symbol's part of an invocation."""

        def strict() -> T:
            try:
                return task()
            except InvariantError as error:
                raise Violation(f"{symbol}: {error}") from error

        return Engine.isolate(self, symbol, strict)


@dataclass(slots=True, eq=False)
class SimulatedOutbox:
    """The Outbox protocol over the scheduler."""

    scheduler: Scheduler
    deliver: Callable[[], None]
    deliver_tick: Callable[[Mapping[str, Any]], None] = lambda _: None
    mails: list[tuple[str, str]] = field(default_factory=list)

    def checkup_in(self, delay_s: int, at: datetime) -> None:
        """Let the checkup run after a delay. A lost message raises no error."""
        self.scheduler.call(
            "outbox.checkup_in", SEND, lambda fault: self._send(fault, delay_s, self.deliver)
        )

    def tick_in(self, delay_s: int, event: Mapping[str, Any]) -> None:
        """Let a tick's event come after a delay. A lost message raises no error."""
        self.scheduler.call(
            "outbox.tick_in",
            SEND,
            lambda fault: self._send(fault, delay_s, lambda: self.deliver_tick(event)),
        )

    def _send(self, fault: FaultKind | None, delay_s: int, deliver: Callable[[], None]) -> None:
        if fault is FaultKind.MESSAGE_LOST:
            return
        late = self.scheduler.plan.amount(10, 120) if fault is FaultKind.MESSAGE_LATE else 0.0
        for _ in range(2 if fault is FaultKind.MESSAGE_TWICE else 1):
            self.scheduler.after(delay_s + late, deliver)

    def notify(self, subject: str, text: str) -> None:
        """Send a mail."""

        def effect(fault: FaultKind | None) -> None:
            if fault is not FaultKind.MESSAGE_LOST:
                self.mails.append((subject[:100], text))

        self.scheduler.call("outbox.notify", SEND, effect)


@dataclass(slots=True, eq=False)
class SimulatedTiming:
    """The Timing protocol over virtual time. Its clock may be off by `skew` microseconds."""

    scheduler: Scheduler
    skew: int = 0

    def now(self) -> datetime:
        """Return this machine's time."""
        return self.scheduler.time(self.scheduler.now + self.skew)

    def monotonic(self) -> float:
        """Return seconds that never fall."""
        return self.scheduler.now / SECOND

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.scheduler.sleep(seconds)


@dataclass(slots=True, eq=False)
class SimulatedAws:
    """Invokes the handlers, each in a warm or in a new container."""

    scheduler: Scheduler
    settings: Settings
    broker: SimulatedBroker
    store: SimulatedStore
    market: SimulatedMarket
    symbols: SimulatedSymbols
    timing: SimulatedTiming
    outbox: SimulatedOutbox = field(init=False)
    invocations: Counter[str] = field(default_factory=Counter)
    answers: dict[str, Any] = field(default_factory=dict)
    """The last answer of each function."""
    relay_is_dead: bool = False
    ticks_are_over: bool = False
    """Whether no tick runs any more."""
    _warm: dict[str, list[Engine]] = field(default_factory=dict)
    _labels: Counter[str] = field(default_factory=Counter)
    _numbers: Random = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = SimulatedOutbox(self.scheduler, self._deliver_checkup, self._deliver_tick)
        self._numbers = Random(f"cloud {self.scheduler.seed}")

    def deploy(self, *, newer: bool) -> None:
        """Replace every container by one of another version. Running invocations go on."""
        self._warm.clear()
        old = self.store
        self.store = SimulatedStore(
            old.scheduler, old.items, old.checks, is_newer=newer, packs=old.packs
        )

    def invoke(
        self,
        function: str,
        what: str,
        event: Mapping[str, Any],
        failed: Callable[[], None] | None = None,
    ) -> None:
        """Call a handler. Call `failed` if the handler raised, died or ran out of time."""
        if function == "tick" and self.ticks_are_over:
            return
        self.invocations[function] += 1
        invocation = Invocation(function, self._label(f"{function} {what}"))
        warm = self._warm.setdefault(function, [])
        if warm and self.scheduler.plan.happens(FaultKind.COLD_START, 0.02, invocation.label):
            warm.clear()
        engine = warm.pop() if warm else self._new_engine()
        store = self.store

        def work() -> None:
            # The handler takes these before its first request, so no other runs in between.
            runtime.sources.settings = lambda: self.settings
            runtime.sources.engine = lambda _: engine
            ended_well = False
            try:
                answer = handler_of(function)(event, SimulatedContext())
                ended_well = not (function == "trade_update" and answer["statusCode"] >= 500)
                self.answers[function] = answer
                self.scheduler.note(f"[{invocation.label}] answers {answer}")
            except GreenletExit:
                self.scheduler.note(f"[{invocation.label}] dies")
            except ScalperError as error:
                self.scheduler.note(f"[{invocation.label}] raises {error}")
                if function in ("tick", "trade_update"):
                    raise Violation(f"{function} raised {error!r}") from error
            except Exception as error:
                raise Violation(f"{function} raised {error!r}") from error
            invocation.is_over = True
            store.checks.ended(invocation)
            if not invocation.is_dead and store is self.store:
                self._warm.setdefault(function, []).append(engine)
            if failed is not None and not ended_well:
                failed()

        def run_out() -> None:
            if not invocation.is_over and not invocation.is_dead:
                self.scheduler.note(f"[{invocation.label}] runs out of time")
                invocation.is_dead = True

        self.scheduler.after(TIMEOUT_S[function], run_out)
        store.checks.began(invocation)
        self.scheduler.start(invocation, work)

    def tell(self, update: Update) -> None:
        """Deliver an event of the broker's stream to the webhook, as the relay does."""
        plan = self.scheduler.plan
        what = f"{update.order.client_order_id.removeprefix('scalp-paper-')} {update.event}"
        if self.relay_is_dead or plan.happens(FaultKind.EVENT_LOST, 0.15, what):
            return
        delay = 0.05 + self._numbers.random() * 0.4
        if plan.happens(FaultKind.EVENT_DELAYED, 0.1, what):
            delay += plan.amount(0.5, 90.0)
        body = json.dumps(render.trade_update(update))
        copies = 2 if plan.happens(FaultKind.EVENT_TWICE, 0.1, what) else 1
        for copy in range(copies):
            self.scheduler.after(delay * (1 + copy), lambda: self._post(what, body, POST_ATTEMPTS))

    def _post(self, what: str, body: str, attempts: int) -> None:
        def again() -> None:
            if attempts > 1:
                self.scheduler.after(1.0, lambda: self._post(what, body, attempts - 1))

        event = {"headers": sign(body, WEBHOOK_KEY), "body": body, "isBase64Encoded": False}
        self.invoke("trade_update", what, event, again)

    def _deliver_checkup(self, attempts: int = DELIVERIES) -> None:
        def again() -> None:
            if attempts > 1:
                self.scheduler.after(VISIBILITY_S, lambda: self._deliver_checkup(attempts - 1))

        minute = self.scheduler.now // MINUTE
        self.invoke("checkup", str(minute), {"Records": [{"body": "{}"}]}, again)

    def _deliver_tick(self, event: Mapping[str, Any]) -> None:
        """Deliver an armed tick. Its message is not delivered a second time."""
        message = {"Records": [{"body": json.dumps(event)}]}
        minute = (parse_time(event["scheduled_time"]) - self.scheduler.opens).seconds
        self.invoke("tick", f"{minute // 60} armed", message)

    def _label(self, name: str) -> str:
        """Return a label that no other invocation of the day has."""
        self._labels[name] += 1
        times = self._labels[name]
        return name if times == 1 else f"{name} ({times})"

    def _new_engine(self) -> Engine:
        return StrictEngine(
            checks=self.store.checks,
            settings=self.settings,
            store=self.store,
            broker=self.broker,
            window=Window(self.market),
            symbols=self.symbols,
            outbox=self.outbox,
            fan_out=self.scheduler.fan_out,
            timing=self.timing,
        )


@cache
def handler_of(function: str) -> Callable[[Any, Any], dict[str, Any]]:
    """Return the handler of a function, as Lambda finds it."""
    handler: Callable[[Any, Any], dict[str, Any]] = importlib.import_module(function).handler
    return handler


class _Uncounted:
    """Metrics that are dropped."""

    class provider:  # noqa: N801 - named as what it stands for
        """The set that would hold them."""

        metric_set: Mapping[str, Any] = {}

    def add_metric(self, *, name: str, unit: object, value: float) -> None:
        """Drop it."""


@contextmanager
def quiet() -> Iterator[None]:
    """Replace the collaborators of the process by simulated ones, and drop its logs and metrics."""
    sources, metrics = runtime.sources, telemetry.metrics
    level = telemetry.logger.log_level
    runtime.sources = runtime.Sources(sources.settings, sources.engine, lambda _: (WEBHOOK_KEY,))
    runtime._webhook_keys.cache_clear()
    telemetry.metrics = _Uncounted()  # type: ignore[assignment]
    telemetry.logger.setLevel("CRITICAL")
    try:
        yield
    finally:
        runtime.sources, telemetry.metrics = sources, metrics
        runtime._webhook_keys.cache_clear()
        telemetry.logger.setLevel(level)
