"""The local day killed, robbed of its state or cut off from its events: the same end, flat.

What survives is what would survive on AWS: the state table, the queue and the broker. A day is
killed by itself after a minute, or by a clock of real time; a failure's log says when.
"""

import logging
import random
import time
from datetime import datetime, timedelta

import pytest

from scalper.core.session import MINUTE, Session
from tests.e2e.days import (
    WITHIN_S,
    Servers,
    assert_books_hold,
    log_lines,
    plain_days,
    servers,
    synthetic_bars,
    trade_rows,
)
from tests.workbench.plain_loop import TradeRow
from workbench.market.bars.reader import read_bars

SIGKILLED = -9
KILLS = 3
"""At arbitrary moments of one day."""

AFTERMATH = 5 * MINUTE
"""An entry that a killed tick lost would have filled, or kept others away, within this time."""

log = logging.getLogger(__name__)


def session_of(running: Servers) -> Session:
    return read_bars([running.bars]).days[0].session


@pytest.mark.fault("killed-anywhere")
def test_a_day_killed_between_minutes_ends_with_the_same_trades(tmp_path):
    bars = synthetic_bars(tmp_path, seed=6)
    expected = plain_days([bars])[0]
    with servers(bars) as running:
        opens = session_of(running).open
        chance = random.Random(1)
        # Two anywhere, one while the day is being liquidated.
        minutes = [
            chance.randrange(22, 120),
            chance.randrange(120, 205),
            chance.randrange(205, 209),
        ]
        log.warning("killed after minutes %s", minutes)
        for minute in minutes:
            at = opens + minute * MINUTE
            killed = running.drive(tmp_path, kill_after=at.isoformat())
            assert (killed.returncode, killed.stderr) == (SIGKILLED, "")
            assert running.now() == at + timedelta(seconds=30)
        finished = running.run(tmp_path / "out")
        assert (finished.returncode, finished.stderr) == (0, "")
        assert_books_hold(running)
        assert trade_rows(running.orders()) == expected
    rows = (tmp_path / "out" / "trades.csv").read_text().splitlines()[1:]
    assert rows == [",".join(row) for row in expected], "its files tell the whole day"


@pytest.mark.soak
@pytest.mark.fault("killed-anywhere")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_day_killed_at_any_moment_keeps_its_books(seed, tmp_path):
    """The books hold without exception; what the trades may lose is what the architecture allows.

    A tick killed after it claimed its minute may lose that minute's entries, never double one;
    and a fill whose event nobody took up gets its exit by polling, at the newest close.
    """
    bars = synthetic_bars(tmp_path, seed=2)
    chance = random.Random(seed)
    killed_at = []
    with servers(bars) as running:
        for _ in range(KILLS):
            _kill_in_the_midst(running, tmp_path, chance)
            killed_at.append(running.now())
        log.warning("seed %s, killed at %s", seed, [f"{at:%H:%M:%S}" for at in killed_at])
        finished = running.run(tmp_path / "out")
        assert (finished.returncode, finished.stderr) == (0, "")
        assert_books_hold(running)
        found = trade_rows(running.orders())
    expected, _ = plain_days([bars])
    for symbol in sorted({row[0] for row in expected}):
        differs_at = _first_difference(
            [row for row in expected if row[0] == symbol],
            [row for row in found if row[0] == symbol],
        )
        if differs_at is not None:
            log.warning("%s: not the same from %s on", symbol, differs_at)
            assert any(at <= differs_at <= at + AFTERMATH for at in map(_minute_of, killed_at))


def _kill_in_the_midst(running: Servers, folder, chance: random.Random) -> None:
    """Let the day play on for a while, then kill it within the next second of real time."""
    moved_on = running.now() + chance.randrange(5, 40) * MINUTE
    process = running.begin(folder)
    deadline = time.monotonic() + WITHIN_S
    while process.poll() is None and running.now() < moved_on:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 1.2))
    assert process.poll() is None, "the day was over before it was killed"
    process.kill()
    _, errors = process.communicate()
    assert errors == ""


def _minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _first_difference(expected: list[TradeRow], found: list[TradeRow]) -> datetime | None:
    """Return the entry time from which on the trades are not the same; None where all are."""
    times = [
        min(one[3], other[3]) for one, other in zip(expected, found, strict=False) if one != other
    ]
    shorter = min(len(expected), len(found))
    times += [row[3] for row in (*expected[shorter:], *found[shorter:])]
    return datetime.fromisoformat(times[0]) if times else None


@pytest.mark.soak
@pytest.mark.fault("lost-table")
def test_a_state_table_emptied_in_mid_day_is_rebuilt_from_the_broker(tmp_path):
    bars = synthetic_bars(tmp_path, seed=6)
    with servers(bars) as running:
        opens = session_of(running).open
        chance = random.Random(3)
        # Twice in the course of the day, once in the middle of the liquidation.
        minutes = [chance.randrange(60, 120), chance.randrange(120, 204), 206]
        log.warning("emptied after minutes %s", minutes)
        emptied = [(opens + minute * MINUTE).isoformat() for minute in minutes]
        done = running.drive(tmp_path, empty_after=emptied)
        assert (done.returncode, done.stderr) == (0, "")
        assert_books_hold(running)
        assert trade_rows(running.orders()) == plain_days([bars])[0]
    rebuilt = [line for line in log_lines(tmp_path / "driver.log") if "rebuilt" in line["message"]]
    assert {line["symbol"] for line in rebuilt} == {"SYN01", "SYN02", "SYN03"}
    assert {line["phase_to"] for line in rebuilt} > {"TO_BUY"}, "nothing at work, nothing shown"


@pytest.mark.soak
@pytest.mark.fault("1", "dead-relay")
@pytest.mark.parametrize("broken", [{"relay": False}, {"webhook": 500}], ids=str)
def test_without_events_polling_finds_what_filled_and_the_day_ends_flat(broken, tmp_path):
    bars = synthetic_bars(tmp_path, seed=2)
    with servers(bars) as running:
        record = tmp_path / "record.jsonl"
        done = running.drive(tmp_path, record=str(record), **broken)
        assert (done.returncode, done.stderr) == (0, "")
        assert "trade_update.handler" not in record.read_text()
        assert ("relay.handler" in record.read_text()) == broken.get("relay", True)
        assert_books_hold(running)
        found = trade_rows(running.orders())
    expected, _ = plain_days([bars])
    # The exit of a fill that is found by polling is priced by the newest close instead of the
    # fill, so only the first entries have to be the same.
    assert _first_entries(found) == _first_entries(expected)
    assert len(found) > len(expected) // 2


def _first_entries(rows: list[TradeRow]) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[:5] for row in reversed(rows)}
