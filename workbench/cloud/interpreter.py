"""Finds the Python for the built functions: the template's version, if this machine has it.

`python -m workbench.cloud.interpreter` prints its path. With a version, such as 3.13, it prints the
path of that Python, and fails if this machine has none.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from workbench.template.declared import load_template

ANSWER_WITHIN_S = 20.0
_PRINT_VERSION = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def runtime() -> str:
    """Return the version that the template's functions run under, such as "3.13"."""
    named: str = load_template()["Globals"]["Function"]["Runtime"]
    return named.removeprefix("python")


def find(wanted: str, environment: Mapping[str, str]) -> Path | None:
    """Return a working interpreter of the version, from PATH or from pyenv, or None."""
    return next(
        (one for one in _candidates(wanted, environment) if version_of(one) == wanted), None
    )


def version_of(interpreter: Path) -> str:
    """Return the version that an interpreter prints, or "" if it does not run.

    pyenv puts a shim on PATH for every version. A shim fails for a version that is not chosen.
    """
    try:
        done = subprocess.run(
            [str(interpreter), "-I", "-c", _PRINT_VERSION],
            capture_output=True,
            text=True,
            timeout=ANSWER_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _candidates(wanted: str, environment: Mapping[str, str]) -> Iterator[Path]:
    on_path = shutil.which(f"python{wanted}", path=environment.get("PATH"))
    if on_path:
        yield Path(on_path)
    pyenv = Path(environment.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from sorted(pyenv.glob(f"{wanted}.*/bin/python{wanted}"), reverse=True)


if __name__ == "__main__":
    asked = sys.argv[1:]
    found = find(asked[0] if asked else runtime(), os.environ)
    if found is None and asked:
        sys.exit(f"no Python {asked[0]} here: neither on PATH nor among the versions of pyenv")
    if found is None:
        print(
            f"no Python {runtime()} here: the functions are built for {sys.executable}",
            file=sys.stderr,
        )
    print(found or sys.executable)
