"""Every request in the shell's source is a crash point, also one that no day ever makes."""

import ast
from collections.abc import Iterator
from functools import partial

import pytest

from tests.shell.fakes import OPEN
from tests.simulation.build import invoked, unwatched
from workbench.faults.kinds import FaultKind
from workbench.simulation.aws import quiet
from workbench.simulation.crash_points import (
    FILES,
    SHELL,
    CrashPoints,
    Site,
    UnknownSiteError,
    sites,
)
from workbench.simulation.day import OPERATIONS, run_day
from workbench.simulation.fault_plan import Fault, SimulatedFaultPlan
from workbench.simulation.scheduler import Scheduler
from workbench.simulation.table import Items, SimulatedStore

NO_BOUNDARY = {
    "engine",  # its own session() and open_orders() are made of requests that are found
    "engine.settings",
    "engine.window",
    "item",  # a row of the real table
    "rules",
    "self",  # a real adapter's own method
    "self._threads",
    "self.settings",
    "settings",
    "series",
    "state",
    "super()",
}
"""What has attributes named as operations and is no fake's."""

THE_RELAYS = {
    ("runtime.py", "outbox.checkup_in"),
    ("relay/run.py", "broker().account_block"),
    ("relay/run.py", "broker().clock"),
    ("relay/run.py", "broker().session"),
    ("relay/run.py", "broker.clock"),
}
"""The relay is a process of its own, which no simulated day runs."""


def attributes() -> Iterator[tuple[str, ast.Attribute]]:
    """Yield every attribute in the shell's source that is named as an operation, and its file."""
    names = {operation.partition(".")[2] for operation in OPERATIONS}
    for path in sorted(SHELL.rglob("*.py")):
        file = path.relative_to(SHELL).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in names:
                yield file, node


def is_found(file: str, node: ast.Attribute) -> bool:
    return any(
        (site.file, site.operation.partition(".")[2]) == (file, node.attr)
        and site.first <= node.lineno <= site.last
        for site in sites(OPERATIONS)
    )


def requests() -> list[tuple[str, ast.Attribute]]:
    """Return those attributes whose owner is none of the others known."""
    return [
        (file, node)
        for file, node in attributes()
        if ast.unparse(node.value) not in NO_BOUNDARY
        and (file, ast.unparse(node)) not in THE_RELAYS
    ]


def test_each_attribute_named_like_an_operation_is_a_site_or_known_to_be_none():
    missed = [(file, ast.unparse(node)) for file, node in requests() if not is_found(file, node)]
    assert missed == []
    assert {file for file, _ in requests()} <= set(FILES)


def test_there_are_as_many_sites_as_requests_in_the_source():
    assert len(sites(OPERATIONS)) == len(requests()) > 25


def test_each_operation_that_the_shell_knows_has_a_site():
    asked = {site.operation for site in sites(OPERATIONS)}
    # What the protocols offer and no pass asks for.
    assert OPERATIONS - asked <= {"broker.account_block", "broker.find_by_id", "store.halt_account"}


@pytest.mark.parametrize(
    ("file", "function"), [("trading/checkup.py", "checkup"), ("trading/tick.py", "_read_inputs")]
)
def test_a_request_handed_to_fan_out_by_reference_is_found(file: str, function: str):
    (site,) = [
        one
        for one in sites(OPERATIONS)
        if (one.file, one.function, one.operation) == (file, function, "store.account_halt")
    ]
    source = (SHELL / file).read_text(encoding="utf-8").splitlines()
    statement = "\n".join(source[site.first - 1 : site.last])
    assert "engine.fan_out(" in statement
    assert "engine.store.account_halt,\n" in statement


def test_a_day_reaches_requests_by_call_and_by_reference():
    points = CrashPoints(OPERATIONS)
    with quiet():
        for seed in range(1, 4):
            assert not run_day(seed, points, []).violation
    reached = {str(points._sites[number // 2]) for number in points._known.values()}
    assert "trading/checkup.py:checkup:store.account_halt" in reached
    assert "trading/tick.py:_read_inputs:store.account_halt" in reached
    assert "trading/engine.py:_submit:broker.submit" in reached
    # Two requests of one sort in one file are two places.
    assert "trading/engine.py:_advance:store.save" in reached
    assert "trading/reconciliation.py:recover:store.save" in reached
    assert points.hit == [0] * len(points.hit)


def test_a_request_from_elsewhere_is_an_error():
    scheduler = Scheduler(0, SimulatedFaultPlan(0, []), CrashPoints(OPERATIONS), OPEN)
    store = SimulatedStore(scheduler, Items(), unwatched(scheduler))
    with pytest.raises(UnknownSiteError, match=r"store.load from .*test_crash_points.py"):
        invoked(scheduler, lambda: store.load("AAA"))


def test_a_point_before_and_one_after_are_counted_apart():
    crashes = [Fault("tick 1/1", FaultKind.CRASH_BEFORE), Fault("tick 1/1", FaultKind.CRASH_AFTER)]
    site = next(one for one in sites(OPERATIONS) if one.operation == "store.load")
    for place, fault in enumerate(crashes):
        points = AtLoad(OPERATIONS)
        scheduler = Scheduler(0, SimulatedFaultPlan(0, [fault]), points, OPEN)
        store = SimulatedStore(scheduler, Items(), unwatched(scheduler))
        invoked(scheduler, partial(store.load, "AAA"))
        scheduler.run()
        hits = [number for number, times in enumerate(points.hit) if times]
        assert hits == [2 * sites(OPERATIONS).index(site) + place]
        assert f"{('before', 'after')[place]} {site}" not in points.missed()
        assert len(points.missed()) == len(points.hit) - 1


class AtLoad(CrashPoints):
    """Takes every request for the shell's first store.load."""

    def reached(self, operation, caller) -> int:
        site: Site = next(one for one in self._sites if one.operation == "store.load")
        return 2 * self._sites.index(site)
