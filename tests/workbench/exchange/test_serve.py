"""The exchange as a process: one line when ready, loopback only, an orderly end on a signal."""

import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.workbench.exchange.conftest import HEADERS

ROOT = Path(__file__).parents[3]
WITHIN_S = 60.0
PROGRAM = """
from tests.workbench.exchange.conftest import two_days
from workbench.exchange.server import serve
serve(two_days(), port=0, key_id="test-key", secret_key="test-secret")
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PYTHONPATH": "functions:."},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as made:
        yield made
        made.kill()


def ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], WITHIN_S)[0], "not ready in time"
    return process.stdout.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_when_ready_and_a_clean_end(
    process: subprocess.Popen[str], number: signal.Signals
):
    line = ready(process)
    found = re.fullmatch(
        r"exchange ready on (http://127\.0\.0\.1:(\d+)) "
        r"\(synthetic bars, 2 symbols, 2 sessions, now 2013-10-04T13:30:00Z\)\n",
        line,
    )
    assert found is not None, line
    url, port = found.groups()
    assert httpx.get(url + "/v2/clock", headers=HEADERS).status_code == 200
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", int(port)))
    with connect(url.replace("http", "ws") + "/stream"):
        process.send_signal(number)
        out, err = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, out, err) == (0, "", "")
