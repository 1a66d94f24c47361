"""The rules of the source that no linter has: imports of single files, and sizes.

A module that is too long for one reading, or a folder with too many of them, is to be split.
"""

import ast
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HANDLERS = sorted((ROOT / "functions").glob("*.py"))
CORE = sorted((ROOT / "functions/scalper/core").glob("*.py"))
REPLAYS = [ROOT / "workbench/market/matching.py", *sorted((ROOT / "workbench/replay").glob("*.py"))]

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_MODULES = 14
"""Of a package folder, besides its `__init__`."""

MODULES = sorted(
    path.relative_to(ROOT)
    for room in ("functions", "workbench", "bench")
    for path in (ROOT / room).rglob("*.py")
)


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere, inside its functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path.name} imports relatively"
            if node.module == "scalper":
                names |= {f"scalper.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return names


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_the_core_imports_the_standard_library_alone(path: Path) -> None:
    for module in imported(path):
        assert standard(module) or within(module, "scalper.core"), module


@pytest.mark.parametrize("path", REPLAYS, ids=lambda path: path.stem)
def test_matching_and_replay_know_the_core_and_not_the_shell(path: Path) -> None:
    for module in imported(path):
        assert not within(module, "scalper") or within(module, "scalper.core"), module


def test_matching_is_pure() -> None:
    for module in imported(ROOT / "workbench/market/matching.py"):
        assert standard(module) or within(module, "scalper.core"), module


@pytest.mark.parametrize("path", HANDLERS, ids=lambda path: path.stem)
def test_a_handler_imports_neither_another_nor_the_workbench(path: Path) -> None:
    others = {other.stem for other in HANDLERS} | {"workbench"}
    assert not others & {module.partition(".")[0] for module in imported(path)}


def functions_of(source: str) -> list[tuple[str, int]]:
    """Return each function and method with its lines, its decorators not counted."""
    return [
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_no_module_is_longer_than_one_reading() -> None:
    lines = {str(path): len((ROOT / path).read_text().splitlines()) for path in MODULES}
    assert len(lines) > 100
    assert {name: count for name, count in lines.items() if count > MAX_MODULE_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    too_long = {
        f"{path}:{name}": count
        for path in MODULES
        for name, count in functions_of((ROOT / path).read_text())
        if count > MAX_FUNCTION_LINES
    }
    assert too_long == {}


def test_the_lines_of_a_function_are_counted_from_its_name_to_its_end() -> None:
    one = "@decorated\ndef one(\n    a,\n):\n    return a\n"
    two = "class C:\n    async def two(self): ...\n"
    assert functions_of(one + two) == [("one", 4), ("two", 1)]


def test_no_package_folder_has_more_modules_than_a_newcomer_can_take_in() -> None:
    counts = Counter(
        str(path.parent)
        for path in MODULES
        if path.name != "__init__.py" and path.parts[0] in ("functions", "workbench")
    )
    assert counts["workbench/exchange"] > 5
    assert {name: count for name, count in counts.items() if count > MAX_MODULES} == {}
