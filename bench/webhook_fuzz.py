"""Sends the webhook a million generated requests: unsigned, badly signed, signed nonsense.

`make fuzz` prints the figures and writes bench/results/webhook_fuzz.json for docs/reliability.md.
Most requests go to the handler itself, the rest over HTTP on loopback. The exit code is 1 if a
request raised an exception, or if an unsigned one changed anything. Then the command prints its
seed and number.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.fuzz.deliveries import delivery
from tests.fuzz.http_requests import application, storm
from tests.fuzz.judge import Verdict, judging
from workbench.docs import provenance
from workbench.servers.asgi import serving

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results" / "webhook_fuzz.json"
REQUESTS = 1_000_000
OVER_HTTP = 20_000
SEED = 1


def main(requests: int = REQUESTS, over_http: int = OVER_HTTP) -> int:
    """Run, print, write; return the exit code."""
    commit = provenance.commit()
    began = time.monotonic()
    random = Random(SEED)
    with judging() as judge:
        for number in range(requests):
            if number % 100_000 == 0:
                print(f"{number:,} after {time.monotonic() - began:.0f} s", file=sys.stderr)
            judge.take(delivery(random, judge.orders()))
    with judging() as hooked, serving(application(hooked), "fuzzed") as url:
        statuses = storm(url, hooked, SEED, over_http)
    figures = {
        **judge.verdict.figures(),
        **{f"http_{name}": value for name, value in _over_http(hooked.verdict, statuses).items()},
        "seconds": round(time.monotonic() - began, 1),
    }
    provenance.write(RESULTS, "make fuzz", commit, figures=figures)
    print(json.dumps(figures, indent=2))
    for witness in [*judge.verdict.witnesses, *hooked.verdict.witnesses]:
        print(witness, file=sys.stderr)
    return 0 if judge.verdict.is_good and hooked.verdict.is_good else 1


def _over_http(verdict: Verdict, statuses: Counter[str]) -> dict[str, object]:
    """Return the figures of the requests over HTTP; the server refuses some before the function."""
    figures = verdict.figures()
    return {
        "requests": sum(statuses.values()),
        "reached_the_function": figures["requests"],
        "by_status": dict(sorted(statuses.items())),
        **{name: figures[name] for name in ("unhandled_exceptions", "state_changes_by_unsigned")},
        "violations": figures["violations"],
    }


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
