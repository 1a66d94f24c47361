"""Somebody holds the broker's stream, where somebody should.

Read is the relay's lease in the state table: partition "control#<mode>", sort key "relay", a JSON
document with `holder`, `token` and `until`, the end of the lease in its holder's real time.
"""

import json
from collections.abc import Iterable
from datetime import timedelta

from scalper.core.session import parse_time
from workbench.operate.findings import Finding, fail, ok, warn
from workbench.operate.subject import Subject

TAKEN_OVER_WITHIN = timedelta(seconds=60)
"""How long after a lease ran out the next run has it."""

_TODO = "read the relay's log group: docs/runbook.md, relay missing; fills are found by polling"


def check_relay(subject: Subject) -> Iterable[Finding]:
    """Check that the relay's lease is held while a session is on."""
    partition = subject.items(f"control#{subject.settings.mode}")
    documents = [item["document"]["S"] for item in partition if item["sk"]["S"] == "relay"]
    session, now = subject.session(), subject.trading_time()
    on = session is not None and session.open <= now < session.close
    if not documents:
        if on:
            yield fail("relay", "nobody has held the stream yet", _TODO)
        else:
            yield ok("relay", "no session is on: no relay is due")
        return
    lease = json.loads(documents[0])
    holder, until = str(lease["holder"]), parse_time(lease["until"])
    over = subject.now() - until
    if over < timedelta(0):
        yield ok("relay", f"the stream is held by {holder}, tenancy {lease['token']}")
    elif not on:
        yield ok("relay", "no session is on: no relay is due")
    elif over <= TAKEN_OVER_WITHIN:
        yield warn(
            "relay",
            f"the lease ran out {over.total_seconds():.0f} s ago",
            "it is taken over within a minute: run the doctor again",
        )
    else:
        yield fail("relay", f"nobody holds the stream; the last was {holder}", _TODO)
