"""Starts a built function under Lambda's runtime interface emulator, which the SAM CLI ships.

A cold start is a new process that imports the handler from the artefact and answers its first
event. The process can import the artefact, the runtime interface client and the standard library,
and nothing else. So a package that is missing on Lambda is missing here, too.
(https://docs.aws.amazon.com/lambda/latest/dg/images-test.html)
"""

import os
import platform
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import httpx

from workbench.cloud.emulator import free_port
from workbench.cloud.errors import CloudError
from workbench.cloud.processes import end_group
from workbench.market.synthetic import synthetic_market
from workbench.servers import aws
from workbench.servers.keys import KEY_ID, SECRET_KEY
from workbench.servers.loopback import HOST
from workbench.servers.processes import started
from workbench.template.declared import functions, load_template

START_WITHIN_S = 20.0
ANSWER_WITHIN_S = 90.0
RELAY_TIMEOUT_S = 8
"""The relay runs until its timeout, so here the timeout is short."""

_INVOKE = "/2015-03-31/functions/function/invocations"
_INIT = re.compile(r"INIT REPORT\(durationMs: ([0-9.]+)\)")
_CLIENT = """
from importlib.metadata import distribution
for name in ("awslambdaric", "simplejson", "snapshot-restore-py"):
    found = distribution(name)
    for top in {file.parts[0] for file in found.files}:
        if top != ".." and not top.endswith(".dist-info"):
            print(found.locate_file(top))
"""

EVENTS: Mapping[str, Mapping[str, Any]] = {
    "TickFunction": {"scheduled_time": "<aws.scheduler.scheduled-time>"},
    "TradeUpdateFunction": {
        "version": "2.0",
        "rawPath": "/",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "body": "{}",
        "isBase64Encoded": False,
    },
    "CheckupFunction": {
        "Records": [{"messageId": "1", "body": "{}", "eventSource": "aws:sqs"}],
    },
    "LiquidateFunction": {"scheduled_time": "<aws.scheduler.scheduled-time>"},
    "RelayFunction": {"scheduled_time": "<aws.scheduler.scheduled-time>"},
    "CloseDayFunction": {"scheduled_time": "<aws.scheduler.scheduled-time>"},
}
"""The event for each function: a schedule's, an unsigned request, or a message of a queue."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a function answered after a cold start, and how long its import took."""

    document: Any
    init_ms: float


def emulator_binary() -> Path:
    """Return the runtime interface emulator for this machine; raises CloudError."""
    machine = {"x86_64": "x86_64", "aarch64": "arm64"}.get(platform.machine(), "")
    for file in distribution("aws-sam-cli").files or ():
        if file.name == f"aws-lambda-rie-{machine}":
            return Path(str(file.locate()))
    raise CloudError(f"aws-sam-cli ships no aws-lambda-rie for {platform.machine()}")


def cold_start(
    python: Path,
    artefact: Path,
    handler: str,
    event: Mapping[str, Any],
    *,
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: int = 60,
) -> Answer:
    """Start a built function, send it one event, end it; raises CloudError without an answer.

    `python` has awslambdaric. The log and the links to its packages go to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    event_port, api_port = free_port(), free_port()
    log = folder / "runtime.log"
    with log.open("w", encoding="utf-8") as sink:
        process = subprocess.Popen(
            [
                str(emulator_binary()),
                "--runtime-interface-emulator-address",
                f"{HOST}:{event_port}",
                "--runtime-api-address",
                f"{HOST}:{api_port}",
                *(str(python.absolute()), "-S", "-m", "awslambdaric", handler),
            ],
            cwd=artefact,
            env={
                "PATH": os.defpath,
                "PYTHONPATH": str(_client(python, folder / "client")),
                # As on Lambda, where a function cannot write to its own folder.
                "PYTHONDONTWRITEBYTECODE": "1",
                "LAMBDA_TASK_ROOT": str(artefact),
                "AWS_LAMBDA_FUNCTION_NAME": handler.partition(".")[0],
                "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        answer = _send(f"http://{HOST}:{event_port}{_INVOKE}", event, process)
    finally:
        end_group(process)
    found = _INIT.search(log.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise CloudError(f"{handler} did not start (log: {log})")
    return Answer(answer, float(found[1]))


def sizes(artefact: Path, folder: Path) -> tuple[int, int]:
    """Return a function's bytes, unzipped and as the zip that is uploaded."""
    files = sorted(path for path in artefact.rglob("*") if path.is_file())
    package = folder / "package.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(artefact))
    return sum(path.stat().st_size for path in files), package.stat().st_size


