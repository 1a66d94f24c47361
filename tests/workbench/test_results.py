"""Trades are what the broker's books say; a run's files are whole or absent."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.order import Purpose
from scalper.core.pricing import money
from scalper.core.session import parse_time
from tests.workbench.example import example
from tests.workbench.plain_loop import plain_day, read_rows
from workbench.market.bars.writer import write_bars
from workbench.market.synthetic import synthetic_market
from workbench.results.trades import (
    ORDER_COLUMNS,
    TRADE_COLUMNS,
    Trade,
    own_orders,
    pair_trades,
    summary_of,
    trades_of,
    usd,
    write_results,
)

DAY = date(2013, 10, 4)
FILES = ["orders.csv", "report.html", "summary.json", "trades.csv"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2013-10-04T{text}Z")


def order(
    generation: int, purpose: str = "entry", qty: int = 10, price: str | None = "100", **more: Any
) -> dict[str, Any]:
    """Return an order as Alpaca gives it, filled in full a minute for each generation."""
    symbol = more.pop("symbol", "SPY")
    filled = more.pop("filled", qty if price else 0)
    time = f"2013-10-04T14:{generation:02d}:00Z"
    return {
        "client_order_id": f"scalp-paper-{symbol}-20131004-{generation}-{purpose}",
        "symbol": symbol,
        "side": "buy" if purpose == "entry" else "sell",
        "type": "market" if purpose == "liquidation" else "limit",
        "qty": str(qty),
        "limit_price": price,
        "status": "filled" if filled == qty else "canceled",
        "filled_qty": str(filled),
        "filled_avg_price": price if filled else None,
        "submitted_at": time,
        "filled_at": time if filled == qty else None,
        "canceled_at": None if filled == qty else time,
        **more,
    }


TRADE = Trade(
    symbol="SPY",
    session=DAY,
    qty=10,
    entry_time=at("14:01"),
    entry_price=money(100),
    exit_time=at("14:02"),
    exit_price=money("100.01"),
    exit_reason=Purpose.TARGET,
    pnl=money("0.1"),
)


def test_an_entry_and_its_exit_are_a_trade_whatever_the_order_of_the_list() -> None:
    orders = [order(1), order(2, "target", price="100.01")]
    assert trades_of(orders) == trades_of(orders[::-1]) == [TRADE]


@pytest.mark.parametrize("purpose", ["target", "liquidation", "stop", "bailout"])
def test_the_reason_is_the_purpose_of_the_exit(purpose: str) -> None:
    [trade] = trades_of([order(1), order(2, purpose, price="99")])
    assert (trade.exit_reason, trade.pnl) == (Purpose(purpose), money(-10))


def test_generations_are_numbers_not_text() -> None:
    orders = [order(9), order(10, "target", price="101"), order(11), order(12, "stop", price="99")]
    assert [trade.exit_reason for trade in trades_of(orders)] == ["target", "stop"]


def test_an_exit_of_two_orders_is_two_trades() -> None:
    orders = [
        order(1),
        order(2, "target", filled=4, price="100.01"),
        order(3, "bailout", qty=6, price="99.5"),
    ]
    assert trades_of(orders) == [
        replace(TRADE, qty=4, pnl=money("0.04")),
        replace(
            TRADE, qty=6, exit_time=at("14:03"), exit_price=money("99.5"),
            exit_reason=Purpose.BAILOUT, pnl=money(-3),
        ),
    ]  # fmt: skip


def test_a_canceled_buy_that_filled_in_part_is_a_trade_of_that_part() -> None:
    orders = [order(1, filled=3), order(2, "target", qty=3, price="100.01")]
    assert trades_of(orders) == [replace(TRADE, qty=3, pnl=money("0.03"))]


def test_an_order_that_ended_partly_filled_has_the_time_of_its_end() -> None:
    end: dict[str, Any] = {"canceled_at": "2013-10-04T14:05:00Z", "filled_at": None}
    [trade] = trades_of([order(1, filled=3, **end), order(9, "target", qty=3, price="100.01")])
    assert trade.entry_time == at("14:05")


def test_averages_beyond_four_decimals_are_rounded_once_at_the_end() -> None:
    entry = order(1, qty=3, price="100.0033333333")
    [trade] = trades_of([entry, order(2, "target", qty=3, price="100.0066666667")])
    assert trade.entry_price == money("100.0033")
    assert trade.pnl == money("0.01")


def test_orders_of_others_and_symbols_of_others_do_not_mix() -> None:
    orders = [
        order(1),
        order(1, symbol="IBM", price="180"),
        {**order(2, "target", price="1"), "client_order_id": "by hand"},
        {**order(2, "target", price="1"), "client_order_id": None},
        order(2, "target", price="100.01"),
        order(2, "liquidation", symbol="IBM", price="181"),
    ]
    assert [(trade.symbol, trade.pnl) for trade in trades_of(orders)] == [
        ("IBM", money(10)),
        ("SPY", money("0.1")),
    ]
    assert len(own_orders(orders)) == 4


def test_shares_left_over_on_either_side_are_told() -> None:
    books = pair_trades([order(1), order(2, "target", qty=10, filled=4, price="101")])
    assert (books.held, books.oversold) == ({"SPY": 6}, {})
    books = pair_trades([order(1), order(2, "target", qty=12, price="101")])
    assert (books.held, books.oversold) == ({}, {"SPY": 2})
    assert [trade.qty for trade in books.trades] == [10]
    assert pair_trades([]).trades == ()


def test_alpacas_times_have_up_to_nine_decimals_and_need_an_offset() -> None:
    for text in ("14:01:00.123456789Z", "14:01:00.12Z", "10:01:00.12-04:00"):
        time = parse_time(f"2013-10-04T{text}")
        assert time.replace(microsecond=0) == at("14:01")
        assert time.utcoffset() == timedelta(0)
    with pytest.raises(ValueError, match="without an offset"):
        parse_time("2013-10-04T14:01:00")


fills = st.lists(st.integers(1, 50), min_size=1, max_size=5)


@given(rounds=st.lists(st.tuples(fills, st.integers(1, 10**7), st.integers(1, 10**7)), max_size=6))
def test_every_share_is_paired_once_and_the_profit_adds_up(
    rounds: list[tuple[list[int], int, int]],
) -> None:
    orders, expected, generation = [], 0, 0
    for parts, bought, sold in rounds:
        generation += 1
        qty = sum(parts)
        orders.append(order(generation, qty=qty, price=f"{bought / 100:.2f}"))
        for part in parts:
            generation += 1
            orders.append(order(generation, "stop", qty=part, price=f"{sold / 100:.2f}"))
        expected += qty * (sold - bought) * 100
    books = pair_trades(reversed(orders))
    assert not books.held
    assert not books.oversold
    assert sum(trade.qty for trade in books.trades) == sum(sum(parts) for parts, _, _ in rounds)
    assert sum(trade.pnl for trade in books.trades) == expected
    assert len(books.trades) == sum(len(parts) for parts, _, _ in rounds)


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def write(out: Path, orders: list[dict[str, Any]], **more: Any) -> None:
    given: dict[str, Any] = {"summary": {"trades": 1}, "report_html": "<p>", **more}
    write_results(out, trades=trades_of(orders), orders=orders, **given)


def test_the_files_are_as_the_contract_has_them(tmp_path: Path) -> None:
    canceled = order(3, price="100.5", filled=0)
    write(tmp_path / "out" / "run", [canceled, order(2, "target", price="100.01"), order(1)])
    out = tmp_path / "out" / "run"
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert read_csv(out / "trades.csv") == [
        list(TRADE_COLUMNS),
        ["SPY", "2013-10-04", "10", "2013-10-04T14:01:00Z", "100.0000",
         "2013-10-04T14:02:00Z", "100.0100", "target", "0.1000"],
    ]  # fmt: skip
    header, first, _, third = read_csv(out / "orders.csv")
    assert header == list(ORDER_COLUMNS)
    assert dict(zip(header, first, strict=True)) == {
        "symbol": "SPY", "session": "2013-10-04", "generation": "1", "purpose": "entry",
        "side": "buy", "type": "limit", "qty": "10", "limit_price": "100.0000",
        "status": "filled", "filled_qty": "10", "filled_avg_price": "100.0000",
        "submitted_at": "2013-10-04T14:01:00Z", "filled_at": "2013-10-04T14:01:00Z",
        "canceled_at": "", "client_order_id": "scalp-paper-SPY-20131004-1-entry",
    }  # fmt: skip
    assert third[7:11] == ["100.5000", "canceled", "0", ""]
    assert third[13] == "2013-10-04T14:03:00Z"


def test_a_days_trades_come_back_from_its_orders_to_the_cent_and_minute(tmp_path: Path) -> None:
    market = synthetic_market(3)
    write_bars(market, tmp_path / "bars.csv")
    session = market.days[0].session
    expected, _ = plain_day(read_rows(tmp_path / "bars.csv"), session.open, session.close)
    one = example(market)
    out = tmp_path / "run"
    write_results(out, trades=one.trades, orders=one.orders, summary=one.summary, report_html="<p>")
    assert read_csv(out / "trades.csv")[1:] == [list(row) for row in expected]


def test_other_files_in_the_folder_stay_and_old_results_are_replaced(tmp_path: Path) -> None:
    for name in ("console.log", "mine.txt", "trades.csv", "summary.json"):
        (tmp_path / name).write_text("old")
    with (tmp_path / "console.log").open("a") as log:
        write(tmp_path, [order(1), order(2, "target")])
        log.write(", and more")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*FILES, "console.log", "mine.txt"]
    )
    assert (tmp_path / "console.log").read_text() == "old, and more"
    assert json.loads((tmp_path / "summary.json").read_text()) == {"trades": 1}


def test_an_error_while_writing_leaves_the_old_files_whole(tmp_path: Path) -> None:
    write(tmp_path, [order(1), order(2, "target")])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken() -> Iterator[Trade]:
        yield TRADE
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_results(tmp_path, trades=broken(), orders=[], summary={}, report_html="")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path, [], summary={"pnl_usd": float("nan")})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_summary_stands_beside_files_of_two_runs(tmp_path: Path) -> None:
    write(tmp_path, [])
    (tmp_path / "report.html").unlink()
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write(tmp_path, [order(1), order(2, "target")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "orders.csv",
        "report.html",
        "trades.csv",
    ]


def test_what_a_killed_run_left_behind_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".writing").mkdir()
    (tmp_path / ".writing" / "trades.csv").write_text("half")
    write(tmp_path, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_the_summary_counts_what_the_files_show() -> None:
    market = synthetic_market(1, symbols=2)
    orders = [
        order(1), order(2, "target", price="100.01"), order(3, filled=0), order(4, filled=3),
        order(5, "liquidation", qty=3, price="99"), {**order(6), "client_order_id": "other"},
    ]  # fmt: skip
    summary = summary_of(
        market, trades_of(orders), orders, ticks=390, open_orders=0, open_positions=0, seconds=2.5
    )
    assert summary == {
        "source": "synthetic market, seed 1", "synthetic": True, "symbols": 2, "sessions": 1,
        "bars": market.bar_count, "refused_rows": 0, "orders": 5, "buys": 3, "cancels": 1,
        "trades": 2, "wins": 1, "pnl_usd": -2.9,
        "exits": {"target": 1, "stop": 0, "bailout": 0, "liquidation": 1},
        "ticks": 390, "open_orders": 0, "open_positions": 0, "seconds": 2.5,
    }  # fmt: skip


@given(amount=st.integers(-(10**15), 10**15))
def test_dollars_in_json_are_exact(amount: int) -> None:
    assert money(json.loads(json.dumps(usd(amount)))) == amount
