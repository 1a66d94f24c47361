"""A whole example without the system: bars, trades of the plain loop, and the orders behind them.

`python -m tests.workbench.example OUT.html [BARS.csv ...]` writes its report page.
"""

import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from tests.workbench.plain_loop import CancelRow, TradeRow, plain_day, read_rows
from workbench.market.bars.reader import read_bars
from workbench.market.bars.writer import write_bars
from workbench.market.model import Market
from workbench.market.synthetic import synthetic_market
from workbench.results.report import report_page
from workbench.results.trades import Trade, summary_of, trades_of


class Example(NamedTuple):
    """What a report is made of."""

    market: Market
    trades: list[Trade]
    orders: list[dict[str, Any]]
    summary: dict[str, Any]


def example(market: Market, lot: str = "2000") -> Example:
    """Return the market traded by the plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.csv"
        write_bars(market, path)
        rows = read_rows(path)
    trades: list[TradeRow] = []
    cancels: list[CancelRow] = []
    for day in market.days:
        session = day.session
        more = plain_day(rows, session.open, session.close, lot)
        trades += more[0]
        cancels += more[1]
    orders = orders_of(trades, cancels)
    found = trades_of(orders)
    ticks = sum(len(day.session.ticks()) for day in market.days)
    counted = {"ticks": ticks, "open_orders": 0, "open_positions": 0, "seconds": 1.5}
    return Example(market, found, orders, summary_of(market, found, orders, **counted))


def orders_of(trades: list[TradeRow], cancels: list[CancelRow]) -> list[dict[str, Any]]:
    """Return orders as Alpaca would list them, newest first, that make these trades."""
    events: list[tuple[str, str, str, dict[str, Any]]] = []
    for symbol, session, qty, bought_at, bought, sold_at, sold, reason, _ in trades:
        events.append((session, symbol, bought_at, _order("entry", qty, bought_at, bought)))
        events.append((session, symbol, sold_at, _order(reason, qty, sold_at, sold)))
    for symbol, qty, limit, submitted_at, canceled_at in cancels:
        order = _order("entry", qty, None, None)
        order |= {"limit_price": limit, "submitted_at": submitted_at}
        order |= {"status": "canceled", "canceled_at": canceled_at}
        events.append((submitted_at[:10], symbol, submitted_at, order))
    orders = []
    generations: dict[tuple[str, str], int] = {}
    # A sale and the next purchase may share a minute: the sale comes first.
    for session, symbol, _, order in sorted(
        events, key=lambda event: (*event[:3], event[3]["side"] == "buy")
    ):
        number = generations[session, symbol] = generations.get((session, symbol), 0) + 1
        day = date.fromisoformat(session)
        purpose = order.pop("purpose")
        own = f"scalp-paper-{symbol}-{day:%Y%m%d}-{number}-{purpose}"
        orders.append({"client_order_id": own, "symbol": symbol, **order})
    return orders[::-1]


def _order(purpose: str, qty: str, at: str | None, price: str | None) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "side": "buy" if purpose == "entry" else "sell",
        "type": "market" if purpose == "liquidation" else "limit",
        "qty": qty,
        "limit_price": None if purpose == "liquidation" else price,
        "status": "filled",
        "filled_qty": qty if price else "0",
        "filled_avg_price": price,
        "submitted_at": at,
        "filled_at": at,
        "canceled_at": None,
    }


def main(out: str, *bars: str) -> None:
    """Write the report of the given bars, or of a synthetic market."""
    market = read_bars([Path(path) for path in bars]) if bars else synthetic_market(7)
    page = report_page(*example(market))
    Path(out).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
