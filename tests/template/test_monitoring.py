"""Alarms and dashboard: each metric is emitted, no alarm is forgotten, and nights are silent."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from scalper.shell import telemetry
from scalper.shell.metrics import Metric
from tests.shell.fakes import CLOSE, Desk
from tests.template.conftest import ROOT, Template, read_nested
from tests.template.metrics import emitted
from tests.template.parts import FUNCTIONS, of_type, references
from tests.template.schedule import times

EMITTED = emitted(ROOT / "functions")
OWN = [{"Name": "service", "Value": {"Ref": "System"}}]
ADVISORY = {
    "stale-bars": "one symbol that hardly trades would let the page stand all day",
}
TOLD_BY_THEMSELVES = {"heartbeat-missing", "not-flat", "close-not-verified"}
NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture
def desk() -> Desk:
    return Desk()


def alarms(nested: dict[str, Template]) -> dict[str, dict[str, Any]]:
    """Return every metric alarm's properties by its name without the stack's."""
    return {
        one["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${System}-"): one["Properties"]
        for template in nested.values()
        for one in of_type(template, "AWS::CloudWatch::Alarm").values()
    }


def metrics_of(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return namespace, name and dimensions of each metric that an alarm looks at."""
    if "MetricName" in alarm:
        keys = ("Namespace", "MetricName", "Dimensions")
        return [{key: alarm[key] for key in keys}]
    return [one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one]


def dashboard(nested: dict[str, Template]) -> list[dict[str, Any]]:
    body = nested["dashboard"]["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def drawn(nested: dict[str, Template]) -> list[list[Any]]:
    return [row for one in dashboard(nested) for row in one["properties"].get("metrics", [])]


def named(nested: dict[str, Template]) -> dict[str, str]:
    """Return each own metric that an alarm or the dashboard names, and one place that does."""
    found = {row[1]: "dashboard" for row in drawn(nested) if row[0] == telemetry.NAMESPACE}
    for alarm, properties in alarms(nested).items():
        for metric in metrics_of(properties):
            if metric["Namespace"] == telemetry.NAMESPACE:
                found[metric["MetricName"]] = alarm
    return found


@pytest.mark.parametrize("metric", sorted(named(read_nested())))
def test_a_metric_that_an_alarm_or_the_dashboard_names_is_emitted(metric: str) -> None:
    assert metric in EMITTED


def test_every_metric_is_counted_somewhere_and_nothing_else_is() -> None:
    assert {metric.value: metric.unit.value for metric in Metric} == EMITTED


@pytest.mark.parametrize("argument", ['"Heartbeat"', "name", "metric.value"])
def test_a_count_of_what_is_no_member_is_found(tmp_path: Path, argument: str) -> None:
    (tmp_path / "one.py").write_text(f"count({argument})\n")
    with pytest.raises(AssertionError, match=r"one\.py:1: count takes a member of Metric"):
        emitted(tmp_path)


def test_every_metric_is_on_the_dashboard_or_in_an_alarm(nested: dict[str, Template]) -> None:
    assert named(nested).keys() == EMITTED.keys()


def test_units_are_those_that_thresholds_and_titles_are_given_in(
    nested: dict[str, Template],
) -> None:
    units = {"StartLag": "Seconds", "BarAge": "Seconds", "TickMs": "Milliseconds"}
    present = {name: unit for name, unit in EMITTED.items() if name in units}
    assert present
    assert present.items() <= units.items()
    # An alarm that names a unit sees nothing of the metric in any other.
    for alarm in alarms(nested).values():
        assert "Unit" not in json.dumps(alarm)


def test_own_metrics_have_the_stack_s_name_as_their_one_dimension(
    template: Template, nested: dict[str, Template]
) -> None:
    for name, properties in alarms(nested).items():
        for metric in metrics_of(properties):
            if metric["Namespace"] == telemetry.NAMESPACE:
                assert metric["Dimensions"] == OWN, name
    for row in drawn(nested):
        if row[0] == telemetry.NAMESPACE:
            assert row[2:4] == ["service", "${System}"], row
    service = template["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
    for stack in of_type(template, "AWS::CloudFormation::Stack").values():
        assert stack["Properties"]["Parameters"]["System"] == service == {"Ref": "AWS::StackName"}


def test_a_metric_is_sent_with_the_stack_s_name_as_its_one_dimension() -> None:
    script = (
        "from scalper.shell import telemetry\n"
        "with telemetry.sent(): telemetry.count(telemetry.Metric.HEARTBEAT)"
    )
    sent = subprocess.run(
        [sys.executable, "-c", script],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "functions"),
            "POWERTOOLS_SERVICE_NAME": "scalper-live",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    blob = json.loads(sent.stdout)
    assert blob["service"] == "scalper-live"
    (described,) = blob["_aws"]["CloudWatchMetrics"]
    assert described["Namespace"] == telemetry.NAMESPACE
    assert described["Dimensions"] == [["service"]]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("said", ["Errors", "Throttles", "Duration"])
def test_every_function_has_an_alarm(
    expanded: Template, nested: dict[str, Template], function: str, said: str
) -> None:
    target = {
        "Namespace": "AWS/Lambda",
        "MetricName": said,
        "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": function}}],
    }
    (alarm,) = (one for one in alarms(nested).values() if metrics_of(one) == [target])
    limit_ms = expanded["Resources"][function]["Properties"]["Timeout"] * 1000
    assert 0 <= alarm["Threshold"] < limit_ms
    assert (alarm["Threshold"] == 0) is (said != "Duration")


