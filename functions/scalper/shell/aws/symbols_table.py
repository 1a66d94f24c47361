"""The port `Symbols` on DynamoDB."""

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from scalper.shell.errors import StoreDownError
from scalper.shell.ports import SymbolRules
from scalper.shell.settings import Settings
from scalper.shell.symbols import parse_rows

_TABLE_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 3})


class DynamoSymbols:
    """The symbols table, read at each tick: an edit acts at the next tick."""

    def __init__(self, settings: Settings) -> None:
        self._table = settings.symbols_table
        self._default_lot = settings.default_lot
        self._client = boto3.client("dynamodb", config=_TABLE_CONFIG)

    def read(self) -> tuple[dict[str, SymbolRules], tuple[str, ...]]:
        """Return the valid rows by symbol, and a line for each refused row.

        Raises StoreDownError if the table cannot be read.
        """
        try:
            pages = self._client.get_paginator("scan").paginate(
                TableName=self._table, ConsistentRead=True
            )
            rows = [row for page in pages for row in page["Items"]]
        except (ClientError, BotoCoreError) as error:
            raise StoreDownError(f"the symbols table cannot be read: {error}") from error
        return parse_rows(rows, self._default_lot)
