"""The emulator's process: ministack with three corrections, until standard input ends.

It runs in an environment that has ministack and no module of this project. The corrections:

- ministack fires schedules by this machine's clock, read as UTC, whatever their time zone. The
  gateway fires them by the exchange's clock in `ZONE`.
- A stack's Function URL is an address at on.aws. ministack serves it under that host name or under
  a path. The gateway gives the stack the path, which is an address on loopback.
- A generated secret may contain punctuation although the template excludes it. The webhook's key is
  then not base64. The gateway excludes the punctuation.

The corrections replace private names of ministack. Its version is pinned: `main` refuses another.
"""

import json
import os
import signal
import string
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from zoneinfo import ZoneInfo

MINISTACK = "1.5.33"
ZONE = "America/New_York"
CLOCK_TIMEOUT_S = 5.0
STOP_WITHIN_S = 8.0


class ExchangeTime:
    """Replaces the module `time` in ministack's scheduler: it gives the exchange's wall clock."""

    def __init__(self, clock_url: str) -> None:
        self._url = clock_url
        self._zone = ZoneInfo(ZONE)
        # A proxy must not stand between two processes on loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def time(self) -> float:
        """Return the wall clock of `ZONE` as if it were UTC, in seconds; raises OSError."""
        with self._opener.open(self._url, timeout=CLOCK_TIMEOUT_S) as answer:
            now = datetime.fromisoformat(json.load(answer)["now"])
        return now.astimezone(self._zone).replace(tzinfo=UTC).timestamp()

    def sleep(self, seconds: float) -> None:
        """Wait for so many real seconds."""
        time.sleep(seconds)


def end_with_stdin() -> None:
    """End this process and what it started as soon as standard input ends."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_WITHIN_S)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=wait, name="stdin", daemon=True).start()


def without_punctuation(secret: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a secret's properties with ExcludePunctuation written out as ExcludeCharacters."""
    generate = secret.get("GenerateSecretString") or {}
    if str(generate.get("ExcludePunctuation", "")).lower() != "true":
        return secret
    excluded = generate.get("ExcludeCharacters", "") + string.punctuation
    return {**secret, "GenerateSecretString": {**generate, "ExcludeCharacters": excluded}}


def main() -> None:
    """Serve until SIGTERM. Environment variables give the address and, as CLOCK_URL, the clock."""
    found = version("ministack")
    if found != MINISTACK:
        sys.exit(f"ministack {found}: workbench/cloud/gateway.py knows {MINISTACK} only")
    end_with_stdin()

    from ministack import app
    from ministack.services import scheduler
    from ministack.services.cloudformation import provisioners

    scheduler.time = ExchangeTime(os.environ["CLOCK_URL"])
    original = provisioners._lambda_url_attributes

    def on_loopback(config: dict[str, str]) -> dict[str, str]:
        url_id = config["FunctionUrl"].removeprefix("https://").partition(".")[0]
        address = f"http://{os.environ['BIND_HOST']}:{os.environ['GATEWAY_PORT']}"
        return {**original(config), "FunctionUrl": f"{address}/_aws/lambda-url/{url_id}/"}

    provisioners._lambda_url_attributes = on_loopback
    generated = provisioners._sm_secret_string
    provisioners._sm_secret_string = lambda declared: generated(without_punctuation(declared))
    app.main()


if __name__ == "__main__":
    main()
