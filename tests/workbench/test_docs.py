"""The generated pages follow the code and the template, and the check sees when they do not."""

import json
import re
from pathlib import Path
from shutil import copy, copytree

import pytest

from scalper.core.model import (
    BarClosed,
    CheckupDue,
    Event,
    LiquidationDue,
    OrderSeen,
    Phase,
    Reason,
    Recovery,
    SessionBegan,
    StateRebuilt,
)
from scalper.core.transitions import RECOVERIES, TRANSITIONS
from workbench.docs import build
from workbench.docs.markdown import fill
from workbench.docs.pages import readme, reliability, settings, state_machine
from workbench.docs.pages.reliability import RESULTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the pages into a folder of their own, once, and return it."""
    root = tmp_path_factory.mktemp("written")
    (root / "docs").mkdir()
    copy(ROOT / "docs/reliability.md", root / "docs")
    (root / "tests").mkdir()
    copy(ROOT / "template.yaml", root)
    copy(ROOT / "README.md", root)
    copytree(ROOT / "bench/results", root / "bench/results")
    for name, text in build.PAGES.items():
        (root / name).write_text(text(root), encoding="utf-8")
    return root


@pytest.fixture
def pages(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the written pages, of which the command makes its own."""
    root = tmp_path / "pages"
    copytree(written, root)
    monkeypatch.setattr(build, "ROOT", root)
    return root


@pytest.mark.parametrize("name", build.PAGES)
def test_page_in_the_repository_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == build.PAGES[name](ROOT)


def test_fresh_pages_pass_the_check_in_silence(pages: Path, capsys) -> None:
    assert build.main(["--check"]) == 0
    assert capsys.readouterr() == ("", "")


ROW = (Phase.TO_BUY, LiquidationDue, Phase.DONE)
NEW_ROW = (Phase.DONE, CheckupDue, Phase.TO_BUY)


@pytest.mark.parametrize(
    ("table", "changed"),
    [
        ("TRANSITIONS", TRANSITIONS - {ROW}),
        ("TRANSITIONS", TRANSITIONS | {NEW_ROW}),
        ("RECOVERIES", RECOVERIES - {(Phase.DONE, SessionBegan, Phase.TO_BUY)}),
    ],
)
def test_changed_transition_makes_the_page_stale(table, changed, pages, monkeypatch, capsys):
    monkeypatch.setattr(state_machine, table, changed)
    before = (pages / "docs/state-machine.md").read_text()
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().err == ("docs/state-machine.md is stale: python -m workbench.docs\n")
    assert (pages / "docs/state-machine.md").read_text() == before, "a check writes nothing"
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0


def test_changed_parameter_makes_the_settings_stale(pages: Path, capsys) -> None:
    template = pages / "template.yaml"
    template.write_text(template.read_text().replace('Default: "2000"', 'Default: "500"'))
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/settings.md is stale: python -m workbench.docs\n"


def test_new_test_of_an_incident_makes_the_reliability_stale(pages: Path, capsys) -> None:
    source = 'import pytest\n@pytest.mark.fault("14")\ndef test_one_effect(): ...\n'
    (pages / "tests/test_it.py").write_text(source)
    assert build.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/reliability.md is stale: python -m workbench.docs\n"
    build.main([])
    page = (pages / "docs/reliability.md").read_text()
    assert re.search(r"^\| 14 \|.+\| \[one effect\]\(../tests/test_it.py\) \|$", page, re.MULTILINE)


def test_what_people_wrote_stays_between_the_generated_parts() -> None:
    text = "# A\n\n<!-- generated: one -->\nold\n<!-- end -->\n\nBy hand.\n"
    made = "# A\n\n<!-- generated: one -->\n\nnew\n\n<!-- end -->\n\nBy hand.\n"
    assert fill(text, {"one": ["new"]}) == made
    assert fill(made, {"one": ["new"]}) == made


@pytest.mark.parametrize("lost", ["<!-- generated: incidents -->", "<!-- end -->"])
def test_page_that_lost_a_mark_is_refused_and_not_written(pages: Path, lost: str) -> None:
    path = pages / "docs/reliability.md"
    broken = path.read_text().replace(lost, "")
    path.write_text(broken)
    with pytest.raises(SystemExit, match="the page is to have"):
        build.main([])
    assert path.read_text() == broken


MEASURED = {
    "command": "make bench",
    "commit": "abc1234",
    "date": "2026-12-01",
    "machine": "2 cores",
    "python": "Python 3.13.1",
}


