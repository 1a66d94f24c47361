"""The tables of transitions are exactly what happens: random days reach each row and no other.

The places that set a phase are read from the source of the core, and each of them is reached too.
"""

import ast
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

from scalper.core import machine, recovery, transitions
from scalper.core.model import (
    BarClosed,
    Event,
    InvariantError,
    OrderSeen,
    Phase,
    Reason,
    Recovery,
    SessionBegan,
    StateRebuilt,
    Step,
    SubmitOrder,
    SymbolState,
)
from scalper.core.order import Purpose
from scalper.core.pricing import money
from scalper.core.recovery import begin_session, rebuild
from scalper.core.transitions import (
    RECOVERIES,
    TRANSITIONS,
    assert_legal,
    assert_recovered,
    contradiction,
)
from tests.core.build import DAY, RULES, SYMBOL, at, bar_closed, order, report, seen, state
from tests.core.unreliable_broker import SendOutcome, SymbolDriver

Row = tuple[Phase | None, type[Event | Recovery], Phase]
DAYS = 4_000
ACTIONS = 140
TOMORROW = date(2026, 7, 2)
CORE = Path(machine.__file__).parent
SHELL = CORE.parent / "shell"


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> set[Row]:
    """Return the rows that are asserted from now on; none of them is refused."""
    rows = set[Row]()

    def stepped(before: SymbolState, event: Event, result: Step) -> None:
        rows.add((before.phase, type(event), result.state.phase))

    def recovered(before: SymbolState | None, event: Recovery, after: SymbolState) -> None:
        rows.add((before.phase if before else None, type(event), after.phase))

    monkeypatch.setattr(machine, "assert_legal", stepped)
    monkeypatch.setattr(recovery, "assert_recovered", recovered)
    return rows


def random_day(seed: int) -> None:
    """Take a symbol through a day on an impossible broker, and into the next session.

    Requests land minutes late. Abandoned orders become live, closed orders fill, and fills are
    taken back. The owner sells shares by hand, and the table is lost. For minutes nothing is
    reported, the liquidation may not run, and the day goes on after the close.
    """
    rng = random.Random(seed)
    driver = SymbolDriver.fresh(stop_loss_pct=Decimal(1), max_hold=timedelta(minutes=8))
    broker = driver.broker
    broker.strict = False
    outcomes: list[SendOutcome] = rng.choice(
        [["ok", "refused", "lost", "answer lost"], ["ok", "delayed"]]
    )
    driver.send_outcome = lambda: rng.choice(outcomes)
    driver.cancel_works = lambda: rng.random() < 0.7
    driver.delay = lambda: timedelta(seconds=rng.choice([2, 200, 900]))
    liquidates = rng.random() < 0.7
    silent_from = driver.rules.session.open + timedelta(minutes=rng.randint(5, 60))

    def is_silent() -> bool:
        return silent_from <= broker.now < driver.rules.session.close

    def pass_time() -> None:
        driver.pass_time(timedelta(seconds=rng.choice([1, 30, 60, 120])))

    def tick() -> None:
        close = rng.choice([None, rng.randint(money(98), money(101))])
        driver.tick(close, signal=rng.random() < 0.7)

    def fill() -> None:
        for one in broker.live:
            broker.fill(one, rng.randint(1, one.left), money(100))

    def end() -> None:
        for one in broker.live[:1]:
            broker.end(one, rng.choice(["canceled", "expired", "rejected", "replaced"]))

    def correct() -> None:
        over = [one for one in broker.placed.values() if not one.is_live]
        if over and rng.random() < 0.2:
            one = rng.choice(over)
            broker.correct(one, rng.choice([0, 1, one.order.qty]), money(100))
            driver.ask(one.order.client_order_id)

    def deliver() -> None:
        if broker.events and not is_silent():
            driver.deliver(rng.randrange(99), again=rng.random() < 0.3)

    def check() -> None:
        driver.check(rng.choice([None, max(broker.position, 0)]))

    def liquidate() -> None:
        if liquidates and broker.now >= driver.rules.session.liquidate_at:
            driver.liquidate(rng.choice([None, max(broker.position, 0)]))

    def sell_by_hand() -> None:
        if rng.random() < 0.1:
            broker.position = 0

    def reconcile() -> None:
        if not is_silent():
            driver.reconcile()

    def lose_the_table() -> None:
        if rng.random() < 0.1:
            reports = [broker.report_of(one, confirmed=True) for one in broker.placed.values()]
            driver.state = rebuild(SYMBOL, DAY, "paper", reports, broker.now)

    weights: dict[Callable[[], None], int] = {
        pass_time: 5,
        tick: 3,
        fill: 2,
        end: 1,
        deliver: 4,
        check: 1,
        liquidate: 1,
        sell_by_hand: 1,
        reconcile: 3,
        correct: 1,
        lose_the_table: 1,
    }
    for action in rng.choices(list(weights), list(weights.values()), k=ACTIONS):
        action()
    begin_session(driver.state, TOMORROW)


