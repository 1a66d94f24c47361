"""Plants a mistake in a copy of what ships, and simulates days until one shows it.

The copy comes first on the path of a process of its own: nothing of this one is changed.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.mutants import Edit, Mutant

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "functions"
MAX_SEEDS = 500
"""The most days that a mistake may stay unfound."""

TIMEOUT_S = 1200.0
"""For one mutant's days, on a machine that is busy with others."""


class StaleMutantError(Exception):
    """The text that a mutant replaces is not in the code once."""


class BrokenMutantError(Exception):
    """The mutated code does not run, which proves nothing."""


@dataclass(frozen=True, slots=True)
class Hunt:
    """What simulated days found of a mistake."""

    killed_by_seed: int | None
    """None if no day found it."""
    seeds_run: int
    seconds: float
    violation: str


def hunt(mutant: Mutant | None, *, first: int = 1, seeds: int = MAX_SEEDS) -> Hunt:
    """Simulate days with a mistake planted, until one has a violation; None plants nothing.

    Raises StaleMutantError, and BrokenMutantError where the days do not run.
    """
    with _planted(mutant.edits if mutant else ()) as functions:
        began = time.monotonic()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(functions), str(ROOT)]),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(functions), str(first), str(seeds)],
            cwd=functions,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise BrokenMutantError(done.stderr[-2000:])
        seed, run, violation = json.loads(done.stdout.splitlines()[-1])
        if " raised " in violation:
            # An exception that nobody meant says nothing about the rules.
            raise BrokenMutantError(violation)
        return Hunt(seed, run, round(time.monotonic() - began, 1), violation)


def planted(text: str, edits: Sequence[Edit]) -> str:
    """Return a file's text with edits made; raises StaleMutantError if one does not fit."""
    for edit in edits:
        if text.count(edit.old) != 1:
            raise StaleMutantError(f"{edit.file} has {text.count(edit.old)} times:\n{edit.old}")
        text = text.replace(edit.old, edit.new)
    return text


@contextmanager
def _planted(edits: Sequence[Edit]) -> Iterator[Path]:
    """Give a copy of what ships with edits made, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        functions = Path(folder) / "functions"
        shutil.copytree(SHIPPED, functions, ignore=shutil.ignore_patterns("__pycache__"))
        for edit in edits:
            path = functions / "scalper" / edit.file
            path.write_text(planted(path.read_text(encoding="utf-8"), [edit]), encoding="utf-8")
        yield functions


def _main(functions: str, first: str, seeds: str) -> None:
    """Print as JSON: the seed with a violation or null, the days run, and the violation."""
    import scalper
    from workbench.simulation import campaign

    if not Path(scalper.__file__).is_relative_to(functions):
        raise BrokenMutantError(f"{scalper.__file__} is not of the copy")
    tally = campaign.simulate(int(seeds), int(first), until_failure=True, shrinks=False)
    failure = next(iter(tally.failures), None)
    seed, violation = (failure.seed, failure.violation) if failure else (None, "")
    sys.stdout.write(json.dumps([seed, tally.seeds, violation]) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
