"""The state table: every write is conditional on the version, so the second of two writers fails.

One table has the keys `pk` and `sk`. The partition "state#<mode>" has an item for each symbol. Its
sort key begins with a hash, so any shard of any number of shards is one range and one Query.
"minute#..." has a claim for each tick, "control#..." the account's halt and the relay's lease
(`lease_table`), "day#..." a record for each session.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.attributes import NumberAttribute, UnicodeAttribute, VersionAttribute
from pynamodb.exceptions import (
    AttributeDeserializationError,
    DoesNotExist,
    PutError,
    PynamoDBException,
)
from pynamodb.expressions.condition import Condition
from pynamodb.models import Model

from scalper.core.model import SymbolState
from scalper.shell.codec import SCHEMA, decode, encode
from scalper.shell.errors import ConflictError, StoreDownError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Stored
from scalper.shell.settings import Settings
from scalper.shell.shards import _HASHES, sort_key
from scalper.shell.telemetry import count, logger

CLAIM_KEPT = timedelta(days=2)
"""How long the claim of a minute stays in the table."""

DAY_KEPT = timedelta(days=400)
"""How long a session's record stays in the table."""

_READ = ("pk", "sk", "version", "schema", "document")
"""The attributes that a state is read from; the others are for people who read the table."""


class ConditionFailedError(Exception):
    """The condition of a write does not hold, perhaps because the same write succeeded before."""


def write_once(put: Callable[[], None], nonce_there: Callable[[], str | None], nonce: str) -> bool:
    """Return whether the item is the writer's: `put` succeeded, now or in an earlier attempt.

    The SDK repeats a write whose answer was lost. If the first attempt succeeded, the repeat fails
    on its condition. The nonce in the item then shows whose write it is. `put` raises
    ConditionFailedError.
    """
    try:
        put()
    except ConditionFailedError:
        return nonce_there() == nonce
    return True


class Item(Model):
    """An item of the table; its partition decides which attributes it has."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    version = VersionAttribute()
    nonce = UnicodeAttribute(null=True)
    schema = NumberAttribute(null=True)
    symbol = UnicodeAttribute(null=True)
    session = UnicodeAttribute(null=True)
    phase = UnicodeAttribute(null=True)
    document = UnicodeAttribute(null=True)
    expires_at = NumberAttribute(null=True)


def items_of(
    table: str, *, connect_s: float = 2, read_s: float = 5, retries: int = 3
) -> type[Item]:
    """Return the model of a table's items, with the bounds of a request to it in seconds."""
    meta = type(
        "Meta",
        (),
        {
            "table_name": table,
            "connect_timeout_seconds": connect_s,
            "read_timeout_seconds": read_s,
            "max_retry_attempts": retries,
            "max_pool_connections": 32,
        },
    )
    return type("StateTableItem", (Item,), {"Meta": meta})


