"""The command line: it refuses bad input in one line, and a stopped run leaves results alone."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from typer.testing import CliRunner, Result

from scalper.core.session import MINUTE
from tests.e2e.days import (
    HALF_DAY,
    ROOT,
    SCALPER,
    Servers,
    assert_books_hold,
    log_lines,
    plain_days,
    scalper,
    servers,
    synthetic_bars,
    trade_rows,
)
from workbench.cli.app import app
from workbench.market.model import sessions_between
from workbench.servers import aws
from workbench.servers.loopback import listen
from workbench.servers.processes import started
from workbench.template.declared import load_template

HEADER = "symbol,timestamp,open,high,low,close,volume"
GOOD = "SYN01,2024-11-29T14:30:00Z,10.00,10.10,9.90,10.05,100"
WITHIN_S = 120.0
RESULTS = ("trades.csv", "orders.csv", "summary.json", "report.html", "console.log")


def run(*arguments: str | Path) -> Result:
    """Run the command line in this process: only for runs that end before a day begins."""
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


@pytest.fixture
def out(tmp_path) -> Path:
    """Return a folder with an earlier run's files."""
    folder = tmp_path / "out"
    folder.mkdir()
    for name in RESULTS:
        (folder / name).write_text(f"earlier {name}")
    return folder


def assert_unchanged(out: Path, *added: str) -> None:
    assert {path.name for path in out.iterdir()} == {*RESULTS, *added}
    for name in RESULTS:
        assert (out / name).read_text() == f"earlier {name}"


def assert_refused(result: Result, *texts: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("scalper: ")
    for text in texts:
        assert text in line, line


# --- bars ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "places"),
    [
        (b"", ["row 1"]),
        (HEADER.encode(), ["row 2", "column symbol"]),
        (b"\x00\xff\xfe\x80junk\x00" * 50, ["row 1"]),
        (b"PAR1 but no parquet", ["row 1"]),
        (
            b"symbol,timestamp,open,high,low,close\nA,2024-11-29T14:30:00Z,1,1,1,1",
            ["column volume"],
        ),
        (GOOD.encode(), ["row 1", "column symbol"]),
        ("SYN01,2024-11-29T14:31:00Z,NaN,10.10,9.90,10.05,100", ["row 3", "column open"]),
        ("SYN01,2024-11-29T14:31:00Z,10,inf,9.90,10.05,100", ["row 3", "column high"]),
        ("SYN01,2024-11-29T14:31:00Z,10,10.10,-9.90,10.05,100", ["row 3", "column low"]),
        ("SYN01,2024-11-29T14:31:00Z,10,10.10,9.90,0,100", ["row 3", "column close"]),
        ("SYN01,2024-11-29T14:31:00Z,10,10.10,9.90,,100", ["row 3", "column close"]),
        ("SYN01,2024-11-29T14:31:00Z,10,10.10,9.90,10,-1", ["row 3", "column volume"]),
        ("SYN01,2024-11-29T14:31:00Z,10,9.80,9.90,9.85,100", ["row 3", "column high"]),
        ("SYN01,2024-11-29T14:31:00Z,11,10.10,9.90,10,100", ["row 3", "column open"]),
        ("SYN01,2024-11-29T14:31:00,10,10.10,9.90,10,100", ["row 3", "column timestamp"]),
        ("SYN01,2024-11-29T09:31:00-05:00,10,10.10,9.90,10,100", ["row 3", "column timestamp"]),
        ("SYN01,2024-11-29T14:31:30Z,10,10.10,9.90,10,100", ["row 3", "column timestamp"]),
        ("SYN01,yesterday,10,10.10,9.90,10,100", ["row 3", "column timestamp"]),
        ("syn01 ,2024-11-29T14:31:00Z,10,10.10,9.90,10,100", ["row 3", "column symbol"]),
        (GOOD, ["row 3", "column timestamp", "row 2"]),
        ("SYN01,2024-11-29T14:31:00Z,10", ["row 3", "column high"]),
        (f"{GOOD},1".replace("14:30", "14:31"), ["row 3", "column 8"]),
    ],
)
def test_bars_that_cannot_be_used_are_refused_in_one_line_with_the_place(
    content, places, tmp_path, out
):
    bars = tmp_path / "bars.csv"
    if isinstance(content, str):
        content = f"{HEADER}\n{GOOD}\n{content}\n".encode()
    bars.write_bytes(content)
    assert_refused(run(bars, "--out", out), str(bars), *places)
    assert_unchanged(out)


def test_bars_of_a_day_without_a_session_are_refused(tmp_path, out):
    bars = tmp_path / "bars.csv"
    bars.write_text(f"{HEADER}\n{GOOD.replace('11-29', '11-30')}\n")
    assert_refused(run(bars, "--out", out), str(bars), "row 2", "Saturday")
    assert_unchanged(out)


@pytest.mark.parametrize("name", ["absent.csv", "absent-*.csv", "no/folder/absent.csv", ""])
def test_a_missing_bars_file_is_named(name, tmp_path, out):
    assert_refused(run(f"{tmp_path}/{name}", "--out", out), f"{tmp_path}")
    assert_unchanged(out)


