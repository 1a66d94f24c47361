"""The pre-trade gate: each limit has one Reason, and the order of the limits is part of it."""

from dataclasses import replace
from typing import Any

import pytest

from scalper.core.limits import (
    ACCOUNT_LIMITS,
    EXTERNAL_LIMITS,
    EXTERNAL_REASONS,
    LIMITS,
    STANDING_LIMITS,
    Facts,
    account_limit,
    admit,
    entry_size,
    may_enter,
    refusal,
    standing,
)
from scalper.core.machine import step
from scalper.core.model import AccountFacts, Phase, Reason, SymbolFacts
from scalper.core.order import ABSENT, MAX_GENERATION, Purpose
from scalper.core.order_actions import MAX_LIQUIDATION_ATTEMPTS
from scalper.core.pricing import money
from tests.core.build import after, at, bar_closed, rules, seen, state

FREE = Facts(state=state(), rules=rules(), at=at("10:00"), close=money(100), signal=True)
"""A candidate that no limit keeps back."""


def with_account(facts: Facts, **changes: Any) -> Facts:
    account = replace(facts.rules.account, **changes)
    return replace(facts, rules=replace(facts.rules, account=account))


def with_symbol(facts: Facts, **changes: Any) -> Facts:
    symbol = replace(facts.rules.symbol, **changes)
    return replace(facts, rules=replace(facts.rules, symbol=symbol))


def with_state(facts: Facts, **changes: Any) -> Facts:
    return replace(facts, state=replace(facts.state, **changes))


def with_rules(facts: Facts, **changes: Any) -> Facts:
    return replace(facts, rules=replace(facts.rules, **changes))


MOST_ORDERS = MAX_GENERATION - MAX_LIQUIDATION_ATTEMPTS

BREAK = {
    Reason.NO_BAR: lambda facts: replace(facts, close=None),
    Reason.NEWER_SCHEMA: lambda facts: with_symbol(facts, newer_schema=True),
    Reason.ACCOUNT_HALTED: lambda facts: with_account(facts, halted=True),
    Reason.ACCOUNT_BLOCKED: lambda facts: with_account(facts, blocked=True),
    Reason.CLOCK_SKEW: lambda facts: with_account(facts, clock_skew=True),
    Reason.LATE_TICK: lambda facts: with_account(facts, late=True),
    Reason.PAUSED: lambda facts: with_symbol(facts, enabled=False),
    Reason.SYMBOL_HALTED: lambda facts: with_state(facts, halt=Reason.LATE_ORDER),
    Reason.ORDER_IN_DOUBT: lambda facts: with_state(facts, abandoned=("one",)),
    Reason.SIGNAL_FAILED: lambda facts: with_symbol(facts, signal_failed=True),
    Reason.BROKER_UNREAD: lambda facts: with_account(facts, broker_unread=True),
    Reason.EXTERNAL_ORDER: lambda facts: with_symbol(facts, external_order=True),
    Reason.EXTERNAL_POSITION: lambda facts: with_symbol(facts, external_position=True),
    Reason.NO_SIGNAL: lambda facts: replace(facts, signal=False),
    Reason.COOLING_DOWN: lambda facts: with_state(facts, cool_until=at("10:01")),
    Reason.ENTRY_LIMIT_REACHED: lambda facts: with_rules(facts, max_entries=0),
    Reason.ORDER_LIMIT_REACHED: lambda facts: with_state(
        facts, generation=MOST_ORDERS, settled=(0,) * MOST_ORDERS
    ),
    Reason.LOT_TOO_SMALL: lambda facts: with_rules(facts, lot=money(99)),
}
"""By Reason, how to break its limit alone; in the order in which the limits are asked."""

ACCOUNT = (
    Reason.ACCOUNT_HALTED,
    Reason.ACCOUNT_BLOCKED,
    Reason.CLOCK_SKEW,
    Reason.LATE_TICK,
)

STANDING = (
    Reason.NEWER_SCHEMA,
    *ACCOUNT,
    Reason.PAUSED,
    Reason.SYMBOL_HALTED,
    Reason.ORDER_IN_DOUBT,
)


