"""During a session, a relay holds the lease.

The lease is an item of the state table: partition "control#<mode>", sort key "relay". Its JSON
document has `holder`, `token` and `until`, the end of the lease by the holder's own clock.
"""

import json
from collections.abc import Iterable
from datetime import timedelta

from scalper.core.session import parse_time
from workbench.operate.findings import Finding, fail, ok, warn
from workbench.operate.subject import Subject

TAKEN_OVER_WITHIN = timedelta(seconds=60)
"""The next relay takes an expired lease within this time."""

_TODO = "read the relay's log group: docs/runbook.md, relay missing; checkups still find fills"


def check_relay(subject: Subject) -> Iterable[Finding]:
    """Check that a relay holds the lease during a session."""
    partition = subject.items(f"control#{subject.settings.mode}")
    documents = [item["document"]["S"] for item in partition if item["sk"]["S"] == "relay"]
    session, now = subject.session(), subject.trading_time()
    in_session = session is not None and session.open <= now < session.close
    if not documents:
        if in_session:
            yield fail("relay", "no relay has held the lease yet", _TODO)
        else:
            yield ok("relay", "no session now: no relay has to run")
        return
    lease = json.loads(documents[0])
    holder, until = str(lease["holder"]), parse_time(lease["until"])
    expired = subject.now() - until
    if expired < timedelta(0):
        yield ok("relay", f"{holder} holds the lease, token {lease['token']}")
    elif not in_session:
        yield ok("relay", "no session now: no relay has to run")
    elif expired <= TAKEN_OVER_WITHIN:
        yield warn(
            "relay",
            f"the lease expired {expired.total_seconds():.0f} s ago",
            "the next relay takes it within a minute: run the doctor again then",
        )
    else:
        yield fail("relay", f"no relay holds the lease; the last was {holder}", _TODO)