def test_one_bad_file_among_several_is_refused(tmp_path, out):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(f"{HEADER}\n{GOOD}\n")
    bad.write_text(f"{HEADER}\n{GOOD.replace('10.05', 'x')}\n")
    assert_refused(run(good, bad, "--out", out), str(bad), "row 2", "column close")
    assert_unchanged(out)


def test_a_refused_run_of_the_console_script_makes_no_folder(tmp_path):
    result = scalper("run", tmp_path / "absent.csv", "--out", tmp_path / "new")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"scalper: {tmp_path / 'absent.csv'}: no such file\n"
    assert not (tmp_path / "new").exists()


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lot", ["abc", "-5", "0", "NaN", "inf", "", "1e400", "0.00001"])
def test_a_lot_that_is_not_a_number_of_dollars_above_zero_is_refused(lot, out):
    assert_refused(run("--lot", lot, "--out", out), "--lot")
    assert_unchanged(out)


def test_results_cannot_be_written_into_a_file(tmp_path):
    bars = synthetic_bars(tmp_path, seed=1, symbols=1)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for place in (taken, taken / "below"):
        assert_refused(run(bars, "--out", place), f"--out {place}")
    assert taken.read_text() == "mine"


@pytest.mark.parametrize("command", ["exchange", "aws"])
def test_a_port_in_use_is_named(command):
    listener = listen(0)
    listener.listen()
    port = str(listener.getsockname()[1])
    try:
        result = CliRunner().invoke(app, [command, "--port", port])
    finally:
        listener.close()
    assert_refused(result, f"--port {port}", "in use")


@pytest.mark.parametrize(
    "options", [["--start", "noon"], ["--cash", "much"], ["--pace", "1e9"], ["--bars", "absent"]]
)
def test_bad_options_of_the_exchange_are_refused(options):
    assert_refused(CliRunner().invoke(app, ["exchange", "--port", "0", *options]))


