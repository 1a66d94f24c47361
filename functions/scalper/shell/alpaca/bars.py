"""Alpaca's one-minute bars: one request for many symbols.

The label of a bar is its start. A bar arrives 1 to 3 s after its minute, and Alpaca may revise it
about 30 s later. The free plan serves real-time bars from the IEX feed alone.
(https://docs.alpaca.markets/reference/stockbars)
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from scalper.core.pricing import money
from scalper.core.session import parse_time
from scalper.core.signal import Bar
from scalper.shell.alpaca.client import BoundedClient, get_answer
from scalper.shell.errors import BrokerDownError, RefusedError
from scalper.shell.ports import Bars
from scalper.shell.settings import BrokerKeys, Settings

SYMBOLS_PER_REQUEST = 400
"""Alpaca states no bound. The address of a request with so many symbols stays under 4 KB."""

PAGE = 10_000
"""Bars in one answer, Alpaca's maximum."""

MAX_PAGES = 200
"""Answers read for one request; more is an error."""

MAX_REFUSALS = 50
"""Refused requests in one call. The refused symbols found so far are kept for the next call."""


class AlpacaMarketData:
    """Minute bars from Alpaca's Market Data API."""

    def __init__(self, settings: Settings, fetch_keys: Callable[[], BrokerKeys]) -> None:
        self._client = BoundedClient(settings.data_url, fetch_keys)
        self._feed = settings.feed
        self._refused: dict[str, str] = {}
        """Refused symbols and the reason, if others were answered; not requested again."""

    def bars(self, symbols: Sequence[str], start: datetime, end: datetime) -> Bars:
        """Return the bars that start from `start` to `end`, both included, of all pages.

        One symbol that Alpaca refuses makes it refuse the whole request. Then halves are requested,
        until the refused symbol is alone. It is left out with a line, and this process does not
        request it again, because the search costs many requests. Raises RefusedError for other
        refusals, BrokerDownError if there is no usable answer.
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
            answer = get_answer(self._client, "/stocks/bars", query)
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
    """Add the valid bars of an answer to `found`, and a line for each invalid one to `refused`."""
    for symbol, raw in pages:
        try:
            bar = parse_bar(raw)
        except ValueError as error:
            refused.append(f"{symbol}: {error}")
        else:
            found.setdefault(symbol, []).append(bar)


def parse_bar(raw: Mapping[str, Any]) -> Bar:
    """Return one of Alpaca's bars; raises ValueError if it is invalid.

    A bar is invalid if a price is not finite and positive, if its prices are out of order, or if
    its start is not a whole minute.
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
