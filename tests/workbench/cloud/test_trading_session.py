"""The session that the emulated stack trades, and the clock of its schedules."""

import time
from datetime import UTC, date, datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from workbench.cloud.errors import CloudError
from workbench.cloud.gateway import ExchangeTime
from workbench.cloud.trading_session import PacedClock, latest_full_session, time_of_day
from workbench.exchange.server import Exchange, running
from workbench.market.synthetic import synthetic_market
from workbench.servers.asgi import serving

WITHIN_S = 10.0


@pytest.mark.parametrize(
    ("today", "day"),
    [
        (date(2026, 11, 23), date(2026, 11, 23)),
        (date(2026, 11, 22), date(2026, 11, 20)),
        # The day after Thanksgiving closes at 13:00.
        (date(2026, 11, 28), date(2026, 11, 25)),
    ],
)
def test_the_newest_full_session_is_traded(today, day):
    assert latest_full_session(today).day == day


def test_a_start_is_new_york_time_of_that_day():
    session = latest_full_session(date(2026, 11, 20))
    assert time_of_day(session, "10:30") == datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize("start", ["09:30", "16:00", "noon", "25:00"])
def test_a_start_outside_the_session_is_refused_in_one_line(start):
    session = latest_full_session(date(2026, 11, 20))
    with pytest.raises(CloudError, match=r"^--start .*$"):
        time_of_day(session, start)


def test_schedules_fire_by_the_wall_clock_of_new_york_read_as_utc():
    async def state(_: Request) -> JSONResponse:
        return JSONResponse({"now": "2026-11-20T20:55:03.5Z"})

    with serving(Starlette(routes=[Route("/exchange/state", state)]), "clock") as url:
        wall_clock = ExchangeTime(f"{url}/exchange/state").time()
    assert datetime.fromtimestamp(wall_clock, UTC) == datetime(2026, 11, 20, 15, 55, 3, 500000, UTC)


def test_the_clock_stands_until_it_is_released_and_skips_time_on_demand():
    market = synthetic_market(1, 1)
    start = market.days[0].session.open
    exchange = Exchange(market, key_id="k", secret_key="s", start=start)
    with running(exchange) as served:
        clock = PacedClock(served.url, start)
        assert exchange.venue.now == start
        clock.release()
        clock.leap(timedelta(hours=1))
        deadline = time.monotonic() + WITHIN_S
        while exchange.venue.now < start + timedelta(hours=1):
            clock.check()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        clock.close()
    assert exchange.venue.now < start + timedelta(hours=1, seconds=WITHIN_S)


def test_an_exchange_that_has_ended_is_reported():
    with serving(Starlette(), "nothing") as url:
        pass
    clock = PacedClock(url, datetime(2026, 11, 20, 15, 30, tzinfo=UTC))
    clock.release()
    clock.join()
    with pytest.raises(CloudError, match="clock does not move"):
        clock.check()
