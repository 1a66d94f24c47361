"""Minute bars: the same of the real adapter and of its fakes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import Protocol

import httpx
import pytest

from scalper.core.pricing import DOLLAR
from scalper.core.session import Session
from scalper.core.signal import Bar
from scalper.shell.alpaca.bars import AlpacaMarketData
from scalper.shell.ports import MarketData
from scalper.shell.settings import BrokerKeys
from tests.shell.fakes import OPEN, SESSION, FakeMarket, settings
from tests.simulation.build import let_pass, scheduler_of
from tests.workbench.exchange.conftest import HEADERS, KEY, SECRET
from workbench.exchange.server import Exchange, running
from workbench.market.model import Market, MarketDay
from workbench.simulation.market import Edition, SimulatedMarket, market_of
from workbench.simulation.scheduler import MINUTE, SECOND

A_MINUTE = timedelta(minutes=1)
MINUTES = 12
BROKEN = 4
"""The minute whose bar of BBB makes no sense."""


def start(number: float) -> datetime:
    return OPEN + number * A_MINUTE


def bar(number: int) -> Bar:
    price = (100 + number) * DOLLAR
    return Bar(start(number), price, price + DOLLAR, price - DOLLAR, price, 1000)


def broken_bar(number: int) -> Bar:
    """Return a bar whose low lies above its high."""
    price = 100 * DOLLAR
    return Bar(start(number), price, price - DOLLAR, price + DOLLAR, price, 1000)


BARS: Mapping[str, Sequence[Bar]] = {
    "AAA": [bar(number) for number in range(MINUTES)],
    "BBB": [broken_bar(n) if n == BROKEN else bar(n) for n in range(MINUTES)],
    "CCC": [bar(number) for number in range(0, MINUTES, 5)],
}


class Feed(Protocol):
    """Bars that become known as time passes."""

    market: MarketData

    def wait(self, seconds: float) -> None: ...


class AlpacaFeed:
    def __init__(self, url: str, http: httpx.Client) -> None:
        keys = BrokerKeys(KEY, SECRET)
        self.market: MarketData = AlpacaMarketData(settings(data_url=url), lambda: keys)
        self._http = http
        self._now = OPEN

    def wait(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        to = {"to": self._now.isoformat()}
        self._http.post("/exchange/advance", json=to).raise_for_status()


@contextmanager
def alpaca_feed() -> Iterator[Feed]:
    session = Session.of(SESSION.day, "09:30", "16:00")
    days = (MarketDay(session, {symbol: tuple(bars) for symbol, bars in BARS.items()}),)
    market = Market(days, synthetic=True, source="test")
    exchange = Exchange(market, key_id=KEY, secret_key=SECRET)
    with (
        running(exchange) as live,
        httpx.Client(base_url=live.url, headers=HEADERS, timeout=10) as http,
    ):
        yield AlpacaFeed(live.url, http)


class SimulatedFeed:
    def __init__(self) -> None:
        self._scheduler = scheduler_of()
        editions = {
            symbol: [self._editions(bars, start(number)) for number in range(MINUTES)]
            for symbol, bars in BARS.items()
        }
        closes = {symbol: [bar.close for bar in bars] for symbol, bars in BARS.items()}
        self.market: MarketData = SimulatedMarket(self._scheduler, editions, closes)

    def _editions(self, bars: Sequence[Bar], at: datetime) -> tuple[Edition, ...]:
        ends = (at + A_MINUTE - OPEN) // A_MINUTE * MINUTE
        return tuple(
            Edition(ends + SECOND, None if one.low > one.high else one)
            for one in bars
            if one.start == at
        )

    def wait(self, seconds: float) -> None:
        let_pass(self._scheduler, seconds)


class FakeFeed:
    """The fake of the shell's tests has no clock: whoever uses it puts bars there in time."""

    def __init__(self) -> None:
        self._fake = FakeMarket()
        self.market: MarketData = self._fake
        self._now = OPEN
        self.wait(0)

    def wait(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        for symbol, bars in BARS.items():
            ended = [one for one in bars if one.start + A_MINUTE <= self._now]
            self._fake.by_symbol[symbol] = [one for one in ended if one.low <= one.high]


FEEDS: dict[str, Callable[[], AbstractContextManager[Feed]]] = {
    "alpaca": alpaca_feed,
    "simulated": lambda: nullcontext(SimulatedFeed()),
    "fake": lambda: nullcontext(FakeFeed()),
}


@pytest.fixture(params=FEEDS)
def feed(request: pytest.FixtureRequest) -> Iterator[Feed]:
    with FEEDS[request.param]() as made:
        yield made


def after(feed: Feed, minutes: float) -> MarketData:
    """Return the market so long after the open, and the few seconds that a bar takes."""
    feed.wait(minutes * 60 + 5)
    return feed.market


def starts(market: MarketData, symbol: str, first: datetime, last: datetime) -> list[float]:
    """Return the minutes of the bars that a request brings."""
    bars = market.bars([symbol], first, last).by_symbol.get(symbol, ())
    return [(one.start - OPEN) / A_MINUTE for one in bars]


def test_bars_are_exact_and_come_oldest_first(feed: Feed):
    found = after(feed, MINUTES).bars(["AAA"], OPEN, start(MINUTES))
    assert dict(found.by_symbol) == {"AAA": BARS["AAA"]}
    assert found.refused == ()


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (2, 5, [2, 3, 4, 5]),
        (3, 3, [3]),
        (2.5, 4.5, [3, 4]),
        (2.5, 2.75, []),
        (-9, 1, [0, 1]),
        (-9, -1, []),
        (-9, -2.5, []),
        (-0.5, 0, [0]),
        (10, 500, [10, 11]),
        (30, 60, []),
    ],
)
def test_both_ends_belong_to_what_is_asked_for(feed: Feed, first, last, expected):
    assert starts(after(feed, 20), "AAA", start(first), start(last)) == expected


