"""Which metrics the code that ships emits, read from its calls of `count`."""

import ast
from collections.abc import Iterator
from pathlib import Path


def emitted(root: Path) -> dict[str, str]:
    """Return each metric's unit by its name, for every call `count(name, value, unit)`."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text())
        if not _imports_count(tree, path):
            continue
        for function in (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and _name(call.func) == "count":
                    found |= dict.fromkeys(_texts(call.args[0], function), _unit(call))
    return found


def _imports_count(tree: ast.AST, path: Path) -> bool:
    return path.stem == "telemetry" or any(
        isinstance(one, ast.ImportFrom)
        and one.module in ("scalper.shell.telemetry", "scalper.shell")
        and {alias.name for alias in one.names} & {"count", "telemetry"}
        for one in ast.walk(tree)
    )


def _name(func: ast.expr) -> str:
    match func:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="telemetry"), attr=name):
            return name
        case _:
            return ""


def _texts(value: ast.expr, function: ast.FunctionDef) -> Iterator[str]:
    """Yield the texts that an argument can be: a constant, either of two, a name for such."""
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body, function)
            yield from _texts(orelse, function)
        case ast.Name(id=name):
            for one in ast.walk(function):
                if isinstance(one, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == name for target in one.targets
                ):
                    yield from _texts(one.value, function)


def _unit(call: ast.Call) -> str:
    given = [*call.args[2:3], *(one.value for one in call.keywords if one.arg == "unit")]
    return given[0].attr if given and isinstance(given[0], ast.Attribute) else "Count"
