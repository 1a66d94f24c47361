"""Sets up the whole stack on the emulator, with the exchange beside it, and observes it trading.

The setup does what README.md tells an owner to do: deploy, fill in keys, add symbols. From then on
the emulator alone invokes the functions, by schedules, queues and the Function URL.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from scalper.core.session import new_york_day, parse_time
from workbench.cloud.emulator import Emulator, emulator
from workbench.cloud.errors import CloudError
from workbench.cloud.gateway import ZONE
from workbench.cloud.sam_stack import SamStack, build
from workbench.cloud.trading_session import (
    PacedClock,
    latest_full_session,
    synthetic_bars,
    time_of_day,
)
from workbench.market.bars.writer import write_bars
from workbench.results.trades import Trade, trades_of
from workbench.servers.keys import KEY_ID, SECRET_KEY
from workbench.servers.processes import LocalDayError, started
from workbench.template.declared import load_template, logical_ids
from workbench.template.schedules import schedules_of

LEAD = timedelta(seconds=20)
"""Time before the first minute. The emulator's scheduler polls every 10 s."""

FUNCTIONS = logical_ids()
_KEYS = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": SECRET_KEY}


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingOptions:
    """Which session is traded, and where the files go."""

    python: Path
    folder: Path
    start: str = "10:30"
    seed: int = 5
    symbols: int = 20
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the exchange, the state table and the logs show at one moment."""

    now: datetime
    phases: Mapping[str, str]
    """By symbol, from the state table."""
    orders: Sequence[Mapping[str, Any]]
    """Every order of the account, oldest first, as the broker's API returns it."""
    trades: Sequence[Trade]
    positions: Mapping[str, Mapping[str, Any]]
    invocations: Mapping[str, int]
    """By function: how many have ended."""
    errors: Mapping[str, int]
    """By function: how many log lines have the level ERROR."""
    listening: int
    """Websockets that listen for order events: 1 while a relay runs."""


class EmulatedStack:
    """A deployed stack that trades on the emulator."""

    def __init__(
        self,
        running: Emulator,
        sam: SamStack,
        exchange_url: str,
        clock: PacedClock,
        parameters: Mapping[str, str],
    ) -> None:
        self.emulator = running
        self.sam = sam
        self.exchange_url = exchange_url
        self.clock = clock
        self.parameters = parameters
        self.outputs = sam.outputs()
        self._http = httpx.Client(trust_env=False, timeout=30.0, headers=_KEYS)
        self._clients: dict[str, Any] = {}
        self._log_groups: dict[str, str] = {}

    def fill_in(self, symbols: Sequence[str]) -> None:
        """Store the broker's keys and the symbols, as the stack's owner does."""
        with _aws_errors():
            self._client("secretsmanager").put_secret_value(
                SecretId=self.outputs["BrokerSecret"],
                SecretString=json.dumps({"key_id": KEY_ID, "secret_key": SECRET_KEY}),
            )
            for symbol in symbols:
                self._client("dynamodb").put_item(
                    TableName=self.outputs["SymbolsTable"], Item={"symbol": {"S": symbol}}
                )

    def snapshot(self) -> Snapshot:
        """Return the present state; raises CloudError if the emulator or the clock has ended."""
        self.emulator.check()
        self.clock.check()
        state = self.get("/exchange/state")
        logs = {function: self.logs(function) for function in FUNCTIONS}
        orders = self.get("/v2/orders", status="all", limit="500", direction="asc")
        return Snapshot(
            now=parse_time(state["now"]),
            phases=self._phases(),
            orders=orders,
            trades=trades_of(orders),
            positions={one["symbol"]: one for one in self.get("/v2/positions")},
            invocations={name: sum(map(_is_report, lines)) for name, lines in logs.items()},
            errors={name: sum(map(_is_error, lines)) for name, lines in logs.items()},
            listening=int(state["listening"]),
        )

    def get(self, path: str, **query: str) -> Any:
        """Return the exchange's answer to a GET; raises CloudError."""
        try:
            answer = self._http.get(self.exchange_url + path, params=query)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise CloudError(f"the exchange: {error}") from error
        return answer.json()

    def logs(self, function: str) -> list[str]:
        """Return the lines that a function logged, oldest first; `function` is its logical id.

        The emulator stores the lines of an invocation when the invocation ends.
        """
        with _aws_errors():
            if function not in self._log_groups:
                configured = self._client("lambda").get_function_configuration(
                    FunctionName=self.outputs[function]
                )
                self._log_groups[function] = configured["LoggingConfig"]["LogGroup"]
            pages = self._client("logs").get_paginator("filter_log_events")
            return [
                event["message"]
                for page in pages.paginate(logGroupName=self._log_groups[function])
                for event in page["events"]
            ]

    def save_logs(self, folder: Path) -> None:
        """Write each function's log to a file of its own, such as TickFunction.log."""
        for function in FUNCTIONS:
            lines = self.logs(function)
            text = "".join(f"{line}\n" for line in lines)
            (folder / f"{function}.log").write_text(text, encoding="utf-8")

    def close(self) -> None:
        """Close the connections to the exchange."""
        self._http.close()

    def _phases(self) -> dict[str, str]:
        with _aws_errors():
            answer = self._client("dynamodb").scan(
                TableName=self.outputs["StateTable"],
                FilterExpression="attribute_exists(phase)",
            )
        return {one["symbol"]["S"]: one["phase"]["S"] for one in answer["Items"]}

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.emulator.client(service)
        return self._clients[service]


