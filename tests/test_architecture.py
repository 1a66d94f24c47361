"""The import rules that import-linter has no contract for."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HANDLERS = sorted((ROOT / "functions").glob("*.py"))
CORE = sorted((ROOT / "functions/scalper/core").glob("*.py"))
REPLAYS = [
    path
    for name in ("matching", "replay", "sweep")
    if (path := ROOT / f"workbench/{name}.py").exists()
]


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