def test_an_end_before_the_start_is_refused_with_a_line_for_each_symbol(feed: Feed):
    found = after(feed, MINUTES).bars(["AAA", "CCC"], start(5), start(4))
    assert dict(found.by_symbol) == {}
    assert sorted(line.partition(":")[0] for line in found.refused) == ["AAA", "CCC"]


def test_a_symbol_without_bars_is_a_missing_key(feed: Feed):
    market = after(feed, MINUTES)
    found = market.bars(["AAA", "CCC", "ZZZ"], start(6), start(9))
    assert set(found.by_symbol) == {"AAA"}
    assert found.refused == ()
    assert dict(market.bars(["ZZZ"], OPEN, start(9)).by_symbol) == {}


def test_only_what_is_asked_for_comes(feed: Feed):
    found = after(feed, MINUTES).bars(["CCC"], OPEN, start(9))
    assert {symbol: len(bars) for symbol, bars in found.by_symbol.items()} == {"CCC": 2}


def test_a_bar_is_not_there_before_its_minute_is_over(feed: Feed):
    assert starts(feed.market, "AAA", OPEN, start(9)) == []
    feed.wait(59)
    assert starts(feed.market, "AAA", OPEN, start(9)) == []
    feed.wait(5)
    assert starts(feed.market, "AAA", OPEN, start(9)) == [0]
    feed.wait(150)
    assert starts(feed.market, "AAA", OPEN, start(9)) == [0, 1, 2]


@pytest.mark.parametrize("feed", ["alpaca", "simulated"], indirect=True)
def test_a_broken_bar_is_left_out_with_a_line_that_names_its_symbol(feed: Feed):
    found = after(feed, MINUTES).bars(["AAA", "BBB"], OPEN, start(MINUTES))
    assert [one.start for one in found.by_symbol["BBB"]] == [
        start(n) for n in range(MINUTES) if n != BROKEN
    ]
    (line,) = found.refused
    assert line.startswith("BBB: prices out of order")
    assert len(found.by_symbol["AAA"]) == MINUTES


def test_a_simulated_days_bars_make_sense_and_are_a_few_seconds_late():
    scheduler = scheduler_of(seed=3)
    market = market_of(scheduler, ["AAA", "BBB"], MINUTES)
    let_pass(scheduler, 60.4)
    for number in range(MINUTES):
        assert len(market.bars(["AAA"], OPEN, start(99)).by_symbol.get("AAA", ())) == number
        let_pass(scheduler, 2.7)
        found = market.bars(["AAA", "BBB"], OPEN, start(99))
        assert [len(bars) for bars in found.by_symbol.values()] == [number + 1] * 2
        for bars in found.by_symbol.values():
            for one in bars:
                assert 0 < one.low <= min(one.open, one.close)
                assert max(one.open, one.close) <= one.high
        let_pass(scheduler, 57.3)
