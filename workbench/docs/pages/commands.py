"""The page of the command line: it shows what `scalper --help` and the enum of exit codes say."""

import subprocess
import sys
from functools import cache
from pathlib import Path

from workbench.docs.markdown import NOTE, page

PAGE = "docs/commands.md"
WITHIN_S = 120.0


@cache
def text(_root: Path) -> str:
    """Return the page. The command line writes its text in a process: no room imports it."""
    written = subprocess.run(
        [sys.executable, "-m", "workbench.cli.reference"],
        capture_output=True,
        text=True,
        check=True,
        timeout=WITHIN_S,
    )
    return page(["# Commands", NOTE, written.stdout])
