"""Holds the account's one websocket and posts each message of it, signed, to the webhook.

Alpaca allows one trade_updates connection for an account, and refuses a second one with HTTP 429.
It replays nothing after a reconnect, so each new connection queues a checkup. The paper stream
sends binary frames. (https://docs.alpaca.markets/docs/websocket-streaming)

A post has no token of the lease. An old relay's late post does no harm: the webhook joins it like
any repeated event.
"""

import json
import math
import random
import socket as sockets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, TypeVar

import requests
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from scalper.shell.errors import BrokerDownError, SettingsError, UnauthorizedError
from scalper.shell.metrics import Metric
from scalper.shell.settings import BrokerKeys
from scalper.shell.telemetry import count, flush, logger
from scalper.shell.webhook import MAX_BODY, sign

T = TypeVar("T")

OPEN_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 5.0
LISTEN_SLICE_S = 0.25
"""How often a relay without messages checks whether its time is over."""

STABLE_AFTER_S = 30.0
"""After a connection that lasted so long, the waits between connections start anew."""

PING_INTERVAL_S = 20.0
"""How often the relay pings the stream."""

PING_TIMEOUT_S = 20.0
"""A socket whose ping is not answered within this time is closed."""

HEARTBEAT_S = 30.0
"""How often a connected relay counts `RelayHeartbeat`."""

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""The longest wait after so many failures in a row."""

CROWDED_FAILURES = 4
"""While another connection has the account's place, the waits are those of so many failures."""

CROWDED_LINE_S = 60.0
"""How often the relay logs that another connection has the account's place."""

POST_ATTEMPTS = 3
POST_TIMEOUT_S = (2.0, 30.0)
POST_BACKOFF_S = 0.5
MIN_POST_TIMEOUT_S = 1.0
"""How long a post may still take when the relay's time is over."""


class RotatingSecret(Generic[T]):
    """A secret that is read at its first use, and again if it was refused."""

    def __init__(self, fetch: Callable[[], T]) -> None:
        self._fetch = fetch
        self._known: list[T] = []

    @property
    def value(self) -> T:
        """Return the secret as it was last read; raises SettingsError."""
        if not self._known:
            self._known.append(self._fetch())
        return self._known[0]

    def renew(self) -> bool:
        """Read the secret again; return whether it changed."""
        before = self.value
        try:
            self._known[0] = self._fetch()
        except SettingsError as error:
            logger.error("settings", extra={"error": str(error)})
        return self._known[0] != before


