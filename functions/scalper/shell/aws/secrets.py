"""Reads the keys from AWS Secrets Manager, where they are JSON."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from scalper.shell.aws.config import AWS_CONFIG
from scalper.shell.errors import SettingsError
from scalper.shell.settings import BrokerKeys, Settings


def broker_keys(settings: Settings) -> BrokerKeys:
    """Return the account's keys from their secret.

    Raises SettingsError, which says what to put into which secret, if they are missing or empty.
    """
    secret = _secret(settings.broker_secret_id, "BROKER_SECRET_ID")
    key_id, secret_key = secret.get("key_id"), secret.get("secret_key")
    if not (isinstance(key_id, str) and key_id and isinstance(secret_key, str) and secret_key):
        raise SettingsError(
            f"the broker keys are not set: put "
            f'{{"key_id": "...", "secret_key": "..."}} into the secret {settings.broker_secret_id}'
        )
    return BrokerKeys(key_id, secret_key)


def webhook_keys(settings: Settings) -> tuple[str, ...]:
    """Return the webhook's signing keys, the current one first.

    Raises SettingsError, which says what to put into which secret, if there is none.
    """
    secret = _secret(settings.webhook_secret_id, "WEBHOOK_SECRET_ID")
    keys = [secret.get(name) for name in ("current", "previous")]
    given = tuple(key for key in keys if isinstance(key, str) and key)
    if not given or given[0] != keys[0]:
        raise SettingsError(
            f"the webhook key is not set: put "
            f'{{"current": "whsec_...", "previous": ""}} into the secret '
            f"{settings.webhook_secret_id}"
        )
    return given


def _secret(secret_id: str, variable: str) -> Mapping[str, Any]:
    if not secret_id:
        raise SettingsError(f"{variable} is not set: give the name or ARN of the secret")
    try:
        client = boto3.client("secretsmanager", config=AWS_CONFIG)
        text = client.get_secret_value(SecretId=secret_id)["SecretString"]
        value = json.loads(text)
    except (ClientError, BotoCoreError, KeyError) as error:
        raise SettingsError(f"the secret {secret_id} cannot be read: {error}") from error
    except json.JSONDecodeError:
        raise SettingsError(f"the secret {secret_id} is not JSON") from None
    if not isinstance(value, dict):
        raise SettingsError(f"the secret {secret_id} is not a JSON object")
    return value
