"""docs/metrics.md: every metric, its unit, what it tells the owner, and the alarms that watch it.

The texts are those of `scalper.shell.metrics.Metric`, the alarms those of infrastructure/.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_lambda_powertools.metrics import MetricUnit

from scalper.shell import metrics
from scalper.shell.metrics import Metric
from scalper.shell.telemetry import NAMESPACE
from workbench.docs.markdown import NOTE, page, table
from workbench.source.remarks import remarks, sections
from workbench.template.declared import load_nested, resources_of

PAGE = "docs/metrics.md"
UNITS = {
    MetricUnit.Count: "count",
    MetricUnit.Seconds: "s",
    MetricUnit.Milliseconds: "ms",
    MetricUnit.NoUnit: "$",
}


def text(root: Path) -> str:
    """Return the page of all metrics, in the sections of the enum."""
    texts = remarks(metrics, "Metric")
    alarms = alarms_by_metric(root)
    lines = [
        *("# Metrics", NOTE),
        f"All are in the CloudWatch namespace `{NAMESPACE}`. Their one dimension is `service`, the",
        "stack's name. The dashboard shows them all. An alarm links to what to do when it rings.",
        "",
    ]
    for title, members in sections(Metric):
        rows = [
            [f"`{one}`", UNITS[one.unit], texts[one.name], _links(alarms.get(one, []))]
            for one in members
        ]
        head = ["metric", "unit", "when it is counted, and what it means", "alarms"]
        lines += [f"## {title}", "", *table(head, rows)]
    return page(lines)


def alarms_by_metric(root: Path) -> dict[str, list[str]]:
    """Return the alarms' names, without the stack's, by the name of each own metric they watch."""
    found: dict[str, list[str]] = {}
    for template in load_nested(root).values():
        for alarm in resources_of(template, "AWS::CloudWatch::Alarm").values():
            name = alarm["AlarmName"]["Fn::Sub"].removeprefix("${System}-")
            for metric in _watched(alarm):
                found.setdefault(metric, []).append(name)
    return found


def _watched(alarm: Mapping[str, Any]) -> list[str]:
    """Return the own metrics that an alarm watches: one, or those of its expression."""
    parts = [one["MetricStat"]["Metric"] for one in alarm.get("Metrics", ()) if "MetricStat" in one]
    looked_at = parts or [alarm]
    return [one["MetricName"] for one in looked_at if one["Namespace"] == NAMESPACE]


def _links(alarms: list[str]) -> str:
    return ", ".join(f"[{name}](runbook.md#{name})" for name in alarms)
