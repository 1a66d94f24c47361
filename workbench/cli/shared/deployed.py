"""The deployed stack that the options name. What AWS or the broker refuses ends as one line."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError
from requests import RequestException

from scalper.shell.errors import ScalperError
from workbench.cli.shared.exit_codes import fail
from workbench.operate.deployed_stack import (
    CloudFormationLookup,
    DeployedStack,
    OperateError,
    StackLookup,
    aws_line,
    stack_name,
    use_region,
)
from workbench.operate.findings import AlreadyReportedError
from workbench.operate.subject import Subject

stack_lookup: StackLookup = CloudFormationLookup()
"""Where stacks are looked up; a test puts its own here."""


def find_stack(stack: str, config_env: str, region: str) -> DeployedStack:
    """Return the deployed stack that the options name; raises OperateError."""
    found_region = ""
    if not stack:
        stack, found_region = stack_name(config_env)
    use_region(region or found_region)
    return stack_lookup.find(stack)


def find_subject(stack: str, config_env: str, region: str) -> Subject:
    """Return what the doctor examines of that stack; raises OperateError or ScalperError."""
    return Subject.of_stack(find_stack(stack, config_env, region))


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """End the command with one line if the block fails in an expected way.

    While the block lasts, the shell's log goes to standard error: standard output is the answer's.
    """
    handlers = [
        one
        for one in logging.getLogger("scalper").handlers
        if isinstance(one, logging.StreamHandler)
    ]
    streams = [one.setStream(sys.stderr) for one in handlers]
    try:
        yield
    except (OperateError, AlreadyReportedError, ScalperError) as error:
        fail(str(error))
    except (BotoCoreError, ClientError) as error:
        fail(aws_line(error))
    except RequestException as error:
        fail(f"the broker does not answer: {type(error).__name__}")
    finally:
        for handler, stream in zip(handlers, streams, strict=True):
            if stream is not None:
                handler.setStream(stream)
