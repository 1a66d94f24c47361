"""A symbol's state as one JSON text and back: packed, for a list of attributes costs ten times.

Fields that this version does not know are kept, so that two neighbouring versions can share a
table during a deployment.
"""

import json
from dataclasses import fields
from datetime import date, datetime
from typing import Any

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import Order, Progress, Purpose

SCHEMA = 1
"""Raised when an older version could no longer read the text safely."""

_ORDER_FIELDS = tuple(field.name for field in fields(Order))
_STATE_FIELDS = tuple(field.name for field in fields(SymbolState))


def encode(state: SymbolState, unknown: dict[str, Any]) -> str:
    """Return the state as JSON text; `unknown` are the fields that `decode` put aside."""
    document = {**unknown, **{name: getattr(state, name) for name in _STATE_FIELDS}}
    if state.order is not None:
        document["order"] = {name: getattr(state.order, name) for name in _ORDER_FIELDS}
    return json.dumps(document, default=_text, separators=(",", ":"))


def decode(text: str) -> tuple[SymbolState, dict[str, Any]]:
    """Return the state and the fields that this version does not know.

    Raises ValueError where the text is no state.
    """
    try:
        document = json.loads(text)
        unknown = {name: document[name] for name in document if name not in _STATE_FIELDS}
        known = {name: document[name] for name in document if name in _STATE_FIELDS}
        known["session"] = date.fromisoformat(known["session"])
        known["phase"] = Phase(known["phase"])
        known["exit_as"] = Purpose(known["exit_as"])
        known["halt"] = known["halt"] and Reason(known["halt"])
        known["settled"] = tuple(known["settled"])
        known["abandoned"] = tuple(known["abandoned"])
        known["entered_at"] = _time(known["entered_at"])
        known["cool_until"] = _time(known["cool_until"])
        known["order"] = known["order"] and _order(known["order"])
        return SymbolState(**known), unknown
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"not a state: {error!r}") from error


def _order(document: dict[str, Any]) -> Order:
    known = {name: document[name] for name in document if name in _ORDER_FIELDS}
    known["purpose"] = Purpose(known["purpose"])
    known["progress"] = Progress(known["progress"])
    for name in ("submitted_at", "updated_at", "cancel_at", "absent_at"):
        known[name] = _time(known[name])
    return Order(**known)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"not JSON: {value!r}")
