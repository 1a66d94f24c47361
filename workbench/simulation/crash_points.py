"""The places where a process may die: before and after every request that the shell makes.

They are read from the shell's source, not from what a run happened to do, so that a request that
no simulated day ever makes shows as a crash point that was not hit.
"""

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType

import scalper.shell

SHELL = Path(scalper.shell.__file__).parent
ADAPTERS = ("alpaca/", "aws/", "relay/", "runtime.py")
"""What lies beyond the boundary: the simulator has its own, and none of the relay."""

FILES = tuple(
    name
    for name in sorted(path.relative_to(SHELL).as_posix() for path in SHELL.rglob("*.py"))
    if not name.startswith(ADAPTERS)
)
"""The modules that make requests through the boundary's protocols."""

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
    """A request in the source: which one, and the statement that it stands in."""

    file: str
    function: str
    operation: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.file}:{self.function}:{self.operation}"


@cache
def sites(operations: frozenset[str]) -> tuple[Site, ...]:
    """Return every request that the shell's source makes, of these operations."""
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
        # Of a compound statement its own line; what it holds are statements themselves.
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
    """A request was made from a place that the source's reading did not find."""


@dataclass(slots=True)
class CrashPoints:
    """Two points for each request: an even number before it, the next odd one after it."""

    operations: frozenset[str]
    hit: list[int] = field(init=False)
    _sites: tuple[Site, ...] = field(init=False)
    _known: dict[tuple[str, CodeType, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._sites = sites(self.operations)
        self.hit = [0] * (2 * len(self._sites))

    @property
    def sites(self) -> int:
        """Return how many requests the source makes."""
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
        """Return the points at which nothing died yet."""
        return [
            f"{'before' if number % 2 == 0 else 'after'} {self._sites[number // 2]}"
            for number, times in enumerate(self.hit)
            if times == 0
        ]
