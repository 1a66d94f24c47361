"""The tables of a simulated day: the memory store, which passes the tests of the real table.

During a deployment two versions of the program share it. The newer one writes a newer schema, and
a field that the older one does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from greenlet import getcurrent

from scalper.core.model import SymbolState
from scalper.shell.aws.state_table import ConditionFailedError, write_once
from scalper.shell.codec import SCHEMA, decode, encode
from scalper.shell.errors import ConflictError, StoreDownError
from scalper.shell.memory_store import MemoryStore
from scalper.shell.ports import Stored, SymbolRules
from workbench.faults.kinds import FaultKind
from workbench.simulation.checks import Checks
from workbench.simulation.fault_plan import STORE_READ, STORE_WRITE
from workbench.simulation.scheduler import Scheduler, Task

OPERATIONS = frozenset(
    f"store.{name}"
    for name in (
        "account_halt",
        "claim_minute",
        "halt_account",
        "load",
        "load_all",
        "record_day",
        "save",
    )
) | {"symbols.read"}

NEWER = {"added_later": "yes"}
"""A field that only the newer version knows."""


class Items(MemoryStore):
    """The items of the state table."""

    def __init__(self) -> None:
        super().__init__()
        self.nonces: dict[str, str] = {}
        """The nonce of the last writer of an item or a claim."""
        self._writes = 0
        self.is_down = False
        self.unreadable: set[str] = set()
        """Symbols whose items cannot be read for a while."""

    def new_nonce(self) -> str:
        """Return a nonce that no other write has."""
        self._writes += 1
        return str(self._writes)

    def lose(self, symbol: str) -> None:
        """Remove an item."""
        self._states.pop(symbol, None)

    @property
    def states(self) -> Mapping[str, Stored]:
        """Every item, by symbol."""
        return self._states


@dataclass(slots=True, eq=False)
class SimulatedStore:
    """The Store protocol for one version of the program."""

    scheduler: Scheduler
    items: Items
    checks: Checks
    is_newer: bool = False
    packs: bool = False
    """Whether each write goes through the real codec, which is slow."""

    def load(self, symbol: str) -> Stored | None:
        """Return the symbol's state, None if there is no item."""

        def effect(fault: FaultKind | None) -> Stored | None:
            self._fail(fault)
            if symbol in self.items.unreadable:
                _mark_store_failed()
                raise StoreDownError(f"the item of {symbol} cannot be read")
            found = self.items.load(symbol)
            return None if found is None else self._seen(found)

        return self.scheduler.call("store.load", STORE_READ, effect)

    def load_all(self, shard: int, shard_count: int) -> dict[str, Stored]:
        """Return every state of a shard."""

        def effect(fault: FaultKind | None) -> dict[str, Stored]:
            self._fail(fault)
            found = self.items.load_all(shard, shard_count)
            if not self.items.unreadable.isdisjoint(found):
                _mark_store_failed()
            return {
                symbol: self._seen(one)
                for symbol, one in found.items()
                if symbol not in self.items.unreadable
            }

        return self.scheduler.call("store.load_all", STORE_READ, effect)

    def save(self, before: Stored, state: SymbolState) -> Stored:
        """Write the state if the item still is `before`; raises ConflictError otherwise."""

        def effect(fault: FaultKind | None) -> Stored:
            self._fail(fault)
            meant = before
            if self.is_newer:
                meant = replace(before, schema=SCHEMA + 1, unknown={**before.unknown, **NEWER})
            nonce = self.items.new_nonce()

            def put() -> None:
                self._put(meant, state, nonce)
                if fault is FaultKind.WRITE_REPEATED:
                    # The answer was lost, and the SDK sent the write again.
                    raise ConditionFailedError

            if not write_once(put, lambda: self.items.nonces.get(state.symbol), nonce):
                raise ConflictError(f"{state.symbol}: written by somebody else")
            if fault is FaultKind.WRITE_UNREPORTED:
                _mark_store_failed()
                self.checks.in_doubt(state)
                raise StoreDownError("no answer")
            return self._seen(self.items.states[state.symbol])

        return self.scheduler.call("store.save", STORE_WRITE, effect)

    def claim_minute(self, minute: datetime, shard: int, shard_count: int) -> bool:
        """Return whether this call is the first for the minute and shard."""

        def effect(fault: FaultKind | None) -> bool:
            self._fail(fault)
            nonce = self.items.new_nonce()
            claim = f"{minute} {shard}/{shard_count}"

            def put() -> None:
                if not self.items.claim_minute(minute, shard, shard_count):
                    raise ConditionFailedError
                self.items.nonces[claim] = nonce
                if fault is FaultKind.WRITE_REPEATED:
                    raise ConditionFailedError

            first = write_once(put, lambda: self.items.nonces.get(claim), nonce)
            if (
                fault is FaultKind.WRITE_REPEATED
                and self.items.nonces[claim] == nonce
                and not first
            ):
                self.checks.fail(f"the claim of {minute} was not taken for its own")
            if fault is FaultKind.WRITE_UNREPORTED:
                raise StoreDownError("no answer")
            return first

        return self.scheduler.call("store.claim_minute", STORE_WRITE, effect)

    def account_halt(self) -> str:
        """Return why the account enters nothing, "" if it may enter."""

        def effect(fault: FaultKind | None) -> str:
            self._fail(fault)
            return self.items.account_halt()

        return self.scheduler.call("store.account_halt", STORE_READ, effect)

    def halt_account(self, why: str) -> None:
        """Let the account enter nothing until resumed; "" resumes it."""

        def effect(fault: FaultKind | None) -> None:
            self._fail(fault)
            self.items.halt_account(why)

        self.scheduler.call("store.halt_account", STORE_WRITE, effect)

    def record_day(self, day: date, summary: str) -> None:
        """Keep a session's summary."""

        def effect(fault: FaultKind | None) -> None:
            self._fail(fault)
            self.items.record_day(day, summary)
            if fault is FaultKind.WRITE_UNREPORTED:
                raise StoreDownError("no answer")

        self.scheduler.call("store.record_day", STORE_WRITE, effect)

    def _put(self, before: Stored, state: SymbolState, nonce: str) -> None:
        old = self.items.load(state.symbol)
        try:
            saved = self.items.save(before, self._packed(state, before))
        except ConflictError as error:
            raise ConditionFailedError(str(error)) from error
        self.items.nonces[state.symbol] = nonce
        self.items.unreadable.discard(state.symbol)
        self.checks.entered(old, state, SCHEMA + self.is_newer)
        self.checks.saved(old, saved)

    def _fail(self, fault: FaultKind | None) -> None:
        if fault is FaultKind.STORE_THROTTLED or self.items.is_down:
            _mark_store_failed()
            raise StoreDownError(FaultKind.THROTTLED)

    def _seen(self, stored: Stored) -> Stored:
        """Return an item as this version reads it; the newer version knows the newer schema."""
        if self.is_newer and stored.schema == SCHEMA + 1:
            return replace(stored, schema=SCHEMA)
        return stored

    def _packed(self, state: SymbolState, before: Stored) -> SymbolState:
        return decode(encode(state, before.unknown))[0] if self.packs else state


@dataclass(slots=True, eq=False)
class SimulatedSymbols:
    """The Symbols protocol over rows that are edited during the day."""

    scheduler: Scheduler
    rows: dict[str, SymbolRules]
    broken: set[str] = field(default_factory=set)

    def read(self) -> tuple[dict[str, SymbolRules], tuple[str, ...]]:
        """Return the rows that make sense by symbol, and a line for each that does not."""

        def effect(fault: FaultKind | None) -> tuple[dict[str, SymbolRules], tuple[str, ...]]:
            if fault is FaultKind.STORE_THROTTLED:
                raise StoreDownError(FaultKind.THROTTLED)
            accepted = {s: self.rows[s] for s in sorted(self.rows) if s not in self.broken}
            broken = sorted(self.broken.intersection(self.rows))
            return accepted, tuple(f"{s}: lot 'abc' is not a number" for s in broken)

        return self.scheduler.call("symbols.read", STORE_READ, effect)


def _mark_store_failed() -> None:
    task = getcurrent()
    if isinstance(task, Task):
        task.invocation.store_failed = True
