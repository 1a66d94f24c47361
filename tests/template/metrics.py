"""Which metrics the code that ships counts, read from its calls of `count`."""

import ast
from collections.abc import Iterator
from pathlib import Path

from scalper.shell.metrics import Metric


def emitted(root: Path) -> dict[str, str]:
    """Return the unit of each metric that some call `count(Metric.X)` names, by the metric's name.

    Raises AssertionError if the first argument of a call is not a member, or one of two members.
    """
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*.py")):
        for call in counts(ast.parse(path.read_text())):
            for name in _members(call.args[0], f"{path}:{call.lineno}"):
                found[Metric[name].value] = Metric[name].unit.value
    return found


def counts(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of `count` and of `telemetry.count`."""
    for one in ast.walk(tree):
        match one:
            case (
                ast.Call(func=ast.Name(id="count"))
                | ast.Call(func=ast.Attribute(value=ast.Name(id="telemetry"), attr="count"))
            ):
                yield one


def _members(argument: ast.expr, where: str) -> Iterator[str]:
    """Yield the members' names that an argument can be."""
    match argument:
        case ast.Attribute(value=ast.Name(id="Metric"), attr=name):
            yield name
        case ast.IfExp(body=body, orelse=orelse):
            yield from _members(body, where)
            yield from _members(orelse, where)
        case _:
            raise AssertionError(f"{where}: count takes a member of Metric, not a text")