def test_a_candidate_that_breaks_no_limit_enters() -> None:
    assert refusal(FREE) is None
    assert may_enter(FREE)
    assert entry_size(FREE) == (money(100), 20)


@pytest.mark.parametrize("reason", BREAK)
def test_each_limit_alone_keeps_an_entry_back(reason: Reason) -> None:
    assert refusal(BREAK[reason](FREE)) is reason


@pytest.mark.parametrize("reason", BREAK)
def test_the_first_limit_in_the_order_is_the_reason(reason: Reason) -> None:
    facts = FREE
    for weaker in list(BREAK)[list(BREAK).index(reason) :]:
        facts = BREAK[weaker](facts)
    assert refusal(facts) is reason


def test_every_limit_has_a_reason_of_its_own() -> None:
    # All limits of the account are one entry in the order.
    assert len(LIMITS) - 1 + len(ACCOUNT_LIMITS) == len(BREAK)
    assert len(set(LIMITS)) == len(LIMITS)


@pytest.mark.parametrize("reason", BREAK)
def test_the_standing_limits_are_those_that_need_no_bar(reason: Reason) -> None:
    broken = replace(BREAK[reason](FREE), close=None, signal=False)
    assert standing(broken) is (reason if reason in STANDING else None)
    assert may_enter(broken) is (reason not in STANDING)


@pytest.mark.parametrize("reason", ACCOUNT)
def test_a_limit_of_the_account_is_known_without_any_symbol(reason: Reason) -> None:
    assert account_limit(BREAK[reason](FREE).rules.account) is reason


def test_facts_that_say_nothing_forbid_nothing() -> None:
    assert account_limit(AccountFacts()) is None
    assert refusal(with_rules(FREE, account=AccountFacts(), symbol=SymbolFacts())) is None


@pytest.mark.parametrize("phase", [one for one in Phase if one is not Phase.TO_BUY])
def test_a_symbol_that_is_not_idle_asks_for_no_signal(phase: Phase) -> None:
    assert not may_enter(with_state(FREE, phase=phase))


def test_the_machine_refuses_by_itself_what_a_limit_forbids() -> None:
    for reason, breaks in BREAK.items():
        facts = breaks(FREE)
        bar = bar_closed("10:00", "100.00" if facts.close else None, signal=facts.signal)
        done = step(facts.state, bar, facts.rules)
        assert (done.state, done.commands, done.reason) == (facts.state, (), reason)


@pytest.mark.parametrize("reason", STANDING)
def test_a_buy_that_the_broker_does_not_know_is_not_sent_again_under_a_standing_limit(
    reason: Reason,
) -> None:
    bought = after(state(), bar_closed("10:00", signal=True))
    facts = BREAK[reason](replace(FREE, state=bought))
    done = step(facts.state, seen("10:00:30", 1, Purpose.ENTRY, ABSENT), facts.rules)
    assert (done.commands, done.reason) == ((), Reason.AWAITING_ANSWER)


class TestAdmission:
    def test_candidates_take_their_turn_by_name(self) -> None:
        named = [with_state(FREE, symbol=name) for name in ("MSFT", "AAPL", "TSLA")]
        assert [one.state.symbol for one in admit(named, 0)] == ["AAPL", "MSFT", "TSLA"]

    def test_an_admitted_entry_counts_as_an_open_position_for_the_next(self) -> None:
        named = [with_state(FREE, symbol=name) for name in ("A", "B", "C")]
        named[1] = replace(named[1], signal=False)
        assert [one.rules.account.open_positions for one in admit(named, 4)] == [4, 5, 5]

    def test_a_turn_keeps_every_fact_but_the_count(self) -> None:
        broken = FREE
        for breaks in BREAK.values():
            broken = breaks(broken)
        assert admit([broken], 0) == [broken]
        assert [refusal(one) for one in admit([broken], 7)] == [Reason.NO_BAR]


def test_the_external_reasons_are_those_of_the_external_limits() -> None:
    found = {limit(breaks(FREE)) for limit in EXTERNAL_LIMITS for breaks in BREAK.values()} - {None}
    assert found == EXTERNAL_REASONS


def test_standing_limits_come_in_the_order_of_all_limits() -> None:
    places = [LIMITS.index(one) for one in STANDING_LIMITS]
    assert places == sorted(places)
