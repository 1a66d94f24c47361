"""The simulated exchange, made unreliable: late orders, partial fills, lost cancels and events.

Delays go by the exchange's clock. Each time an order lands, the venue checks the invariants and
notes each violation, whatever the plan was.
"""

import heapq
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from threading import Lock
from typing import Any
from urllib.parse import parse_qs

from starlette.websockets import WebSocket

from scalper.core.pricing import Money
from workbench.chaos.fault_plan import FaultPlan
from workbench.chaos.fault_proxy import Interceptor, ProxiedRequest, ProxiedResponse
from workbench.exchange import refusals, render, trading
from workbench.exchange.calls import Answer, Call, Endpoint
from workbench.exchange.gate import Credentials
from workbench.exchange.ledger import Ticket, Update, VenueOrder
from workbench.exchange.refusals import Refusal
from workbench.exchange.server import Exchange
from workbench.exchange.stream import Stream
from workbench.exchange.venue import Venue
from workbench.exchange.wire import stamp
from workbench.faults import invariants
from workbench.faults.kinds import FaultKind
from workbench.market.model import Market

LANDS_LATE_S = (5, 50)
HIDDEN_S = (5, 30)
"""The core sends a buy for the last time 30 s after its decision and abandons it after 120 s at the
earliest (core/machine.py). The longest delay and the longest invisibility fit in between."""

REJECTED_AFTER_S = (1, 45)
CANCELED_AFTER_S = (10, 90)
EVENT_DELAY_S = (10, 180)

JSON = [("content-type", "application/json")]


