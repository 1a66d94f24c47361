"""Days in bad weather end flat and reconciled, and the weather is as bad as it is said to be.

Nothing is faked but the weather: the store is PynamoDB on moto's server, the broker alpaca-py on
the simulated exchange, the relay the real one, and a kill is a SIGKILL.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.days import ROOT, scalper
from workbench.chaos.fault_plan import (
    AFTER,
    BEFORE,
    EXCHANGE,
    QUEUE,
    RATES,
    SECRETS,
    STORE,
    WEBHOOK,
    WITHOUT_EFFECT,
)

pytestmark = pytest.mark.soak

WITHIN_S = 400.0
DOORS = (EXCHANGE, STORE, QUEUE, SECRETS, WEBHOOK)

ROUGH = (
    dict.fromkeys(RATES, 1.5)
    | {kind: 3.0 for kind in RATES if kind.startswith((EXCHANGE, SECRETS, "cancel"))}
    | {"exchange_empty": 8.0, "exchange_truncated": 8.0, "exchange_slow": 1.0}
)
"""Every kind of fault, the rare ones more often, so that a few days show them all."""


FURTHER = range(10, 14)
"""Days that are played on where a kind has not struck yet."""


def expected_kinds() -> set[str]:
    """Return the names under which the faults are counted."""
    names = {kind for kind in RATES if not kind.startswith(DOORS)}
    for kind in RATES.keys() - names:
        door, answer = kind.split("_")
        if answer == "slow" or answer in WITHOUT_EFFECT or door == SECRETS:
            names.add(kind)
        else:
            names |= {f"{kind}_{BEFORE}", f"{kind}_{AFTER}"}
    return names


def play_chaos(logs: Path, **options: Any) -> dict[str, Any]:
    options["logs"] = str(logs)
    played = subprocess.run(
        [sys.executable, "-m", "tests.e2e.chaos_driver", json.dumps(options)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=WITHIN_S,
        check=True,
    )
    found: dict[str, Any] = json.loads(played.stdout)
    return found


def test_days_of_rough_weather_end_flat_and_every_fault_and_kill_really_happens(tmp_path):
    found = play_chaos(tmp_path, days=2, first=8, climate=ROUGH)
    assert found["violations"] == []
    missing = expected_kinds() - found["faults"].keys()
    for first in FURTHER:
        # Where real processes take turns, what a rare kind meets is not the seed's alone.
        if missing:
            more = play_chaos(tmp_path, days=1, first=first, climate=ROUGH)
            assert more["violations"] == []
            missing -= more["faults"].keys()
    assert missing == set()
    killed = {name.rpartition("_")[0] for name in found["kills"]} - {""}
    assert killed >= {"tick", "trade_update", "checkup", "relay"}
    assert found["kills"][BEFORE] > 10
    assert found["kills"][AFTER] > 10
    assert found["trades"] > 10


def test_the_command_plays_seeds_and_says_what_docs_are_made_of(tmp_path):
    out = tmp_path / "folder" / "chaos.json"
    run = scalper("chaos", "--days", "1", "--first", "7", "--out", out, "--logs", tmp_path / "l")
    assert run.returncode == 0, run.stdout
    figures = json.loads(run.stdout)
    assert (figures["days"], figures["first"], figures["violations"]) == (1, 7, [])
    assert min(figures[name] for name in ("seconds", "requests", "orders", "trades")) > 0
    assert sum(figures["faults"].values()) > 100
    assert figures["minutes"] <= 210
    written = json.loads(out.read_text())
    assert written.pop("figures") == figures
    assert written.keys() == {"command", "commit", "date", "machine", "python"}
    assert written["command"] == "scalper chaos --days 1 --first 7 --jobs 2"
    assert all(written.values())
    assert run.stderr.startswith("seed 7: ")
    assert "day closed" in Path(tmp_path / "l" / "7.log").read_text()


@pytest.mark.parametrize(
    ("mistake", "kind"),
    [
        ("submit_before_the_intent_is_saved", "store_throttled"),
        ("take_an_unknown_outcome_for_a_refusal", "submit_late"),
    ],
)
def test_a_mistake_in_the_order_path_is_found_out_within_a_day(mistake, kind, tmp_path):
    """One kind of fault, and kills; it strikes often, so that no single moment decides."""
    climate = dict.fromkeys(RATES, 0.0) | {kind: 100.0}
    found = play_chaos(tmp_path, days=1, first=1, climate=climate, mistake=mistake)
    assert {violation["seed"] for violation in found["violations"]} == {1}
