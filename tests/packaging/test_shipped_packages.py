"""What `sam build` puts into a function is enough to import it, and no more than wanted."""

import fcntl
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.template.declared import functions

ROOT = Path(__file__).parents[2]
HANDLERS = list(functions())
UNZIPPED_BOUND_MB = 60
"""Lambda takes 250; a cold start pays for each."""

# Not one of these may stand in a function: see PRUNED in the Makefile.
PRUNED = {"numpy", "pandas", "pytz", "msgpack", "sseclient"}

IMPORT = """
import importlib, os, sys
sys.path.insert(0, os.environ["ARTEFACT"])
importlib.import_module(sys.argv[1])
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A function as `sam build` makes it, for this interpreter, so that it can be imported.

    The workers of pytest-xdist share the folder: the first of them builds, the others wait.
    """
    if sys.platform != "linux":
        pytest.skip("packages are built for Linux")
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, built = shared / "function", shared / "function-is-built"
    with (shared / "function-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            build(folder)
            built.touch()
    return folder


def build(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(
        ["make", "--makefile", str(ROOT / "functions/Makefile"), "build-TickFunction"],
        cwd=ROOT / "functions",
        env=os.environ
        | {
            "ARTIFACTS_DIR": str(folder),
            "ARCHITECTURE": platform.machine(),
            "PYTHON_VERSION": f"{sys.version_info.major}.{sys.version_info.minor}",
            "PIP": f"{sys.executable} -m pip",
            "MAKEFLAGS": "",
        },
        check=True,
    )


def modules_after_importing(module: str, artefact: Path) -> set[str]:
    """Import `module` with nothing on the path but the artefact and the standard library.

    Compiled modules go beside the artefact, not into it: it stays as `sam build` makes it.
    """
    compiled = artefact.with_name("function-compiled")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", f"pycache_prefix={compiled}", "-c", IMPORT, module],
        env={"ARTEFACT": str(artefact), "PATH": os.defpath, "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_imports_from_what_ships_alone(handler: str, artefact: Path) -> None:
    modules = modules_after_importing(handler, artefact)
    assert "scalper" in modules
    assert not PRUNED & modules


@pytest.mark.parametrize(
    "module",
    [
        "alpaca.common.exceptions",
        "alpaca.common.requests",
        "alpaca.common.rest",
        "aws_lambda_powertools",
        "aws_lambda_powertools.metrics",
        "boto3",
        "pynamodb.models",
        "standardwebhooks",
        "websockets.sync.client",
    ],
)
def test_a_library_in_use_imports_without_what_is_pruned(module: str, artefact: Path) -> None:
    assert not PRUNED & modules_after_importing(module, artefact)


def test_a_function_holds_no_pruned_package_and_stays_small(artefact: Path) -> None:
    assert not PRUNED & {path.name for path in artefact.iterdir()}
    size = sum(path.stat().st_size for path in artefact.rglob("*") if path.is_file())
    assert size < UNZIPPED_BOUND_MB * 1_000_000


def test_each_requirement_is_pinned_and_holds_on_every_platform() -> None:
    """pip reads a marker against the machine that builds, not against the one that runs."""
    lines = (ROOT / "functions/requirements.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert packages
    for line in packages:
        assert re.fullmatch(r"[a-z0-9.-]+==\S+ \\", line), line
