"""The month's bill: DynamoDB's units, prices times counts, and what the templates declare."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.costs import Tally
from scalper.shell.metrics import Metric
from tests.template.metrics import emitted
from workbench.docs import costs
from workbench.docs.costs import DeclaredStack, item_size, month_of, read_units, write_units
from workbench.template.declared import functions

ROOT = Path(__file__).parents[2]
NOTHING = DeclaredStack(
    memory_mb={"tick": 1769, "relay": 1024},
    snapstart_gb=0.0,
    polled_queues=0,
    schedule_runs={},
    alarms=0,
    composites=0,
    dashboards=0,
    secrets=0,
    metrics=0,
)
IDLE: dict[str, Any] = {
    "write_units": 0,
    "read_units": 0,
    "messages": 0,
    "secret_requests": 0,
    "log_bytes": 0,
    "invocations": {},
    "seconds": {},
}


@pytest.mark.parametrize(
    ("size", "writes", "reads"),
    [(0, 1, 1), (1024, 1, 1), (1025, 2, 1), (4096, 4, 1), (4097, 5, 2)],
)
def test_a_unit_is_1_kb_written_or_4_kb_read(size: int, writes: int, reads: int) -> None:
    assert (write_units(size), read_units(size)) == (writes, reads)


def test_an_item_is_as_long_as_its_names_and_values() -> None:
    assert item_size({"pk": {"S": "state"}}) == 2 + 5
    assert item_size({"pk": {"S": "ä"}}) == 2 + 2
    assert item_size({"n": {"N": "-12.345"}}) == 1 + 4
    assert item_size({"b": {"BOOL": True}, "x": {"NULL": True}}) == 4
    with pytest.raises(ValueError, match="type L"):
        item_size({"x": {"L": []}})


def bill(day: dict[str, Any], declared: DeclaredStack) -> dict[str, float]:
    """Return the lines that are above those of a day on which nothing is asked."""
    before = {line.what: line.dollars for line in month_of(IDLE, NOTHING)}
    after = {line.what: line.dollars for line in month_of(day, declared)}
    assert before.keys() == after.keys()
    return {
        what: round(after[what] - before[what], 9)
        for what in after
        if abs(after[what] - before[what]) > 1e-9
    }


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"write_units": 1_000_000}, {"DynamoDB: writes": 21 * 0.625}),
        ({"read_units": 1_000_000}, {"DynamoDB: reads": 21 * 2 * 0.125}),
        ({"messages": 1_000_000}, {"SQS": 21 * 3 * 0.40}),
        ({"log_bytes": 1_000_000_000}, {"CloudWatch: logs": 21 * 0.50}),
        ({"secret_requests": 10_000}, {"Secrets Manager": 21 * 0.05}),
    ],
)
def test_what_is_asked_in_a_session_is_billed_for_21(
    asked: dict[str, int], line: dict[str, float]
) -> None:
    assert bill({**IDLE, **asked}, NOTHING) == pytest.approx(line)


def test_a_functions_seconds_are_billed_by_its_memory() -> None:
    day = {**IDLE, "invocations": {"tick": 1000}, "seconds": {"tick": 500.0}}
    # Two runs of half a second at a whole processor, and three seconds of waiting in one.
    gb_s = 21 * 1000 * 4.0 * 1769 / 1024
    lines = bill(day, NOTHING)
    assert lines["Lambda: the functions"] == pytest.approx(gb_s * 0.0000133334)
    assert lines["Lambda: invocations"] == pytest.approx(42_000 * 0.20 / 1e6)
    assert lines["SQS"] == pytest.approx(42_000 * 3 * 0.40 / 1e6)
    half = replace(NOTHING, memory_mb={**NOTHING.memory_mb, "tick": 1769 // 2})
    slower = bill(day, half)["Lambda: the functions"]
    assert slower == pytest.approx((21 * 1000 * 5.0 * 884 / 1024) * 0.0000133334, rel=1e-2)


def test_the_relay_is_billed_for_market_hours_and_for_each_watch() -> None:
    lines = {line.what: line.dollars for line in month_of(IDLE, NOTHING)}
    assert lines["Lambda: the relay"] == pytest.approx(21 * 6.6 * 3600 * 0.0000133334)
    started = bill(IDLE, replace(NOTHING, schedule_runs={"relay": 400}))
    assert started["Lambda: the relay"] == pytest.approx(21 * 400 * 20 * 0.0000133334)
    assert started["Scheduler"] == pytest.approx(21 * 400 / 1e6)


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        ({"metrics": 10}, {"CloudWatch: metrics": 3.0}),
        ({"alarms": 10, "composites": 1}, {"CloudWatch: alarms": 1.5}),
        ({"dashboards": 1}, {"CloudWatch: dashboard": 3.0}),
        ({"secrets": 2}, {"Secrets Manager": 0.8}),
        ({"snapstart_gb": 1.0}, {"Lambda: SnapStart": 4.0 + 21 * 26 * 0.0001397998}),
        ({"polled_queues": 1}, {"SQS": 15 * 43_800 * 0.40 / 1e6}),
    ],
)
def test_what_is_declared_is_billed_even_if_nothing_happens(
    declared: dict[str, Any], line: dict[str, float]
) -> None:
    assert bill(IDLE, replace(NOTHING, **declared)) == pytest.approx(line)


def test_what_the_templates_declare_is_found() -> None:
    found = costs.declared_stack()
    assert found.memory_mb.keys() == functions().keys()
    assert found.schedule_runs["tick"] == 390
    assert found.schedule_runs["liquidate"] == 10
    assert found.schedule_runs["close_day"] == 2
    assert (found.secrets, found.polled_queues) == (2, 2)
    assert found.dashboards >= 1
    assert found.metrics == len(emitted(ROOT / "functions"))


def test_a_stack_is_read_with_its_nested_templates(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text((ROOT / "template.yaml").read_text())
    (tmp_path / "infrastructure").mkdir()
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "A"}}
    watched = {"Metrics": [{"MetricStat": {}}, {"MetricStat": {}}, {"Expression": "a"}]}
    resources = {
        "One": alarm,
        "Two": {"Type": "AWS::CloudWatch::Alarm", "Properties": watched},
        "Page": {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": {}},
    }
    text = json.dumps({"Resources": resources})
    (tmp_path / "infrastructure/alarms.yaml").write_text(text)
    found = costs.declared_stack(tmp_path)
    assert (found.alarms, found.composites, found.dashboards) == (3, 1, 0)


# --- counting ------------------------------------------------------------------------------------


def counted(service: str, operation: str, asked: dict[str, Any], answer: Any) -> dict[str, float]:
    tally = Tally(phase="session")
    tally.request(service, operation, asked, answer)
    return tally.counts.get("session", {})


ITEM = {"pk": {"S": "state#paper"}, "sk": {"S": "0#AAA"}, "document": {"S": "x" * 2000}}
KEY = {"pk": ITEM["pk"], "sk": ITEM["sk"]}


@pytest.mark.parametrize(
    ("service", "operation", "asked", "answer", "counts"),
    [
        ("dynamodb", "PutItem", {"TableName": "t", "Item": ITEM}, {}, {"write_units": 2}),
        ("dynamodb", "PutItem", {"TableName": "t", "Item": ITEM}, None, {"write_units": 2}),
        ("dynamodb", "GetItem", {"TableName": "t", "Key": KEY}, {"Item": ITEM}, {"read_units": 1}),
        ("dynamodb", "GetItem", {"TableName": "t", "Key": KEY}, {}, {"read_units": 1}),
        ("dynamodb", "Query", {"TableName": "t"}, {"Items": [ITEM] * 3}, {"read_units": 2}),
        ("dynamodb", "Scan", {"TableName": "t"}, {"Items": []}, {"read_units": 1}),
        ("dynamodb", "DescribeTable", {"TableName": "t"}, {}, {}),
        ("sqs", "SendMessage", {}, {}, {"messages": 1}),
        ("sqs", "ReceiveMessage", {}, {}, {}),
        ("secretsmanager", "GetSecretValue", {}, {}, {"secret_requests": 1}),
    ],
)
def test_a_request_is_counted_as_it_is_billed(service, operation, asked, answer, counts) -> None:
    assert counted(service, operation, asked, answer) == counts


def test_a_projection_is_billed_for_the_whole_item() -> None:
    tally = Tally(phase="session")
    tally.request("dynamodb", "PutItem", {"TableName": "t", "Item": ITEM}, {})
    tally.request("dynamodb", "Query", {"TableName": "t"}, {"Items": [KEY] * 3})
    assert tally.counts["session"]["read_units"] == 2


def test_a_request_without_a_known_price_is_refused() -> None:
    with pytest.raises(ValueError, match="TransactWriteItems: no price is known"):
        counted("dynamodb", "TransactWriteItems", {"TableName": "t"}, {})


def test_nothing_counts_before_the_day_begins() -> None:
    tally = Tally()
    tally.request("sqs", "SendMessage", {}, {})
    assert tally.counts == {}


def test_the_log_is_counted_and_the_metrics_in_it_noted() -> None:
    tally = Tally(phase="session")
    line = {"_aws": {"CloudWatchMetrics": [{"Metrics": [{"Name": "Heartbeat"}]}]}, "Heartbeat": 1}
    tally.log_written(json.dumps(line))
    tally.log_written("äöü")
    assert tally.metrics == {"Heartbeat"}
    assert tally.counts["session"]["log_bytes"] == len(json.dumps(line)) + 6


def test_what_was_recorded_covers_the_sizes_that_the_docs_promise() -> None:
    days = json.loads((ROOT / "bench/results/costs.json").read_text())["days"]
    assert [day["symbols"] for day in days] == [10, 100, 1000]
    assert all(day["metrics_sent"] for day in days)
    known = {metric.value for metric in Metric}
    assert all(set(day["metrics_sent"]) <= known for day in days)
