"""Starts each built function cold under Lambda's runtime interface, and measures the package.

`make artefacts` prints the table and writes bench/results/artefacts.json for docs/performance.md.
The build is for this machine and the template's Python. The init time is the import of the
handler's module in a new process, without compiled modules, on a whole core.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from workbench.cloud import artefacts
from workbench.cloud.errors import CloudError
from workbench.cloud.interpreter import runtime, version_of
from workbench.cloud.sam_stack import build
from workbench.docs import provenance

RUNS = 5
PYTHON = provenance.ROOT / ".venv/cloud/bin/python"
RESULTS = Path(__file__).parent / "results" / "artefacts.json"
MB = 1_000_000


def main() -> int:
    """Build, start, print, write; the exit code is 1 if a function does not start or answer."""
    commit = provenance.commit()
    version = version_of(PYTHON)
    if version != runtime():
        print(
            f"the template runs on Python {runtime()}, {PYTHON} is {version or 'missing'}",
            file=sys.stderr,
        )
        return 1
    functions: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, artefacts.function_environment() as environment:
        folder = Path(name)
        built = build(PYTHON, folder, dict(os.environ)).parent
        unzipped, zipped = artefacts.sizes(built / "TickFunction", folder)
        for function, handler in artefacts.handlers().items():
            answers = [
                artefacts.cold_start(
                    PYTHON,
                    built / function,
                    handler,
                    artefacts.EVENTS[function],
                    folder=folder / f"{function}-{number}",
                    environment=environment,
                    timeout_s=artefacts.timeout_of(function),
                )
                for number in range(RUNS)
            ]
            failed = [one.document for one in answers if artefacts.error_of(one.document)]
            if failed:
                print(f"{function}: {artefacts.error_of(failed[0])}", file=sys.stderr)
                return 1
            taken = [round(one.init_ms) for one in answers]
            functions[function] = {"init_ms": taken, "median_ms": round(statistics.median(taken))}
            print(f"{function}: init {functions[function]['median_ms']} ms, median of {taken}")
    size = {"unzipped_mb": round(unzipped / MB, 1), "zipped_mb": round(zipped / MB, 1)}
    print(f"{size['unzipped_mb']} MB unzipped, {size['zipped_mb']} MB zipped")
    provenance.write(
        RESULTS,
        "make artefacts",
        commit,
        package={**size, "function_python": version},
        functions=functions,
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CloudError as error:
        sys.exit(f"artefacts: {error}")
