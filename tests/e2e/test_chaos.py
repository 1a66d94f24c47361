"""Chaos days end flat and reconciled, and every kind of fault and kill really happens on them.

Nothing is faked but the faults: the store is PynamoDB on moto's server, the broker alpaca-py on
the simulated exchange, the relay the real one, and a kill is a SIGKILL. What has to happen is
planned, so that no test depends on luck or on the speed of the machine.
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
    KILLED,
    KILLS,
    QUEUE,
    RATES,
    SECRETS,
    STORE,
    WEBHOOK,
    WITHOUT_EFFECT,
)

pytestmark = pytest.mark.soak

WITHIN_S = 400.0
SERVERS = (EXCHANGE, STORE, QUEUE, SECRETS, WEBHOOK)
SEED = 8
"""Four symbols."""

NONE = dict.fromkeys((*RATES, KILLED), 0.0)
"""No fault but the planned ones."""

HIGH = (
    dict.fromkeys(RATES, 1.5)
    | {kind: 3.0 for kind in RATES if kind.startswith((EXCHANGE, SECRETS, "cancel"))}
    | {"exchange_empty": 8.0, "exchange_truncated": 8.0, "exchange_slow": 1.0}
)


def expected_kinds() -> set[str]:
    """Return the names under which the faults are counted."""
    names = {kind for kind in RATES if not kind.startswith(SERVERS)}
    for kind in RATES.keys() - names:
        server, answer = kind.split("_")
        if answer == "slow" or answer in WITHOUT_EFFECT or server == SECRETS:
            names.add(kind)
        else:
            names |= {f"{kind}_{BEFORE}", f"{kind}_{AFTER}"}
    return names


RARE = (SECRETS, "cancel")
"""What a day has few of: a planned kind of these is due at the first one that is free."""

BLOCKING = {"refused": 20, "rejected": 20, "submit": 20, "cancel_stuck": 4}
"""What may end a symbol's trading for the day begins this many orders or cancels later."""


def planned_kinds() -> list[tuple[str, int]]:
    """Return every kind once, with the number of the decision at which it is due.

    The first word of a kind tells what it strikes. Kinds that strike the same take turns.
    """
    places = dict[str, int]()
    planned = []
    for kind in sorted(expected_kinds()):
        struck = kind.split("_")[0]
        places[struck] = places.get(struck, 0) + 1
        nth = 1 if struck in RARE else 2 * places[struck]
        planned.append((kind, nth + BLOCKING.get(kind, BLOCKING.get(struck, 0))))
    return planned


def planned_kills() -> list[tuple[str, str, int, int]]:
    """Return kills of each function, before and after the effect: function, when, nth, request.

    The relay is killed when it has posted many events: without it none arrives for a while.
    """
    often = [
        (function, when, 8 * turn + 4 * (when == AFTER), turn)
        for function in ("tick", "trade_update", "checkup")
        for turn in (1, 2, 3)
        for when in (BEFORE, AFTER)
    ]
    liquidations = [("liquidate", BEFORE, 1, 2), ("liquidate", AFTER, 2, 1)]
    return [*often, *liquidations, ("relay", BEFORE, 1, 40), ("relay", AFTER, 2, 5)]


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


def test_a_day_ends_flat_on_which_every_kind_of_fault_and_kill_happens_by_plan(tmp_path):
    found = play_chaos(
        tmp_path,
        days=1,
        first=SEED,
        minutes=120,
        factors=NONE,
        planned=planned_kinds(),
        kills=planned_kills(),
    )
    assert found["violations"] == []
    assert found["pending"] == []
    assert expected_kinds() <= found["faults"].keys()
    assert {name.rpartition("_")[0] for name in found["kills"]} - {""} == set(KILLS)
    assert found["kills"][BEFORE] > 10
    assert found["kills"][AFTER] > 10
    assert found["trades"] > 10


def test_days_of_high_rates_end_flat(tmp_path):
    found = play_chaos(tmp_path, days=2, first=SEED, minutes=60, factors=HIGH)
    assert found["violations"] == []
    assert len(found["faults"]) > 20
    assert found["trades"] > 0


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
    factors = dict.fromkeys(RATES, 0.0) | {kind: 100.0}
    found = play_chaos(tmp_path, days=1, first=1, minutes=90, factors=factors, mistake=mistake)
    assert {violation["seed"] for violation in found["violations"]} == {1}
