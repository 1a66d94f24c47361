"""The webhook: checks a request, and reads the trade update from it.

Deliveries are signed as Standard Webhooks says (https://www.standardwebhooks.com): HMAC-SHA256 over
id, timestamp and raw body, within 300 s of the real time. The checks come in the order size,
signature, content, so that no part of an unsigned body is parsed.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import uuid4

from standardwebhooks.webhooks import (
    EmptyWebhookSecretError,
    Webhook,
    WebhookVerificationError,
)

from scalper.core.model import Reason
from scalper.core.pricing import money
from scalper.core.session import parse_time
from scalper.shell.alpaca.client import exact
from scalper.shell.alpaca.parsing import report_of
from scalper.shell.errors import ScalperError, SettingsError, WebhookRefusedError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Delivery
from scalper.shell.telemetry import count, logger

MAX_BODY = 64 * 1024
MAX_QTY = 10**12
"""Shares; a larger quantity is refused."""

YEARS = range(2000, 2100)
STREAM = "trade_updates"
SIGNED_BY = ("webhook-id", "webhook-timestamp", "webhook-signature")


def sign(body: str, key: str) -> dict[str, str]:
    """Return the headers of a delivery signed with `key` ("whsec_" and base64)."""
    message_id = f"msg_{uuid4().hex}"
    now = datetime.now(UTC)
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": _webhook(key).sign(message_id, now, body),
    }


def receive(
    event: Mapping[str, Any],
    fetch_keys: Callable[[], Sequence[str]],
    renew_keys: Callable[[], Sequence[str]] = tuple,
) -> Delivery | None:
    """Return the trade update of a Function URL's event; None for a message of another stream.

    The keys are fetched only for a body within the size. If none of them fits, `renew_keys` returns
    the secret's present keys, or none. Raises WebhookRefusedError with an HTTP status: 413 over
    64 KiB, 401 without a good signature, 400 or 415 for signed content that is invalid.
    """
    headers = _headers(event)
    body = _body(event)
    try:
        verify(body, headers, fetch_keys())
    except WebhookRefusedError:
        renewed = renew_keys() if all(headers.get(name) for name in SIGNED_BY) else ()
        if not renewed:
            raise
        verify(body, headers, renewed)
    if _method(event) != "POST":
        raise WebhookRefusedError(400, "not a POST")
    kind = headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind != "application/json":
        raise WebhookRefusedError(415, "the content type is not application/json")
    return parse(body)


def verify(body: bytes, headers: Mapping[str, str], keys: Sequence[str]) -> None:
    """Return if one of the keys signed the body; raises WebhookRefusedError(401) otherwise."""
    why = "no key"
    for key in keys:
        try:
            _webhook(key).verify(body, dict(headers), json_parse=False)
        except WebhookVerificationError as error:
            why = str(error)
        except (ValueError, OverflowError, OSError):
            # The library raises these while it decodes headers and body, before it compares.
            why = "malformed signature, time or body"
        else:
            return
    raise WebhookRefusedError(401, why)


def parse(body: bytes) -> Delivery | None:
    """Return the trade update of a signed body; None for a message of another stream.

    Unknown fields and events are allowed: each message is a snapshot of its order. Errors are
    logged, so their texts have no part of the body.
    """
    try:
        message = json.loads(body, parse_float=exact)
    except (ValueError, RecursionError) as error:
        raise WebhookRefusedError(400, f"not JSON: {type(error).__name__}") from error
    if not isinstance(message, dict):
        raise WebhookRefusedError(400, "not a JSON object")
    if message.get("stream") != STREAM:
        return None
    data = message.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("order"), dict):
        raise WebhookRefusedError(400, "no data.order")
    try:
        _check_whole(data["order"])
        report = report_of(data["order"])
        price = data.get("price")
        stamp = data.get("timestamp")
        delivery = Delivery(
            report,
            None if price is None else money(price),
            parse_time(stamp) if stamp else report.updated_at,
        )
        _check_sense(delivery)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise WebhookRefusedError(400, f"not a trade update: {type(error).__name__}") from error
    return delivery


def _check_whole(order: Mapping[str, Any]) -> None:
    """Raise ValueError if a quantity is out of bounds, before it becomes an int.

    A hundred characters can be a number with a billion digits, such as 1e1000000000.
    """
    for name in ("qty", "filled_qty"):
        value = order.get(name)
        if value and not 0 <= Decimal(value) <= MAX_QTY:
            raise ValueError(f"{name} is out of bounds")


def _check_sense(delivery: Delivery) -> None:
    """Raise ValueError if no order can have this price, quantity or time."""
    report = delivery.report
    if delivery.price is not None and delivery.price <= 0:
        raise ValueError("a price that is not above 0")
    if report.filled_value < 0 or report.filled_qty > report.qty > 0:
        raise ValueError("more filled than ordered, or a negative value")
    for at in (delivery.at, report.updated_at, report.submitted_at):
        if at is not None and at.year not in YEARS:
            raise ValueError("a time in another century")


def answer(status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Function URL's response (payload format 2.0)."""
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body),
    }


def ignore(reason: Reason) -> dict[str, Any]:
    """Log and answer a delivery that no engine has to see."""
    logger.info("event ignored", extra={"reason": reason})
    return answer(200, {"status": "ignored", "reason": reason})


def refuse(error: WebhookRefusedError) -> dict[str, Any]:
    """Count, log and answer a delivery that the webhook refuses."""
    count(Metric.WEBHOOK_REFUSED)
    logger.warning("webhook refused", extra={"status": error.status, "error": str(error)})
    return answer(error.status, {"status": "refused", "reason": Reason.DELIVERY_REFUSED})


def unable(error: ScalperError) -> dict[str, Any]:
    """Count, log and answer a delivery whose work failed; a later checkup finds what it said."""
    count(Metric.WEBHOOK_ERRORS)
    logger.error("webhook failed", extra={"error": str(error)})
    return answer(503, {"status": "failed", "reason": Reason.REQUEST_FAILED})


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers by name in lower case."""
    headers = event.get("headers")
    if not isinstance(headers, Mapping):
        return {}
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _method(event: Mapping[str, Any]) -> str:
    """Return the request's method; an event without one counts as POST."""
    context = event.get("requestContext")
    http = context.get("http") if isinstance(context, Mapping) else None
    return str(http.get("method", "POST")) if isinstance(http, Mapping) else "POST"


def _body(event: Mapping[str, Any]) -> bytes:
    """Return the raw body; raises WebhookRefusedError, by its size before it is decoded."""
    text = event.get("body") or ""
    encoded = bool(event.get("isBase64Encoded"))
    if not isinstance(text, str) or len(text) > (MAX_BODY * 4 // 3 + 4 if encoded else MAX_BODY):
        raise WebhookRefusedError(413, "over 64 KiB")
    try:
        body = base64.b64decode(text, validate=True) if encoded else text.encode()
    except ValueError as error:
        raise WebhookRefusedError(401, "the body cannot be decoded") from error
    if len(body) > MAX_BODY:
        raise WebhookRefusedError(413, "over 64 KiB")
    return body


@lru_cache(maxsize=4)
def _webhook(key: str) -> Webhook:
    try:
        return Webhook(key)
    except (ValueError, RuntimeError, EmptyWebhookSecretError) as error:
        raise SettingsError('the webhook key must be "whsec_" and base64 text') from error
