"""The doctor's checks of AWS: stack, secrets, schedules, queues, ticks, webhook, alarms."""

import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import requests

from scalper.core.session import MINUTE, new_york_text
from scalper.shell.aws.config import AWS_CONFIG
from scalper.shell.aws.secrets import webhook_keys
from workbench.operate.deployed_stack import (
    DeployedStack,
    expected_alarms,
    expected_outputs,
    expected_schedules,
)
from workbench.operate.findings import Finding, fail, ok, warn
from workbench.operate.subject import Subject

COMPLETE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"})
ROLLED_BACK = frozenset({"UPDATE_ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE"})

TICKS_WITHIN = timedelta(minutes=3)
"""Age that the newest tick of a session may have. The next tick makes up for a lost one."""

WEBHOOK_TIMEOUT_S = (5.0, 35.0)
"""Connect and read timeout. A cold start of the webhook's function takes seconds."""

KEY_BYTES = range(24, 65)
"""Lengths that a signing key may have, in bytes.

(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md)
"""


def check_stack(stack: DeployedStack) -> Iterable[Finding]:
    """Check that the stack is deployed and has every output of the template."""
    where = f"{stack.name} in {stack.region}"
    if stack.status in COMPLETE:
        yield ok("stack", f"{where}: {stack.status}")
    elif stack.status in ROLLED_BACK:
        yield warn(
            "stack",
            f"{where}: {stack.status}: the last deployment failed; the one before it runs",
            "read the stack's events in CloudFormation, then deploy again",
        )
    elif stack.status.endswith("_IN_PROGRESS"):
        yield warn("stack", f"{where}: {stack.status}", "wait for the deployment to end")
    else:
        yield fail(
            "stack",
            f"{where}: {stack.status}",
            "read the stack's events in CloudFormation, then deploy again",
        )
    missing = sorted(expected_outputs() - {name for name, value in stack.outputs.items() if value})
    if missing:
        yield fail(
            "outputs",
            f"missing: {', '.join(missing)}",
            "deploy this version: sam build, sam deploy",
        )
    else:
        yield ok("outputs", f"all {len(expected_outputs())}")


def check_broker_secret(subject: Subject) -> Iterable[Finding]:
    """Check that the broker's keys are stored. No line shows their values."""
    subject.keys()
    yield ok("broker secret", "key_id and secret_key are filled in")


def check_webhook_secret(subject: Subject) -> Iterable[Finding]:
    """Check that the keys with which the relay signs are valid."""
    todo = "rotate the key: docs/runbook.md"
    for number, key in enumerate(webhook_keys(subject.settings)):
        name = "current" if number == 0 else "previous"
        try:
            length = len(base64.b64decode(key.removeprefix("whsec_"), validate=True))
        except ValueError:
            yield fail("webhook secret", f"{name} is not base64", todo)
            continue
        if length not in KEY_BYTES:
            yield fail("webhook secret", f"{name} has {length} bytes, not 24 to 64", todo)
        else:
            rotating = "" if name == "current" else ": a rotation is not finished"
            yield ok("webhook secret", f"{name} is filled in{rotating}")


def check_schedules(stack: DeployedStack) -> Iterable[Finding]:
    """Check that every schedule of the template exists and is enabled."""
    client = boto3.client("scheduler", config=AWS_CONFIG)
    made = stack.of_type("AWS::Scheduler::Schedule")
    expected = expected_schedules()
    disabled = []
    for logical_id, name in sorted(made.items()):
        # The id is "group|name" unless the group is the default one.
        group, _, schedule = name.rpartition("|")
        answer = client.get_schedule(Name=schedule, GroupName=group or "default")
        if answer["State"] != "ENABLED":
            disabled.append(logical_id)
    if len(made) != expected:
        yield fail(
            "schedules",
            f"{len(made)} of {expected} schedules",
            "deploy this version: sam build, sam deploy",
        )
    if disabled:
        yield fail(
            "schedules", f"disabled: {', '.join(disabled)}", "enable them in EventBridge Scheduler"
        )
    if len(made) == expected and not disabled:
        yield ok("schedules", f"all {expected} enabled")


def check_deliveries(stack: DeployedStack) -> Iterable[Finding]:
    """Check that the queues' event source mappings are enabled."""
    client = boto3.client("lambda", config=AWS_CONFIG)
    off = []
    made = stack.of_type("AWS::Lambda::EventSourceMapping")
    for logical_id, uuid in sorted(made.items()):
        state = client.get_event_source_mapping(UUID=uuid)["State"]
        if state not in ("Enabled", "Enabling", "Creating", "Updating"):
            off.append(f"{logical_id} ({state})")
    if not made:
        yield fail("queues", "no queue reaches a function", "deploy this version: sam deploy")
    elif off:
        yield fail("queues", f"not delivered: {', '.join(off)}", "enable the trigger in Lambda")
    else:
        yield ok("queues", f"all {len(made)} deliver")


def check_heartbeat(subject: Subject) -> Iterable[Finding]:
    """Check when the last tick was. Each tick claims its minute in the state table."""
    now, session = subject.trading_time(), subject.session()
    day = session.day if session else now.date()
    prefix = f"minute#{subject.settings.mode}#"
    claimed = sorted(str(one["sk"]["S"])[:5] for one in subject.items(f"{prefix}{day.isoformat()}"))
    newest = (
        f"the last tick of {day} was the one of {claimed[-1]} UTC" if claimed else "no tick today"
    )
    first = session.open + MINUTE if session else None
    if session is None or first is None or now < first + TICKS_WITHIN:
        yield ok("heartbeat", "no session now: no tick is due")
        return
    due = min(now, session.close)
    last = _minute_of(claimed[-1], session.open) if claimed else None
    if last is not None and due - last <= TICKS_WITHIN:
        yield ok("heartbeat", newest)
    elif now <= session.close:
        yield fail(
            "heartbeat",
            f"{newest}, and it is {now:%H:%M}",
            "read the tick's log group: docs/runbook.md, no heartbeat",
        )
    else:
        until = f"the session ended at {new_york_text(session.close)} New York"
        yield warn(
            "heartbeat",
            f"{newest}; {until}",
            "read the tick's log group, if the stack was deployed then",
        )


