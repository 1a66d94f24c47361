"""One chaos day: a local day whose functions are processes that die, and whose servers fail.

It is composed of the local day and of collaborators that take nothing for granted
(`workbench/chaos/platform.py`).
"""

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from scalper.core.model import SymbolState
from scalper.core.pricing import DOLLAR
from scalper.core.session import MINUTE, Session
from scalper.shell.aws.state_table import DynamoStore
from scalper.shell.errors import ScalperError
from scalper.shell.settings import Settings
from workbench.chaos import audit
from workbench.chaos.exchange import ExchangeInterceptor, UnreliableExchange
from workbench.chaos.fault_plan import EXCHANGE, FAULTS_END_AFTER, FaultPlan, Planned, PlannedKill
from workbench.chaos.fault_proxy import AwsFaultProxy, HttpFaultProxy
from workbench.chaos.platform import HastyTradeUpdates, ParallelDispatcher, ProcessInvoker
from workbench.chaos.processes import Workers, log_to
from workbench.local.day import LEAD, Collaborators, LocalDay
from workbench.local.invocations import WithoutMetrics
from workbench.market import synthetic
from workbench.market.model import Market
from workbench.servers import aws
from workbench.servers.asgi import serving
from workbench.servers.keys import KEY_ID, SECRET_KEY
from workbench.servers.processes import LocalDayError, Servers

LOT_USD = 2000
HALF_DAY = date(2024, 11, 29)
"""New York closes at 13:00: most chaos days are this short."""

FULL_DAY_EACH = 10
"""Each tenth seed is a day of full length."""


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    """What a caller may set of a day beside its seed."""

    factors: Mapping[str, float] = field(default_factory=dict)
    """Factors of the rates of these kinds, in place of those that the seed draws."""
    planned: tuple[Planned | PlannedKill, ...] = ()
    """Injections that happen whatever the seed draws."""
    minutes: int | None = None
    """How many minutes before the liquidation the day begins; None is before the open."""


@dataclass(slots=True)
class ChaosResult:
    """How a day ended."""

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
    pending: list[str] = field(default_factory=list)
    """The planned injections that did not happen."""


def market_of(seed: int) -> Market:
    """Return a seed's bars: two to four symbols, a half-day mostly."""
    day = synthetic.DAY if seed % FULL_DAY_EACH == 0 else HALF_DAY
    return synthetic.synthetic_market(seed, 2 + seed % 3, day)


def rows_of(market: Market) -> list[dict[str, Any]]:
    """Return the symbols' items: some enter often, some have a stop or a longest holding time."""
    often = {"signal": {"S": "workbench.chaos.signals:price_fell"}}
    settings: list[dict[str, Any]] = [
        often | {"max_hold_minutes": {"N": "3"}},
        {"stop_loss_pct": {"N": "0.2"}},
        often | {"stop_loss_pct": {"N": "0.15"}},
        {},
    ]
    return [
        {"symbol": {"S": symbol}, **settings[number % len(settings)]}
        for number, symbol in enumerate(market.symbols)
    ]


def play(seed: int, log: Path, options: ChaosOptions | None = None) -> ChaosResult:
    """Play a seed's day in this process, which has to have one thread; return how it ended.

    Environment, standard output and moto's tables are the process's: one day, one process.
    """
    began = time.monotonic()
    options = options or ChaosOptions()
    log_to(log)
    market = market_of(seed)
    session = market.days[0].session
    plan = FaultPlan(seed, session, factors=options.factors, planned=options.planned)
    workers = Workers(plan, log)
    exchange = UnreliableExchange(
        market,
        plan,
        lot=LOT_USD * DOLLAR,
        key_id=KEY_ID,
        secret_key=SECRET_KEY,
        start=_start(session, options.minutes),
    )
    result = ChaosResult(seed)
    try:
        _play_and_audit(result, market, exchange, plan, workers, log)
    except (LocalDayError, ScalperError) as error:
        result.violations.append(f"the day did not end: {error}")
    finally:
        workers.close()
    venue = exchange.venue
    result.violations[:0] = venue.violations
    if not venue.ledger.orders:
        result.violations.append("not one order came: such a day shows nothing")
    result.requests = plan.requests
    result.faults, result.kills = dict(plan.faults), dict(plan.kills)
    result.pending = [str(one) for one in plan.pending]
    result.orders = len(venue.ledger.orders)
    result.trades = audit.sales(venue.ledger)
    result.seconds = round(time.monotonic() - began, 2)
    return result


def _play_and_audit(
    result: ChaosResult,
    market: Market,
    exchange: UnreliableExchange,
    plan: FaultPlan,
    workers: Workers,
    log: Path,
) -> None:
    """Serve the exchange and AWS behind fault proxies, play the day, and compare the records."""
    venue = exchange.venue
    cash_before = venue.ledger.cash
    proxy = HttpFaultProxy(exchange.app, EXCHANGE, plan, workers, ExchangeInterceptor(venue))
    with (
        log.open("a", encoding="utf-8", buffering=1) as file,
        serving(proxy, "exchange") as exchange_url,
        aws.running(lambda app: AwsFaultProxy(app, plan, workers)) as aws_url,
    ):
        servers = Servers(exchange_url, aws_url)
        invoker = ProcessInvoker(workers, plan, servers)
        trade_updates = HastyTradeUpdates(invoker, exchange.stream, plan, workers)
        halts_without_cause: list[str] = []
        liquidate_at = market.days[0].session.liquidate_at

        def before_functions(minute: datetime) -> None:
            # The liquidation works without the table too, whose items then lag behind. So the
            # halts are compared as it begins.
            if minute == liquidate_at:
                halts_without_cause.extend(audit.halts_without_cause(states_in_table()))
            if minute >= liquidate_at + FAULTS_END_AFTER:
                servers.post("/exchange/end-faults", json={})

        day = LocalDay(
            market,
            Collaborators(
                servers, invoker, trade_updates, ParallelDispatcher(plan, before_functions)
            ),
            output=WithoutMetrics(file),
            lot=str(LOT_USD),
            items=rows_of(market),
        )
        outcome = day.run()
        result.minutes = outcome.counts.ticks
        states = states_in_table()
        result.halts = dict(Counter(str(one.halt) for one in states.values() if one.halt))
        result.violations += halts_without_cause
        result.violations += audit.violations(
            venue.ledger,
            states,
            outcome.counts.closed_days,
            symbols=market.symbols,
            cash_before=cash_before,
        )


def _start(session: Session, minutes: int | None) -> datetime:
    if minutes is None:
        return session.open - 2 * LEAD
    return session.liquidate_at - minutes * MINUTE


def states_in_table() -> dict[str, SymbolState]:
    """Return the states that the table holds."""
    stored = DynamoStore(Settings.of(os.environ)).load_all(0, 1)
    return {symbol: one.state for symbol, one in stored.items()}
