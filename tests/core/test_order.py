"""Joining reports is a maximum; client ids round-trip; unknown words count as live."""

from dataclasses import replace
from datetime import date, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.order import (
    ABSENCE_GAP,
    ABSENT,
    KNOWN_STATUSES,
    MAX_GENERATION,
    OPEN_STATUSES,
    REFUSED,
    TERMINAL_STATUSES,
    ClientOrderId,
    Order,
    OrderReport,
    Progress,
    Purpose,
    is_correction,
    join,
    progress_of,
)
from tests.core.build import at, client_id, order, report

NOW = at("10:00:30")
STATUSES = ["new", "partially_filled", "pending_cancel", "done_for_day", *sorted(TERMINAL_STATUSES)]
REPORTS = st.builds(
    OrderReport,
    client_order_id=st.just(client_id()),
    status=st.sampled_from(STATUSES) | st.text(max_size=3),
    filled_qty=st.integers(0, 20),
    filled_value=st.integers(0, 5),
    updated_at=st.none() | st.sampled_from([at(f"10:00:0{n}") for n in range(4)]),
    broker_id=st.sampled_from(["", "a", "b"]),
    confirmed=st.booleans(),
)
IDS = st.builds(
    ClientOrderId,
    mode=st.sampled_from(["paper", "live"]),
    symbol=st.from_regex(r"[A-Z][A-Z0-9.]{0,9}", fullmatch=True),
    day=st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    generation=st.integers(1, MAX_GENERATION),
    purpose=st.sampled_from(Purpose),
)


def joined(reports: list[OrderReport]) -> Order:
    return reduce(lambda known, said: join(known, said, NOW), reports, order())


@pytest.mark.fault("11")
@given(reports=st.lists(REPORTS, max_size=6), data=st.data())
def test_reports_in_any_order_make_the_same(reports: list[OrderReport], data) -> None:
    shuffled = data.draw(st.permutations(reports))
    assert joined(shuffled) == joined(reports)


@pytest.mark.fault("4")
@given(reports=st.lists(REPORTS, min_size=1, max_size=6), data=st.data())
def test_repeated_reports_change_nothing(reports: list[OrderReport], data) -> None:
    again = data.draw(st.lists(st.sampled_from(reports)))
    assert joined([*reports, *again]) == joined(reports)


@given(first=st.lists(REPORTS, max_size=4), second=st.lists(REPORTS, max_size=4))
def test_two_halves_joined_in_either_grouping_make_the_same(first, second) -> None:
    known = joined(second)
    summary = OrderReport(
        client_order_id=known.client_order_id,
        status=known.status,
        filled_qty=known.filled_qty,
        filled_value=known.filled_value,
        updated_at=known.updated_at,
        broker_id=known.broker_id,
    )
    left, right = joined([*first, *second]), join(joined(first), summary, NOW)
    assert (left.filled_qty, left.status, left.updated_at, left.broker_id) == (
        right.filled_qty,
        right.status,
        right.updated_at,
        right.broker_id,
    )


@pytest.mark.fault("5")
@given(reports=st.lists(REPORTS, min_size=1, max_size=6))
def test_quantity_and_progress_only_rise(reports: list[OrderReport]) -> None:
    known = order()
    for said in reports:
        before, known = known, join(known, said, NOW)
        assert known.filled_qty == max(before.filled_qty, said.filled_qty)
        assert known.progress >= before.progress
        assert known.progress >= Progress.LIVE
        assert not (before.is_closed and not known.is_closed)


@pytest.mark.fault("22")
@given(reports=st.lists(REPORTS, min_size=1, max_size=6))
def test_an_order_is_closed_by_a_full_fill_or_a_confirmed_end_alone(reports) -> None:
    full = any(said.filled_qty >= 20 for said in reports)
    ended = any(said.confirmed and said.status in TERMINAL_STATUSES for said in reports)
    ended_by_report = any(said.status in TERMINAL_STATUSES for said in reports)
    known = joined(reports)
    assert known.is_closed is (full or ended)
    assert known.needs_confirmation is (ended_by_report and not full and not ended)


