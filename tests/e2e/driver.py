"""A local day that does itself harm: `python -m tests.e2e.driver '{"bars": ..., ...}'`.

Options, each optional but the first four:
bars, exchange_url, aws_url, log    the file of bars, the servers, the file of the log
kill_after      time of the minute after which the process kills itself, by SIGKILL
empty_after     times of minutes after which every item of the state table is deleted
put_after       {time: [items]}: what is put into the symbols table after a minute
relay           false: it is never started
webhook         a status that the webhook answers everything with, the function not called
record          file that gets a JSON line for each invocation: handler, event, and its answer
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import boto3
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from scalper.shell.relay import lease, stream
from workbench.local.day import Collaborators, LocalDay
from workbench.local.invocations import Context, InProcessInvoker, Invoker, WithoutMetrics
from workbench.local.trade_updates import RelayedTradeUpdates
from workbench.market.bars.reader import read_bars
from workbench.servers.processes import Servers


class RecordingInvoker:
    """Runs the handlers in this process and writes a line for each invocation."""

    def __init__(self, invoker: Invoker, record: Path) -> None:
        self._invoker = invoker
        self._record = record
        self._lock = threading.Lock()

    def start(self, handlers: Iterable[str], environment: Mapping[str, str]) -> None:
        self._invoker.start(handlers, environment)

    def invoke(self, handler: str, event: Mapping[str, Any], context: Context) -> Any:
        answer = None
        try:
            answer = self._invoker.invoke(handler, event, context)
            return answer
        finally:
            line = json.dumps({"handler": handler, "event": event, "answer": answer})
            with self._lock, self._record.open("a") as file:
                file.write(line + "\n")


class BrokenTradeUpdates(RelayedTradeUpdates):
    """A relay that never starts, or a webhook that answers everything with one status."""

    def __init__(
        self, servers: Servers, invoker: Invoker, *, relay: bool, status: int | None
    ) -> None:
        super().__init__(servers, invoker)
        self._has_relay = relay
        self._status = status

    def start_relay(self, event: Mapping[str, Any]) -> None:
        if self._has_relay:
            super().start_relay(event)

    def webhook(self) -> ASGIApp:
        if self._status is None:
            return super().webhook()
        status = self._status

        async def fail(request: Request) -> Response:
            body = (await request.body()).decode()
            self.deliveries.add(body, status)
            return Response("{}", status)

        return Starlette(routes=[Route("/", fail, methods=["POST"])])


def driven_day(options: Mapping[str, Any], log: TextIO) -> LocalDay:
    """Return a day whose handlers are watched, and whose relay and webhook may fail."""
    servers = Servers(options["exchange_url"], options["aws_url"])
    invoker: Invoker = InProcessInvoker(log)
    if "record" in options:
        invoker = RecordingInvoker(invoker, Path(options["record"]))
    trade_updates = BrokenTradeUpdates(
        servers, invoker, relay=options.get("relay", True), status=options.get("webhook")
    )
    return LocalDay(
        read_bars([Path(options["bars"])]),
        Collaborators(servers, invoker, trade_updates),
        output=WithoutMetrics(log),
        after_minute=partial(_harm, options),
    )


def _harm(options: Mapping[str, Any], minute: datetime) -> None:
    now = minute.isoformat()
    if now in options.get("empty_after", ()):
        _empty_state()
    for item in options.get("put_after", {}).get(now, ()):
        boto3.client("dynamodb").put_item(TableName="SymbolsTable", Item=item)
    if now == options.get("kill_after"):
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
    stream.POST_BACKOFF_S = 0.01
    # A day that goes on after a kill waits for the end of its own lease.
    lease.LEASE_S, lease.MARGIN_S, lease.RENEW_EVERY_S, lease.WATCH_S = 4.0, 1.0, 0.5, 4.0
    with Path(options["log"]).open("a", encoding="utf-8", buffering=1) as log:
        driven_day(options, log).run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
