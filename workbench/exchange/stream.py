"""The trade_updates websocket: one connection, binary frames of JSON, nothing ever repeated.

Alpaca holds one such connection per account: a second handshake gets HTTP 429 while the first
is open. What happens while nobody listens is not told later; clients reconcile over REST.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from workbench.exchange import refusals, render
from workbench.exchange.calls import Answer
from workbench.exchange.gate import Credentials, respond
from workbench.exchange.ledger import Update

STREAMS = ("trade_updates",)
AUTHENTICATE_WITHIN_S = 10.0
SEND_WITHIN_S = 10.0
MAX_QUEUED = 50_000
"""Messages a client may be behind; then its connection is closed."""

POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013


class Stream:
    """The account's one connection for order events."""

    def __init__(self, credentials: Credentials) -> None:
        """Start with nobody connected."""
        self._credentials = credentials
        self.is_connected = False
        self._queue: asyncio.Queue[bytes | None] | None = None

    @property
    def listening(self) -> int:
        """Return how many sockets are subscribed: 0 or 1."""
        return int(self._queue is not None)

    def tell(self, update: Update) -> None:
        """Send an update to whoever listens: the only way by which events leave."""
        if self._queue is not None:
            self.put(render.trade_update(update))

    def put(self, message: Mapping[str, object]) -> None:
        """Queue a message for whoever listens; hang up on a client that is too far behind."""
        if self._queue is None:
            return
        if self._queue.qsize() >= MAX_QUEUED:
            self.hang_up()
            return
        self._queue.put_nowait(_frame(message))

    def hang_up(self) -> None:
        """Close the connection, if there is one, once what is queued was sent."""
        if self._queue is not None:
            self._queue.put_nowait(None)
            self._queue = None

    async def connect(self, socket: WebSocket) -> None:
        """Serve a connection until it ends, or answer its handshake with 429."""
        if self.is_connected:
            await socket.send_denial_response(_too_many())
            return
        self.is_connected = True
        sender: asyncio.Task[None] | None = None
        try:
            await socket.accept()
            if await self._authenticated(socket):
                queue: asyncio.Queue[bytes | None] = asyncio.Queue()
                sender = asyncio.create_task(_send(socket, queue))
                await self._obey(socket, queue)
            else:
                await socket.close(POLICY_VIOLATION)
        except WebSocketDisconnect:
            pass
        finally:
            self._queue = None
            self.is_connected = False
            if sender is not None:
                sender.cancel()
                with suppress(asyncio.CancelledError):
                    await sender

    async def _authenticated(self, socket: WebSocket) -> bool:
        """Return whether the client gave the keys in time; it may try more than once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AUTHENTICATE_WITHIN_S):
                while True:
                    asked = await _receive(socket)
                    granted = self._grants(asked)
                    status = "authorized" if granted else "unauthorized"
                    told = {"status": status, "action": str(asked.get("action", ""))}
                    await socket.send_bytes(_frame({"stream": "authorization", "data": told}))
                    if granted:
                        return True
        return False

    def _grants(self, asked: Mapping[str, object]) -> bool:
        """Return whether the message gives the keys: in `data`, or as top-level key, secret."""
        if asked.get("action") not in ("authenticate", "auth"):
            return False
        keys = asked.get("data")
        if isinstance(keys, dict):
            return self._credentials.match(keys.get("key_id"), keys.get("secret_key"))
        return self._credentials.match(asked.get("key"), asked.get("secret"))

    async def _obey(self, socket: WebSocket, queue: asyncio.Queue[bytes | None]) -> None:
        """Serve `listen` until the client leaves; unknown streams are silently left out."""
        while True:
            asked = await _receive(socket)
            data = asked.get("data")
            if asked.get("action") != "listen" or not isinstance(data, dict):
                continue
            names = data.get("streams")
            wanted = [name for name in STREAMS if isinstance(names, list) and name in names]
            queue.put_nowait(_frame({"stream": "listening", "data": {"streams": wanted}}))
            self._queue = queue if wanted else None


async def _receive(socket: WebSocket) -> dict[str, object]:
    """Return the next JSON object of a text or binary frame; anything else reads as empty."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    frame = message.get("bytes") or message.get("text") or ""
    try:
        parsed = json.loads(frame)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


async def _send(socket: WebSocket, queue: asyncio.Queue[bytes | None]) -> None:
    """Send what is queued, in order; a client that stays behind is cut off."""
    with suppress(TimeoutError, WebSocketDisconnect):
        while (frame := await queue.get()) is not None:
            async with asyncio.timeout(SEND_WITHIN_S):
                await socket.send_bytes(frame)
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(TRY_AGAIN_LATER)


def _frame(message: Mapping[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _too_many() -> Response:
    refusal = refusals.rate_limited(data=False)
    return respond(Answer(refusal.body, refusal.status))
