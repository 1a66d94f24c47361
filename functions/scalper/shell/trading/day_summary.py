"""The day's result: its trades by the broker's orders, compared with the broker's fills.

The broker keeps orders and account activities apart. If an order was missed, counted twice or
corrected, the cash of one record differs from that of the other.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from scalper.core.model import SymbolState
from scalper.core.order import ClientOrderId, OrderReport, Purpose
from scalper.core.pricing import CENT, DOLLAR, Money, pnl_text
from scalper.core.recovery import Exit, exits_of, rebuild
from scalper.shell.ports import Fill
from scalper.shell.trading.own_orders import own_reports

MAX_LISTED = 100
"""Symbols that the mail lists one by one."""


@dataclass(frozen=True, slots=True)
class DayResult:
    """A session by the broker's orders."""

    day: date
    states: Sequence[SymbolState]
    """The state of each traded symbol, rebuilt from its orders."""
    exits: Sequence[Exit]
    older: Mapping[str, Money]
    """Proceeds of shares of an older session, by symbol. No order of the day shows their cost."""
    own_ids: Mapping[str, str]
    """The symbol of each order of ours, by the broker's id, successors included."""

    @property
    def pnl(self) -> Money:
        """The day's profit or loss, before fees."""
        return sum(state.pnl for state in self.states)

    @property
    def trades(self) -> int:
        """How many sells filled."""
        return sum(state.trades for state in self.states)

    @property
    def wins(self) -> int:
        """How many trades earned more than they cost."""
        return sum(one.pnl > 0 for one in self.exits)

    @property
    def by_reason(self) -> Mapping[str, int]:
        """The number of trades by kind of exit, the most frequent first."""
        return dict(Counter(one.purpose.value for one in self.exits).most_common())

    @property
    def ranking(self) -> Sequence[SymbolState]:
        """The symbols with a trade, the best first."""
        traded = [state for state in self.states if state.trades]
        return sorted(traded, key=lambda state: (-state.pnl, state.symbol))

    def mismatches(self, fills: Iterable[Fill]) -> Mapping[str, tuple[Money, Money]]:
        """Return the symbols whose orders and fills disagree: cash by orders, cash by fills.

        The broker rounds average prices, so a difference below a cent does not count.
        """
        by_fills: dict[str, Money] = defaultdict(int)
        for fill in fills:
            if fill.order_id in self.own_ids:
                symbol = self.own_ids[fill.order_id]
                by_fills[symbol] += -fill.value if fill.is_buy else fill.value
        by_orders = {s.symbol: _cash(s) + self.older.get(s.symbol, 0) for s in self.states}
        pairs = {
            symbol: (by_orders.get(symbol, 0), by_fills.get(symbol, 0))
            for symbol in sorted({*by_orders, *by_fills})
        }
        return {symbol: (a, b) for symbol, (a, b) in pairs.items() if abs(a - b) >= CENT}


def day_result(reports: Sequence[OrderReport], day: date, mode: str, at: datetime) -> DayResult:
    """Return what the orders of a day earned; orders of other days do not count."""
    own = own_reports(reports, mode)
    states = [rebuild(symbol, day, mode, own[symbol], at) for symbol in sorted(own)]
    exits = [one for symbol in sorted(own) for one in exits_of(symbol, day, mode, own[symbol], at)]
    return DayResult(
        day=day,
        states=[state for state in states if state.generation],
        exits=exits,
        older={symbol: _sold_of_older(own[symbol], day) for symbol in sorted(own)},
        own_ids=_own_ids(reports, day, mode),
    )


def _own_ids(reports: Sequence[OrderReport], day: date, mode: str) -> dict[str, str]:
    by_id = {report.broker_id: report for report in reports}
    found: dict[str, str] = {}
    for report in reports:
        name = ClientOrderId.parse(report.client_order_id)
        if name is None or (name.mode, name.day) != (mode, day):
            continue
        newest: OrderReport | None = report
        while newest is not None and newest.broker_id not in found:
            found[newest.broker_id] = name.symbol
            newest = by_id.get(newest.replaced_by) if newest.status == "replaced" else None
    return found


