"""`workbench/template/declared.py` alone reads the templates, and gives what they say."""

import ast
from pathlib import Path

import pytest

from tests.template.conftest import ROOT, Template
from tests.template.parts import FUNCTIONS
from workbench.template.declared import (
    functions,
    load_nested,
    load_template,
    logical_ids,
    queue,
    resources_of,
)

READER = Path("workbench/template/declared.py")
YAML_PARSERS = {"yaml", "samtranslator", "ruamel"}


def modules() -> list[Path]:
    return [
        path.relative_to(ROOT)
        for room in ("workbench", "bench", "functions")
        for path in sorted((ROOT / room).rglob("*.py"))
    ]


def yaml_parsers_of(source: str) -> set[str]:
    """Return the YAML parsers that a module imports, inside its functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name.partition(".")[0] for alias in aliases}
            case ast.ImportFrom(module=str(module)):
                names.add(module.partition(".")[0])
    return names & YAML_PARSERS


def test_no_other_module_can_read_a_template() -> None:
    readers = [path for path in modules() if yaml_parsers_of((ROOT / path).read_text())]
    assert readers == [READER]


@pytest.mark.parametrize(
    "source",
    [
        "import yaml",
        "def f():\n    from samtranslator.yaml_helper import yaml_parse",
        "import yaml.x",
    ],
)
def test_a_second_reader_would_be_found(source: str) -> None:
    assert yaml_parsers_of(source)


def test_the_functions_are_those_of_the_contract_in_its_order() -> None:
    assert {one.logical_id: one.name for one in functions().values()} == FUNCTIONS
    assert logical_ids() == tuple(FUNCTIONS)


def test_a_function_has_what_its_resource_says(template: Template) -> None:
    for name, function in functions().items():
        properties = template["Resources"][function.logical_id]["Properties"]
        assert function.handler == properties["Handler"] == f"{name}.handler"
        assert (function.timeout_s, function.memory_mb) == (
            properties["Timeout"],
            properties["MemorySize"],
        )
        assert function.has_snapstart is (name == "trade_update")
        assert list(function.events) == list(properties.get("Events", {}).values())


def test_a_queue_that_is_not_declared_is_an_error() -> None:
    assert queue("CheckupQueue")["VisibilityTimeout"] == 360
    with pytest.raises(KeyError):
        queue("NoQueue")


def test_each_file_of_the_infrastructure_is_a_template_of_its_own() -> None:
    nested = load_nested()
    assert sorted(nested) == sorted(path.stem for path in (ROOT / "infrastructure").glob("*.yaml"))
    assert all(template["Resources"] for template in nested.values())
    assert resources_of(load_template(), "AWS::CloudWatch::Alarm") == {}
