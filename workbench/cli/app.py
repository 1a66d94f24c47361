"""The command `scalper`: each subcommand reads its arguments, calls one module and prints."""

import glob
import json
import sys
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scalper.core.pricing import Money, money
from scalper.core.session import new_york_text
from workbench.cli import relay as relay_command
from workbench.cli import stack as operate
from workbench.cli.cloud import cloud
from workbench.docs import provenance as measured
from workbench.exchange.server import serve
from workbench.exchange.wire import parse_time
from workbench.local import day as local
from workbench.market.bars.reader import BarsError, read_bars
from workbench.market.model import Market
from workbench.market.synthetic import synthetic_market
from workbench.results.report import report_page
from workbench.results.trades import Trade, summary_of, trades_of, write_results
from workbench.servers import aws
from workbench.servers import processes as servers
from workbench.servers.loopback import end_with_stdin

BAD_INPUT = 2
NOT_FLAT = 1
VIOLATED = 1
INTERRUPTED = 130

UNFINISHED = "unfinished.log"
"""The log of a run that goes on or went wrong; it becomes console.log with the results."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

BarsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="CSV or Parquet files, or patterns; without any, a synthetic market."),
]
SeedOption = Annotated[int, typer.Option(help="Seed of the synthetic market.")]
UntilEofOption = Annotated[
    bool, typer.Option("--until-eof", help="End when standard input does.", hidden=True)
]


@app.callback()
def scalper() -> None:
    """Intraday trading on Alpaca: run a day here, before money is at stake there."""


@app.command()
def run(
    bars: BarsArgument = None,
    lot: Annotated[str, typer.Option(help="Dollars of an entry.")] = "2000",
    seed: SeedOption = 7,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("out/run"),
    exchange_url: Annotated[
        str, typer.Option(help="Use an exchange that runs already (scalper exchange).")
    ] = "",
    aws_url: Annotated[str, typer.Option(help="Use an AWS that runs already (scalper aws).")] = "",
) -> None:
    """Run whole trading days on this machine, through the real handlers."""
    try:
        _run(bars, lot, seed, out, exchange_url.rstrip("/"), aws_url.rstrip("/"))
    except servers.LocalDayError as error:
        _fail(f"{error} (log: {out / UNFINISHED})", NOT_FLAT)
    except KeyboardInterrupt:
        _fail("interrupted; earlier results stay as they were", INTERRUPTED)


def _run(
    bars: list[str] | None, lot: str, seed: int, out: Path, exchange_url: str, aws_url: str
) -> None:
    # The file is named because standard output is the handlers' while they run.
    console = Console(highlight=False, file=sys.stdout)
    _check_lot(lot)
    market = _market(bars, seed)
    log = _begun_log(out)
    for line in market.refused[:20]:
        console.print(f"refused: {line}", style="yellow")
    console.print(f"[bold]scalper[/] {market.source}: {_extent(market)}")
    source = _bars_options(bars) if bars else ["--seed", str(seed)]
    start = (market.days[0].session.open - 2 * local.LEAD).isoformat()
    with ExitStack() as stack:
        stack.enter_context(log)
        outcome = _play(
            console,
            stack,
            market,
            log=log,
            lot=lot,
            exchange_url=exchange_url
            or stack.enter_context(
                servers.started(["exchange", "--port", "0", "--start", start, *source])
            ),
            aws_url=aws_url or stack.enter_context(servers.started(["aws", "--port", "0"])),
        )
    trades = trades_of(outcome.orders)
    summary = summary_of(
        market,
        trades,
        outcome.orders,
        ticks=outcome.counts.ticks,
        open_orders=outcome.open_orders,
        open_positions=outcome.open_positions,
        seconds=round(outcome.seconds, 2),
        lot=float(Decimal(lot)),
        closed_days=outcome.counts.closed_days,
    )
    page = report_page(market, trades, outcome.orders, summary)
    (out / UNFINISHED).replace(out / "console.log")
    write_results(out, trades=trades, orders=outcome.orders, summary=summary, report_html=page)
    _print_summary(console, market, trades, summary, out)
    if outcome.open_orders or outcome.open_positions:
        _fail(
            f"not flat: {outcome.open_orders} open orders, {outcome.open_positions} positions",
            NOT_FLAT,
        )


@app.command("exchange")
def run_exchange(
    bars: Annotated[
        list[str] | None, typer.Option(help="CSV or Parquet file; may be repeated.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 9000,
    seed: SeedOption = 7,
    start: Annotated[
        str, typer.Option(help="ISO 8601 time to start at; the first open by default.")
    ] = "",
    pace: Annotated[
        float, typer.Option(min=0, help="Simulated seconds a second; 0: moved by POST alone.")
    ] = 0.0,
    cash: Annotated[str, typer.Option(help="Dollars of buying power; unlimited by default.")] = "",
    key_id: Annotated[str, typer.Option(help="API key that opens the account.")] = servers.KEY_ID,
    secret_key: Annotated[str, typer.Option(help="Its secret.")] = servers.SECRET_KEY,
    until_eof: UntilEofOption = False,
) -> None:
    """Serve an Alpaca-compatible exchange on loopback, driven by minute bars."""
    if until_eof:
        end_with_stdin()
    market = _market(bars, seed)
    try:
        serve(
            market,
            port=port,
            key_id=key_id,
            secret_key=secret_key,
            cash=_amount(cash, "--cash") if cash else None,
            pace=pace,
            start=parse_time(start) if start else None,
        )
    except ValueError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"--port {port}: {error.strerror}")


@app.command("aws")
def run_aws(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 9001,
    until_eof: UntilEofOption = False,
) -> None:
    """Serve the AWS that a local day needs on loopback: tables, queues, secrets, a topic."""
    if until_eof:
        end_with_stdin()
    try:
        aws.serve(port)
    except OSError as error:
        _fail(f"--port {port}: {error.strerror}")


app.command("relay")(relay_command.relay)
app.command()(cloud)


@app.command()
def simulate(
    seeds: Annotated[int, typer.Option(min=1, help="How many days.")] = 200,
    first: Annotated[int, typer.Option(min=0, help="Seed of the first day.")] = 1,
    until_failure: Annotated[
        bool, typer.Option("--until-failure", help="Stop at the first violation.")
    ] = False,
    faults: Annotated[
        str, typer.Option(help="Inject these faults alone, as a failure prints them, or none.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file, as docs take them.")
    ] = None,
) -> None:
    """Simulate seeded days around the real handlers, and check every step.

    One thread and a virtual clock: a scheduler decides at each request of a handler who goes on,
    what fails, and whether the process dies there. Overlapping ticks, webhooks, checkups and
    liquidations trade several symbols; two minutes after the time of the liquidation the faults
    end, and the day has to end flat and reconciled, its profit the broker's to the cent.

    Prints JSON: first, seeds, steps (requests), steps_per_s, crashes, crash_points_hit and
    crash_points_total (before and after each request in the source), faults by kind, violations.
    Exit code 1 on a violation: its seed replays exactly, and the faults that suffice for it are
    printed with the trace they lead to.
    """
    from workbench.simulation import campaign, shrink

    try:
        script = shrink.parse_script(faults) if faults else None
    except ValueError as error:
        _fail(f"--faults: {error}")
    commit = measured.commit()
    try:
        tally = campaign.simulate(seeds, first, script=script, until_failure=until_failure)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    figures = tally.document()
    if out is not None:
        _write_measured(out, f"scalper simulate --seeds {seeds} --first {first}", commit, figures)
    print(json.dumps(figures, indent=2))
    for failure in tally.failures:
        print(failure.text(), file=sys.stderr)
    if tally.failures:
        raise typer.Exit(VIOLATED)


@app.command()
def chaos(
    days: Annotated[int, typer.Option(min=1, help="How many days.")] = 3,
    first: Annotated[int, typer.Option(min=0, help="Seed of the first day.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file, as docs take them.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Days at once.")] = 2,
    logs: Annotated[
        Path | None, typer.Option(help="Keep each day's log in this folder, as SEED.log.")
    ] = None,
) -> None:
    """Play whole days with real faults: processes are killed, servers fail and lie.

    The functions run in processes of their own, over the simulated exchange, the embedded AWS and
    the websocket on loopback. Requests fail before and after their effect. Orders land late, fill
    in parts, are refused or resist a cancel. Events are lost, repeated and late. Processes are
    killed at their n-th request. Two minutes after the time of the liquidation the faults end.
    Then the day has to end flat, and the items, the summary and the exchange's ledger have to
    agree to the ten-thousandth of a dollar.

    Prints JSON: days, first, seconds, requests, faults and kills by kind, trades, violations.
    Exit code 1 if there is a violation. It names its seed: play that day again by
    --days 1 --first SEED. A seed gives the same bars and the same fault plan. The threads and
    processes may take turns in another order: a violation may take a few runs to show again.
    """
    # Only this command needs moto and the handlers in its own process.
    from workbench.chaos import campaign

    began = time.monotonic()
    commit = measured.commit()
    ended = campaign.play_days(first, days, jobs=jobs, logs=logs, tell=_print_chaos_day)
    figures = campaign.figures(ended, time.monotonic() - began)
    if out is not None:
        command = f"scalper chaos --days {days} --first {first} --jobs {jobs}"
        _write_measured(out, command, commit, figures)
    print(json.dumps(figures, indent=2))
    if figures["violations"]:
        raise typer.Exit(VIOLATED)


def _print_chaos_day(ended: Any) -> None:
    """Print on standard error how a day ended, as soon as it is over."""
    what = "; ".join(ended.violations) or "flat and reconciled"
    typer.echo(f"seed {ended.seed}: {ended.seconds:g} s, {ended.trades} trades, {what}", err=True)


operate.add_to(app)


def main() -> None:
    """Run the command line."""
    app()


def _write_measured(out: Path, command: str, commit: str, figures: dict[str, Any]) -> None:
    try:
        measured.write(out, command, commit, figures=figures)
    except OSError as error:
        _fail(f"--out {out}: {error.strerror}")


def _play(console: Console, stack: ExitStack, market: Market, **options: Any) -> local.Outcome:
    """Play the market's days under a progress bar."""
    bar = stack.enter_context(
        Progress(
            TextColumn("{task.fields[clock]}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pnl]}"),
            TimeElapsedColumn(),
            console=console,
            redirect_stdout=False,
        )
    )
    minutes = sum(
        int((day.session.close - day.session.open + 2 * local.LEAD).total_seconds()) // 60 + 1
        for day in market.days
    )
    task = bar.add_task("", total=minutes, clock="", pnl="")

    def progress(minute: Any, done: int, pnl_usd: float) -> None:
        clock = f"{minute:%Y-%m-%d} {new_york_text(minute)} ET"
        bar.update(task, completed=done, clock=clock, pnl=f"P&L {_signed(pnl_usd)}")

    return local.LocalDay(market, progress=progress, **options).run()


