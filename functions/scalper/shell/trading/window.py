"""The warm window of closes: the session's bars, kept between ticks."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from scalper.core.session import MINUTE, Session
from scalper.core.signal import Bar
from scalper.shell.ports import MarketData

OVERLAP = timedelta(minutes=3)
"""How far back each request looks again, for revised and late bars."""


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
