"""Starts the AWS emulator on loopback, waits until it is up, and ends it with all it started."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config

from workbench.cloud.errors import CloudError
from workbench.cloud.processes import end_group
from workbench.servers.aws import REGION
from workbench.servers.loopback import HOST, listen

GATEWAY = Path(__file__).parent / "gateway.py"
START_WITHIN_S = 60.0
ASK_EVERY_S = 0.2
CLIENT = Config(connect_timeout=2, read_timeout=60, retries={"total_max_attempts": 2})

# The emulator may see no credentials of a real account, whatever the caller's shell exports.
_AWS = "AWS_"
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")


@dataclass(frozen=True, slots=True)
class Emulator:
    """A running emulator."""

    url: str
    process: subprocess.Popen[str]

    def client(self, service: str) -> Any:
        """Return an SDK client of the emulator. Settings of this machine cannot redirect it."""
        connect: Any = boto3.client
        return connect(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=CLIENT,
        )

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return environment variables with which the AWS SDK and SAM reach this emulator alone."""
        kept = {name: value for name, value in environment.items() if not name.startswith(_AWS)}
        return kept | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "SAM_CLI_TELEMETRY": "0",
        }

    def workers(self, function: str) -> list[int]:
        """Return the ids of the processes in which a function runs, given its full name."""
        mark = f"AWS_LAMBDA_FUNCTION_NAME={function}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            # A process may end meanwhile, and another user's process cannot be read.
            with contextlib.suppress(OSError):
                group = os.getpgid(int(entry.name))
                variables = (entry / "environ").read_bytes().split(b"\0")
                if group == self.process.pid and mark in variables:
                    found.append(int(entry.name))
        return sorted(found)

    def kill_workers(self, function: str) -> int:
        """Kill every process in which a function runs, as if its host died; return how many.

        The emulator counts the invocation as failed and starts a new process for the next one.
        """
        victims = self.workers(function)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        return len(victims)

    def check(self) -> None:
        """Raise CloudError if the emulator has ended."""
        if self.process.poll() is not None:
            raise CloudError(f"the emulator ended with code {self.process.returncode}")


def free_port() -> int:
    """Return a loopback port that is free now."""
    with contextlib.closing(listen(0)) as listener:
        return int(listener.getsockname()[1])


def check_port(port: int) -> None:
    """Raise CloudError if a loopback port is taken."""
    try:
        listen(port).close()
    except OSError as error:
        raise CloudError(f"port {port}: {error.strerror}; leave it out for a free one") from error


@contextmanager
def emulator(python: Path, *, clock_url: str, folder: Path, port: int = 0) -> Iterator[Emulator]:
    """Run the emulator while the block lasts, with its log and temporary files in `folder`.

    `python` is the interpreter of .venv/cloud, which runs the functions, too. `clock_url` is the
    address of the exchange's time. Raises CloudError if the emulator does not start.
    """
    if not python.exists():
        raise CloudError(f"{python} is missing: make cloud sets it up")
    if port:
        check_port(port)
    python = python.absolute()
    port = port or free_port()
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    log = folder / "emulator.log"
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",
        "PERSIST_STATE": "0",
        "TMPDIR": str(scratch.resolve()),
        "CLOCK_URL": clock_url,
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("w", encoding="utf-8") as sink:
        process = subprocess.Popen(
            [str(python), str(GATEWAY)],
            env=environment,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    try:
        running = Emulator(f"http://{HOST}:{port}", process)
        _await(running, log)
        yield running
    finally:
        end_group(process)
        if process.stdin:
            process.stdin.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _await(running: Emulator, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    with httpx.Client(trust_env=False, timeout=5.0) as http:
        while time.monotonic() < deadline:
            if running.process.poll() is not None:
                break
            try:
                if http.get(f"{running.url}/_ministack/health").status_code == 200:
                    return
            except httpx.HTTPError:
                # Not up yet.
                pass
            time.sleep(ASK_EVERY_S)
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    why = lines[-1].strip() if lines else "no line"
    raise CloudError(f"the emulator did not start: {why} (log: {log})")
