"""When a tick starts: 1.5 s after its minute, whatever second EventBridge Scheduler fires at.

Scheduler promises the minute, not the second
(https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html). So the tick that
claims a minute sends a delayed message, which starts the tick of the next minute. A scheduled tick
that finds its minute claimed sends one, too. A lost message makes one tick start late; a missing
schedule costs nothing. A message that finds its minute claimed sends none, so messages cannot
multiply: each claim sends one, and each scheduled tick sends one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scalper.core.session import MINUTE, Session, floor_minute
from scalper.shell.telemetry import logger
from scalper.shell.trading.engine import Engine

START_AFTER = timedelta(seconds=1.5)
"""How long after its minute a tick by message starts. Bars arrive 1 to 3 s after their minute."""

WAIT_AT_MOST = timedelta(seconds=10)
"""A tick that comes earlier than this does not wait for its minute."""

REDRIVEN_AFTER = timedelta(minutes=2)
"""A tick that starts later than this was delivered again, from a dead-letter queue say."""

MAX_LINKS = 10
"""Messages in a row without a scheduled tick between them. Without a schedule, ticks end soon.

Lambda stops a function that starts itself by about 16 messages in a row
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html).
"""

MAX_DELAY = timedelta(minutes=15)
"""The longest delay that SQS takes (DelaySeconds)."""


@dataclass(frozen=True, slots=True)
class TickDue:
    """A tick's event: the minute that is over, and the shard of the symbols."""

    minute: datetime
    shard: int = 0
    shard_count: int = 1
    link: int = 0
    """0: started by the schedule. n: started by the nth message since a scheduled tick."""

    def event(self, minute: datetime, link: int) -> Mapping[str, Any]:
        """Return the event that starts the same shard's tick of another minute."""
        return {
            "scheduled_time": minute.isoformat(),
            "shard": self.shard,
            "shard_count": self.shard_count,
            "link": link,
        }


@dataclass(frozen=True, slots=True)
class StartCheck:
    """Whether a tick starts, and what it has done already."""

    skip: str = ""
    """Why the tick ends here, as the status of its answer; "" if it starts."""
    claimed: bool = False
    """Whether the tick has claimed its minute. If not, it claims it beside its first reads."""


def wait_for_start(engine: Engine, due: TickDue, session: Session, at: datetime) -> StartCheck:
    """Wait until the minute `at` is over; a tick by message waits for its second, too.

    A tick by message claims its minute before it waits. With a simulated clock no tick waits.
    Raises StoreError.
    """
    if engine.settings.clock != "system":
        return StartCheck()
    early = at - engine.timing.now()
    if early > WAIT_AT_MOST:
        logger.warning("tick too early", extra={"early_s": early.total_seconds()})
        if not due.link:
            _send_for(engine, due, at, early)
        return StartCheck("early")
    if not due.link:
        if early > timedelta(0):
            engine.timing.sleep(early.total_seconds())
        return StartCheck()
    if -early > REDRIVEN_AFTER:
        return StartCheck("too late")
    wait_s = (early + START_AFTER).total_seconds()
    if wait_s <= 0:
        return StartCheck()
    if not claim(engine, due, session, at):
        return StartCheck("repeated")
    engine.timing.sleep(wait_s)
    return StartCheck(claimed=True)


def claim(engine: Engine, due: TickDue, session: Session, at: datetime) -> bool:
    """Claim the minute, and start the next tick by a message; return whether the claim succeeded.

    A scheduled tick sends the message even if another tick has the claim. Raises StoreError.
    """
    if not due.link:
        _send_for_next(engine, due, session, at)
    claimed = engine.store.claim_minute(at, due.shard, due.shard_count)
    if claimed and due.link:
        _send_for_next(engine, due, session, at)
    return claimed


def _send_for_next(engine: Engine, due: TickDue, session: Session, at: datetime) -> None:
    """Send the message for the next minute that is not over, and that comes after `at`."""
    now = engine.timing.now()
    coming = max(floor_minute(now), at) + MINUTE
    if due.link < MAX_LINKS and session.open < coming <= session.close:
        _send_for(engine, due, coming, coming - now)


def _send_for(engine: Engine, due: TickDue, minute: datetime, delay: timedelta) -> None:
    """Send the message that starts the tick of `minute`, after a delay.

    SQS takes whole seconds, so the message comes up to a second early, and the tick waits. With a
    simulated clock, or without a queue, there is no message.
    """
    wanted = engine.settings.clock == "system" and engine.settings.tick_queue_url
    if wanted and delay <= MAX_DELAY:
        engine.outbox.tick_in(int(delay.total_seconds()), due.event(minute, due.link + 1))
