"""Alpaca's Trading API, by alpaca-py's REST client: orders, positions, account, clock, calendar.

alpaca-py's models need pandas and raise on words they do not know, after an order was placed: so
raw answers are read here, by `scalper.shell.client`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import quote

from alpaca.common.exceptions import APIError
from requests import RequestException

from scalper.core.order import PREFIX, ClientOrderId, Order, OrderReport, Purpose
from scalper.core.pricing import Money, money, notional, price_text
from scalper.core.session import Session, new_york_day
from scalper.shell.client import TradingClient, ask
from scalper.shell.errors import (
    BrokerDownError,
    BrokerError,
    RefusedError,
    UnauthorizedError,
    UnknownOutcomeError,
)
from scalper.shell.settings import BrokerKeys, Settings
from scalper.shell.telemetry import count, logger

T = TypeVar("T")

PAGE = 500
"""Orders in one answer, Alpaca's most."""

MAX_PAGES = 40
FILLS_PAGE = 100
"""Fills in one answer, Alpaca's most."""

MAX_FILLS_PAGES = 400
ACCOUNT_BLOCKS = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
"""Fields of the account, each of which alone means that no order is taken."""

NOT_UNIQUE = 40010001
"""The code of "client_order_id must be unique": the order exists already.

Alpaca gives it to other requests that make no sense to it too
(https://github.com/alpacahq/Alpaca-API/issues/135)."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The broker's clock; times are aware UTC."""

    now: datetime
    is_open: bool


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution as the broker's book of the account's activities has it."""

    order_id: str
    """The broker's id of the order."""
    symbol: str
    is_buy: bool
    qty: int
    value: Money
    """Quantity times price."""


@dataclass(frozen=True, slots=True)
class Position:
    """Whole shares of a symbol, whoever bought them; a short position's are negative."""

    qty: int
    free: int
    """Those that no open order holds (`qty_available`)."""


NOTHING = Position(0, 0)


class Broker(Protocol):
    """What the engine needs of a broker; the simulator has one of its own."""

    def clock(self) -> Clock:
        """Return the broker's time."""
        ...

    def session(self, day: date) -> Session | None:
        """Return the trading hours of a New York date, None on a day without any."""
        ...

    def account_block(self) -> str:
        """Return why the broker takes no orders of the account, "" where it does."""
        ...

    def submit(self, symbol: str, order: Order) -> OrderReport:
        """Send the order once."""
        ...

    def cancel(self, broker_id: str) -> None:
        """Ask for a cancel; whatever the answer, only `find` tells what came of it."""
        ...

    def find(self, client_order_id: str) -> OrderReport | None:
        """Return what the broker knows of an order, None where it answers 404."""
        ...

    def find_by_id(self, broker_id: str) -> OrderReport | None:
        """Return what the broker knows of an order by its own id, None where it answers 404."""
        ...

    def open_orders(self) -> list[OrderReport]:
        """Return every open order of the account, foreign ones included."""
        ...

    def orders_since(self, start: datetime) -> list[OrderReport]:
        """Return every order submitted after `start`, whatever became of it, oldest first."""
        ...

    def positions(self) -> dict[str, Position]:
        """Return what is held by symbol, foreign shares included.

        A symbol of which less than a share is held is there, with 0; one without a position is not.
        """
        ...

    def fills_since(self, start: datetime) -> list[Fill]:
        """Return every execution after `start`, foreign orders' included, oldest first."""
        ...


