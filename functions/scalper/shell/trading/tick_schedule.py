"""On the second: a tick starts 1.5 s after its minute, whatever second Scheduler fires at.

Scheduler promises the minute, not the second
(https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html). So the run that
claims a minute arms the coming one by a delayed message, and so does a scheduled run that finds its
minute claimed: a lost message costs one offset at most, a missing schedule nothing. A message that
finds its minute claimed does nothing, so that copies never multiply: a minute is armed once by its
claim, and once by each scheduled run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scalper.core.session import MINUTE, Session, floor_minute
from scalper.shell.telemetry import logger
from scalper.shell.trading.engine import Engine

START_AFTER = timedelta(seconds=1.5)
"""How long after its minute an armed tick starts: the minute's bars come 1 to 3 s after it."""

WAIT_AT_MOST = timedelta(seconds=10)
"""A tick that comes earlier than this before its minute does not wait for it."""

REDRIVEN_AFTER = timedelta(minutes=2)
"""A tick that starts later was delivered again."""

MAX_LINKS = 10
"""Messages in a row that no scheduled run armed: where the schedule ends, the ticks end soon.

Lambda takes a function that some sixteen messages in a row lead back to itself for a loop, and
stops it (https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html).
"""

MAX_DELAY = timedelta(minutes=15)
"""The longest delay that SQS takes (DelaySeconds)."""


@dataclass(frozen=True, slots=True)
class TickDue:
    """A tick's event: the minute that is over, and the part of the symbols to look after."""

    minute: datetime
    shard: int = 0
    shard_count: int = 1
    link: int = 0
    """0: by the schedule; n: by a message, the nth in a row that no scheduled run armed."""

    def event(self, minute: datetime, link: int) -> Mapping[str, Any]:
        """Return the event of the same shard's tick of another minute."""
        return {
            "scheduled_time": minute.isoformat(),
            "shard": self.shard,
            "shard_count": self.shard_count,
            "link": link,
        }


@dataclass(frozen=True, slots=True)
class Turn:
    """What a tick is to do, once it is its time."""

    answer: str = ""
    """Where there is nothing to do: why."""
    claimed: bool = False
    """Whether the minute is already claimed for it; else it is to claim it beside its reads."""


def wait_for_turn(engine: Engine, due: TickDue, session: Session, at: datetime) -> Turn:
    """Wait until the minute `at` is over, an armed tick until its second; claim it meanwhile.

    With a simulated clock nothing is waited for. Raises StoreError.
    """
    if engine.settings.clock != "system":
        return Turn()
    early = at - engine.timing.now()
    if early > WAIT_AT_MOST:
        logger.warning("tick too early", extra={"early_s": early.total_seconds()})
        if not due.link:
            _arm(engine, due, at, early)
        return Turn("early")
    if not due.link:
        if early > timedelta(0):
            engine.timing.sleep(early.total_seconds())
        return Turn()
    if -early > REDRIVEN_AFTER:
        return Turn("too late")
    wait_s = (early + START_AFTER).total_seconds()
    if wait_s <= 0:
        return Turn()
    if not claim(engine, due, session, at):
        return Turn("repeated")
    engine.timing.sleep(wait_s)
    return Turn(claimed=True)


def claim(engine: Engine, due: TickDue, session: Session, at: datetime) -> bool:
    """Return whether this is the minute's first run; arm the coming minute.

    A scheduled run arms whatever comes of its claim. Raises StoreError.
    """
    if not due.link:
        _arm_coming(engine, due, session, at)
    claimed = engine.store.claim_minute(at, due.shard, due.shard_count)
    if claimed and due.link:
        _arm_coming(engine, due, session, at)
    return claimed


def _arm_coming(engine: Engine, due: TickDue, session: Session, at: datetime) -> None:
    """Arm the first minute that is over neither by the clock nor by the tick's own."""
    now = engine.timing.now()
    coming = max(floor_minute(now), at) + MINUTE
    if due.link < MAX_LINKS and session.open < coming <= session.close:
        _arm(engine, due, coming, coming - now)


def _arm(engine: Engine, due: TickDue, minute: datetime, delay: timedelta) -> None:
    """Send the message that starts the tick of `minute`.

    Delays are whole seconds: it comes up to one too early, and the tick waits. Nothing is armed
    with a simulated clock, nor without a queue.
    """
    wanted = engine.settings.clock == "system" and engine.settings.tick_queue_url
    if wanted and delay <= MAX_DELAY:
        engine.outbox.tick_in(int(delay.total_seconds()), due.event(minute, due.link + 1))
