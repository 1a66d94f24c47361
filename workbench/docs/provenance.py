"""Where a figure comes from: every results file names command, commit, date and machine."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def commit() -> str:
    """Return the commit that is checked out, marked if files differ from it; "" without Git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return described.stdout.strip()


def today() -> str:
    """Return the date in UTC."""
    return datetime.now(UTC).date().isoformat()


def machine() -> str:
    """Return processor, cores and system, as far as the system names them."""
    cpuinfo = Path("/proc/cpuinfo")
    model = platform.processor() or platform.machine()
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].partition(":")[2].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def python() -> str:
    """Return the Python that runs."""
    return f"Python {platform.python_version()}"


def write(out: Path, command: str, commit: str, **measured: Mapping[str, Any] | list[Any]) -> None:
    """Write what a command measured, with its provenance; raises OSError.

    The caller reads `commit` before it begins, because it measures that commit.
    """
    origin = {
        "command": command,
        "commit": commit,
        "date": today(),
        "machine": machine(),
        "python": python(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**origin, **measured}, indent=2) + "\n", encoding="utf-8")
