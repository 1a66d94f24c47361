"""One day of storms: the local day's schedules, over workers that die and servers that lie.

As on AWS a tick is not repeated; messages of the queue come again once they are visible again;
the liquidation is repeated by its schedule. Functions due in the same minute run side by side.
"""

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from scalper.core.model import SymbolState
from scalper.core.pricing import DOLLAR
from scalper.shell.aws.state_table import DynamoStore
from scalper.shell.errors import ScalperError
from scalper.shell.relay.stream import POST_ATTEMPTS
from scalper.shell.settings import Settings
from workbench.chaos import audit as truth
from workbench.chaos.exchange import InsideExchange, StormyExchange, StormyStream
from workbench.chaos.fault_plan import CALM_AFTER, EXCHANGE, WEBHOOK, Weather
from workbench.chaos.fault_proxy import Asked, AwsDoor, HttpDoor, Inside, address
from workbench.chaos.processes import Workers, log_to
from workbench.faults.kinds import FaultKind
from workbench.local.day import LEAD, LocalDay
from workbench.local.invocations import Context, LongInvocation
from workbench.market import synthetic
from workbench.market.model import Market
from workbench.servers import aws
from workbench.servers.keys import KEY_ID, SECRET_KEY
from workbench.servers.loopback import serving
from workbench.servers.processes import STOP_WITHIN_S, LocalDayError
from workbench.template.schedules import Schedule

LOT_USD = 2000
HALF_DAY = date(2024, 11, 29)
"""New York closes at 13:00: most days of storms are this short."""

FULL_DAY_EACH = 10
"""Each tenth seed is a day of full length."""

SETTLE_WITHIN_S = 1.0
"""How long the day waits for messages on their way; then they are late, that is all."""

LOOK_EVERY_S = 0.002


@dataclass(slots=True)
class Ended:
    """What a day came to."""

    seed: int
    seconds: float = 0.0
    minutes: int = 0
    requests: int = 0
    orders: int = 0
    trades: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)
    halts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


def market_of(seed: int) -> Market:
    """Return a seed's bars: two to four symbols, a half-day mostly."""
    day = synthetic.DAY if seed % FULL_DAY_EACH == 0 else HALF_DAY
    return synthetic.synthetic_market(seed, 2 + seed % 3, day)


def rows_of(market: Market) -> list[dict[str, Any]]:
    """Return the symbols' items: some enter often, some have a stop or a longest holding time."""
    eager = {"signal": {"S": "workbench.chaos.signals:eager"}}
    settings: list[dict[str, Any]] = [
        eager | {"max_hold_minutes": {"N": "7"}},
        {"stop_loss_pct": {"N": "0.2"}},
        eager | {"stop_loss_pct": {"N": "0.15"}},
        {},
    ]
    return [
        {"symbol": {"S": symbol}, **settings[number % len(settings)]}
        for number, symbol in enumerate(market.symbols)
    ]


def play(seed: int, log: Path, climate: Mapping[str, float] | None = None) -> Ended:
    """Play a seed's day in this process, which has to have one thread; return what it came to.

    Environment, standard output and moto's tables are the process's: one day, one process.
    """
    began = time.monotonic()
    log_to(log)
    market = market_of(seed)
    session = market.days[0].session
    weather = Weather(seed, session, climate=climate)
    workers = Workers(weather, log)
    exchange = StormyExchange(
        market,
        weather,
        lot=LOT_USD * DOLLAR,
        key_id=KEY_ID,
        secret_key=SECRET_KEY,
        start=session.open - 2 * LEAD,
    )
    venue = exchange.venue
    cash_before = venue.ledger.cash
    ended = Ended(seed)
    door = HttpDoor(exchange.app, EXCHANGE, weather, workers, InsideExchange(venue))
    with (
        log.open("a", encoding="utf-8", buffering=1) as file,
        serving(door, "exchange") as exchange_url,
        aws.running(lambda app: AwsDoor(app, weather, workers)) as aws_url,
    ):
        day = StormDay(
            market,
            exchange=exchange,
            weather=weather,
            workers=workers,
            exchange_url=exchange_url,
            aws_url=aws_url,
            log=file,
            lot=str(LOT_USD),
        )
        try:
            outcome = day.run()
            ended.minutes = outcome.counts.ticks
            states = states_in_table()
            halts = Counter(str(one.halt) for one in states.values() if one.halt)
            ended.halts = dict(halts)
            ended.violations += day.halts_without_cause
            ended.violations += truth.violations(
                venue.ledger,
                states,
                outcome.counts.closed_days,
                symbols=market.symbols,
                cash_before=cash_before,
            )
        except (LocalDayError, ScalperError) as error:
            ended.violations.append(f"the day did not end: {error}")
        finally:
            workers.close()
    ended.violations[:0] = venue.violations
    if not venue.ledger.orders:
        ended.violations.append("not one order came: such a day shows nothing")
    ended.requests = weather.requests
    ended.faults, ended.kills = dict(weather.faults), dict(weather.kills)
    ended.orders = len(venue.ledger.orders)
    ended.trades = truth.sales(venue.ledger)
    ended.seconds = round(time.monotonic() - began, 2)
    return ended


