"""`scalper status`: what each symbol is doing now, from the state table."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from scalper.core.model import Phase, SymbolState
from scalper.core.pricing import DOLLAR, price_text
from workbench.operate.subject import Subject


@dataclass(frozen=True, slots=True)
class SymbolStatus:
    """The line of one symbol; money in dollars."""

    symbol: str
    session: str
    phase: str
    qty: int
    entry_price: str | None
    order: str | None
    trades: int
    pnl_usd: float
    halt: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """What the state table says."""

    mode: str
    account_halt: str
    symbols: tuple[SymbolStatus, ...]
    waiting: int
    """How many symbols of the table only wait for a signal."""
    last_day: dict[str, Any] | None
    """The newest day that close_day recorded."""

    @property
    def pnl_usd(self) -> float:
        """The P&L of the shown symbols' sessions so far, before fees."""
        return sum(one.pnl_usd for one in self.symbols)


def status_of(subject: Subject, *, every: bool = False) -> Status:
    """Return the status; symbols that only wait are counted, and with `every` also listed.

    Raises StoreError, or what the AWS SDK raises.
    """
    today = subject.trading_day()
    states, (rows, _) = subject.states(), subject.rows()
    lines = [
        _line(state)
        for _, state in sorted(states.items())
        if every or not _waits(state, today.isoformat())
    ]
    days = [item["document"]["S"] for item in subject.items(f"day#{subject.settings.mode}")]
    return Status(
        mode=subject.settings.mode,
        account_halt=subject.store.account_halt(),
        symbols=tuple(lines),
        waiting=len(rows.keys() | states.keys()) - len(lines),
        last_day=json.loads(days[-1]) if days else None,
    )


def document(status: Status) -> dict[str, Any]:
    """Return the status as `--json` prints it."""
    return {**asdict(status), "pnl_usd": status.pnl_usd}


def show(console: Console, status: Status) -> None:
    """Print a line for each shown symbol, and the sums."""
    if status.account_halt:
        console.print(
            f"The account is halted: {status.account_halt}", style="bold red", markup=False
        )
    table = Table(box=None, pad_edge=False)
    for name in ("symbol", "phase", "halt", "order"):
        table.add_column(name)
    for name in ("qty", "entry", "trades", "P&L"):
        table.add_column(name, justify="right")
    for one in status.symbols:
        table.add_row(
            one.symbol,
            one.phase,
            one.halt or "",
            one.order or "",
            str(one.qty or ""),
            one.entry_price or "",
            str(one.trades),
            f"{one.pnl_usd:,.2f}",
        )
    if status.symbols:
        console.print(table)
    console.print(
        f"{status.mode}: {len(status.symbols)} symbols shown, {status.waiting} wait; "
        f"P&L of those shown {status.pnl_usd:,.2f} USD"
    )
    if status.last_day is not None:
        day = status.last_day
        flat = "flat" if day.get("flat") else "NOT FLAT"
        console.print(
            f"last closed day {day.get('session')}: {day.get('trades')} trades, "
            f"{day.get('pnl_usd')} USD, {flat}",
            markup=False,
        )


def _waits(state: SymbolState, today: str) -> bool:
    """Return whether the symbol has no shares, order, trade or halt in this session."""
    old = state.session.isoformat() < today
    idle = state.is_flat and state.phase in (Phase.TO_BUY, Phase.DONE)
    return idle and (old or (state.trades == 0 and state.entries == 0 and state.halt is None))


def _line(state: SymbolState) -> SymbolStatus:
    order = state.order
    return SymbolStatus(
        symbol=state.symbol,
        session=state.session.isoformat(),
        phase=state.phase,
        qty=state.qty,
        entry_price=price_text(state.entry_price) if state.qty else None,
        order=None if order is None else f"{order.client_order_id} {order.status or 'sent'}",
        trades=state.trades,
        pnl_usd=state.pnl / DOLLAR,
        halt=state.halt,
    )
