"""Runs the days of `scalper run`, shows their progress, writes the results and prints a summary."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from scalper.core.pricing import money, pnl_text
from scalper.core.session import new_york_text
from workbench.cli.shared.exit_codes import ExitCode, fail
from workbench.cli.shared.inputs import dollars, paths_of, read_market
from workbench.local.day import LEAD, Collaborators, LocalDay, LocalOutcome
from workbench.local.invocations import WithoutMetrics
from workbench.market.model import Market
from workbench.results.report import report_page
from workbench.results.trades import Trade, summary_of, trades_of, write_results
from workbench.servers.processes import LocalDayError, started

UNFINISHED = "unfinished.log"
"""The log of a run that is not over, or that failed. Afterwards it becomes console.log."""

REFUSED_SHOWN = 20
"""Refused rows of the bars that are printed one by one."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What the options of `scalper run` ask for."""

    bars: list[str] | None
    lot: str
    seed: int
    out: Path
    exchange_url: str
    aws_url: str


def run_days(
    bars: list[str] | None, *, lot: str, seed: int, out: Path, exchange_url: str, aws_url: str
) -> None:
    """Run every day of the bars and write the results; raises typer.Exit unless all is well.

    An address of "" starts that server in a process of its own.
    """
    try:
        _run(_Request(bars, lot, seed, out, exchange_url, aws_url))
    except LocalDayError as error:
        fail(f"{error} (log: {out / UNFINISHED})", ExitCode.FAILED)
    except KeyboardInterrupt:
        fail("interrupted; earlier results stay as they were", ExitCode.INTERRUPTED)


def _run(request: _Request) -> None:
    # The file is named because the handlers own standard output while they run.
    console = Console(highlight=False, file=sys.stdout)
    if dollars(request.lot, "--lot") <= 0:
        fail(f"--lot {request.lot}: give a number of dollars above 0")
    market = read_market(request.bars, request.seed)
    log = _open_log(request.out)
    for line in market.refused[:REFUSED_SHOWN]:
        console.print(f"refused: {line}", style="yellow")
    console.print(f"[bold]scalper[/] {market.source}: {_extent(market)}")
    with ExitStack() as stack:
        stack.enter_context(log)
        outcome = _play(console, stack, request, market, log)
    trades = trades_of(outcome.orders)
    summary = summary_of(
        market,
        trades,
        outcome.orders,
        ticks=outcome.counts.ticks,
        open_orders=outcome.open_orders,
        open_positions=outcome.open_positions,
        seconds=round(outcome.seconds, 2),
        lot=float(Decimal(request.lot)),
        closed_days=outcome.counts.closed_days,
    )
    page = report_page(market, trades, outcome.orders, summary)
    out = request.out
    (out / UNFINISHED).replace(out / "console.log")
    write_results(out, trades=trades, orders=outcome.orders, summary=summary, report_html=page)
    _print_summary(console, market, trades, summary, out)
    if outcome.open_orders or outcome.open_positions:
        fail(
            f"not flat: {outcome.open_orders} open orders, {outcome.open_positions} positions",
            ExitCode.FAILED,
        )


def _play(
    console: Console, stack: ExitStack, request: _Request, market: Market, log: TextIO
) -> LocalOutcome:
    """Play the market's days under a progress bar, on servers that `stack` ends."""
    exchange_url = request.exchange_url or stack.enter_context(
        started(["exchange", "--port", "0", *_exchange_options(request, market)])
    )
    aws_url = request.aws_url or stack.enter_context(started(["aws", "--port", "0"]))
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
        int((day.session.close - day.session.open + 2 * LEAD).total_seconds()) // 60 + 1
        for day in market.days
    )
    task = bar.add_task("", total=minutes, clock="", pnl="")

    def progress(minute: datetime, done: int, pnl_usd: float) -> None:
        clock = f"{minute:%Y-%m-%d} {new_york_text(minute)} ET"
        bar.update(task, completed=done, clock=clock, pnl=f"P&L {pnl_text(money(pnl_usd))}")

    day = LocalDay(
        market,
        Collaborators.of_one_process(exchange_url, aws_url, log),
        output=WithoutMetrics(log),
        lot=request.lot,
        progress=progress,
    )
    return day.run()


def _exchange_options(request: _Request, market: Market) -> list[str]:
    """Return the options that let `scalper exchange` play the same bars from before the open."""
    start = (market.days[0].session.open - 2 * LEAD).isoformat()
    if not request.bars:
        return ["--start", start, "--seed", str(request.seed)]
    paths = paths_of(request.bars)
    return ["--start", start, *(part for path in paths for part in ("--bars", str(path)))]


def _open_log(out: Path) -> TextIO:
    """Return the open log of a run that begins, in the folder of its results."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        return (out / UNFINISHED).open("w", encoding="utf-8")
    except OSError as error:
        fail(f"--out {out}: results cannot be written there: {error.strerror}")


def _extent(market: Market) -> str:
    """Return what the market spans as text: dates, symbols and bars."""
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
    table.add_column("P&L", pnl_text(money(summary["pnl_usd"])), justify="right")
    for symbol in market.symbols:
        own = [trade for trade in trades if trade.symbol == symbol]
        pnl = sum(trade.pnl for trade in own)
        won = sum(trade.pnl > 0 for trade in own)
        table.add_row(symbol, str(len(own)), str(won), pnl_text(pnl))
    console.print(table)
    console.print(
        f"{summary['ticks']} ticks, {summary['buys']} buys, {summary['cancels']} canceled, "
        f"{summary['open_orders']} open orders, {summary['open_positions']} open positions "
        f"in {summary['seconds']} s"
    )
    if market.refused:
        console.print(f"{len(market.refused)} rows refused")
    console.print(f"Report: {out / 'report.html'}")
