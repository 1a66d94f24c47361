"""The servers of a local day: each runs in a process of its own and answers over HTTP."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx

from scalper.core.session import parse_time
from workbench.servers.aws import CLOCK_PATH
from workbench.servers.keys import KEY_ID, SECRET_KEY

START_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0
REQUEST_TIMEOUT_S = 30.0
ORDERS_PAGE = 500

_READY = re.compile(r"(http://127\.0\.0\.1:\d+)")


class LocalDayError(Exception):
    """The day cannot go on; its message is one line for people."""


@contextmanager
def started(arguments: Sequence[str]) -> Iterator[str]:
    """Run a server of the command line in a process of its own; gives its address.

    It ends with this process, however that ends: its standard input is a pipe from here. A
    session of its own keeps a terminal's Ctrl-C from it, for it is this process that stops it.
    Raises LocalDayError if it does not say within `START_WITHIN_S` that it is ready.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli", *arguments, "--until-eof"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    watchdog = threading.Timer(START_WITHIN_S, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
        watchdog.cancel()
        found = _READY.search(line)
        if found is None:
            raise LocalDayError(
                f"scalper {arguments[0]} did not start: {line.strip() or 'no line'}"
            )
        yield found[1]
    finally:
        watchdog.cancel()
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


class Servers:
    """Asks the exchange and AWS for whoever plays a day; raises LocalDayError without an answer."""

    def __init__(self, exchange_url: str, aws_url: str) -> None:
        self.exchange_url = exchange_url
        self.aws_url = aws_url
        self._http = httpx.Client(timeout=REQUEST_TIMEOUT_S, trust_env=False)

    def state(self) -> dict[str, Any]:
        """Return the exchange's clock, its sessions, and its numbers of listeners and events."""
        state: dict[str, Any] = self.get("/exchange/state")
        return state

    def set_queues_clock(self, at: str) -> None:
        """Set the clock of the queues to an ISO 8601 time."""
        self._post(f"{self.aws_url}{CLOCK_PATH}", content=at)

    def advance(self, to: datetime) -> int:
        """Move both clocks; return how many trade updates the exchange has made so far."""
        self.set_queues_clock(to.isoformat())
        return int(self.post("/exchange/advance", json={"to": to.isoformat()}).json()["events"])

    def equity_usd(self) -> float:
        """Return what the account is worth now, for display."""
        return float(self.get("/v2/account")["equity"])

    def orders(self) -> list[dict[str, Any]]:
        """Return every order of the account, oldest first."""
        found: dict[str, dict[str, Any]] = {}
        query = {"status": "all", "limit": str(ORDERS_PAGE), "direction": "asc"}
        while True:
            page = self.get("/v2/orders", query)
            fresh = [order for order in page if order["id"] not in found]
            found.update((order["id"], order) for order in page)
            if len(page) < ORDERS_PAGE or not fresh:
                return list(found.values())
            last = parse_time(page[-1]["submitted_at"]) - timedelta(microseconds=1)
            query["after"] = last.isoformat()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the JSON that a path answers."""
        try:
            answer = self._http.get(self.exchange_url + path, params=query, headers=_KEYS)
        except httpx.HTTPError as error:
            raise LocalDayError(f"the exchange does not answer: {error}") from error
        if answer.status_code == 401:
            raise LocalDayError(
                f"the exchange refuses the key {KEY_ID}: start scalper exchange without --key-id "
                "and --secret-key"
            )
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.status_code != 200 or found is None:
            raise LocalDayError(f"the exchange answers {_said(answer)}")
        return found

    def post(self, path: str, **content: Any) -> httpx.Response:
        """Return the exchange's answer to a post."""
        return self._post(self.exchange_url + path, **content)

    def _post(self, url: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.post(url, **content)
        except httpx.HTTPError as error:
            raise LocalDayError(f"{url} does not answer: {error}") from error
        if answer.status_code != 200:
            raise LocalDayError(f"{url} answers {_said(answer)}")
        return answer


_KEYS = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": SECRET_KEY}


def _said(answer: httpx.Response) -> str:
    text = " ".join(answer.text.split())[:200]
    return f"{answer.status_code}: {text}"
