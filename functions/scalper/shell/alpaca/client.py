"""Requests to Alpaca's APIs: with time-outs, sent once, and only to the account that is allowed.

alpaca-py 0.44.0 has no time-outs, and it repeats every verb on 429 and 504, POST included. This
module uses only its `RESTClient`, and bounds it. `get_answer` repeats a GET. A request that changes
something is sent once.
"""

import json
import time
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from threading import Lock
from typing import Any

from alpaca.common.exceptions import APIError
from alpaca.common.rest import RESTClient
from requests import RequestException, Response
from requests.adapters import HTTPAdapter

from scalper.shell.errors import (
    BrokerDownError,
    BrokerError,
    RefusedError,
    SettingsError,
    UnauthorizedError,
    UnknownOutcomeError,
    WrongAccountError,
)
from scalper.shell.metrics import Metric
from scalper.shell.settings import BrokerKeys, Settings
from scalper.shell.telemetry import count, logger

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0
GET_ATTEMPTS = 3
GET_BACKOFF_S = 0.25
CONNECTIONS = 32
KEY_HEADER = "APCA-API-KEY-ID"
NO_ACCOUNT = ("/v2/clock", "/v2/calendar")
"""Paths whose answers are the same for every account."""


class BoundedClient(RESTClient):
    """alpaca-py's client with time-outs, without repeats, and with exact numbers.

    It uses private attributes of alpaca-py: `_session`, `_retry`, `_one_request`. The version of
    alpaca-py is pinned, and tests show that each attribute still has its effect.
    """

    def __init__(self, base_url: str, fetch_keys: Callable[[], BrokerKeys]) -> None:
        keys = fetch_keys()
        super().__init__(base_url, keys.key_id, keys.secret_key, raw_data=True)
        self._fetch_keys = fetch_keys
        self._renewing = Lock()
        self._retry = 0
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=CONNECTIONS, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        # Otherwise requests reads proxies and .netrc for each request.
        self._session.trust_env = False

    def _one_request(self, method: str, url: str, opts: dict[str, Any], retry: int) -> Any:
        response = self._send(method, url, opts)
        if response.status_code == 401 and self._renew_keys(opts["headers"]):
            # A 401 had no effect: even a POST may be sent again with rotated keys.
            response = self._send(method, url, {**opts, "headers": self._get_default_headers()})
        if response.status_code >= 400:
            raise _http_error(response.status_code, response.text)
        if not response.text:
            return None
        # Not response.json(), which makes floats of amounts.
        return json.loads(response.text, parse_float=exact)

    def _send(self, method: str, url: str, opts: dict[str, Any]) -> Response:
        return self._session.request(
            method, url, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), **opts
        )

    def _renew_keys(self, used: Mapping[str, str]) -> bool:
        """Return whether there are other keys than those used; fetch the secret if none are known.

        If many requests are refused at once, the first one fetches, and the others use its keys.
        """
        with self._renewing:
            if self._get_auth_headers().items() <= used.items():
                try:
                    keys = self._fetch_keys()
                except SettingsError as error:
                    logger.error("settings", extra={"error": str(error)})
                    return False
                self._api_key, self._secret_key = keys.key_id, keys.secret_key
            return not self._get_auth_headers().items() <= used.items()