def test_every_dead_letter_queue_has_an_alarm(
    template: Template, nested: dict[str, Template]
) -> None:
    queues = of_type(template, "AWS::SQS::Queue").values()
    dead = {
        queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for queue in queues
        if "RedrivePolicy" in queue["Properties"]
    }
    watched = {
        metric["Dimensions"][0]["Value"]["Ref"]
        for alarm in alarms(nested).values()
        for metric in metrics_of(alarm)
        if metric["Namespace"] == "AWS/SQS"
    }
    assert watched == dead == {"DeadLetterQueue"}


def test_the_page_stands_for_every_alarm_but_those_that_only_advise(
    nested: dict[str, Template],
) -> None:
    (page,) = of_type(nested["monitoring"], "AWS::CloudWatch::CompositeAlarm").values()
    rule = page["Properties"]["AlarmRule"]["Fn::Sub"]
    paged = re.findall(r'ALARM\("\$\{System\}-([a-z-]+)"\)', rule)
    assert Counter(paged) == Counter(alarms(nested).keys() - ADVISORY.keys())
    assert re.fullmatch(r'ALARM\("[^"]+"\)( OR ALARM\("[^"]+"\))*', " ".join(rule.split()))
    # CloudWatch's bound; a stack's name has at most 128 characters.
    assert len(rule.replace("${System}", "x" * 128)) <= 10_240
    assert page["Properties"]["AlarmActions"] == [{"Ref": "NotifyTopic"}]


def test_only_what_must_never_hide_behind_another_alarm_tells_by_itself(
    nested: dict[str, Template],
) -> None:
    telling = {name for name, one in alarms(nested).items() if "AlarmActions" in one}
    assert telling == TOLD_BY_THEMSELVES


def test_a_metric_without_points_raises_an_alarm_only_by_an_expression(
    nested: dict[str, Template],
) -> None:
    for name, alarm in alarms(nested).items():
        assert alarm["TreatMissingData"] == "notBreaching", name
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold", name
        looked_at = [one["MetricStat"] for one in alarm.get("Metrics", []) if "MetricStat" in one]
        (period,) = {one["Period"] for one in looked_at or [alarm]}
        seconds = period * alarm["EvaluationPeriods"]
        assert 60 <= seconds <= 86_400, name
        assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"], name


def test_the_dashboard_shows_every_alarm_and_every_function(nested: dict[str, Template]) -> None:
    shown = [arn for one in dashboard(nested) for arn in one["properties"].get("alarms", [])]
    names = {arn.rsplit("${System}-", 1)[1] for arn in shown}
    assert names == alarms(nested).keys() | {"page"}
    drawn_of = {row[3] for row in drawn(nested) if row[0] == "AWS/Lambda"}
    assert drawn_of == {f"${{{name}}}" for name in FUNCTIONS}


