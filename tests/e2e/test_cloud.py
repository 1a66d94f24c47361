"""The deployed stack on the emulator: schedules fire and processes die.

One session's last minutes, a second a second, once for all tests: ticks, entries and exits through
the relay and the Function URL, a second deployment meanwhile, the relay killed, the liquidation,
the day's summary, and everything torn down.
"""

import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from scalper.core.order import ClientOrderId, Purpose
from scalper.core.session import NEW_YORK
from scalper.shell.trading.batch import CHECKUP_DELAY_S
from workbench.cloud.emulated_stack import (
    FUNCTIONS,
    EmulatedStack,
    Snapshot,
    TradingOptions,
    trading_stack,
)
from workbench.cloud.sam_stack import NAME
from workbench.results.trades import own_orders

PYTHON = os.environ.get("CLOUD_PYTHON", "")
pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(not PYTHON, reason="eight minutes with the emulator's Python: make e2e"),
]

START = "15:50"
SEED = 3
"""Bars on which several symbols are entered in each of these minutes."""

RELAY_KILLED_AT = "15:53:50"
TICKS = 3
POLL_EVERY_S = 0.5
DISPATCHED = re.compile(r"EventBridge . Lambda (\S+): dispatched")


log = logging.getLogger(__name__)


@dataclass(slots=True)
class Played:
    """What the session showed."""

    changed_by_second_deployment: bool = True
    unsigned: int = 0
    resources: list[Mapping[str, Any]] = field(default_factory=list)
    alarms: set[str] = field(default_factory=set)
    dashboards: set[str] = field(default_factory=set)
    killed: int = 0
    listening_after_kill: int = -1
    killed_at: datetime | None = None
    flat: Snapshot | None = None
    last: Snapshot | None = None
    logs: dict[str, list[str]] = field(default_factory=dict)
    dispatched: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    stack_after_deletion: str = ""
    left_running: list[int] = field(default_factory=list)


