"""The environment and the secrets become settings, or one line that says what to set."""

import json

import boto3
import pytest

from scalper.core.pricing import DOLLAR
from scalper.shell.aws.secrets import broker_keys, webhook_keys
from scalper.shell.errors import SettingsError
from scalper.shell.settings import BrokerKeys, Settings

NEEDED = {"SYMBOLS_TABLE": "symbols", "STATE_TABLE": "state"}


def secret(text: str, name: str = "secret") -> Settings:
    boto3.client("secretsmanager").create_secret(Name=name, SecretString=text)
    return Settings.of(NEEDED | {"BROKER_SECRET_ID": name, "WEBHOOK_SECRET_ID": name})


def line(error: pytest.ExceptionInfo[SettingsError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_every_variable_but_the_tables_has_a_default():
    assert Settings.of(NEEDED) == Settings(
        symbols_table="symbols",
        state_table="state",
        checkup_queue_url="",
        tick_queue_url="",
        broker_secret_id="",
        webhook_secret_id="",
        webhook_url="",
        mode="paper",
        live_account_number="",
        trading_url="https://paper-api.alpaca.markets",
        data_url="https://data.alpaca.markets",
        stream_url="wss://paper-api.alpaca.markets/stream",
        feed="iex",
        default_lot=2000 * DOLLAR,
        clock="system",
        notify_topic_arn="",
        bar_wait_s=8.0,
    )


def test_empty_variables_count_as_missing_as_a_template_sets_them():
    empty = dict.fromkeys(
        (
            "TRADING_MODE",
            "LIVE_ACCOUNT_NUMBER",
            "ALPACA_TRADING_URL",
            "ALPACA_DATA_URL",
            "ALPACA_STREAM_URL",
            "DATA_FEED",
            "DEFAULT_LOT",
            "CLOCK",
            "BAR_WAIT_S",
            "NOTIFY_TOPIC_ARN",
        ),
        "",
    )
    assert Settings.of(NEEDED | empty) == Settings.of(NEEDED)


def test_live_goes_to_the_live_addresses():
    found = Settings.of(NEEDED | {"TRADING_MODE": "live"})
    assert found.trading_url == "https://api.alpaca.markets"
    assert found.stream_url == "wss://api.alpaca.markets/stream"


def test_live_may_name_its_address():
    named = {"TRADING_MODE": "live", "ALPACA_TRADING_URL": "https://api.alpaca.markets/"}
    assert Settings.of(NEEDED | named) == Settings.of(NEEDED | {"TRADING_MODE": "live"})


def test_each_variable_is_taken_over():
    found = Settings.of(
        NEEDED
        | {
            "CHECKUP_QUEUE_URL": "http://q/1",
            "TICK_QUEUE_URL": "http://q/2",
            "BROKER_SECRET_ID": "b",
            "WEBHOOK_SECRET_ID": "w",
            "WEBHOOK_URL": "http://hook",
            "ALPACA_TRADING_URL": "http://127.0.0.1:1/",
            "ALPACA_DATA_URL": "http://127.0.0.1:2",
            "ALPACA_STREAM_URL": "ws://127.0.0.1:3/stream",
            "DATA_FEED": "sip",
            "DEFAULT_LOT": "1500.50",
            "CLOCK": "broker",
            "NOTIFY_TOPIC_ARN": "arn:topic",
            "BAR_WAIT_S": "0",
        }
    )
    assert found == Settings(
        symbols_table="symbols",
        state_table="state",
        checkup_queue_url="http://q/1",
        tick_queue_url="http://q/2",
        broker_secret_id="b",
        webhook_secret_id="w",
        webhook_url="http://hook",
        trading_url="http://127.0.0.1:1",
        data_url="http://127.0.0.1:2",
        stream_url="ws://127.0.0.1:3/stream",
        feed="sip",
        default_lot=15_005_000,
        clock="broker",
        notify_topic_arn="arn:topic",
        bar_wait_s=0.0,
    )


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_missing_table_is_named(name: str):
    with pytest.raises(SettingsError) as error:
        Settings.of({one: value for one, value in NEEDED.items() if one != name})
    assert name in line(error)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRADING_MODE", "Live"),
        ("TRADING_MODE", "both"),
        ("DATA_FEED", "otc"),
        ("CLOCK", "sundial"),
        ("DEFAULT_LOT", "abc"),
        ("DEFAULT_LOT", "0"),
        ("DEFAULT_LOT", "-5"),
        ("DEFAULT_LOT", "NaN"),
        ("DEFAULT_LOT", "1e400"),
        ("DEFAULT_LOT", "$2000"),
        ("BAR_WAIT_S", "soon"),
        ("BAR_WAIT_S", "-1"),
        ("BAR_WAIT_S", "51"),
        ("BAR_WAIT_S", "nan"),
        ("BAR_WAIT_S", "inf"),
        ("ALPACA_TRADING_URL", "paper-api.alpaca.markets"),
        ("ALPACA_TRADING_URL", "wss://paper-api.alpaca.markets"),
        ("ALPACA_TRADING_URL", "https://paper-api.alpaca.markets/v2"),
        ("ALPACA_DATA_URL", "data"),
        ("ALPACA_DATA_URL", "https://data.alpaca.markets/v2/"),
        ("ALPACA_STREAM_URL", "https://paper-api.alpaca.markets/stream"),
        ("ALPACA_TRADING_URL", "https://"),
        ("ALPACA_TRADING_URL", "https://[::1"),
        # Without TRADING_MODE=live nobody compares the account.
        ("ALPACA_TRADING_URL", "https://api.alpaca.markets"),
        ("ALPACA_TRADING_URL", "https://API.Alpaca.Markets.:443/"),
        ("ALPACA_STREAM_URL", "wss://api.alpaca.markets/stream"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable(name: str, value: str):
    with pytest.raises(SettingsError) as error:
        Settings.of(NEEDED | {name: value})
    assert line(error).startswith(f"{name} is {value!r}: ")


@pytest.mark.usefixtures("aws")
class TestSecrets:
    def test_keys_are_read(self):
        found = secret('{"key_id": "PK1", "secret_key": "s3cr3t"}')
        assert broker_keys(found) == BrokerKeys("PK1", "s3cr3t")

    def test_a_key_is_not_shown(self):
        assert "s3cr3t" not in repr(BrokerKeys("PK1", "s3cr3t"))

    def test_an_unset_id_names_the_variable(self):
        with pytest.raises(SettingsError) as error:
            broker_keys(Settings.of(NEEDED))
        assert "BROKER_SECRET_ID" in line(error)
        with pytest.raises(SettingsError) as error:
            webhook_keys(Settings.of(NEEDED))
        assert "WEBHOOK_SECRET_ID" in line(error)

    def test_a_missing_secret_is_named(self):
        with pytest.raises(SettingsError) as error:
            broker_keys(Settings.of(NEEDED | {"BROKER_SECRET_ID": "nowhere"}))
        assert "the secret nowhere cannot be read" in line(error)

    def test_a_binary_secret_is_refused(self):
        boto3.client("secretsmanager").create_secret(Name="raw", SecretBinary=b"{}")
        with pytest.raises(SettingsError) as error:
            broker_keys(Settings.of(NEEDED | {"BROKER_SECRET_ID": "raw"}))
        assert "raw" in line(error)

    @pytest.mark.parametrize("text", ["", "PK1", "{", '"text"', "[]", "null", "5"])
    def test_what_is_no_json_object_is_refused_without_showing_it(self, text: str):
        found = secret(text or " ")
        for read in (broker_keys, webhook_keys):
            with pytest.raises(SettingsError) as error:
                read(found)
            assert "secret" in line(error)
            assert "PK1" not in line(error)

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"key_id": "", "secret_key": ""},
            {"key_id": "PK1"},
            {"secret_key": "s"},
            {"key_id": "PK1", "secret_key": ""},
            {"key_id": 5, "secret_key": "s"},
            {"key_id": None, "secret_key": None},
            {"key_id": ["PK1"], "secret_key": {"a": 1}},
            {"APCA_API_KEY_ID": "PK1", "APCA_API_SECRET_KEY": "s"},
        ],
    )
    def test_missing_broker_keys_are_one_line_on_what_to_set(self, value: object):
        with pytest.raises(SettingsError) as error:
            broker_keys(secret(json.dumps(value)))
        assert line(error) == (
            'the broker keys are not set: put {"key_id": "...", "secret_key": "..."} '
            "into the secret secret"
        )

    def test_both_webhook_keys_are_accepted_the_current_one_first(self):
        found = secret('{"current": "whsec_bmV3", "previous": "b2xk"}')
        assert webhook_keys(found) == ("whsec_bmV3", "b2xk")

    def test_an_empty_previous_key_is_none(self):
        assert webhook_keys(secret('{"current": "bmV3", "previous": ""}')) == ("bmV3",)

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"current": "", "previous": ""},
            {"current": "", "previous": "b2xk"},
            {"current": 5, "previous": "b2xk"},
            {"current": None},
            {"previous": "b2xk"},
        ],
    )
    def test_a_missing_webhook_key_is_one_line_on_what_to_set(self, value: object):
        with pytest.raises(SettingsError) as error:
            webhook_keys(secret(json.dumps(value)))
        assert line(error).startswith("the webhook key is not set: put {")


def test_the_live_accounts_number_is_taken_without_the_spaces_around_it():
    given = NEEDED | {"TRADING_MODE": "live", "LIVE_ACCOUNT_NUMBER": " 123456789 "}
    assert Settings.of(given).live_account_number == "123456789"