def _market(bars: list[str] | None, seed: int) -> Market:
    try:
        return read_bars(_paths(bars)) if bars else synthetic_market(seed)
    except BarsError as error:
        _fail(str(error))


def _paths(bars: list[str] | None) -> list[Path]:
    """Return the files that names and patterns stand for; one that matches none stays as it is."""
    found: list[Path] = []
    for name in bars or ():
        matches = sorted(glob.glob(name)) if glob.has_magic(name) else [name]  # noqa: PTH207
        found += [Path(match) for match in matches or [name]]
    return found


def _bars_options(bars: list[str] | None) -> list[str]:
    return [part for path in _paths(bars) for part in ("--bars", str(path))]


def _begun_log(out: Path) -> TextIO:
    """Return the log of a run that begins, open, in the folder of its results."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        return (out / UNFINISHED).open("w", encoding="utf-8")
    except OSError as error:
        _fail(f"--out {out}: results cannot be written there: {error.strerror}")


def _check_lot(lot: str) -> None:
    if _amount(lot, "--lot") <= 0:
        _fail(f"--lot {lot}: give a number of dollars above 0")


def _amount(value: str, option: str) -> Money:
    try:
        return money(value)
    except ValueError:
        _fail(f"{option} {value}: give a number of dollars")


def _extent(market: Market) -> str:
    days = market.days
    first, last = days[0].session.day, days[-1].session.day
    when = f"{first}" if first == last else f"{first} to {last}, {len(days)} sessions"
    return f"{when}, {len(market.symbols)} symbols, {market.bar_count:,} bars"


def _print_summary(
    console: Console, market: Market, trades: list[Trade], summary: dict[str, Any], out: Path
) -> None:
    title = f"{_extent(market)}" + (" (synthetic market)" if market.synthetic else "")
    table = Table(title=title, title_justify="left", title_style="bold", show_footer=True)
    table.add_column("Symbol", "Total")
    table.add_column("Trades", str(len(trades)), justify="right")
    table.add_column("Won", str(summary["wins"]), justify="right")
    table.add_column("P&L", _signed(summary["pnl_usd"]), justify="right")
    for symbol in market.symbols:
        own = [trade for trade in trades if trade.symbol == symbol]
        pnl = sum(trade.pnl for trade in own) / 10_000
        won = sum(trade.pnl > 0 for trade in own)
        table.add_row(symbol, str(len(own)), str(won), _signed(pnl))
    console.print(table)
    console.print(
        f"{summary['ticks']} ticks, {summary['buys']} buys, {summary['cancels']} canceled, "
        f"{summary['open_orders']} open orders, {summary['open_positions']} open positions "
        f"in {summary['seconds']} s"
    )
    if market.refused:
        console.print(f"{len(market.refused)} rows refused")
    console.print(f"Report: {out / 'report.html'}")


def _signed(dollars: float) -> str:
    return f"{'-' if dollars < 0 else '+'}${abs(dollars):,.2f}"


def _fail(line: str, code: int = BAD_INPUT) -> NoReturn:
    """End with one line on standard error."""
    typer.echo(f"scalper: {line}", err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
