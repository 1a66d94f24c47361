"""What AWS hands to a handler, played by the local day: events, a context, a place to print to."""

import base64
import io
import threading
from collections.abc import Callable, Mapping
from typing import Any, TextIO
from uuid import uuid4

from starlette.requests import Request

from scalper.shell.errors import ScalperError
from workbench.servers import aws


class Context:
    """What the handlers may ask of Lambda's context object."""

    def __init__(self) -> None:
        self.aws_request_id = str(uuid4())
        self.remaining_ms = 900_000

    def get_remaining_time_in_millis(self) -> int:
        """Return what Lambda's own does."""
        return self.remaining_ms


class LongInvocation(threading.Thread):
    """An invocation that lasts until its context has no time left: the relay's."""

    def __init__(self, handler: Callable[[Any, Any], Any], event: Mapping[str, Any]) -> None:
        super().__init__(name="invocation", daemon=True)
        self._handler = handler
        self._event = event
        self._context = Context()
        self.failure: ScalperError | None = None

    def run(self) -> None:
        """Invoke; what the handler raises is kept in `failure`."""
        try:
            self._handler(self._event, self._context)
        except ScalperError as error:
            self.failure = error

    def stop(self) -> None:
        """Leave the invocation no time."""
        self._context.remaining_ms = 0


def queue_record(message: Mapping[str, Any], queue_url: str) -> dict[str, Any]:
    """Return a message as the event source mapping hands it over."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {},
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{aws.REGION}:123456789012:{queue_url.rsplit('/', 1)[-1]}",
        "awsRegion": aws.REGION,
    }


async def function_url_event(request: Request) -> dict[str, Any]:
    """Return a request as a Function URL's event (payload format 2.0)."""
    body = await request.body()
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(body).decode(), True
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.url.path,
        "rawQueryString": request.url.query,
        "headers": {key.lower(): value for key, value in request.headers.items()},
        "requestContext": {
            "http": {
                "method": request.method,
                "path": request.url.path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": request.headers.get("user-agent", ""),
            },
            "requestId": str(uuid4()),
            "stage": "$default",
        },
        "body": text,
        "isBase64Encoded": encoded,
    }


class WithoutMetrics(io.TextIOBase):
    """Standard output of the handlers, for people: CloudWatch's metric lines are left out."""

    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._inside = threading.local()

    def write(self, text: str) -> int:
        """Pass the text on, unless it is a metric's line or the line break after one."""
        if text.startswith('{"_aws"'):
            self._inside.metric = not text.endswith("\n")
        elif getattr(self._inside, "metric", False) and text == "\n":
            self._inside.metric = False
        else:
            self._log.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the log."""
        self._log.flush()
