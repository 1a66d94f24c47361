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

from scalper.core.session import new_york_day
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
    """What can be seen at one moment."""

    now: datetime
    phases: Mapping[str, str]
    """By symbol, as the state table shows it to people."""
    orders: Sequence[Mapping[str, Any]]
    """Every order of the account, oldest first, as the broker's API gives it."""
    trades: Sequence[Trade]
    positions: Mapping[str, Mapping[str, Any]]
    invocations: Mapping[str, int]
    """By function: runs that are over."""
    errors: Mapping[str, int]
    """By function: lines that it logged as errors."""
    listening: int
    """Websockets that listen to order events: 1 while a relay runs."""


class EmulatedStack:
    """A stack that is deployed and trades."""

    def __init__(
        self,
        running: Emulator,
        stack: SamStack,
        exchange_url: str,
        clock: PacedClock,
        parameters: Mapping[str, str],
    ) -> None:
        self.emulator = running
        self.sam = stack
        self.exchange_url = exchange_url
        self.clock = clock
        self.parameters = parameters
        self.outputs = stack.outputs()
        self._http = httpx.Client(trust_env=False, timeout=30.0, headers=_KEYS)
        self._clients: dict[str, Any] = {}
        self._log_groups: dict[str, str] = {}

    def fill_in(self, symbols: Sequence[str]) -> None:
        """Put the broker's keys and the symbols where the stack's owner puts them."""
        with _aws_answers():
            self._client("secretsmanager").put_secret_value(
                SecretId=self.outputs["BrokerSecret"],
                SecretString=json.dumps({"key_id": KEY_ID, "secret_key": SECRET_KEY}),
            )
            for symbol in symbols:
                self._client("dynamodb").put_item(
                    TableName=self.outputs["SymbolsTable"], Item={"symbol": {"S": symbol}}
                )

    def snapshot(self) -> Snapshot:
        """Return what can be seen now; raises CloudError where something has ended."""
        self.emulator.check()
        self.clock.check()
        state = self.get("/exchange/state")
        logs = {function: self.logs(function) for function in FUNCTIONS}
        orders = self.get("/v2/orders", status="all", limit="500", direction="asc")
        return Snapshot(
            now=datetime.fromisoformat(state["now"]),
            phases=self._phases(),
            orders=orders,
            trades=trades_of(orders),
            positions={one["symbol"]: one for one in self.get("/v2/positions")},
            invocations={name: sum(map(_is_report, lines)) for name, lines in logs.items()},
            errors={name: sum(map(_is_error, lines)) for name, lines in logs.items()},
            listening=int(state["listening"]),
        )

    def get(self, path: str, **query: str) -> Any:
        """Return what the exchange answers; raises CloudError."""
        try:
            answer = self._http.get(self.exchange_url + path, params=query)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise CloudError(f"the exchange: {error}") from error
        return answer.json()

    def logs(self, function: str) -> list[str]:
        """Return the lines that a function logged, oldest first, by the name of its output.

        The emulator stores a run's lines when the run is over.
        """
        with _aws_answers():
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
        """Let go of the connections."""
        self._http.close()

    def _phases(self) -> dict[str, str]:
        with _aws_answers():
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
def trading_stack(options: TradingOptions, tell: Callable[[str], None]) -> Iterator[EmulatedStack]:
    """Set everything up, let it trade while the block lasts, and end all of it.

    `tell` is given a line for each step. Raises CloudError. Nothing is left running, however the
    block ends; logs stay in the folder.
    """
    with ExitStack() as stack:
        _check_zones()
        folder = _folder(options.folder, stack)
        session = latest_full_session(new_york_day(datetime.now(UTC)))
        start = time_of_day(session, options.start)
        market = synthetic_bars(session, options.seed, options.symbols)
        write_bars(market, folder / "bars.csv")
        tell(f"{market.source}: {session.day}, {len(market.symbols)} symbols, from {options.start}")
        exchange_url = _exchange(stack, folder / "bars.csv", start - LEAD)
        running = stack.enter_context(
            emulator(
                options.python,
                clock_url=f"{exchange_url}/exchange/state",
                folder=folder,
                port=options.port,
            )
        )
        tell(f"emulator at {running.url}, exchange at {exchange_url}; sam build")
        environment = running.environment(os.environ)
        template = build(options.python, folder, environment)
        deployed = SamStack(running, template, folder, environment)
        tell("sam deploy")
        parameters = {
            "AlpacaTradingUrl": exchange_url,
            "AlpacaDataUrl": exchange_url,
            "AlpacaStreamUrl": exchange_url.replace("http", "ws", 1) + "/stream",
        }
        deployed.deploy(parameters)
        clock = PacedClock(exchange_url, start - LEAD)
        cloud = EmulatedStack(running, deployed, exchange_url, clock, parameters)
        stack.callback(cloud.close)
        stack.callback(_save_logs, cloud, folder, tell)
        cloud.fill_in(market.symbols)
        stack.callback(clock.close)
        clock.release()
        tell("deployed; keys and symbols are filled in, and the session goes on")
        yield cloud


def _is_report(line: str) -> bool:
    return line.startswith("REPORT RequestId:")


def _is_error(line: str) -> bool:
    return '"level":"ERROR"' in line


def _save_logs(cloud: EmulatedStack, folder: Path, tell: Callable[[str], None]) -> None:
    try:
        cloud.save_logs(folder)
    except CloudError as error:
        tell(f"the functions' logs were not kept: {error}")


def _check_zones() -> None:
    """Raise CloudError where a schedule has another time zone than the emulator goes by."""
    zones = {one.zone.key for one in schedules_of(load_template())}
    if zones != {ZONE}:
        raise CloudError(f"template.yaml's schedules go by {sorted(zones)}, the emulator by {ZONE}")


def _folder(folder: Path, stack: ExitStack) -> Path:
    """Return the folder, emptied and held for this run alone; raises CloudError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context((folder / ".lock").open("w"))
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


def _exchange(stack: ExitStack, bars: Path, start: datetime) -> str:
    options = ["--port", "0", "--bars", str(bars), "--start", start.isoformat()]
    try:
        return stack.enter_context(started(["exchange", *options]))
    except LocalDayError as error:
        raise CloudError(str(error)) from error


@contextmanager
def _aws_answers() -> Iterator[None]:
    """Raise CloudError where the emulator does not answer, or refuses."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise CloudError(f"the emulator: {error}") from error
