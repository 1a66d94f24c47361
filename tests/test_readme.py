"""What README.md shows is true: its signal works, its make goals and its pages are there."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scalper.core.signal import Bar
from scalper.shell.symbols import parse_row
from workbench.cli.app import COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def bars_closing_at(*closes: int) -> Sequence[Bar]:
    start = datetime(2026, 7, 1, 13, 30, tzinfo=UTC)
    return [
        Bar(start + n * timedelta(minutes=1), close, close, close, close, 1)
        for n, close in enumerate(closes)
    ]


@pytest.mark.parametrize(
    ("closes", "buys"), [((4, 3, 2, 1), True), ((9, 4, 3, 2, 1), True), ((1, 2), False)]
)
def test_the_signal_of_the_readme_buys_on_a_dip(closes: tuple[int, ...], buys: bool) -> None:
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)
    dip: Callable[[Sequence[Bar]], bool] = names["dip"]
    assert dip(bars_closing_at(*closes)) is buys


def test_the_items_of_the_readme_are_taken() -> None:
    items = [json.loads(one) for one in re.findall(r"--item '(.*?)'", README)]
    assert len(items) == 2
    assert [parse_row(item, 1).symbol for item in items] == ["AAPL", "TSLA"]


def test_the_make_goals_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    goals = set(re.findall(r"(?m)^make (\w+)", README))
    assert goals >= {"run", "check", "test", "help"}
    assert all(re.search(rf"(?m)^{goal}:", makefile) for goal in goals)


def test_the_commands_of_the_readme_exist() -> None:
    shown = set(re.findall(r"(?m)^\.venv/bin/scalper (\w+)", README))
    known = {one.name for one in COMMANDS}
    assert shown
    assert shown <= known
