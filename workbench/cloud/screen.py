"""What a person sees of the stack: a table that is drawn anew, or lines where nothing can be."""

import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from types import FrameType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from scalper.core.order import ClientOrderId
from scalper.core.pricing import DOLLAR
from scalper.core.session import NEW_YORK
from workbench.cloud.trading import Cloud, Look, Options, trading

DRAW_EVERY_S = 1.0
LINE_EVERY_S = 15.0
OPEN = frozenset({"new", "accepted", "pending_new", "partially_filled", "pending_cancel"})


def watch(options: Options, seconds: float, console: Console) -> None:
    """Deploy, show the trading for so many seconds, end everything; raises CloudError."""
    with (
        _terminable(),
        trading(options, lambda line: console.print(line, style="dim", soft_wrap=True)) as cloud,
    ):
        deadline = time.monotonic() + seconds
        looks = _looks(cloud, deadline, DRAW_EVERY_S if console.is_terminal else LINE_EVERY_S)
        if console.is_terminal:
            with Live(console=console, auto_refresh=False) as live:
                for look in looks:
                    live.update(table(look), refresh=True)
        else:
            for look in looks:
                console.print(line(look), soft_wrap=True)
        console.print(table(cloud.look()) if not console.is_terminal else "")
        console.print(f"over; logs: {options.folder}")


def table(look: Look) -> Table:
    """Return the table: a row for each symbol that traded or is about to, and the sums."""
    now = f"{look.now.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} New York"
    relay = "relay listens" if look.listening else "no relay"
    drawn = Table(title=f"{now}: {_runs(look)}, {relay}", title_justify="left", show_footer=True)
    pnl, worth = _realised(look), _unrealised(look)
    trades = Counter(trade.symbol for trade in look.trades)
    drawn.add_column("Symbol", "All")
    drawn.add_column("Phase", f"{len(look.phases)} symbols", no_wrap=True)
    drawn.add_column("Order", f"{len(look.orders)} orders", no_wrap=True)
    drawn.add_column("Held", f"{len(look.positions)}", justify="right")
    drawn.add_column("Trades", str(len(look.trades)), justify="right")
    drawn.add_column("P&L", dollars(sum(pnl.values(), Decimal(0))), justify="right")
    drawn.add_column("Open P&L", dollars(sum(worth.values(), Decimal(0))), justify="right")
    working = {one["symbol"]: one for one in look.orders if one["status"] in OPEN}
    for symbol in sorted(set(look.phases) | set(look.positions) | set(working)):
        held = look.positions.get(symbol)
        drawn.add_row(
            symbol,
            look.phases.get(symbol, ""),
            _order(working.get(symbol)),
            str(held["qty"]) if held else "",
            str(trades[symbol] or ""),
            dollars(pnl[symbol]) if symbol in pnl else "",
            dollars(worth[symbol]) if symbol in worth else "",
        )
    return drawn


def line(look: Look) -> str:
    """Return one line that says the same in short."""
    phases = Counter(look.phases.values())
    busy = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
    pnl = dollars(sum(_realised(look).values(), Decimal(0)))
    return (
        f"{look.now.astimezone(NEW_YORK):%H:%M:%S} {_runs(look)}; {len(look.orders)} orders, "
        f"{len(look.trades)} trades, {len(look.positions)} held, P&L {pnl}; {busy}"
    )


def dollars(amount: Decimal) -> str:
    """Return an amount with its sign, to the cent."""
    return f"{'-' if amount < 0 else '+'}${abs(amount):,.2f}"


def _runs(look: Look) -> str:
    """Return what ran, and what complained."""
    names = (("TickFunction", "ticks"), ("TradeUpdateFunction", "updates"))
    told = [f"{look.runs[function]} {name}" for function, name in names]
    told.append(f"{look.runs['CheckupFunction']} checkups")
    errors = sum(look.complaints.values())
    return ", ".join([*told, *([f"{errors} ERRORS"] if errors else [])])


def _order(order: Mapping[str, Any] | None) -> str:
    if order is None:
        return ""
    own = ClientOrderId.parse(str(order["client_order_id"]))
    price = order.get("limit_price") or "market"
    purpose = own.purpose if own else "external"
    return f"{order['side']} {order['qty']} @ {price} ({purpose})"


def _realised(look: Look) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for trade in look.trades:
        found[trade.symbol] = found.get(trade.symbol, Decimal(0)) + Decimal(trade.pnl) / DOLLAR
    return found


def _unrealised(look: Look) -> dict[str, Decimal]:
    return {s: Decimal(one["unrealized_pl"]) for s, one in look.positions.items()}


def _looks(cloud: Cloud, deadline: float, every_s: float) -> Iterator[Look]:
    """Yield what is to be seen until the time is over, with a pause after each."""
    while (left := deadline - time.monotonic()) > 0:
        yield cloud.look()
        time.sleep(min(every_s, max(left, 0.0)))


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that it tears down."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