def states_in_table() -> dict[str, SymbolState]:
    """Return the states that the table holds."""
    stored = DynamoStore(Settings.of(os.environ)).load_all(0, 1)
    return {symbol: one.state for symbol, one in stored.items()}


class StormDay(LocalDay):
    """A local day whose functions are processes, and which takes nothing for granted."""

    def __init__(
        self,
        market: Market,
        *,
        exchange: StormyExchange,
        weather: Weather,
        workers: Workers,
        **options: Any,
    ) -> None:
        super().__init__(market, **options)
        self._exchange = exchange
        self._weather = weather
        self._workers = workers
        self._liquidate_at = market.days[0].session.liquidate_at
        self.halts_without_cause: list[str] = []
        self._calm_at = market.days[0].session.liquidate_at + CALM_AFTER
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="scheduler")

    def _load_handlers(self, schedules: Sequence[Schedule], resources: aws.Resources) -> None:
        names = {schedule.handler for schedule in schedules}
        for name in names | {"trade_update.handler", "checkup.handler"}:
            self._handlers[name] = partial(self._invoked, name)
        self._weather.begin()

    def _invoked(self, name: str, event: Mapping[str, Any], _: Context) -> Any:
        if name == "relay.handler":
            return self._workers.invoke(name, event, self._variables_of, within_s=None)
        return self._workers.invoke(name, event, self._variables_of)

    def _variables_of(self, caller: str) -> dict[str, str]:
        """Return a worker's environment: every address in it is its own."""
        exchange_url = address(self._servers.exchange_url, caller)
        webhook_url = self._environment["WEBHOOK_URL"].rstrip("/")
        credentials = {name: value for name, value in os.environ.items() if name[:4] == "AWS_"}
        return {
            **credentials,
            **self._environment,
            "AWS_ENDPOINT_URL": address(self._servers.aws_url, caller),
            "ALPACA_TRADING_URL": exchange_url,
            "ALPACA_DATA_URL": exchange_url,
            "ALPACA_STREAM_URL": exchange_url.replace("http", "ws", 1) + "/stream",
            "WEBHOOK_URL": address(webhook_url, caller) + "/",
        }

    def _rows(self) -> list[dict[str, Any]]:
        return rows_of(self._market)

    # --- what AWS does ------------------------------------------------------------------------

    def _fire(self, due: Sequence[Schedule], minute: datetime) -> None:
        """Invoke what is due side by side, now and then a tick twice."""
        if minute == self._liquidate_at:
            # The liquidation works without the table too, whose items then lag behind.
            self.halts_without_cause += truth.halts_without_cause(states_in_table())
        if minute >= self._calm_at:
            self._servers.post("/exchange/calm", json={})
        due = sorted(due, key=lambda schedule: schedule.handler != "relay.handler")
        if any(one.handler == "tick.handler" for one in due) and self._weather.strikes(
            "ticks", FaultKind.TICK_TWICE
        ):
            due += [one for one in due if one.handler == "tick.handler"]
        for done in [self._threads.submit(self._invoke, one, minute) for one in due]:
            done.result()

    def _take_up(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer as a Function URL does where the function fails."""
        try:
            return super()._take_up(event)
        except ScalperError:
            return {"statusCode": 502, "body": "{}"}

    def _function_url(self) -> ASGIApp:
        inside = _InsideWebhook(self._exchange.stream)
        return HttpDoor(super()._function_url(), WEBHOOK, self._weather, self._workers, inside)

    def _settle(self, events: int | None = None) -> None:
        """Wait for the messages on their way, while there is a relay, and not for long."""
        deadline = time.monotonic() + SETTLE_WITHIN_S
        stream = self._exchange.stream
        while stream.on_the_way and self._relay is not None and self._relay.is_alive():
            if time.monotonic() > deadline:
                self._weather.count("event_late")
                break
            time.sleep(LOOK_EVERY_S)
        stream.forget()

    def _start_relay(self, event: Mapping[str, Any]) -> None:
        """Start the relay where none runs, and give it a moment to connect."""
        if self._relay is not None and self._relay.is_alive():
            return
        self._relay = LongInvocation(self._handlers["relay.handler"], event)
        self._relay.start()
        deadline = time.monotonic() + SETTLE_WITHIN_S
        while self._relay.is_alive() and not self._exchange.stream.listening:
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_EVERY_S)

    def _stop_relay(self) -> None:
        self._workers.end("relay")
        if self._relay is not None:
            self._relay.join(STOP_WITHIN_S)
        self._threads.shutdown()


class _InsideWebhook(Inside):
    """Which messages need no more waiting for: taken up, refused, or given up by the relay."""

    def __init__(self, stream: StormyStream) -> None:
        self._stream = stream
        self._attempts = Counter[str]()

    def over(self, asked: Asked, status: int) -> None:
        text = asked.body.decode()
        self._attempts[text] += 1
        again = status == 0 or status >= 500 or status == 429
        if not again or self._attempts[text] >= POST_ATTEMPTS:
            del self._attempts[text]
            self._stream.arrived(text)
