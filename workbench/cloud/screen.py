"""Shows the emulated stack: a table that refreshes on a terminal, lines elsewhere."""

import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from scalper.core.order import OPEN_STATUSES, ClientOrderId
from scalper.core.pricing import Money, money, pnl_text
from scalper.core.session import NEW_YORK
from workbench.cloud.emulated_stack import EmulatedStack, Snapshot, TradingOptions, trading_stack

DRAW_EVERY_S = 1.0
LINE_EVERY_S = 15.0
COUNTED = {
    "TickFunction": "ticks",
    "TradeUpdateFunction": "updates",
    "CheckupFunction": "checkups",
}


def watch(options: TradingOptions, seconds: float, console: Console) -> None:
    """Deploy, show the trading for so many seconds, end everything; raises CloudError."""

    def report(step: str) -> None:
        console.print(step, style="dim", soft_wrap=True)

    with _sigterm_interrupts(), trading_stack(options, report) as stack:
        deadline = time.monotonic() + seconds
        every_s = DRAW_EVERY_S if console.is_terminal else LINE_EVERY_S
        if console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                for seen in _snapshots(stack, deadline, every_s):
                    live.update(table(seen), refresh=True)
        else:
            for seen in _snapshots(stack, deadline, every_s):
                console.print(line(seen), soft_wrap=True)
        console.print(table(stack.snapshot()) if not console.is_terminal else "")
        console.print(f"over; logs: {options.folder}")


def table(seen: Snapshot) -> Table:
    """Return a table with a row for each symbol that has a phase, shares or an open order."""
    now = f"{seen.now.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} New York"
    relay = "relay listens" if seen.listening else "no relay"
    title = f"{now}: {_invocations(seen)}, {relay}"
    drawn = Table(title=title, title_justify="left", show_footer=True)
    realized, unrealized = _realized(seen), _unrealized(seen)
    trades = Counter(trade.symbol for trade in seen.trades)
    drawn.add_column("Symbol", "All")
    drawn.add_column("Phase", f"{len(seen.phases)} symbols", no_wrap=True)
    drawn.add_column("Order", f"{len(seen.orders)} orders", no_wrap=True)
    drawn.add_column("Held", f"{len(seen.positions)}", justify="right")
    drawn.add_column("Trades", str(len(seen.trades)), justify="right")
    drawn.add_column("P&L", pnl_text(sum(realized.values())), justify="right")
    drawn.add_column("Open P&L", pnl_text(sum(unrealized.values())), justify="right")
    working = {one["symbol"]: one for one in seen.orders if one["status"] in OPEN_STATUSES}
    for symbol in sorted(set(seen.phases) | set(seen.positions) | set(working)):
        held = seen.positions.get(symbol)
        drawn.add_row(
            symbol,
            seen.phases.get(symbol, ""),
            _order(working.get(symbol)),
            str(held["qty"]) if held else "",
            str(trades[symbol] or ""),
            pnl_text(realized[symbol]) if symbol in realized else "",
            pnl_text(unrealized[symbol]) if symbol in unrealized else "",
        )
    return drawn


def line(seen: Snapshot) -> str:
    """Return the sums of the table in one line."""
    phases = Counter(seen.phases.values())
    counts = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
    pnl = pnl_text(sum(_realized(seen).values()))
    return (
        f"{seen.now.astimezone(NEW_YORK):%H:%M:%S} {_invocations(seen)}; "
        f"{len(seen.orders)} orders, {len(seen.trades)} trades, {len(seen.positions)} held, "
        f"P&L {pnl}; {counts}"
    )


def _invocations(seen: Snapshot) -> str:
    """Return how often the functions ran, and how many errors they logged, if any."""
    counts = [f"{seen.invocations[function]} {name}" for function, name in COUNTED.items()]
    errors = sum(seen.errors.values())
    return ", ".join([*counts, *([f"{errors} ERRORS"] if errors else [])])


def _order(order: Mapping[str, Any] | None) -> str:
    if order is None:
        return ""
    own = ClientOrderId.parse(str(order["client_order_id"]))
    price = order.get("limit_price") or "market"
    purpose = own.purpose if own else "external"
    return f"{order['side']} {order['qty']} @ {price} ({purpose})"


def _realized(seen: Snapshot) -> dict[str, Money]:
    found: dict[str, Money] = {}
    for trade in seen.trades:
        found[trade.symbol] = found.get(trade.symbol, 0) + trade.pnl
    return found


def _unrealized(seen: Snapshot) -> dict[str, Money]:
    return {s: money(one["unrealized_pl"]) for s, one in seen.positions.items()}


def _snapshots(stack: EmulatedStack, deadline: float, every_s: float) -> Iterator[Snapshot]:
    """Yield a snapshot every `every_s` seconds until the deadline."""
    while (left := deadline - time.monotonic()) > 0:
        yield stack.snapshot()
        time.sleep(min(every_s, max(left, 0.0)))


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that the block cleans up."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
