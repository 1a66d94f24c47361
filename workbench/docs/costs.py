"""What a month of the stack costs: the counted requests times AWS's prices, without free tiers.

`bench/costs.py` counts the requests of a local day to AWS. `workbench/docs/pages/costs.py` writes
the page. This module is pure, except that it reads the templates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from scalper.shell.metrics import Metric
from workbench.template.declared import (
    ROOT,
    functions_of,
    load_nested,
    load_template,
    resources_of,
)
from workbench.template.schedules import schedules_of

PRICES_OF = "us-east-1, on demand, noted on 2026-11-23"
PRICE_LIST = "https://aws.amazon.com/pricing/"
MILLION = 1_000_000
GB = 1_000_000_000

PRICES: Mapping[str, tuple[float, str]] = {
    "lambda_gb_s": (0.0000133334, "a GB-second of Lambda, arm64"),
    "lambda_request": (0.20 / MILLION, "an invocation"),
    "snapstart_gb": (4.00, "a GB of a cached SnapStart version, a month"),
    "snapstart_restore": (0.0001397998, "a GB restored from a snapshot"),
    "schedule": (1.00 / MILLION, "an invocation by Scheduler"),
    "write_unit": (0.625 / MILLION, "a DynamoDB write of 1 KB"),
    "read_unit": (0.125 / MILLION, "a DynamoDB read of 4 KB, consistent"),
    "sqs_request": (0.40 / MILLION, "an SQS request"),
    "log_gb": (0.50, "a GB of logs"),
    "metric": (0.30, "a custom metric, a month"),
    "alarm": (0.10, "a metric that an alarm watches, a month"),
    "composite": (0.50, "a composite alarm, a month"),
    "dashboard": (3.00, "a dashboard, a month"),
    "secret": (0.40, "a secret, a month"),
    "secret_request": (5.00 / MILLION, "a request for a secret"),
}

SESSIONS = 21
"""Sessions of a month."""

ONE_CPU_MB = 1769
"""Lambda gives a whole processor from this many MB on, and a proportional part below.

(https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)
"""

BAR_WAIT_S = 3.0
"""How long a tick waits: its message comes up to 1 s early, and its bars arrive some 2 s late."""

RESTORES = 26
"""How often Lambda restores the snapshot in a session: an idle environment lasts 15 minutes."""

RUNS_A_TICK = 2
"""A minute's runs: the tick that a message started, and Scheduler's, which finds it claimed.

The second run reads what a tick reads, and it also arms the coming minute.
"""

PLATFORM_LOG_BYTES = 300
"""Bytes of the lines START, END and REPORT of an invocation."""

REQUESTS_A_MESSAGE = 3
"""To send, to receive and to delete it."""

POLLS_A_MINUTE = 15
"""Polls of an empty queue: Lambda holds five long polls of 20 s.

