"""A symbol's state as one JSON text, and back.

As one attribute it costs a tenth of what an attribute for each field would cost.

A field that this version does not know is kept. So an older and a newer version can share a table
during a deployment.
"""

import json
from dataclasses import fields
from datetime import date, datetime
from types import UnionType
from typing import Any

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import Order, Progress, Purpose
from scalper.core.session import parse_time

SCHEMA = 1
"""The number rises if an older version could no longer read the text safely.

It is still 1. A version without successors sees a replaced order as closed and halts the symbol. A
version without a working sell of more than is held stops that symbol and sends nothing for it.
Neither enters anything.
"""

_ORDER_FIELDS = tuple(field.name for field in fields(Order))
_STATE_FIELDS = tuple(field.name for field in fields(SymbolState))
_DECLARED = {
    kind: [(f.name, f.type) for f in fields(kind) if isinstance(f.type, type | UnionType)]
    for kind in (SymbolState, Order)
}


def encode(state: SymbolState, unknown: dict[str, Any]) -> str:
    """Return the state as JSON text; `unknown` are the fields that `decode` did not know."""
    document = {**unknown, **{name: getattr(state, name) for name in _STATE_FIELDS}}
    if state.order is not None:
        beside = unknown.get("order", {})
        if beside.get("client_order_id") != state.order.client_order_id:
            beside = {}
        document["order"] = {
            **beside,
            **{name: getattr(state.order, name) for name in _ORDER_FIELDS},
        }
    return json.dumps(document, default=_text, separators=(",", ":"))


def decode(text: str) -> tuple[SymbolState, dict[str, Any]]:
    """Return the state and the fields that this version does not know.

    The working order's unknown fields stand under "order", with the order's client id, because they
    belong to that order alone. Raises ValueError if the text is not a state.
    """
    try:
        document = json.loads(text)
        unknown = {name: document[name] for name in document if name not in _STATE_FIELDS}
        known = {name: document[name] for name in document if name in _STATE_FIELDS}
        known["session"] = date.fromisoformat(known["session"])
        known["phase"] = Phase(known["phase"])
        known["exit_as"] = Purpose(known["exit_as"])
        known["halt"] = known["halt"] and _halt(known["halt"])
        known["settled"] = tuple(known["settled"])
        known["abandoned"] = tuple(known["abandoned"])
        known["entered_at"] = _time(known["entered_at"])
        known["cool_until"] = _time(known["cool_until"])
        if known["order"] is not None:
            beside = {n: v for n, v in known["order"].items() if n not in _ORDER_FIELDS}
            known["order"] = _order(known["order"])
            if beside:
                beside["client_order_id"] = known["order"].client_order_id
                unknown["order"] = beside
        state = SymbolState(**known)
        _check_types(state)
        return state, unknown
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a state: {error!r}") from error


def _halt(text: Any) -> Reason:
    """Return why the symbol is halted; a reason of a newer version becomes NEWER_SCHEMA."""
    if isinstance(text, str) and text not in set(Reason):
        return Reason.NEWER_SCHEMA
    return Reason(text)


def _order(document: dict[str, Any]) -> Order:
    known = {name: document[name] for name in document if name in _ORDER_FIELDS}
    known["purpose"] = Purpose(known["purpose"])
    known["progress"] = Progress(known["progress"])
    for name in ("submitted_at", "updated_at", "cancel_at", "absent_at"):
        known[name] = _time(known[name])
    return Order(**known)


def _check_types(state: SymbolState | Order) -> None:
    """Raise ValueError if a field is not of its declared type, since JSON can hold any type."""
    for name, declared in _DECLARED[type(state)]:
        value = getattr(state, name)
        if isinstance(value, bool) != (declared is bool) or not isinstance(value, declared):
            raise ValueError(f"not a state: {name} is {value!r}")
    if isinstance(state, SymbolState):
        if not all(type(qty) is int for qty in state.settled):
            raise ValueError(f"not a state: settled is {state.settled!r}")
        if not all(isinstance(name, str) for name in state.abandoned):
            raise ValueError(f"not a state: abandoned is {state.abandoned!r}")
        if state.order is not None:
            _check_types(state.order)


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def _text(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"not JSON: {value!r}")
