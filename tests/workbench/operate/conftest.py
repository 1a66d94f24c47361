"""Fixtures of the tests of the commands for a deployed stack."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from scalper.shell.alpaca import client
from tests.shell.scripted import Scripted, scripted
from tests.workbench.operate.system import REGION, System, system_with


@pytest.fixture(scope="session")
def session() -> boto3.Session:
    """Return a session that has read its service models: reading them takes a second a test."""
    return boto3.Session("testing", "testing", region_name=REGION)


@pytest.fixture(autouse=True)
def _no_real_account(monkeypatch: pytest.MonkeyPatch, session: boto3.Session) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    monkeypatch.setattr(client, "GET_BACKOFF_S", 0.0)


@pytest.fixture
def webhook() -> Iterator[Scripted]:
    """Return a webhook that refuses every request, until a test changes that."""
    with scripted() as server:
        server.answer((401, {"status": "refused"}))
        yield server


@pytest.fixture
def system(webhook: Scripted) -> Iterator[System]:
    """Return a deployed system without a fault."""
    with mock_aws(), system_with(webhook.url + "/") as made:
        yield made
