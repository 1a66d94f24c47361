"""The bounds of every AWS request, except those to the state table."""

from botocore.config import Config

AWS_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3})
"""Time-outs in seconds and attempts; PynamoDB's models have bounds of their own."""
