"""What the simulator takes from template.yaml is what stands there; a minute is decided once."""

from datetime import timedelta

import pytest

from tests.shell.fakes import OPEN
from tests.simulation.build import ended, scheduler_of
from workbench.simulation.aws import DELIVERIES, TIMEOUT_S, VISIBILITY_S
from workbench.simulation.checks import Checks
from workbench.simulation.day import LOT
from workbench.simulation.scheduler import Violation
from workbench.template.declared import load_template

RESOURCES = load_template()["Resources"]


def test_each_function_has_the_time_that_the_template_gives_it():
    functions = {
        one["Properties"]["Handler"].partition(".")[0]: one["Properties"]["Timeout"]
        for one in RESOURCES.values()
        if one["Type"] == "AWS::Serverless::Function"
    }
    # The relay is not simulated: it only carries events, which come late or never here.
    del functions["relay"]
    assert functions == TIMEOUT_S
    assert len(functions) == 5


def test_a_message_of_the_checkups_comes_again_when_the_template_says_so():
    queue = RESOURCES["CheckupQueue"]["Properties"]
    assert queue["VisibilityTimeout"] == VISIBILITY_S == 360
    assert queue["RedrivePolicy"]["maxReceiveCount"] == DELIVERIES == 5


def test_an_invocation_that_decides_a_symbols_minute_twice_is_a_violation():
    scheduler = scheduler_of()
    checks = Checks(scheduler, LOT)

    def decide(*decisions: tuple[str, int]) -> None:
        for symbol, minute in decisions:
            checks.decided(symbol, OPEN + timedelta(minutes=minute))

    ended(scheduler, lambda: decide(("AAA", 1), ("BBB", 1), ("AAA", 2)), "tick 1")
    ended(scheduler, lambda: decide(("AAA", 1)), "tick 2")
    with pytest.raises(Violation, match=r"AAA: the minute that ended at .* is decided twice"):
        ended(scheduler, lambda: decide(("AAA", 1), ("AAA", 1)), "tick 3")
