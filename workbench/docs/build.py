"""The generated pages: what they show is read from the code, the template and the results.

`python -m workbench.docs` writes them, `--check` names those that are stale and exits with 1.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from workbench.docs.pages import (
    commands,
    costs,
    metrics,
    performance,
    readme,
    reliability,
    settings,
    state_machine,
)

ROOT = Path(__file__).parents[2]

PAGES: Mapping[str, Callable[[Path], str]] = {
    one.PAGE: one.text
    for one in (
        readme,
        commands,
        costs,
        metrics,
        performance,
        reliability,
        settings,
        state_machine,
    )
}


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check name the stale ones; return the exit code."""
    stale = []
    for name, make in PAGES.items():
        path, text = ROOT / name, make(ROOT)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    if "--check" not in arguments:
        return 0
    for name in stale:
        print(f"{name} is stale: python -m workbench.docs", file=sys.stderr)
    return 1 if stale else 0
