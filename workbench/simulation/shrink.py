"""A failing day made small: the fewest of its faults that still break it, and what then happens."""

from collections.abc import Iterable, Sequence

from workbench.simulation.crash_points import CrashPoints
from workbench.simulation.day import run_day
from workbench.simulation.fault_plan import KINDS, Fault

MAX_RUNS = 400
"""Days that shrinking may take; what is left then is small enough, or hangs together."""

TRACE_LINES = 80
"""The end of the trace that is shown."""


def shrink(seed: int, faults: Sequence[Fault], operations: frozenset[str]) -> list[Fault]:
    """Return faults of a failing day without which it would not fail, none of them idle.

    Takes away ever smaller parts, as in Zeller's and Hildebrandt's delta debugging ("Simplifying
    and isolating failure-inducing input", 2002).
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
    """Return the faults that a text gives, none for "none"; raises ValueError for an odd one."""
    by_name = {kind.value: kind for kind in KINDS}
    script = []
    for part in text.split(",") if text != "none" else ():
        place, _, kind = part.strip().rpartition(":")
        if not place or kind not in by_name:
            raise ValueError(f"not a fault: {part!r}")
        script.append(Fault(place, by_name[kind]))
    return script
