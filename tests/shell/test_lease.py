"""Two runs are never connected at once, whatever fails; a dead run is replaced within a minute."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import pairwise

import boto3
import pytest
from moto import mock_aws
from moto.server import ThreadedMotoServer

from scalper.shell.aws.lease_table import DynamoLeaseTable, decode, encode
from scalper.shell.errors import ConflictError, StoreDownError
from scalper.shell.relay import lease as lease_module
from scalper.shell.relay.lease import FREE, LEASE_S, MARGIN_S, Lease, LeaseTable, Tenancy
from scalper.shell.timing import SystemTiming
from tests.shell.conftest import Records, make_state_table
from tests.shell.fakes import OPEN, settings
from tests.shell.flaky import losing_answers
from tests.shell.hosts import START, Host, Loop, SharedTable

CLOSING_S = 1.0
"""What closing may take."""

CONNECTING_S = 0.4
RUN_S = 900.0
RESERVE_S = 10.0
EACH_MINUTE_S = 60.0


@dataclass
class Connections:
    """Who is connected, seen from above."""

    loop: Loop
    open: dict[int, float] = field(default_factory=dict)
    spans: list[tuple[float, float]] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)

    def begin(self, number: int) -> None:
        if self.open:
            self.overlaps.append(f"{self.loop.now:.2f}: {number} beside {list(self.open)}")
        self.open[number] = self.loop.now

    def end(self, number: int) -> None:
        if number in self.open:
            self.spans.append((self.open.pop(number), self.loop.now))

    def gaps(self) -> list[float]:
        spans = sorted(self.spans)
        return [after[0] - before[1] for before, after in pairwise(spans)]


class Chain:
    """Runs that are started each minute, as `relay_run` carries them out, connections pretended."""

    def __init__(self, seed: int, skew_s: float = 2.0) -> None:
        self.loop = Loop(seed)
        self.table = SharedTable(self.loop)
        self.connections = Connections(self.loop)
        self.skew_s = skew_s
        self.hosts: dict[int, Host] = {}
        self.answers: dict[int, str] = {}
        self.tenants: dict[int, Tenancy] = {}

    def each_minute(self, minutes: int, offset: Callable[[], float] = lambda: 0.0) -> None:
        for minute in range(minutes):
            self.loop.at(minute * EACH_MINUTE_S + offset(), self.begin)

    def begin(self) -> None:
        number = len(self.hosts)
        skew_s = self.loop.random.uniform(-self.skew_s, self.skew_s)
        host = self.hosts[number] = Host(self.loop, skew_s)
        host.start(partial(self._run, number, host))

    def kill(self, number: int) -> None:
        self.hosts[number].die()
        # The kernel, or Alpaca, closes what a dead process leaves.
        self.connections.end(number)

    def holder(self) -> int:
        (number,) = self.connections.open
        return number

    def _run(self, number: int, host: Host) -> None:
        began = host.monotonic()

        def left() -> float:
            return began + RUN_S - RESERVE_S - host.monotonic()

        tenancy = self.tenants[number] = Tenancy(self.table.of(host), host, f"run {number}")
        while left() > 0:
            if not tenancy.wait_until_free(left):
                self.answers[number] = "held"
                return
            if not tenancy.take(left()):
                host.sleep(1.0)
                continue
            self._connect(number, host, tenancy, left)
            tenancy.release()
        self.answers[number] = "ok"

    def _connect(
        self, number: int, host: Host, tenancy: Tenancy, left: Callable[[], float]
    ) -> None:
        over: list[bool] = []

        def pause(seconds: float) -> bool:
            end = host.monotonic() + seconds
            while not over and (rest := end - host.monotonic()) > 0:
                host.sleep(min(rest, 0.5))
            return bool(over)

        def cut() -> None:
            # What a cut connection still may last.
            self.loop.at(self.loop.now + CLOSING_S, lambda: self.connections.end(number))

        host.start(partial(tenancy.keep, pause))
        host.start(partial(tenancy.guard, pause, cut))
        host.sleep(CONNECTING_S)
        if tenancy.left_s() > 0:
            self.connections.begin(number)
            while min(left(), tenancy.left_s()) > 0:
                host.sleep(0.25)
            if number in self.connections.open and left() <= 0:
                self.connections.end(number)
        while number in self.connections.open:
            host.sleep(0.1)
        over.append(True)
        host.sleep(0.6)


@pytest.mark.fault("dead-relay", "2")
@pytest.mark.parametrize("first", range(0, 100, 20))
def test_no_two_runs_are_ever_connected_at_once(first: int) -> None:
    """Clocks 4 s apart, an unreliable table, outages, pauses of a machine short of the margin."""
    connected = 0.0
    for seed in range(first, first + 20):
        chain = Chain(seed)
        chance = random.Random(seed)
        chain.table.faults = chance.choice((0.0, 0.05, 0.3))
        chain.each_minute(40, partial(chance.uniform, 0, 59))

        def harm(chain: Chain = chain, chance: random.Random = chance) -> None:
            what = chance.choice(("kill", "outage", "offline"))
            if what == "outage":
                chain.table.down_until = chain.loop.now + chance.uniform(1, 60)
            elif not chain.connections.open:
                return
            elif what == "kill":
                chain.kill(chain.holder())
            else:
                chain.hosts[chain.holder()].offline_until = chain.loop.now + chance.uniform(1, 90)

        for _ in range(25):
            chain.loop.at(chance.uniform(0, 2400), harm)
        chain.loop.run(2600)
        assert chain.connections.overlaps == [], seed
        tokens = [one.token for _, one in chain.table.writes]
        assert tokens == sorted(tokens), seed
        connected += sum(end - begin for begin, end in chain.connections.spans)
    assert connected > 20 * 2400 / 3, "hardly anybody was connected: this shows nothing"


def test_the_margin_is_what_keeps_them_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same days without it show overlaps: the test above can fail."""
    monkeypatch.setattr(lease_module, "MARGIN_S", 0.0)
    overlaps = 0
    for seed in range(40):
        chain = Chain(seed)
        chain.each_minute(10)
        for minute in range(1, 10):
            chain.loop.at(minute * 60 + 5.0, partial(cut_off, chain))
        chain.loop.run(700)
        overlaps += len(chain.connections.overlaps)
    assert overlaps > 10


