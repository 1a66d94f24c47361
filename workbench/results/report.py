"""The report of a run: one HTML page with its trades on the bars that they were made on.

The page fetches nothing: styles, scripts and the chart library are in it. Amounts are exact until
they become text; only the charts turn them into floats.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from scalper.core.order import Purpose
from scalper.core.pricing import CENT, Money, money, price_text
from scalper.core.session import NEW_YORK, Session, new_york_text, parse_time
from scalper.core.signal import WINDOW, Bar
from workbench.market.model import Market, MarketDay
from workbench.results.trades import AlpacaOrder, Trade, is_cancel, own_orders

FILL_RULES = (
    "A limit buy fills at the lower of its limit and the bar’s open once a bar’s low reaches it; "
    "an exit at the higher of its limit and the open, from the bar after the fill on; a market "
    "sale at the next open. Fills are whole; no fees, no slippage."
)
TEMPLATE = Path(__file__).with_name("report.html")
REFUSED_SHOWN = 100
"""How many refused rows the page lists; the others are counted."""
SPARK_POINTS = 72
_SPARK_WIDTH, _SPARK_HEIGHT = 96, 26
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def report_page(
    market: Market,
    trades: Sequence[Trade],
    orders: Sequence[AlpacaOrder],
    summary: Mapping[str, Any],
) -> str:
    """Return the page as HTML; `summary` is summary.json's object."""
    from plotly.offline import get_plotlyjs  # five megabytes, needed for this alone

    pnl = sum(trade.pnl for trade in trades)
    cancels = [
        (own.symbol, order)
        for own, order in own_orders(orders)
        if own.purpose is Purpose.ENTRY and is_cancel(order)
    ]
    parts = {
        "title": escape(f"{_dates(market)} · {_signed(pnl)} · scalper"),
        "badge": '<span class="badge">Synthetic</span>' if market.synthetic else "",
        "synthetic": " · synthetic market" if market.synthetic else "",
        "source": escape(market.source),
        "dates": escape(_dates(market)),
        "hours": escape(_hours(market)),
        "notices": _notices(market, summary),
        "tiles": _tiles(market, trades, len(cancels), summary),
        "rules": escape(FILL_RULES),
        "symbols": "\n".join(_symbol_button(market, trades, symbol) for symbol in market.symbols),
        "sessions": _session_options(market),
        "several": "" if len(market.days) > 1 else "hidden",
        "alone": "alone" if len(market.symbols) == 1 else "",
        "window": str(WINDOW),
        "trades": "\n".join(_trade_row(trade) for trade in trades)
        or '<tr class="none"><td colspan="9">No trades.</td></tr>',
        "table_note": _table_note(trades),
        "footer": escape(_footer(summary)),
        "data": _script_json(_chart_data(market, trades, cancels)),
        "plotly": get_plotlyjs().replace("</script", "<\\/script"),
    }
    return _PLACE.sub(lambda found: parts[found[1]], TEMPLATE.read_text(encoding="utf-8"))


def _chart_data(
    market: Market, trades: Sequence[Trade], cancels: Sequence[tuple[str, AlpacaOrder]]
) -> dict[str, Any]:
    """Return what the charts draw: minutes of the New York day, prices in ten-thousandths."""
    sessions = {day.session.day: day.session for day in market.days}
    return {
        "window": WINDOW,
        "synthetic": market.synthetic,
        "sessions": [
            {
                "day": str(day),
                "label": _day_text(day),
                "open": _minute(session.open),
                "close": _minute(session.close),
            }
            for day, session in sessions.items()
        ],
        "bars": {
            symbol: {
                str(day.session.day): _columns(day.session_bars(symbol))
                for day in market.days
                if symbol in day.bars
            }
            for symbol in market.symbols
        },
        "trades": [
            [
                trade.symbol,
                str(trade.session),
                trade.qty,
                _bar_minute(trade.entry_time),
                trade.entry_price,
                _bar_minute(trade.exit_time),
                trade.exit_price,
                str(trade.exit_reason),
                trade.pnl,
                _minute(trade.exit_time),
            ]
            for trade in trades
        ],
        "cancels": [_cancel(symbol, order) for symbol, order in cancels],
    }


def _columns(bars: Sequence[Bar]) -> dict[str, list[int]]:
    """Return bars as columns, a fifth of the size of rows with names."""
    pick: dict[str, Callable[[Bar], int]] = {
        "t": lambda bar: _minute(bar.start),
        "o": lambda bar: bar.open,
        "h": lambda bar: bar.high,
        "l": lambda bar: bar.low,
        "c": lambda bar: bar.close,
        "v": lambda bar: bar.volume,
    }
    return {name: [get(bar) for bar in bars] for name, get in pick.items()}


