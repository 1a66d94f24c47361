"""As in the tests of the shell: AWS in this process, no real account, no waits."""

from tests.shell.conftest import _aws_environment, _no_waits, aws, records

__all__ = ["_aws_environment", "_no_waits", "aws", "records"]
