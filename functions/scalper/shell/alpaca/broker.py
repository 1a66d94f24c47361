"""Alpaca's Trading API, by alpaca-py's REST client: orders, positions, account, clock, calendar.

alpaca-py's models need pandas, and they raise on an unknown status after an order was placed. So
this module reads raw answers, by `scalper.shell.alpaca.client`.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Any, TypeVar, cast
from urllib.parse import quote

from alpaca.common.exceptions import APIError
from requests import RequestException

from scalper.core.order import Order, OrderReport
from scalper.core.pricing import price_text
from scalper.core.session import Session, parse_time
from scalper.shell.alpaca.client import TradingClient, get_answer
from scalper.shell.alpaca.parsing import (
    fills_of,
    list_of,
    listed_order,
    object_of,
    page_after,
    parsed,
    position_of,
    report_of,
)
from scalper.shell.errors import (
    BrokerDownError,
    BrokerError,
    DuplicateOrderError,
    RefusedError,
    UnauthorizedError,
    UnknownOutcomeError,
)
from scalper.shell.ports import Clock, Fill, Position
from scalper.shell.settings import BrokerKeys, Settings

T = TypeVar("T")

PAGE = 500
"""Orders in one answer, Alpaca's maximum."""

MAX_PAGES = 40
"""Answers read for one list of orders; more is an error."""

FILLS_PAGE = 100
"""Fills in one answer, Alpaca's maximum."""

MAX_FILLS_PAGES = 400
"""Answers read for one list of fills; more is an error."""

NOT_UNIQUE = 40010001
"""Alpaca's code for "client_order_id must be unique": the order exists already.

Alpaca answers it to some other invalid requests, too
(https://github.com/alpacahq/Alpaca-API/issues/135)."""

ACCOUNT_BLOCKS = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
"""Fields of the account. If one of them is true, Alpaca accepts no order."""


