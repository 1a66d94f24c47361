"""AWS in this process, no account of anybody's in reach, no waits: as in the shell's tests."""

from tests.shell.conftest import _aws_environment, _no_waits, aws, records

__all__ = ["_aws_environment", "_no_waits", "aws", "records"]