def _cancel(symbol: str, order: AlpacaOrder) -> list[Any]:
    """Return a buy that did not fill: its limit, and from when to when it was open."""
    start = parse_time(str(order["submitted_at"]))
    ends = order.get("canceled_at") or order.get("expired_at") or order["submitted_at"]
    end = parse_time(str(ends))
    limit = money(order["limit_price"]) if order.get("limit_price") else 0
    day = str(start.astimezone(NEW_YORK).date())
    return [symbol, day, limit, _minute(start), _minute(end), int(Decimal(str(order["qty"])))]


def _minute(at: datetime) -> int:
    """Return the minutes since midnight of a New York wall clock."""
    wall = at.astimezone(NEW_YORK)
    return wall.hour * 60 + wall.minute


def _bar_minute(at: datetime) -> int:
    """Return the start of the bar that ended at `at`: what happened in it is known at its end."""
    return _minute(at - timedelta(microseconds=1))


def _tiles(
    market: Market, trades: Sequence[Trade], canceled: int, summary: Mapping[str, Any]
) -> str:
    """Return the row of key figures."""
    pnl = sum(trade.pnl for trade in trades)
    wins = sum(trade.pnl > 0 for trade in trades)
    turnover = sum(trade.qty * trade.entry_price for trade in trades)
    tiles = [
        ("P&L", _signed(pnl), f"on {_dollars(turnover)} bought" if trades else "", _tone(pnl)),
        ("Trades", f"{len(trades):,}", _reasons(trades), ""),
    ]
    if trades:
        holds = [(trade.exit_time - trade.entry_time) // timedelta(minutes=1) for trade in trades]
        best, worst = max(trade.pnl for trade in trades), min(trade.pnl for trade in trades)
        tiles += [
            ("Win rate", f"{100 * wins / len(trades):.0f}\u202f%", f"{wins:,} won", ""),
            ("Median hold", f"{median(holds):g} min", f"longest {max(holds):,} min", ""),
            ("Best trade", _signed(best), f"worst {_signed(worst)}", ""),
        ]
    buys = summary.get("buys")
    of_buys = f"of {buys:,} buys sent" if isinstance(buys, int) else ""
    tiles.append(("Buys canceled", f"{canceled:,}", of_buys, ""))
    tiles.append(("Bars", f"{market.bar_count:,}", _count(len(market.symbols), "symbol"), ""))
    return "\n".join(
        f'<div class="tile"><dt>{escape(name)}</dt><dd class="{tone}">{escape(value)}</dd>'
        f"<dd>{escape(note)}</dd></div>"
        for name, value, note, tone in tiles
    )


def _notices(market: Market, summary: Mapping[str, Any]) -> str:
    """Return the warnings: shares still held, rows left out."""
    notices = []
    left = [
        _count(number, name)
        for key, name in (("open_positions", "open position"), ("open_orders", "open order"))
        if isinstance(number := summary.get(key), int) and number
    ]
    if left:
        notices.append(f'<p class="notice alarm">Not flat at the end: {" and ".join(left)}.</p>')
    if market.refused:
        lines = "\n".join(escape(line) for line in market.refused[:REFUSED_SHOWN])
        more = len(market.refused) - REFUSED_SHOWN
        rest = f"\nand {more:,} more" if more > 0 else ""
        title = f"{_count(len(market.refused), 'row')} of the bars refused"
        notices.append(
            f'<details class="notice"><summary>{title}</summary><pre>{lines}{rest}</pre></details>'
        )
    return "\n".join(notices)


def _symbol_button(market: Market, trades: Sequence[Trade], symbol: str) -> str:
    """Return the symbol's button in the list: a line of its closes, its trades and P&L."""
    own = [trade for trade in trades if trade.symbol == symbol]
    pnl = sum(trade.pnl for trade in own)
    closes = [bar.close for day in market.days for bar in day.session_bars(symbol)]
    name = escape(symbol)
    label = f"{name}: {_count(len(own), 'trade')}, {_signed(pnl)}"
    return (
        f'<li><button type="button" class="symbol" data-symbol="{name}" aria-pressed="false"'
        f' aria-label="{label}">'
        f'<span class="name">{name}<small>{_count(len(own), "trade")}</small></span>'
        f'{_spark(closes)}<span class="pnl {_tone(pnl)}">{_signed(pnl)}</span></button></li>'
    )


def _spark(closes: Sequence[Money]) -> str:
    """Return a small chart of the closes, with as many points as it can show."""
    last = len(closes) - 1
    points = min(SPARK_POINTS, len(closes))
    picked = [closes[round(n * last / max(1, points - 1))] for n in range(points)]
    low, span = min(picked), max(max(picked) - min(picked), 1)
    line = " ".join(
        f"{n * _SPARK_WIDTH / max(1, points - 1):.1f},"
        f"{_SPARK_HEIGHT - 2 - (price - low) * (_SPARK_HEIGHT - 4) / span:.1f}"
        for n, price in enumerate(picked)
    )
    return (
        f'<svg class="spark" viewBox="0 0 {_SPARK_WIDTH} {_SPARK_HEIGHT}" aria-hidden="true">'
        f'<polyline points="{line}"/></svg>'
    )


def _session_options(market: Market) -> str:
    return "\n".join(
        f'<option value="{day.session.day}">{escape(_day_text(day.session.day))}</option>'
        for day in market.days
    )


def _trade_row(trade: Trade) -> str:
    """Return a row of the table; `data-v` is what its column sorts by."""
    name = escape(trade.symbol)
    held = (trade.exit_time - trade.entry_time) // timedelta(minutes=1)
    cells: Iterable[tuple[str, str, str]] = (
        (name, f'<button type="button" class="link">{name}</button>', ""),
        (str(trade.session), f"{trade.session}", ""),
        (str(trade.qty), f"{trade.qty:,}", "n"),
        (trade.entry_time.isoformat(), new_york_text(trade.entry_time), "n"),
        (str(trade.entry_price), price_text(trade.entry_price), "n"),
        (trade.exit_time.isoformat(), f"{new_york_text(trade.exit_time)}", "n"),
        (str(trade.exit_price), price_text(trade.exit_price), "n"),
        (f"{trade.exit_reason} {held:06d}", _reason(trade.exit_reason, held), ""),
        (str(trade.pnl), _signed(trade.pnl, exact=True), f"n {_tone(trade.pnl)}"),
    )
    inner = "".join(
        f'<td class="{kind}" data-v="{value}">{shown}</td>' for value, shown, kind in cells
    )
    return (
        f'<tr data-symbol="{name}" data-session="{trade.session}"'
        f' data-from="{_bar_minute(trade.entry_time)}" data-to="{_bar_minute(trade.exit_time)}">'
        f"{inner}</tr>"
    )


def _reason(reason: Purpose, held: int) -> str:
    return f'<span class="reason {reason}">{reason}</span> <small>{held:,} min</small>'


def _table_note(trades: Sequence[Trade]) -> str:
    if not trades:
        return "The signal gave no entry that filled."
    return "Times are New York’s, the end of the bar in which the fill happened."


def _reasons(trades: Sequence[Trade]) -> str:
    counts = {reason: sum(trade.exit_reason is reason for trade in trades) for reason in Purpose}
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)


