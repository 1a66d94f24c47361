"""What the tests of the template share: the functions' names, and how to find things in it."""

from typing import Any

from tests.template.conftest import Template

FUNCTIONS = {
    "TickFunction": "tick",
    "TradeUpdateFunction": "trade_update",
    "CheckupFunction": "checkup",
    "LiquidateFunction": "liquidate",
    "RelayFunction": "relay",
    "CloseDayFunction": "close_day",
}


def of_type(template: Template, kind: str) -> dict[str, Any]:
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: Template) -> list[tuple[str, dict[str, Any]]]:
    """Each statement of each policy, beside the name of the role that holds it."""
    return [
        (name, statement)
        for name, role in of_type(template, "AWS::IAM::Role").items()
        for policy in role["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def references(value: Any) -> set[str]:
    """The names that a value refers to, however deep: by Ref, GetAtt or Sub."""
    if isinstance(value, list):
        return {name for one in value for name in references(one)}
    if not isinstance(value, dict):
        return set()
    found = {name for one in value.values() for name in references(one)}
    if isinstance(value.get("Ref"), str):
        found.add(value["Ref"])
    if "Fn::GetAtt" in value:
        found.add(value["Fn::GetAtt"][0])
    if isinstance(value.get("Fn::Sub"), str):
        found |= {part.split("}")[0] for part in value["Fn::Sub"].split("${")[1:]}
    return found