class TradingClient(BoundedClient):
    """The client of the trading API; with TRADING_MODE=live it makes requests to one account alone.

    Before any other request, GET /v2/account has to return the account number of the settings,
    under the same keys. This is checked once for each key, so rotated keys are checked, too. The
    check stands below every request, so no request avoids it. Reading is held back as well, because
    the orders and positions of another account would be taken for ours. Logs a WrongAccountError
    before it raises it.
    """

    def __init__(self, settings: Settings, fetch_keys: Callable[[], BrokerKeys]) -> None:
        super().__init__(settings.trading_url, fetch_keys)
        self._is_guarded = settings.mode == "live"
        self._number = settings.live_account_number
        self._account_url = f"{settings.trading_url}/v2/account"
        self._admitting = Lock()
        self._admitted = ""

    def _one_request(self, method: str, url: str, opts: dict[str, Any], retry: int) -> Any:
        try:
            try:
                return super()._one_request(method, url, opts, retry)
            except WrongAccountError:
                # No request was sent. The secret may have the right keys by now.
                if not self._number or not self._renew_keys(opts["headers"]):
                    raise
                opts = {**opts, "headers": self._get_default_headers()}
                return super()._one_request(method, url, opts, retry)
        except WrongAccountError as error:
            count(Metric.WRONG_ACCOUNT)
            logger.error("wrong account: nothing is sent", extra={"error": error.message})
            raise

    def _send(self, method: str, url: str, opts: dict[str, Any]) -> Response:
        if not self._is_guarded or url.endswith(NO_ACCOUNT):
            return super()._send(method, url, opts)
        if (method, url) == ("GET", self._account_url):
            return self._read_account(opts)
        if self._admitted != opts["headers"][KEY_HEADER]:
            with self._admitting:
                if self._admitted != opts["headers"][KEY_HEADER]:
                    account = {"headers": opts["headers"], "allow_redirects": False}
                    answer = self._read_account(account)
                    if answer.status_code == 401:
                        # As if the request itself had it: the caller looks for other keys.
                        return answer
                    if answer.status_code != 200:
                        raise BrokerDownError(f"/account: HTTP {answer.status_code}")
        return super()._send(method, url, opts)

    def _read_account(self, opts: dict[str, Any]) -> Response:
        """Return the answer to GET /v2/account; admit its keys if the number is right.

        Raises WrongAccountError otherwise.
        """
        if not self._number:
            raise WrongAccountError(
                "TRADING_MODE is live and LIVE_ACCOUNT_NUMBER is not set: deploy with "
                "LiveAccountNumber, the number of the account that may be traded"
            )
        answer = super()._send("GET", self._account_url, opts)
        if answer.status_code == 200:
            account = answer.json()
            number = account.get("account_number") if isinstance(account, dict) else None
            if number != self._number:
                self._admitted = ""
                raise WrongAccountError(
                    f"the keys open the account {number}, LIVE_ACCOUNT_NUMBER is {self._number}: "
                    "put the keys of that account into the broker's secret"
                )
            self._admitted = opts["headers"][KEY_HEADER]
        return answer


def get_answer(client: RESTClient, path: str, query: Mapping[str, Any] | None = None) -> Any:
    """Return the answer to a GET, sent up to `GET_ATTEMPTS` times.

    Raises RefusedError for a 4xx that can be read, for 429 only after the last attempt. Raises
    BrokerDownError if no attempt got a usable answer.
    """
    for attempt in range(1, GET_ATTEMPTS + 1):
        try:
            return client.get(path, dict(query or {}))
        except RefusedError as error:
            if error.status != 429 or attempt == GET_ATTEMPTS:
                raise
        except (BrokerError, RequestException, APIError, ValueError) as error:
            if attempt == GET_ATTEMPTS:
                raise BrokerDownError(f"{path}: {error}") from error
        time.sleep(GET_BACKOFF_S * 2 ** (attempt - 1))
    raise AssertionError("unreachable: the last attempt returns or raises")


def _http_error(status: int, body: str) -> BrokerError:
    """Return the error for an HTTP status of 400 or above."""
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if status >= 500 or not isinstance(parsed, dict):
        return UnknownOutcomeError(f"HTTP {status}")
    code = parsed.get("code")
    message = str(parsed.get("message", ""))[:200]
    kind = UnauthorizedError if status == 401 else RefusedError
    return kind(status, code if isinstance(code, int) else None, message)


def exact(text: str) -> Decimal:
    """Return a JSON number with a point or an exponent; raises ValueError if it is too large.

    Decimal itself would raise ArithmeticError, which the readers of answers do not expect.
    """
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"not a number: {text[:20]}") from error
