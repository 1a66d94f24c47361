"""The relay's lease in the state table, as a JSON document: `control#<mode>`, `relay`.

The item does not expire: its version makes the tokens, which must never fall.
"""

import json
from dataclasses import replace
from uuid import uuid4

from pynamodb.exceptions import DoesNotExist

from scalper.core.session import parse_time
from scalper.shell.aws.state_table import items_of, save_once, store_errors
from scalper.shell.errors import ConflictError
from scalper.shell.relay.lease import FREE, Lease
from scalper.shell.settings import Settings
from scalper.shell.telemetry import logger

SORT_KEY = "relay"

# A write has to end long before the lease does. The holder itself repeats a failed write.
CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 2.0


class DynamoLeaseTable:
    """The port `LeaseTable` on DynamoDB, by PynamoDB."""

    def __init__(self, settings: Settings) -> None:
        self._partition = f"control#{settings.mode}"
        self._items = items_of(
            settings.state_table, connect_s=CONNECT_TIMEOUT_S, read_s=READ_TIMEOUT_S, retries=0
        )

    def present(self) -> Lease | None:
        """Return the lease by a consistent read, or None if there is none.

        An unreadable document counts as a free lease. Raises StoreDownError.
        """
        with store_errors():
            try:
                item = self._items.get(self._partition, SORT_KEY, consistent_read=True)
            except DoesNotExist:
                return None
        version = int(item.version or 0)
        try:
            return replace(decode(item.document or ""), version=version)
        except ValueError as error:
            logger.error("lease unreadable", extra={"error": type(error).__name__})
            return Lease("", version, FREE, FREE, version)

    def put(self, lease: Lease) -> Lease:
        """Write the lease if the item still has its version; with version 0, if there is no item.

        Raises ConflictError if another run wrote it, StoreDownError if it may not be written.
        """
        item = self._items(self._partition, SORT_KEY, nonce=uuid4().hex, document=encode(lease))
        if lease.version:
            item.version = lease.version
        with store_errors():
            if not save_once(item):
                raise ConflictError("another run wrote the lease")
        return replace(lease, version=lease.version + 1)


def encode(lease: Lease) -> str:
    """Return a lease as JSON text, without its version, which is the item's."""
    return json.dumps(
        {
            "holder": lease.holder,
            "token": lease.token,
            "until": lease.until.isoformat(),
            "ends_at": lease.ends_at.isoformat(),
        }
    )


def decode(text: str) -> Lease:
    """Return the lease of a JSON text; raises ValueError if it cannot be read."""
    try:
        document = json.loads(text)
        return Lease(
            holder=str(document["holder"]),
            token=int(document["token"]),
            until=parse_time(document["until"]),
            ends_at=parse_time(document["ends_at"]),
        )
    except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a lease: {error!r}") from error