class AlpacaBroker:
    """The broker on Alpaca's Trading API."""

    def __init__(self, settings: Settings, fetch_keys: Callable[[], BrokerKeys]) -> None:
        self._client = TradingClient(settings, fetch_keys)

    def clock(self) -> Clock:
        """Return the broker's time. Raises BrokerDownError."""
        answer = get_answer(self._client, "/clock")
        return parsed(lambda: Clock(parse_time(answer["timestamp"]), bool(answer["is_open"])))

    def session(self, day: date) -> Session | None:
        """Return the trading hours of a New York date, half-days included; None on a holiday."""
        query = {"start": day.isoformat(), "end": day.isoformat()}
        days = get_answer(self._client, "/calendar", query)

        def find() -> Session | None:
            for one in list_of(days):
                if one["date"] == day.isoformat():
                    return Session.of(day, one["open"], one["close"])
            return None

        return parsed(find)

    def account_block(self) -> str:
        """Return why the broker accepts no orders from the account, or "" if it does.

        A missing field does not block. Raises BrokerDownError.
        """
        answer = get_answer(self._client, "/account")
        return parsed(lambda: ", ".join(one for one in ACCOUNT_BLOCKS if answer.get(one) is True))

    def submit(self, symbol: str, order: Order) -> OrderReport:
        """Send the order once, as a day order under its client id.

        Raises DuplicateOrderError if the client id is taken, and RefusedError for any other 4xx
        that can be read, 429 included. Raises UnknownOutcomeError for everything else that is not
        an order with the same client id.
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
        except RefusedError as error:
            if error.code == NOT_UNIQUE:
                raise DuplicateOrderError(error.status, error.code, error.message) from error
            raise
        except (BrokerError, RequestException, APIError, ValueError) as error:
            raise UnknownOutcomeError(f"{order.client_order_id}: {error}") from error
        if report.client_order_id != order.client_order_id:
            raise UnknownOutcomeError(f"{order.client_order_id}: the answer is of another order")
        return report

    def cancel(self, broker_id: str) -> None:
        """Ask for a cancel; only `find` says what came of it, whatever the answer was.

        Raises UnauthorizedError if the keys are refused, UnknownOutcomeError if no answer could be
        read.
        """
        if not broker_id:
            # DELETE /orders without an id cancels every order of the account.
            raise UnknownOutcomeError("cancel: an order without the broker's id")
        try:
            self._client.delete(f"/orders/{broker_id}")
        except UnauthorizedError:
            raise
        except RefusedError:
            # 422 "not cancelable" or 404: it may be filled by now. A 204 would not prove more.
            return
        except (BrokerError, RequestException, APIError, ValueError) as error:
            raise UnknownOutcomeError(f"cancel {broker_id}: {error}") from error

    def find(self, client_order_id: str) -> OrderReport | None:
        """Return the broker's report of an order, or None if it answers 404."""
        query = {"client_order_id": client_order_id}
        return self._order("/orders:by_client_order_id", query)

    def find_by_id(self, broker_id: str) -> OrderReport | None:
        """Return the broker's report of an order by the broker's id, or None if it answers 404."""
        if not broker_id:
            # GET /orders without an id is a list.
            return None
        return self._order(f"/orders/{quote(broker_id, safe='')}", {})

    def open_orders(self) -> list[OrderReport]:
        """Return every open order of the account, external ones included."""
        return self._orders({"status": "open"})

    def orders_since(self, start: datetime) -> list[OrderReport]:
        """Return every order submitted after `start`, open or closed, oldest first."""
        return self._orders({"status": "all", "after": start.isoformat()})

    def positions(self) -> dict[str, Position]:
        """Return the positions by symbol, external ones included.

        A position of less than one share has the quantity 0. A symbol without a position is left
        out.
        """
        answer = get_answer(self._client, "/positions")
        return parsed(lambda: {one["symbol"]: position_of(one) for one in list_of(answer)})

    def fills_since(self, start: datetime) -> list[Fill]:
        """Return every execution after `start`, external orders' included, oldest first.

        They are the account's activities, which Alpaca keeps apart from the orders
        (https://docs.alpaca.markets/reference/getaccountactivitiesbyactivitytype-1).
        """
        query = {
            "after": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "direction": "asc",
            "page_size": str(FILLS_PAGE),
        }
        found: dict[str, Fill] = {}
        for _ in range(MAX_FILLS_PAGES):
            answer = get_answer(self._client, "/account/activities/FILL", query)
            page = parsed(partial(fills_of, answer))
            found |= page
            if len(page) < FILLS_PAGE:
                return list(found.values())
            query["page_token"] = list(page)[-1]
        raise BrokerDownError(f"more than {MAX_FILLS_PAGES * FILLS_PAGE} fills")

    def account_config(self) -> Mapping[str, Any]:
        """Return the account's settings, such as `no_shorting` and `suspend_trade`."""
        answer = get_answer(self._client, "/account/configurations")
        return parsed(lambda: object_of(answer))

    def set_no_shorting(self, *, no_shorting: bool) -> Mapping[str, Any]:
        """Set whether the account may go short; return the account's settings after that.

        It is sent once. Raises RefusedError, or UnknownOutcomeError if no answer could be read.
        """
        try:
            answer = self._client.patch("/account/configurations", {"no_shorting": no_shorting})
            return object_of(answer)
        except RefusedError:
            raise
        except (BrokerError, RequestException, APIError, TypeError, ValueError) as error:
            raise UnknownOutcomeError(f"no_shorting: {error}") from error

    def _order(self, path: str, query: Mapping[str, str]) -> OrderReport | None:
        """Return the report of the order that a path names, or None if the answer is 404."""
        try:
            answer = get_answer(self._client, path, query)
        except RefusedError as error:
            if error.status == 404:
                return None
            raise
        return parsed(lambda: report_of(answer, confirmed=True))

    def _orders(self, query: dict[str, str]) -> list[OrderReport]:
        """Return all pages of a list, oldest first; the submission time leads to the next page."""
        found: dict[str, OrderReport] = {}
        query = {**query, "limit": str(PAGE), "direction": "asc", "nested": "false"}
        for _ in range(MAX_PAGES):
            answer = get_answer(self._client, "/orders", query)
            page = parsed(partial(list_of, answer))
            known = len(found)
            for one in page:
                report = listed_order(one)
                if report is not None:
                    found[report.broker_id or report.client_order_id] = report
            if len(page) < PAGE:
                return list(found.values())
            # `after` is exclusive. A microsecond earlier, no order of the same instant is lost,
            # unless one instant fills a whole page.
            query["after"] = parsed(partial(page_after, page[-1], exactly=len(found) == known))
        raise BrokerDownError(f"more than {MAX_PAGES * PAGE} orders")
