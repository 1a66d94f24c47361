"""findings/: each script is in the index, can run, and says what it saw; CI runs none of them."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))
INDEX = (ROOT / "findings/README.md").read_text(encoding="utf-8")


def test_the_index_names_each_script_once() -> None:
    assert sorted(re.findall(r"\]\((\S+\.sh)\)", INDEX)) == [path.name for path in SCRIPTS]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_names_its_version_and_what_it_saw(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    found = re.match(r"# ([\w-]+) (\d+(?:\.\d+)+): \S.+\.$", lines[1])
    assert found, "the second line names a package, its version and the surprise"
    pinned = re.search(rf"{re.escape(found[1])}(\[\w+\])?=={re.escape(found[2])}", "\n".join(lines))
    assert pinned, "the script installs the version that it names"
    assert re.search(
        r"^# Seen on 20\d\d-\d\d-\d\d, Python 3\.\d+:$", "\n".join(lines), re.MULTILINE
    )
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_finding_runs_without_this_project(path: Path) -> None:
    assert not re.search(r"\b(scalper|workbench)\b", path.read_text(encoding="utf-8"))
