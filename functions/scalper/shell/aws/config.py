"""The bounds of every AWS request that does not go through the state table."""

from botocore.config import Config

AWS_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3})
"""Bounds of every AWS request that does not go through the store."""
