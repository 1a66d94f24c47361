"""One request for all symbols; only complete bars, in their newest revision; a refusal is alone."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.pricing import DOLLAR
from scalper.core.signal import Bar
from scalper.shell.alpaca.bars import MAX_REFUSALS, SYMBOLS_PER_REQUEST, AlpacaMarketData, parse_bar
from scalper.shell.errors import BrokerDownError, RefusedError
from scalper.shell.ports import Bars
from scalper.shell.settings import BrokerKeys
from scalper.shell.trading.window import OVERLAP, Window
from tests.shell.fakes import CLOSE, OPEN, SESSION, FakeMarket, bar, minute, settings
from tests.shell.scripted import Request, Scripted


def alpaca(server: Scripted, **changes: Any) -> AlpacaMarketData:
    return AlpacaMarketData(
        settings(data_url=server.url, **changes), lambda: BrokerKeys("PK1", "s")
    )


def raw(number: int, close: float = 100.0, **changes: Any) -> dict[str, Any]:
    start = (minute(number)).isoformat().replace("+00:00", "Z")
    return {"t": start, "o": close, "h": close, "l": close, "c": close, "v": 100} | changes


def page(bars: dict[str, Any], token: str | None = None) -> tuple[int, Any]:
    return 200, {"bars": bars, "next_page_token": token}


@pytest.fixture
def market() -> FakeMarket:
    return FakeMarket()


@pytest.fixture
def window(market: FakeMarket) -> Window:
    return Window(market)


class TestWindow:
    def test_a_symbol_seen_first_is_asked_for_from_the_open(
        self, market: FakeMarket, window: Window
    ):
        window.refresh(["AAA", "BBB"], SESSION, minute(30))
        assert market.asked == [(("AAA", "BBB"), OPEN, minute(29))]

    def test_warm_symbols_share_one_request_that_overlaps(self, market: FakeMarket, window: Window):
        market.by_symbol["AAA"] = [bar(minute(n)) for n in range(40)]
        window.refresh(["AAA", "BBB"], SESSION, minute(30))
        window.refresh(["AAA", "BBB"], SESSION, minute(31))
        assert market.asked[1:] == [(("AAA", "BBB"), minute(29) - OVERLAP, minute(30))]

    def test_one_more_request_serves_those_new_to_it(self, market: FakeMarket, window: Window):
        market.by_symbol["AAA"] = [bar(minute(n)) for n in range(40)]
        window.refresh(["AAA", "BBB"], SESSION, minute(30))
        window.refresh(["AAA", "BBB", "CCC", "DDD"], SESSION, minute(31))
        assert market.asked[1:] == [
            (("CCC", "DDD"), OPEN, minute(30)),
            (("AAA", "BBB"), minute(29) - OVERLAP, minute(30)),
        ]

    def test_the_overlap_does_not_reach_before_the_open(self, market: FakeMarket, window: Window):
        window.refresh(["AAA"], SESSION, minute(1))
        window.refresh(["AAA"], SESSION, minute(2))
        assert market.asked[1] == (("AAA",), OPEN, minute(1))

    def test_minutes_that_were_missed_are_caught_up_with(self, market: FakeMarket, window: Window):
        market.by_symbol["AAA"] = [bar(minute(n)) for n in range(40)]
        window.refresh(["AAA"], SESSION, minute(10))
        window.refresh(["AAA"], SESSION, minute(40))
        assert market.asked[1] == (("AAA",), minute(9) - OVERLAP, minute(39))

    def test_a_request_that_failed_is_made_good_by_the_next(
        self, market: FakeMarket, window: Window
    ):
        market.by_symbol["AAA"] = [bar(minute(n)) for n in range(20)]
        window.refresh(["AAA"], SESSION, minute(10))
        market.error = BrokerDownError("down")
        for number in range(11, 20):
            with pytest.raises(BrokerDownError):
                window.refresh(["AAA"], SESSION, minute(number))
        market.error = None
        window.refresh(["AAA"], SESSION, minute(20))
        assert market.asked[-1] == (("AAA",), minute(9) - OVERLAP, minute(19))

    @pytest.mark.fault("40")
    def test_bars_that_an_outage_left_out_are_there_when_it_is_over(
        self, market: FakeMarket, window: Window
    ):
        """Else a warm process decides on other bars than a cold one, for the rest of the day."""
        bars = [bar(minute(n)) for n in range(40)]
        market.by_symbol = {"AAA": bars[:10]}
        for number in range(10, 31):
            window.refresh(["AAA", "BBB"], SESSION, minute(number))
        market.by_symbol = {"AAA": bars, "BBB": bars}
        window.refresh(["AAA", "BBB"], SESSION, minute(31))
        assert market.asked[-1] == (("AAA", "BBB"), minute(9) - OVERLAP, minute(30))
        assert list(window.bars("AAA", minute(31))) == bars[:31]

    def test_a_symbol_that_is_not_traded_for_long_shares_the_others_request(
        self, market: FakeMarket, window: Window
    ):
        market.by_symbol["AAA"] = [bar(minute(n)) for n in range(40)]
        for number in (30, 31, 32):
            window.refresh(["AAA", "QUIET"], SESSION, minute(number))
        assert market.asked[-1] == (("AAA", "QUIET"), minute(30) - OVERLAP, minute(31))

    @pytest.mark.fault("47")
    def test_a_revision_replaces_its_bar_and_a_late_bar_finds_its_place(
        self, market: FakeMarket, window: Window
    ):
        market.by_symbol["AAA"] = [bar(minute(0)), bar(minute(2), 5)]
        window.refresh(["AAA"], SESSION, minute(3))
        market.by_symbol["AAA"] = [bar(minute(0)), bar(minute(1), 7), bar(minute(2), 6)]
        window.refresh(["AAA"], SESSION, minute(4))
        assert window.bars("AAA", minute(4)) == [
            bar(minute(0)),
            bar(minute(1), 7),
            bar(minute(2), 6),
        ]

    @pytest.mark.fault("44")
    def test_bars_outside_the_session_are_left_out(self, window: Window):
        class Generous:
            def bars(self, *_: object) -> Bars:
                starts = (minute(-1), OPEN, minute(1), CLOSE - timedelta(minutes=1), CLOSE)
                return Bars({"AAA": [bar(start) for start in starts]})

        generous = Window(Generous())
        generous.refresh(["AAA"], SESSION, CLOSE + timedelta(minutes=5))
        starts = [one.start for one in generous.bars("AAA", CLOSE + timedelta(minutes=5))]
        assert starts == [OPEN, minute(1), CLOSE - timedelta(minutes=1)]

    @pytest.mark.fault("47")
    def test_a_bar_in_progress_is_never_used(self):
        class Eager:
            def bars(self, *_: object) -> Bars:
                return Bars({"AAA": [bar(minute(n), n + 1) for n in range(12)]})

        eager = Window(Eager())
        eager.refresh(["AAA"], SESSION, minute(10))
        assert [one.start for one in eager.bars("AAA", minute(10))] == [
            minute(n) for n in range(10)
        ]
        assert eager.last_close("AAA") == 10

    def test_an_earlier_minute_sees_no_later_bar(self, market: FakeMarket, window: Window):
        market.by_symbol["AAA"] = [bar(minute(n)) for n in range(10)]
        window.refresh(["AAA"], SESSION, minute(10))
        assert len(window.bars("AAA", minute(4))) == 4

    @pytest.mark.fault("45")
    def test_nothing_of_yesterday_is_left(self, market: FakeMarket, window: Window):
        market.by_symbol["AAA"] = [bar(minute(n)) for n in range(10)]
        window.refresh(["AAA"], SESSION, minute(10))
        tomorrow = SESSION.of(SESSION.day + timedelta(days=1), "09:30", "16:00")
        window.refresh(["AAA"], tomorrow, tomorrow.open + timedelta(minutes=1))
        assert market.asked[1] == (("AAA",), tomorrow.open, tomorrow.open)
        assert list(window.bars("AAA", tomorrow.open + timedelta(minutes=1))) == []
        assert window.last_close("AAA") is None

    def test_a_symbol_without_bars_has_none(self, window: Window):
        window.refresh(["AAA"], SESSION, minute(10))
        assert list(window.bars("AAA", minute(10))) == []
        assert list(window.bars("ZZZ", minute(10))) == []
        assert window.last_close("ZZZ") is None

    def test_what_a_signal_does_to_its_bars_stays_with_it(self, market: FakeMarket, window: Window):
        market.by_symbol["AAA"] = [bar(minute(n)) for n in range(3)]
        window.refresh(["AAA"], SESSION, minute(3))
        seen = window.bars("AAA", minute(3))
        assert isinstance(seen, list)
        seen.clear()
        assert len(window.bars("AAA", minute(3))) == 3


class TestRequests:
    @pytest.mark.fault("45")
    def test_one_request_asks_for_everything(self, server: Scripted):
        server.answer(page({"AAA": [raw(0)], "BBB": [raw(0, 50.25)]}))
        found = alpaca(server).bars(["AAA", "BBB", "CCC"], OPEN, minute(5))
        assert found == Bars(
            {"AAA": [bar(OPEN)], "BBB": [bar(OPEN, 502_500)]},
        )
        (request,) = server.requests
        assert request.path == "/v2/stocks/bars"
        assert request.query == {
            "symbols": "AAA,BBB,CCC",
            "timeframe": "1Min",
            "start": "2025-03-05T14:30:00+00:00",
            "end": "2025-03-05T14:35:00+00:00",
            "limit": "10000",
            "feed": "iex",
            "adjustment": "split",
        }

    def test_every_page_is_read_until_the_token_is_null(self, server: Scripted):
        server.answer(page({"AAA": [raw(0)]}, "t1"), page({}, "t2"), page({"BBB": [raw(1)]}))
        found = alpaca(server, feed="sip").bars(["AAA", "BBB"], OPEN, minute(5))
        assert set(found.by_symbol) == {"AAA", "BBB"}
        assert [one.query.get("page_token") for one in server.requests] == [None, "t1", "t2"]
        assert {one.query["feed"] for one in server.requests} == {"sip"}

    def test_pages_without_end_have_a_bound(
        self, server: Scripted, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("scalper.shell.alpaca.bars.MAX_PAGES", 3)
        server.answer(page({}, "again"))
        with pytest.raises(BrokerDownError):
            alpaca(server).bars(["AAA"], OPEN, minute(5))
        assert len(server.requests) == 3

    def test_very_many_symbols_go_in_chunks(self, server: Scripted):
        server.answer(page({}))
        names = [f"A{number:04d}" for number in range(2 * SYMBOLS_PER_REQUEST + 1)]
        alpaca(server).bars(names, OPEN, minute(5))
        asked = [one.query["symbols"].split(",") for one in server.requests]
        assert [len(one) for one in asked] == [SYMBOLS_PER_REQUEST, SYMBOLS_PER_REQUEST, 1]
        assert [name for one in asked for name in one] == names

    @pytest.mark.fault("broken-row")
    @pytest.mark.parametrize("status", [400, 422])
    def test_a_refused_symbol_does_not_stop_the_others(self, server: Scripted, status: int):
        def answer(request: Request) -> tuple[int, Any]:
            asked = request.query["symbols"].split(",")
            if "BAD" in asked:
                return status, {"message": "invalid symbol: BAD"}
            return page({one: [raw(0)] for one in asked})

        server.answer(answer)
        names = ["AAA", "BBB", "BAD", "CCC", "DDD"]
        found = alpaca(server).bars(names, OPEN, minute(5))
        assert set(found.by_symbol) == {"AAA", "BBB", "CCC", "DDD"}
        assert found.refused == ("BAD: invalid symbol: BAD",)

    @pytest.mark.fault("broken-row")
    def test_refused_symbols_are_searched_for_once(self, server: Scripted):
        """At each tick the search would use up the requests that the others' bars need."""
        bad = {f"BAD{number}" for number in range(4)}

        def answer(request: Request) -> tuple[int, Any]:
            asked = request.query["symbols"].split(",")
            if bad & set(asked):
                return 400, {"message": "invalid symbol"}
            return page({one: [raw(0)] for one in asked})

        server.answer(answer)
        names = sorted({f"A{number:03d}" for number in range(300)} | bad)
        market = alpaca(server)
        first = market.bars(names, OPEN, minute(5))
        server.requests.clear()
        again = market.bars(names, OPEN, minute(5))
        assert first == again
        assert set(again.by_symbol) == set(names) - bad
        assert again.refused == tuple(f"{one}: invalid symbol" for one in sorted(bad))
        assert len(server.requests) == 1

    def test_a_search_that_takes_too_many_requests_goes_on_with_the_next_call(
        self, server: Scripted
    ):
        def answer(request: Request) -> tuple[int, Any]:
            asked = request.query["symbols"].split(",")
            if any(one.startswith("BAD") for one in asked):
                return 400, {"message": "invalid symbol"}
            return page({one: [raw(0)] for one in asked})

        server.answer(answer)
        names = [f"{('GOOD', 'BAD')[number % 2]}{number:03d}" for number in range(100)]
        market = alpaca(server)
        for _ in range(3):
            with pytest.raises(BrokerDownError, match="refusals"):
                market.bars(names, OPEN, minute(5))
            assert len(server.requests) < 2 * MAX_REFUSALS
            server.requests.clear()
        found = market.bars(names, OPEN, minute(5))
        assert (len(found.by_symbol), len(found.refused)) == (50, 50)

    def test_where_every_symbol_is_refused_none_is_remembered(self, server: Scripted):
        server.answer((422, {"message": "end should not be before start"}))
        market = alpaca(server)
        assert len(market.bars(["AAA", "BBB"], OPEN, minute(5)).refused) == 2
        server.answer(page({"AAA": [raw(0)], "BBB": [raw(0)]}))
        assert set(market.bars(["AAA", "BBB"], OPEN, minute(5)).by_symbol) == {"AAA", "BBB"}

    def test_a_subscription_that_does_not_allow_the_feed_is_refused(self, server: Scripted):
        server.answer((403, {"message": "subscription does not permit querying recent SIP data"}))
        with pytest.raises(RefusedError, match="SIP"):
            alpaca(server).bars(["AAA", "BBB"], OPEN, minute(5))
        assert len(server.requests) == 1

    @pytest.mark.fault("43")
    @pytest.mark.parametrize("bars", [None, {}, {"AAA": None}, {"AAA": []}])
    def test_no_bars_is_an_answer(self, server: Scripted, bars: Any):
        server.answer((200, {"bars": bars, "next_page_token": None}))
        assert alpaca(server).bars(["AAA"], OPEN, minute(5)) == Bars({})

    @pytest.mark.parametrize("body", ["", "null", "[]", "5", '{"bars": [1]}', '{"bars": "x"}'])
    def test_an_answer_of_another_shape_is_no_answer(self, server: Scripted, body: str):
        server.answer((200, body))
        with pytest.raises(BrokerDownError):
            alpaca(server).bars(["AAA"], OPEN, minute(5))

    @pytest.mark.fault("42")
    def test_a_broken_bar_is_refused_and_the_others_are_read(self, server: Scripted):
        server.answer(
            page(
                {
                    "AAA": [raw(0), raw(1, h=99.0), raw(2)],
                    "BBB": [raw(0, c=0), raw(1, c="NaN"), 5, None, {}],
                }
            )
        )
        found = alpaca(server).bars(["AAA", "BBB"], OPEN, minute(5))
        assert {s: [b.start for b in bars] for s, bars in found.by_symbol.items()} == {
            "AAA": [OPEN, minute(2)]
        }
        assert len(found.refused) == 6
        assert found.refused[0].startswith(
            "AAA: prices out of order in the bar of 2025-03-05T14:31"
        )
        assert not any("\n" in line for line in found.refused)