class Connection:
    """The open connection, which another thread can cut."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._socket: ClientConnection | None = None
        self.is_cut = False

    @contextmanager
    def watched(self, socket: ClientConnection) -> Iterator[None]:
        """Let `cut` end this socket while the block lasts; raises OSError if it was cut before."""
        with self._lock:
            self._socket = socket
            if self.is_cut:
                raise ConnectionAbortedError("the relay may not be connected any more")
        try:
            yield
        finally:
            with self._lock:
                self._socket = None

    def cut(self) -> None:
        """End the connection at once, without a closing handshake, and refuse every later one."""
        with self._lock:
            self.is_cut = True
            if self._socket is not None:
                with suppress(OSError):
                    self._socket.socket.shutdown(sockets.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Relay:
    """Where the relay listens and where it posts."""

    stream_url: str
    keys: RotatingSecret[BrokerKeys]
    webhook_url: str
    webhook_key: RotatingSecret[str]
    reconcile: Callable[[], None]
    """Queues a checkup: the stream does not replay what happened before the connection."""
    connection: Connection = field(default_factory=Connection)

    def prepare(self) -> None:
        """Read the secrets before they are needed.

        Raises SettingsError, which says what to put into which secret.
        """
        _ = self.keys.value, self.webhook_key.value


def relay_until(relay: Relay, time_left_s: Callable[[], float]) -> int:
    """Relay while there is time left; return how many messages were posted.

    While another connection has the account's one place, the relay tries again and again. Raises
    UnauthorizedError if the broker refuses keys that were just read.
    """
    posted = failures = 0
    complained = -math.inf
    with requests.Session() as session:
        session.trust_env = False
        while time_left_s() > 0:
            began = time.monotonic()
            try:
                with _connected(relay, time_left_s) as socket:
                    relay.reconcile()
                    count(Metric.RELAY_CONNECTS)
                    for taken in _listen(relay, socket, session, time_left_s):
                        posted += taken
            except InvalidStatus as error:
                if error.response.status_code == 429:
                    if began - complained >= CROWDED_LINE_S:
                        logger.warning("another connection has the place")
                        complained = began
                    failures = _wait(min(failures, CROWDED_FAILURES), time_left_s)
                elif error.response.status_code == 401:
                    _renew_keys(relay)
                else:
                    failures = _back_off(failures, error, time_left_s)
            except UnauthorizedError:
                _renew_keys(relay)
            except (OSError, WebSocketException, InvalidHandshake, BrokerDownError) as error:
                if relay.connection.is_cut:
                    break
                if time.monotonic() - began > STABLE_AFTER_S:
                    failures = 0
                failures = _back_off(failures, error, time_left_s)
    return posted


def _renew_keys(relay: Relay) -> None:
    """Read the refused keys again; raises UnauthorizedError if they did not change."""
    if not relay.keys.renew():
        raise UnauthorizedError(401, None, "the stream refuses the keys")
    logger.info("keys fetched again")


@contextmanager
def _connected(relay: Relay, time_left_s: Callable[[], float]) -> Iterator[ClientConnection]:
    """Yield a connection that is authenticated and listens to trade_updates."""
    with (
        connect(
            relay.stream_url,
            # The connection cannot be cut before it is open.
            open_timeout=min(OPEN_TIMEOUT_S, max(time_left_s(), LISTEN_SLICE_S)),
            close_timeout=1,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_TIMEOUT_S,
            proxy=None,
        ) as socket,
        relay.connection.watched(socket),
    ):
        keys = {"key_id": relay.keys.value.key_id, "secret_key": relay.keys.value.secret_key}
        _send(socket, {"action": "authenticate", "data": keys})
        if _answer(socket, "authorization").get("status") != "authorized":
            raise UnauthorizedError(401, None, "the stream refuses the keys")
        _send(socket, {"action": "listen", "data": {"streams": ["trade_updates"]}})
        if "trade_updates" not in _answer(socket, "listening").get("streams", []):
            raise BrokerDownError("the stream does not listen to trade_updates")
        yield socket


def _listen(
    relay: Relay,
    socket: ClientConnection,
    session: requests.Session,
    time_left_s: Callable[[], float],
) -> Iterator[int]:
    """Post each message of trade_updates until the time is over; yield 1 for each one accepted."""
    beat = -math.inf
    while time_left_s() > 0:
        if time.monotonic() - beat >= HEARTBEAT_S:
            beat = time.monotonic()
            count(Metric.RELAY_HEARTBEAT)
            flush()
        try:
            frame = socket.recv(timeout=LISTEN_SLICE_S)
        except TimeoutError:
            continue
        if _parsed(frame).get("stream") != "trade_updates":
            continue
        body = frame.decode() if isinstance(frame, bytes) else frame
        if len(body.encode()) > MAX_BODY:
            logger.warning("message over 64 KiB")
            continue
        yield _post(relay, session, body, time_left_s)


def _post(
    relay: Relay, session: requests.Session, body: str, time_left_s: Callable[[], float]
) -> int:
    """Post one message, again if no answer came: a repeated message does no harm. Return 1 or 0."""
    for attempt in range(1, POST_ATTEMPTS + 1):
        if relay.connection.is_cut:
            break
        connect_s, answer_s = POST_TIMEOUT_S
        answer_s = min(answer_s, max(time_left_s(), MIN_POST_TIMEOUT_S))
        is_last = attempt == POST_ATTEMPTS or time_left_s() <= 0
        try:
            response = session.post(
                relay.webhook_url,
                data=body.encode(),
                headers=sign(body, relay.webhook_key.value),
                timeout=(connect_s, answer_s),
            )
        except requests.RequestException as error:
            failure = str(error)
        else:
            status = response.status_code
            if status == 200:
                return 1
            # 429: no execution environment was free. 401: a rotation of the key may be under way.
            if status < 500 and status != 429 and (is_last or status != 401):
                logger.error("webhook refused", extra={"status": status})
                count(Metric.RELAY_REFUSED)
                return 0
            if status == 401:
                relay.webhook_key.renew()
            failure = f"HTTP {status}"
        logger.warning("webhook did not answer", extra={"attempt": attempt, "error": failure})
        if is_last:
            break
        time.sleep(POST_BACKOFF_S * attempt)
    # A checkup finds what the message said.
    count(Metric.RELAY_LOST)
    return 0


def wait_s(failures: int) -> float:
    """Return the seconds to wait after so many failures: longer each time, and randomized."""
    return BACKOFF_S[min(failures, len(BACKOFF_S) - 1)] * random.uniform(0.5, 1.0)


def _back_off(failures: int, error: Exception, time_left_s: Callable[[], float]) -> int:
    """Log a failure and wait, longer after each; return the new number of failures."""
    logger.warning("stream lost", extra={"error": f"{type(error).__name__}: {error}"})
    count(Metric.RELAY_LOSSES)
    return _wait(failures, time_left_s)


def _wait(failures: int, time_left_s: Callable[[], float]) -> int:
    """Wait, longer after each failure, but not past the end; return the new number of failures."""
    deadline = time.monotonic() + wait_s(failures)
    while time.monotonic() < deadline and time_left_s() > 0:
        time.sleep(0.1)
    return failures + 1


def _send(socket: ClientConnection, message: dict[str, Any]) -> None:
    socket.send(json.dumps(message))


def _answer(socket: ClientConnection, stream: str) -> dict[str, Any]:
    """Return the data of the answer on a stream; raises BrokerDownError if none comes in time."""
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while (left := deadline - time.monotonic()) > 0:
        message = _parsed(socket.recv(timeout=left))
        if message.get("stream") == stream:
            found = message.get("data")
            return found if isinstance(found, dict) else {}
    raise BrokerDownError(f"no answer on {stream}")


def _parsed(frame: str | bytes) -> dict[str, Any]:
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
