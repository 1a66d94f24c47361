"""What the commands examine: a deployed stack or local keys. Each request is sent once."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import boto3

from scalper.core.model import SymbolState
from scalper.core.order import OrderReport
from scalper.core.session import Session, new_york_day
from scalper.shell.alpaca.broker import AlpacaBroker
from scalper.shell.alpaca.client import BoundedClient, get_answer
from scalper.shell.aws.config import AWS_CONFIG
from scalper.shell.aws.secrets import broker_keys
from scalper.shell.aws.state_table import DynamoStore
from scalper.shell.aws.symbols_table import DynamoSymbols
from scalper.shell.errors import SettingsError
from scalper.shell.ports import SymbolRules
from scalper.shell.settings import BrokerKeys, Settings
from workbench.operate.deployed_stack import DeployedStack, settings_of
from workbench.operate.findings import AskOnce

KEY_VARIABLES = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")
"""Alpaca's own names for the keys of the command line."""

MADE_UP = "-"
"""Name of the tables for local keys, whose checks read no table."""


def _now() -> datetime:
    return datetime.now(UTC)


class Subject:
    """A stack, or None for local keys, and the answers of the broker and the tables."""

    def __init__(
        self,
        stack: DeployedStack | None,
        settings: Settings,
        fetch_keys: Callable[[], BrokerKeys],
        *,
        live_account: str = "",
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.stack = stack
        self.settings = settings
        self.live_account = live_account
        self.now = now
        self.keys = AskOnce("broker keys", fetch_keys)
        self._trading = AskOnce(
            "broker keys", lambda: BoundedClient(settings.trading_url, self.keys)
        )
        self.broker = AskOnce("broker keys", lambda: AlpacaBroker(settings, self.keys))
        self.account = AskOnce("account", lambda: _object(self.question("/account")))
        self.configurations = AskOnce(
            "account settings", lambda: _object(self.question("/account/configurations"))
        )
        self.session: AskOnce[Session | None] = AskOnce(
            "calendar", lambda: self.broker().session(self.trading_day())
        )
        self.positions: AskOnce[dict[str, int]] = AskOnce(
            "positions", lambda: {s: held.qty for s, held in self.broker().positions().items()}
        )
        self.open_orders: AskOnce[list[OrderReport]] = AskOnce(
            "open orders", lambda: self.broker().open_orders()
        )
        self.rows: AskOnce[tuple[dict[str, SymbolRules], tuple[str, ...]]] = AskOnce(
            "symbols table", lambda: DynamoSymbols(settings).read()
        )
        self.states: AskOnce[dict[str, SymbolState]] = AskOnce("state table", self._states)
        self.store = DynamoStore(settings)

    @classmethod
    def of_stack(cls, stack: DeployedStack, now: Callable[[], datetime] = _now) -> "Subject":
        """Return the subject of a deployed stack; raises SettingsError if an output is missing."""
        settings = settings_of(stack)
        return cls(
            stack,
            settings,
            lambda: broker_keys(settings),
            live_account=stack.parameters.get("LiveAccountNumber", ""),
            now=now,
        )

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> "Subject":
        """Return the subject of the keys in an environment; raises SettingsError."""
        tables = {"SYMBOLS_TABLE": MADE_UP, "STATE_TABLE": MADE_UP}
        settings = Settings.of({**environment, **tables})
        return cls(
            None,
            settings,
            lambda: local_keys(environment),
            live_account=environment.get("LIVE_ACCOUNT_NUMBER", ""),
        )

    def trading_time(self) -> datetime:
        """Return the time that decisions use, as the setting CLOCK says; raises BrokerError."""
        if self.settings.clock == "broker":
            return self.broker().clock().now
        return self.now()

    def trading_day(self) -> date:
        """Return the New York date at that time; raises BrokerError."""
        return new_york_day(self.trading_time())

    def question(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return the trading API's answer; raises BrokerError."""
        return get_answer(self._trading(), path, query)

    def market_question(self, path: str, query: Mapping[str, Any]) -> Any:
        """Return the market-data API's answer; raises BrokerError."""
        return get_answer(BoundedClient(self.settings.data_url, self.keys), path, query)

    def forbid_shorting(self) -> None:
        """Set the account's `no_shorting`; raises BrokerError.

        In live mode it is set only at the account that the stack may trade.
        (https://docs.alpaca.markets/reference/patchaccountconfig-1)
        """
        self.broker().set_no_shorting(no_shorting=True)

    def items(self, partition: str) -> list[dict[str, Any]]:
        """Return the state table's items of a partition, sorted by sort key, in DynamoDB's JSON."""
        pages = (
            boto3.client("dynamodb", config=AWS_CONFIG)
            .get_paginator("query")
            .paginate(
                TableName=self.settings.state_table,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": partition}},
                ConsistentRead=True,
            )
        )
        return [item for page in pages for item in page["Items"]]

    def _states(self) -> dict[str, SymbolState]:
        return {symbol: one.state for symbol, one in self.store.load_all(0, 1).items()}


def local_keys(environment: Mapping[str, str] = os.environ) -> BrokerKeys:
    """Return the keys of the environment; raises SettingsError naming what is missing."""
    key_id, secret_key = (environment.get(name, "") for name in KEY_VARIABLES)
    if not key_id or not secret_key:
        raise SettingsError(f"the broker keys are not set: set {' and '.join(KEY_VARIABLES)}")
    return BrokerKeys(key_id, secret_key)


def _object(answer: object) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise TypeError(f"not an object: {type(answer).__name__}")
    return answer
