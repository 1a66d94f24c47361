"""The state table: conditional writes by version, so that of two writers one has to think again.

One table, keys `pk` and `sk`: "state#<mode>" holds an item for each symbol, its sort key led by a
hash, so that shard k of n is one range and one Query whatever n is; "minute#..." a claim for each
tick; "control#..." the account's halt and the relay's lease (`lease_table`); "day#..." a record for
each session.
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

DAY_KEPT = timedelta(days=400)

_READ = ("pk", "sk", "version", "schema", "document")
"""What a state is read from; the other attributes are for people who look at the table."""


class ConditionFailedError(Exception):
    """The item is not as the condition of a write wants it, perhaps by that very write."""


def write_once(put: Callable[[], None], nonce_there: Callable[[], str | None], nonce: str) -> bool:
    """Return whether the item is the writer's: `put` went through, or had done so unnoticed.

    A write whose answer was lost is sent again by the SDK, and then fails by its own success: the
    nonce that lies there tells whose it is. `put` raises ConditionFailedError.
    """
    try:
        put()
    except ConditionFailedError:
        return nonce_there() == nonce
    return True


class Item(Model):
    """Every item of the table; which attributes it has depends on its partition."""

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
    """The store on DynamoDB, by PynamoDB."""

    def __init__(self, settings: Settings) -> None:
        self._mode = settings.mode
        self._items = items_of(settings.state_table)

    def load(self, symbol: str) -> Stored | None:
        """Return the symbol's state by a consistent read, None where there is no item."""
        with store_errors():
            try:
                item = self._items.get(self._states, sort_key(symbol), consistent_read=True)
            except DoesNotExist:
                return None
        return _stored(item)

    def load_all(self, shard: int, shard_count: int) -> dict[str, Stored]:
        """Return every state of a shard, by symbol, by one Query (more past 1 MB).

        An item that cannot be read is left out and counted: only its own symbol stops.
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
        """Write the state if the item still is `before`.

        Raises ConflictError where somebody else wrote it, StoreDownError where it is unknown or
        certain that nothing was written. A write that reports failure after it succeeded (a
        time-out, then the SDK's retry) is recognised by its nonce. A first write never replaces
        an item, whatever is in it.
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
                raise ConflictError(f"{state.symbol}: written by somebody else")
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
        """Return why the account enters nothing, "" where it may."""
        with store_errors():
            try:
                item = self._items.get(f"control#{self._mode}", "halt", consistent_read=True)
            except DoesNotExist:
                return ""
        return item.document or ""

    def halt_account(self, why: str) -> None:
        """Let the account enter nothing until resumed; "" resumes it."""
        self._put(f"control#{self._mode}", "halt", why)

    def record_day(self, day: date, summary: str) -> None:
        """Keep a session's summary, JSON text, in the place of an earlier one."""
        self._put(f"day#{self._mode}", day.isoformat(), summary, DAY_KEPT)

    @property
    def _states(self) -> str:
        return f"state#{self._mode}"

    def _put(self, pk: str, sk: str, document: str, kept: timedelta | None = None) -> None:
        """Write an item that the last writer may win: no decision hangs on its version."""
        expires = None if kept is None else int((datetime.now(UTC) + kept).timestamp())
        item = self._items(pk, sk, document=document, expires_at=expires)
        with store_errors():
            item.save(add_version_condition=False)


def save_once(item: Item, condition: Condition | None = None) -> bool:
    """Return whether an item was written over the version that it carries, or had been unnoticed.

    Without a version it is written only where there is none; `item.nonce` is this write's own.
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
    """Whether the table says that the condition does not hold.

    Not PynamoDB's `cause_response_code`: where the connection broke it raises AttributeError.
    """
    cause = error.cause
    if not isinstance(cause, ClientError):
        return False
    return cause.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException"


class _UnreadableError(StoreDownError):
    """The item is there and makes no sense: its symbol stops, and nothing replaces it."""


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
    """Turn what PynamoDB raises into the store's errors."""
    try:
        yield
    except AttributeDeserializationError as error:
        raise _UnreadableError(f"an item cannot be read: {error}") from error
    except (PynamoDBException, BotoCoreError, ClientError) as error:
        raise StoreDownError(f"the state table does not answer: {error}") from error