class AlpacaBroker:
    """The broker on Alpaca's Trading API."""

    def __init__(self, settings: Settings, fetch_keys: Callable[[], BrokerKeys]) -> None:
        self._client = TradingClient(settings, fetch_keys)

    def clock(self) -> Clock:
        """Return the broker's time. Raises BrokerDownError."""
        answer = ask(self._client, "/clock")
        return _parse(lambda: Clock(parse_time(answer["timestamp"]), bool(answer["is_open"])))

    def session(self, day: date) -> Session | None:
        """Return the trading hours of a New York date, half-days included; None on a holiday."""
        days = ask(self._client, "/calendar", {"start": day.isoformat(), "end": day.isoformat()})

        def find() -> Session | None:
            for one in _list(days):
                if one["date"] == day.isoformat():
                    return Session.of(day, one["open"], one["close"])
            return None

        return _parse(find)

    def account_block(self) -> str:
        """Return why the broker takes no orders of the account, "" where it does.

        A field that is missing blocks nothing. Raises BrokerDownError.
        """
        answer = ask(self._client, "/account")
        return _parse(lambda: ", ".join(one for one in ACCOUNT_BLOCKS if answer.get(one) is True))

    def submit(self, symbol: str, order: Order) -> OrderReport:
        """Send the order once, as a day order under its client id.

        Raises RefusedError where the answer is a parsed 4xx (429 included: it was not taken),
        UnknownOutcomeError for everything else that is not an order with the same client id.
        """
        body = {
            "symbol": symbol,
            "qty": str(order.qty),
            "side": "buy" if order.is_buy else "sell",
            "type": "market" if order.limit is None else "limit",
            "time_in_force": "day",
            "client_order_id": order.client_order_id,
        }
        if order.limit is not None:
            body["limit_price"] = price_text(order.limit)
        try:
            report = report_of(cast(dict[str, Any], self._client.post("/orders", body)))
        except RefusedError:
            raise
        except (BrokerError, RequestException, APIError, ValueError) as error:
            raise UnknownOutcomeError(f"{order.client_order_id}: {error}") from error
        if report.client_order_id != order.client_order_id:
            raise UnknownOutcomeError(f"{order.client_order_id}: the answer is of another order")
        return report

    def cancel(self, broker_id: str) -> None:
        """Ask for a cancel; whatever the answer, only `find` tells what came of it.

        Raises UnauthorizedError where the keys are refused, UnknownOutcomeError where no answer
        could be read.
        """
        if not broker_id:
            # DELETE /orders without an id cancels every order of the account.
            raise UnknownOutcomeError("cancel: an order without the broker's id")
        try:
            self._client.delete(f"/orders/{broker_id}")
        except UnauthorizedError:
            raise
        except RefusedError:
            # 422 "not cancelable", 404: it may be filled by now, and 204 would not prove more.
            return
        except (BrokerError, RequestException, APIError, ValueError) as error:
            raise UnknownOutcomeError(f"cancel {broker_id}: {error}") from error

    def find(self, client_order_id: str) -> OrderReport | None:
        """Return what the broker knows of an order, None where it answers 404."""
        query = {"client_order_id": client_order_id}
        return self._order("/orders:by_client_order_id", query)

    def find_by_id(self, broker_id: str) -> OrderReport | None:
        """Return what the broker knows of an order by its own id, None where it answers 404."""
        if not broker_id:
            # GET /orders without an id is a list.
            return None
        return self._order(f"/orders/{quote(broker_id, safe='')}", {})

    def open_orders(self) -> list[OrderReport]:
        """Return every open order of the account, foreign ones included."""
        return self._orders({"status": "open"})

    def orders_since(self, start: datetime) -> list[OrderReport]:
        """Return every order submitted after `start`, whatever became of it, oldest first."""
        return self._orders({"status": "all", "after": start.isoformat()})

    def positions(self) -> dict[str, Position]:
        """Return what is held by symbol, foreign shares included.

        A symbol of which less than a share is held is there, with 0; one without a position is not.
        """
        answer = ask(self._client, "/positions")
        return _parse(lambda: {one["symbol"]: _position(one) for one in _list(answer)})

    def fills_since(self, start: datetime) -> list[Fill]:
        """Return every execution after `start`, foreign orders' included, oldest first.

        They are the account's activities, a book apart from the orders'
        (https://docs.alpaca.markets/reference/getaccountactivitiesbyactivitytype-1).
        """
        query = {
            "after": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "direction": "asc",
            "page_size": str(FILLS_PAGE),
        }
        found: dict[str, Fill] = {}
        for _ in range(MAX_FILLS_PAGES):
            answer = ask(self._client, "/account/activities/FILL", query)
            page = _parse(partial(_fills, answer))
            found |= page
            if len(page) < FILLS_PAGE:
                return list(found.values())
            query["page_token"] = list(page)[-1]
        raise BrokerDownError(f"more than {MAX_FILLS_PAGES * FILLS_PAGE} fills")

    def account_config(self) -> Mapping[str, Any]:
        """Return the account's settings, such as `no_shorting` and `suspend_trade`."""
        answer = ask(self._client, "/account/configurations")
        return _parse(lambda: _object(answer))

    def set_no_shorting(self, *, no_shorting: bool) -> Mapping[str, Any]:
        """Change whether the account may go short; return its settings after that.

        Sent once. Raises RefusedError, or UnknownOutcomeError where no answer could be read.
        """
        try:
            answer = self._client.patch("/account/configurations", {"no_shorting": no_shorting})
            return _object(answer)
        except RefusedError:
            raise
        except (BrokerError, RequestException, APIError, TypeError, ValueError) as error:
            raise UnknownOutcomeError(f"no_shorting: {error}") from error

    def _order(self, path: str, query: Mapping[str, str]) -> OrderReport | None:
        """Return the order that a path names, None where the answer is 404."""
        try:
            answer = ask(self._client, path, query)
        except RefusedError as error:
            if error.status == 404:
                return None
            raise
        return _parse(lambda: report_of(answer, confirmed=True))

    def _orders(self, query: dict[str, str]) -> list[OrderReport]:
        """Return every page of a list, oldest first; pages go on by submission time."""
        found: dict[str, OrderReport] = {}
        query = {**query, "limit": str(PAGE), "direction": "asc", "nested": "false"}
        for _ in range(MAX_PAGES):
            answer = ask(self._client, "/orders", query)
            page = _parse(partial(_list, answer))
            known = len(found)
            for one in page:
                report = _listed(one)
                if report is not None:
                    found[report.broker_id or report.client_order_id] = report
            if len(page) < PAGE:
                return list(found.values())
            # `after` is exclusive: a microsecond back, so that none of the same instant is lost,
            # unless a whole page lies within it.
            query["after"] = _parse(partial(_after, page[-1], exactly=len(found) == known))
        raise BrokerDownError(f"more than {MAX_PAGES * PAGE} orders")


