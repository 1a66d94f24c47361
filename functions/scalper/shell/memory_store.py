"""A store in memory, and one that falls back on it, so that the liquidation needs no table."""

from datetime import date, datetime

from scalper.core.model import SymbolState
from scalper.shell.codec import SCHEMA
from scalper.shell.errors import ConflictError, StoreError
from scalper.shell.metrics import Metric
from scalper.shell.ports import Store, Stored
from scalper.shell.shards import in_shard
from scalper.shell.telemetry import count, logger


class MemoryStore:
    """The Store protocol over dictionaries. The states end with the process."""

    def __init__(self) -> None:
        self._states: dict[str, Stored] = {}
        self._minutes: set[tuple[datetime, int, int]] = set()
        self._halt = ""
        self.days: dict[date, str] = {}

    def load(self, symbol: str) -> Stored | None:
        """Return the symbol's state, None if there is none."""
        return self._states.get(symbol)

    def load_all(self, shard: int, shard_count: int) -> dict[str, Stored]:
        """Return every state of a shard."""
        return {s: one for s, one in self._states.items() if in_shard(s, shard, shard_count)}

    def save(self, before: Stored, state: SymbolState) -> Stored:
        """Write the state if the item is still `before`; otherwise raise ConflictError."""
        present = self._states.get(state.symbol)
        if (present.version if present else None) != before.version:
            raise ConflictError(f"{state.symbol}: another invocation wrote it")
        schema = max(before.schema, SCHEMA)
        stored = Stored(state, (before.version or 0) + 1, schema, before.unknown)
        self._states[state.symbol] = stored
        return stored

    def claim_minute(self, minute: datetime, shard: int, shard_count: int) -> bool:
        """Return whether this call is the first for the minute and shard."""
        claim = (minute, shard, shard_count)
        first = claim not in self._minutes
        self._minutes.add(claim)
        return first

    def account_halt(self) -> str:
        """Return why the account enters nothing, "" if it may enter."""
        return self._halt

    def halt_account(self, why: str) -> None:
        """Halt the account with a reason; "" ends the halt."""
        self._halt = why

    def record_day(self, day: date, summary: str) -> None:
        """Keep a session's summary."""
        self.days[day] = summary


class LastResortStore(MemoryStore):
    """The table while it answers, and memory if it does not; only the liquidation uses it.

    No other invocation sees what is in memory. Client order ids are deterministic: an invocation
    that finds the table back makes the same ids, learns that they exist, and joins their orders.
    """

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    def load(self, symbol: str) -> Stored | None:
        """Return the symbol's state; raise StoreError if it is only in the table, which is down."""
        return super().load(symbol) or self._store.load(symbol)

    def load_all(self, shard: int, shard_count: int) -> dict[str, Stored]:
        """Return the table's states, none if it does not answer."""
        try:
            return self._store.load_all(shard, shard_count)
        except StoreError as error:
            _log_down("every symbol", error)
            return {}

    def save(self, before: Stored, state: SymbolState) -> Stored:
        """Write to the table, or to memory if the table does not answer or cannot be read."""
        if super().load(state.symbol) is None:
            try:
                return self._store.save(before, state)
            except ConflictError as error:
                if self._is_readable(state.symbol):
                    raise
                _log_down(state.symbol, error)
            except StoreError as error:
                _log_down(state.symbol, error)
            before = Stored(before.state, None, before.schema, before.unknown)
        return super().save(before, state)

    def _is_readable(self, symbol: str) -> bool:
        try:
            self._store.load(symbol)
        except StoreError:
            return False
        return True


def _log_down(symbol: str, error: StoreError) -> None:
    count(Metric.LIQUIDATED_WITHOUT_TABLE)
    logger.error("liquidating without the table", extra={"symbol": symbol, "error": str(error)})
