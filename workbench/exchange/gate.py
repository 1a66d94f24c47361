"""Every request passes here: it is counted, authenticated, limited, handed on and answered.

Every answer to a client leaves through `Gate.answer`. Events leave through `Stream.tell`.
"""

import hmac
import json
import time
from collections import Counter, deque

from starlette.requests import Request
from starlette.responses import Response

from workbench.exchange import refusals
from workbench.exchange.calls import Answer, Call, Endpoint
from workbench.exchange.refusals import Refusal
from workbench.exchange.venue import Venue

WINDOW_S = 60.0
MAX_BODY = 64 * 1024

_JSON = "application/json"


class Credentials:
    """The account's one pair of keys."""

    def __init__(self, key_id: str, secret_key: str) -> None:
        """Hold the pair."""
        self._pair = (key_id.encode(), secret_key.encode())

    def match(self, key_id: object, secret_key: object) -> bool:
        """Return whether these are the keys, in constant time."""
        if not isinstance(key_id, str) or not isinstance(secret_key, str):
            return False
        same_key = hmac.compare_digest(key_id.encode(), self._pair[0])
        return hmac.compare_digest(secret_key.encode(), self._pair[1]) and same_key


class RateLimit:
    """At most so many requests in any minute of real time."""

    def __init__(self, per_minute: int) -> None:
        """Start with an empty minute."""
        self._most = per_minute
        self._taken: deque[float] = deque(maxlen=per_minute)

    def take(self, now_s: float) -> bool:
        """Count a request at `now_s` (monotonic); False if the minute is full."""
        while self._taken and self._taken[0] <= now_s - WINDOW_S:
            self._taken.popleft()
        if len(self._taken) >= self._most:
            return False
        self._taken.append(now_s)
        return True

    def headers(self, now_s: float) -> dict[str, str]:
        """Return Alpaca's X-RateLimit headers; Reset is a Unix time in whole seconds."""
        oldest = self._taken[0] if self._taken else now_s
        reset = time.time() + oldest + WINDOW_S - now_s
        return {
            "X-RateLimit-Limit": str(self._most),
            "X-RateLimit-Remaining": str(self._most - len(self._taken)),
            "X-RateLimit-Reset": str(int(reset) + 1),
        }


class Gate:
    """Answers requests for a venue; control requests need no keys and count in no limit."""

    def __init__(
        self, venue: Venue, credentials: Credentials, requests_per_minute: int | None
    ) -> None:
        """Guard a venue; trading and data each have a limit of their own, or none."""
        self.venue = venue
        self.requests: Counter[str] = Counter()
        self._credentials = credentials
        self._limits = (
            {data: RateLimit(requests_per_minute) for data in (False, True)}
            if requests_per_minute
            else {}
        )

    async def answer(self, endpoint: Endpoint, request: Request) -> Response:
        """Return what the endpoint answers, its refusals included."""
        self.requests[f"{endpoint.method} {endpoint.path}"] += 1
        headers: dict[str, str] = {}
        try:
            if not endpoint.path.startswith("/exchange/"):
                headers = self._admit(endpoint, request)
            body = await _body(request) if endpoint.method in ("POST", "PATCH") else b""
            call = Call(request.path_params, request.query_params, body)
            answer = endpoint.handler(self.venue, call)
        except Refusal as refusal:
            answer = Answer(refusal.body, refusal.status)
            headers = headers or self._headers(endpoint)
        return respond(answer, headers)

    def _admit(self, endpoint: Endpoint, request: Request) -> dict[str, str]:
        """Check keys, then the limit; returns the headers of the answer or raises 401, 429."""
        key_id = request.headers.get("apca-api-key-id")
        if not self._credentials.match(key_id, request.headers.get("apca-api-secret-key")):
            raise refusals.unauthorized()
        limit = self._limits.get(_is_data(endpoint))
        if limit is None:
            return {}
        now_s = time.monotonic()
        if not limit.take(now_s):
            raise refusals.rate_limited(data=_is_data(endpoint))
        return limit.headers(now_s)

    def _headers(self, endpoint: Endpoint) -> dict[str, str]:
        limit = self._limits.get(_is_data(endpoint))
        return limit.headers(time.monotonic()) if limit else {}


def _is_data(endpoint: Endpoint) -> bool:
    return endpoint.path.startswith("/v2/stocks/")


async def _body(request: Request) -> bytes:
    """Return the body; raises the 400 refusal beyond `MAX_BODY`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise refusals.bad_body()
    return body


def respond(answer: Answer, headers: dict[str, str] | None = None) -> Response:
    """Return the answer as an HTTP response."""
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    text = json.dumps(answer.body, separators=(",", ":"))
    return Response(text, answer.status, headers, _JSON)