class PartialFills:
    """The fill policy of a chaos day: orders fill in parts, and cancels lose to fills."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan

    def qty_at_price(self, order: VenueOrder) -> int:
        """Return all that is left of the order, or a part of it if the plan says so."""
        if order.remaining == 1 or not self._plan.strikes("fills", FaultKind.PARTIAL_FILL):
            return order.remaining
        return self._plan.draw("part of a fill").randint(1, order.remaining - 1)

    def qty_before_cancel(self, order: VenueOrder) -> int:
        """Return the shares that the plan fills first: all, a part, or mostly none."""
        kinds = (FaultKind.CANCEL_LOSES_TO_FILL, FaultKind.CANCEL_AFTER_PARTIAL_FILL)
        kind = self._plan.strikes("fills before cancels", *kinds)
        if kind == FaultKind.CANCEL_LOSES_TO_FILL:
            return order.remaining
        if kind == FaultKind.CANCEL_AFTER_PARTIAL_FILL and order.remaining > 1:
            return self._plan.draw("part before a cancel").randint(1, order.remaining - 1)
        return 0


class UnreliableVenue(Venue):
    """A venue whose orders and cancels come late, get lost or get stuck."""

    def __init__(
        self,
        market: Market,
        plan: FaultPlan,
        *,
        lot: Money,
        cash: Money | None = None,
        start: datetime | None = None,
    ) -> None:
        """Open; `lot` is what no entry may exceed."""
        super().__init__(market, cash=cash, start=start, fill_policy=PartialFills(plan))
        self.plan = plan
        self.violations: list[str] = []
        self.positions_before: list[render.Json] = []
        self._lot = lot
        self._hidden: dict[str, datetime] = {}
        self._stuck: set[str] = set()
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._numbers = count()

    # Time ----------------------------------------------------------------------------------

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something this many seconds of the clock later."""
        due = self.now + timedelta(seconds=seconds)
        heapq.heappush(self._agenda, (due, next(self._numbers), action))

    def advance(self, to: datetime) -> None:
        """Move the clock. What is due on the way happens at its time."""
        while self._agenda and self._agenda[0][0] <= to:
            due, _, action = heapq.heappop(self._agenda)
            self._advance(max(due, self.now))
            action()
        self._advance(to)

    def _advance(self, to: datetime) -> None:
        held = self.ledger.positions
        self.positions_before = [render.position(self, held[symbol]) for symbol in sorted(held)]
        super().advance(to)

    def end_faults(self) -> None:
        """End the faults: what is late comes now, what is stuck is canceled."""
        self.plan.end_faults()
        self._hidden.clear()
        while self._agenda:
            heapq.heappop(self._agenda)[2]()
        for order_id in sorted(self._stuck):
            self._cancel_at_last(order_id)
        self._stuck.clear()

    # Orders --------------------------------------------------------------------------------

    def submit(self, ticket: Ticket) -> VenueOrder:
        """Take an order on, and check the invariants."""
        try:
            order = super().submit(ticket)
        except Refusal as refusal:
            if "held_for_orders" in refusal.body:
                self._violated(f"I3 sells more than is held: {ticket}")
            if "reject_reason" in refusal.body:
                self._violated(f"I1 both sides at work: {ticket}")
            raise
        self._check_landed(order)
        kind = self.plan.strikes("orders", FaultKind.SUBMIT_HIDDEN, FaultKind.REJECTED_LATER)
        if kind == FaultKind.SUBMIT_HIDDEN:
            seconds = self.plan.draw("invisible for").randint(*HIDDEN_S)
            self._hidden[order.client_order_id] = self.now + timedelta(seconds=seconds)
        elif kind:
            seconds = self.plan.draw("rejected after").randint(*REJECTED_AFTER_S)
            self.later(seconds, lambda: self._reject(order.id))
        return order

    def submit_later(self, body: bytes) -> None:
        """Take an order on when its delayed request arrives."""

        def land() -> None:
            try:
                trading.post_order(self, Call(body=body))
            except Refusal:
                return

        self.later(self.plan.draw("late by").randint(*LANDS_LATE_S), land)

    def is_hidden(self, client_order_id: object) -> bool:
        """Return if no request shows the order yet."""
        until = self._hidden.get(str(client_order_id))
        return until is not None and self.now < until

    def cancel(self, order_id: str) -> None:
        """Cancel an order: at once, later, never, or too late."""
        order = self.ledger.order(order_id)
        if not order.is_open:
            super().cancel(order_id)
            return
        if order_id in self._stuck or order.status == "pending_cancel":
            return
        kinds = (FaultKind.CANCEL_STUCK, FaultKind.CANCEL_LATE)
        kind = self.plan.strikes("cancels", *kinds)
        if kind:
            self.tell(self.ledger.pend_cancel(order, self.now))
        if kind == FaultKind.CANCEL_STUCK:
            self._stuck.add(order_id)
        elif kind == FaultKind.CANCEL_LATE:
            seconds = self.plan.draw("cancel late by").randint(*CANCELED_AFTER_S)
            self.later(seconds, lambda: self._cancel_at_last(order_id))
        else:
            self._cancel_now(order_id)

    def _cancel_now(self, order_id: str) -> None:
        """Cancel an order. Half of the cancels that lose to a fill are answered as if they won."""
        try:
            super().cancel(order_id)
        except Refusal:
            if self.plan.draw("answer of a lost cancel").random() < 0.5:
                raise

    def _cancel_at_last(self, order_id: str) -> None:
        """Cancel an order that is still open; no fill comes first any more."""
        if self.ledger.order(order_id).is_open:
            self.tell(self.ledger.cancel(order_id, self.now))

    def _reject(self, order_id: str) -> None:
        order = self.ledger.order(order_id)
        if order.is_open and not order.filled_qty:
            self.tell(self.ledger.reject(order, self.now))

    # Invariants ----------------------------------------------------------------------------

    def _check_landed(self, order: VenueOrder) -> None:
        """Check the ledger right after an order landed."""
        broken = invariants.at_landing(
            order,
            live=[one.client_order_id for one in self.ledger.open_orders(order.symbol)],
            held=self.ledger.qty(order.symbol),
            lot=self._lot,
        )
        for text in broken:
            self._violated(text)

    def _violated(self, text: str) -> None:
        self.violations.append(f"{stamp(self.now)} {text}")


class UnreliableStream(Stream):
    """A stream that loses, repeats, delays and reorders its messages, and hangs up."""

    def __init__(self, credentials: Credentials, venue: UnreliableVenue) -> None:
        super().__init__(credentials)
        self._venue = venue
        self._held: Update | None = None
        self._lock = Lock()
        self._undelivered = Counter[str]()

    def tell(self, update: Update) -> None:
        """Send an update, or do to it what the plan says."""
        if not self.listening:
            return
        kinds = (
            FaultKind.EVENT_LOST,
            FaultKind.EVENT_TWICE,
            FaultKind.EVENT_DELAYED,
            FaultKind.EVENT_OUT_OF_ORDER,
            FaultKind.EVENT_STREAM_CLOSED,
        )
        kind = self._venue.plan.strikes("events", *kinds)
        if kind == FaultKind.EVENT_LOST:
            return
        if kind == FaultKind.EVENT_DELAYED:
            seconds = self._venue.plan.draw("event late by").randint(*EVENT_DELAY_S)
            self._venue.later(seconds, lambda: super(UnreliableStream, self).tell(update))
            return
        if kind == FaultKind.EVENT_OUT_OF_ORDER and self._held is None:
            self._held = update
            self._venue.later(EVENT_DELAY_S[0], self._let_go)
            return
        super().tell(update)
        if kind == FaultKind.EVENT_TWICE:
            super().tell(update)
        self._let_go()
        if kind == FaultKind.EVENT_STREAM_CLOSED:
            self.hang_up()

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            super().tell(held)

    def put(self, message: Any) -> None:
        """Send a message, and count it as under way."""
        if self.listening and message.get("stream") == "trade_updates":
            with self._lock:
                self._undelivered[_text(message)] += 1
        super().put(message)

    async def connect(self, socket: WebSocket) -> None:
        """Serve a connection; what was under way to the one before is lost."""
        if not self.is_connected:
            self.clear_undelivered()
        await super().connect(socket)

    @property
    def undelivered(self) -> int:
        """Return how many messages were sent and not taken up yet."""
        with self._lock:
            return self._undelivered.total()

    def mark_delivered(self, text: str) -> None:
        """Note that nobody has to wait for a message any more."""
        with self._lock:
            if self._undelivered[text] > 1:
                self._undelivered[text] -= 1
            else:
                del self._undelivered[text]

    def clear_undelivered(self) -> None:
        """Forget all messages that were sent so far."""
        with self._lock:
            self._undelivered.clear()