def test_random_days_reach_each_row_and_no_other(reached: set[Row]) -> None:
    for seed in range(DAYS):
        random_day(seed)
    assert reached == TRANSITIONS | RECOVERIES


class Place(NamedTuple):
    """A line of the source that sets a phase."""

    file: str
    line: int


def calls(folder: Path) -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield str(path), node


def places_that_set_a_phase(folder: Path) -> set[Place]:
    """Return where a call makes a state, or changes one's phase: `replace(state, phase=...)`."""
    found = set[Place]()
    for file, call in calls(folder):
        assert isinstance(call.func, ast.Name)
        given = [one.value.lineno for one in call.keywords if one.arg == "phase"]
        if call.func.id == "SymbolState":
            found.add(Place(file, given[0] if given else call.lineno))
        elif call.func.id == "replace":
            found |= {Place(file, line) for line in given}
    return found


@contextmanager
def lines_run(files: set[str]) -> Iterator[set[Place]]:
    """Collect the lines of some files that run inside the block."""
    run = set[Place]()

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            run.add(Place(frame.f_code.co_filename, frame.f_lineno))
        return on_line

    def on_call(frame: FrameType, event: str, _: Any) -> Any:
        return on_line if frame.f_code.co_filename in files else None

    tracing = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield run
    finally:
        sys.settrace(tracing)


def test_every_place_of_the_core_that_sets_a_phase_is_reached(reached: set[Row]) -> None:
    places = places_that_set_a_phase(CORE)
    assert {Path(place.file).stem for place in places} >= {"machine", "recovery", "corrections"}
    with lines_run({place.file for place in places}) as run:
        for seed in range(DAYS):
            random_day(seed)
            if places <= run:
                break
    assert places - run == set()
    assert reached <= TRANSITIONS | RECOVERIES


def test_the_shell_sets_no_phase() -> None:
    """The codec alone makes states there, from the table's text."""
    (place,) = places_that_set_a_phase(SHELL)
    assert Path(place.file).name == "codec.py"


SELL = order(purpose=Purpose.TARGET, qty=20)


@pytest.mark.parametrize(
    "after",
    [
        state(order=order(), generation=1),
        state(qty=1),
        state(generation=1),
        state(phase=Phase.BUY_SUBMITTED),
        state(phase=Phase.BUY_SUBMITTED, order=SELL, generation=1),
        state(phase=Phase.TO_SELL),
        state(phase=Phase.SELL_SUBMITTED, order=SELL, generation=1),
        state(phase=Phase.SELL_SUBMITTED, order=SELL, qty=19, generation=1),
        state(phase=Phase.SELL_SUBMITTED, order=order(), qty=20, generation=1),
        state(phase=Phase.TO_SELL, halt=Reason.CORRECTED_FILL),
        state(phase=Phase.TO_BUY, qty=1, halt=Reason.CORRECTED_FILL),
    ],
)
def test_state_that_contradicts_its_phase_is_refused(after: SymbolState) -> None:
    before = state(phase=after.phase)
    event = bar_closed("10:00")
    assert (before.phase, BarClosed, after.phase) in TRANSITIONS
    with pytest.raises(InvariantError, match="TSLA"):
        assert_legal(before, event, Step(after, (), Reason.NO_SIGNAL))