def test_the_dashboard_is_read_from_top_to_bottom(nested: dict[str, Template]) -> None:
    questions = ("Is it alive?", "Is it flat?", "What did it earn?", "How fast?", "What failed?")
    places = [
        next(one["y"] for one in dashboard(nested) if one["properties"]["title"].startswith(asked))
        for asked in questions
    ]
    assert places == sorted(set(places))


def test_nested_templates_are_given_just_what_they_ask_for(
    template: Template, nested: dict[str, Template]
) -> None:
    stacks = of_type(template, "AWS::CloudFormation::Stack").values()
    asked = {
        stack["Properties"]["TemplateURL"]: stack["Properties"]["Parameters"].keys()
        for stack in stacks
    }
    assert asked == {
        f"infrastructure/{name}.yaml": one["Parameters"].keys() for name, one in nested.items()
    }
    for name, one in nested.items():
        used = references(one["Resources"]) | references(one.get("Conditions", {}))
        assert one["Parameters"].keys() <= used, name


def test_what_the_emulator_refuses_is_left_out_there(nested: dict[str, Template]) -> None:
    refused = {"AWS::Logs::QueryDefinition", "AWS::CloudWatch::CompositeAlarm"}
    for template in nested.values():
        for name, resource in template["Resources"].items():
            calculates = "Metrics" in resource["Properties"]
            left_out = resource["Type"] in refused or calculates
            assert (resource.get("Condition") == "OnAws") is left_out, name


def test_saved_queries_read_the_functions_log_groups(
    template: Template, nested: dict[str, Template]
) -> None:
    written = {
        group["Properties"]["LogGroupName"]["Fn::Sub"].replace("${AWS::StackName}", "${System}")
        for group in of_type(template, "AWS::Logs::LogGroup").values()
    }
    queries = of_type(nested["dashboard"], "AWS::Logs::QueryDefinition")
    assert {one["Properties"]["Name"]["Fn::Sub"] for one in queries.values()} == {
        f"${{System}}/{name}"
        for name in ("one symbol's day", "all refusals", "slow ticks", "the trades")
    }
    for query in queries.values():
        assert {group["Fn::Sub"] for group in query["Properties"]["LogGroupNames"]} <= written


def test_saved_queries_look_for_messages_that_the_code_writes(nested: dict[str, Template]) -> None:
    source = "".join(path.read_text() for path in (ROOT / "functions").rglob("*.py"))
    looked_for = set()
    for query in of_type(nested["dashboard"], "AWS::Logs::QueryDefinition").values():
        text = query["Properties"]["QueryString"]
        for line in text.splitlines():
            if "filter message" in line:
                looked_for |= set(re.findall(r'"([^"]+)"', line))
    assert "decision" in looked_for
    for message in looked_for:
        assert f'"{message}"' in source, message


class Nothing:
    """A metric without any point, as before its first: 0 in a sum, and compared it says nothing.

    That FILL makes points of none is not documented, so here it does not.
    """

    def __add__(self, other: float) -> float:
        return other

    def __lt__(self, other: float) -> "Nothing":
        return self

    __gt__ = __lt__

    def __bool__(self) -> bool:
        return False


NOTHING = Nothing()


class Moment:
    """The functions of CloudWatch's metric math on one point in time.

    Each metric has a value there, 0 among them, or is `NOTHING`.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    """

    def __init__(self, alarm: dict[str, Any], values: dict[str, float | Nothing]) -> None:
        self._at = datetime(2000, 1, 1, tzinfo=UTC)
        self._values = values
        self._steps = [
            (one["Id"], compile(_python(one["Expression"]), one["Id"], "eval"))
            for one in alarm["Metrics"]
            if "Expression" in one
        ]
        self._functions: dict[str, Callable[..., float]] = {
            "IF": lambda condition, yes, no: yes if condition else no,
            "FILL": lambda value, _: value,
            "MONTH": lambda _: self._at.month,
            "DATE": lambda _: self._at.day,
            "DAY": lambda _: self._at.isoweekday(),
            "HOUR": lambda _: self._at.hour,
            "MINUTE": lambda _: self._at.minute,
        }

    def breaches(self, at: datetime) -> bool:
        """Whether the last expression, the one that the alarm compares, is above 0."""
        self._at = at
        known: dict[str, Any] = {**self._functions, **self._values}
        result = 0.0
        for name, code in self._steps:
            result = known[name] = eval(code, {"__builtins__": {}}, known)
        return result > 0


