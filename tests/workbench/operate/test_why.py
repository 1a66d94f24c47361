"""`scalper why`: what the logs say of a symbol around a time, in words."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from scalper.core.model import Reason
from scalper.core.order import OrderReport
from scalper.core.session import new_york_text
from scalper.shell.telemetry import logger
from tests.shell.conftest import Records
from tests.shell.fakes import OPEN, PRICE, Desk, client_id, minute
from tests.workbench.operate.system import OneStack
from workbench.cli.app import app
from workbench.cli.shared import deployed
from workbench.operate import logs
from workbench.operate.deployed_stack import DeployedStack, OperateError, StackResource
from workbench.operate.logs import read_lines
from workbench.operate.why import Explanation, explain, period, words_of

WRITTEN = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
"""When a simulated day's log was written, long after its events."""


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    log = logging.getLogger("scalper")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.trade("AAA", "BBB")
    return desk


def written(records: Records) -> list[str]:
    """Return the records as the functions' logger writes them."""
    formatter = logger.registered_formatter
    return [formatter.format(record) for record in records.all]


def line(message: str, number: int = 0, *, level: str = "INFO", **fields: Any) -> str:
    """Return a line of the log, the `number`-th millisecond after the others."""
    stamp = f"{WRITTEN + timedelta(milliseconds=number):%Y-%m-%d %H:%M:%S},{number:03d}+0000"
    return json.dumps({"level": level, "message": message, "timestamp": stamp, **fields})


def unchanged(number: int, **reasons: list[str]) -> str:
    """Return the line of the tick of a minute after the open that changed nothing."""
    at = minute(number).isoformat()
    return line("nothing changed", number, reasons=reasons, event_at=at)


def why(texts: list[str], number: int, symbol: str = "AAA") -> Explanation:
    """Return the explanation of a minute after the open, and nothing around it."""
    return explain(read_lines(texts), symbol, minute(number), minute(number + 1))


def reasons(found: Explanation) -> list[tuple[str, str]]:
    return [(one.event, one.reason) for one in found.statements]


# --- what ticks and events say -------------------------------------------------------------------


def test_a_symbol_without_a_signal_is_explained(desk: Desk, records: Records) -> None:
    desk.stop_entries()
    desk.tick(1)
    found = why(written(records), 1)
    assert reasons(found) == [("tick", "no_signal")]
    assert found.statements[0].words == "The bar gave no signal."
    assert found.next_step == ""


def test_a_halt_of_the_account_is_explained(desk: Desk, records: Records) -> None:
    desk.store.halt_account("looking")
    desk.tick(1)
    assert reasons(why(written(records), 1)) == [("tick", "account_halted")]


def test_an_external_order_is_explained_as_the_entry_that_it_blocked(
    desk: Desk, records: Records
) -> None:
    desk.broker.put("AAA", "by-hand")
    desk.tick(1)
    said = set(reasons(why(written(records), 1)))
    assert said >= {("entry blocked", "external_order"), ("tick", "external_order")}
    assert {reason for _, reason in reasons(why(written(records), 1, "BBB"))} >= {"buy_signal"}


def test_a_day_is_told_with_its_orders_and_its_last_phase(desk: Desk, records: Records) -> None:
    desk.tick(1)
    desk.update(desk.broker.fill(client_id(1), PRICE), minute(1.5), PRICE)
    found = why(written(records), 1)
    assert [one.reason for one in found.statements] == [
        "buy_signal",
        "still_working",
        "bought",
        "still_working",
    ]
    assert (found.statements[2].phase_from, found.statements[2].phase_to) == (
        "BUY_SUBMITTED",
        "SELL_SUBMITTED",
    )
    assert found.phase is not None
    assert (found.phase.name, found.phase.since) == ("SELL_SUBMITTED", minute(1.5))


