"""How a function is invoked as Lambda does it: its event, its context, where it prints."""

import base64
import importlib
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from io import TextIOBase
from typing import Any, Protocol, TextIO
from uuid import uuid4

from starlette.requests import Request

from scalper.shell.errors import ScalperError
from workbench.servers import aws

RELAY = "relay.handler"
TRADE_UPDATE = "trade_update.handler"
CHECKUP = "checkup.handler"


class Context:
    """The part of Lambda's context object that the handlers use."""

    def __init__(self) -> None:
        self.aws_request_id = str(uuid4())
        self.remaining_ms = 900_000

    def get_remaining_time_in_millis(self) -> int:
        """Return the invocation's remaining time in milliseconds."""
        return self.remaining_ms


class Invoker(Protocol):
    """Runs the functions of a day; `handler` is such as "tick.handler"."""

    def start(self, handlers: Iterable[str], environment: Mapping[str, str]) -> None:
        """Get ready to run these handlers with these environment variables."""
        ...

    def invoke(self, handler: str, event: Mapping[str, Any], context: Context) -> Any:
        """Return the handler's answer. Raises ScalperError if the invocation fails."""
        ...


class InProcessInvoker:
    """Calls the handlers in this process; several threads may do so at once."""

    def __init__(self, log: TextIO | TextIOBase) -> None:
        """`log` takes the handlers' log lines."""
        self._log = log
        self._handlers: dict[str, Any] = {}

    def start(self, handlers: Iterable[str], environment: Mapping[str, str]) -> None:
        """Import the handlers, as Lambda does at a cold start, and send their log to its file."""
        os.environ.update(environment)
        for name in handlers:
            module, _, function = name.partition(".")
            self._handlers[name] = getattr(importlib.import_module(module), function)
        for handler in logging.getLogger("scalper").handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(self._log)

    def invoke(self, handler: str, event: Mapping[str, Any], context: Context) -> Any:
        """Return the handler's answer; what it raises is raised."""
        return self._handlers[handler](event, context)


class LongInvocation(threading.Thread):
    """An invocation that lasts until its context has no time left: the relay's."""

    def __init__(self, invoker: Invoker, handler: str, event: Mapping[str, Any]) -> None:
        super().__init__(name="invocation", daemon=True)
        self._context = Context()
        self._invoke = partial(invoker.invoke, handler, event, self._context)
        self.failure: ScalperError | None = None

    def run(self) -> None:
        """Invoke; keep in `failure` what the handler raises."""
        try:
            self._invoke()
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


class WithoutMetrics(TextIOBase):
    """The handlers' standard output without CloudWatch's metric lines, for people to read."""

    def __init__(self, log: TextIO | TextIOBase) -> None:
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
        """Flush the log, unless it is closed: Python flushes this object once more as it ends.

        From Python 3.13 on, Python prints what such a last flush raises
        (https://docs.python.org/3/whatsnew/3.13.html#io).
        """
        if not self._log.closed:
            self._log.flush()
