"""The environment becomes frozen settings; nothing else reads environment variables.

docs/settings.md lists the variables: users rely on them. The secrets are JSON in AWS Secrets
Manager: the broker's {"key_id", "secret_key"}, the webhook's {"current", "previous"}.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from scalper.core.pricing import Money, money
from scalper.shell.errors import SettingsError

TRADING_URLS = {
    "paper": "https://paper-api.alpaca.markets",
    "live": "https://api.alpaca.markets",
}

STREAM_URLS = {
    "paper": "wss://paper-api.alpaca.markets/stream",
    "live": "wss://api.alpaca.markets/stream",
}

DATA_URL = "https://data.alpaca.markets"

LIVE_HOST = "api.alpaca.markets"
"""This host trades real money."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a process, checked."""

    symbols_table: str
    state_table: str
    checkup_queue_url: str = ""
    tick_queue_url: str = ""
    broker_secret_id: str = ""
    webhook_secret_id: str = ""
    webhook_url: str = ""
    mode: str = "paper"
    live_account_number: str = ""
    trading_url: str = TRADING_URLS["paper"]
    data_url: str = DATA_URL
    stream_url: str = STREAM_URLS["paper"]
    feed: str = "iex"
    default_lot: Money = 2000 * 10_000
    clock: str = "system"
    notify_topic_arn: str = ""
    bar_wait_s: float = 8.0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings that an environment gives.

        Raises SettingsError, which names the variable that is missing or invalid.
        """
        mode = _choice(environment, "TRADING_MODE", ("paper", "live"))
        return cls(
            symbols_table=_required(environment, "SYMBOLS_TABLE"),
            state_table=_required(environment, "STATE_TABLE"),
            checkup_queue_url=environment.get("CHECKUP_QUEUE_URL", ""),
            tick_queue_url=environment.get("TICK_QUEUE_URL", ""),
            broker_secret_id=environment.get("BROKER_SECRET_ID", ""),
            webhook_secret_id=environment.get("WEBHOOK_SECRET_ID", ""),
            webhook_url=environment.get("WEBHOOK_URL", ""),
            mode=mode,
            live_account_number=environment.get("LIVE_ACCOUNT_NUMBER", "").strip(),
            trading_url=_url(environment, "ALPACA_TRADING_URL", TRADING_URLS[mode], "http", mode),
            data_url=_url(environment, "ALPACA_DATA_URL", DATA_URL, "http", mode),
            stream_url=_url(environment, "ALPACA_STREAM_URL", STREAM_URLS[mode], "ws", mode),
            feed=_choice(environment, "DATA_FEED", ("iex", "sip")),
            default_lot=_lot(environment),
            clock=_choice(environment, "CLOCK", ("system", "broker")),
            notify_topic_arn=environment.get("NOTIFY_TOPIC_ARN", ""),
            bar_wait_s=_seconds(environment, "BAR_WAIT_S", 8.0),
        )


@dataclass(frozen=True, slots=True)
class BrokerKeys:
    """An API key of the brokerage account; never logged."""

    key_id: str
    secret_key: str = field(repr=False)


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """Return the value, or the first choice if it is empty; raises SettingsError for another."""
    value = environment.get(name, "") or choices[0]
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}: set {' or '.join(choices)}")
    return value


def _url(environment: Mapping[str, str], name: str, default: str, scheme: str, mode: str) -> str:
    """Return the address without a slash at its end; raises SettingsError if it is invalid.

    The address begins with `scheme`, http or ws, or with its secure form, https or wss. Only the
    mode live may name Alpaca's live host, because only that mode checks the account's number.
    """
    value = environment.get(name, "") or default
    url = value.rstrip("/")
    host = _host(url)
    if not host or not url.startswith((f"{scheme}://", f"{scheme}s://")):
        raise SettingsError(f"{name} is {value!r}: set an address with {scheme}s://")
    if url.endswith("/v2"):
        raise SettingsError(f"{name} is {value!r}: leave /v2 out")
    if host == LIVE_HOST and mode != "live":
        raise SettingsError(f"{name} is {value!r}: this host trades money, TRADING_MODE is {mode}")
    return url


def _host(url: str) -> str:
    """Return the host of an address, or "" if it is no address."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _lot(environment: Mapping[str, str]) -> Money:
    text = environment.get("DEFAULT_LOT", "") or "2000"
    try:
        lot = money(text)
    except ValueError:
        lot = 0
    if lot <= 0:
        raise SettingsError(f"DEFAULT_LOT is {text!r}: set a number of dollars above 0")
    return lot


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 50:
        raise SettingsError(f"{name} is {text!r}: set a number of seconds from 0 to 50")
    return seconds