def cut_off(chain: Chain) -> None:
    """Let the holder alone no longer reach the table, while another watches."""
    for number in chain.connections.open:
        chain.hosts[number].offline_until = 10_000


@pytest.mark.fault("dead-relay")
@pytest.mark.parametrize("offset", [0.0, 17.0, 59.0])
def test_a_run_that_dies_is_followed_within_a_minute(offset: float) -> None:
    slowest = 0.0
    for second in range(60):
        chain = Chain(second)
        chain.each_minute(6, lambda: offset)
        chain.loop.run(130 + second)
        chain.kill(chain.holder())
        died = chain.loop.now
        chain.loop.run(died + 70)
        assert chain.connections.open, second
        slowest = max(slowest, chain.connections.open[chain.holder()] - died)
    assert LEASE_S - MARGIN_S < slowest < 60


def test_the_planned_hand_over_takes_seconds_and_no_run_waits_long_before_it() -> None:
    for seed in range(30):
        chain = Chain(seed)
        chain.each_minute(65)
        chain.loop.run(65 * 60)
        assert chain.connections.overlaps == []
        gaps = chain.connections.gaps()
        assert len(gaps) >= 3, "runs of a quarter of an hour"
        assert max(gaps) < 5.0
        # Of the others each looked for WATCH_S, or to the end of the one before it.
        assert set(chain.answers.values()) <= {"held", "ok"}


@pytest.mark.fault("throttled-store")
def test_an_outage_of_the_table_ends_the_connection_before_the_lease_ends() -> None:
    chain = Chain(1, skew_s=0.0)
    chain.each_minute(1)
    chain.loop.run(50)
    assert chain.connections.open
    last, _ = chain.table.writes[-1]
    chain.table.down_until = 10_000
    chain.loop.run(120)
    ((_, ended),) = chain.connections.spans
    assert last + 10 < ended <= last + LEASE_S - MARGIN_S + CLOSING_S + lease_module.GUARD_EVERY_S
    assert chain.answers == {0: "held"}


def test_a_short_outage_costs_nothing() -> None:
    chain = Chain(1)
    chain.each_minute(3)
    chain.loop.run(61)
    chain.table.down_until = 70
    chain.loop.run(180)
    assert chain.connections.spans == []
    assert chain.holder() == 0


@pytest.mark.fault("2")
def test_a_machine_that_slept_finds_its_time_over_and_writes_nothing_over_the_next(
    records: Records,
) -> None:
    chain = Chain(3)
    chain.each_minute(4)
    chain.loop.run(65)
    first = chain.holder()
    chain.hosts[first].paused_until = 200.0
    # Its connection died with it: nothing on it answers.
    chain.connections.end(first)
    chain.loop.run(190)
    second = chain.holder()
    assert second != first
    chain.loop.run(260)
    assert chain.holder() == second
    assert chain.table.item is not None
    assert chain.table.item.holder == f"run {second}"
    assert records.messages().count("lease ran out") == 1


