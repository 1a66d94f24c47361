"""Times the local day as a user runs it: whole processes of `scalper run`, without the set-up.

`make bench` prints the times and writes bench/results/local_day.json for docs/performance.md. The
times are wall-clock seconds of the whole command, the report included.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from workbench.docs import provenance

RUNS = 3
BAR_S = 60.0
"""A day of 10 symbols x 390 minutes has to take less, on 2 cores."""

RESULTS = Path(__file__).parent / "results" / "local_day.json"


def main() -> int:
    """Run, print, write; the exit code is 1 if the median is over the limit."""
    seconds: list[float] = []
    summary: dict[str, Any] = {}
    for number in range(1, RUNS + 1):
        taken, summary = _one_day()
        seconds.append(round(taken, 2))
        print(f"run {number} of {RUNS}: {taken:.2f} s, {summary['trades']} trades")
    median = statistics.median(seconds)
    result = {
        "command": "make bench",
        "commit": provenance.commit(),
        "date": provenance.today(),
        "machine": f"{provenance.machine()}, {provenance.python()}",
        "seconds": seconds,
        "median_s": median,
        "bar_s": BAR_S,
        "ratio_to_bar": round(median / BAR_S, 3),
        **{key: summary[key] for key in ("symbols", "bars", "ticks", "buys", "cancels", "trades")},
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"median {median:.2f} s of {BAR_S:g} s ({median / BAR_S:.0%}); {result['machine']}")
    return 0 if median < BAR_S else 1


def _one_day() -> tuple[float, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "workbench.cli", "run", "--out", folder]
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=600)
        taken = time.monotonic() - began
        text = (Path(folder) / "summary.json").read_text(encoding="utf-8")
        return taken, json.loads(text)


if __name__ == "__main__":
    sys.exit(main())
