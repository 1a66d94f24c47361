"""`scalper doctor`: every check of a stack or of local keys, in the order of the printed lines."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.text import Text

from workbench.operate import aws_checks, broker_checks, state_checks
from workbench.operate.findings import Check, Finding, Level, run_checks
from workbench.operate.relay_check import check_relay
from workbench.operate.subject import Subject

_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
_CHECK_WIDTH = 16


def examine(subject: Subject) -> list[Finding]:
    """Return the findings of every check. A check that fails does not stop the others."""
    checks: list[tuple[str, Check]] = []
    stack = subject.stack
    if stack is not None:
        checks += [
            ("stack", lambda: aws_checks.check_stack(stack)),
            ("broker secret", lambda: aws_checks.check_broker_secret(subject)),
            ("webhook secret", lambda: aws_checks.check_webhook_secret(subject)),
        ]
    checks += [
        ("keys", lambda: broker_checks.check_account(subject)),
        ("no_shorting", lambda: broker_checks.check_shorting(subject)),
        ("data feed", lambda: broker_checks.check_feed(subject)),
        ("clock", lambda: broker_checks.check_clock(subject)),
    ]
    if stack is not None:
        checks += [
            ("symbols", lambda: broker_checks.check_symbols(subject)),
            ("schedules", lambda: aws_checks.check_schedules(stack)),
            ("queues", lambda: aws_checks.check_deliveries(stack)),
            ("heartbeat", lambda: aws_checks.check_heartbeat(subject)),
            ("relay", lambda: check_relay(subject)),
            ("webhook", lambda: aws_checks.check_webhook(subject)),
            ("dead letters", lambda: aws_checks.check_dead_letters(stack)),
            ("mail", lambda: aws_checks.check_notifications(stack)),
            ("alarms", lambda: aws_checks.check_alarms(stack)),
            ("halts", lambda: state_checks.check_halts(subject)),
            ("positions", lambda: state_checks.check_positions(subject)),
            ("open orders", lambda: state_checks.check_orders(subject)),
            ("left over", lambda: state_checks.check_left_over(subject)),
        ]
    return run_checks(checks)


def document(subject: Subject, findings: list[Finding]) -> dict[str, Any]:
    """Return the findings as `--json` prints them."""
    counted = Counter(one.level for one in findings)
    return {
        "stack": subject.stack.name if subject.stack else None,
        "mode": subject.settings.mode,
        "checked_at": subject.now().isoformat(timespec="seconds"),
        **{level.lower(): counted[level] for level in Level},
        "lines": [
            {"check": one.check, "level": one.level, "text": one.text, "todo": one.todo}
            for one in findings
        ],
    }


def show(console: Console, findings: list[Finding]) -> None:
    """Print a line for each finding, and below it what to do."""
    for one in findings:
        # Text, not markup: messages of AWS and the broker may contain brackets.
        line = Text(f"{one.level:<5}", style=_STYLES[one.level])
        line.append(f"{one.check:<{_CHECK_WIDTH}}{one.text}", style="default not bold")
        console.print(line, soft_wrap=True)
        if one.todo:
            console.print(Text(f"     → {one.todo}"), soft_wrap=True)
    counted = Counter(one.level for one in findings)
    console.print(", ".join(f"{counted[level]} {level}" for level in Level))


def is_healthy(findings: list[Finding]) -> bool:
    """Return whether nothing failed."""
    return all(one.level is not Level.FAIL for one in findings)
