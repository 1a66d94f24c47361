"""Rows of a CSV file, as text."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench.market.bars.fields import BarsError, shown


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, numbered from 1; raises BarsError."""
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row, fields in enumerate(csv.reader(file, strict=True), start=1):
                if fields:
                    yield row, fields
    except UnicodeDecodeError:
        raise BarsError(f"{path}: row {_undecodable(path)}: not UTF-8 text") from None
    except csv.Error as error:
        raise BarsError(f"{path}: row {row + 1}: not CSV: {error}") from None
    except OSError as error:
        raise BarsError(f"{path}: cannot be read: {error.strerror or error}") from None


def of_width(
    path: Path, header: Sequence[str], rows: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows; raises BarsError at one with more or fewer fields than the header."""
    width = len(header)
    for row, fields in rows:
        if len(fields) < width:
            raise BarsError(
                f"{path}: row {row}, column {header[len(fields)]}: missing, the row has "
                f"{len(fields)} of {width} fields"
            )
        if len(fields) > width:
            raise BarsError(
                f"{path}: row {row}, column {width + 1}: {shown(fields[width])} is one field "
                f"more than the header has"
            )
        yield row, fields


def _undecodable(path: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    with path.open("rb") as file:
        for row, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return row
    return 1