def test_a_phase_of_later_lines_is_not_told(desk: Desk, records: Records) -> None:
    desk.tick(1)
    desk.update(desk.broker.fill(client_id(1), PRICE), minute(5), PRICE)
    found = why(written(records), 2)
    assert found.phase is not None
    assert (found.phase.name, found.phase.since) == ("BUY_SUBMITTED", minute(1))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_order_id": "by-hand"}, "external_order"),
        ({"client_order_id": client_id(1).replace("paper", "live")}, "other_mode"),
        ({"client_order_id": client_id(9)}, "unknown_order"),
        ({"broker_id": "of-another-account"}, "other_account"),
        ({}, "nothing_new"),
    ],
    ids=str,
)
def test_an_event_that_was_not_acted_on_is_explained(
    desk: Desk, records: Records, changes: dict[str, Any], reason: str
) -> None:
    desk.tick(1)
    report: OrderReport = desk.broker.fill(client_id(1), PRICE)
    if not changes:
        desk.update(report, minute(2), PRICE)
    records.clear()
    desk.broker.now = minute(2)
    desk.update(replace(report, **changes), minute(2), PRICE)
    lines = read_lines(written(records))
    [statement] = explain(lines, "AAA", OPEN - timedelta(days=9), datetime.now(UTC)).statements
    assert statement.reason == reason
    assert words_of(reason) in statement.words


def test_what_failed_is_told_with_its_error(desk: Desk, records: Records) -> None:
    desk.tick(1)
    desk.store.down.add("save")
    desk.update(desk.broker.fill(client_id(1), PRICE), minute(1.5), PRICE)
    [failed] = [one for one in why(written(records), 1).statements if "failed" in one.event]
    assert (failed.event, failed.reason) == ("symbol failed", "")
    assert "does not answer" in failed.words


# --- lines that name no symbol -------------------------------------------------------------------


def test_alarms_without_a_symbol_are_told_and_other_lines_are_not() -> None:
    texts = [
        unchanged(1, no_signal=["AAA"]),
        line("request failed", 2, level="ERROR", what="bars", error="HTTP 500 [gateway]"),
        line("lease taken", 3, token=1),
        line("not flat", 4, level="ERROR", symbols=["BBB"]),
        line("symbol refused", 5, level="WARNING", error="BBB: lot 'x' is not a number"),
        line("symbol refused", 6, level="WARNING", error="AAA: lot 'x' is not a number"),
    ]
    found = why(texts, 1)
    assert [(one.event, one.words) for one in found.statements] == [
        ("tick", "The bar gave no signal."),
        ("request failed", "bars, HTTP 500 [gateway]"),
        ("symbol refused", "AAA: lot 'x' is not a number"),
    ]


def test_a_line_without_an_events_time_takes_that_of_the_line_written_nearest() -> None:
    texts = [
        unchanged(5, no_bar=["AAA"]),
        line("clock skew", 6, level="ERROR", skew_s=3.5),
        line("entry blocked", 19, level="WARNING", symbol="AAA", reason="broker_unread"),
        unchanged(20, broker_unread=["AAA"]),
    ]
    assert [one.at for one in read_lines(texts)] == [
        minute(5),
        minute(5) + timedelta(milliseconds=1),
        minute(20),
        minute(20),
    ]
    assert reasons(why(texts, 5)) == [("tick", "no_bar"), ("clock skew", "")]
    assert reasons(why(texts, 20)) == [
        ("entry blocked", "broker_unread"),
        ("tick", "broker_unread"),
    ]
    [alone] = read_lines([line("clock skew", 6)])
    assert alone.at == WRITTEN + timedelta(milliseconds=6)


def test_what_is_no_line_of_the_logger_is_left_out() -> None:
    texts = ["START RequestId: 1", "{", "[]", '{"_aws": {}}', '{"message": "x", "timestamp": "?"}']
    assert read_lines([*texts, unchanged(1, no_bar=["AAA"])])[0].message == "nothing changed"
    assert len(read_lines([*texts, unchanged(1, no_bar=["AAA"])])) == 1


def test_every_reason_has_words_and_a_newer_versions_reason_does_no_harm() -> None:
    assert all(len(words_of(reason)) > 10 for reason in Reason)
    assert why([unchanged(1, made_up=["AAA"])], 1).statements[0].words == words_of("made_up")