def report_of(document: Mapping[str, Any], *, confirmed: bool = False) -> OrderReport:
    """Return what an order object of Alpaca's says; unknown fields and statuses do no harm.

    Raises ValueError where it is no order object.
    """
    try:
        filled_qty = int(Decimal(document.get("filled_qty") or "0"))
        average = document.get("filled_avg_price")
        if filled_qty and not average:
            raise ValueError("filled without a price")
        limit = document.get("limit_price")
        replaced_by = document.get("replaced_by")
        return OrderReport(
            client_order_id=_str(document["client_order_id"]),
            status=_str(document["status"]),
            symbol=_str(document["symbol"]),
            qty=int(Decimal(document.get("qty") or "0")),
            limit=None if limit is None else money(str(limit)),
            submitted_at=_time(document.get("submitted_at")),
            filled_qty=filled_qty,
            filled_value=notional(filled_qty, average) if filled_qty and average else 0,
            updated_at=_time(document.get("updated_at")),
            broker_id=_str(document["id"]),
            replaced_by=replaced_by if isinstance(replaced_by, str) else "",
            confirmed=confirmed,
        )
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"not an order: {error!r}") from error


def parse_time(text: str) -> datetime:
    """Return an RFC 3339 time with up to nine fractional digits as aware UTC, to the microsecond.

    Raises ValueError where the text is no such time or has no offset.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"a time without an offset: {text!r}")
    return at.astimezone(UTC)


def day_start(at: datetime) -> datetime:
    """Return when the New York day of `at` began: orders of the day were submitted after it."""
    return Session.of(new_york_day(at), "00:00", "23:59").open


def own_reports(reports: Iterable[OrderReport], mode: str) -> dict[str, list[OrderReport]]:
    """Return the reports of orders that this system made, by symbol.

    One that the broker replaced is told as the order that stands in its place, both taken together,
    where that is among the reports.
    """
    reports = list(reports)
    by_id = {report.broker_id: report for report in reports}
    own: dict[str, list[OrderReport]] = {}
    for report in reports:
        name = ClientOrderId.parse(report.client_order_id)
        if name is not None and name.mode == mode:
            own.setdefault(name.symbol, []).append(in_its_place(report, by_id))
    return own


def moved_lately(reports: Iterable[OrderReport], since: datetime) -> set[str]:
    """Return the symbols of which a sell, or somebody else's buy, filled after `since`.

    An order that the broker put in the place of another counts as made by who made that; `reports`
    are told oldest first.
    """
    moved: set[str] = set()
    in_place_of_buys: set[str] = set()
    for report in reports:
        name = ClientOrderId.parse(report.client_order_id)
        buys = name is not None and name.purpose is Purpose.ENTRY
        if buys or report.broker_id in in_place_of_buys:
            in_place_of_buys.add(report.replaced_by)
        elif report.filled_qty and (report.updated_at is None or report.updated_at > since):
            moved.add(report.symbol)
    return moved


def in_its_place(report: OrderReport, by_id: Mapping[str, OrderReport]) -> OrderReport:
    """Return a replaced order and those that stand in its place, as far as told, as one report."""
    newest, qty, value = report, 0, 0
    for _ in range(len(by_id)):
        successor = by_id.get(newest.replaced_by) if newest.status == "replaced" else None
        if successor is None:
            break
        qty, value = qty + newest.filled_qty, value + newest.filled_value
        newest = successor
    if newest is report:
        return report
    return replace(
        newest,
        client_order_id=report.client_order_id,
        submitted_at=report.submitted_at,
        qty=qty + newest.qty,
        filled_qty=qty + newest.filled_qty,
        filled_value=value + newest.filled_value,
        carried=(qty, value),
    )


def _parse(read: Callable[[], T]) -> T:
    """Return what `read` makes of an answer; one that cannot be read is no answer."""
    try:
        return read()
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BrokerDownError(f"an answer that cannot be read: {error!r}") from error


def _listed(document: Any) -> OrderReport | None:
    """Return what a listed order says, None for a foreign one that cannot be read.

    An order of several legs, for example, has no symbol. Raises BrokerDownError where it is ours.
    """
    try:
        return report_of(document, confirmed=True)
    except ValueError as error:
        client_order_id = document.get("client_order_id") if isinstance(document, dict) else None
        if not isinstance(client_order_id, str) or client_order_id.startswith(f"{PREFIX}-"):
            raise BrokerDownError(f"an order that cannot be read: {error}") from error
        count("ForeignOrdersUnreadable")
        logger.warning("foreign order cannot be read", extra={"error": str(error)[:200]})
        return None


def _position(document: Mapping[str, Any]) -> Position:
    qty = Decimal(document["qty"])
    # Alpaca's own documents do not require the field.
    free = document.get("qty_available")
    return Position(int(qty), int(qty if free is None else Decimal(free)))


def _fills(answer: object) -> dict[str, Fill]:
    """Return a page of executions by their ids."""
    return {_str(one["id"]): _fill(one) for one in _list(answer)}


def _fill(document: Mapping[str, Any]) -> Fill:
    qty = int(Decimal(document["qty"]))
    return Fill(
        order_id=_str(document["order_id"]),
        symbol=_str(document["symbol"]),
        is_buy=document["side"] == "buy",
        qty=qty,
        value=notional(qty, document["price"]),
    )


def _object(answer: object) -> Mapping[str, Any]:
    if not isinstance(answer, dict):
        raise TypeError(f"not an object: {type(answer).__name__}")
    return answer


def _list(answer: object) -> list[Any]:
    if not isinstance(answer, list):
        raise TypeError(f"not a list: {type(answer).__name__}")
    return answer


def _after(document: Mapping[str, Any], *, exactly: bool) -> str:
    """Return where the next page starts: at an order's stamp, all its digits, or just before."""
    stamp = _str(document["submitted_at"])
    at = parse_time(stamp)
    return stamp if exactly else (at - timedelta(microseconds=1)).isoformat()


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
