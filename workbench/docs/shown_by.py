"""Which test shows which incident: a test names its rows by `@pytest.mark.fault("14", ...)`.

The marks are read from the source, so the page needs no test imported.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Shown:
    """A test that shows the answer to an incident."""

    path: Path
    """Below the project's root."""
    name: str

    @property
    def sentence(self) -> str:
        """The test's name as people read it."""
        return re.sub(r"^test_(fault_\d+_)?", "", self.name).replace("_", " ")


def shown_by(root: Path) -> dict[str, list[Shown]]:
    """Return the tests below `root`/tests by the names in their marks, known or not.

    Raises ValueError if a mark is not on a test, or if its names are not texts.
    """
    found: dict[str, list[Shown]] = {}
    for path in sorted((root / "tests").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.fault" not in source:
            continue
        for test, names in _marks(ast.parse(source), path):
            for name in names:
                found.setdefault(name, []).append(Shown(path.relative_to(root), test))
    return found


def _marks(tree: ast.Module, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each marked test's name and the rows that it names."""
    every = {id(one) for one in ast.walk(tree) if _is_mark(one)}
    for test in ast.walk(tree):
        if not isinstance(test, ast.FunctionDef) or not test.name.startswith("test_"):
            continue
        for mark in test.decorator_list:
            if isinstance(mark, ast.Call) and _is_mark(mark.func):
                names = [ast.literal_eval(name) for name in mark.args]
                if not names or mark.keywords or not all(isinstance(n, str) for n in names):
                    raise ValueError(f"{path}: the mark of {test.name} names no rows")
                every.discard(id(mark.func))
                yield test.name, names
    if every:
        raise ValueError(f"{path}: a pytest.mark.fault is not on a test, or names no rows")


def _is_mark(one: ast.AST) -> bool:
    return isinstance(one, ast.Attribute) and ast.unparse(one) == "pytest.mark.fault"
