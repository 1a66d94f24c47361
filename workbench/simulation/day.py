"""One simulated day: its seed decides everything that happens.

The faults end two minutes after the liquidation begins. From then on the system has to reach the
end of the day flat, whatever state the faults left it in.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from random import Random

from scalper.core.order import Progress
from scalper.core.pricing import DOLLAR, Money
from scalper.core.session import Session
from scalper.core.signal import Signal, crossover
from scalper.shell.ports import SymbolRules
from scalper.shell.settings import Settings
from workbench.faults.kinds import FaultKind
from workbench.simulation import aws, broker, market, table
from workbench.simulation.aws import SimulatedAws, SimulatedTiming
from workbench.simulation.broker import SimulatedBroker
from workbench.simulation.checks import Checks
from workbench.simulation.crash_points import CrashPoints
from workbench.simulation.entry_audit import EntryAudit
from workbench.simulation.fault_plan import Fault, Script, SimulatedFaultPlan
from workbench.simulation.market import FrequentSignal, market_of
from workbench.simulation.scheduler import MINUTE, SECOND, Scheduler, Violation
from workbench.simulation.table import Items, SimulatedStore, SimulatedSymbols
from workbench.simulation.venue import SeededVenue

OPERATIONS = broker.OPERATIONS | table.OPERATIONS | market.OPERATIONS | aws.OPERATIONS

DAY = date(2025, 3, 5)
LOT: Money = 2000 * DOLLAR
NAMES = ("AAA", "BRK.B", "CCC", "DDD")
FAULTS_END_AFTER_S = 120
"""How long after the begin of the liquidation the faults end."""

FULL_DAY_ONE_IN = 100
"""One day of so many lasts a whole session. The others last 30 to 70 minutes."""

ARMED_DAYS = 0.4
"""The share of days with a queue for ticks. Without `CLOCK=broker` each tick arms the next."""


@dataclass(slots=True)
class SimulatedOutcome:
    """What happened on a day."""

    seed: int
    steps: int
    crashes: int
    trades: int
    pnl: Money
    faults: list[Fault]
    invocations: Counter[str]
    violation: str = ""
    trace: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class SimulatedDay:
    """The parts of a day."""

    scheduler: Scheduler
    session: Session
    broker: SimulatedBroker
    items: Items
    symbols: SimulatedSymbols
    aws: SimulatedAws
    checks: Checks
    numbers: Random
    offset: int = 0
    """How many microseconds after the minute Scheduler fires on this day."""

    def run(self) -> tuple[int, Money]:
        """Run the day; return its trades and profit. Raises Violation."""
        self._schedule()
        self.scheduler.run()
        return self.checks.end(dict(self.items.states), self.aws.answers.get("close_day", {}))

    def _schedule(self) -> None:
        """Schedule everything that happens at a stated time."""
        scheduler = self.scheduler
        close = int((self.session.close - self.session.open) / timedelta(microseconds=1))
        liquidation = close - 5 * MINUTE
        for minute in range(1, close // MINUTE + 2):
            self._schedule_tick(minute)
        for minute in range(6):
            due = liquidation + minute * MINUTE
            starts = due + int(self.numbers.random() * 3 * SECOND)
            scheduler.at(starts, partial(self._scheduled, "liquidate", due))
        for minute in range(2, liquidation // MINUTE):
            scheduler.at(minute * MINUTE + 17 * SECOND, partial(self._strike_minute, minute))
        scheduler.at(liquidation + FAULTS_END_AFTER_S * SECOND, self._end_faults)
        scheduler.at(close, self.broker.venue.expire)
        # Faults strike the requests of close_day too. Lambda repeats it.
        scheduler.at(close + 4 * MINUTE, lambda: self._set_faults_over(over=False))
        scheduler.at(close + 6 * MINUTE, lambda: self._set_faults_over(over=True))
        scheduler.at(close + 5 * MINUTE, lambda: self._scheduled("close_day", close + 5 * MINUTE))

    def _schedule_tick(self, minute: int) -> None:
        plan, scheduler = self.scheduler.plan, self.scheduler
        due = minute * MINUTE
        starts = due + self.offset + int(self.numbers.random() * 2.5 * SECOND)

        def tick() -> None:
            self._scheduled("tick", due)

        if plan.happens(FaultKind.TICK_LOST, 0.05, minute):
            return
        if plan.happens(FaultKind.TICK_LATE, 0.05, minute):
            starts += int(plan.amount(5, 75) * SECOND)
        scheduler.at(starts, tick)
        if plan.happens(FaultKind.TICK_TWICE, 0.05, minute):
            # Half of the duplicates start at once, half when the first one may be over.
            later = plan.amount(0, 1)
            later *= 2 if later < 0.5 else 45
            scheduler.at(starts + int(later * SECOND), tick)
        if plan.happens(FaultKind.TICK_REDELIVERED, 0.02, minute):
            scheduler.at(due + int(plan.amount(130, 400) * SECOND), tick)

    def _scheduled(self, function: str, due: int, attempts: int = 3) -> None:
        """Invoke a function on its schedule. Lambda repeats liquidate and close_day, never tick."""

        def again() -> None:
            if attempts > 1 and function != "tick":
                self.scheduler.after(
                    aws.RETRY_AFTER_S, lambda: self._scheduled(function, due, attempts - 1)
                )

        event = {"scheduled_time": self.scheduler.time(due).isoformat()}
        self.aws.invoke(function, str(due // MINUTE), event, again)

    def _strike_minute(self, minute: int) -> None:
        """Let the faults of a minute strike: people act, servers go down, items are lost."""
        plan = self.scheduler.plan
        symbol = self.numbers.choice(sorted(self.symbols.rows) or [NAMES[0]])
        later = self.numbers.randint(1, 8) * 60
        # More often just before the liquidation, which then has no table, or no ticks after it.
        last = self.session.open + (minute + 1) * timedelta(minutes=1) == self.session.liquidate_at
        if plan.happens(FaultKind.ROW_PAUSED, 0.02, minute):
            self._edit(symbol, later, enabled=False)
        if plan.happens(FaultKind.ROW_REMOVED, 0.02, minute) and symbol in self.symbols.rows:
            row = self.symbols.rows.pop(symbol)
            self.scheduler.after(later, lambda: self.symbols.rows.setdefault(symbol, row))
        if plan.happens(FaultKind.ROW_BROKEN, 0.02, minute):
            self.symbols.broken.add(symbol)
            self.scheduler.after(later, lambda: self.symbols.broken.discard(symbol))
        if plan.happens(FaultKind.ACCOUNT_HALTED, 0.01, minute):
            self.items.halt_account("by hand")
            self.scheduler.after(later, lambda: self.items.halt_account(""))
        if plan.happens(FaultKind.DEPLOYED, 0.02, minute):
            self.aws.deploy(newer=True)
            self.scheduler.after(later, lambda: self.aws.deploy(newer=False))
        if plan.happens(FaultKind.TICKS_END, 0.1 if last else 0.002, minute):
            self.scheduler.note("the ticks end")
            self.aws.ticks_are_over = True
        if plan.happens(FaultKind.RELAY_DEAD, 0.01, minute):
            self.aws.relay_is_dead = True
            self.scheduler.after(later * 3, self._revive_relay)
        if plan.happens(FaultKind.CLOCK_SKEWED, 0.01, minute):
            self.aws.timing.skew = int(plan.amount(-5, 5) * SECOND)
            self.scheduler.after(later, self._right_clock)
        if plan.happens(FaultKind.CANCELED_BY_HAND, 0.05, minute):
            for order_id in self.broker.venue.live_own()[:1]:
                self.broker.venue.finish_cancel(order_id)
        if plan.happens(FaultKind.REPLACED, 0.02, minute):
            self.broker.venue.replace_one()
        if plan.happens(FaultKind.SOLD_BY_HAND, 0.02, minute):
            self.broker.venue.manual_trader.sell(symbol)
        if plan.happens(FaultKind.EXTERNAL_ORDERS, 0.01, minute):
            self.broker.venue.manual_trader.trade(symbol, self.numbers.randint(1, 9))
        if plan.happens(FaultKind.ACCOUNT_BLOCKED, 0.01, minute):
            self.broker.blocked = "trading is blocked"
            self.scheduler.after(later, self._unblock)
        if plan.happens(FaultKind.BROKER_DOWN, 0.01, minute):
            self.broker.is_down = True
            self.scheduler.after(later, self._bring_broker_up)
        if plan.happens(FaultKind.STORE_DOWN, 0.1 if last else 0.01, minute):
            self.items.is_down = True
            self.scheduler.after(later, self._bring_store_up)
        if plan.happens(FaultKind.ITEM_LOST, 0.04, minute):
            self._lose_item(symbol)
        if plan.happens(FaultKind.TABLE_EMPTIED, 0.1 if last else 0.002, minute):
            for lost in list(self.items.states):
                self._lose_item(lost)
        if plan.happens(FaultKind.ITEM_UNREADABLE, 0.2 if last else 0.02, minute):
            self.items.unreadable.add(symbol)
            self.scheduler.after(later, lambda: self.items.unreadable.discard(symbol))

    def _edit(self, symbol: str, later: float, *, enabled: bool) -> None:
        row = self.symbols.rows.get(symbol)
        if row is not None:
            self.symbols.rows[symbol] = _row(symbol, self.numbers, row.signal, enabled=enabled)
            self.scheduler.after(later, lambda: self._restore(symbol, row))

    def _restore(self, symbol: str, row: SymbolRules) -> None:
        self.symbols.rows[symbol] = row

    def _revive_relay(self) -> None:
        self.aws.relay_is_dead = False

    def _unblock(self) -> None:
        self.broker.blocked = ""

    def _bring_broker_up(self) -> None:
        self.broker.is_down = False

    def _bring_store_up(self) -> None:
        self.items.is_down = False

    def _right_clock(self) -> None:
        self.aws.timing.skew = 0

    def _lose_item(self, symbol: str) -> None:
        """Lose a state that the broker's orders can rebuild: no order is in doubt or hidden."""
        stored = self.items.states.get(symbol)
        if stored is None or stored.state.abandoned or self.broker.late or self.broker.hides:
            return
        order = stored.state.order
        if order is None or order.progress is not Progress.INTENT:
            self.scheduler.note(f"the item of {symbol} is lost")
            self.items.lose(symbol)
            self.checks.forget(symbol)

    def _end_faults(self) -> None:
        self.scheduler.note("the faults end")
        self.scheduler.plan.is_over = True
        self._right_clock()
        self.items.unreadable.clear()
        self.items.is_down = False
        self.broker.settle_down()

    def _set_faults_over(self, *, over: bool) -> None:
        self.scheduler.plan.is_over = over


