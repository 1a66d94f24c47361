"""Of two writers the second fails; one suite for the table and for its fake."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.server import ThreadedMotoServer

from scalper.core.model import Phase, Reason, SymbolState
from scalper.core.order import Order, Purpose
from scalper.shell.aws.state_table import DynamoStore
from scalper.shell.codec import SCHEMA, decode, encode
from scalper.shell.errors import ConflictError, StoreDownError
from scalper.shell.memory_store import MemoryStore
from scalper.shell.ports import Store, Stored
from scalper.shell.shards import in_shard
from tests.shell.conftest import Records, make_state_table
from tests.shell.fakes import DAY, OPEN, QTY, client_id, minute, settings
from tests.shell.flaky import losing_answers
from tests.simulation.build import scheduler_of, unwatched
from workbench.simulation.table import Items, SimulatedStore


def simulated(*, packs: bool) -> SimulatedStore:
    scheduler = scheduler_of()
    return SimulatedStore(scheduler, Items(), unwatched(scheduler), packs=packs)


FAKES: dict[str, Callable[[], Store]] = {
    "memory": MemoryStore,
    "simulated": lambda: simulated(packs=False),
    "simulated, packed": lambda: simulated(packs=True),
}


@pytest.fixture(params=["dynamo", *FAKES])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param in FAKES:
        yield FAKES[request.param]()
        return
    with mock_aws():
        make_state_table()
        yield DynamoStore(settings())


@pytest.fixture
def dynamo() -> Iterator[DynamoStore]:
    with mock_aws():
        make_state_table()
        yield DynamoStore(settings())


def fresh(symbol: str = "AAA") -> SymbolState:
    return SymbolState(symbol=symbol, session=DAY)


def bought(symbol: str = "AAA") -> SymbolState:
    order = Order(
        client_order_id=client_id(1, symbol=symbol),
        purpose=Purpose.ENTRY,
        qty=QTY,
        limit=1,
        submitted_at=OPEN,
    )
    return replace(fresh(symbol), phase=Phase.BUY_SUBMITTED, generation=1, order=order)


def put(store: Store, state: SymbolState) -> Stored:
    return store.save(Stored(state, None), state)


def table() -> Any:
    return boto3.resource("dynamodb").Table("state")


def item_of(symbol: str) -> dict[str, Any]:
    (found,) = [one for one in table().scan()["Items"] if one["sk"].endswith(f"#{symbol}")]
    return dict(found)


class TestBoth:
    def test_what_is_saved_is_loaded(self, store: Store):
        stored = put(store, bought())
        assert stored == Stored(bought(), 1, SCHEMA, {})
        assert store.load("AAA") == stored
        assert store.load_all(0, 1) == {"AAA": stored}

    def test_what_is_not_there_is_none(self, store: Store):
        assert store.load("AAA") is None
        assert store.load_all(0, 1) == {}

    def test_each_write_has_to_match_the_version_it_read(self, store: Store):
        first = put(store, fresh())
        second = store.save(first, bought())
        assert (first.version, second.version) == (1, 2)
        with pytest.raises(ConflictError):
            store.save(first, replace(fresh(), pnl=5))
        assert store.load("AAA") == second
        assert store.save(second, fresh()).version == 3

    @pytest.mark.fault("duplicate-schedule")
    def test_of_two_first_writers_one_meets_a_conflict(self, store: Store):
        put(store, bought())
        with pytest.raises(ConflictError):
            put(store, fresh())
        present = store.load("AAA")
        assert present is not None
        assert present.state == bought()

    def test_a_write_over_an_item_that_is_gone_is_a_conflict(self, store: Store):
        with pytest.raises(ConflictError):
            store.save(Stored(fresh(), 7), bought())
        assert store.load("AAA") is None

    @pytest.mark.fault("mid-day-deploy")
    def test_a_newer_schema_and_its_fields_stay(self, store: Store):
        newer = Stored(fresh(), None, SCHEMA + 1, {"venue": "IEX"})
        saved = store.save(newer, bought())
        assert saved == Stored(bought(), 1, SCHEMA + 1, {"venue": "IEX"})
        assert store.load("AAA") == saved

    @pytest.mark.parametrize("shard_count", [1, 2, 3, 7, 16, 1000])
    def test_shards_part_the_symbols(self, store: Store, shard_count: int):
        symbols = [f"{a}{b}" for a in "ABXYZ" for b in "ACMXZ"] + ["BRK.B", "A"]
        for symbol in symbols:
            put(store, fresh(symbol))
        shards = range(shard_count) if shard_count < 20 else range(0, 1000, 250)
        seen: list[str] = []
        for shard in shards:
            found = store.load_all(shard, shard_count)
            assert set(found) == {s for s in symbols if in_shard(s, shard, shard_count)}
            seen += found
        assert len(seen) == len(set(seen))
        if shard_count < 20:
            assert sorted(seen) == sorted(symbols)

    @pytest.mark.fault("duplicate-schedule")
    def test_a_minute_is_claimed_once(self, store: Store):
        assert store.claim_minute(minute(1), 0, 1)
        assert not store.claim_minute(minute(1), 0, 1)
        assert store.claim_minute(minute(2), 0, 1)

    def test_each_shard_claims_its_own_minute(self, store: Store):
        assert store.claim_minute(minute(1), 0, 2)
        assert store.claim_minute(minute(1), 1, 2)
        assert store.claim_minute(minute(1), 0, 3)
        assert not store.claim_minute(minute(1), 1, 2)

    def test_the_account_is_halted_until_resumed(self, store: Store):
        assert store.account_halt() == ""
        store.halt_account("by hand")
        assert store.account_halt() == "by hand"
        store.halt_account("again")
        assert store.account_halt() == "again"
        store.halt_account("")
        assert store.account_halt() == ""

    def test_a_day_is_recorded_over_an_earlier_record(self, store: Store):
        store.record_day(DAY, "one")
        store.record_day(DAY, "two")
        store.record_day(date(2025, 3, 6), "three")

    def test_claims_halts_and_days_are_no_states(self, store: Store):
        store.claim_minute(minute(1), 0, 1)
        store.halt_account("by hand")
        store.record_day(DAY, "{}")
        assert store.load_all(0, 1) == {}


def make_unreadable(store: Store, symbol: str) -> None:
    """Let an item be there and make no sense."""
    if isinstance(store, SimulatedStore):
        store.items.unreadable.add(symbol)
    else:
        table().put_item(Item=item_of(symbol) | {"document": "x"})


class TestBothUnreadable:
    @pytest.fixture(params=["dynamo", "simulated"])
    @staticmethod
    def broken(request: pytest.FixtureRequest) -> Iterator[Store]:
        with mock_aws():
            make_state_table()
            made = DynamoStore(settings()) if request.param == "dynamo" else simulated(packs=False)
            for symbol in ("AAA", "BBB", "CCC"):
                put(made, bought(symbol))
            make_unreadable(made, "BBB")
            yield made

    def test_the_others_are_loaded(self, broken: Store):
        assert set(broken.load_all(0, 1)) == {"AAA", "CCC"}
        assert broken.load("AAA") == Stored(bought("AAA"), 1)
        with pytest.raises(StoreDownError):
            broken.load("BBB")

    def test_no_first_write_replaces_it(self, broken: Store):
        with pytest.raises(ConflictError):
            put(broken, fresh("BBB"))
        with pytest.raises(StoreDownError):
            broken.load("BBB")

    def test_who_read_it_before_writes_it_anew(self, broken: Store):
        saved = broken.save(Stored(bought("BBB"), 1), fresh("BBB"))
        assert broken.load("BBB") == saved == Stored(fresh("BBB"), 2)


class TestTable:
    def test_modes_share_a_table_and_nothing_in_it(self, dynamo: DynamoStore):
        live = DynamoStore(settings(mode="live"))
        put(dynamo, bought())
        dynamo.halt_account("paper")
        assert dynamo.claim_minute(minute(1), 0, 1)
        assert live.load("AAA") is None
        assert live.load_all(0, 1) == {}
        assert live.account_halt() == ""
        assert live.claim_minute(minute(1), 0, 1)

    def test_a_day_is_kept_for_a_year_and_a_claim_for_two_days(self, dynamo: DynamoStore):
        dynamo.record_day(DAY, '{"pnl_usd": 1}')
        dynamo.claim_minute(minute(1), 0, 1)
        put(dynamo, bought())
        items = {one["pk"]: one for one in table().scan()["Items"]}
        day = items["day#paper"]
        assert (day["sk"], day["document"]) == ("2025-03-05", '{"pnl_usd": 1}')
        kept = int(day["expires_at"]) - int(items["minute#paper#2025-03-05"]["expires_at"])
        assert timedelta(seconds=kept).days in (397, 398)
        assert "expires_at" not in items["state#paper"]

    def test_every_page_of_a_query_is_read(self, dynamo: DynamoStore):
        big = {"note": "x" * 300_000}
        for symbol in ("A", "B", "C", "D", "E"):
            dynamo.save(Stored(fresh(symbol), None, SCHEMA, big), fresh(symbol))
        assert set(dynamo.load_all(0, 1)) == {"A", "B", "C", "D", "E"}

    def test_a_table_that_is_missing_is_down(self):
        with mock_aws():
            store = DynamoStore(settings())
            for ask in (
                lambda: store.load("AAA"),
                lambda: store.load_all(0, 1),
                lambda: put(store, fresh()),
                lambda: store.claim_minute(minute(1), 0, 1),
                store.account_halt,
                lambda: store.halt_account("x"),
                lambda: store.record_day(DAY, "x"),
            ):
                with pytest.raises(StoreDownError):
                    ask()


GARBAGE = ["", "x", "{}", '{"symbol": "BBB"}', encode(fresh("AAA"), {})]


class TestUnreadable:
    """An item that makes no sense stops its symbol alone, and nothing writes over it."""

    @pytest.fixture
    def broken(self, dynamo: DynamoStore) -> DynamoStore:
        put(dynamo, bought("AAA"))
        put(dynamo, bought("BBB"))
        put(dynamo, bought("CCC"))
        return dynamo

    def spoil(self, **attributes: Any) -> dict[str, Any]:
        item = item_of("BBB") | attributes
        item = {name: value for name, value in item.items() if value is not None}
        table().put_item(Item=item)
        return item

    @pytest.mark.parametrize(
        "attributes",
        [
            *({"document": text} for text in GARBAGE if text),
            {"document": None},
            {"document": 5},
            {"document": {"a": 1}},
            {"version": None},
            {"version": "one"},
            {"schema": "one"},
        ],
        ids=repr,
    )
    def test_the_others_are_loaded(
        self, broken: DynamoStore, records: Records, attributes: dict[str, Any]
    ):
        self.spoil(**attributes)
        assert set(broken.load_all(0, 1)) == {"AAA", "CCC"}
        assert records.messages() == ["state unreadable"]
        with pytest.raises(StoreDownError):
            broken.load("BBB")

    @pytest.mark.parametrize("version", ["one", None, 5])
    def test_nothing_writes_over_it(self, broken: DynamoStore, version: Any):
        item = self.spoil(document="x", version=version)
        with pytest.raises((ConflictError, StoreDownError)):
            put(broken, fresh("BBB"))
        with pytest.raises((ConflictError, StoreDownError)):
            broken.save(Stored(fresh("BBB"), 1), fresh("BBB"))
        assert item_of("BBB") == item

    def test_an_item_with_nothing_but_its_keys_is_not_replaced(self, dynamo: DynamoStore):
        put(dynamo, fresh("BBB"))
        item = {name: item_of("BBB")[name] for name in ("pk", "sk")}
        table().put_item(Item=item)
        with pytest.raises((ConflictError, StoreDownError)):
            put(dynamo, bought("BBB"))
        assert item_of("BBB") == item

    def test_attributes_that_this_version_does_not_know_do_no_harm(self, broken: DynamoStore):
        self.spoil(owner="me")
        found = broken.load("BBB")
        assert found is not None
        assert found.state == bought("BBB")


class TestReportedFailures:
    """The SDK repeats a write whose answer was lost, and the repeat meets its own condition."""

    @pytest.fixture(scope="class")
    @staticmethod
    def server() -> Iterator[str]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, "testing")
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            server.start()
            host, port = server.get_host_and_port()
            url = f"http://{host}:{port}"
            patch.setenv("AWS_ENDPOINT_URL", url)
            make_state_table()
            yield url
            server.stop()

    @pytest.mark.fault("lying-write")
    def test_a_state_written_by_oneself_counts_as_written(
        self, server: str, monkeypatch: pytest.MonkeyPatch
    ):
        lost: list[str] = []

        def loses(operation: str, body: bytes) -> bool:
            if operation.endswith("PutItem") and not lost:
                lost.append(json.loads(body)["Item"]["nonce"]["S"])
                return True
            return False

        with losing_answers(server, loses) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy)
            store = DynamoStore(settings())
            saved = put(store, bought("LOST"))
            assert len(lost) == 1
            assert saved == Stored(bought("LOST"), 1)
            # The next write goes on from there.
            assert store.save(saved, replace(bought("LOST"), halt=Reason.LATE_ORDER)).version == 2
            found = store.load("LOST")
            assert found is not None
            assert found.state.halt is Reason.LATE_ORDER

    @pytest.mark.fault("lying-write")
    def test_a_later_write_too(self, server: str, monkeypatch: pytest.MonkeyPatch):
        puts: list[bytes] = []

        def loses(operation: str, body: bytes) -> bool:
            if operation.endswith("PutItem"):
                puts.append(body)
            return len(puts) == 2 and operation.endswith("PutItem")

        with losing_answers(server, loses) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy)
            store = DynamoStore(settings())
            first = put(store, fresh("LATER"))
            assert store.save(first, bought("LATER")) == Stored(bought("LATER"), 2)
            assert len(puts) == 3

    @pytest.mark.fault("lying-write")
    def test_a_claim_made_by_oneself_counts_as_made(
        self, server: str, monkeypatch: pytest.MonkeyPatch
    ):
        lost: list[str] = []

        def loses(operation: str, body: bytes) -> bool:
            if operation.endswith("PutItem") and not lost:
                lost.append(operation)
                return True
            return False

        with losing_answers(server, loses) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy)
            store = DynamoStore(settings())
            assert store.claim_minute(minute(9), 0, 1)
            assert lost
            assert not store.claim_minute(minute(9), 0, 1)

    @pytest.mark.fault("lying-write")
    def test_a_write_by_another_between_write_and_repeat_is_a_conflict(
        self, server: str, monkeypatch: pytest.MonkeyPatch
    ):
        lost: list[str] = []

        def loses(operation: str, body: bytes) -> bool:
            if operation.endswith("PutItem") and not lost:
                lost.append(operation)
                present = other.load("RACE")
                assert present is not None
                other.save(present, replace(present.state, pnl=7))
                return True
            return False

        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        other = DynamoStore(settings())
        other.load("RACE")
        with losing_answers(server, loses) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy)
            store = DynamoStore(settings())
            with pytest.raises(ConflictError):
                put(store, bought("RACE"))
            found = store.load("RACE")
            assert found is not None
            assert found.state.pnl == 7

    @pytest.mark.fault("throttled-store")
    def test_a_throttled_table_is_down_and_nothing_was_written(
        self, server: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        store = DynamoStore(settings())
        saved = put(store, fresh("SLOW"))
        throttled = {
            "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
            "message": "slow down",
        }
        asked: list[str] = []

        def instead(operation: str) -> tuple[int, bytes]:
            asked.append(operation)
            return 400, json.dumps(throttled).encode()

        with losing_answers(server, instead=instead) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy)
            down = DynamoStore(settings())
            # The SDK waits between its repeats; one repeat shows that there is a bound.
            down._items.Meta.max_retry_attempts = 1
            for ask in (
                lambda: down.load("SLOW"),
                lambda: down.load_all(0, 1),
                lambda: down.save(saved, bought("SLOW")),
                lambda: down.claim_minute(minute(1), 0, 1),
            ):
                with pytest.raises(StoreDownError):
                    ask()
        assert len(asked) == 8
        assert store.load("SLOW") == saved


def test_the_document_in_the_table_is_the_codecs(dynamo: DynamoStore):
    put(dynamo, bought())
    item = item_of("AAA")
    assert decode(item["document"]) == (bought(), {})
    assert (item["symbol"], item["phase"], item["session"]) == (
        "AAA",
        "BUY_SUBMITTED",
        "2025-03-05",
    )


@pytest.mark.fault("throttled-store")
def test_time_outs_and_repeats_of_the_table_are_bounded(dynamo: DynamoStore):
    dynamo.load("AAA")
    config: Any = dynamo._items._get_connection().connection.client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert config.retries["total_max_attempts"] == 4
