"""The trades of a run, paired from the broker's orders, and its files, written whole or not at all.

The broker's orders are the only source: only what filled counts. Only this system's orders count;
the client id shows them. The shares of an entry are paired with the exits that follow, first in,
first out. Each exit that fills is a trade of its own.
"""

import csv
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from scalper.core.order import ClientOrderId, Purpose
from scalper.core.pricing import DOLLAR, Money, money, text
from scalper.core.session import parse_time, utc_text
from workbench.market.model import Market

AlpacaOrder = Mapping[str, Any]
"""An order as Alpaca's API gives it: amounts and times are texts."""

TRADE_COLUMNS = (
    "symbol",
    "session",
    "qty",
    "entry_time",
    "entry_price",
    "exit_time",
    "exit_price",
    "exit_reason",
    "pnl",
)
ORDER_COLUMNS = (
    "symbol",
    "session",
    "generation",
    "purpose",
    "side",
    "type",
    "qty",
    "limit_price",
    "status",
    "filled_qty",
    "filled_avg_price",
    "submitted_at",
    "filled_at",
    "canceled_at",
    "client_order_id",
)

_STAGE = ".writing"
_SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """Shares bought and sold again; times are the fills' (aware UTC), prices per share."""

    symbol: str
    session: date
    qty: int
    entry_time: datetime
    entry_price: Money
    exit_time: datetime
    exit_price: Money
    exit_reason: Purpose
    pnl: Money
    """qty * (exit - entry), from the broker's unrounded averages, rounded once."""


@dataclass(frozen=True, slots=True)
class PairedTrades:
    """The trades that orders made, and the shares that are left without a partner."""

    trades: tuple[Trade, ...]
    held: Mapping[str, int]
    """Shares bought and not sold, by symbol."""
    oversold: Mapping[str, int]
    """Shares sold that no order of this system bought, by symbol. This must never happen."""


@dataclass(slots=True)
class _OpenEntry:
    """Shares of one entry that are not sold yet."""

    qty: int
    at: datetime
    price: Decimal


def own_orders(orders: Iterable[AlpacaOrder]) -> list[tuple[ClientOrderId, AlpacaOrder]]:
    """Return this system's orders, by symbol, then in the order in which they were made."""
    found = []
    for order in orders:
        parsed = ClientOrderId.parse(str(order.get("client_order_id") or ""))
        if parsed is not None:
            found.append((parsed, order))
    return sorted(found, key=lambda pair: (pair[0].symbol, pair[0].day, pair[0].generation))


def pair_trades(orders: Iterable[AlpacaOrder]) -> PairedTrades:
    """Return the trades that the orders made, by symbol, then entry time, and what is left."""
    bought: dict[str, list[_OpenEntry]] = {}
    oversold: dict[str, int] = {}
    trades: list[Trade] = []
    for own, order in own_orders(orders):
        qty = int(Decimal(str(order.get("filled_qty") or 0)))
        if qty == 0:
            continue
        at = _fill_time(order)
        price = Decimal(str(order["filled_avg_price"]))
        open_entries = bought.setdefault(own.symbol, [])
        if own.purpose is Purpose.ENTRY:
            open_entries.append(_OpenEntry(qty, at, price))
            continue
        while qty and open_entries:
            entry = open_entries[0]
            shares = min(qty, entry.qty)
            trades.append(
                Trade(
                    symbol=own.symbol,
                    session=own.day,
                    qty=shares,
                    entry_time=entry.at,
                    entry_price=money(entry.price),
                    exit_time=at,
                    exit_price=money(price),
                    exit_reason=own.purpose,
                    pnl=money(shares * (price - entry.price)),
                )
            )
            qty -= shares
            entry.qty -= shares
            if entry.qty == 0:
                open_entries.pop(0)
        if qty:
            oversold[own.symbol] = oversold.get(own.symbol, 0) + qty
    held = {symbol: sum(entry.qty for entry in rest) for symbol, rest in bought.items() if rest}
    trades.sort(key=lambda trade: (trade.symbol, trade.entry_time, trade.exit_time))
    return PairedTrades(tuple(trades), held, oversold)


def trades_of(orders: Iterable[AlpacaOrder]) -> list[Trade]:
    """Return the trades that the orders made, by symbol, then entry time."""
    return list(pair_trades(orders).trades)


