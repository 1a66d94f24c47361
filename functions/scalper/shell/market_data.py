"""Alpaca's one-minute bars: one request for all symbols, and only for what the window lacks.

Bars are labelled by their start, arrive 1-3 s after their minute and may be revised about 30 s
later, so each request overlaps the window by some minutes and the newest revision wins. The free
plan serves real-time bars from the IEX feed alone.
(https://docs.alpaca.markets/reference/stockbars)
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from scalper.core.pricing import money
from scalper.core.session import MINUTE, Session
from scalper.core.signal import Bar
from scalper.shell.broker import parse_time
from scalper.shell.client import BoundedClient, ask
from scalper.shell.errors import BrokerDownError, RefusedError
from scalper.shell.settings import BrokerKeys, Settings

OVERLAP = timedelta(minutes=3)
"""How far back each request looks again, for revised and late bars."""

SYMBOLS_PER_REQUEST = 400
"""Alpaca states no bound; an address of this many symbols stays under 4 KB."""

PAGE = 10_000
MAX_PAGES = 200
MAX_REFUSALS = 50
"""Refused requests in one call: those symbols found so far are remembered, and the next goes on."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What one request brought."""

    by_symbol: Mapping[str, Sequence[Bar]]
    refused: tuple[str, ...] = ()
    """A line for each bar that made no sense."""


class MarketData(Protocol):
    """Where minute bars come from; the simulator has one of its own."""

    def bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Bars:
        """Return the bars whose starts lie in [start, end]; a symbol may be missing."""
        ...


class AlpacaMarketData:
    """Minute bars from Alpaca's Market Data API."""

    def __init__(self, settings: Settings, fetch_keys: Callable[[], BrokerKeys]) -> None:
        self._client = BoundedClient(settings.data_url, fetch_keys)
        self._feed = settings.feed
        self._refused: dict[str, str] = {}
        """Symbols that were refused while others were not, and why: not asked for again."""

    def bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Bars:
        """Return the bars whose starts lie in [start, end], in every page of the answer.

        A symbol that the broker refuses is left out with a line; the others are asked for
        again without it, and it is not asked for by this process any more: the search for it costs
        many requests. Raises RefusedError, for other reasons, or BrokerDownError.
        """
        found: dict[str, list[Bar]] = {}
        refused: list[str] = []
        alone: dict[str, str] = {}
        wanted = [symbol for symbol in symbols if symbol not in self._refused]
        chunks = deque(
            wanted[first : first + SYMBOLS_PER_REQUEST]
            for first in range(0, len(wanted), SYMBOLS_PER_REQUEST)
        )
        refusals, is_answered = 0, False
        try:
            while chunks:
                chunk = chunks.popleft()
                try:
                    pages = list(self._pages(chunk, start, end))
                except RefusedError as error:
                    if error.status not in (400, 422):
                        raise
                    refusals += 1
                    if len(chunk) == 1:
                        alone[chunk[0]] = error.message
                    elif refusals < MAX_REFUSALS:
                        middle = len(chunk) // 2
                        chunks.extendleft((chunk[middle:], chunk[:middle]))
                    else:
                        raise BrokerDownError(f"/stocks/bars: {refusals} refusals") from error
                    continue
                is_answered = True
                _sort_in(pages, found, refused)
        finally:
            if is_answered:
                self._refused |= alone
        known = {s: self._refused[s] for s in symbols if s in self._refused} | alone
        refused += [f"{symbol}: {why}" for symbol, why in known.items()]
        return Bars(found, tuple(refused))

    def _pages(
        self, symbols: Sequence[str], start: datetime, end: datetime
    ) -> Iterable[tuple[str, Mapping[str, Any]]]:
        query: dict[str, Any] = {
            "symbols": ",".join(symbols),
            "timeframe": "1Min",
            "start": start.isoformat(),
            "end": end.isoformat(),
            "limit": PAGE,
            "feed": self._feed,
            "adjustment": "split",
        }
        for _ in range(MAX_PAGES):
            answer = ask(self._client, "/stocks/bars", query)
            if not isinstance(answer, dict) or not isinstance(answer.get("bars") or {}, dict):
                raise BrokerDownError("/stocks/bars: an answer that cannot be read")
            for symbol, bars in (answer.get("bars") or {}).items():
                for bar in bars or ():
                    yield symbol, bar
            token = answer.get("next_page_token")
            if not token:
                return
            query["page_token"] = token
        raise BrokerDownError(f"/stocks/bars: more than {MAX_PAGES} pages")


