"""Both sorts of days take their faults from one list, and each fault strikes what the list says."""

import pytest

from workbench.chaos.fault_plan import EXCHANGE, QUEUE, RATES, SECRETS, STORE, WEBHOOK
from workbench.faults.kinds import REFUSALS, FaultKind, Strikes
from workbench.simulation.fault_plan import (
    BAR,
    CANCEL,
    KINDS,
    POSITIONS,
    READ,
    SEND,
    STORE_READ,
    STORE_WRITE,
    SUBMIT,
    FaultMenu,
)

MENUS = {
    Strikes.READ: READ,
    Strikes.POSITIONS: POSITIONS,
    Strikes.SUBMIT: SUBMIT,
    Strikes.CANCEL: CANCEL,
    Strikes.STORE_READ: STORE_READ,
    Strikes.STORE_WRITE: STORE_WRITE,
    Strikes.SEND: SEND,
}
SERVERS = {
    EXCHANGE: {Strikes.READ, Strikes.POSITIONS, Strikes.SUBMIT, Strikes.CANCEL},
    STORE: {Strikes.STORE_READ, Strikes.STORE_WRITE},
    QUEUE: {Strikes.SEND},
    SECRETS: {Strikes.SECRET},
    WEBHOOK: {Strikes.POST},
}
WITHOUT_REQUEST = {
    Strikes.BAR,
    Strikes.ORDER,
    Strikes.EVENT,
    Strikes.TICK,
    Strikes.MINUTE,
    Strikes.INVOCATION,
    Strikes.DAY,
}
BY_VALUE = {kind.value: kind for kind in FaultKind}


def of_server(rate: str) -> tuple[str, FaultKind] | None:
    """Return the server and the kind that a chaos day's rate is of, None for one of no server."""
    server, _, kind = rate.partition("_")
    return (server, BY_VALUE[kind]) if server in SERVERS and kind in BY_VALUE else None


@pytest.mark.parametrize(("struck", "menu"), MENUS.items(), ids=[one.name for one in MENUS])
def test_a_simulated_request_meets_what_may_strike_it(struck: Strikes, menu: FaultMenu) -> None:
    assert [kind for kind in menu.kinds if struck not in kind.strikes] == []


def test_what_no_request_meets_in_a_simulated_day_strikes_something_else() -> None:
    at_requests = {kind for menu in MENUS.values() for kind in menu.kinds}
    others = set(KINDS) - at_requests
    assert others
    assert [kind for kind in others if not kind.strikes & WITHOUT_REQUEST] == []
    assert all(Strikes.BAR in kind.strikes for kind in BAR)


def test_a_chaos_days_server_answers_as_its_requests_may_be_struck() -> None:
    of_servers = [found for rate in RATES if (found := of_server(rate))]
    assert {server for server, _ in of_servers} == set(SERVERS)
    for server, kind in of_servers:
        assert SERVERS[server] <= kind.strikes, (server, kind)


def test_each_rate_of_a_chaos_day_is_of_a_kind_of_the_list() -> None:
    assert [rate for rate in RATES if of_server(rate) is None and rate not in BY_VALUE] == []


def test_each_kind_is_injected_by_one_sort_of_days_at_least() -> None:
    of_chaos = {BY_VALUE[rate] for rate in RATES if rate in BY_VALUE}
    of_chaos |= {found[1] for rate in RATES if (found := of_server(rate))}
    # An outage is drawn for a server and a time, not by a rate.
    assert set(KINDS) | of_chaos | {FaultKind.OUTAGE} == set(FaultKind)
    assert {FaultKind.PARTIAL_FILL, FaultKind.EVENT_LOST, FaultKind.CANCEL_STUCK} <= of_chaos
    assert of_chaos & set(KINDS) >= {FaultKind.SLOW, FaultKind.SUBMIT_HIDDEN, FaultKind.TICK_TWICE}


def test_a_kind_says_what_happens_in_a_sentence() -> None:
    assert [kind for kind in FaultKind if not kind.happens.endswith(".")] == []
    assert len({kind.happens for kind in FaultKind}) == len(FaultKind)
    assert all(kind.strikes == {Strikes.SUBMIT} for kind in REFUSALS)


def test_a_kind_is_its_name_in_texts_and_in_json() -> None:
    assert f"{FaultKind.TICK_LOST}" == str(FaultKind.TICK_LOST) == "tick_lost"
    assert {FaultKind.TICK_LOST: 1}["tick_lost"] == 1  # type: ignore[index]
