"""Rows of a Parquet file, as text: they go through the same checks as those of a CSV file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.market.bars.fields import COLUMNS, BarsError, check_header

MAGIC = b"PAR1"
"""The first bytes of every Parquet file."""

PARQUET_ROWS = 65_536
"""How many rows are held as text at a time."""
_UTC_ZONES = frozenset({"UTC", "Etc/UTC", "GMT", "Z", "+00:00"})


def parquet_rows(path: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the numbered rows as text; raises BarsError."""
    try:
        import pyarrow as pa  # large, and CSV needs none of it
        import pyarrow.parquet as pq
    except ImportError:
        raise BarsError(f"{path}: reading Parquet needs pyarrow: pip install pyarrow") from None
    row = 0
    try:
        with pq.ParquetFile(path) as file:
            check_header(path, "", file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=list(COLUMNS)):
                columns = [_as_text(path, row, name, batch.column(name)) for name in COLUMNS]
                for fields in zip(*columns, strict=True):
                    row += 1
                    yield row, fields
    except (pa.ArrowException, OSError) as error:
        line = " ".join(str(error).split())[:200]
        raise BarsError(f"{path}: row {row + 1}: not readable as Parquet: {line}") from None
    if row == 0:
        raise BarsError(f"{path}: row 1, column symbol: no rows, only a schema")


def _as_text(path: Path, row: int, name: str, column: Any) -> list[str]:
    """Return a Parquet column as text, a float as its shortest; null is "". Raises BarsError."""
    import pyarrow as pa

    suffix = ""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        if kind.tz not in _UTC_ZONES:
            raise BarsError(f"{path}: row {row + 1}, column {name}: in {kind.tz}, not in UTC")
        column = column.cast(pa.timestamp(kind.unit))
        suffix = "Z"
    try:
        texts: list[str | None] = column.cast(pa.string()).to_pylist()
    except pa.ArrowException:
        why = f"{kind} is not a type that can be read here"
        raise BarsError(f"{path}: row {row + 1}, column {name}: {why}") from None
    return ["" if value is None else value + suffix for value in texts]
