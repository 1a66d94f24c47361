"""The market-data API: bars, latest bars, trades, quotes and snapshots, as of the exchange's now.

Every feed is served the same bars, as given: adjustments are accepted and change nothing.
Missing symbols are missing keys, never errors; a malformed symbol refuses the whole request.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from scalper.core.pricing import Money
from scalper.core.session import MINUTE, new_york_day
from scalper.core.signal import Bar
from workbench.exchange import refusals, render
from workbench.exchange.calls import Answer, Call, Endpoint
from workbench.exchange.refusals import Refusal
from workbench.exchange.venue import Venue
from workbench.exchange.wire import parse_stamp, parse_wire_time, stamp

BARS_DEFAULT, BARS_MOST = 1000, 10_000
MAX_SYMBOLS = 10_000
_SYMBOL = re.compile(r"[A-Z][A-Z0-9.]{0,11}", re.ASCII)
_FEEDS = ("sip", "iex", "otc", "boats")
_LATEST_FEEDS = (*_FEEDS, "delayed_sip", "overnight")
_ADJUSTMENTS = frozenset({"raw", "split", "dividend", "spin-off", "all"})


# Bars --------------------------------------------------------------------------------------


def get_bars(venue: Venue, call: Call) -> Answer:
    """Return a page of ended bars of many symbols, sorted by symbol, then time."""
    found, token = _page(venue, call, _symbols(call))
    return Answer(
        {
            "bars": {symbol: [render.bar(bar) for bar in bars] for symbol, bars in found},
            "next_page_token": token,
        }
    )


def get_bars_of_symbol(venue: Venue, call: Call) -> Answer:
    """Return a page of ended bars of one symbol."""
    symbol = _checked(call.path["symbol"])
    found, token = _page(venue, call, [symbol])
    bars = [render.bar(bar) for _, bars in found for bar in bars]
    return Answer({"bars": bars, "symbol": symbol, "next_page_token": token})


def _page(
    venue: Venue, call: Call, symbols: Sequence[str]
) -> tuple[list[tuple[str, Sequence[Bar]]], str | None]:
    """Collect up to `limit` bars across all symbols; symbols without one are left out."""
    first, last = _range(venue, call)
    limit = _limit(call)
    descending = _choice(call, "sort", ("asc", "desc")) == "desc"
    resume_symbol, resume_at = _resume(call)
    found: list[tuple[str, Sequence[Bar]]] = []
    for symbol in symbols:
        if resume_symbol is not None and symbol < resume_symbol:
            continue
        low, high = first, last
        if symbol == resume_symbol and resume_at is not None:
            low, high = (first, resume_at) if descending else (resume_at, last)
        bars = venue.tape.between(symbol, low, high, now=venue.now)
        if descending:
            bars = bars[::-1]
        if not bars:
            continue
        if limit == 0:
            return found, _token(symbol, bars[0].start)
        if len(bars) > limit:
            return [*found, (symbol, bars[:limit])], _token(symbol, bars[limit].start)
        found.append((symbol, bars))
        limit -= len(bars)
    return found, None


def _range(venue: Venue, call: Call) -> tuple[datetime, datetime]:
    """Read the parameters of a bars request; the start defaults to the current New York day."""
    frame = call.query.get("timeframe")
    if frame not in ("1Min", "1T"):
        raise refusals.bad_data_request(f"invalid timeframe: {frame}; simulated are 1Min bars only")
    _choice(call, "feed", _FEEDS)
    adjustment = call.query.get("adjustment") or "raw"
    if not _ADJUSTMENTS.issuperset(adjustment.split(",")):
        raise refusals.bad_data_request(f"invalid adjustment: {adjustment}")
    today = new_york_day(venue.now).isoformat()
    first = _time("start", call.query.get("start") or today, end_of_day=False)
    last = _time("end", call.query.get("end") or stamp(venue.now), end_of_day=True)
    if first > last:
        raise refusals.bad_data_request("end should not be before start")
    return first, last


def _time(name: str, text: str, *, end_of_day: bool) -> datetime:
    """Read a time; nanoseconds beyond the microsecond are rounded inwards."""
    try:
        ns = parse_stamp(text, end_of_day=end_of_day)
    except (ValueError, OverflowError):
        raise refusals.bad_data_request(f"invalid {name}: {text}") from None
    micro = ns // 1000 if end_of_day else -(-ns // 1000)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micro)


def _limit(call: Call) -> int:
    try:
        return call.whole("limit", BARS_DEFAULT, BARS_MOST)
    except Refusal as refusal:
        raise refusals.bad_data_request(str(refusal.body["message"])) from None


def _choice(call: Call, name: str, choices: tuple[str, ...]) -> str:
    try:
        return call.choice(name, choices)
    except Refusal as refusal:
        raise refusals.bad_data_request(str(refusal.body["message"])) from None


def _token(symbol: str, start: datetime) -> str:
    """Return the page token that names the next bar."""
    return base64.urlsafe_b64encode(f"{symbol}|M|{stamp(start)}".encode()).decode()


def _resume(call: Call) -> tuple[str | None, datetime | None]:
    token = call.query.get("page_token")
    if not token:
        return None, None
    try:
        symbol, _, start = base64.urlsafe_b64decode(token).decode().split("|")
        return symbol, parse_wire_time(start)
    except (ValueError, binascii.Error):
        raise refusals.bad_data_request("invalid page_token") from None


def _symbols(call: Call) -> list[str]:
    """Return the symbols asked for, sorted, each once; raises 400 if one is malformed."""
    names = call.query.get("symbols", "").split(",")
    if names == [""]:
        raise refusals.bad_data_request("symbols is required")
    if len(names) > MAX_SYMBOLS:
        raise refusals.bad_data_request(f"more than {MAX_SYMBOLS} symbols")
    return sorted({_checked(name) for name in names})


def _checked(symbol: str) -> str:
    if not _SYMBOL.fullmatch(symbol):
        raise refusals.bad_data_request(f"invalid symbol: {symbol}")
    return symbol


# The latest --------------------------------------------------------------------------------

Latest = Callable[[Venue, str], render.Json | None]


def _last_trade(venue: Venue, symbol: str) -> tuple[Money, datetime] | None:
    """Return the last price and when it was made: now for a fill, else the bar's end."""
    price = venue.last_trade(symbol)
    bar = venue.tape.latest(symbol, now=venue.now)
    if price is None:
        return None
    told_now = bar is None or price != bar.close
    return price, venue.now if told_now or bar is None else bar.start + MINUTE