def summary_of(
    market: Market, trades: Sequence[Trade], orders: Sequence[AlpacaOrder], **counted: Any
) -> dict[str, Any]:
    """Return summary.json's object: what the files show, and what only the run has `counted`.

    The run counts at least ticks, open_orders, open_positions and seconds. `buys` are the entries
    sent, `cancels` the entries that ended without a fill, `bars` those in session hours.
    """
    own = own_orders(orders)
    entries = [order for parsed, order in own if parsed.purpose is Purpose.ENTRY]
    exits: dict[Purpose, int] = {way: 0 for way in Purpose if way is not Purpose.ENTRY}
    for trade in trades:
        exits[trade.exit_reason] += 1
    return {
        "source": market.source,
        "synthetic": market.synthetic,
        "symbols": len(market.symbols),
        "sessions": len(market.days),
        "bars": market.bar_count,
        "refused_rows": len(market.refused),
        "orders": len(own),
        "buys": len(entries),
        "cancels": sum(is_cancel(order) for order in entries),
        "trades": len(trades),
        "wins": sum(trade.pnl > 0 for trade in trades),
        "exits": {str(purpose): count for purpose, count in exits.items()},
        "pnl_usd": usd(sum(trade.pnl for trade in trades)),
        **counted,
    }


def is_cancel(order: AlpacaOrder) -> bool:
    """Return whether the order was canceled, or expired, before a share filled."""
    ended_early = order.get("status") in {"canceled", "expired"}
    return ended_early and not Decimal(str(order.get("filled_qty") or 0))


def usd(amount: Money) -> float:
    """Return dollars as a JSON number whose text is exact: at most four decimals."""
    return amount / DOLLAR


def write_results(
    out: Path,
    *,
    trades: Sequence[Trade],
    orders: Sequence[AlpacaOrder],
    summary: Mapping[str, Any],
    report_html: str,
) -> None:
    """Write trades.csv, orders.csv, report.html and summary.json into `out`.

    All files are complete before the first one is put in its place. The old summary is removed
    first and the new one comes last, so the other files always belong to the summary. Other files
    in `out` stay as they are.
    """
    out.mkdir(parents=True, exist_ok=True)
    stage = out / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    try:
        _write_csv(stage / "trades.csv", TRADE_COLUMNS, map(_trade_row, trades))
        rows = (_order_row(own, order) for own, order in own_orders(orders))
        _write_csv(stage / "orders.csv", ORDER_COLUMNS, rows)
        (stage / "report.html").write_text(report_html, encoding="utf-8")
        summary_text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        (stage / _SUMMARY).write_text(summary_text, encoding="utf-8")
        (out / _SUMMARY).unlink(missing_ok=True)
        for name in ("trades.csv", "orders.csv", "report.html", _SUMMARY):
            (stage / name).replace(out / name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _fill_time(order: AlpacaOrder) -> datetime:
    """Return when the order filled. One that ended partly filled has no `filled_at`."""
    for name in ("filled_at", "canceled_at", "expired_at", "updated_at", "submitted_at"):
        if order.get(name):
            return parse_time(str(order[name]))
    raise ValueError(f"an order without a time: {order.get('client_order_id')}")


def _trade_row(trade: Trade) -> list[str | int]:
    return [
        trade.symbol,
        trade.session.isoformat(),
        trade.qty,
        utc_text(trade.entry_time),
        text(trade.entry_price),
        utc_text(trade.exit_time),
        text(trade.exit_price),
        str(trade.exit_reason),
        text(trade.pnl),
    ]


def _order_row(own: ClientOrderId, order: AlpacaOrder) -> list[str | int]:
    def at(name: str) -> str:
        return utc_text(parse_time(str(order[name]))) if order.get(name) else ""

    def price(name: str) -> str:
        """Return a price with four decimals, or with all that an average has."""
        if not order.get(name):
            return ""
        exact = Decimal(str(order[name]))
        return text(money(exact)) if exact == exact.quantize(Decimal("0.0001")) else f"{exact:f}"

    return [
        own.symbol,
        own.day.isoformat(),
        own.generation,
        str(own.purpose),
        str(order.get("side") or ""),
        str(order.get("type") or ""),
        str(order.get("qty") or ""),
        price("limit_price"),
        str(order.get("status") or ""),
        str(order.get("filled_qty") or "0"),
        price("filled_avg_price"),
        at("submitted_at"),
        at("filled_at"),
        at("canceled_at") or at("expired_at"),
        str(order["client_order_id"]),
    ]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