def check_webhook(subject: Subject) -> Iterable[Finding]:
    """Check that the webhook answers, and refuses an unsigned request."""
    answer = requests.post(
        subject.settings.webhook_url, data=b"{}", timeout=WEBHOOK_TIMEOUT_S, allow_redirects=False
    )
    if answer.status_code == 401:
        yield ok("webhook", "it answers, and refuses an unsigned request")
    elif answer.status_code == 200:
        yield fail(
            "webhook",
            "it accepts an unsigned request",
            "halt the account (scalper halt), then deploy this version",
        )
    elif answer.status_code == 403:
        yield fail(
            "webhook",
            "403: the Function URL lets no caller in",
            "its permissions lack lambda:InvokeFunctionUrl or lambda:InvokeFunction: deploy again",
        )
    else:
        yield fail(
            "webhook",
            f"it answers {answer.status_code} to an unsigned request, not 401",
            "read the log group of trade-update",
        )


def check_dead_letters(stack: DeployedStack) -> Iterable[Finding]:
    """Check that no message is in a dead-letter queue."""
    client = boto3.client("sqs", config=AWS_CONFIG)
    queues = stack.of_type("AWS::SQS::Queue")
    dead: set[str] = set()
    depth: dict[str, int] = {}
    for logical_id, url in queues.items():
        attributes = client.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "RedrivePolicy"]
        ).get("Attributes", {})
        depth[url.rsplit("/", 1)[-1]] = int(attributes.get("ApproximateNumberOfMessages", 0))
        target = json.loads(attributes.get("RedrivePolicy") or "{}").get("deadLetterTargetArn", "")
        dead.add(str(target).rsplit(":", 1)[-1])
        if "DeadLetter" in logical_id:
            dead.add(url.rsplit("/", 1)[-1])
    dead &= set(depth)
    if not dead:
        yield fail("dead letters", "the stack has no dead-letter queue", "deploy this version")
        return
    full = {name: depth[name] for name in sorted(dead) if depth[name]}
    for name, count in full.items():
        yield fail(
            "dead letters",
            f"messages in {name}: {count}",
            "read them, then purge the queue: docs/runbook.md, dead letters",
        )
    if not full:
        yield ok("dead letters", "none")


def check_notifications(stack: DeployedStack) -> Iterable[Finding]:
    """Check that a confirmed address gets the mails of the alarms and of the day's summary."""
    topics = stack.of_type("AWS::SNS::Topic")
    if not stack.parameters.get("NotifyEmail"):
        yield warn(
            "mail",
            "NotifyEmail is empty: nobody gets a mail of an alarm or of the day's result",
            'sam deploy --parameter-overrides "... NotifyEmail=you@example.com"',
        )
        return
    client = boto3.client("sns", config=AWS_CONFIG)
    pending: list[str] = []
    confirmed = 0
    for arn in topics.values():
        listed = client.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
        pending += [
            one["Endpoint"] for one in listed if not one["SubscriptionArn"].startswith("arn:")
        ]
        confirmed += sum(one["SubscriptionArn"].startswith("arn:") for one in listed)
    if pending:
        yield fail(
            "mail",
            f"not confirmed: {', '.join(sorted(set(pending)))}",
            "follow the link in the mail of AWS Notifications; it is valid for three days",
        )
    elif not confirmed:
        yield fail("mail", "no subscription", "deploy again with NotifyEmail")
    else:
        yield ok("mail", f"{confirmed} subscription{'s' if confirmed > 1 else ''} confirmed")


def check_alarms(stack: DeployedStack) -> Iterable[Finding]:
    """Report the alarms of the stack that are in state ALARM, or have no actions.

    The names are compared with the template's: "scalper-" begins those of scalper-live, too.
    """
    client = boto3.client("cloudwatch", config=AWS_CONFIG)
    pages = client.get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{stack.name}-")
    alarms: list[Any] = [
        one
        for page in pages
        for one in page.get("MetricAlarms", [])
        if one["AlarmName"].removeprefix(f"{stack.name}-") in expected_alarms()
    ]
    on = sorted(one["AlarmName"] for one in alarms if one["StateValue"] == "ALARM")
    silent = sorted(one["AlarmName"] for one in alarms if not one.get("ActionsEnabled", True))
    for name in on:
        yield fail("alarms", f"on: {name}", "docs/runbook.md has a chapter of its name")
    if silent:
        yield warn("alarms", f"switched off: {', '.join(silent)}", "enable their actions again")
    if not alarms:
        yield warn("alarms", "the stack has none", "deploy this version: sam build, sam deploy")
    elif not on and not silent:
        yield ok("alarms", f"none of {len(alarms)} is on")


def _minute_of(clock: str, opened: datetime) -> datetime:
    """Return the time of a claim's sort key ("HH:MM" in UTC) on the UTC date of the open."""
    hour, minute = (int(part) for part in clock.split(":"))
    return opened.astimezone(UTC).replace(hour=hour, minute=minute, second=0, microsecond=0)