class UnreliableExchange:
    """An exchange of an unreliable venue and stream; POST /exchange/end-faults ends the faults."""

    def __init__(
        self,
        market: Market,
        plan: FaultPlan,
        *,
        lot: Money,
        key_id: str,
        secret_key: str,
        start: datetime,
    ) -> None:
        """Put it together; `lot` is what no entry may exceed."""
        self.venue = UnreliableVenue(market, plan, lot=lot, start=start)
        self.stream = UnreliableStream(Credentials(key_id, secret_key), self.venue)
        plan.now = lambda: self.venue.now
        self.app = Exchange(
            market,
            key_id=key_id,
            secret_key=secret_key,
            venue=self.venue,
            stream=self.stream,
            control=(Endpoint("POST", "/exchange/end-faults", self._end_faults),),
        ).app

    def _end_faults(self, _: Venue, __: Call) -> Answer:
        self.venue.end_faults()
        return Answer({"now": stamp(self.venue.now)})


class ExchangeInterceptor(Interceptor):
    """Refuses, delays and hides orders, and shows old positions, whoever asks."""

    def __init__(self, venue: UnreliableVenue) -> None:
        self._venue = venue

    def answer_instead(self, request: ProxiedRequest) -> ProxiedResponse | None:
        """Refuse an order, or let it land later. Show old positions."""
        plan = self._venue.plan
        if request.method == "POST" and request.path == "/v2/orders":
            kinds = (
                FaultKind.REFUSED_BUYING_POWER,
                FaultKind.REFUSED_NOT_TRADABLE,
                FaultKind.SUBMIT_LATE,
            )
            match plan.strikes("submits", *kinds):
                case FaultKind.REFUSED_BUYING_POWER:
                    return _refused(refusals.buying_power("0", "1"))
                case FaultKind.REFUSED_NOT_TRADABLE:
                    return _refused(refusals.out_of_range("asset is not tradable at present"))
                case FaultKind.SUBMIT_LATE:
                    self._venue.submit_later(request.body)
                    return ProxiedResponse(504, [("content-type", "text/html")], b"<html></html>")
        is_positions = request.method == "GET" and request.path == "/v2/positions"
        if is_positions and plan.strikes("positions", FaultKind.POSITIONS_STALE):
            return ProxiedResponse(200, JSON, json.dumps(self._venue.positions_before).encode())
        return None

    def altered(self, request: ProxiedRequest, response: ProxiedResponse) -> ProxiedResponse:
        """Leave out the orders that no request shows yet."""
        if request.method != "GET" or response.status != 200:
            return response
        found = json.loads(response.body)
        if isinstance(found, dict) and self._is_hidden(found):
            query = parse_qs(request.query).get(
                "client_order_id", [request.path.rpartition("/")[2]]
            )
            return _refused(refusals.no_order(query[0]))
        if isinstance(found, list) and any(self._is_hidden(one) for one in found):
            shown = [one for one in found if not self._is_hidden(one)]
            return ProxiedResponse(200, JSON, json.dumps(shown).encode())
        return response

    def _is_hidden(self, one: object) -> bool:
        return isinstance(one, dict) and self._venue.is_hidden(one.get("client_order_id"))


def _refused(refusal: Refusal) -> ProxiedResponse:
    return ProxiedResponse(refusal.status, JSON, json.dumps(refusal.body).encode())


def _text(message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))