def _cash(state: SymbolState) -> Money:
    """Return the cash that a symbol's orders moved: proceeds less payments."""
    order, cash = state.order, state.pnl - state.cost
    if order is None:
        return cash
    return cash + (-order.filled_value if order.is_buy else order.filled_value)


def _sold_of_older(reports: Iterable[OrderReport], day: date) -> Money:
    """Return the proceeds of the shares that no order of the day had bought."""
    named = [(ClientOrderId.parse(report.client_order_id), report) for report in reports]
    orders = [(name, report) for name, report in named if name is not None and name.day == day]
    held, brought = 0, 0
    for name, report in sorted(orders, key=lambda one: one[0].generation):
        if name.purpose is Purpose.ENTRY:
            held += report.filled_qty
        elif report.filled_qty > held:
            brought += report.filled_value - report.filled_value * held // report.filled_qty
            held = 0
        else:
            held -= report.filled_qty
    return brought


@dataclass(frozen=True, slots=True)
class CloseCheck:
    """What is left at the broker after the close, and what else the owner has to know."""

    still_held: Mapping[str, int]
    """Shares of ours by symbol."""
    still_open: Sequence[str]
    """Client ids of orders of ours."""
    mismatches: Mapping[str, tuple[Money, Money]] | None
    """None if the fills could not be read."""
    halts: Mapping[str, str] | None
    """The reason by symbol, or by "account"; None if the table could not be read."""

    @property
    def flat(self) -> bool:
        """Whether nothing of ours is held or open."""
        return not self.still_held and not self.still_open


def summary_text(day: DayResult, found: CloseCheck, mode: str) -> tuple[str, str]:
    """Return the subject and the text of the day's mail."""
    flat = "flat" if found.flat else "NOT FLAT"
    subject = f"Scalper {day.day}: {pnl_text(day.pnl)}, {day.trades} trades, {flat}"
    ranking = day.ranking
    rate = f", {day.wins} won ({day.wins / day.trades:.0%})" if day.trades else ""
    reasons = ", ".join(f"{number} {reason}" for reason, number in day.by_reason.items())
    rows = [
        ("Session", f"{day.day}, {mode}"),
        ("P&L", pnl_text(day.pnl)),
        ("Trades", f"{day.trades}{rate}"),
        ("Exits", reasons or "none"),
        *[
            (what, f"{one.symbol} {pnl_text(one.pnl)}, {one.trades} trades")
            for what, one in zip(("Best", "Worst"), (*ranking[:1], *ranking[-1:]), strict=False)
        ],
        ("Account", flat),
        ("P&L check", _check_text(found)),
        ("Halts", _halts_text(found)),
    ]
    lines = [f"{what:<10} {text}" for what, text in rows]
    lines += [f"STILL HELD: {qty} {symbol}" for symbol, qty in found.still_held.items()]
    lines += [f"STILL OPEN: {client_order_id}" for client_order_id in found.still_open]
    lines += [
        f"MISMATCH: {symbol} {pnl_text(by_orders)} by its orders, {pnl_text(by_fills)} by its fills"
        for symbol, (by_orders, by_fills) in (found.mismatches or {}).items()
    ]
    lines += ["", *(_symbol_text(state) for state in ranking[:MAX_LISTED])]
    if len(ranking) > MAX_LISTED:
        lines.append(f"and {len(ranking) - MAX_LISTED} more")
    return subject, "\n".join([subject, "", *lines]).rstrip()


def _symbol_text(state: SymbolState) -> str:
    return f"{state.symbol:<10} {state.trades:>4} trades {state.pnl / DOLLAR:>12,.2f}"


def _check_text(found: CloseCheck) -> str:
    if found.mismatches is None:
        return "NOT CHECKED: the broker's fills could not be read"
    if found.mismatches:
        return f"DISAGREES with the broker's fills: {', '.join(found.mismatches)}"
    return "agrees with the broker's fills"


def _halts_text(found: CloseCheck) -> str:
    if found.halts is None:
        return "not known: the state table could not be read"
    return ", ".join(f"{who}: {why}" for who, why in found.halts.items()) or "none"