def _bar(venue: Venue, symbol: str) -> render.Json | None:
    bar = venue.tape.latest(symbol, now=venue.now)
    return render.bar(bar) if bar else None


def _trade(venue: Venue, symbol: str) -> render.Json | None:
    last = _last_trade(venue, symbol)
    return render.trade(*last) if last else None


def _quote(venue: Venue, symbol: str) -> render.Json | None:
    last = _last_trade(venue, symbol)
    return render.quote(*last) if last else None


def _snapshot(venue: Venue, symbol: str) -> render.Json | None:
    bar, trade, quote = _bar(venue, symbol), _trade(venue, symbol), _quote(venue, symbol)
    if bar is None:
        return None
    shown: render.Json = {"latestTrade": trade, "latestQuote": quote, "minuteBar": bar}
    today = new_york_day(venue.now)
    for name, day in (
        ("dailyBar", venue.tape.days.get(today)),
        ("prevDailyBar", venue.tape.day_before(today)),
    ):
        daily = venue.tape.daily(symbol, day, now=venue.now) if day else None
        if daily is not None:
            shown[name] = render.bar(daily)
    return shown


def _many(key: str | None, latest: Latest) -> Callable[[Venue, Call], Answer]:
    """Return the handler of the form with many symbols, its result under `key` if there is one."""

    def handler(venue: Venue, call: Call) -> Answer:
        _choice(call, "feed", _LATEST_FEEDS)
        found = {symbol: latest(venue, symbol) for symbol in _symbols(call)}
        present = {symbol: value for symbol, value in found.items() if value is not None}
        return Answer({key: present} if key else present)

    return handler


def _one(key: str, latest: Latest) -> Callable[[Venue, Call], Answer]:
    """Return the handler of the form with one symbol; a snapshot is not nested."""

    def handler(venue: Venue, call: Call) -> Answer:
        _choice(call, "feed", _LATEST_FEEDS)
        symbol = _checked(call.path["symbol"])
        value = latest(venue, symbol)
        if value is None:
            raise refusals.no_data(key, symbol)
        body = value if key == "snapshot" else {key: value}
        return Answer({"symbol": symbol, **body})

    return handler


ENDPOINTS = (
    Endpoint("GET", "/v2/stocks/bars", get_bars),
    Endpoint("GET", "/v2/stocks/bars/latest", _many("bars", _bar)),
    Endpoint("GET", "/v2/stocks/trades/latest", _many("trades", _trade)),
    Endpoint("GET", "/v2/stocks/quotes/latest", _many("quotes", _quote)),
    Endpoint("GET", "/v2/stocks/snapshots", _many(None, _snapshot)),
    Endpoint("GET", "/v2/stocks/{symbol}/bars", get_bars_of_symbol),
    Endpoint("GET", "/v2/stocks/{symbol}/bars/latest", _one("bar", _bar)),
    Endpoint("GET", "/v2/stocks/{symbol}/trades/latest", _one("trade", _trade)),
    Endpoint("GET", "/v2/stocks/{symbol}/quotes/latest", _one("quote", _quote)),
    Endpoint("GET", "/v2/stocks/{symbol}/snapshot", _one("snapshot", _snapshot)),
)