(https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html)
"""

MINUTES_A_MONTH = 43_800

# The relay: one run holds the lease through market hours. A run that finds it held watches it for a
# while and leaves.
RELAY_HOURS = 6.6
RELAY_LOOK_S = 20.0
RELAY_RENEW_S = 5.0
RELAY_POLL_S = 1.0

_MONDAY = datetime(2026, 3, 2, tzinfo=ZoneInfo("America/New_York"))


@dataclass(frozen=True, slots=True)
class LineItem:
    """One line of the bill, in dollars a month."""

    what: str
    dollars: float


@dataclass(frozen=True, slots=True)
class DeclaredStack:
    """What the templates declare and AWS bills even if nothing happens."""

    memory_mb: Mapping[str, int]
    """By handler module, such as "tick"."""
    snapstart_gb: float
    polled_queues: int
    schedule_runs: Mapping[str, int]
    """Invocations by Scheduler on a weekday, by handler module."""
    alarms: int
    composites: int
    dashboards: int
    secrets: int
    metrics: int


@cache
def declared_stack(root: Path = ROOT) -> DeclaredStack:
    """Return what the templates and sources below `root` declare, read once a process."""
    main = load_template(root)
    functions = functions_of(main)
    templates = (main, *load_nested(root).values())

    def of_type(kind: str) -> list[dict[str, Any]]:
        return [one for each in templates for one in resources_of(each, kind).values()]

    return DeclaredStack(
        memory_mb={name: one.memory_mb for name, one in functions.items()},
        snapstart_gb=sum(one.memory_mb for one in functions.values() if one.has_snapstart) / 1024,
        polled_queues=sum(
            event["Type"] == "SQS" for one in functions.values() for event in one.events
        ),
        schedule_runs=_runs_of_a_weekday(main),
        alarms=sum(_watched(one) for one in of_type("AWS::CloudWatch::Alarm")),
        composites=len(of_type("AWS::CloudWatch::CompositeAlarm")),
        dashboards=len(of_type("AWS::CloudWatch::Dashboard")),
        secrets=len(of_type("AWS::SecretsManager::Secret")),
        metrics=len(Metric),
    )


def month_of(day: Mapping[str, Any], declared: DeclaredStack) -> list[LineItem]:
    """Return the bill of a month whose sessions are all like the counted day.

    `day` is a document of `bench/costs.py`: the requests of a session to AWS, by kind.
    """
    bill = {name: price for name, (price, _) in PRICES.items()}
    ticks = day["invocations"].get("tick", 0)
    runs = {name: count * SESSIONS for name, count in day["invocations"].items()}
    late_runs = (RUNS_A_TICK - 1) * ticks * SESSIONS
    relay_runs = declared.schedule_runs.get("relay", 0) * SESSIONS
    held_s = RELAY_HOURS * 3600 * SESSIONS
    looked_s = relay_runs * RELAY_LOOK_S
    gb_s = sum(
        _billed_s(name, day, declared) * SESSIONS * declared.memory_mb[name] / 1024 for name in runs
    )
    relay_gb_s = (held_s + looked_s) * declared.memory_mb["relay"] / 1024
    writes = day["write_units"] * SESSIONS + held_s / RELAY_RENEW_S
    reads = day["read_units"] * RUNS_A_TICK * SESSIONS + looked_s / RELAY_POLL_S
    invocations = sum(runs.values()) + relay_runs + late_runs
    messages = (day["messages"] + RUNS_A_TICK * ticks) * SESSIONS * REQUESTS_A_MESSAGE
    polls = declared.polled_queues * POLLS_A_MINUTE * MINUTES_A_MONTH
    logs = day["log_bytes"] * SESSIONS + invocations * PLATFORM_LOG_BYTES
    scheduled = sum(declared.schedule_runs.values()) * SESSIONS
    watched = bill["alarm"] * declared.alarms + bill["composite"] * declared.composites
    secrets = bill["secret"] * declared.secrets
    return [
        LineItem("Lambda: the functions", bill["lambda_gb_s"] * gb_s),
        LineItem("Lambda: the relay", bill["lambda_gb_s"] * relay_gb_s),
        LineItem("Lambda: invocations", bill["lambda_request"] * invocations),
        LineItem(
            "Lambda: SnapStart",
            declared.snapstart_gb
            * (bill["snapstart_gb"] + bill["snapstart_restore"] * RESTORES * SESSIONS),
        ),
        LineItem("DynamoDB: writes", bill["write_unit"] * writes),
        LineItem("DynamoDB: reads", bill["read_unit"] * reads),
        LineItem("SQS", bill["sqs_request"] * (messages + polls)),
        LineItem("Scheduler", bill["schedule"] * scheduled),
        LineItem("CloudWatch: logs", bill["log_gb"] * logs / GB),
        LineItem("CloudWatch: metrics", bill["metric"] * declared.metrics),
        LineItem("CloudWatch: alarms", watched),
        LineItem("CloudWatch: dashboard", bill["dashboard"] * declared.dashboards),
        LineItem(
            "Secrets Manager", secrets + bill["secret_request"] * day["secret_requests"] * SESSIONS
        ),
    ]


def write_units(size: int) -> int:
    """Return the units of a write of an item of this many bytes, even if AWS refuses it."""
    return max(1, ceil(size / 1024))


def read_units(size: int) -> int:
    """Return the units of a consistent read of this many bytes; none takes a unit, too."""
    return max(1, ceil(size / 4096))


def item_size(item: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the bytes of an item as DynamoDB counts them, its attributes with their types.

    Names and texts by their UTF-8 bytes, numbers by about a byte for two digits and one more,
    Booleans and nulls one.
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html)
    """
    return sum(len(name.encode()) + _value_size(typed) for name, typed in item.items())


def _value_size(typed: Mapping[str, Any]) -> int:
    [(kind, value)] = typed.items()
    if kind == "S":
        return len(value.encode())
    if kind == "N":
        return ceil(len(value.strip("-").replace(".", "")) / 2) + 1
    if kind in ("BOOL", "NULL"):
        return 1
    raise ValueError(f"an attribute of type {kind}: no table has any")


def _billed_s(name: str, day: Mapping[str, Any], declared: DeclaredStack) -> float:
    """Return the seconds that a function's runs of a day take on Lambda.

    The measured seconds used a whole processor. Lambda gives less, so the same work takes longer.
    """
    slower = max(1.0, ONE_CPU_MB / declared.memory_mb[name])
    if name != "tick":
        return float(day["seconds"][name]) * slower
    waits = BAR_WAIT_S * int(day["invocations"][name])
    return float(day["seconds"][name]) * RUNS_A_TICK * slower + waits


def _runs_of_a_weekday(template: Mapping[str, Any]) -> dict[str, int]:
    minutes = [_MONDAY + timedelta(minutes=n) for n in range(24 * 60)]
    runs: dict[str, int] = {}
    for schedule in schedules_of(template):
        name = schedule.handler.split(".")[0]
        runs[name] = runs.get(name, 0) + sum(schedule.is_due(minute) for minute in minutes)
    return runs


def _watched(alarm: Mapping[str, Any]) -> int:
    """Return how many metrics an alarm watches: one, or those of its expression."""
    return sum("MetricStat" in one for one in alarm.get("Metrics", ())) or 1