def _footer(summary: Mapping[str, Any]) -> str:
    facts = []
    if isinstance(ticks := summary.get("ticks"), int):
        facts.append(_count(ticks, "tick"))
    if isinstance(seconds := summary.get("seconds"), (int, float)):
        facts.append(f"run in {seconds:.1f} s")
    return " · ".join(["scalper", *facts])


def _dates(market: Market) -> str:
    days = [day.session.day for day in market.days]
    if len(days) == 1:
        return _day_text(days[0])
    return f"{_day_text(days[0])} – {_day_text(days[-1])}, {len(days)} sessions"


def _hours(market: Market) -> str:
    """Return the hours of the sessions, if all days have the same."""
    hours = {_hours_of(day) for day in market.days}
    return f"{hours.pop()} New York" if len(hours) == 1 else "hours differ by day, New York"


def _hours_of(day: MarketDay) -> str:
    session: Session = day.session
    return f"{new_york_text(session.open)}–{new_york_text(session.close)}"


def _day_text(day: date) -> str:
    return f"{day:%a} {day.day} {day:%b %Y}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


def _tone(amount: Money) -> str:
    return "up" if amount > 0 else "down" if amount < 0 else ""


def _dollars(amount: Money) -> str:
    """Return an amount that is not negative as whole dollars."""
    return f"${round(Decimal(amount) / 10_000):,}"


def _signed(amount: Money, *, exact: bool = False) -> str:
    """Return a profit for people: "+$6.26", "−$0.04"; `exact` keeps parts of a cent."""
    sign = "+" if amount > 0 else "−" if amount < 0 else ""
    decimals = 4 if exact and amount % CENT else 2
    return f"{sign}${Decimal(abs(amount)) / 10_000:,.{decimals}f}"


def _script_json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
