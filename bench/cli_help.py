"""Times `scalper --help` against the help of an empty Typer application with as many commands.

The two run in turns, each as a whole process with its modules compiled. The empty application has
the same settings as ours: no completion, no Rich. `make bench` writes bench/results/cli_help.json,
of which docs/performance.md is made.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.cli.app import COMMANDS
from workbench.docs import provenance

RUNS = 21
RATIO_LIMIT = 1.3
"""Our median may take so many times the empty application's."""

RESULTS = Path(__file__).parent / "results" / "cli_help.json"

EMPTY = "empty_application"
_HEAD = """
import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
"""
_COMMAND = """
@app.command("{name}")
def command_{number}() -> None:
    \"\"\"{help}\"\"\"
"""


def main() -> int:
    """Measure, print, write; the exit code is 1 if our help takes longer than it may."""
    commit = provenance.commit()
    taken = measure(RUNS)
    ours_s, empty_s = (statistics.median(taken[one]) for one in ("scalper", "empty"))
    ratio = ours_s / empty_s
    figures = {
        "commands": len(COMMANDS),
        "runs": RUNS,
        "median_s": round(ours_s, 3),
        "empty_median_s": round(empty_s, 3),
        "ratio": round(ratio, 2),
        "ratio_limit": RATIO_LIMIT,
    }
    provenance.write(RESULTS, "make bench", commit, figures=figures)
    print(
        f"scalper --help {ours_s:.3f} s, an empty Typer application {empty_s:.3f} s: "
        f"ratio {ratio:.2f}, at most {RATIO_LIMIT:g}"
    )
    return 0 if ratio <= RATIO_LIMIT else 1


def measure(runs: int) -> Mapping[str, list[float]]:
    """Return the seconds of each run of both, which alternate; the first run of each compiles."""
    taken: dict[str, list[float]] = {"scalper": [], "empty": []}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{EMPTY}.py").write_text(empty_application(), encoding="utf-8")
        programs = {
            "scalper": "from workbench.cli.app import main; main()",
            "empty": f"from {EMPTY} import app; app()",
        }
        commands = {name: [sys.executable, "-c", one, "--help"] for name, one in programs.items()}
        environment = {**os.environ, "PYTHONPATH": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for number in range(runs + 1):
            for name, command in commands.items():
                seconds = _seconds_of(command, environment)
                if number > 0:
                    taken[name].append(seconds)
    return taken


def _seconds_of(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        env=environment,
        cwd=provenance.ROOT,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
    return time.perf_counter() - began


def empty_application() -> str:
    """Return the source of an application with the same commands, which do nothing."""
    commands = [
        _COMMAND.format(name=one.name, number=number, help=one.help)
        for number, one in enumerate(COMMANDS)
    ]
    return _HEAD + "".join(commands)


if __name__ == "__main__":
    sys.exit(main())
