"""Holds the broker's one websocket and posts each message, signed, to the webhook.

Alpaca allows one trade_updates connection for an account and answers more with HTTP 429; it
replays nothing after a reconnect, so each connect asks for a checkup. Paper sends binary frames.
(https://docs.alpaca.markets/docs/websocket-streaming)
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from scalper.shell.errors import BrokerDownError, UnauthorizedError
from scalper.shell.settings import BrokerKeys
from scalper.shell.telemetry import count, logger
from scalper.shell.webhook import MAX_BODY, sign

OPEN_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 5.0
LISTEN_SLICE_S = 0.25
"""How often a quiet relay looks whether its time is over."""

STABLE_AFTER_S = 30.0
"""A connection that lasted so long starts the waits between connections from the shortest."""

PING_INTERVAL_S = 20.0
PING_TIMEOUT_S = 20.0
"""A socket that is open but mute answers no ping within this, and is closed."""

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
POST_ATTEMPTS = 3
POST_TIMEOUT_S = (2.0, 30.0)
POST_BACKOFF_S = 0.5
MIN_POST_TIMEOUT_S = 1.0
"""What a post may still take when the relay's time is over."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Where to listen and where to post."""

    stream_url: str
    keys: BrokerKeys
    webhook_url: str
    webhook_key: str
    reconcile: Callable[[], None]
    """Asks for a checkup: what happened while nobody listened is not replayed."""


def relay_until(relay: Relay, time_left_s: Callable[[], float]) -> dict[str, Any]:
    """Relay while there is time left; return how many messages were posted.

    Returns early where another connection holds the account's one place. Raises
    UnauthorizedError where the broker refuses the keys.
    """
    posted = 0
    failures = 0
    with requests.Session() as session:
        session.trust_env = False
        while time_left_s() > 0:
            began = time.monotonic()
            try:
                with _connected(relay) as socket:
                    relay.reconcile()
                    count("RelayConnects")
                    for taken in _listen(relay, socket, session, time_left_s):
                        posted += taken
            except InvalidStatus as error:
                if error.response.status_code == 429:
                    logger.info("another relay holds the connection")
                    return {"status": "taken", "posted": posted}
                failures = _back_off(failures, error, time_left_s)
            except (OSError, WebSocketException, InvalidHandshake, BrokerDownError) as error:
                if time.monotonic() - began > STABLE_AFTER_S:
                    failures = 0
                failures = _back_off(failures, error, time_left_s)
    return {"status": "ok", "posted": posted}


@contextmanager
def _connected(relay: Relay) -> Iterator[ClientConnection]:
    """Give a connection that is authenticated and listens to trade_updates."""
    with connect(
        relay.stream_url,
        open_timeout=OPEN_TIMEOUT_S,
        close_timeout=1,
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        proxy=None,
    ) as socket:
        keys = {"key_id": relay.keys.key_id, "secret_key": relay.keys.secret_key}
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
    """Post each message of trade_updates on until the time is over; gives 1 for each one taken."""
    while time_left_s() > 0:
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
    """Post one message, again where no answer came: the webhook takes repeats without harm."""
    for attempt in range(1, POST_ATTEMPTS + 1):
        connect_s, answer_s = POST_TIMEOUT_S
        answer_s = min(answer_s, max(time_left_s(), MIN_POST_TIMEOUT_S))
        try:
            response = session.post(
                relay.webhook_url,
                data=body.encode(),
                headers=sign(body, relay.webhook_key),
                timeout=(connect_s, answer_s),
            )
        except requests.RequestException as error:
            failure = str(error)
        else:
            # 429: no execution environment was free; the function has not run.
            if response.status_code < 500 and response.status_code != 429:
                if response.status_code != 200:
                    logger.error("webhook refused", extra={"status": response.status_code})
                    count("RelayRefused")
                return int(response.status_code == 200)
            failure = f"HTTP {response.status_code}"
        logger.warning("webhook did not answer", extra={"attempt": attempt, "error": failure})
        if attempt == POST_ATTEMPTS or time_left_s() <= 0:
            break
        time.sleep(POST_BACKOFF_S * attempt)
    # Polling finds what the message said.
    count("RelayLost")
    return 0


def wait_s(failures: int) -> float:
    """Return how long to wait after so many failures: longer each time, never in step."""
    return BACKOFF_S[min(failures, len(BACKOFF_S) - 1)] * random.uniform(0.5, 1.0)


def _back_off(failures: int, error: Exception, time_left_s: Callable[[], float]) -> int:
    """Wait, longer after each failure; return the new count."""
    logger.warning("stream lost", extra={"error": f"{type(error).__name__}: {error}"})
    count("RelayLosses")
    deadline = time.monotonic() + wait_s(failures)
    while time.monotonic() < deadline and time_left_s() > 0:
        time.sleep(0.1)
    return failures + 1


def _send(socket: ClientConnection, message: dict[str, Any]) -> None:
    socket.send(json.dumps(message))


def _answer(socket: ClientConnection, stream: str) -> dict[str, Any]:
    """Return the data of the answer on a stream, within `ANSWER_TIMEOUT_S`."""
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
