"""The warm window: the session's bars, kept between the ticks of one process."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from scalper.core.session import MINUTE, Session
from scalper.core.signal import Bar
from scalper.shell.ports import MarketData

OVERLAP = timedelta(minutes=3)
"""Each request asks for so much of the past again, because bars come late or are revised."""


@dataclass(slots=True)
class _Series:
    """One symbol's bars of the session, sorted by start."""

    fetched_to: datetime
    """The start of the newest bar, of any symbol, that a request for this one has brought."""
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
    """The session's bars. A cold process fetches them from the open on.

    One thread may fill it at a time: only the tick does.
    """

    def __init__(self, market: MarketData) -> None:
        self._market = market
        self._day: date | None = None
        self._series: dict[str, _Series] = {}

    def refresh(
        self, symbols: Sequence[str], session: Session, minute: datetime
    ) -> tuple[str, ...]:
        """Fetch the missing bars among those that end at or before `minute`.

        One request serves the known symbols, and one more the new ones. Returns a line for each
        refused bar. Raises BrokerError.
        """
        if self._day != session.day:
            self._day = session.day
            self._series = {}
        newest = minute - MINUTE
        groups: dict[datetime, list[str]] = {}
        for symbol in symbols:
            series = self._series.get(symbol)
            start = session.open if series is None else series.fetched_to - OVERLAP
            groups.setdefault(max(start, session.open), []).append(symbol)
        answers = [
            self._market.bars(group, start, newest) for start, group in sorted(groups.items())
        ]
        bars = {symbol: found for one in answers for symbol, found in one.by_symbol.items()}
        starts = [bar.start for found in bars.values() for bar in found if bar.start <= newest]
        if starts:
            # Advance only as far as bars came, so that a later request fills an outage's gap.
            for symbol in symbols:
                series = self._series.setdefault(symbol, _Series(session.open))
                series.fetched_to = max(series.fetched_to, *starts)
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
        """Return the newest close in the window, None without a bar."""
        series = self._series.get(symbol)
        return series.bars[-1].close if series and series.bars else None