@contextmanager
def function_environment() -> Iterator[dict[str, str]]:
    """Run an AWS and an exchange in mid-session; yields the functions' environment variables."""
    market = synthetic_market(7)
    at = market.days[0].session.open + timedelta(minutes=30)
    before = dict(os.environ)
    with ExitStack() as stack:
        exchange = stack.enter_context(
            started(["exchange", "--port", "0", "--start", at.isoformat()])
        )
        aws_url = stack.enter_context(started(["aws", "--port", "0"]))
        try:
            aws.use_endpoint(aws_url)
            found = aws.create_resources(
                load_template(),
                broker={"key_id": KEY_ID, "secret_key": SECRET_KEY},
                webhook={"current": "whsec_" + "MDEy" * 8, "previous": ""},
            )
        finally:
            os.environ.clear()
            os.environ.update(before)
        yield {
            "AWS_ENDPOINT_URL": aws_url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_SESSION_TOKEN": "local",
            "AWS_REGION": aws.REGION,
            "AWS_DEFAULT_REGION": aws.REGION,
            "SYMBOLS_TABLE": found.symbols_table,
            "STATE_TABLE": found.state_table,
            "CHECKUP_QUEUE_URL": found.checkup_queue_url,
            "TICK_QUEUE_URL": found.tick_queue_url,
            "BROKER_SECRET_ID": found.broker_secret_id,
            "WEBHOOK_SECRET_ID": found.webhook_secret_id,
            "WEBHOOK_URL": f"{exchange}/nowhere",
            "ALPACA_TRADING_URL": exchange,
            "ALPACA_DATA_URL": exchange,
            "ALPACA_STREAM_URL": exchange.replace("http", "ws", 1) + "/stream",
            "CLOCK": "broker",
            "BAR_WAIT_S": "0",
        }


def handlers() -> dict[str, str]:
    """Return the template's functions and their handlers."""
    return {one.logical_id: one.handler for one in functions().values()}


def timeout_of(function: str) -> int:
    """Return a function's timeout in seconds."""
    return RELAY_TIMEOUT_S if function == "RelayFunction" else 60


def _send(url: str, event: Mapping[str, Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + START_WITHIN_S
    with httpx.Client(trust_env=False, timeout=ANSWER_WITHIN_S) as http:
        while True:
            try:
                answer = http.post(url, json=event)
            except httpx.ConnectError as error:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise CloudError(f"the runtime does not start: {error}") from error
                time.sleep(0.05)
            except httpx.HTTPError as error:
                raise CloudError(f"the function does not answer: {error}") from error
            else:
                return answer.json()


def _client(python: Path, folder: Path) -> Path:
    """Return a folder that links to the packages of the runtime interface client alone."""
    if folder.exists():
        return folder
    listed = subprocess.run(
        [str(python), "-I", "-c", _CLIENT], capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        raise CloudError(f"{python} has no awslambdaric: make cloud installs it")
    folder.mkdir(parents=True)
    for name in sorted(set(listed.stdout.split("\n")) - {""}):
        (folder / Path(name).name).symlink_to(name)
    return folder


def error_of(document: Any) -> str:
    """Return the error that the function answered, or "" if it answered none."""
    if isinstance(document, dict) and "errorType" in document:
        return f"{document['errorType']}: {document.get('errorMessage', '')}"
    return ""
