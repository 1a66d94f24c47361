"""Every refusal of the simulated exchange, with Alpaca's status, code and body.

One code covers several refusals at Alpaca (40310000, 42210000), so clients must look at the
fields; the shapes here are those users quote (facts/alpaca.md). Refusals of what only this
exchange lacks say so in their message.
"""

from collections.abc import Mapping, Sequence

FORBIDDEN = 40310000
INVALID = 42210000
BAD_REQUEST = 40010001
NOT_FOUND = 40410000
RATE_LIMITED = 42910000


class Refusal(Exception):  # noqa: N818 - an answer of the broker, not a fault of the program
    """A request that the exchange answers with an error: HTTP `status` and JSON `body`."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        """Hold the answer as it goes over the wire."""
        super().__init__(status, body)
        self.status = status
        self.body = dict(body)


def _coded(status: int, code: int, message: str, **fields: object) -> Refusal:
    return Refusal(status, {"code": code, "message": message, **fields})


def unauthorized() -> Refusal:
    """Return 401: keys missing or wrong."""
    return Refusal(401, {"message": "unauthorized"})


def rate_limited(*, data: bool) -> Refusal:
    """Return 429; the market-data API's body differs from the trading API's."""
    if data:
        return Refusal(429, {"message": "too many requests"})
    return _coded(429, RATE_LIMITED, "rate limit exceeded")


def bad_data_request(message: str) -> Refusal:
    """Return the market-data API's 400, which has a message and no code."""
    return Refusal(400, {"message": message})


def no_data(kind: str, symbol: str) -> Refusal:
    """Return the market-data API's 404 of a single-symbol request."""
    return Refusal(404, {"message": f"no {kind} found for {symbol}"})


def bad_body() -> Refusal:
    """Return 400: the body is not a JSON object."""
    return _coded(400, 40010000, "request body format is invalid")


def bad_field(message: str) -> Refusal:
    """Return 422: a parameter is missing or cannot be read."""
    return _coded(422, BAD_REQUEST, message)


def unsupported(what: str) -> Refusal:
    """Return 422 for what Alpaca offers and this exchange does not."""
    return _coded(422, BAD_REQUEST, f"{what} not supported by the simulated exchange")


def out_of_range(message: str) -> Refusal:
    """Return 422: a readable value that no order may have."""
    return _coded(422, INVALID, message)


def sub_penny(price: str) -> Refusal:
    """Return 422: more decimals than SEC Rule 612 allows at that price."""
    return out_of_range(
        f"invalid limit_price {price}. "
        "sub-penny increment does not fulfill minimum pricing criteria"
    )


def unknown_asset(symbol: str) -> Refusal:
    """Return 422: an order for a symbol that this exchange has no bars of."""
    return out_of_range(f'asset "{symbol}" not found')


def duplicate_id() -> Refusal:
    """Return 422: the client order id was used before, whatever became of that order."""
    return bad_field("client_order_id must be unique")


def not_cancelable(status: str) -> Refusal:
    """Return 422: a cancel of an order that is over."""
    return out_of_range(f'order is already in "{status}" state')


def suspended() -> Refusal:
    """Return 403: the account's `suspend_trade` is set."""
    return _coded(403, FORBIDDEN, "new orders are rejected by user request")


def buying_power(available: str, cost_basis: str) -> Refusal:
    """Return 403: the order costs more than the account can pay; amounts as dollar text."""
    return _coded(
        403,
        FORBIDDEN,
        "insufficient buying power",
        buying_power=available,
        cost_basis=cost_basis,
    )


def held_quantity(
    symbol: str, *, requested: int, existing: int, held: int, related: Sequence[str]
) -> Refusal:
    """Return 403: a sale of more shares than are free; this exchange never goes short."""
    available = existing - held
    return _coded(
        403,
        FORBIDDEN,
        f"insufficient qty available for order (requested: {requested}, available: {available})",
        available=str(available),
        existing_qty=str(existing),
        held_for_orders=str(held),
        related_orders=list(related),
        symbol=symbol,
    )


def wash_trade(existing_order_id: str, *, existing_is_market: bool) -> Refusal:
    """Return 403: an order of the other side is open that this one could trade with."""
    reason = (
        "opposite side market/stop order exists"
        if existing_is_market
        else "opposite side limit order exists. use complex/limit/stop_limit orders"
    )
    return _coded(
        403,
        FORBIDDEN,
        "potential wash trade detected. use complex orders",
        existing_order_id=existing_order_id,
        reject_reason=reason,
    )


def no_order(key: str) -> Refusal:
    """Return 404: no order has this id or client order id."""
    return _coded(404, NOT_FOUND, f"order not found for {key}")


def no_position() -> Refusal:
    """Return 404: no share of the symbol is held."""
    return _coded(404, NOT_FOUND, "position does not exist")


def no_asset(key: str) -> Refusal:
    """Return 404: no such symbol or asset id."""
    return _coded(404, NOT_FOUND, f"asset not found for {key}")
