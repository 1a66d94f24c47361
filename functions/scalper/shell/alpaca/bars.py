"""Alpaca's one-minute bars: one request for all symbols, and only for what the window lacks.

Bars are labelled by their start, arrive 1-3 s after their minute and may be revised about 30 s
later, so each request overlaps the window by some minutes and the newest revision wins. The free
plan serves real-time bars from the IEX feed alone.
(https://docs.alpaca.markets/reference/stockbars)
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from scalper.core.pricing import money
from scalper.core.session import parse_time
from scalper.core.signal import Bar
from scalper.shell.alpaca.client import BoundedClient, ask
from scalper.shell.errors import BrokerDownError, RefusedError
from scalper.shell.ports import Bars
from scalper.shell.settings import BrokerKeys, Settings

SYMBOLS_PER_REQUEST = 400
"""Alpaca states no bound; an address of this many symbols stays under 4 KB."""

PAGE = 10_000

MAX_PAGES = 200

MAX_REFUSALS = 50
"""Refused requests in one call: those symbols found so far are remembered, and the next goes on."""


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
