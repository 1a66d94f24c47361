"""`scalper simulate` and `scalper chaos`: days that faults strike, and what they came to."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from workbench.cli.shared.exit_codes import ExitCode, fail
from workbench.cli.shared.options import FiguresOption, FirstOption


def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many days.")] = 200,
    first: FirstOption = 1,
    until_failure: Annotated[
        bool, typer.Option("--until-failure", help="Stop at the first violation.")
    ] = False,
    faults: Annotated[
        str,
        typer.Option(
            help="Inject only these faults, as a failure prints them. `none` injects none."
        ),
    ] = "",
    out: FiguresOption = None,
) -> None:
    """Simulate seeded days around the real handlers and check every step.

    A day runs in one thread on a virtual clock. At each request of a handler, a scheduler decides
    which handler goes on, what fails, and whether the process dies there. Ticks, webhooks, checkups
    and liquidations overlap and trade several symbols. The faults end two minutes after the time
    of the liquidation. Then the day has to end flat and reconciled, and its profit has to equal
    the broker's to the cent.

    Prints JSON: first, seeds, steps (requests), steps_per_s, crashes, crash_points_hit and
    crash_points_total (before and after each request in the source), faults by kind, violations.

    Exit code 1 if an invariant is violated. The same seed then repeats the failure exactly, and the
    output names the faults that suffice for it and the trace they lead to.
    """
    from workbench.docs import provenance
    from workbench.simulation import campaign
    from workbench.simulation.shrink import parse_script

    try:
        script = parse_script(faults) if faults else None
    except ValueError as error:
        fail(f"--faults: {error}")
    commit = provenance.commit()
    try:
        tally = campaign.simulate(seeds, first, script=script, until_failure=until_failure)
    except KeyboardInterrupt:
        fail("interrupted", ExitCode.INTERRUPTED)
    figures = tally.document()
    _report(out, f"scalper simulate --seeds {seeds} --first {first}", commit, figures)
    for failure in tally.failures:
        print(failure.text(), file=sys.stderr)
    if tally.failures:
        raise typer.Exit(ExitCode.FAILED)


def chaos(
    days: Annotated[int, typer.Option(min=1, help="How many days.")] = 3,
    first: FirstOption = 1,
    out: FiguresOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="Days that run at once.")] = 2,
    logs: Annotated[
        Path | None, typer.Option(help="Keep each day's log in this folder, as SEED.log.")
    ] = None,
) -> None:
    """Play whole days with real faults: processes are killed, servers fail.

    Each function runs in a process of its own, over the simulated exchange, an embedded AWS and the
    websocket on loopback. Requests fail before and after their effect. Orders arrive late, fill in
    parts, are refused or resist a cancel. Events are lost, repeated and late. Processes are killed
    at their n-th request. The faults end two minutes after the time of the liquidation. Then the
    day has to end flat, and the state table, the day's summary and the exchange's ledger have to
    agree to the ten-thousandth of a dollar.

    Prints JSON: days, first, seconds, requests, faults and kills by kind, trades, violations.

    Exit code 1 if an invariant is violated. The output names the seed: play that day again by
    --days 1 --first SEED. A seed gives the same bars and the same fault plan. The threads and
    processes may take turns in another order: a violation may take a few runs to show again.
    """
    from workbench.chaos import campaign
    from workbench.docs import provenance

    began = time.monotonic()
    commit = provenance.commit()
    ended = campaign.play_days(first, days, jobs=jobs, logs=logs, tell=_print_chaos_day)
    figures = campaign.figures(ended, time.monotonic() - began)
    _report(out, f"scalper chaos --days {days} --first {first} --jobs {jobs}", commit, figures)
    if figures["violations"]:
        raise typer.Exit(ExitCode.FAILED)


def _print_chaos_day(ended: Any) -> None:
    """Say on standard error how a day ended, as soon as it is over."""
    what = "; ".join(ended.violations) or "flat and reconciled"
    typer.echo(f"seed {ended.seed}: {ended.seconds:g} s, {ended.trades} trades, {what}", err=True)


def _report(out: Path | None, command: str, commit: str, figures: Mapping[str, Any]) -> None:
    """Print the figures as JSON, and write them with their provenance to `out`, if it is given."""
    from workbench.docs import provenance

    if out is not None:
        try:
            provenance.write(out, command, commit, figures=figures)
        except OSError as error:
            fail(f"--out {out}: {error.strerror}")
    print(json.dumps(figures, indent=2))