class TestParse:
    def test_prices_are_exact(self):
        found = parse_bar(
            raw(0) | {"o": Decimal("10.1"), "h": Decimal("10.35"), "l": 10, "c": Decimal("10.2001")}
        )
        assert found == Bar(OPEN, 101_000, 103_500, 10 * DOLLAR, 102_001, 100)

    @pytest.mark.fault("42")
    @pytest.mark.parametrize(
        "changes",
        [
            {"o": None},
            {"o": -1},
            {"l": 0},
            {"h": 99.99},
            {"l": 100.01},
            {"c": float("inf")},
            {"c": float("nan")},
            {"c": True},
            {"c": [1]},
            {"v": "many"},
            {"v": float("nan")},
            {"t": None},
            {"t": "2025-03-05T14:30:01Z"},
            {"t": "2025-03-05T14:30:00.5Z"},
            {"t": "2025-03-05T14:30:00"},
        ],
        ids=repr,
    )
    def test_what_makes_no_sense_is_refused(self, changes: dict[str, Any]):
        with pytest.raises(ValueError, match=r"\S"):
            parse_bar(raw(0) | changes)

    @given(
        st.dictionaries(
            st.sampled_from(["t", "o", "h", "l", "c", "v"]),
            st.one_of(
                st.none(), st.text(), st.floats(), st.integers(), st.decimals(), st.booleans()
            ),
        )
    )
    def test_any_bar_is_read_or_refused(self, changes: dict[str, Any]):
        try:
            found = parse_bar(raw(0) | changes)
        except ValueError:
            return
        assert 0 < found.low <= min(found.open, found.close)
        assert max(found.open, found.close) <= found.high