@contextmanager
def trading_stack(
    options: TradingOptions, report: Callable[[str], None]
) -> Iterator[EmulatedStack]:
    """Set everything up, let the stack trade while the block lasts, and end everything.

    `report` gets one line for each step. Raises CloudError. However the block ends, no process is
    left running. The logs stay in the folder.
    """
    with ExitStack() as cleanup:
        _check_zones()
        folder = _claim_folder(options.folder, cleanup)
        session = latest_full_session(new_york_day(datetime.now(UTC)))
        start = time_of_day(session, options.start)
        market = synthetic_bars(session, options.seed, options.symbols)
        write_bars(market, folder / "bars.csv")
        report(
            f"{market.source}: {session.day}, {len(market.symbols)} symbols, from {options.start}"
        )
        exchange_url = _start_exchange(cleanup, folder / "bars.csv", start - LEAD)
        running = cleanup.enter_context(
            emulator(
                options.python,
                clock_url=f"{exchange_url}/exchange/state",
                folder=folder,
                port=options.port,
            )
        )
        report(f"emulator at {running.url}, exchange at {exchange_url}; sam build")
        environment = running.environment(os.environ)
        template = build(options.python, folder, environment)
        sam = SamStack(running, template, folder, environment)
        report("sam deploy")
        parameters = {
            "AlpacaTradingUrl": exchange_url,
            "AlpacaDataUrl": exchange_url,
            "AlpacaStreamUrl": exchange_url.replace("http", "ws", 1) + "/stream",
        }
        sam.deploy(parameters)
        clock = PacedClock(exchange_url, start - LEAD)
        stack = EmulatedStack(running, sam, exchange_url, clock, parameters)
        cleanup.callback(stack.close)
        cleanup.callback(_save_logs, stack, folder, report)
        stack.fill_in(market.symbols)
        cleanup.callback(clock.close)
        clock.release()
        report("deployed; keys and symbols are stored, and the session begins")
        yield stack


def _is_report(line: str) -> bool:
    return line.startswith("REPORT RequestId:")


def _is_error(line: str) -> bool:
    return '"level":"ERROR"' in line


def _save_logs(stack: EmulatedStack, folder: Path, report: Callable[[str], None]) -> None:
    try:
        stack.save_logs(folder)
    except CloudError as error:
        report(f"the functions' logs were not saved: {error}")


def _check_zones() -> None:
    """Raise CloudError if a schedule has another time zone than the gateway uses."""
    zones = {one.zone.key for one in schedules_of(load_template())}
    if zones != {ZONE}:
        raise CloudError(
            f"template.yaml's schedules are in {sorted(zones)}, the gateway uses {ZONE}"
        )


def _claim_folder(folder: Path, cleanup: ExitStack) -> Path:
    """Empty the folder and lock it for this run; raises CloudError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = cleanup.enter_context((folder / ".lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for one in folder.iterdir():
            if one.is_dir():
                shutil.rmtree(one)
            elif one.name != ".lock":
                one.unlink()
    except BlockingIOError:
        raise CloudError(f"{folder} is in use by another run; give another --out") from None
    except OSError as error:
        raise CloudError(f"--out {folder}: {error.strerror}") from error
    return folder.resolve()


def _start_exchange(cleanup: ExitStack, bars: Path, start: datetime) -> str:
    options = ["--port", "0", "--bars", str(bars), "--start", start.isoformat()]
    try:
        return cleanup.enter_context(started(["exchange", *options]))
    except LocalDayError as error:
        raise CloudError(str(error)) from error


@contextmanager
def _aws_errors() -> Iterator[None]:
    """Turn an error of the AWS SDK into CloudError."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise CloudError(f"the emulator: {error}") from error
