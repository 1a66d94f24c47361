"""Checks the rows of the symbols table, each by itself: an invalid row stops only its symbol."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import Any

from scalper.core.order import SYMBOL
from scalper.core.pricing import Money, money
from scalper.core.signal import Signal
from scalper.shell.ports import SymbolRules

MAX_SYMBOLS = 2_000
"""More rows are refused, in the order of symbols, so that a tick ends within its minute."""

MAX_LOT: Money = 10_000_000 * 10_000
"""Ten million dollars; a larger lot is refused as a typing error."""

_SIGNAL = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def parse_rows(
    rows: list[dict[str, Any]], default_lot: Money
) -> tuple[dict[str, SymbolRules], tuple[str, ...]]:
    """Return the valid rows by symbol and a line for each refused row.

    `rows` are items with their types, as DynamoDB returns them.
    """
    accepted: dict[str, SymbolRules] = {}
    refused: list[str] = []
    for row in sorted(rows, key=lambda row: str(row.get("symbol"))):
        try:
            rules = parse_row(row, default_lot)
        except ValueError as error:
            refused.append(str(error))
            continue
        if len(accepted) < MAX_SYMBOLS:
            accepted[rules.symbol] = rules
        else:
            refused.append(f"{rules.symbol}: more than {MAX_SYMBOLS} symbols")
    return accepted, tuple(refused)


def parse_row(row: Mapping[str, Mapping[str, Any]], default_lot: Money) -> SymbolRules:
    """Return a checked row; raises ValueError with a line that names symbol and attribute."""
    symbol = row.get("symbol", {}).get("S")
    if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
        shown = repr(symbol) if len(repr(symbol)) <= 40 else repr(symbol)[:37] + "..."
        raise ValueError(f"symbol {shown} is not of the form of a ticker such as 'TSLA' or 'BRK.B'")
    values: dict[str, Any] = {}
    for name, typed in row.items():
        if name == "symbol":
            continue
        attribute = _ATTRIBUTES.get(name)
        if attribute is None:
            raise ValueError(f"{symbol}: unknown attribute {name[:40]!r}")
        kind, field, parse = attribute
        if kind not in typed:
            raise ValueError(f"{symbol}: {name} must be of type {kind}")
        try:
            values[field] = parse(typed[kind])
        except ValueError as error:
            raise ValueError(f"{symbol}: {name} {str(typed[kind])[:40]!r} {error}") from None
    return SymbolRules(**{"symbol": symbol, "lot": default_lot, **values})


def load_signal(name: str) -> Signal:
    """Return the function named as "module:function"; raises ValueError if there is none."""
    if not _SIGNAL.fullmatch(name):
        raise ValueError("is not of the form module:function")
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function, None)
    except Exception as error:  # noqa: BLE001 - a user's own code: it stops its symbol alone
        why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise ValueError(f"cannot be imported: {why}") from None
    if not callable(found):
        raise ValueError("is not a function")
    signal: Signal = found
    return signal


def _lot(text: str) -> Money:
    lot = money(text)
    if not 0 < lot <= MAX_LOT:
        raise ValueError("is not between 0 and ten million dollars")
    return lot


def _percent(text: str) -> Decimal:
    percent = _number(text)
    if not 0 < percent < 100:
        raise ValueError("is not between 0 and 100")
    return percent


def _count(text: str) -> int:
    number = _number(text)
    if not 0 < number <= 1_000 or number != number.to_integral_value():
        raise ValueError("is not a whole number from 1 to 1000")
    return int(number)


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except (InvalidOperation, TypeError):
        raise ValueError("is not a number") from None
    if not number.is_finite():
        raise ValueError("is not a number")
    return number


def _enabled(value: object) -> bool:
    return bool(value)


def _minutes(text: str) -> timedelta:
    return timedelta(minutes=_count(text))


_ATTRIBUTES: Mapping[str, tuple[str, str, Callable[[Any], Any]]] = {
    "enabled": ("BOOL", "enabled", _enabled),
    "lot": ("N", "lot", _lot),
    "signal": ("S", "signal", load_signal),
    "stop_loss_pct": ("N", "stop_loss_pct", _percent),
    "max_hold_minutes": ("N", "max_hold", _minutes),
    "max_entries_per_day": ("N", "max_entries", _count),
}