def test_a_clock_that_is_set_back_or_forth_ends_a_tenancy_early_never_late() -> None:
    for jump_s in (-3600.0, 3600.0):
        chain = Chain(4, skew_s=0.0)
        chain.each_minute(1)
        chain.loop.run(3)
        (tenancy,) = chain.tenants.values()
        before = tenancy.left_s()
        chain.hosts[0].skew_s = jump_s
        assert tenancy.left_s() <= before


class TestTenancy:
    """One run, step by step."""

    def tenancy(self, table: LeaseTable, loop: Loop, holder: str = "me") -> Tenancy:
        return Tenancy(table, Host(loop), holder)

    def alone(self, task: Callable[[Loop, SharedTable], None], seed: int = 0) -> None:
        """Run a task in virtual time, with a table of its own."""
        loop = Loop(seed)
        done: list[int] = []

        def whole() -> None:
            task(loop, SharedTable(loop))
            done.append(1)

        loop.start(whole)
        loop.run(10_000)
        assert done

    def test_a_write_whose_answer_was_lost_is_overwritten(self) -> None:
        def task(loop: Loop, table: SharedTable) -> None:
            host = Host(loop)
            mine = table.of(host)
            tenancy = Tenancy(mine, host, "me")
            assert tenancy.wait_until_free(lambda: 60.0)
            table.faults = 2.0
            loop.random.choice = lambda options: options[0]  # type: ignore[method-assign, assignment]
            assert not tenancy.take(900)
            assert tenancy.left_s() == 0
            table.faults = 0.0
            assert table.item is not None
            assert table.item.holder == "me"
            # It landed: nobody else's, so nothing is waited for.
            assert tenancy.wait_until_free(lambda: 60.0)
            assert tenancy.take(900)
            assert 0 < tenancy.left_s() <= LEASE_S - MARGIN_S

        self.alone(task)

    def test_a_renewal_whose_answer_was_lost_is_none_of_anothers(self) -> None:
        def task(loop: Loop, table: SharedTable) -> None:
            host = Host(loop)
            tenancy = Tenancy(table.of(host), host, "me")
            assert tenancy.wait_until_free(lambda: 60.0)
            assert tenancy.take(900)
            assert table.item is not None
            # As an earlier write of this run that landed after its time-out.
            table.write(table.item)
            tenancy._renew()
            assert tenancy.left_s() == pytest.approx(LEASE_S - MARGIN_S, abs=0.5)
            assert table.item.version == 3

        self.alone(task)

    def test_of_two_that_see_it_free_one_gets_it(self) -> None:
        def task(loop: Loop, table: SharedTable) -> None:
            both = [Tenancy(table.of(host), host, f"{host.skew_s}") for host in hosts(loop)]
            assert all(one.wait_until_free(lambda: 60.0) for one in both)
            assert [one.take(900) for one in both] == [True, False]
            assert not both[1].wait_until_free(lambda: 60.0, watch_s=0.0)

        def hosts(loop: Loop) -> list[Host]:
            return [Host(loop, 0.0), Host(loop, 1.0)]

        self.alone(task)

    def test_an_item_that_was_deleted_is_made_again_by_its_holder(self) -> None:
        def task(loop: Loop, table: SharedTable) -> None:
            host = Host(loop)
            tenancy = Tenancy(table.of(host), host, "me")
            assert tenancy.wait_until_free(lambda: 60.0)
            assert tenancy.take(900)
            table.item = None
            tenancy._renew()
            assert replace(table).item.holder == "me"  # type: ignore[union-attr]
            assert tenancy.left_s() > 0

        self.alone(task)

    def test_what_another_took_is_not_given_back(self) -> None:
        def task(loop: Loop, table: SharedTable) -> None:
            host = Host(loop)
            tenancy = Tenancy(table.of(host), host, "me")
            assert tenancy.wait_until_free(lambda: 60.0)
            assert tenancy.take(900)
            assert table.item is not None
            far = host.now() + timedelta(hours=1)
            table.write(Lease("another", 9, far, far, table.item.version))
            tenancy.release()
            assert table.item is not None
            assert table.item.holder == "another"
            assert tenancy.left_s() == 0

        self.alone(task)

    def test_a_takeover_from_one_that_did_not_give_it_back_is_counted(
        self, records: Records
    ) -> None:
        def task(loop: Loop, table: SharedTable) -> None:
            for before, ran_out in ((START, True), (FREE, False)):
                table.item = Lease("another", 4, before, before, 8)
                tenancy = self.tenancy(table.of(Host(loop)), loop)
                assert tenancy.wait_until_free(lambda: 60.0)
                assert tenancy.take(900)
                assert tenancy.token == 9
                assert records.of("lease taken")[-1].__dict__["ran_out"] is ran_out

        self.alone(task)

    def test_without_the_table_no_run_gets_the_lease(self, records: Records) -> None:
        def task(loop: Loop, table: SharedTable) -> None:
            table.down_until = 10_000
            assert not self.tenancy(table.of(Host(loop)), loop).wait_until_free(lambda: 900.0)
            assert loop.now < lease_module.WATCH_S + 10

        self.alone(task)
        assert set(records.messages()) == {"lease unknown"}


