"""A local day that does itself harm: `python -m tests.e2e.driver '{"bars": ..., ...}'`.

Options, each optional but the first four:
bars, exchange_url, aws_url, log    as LocalDay takes them
kill_after      time of the minute after which the process kills itself, by SIGKILL
empty_after     times of minutes after which every item of the state table is deleted
put_after       {time: [items]}: what is put into the symbols table after a minute
relay           false: it is never started
webhook         a status that the webhook answers everything with, the function not called
record          file that gets a JSON line for each invocation: handler, event, and its answer
"""

import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from scalper.shell.relay import lease
from scalper.shell.relay import stream as relay
from workbench.local.day import LocalDay
from workbench.market.bars.reader import read_bars
from workbench.servers import aws
from workbench.template.schedules import Schedule


class DrivenDay(LocalDay):
    """A day whose handlers are watched, and whose relay and webhook may fail."""

    def __init__(self, options: Mapping[str, Any], **arguments: Any) -> None:
        super().__init__(read_bars([Path(options["bars"])]), after_minute=self._harm, **arguments)
        self._options = options
        self._recording = threading.Lock()

    def _load_handlers(self, schedules: Sequence[Schedule], resources: aws.Resources) -> None:
        super()._load_handlers(schedules, resources)
        if "record" in self._options:
            for name, handler in self._handlers.items():
                self._handlers[name] = functools.partial(self._recorded, name, handler)

    def _recorded(
        self, name: str, handler: Callable[[Any, Any], Any], event: Any, context: Any
    ) -> Any:
        answer = None
        try:
            answer = handler(event, context)
            return answer
        finally:
            line = json.dumps({"handler": name, "event": event, "answer": answer})
            with self._recording, Path(self._options["record"]).open("a") as file:
                file.write(line + "\n")

    def _start_relay(self, event: Mapping[str, Any]) -> None:
        if self._options.get("relay", True):
            super()._start_relay(event)

    def _function_url(self) -> ASGIApp:
        status = self._options.get("webhook")
        if status is None:
            return super()._function_url()

        async def fail(request: Request) -> Response:
            body = (await request.body()).decode()
            self._taken.add(body, status)
            return Response("{}", status)

        return Starlette(routes=[Route("/", fail, methods=["POST"])])

    def _harm(self, minute: datetime) -> None:
        now = minute.isoformat()
        if now in self._options.get("empty_after", ()):
            _empty_state()
        for item in self._options.get("put_after", {}).get(now, ()):
            boto3.client("dynamodb").put_item(TableName="SymbolsTable", Item=item)
        if now == self._options.get("kill_after"):
            os.kill(os.getpid(), signal.SIGKILL)


def _empty_state() -> None:
    client = boto3.client("dynamodb")
    items = client.scan(TableName="StateTable", ConsistentRead=True)["Items"]
    assert items
    for item in items:
        client.delete_item(TableName="StateTable", Key={key: item[key] for key in ("pk", "sk")})


def main(options: Mapping[str, Any]) -> None:
    """Play the day to its end, or to where it is killed."""
    # A webhook that fails is asked again after half a second and more; here there is no hurry.
    relay.POST_BACKOFF_S = 0.01
    # A day that goes on after a kill waits for the end of its own lease.
    lease.LEASE_S, lease.MARGIN_S, lease.RENEW_EVERY_S, lease.WATCH_S = 4.0, 1.0, 0.5, 4.0
    with Path(options["log"]).open("a", encoding="utf-8", buffering=1) as log:
        DrivenDay(
            options, exchange_url=options["exchange_url"], aws_url=options["aws_url"], log=log
        ).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