# --- nothing is said -----------------------------------------------------------------------------


def test_a_symbol_that_no_tick_names_is_looked_for_in_the_table() -> None:
    found = why([unchanged(1, no_signal=["BBB"])], 1)
    assert found.statements == ()
    assert "enabled row in the symbols table" in found.next_step


def test_a_time_without_any_line_is_answered_with_what_the_log_covers() -> None:
    found = why([unchanged(1, no_signal=["AAA"]), unchanged(9, no_signal=["AAA"])], 30)
    assert f"{new_york_text(minute(1))} to " in found.next_step
    assert "--at" in found.next_step
    assert "scalper doctor" in why([], 30).next_step


@pytest.mark.parametrize(
    ("at", "since", "until"),
    [
        ("09:31", minute(-1), minute(4)),
        ("09:31:30", minute(-1) + timedelta(seconds=30), minute(4) + timedelta(seconds=30)),
        (minute(1).isoformat(), minute(-1), minute(4)),
        ("", minute(55), minute(60) + timedelta(seconds=1)),
    ],
)
def test_a_time_is_of_the_logs_last_day_or_a_whole_one(
    at: str, since: datetime, until: datetime
) -> None:
    assert minute(0) == OPEN
    assert period(at, 2, minute(60)) == (since, until)


@pytest.mark.parametrize("at", ["soon", "25:00", "2026-07-01", "2026-07-01T10:31:00"])
def test_a_time_that_is_none_is_refused(at: str) -> None:
    with pytest.raises(OperateError, match="give a New York time such as 10:31"):
        period(at, 2, minute(60))


# --- the command ---------------------------------------------------------------------------------


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["why", *arguments])


def refused(result: Result) -> str:
    """Return the one line that the command says on standard error before it ends with 2."""
    assert (result.exit_code, result.stdout) == (2, "")
    [said] = result.stderr.splitlines()
    return str(said)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "console.log"
    texts = [unchanged(n, no_signal=["AAA"]) for n in range(1, 10)]
    path.write_text("\n".join([*texts, unchanged(10, no_bar=["AAA", "BBB"])]) + "\n")
    return path


def test_the_minutes_around_a_time_are_shown(log: Path) -> None:
    result = run("aaa", "--log", str(log), "--at", new_york_text(minute(9)))
    assert (result.exit_code, result.stderr) == (0, "")
    head, *rows = result.stdout.splitlines()
    assert head.startswith(f"AAA, {OPEN:%Y-%m-%d}, {new_york_text(minute(7))} to ")
    assert " ".join(" ".join(rows).split()) == " ".join(
        [
            f"{new_york_text(minute(7))} to {new_york_text(minute(9))} tick "
            "no_signal: The bar gave no signal.",
            f"{new_york_text(minute(10))} tick no_bar: {words_of('no_bar')}",
        ]
    )


def test_without_a_time_the_end_of_the_log_is_shown_and_json_has_each_line(log: Path) -> None:
    shown = json.loads(run("AAA", "--log", str(log), "--json").stdout)
    assert [one["reason"] for one in shown["statements"]] == ["no_signal"] * 5 + ["no_bar"]
    assert (shown["symbol"], shown["phase"], shown["next_step"]) == ("AAA", None, "")
    assert shown["statements"][-1]["at"] == minute(10).isoformat()


