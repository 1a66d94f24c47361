"""What the source says of its own members: the texts below assignments, the heads of sections."""

import ast
import inspect
from collections.abc import Iterable
from enum import Enum
from itertools import pairwise
from types import ModuleType
from typing import TypeVar

Member = TypeVar("Member", bound=Enum)


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
