"""Whole days for tests: servers and runs in processes of their own, and what holds at the end.

A local day sets the environment of its process and replaces its standard output, so no test runs
one in its own process.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from scalper.core.order import ClientOrderId
from scalper.core.pricing import text
from scalper.core.session import utc_text
from tests.workbench.plain_loop import CancelRow, TradeRow, plain_day, read_rows
from workbench.local.day import LEAD
from workbench.market.bars.reader import read_bars
from workbench.market.bars.writer import write_bars
from workbench.market.model import Market
from workbench.market.synthetic import synthetic_market
from workbench.results.trades import pair_trades
from workbench.servers.keys import KEY_ID, SECRET_KEY
from workbench.servers.processes import started

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "bars"
SCALPER = (sys.executable, "-m", "workbench.cli")
HALF_DAY = date(2024, 11, 29)
"""New York closes at 13:00: 210 minutes are a whole day too, and a quicker one."""

CASH = 100_000
"""Dollars of the account that outlives a day: more than any of these days ever holds."""

WITHIN_S = 300.0
"""No day of these tests takes as long on the slowest machine."""


def synthetic_bars(folder: Path, seed: int, symbols: int = 3, day: date = HALF_DAY) -> Path:
    """Write a half-day's made-up bars and return the file."""
    path = folder / f"synthetic-{seed}.csv"
    write_bars(synthetic_market(seed, symbols, day), path)
    return path


def shared_bars(*names: str) -> list[Path]:
    """Return files of the shared folder; skips the test where it is absent."""
    paths = [SHARED / f"{name}.csv" for name in names]
    for path in paths:
        if not path.is_file():
            pytest.skip(f"{path} is absent: the real minute bars lie beside the repository")
    return paths


def plain_days(paths: Sequence[Path]) -> tuple[list[TradeRow], list[CancelRow]]:
    """Return what the plain loop makes of each session by itself, as trades.csv is sorted."""
    rows = read_rows(*paths)
    trades: list[TradeRow] = []
    cancels: list[CancelRow] = []
    for day in read_bars(paths).days:
        more = plain_day(rows, day.session.open, day.session.close)
        trades += more[0]
        cancels += more[1]
    return sorted(trades, key=lambda row: (row[0], row[3])), cancels


