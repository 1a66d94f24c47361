"""What `template.yaml` and `infrastructure/` declare: no other module reads these files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
"""The repository, in which `template.yaml` and `infrastructure/` lie."""

Template = Mapping[str, Any]
"""A parsed template, its intrinsic functions as CloudFormation writes them in JSON."""


@dataclass(frozen=True, slots=True)
class DeclaredFunction:
    """One Lambda function of the template."""

    logical_id: str
    """Such as "TradeUpdateFunction"."""
    name: str
    """Its handler's module, such as "trade_update"."""
    handler: str
    """Such as "trade_update.handler"."""
    timeout_s: int
    memory_mb: int
    has_snapstart: bool
    events: tuple[Mapping[str, Any], ...]
    """The template's event sources of it: schedules and queues."""


def load_template(root: Path = ROOT) -> dict[str, Any]:
    """Return `template.yaml` of a repository."""
    return _parsed(root / "template.yaml")


def load_nested(root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """Return the templates of `infrastructure/` of a repository, by their file names' stems."""
    return {path.stem: _parsed(path) for path in sorted((root / "infrastructure").glob("*.yaml"))}


def resources_of(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of a CloudFormation type's resources, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def functions_of(template: Template) -> dict[str, DeclaredFunction]:
    """Return the functions of a template by name, in the template's order."""
    found = (
        _function(logical_id, properties)
        for logical_id, properties in resources_of(template, "AWS::Serverless::Function").items()
    )
    return {function.name: function for function in found}


@cache
def functions() -> Mapping[str, DeclaredFunction]:
    """Return the functions of this repository's template, by name."""
    return functions_of(load_template())


def logical_ids() -> tuple[str, ...]:
    """Return the logical ids of this repository's functions, in the template's order."""
    return tuple(function.logical_id for function in functions().values())


def queue(logical_id: str) -> Mapping[str, Any]:
    """Return the properties of a queue of this repository's template; raises KeyError."""
    return resources_of(load_template(), "AWS::SQS::Queue")[logical_id]


def _function(logical_id: str, properties: Mapping[str, Any]) -> DeclaredFunction:
    return DeclaredFunction(
        logical_id=logical_id,
        name=properties["Handler"].partition(".")[0],
        handler=properties["Handler"],
        timeout_s=int(properties["Timeout"]),
        memory_mb=int(properties["MemorySize"]),
        has_snapstart="SnapStart" in properties,
        events=tuple(properties.get("Events", {}).values()),
    )


def _parsed(path: Path) -> dict[str, Any]:
    template: dict[str, Any] = yaml_parse(path.read_text(encoding="utf-8"))
    return template