def test_the_log_of_the_last_run_is_read_with_local(
    log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "out/run/console.log: No such file" in refused(run("AAA", "--local"))
    (tmp_path / "out/run").mkdir(parents=True)
    log.rename(tmp_path / "out/run/console.log")
    assert "no_bar" in run("AAA", "--local").stdout


def test_what_cannot_be_asked_ends_with_one_line(log: Path, tmp_path: Path) -> None:
    assert "give a symbol such as TSLA" in refused(run("not/a/symbol", "--log", str(log)))
    assert "--at noon: give" in refused(run("AAA", "--log", str(log), "--at", "noon"))
    assert "scalper run writes a log" in refused(run("AAA", "--log", str(tmp_path / "none")))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refused(run("AAA", "--log", str(tmp_path / "binary")))


# --- CloudWatch Logs -----------------------------------------------------------------------------

GROUPS = ("/scalper/tick", "/scalper/trade-update")


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeployedStack]:
    """Return a stack with two log groups, whose functions wrote a minute ago."""
    resources = {
        f"Logs{n}": StackResource("AWS::Logs::LogGroup", name) for n, name in enumerate(GROUPS)
    }
    made = DeployedStack("scalper", "CREATE_COMPLETE", "us-east-1", resources=resources)
    monkeypatch.setattr(deployed, "stack_lookup", OneStack(made))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with mock_aws():
        client = boto3.client("logs")
        for group in GROUPS:
            client.create_log_group(logGroupName=group)
            client.create_log_stream(logGroupName=group, logStreamName="one")
        yield made


def put(group: str, at: datetime, message: str, **fields: Any) -> None:
    """Write a line as a function does, at the time of its event."""
    stamp = f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d}+0000"
    text = {"level": "INFO", "message": message, "timestamp": stamp, **fields}
    boto3.client("logs").put_log_events(
        logGroupName=group,
        logStreamName="one",
        logEvents=[{"timestamp": int(at.timestamp() * 1000), "message": json.dumps(text)}],
    )


@pytest.mark.usefixtures("stack")
def test_the_logs_of_all_functions_of_a_stack_are_read() -> None:
    now = datetime.now(UTC)
    before = now - timedelta(minutes=1)
    put(
        GROUPS[1],
        before - timedelta(seconds=5),
        "decision",
        symbol="TSLA",
        event="OrderSeen",
        phase_from="BUY_SUBMITTED",
        phase_to="SELL_SUBMITTED",
        reason="bought",
        event_at=(before - timedelta(seconds=5)).isoformat(),
    )
    put(
        GROUPS[0],
        before,
        "nothing changed",
        reasons={"still_working": ["AAPL", "TSLA"]},
        event_at=before.isoformat(),
    )
    shown = json.loads(run("TSLA", "--json").stdout)
    assert [(one["event"], one["reason"]) for one in shown["statements"]] == [
        ("order", "bought"),
        ("tick", "still_working"),
    ]
    assert shown["phase"]["name"] == "SELL_SUBMITTED"
    assert "still_working" in run("TSLA").stdout


@pytest.mark.usefixtures("stack")
def test_a_stack_that_wrote_nothing_then_says_what_to_look_at() -> None:
    result = run("TSLA", "--at", datetime.now(UTC).isoformat())
    assert result.exit_code == 0
    assert "scalper doctor" in " ".join(result.stdout.split())


def test_what_cloudwatch_refuses_ends_with_one_line(
    stack: DeployedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3.client("logs").delete_log_group(logGroupName=GROUPS[0])
    assert "ResourceNotFoundException" in refused(run("TSLA"))
    monkeypatch.setattr(
        deployed, "stack_lookup", OneStack(DeployedStack("scalper", "", "us-east-1"))
    )
    assert "has no log group" in refused(run("TSLA"))
    assert "no stack another" in refused(run("TSLA", "--stack", "another"))


@pytest.mark.usefixtures("stack")
def test_logs_that_are_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_PAGES", 0)
    assert "ask for fewer --minutes" in refused(run("TSLA"))


def test_a_stack_by_the_brokers_clock_is_read_whatever_the_time(
    stack: DeployedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = DeployedStack(
        "scalper", "", "us-east-1", parameters={"Clock": "broker"}, resources=stack.resources
    )
    monkeypatch.setattr(deployed, "stack_lookup", OneStack(simulated))
    put(
        GROUPS[0],
        datetime.now(UTC) - timedelta(days=2),
        "nothing changed",
        reasons={"no_bar": ["TSLA"]},
        event_at=minute(1).isoformat(),
    )
    assert "no_bar" in run("TSLA", "--at", minute(1).isoformat()).stdout
