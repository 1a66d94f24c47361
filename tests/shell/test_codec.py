"""A state goes into one text and back; what this version does not know stays in it."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import Order, Progress, Purpose
from scalper.shell.codec import decode, encode
from tests.shell.fakes import DAY, OPEN, QTY, client_id

amounts = st.integers(min_value=-(10**15), max_value=10**15)
counts = st.integers(min_value=0, max_value=10**9)
times = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda at: at.replace(fold=0))
maybe_times = st.none() | times
orders = st.builds(
    Order,
    client_order_id=st.text(max_size=48),
    purpose=st.sampled_from(Purpose),
    qty=counts,
    limit=st.none() | amounts,
    submitted_at=times,
    sends=counts,
    progress=st.sampled_from(Progress),
    status=st.text(max_size=20),
    filled_qty=counts,
    filled_value=amounts,
    updated_at=maybe_times,
    broker_id=st.text(max_size=40),
    confirmed=st.booleans(),
    cancel_at=maybe_times,
    absences=counts,
    absent_at=maybe_times,
    successor=st.text(max_size=40),
    carried_qty=counts,
    carried_value=amounts,
)
states = st.builds(
    SymbolState,
    symbol=st.text(max_size=10),
    session=st.dates(),
    phase=st.sampled_from(Phase),
    generation=counts,
    order=st.none() | orders,
    qty=counts,
    cost=amounts,
    entered_at=maybe_times,
    entries=counts,
    exit_as=st.sampled_from(Purpose),
    exit_attempts=counts,
    liquidating=st.booleans(),
    cool_until=maybe_times,
    pnl=amounts,
    trades=counts,
    halt=st.none() | st.sampled_from(Reason),
    settled=st.lists(counts, max_size=5).map(tuple),
    abandoned=st.lists(st.text(max_size=48), max_size=3).map(tuple),
)


def working() -> SymbolState:
    order = Order(
        client_order_id=client_id(1), purpose=Purpose.ENTRY, qty=QTY, limit=1, submitted_at=OPEN
    )
    return SymbolState(
        symbol="AAA", session=DAY, phase=Phase.BUY_SUBMITTED, generation=1, order=order
    )


@given(states)
def test_what_is_written_is_read(state: SymbolState):
    assert decode(encode(state, {})) == (state, {})


@given(states)
def test_the_types_come_back_too(state: SymbolState):
    read, _ = decode(encode(state, {}))
    assert repr(read) == repr(state)


@pytest.mark.fault("mid-day-deploy")
@given(
    states,
    st.dictionaries(
        st.text(min_size=1).map(lambda name: f"new_{name}"),
        st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=3),
        max_size=4,
    ),
)
def test_fields_of_a_newer_version_are_kept(state: SymbolState, unknown: dict[str, Any]):
    read, put_aside = decode(encode(state, unknown))
    assert (read, put_aside) == (state, unknown)


@pytest.mark.fault("mid-day-deploy")
def test_unknown_fields_of_the_working_order_are_kept_as_long_as_it_works():
    document = json.loads(encode(working(), {}))
    document["order"]["venue"] = "IEX"
    state, unknown = decode(json.dumps(document))
    assert state == working()
    assert json.loads(encode(state, unknown))["order"]["venue"] == "IEX"


def test_unknown_fields_of_an_order_do_not_pass_to_the_next():
    document = json.loads(encode(working(), {}))
    document["order"]["venue"] = "IEX"
    state, unknown = decode(json.dumps(document))
    order = state.order
    assert order is not None
    other = Order(
        client_order_id=client_id(2, "target"),
        purpose=Purpose.TARGET,
        qty=QTY,
        limit=2,
        submitted_at=OPEN,
    )
    next_state = SymbolState(
        symbol="AAA", session=DAY, phase=Phase.SELL_SUBMITTED, generation=2, order=other, qty=QTY
    )
    assert "venue" not in json.loads(encode(next_state, unknown))["order"]
    assert json.loads(encode(SymbolState(symbol="AAA", session=DAY), unknown))["order"] is None


@pytest.mark.fault("mid-day-deploy")
def test_fields_that_an_older_version_did_not_write_get_their_defaults():
    document = json.loads(encode(working(), {}))
    for name in ("pnl", "trades", "liquidating"):
        del document[name]
    assert decode(json.dumps(document)) == (working(), {})


@pytest.mark.fault("mid-day-deploy")
def test_a_halt_for_a_reason_of_a_newer_version_is_a_halt():
    document = json.loads(encode(working(), {})) | {"halt": "unrecorded_reports"}
    state, _ = decode(json.dumps(document))
    assert state == replace(working(), halt=Reason.NEWER_SCHEMA)
    assert decode(encode(state, {}))[0] == state


def test_an_order_written_before_there_were_successors_is_read():
    document = json.loads(encode(working(), {}))
    for name in ("successor", "carried_qty", "carried_value"):
        del document["order"][name]
    assert decode(json.dumps(document)) == (working(), {})


@pytest.mark.parametrize(
    "text",
    ["", "x", "{", "[]", "null", "5", '"text"', "{}", '{"symbol": "AAA"}', "[" * 100_000],
)
def test_what_is_no_state_is_a_value_error(text: str):
    with pytest.raises(ValueError, match=r"\S"):
        decode(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("symbol", None),
        ("symbol", 5),
        ("session", "yesterday"),
        ("session", None),
        ("phase", "LUNCH"),
        ("qty", "20"),
        ("qty", 20.5),
        ("qty", True),
        ("cost", None),
        ("entered_at", "2025-03-05T14:30:00"),
        ("entered_at", 5),
        ("exit_as", "fun"),
        ("liquidating", "yes"),
        ("liquidating", 1),
        ("halt", 5),
        ("settled", 5),
        ("settled", ["20"]),
        ("abandoned", [5]),
        ("order", {}),
        ("order", []),
        ("order", "x"),
        ("order", 0),
    ],
)
def test_an_invalid_field_is_a_value_error(name: str, value: object):
    document = json.loads(encode(working(), {})) | {name: value}
    with pytest.raises(ValueError, match=r"\S"):
        decode(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("qty", "20"),
        ("limit", 1.5),
        ("progress", 7),
        ("purpose", "fun"),
        ("submitted_at", None),
        ("submitted_at", "2025-03-05T14:30:00"),
        ("confirmed", "no"),
        ("client_order_id", None),
    ],
)
def test_an_invalid_order_is_a_value_error(name: str, value: object):
    document = json.loads(encode(working(), {}))
    document["order"][name] = value
    with pytest.raises(ValueError, match=r"\S"):
        decode(json.dumps(document))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(encode(working(), {})))), json_values, st.booleans())
def test_garbage_anywhere_is_a_value_error_or_a_state(name: str, value: object, inside: bool):
    document = json.loads(encode(working(), {}))
    if inside:
        field = sorted(document["order"])[len(name) % len(document["order"])]
        document["order"][field] = value
    else:
        document[name] = value
    try:
        state, unknown = decode(json.dumps(document))
    except ValueError:
        return
    assert decode(encode(state, unknown)) == (state, unknown)


def test_a_time_of_another_offset_is_the_same_time():
    east = timezone(timedelta(hours=-5))
    document = json.loads(encode(working(), {}))
    document["order"]["submitted_at"] = OPEN.astimezone(east).isoformat()
    state, _ = decode(json.dumps(document))
    assert state.order is not None
    assert state.order.submitted_at == OPEN


def test_a_date_is_a_date():
    assert decode(encode(working(), {}))[0].session == date(2025, 3, 5)