def until(what: str, within_s: float, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(POLL_EVERY_S)


def wall(cloud: EmulatedStack, text: str) -> datetime:
    """Return the New York time `text` of the session's day, "15:53:50"."""
    now = datetime.fromisoformat(cloud.get("/exchange/state")["now"]).astimezone(NEW_YORK)
    hour, minute, second = (int(part) for part in text.split(":"))
    return now.replace(hour=hour, minute=minute, second=second, microsecond=0)


def leap_to(cloud: EmulatedStack, text: str) -> None:
    now = datetime.fromisoformat(cloud.get("/exchange/state")["now"])
    cloud.clock.leap(max(wall(cloud, text) - now, timedelta(0)))


def wait_for(cloud: EmulatedStack, at: datetime) -> None:
    def reached() -> bool:
        cloud.clock.check()
        return datetime.fromisoformat(cloud.get("/exchange/state")["now"]) >= at

    until(f"the session's {at:%H:%M:%S}", 600, reached)


def resources_of(cloud: EmulatedStack, stack: str) -> list[Mapping[str, Any]]:
    """Return the resources of a stack and of those nested in it."""
    client = cloud.emulator.client("cloudformation")
    found = client.describe_stack_resources(StackName=stack)["StackResources"]
    nested = [one for one in found if one["ResourceType"] == "AWS::CloudFormation::Stack"]
    return [*found, *(r for n in nested for r in resources_of(cloud, n["PhysicalResourceId"]))]


def members_of(group: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(entry.name)) == group:
                found.append(int(entry.name))
        except ProcessLookupError:
            continue
    return found


def play(cloud: EmulatedStack, seen: Played) -> None:
    seen.outputs = cloud.outputs
    seen.unsigned = httpx.post(
        cloud.outputs["WebhookUrl"], content=b"{}", timeout=60, trust_env=False
    ).status_code
    seen.resources = resources_of(cloud, NAME)
    watch = cloud.emulator.client("cloudwatch")
    described = watch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"], MaxRecords=100)
    seen.alarms = {
        one["AlarmName"]
        for kind in ("MetricAlarms", "CompositeAlarms")
        for one in described.get(kind, [])
    }
    listed = watch.list_dashboards()["DashboardEntries"]
    seen.dashboards = {one["DashboardName"] for one in listed}
    # In mid-session, as its owner may.
    seen.changed_by_second_deployment = cloud.sam.deploy(cloud.parameters, log="again.log")

    wait_for(cloud, wall(cloud, RELAY_KILLED_AT))
    assert cloud.snapshot().listening == 1, "no relay listens"
    seen.killed_at = datetime.fromisoformat(cloud.get("/exchange/state")["now"])
    seen.killed = cloud.emulator.kill_workers(cloud.outputs["RelayFunction"])
    wait_for(cloud, wall(cloud, "15:54:00"))
    seen.listening_after_kill = cloud.snapshot().listening

    wait_for(cloud, wall(cloud, "15:55:00"))
    until("the liquidation", 60, lambda: cloud.snapshot().invocations["LiquidateFunction"] > 0)
    # What it sold fills at the end of the first minute that began after that.
    leap_to(cloud, "15:57:00")
    until("a flat account", 90, lambda: not cloud.get("/v2/positions"))
    seen.flat = cloud.snapshot()
    leap_to(cloud, "16:05:01")
    until("the day's summary", 90, lambda: cloud.snapshot().invocations["CloseDayFunction"] > 0)
    seen.last = cloud.snapshot()
    seen.logs = {function: cloud.logs(function) for function in FUNCTIONS}


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> Played:
    seen = Played()
    folder = tmp_path_factory.mktemp("cloud")
    options = TradingOptions(python=Path(PYTHON), folder=folder, start=START, seed=SEED)
    with trading_stack(options, log.warning) as cloud:
        play(cloud, seen)
        cloud.save_logs(folder)
        cloud.sam.delete()
        seen.stack_after_deletion = cloud.sam.status()
        seen.dispatched = DISPATCHED.findall((folder / "emulator.log").read_text())
        group = cloud.emulator.process.pid
    seen.left_running = members_of(group)
    return seen


def orders_for(snapshot: Snapshot | None, *purposes: Purpose) -> list[Mapping[str, Any]]:
    assert snapshot is not None
    return [order for own, order in own_orders(snapshot.orders) if own.purpose in purposes]


def time_of(order: Mapping[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(order[name])


def exits_of_fills(snapshot: Snapshot | None) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return each entry that filled, with the order that was sent next for its symbol."""
    assert snapshot is not None
    own = own_orders(snapshot.orders)
    pairs = []
    for name, order in own:
        if name.purpose is Purpose.ENTRY and order["status"] == "filled":
            (after,) = [
                other
                for later, other in own
                if later.symbol == name.symbol and later.generation == name.generation + 1
            ]
            pairs.append((order, after))
    return pairs


def decisions(lines: Sequence[str]) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in lines if line.startswith('{"level"')]


def test_three_ticks_and_more_are_fired_by_the_schedules(played):
    assert played.dispatched.count(played.outputs["TickFunction"]) >= TICKS
    assert sum('"Heartbeat"' in line for line in played.logs["TickFunction"]) >= TICKS


def test_a_fill_goes_by_relay_and_function_url_to_a_sell(played):
    lines = decisions(played.logs["TradeUpdateFunction"])
    bought = [one["client_order_id"] for one in lines if one.get("reason") == "bought"]
    targets = {order["client_order_id"] for order in orders_for(played.last, Purpose.TARGET)}
    # What is bought as the liquidation begins is sold by it.
    at_once = {order["client_order_id"] for order in orders_for(played.last, Purpose.LIQUIDATION)}
    assert targets.intersection(bought)
    assert set(bought) <= targets | at_once
    assert all(ClientOrderId.parse(one) for one in bought)


def test_an_entry_and_its_exit_become_a_trade(played):
    assert [trade for trade in played.last.trades if trade.exit_reason is Purpose.TARGET]


def test_an_exit_waits_for_a_killed_relay_no_longer_than_the_checkups_period(played):
    assert played.killed >= 1
    assert played.listening_after_kill == 0
    filled_without_relay = [
        (fill, after)
        for fill, after in exits_of_fills(played.last)
        if time_of(fill, "filled_at") > played.killed_at
    ]
    assert filled_without_relay, (
        "nothing was filled after the relay was killed: choose another seed"
    )
    for fill, after in filled_without_relay:
        waited = time_of(after, "submitted_at") - time_of(fill, "filled_at")
        assert waited <= timedelta(seconds=CHECKUP_DELAY_S), (fill["client_order_id"], waited)


def test_the_liquidation_leaves_the_account_flat(played):
    assert played.flat.positions == {}
    assert all(order["status"] in {"filled", "canceled"} for order in played.flat.orders)
    assert played.outputs["LiquidateFunction"] in played.dispatched


def test_the_day_is_closed_after_the_close(played):
    assert played.last.invocations["CloseDayFunction"] >= 1
    assert set(played.last.phases.values()) <= {"DONE", "TO_BUY"}


def test_an_unsigned_request_is_refused(played):
    assert played.unsigned == 401


def test_no_function_logs_an_error(played):
    errors = {
        function: [line for line in lines if '"level":"ERROR"' in line or "Traceback" in line]
        for function, lines in played.logs.items()
    }
    assert {f: lines for f, lines in errors.items() if lines} == {}


def test_the_alarms_and_the_dashboard_are_deployed(played):
    by_type: dict[str, set[str]] = {}
    for one in played.resources:
        by_type.setdefault(one["ResourceType"], set()).add(one["PhysicalResourceId"])
    declared = by_type.get("AWS::CloudWatch::Alarm", set())
    assert declared
    assert declared <= played.alarms
    assert len(by_type["AWS::CloudWatch::Dashboard"]) == 1
    assert by_type["AWS::CloudWatch::Dashboard"] <= played.dashboards


def test_a_second_deployment_changes_nothing(played):
    assert played.changed_by_second_deployment is False


def test_the_stack_is_deleted_and_nothing_runs_on(played):
    assert played.stack_after_deletion in {"", "DELETE_COMPLETE"}
    assert played.left_running == []
