"""Each role may do what its function's code can ask for, on that very resource, and no more."""

import json
import re
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.template.conftest import ROOT, Template
from tests.template.effects import Code
from tests.template.parts import FUNCTIONS, listed, of_type, references, statements

CODE = Code(ROOT / "functions")
RECEIVE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")


def granted(template: Template, role: str) -> set[tuple[str, str]]:
    """Return (action, resource) of what a role may do, logs left out."""
    rights = set()
    for holder, statement in statements(template):
        if holder != role or listed(statement["Action"])[0].startswith("logs:"):
            continue
        for action in listed(statement["Action"]):
            rights |= {
                (action, resource)
                for one in listed(statement["Resource"])
                for resource in references(one)
            }
    return rights


def needed_by_lambda(template: Template, function: str) -> set[tuple[str, str]]:
    """Return what Lambda does in the role's name: receive, and put aside what was given up."""
    needed = {
        (action, mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0])
        for mapping in of_type(template, "AWS::Lambda::EventSourceMapping").values()
        if mapping["Properties"]["FunctionName"] == {"Ref": function}
        for action in RECEIVE
    }
    for config in of_type(template, "AWS::Lambda::EventInvokeConfig").values():
        given_up = config["Properties"].get("DestinationConfig")
        if given_up and config["Properties"]["FunctionName"] == {"Ref": function}:
            needed |= {("sqs:SendMessage", name) for name in references(given_up)}
    return needed


@pytest.mark.parametrize(("function", "module"), FUNCTIONS.items())
def test_a_role_may_do_just_what_the_code_and_lambda_can_ask_for(
    expanded: Template, function: str, module: str
) -> None:
    role = function.removesuffix("Function") + "Role"
    asked = CODE.effects(module) | needed_by_lambda(expanded, function)
    assert granted(expanded, role) == asked


def test_the_scheduler_may_invoke_its_targets_and_put_aside_what_it_gave_up(
    expanded: Template,
) -> None:
    asked = set()
    for schedule in of_type(expanded, "AWS::Scheduler::Schedule").values():
        target = schedule["Properties"]["Target"]
        assert target["RoleArn"] == {"Fn::GetAtt": ["SchedulerRole", "Arn"]}
        asked.add(("lambda:InvokeFunction", target["Arn"]["Fn::GetAtt"][0]))
        asked |= {("sqs:SendMessage", name) for name in references(target["DeadLetterConfig"])}
    assert granted(expanded, "SchedulerRole") == asked


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_writes_to_its_own_log_group(expanded: Template, function: str) -> None:
    name = function.removesuffix("Function")
    group = expanded["Resources"][f"{name}Logs"]["Properties"]["LogGroupName"]["Fn::Sub"]
    (logs,) = (
        statement
        for holder, statement in statements(expanded)
        if holder == f"{name}Role" and listed(statement["Action"])[0].startswith("logs:")
    )
    assert set(logs["Action"]) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    assert logs["Resource"]["Fn::Sub"].endswith(f":log-group:{group}:log-stream:*")


def test_no_right_is_given_on_a_wildcard_nor_by_a_wildcard(expanded: Template) -> None:
    for holder, statement in statements(expanded):
        for action in listed(statement["Action"]):
            assert "*" not in action, (holder, action)
        for resource in listed(statement["Resource"]):
            text = json.dumps(resource)
            # A log stream is named by Lambda; its group is named here.
            assert "*" not in re.sub(r"log-group:/[^*]+:log-stream:\*", "", text), (holder, text)


def test_no_right_comes_from_anywhere_but_a_role_s_own_policies(expanded: Template) -> None:
    assert not of_type(expanded, "AWS::IAM::ManagedPolicy")
    for role in of_type(expanded, "AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role["Properties"]


def test_a_role_is_taken_by_the_one_service_that_runs_for_it(expanded: Template) -> None:
    services = {
        name: role["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
        for name, role in of_type(expanded, "AWS::IAM::Role").items()
    }
    assert services.pop("SchedulerRole") == {"Service": "scheduler.amazonaws.com"}
    assert all(one == {"Service": "lambda.amazonaws.com"} for one in services.values())
    assert len(services) == len(FUNCTIONS)


def test_the_rights_are_compared_with_code_that_asks_for_something() -> None:
    every: set[Any] = set().union(*(CODE.effects(module) for module in FUNCTIONS.values()))
    assert {action for action, _ in every} == {
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:Scan",
        "secretsmanager:GetSecretValue",
        "sns:Publish",
        "sqs:SendMessage",
    }


def test_checkov_reads_every_template() -> None:
    config = yaml_parse((ROOT / ".checkov.yaml").read_text())
    templates = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("infrastructure/*.yaml")}
    assert set(config["file"]) == templates | {"template.yaml"}
