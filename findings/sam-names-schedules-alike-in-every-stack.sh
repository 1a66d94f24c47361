#!/usr/bin/env bash
# aws-sam-translator 1.115.0: a ScheduleV2 event gets a fixed name that lacks the stack's name.
#
# SAM names an AWS::Scheduler::Schedule by the logical ids of the function and the event, as its
# documentation says. The stack's name is not part of it. A name is unique in the schedule group of
# an account and region, and all stacks share the default group. So a second stack of the same
# template cannot be deployed beside the first. The rule of a Schedule event (without V2) gets no
# name, so two stacks of it do not collide. `OmitName: true` leaves the name to CloudFormation.
#
# Seen on 2026-11-28, Python 3.11:
#   ScheduleV2: TickEachMinute
#   ScheduleV2 with OmitName: no name
#   Schedule: no name
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    aws-sam-translator==1.115.0
cat > "$folder/look.py" <<'PYTHON'
import os
import sys

os.environ["AWS_DEFAULT_REGION"] = "us-east-1"

from samtranslator.translator.transform import transform


class NoPolicies:
    def load(self):
        return {}


def name(kind, **more):
    when = {"Schedule": "rate(1 minute)"} if kind == "Schedule" else {
        "ScheduleExpression": "rate(1 minute)"
    }
    function = {
        "Handler": "tick.handler",
        "Runtime": "python3.13",
        "CodeUri": "s3://bucket/key",
        "Events": {"EachMinute": {"Type": kind, "Properties": {**when, **more}}},
    }
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {"Tick": {"Type": "AWS::Serverless::Function", "Properties": function}},
    }
    for resource in transform(template, {}, NoPolicies())["Resources"].values():
        if resource["Type"] in ("AWS::Scheduler::Schedule", "AWS::Events::Rule"):
            return resource["Properties"].get("Name", "no name")
    raise SystemExit("no schedule")


seen = [name("ScheduleV2"), name("ScheduleV2", OmitName=True), name("Schedule")]
print(f"ScheduleV2: {seen[0]}")
print(f"ScheduleV2 with OmitName: {seen[1]}")
print(f"Schedule: {seen[2]}")
sys.exit(seen != ["TickEachMinute", "no name", "no name"])
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
