"""The seven columns of a bars file: each text becomes an exact value, or a message says why not."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from scalper.core.pricing import Money, money, text

COLUMNS = ("symbol", "timestamp", "open", "high", "low", "close", "volume")

FIRST_YEAR, LAST_YEAR = 1971, 2100

CACHE_LIMIT = 500_000
"""How many distinct texts are kept; beyond that the cache is emptied."""

SHOWN = 40
"""How many characters of a wrong value a message shows."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"(\d{1,18})(?:\.0*)?", re.ASCII)
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_UTC_OFFSETS = frozenset({"Z", "+00:00", "-00:00", "+0000", "-0000"})


class BarsError(ValueError):
    """The bars cannot be used. The message is one line for people: file, row, column, reason."""


class Prices(dict[str, Money]):
    """The price of each text: most prices of a file repeat, so few are parsed."""

    def __missing__(self, value: str) -> Money:
        """Parse a new text; raises ValueError that says what is wrong with it."""
        if value == "":
            raise ValueError("is missing")
        if _NUMBER.fullmatch(value) is None:
            raise ValueError(f"{shown(value)} is not a price")
        try:
            price = money(value)
        except ValueError:
            raise ValueError(f"{shown(value)} is out of range") from None
        if price <= 0:
            raise ValueError(f"{shown(value)} is not above zero in ten-thousandths of a dollar")
        if len(self) >= CACHE_LIMIT:
            self.clear()
        self[value] = price
        return price


class Starts(dict[str, datetime]):
    """The start of a bar of each text: symbols share their minutes."""

    def __missing__(self, value: str) -> datetime:
        """Parse a new text; raises ValueError that says what is wrong with it."""
        start = start_of(value)
        if len(self) >= CACHE_LIMIT:
            self.clear()
        self[value] = start
        return start


def check_header(path: Path, place: str, header: Sequence[str]) -> None:
    """Raise BarsError if a column is missing, or is there twice."""
    for column in COLUMNS:
        if column not in header:
            found = shown(",".join(header))
            raise BarsError(f"{path}: {place}column {column}: not in the header, which is {found}")
        if header.count(column) > 1:
            raise BarsError(f"{path}: {place}column {column}: twice in the header")


def start_of(value: str) -> datetime:
    """Return the start that a timestamp names; raises ValueError that says what is wrong."""
    found = _STAMP.fullmatch(value)
    if found is None:
        why = f"{shown(value)} is not an ISO 8601 time" if value else "is missing"
        raise ValueError(why)
    day, minute, seconds, fraction, offset = found.groups()
    if offset is None:
        raise ValueError(f"{value} has no offset; UTC is written {day}T{minute}:00Z")
    if offset not in _UTC_OFFSETS:
        raise ValueError(f"{value} is local time; write it in UTC, ending in Z")
    if (seconds or "00") != "00" or (fraction or "0").strip("0"):
        raise ValueError(f"{value} is off the whole minute")
    try:
        start = datetime.fromisoformat(f"{day}T{minute}:00").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{value} is no date and time") from None
    if not FIRST_YEAR <= start.year <= LAST_YEAR:
        raise ValueError(f"{value} is not within {FIRST_YEAR} to {LAST_YEAR}")
    return start


def volume_of(value: str) -> int:
    """Return whole shares, zero included; raises ValueError that says what is wrong."""
    found = _WHOLE.fullmatch(value)
    if found is None:
        why = f"{shown(value)} is no whole number of shares" if value else "is missing"
        raise ValueError(why)
    return int(found[1])


def symbol_fault(symbol: str) -> str:
    """Return what is wrong with a symbol."""
    if symbol == "":
        return "is missing"
    return f"{shown(symbol)} is no symbol: capitals, digits and dots, at most 10"


def disorder(opened: Money, top: Money, bottom: Money, closed: Money) -> str:
    """Return which column breaks low <= open, close <= high, and how."""
    if top < bottom:
        return f"column high: {text(top)} is below the low {text(bottom)}"
    for column, price in (("open", opened), ("close", closed)):
        if price > top:
            return f"column {column}: {text(price)} is above the high {text(top)}"
        if price < bottom:
            return f"column {column}: {text(price)} is below the low {text(bottom)}"
    raise AssertionError("the prices are in order")


def shown(value: str) -> str:
    """Return a wrong value on one line, shortened."""
    return repr(value if len(value) <= SHOWN else value[:SHOWN] + "…")