@pytest.fixture
def table() -> Iterator[DynamoLeaseTable]:
    with mock_aws():
        make_state_table()
        yield DynamoLeaseTable(settings())


LEASE = Lease("me", 1, OPEN, OPEN + timedelta(minutes=15))


class TestTable:
    def test_what_is_put_is_there(self, table: DynamoLeaseTable) -> None:
        assert table.present() is None
        put = table.put(LEASE)
        assert put.version == 1
        assert table.present() == put
        again = table.put(put)
        assert again.version == 2
        assert table.present() == again

    def test_it_is_written_over_its_own_version_alone(self, table: DynamoLeaseTable) -> None:
        put = table.put(LEASE)
        with pytest.raises(ConflictError):
            table.put(LEASE)
        table.put(put)
        with pytest.raises(ConflictError):
            table.put(put)

    def test_it_never_expires_for_its_number_must_not_fall(self, table: DynamoLeaseTable) -> None:
        table.put(LEASE)
        (item,) = boto3.client("dynamodb").scan(TableName="state")["Items"]
        assert (item["pk"], item["sk"]) == ({"S": "control#paper"}, {"S": "relay"})
        assert "expires_at" not in item

    def test_an_unreadable_lease_is_free(self, table: DynamoLeaseTable, records: Records) -> None:
        table.put(table.put(table.put(LEASE)))
        for text in ("", "5", "{}", '{"holder": "x", "token": "y"}', "[" * 9_000):
            boto3.resource("dynamodb").Table("state").update_item(
                Key={"pk": "control#paper", "sk": "relay"},
                UpdateExpression="SET document = :text",
                ExpressionAttributeValues={":text": text},
            )
            assert table.present() == Lease("", 3, FREE, FREE, 3)
        assert set(records.messages()) == {"lease unreadable"}

    def test_a_table_that_is_gone_is_down(self, table: DynamoLeaseTable) -> None:
        boto3.client("dynamodb").delete_table(TableName="state")
        with pytest.raises(StoreDownError):
            table.present()
        with pytest.raises(StoreDownError):
            table.put(LEASE)

    def test_a_lease_is_read_from_its_text(self) -> None:
        assert decode(encode(LEASE)) == LEASE


@pytest.mark.fault("lying-write")
def test_a_lease_whose_first_write_was_not_answered_is_taken_at_the_real_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost: list[str] = []

    def loses(operation: str, body: bytes) -> bool:
        if operation.endswith("PutItem") and not lost:
            lost.append(operation)
            return True
        return False

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        make_state_table("leases")
        with losing_answers(f"http://{host}:{port}", loses) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy)
            table = DynamoLeaseTable(settings(state_table="leases"))
            tenancy = Tenancy(table, SystemTiming(), "me")
            assert tenancy.wait_until_free(lambda: 60.0)
            assert not tenancy.take(900)
            assert len(lost) == 1
            assert tenancy.wait_until_free(lambda: 60.0)
            assert tenancy.take(900)
            assert tenancy.token == 2
            tenancy.release()
            present = table.present()
            assert present is not None
            assert (present.until, present.token) == (FREE, 2)
    finally:
        server.stop()


def test_a_request_is_over_long_before_the_lease_is() -> None:
    from scalper.shell.aws import lease_table

    longest = lease_table.CONNECT_TIMEOUT_S + lease_table.READ_TIMEOUT_S
    assert longest + lease_module.RETRY_EVERY_S < MARGIN_S
    assert lease_module.RENEW_EVERY_S * 2 < LEASE_S - MARGIN_S
    worst = 60 - lease_module.WATCH_S + 2 * lease_module.RENEW_EVERY_S
    assert max(LEASE_S, worst) <= 50
