"""Each incident has a test that shows the answer, and each mark names an incident."""

from pathlib import Path

import pytest

from workbench.docs.incidents import INCIDENTS, PLATFORM, SECTIONS
from workbench.source.remarks import Shown, shown_by

ROOT = Path(__file__).parents[2]
SHOWN = shown_by(ROOT)
# Public issues and pages of brokers and bots reported 48 incidents; the numbers are lasting names.
NUMBERS = [str(number) for number in range(1, 49)]
PLATFORM_NAMES = [
    "duplicate-schedule",
    "late-tick",
    "killed-anywhere",
    "throttled-store",
    "lying-write",
    "broken-row",
    "removed-while-held",
    "rotated-secret",
    "bad-webhook",
    "webhook-flood",
    "dead-socket",
    "mid-day-deploy",
    "lost-table",
    "dead-relay",
]


def test_no_two_incidents_have_the_same_name() -> None:
    names = [one.name for one in INCIDENTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", [one.name for one in INCIDENTS])
def test_an_incident_is_shown_by_a_test(name: str) -> None:
    assert SHOWN.get(name), f"no test has the mark fault({name!r})"


def test_every_mark_names_an_incident() -> None:
    assert set(SHOWN) <= {one.name for one in INCIDENTS}


def test_the_incidents_are_those_that_were_collected() -> None:
    assert [one.name for one in INCIDENTS if one not in PLATFORM] == NUMBERS
    assert [one.name for one in SECTIONS["Platform"]] == PLATFORM_NAMES


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
