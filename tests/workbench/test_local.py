"""The local day is exact: its trades are the plain loop's, row by row and text for text."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.days import (
    assert_books_hold,
    assert_results_are_the_plain_loops,
    log_lines,
    plain_days,
    scalper,
    servers,
    shared_bars,
    synthetic_bars,
    trade_rows,
)


def assert_a_run_is_exact(out: Path, bars: list[Path]) -> None:
    run = scalper("run", *bars, "--out", out)
    assert (run.returncode, run.stderr) == (0, "")
    assert "0 open orders, 0 open positions" in run.stdout
    assert_results_are_the_plain_loops(out, bars)


def test_a_synthetic_day_trades_as_the_rules_say(tmp_path):
    bars = [synthetic_bars(tmp_path, seed=6)]
    assert_a_run_is_exact(tmp_path / "out", bars)


@pytest.mark.soak
def test_a_whole_synthetic_day_trades_as_the_rules_say(tmp_path):
    bars = [synthetic_bars(tmp_path, seed=6, symbols=2, day=date(2024, 11, 27))]
    assert_a_run_is_exact(tmp_path / "out", bars)


@pytest.mark.soak
def test_a_second_session_trades_as_if_there_had_been_no_first(tmp_path):
    """Regression: the second day's ticks saw the first day's DONE, and nothing was entered."""
    day = date(2024, 7, 3)
    bars = [
        synthetic_bars(tmp_path, seed=9, symbols=2),
        synthetic_bars(tmp_path, seed=6, symbols=2, day=day),
    ]
    assert_a_run_is_exact(tmp_path / "out", bars)
    assert f",{day}," in (tmp_path / "out" / "trades.csv").read_text()


@pytest.mark.soak
@pytest.mark.parametrize(
    "names",
    [
        ("2013-10-04",),
        ("2013-10-07",),
        ("2015-12-24",),
        ("2014-06-06", "2014-06-09"),
        ("2015-12-23", "2015-12-24"),
    ],
    ids="+".join,
)
def test_a_real_day_trades_as_the_rules_say_of_each_session_alone(names, tmp_path):
    assert_a_run_is_exact(tmp_path / "out", shared_bars(*names))


@pytest.mark.soak
def test_on_a_half_day_everything_is_sold_before_one_and_nothing_happens_after(tmp_path):
    bars = synthetic_bars(tmp_path, seed=2)
    assert any("T18:3" in line for line in bars.read_text().splitlines()), "bars after the close"
    with servers(bars) as running:
        record = tmp_path / "record.jsonl"
        done = running.drive(tmp_path, record=str(record))
        assert (done.returncode, done.stderr) == (0, "")
        trades, cancels = plain_days([bars])
        assert trade_rows(running.orders()) == trades
        assert_books_hold(running)
        liquidations = [row for row in trades if row[7] == "liquidation"]
        assert liquidations
        assert {row[5] for row in liquidations} <= {f"2024-11-29T17:5{n}:00Z" for n in range(6, 10)}
        _assert_events_are_those_of_aws(record, len(trades))
        requests = running.get("/exchange/state")["requests"]
    log_lines(tmp_path / "driver.log")
    asked = requests.get("GET /v2/orders:by_client_order_id", 0)
    canceled = len(cancels) + len(liquidations)
    # A fill is told; what is asked for one by one is what became of a cancel, and of the market
    # orders of the liquidation, which fill a minute later.
    assert asked <= 4 * canceled
    assert requests["POST /v2/orders"] == 2 * len(trades) + canceled


def _assert_events_are_those_of_aws(record: Path, trades: int) -> None:
    calls: dict[str, list[dict[str, Any]]] = {}
    for line in record.read_text().splitlines():
        call = json.loads(line)
        calls.setdefault(call["handler"], []).append(call)
    assert set(calls) == {
        *("tick.handler", "trade_update.handler", "checkup.handler"),
        *("liquidate.handler", "close_day.handler", "relay.handler"),
    }
    ticks = [call["event"] for call in calls["tick.handler"]]
    assert len(ticks) == 210 + 5, "the schedule does not know half-days"
    assert ticks[0] == {
        "scheduled_time": "2024-11-29T14:31:00Z",
        "shard": 0,
        "shard_count": 1,
    }
    assert [call["event"] for call in calls["liquidate.handler"]] == [
        {"scheduled_time": f"2024-11-29T17:5{n}:00Z"} for n in range(5, 10)
    ]
    assert [call["event"] for call in calls["close_day.handler"]] == [
        {"scheduled_time": "2024-11-29T18:05:00Z"}
    ]
    assert [call["event"] for call in calls["relay.handler"]] == [
        {"scheduled_time": "2024-11-29T14:25:00Z"}
    ]
    for call in calls["checkup.handler"]:
        for one in call["event"]["Records"]:
            assert one["eventSource"] == "aws:sqs"
            assert one["eventSourceARN"].endswith(":CheckupQueue")
            assert one["attributes"]["ApproximateReceiveCount"] == "1"
            assert "armed_at" in json.loads(one["body"])
    fills = 0
    for call in calls["trade_update.handler"]:
        event = call["event"]
        assert event["version"] == "2.0"
        assert event["requestContext"]["http"]["method"] == "POST"
        assert {"webhook-id", "webhook-timestamp", "webhook-signature"} <= set(event["headers"])
        assert call["answer"]["statusCode"] == 200
        answer = json.loads(call["answer"]["body"])
        assert answer["status"] == "taken"
        message = json.loads(event["body"])
        if message["data"]["event"] == "fill":
            assert answer["reason"] in {"bought", "sold", "liquidated", "nothing_new"}
        assert message["stream"] == "trade_updates"
        fills += message["data"]["event"] == "fill"
    assert fills == 2 * trades
