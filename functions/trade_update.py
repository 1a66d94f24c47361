"""The webhook: join an order event, and send the next order at once."""

from collections.abc import Mapping
from typing import Any

from scalper.core.model import Reason
from scalper.shell import telemetry, webhook
from scalper.shell.errors import ScalperError, WebhookRefusedError
from scalper.shell.runtime import current_engine, current_webhook_keys, renewed_webhook_keys
from scalper.shell.trading.trade_update import trade_update


def handler(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Answer a Function URL's request: 200 if done, 4xx if refused, 503 to get it again."""
    with telemetry.sent():
        try:
            delivery = webhook.receive(event, current_webhook_keys, renewed_webhook_keys)
            if delivery is None:
                return webhook.ignore(Reason.OTHER_STREAM)
            taken = trade_update(current_engine(), delivery)
            return webhook.answer(503 if taken["status"] == "failed" else 200, taken)
        except WebhookRefusedError as error:
            return webhook.refuse(error)
        except ScalperError as error:
            return webhook.unable(error)
