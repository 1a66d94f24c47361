"""What a seed's day is made of, and which messages it waits for; whole days are in tests/e2e."""

from datetime import timedelta
from typing import Any

import pytest

from scalper.core.pricing import DOLLAR
from scalper.core.signal import Bar, crossover
from scalper.shell.relay.stream import POST_ATTEMPTS
from scalper.shell.symbols import parse_rows
from workbench.chaos.campaign import figures
from workbench.chaos.day import ChaosResult, market_of, rows_of
from workbench.chaos.fault_proxy import ProxiedRequest
from workbench.chaos.platform import WebhookInterceptor
from workbench.chaos.signals import price_fell


@pytest.mark.parametrize(
    ("seed", "symbols", "minutes"), [(1, 3, 210), (2, 4, 210), (3, 2, 210), (10, 3, 390)]
)
def test_a_seed_gives_two_to_four_symbols_and_each_tenth_a_full_day(seed, symbols, minutes):
    market = market_of(seed)
    session = market.days[0].session
    assert len(market.symbols) == symbols
    assert session.close - session.open == timedelta(minutes=minutes)


def test_the_rows_make_sense_and_have_different_signals_and_exits():
    rows, refused = parse_rows(rows_of(market_of(2)), 2000 * DOLLAR)
    assert refused == ()
    assert [row.signal for row in rows.values()] == [price_fell, crossover, price_fell, crossover]
    assert {row.lot for row in rows.values()} == {2000 * DOLLAR}
    assert sum(row.stop_loss_pct is not None for row in rows.values()) == 2
    assert sum(row.max_hold is not None for row in rows.values()) == 1


def test_the_eager_signal_enters_where_the_price_fell():
    def bars(*closes: int) -> list[Bar]:
        start = market_of(1).days[0].session.open
        return [Bar(start, one, one, one, one, 1) for one in closes]

    assert price_fell(bars(3, 2))
    assert not price_fell(bars(2, 2))
    assert not price_fell(bars(2))


class Stream:
    """Notes what arrived."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def mark_delivered(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.parametrize(
    ("statuses", "arrived"),
    [
        ([200], 1),
        ([401], 1),
        ([502, 200], 1),
        ([0, 429, 200], 1),
        ([503] * (POST_ATTEMPTS - 1), 0),
        ([503] * POST_ATTEMPTS, 1),
        ([200, 200], 2),
    ],
)
def test_a_message_is_waited_for_until_it_is_taken_up_or_given_up(statuses, arrived):
    stream: Any = Stream()
    interceptor = WebhookInterceptor(stream)
    for status in statuses:
        interceptor.finished(ProxiedRequest("relay-1", "POST", "/", "", b"{}"), status)
    assert stream.texts == ["{}"] * arrived


def test_the_figures_add_the_days_up_and_name_the_seed_of_a_violation():
    days = [
        ChaosResult(
            4, 2.0, 210, 100, 10, 5, {"event_lost": 1}, {"before": 2, "tick_before": 2}, {}
        ),
        ChaosResult(
            5, 3.0, 210, 50, 4, 2, {"event_lost": 2}, {"before": 1}, {"late_order": 1}, ["x"]
        ),
    ]
    assert figures(days, 4.04) == {
        "days": 2,
        "first": 4,
        "seconds": 4.0,
        "day_seconds": 2.5,
        "minutes": 420,
        "requests": 150,
        "orders": 14,
        "trades": 7,
        "faults": {"event_lost": 3},
        "kills": {"before": 3, "tick_before": 2},
        "halts": {"late_order": 1},
        "violations": [{"seed": 5, "what": "x"}],
    }