def scalper(*arguments: str | Path, within_s: float = WITHIN_S) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [*SCALPER, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


@dataclass(frozen=True)
class Servers:
    """An exchange and an AWS that outlive the days played on them."""

    bars: Path
    exchange_url: str
    aws_url: str

    def drive(self, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Play the day by tests/e2e/driver.py to its end, or to where an option kills it."""
        process = self.begin(folder, **options)
        out, errors = process.communicate(timeout=WITHIN_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)

    def begin(self, folder: Path, **options: Any) -> subprocess.Popen[str]:
        """Start playing the day by tests/e2e/driver.py; `options` are described there."""
        given = {
            "bars": str(self.bars),
            "exchange_url": self.exchange_url,
            "aws_url": self.aws_url,
            "log": str(folder / "driver.log"),
            **options,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.driver", json.dumps(given)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, out: Path) -> subprocess.CompletedProcess[str]:
        """Play the day, or what is left of it, by `scalper run`."""
        urls = ("--exchange-url", self.exchange_url, "--aws-url", self.aws_url)
        return scalper("run", self.bars, "--out", out, *urls)

    def get(self, path: str, **query: str) -> Any:
        headers = {"APCA-API-KEY-ID": KEY_ID, "APCA-API-SECRET-KEY": SECRET_KEY}
        answer = httpx.get(self.exchange_url + path, params=query, headers=headers, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def now(self) -> datetime:
        return datetime.fromisoformat(self.get("/exchange/state")["now"])

    def orders(self) -> list[dict[str, Any]]:
        """Return every order of the account, oldest first."""
        found: list[dict[str, Any]] = self.get(
            "/v2/orders", status="all", limit="500", direction="asc"
        )
        assert len(found) < 500, "a page is not the whole any more"
        return found


@contextmanager
def servers(bars: Path, *exchange_options: str) -> Iterator[Servers]:
    """Run an exchange and an AWS as processes, the clock ten minutes before the open."""
    start = (read_bars([bars]).days[0].session.open - 2 * LEAD).isoformat()
    options = ["--port", "0", "--bars", str(bars), "--start", start, "--cash", str(CASH)]
    with (
        started(["exchange", *options, *exchange_options]) as exchange_url,
        started(["aws", "--port", "0"]) as aws_url,
    ):
        yield Servers(bars, exchange_url, aws_url)


# --- what holds at the end ---------------------------------------------------------------------


def assert_results_are_the_plain_loops(out: Path, paths: Sequence[Path]) -> None:
    """Assert that a run's files are complete and say what the plain loop says."""
    market = read_bars(paths)
    trades, cancels = plain_days(paths)
    assert trades, "a day without a trade shows nothing"
    header, *rows = _csv_rows(out / "trades.csv")
    assert header == (
        *("symbol", "session", "qty", "entry_time", "entry_price"),
        *("exit_time", "exit_price", "exit_reason", "pnl"),
    )
    assert rows == trades
    orders = _orders_of_file(out / "orders.csv")
    _assert_summary(out, market, trades, cancels, len(orders))
    _assert_orders(orders, market)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!")
    assert all(symbol in page for symbol in market.symbols)
    messages = [line["message"] for line in log_lines(out / "console.log")]
    assert messages.count("day closed") == len(market.days)
    assert {path.name for path in out.iterdir()} == {
        *("trades.csv", "orders.csv", "summary.json", "report.html", "console.log"),
    }


def assert_books_hold(servers: Servers) -> None:
    """Assert on the exchange's own records that no order was doubled, lost or unpaired.

    Ids are unique and numbered without a gap; no symbol ever had two orders at work or fewer
    shares than none; the end is flat; what the trades earned is what the account has more.
    """
    orders = servers.orders()
    _assert_orders(orders, read_bars([servers.bars]))
    assert servers.get("/v2/positions") == []
    assert [order for order in orders if order["status"] not in ("filled", "canceled")] == []
    held: dict[str, int] = {}
    cash = Decimal(0)
    fills = servers.get("/v2/account/activities/FILL", direction="asc")
    assert len(fills) < 100, "a page is not the whole any more"
    for fill in fills:
        signed = int(fill["qty"]) * (1 if fill["side"] == "buy" else -1)
        held[fill["symbol"]] = held.get(fill["symbol"], 0) + signed
        assert held[fill["symbol"]] >= 0, fill
        cash -= signed * Decimal(fill["price"])
    assert set(held.values()) <= {0}
    account = servers.get("/v2/account")
    assert account["equity"] == account["cash"]
    pnl = sum(Decimal(trade.pnl) for trade in pair_trades(orders).trades) / 10_000
    assert cash == pnl
    assert Decimal(account["cash"]) - CASH == pnl


def trade_rows(orders: Sequence[Mapping[str, Any]]) -> list[TradeRow]:
    """Return what trades.csv says of these orders."""
    return [
        (
            trade.symbol,
            trade.session.isoformat(),
            str(trade.qty),
            utc_text(trade.entry_time),
            text(trade.entry_price),
            utc_text(trade.exit_time),
            text(trade.exit_price),
            str(trade.exit_reason),
            text(trade.pnl),
        )
        for trade in pair_trades(orders).trades
    ]


def log_lines(path: Path) -> list[dict[str, Any]]:
    """Return a log's lines, each of which is a JSON object."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines
    found = [json.loads(line) for line in lines]
    assert all(isinstance(line, dict) for line in found)
    return found


def _assert_orders(orders: Sequence[Mapping[str, Any]], market: Market) -> None:
    books = pair_trades(orders)
    assert books.held == {}
    assert books.oversold == {}
    by_session: dict[tuple[str, date], list[tuple[int, Mapping[str, Any]]]] = {}
    for order in orders:
        own = ClientOrderId.parse(order["client_order_id"])
        assert own is not None, order
        assert own.symbol == order["symbol"]
        by_session.setdefault((own.symbol, own.day), []).append((own.generation, order))
    sessions = {day.session.day: day.session for day in market.days}
    for (symbol, day), numbered in by_session.items():
        numbered.sort(key=lambda pair: pair[0])
        assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1)), symbol
        session = sessions[day]
        before_ended = session.open
        for _, order in numbered:
            ended = order["filled_at"] or order["canceled_at"]
            assert ended, order
            submitted, ended_at = _at(order["submitted_at"]), _at(ended)
            assert before_ended <= submitted <= ended_at <= session.close, order
            if order["client_order_id"].endswith("-liquidation"):
                assert submitted >= session.liquidate_at, order
            before_ended = ended_at


def _assert_summary(
    out: Path,
    market: Market,
    trades: Sequence[TradeRow],
    cancels: Sequence[CancelRow],
    orders: int,
) -> None:
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    sessions = [day.session for day in market.days]
    seconds = summary.pop("seconds")
    assert 0 < seconds < WITHIN_S
    expected = {
        "symbols": len(market.symbols),
        "sessions": len(sessions),
        "bars": sum(len(day.session_bars(one)) for day in market.days for one in day.bars),
        "ticks": sum(int((one.close - one.open).total_seconds()) // 60 for one in sessions),
        "orders": 2 * len(trades) + len(cancels) + _canceled_exits(trades, market),
        "buys": len(trades) + len(cancels),
        "cancels": len(cancels),
        "trades": len(trades),
        "pnl_usd": float(sum(Decimal(row[8]) for row in trades)),
        "open_orders": 0,
        "open_positions": 0,
        "synthetic": market.synthetic,
    }
    assert {key: summary.get(key) for key in expected} == expected
    assert summary["orders"] == orders
    assert [day["flat"] for day in summary["closed_days"]] == [True] * len(sessions)
    closed = sum(Decimal(str(day["pnl_usd"])) for day in summary["closed_days"])
    assert float(closed) == expected["pnl_usd"]


def _canceled_exits(trades: Sequence[TradeRow], market: Market) -> int:
    """Return how many targets were taken back for a liquidation.

    What is bought in the minute of the liquidation never gets a target.
    """
    ends = {str(day.session.day): utc_text(day.session.liquidate_at) for day in market.days}
    return sum(row[7] == "liquidation" and row[3] < ends[row[1]] for row in trades)


def _csv_rows(path: Path) -> list[tuple[str, ...]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [tuple(row) for row in csv.reader(file)]


def _orders_of_file(path: Path) -> list[dict[str, str]]:
    """Return orders.csv as orders: its columns have the names of Alpaca's fields."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _at(value: str) -> datetime:
    return datetime.fromisoformat(value)
