"""CONTRIBUTING.md: each recipe of an everyday change names files that exist, and at most four."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MOST_FILES = 4
RECIPES = (
    "Add an entry rule",
    "Add a limit",
    "Add an alarm",
    "Add a command",
    "Read another bar format",
    "Change a fill rule",
    "Say why something was ignored",
)


def recipe(title: str) -> str:
    """Return the text below a recipe's heading."""
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"CONTRIBUTING.md has no recipe {title!r}"
    return found[1]


def files(text: str) -> list[str]:
    """Return the files that the line `Files:` of a recipe names."""
    line = re.search(r"^Files: (.+?)\.$", text, re.MULTILINE | re.DOTALL)
    assert line, "the recipe has no line `Files:`"
    return re.findall(r"`([^`]+)`", line[1])


def may_be_edited(path: Path) -> bool:
    """Whether the file exists, or can be made: NAME.py stands for a new one."""
    return path.parent.is_dir() if path.name == "NAME.py" else path.is_file()


def test_the_recipes_are_the_everyday_changes() -> None:
    chapter = TEXT.partition("\n## Everyday changes\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (.+)$", chapter, re.MULTILINE) == list(RECIPES)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_names_at_most_four_files_that_exist(title: str) -> None:
    named = files(recipe(title))
    assert 1 <= len(named) <= MOST_FILES
    assert [name for name in named if not may_be_edited(ROOT / name)] == []
    assert not [name for name in named if name.startswith(("tests/", "docs/"))]


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_has_numbered_steps(title: str) -> None:
    steps = re.findall(r"^(\d)\. ", recipe(title), re.MULTILINE)
    assert steps == [str(number) for number in range(1, len(steps) + 1)]
    assert steps


@pytest.mark.parametrize("title", RECIPES)
def test_a_test_or_a_command_that_a_recipe_names_exists(title: str) -> None:
    for name in re.findall(r"`(tests/[\w/]+\.py)`", recipe(title)):
        assert (ROOT / name).is_file(), name


def test_the_make_goals_of_the_page_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    goals = set(re.findall(r"\bmake (\w+)", re.sub(r"^[^`]*$", "", TEXT, flags=re.MULTILINE)))
    goals |= set(re.findall(r"(?m)^make (\w+)", TEXT))
    assert goals >= {"check", "test"}
    assert [goal for goal in goals if not re.search(rf"(?m)^{goal}:", makefile)] == []
