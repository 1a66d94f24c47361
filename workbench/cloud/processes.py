"""Runs programs in sessions of their own, so that ending one ends all it started."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.cloud.errors import CloudError

STOP_WITHIN_S = 10.0
LINES_QUOTED = 3
"""Last lines of a failed command's log that its error quotes."""


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process that leads a session, and everything that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_WITHIN_S)
    # The leader may be gone while a process that it started still runs.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_command(
    what: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: Path,
    log: Path,
    within_s: float,
) -> str:
    """Run a command to its end, with its output in `log`; return the output.

    Raises CloudError with the last lines of the output if it fails or takes longer.
    """
    with log.open("w", encoding="utf-8") as sink:
        try:
            process = subprocess.Popen(
                list(arguments),
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise CloudError(f"{what}: {arguments[0]}: {error.strerror}") from error
        try:
            code = process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise CloudError(f"{what} took longer than {within_s:g} s (log: {log})") from None
        finally:
            if process.returncode is None:
                end_group(process)
    text = log.read_text(encoding="utf-8", errors="replace")
    if code != 0:
        lines = [line.strip() for line in text.splitlines() if line.strip()][-LINES_QUOTED:]
        raise CloudError(f"{what} failed: {' / '.join(lines) or 'no output'} (log: {log})")
    return text
