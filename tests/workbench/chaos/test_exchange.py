"""The unreliable exchange: late orders, partial fills, cancels that lose, lost events."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from scalper.core.pricing import CENT, DOLLAR, Money
from scalper.core.session import MINUTE, Session
from scalper.core.signal import Bar
from workbench.chaos.exchange import (
    CANCELED_AFTER_S,
    HIDDEN_S,
    LANDS_LATE_S,
    REJECTED_AFTER_S,
    ExchangeInterceptor,
    UnreliableStream,
    UnreliableVenue,
)
from workbench.chaos.fault_plan import FaultPlan
from workbench.chaos.fault_proxy import ProxiedRequest, ProxiedResponse
from workbench.exchange.gate import Credentials
from workbench.exchange.ledger import Ticket, VenueOrder
from workbench.exchange.refusals import Refusal
from workbench.market.matching import Side
from workbench.market.model import Market, MarketDay

DAY = date(2024, 11, 29)
SESSION = Session.of(DAY, "09:30", "13:00")
PRICE = 10 * DOLLAR


class Sure(FaultPlan):
    """A plan in which exactly the kinds that are set strike, always."""

    def __init__(self) -> None:
        super().__init__(1, SESSION)
        self.kinds: set[str] = set()

    def strikes(self, stream: str, *kinds: str) -> str:
        return next((kind for kind in kinds if kind in self.kinds), "")


class Told(UnreliableVenue):
    """The venue, and what it told."""

    def __init__(self, market: Market, plan: Sure, lot: Money) -> None:
        super().__init__(market, plan, lot=lot, start=SESSION.open)
        self.sure = plan
        self.events: list[tuple[str, int]] = []
        self.tell = lambda update: self.events.append((update.event, update.order.filled_qty))


@pytest.fixture
def venue() -> Told:
    bars = tuple(
        Bar(SESSION.open + n * MINUTE, PRICE, PRICE + CENT, PRICE - CENT, PRICE, 100)
        for n in range(210)
    )
    market = Market((MarketDay(SESSION, {"AAA": bars}),), True, "test")
    return Told(market, Sure(), 2000 * DOLLAR)


def name(generation: int, purpose: str = "entry") -> str:
    return f"scalp-paper-AAA-20241129-{generation}-{purpose}"


def ticket(
    generation: int = 1, side: Side = "buy", qty: int = 100, limit: Money | None = PRICE
) -> Ticket:
    purpose = "entry" if side == "buy" else "target"
    return Ticket("AAA", side, qty, limit, name(generation, purpose))


def resting(venue: Told, generation: int = 1) -> VenueOrder:
    """Return a buy that no bar fills."""
    return venue.submit(ticket(generation, limit=PRICE // 2))


def status(venue: Told, order: VenueOrder) -> tuple[str, int]:
    now = venue.ledger.order(order.id)
    return now.status, now.filled_qty


def go(venue: Told, seconds: float) -> datetime:
    venue.advance(venue.now + timedelta(seconds=seconds))
    return venue.now


def test_without_faults_it_is_the_exchange(venue):
    venue.cancel(resting(venue).id)
    order = venue.submit(ticket(2))
    go(venue, 60)
    assert status(venue, order) == ("filled", 100)
    assert venue.events == [("new", 0), ("canceled", 0), ("new", 0), ("fill", 100)]
    assert venue.violations == []


def test_a_fill_comes_in_parts(venue):
    venue.sure.kinds = {"partial_fill"}
    order = venue.submit(ticket())
    go(venue, 60)
    told, filled = status(venue, order)
    assert told == "partially_filled"
    assert 0 < filled < 100
    venue.sure.kinds.clear()
    go(venue, 60)
    assert status(venue, order) == ("filled", 100)


def test_a_cancel_loses_to_a_fill(venue):
    venue.sure.kinds = {"cancel_loses_to_fill"}
    answers = set()
    for generation in range(1, 9):
        order = resting(venue, generation)
        try:
            venue.cancel(order.id)
            answers.add("204")
        except Refusal as refusal:
            answers.add(str(refusal.body["message"]))
        assert status(venue, order) == ("filled", 100)
    assert answers == {"204", 'order is already in "filled" state'}


def test_a_cancel_comes_after_a_part(venue):
    venue.sure.kinds = {"cancel_after_partial_fill"}
    order = resting(venue)
    venue.cancel(order.id)
    told, filled = status(venue, order)
    assert told == "canceled"
    assert 0 < filled < 100


def test_a_cancel_takes_effect_later_and_the_order_may_fill_until_then(venue):
    venue.sure.kinds = {"cancel_late"}
    order, other = resting(venue), venue.submit(ticket(2))
    venue.cancel(order.id)
    venue.cancel(other.id)
    assert status(venue, order) == ("pending_cancel", 0)
    venue.cancel(order.id)
    go(venue, 60)
    assert status(venue, other) == ("filled", 100) or CANCELED_AFTER_S[0] < 60
    go(venue, CANCELED_AFTER_S[1] - 60)
    assert status(venue, order) == ("canceled", 0)


def test_a_late_cancel_does_not_lose_to_a_fill_when_its_time_comes(venue):
    """Regression: the clock was refused its move, because the fill policy filled the order."""
    venue.sure.kinds = {"cancel_late"}
    order = resting(venue)
    venue.cancel(order.id)
    venue.sure.kinds = {"cancel_loses_to_fill"}
    go(venue, CANCELED_AFTER_S[1])
    assert status(venue, order) == ("canceled", 0)


def test_a_cancel_is_stuck_until_the_faults_end(venue):
    venue.sure.kinds = {"cancel_stuck"}
    order = resting(venue)
    for _ in range(30):
        venue.cancel(order.id)
        go(venue, 60)
        assert status(venue, order) == ("pending_cancel", 0)
    assert venue.ledger.open_orders("AAA")
    venue.end_faults()
    assert status(venue, order) == ("canceled", 0)


def test_an_order_is_rejected_after_it_was_taken_on_unless_it_filled(venue):
    venue.sure.kinds = {"rejected_later"}
    order = resting(venue)
    go(venue, REJECTED_AFTER_S[0] - 0.5)
    assert status(venue, order) == ("new", 0)
    go(venue, REJECTED_AFTER_S[1])
    assert status(venue, order) == ("rejected", 0)
    assert venue.events[-1] == ("rejected", 0)


# --- what the fault proxy knows ------------------------------------------------------------------


@dataclass
class Proxy:
    """Requests as they pass the proxy, without any other fault."""

    interceptor: ExchangeInterceptor
    server: Callable[[ProxiedRequest], ProxiedResponse]
    effects: list[ProxiedRequest] = field(default_factory=list)

    def ask(self, method: str, path: str, query: str = "", body: Any = None) -> tuple[int, Any]:
        request = ProxiedRequest("tick-1", method, path, query, json.dumps(body).encode())
        response = self.interceptor.answer_instead(request)
        if response is None:
            self.effects.append(request)
            response = self.server(request)
        response = self.interceptor.altered(request, response)
        return response.status, json.loads(response.body) if response.body[:1] != b"<" else None


@pytest.fixture
def proxy(venue: Told) -> Proxy:
    def server(request: ProxiedRequest) -> ProxiedResponse:
        orders = [{"client_order_id": one.client_order_id} for one in venue.ledger.open_orders()]
        is_list = request.path == "/v2/orders" and request.method == "GET"
        return ProxiedResponse(200, [], json.dumps(orders if is_list else orders[0]).encode())

    return Proxy(ExchangeInterceptor(venue), server)


ORDER = {
    "symbol": "AAA",
    "qty": "100",
    "side": "buy",
    "type": "limit",
    "limit_price": "5",
    "time_in_force": "day",
    "client_order_id": name(1),
}


@pytest.mark.parametrize(
    ("kind", "code"), [("refused_buying_power", 403), ("refused_not_tradable", 422)]
)
def test_an_order_is_refused_without_effect(venue, proxy, kind, code):
    venue.sure.kinds = {kind}
    told, body = proxy.ask("POST", "/v2/orders", body=ORDER)
    assert (told, proxy.effects) == (code, [])
    assert body["message"]


def test_an_submit_late_and_its_sender_does_not_know(venue, proxy):
    venue.sure.kinds = {"submit_late"}
    assert proxy.ask("POST", "/v2/orders", body=ORDER) == (504, None)
    assert venue.ledger.orders == {}
    go(venue, LANDS_LATE_S[0] - 0.5)
    assert venue.ledger.orders == {}
    go(venue, LANDS_LATE_S[1])
    (order,) = venue.ledger.open_orders()
    assert order.client_order_id == name(1)
    assert order.submitted_at < venue.now
    # The same order sent again meanwhile: the late one is refused, and nobody hears of it.
    proxy.ask("POST", "/v2/orders", body=ORDER)
    go(venue, LANDS_LATE_S[1])
    assert len(venue.ledger.orders) == 1
    assert venue.violations == []


def test_a_late_order_lands_at_the_latest_when_the_faults_end(venue, proxy):
    venue.sure.kinds = {"submit_late"}
    proxy.ask("POST", "/v2/orders", body=ORDER)
    venue.end_faults()
    assert len(venue.ledger.open_orders()) == 1


def test_an_order_is_not_visible_to_any_question_for_a_while(venue, proxy):
    venue.sure.kinds = {"submit_hidden"}
    venue.submit(ticket(limit=PRICE // 2))
    questions = [
        ("/v2/orders:by_client_order_id", f"client_order_id={name(1)}"),
        ("/v2/orders/b1", ""),
    ]
    for path, query in questions:
        assert proxy.ask("GET", path, query)[0] == 404
    assert proxy.ask("GET", "/v2/orders") == (200, [])
    assert proxy.ask("POST", "/v2/orders")[1] == {"client_order_id": name(1)}, "but to its sender"
    go(venue, HIDDEN_S[1])
    for path, query in questions:
        assert proxy.ask("GET", path, query) == (200, {"client_order_id": name(1)})
    assert proxy.ask("GET", "/v2/orders") == (200, [{"client_order_id": name(1)}])


def test_positions_are_those_before_the_last_executions(venue, proxy):
    venue.submit(ticket())
    go(venue, 60)
    venue.sure.kinds = {"positions_stale"}
    assert proxy.ask("GET", "/v2/positions") == (200, [])
    go(venue, 30)
    assert [one["qty"] for one in proxy.ask("GET", "/v2/positions")[1]] == ["100"]


# --- what must never be the case -----------------------------------------------------------------


def test_two_live_orders_of_one_symbol_are_noticed(venue):
    resting(venue)
    resting(venue, 2)
    assert [line[21:23] for line in venue.violations] == ["I1"]


def test_an_entry_above_the_lot_is_noticed(venue):
    venue.submit(ticket(qty=200))
    assert venue.violations == []
    go(venue, 60)
    venue.submit(ticket(2, "sell", 200))
    go(venue, 60)
    venue.submit(ticket(3, qty=201))
    assert [line[21:23] for line in venue.violations] == ["I2"]


def test_an_entry_on_top_of_a_position_is_noticed(venue):
    venue.submit(ticket(qty=10))
    go(venue, 60)
    venue.submit(ticket(2, qty=10))
    assert "on top of a position" in venue.violations[0]


def test_a_sale_of_what_is_not_held_is_noticed_though_it_is_refused(venue):
    with pytest.raises(Refusal):
        venue.submit(ticket(1, "sell"))
    assert [line[21:23] for line in venue.violations] == ["I3"]


def test_both_sides_at_work_are_noticed_though_the_exchange_refuses(venue):
    venue.submit(ticket())
    go(venue, 60)
    venue.submit(ticket(2, "sell", limit=None))
    with pytest.raises(Refusal):
        venue.submit(ticket(3))
    assert "I1 both sides" in venue.violations[0]


def test_an_id_that_is_not_this_systems_is_noticed(venue):
    venue.submit(Ticket("AAA", "buy", 1, PRICE, "somebody-else"))
    assert "not this system's" in venue.violations[0]


# --- events --------------------------------------------------------------------------------------


class Heard(UnreliableStream):
    """A stream with a listener, who hears what is put."""

    def __init__(self, venue: UnreliableVenue) -> None:
        super().__init__(Credentials("k", "s"), venue)
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._queue = self.queue
        self.texts: list[str] = []

    @property
    def heard(self) -> list[str]:
        """Return the numbers of the orders told of so far."""
        while not self.queue.empty():
            self.texts.append((self.queue.get_nowait() or b"").decode())
        told = [json.loads(text)["data"]["order"] for text in self.texts if text]
        return [order["client_order_id"].split("-")[4] for order in told]


@pytest.fixture
def stream(venue: Told) -> Heard:
    made = Heard(venue)
    venue.tell = made.tell
    return made


@pytest.mark.parametrize(
    ("kind", "at_once", "later"),
    [
        ("", ["1", "2"], ["1", "2"]),
        ("event_lost", [], []),
        ("event_twice", ["1", "1", "2", "2"], ["1", "1", "2", "2"]),
        ("event_delayed", [], ["1", "2"]),
        ("event_out_of_order", ["2", "1"], ["2", "1"]),
        ("event_stream_closed", ["1"], ["1"]),
    ],
)
def test_events_are_lost_repeated_late_or_out_of_order(venue, stream, kind, at_once, later):
    venue.sure.kinds = {kind}
    resting(venue, 1)
    resting(venue, 2)
    assert stream.heard == at_once
    venue.sure.kinds.clear()
    go(venue, 180)
    assert sorted(stream.heard) == sorted(later)
    assert stream.listening == int(kind != "event_stream_closed")


def test_a_held_event_is_told_in_the_end_though_no_other_comes(venue, stream):
    venue.sure.kinds = {"event_out_of_order"}
    resting(venue, 1)
    assert stream.heard == []
    go(venue, 30)
    assert stream.heard == ["1"]


def test_messages_are_on_the_way_until_each_has_arrived(venue, stream):
    venue.sure.kinds = {"event_twice"}
    resting(venue, 1)
    assert stream.undelivered == 2
    assert stream.heard == ["1", "1"]
    stream.mark_delivered(stream.texts[0])
    assert stream.undelivered == 1
    stream.mark_delivered(stream.texts[1])
    stream.mark_delivered(stream.texts[1])
    assert stream.undelivered == 0
    resting(venue, 2)
    stream.clear_undelivered()
    assert stream.undelivered == 0
