"""Bars are written as the CSV that `read_bars` gives back."""

import csv
from pathlib import Path

from scalper.core.pricing import text
from scalper.core.session import utc_text
from workbench.market.bars.fields import COLUMNS
from workbench.market.model import Market


def write_bars(market: Market, path: Path) -> None:
    """Write every bar as CSV by time, then symbol; `read_bars` gives the same bars back.

    The file appears whole or not at all.
    """
    rows = sorted(
        (bar.start, symbol, bar)
        for day in market.days
        for symbol, bars in day.bars.items()
        for bar in bars
    )
    beside = path.with_name(f".{path.name}.writing")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            write = csv.writer(file, lineterminator="\n").writerow
            write(COLUMNS)
            for start, symbol, bar in rows:
                prices = (text(price) for price in (bar.open, bar.high, bar.low, bar.close))
                write([symbol, utc_text(start), *prices, bar.volume])
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