def _python(expression: str) -> str:
    return expression.replace(" AND ", " and ").replace(" OR ", " or ")


def instants(years: range, step: timedelta = timedelta(minutes=30)) -> Iterator[datetime]:
    """Half hours, and the minutes around what matters, of every day of the years."""
    edges = [(h, m) for h in (13, 14, 20, 21) for m in (4, 5, 30, 31, 0, 1, 59)]
    day = datetime(years[0], 1, 1, tzinfo=UTC)
    while day.year in years:
        for n in range(48):
            yield day + n * step
        for hour, minute in edges:
            yield day.replace(hour=hour, minute=minute)
        day += timedelta(days=1)


@pytest.mark.parametrize("silence", [0, NOTHING], ids=["silent", "never-sent"])
def test_the_heartbeat_is_missed_in_just_the_minutes_in_which_ticks_are_due(
    expanded: Template, nested: dict[str, Template], silence: float | Nothing
) -> None:
    due = set(times(expanded, "TickFunction", date(2024, 3, 4)))
    silent = Moment(alarms(nested)["heartbeat-missing"], {"beats": silence})
    beating = Moment(alarms(nested)["heartbeat-missing"], {"beats": 1})
    for at in instants(range(2024, 2034)):
        wall = at.astimezone(NEW_YORK)
        expected = wall.weekday() < 5 and f"{wall:%H:%M}" in due
        assert silent.breaches(at) is expected, wall
        assert not beating.breaches(at)


@pytest.mark.parametrize("silence", [0, NOTHING], ids=["silent", "never-sent"])
def test_a_close_without_a_word_is_a_fault_and_one_word_is_enough(
    expanded: Template, nested: dict[str, Template], silence: float | Nothing
) -> None:
    alarm = alarms(nested)["close-not-verified"]
    silent = Moment(alarm, {"checks": silence})
    assert not Moment(alarm, {"checks": 1}).breaches(datetime(2024, 3, 4, 21, 10, tzinfo=UTC))
    *_, last = times(expanded, "CloseDayFunction", date(2024, 3, 4))
    # Both offsets from UTC, and a Saturday.
    for number, session in ((8, True), (11, True), (9, False)):
        day = date(2024, 3, number)
        midnight = datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).astimezone(UTC)
        breaching = [
            at.astimezone(NEW_YORK)
            for n in range(24 * 60)
            if silent.breaches(at := midnight + timedelta(minutes=n))
        ]
        assert len(breaching) == (alarm["DatapointsToAlarm"] if session else 0)
        if session:
            assert f"{breaching[0]:%H:%M}" == last
            assert breaching[-1] - breaching[0] == timedelta(minutes=len(breaching) - 1)
    assert alarm["EvaluationPeriods"] > alarm["DatapointsToAlarm"]


def test_on_a_holiday_too_the_close_is_verified(desk: Desk) -> None:
    """Without a word from close_day the alarm on its silence would be raised on each holiday."""
    desk.broker.sessions.clear()
    with telemetry.sent():
        desk.close_day(CLOSE + timedelta(minutes=5))
        counted = set(telemetry.metrics.provider.metric_set)
    assert "NotFlat" in counted


def test_the_relay_is_missed_only_while_bars_come_in(nested: dict[str, Template]) -> None:
    alarm, at = alarms(nested)["relay-missing"], datetime(2024, 3, 4, 15, 0, tzinfo=UTC)
    missed = {
        (bars, beats): Moment(alarm, {"bars": bars, "beats": beats}).breaches(at)
        for bars in (NOTHING, 0, 1)
        for beats in (NOTHING, 0, 2)
    }
    assert {point for point, is_missed in missed.items() if is_missed} == {(1, 0), (1, NOTHING)}
