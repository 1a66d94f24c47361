"""A link in the documents leads somewhere, and a file that a document names exists."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#+\s+(.+?)\s*#*$", re.MULTILINE)
NAMED = re.compile(r"`([\w./*-]+)`")
FILES = re.compile(r".*\.(?:py|md|yaml|yml|toml|json|sh)$|.*/$")
MADE_BY_A_RUN = {"summary.json", "out/run/"}
PLACEHOLDER = re.compile(r"(?:.*/)?NAME\.\w+")

ROOMS = ("", "functions/scalper", "functions", "workbench", "docs", "workbench/market/bars")
"""Where a short name such as `core/machine.py` may start."""

DOCUMENTS_WITH_FILE_NAMES = ("docs/architecture.md", "CONTRIBUTING.md", "README.md", "SECURITY.md")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def documents() -> list[Path]:
    """Return the Markdown files that belong to the project, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        return sorted(ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists())
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def prose(document: Path) -> str:
    return FENCED.sub("", document.read_text())


def anchors(document: Path) -> set[str]:
    """Return the names that GitHub gives to a document's headings."""
    names = set()
    for heading in HEADING.findall(prose(document)):
        text = re.sub(r"[^\w\- ]", "", LINK.sub("", heading).lower())
        names.add(text.strip().replace(" ", "-"))
    return names


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    broken = []
    for link in LINK.findall(prose(document)):
        if ELSEWHERE.match(link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        there = target.exists() and (not anchor or anchor in anchors(target))
        if not there:
            broken.append(link)
    assert broken == []


def named_files(text: str) -> list[str]:
    """Return the files and folders that a document names in backticks.

    A table whose head names a folder, such as `workbench/simulation/`, names files in that folder.
    """
    folder, found = "", []
    for line in FENCED.sub("", text).splitlines():
        names = [one for one in NAMED.findall(line) if FILES.match(one)]
        if not line.startswith("|"):
            folder = ""
        elif names and line.split("|")[2:3] == [" "]:
            folder = names[0]
        elif folder:
            names = [folder + one if "/" not in one else one for one in names]
        found += names
    return found


def is_there(name: str) -> bool:
    return any(list(ROOT.glob(f"{room}/{name}".lstrip("/"))) for room in ROOMS)


@pytest.mark.parametrize("document", DOCUMENTS_WITH_FILE_NAMES)
def test_the_files_that_a_document_names_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    names = [one for one in named_files(text) if not PLACEHOLDER.fullmatch(one)]
    assert names
    assert [one for one in names if one not in MADE_BY_A_RUN and not is_there(one)] == []


def test_a_file_that_a_document_names_wrongly_is_found() -> None:
    table = "| `workbench/market/` | |\n| `model.py` | is there |\n| `nothing.py` | is not |\n"
    text = f"`core/machine.py` and `core/engine.py`\n\n{table}"
    missing = [one for one in named_files(text) if not is_there(one)]
    assert missing == ["core/engine.py", "workbench/market/nothing.py"]


def test_a_word_has_one_row_in_the_glossary() -> None:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    words = [word.strip() for row in rows for word in row.split(",") if row.strip() != "word"]
    assert len(words) > 50
    assert [word for word in words if words.count(word) > 1] == []
