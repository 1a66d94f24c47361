"""The fill rules, worked out by one plain loop that shares no code with the project.

Written from the text of the replay model, a rule at a time, for obviousness: dictionaries, Decimal
and a clock that goes minute by minute. It is what the real system's trades are compared with, so
it imports the standard library only.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)

TradeRow = tuple[str, str, str, str, str, str, str, str, str]
"""symbol, session, qty, entry_time, entry_price, exit_time, exit_price, exit_reason, pnl"""

CancelRow = tuple[str, str, str, str, str]
"""symbol, qty, limit, submitted_at, canceled_at: a buy that did not fill"""


def read_rows(*paths: Path) -> list[dict[str, str]]:
    """Return the rows of CSV files as they are."""
    rows = []
    for path in paths:
        with path.open(newline="") as file:
            rows += list(csv.DictReader(file))
    return rows


def plain_trades(
    rows: Iterable[Mapping[str, str]],
    session_open_utc: datetime,
    session_close_utc: datetime,
    lot: str = "2000",
) -> list[TradeRow]:
    """Return the rows of trades.csv for one session, by symbol, then entry time."""
    return plain_day(rows, session_open_utc, session_close_utc, lot)[0]


def plain_day(
    rows: Iterable[Mapping[str, str]],
    session_open_utc: datetime,
    session_close_utc: datetime,
    lot: str = "2000",
) -> tuple[list[TradeRow], list[CancelRow]]:
    """Return one session's trades and its canceled buys, by symbol, then time."""
    by_symbol: dict[str, dict[datetime, dict[str, Decimal]]] = {}
    for row in rows:
        start = datetime.fromisoformat(row["timestamp"])
        if session_open_utc <= start < session_close_utc:
            by_symbol.setdefault(row["symbol"], {})[start] = {
                name: exact(row[name]) for name in ("open", "high", "low", "close")
            }
    trades: list[TradeRow] = []
    cancels: list[CancelRow] = []
    for symbol in sorted(by_symbol):
        more = one_symbol(
            symbol, by_symbol[symbol], session_open_utc, session_close_utc, Decimal(lot)
        )
        trades += more[0]
        cancels += more[1]
    return trades, cancels


def one_symbol(
    symbol: str,
    bars: dict[datetime, dict[str, Decimal]],
    opens: datetime,
    closes: datetime,
    lot: Decimal,
) -> tuple[list[TradeRow], list[CancelRow]]:
    """Walk one symbol's session, minute by minute."""
    trades: list[TradeRow] = []
    cancels: list[CancelRow] = []
    liquidate_at = closes - timedelta(minutes=5)

    phase = "TO_BUY"
    qty = 0
    buy_limit = sell_limit = entry_price = Decimal(0)
    submitted_at = entry_time = liquidated_at = opens
    history: list[Decimal] = []

    def sold(at: datetime, price: Decimal, reason: str) -> None:
        trades.append(
            (
                symbol,
                closes.astimezone(ZoneInfo("America/New_York")).date().isoformat(),
                str(qty),
                stamp(entry_time),
                four(entry_price),
                stamp(at),
                four(price),
                reason,
                four(qty * (price - entry_price)),
            )
        )

    def canceled(at: datetime) -> None:
        cancels.append((symbol, str(qty), four(buy_limit), stamp(submitted_at), stamp(at)))

    now = opens + MINUTE
    while now <= closes:
        bar = bars.get(now - MINUTE)
        if bar is not None:
            history.append(bar["close"])

        # 1. The working order is matched against the bar that ends now.
        if bar is not None:
            if phase == "BUY_SUBMITTED":
                # Submitted at an earlier minute, so the bar's start is not before it.
                if bar["low"] <= buy_limit:
                    entry_price = min(bar["open"], buy_limit)
                    entry_time = now
                    # The exit goes out at once; this bar is over, it works from the next one.
                    sell_limit = to_tick(entry_price + Decimal("0.01"), ROUND_CEILING)
                    phase = "SELL_SUBMITTED"
            elif phase == "SELL_SUBMITTED":
                if bar["high"] >= sell_limit:
                    sold(now, max(bar["open"], sell_limit), "target")
                    phase = "TO_BUY"
            elif phase == "MARKET_SELL" and now - MINUTE >= liquidated_at:
                sold(now, bar["open"], "liquidation")
                phase = "DONE"

        # 2. One decision.
        if now >= liquidate_at:
            if phase == "BUY_SUBMITTED":
                canceled(now)
                phase = "DONE"
            elif phase == "SELL_SUBMITTED":
                liquidated_at = now
                phase = "MARKET_SELL"
            elif phase == "TO_BUY":
                phase = "DONE"
        elif phase == "TO_BUY":
            if bar is not None and crosses(history):
                buy_limit = to_tick(history[-1], ROUND_FLOOR)
                qty = int(lot // buy_limit)
                if qty > 0:
                    submitted_at = now
                    phase = "BUY_SUBMITTED"
        elif phase == "BUY_SUBMITTED" and now - submitted_at >= timedelta(seconds=120):
            canceled(now)
            phase = "TO_BUY"

        now += MINUTE

    if phase == "MARKET_SELL":
        # No bar came any more: the close of the last one of the session, known at the close.
        sold(closes, history[-1], "liquidation")
    return trades, cancels


def crosses(closes: Sequence[Decimal]) -> bool:
    """20*c[i-1] < S[i-1] and 20*c[i] > S[i], S[k] the sum of the closes of bars k-19..k."""
    if len(closes) < 21:
        return False
    before, newest = closes[-21:-1], closes[-20:]
    return 20 * closes[-2] < sum(before) and 20 * closes[-1] > sum(newest)


def exact(text: str) -> Decimal:
    """On the grid of ten-thousandths, halves to even."""
    return Decimal(text).quantize(Decimal("0.0001"), ROUND_HALF_EVEN)


def to_tick(price: Decimal, rounding: str) -> Decimal:
    """0.01 where the price is >= 1.00, else 0.0001."""
    return price.quantize(Decimal("0.01") if price >= 1 else Decimal("0.0001"), rounding)


def four(amount: Decimal) -> str:
    """Four decimals; nothing is rounded, for nothing here has more."""
    return str(amount.quantize(Decimal("0.0001")))


def stamp(at: datetime) -> str:
    """YYYY-MM-DDTHH:MM:SSZ."""
    return at.astimezone(ZoneInfo("UTC")).strftime("%Y-%m-%dT%H:%M:%SZ")
