"""A store in memory: what the liquidation works on while the table is down, and a test's fake."""

from datetime import date, datetime

from scalper.core.model import SymbolState
from scalper.shell.codec import SCHEMA
from scalper.shell.errors import ConflictError
from scalper.shell.store import Stored, in_shard


class MemoryStore:
    """The store's protocol over dictionaries; forgotten with the process."""

    def __init__(self) -> None:
        self._states: dict[str, Stored] = {}
        self._minutes: set[tuple[datetime, int, int]] = set()
        self._halt = ""
        self.days: dict[date, str] = {}

    def load(self, symbol: str) -> Stored | None:
        """Return the symbol's state, None where there is none."""
        return self._states.get(symbol)

    def load_all(self, shard: int, shard_count: int) -> dict[str, Stored]:
        """Return every state of a shard."""
        return {s: one for s, one in self._states.items() if in_shard(s, shard, shard_count)}

    def save(self, before: Stored, state: SymbolState) -> Stored:
        """Write the state if the item still is `before`; raises ConflictError otherwise."""
        present = self._states.get(state.symbol)
        if (present.version if present else None) != before.version:
            raise ConflictError(f"{state.symbol}: written by somebody else")
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
        """Return why the account enters nothing, "" where it may."""
        return self._halt

    def halt_account(self, why: str) -> None:
        """Let the account enter nothing until resumed; "" resumes it."""
        self._halt = why

    def record_day(self, day: date, summary: str) -> None:
        """Keep a session's summary."""
        self.days[day] = summary
