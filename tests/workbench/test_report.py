"""The report page: one file, nothing fetched, everything a trader asks for on it."""

import json
import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from scalper.core.pricing import CENT
from tests.workbench.example import Example, example
from workbench.market.bars.reader import read_bars
from workbench.market.model import Market, sessions_between
from workbench.market.synthetic import synthetic_market
from workbench.results.report import FILL_RULES, _script_json, report_page

SIZE_LIMIT = 8_000_000


@pytest.fixture(scope="module")
def one() -> Example:
    return example(synthetic_market(7))


@pytest.fixture(scope="module")
def page(one: Example) -> str:
    return report_page(*one)


class Page(HTMLParser):
    """Collects what the tests ask about: text outside scripts, tags, and the charts' data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.data = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.depth = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self.depth = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style"}:
            self.depth = ""

    def handle_data(self, data: str) -> None:
        if self.depth == "data":
            self.data += data
        elif not self.depth:
            self.text += data

    def charts(self) -> Any:
        return json.loads(self.data)


def test_it_is_one_light_file_that_fetches_nothing(page: str) -> None:
    assert len(page.encode()) < SIZE_LIMIT
    parsed = Page(page)
    for tag, attributes in parsed.tags:
        assert tag not in {"link", "iframe", "img"}
        assert not {"src", "href"} & attributes.keys()
    assert "{{" not in parsed.text


def test_it_says_what_is_traded_what_was_earned_and_how_orders_fill(page: str) -> None:
    text = Page(page).text
    for expected in (
        "Wed 17 Sep 2025", "09:30–16:00 New York", "synthetic market, seed 7", "Synthetic",
        "−$32.30", "Win rate", "95\u202f%", "104 target, 5 liquidation", "of 113 buys sent",
        "3,873", FILL_RULES,
    ):  # fmt: skip
        assert expected in text
    assert text.lower().count("synthetic") >= 4


def test_every_symbol_has_a_chart_and_its_profit(page: str, one: Example) -> None:
    parsed = Page(page)
    charts = parsed.charts()
    labels = [attributes.get("aria-label") for _, attributes in parsed.tags]
    day = one.market.days[0]
    for symbol in one.market.symbols:
        bars = day.session_bars(symbol)
        columns = charts["bars"][symbol]["2025-09-17"]
        assert columns["c"] == [bar.close for bar in bars]
        assert columns["h"] == [bar.high for bar in bars]
        assert columns["t"][0] == 9 * 60 + 30
        pnl = sum(trade.pnl for trade in one.trades if trade.symbol == symbol)
        shown = f"{'−' if pnl < 0 else '+'}${abs(pnl) / 10_000:.2f}"
        assert any(label and label.startswith(f"{symbol}: ") and shown in label for label in labels)


def test_every_trade_is_in_the_table_and_marked_in_the_bar_of_its_fill(
    page: str, one: Example
) -> None:
    parsed = Page(page)
    rows = [attributes for tag, attributes in parsed.tags if tag == "tr" and attributes]
    charts = parsed.charts()
    marks = charts["trades"]
    assert len(rows) == len(marks) == len(one.trades) == 109
    for trade, row, mark in zip(one.trades, rows, marks, strict=True):
        assert (row["data-symbol"], row["data-session"]) == (trade.symbol, "2025-09-17")
        assert mark[0] == trade.symbol
        assert mark[4:9:2] == [trade.entry_price, trade.exit_price, trade.pnl]
        columns = charts["bars"][trade.symbol]["2025-09-17"]
        for minute, price in ((mark[3], trade.entry_price), (mark[5], trade.exit_price)):
            n = columns["t"].index(minute)
            assert columns["l"][n] <= price <= columns["h"][n]


def test_canceled_buys_are_marked_at_their_limits(page: str) -> None:
    cancels = Page(page).charts()["cancels"]
    assert len(cancels) == 4
    for symbol, day, limit, start, end, qty in cancels:
        assert symbol.startswith("SYN")
        assert day == "2025-09-17"
        assert limit > 0
        assert limit % CENT == 0
        assert (end - start, qty > 0) == (2, True)


def test_a_day_without_trades_is_a_page_too(one: Example) -> None:
    parsed = Page(report_page(one.market, [], [], {}))
    assert "No trades." in parsed.text
    assert "$0.00" in parsed.text
    assert "Win rate" not in parsed.text
    assert parsed.charts()["trades"] == []


def test_several_sessions_can_be_chosen_and_half_days_end_early(tmp_path: Path) -> None:
    days = sorted(sessions_between(date(2015, 12, 23), date(2015, 12, 24)))
    made = [synthetic_market(3, symbols=2, day=day) for day in days]
    market = Market(tuple(one.days[0] for one in made), True, "synthetic market, seed 3")
    parsed = Page(report_page(*example(market)))
    assert "Wed 23 Dec 2015 – Thu 24 Dec 2015, 2 sessions" in parsed.text
    assert [attributes["value"] for tag, attributes in parsed.tags if tag == "option"] == [
        "2015-12-23",
        "2015-12-24",
    ]
    closes = [session["close"] for session in parsed.charts()["sessions"]]
    assert closes == [16 * 60, 13 * 60]
    assert all(
        trade[9] <= 13 * 60 for trade in parsed.charts()["trades"] if trade[1] == "2015-12-24"
    )


def test_real_bars_are_not_called_synthetic(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(
        "symbol,timestamp,open,high,low,close,volume\nSPY,2013-10-04T13:30:00Z,1,1,1,1,0\n"
    )
    page = report_page(*example(read_bars([path])))
    assert "synthetic" not in Page(page).text.lower()


def test_refused_rows_and_shares_still_held_cannot_be_missed(one: Example) -> None:
    market = replace(one.market, refused=tuple(f"a.csv: row {n}: <b>" for n in range(150)))
    parsed = Page(report_page(market, one.trades, one.orders, {**one.summary, "open_positions": 1}))
    assert "Not flat at the end: 1 open position." in parsed.text
    assert "150 rows of the bars refused" in parsed.text
    assert "row 99: <b>" in parsed.text
    assert "and 50 more" in parsed.text


def test_what_people_named_cannot_become_markup(one: Example) -> None:
    evil = '</script><img src=x onerror=alert(1)>"{{data}}'
    page = report_page(replace(one.market, source=evil), one.trades, one.orders, one.summary)
    assert "<img" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert evil in Page(page).text
    assert "<" not in _script_json([evil])
    assert json.loads(_script_json([evil])) == [evil]