def run_day(
    seed: int,
    points: CrashPoints,
    script: Script | None = None,
    *,
    traced: bool = False,
) -> SimulatedOutcome:
    """Run the day of a seed; with a script, the same day with the faults of the script alone."""
    day = day_of(seed, points, script, traced=traced)
    scheduler, violation, result = day.scheduler, "", (0, 0)
    try:
        result = day.run()
    except Violation as error:
        violation = str(error)
    return SimulatedOutcome(
        seed=seed,
        steps=scheduler.steps,
        crashes=scheduler.crashes,
        trades=result[0],
        pnl=result[1],
        faults=scheduler.plan.injected,
        invocations=day.aws.invocations,
        violation=violation,
        trace=scheduler.trace or [],
    )


def day_of(seed: int, points: CrashPoints, script: Script | None, *, traced: bool) -> SimulatedDay:
    """Build the day of a seed."""
    numbers = Random(f"day {seed}")
    session = _session(390 if seed % FULL_DAY_ONE_IN == 0 else numbers.randint(30, 70))
    plan = SimulatedFaultPlan(seed, script, sites=points.sites)
    scheduler = Scheduler(seed, plan, points, session.open, [] if traced else None)
    names = NAMES[: numbers.randint(1, 4)]
    minutes = (session.close - session.open) // timedelta(minutes=1)
    prices = market_of(scheduler, names, minutes)
    checks = Checks(scheduler, LOT)
    items = Items()
    rows = {
        name: _row(
            name,
            numbers,
            crossover if numbers.random() < 0.2 else FrequentSignal(numbers.randint(1, 4)),
        )
        for name in names
    }
    symbols = SimulatedSymbols(scheduler, rows)
    checks.entry_checks = EntryAudit(scheduler, session, symbols, items, prices, checks)
    seconds = Random(f"seconds {seed}")
    armed = seconds.random() < ARMED_DAYS
    settings = Settings(
        symbols_table="symbols",
        state_table="state",
        tick_queue_url="ticks" if armed else "",
        default_lot=LOT,
        clock="broker" if numbers.random() < 0.3 else "system",
        bar_wait_s=numbers.choice((0.0, 4.0, 8.0)),
    )
    made: list[SimulatedAws] = []
    exchange = SimulatedBroker(
        SeededVenue(
            scheduler,
            session,
            prices.last_trade,
            checks,
            lambda update: made[0].tell(update),
            liquid=numbers.choice((0.4, 1.0, 1.0, 1.2)),
        )
    )
    store = SimulatedStore(scheduler, items, checks, packs=seed % 8 == 0)
    made.append(
        SimulatedAws(
            scheduler, settings, exchange, store, prices, symbols, SimulatedTiming(scheduler)
        )
    )
    offset = int(seconds.uniform(0, 57) * SECOND) if armed and settings.clock == "system" else 0
    return SimulatedDay(
        scheduler, session, exchange, items, symbols, made[0], checks, numbers, offset
    )


@cache
def _session(minutes: int) -> Session:
    opens: datetime = Session.of(DAY, "09:30", "16:00").open
    return Session(DAY, opens, opens + timedelta(minutes=minutes))


def _row(symbol: str, numbers: Random, signal: Signal, *, enabled: bool = True) -> SymbolRules:
    return SymbolRules(
        symbol,
        lot=LOT,
        enabled=enabled,
        signal=signal,
        stop_loss_pct=numbers.choice((None, None, Decimal("0.2"), Decimal("1"))),
        max_hold=numbers.choice((None, None, timedelta(minutes=3))),
        max_entries=numbers.choice((None, None, None, 4)),
    )