@pytest.mark.parametrize("qty", [0, 19])
def test_a_sell_of_more_than_is_held_may_work_where_shares_were_lost_and_is_never_sent(
    qty: int,
) -> None:
    lost = state(
        phase=Phase.SELL_SUBMITTED, order=SELL, qty=qty, generation=1, halt=Reason.CORRECTED_FILL
    )
    event = bar_closed("10:00")
    assert_legal(lost, event, Step(lost, (), Reason.STILL_WORKING))
    with pytest.raises(InvariantError, match=f"sells 20, holds {qty}"):
        assert_legal(lost, event, Step(lost, (SubmitOrder(SELL),), Reason.RESENT))


def test_step_that_the_table_lacks_is_refused() -> None:
    with pytest.raises(InvariantError, match="TO_BUY to DONE on BarClosed"):
        assert_legal(
            state(),
            bar_closed("10:00"),
            Step(state(phase=Phase.DONE), (), Reason.NO_SIGNAL),
        )


@pytest.mark.parametrize("phase", [Phase.BUY_SUBMITTED, Phase.SELL_SUBMITTED])
def test_step_from_a_submitted_phase_without_an_order_is_refused(phase: Phase) -> None:
    with pytest.raises(InvariantError, match="without an order"):
        machine.step(state(phase=phase), bar_closed("10:02"), RULES)


def test_step_whose_event_is_of_no_order_leaves_the_state_as_it_is() -> None:
    event: OrderSeen = seen("10:00", 1, Purpose.ENTRY, "new", client_order_id="")
    assert machine.step(state(), event, RULES).state == state()


@pytest.mark.parametrize(
    ("before", "after"),
    [(state(), state(phase=Phase.DONE)), (state(), state(qty=1)), (None, state(generation=1))],
)
def test_recovery_that_the_table_lacks_or_that_contradicts_itself_is_refused(
    before: SymbolState | None, after: SymbolState
) -> None:
    event = SessionBegan(symbol=SYMBOL, session=TOMORROW)
    rebuilt = StateRebuilt(symbol=SYMBOL, session=TOMORROW)
    with pytest.raises(InvariantError, match="TSLA"):
        assert_recovered(before, event if before else rebuilt, after)


@pytest.mark.parametrize("row", sorted(RECOVERIES, key=str), ids=str)
def test_recovery_asserts_its_row(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "RECOVERIES", RECOVERIES - {row})
    bought = report(1, Purpose.ENTRY, "filled", 20, qty=20)
    reports = {
        Phase.TO_BUY: [],
        Phase.BUY_SUBMITTED: [report(1, Purpose.ENTRY, "new", qty=20)],
        Phase.TO_SELL: [bought],
        Phase.SELL_SUBMITTED: [bought, report(2, Purpose.TARGET, "new", qty=20)],
    }
    if row[1] is StateRebuilt:
        with pytest.raises(InvariantError, match="on StateRebuilt"):
            rebuild(SYMBOL, DAY, "paper", reports[row[2]], at("11:00"))
        return
    before = (
        state(phase=Phase.DONE)
        if row[0] is Phase.DONE
        else rebuild(SYMBOL, DAY, "paper", reports[row[2]], at("11:00"))
    )
    with pytest.raises(InvariantError, match="on SessionBegan"):
        begin_session(before, TOMORROW)


def test_a_damaged_state_begins_a_session_and_is_left_to_its_next_step() -> None:
    """The states of all symbols are read at once: one damaged item must not stop the others."""
    damaged = state(phase=Phase.TO_SELL, qty=-1)
    assert contradiction(damaged)
    begun = begin_session(damaged, TOMORROW)
    with pytest.raises(InvariantError, match="contradicts"):
        machine.step(begun, bar_closed("10:00"), RULES)
