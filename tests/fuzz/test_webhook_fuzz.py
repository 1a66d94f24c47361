"""Whatever comes to the webhook gets an answer, and without a signature nothing is done.

`make fuzz` does the same a million times (bench/webhook_fuzz.py).
"""

from random import Random

import pytest

from scalper.shell import webhook
from tests.fuzz.deliveries import delivery
from tests.fuzz.http_requests import application, storm
from tests.fuzz.judge import judging
from workbench.servers.asgi import serving

REQUESTS = 20_000
OVER_HTTP = 500


@pytest.mark.fault("bad-webhook")
@pytest.mark.parametrize("seed", range(4))
def test_no_request_raises_and_no_unsigned_one_changes_anything(seed: int) -> None:
    random = Random(seed)
    with judging() as judge:
        for _ in range(REQUESTS // 4):
            judge.take(delivery(random, judge.orders()))
    verdict = judge.verdict
    assert verdict.witnesses == []
    assert verdict.is_good
    # Each door was reached, and what is signed reaches the engine.
    assert {"200", "400", "401", "413", "415"} <= verdict.by_status.keys()
    assert 500 < verdict.signed < verdict.requests - 500
    assert verdict.changes_by_signed > 50


@pytest.mark.fault("bad-webhook")
def test_nor_does_one_over_http_whatever_its_method_framing_and_headers() -> None:
    with judging() as judge, serving(application(judge), "fuzzed") as url:
        statuses = storm(url, judge, 1, OVER_HTTP)
    assert judge.verdict.witnesses == []
    assert judge.verdict.is_good
    assert sum(statuses.values()) == OVER_HTTP
    # What the server itself refuses never comes to the function, nor would it on AWS.
    assert judge.verdict.requests > OVER_HTTP // 2
    assert {"200", "400", "401"} <= statuses.keys()


def test_a_webhook_that_checked_nothing_would_be_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "verify", lambda body, headers, keys: None)
    random = Random(1)
    with judging() as judge:
        for _ in range(200):
            judge.take(delivery(random, judge.orders()))
    assert judge.verdict.changes_by_unsigned > 10
