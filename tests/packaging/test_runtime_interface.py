"""Every function as `sam build` makes it starts and answers under Lambda's runtime interface."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from workbench.cloud import artefacts
from workbench.cloud.sam_stack import build

PYTHON = os.environ.get("CLOUD_PYTHON", "")
pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(not PYTHON, reason="needs awslambdaric in .venv/cloud: make rie"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(Path(PYTHON), tmp_path_factory.mktemp("built"), dict(os.environ)).parent


@pytest.fixture(scope="module")
def environment() -> Iterator[Mapping[str, str]]:
    with artefacts.function_environment() as variables:
        yield variables


def answer_of(function: str, built: Path, folder: Path, environment: Mapping[str, str]) -> Any:
    return artefacts.cold_start(
        Path(PYTHON),
        built / function,
        artefacts.handlers()[function],
        artefacts.EVENTS[function],
        folder=folder,
        environment=environment,
        timeout_s=artefacts.timeout_of(function),
    ).document


@pytest.mark.parametrize(
    ("function", "key", "expected"),
    [
        ("TickFunction", "status", "ok"),
        ("TradeUpdateFunction", "statusCode", 401),
        ("CheckupFunction", "batchItemFailures", []),
        ("LiquidateFunction", "status", None),
        ("RelayFunction", "status", "ok"),
        ("CloseDayFunction", "status", None),
    ],
)
def test_a_built_function_starts_and_answers(
    function: str, key: str, expected: object, built: Path, tmp_path: Path, environment: Any
) -> None:
    """Before the liquidation's time and the close, these two say only that it is not time yet."""
    answer = answer_of(function, built, tmp_path, environment)
    assert artefacts.error_of(answer) == ""
    assert key in answer
    assert expected is None or answer[key] == expected


def test_a_function_without_settings_says_which(built: Path, tmp_path: Path) -> None:
    answer = answer_of("TickFunction", built, tmp_path, {"AWS_REGION": "us-east-1"})
    assert artefacts.error_of(answer) == "SettingsError: SYMBOLS_TABLE is not set"


def test_every_function_of_the_template_is_asked() -> None:
    assert set(artefacts.handlers()) == set(artefacts.EVENTS)
