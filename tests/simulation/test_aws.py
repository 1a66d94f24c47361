"""What the simulator takes from template.yaml is what stands there."""

from workbench.simulation.aws import DELIVERIES, TIMEOUT_S, VISIBILITY_S
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