@pytest.mark.parametrize("command", [[], ["run"], ["exchange"], ["aws"]])
def test_the_help_of_a_command_shows_its_usage_and_no_hidden_option(command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert "--until-eof" not in result.stdout, "only another process uses it"


def test_scalper_without_a_command_lists_the_commands():
    result = CliRunner().invoke(app, [])
    assert all(name in result.output for name in ("run", "exchange", "aws"))


# --- a run that is stopped -----------------------------------------------------------------------


@contextmanager
def running_day(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Start a day as a terminal would, in a process group of its own."""
    process = subprocess.Popen(
        [*SCALPER, "run", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A test run in the background of a shell ignores SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def children_of(process: subprocess.Popen[str]) -> list[int]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [line.split() for line in listed.stdout.splitlines()]
    return [int(pid) for pid, parent in pairs if parent == str(process.pid)]


def wait_for(what, within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_traded(process: subprocess.Popen[str], log: Path) -> None:
    def traded() -> bool:
        assert process.poll() is None, process.communicate()
        return log.exists() and "decision" in log.read_text()

    wait_for(traded)


def is_gone(pid: int) -> bool:
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip() in ("", "Z")


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.soak),
        pytest.param(signal.SIGKILL, marks=pytest.mark.soak),
    ],
    ids=str,
)
def test_a_run_that_is_stopped_leaves_earlier_results_and_no_processes(number, tmp_path, out):
    bars = synthetic_bars(tmp_path, seed=6)
    with running_day(bars, "--out", out) as process:
        wait_until_traded(process, out / "unfinished.log")
        servers = children_of(process)
        assert len(servers) == 2
        if number is signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=WITHIN_S)
    if number is signal.SIGINT:
        assert process.returncode == 130
        assert errors == "scalper: interrupted; earlier results stay as they were\n"
    else:
        assert (process.returncode, errors) == (-number, "")
    wait_for(lambda: all(is_gone(pid) for pid in servers))
    assert_unchanged(out, "unfinished.log")


@pytest.mark.parametrize("victim", ["exchange", pytest.param("aws", marks=pytest.mark.soak)])
def test_a_server_that_dies_ends_the_run_in_one_line(victim, tmp_path, out):
    bars = synthetic_bars(tmp_path, seed=6)
    with running_day(bars, "--out", out) as process:
        wait_until_traded(process, out / "unfinished.log")
        [pid] = [
            pid
            for pid in children_of(process)
            if victim
            in subprocess.run(
                ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True
            ).stdout.split()
        ]
        os.kill(pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 1
    [line] = errors.splitlines()
    assert "does not answer" in line
    assert str(out / "unfinished.log") in line
    assert_unchanged(out, "unfinished.log")


# --- servers that do not match the run -----------------------------------------------------------


def assert_ends_in_one_line(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    for text in texts:
        assert text in line, line


def test_an_exchange_with_other_keys_is_reported_in_one_line(tmp_path, out):
    bars = synthetic_bars(tmp_path, seed=1, symbols=1)
    with servers(bars, "--key-id", "other", "--secret-key", "keys") as running:
        done = running.run(out)
    assert_ends_in_one_line(done, "refuses the key local-key", "--key-id", "--secret-key")
    assert_unchanged(out, "unfinished.log")


def test_wrong_keys_in_the_secret_are_reported_in_one_line(tmp_path, out):
    bars = synthetic_bars(tmp_path, seed=1, symbols=1)
    with servers(bars) as running:
        client(running, "secretsmanager").create_secret(
            Name="BrokerSecret", SecretString='{"key_id": "wrong", "secret_key": "wrong"}'
        )
        done = running.run(out)
    assert_ends_in_one_line(done, "refuses the keys", "secret BrokerSecret", '"key_id"')


def test_empty_keys_in_the_secret_are_reported_in_one_line(tmp_path, out):
    bars = synthetic_bars(tmp_path, seed=1, symbols=1)
    with servers(bars) as running:
        declared = load_template()["Resources"]["BrokerSecret"]["Properties"]
        client(running, "secretsmanager").create_secret(
            Name="BrokerSecret", SecretString=declared["SecretString"]
        )
        done = running.run(out)
    assert_ends_in_one_line(done, "broker keys are not set", "secret BrokerSecret", '"key_id"')


def test_an_exchange_that_plays_other_bars_is_reported_in_one_line(tmp_path, out):
    bars = synthetic_bars(tmp_path, seed=1, symbols=1)
    other = synthetic_bars(tmp_path, seed=2, symbols=2)
    with servers(other) as running:
        done = Servers(bars, running.exchange_url, running.aws_url).run(out)
    assert_ends_in_one_line(done, "plays other bars", str(HALF_DAY))


def test_an_address_that_does_not_answer_is_reported_in_one_line(tmp_path, out):
    bars = synthetic_bars(tmp_path, seed=1, symbols=1)
    nothing = "http://127.0.0.1:9"
    assert_ends_in_one_line(Servers(bars, nothing, nothing).run(out), "does not answer")
    with started(["exchange", "--port", "0", "--bars", str(bars)]) as exchange_url:
        done = Servers(bars, exchange_url, nothing).run(out)
    assert_ends_in_one_line(done, nothing, "does not answer")
    assert_unchanged(out, "unfinished.log")


def client(running: Servers, service: Any) -> Any:
    """Return a client of the local AWS that ignores the environment."""
    return boto3.client(
        service,
        endpoint_url=running.aws_url,
        region_name=aws.REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


# --- the symbols table ---------------------------------------------------------------------------


@pytest.mark.soak
def test_invalid_rows_are_refused_and_the_other_symbols_trade_unchanged(tmp_path):
    bars = synthetic_bars(tmp_path, seed=6)
    invalid = [
        {"symbol": {"S": "tsla "}},
        {"symbol": {"S": "X" * 300}},
        {"symbol": {"S": "NOPE"}},
        {"symbol": {"S": "AAA"}, "lot": {"S": "abc"}},
        {"symbol": {"S": "BBB"}, "lot": {"N": "-5"}},
        {"symbol": {"S": "CCC"}, "lot": {"N": "0"}},
        {"symbol": {"S": "DDD"}, "colour": {"S": "red"}},
        {"symbol": {"S": "EEE"}, "signal": {"S": "no.such:thing"}},
        {"symbol": {"S": "FFF"}, "enabled": {"S": "yes"}},
    ]
    session = sessions_between(HALF_DAY, HALF_DAY)[HALF_DAY]
    paused_at = session.open + 90 * MINUTE
    put = {
        (session.open + 30 * MINUTE).isoformat(): invalid,
        paused_at.isoformat(): [{"symbol": {"S": "SYN03"}, "lot": {"N": "-5"}}],
    }
    expected, _ = plain_days([bars])
    with servers(bars) as running:
        done = running.drive(tmp_path, put_after=put)
        assert (done.returncode, done.stderr) == (0, "")
        assert_books_hold(running)
        found = trade_rows(running.orders())
    others = [row for row in expected if row[0] != "SYN03"]
    assert [row for row in found if row[0] != "SYN03"] == others
    own = [row for row in found if row[0] == "SYN03"]
    assert own == [row for row in expected if row[0] == "SYN03"][: len(own)]
    until = f"{paused_at + 2 * MINUTE:%Y-%m-%dT%H:%M:%SZ}"
    assert own
    assert all(row[3] <= until for row in own), "an invalid row allows no entry"
    lines = [line for line in log_lines(tmp_path / "driver.log") if "refused" in line["message"]]
    errors = {line.get("error", "") for line in lines}
    for symbol in ("'tsla '", "'XXXX", "AAA", "BBB", "CCC", "DDD", "EEE", "FFF", "SYN03"):
        assert any(symbol in line for line in errors), symbol


def test_the_local_aws_and_exchange_end_on_a_signal_without_output():
    for command in ("aws", "exchange"):
        process = subprocess.Popen(
            [*SCALPER, command, "--port", "0"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        address = process.stdout.readline().split(" on ")[1].split()[0]
        assert httpx.get(f"{address}/").status_code in (200, 404)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=WITHIN_S)
        assert (process.returncode, rest, errors) == (0, "", "")
