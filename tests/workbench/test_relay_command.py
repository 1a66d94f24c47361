"""`scalper relay` on a person's machine: it holds the lease, and gives it back when it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from moto.server import ThreadedMotoServer

from scalper.shell.aws.lease_table import DynamoLeaseTable
from scalper.shell.errors import BrokerDownError, SettingsError
from scalper.shell.relay.lease import FREE, Lease
from scalper.shell.relay.run import check_clock, market_hours_left_s
from tests.e2e.days import ROOT
from tests.shell.conftest import make_state_table
from tests.shell.fakes import CLOSE, DAY, OPEN, Desk, settings
from tests.shell.scripted import Scripted, scripted
from tests.shell.test_relay import wait_until
from tests.shell.test_webhook import KEY
from tests.workbench.exchange.conftest import KEY as KEY_ID
from tests.workbench.exchange.conftest import SECRET, Client, asking, at

WITHIN_S = 30.0
NAMES = ("AWS_ENDPOINT_URL", "STATE_TABLE", "WEBHOOK_URL", "BROKER_SECRET_ID", "WEBHOOK_SECRET_ID")


@pytest.fixture
def hook() -> Iterator[Scripted]:
    with scripted() as made:
        made.answer((200, {}))
        yield made


@pytest.fixture
def client() -> Iterator[Client]:
    with asking() as made:
        made.advance(at(1)).raise_for_status()
        yield made


def environment(client: Client, hook: Scripted, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    return {
        **clean,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "ALPACA_TRADING_URL": client.running.url,
        "ALPACA_STREAM_URL": client.running.stream_url,
        "WEBHOOK_URL": hook.url + "/",
        "APCA_API_KEY_ID": KEY_ID,
        "APCA_API_SECRET_KEY": SECRET,
        "WEBHOOK_KEY": KEY,
        "CLOCK": "broker",
    } | more


@contextmanager
def relaying(variables: dict[str, str], *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli", "relay", *options],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killer = threading.Timer(WITHIN_S, process.kill)
    killer.start()
    try:
        yield process
    finally:
        killer.cancel()
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=WITHIN_S)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_relays_until_a_signal_ends_it(client: Client, hook: Scripted, number: int) -> None:
    with relaying(environment(client, hook), "--no-lease") as process:
        wait_until(lambda: client.running.exchange.stream.listening == 1)
        client.order(client_order_id="mine").raise_for_status()
        wait_until(lambda: len(hook.requests) >= 1)
        process.send_signal(number)
        code, out, err = ended(process)
    assert (code, err) == (0, "")
    first, *_, last = out.splitlines()
    assert first.startswith("relay: ws://127.0.0.1:")
    assert "without a lease" in first
    done = json.loads(last)
    assert (done["status"], done["posted"]) == ("ok", len(hook.requests))
    assert '"_aws"' not in out
    assert SECRET not in out


def test_it_waits_for_the_lease_and_gives_it_back(
    client: Client, hook: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        variables = environment(
            client, hook, STATE_TABLE="own-relay", AWS_ENDPOINT_URL=f"http://{host}:{port}"
        )
        for name in (*NAMES[:1], "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, variables[name])
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        make_state_table("own-relay")
        table = DynamoLeaseTable(settings(state_table="own-relay"))
        soon = datetime.now(UTC) + timedelta(minutes=10)
        other = table.put(Lease("the stack's", 4, soon, soon))
        with relaying(variables) as process:
            first = process.stdout.readline() if process.stdout else ""
            assert "under the lease" in first
            threading.Event().wait(0.5)
            assert client.running.exchange.stream.listening == 0
            table.put(replace(other, until=FREE))
            wait_until(lambda: client.running.exchange.stream.listening == 1)
            held = table.present()
            assert held is not None
            assert held.token > 4
            process.send_signal(signal.SIGINT)
            assert ended(process)[0] == 0
        present = table.present()
        assert present is not None
        assert (present.holder, present.until) == (held.holder, FREE)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({}, (), "STATE_TABLE is not set: name the stack's state table"),
        (
            {"STATE_TABLE": "gone", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            (),
            "the lease cannot be read in the table gone",
        ),
        ({"WEBHOOK_URL": ""}, ("--no-lease",), "WEBHOOK_URL is not set"),
        ({"APCA_API_KEY_ID": ""}, ("--no-lease",), "no keys: set APCA_API_KEY_ID"),
        ({"APCA_API_KEY_ID": "wrong"}, ("--no-lease",), "401"),
        ({"WEBHOOK_KEY": ""}, ("--no-lease",), "no key of the webhook: set WEBHOOK_KEY"),
        ({"TRADING_MODE": "dry"}, ("--no-lease",), "TRADING_MODE is 'dry'"),
        ({"CLOCK": "system"}, ("--no-lease",), "s off the broker's: set it"),
        (
            {"CLOCK": "system", "ALPACA_TRADING_URL": "http://127.0.0.1:9"},
            ("--no-lease",),
            "http://127.0.0.1:9 does not answer",
        ),
    ],
)
def test_a_wrong_setting_is_one_line(
    client: Client, hook: Scripted, change: dict[str, str], options: tuple[str, ...], says: str
) -> None:
    with relaying(environment(client, hook, **change), *options) as process:
        code, _, err = ended(process)
    assert code == 2
    (line,) = err.splitlines()
    assert says in line


def test_outside_market_hours_it_ends_at_once(client: Client, hook: Scripted) -> None:
    client.advance(at(392)).raise_for_status()
    with relaying(environment(client, hook), "--no-lease") as process:
        code, out, _ = ended(process)
    assert code == 0
    assert json.loads(out.splitlines()[-1]) == {"status": "closed", "posted": 0}


class TestMarket:
    def left(self, desk: Desk, minutes: float, clock: str = "system") -> float:
        desk.broker.now = OPEN + timedelta(minutes=minutes)
        return market_hours_left_s(lambda: desk.broker, clock)

    @pytest.mark.parametrize(
        ("minutes", "left_s"),
        [(-5.1, 0), (-5, 396 * 60), (0, 391 * 60), (390, 60), (390.5, 30), (391, 0), (900, 0)],
    )
    def test_the_relay_runs_from_before_the_open_to_after_the_close(
        self, desk: Desk, minutes: float, left_s: float
    ) -> None:
        assert self.left(desk, minutes) == left_s

    def test_a_simulated_clock_says_whether_to_run_and_not_how_long(self, desk: Desk) -> None:
        assert self.left(desk, 5, "broker") == float("inf")
        assert self.left(desk, 400, "broker") == 0

    def test_the_relay_does_not_run_on_a_holiday(self, desk: Desk) -> None:
        desk.broker.sessions[DAY] = None
        assert self.left(desk, 5) == 0

    def test_the_relay_ends_early_on_a_half_day(self, desk: Desk) -> None:
        session = desk.broker.sessions[DAY]
        assert session is not None
        desk.broker.sessions[DAY] = replace(session, close=CLOSE - timedelta(hours=3))
        assert self.left(desk, 205) == 6 * 60
        assert self.left(desk, 211) == 0

    def test_the_relay_runs_if_the_clock_does_not_answer(self, desk: Desk) -> None:
        desk.broker.fail("clock", BrokerDownError("502"))
        assert self.left(desk, 5) == float("inf")

    @pytest.mark.parametrize("off_s", [0, 1.5, -1.5])
    def test_a_clock_within_two_seconds_is_good(self, desk: Desk, off_s: float) -> None:
        desk.broker.now = datetime.now(UTC) + timedelta(seconds=off_s)
        check_clock(desk.broker)

    @pytest.mark.parametrize("off_s", [3, -3, 3600, -3600])
    def test_a_clock_that_is_more_than_two_seconds_off_is_refused(
        self, desk: Desk, off_s: float
    ) -> None:
        desk.broker.now = datetime.now(UTC) + timedelta(seconds=off_s)
        with pytest.raises(SettingsError, match="off the broker's: set it"):
            check_clock(desk.broker)


@pytest.fixture
def desk() -> Desk:
    return Desk()
