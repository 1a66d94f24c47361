"""Reads Alpaca's JSON documents into plain data; an unreadable answer counts as no answer."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from scalper.core.order import PREFIX, OrderReport
from scalper.core.pricing import money, notional
from scalper.core.session import parse_time
from scalper.shell.errors import BrokerDownError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Fill, Position
from scalper.shell.telemetry import count, logger

T = TypeVar("T")


def report_of(document: Mapping[str, Any], *, confirmed: bool = False) -> OrderReport:
    """Return the report of one of Alpaca's order objects; unknown fields and statuses are allowed.

    Raises ValueError if it is not an order object.
    """
    try:
        filled_qty = int(Decimal(document.get("filled_qty") or "0"))
        average = document.get("filled_avg_price")
        if filled_qty and not average:
            raise ValueError("filled without a price")
        limit = document.get("limit_price")
        replaced_by = document.get("replaced_by")
        return OrderReport(
            client_order_id=_str(document["client_order_id"]),
            status=_str(document["status"]),
            symbol=_str(document["symbol"]),
            qty=int(Decimal(document.get("qty") or "0")),
            limit=None if limit is None else money(str(limit)),
            submitted_at=_time(document.get("submitted_at")),
            filled_qty=filled_qty,
            filled_value=notional(filled_qty, average) if filled_qty and average else 0,
            updated_at=_time(document.get("updated_at")),
            broker_id=_str(document["id"]),
            replaced_by=replaced_by if isinstance(replaced_by, str) else "",
            confirmed=confirmed,
        )
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"not an order: {error!r}") from error


def parsed(read: Callable[[], T]) -> T:
    """Return what `read` returns; raises BrokerDownError if the answer cannot be read."""
    try:
        return read()
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BrokerDownError(f"an answer that cannot be read: {error!r}") from error


def listed_order(document: Any) -> OrderReport | None:
    """Return the report of a listed order, or None for an external order that cannot be read.

    An order of several legs, for example, has no symbol. Raises BrokerDownError if the unreadable
    order may be ours.
    """
    try:
        return report_of(document, confirmed=True)
    except ValueError as error:
        client_order_id = document.get("client_order_id") if isinstance(document, dict) else None
        if not isinstance(client_order_id, str) or client_order_id.startswith(f"{PREFIX}-"):
            raise BrokerDownError(f"an order that cannot be read: {error}") from error
        count(Metric.EXTERNAL_ORDERS_UNREADABLE)
        logger.warning("external order cannot be read", extra={"error": str(error)[:200]})
        return None


def position_of(document: Mapping[str, Any]) -> Position:
    """Return the whole shares of a position; raises KeyError or ArithmeticError."""
    qty = Decimal(document["qty"])
    # Alpaca's schema does not require the field.
    free = document.get("qty_available")
    return Position(int(qty), int(qty if free is None else Decimal(free)))


def fills_of(answer: object) -> dict[str, Fill]:
    """Return a page of executions by their ids."""
    return {_str(one["id"]): _fill(one) for one in list_of(answer)}


def _fill(document: Mapping[str, Any]) -> Fill:
    qty = int(Decimal(document["qty"]))
    return Fill(
        order_id=_str(document["order_id"]),
        symbol=_str(document["symbol"]),
        is_buy=document["side"] == "buy",
        qty=qty,
        value=notional(qty, document["price"]),
    )


def object_of(answer: object) -> Mapping[str, Any]:
    """Return an answer that is a JSON object; raises TypeError for any other."""
    if not isinstance(answer, dict):
        raise TypeError(f"not an object: {type(answer).__name__}")
    return answer


def list_of(answer: object) -> list[Any]:
    """Return an answer that is a JSON list; raises TypeError for any other."""
    if not isinstance(answer, list):
        raise TypeError(f"not a list: {type(answer).__name__}")
    return answer


def page_after(document: Mapping[str, Any], *, exactly: bool) -> str:
    """Return `after` of the next page: the order's submission time, or a microsecond earlier.

    `exactly`: the time itself, with all its digits.
    """
    stamp = _str(document["submitted_at"])
    at = parse_time(stamp)
    return stamp if exactly else (at - timedelta(microseconds=1)).isoformat()


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
