"""The crash points: the places before and after each request of the shell.

They are read from the shell's source, not from what a run happens to do. So a request that no
simulated day makes shows as a crash point that was never hit.
"""

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType

import scalper.shell

SHELL = Path(scalper.shell.__file__).parent
ADAPTERS = ("alpaca/", "aws/", "relay/", "runtime.py")
"""Modules that the simulator replaces. It has adapters of its own, and no relay."""

FILES = tuple(
    name
    for name in sorted(path.relative_to(SHELL).as_posix() for path in SHELL.rglob("*.py"))
    if not name.startswith(ADAPTERS)
)
"""The modules that make requests through the ports."""

RECEIVERS = {
    "broker": "broker",
    "store": "store",
    "_store": "store",
    "symbols": "symbols",
    "outbox": "outbox",
    "_market": "market",
}


@dataclass(frozen=True, slots=True)
class Site:
    """A request in the source, and the lines of the statement that makes it."""

    file: str
    function: str
    operation: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.file}:{self.function}:{self.operation}"


@cache
def sites(operations: frozenset[str]) -> tuple[Site, ...]:
    """Return every request in the shell's source that is one of these operations."""
    found: list[Site] = []
    for name in FILES:
        tree = ast.parse((SHELL / name).read_text(encoding="utf-8"))
        _search(tree, name, "", (0, 0), operations, found)
    return tuple(found)


def _search(
    node: ast.AST,
    file: str,
    function: str,
    lines: tuple[int, int],
    operations: frozenset[str],
    found: list[Site],
) -> None:
    if isinstance(node, ast.FunctionDef):
        function = f"{function}.{node.name}".lstrip(".")
    if isinstance(node, ast.stmt):
        # Of a compound statement, its head alone: its body holds statements of their own.
        body = getattr(node, "body", None)
        last = body[0].lineno - 1 if body else node.end_lineno
        lines = (node.lineno, last or node.lineno)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute | ast.Name):
        owner = node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id
        operation = f"{RECEIVERS.get(owner, '')}.{node.attr}"
        if operation in operations:
            found.append(Site(file, function, operation, *lines))
    for child in ast.iter_child_nodes(node):
        _search(child, file, function, lines, operations, found)


class UnknownSiteError(Exception):
    """A request came from a place that is no known site of the source."""


@dataclass(slots=True)
class CrashPoints:
    """Counts the crashes at each point. Before request n is point 2n, after it 2n + 1."""

    operations: frozenset[str]
    hit: list[int] = field(init=False)
    _sites: tuple[Site, ...] = field(init=False)
    _known: dict[tuple[str, CodeType, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sites = sites(self.operations)
        self.hit = [0] * (2 * len(self._sites))

    @property
    def sites(self) -> int:
        """Return the number of requests in the source."""
        return len(self._sites)

    def reached(self, operation: str, caller: tuple[CodeType, int]) -> int:
        """Return the number of the point before this request."""
        key = (operation, *caller)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = self._find(operation, *caller)
        return number

    def _find(self, operation: str, code: CodeType, line: int) -> int:
        for number, site in enumerate(self._sites):
            inside = site.first <= line <= site.last
            if site.operation == operation and inside and code.co_filename.endswith(site.file):
                return 2 * number
        raise UnknownSiteError(f"{operation} from {code.co_filename}:{line} ({code.co_name})")

    def missed(self) -> list[str]:
        """Return the points at which no process has died yet."""
        return [
            f"{'before' if number % 2 == 0 else 'after'} {self._sites[number // 2]}"
            for number, times in enumerate(self.hit)
            if times == 0
        ]
