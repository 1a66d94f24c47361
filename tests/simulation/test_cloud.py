"""What the simulator takes from template.yaml is what stands there."""

from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from workbench.simulation.cloud import TIMEOUT_S, VISIBILITY_S

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))
    return parsed["Resources"]


def test_each_function_has_the_time_that_the_template_gives_it(resources: dict[str, Any]):
    functions = {
        one["Properties"]["Handler"].partition(".")[0]: one["Properties"]["Timeout"]
        for one in resources.values()
        if one["Type"] == "AWS::Serverless::Function"
    }
    # The relay is not simulated: it only carries events, which come late or never here.
    del functions["relay"]
    assert functions == TIMEOUT_S


def test_a_message_of_the_checkups_comes_again_when_the_template_says_so(
    resources: dict[str, Any],
):
    queue = resources["CheckupQueue"]["Properties"]
    assert queue["VisibilityTimeout"] == VISIBILITY_S
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
