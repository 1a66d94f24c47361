"""Each fault seen in the field has a test that shows what happens then, and each mark a fault."""

import re
from pathlib import Path

import pytest

from workbench.docs.incidents import FAULTS, PLATFORM, SECTIONS, Shown, shown_by

ROOT = Path(__file__).parents[2]
SHOWN = shown_by(ROOT)
SEEN = ROOT.parent / "shared/facts/faults.md"

# How the platform's rows, which have no number, begin where they were collected.
BEGINNINGS = {
    "duplicate-schedule": "duplicate scheduled invocation",
    "late-tick": "tick started late",
    "killed-anywhere": "killed between any two I/O calls",
    "throttled-store": "throttled store",
    "lying-write": "conditional write reported failed",
    "broken-row": "configuration broken by an edit",
    "removed-while-held": "symbol removed or paused",
    "rotated-secret": "secret rotated",
    "bad-webhook": "forged, replayed, stale",
    "webhook-flood": "webhook flood",
    "dead-socket": "dead keep-alive socket",
    "mid-day-deploy": "deploy in mid-session",
    "lost-table": "state table lost",
    "dead-relay": "relay dead",
}


def test_no_two_faults_have_the_same_name() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_a_fault_is_shown_by_a_test(name: str) -> None:
    assert SHOWN.get(name), f"no test has the mark fault({name!r})"


def test_every_mark_names_a_fault() -> None:
    assert set(SHOWN) <= {fault.name for fault in FAULTS}


@pytest.mark.skipif(not SEEN.exists(), reason="the collection of faults is not beside the project")
def test_the_faults_are_those_that_were_collected() -> None:
    first_cells = re.findall(r"^\| ([^|]+?) \|", SEEN.read_text(encoding="utf-8"), re.MULTILINE)
    rows = [cell for cell in first_cells if cell not in ("#", "fault")]
    numbers = [fault.name for fault in FAULTS if fault not in PLATFORM]
    assert [row for row in rows if row.isdecimal()] == numbers
    platform = [row for row in rows if not row.isdecimal()]
    assert list(BEGINNINGS) == [fault.name for fault in SECTIONS["Platform"]]
    for row, beginning in zip(platform, BEGINNINGS.values(), strict=True):
        assert row.startswith(beginning)


def written(root: Path, source: str) -> Path:
    """Write a file of tests into a project of its own; return the project's root."""
    (root / "tests/deep").mkdir(parents=True)
    (root / "tests/deep/test_it.py").write_text(source, encoding="utf-8")
    return root


def test_marks_are_read_from_functions_and_methods(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        """
import pytest

@pytest.mark.fault("1", "late")
@pytest.mark.parametrize("n", [1])
def test_one(n): ...

class TestIt:
    @pytest.mark.fault("1")
    def test_other_way(self): ...
    def test_nothing(self): ...
""",
    )
    path = Path("tests/deep/test_it.py")
    one, other = Shown(path, "test_one"), Shown(path, "test_other_way")
    assert shown_by(root) == {"1": [one, other], "late": [one]}
    assert other.sentence == "other way"


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.fault('1')\nclass TestIt: ...",
        "pytestmark = pytest.mark.fault('1')",
        "@pytest.mark.fault('1')\ndef helper(): ...",
        "@pytest.mark.fault\ndef test_it(): ...",
        "@pytest.mark.fault()\ndef test_it(): ...",
        "@pytest.mark.fault(1)\ndef test_it(): ...",
        "@pytest.mark.fault(name='1')\ndef test_it(): ...",
        "@pytest.mark.fault(NAME)\ndef test_it(): ...",
    ],
)
def test_a_mark_that_would_not_count_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        shown_by(written(tmp_path, source))