def test_reliability_shows_what_was_measured(pages: Path) -> None:
    results = pages / "bench/results"
    for name in RESULTS:
        (results / f"{name}.json").unlink(missing_ok=True)
    assert reliability.text(pages).count("Not recorded yet.") == len(RESULTS) == 4
    simulation = {**MEASURED, "figures": {"seeds": 20_000, "faults": {"429": 1_200}, "s": 1.5}}
    killed = {
        "name": "resends-blindly",
        "what": "a POST is repeated",
        "killed_by_seed": 0,
        "seeds_run": 1,
        "seconds": 0.2,
        "violation": "I1 | two orders",
    }
    survivor = {"name": "slow", "what": "waits", "killed_by_seed": None, "seeds_run": 9_000}
    mutants = {**MEASURED, "mutants": [killed, survivor]}
    (results / "simulation.json").write_text(json.dumps(simulation))
    (results / "mutants.json").write_text(json.dumps(mutants))
    page = reliability.text(pages)
    for line in (
        "`make bench` on 2026-12-01, commit `abc1234`:",
        "2 cores, Python 3.13.1.",
        "| seeds | 20,000 |",
        "| faults | 429: 1,200 |",
        "| s | 1.5 |",
        "1 of 2 are found.",
        r"| `resends-blindly` | a POST is repeated | 0 | 1 | 0.2 | I1 \| two orders |",
        "| `slow` | waits | 9,000 |",
    ):
        assert line in page.splitlines()
    assert page.count("Not recorded yet.") == len(RESULTS) - 2


def test_the_readme_tells_its_proof_from_the_results(pages: Path) -> None:
    results = pages / "bench/results"
    figures = {"steps": 1_200_000, "seeds": 900, "crashes": 70, "violations": 0}
    (results / "simulation.json").write_text(json.dumps({**MEASURED, "figures": figures}))
    mutants = {"mutants": 12, "killed": 11}
    (results / "mutants.json").write_text(json.dumps({**MEASURED, "figures": mutants}))
    day = json.loads((results / "local_day.json").read_text())
    day |= {"machine": "CPU, 2 cores, Linux", "median_s": 39.6}
    (results / "local_day.json").write_text(json.dumps(day))
    page = readme.text(pages)
    assert "1,200,000 simulated requests in 900 days with 70 crashes, **0 violations**." in page
    assert "**11 of 12**" in page
    assert re.search(r"\*\*\$\d+ a month\*\* for 10 symbols and \$\d+ for 1,000\.", page)
    assert "about [40 seconds](docs/performance.md) on an idle machine (CPU, 2 cores)." in page
    figures["violations"] = 1
    (results / "simulation.json").write_text(json.dumps({**MEASURED, "figures": figures}))
    assert "**1 violation**" in readme.text(pages)
    assert build.main(["--check"]) == 1


@pytest.mark.parametrize("name", ["simulation", "mutants", "costs", "local_day"])
def test_the_readme_says_what_is_not_recorded(name: str, pages: Path) -> None:
    (pages / f"bench/results/{name}.json").unlink()
    assert "not recorded yet" in readme.text(pages)


def test_missing_page_is_stale(pages: Path, capsys) -> None:
    (pages / "docs/settings.md").unlink()
    assert build.main(["--check"]) == 1
    assert "docs/settings.md is stale" in capsys.readouterr().err


@pytest.mark.parametrize("texts", ["VARIABLES", "ATTRIBUTES"])
def test_setting_without_a_text_fails_by_name(texts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, name = getattr(settings, texts)
    monkeypatch.delitem(getattr(settings, texts), name)
    with pytest.raises(SystemExit, match=name):
        settings.text(ROOT)


def test_picture_shows_each_transition_between_two_phases() -> None:
    arrow = re.compile(r"^    (\w+|\[\*\]) --> (\w+): (.+)$", re.MULTILINE)
    kinds: dict[str, type[Event | Recovery]] = {
        kind.__name__: kind
        for kind in (BarClosed, OrderSeen, CheckupDue, LiquidationDue, SessionBegan, StateRebuilt)
    }
    shown = {
        (None if one == "[*]" else Phase(one), kinds[event], Phase(other))
        for one, other, events in arrow.findall(state_machine.text(ROOT))
        for event in events.split(", ")
    }
    assert shown == {row for row in TRANSITIONS | RECOVERIES if row[0] is not row[2]}


def test_every_reason_is_explained() -> None:
    page = state_machine.text(ROOT)
    for reason in Reason:
        assert re.search(rf"^\| `{reason}` \| \S.+ \|$", page, re.MULTILINE), reason
