"""Shrinking: the fewest faults of a failing day with which it still fails."""

from collections.abc import Iterable, Sequence

from workbench.simulation.crash_points import CrashPoints
from workbench.simulation.day import run_day
from workbench.simulation.fault_plan import KINDS, Fault

MAX_RUNS = 400
"""The most days that shrinking may run."""

TRACE_LINES = 80
"""How many lines of the trace are shown, counted from its end."""


def shrink(seed: int, faults: Sequence[Fault], operations: frozenset[str]) -> list[Fault]:
    """Return a part of a failing day's faults with which it still fails, each of them needed.

    It takes away smaller and smaller parts: the delta debugging of Zeller and Hildebrandt
    ("Simplifying and isolating failure-inducing input", 2002).
    """
    left = list(faults)
    runs = 0
    size = max(len(left) // 2, 1)
    while left and runs < MAX_RUNS:
        start, shorter = 0, False
        while start < len(left) and runs < MAX_RUNS:
            tried = left[:start] + left[start + size :]
            runs += 1
            if run_day(seed, CrashPoints(operations), tried).violation:
                left, shorter = tried, True
            else:
                start += size
        if size == 1 and not shorter:
            break
        size = max(size // 2, 1)
    return left


def script_text(script: Iterable[Fault]) -> str:
    """Return a script as the command line takes it."""
    return ",".join(str(fault) for fault in script) or "none"


def parse_script(text: str) -> list[Fault]:
    """Return the faults that a text lists; "none" lists none. Raises ValueError for no fault."""
    by_name = {kind.value: kind for kind in KINDS}
    script = []
    for part in text.split(",") if text != "none" else ():
        place, _, kind = part.strip().rpartition(":")
        if not place or kind not in by_name:
            raise ValueError(f"not a fault: {part!r}")
        script.append(Fault(place, by_name[kind]))
    return script