class DynamoStore:
    """The port `Store` on DynamoDB, by PynamoDB."""

    def __init__(self, settings: Settings) -> None:
        self._mode = settings.mode
        self._items = items_of(settings.state_table)

    def load(self, symbol: str) -> Stored | None:
        """Return the symbol's state by a consistent read, or None if there is no item."""
        with store_errors():
            try:
                item = self._items.get(self._states, sort_key(symbol), consistent_read=True)
            except DoesNotExist:
                return None
        return _stored(item)

    def load_all(self, shard: int, shard_count: int) -> dict[str, Stored]:
        """Return the states of a shard by symbol, by one Query for each MB.

        An unreadable item is left out and counted: only its own symbol stops.
        """
        low = f"{_HASHES * shard // shard_count:08x}"
        # A sort key is the hash, "#" and the symbol; "~" sorts after all of them.
        high = f"{_HASHES * (shard + 1) // shard_count - 1:08x}~"
        stored: dict[str, Stored] = {}
        with store_errors():
            items = self._items.query(
                self._states,
                self._items.sk.between(low, high),
                consistent_read=True,
                attributes_to_get=list(_READ),
            )
            while True:
                try:
                    one = _stored(next(items))
                except StopIteration:
                    return stored
                except (_UnreadableError, AttributeDeserializationError) as error:
                    count(Metric.STATES_UNREADABLE)
                    logger.error("state unreadable", extra={"error": str(error)})
                else:
                    stored[one.state.symbol] = one

    def save(self, before: Stored, state: SymbolState) -> Stored:
        """Write the state if the item is still `before`.

        Raises ConflictError if another invocation wrote it, StoreDownError if it may not be
        written. The nonce shows a write that succeeded although its answer was lost. A first write
        never replaces an item, whatever is in it.
        """
        item = self._items(
            self._states,
            sort_key(state.symbol),
            nonce=uuid4().hex,
            schema=max(before.schema, SCHEMA),
            symbol=state.symbol,
            session=state.session.isoformat(),
            phase=state.phase,
            document=encode(state, before.unknown),
        )
        if before.version is not None:
            item.version = before.version
        is_new = self._items.pk.does_not_exist() if before.version is None else None
        with store_errors():
            if not save_once(item, is_new):
                raise ConflictError(f"{state.symbol}: another invocation wrote it")
        version = 1 if before.version is None else before.version + 1
        return Stored(state, version, max(before.schema, SCHEMA), before.unknown)

    def claim_minute(self, minute: datetime, shard: int, shard_count: int) -> bool:
        """Return whether this call is the first for the minute and shard."""
        expires = int((datetime.now(UTC) + CLAIM_KEPT).timestamp())
        item = self._items(
            f"minute#{self._mode}#{minute:%Y-%m-%d}",
            f"{minute:%H:%M}#{shard}/{shard_count}",
            nonce=uuid4().hex,
            expires_at=expires,
        )
        with store_errors():
            return save_once(item, None)

    def account_halt(self) -> str:
        """Return why the account is halted, or "" if it is not."""
        with store_errors():
            try:
                item = self._items.get(f"control#{self._mode}", "halt", consistent_read=True)
            except DoesNotExist:
                return ""
        return item.document or ""

    def halt_account(self, why: str) -> None:
        """Halt the account with a reason; "" ends the halt."""
        self._put(f"control#{self._mode}", "halt", why)

    def record_day(self, day: date, summary: str) -> None:
        """Store a session's summary, a JSON text; it replaces an earlier one."""
        self._put(f"day#{self._mode}", day.isoformat(), summary, DAY_KEPT)

    @property
    def _states(self) -> str:
        return f"state#{self._mode}"

    def _put(self, pk: str, sk: str, document: str, kept: timedelta | None = None) -> None:
        """Write an item without a condition: no decision depends on its version."""
        expires = None if kept is None else int((datetime.now(UTC) + kept).timestamp())
        item = self._items(pk, sk, document=document, expires_at=expires)
        with store_errors():
            item.save(add_version_condition=False)


def save_once(item: Item, condition: Condition | None = None) -> bool:
    """Return whether this write of an item succeeded, now or in an attempt without an answer.

    The table has to hold the version that the item has. An item without a version is written only
    if the table has none. `item.nonce` is used by no other write.
    """

    def put() -> None:
        try:
            item.save(condition)
        except PutError as error:
            if not _is_refused(error):
                raise
            raise ConditionFailedError(str(error)) from error

    def nonce_there() -> str | None:
        try:
            found = item.get(item.pk, item.sk, consistent_read=True)
        except DoesNotExist:
            return None
        return str(found.nonce)

    return write_once(put, nonce_there, item.nonce or "")


def _is_refused(error: PutError) -> bool:
    """Whether the table answers that the condition does not hold.

    PynamoDB's own `cause_response_code` raises AttributeError if the connection broke.
    """
    cause = error.cause
    if not isinstance(cause, ClientError):
        return False
    return cause.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException"


class _UnreadableError(StoreDownError):
    """The item exists and cannot be read: its symbol stops, and no write replaces the item."""


def _stored(item: Item) -> Stored:
    try:
        state, unknown = decode(item.document or "")
        if item.version is None or item.sk != sort_key(state.symbol):
            raise ValueError("no version, or the state of another symbol")
    except ValueError as error:
        raise _UnreadableError(f"the item {item.pk} {item.sk} cannot be read: {error}") from error
    return Stored(state, int(item.version), int(item.schema or SCHEMA), unknown)


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise PynamoDB's errors as errors of the store."""
    try:
        yield
    except AttributeDeserializationError as error:
        raise _UnreadableError(f"an item cannot be read: {error}") from error
    except (PynamoDBException, BotoCoreError, ClientError) as error:
        raise StoreDownError(f"the state table does not answer: {error}") from error
