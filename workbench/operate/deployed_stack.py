"""A deployed stack: its name, outputs, parameters and resources, and the settings they make.

The checks ask the protocol `StackLookup`, so that a test can answer in place of CloudFormation.
`aws_line` turns whatever the AWS SDK raises into one line for people.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from scalper.shell.aws.config import AWS_CONFIG
from scalper.shell.settings import Settings
from workbench.template.declared import load_nested, load_template, resources_of
from workbench.template.schedules import schedules_of

ROOT = Path(__file__).parents[2]
SAMCONFIG = ROOT / "samconfig.toml"

_NOT_SIGNED_IN = "sign in (aws configure, or aws sso login), or name a profile by AWS_PROFILE"
_STALE = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError"})


class OperateError(Exception):
    """The request cannot be done. The text is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class StackResource:
    """One resource of a stack: its CloudFormation type and its physical id."""

    type: str
    physical_id: str


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """What CloudFormation says about a stack."""

    name: str
    status: str
    region: str
    outputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, StackResource] = field(default_factory=dict)
    """By logical id, without those of nested stacks."""

    def of_type(self, kind: str) -> dict[str, str]:
        """Return the physical ids of a type's resources, by logical id."""
        return {name: one.physical_id for name, one in self.resources.items() if one.type == kind}


class StackLookup(Protocol):
    """Finds a deployed stack by its name."""

    def find(self, name: str) -> DeployedStack:
        """Return the stack of that name; raises OperateError if there is none."""
        ...


class CloudFormationLookup:
    """StackLookup of the account and region that the SDK's own settings lead to."""

    def find(self, name: str) -> DeployedStack:
        """Return the stack; raises OperateError with one line for any failure."""
        try:
            client = boto3.client("cloudformation", config=AWS_CONFIG)
            [described] = client.describe_stacks(StackName=name)["Stacks"]
            pages = client.get_paginator("list_stack_resources").paginate(StackName=name)
            resources = {
                one["LogicalResourceId"]: StackResource(
                    one["ResourceType"], one.get("PhysicalResourceId", "")
                )
                for page in pages
                for one in page["StackResourceSummaries"]
            }
        except ClientError as error:
            if _code(error) == "ValidationError" and "does not exist" in _message(error):
                raise OperateError(
                    f"no stack {name} in this account in {_region()}: sam deploy creates it; "
                    "--stack and --region name another one"
                ) from error
            raise OperateError(f"the stack {name}: {aws_line(error)}") from error
        except BotoCoreError as error:
            raise OperateError(aws_line(error)) from error
        return DeployedStack(
            name=name,
            status=described["StackStatus"],
            region=client.meta.region_name,
            outputs={one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])},
            parameters={
                one["ParameterKey"]: one.get("ParameterValue", "")
                for one in described.get("Parameters", [])
            },
            resources=resources,
        )


def use_region(region: str) -> None:
    """Set the region of every AWS client of this process; "" leaves the SDK's own."""
    if region:
        os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"] = region
        boto3.setup_default_session(region_name=region)


def stack_name(environment: str, path: Path = SAMCONFIG) -> tuple[str, str]:
    """Return the name and region of the stack of an environment in samconfig.toml.

    The region is "" if the environment has none. Raises OperateError if it names no stack.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OperateError(
            f"{path.name} cannot be read: {error}; name the stack: --stack"
        ) from error
    sections = settings.get(environment, {})
    found = sections.get("global", {}).get("parameters", {})
    deploy = sections.get("deploy", {}).get("parameters", {})
    name = found.get("stack_name") or deploy.get("stack_name")
    if not isinstance(name, str) or not name:
        known = sorted(one for one, value in settings.items() if isinstance(value, dict))
        raise OperateError(
            f"--config-env {environment}: {path.name} names no stack there; it has "
            f"{', '.join(known)}"
        )
    return name, str(found.get("region") or deploy.get("region") or "")


def settings_of(stack: DeployedStack) -> Settings:
    """Return the settings that the stack's functions run with.

    Raises SettingsError if an output is missing or a parameter is not valid.
    """
    return Settings.of(
        {
            "SYMBOLS_TABLE": stack.outputs.get("SymbolsTable", ""),
            "STATE_TABLE": stack.outputs.get("StateTable", ""),
            "BROKER_SECRET_ID": stack.outputs.get("BrokerSecret", ""),
            "WEBHOOK_SECRET_ID": stack.outputs.get("WebhookSecret", ""),
            "WEBHOOK_URL": stack.outputs.get("WebhookUrl", ""),
            "TRADING_MODE": stack.parameters.get("TradingMode", ""),
            "LIVE_ACCOUNT_NUMBER": stack.parameters.get("LiveAccountNumber", ""),
            "ALPACA_TRADING_URL": stack.parameters.get("AlpacaTradingUrl", ""),
            "ALPACA_DATA_URL": stack.parameters.get("AlpacaDataUrl", ""),
            "ALPACA_STREAM_URL": stack.parameters.get("AlpacaStreamUrl", ""),
            "DATA_FEED": stack.parameters.get("DataFeed", ""),
            "DEFAULT_LOT": stack.parameters.get("DefaultLot", ""),
            "CLOCK": stack.parameters.get("Clock", ""),
        }
    )


@cache
def expected_outputs() -> frozenset[str]:
    """Return the outputs that template.yaml declares."""
    return frozenset(load_template()["Outputs"])


@cache
def expected_schedules() -> int:
    """Return how many schedules template.yaml declares."""
    return len(schedules_of(load_template()))


@cache
def expected_alarms() -> frozenset[str]:
    """Return the alarms that infrastructure/ declares, by their names without the stack's."""
    return frozenset(
        str(alarm["AlarmName"]["Fn::Sub"]).removeprefix("${System}-")
        for template in load_nested().values()
        for alarm in resources_of(template, "AWS::CloudWatch::Alarm").values()
    )


def aws_line(error: BotoCoreError | ClientError) -> str:
    """Return one line for people about an error of the AWS SDK."""
    if isinstance(error, NoRegionError):
        return "no region: name it by --region or AWS_DEFAULT_REGION"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"no AWS credentials: {_NOT_SIGNED_IN}"
    if isinstance(error, SSOError | TokenRetrievalError):
        return f"the AWS session has expired: {_NOT_SIGNED_IN}"
    if isinstance(error, ProfileNotFound | ConfigParseError):
        return f"the AWS settings of this machine: {error}"
    if isinstance(error, ClientError):
        if _code(error) in _STALE:
            return f"AWS refuses the credentials ({_code(error)}): {_NOT_SIGNED_IN}"
        if _code(error) in _DENIED:
            return f"AWS denies {error.operation_name}: these credentials lack the right to it"
        return f"AWS answers {_code(error)} to {error.operation_name}: {_message(error)}"
    return f"AWS does not answer: {error}"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _message(error: ClientError) -> str:
    return " ".join(str(error.response.get("Error", {}).get("Message", "")).split())


def _region() -> Any:
    return boto3.session.Session().region_name
