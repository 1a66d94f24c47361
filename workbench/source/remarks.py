"""What source files say: texts below assignments, heads of sections, and marks of tests.

A test names the incidents that it shows by `@pytest.mark.fault("14", ...)`. The marks are read from
the source, so no page needs a test imported.
"""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import TypeVar

Member = TypeVar("Member", bound=Enum)


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


def remarks(module: ModuleType, name: str = "") -> dict[str, str]:
    """Return the texts that stand below assignments, in a module or in its class `name`.

    The key is the assigned name. A text is one line, whatever its line breaks in the source.
    """
    body = ast.parse(inspect.getsource(module)).body
    if name:
        (body,) = [o.body for o in body if isinstance(o, ast.ClassDef) and o.name == name]
    found = {}
    for one, below in pairwise(body):
        if isinstance(one, ast.Assign) and isinstance(below, ast.Expr):
            found[ast.unparse(one.targets[0])] = " ".join(ast.literal_eval(below.value).split())
    return found


def sections(enum: type[Member]) -> Iterable[tuple[str, list[Member]]]:
    """Yield the members of an enum under the comments that head them."""
    title = ""
    members: list[Member] = []
    for line in [*inspect.getsource(enum).splitlines(), "    # "]:
        if line.startswith("    # "):
            if members:
                yield title, members
            title, members = line.removeprefix("    # "), []
        elif (name := line.strip().partition(" = ")[0]) in enum.__members__:
            members.append(enum[name])


def first_paragraph(documented: type) -> str:
    """Return the first paragraph of a docstring as one line."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n")[0].split())


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