def _sort_in(
    pages: Iterable[tuple[str, Mapping[str, Any]]], found: dict[str, list[Bar]], refused: list[str]
) -> None:
    """Add the bars of an answer to those found, and a line for each that makes no sense."""
    for symbol, raw in pages:
        try:
            bar = parse_bar(raw)
        except ValueError as error:
            refused.append(f"{symbol}: {error}")
        else:
            found.setdefault(symbol, []).append(bar)


def parse_bar(raw: Mapping[str, Any]) -> Bar:
    """Return a bar of Alpaca's; raises ValueError where it makes no sense.

    Refused are prices that are not finite and positive or out of order, and a start off the
    minute.
    """
    try:
        start = parse_time(raw["t"])
        opens, high, low, close = (money(raw[key]) for key in ("o", "h", "l", "c"))
        volume = int(raw.get("v") or 0)
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"not a bar: {error!r}") from error
    if start.second or start.microsecond:
        raise ValueError(f"a bar that starts off the minute: {start.isoformat()}")
    if not 0 < low <= min(opens, close) <= max(opens, close) <= high:
        raise ValueError(f"prices out of order in the bar of {start.isoformat()}")
    return Bar(start, opens, high, low, close, volume)


@dataclass(slots=True)
class _Series:
    """One symbol's bars of the session, sorted by start, and up to which minute any were told."""

    told_to: datetime
    starts: list[datetime] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    def put(self, bar: Bar) -> None:
        """Insert the bar, or replace the one of its minute."""
        place = bisect_left(self.starts, bar.start)
        if place < len(self.starts) and self.starts[place] == bar.start:
            self.bars[place] = bar
        else:
            self.starts.insert(place, bar.start)
            self.bars.insert(place, bar)


class Window:
    """The session's bars, kept while the process is warm; a cold one starts from the open.

    Not for several threads: the tick alone fills it.
    """

    def __init__(self, market: MarketData) -> None:
        self._market = market
        self._day: date | None = None
        self._series: dict[str, _Series] = {}

    def refresh(
        self, symbols: Sequence[str], session: Session, minute: datetime
    ) -> tuple[str, ...]:
        """Fetch what is lacking of the bars that end at or before `minute`.

        One request serves every warm symbol, one more those seen for the first time. Returns a
        line for each bar refused.
        """
        if self._day != session.day:
            self._day = session.day
            self._series = {}
        newest = minute - MINUTE
        groups: dict[datetime, list[str]] = {}
        for symbol in symbols:
            series = self._series.get(symbol)
            start = session.open if series is None else series.told_to - OVERLAP
            groups.setdefault(max(start, session.open), []).append(symbol)
        answers = [
            self._market.bars(group, start, newest) for start, group in sorted(groups.items())
        ]
        bars = {symbol: found for one in answers for symbol, found in one.by_symbol.items()}
        told = [bar.start for found in bars.values() for bar in found if bar.start <= newest]
        if told:
            # No further than anything was told: what an outage left out is made good later.
            for symbol in symbols:
                series = self._series.setdefault(symbol, _Series(session.open))
                series.told_to = max(series.told_to, *told)
                for bar in bars.get(symbol, ()):
                    if session.holds(bar.start) and bar.start <= newest:
                        series.put(bar)
        return tuple(line for one in answers for line in one.refused)

    def bars(self, symbol: str, minute: datetime) -> Sequence[Bar]:
        """Return the session's bars of a symbol that ended at or before `minute`, oldest first."""
        series = self._series.get(symbol)
        if series is None:
            return ()
        return series.bars[: bisect_left(series.starts, minute)]

    def last_close(self, symbol: str) -> int | None:
        """Return the newest close at hand."""
        series = self._series.get(symbol)
        return series.bars[-1].close if series and series.bars else None
