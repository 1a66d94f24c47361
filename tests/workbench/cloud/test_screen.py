"""The table and the line that show the emulated stack while it trades."""

from datetime import UTC, datetime
from io import StringIO

from rich.console import Console

from workbench.cloud.emulated_stack import FUNCTIONS, Snapshot
from workbench.cloud.screen import line, table
from workbench.results.trades import trades_of

NOW = datetime(2026, 11, 20, 15, 32, 10, tzinfo=UTC)


def order(client_order_id, side, status, qty, price, **more):
    return {
        "client_order_id": client_order_id,
        "symbol": client_order_id.split("-")[2],
        "side": side,
        "status": status,
        "qty": str(qty),
        "filled_qty": str(qty) if status == "filled" else "0",
        "filled_avg_price": price if status == "filled" else None,
        "filled_at": "2026-11-20T15:31:00Z" if status == "filled" else None,
        "updated_at": "2026-11-20T15:31:00Z",
        "limit_price": price,
        **more,
    }


def snapshot(tick_errors=0):
    orders = [
        order("scalp-paper-SYN01-20261120-1-entry", "buy", "filled", 100, "10.00"),
        order("scalp-paper-SYN01-20261120-2-target", "sell", "filled", 100, "10.01"),
        order("scalp-paper-SYN02-20261120-1-entry", "buy", "filled", 50, "20.00"),
        order("scalp-paper-SYN02-20261120-2-target", "sell", "new", 50, "20.01"),
    ]
    return Snapshot(
        now=NOW,
        phases={"SYN01": "TO_BUY", "SYN02": "SELL_SUBMITTED"},
        orders=orders,
        trades=trades_of(orders),
        positions={"SYN02": {"qty": "50", "unrealized_pl": "-1.5"}},
        invocations=dict.fromkeys(FUNCTIONS, 3),
        errors=dict.fromkeys(FUNCTIONS, 0) | {"TickFunction": tick_errors},
        listening=1,
    )


def drawn(seen):
    text = StringIO()
    Console(file=text, width=120).print(table(seen))
    return text.getvalue()


def test_a_row_shows_phase_order_shares_and_profit():
    rows = {row.split("│")[1].strip(): row for row in drawn(snapshot()).splitlines() if "│" in row}
    cells = [cell.strip() for cell in rows["SYN02"].split("│")[1:-1]]
    assert cells == [
        "SYN02",
        "SELL_SUBMITTED",
        "sell 50 @ 20.01 (target)",
        "50",
        "",
        "",
        "-$1.50",
    ]
    assert "+$1.00" in rows["SYN01"]


def test_the_title_shows_the_time_the_invocations_and_the_relay():
    title = drawn(snapshot()).splitlines()[0]
    assert "10:32:10 New York" in title
    assert "3 ticks, 3 updates, 3 checkups, relay listens" in title


def test_a_line_shows_the_sums_of_the_table():
    assert line(snapshot()) == (
        "10:32:10 3 ticks, 3 updates, 3 checkups; 4 orders, 1 trades, 1 held, P&L +$1.00; "
        "1 SELL_SUBMITTED, 1 TO_BUY"
    )


def test_logged_errors_are_counted_in_capitals():
    assert "2 ERRORS" in line(snapshot(tick_errors=2))
