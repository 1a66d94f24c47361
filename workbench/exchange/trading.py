"""The trading API's orders and positions.

Supported are whole-share market and limit orders of one day; everything else that Alpaca offers
is refused with its 422 and says so, rather than being taken and handled wrongly.
"""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from uuid import UUID

from scalper.core.pricing import DOLLAR, MAX_MONEY, Money
from workbench.exchange import refusals, render
from workbench.exchange.calls import Answer, Call, Endpoint, asked_symbol
from workbench.exchange.ledger import Ticket, VenueOrder, newest_first
from workbench.exchange.refusals import Refusal
from workbench.exchange.venue import Venue
from workbench.exchange.wire import plain
from workbench.market.matching import Side

MAX_CLIENT_ID = 128
MAX_QTY = 10**9
ORDERS_DEFAULT, ORDERS_MOST = 50, 500

_UNSUPPORTED = (
    "notional",
    "legs",
    "stop_price",
    "trail_price",
    "trail_percent",
    "take_profit",
    "stop_loss",
    "advanced_instructions",
)


# Orders ------------------------------------------------------------------------------------


def post_order(venue: Venue, call: Call) -> Answer:
    """Take an order on: answered as pending_new or accepted, never as filled."""
    return Answer(_submit(venue, _ticket(call.fields())))


def _submit(venue: Venue, ticket: Ticket) -> render.Json:
    return render.order(venue.submit(ticket))


def _ticket(asked: dict[str, object]) -> Ticket:
    """Read an order request; raises the 422 refusals."""
    for name in _UNSUPPORTED:
        if asked.get(name) is not None:
            raise refusals.unsupported(name)
    if asked.get("order_class") not in (None, "", "simple"):
        raise refusals.unsupported(f"order_class {asked['order_class']}")
    if asked.get("extended_hours"):
        raise refusals.unsupported("extended_hours")
    kind = _text(asked, "type")
    if kind not in ("market", "limit"):
        raise refusals.unsupported(f"type {kind}")
    force = _text(asked, "time_in_force")
    if force != "day":
        raise refusals.unsupported(f"time_in_force {force}")
    side = _text(asked, "side")
    if side not in ("buy", "sell"):
        raise refusals.bad_field(f"invalid side: {side}")
    return Ticket(
        symbol=_text(asked, "symbol"),
        side="buy" if side == "buy" else "sell",
        qty=_shares(asked.get("qty")),
        limit=_limit(kind, asked.get("limit_price")),
        client_order_id=_client_id(asked.get("client_order_id")),
    )


