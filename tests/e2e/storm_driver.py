"""Storms with options that the command has not: `python -m tests.e2e.storm_driver '{"days": 2}'`.

Options: days, first, jobs, logs; climate, factors of the odds by kind; mistake, the name of a
function below that breaks the system, to be found out. Prints the figures as JSON.
"""

import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from scalper.core.model import Event, OrderSeen, Rules, SubmitOrder
from scalper.core.order import REFUSED, Order, OrderReport
from scalper.shell.engine import Engine
from scalper.shell.errors import BrokerError, RefusedError, UnknownOutcomeError
from scalper.shell.store import Stored
from workbench.storms import season


def submit_before_the_intent_is_saved() -> None:
    save = Engine._advance

    def advance(engine: Engine, stored: Stored, event: Event, rules: Rules) -> Any:
        from scalper.core import machine
        from scalper.core.recovery import begin_session

        step = machine.step(begin_session(stored.state, rules.session.day), event, rules)
        for command in step.commands:
            if isinstance(command, SubmitOrder):
                try:
                    engine.broker.submit(event.symbol, command.order)
                except BrokerError:
                    continue
        return save(engine, stored, event, rules)

    setattr(Engine, "_advance", advance)  # noqa: B010 - a method of another name


def take_an_unknown_outcome_for_a_refusal() -> None:
    def submit(engine: Engine, symbol: str, order: Order, at: datetime) -> list[Event]:
        try:
            report = engine.broker.submit(symbol, order)
        except (RefusedError, UnknownOutcomeError):
            report = OrderReport(client_order_id=order.client_order_id, status=REFUSED)
        return [OrderSeen(symbol=symbol, at=at, report=report)]

    setattr(Engine, "_submit", submit)  # noqa: B010


def main(options: Mapping[str, Any]) -> None:
    """Play the days."""
    season.preload()
    if "mistake" in options:
        globals()[options["mistake"]]()
    began = time.monotonic()
    ended = season.play_days(
        options.get("first", 1),
        options["days"],
        jobs=options.get("jobs", 2),
        logs=Path(options["logs"]),
        climate=options.get("climate"),
    )
    sys.stdout.write(json.dumps(season.figures(ended, time.monotonic() - began)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
