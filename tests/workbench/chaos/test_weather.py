"""What strikes: fixed by seed and number, counted, switched off, out for a while."""

from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest

from scalper.core.session import MINUTE, Session
from workbench.chaos.fault_plan import (
    AFTER,
    BEFORE,
    CALM_AFTER,
    EXCHANGE,
    KILLS,
    MOST,
    RATES,
    STORE,
    WITHOUT_EFFECT,
    Fate,
    Outage,
    Weather,
)

SESSION = Session.of(date(2024, 11, 29), "09:30", "13:00")
EVEN = dict.fromkeys(RATES, 1.0)
NUMBER = 4000


def bad_weather(seed: int = 1, **factors: float) -> Weather:
    weather = Weather(seed, SESSION, climate={**EVEN, **factors})
    weather.outages = ()
    weather.begin()
    return weather


def fates(weather: Weather, function: str = "tick") -> list[Fate]:
    return [weather.request(EXCHANGE, function, has_effect=True) for _ in range(NUMBER)]


def test_it_is_good_weather_until_it_begins_and_once_it_is_calm():
    weather = Weather(1, SESSION)
    for change in (lambda: None, weather.calm):
        change()
        assert not any(fate.answer or fate.slow for fate in fates(weather))
        assert not any(weather.strikes("cancels", "cancel_stuck") for _ in range(NUMBER))
        assert not any(weather.doom("tick") for _ in range(NUMBER))
        weather.begin()
    assert weather.faults == {}
    assert weather.requests == 2 * NUMBER


def test_a_seed_gives_the_same_weather_whatever_the_other_functions_ask():
    one, other = bad_weather(), bad_weather()
    fates(other, "checkup")
    assert fates(one) == fates(other)
    assert [one.doom("tick") for _ in range(NUMBER)] == [other.doom("tick") for _ in range(NUMBER)]
    assert fates(one) != fates(bad_weather(2))


def test_the_good_weather_at_first_does_not_shift_what_strikes_later():
    early, late = bad_weather(), Weather(1, SESSION, climate=EVEN)
    late.outages = ()
    fates(early)
    fates(late)
    late.begin()
    assert fates(early) == fates(late)


@pytest.mark.parametrize("kind", sorted(kind for kind in RATES if kind.startswith("exchange_")))
def test_each_answer_comes_about_as_often_as_its_odds_say(kind):
    weather = bad_weather()
    fates(weather)
    counted = sum(number for name, number in weather.faults.items() if name.startswith(kind))
    assert counted == pytest.approx(RATES[kind] * NUMBER, rel=0.35)


def test_an_answer_that_says_that_nothing_was_done_comes_before_the_effect():
    weather = bad_weather(exchange_429=100.0)
    told = [fate for fate in fates(weather) if fate.answer == "429"]
    assert len(told) == pytest.approx(MOST * NUMBER, rel=0.1)
    assert {fate.when for fate in told} == {BEFORE}
    others = {fate.when for fate in fates(bad_weather()) if fate.answer == "reset"}
    assert others == {BEFORE, AFTER}
    assert "429" in WITHOUT_EFFECT


def test_a_question_has_no_before_and_after_in_the_counts():
    weather = bad_weather()
    for _ in range(NUMBER):
        weather.request(EXCHANGE, "tick", has_effect=False)
    assert weather.faults["exchange_reset"]
    assert not any(name.endswith((BEFORE, AFTER)) for name in weather.faults)


def test_a_kind_may_be_left_out_of_a_day():
    weather = bad_weather(exchange_reset=0.0)
    assert not any(fate.answer == "reset" for fate in fates(weather))
    climates = [Weather(seed, SESSION)._odds["exchange_reset"] for seed in range(60)]
    assert min(climates) == 0.0
    assert max(climates) == RATES["exchange_reset"] * 4


def test_a_server_that_is_out_answers_next_to_nothing_until_it_is_back():
    weather = bad_weather()
    weather.outages = (Outage(STORE, SESSION.open + MINUTE, SESSION.open + 3 * MINUTE),)
    for minutes, is_out in ((0, False), (1, True), (2.9, True), (3, False)):
        now = SESSION.open + timedelta(minutes=minutes)
        weather.now = partial(datetime.fromtimestamp, now.timestamp(), UTC)
        asked = [weather.request(STORE, "tick", has_effect=False) for _ in range(200)]
        failed = sum(bool(fate.answer) for fate in asked)
        assert (failed > 120) is is_out
        assert sum(bool(fate.answer) for fate in fates(weather)) < NUMBER / 4, "the other is not"


def test_outages_lie_within_the_bad_weather():
    ends = SESSION.liquidate_at + CALM_AFTER
    found = [one for seed in range(200) for one in Weather(seed, SESSION).outages]
    assert all(SESSION.open <= one.begins < one.ends <= ends for one in found)
    assert any(one.ends == ends for one in found)
    assert {one.door for one in found} == {EXCHANGE, STORE}


@pytest.mark.parametrize("function", KILLS)
def test_a_function_dies_about_as_often_as_its_odds_say_at_any_request(function):
    weather = bad_weather()
    odds, latest = KILLS[function]
    dooms = [doom for _ in range(NUMBER) if (doom := weather.doom(function))]
    assert len(dooms) == pytest.approx(odds * NUMBER, rel=0.35)
    assert {doom.request for doom in dooms} == set(range(1, latest + 1))
    assert {doom.when for doom in dooms} == {BEFORE, AFTER}


def test_the_function_that_closes_the_day_is_never_doomed():
    weather = bad_weather()
    assert not any(weather.doom("close_day") for _ in range(NUMBER))