@pytest.mark.fault("6")
@given(status=st.text())
def test_a_status_is_live_unless_it_is_known_to_be_terminal(status: str) -> None:
    terminal = status in {"filled", "canceled", "expired", "rejected", "replaced"}
    assert progress_of(status) is (Progress.TERMINAL if terminal else Progress.LIVE)


def test_absences_are_counted_at_a_distance_of_5_seconds() -> None:
    absent = report(1, Purpose.ENTRY, ABSENT)
    once = join(order(), absent, NOW)
    assert once == order(absences=1, absent_at=NOW)
    soon = NOW + ABSENCE_GAP - timedelta(microseconds=1)
    assert join(once, absent, soon) == once
    later = NOW + ABSENCE_GAP
    assert join(once, absent, later) == order(absences=2, absent_at=later)


def test_an_order_that_was_seen_is_never_absent() -> None:
    live = joined([report(1, Purpose.ENTRY, "new")])
    assert join(live, report(1, Purpose.ENTRY, ABSENT), NOW) == live


def test_a_refusal_closes_an_order() -> None:
    refused = join(order(), report(1, Purpose.ENTRY, REFUSED), NOW)
    assert refused == order(progress=Progress.TERMINAL, status=REFUSED, confirmed=True)
    assert refused.is_closed


KNOWN = order(filled_qty=8, updated_at=at("10:00:02"))
TAKEN_BACK = report(1, Purpose.ENTRY, "new", 5, stamp="10:00:03", confirmed=True)


@pytest.mark.parametrize(
    ("said", "correction"),
    [
        (TAKEN_BACK, True),
        (replace(TAKEN_BACK, confirmed=False), False),
        (replace(TAKEN_BACK, filled_qty=8), False),
        (replace(TAKEN_BACK, updated_at=at("10:00:02")), False),
        (replace(TAKEN_BACK, updated_at=None), False),
    ],
)
def test_a_newer_confirmed_report_of_fewer_shares_is_a_correction(said, correction) -> None:
    assert is_correction(KNOWN, said) is correction


@given(name=IDS)
def test_client_ids_round_trip_within_48_characters(name: ClientOrderId) -> None:
    assert ClientOrderId.parse(str(name)) == name
    assert len(str(name)) <= 48


@given(text=st.text() | st.from_regex(r"scalp-paper-TSLA-\d{8}-\d{1,4}-[a-z]+", fullmatch=True))
def test_a_text_that_is_taken_for_a_client_id_is_one(text: str) -> None:
    name = ClientOrderId.parse(text)
    assert name is None or str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "entry",
        f"{client_id()} ",
        f"{client_id()}\n",
        f"x{client_id()}",
        client_id().upper(),
        client_id().replace("paper", "demo"),
        client_id().replace("TSLA", "tsla"),
        client_id().replace("TSLA", "TSLATSLATSLA"),
        client_id().replace("20260701", "20260732"),
        client_id().replace("-1-", "-0-"),
        client_id().replace("-1-", "-01-"),
        client_id().replace("-1-", "-1000-"),
        client_id().replace("-1-", "-1٣-"),
        client_id().replace("entry", "exit"),
    ],
)
def test_a_text_that_is_no_client_id_is_not_taken_for_one(text: str) -> None:
    assert ClientOrderId.parse(text) is None


def test_an_open_status_is_known_and_not_terminal() -> None:
    assert OPEN_STATUSES < KNOWN_STATUSES
    assert TERMINAL_STATUSES < KNOWN_STATUSES
    assert not OPEN_STATUSES & TERMINAL_STATUSES
    assert {progress_of(status) for status in OPEN_STATUSES} == {Progress.LIVE}