def _text(asked: dict[str, object], name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise refusals.bad_field(f"{name} is required")
    return value


def _decimal(name: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise refusals.bad_field(f"{name} is required")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise refusals.bad_field(f"invalid {name}: {value}") from None
    if not number.is_finite():
        raise refusals.bad_field(f"invalid {name}: {value}")
    return number


def _shares(value: object) -> int:
    qty = _decimal("qty", value)
    if qty <= 0:
        raise refusals.out_of_range("qty must be > 0")
    if qty > MAX_QTY:
        raise refusals.out_of_range(f"qty must be <= {MAX_QTY}")
    if qty != int(qty):
        raise refusals.unsupported("fractional qty")
    return int(qty)


def _limit(kind: str, value: object) -> Money | None:
    if kind == "market":
        if value is not None:
            raise refusals.bad_field("market orders must not have a limit_price")
        return None
    if value is None:
        raise refusals.bad_field("limit orders require a limit_price")
    price = _decimal("limit_price", value)
    if price <= 0:
        raise refusals.out_of_range("limit_price must be > 0")
    if price > MAX_MONEY // DOLLAR:
        raise refusals.out_of_range("limit_price is too high")
    exact = price * DOLLAR
    if exact != int(exact):
        raise refusals.sub_penny(plain(price))
    return int(exact)


def _client_id(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_CLIENT_ID:
        raise refusals.bad_field(f"client_order_id must be at most {MAX_CLIENT_ID} characters")
    return value


def get_orders(venue: Venue, call: Call) -> Answer:
    """List orders by submission time; `after` and `until` are exclusive, newest first."""
    status = call.choice("status", ("open", "closed", "all"))
    limit = call.whole("limit", ORDERS_DEFAULT, ORDERS_MOST)
    direction = call.choice("direction", ("desc", "asc"))
    after, until = call.time_ns("after"), call.time_ns("until")
    symbols = {name for name in call.query.get("symbols", "").split(",") if name}
    side = call.query.get("side")
    ledger = venue.ledger
    found: Iterable[VenueOrder] = (
        ledger.open_orders() if status == "open" else ledger.orders.values()
    )
    chosen = [
        order
        for order in found
        if (status != "closed" or not order.is_open)
        and (after is None or order.submitted_ns > after)
        and (until is None or order.submitted_ns < until)
        and (not symbols or order.symbol in symbols)
        and (not side or order.side == side)
    ]
    ordered = newest_first(chosen)
    if direction == "asc":
        ordered.reverse()
    return Answer([render.order(order) for order in ordered[:limit]])


def get_order(venue: Venue, call: Call) -> Answer:
    """Return one order by its id."""
    return Answer(render.order(venue.ledger.order(_order_id(call))))


def get_order_by_client_id(venue: Venue, call: Call) -> Answer:
    """Return one order by the client's id."""
    client_order_id = call.query.get("client_order_id")
    if not client_order_id:
        raise refusals.bad_field("client_order_id is missing")
    return Answer(render.order(venue.ledger.order_by_client_id(client_order_id)))


def delete_order(venue: Venue, call: Call) -> Answer:
    """Cancel one order: 204 and done at once, or a refusal."""
    venue.cancel(_order_id(call))
    return Answer(None, 204)


def delete_orders(venue: Venue, _: Call) -> Answer:
    """Cancel every open order; 207 with one status each."""
    return Answer([_canceled(venue, order.id) for order in venue.ledger.open_orders()], 207)


def _canceled(venue: Venue, order_id: str) -> render.Json:
    venue.cancel(order_id)
    return {"id": order_id, "status": 200}


def patch_order(_: Venue, call: Call) -> Answer:
    """Refuse: this exchange does not replace orders."""
    _order_id(call)
    raise refusals.unsupported("replacing an order is")


def _order_id(call: Call) -> str:
    try:
        return str(UUID(call.path["order_id"]))
    except ValueError:
        raise refusals.bad_field("order_id is missing") from None


# Positions ---------------------------------------------------------------------------------


def get_positions(venue: Venue, _: Call) -> Answer:
    """List what is held, by symbol."""
    held = venue.ledger.positions
    return Answer([render.position(venue, held[symbol]) for symbol in sorted(held)])


def get_position(venue: Venue, call: Call) -> Answer:
    """Return what is held of one symbol."""
    held = venue.ledger.positions.get(asked_symbol(venue, call))
    if held is None:
        raise refusals.no_position()
    return Answer(render.position(venue, held))


def delete_positions(venue: Venue, call: Call) -> Answer:
    """Sell everything at market; 207 with one status, and order or refusal, each."""
    if call.choice("cancel_orders", ("false", "true", "False", "True")).lower() == "true":
        for order in venue.ledger.open_orders():
            venue.cancel(order.id)
    return Answer([_closed(venue, symbol) for symbol in sorted(venue.ledger.positions)], 207)


def _closed(venue: Venue, symbol: str) -> render.Json:
    try:
        body = _submit(venue, _sale(symbol, venue.ledger.qty(symbol)))
    except Refusal as refusal:
        return {"symbol": symbol, "status": refusal.status, "body": refusal.body}
    return {"symbol": symbol, "status": 200, "body": body}


def delete_position(venue: Venue, call: Call) -> Answer:
    """Sell one symbol at market: all of it, `qty` shares or `percentage` of it."""
    symbol = asked_symbol(venue, call)
    held = venue.ledger.qty(symbol)
    if not held:
        raise refusals.no_position()
    qty, percentage = call.query.get("qty"), call.query.get("percentage")
    if qty and percentage:
        raise refusals.bad_field("qty and percentage exclude each other")
    if qty:
        held = _shares(qty)
    elif percentage:
        part = _decimal("percentage", percentage)
        if not 0 < part <= 100:
            raise refusals.out_of_range("percentage must be from 0 to 100")
        held = _shares(plain(held * part / 100))
    return Answer(_submit(venue, _sale(symbol, held)))


def _sale(symbol: str, qty: int) -> Ticket:
    side: Side = "sell"
    return Ticket(symbol=symbol, side=side, qty=qty, limit=None, client_order_id=None)


ENDPOINTS = (
    Endpoint("POST", "/v2/orders", post_order),
    Endpoint("GET", "/v2/orders", get_orders),
    Endpoint("DELETE", "/v2/orders", delete_orders),
    Endpoint("GET", "/v2/orders:by_client_order_id", get_order_by_client_id),
    Endpoint("GET", "/v2/orders/{order_id}", get_order),
    Endpoint("DELETE", "/v2/orders/{order_id}", delete_order),
    Endpoint("PATCH", "/v2/orders/{order_id}", patch_order),
    Endpoint("GET", "/v2/positions", get_positions),
    Endpoint("DELETE", "/v2/positions", delete_positions),
    Endpoint("GET", "/v2/positions/{symbol}", get_position),
    Endpoint("DELETE", "/v2/positions/{symbol}", delete_position),
)
