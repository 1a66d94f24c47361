"""Reads what options name: bars and dollars. A mistake ends the command with one line."""

import glob
from pathlib import Path

from scalper.core.pricing import Money, money
from workbench.cli.shared.exit_codes import fail
from workbench.market.bars.fields import BarsError
from workbench.market.bars.reader import read_bars
from workbench.market.model import Market
from workbench.market.synthetic import synthetic_market


def read_market(bars: list[str] | None, seed: int) -> Market:
    """Return the market of files and patterns, or the synthetic one of the seed without any."""
    try:
        return read_bars(paths_of(bars)) if bars else synthetic_market(seed)
    except BarsError as error:
        fail(str(error))


def paths_of(bars: list[str] | None) -> list[Path]:
    """Return the files that names and patterns stand for; a pattern without a match stays."""
    found: list[Path] = []
    for name in bars or ():
        matches = sorted(glob.glob(name)) if glob.has_magic(name) else [name]  # noqa: PTH207
        found += [Path(match) for match in matches or [name]]
    return found


def dollars(value: str, option: str) -> Money:
    """Return the dollars that an option names, in ten-thousandths."""
    try:
        return money(value)
    except ValueError:
        fail(f"{option} {value}: give a number of dollars")
