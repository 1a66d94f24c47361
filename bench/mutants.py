"""Plants each mistake of tests/simulation/mutants.py, and counts the days until one shows it.

`make mutants` prints the list and writes bench/results/mutants.json, of which docs/reliability.md
is made. Each is simulated from seed 1; what no day of so many shows survives, and is an error.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.planting import MAX_SEEDS, hunt
from workbench.docs import provenance

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "mutants.json"
JOBS = 2
LONGEST = 120
"""Characters of a violation that are kept."""


def main() -> int:
    """Run, print, write; the exit code is 1 where a mistake survives."""
    commit = provenance.commit()
    began = time.monotonic()
    with ThreadPoolExecutor(JOBS) as pool:
        rows = []
        for row in pool.map(_row, MUTANTS):
            print(f"{row['name']:<36} {row['killed_by_seed'] or 'survives':>8} {row['violation']}")
            rows.append(row)
    killed = [row for row in rows if row["killed_by_seed"] is not None]
    figures = {
        "mutants": len(rows),
        "killed": len(killed),
        "most_seeds": max((row["seeds_run"] for row in killed), default=0),
        "seeds_at_most": MAX_SEEDS,
        "seconds": round(time.monotonic() - began, 1),
    }
    provenance.write(RESULTS, "make mutants", commit, figures=figures, mutants=rows)
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    return 0 if len(killed) == len(rows) else 1


def _row(mutant: Mutant) -> dict[str, Any]:
    found = hunt(mutant)
    violation = found.violation
    if len(violation) > LONGEST:
        violation = violation[: LONGEST - 1] + "…"
    return {
        "name": mutant.name,
        "what": mutant.what,
        "killed_by_seed": found.killed_by_seed,
        "seeds_run": found.seeds_run,
        "seconds": found.seconds,
        "violation": violation,
    }


if __name__ == "__main__":
    sys.exit(main())
