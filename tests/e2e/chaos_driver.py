"""Chaos days with more options: `python -m tests.e2e.chaos_driver '{"days": 2}'`.

Options: days, first, jobs, logs, minutes; factors, of the rates by kind; planned, a list of [kind,
nth]; kills, a list of [function, when, nth, request]; mistake, the name of a function below that
breaks the system, to be found. Prints the figures as JSON, and what of the plan did not happen.
"""

import json
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from scalper.core.model import SymbolState
from scalper.core.order import Order, OrderReport, Progress
from scalper.shell.alpaca.broker import AlpacaBroker
from scalper.shell.aws.state_table import DynamoStore
from scalper.shell.errors import BrokerError, RefusedError, UnknownOutcomeError
from scalper.shell.ports import Stored
from scalper.shell.runtime import current_engine
from workbench.chaos import campaign
from workbench.chaos.day import ChaosOptions
from workbench.chaos.fault_plan import Planned, PlannedKill


def submit_before_the_intent_is_saved() -> None:
    save = DynamoStore.save

    def submit_and_save(store: DynamoStore, before: Stored, state: SymbolState) -> Stored:
        order, known = state.order, before.state.order
        if order is not None and order.progress is Progress.INTENT and order != known:
            with suppress(BrokerError):
                current_engine().broker.submit(state.symbol, order)
        return save(store, before, state)

    setattr(DynamoStore, "save", submit_and_save)  # noqa: B010 - the types have it as it was


def take_an_unknown_outcome_for_a_refusal() -> None:
    submit = AlpacaBroker.submit

    def submit_or_refuse(broker: AlpacaBroker, symbol: str, order: Order) -> OrderReport:
        try:
            return submit(broker, symbol, order)
        except UnknownOutcomeError as error:
            raise RefusedError(422, None, str(error)) from error

    setattr(AlpacaBroker, "submit", submit_or_refuse)  # noqa: B010


def main(options: Mapping[str, Any]) -> None:
    """Play the days."""
    campaign.preload()
    if "mistake" in options:
        globals()[options["mistake"]]()
    planned = [Planned(*one) for one in options.get("planned", ())]
    kills = [PlannedKill(*one) for one in options.get("kills", ())]
    began = time.monotonic()
    results = campaign.play_days(
        options.get("first", 1),
        options["days"],
        jobs=options.get("jobs", 2),
        logs=Path(options["logs"]),
        options=ChaosOptions(
            factors=options.get("factors", {}),
            planned=(*planned, *kills),
            minutes=options.get("minutes"),
        ),
    )
    figures = campaign.figures(results, time.monotonic() - began)
    figures["pending"] = [one for result in results for one in result.pending]
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
