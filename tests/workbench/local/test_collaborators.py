"""What a local day hands its work to: invoker, dispatcher, deliveries; whole days are elsewhere."""

import io
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import httpx
import pytest

from scalper.shell.errors import ScalperError
from scalper.shell.relay.stream import POST_ATTEMPTS
from workbench.local.day import SequentialDispatcher
from workbench.local.invocations import (
    Context,
    InProcessInvoker,
    LongInvocation,
    WithoutMetrics,
)
from workbench.local.trade_updates import Deliveries, function_url
from workbench.servers.asgi import serving
from workbench.template.declared import load_template
from workbench.template.schedules import schedules_of

MINUTE = datetime(2024, 11, 29, 15, 0, tzinfo=UTC)


class Waiting:
    """Runs a handler that lasts until its context has no time left, or fails at once."""

    def __init__(self, failure: ScalperError | None = None) -> None:
        self.begun = threading.Event()
        self._failure = failure

    def start(self, handlers: Iterable[str], environment: Mapping[str, str]) -> None:
        pass

    def invoke(self, handler: str, event: Mapping[str, Any], context: Context) -> Any:
        if self._failure:
            raise self._failure
        self.begun.set()
        while context.get_remaining_time_in_millis():
            threading.Event().wait(0.001)


def test_a_long_invocation_ends_when_it_is_left_no_time():
    invoker = Waiting()
    relay = LongInvocation(invoker, "relay.handler", {})
    relay.start()
    assert invoker.begun.wait(5)
    assert relay.is_alive()
    relay.stop()
    relay.join(5)
    assert not relay.is_alive()
    assert relay.failure is None


def test_a_long_invocation_keeps_what_its_handler_raised():
    failure = ScalperError("no connection")
    relay = LongInvocation(Waiting(failure), "relay.handler", {})
    relay.start()
    relay.join(5)
    assert relay.failure is failure


def test_the_invoker_of_one_process_calls_the_handler_under_the_functions_environment(monkeypatch):
    module: Any = ModuleType("some_function")
    module.handler = lambda event, context: {"event": event, "ms": context.remaining_ms}
    monkeypatch.setitem(sys.modules, "some_function", module)
    monkeypatch.setenv("SOME_SETTING", "old")
    invoker = InProcessInvoker(io.StringIO())
    invoker.start(["some_function.handler"], {"SOME_SETTING": "new"})
    answer = invoker.invoke("some_function.handler", {"n": 1}, Context())
    assert answer == {"event": {"n": 1}, "ms": 900_000}


def test_functions_of_a_minute_start_in_the_templates_order():
    started = []
    due = [one for one in schedules_of(load_template()) if one.is_due(MINUTE)]
    SequentialDispatcher().dispatch(due, MINUTE, lambda one, at: started.append((one.handler, at)))
    assert len(started) >= 2
    assert started == [(one.handler, MINUTE) for one in due]


@pytest.mark.parametrize(
    ("statuses", "over"),
    [([200], 1), ([401], 1), ([500, 429, 200], 1), ([500] * POST_ATTEMPTS, 1), ([500], 0)],
)
def test_a_delivery_is_over_when_it_is_taken_up_or_the_relay_gives_up(statuses, over):
    deliveries = Deliveries()
    for status in statuses:
        deliveries.add("body", status)
    assert deliveries.over == over
    assert deliveries.reached(over, 0.0)
    assert not deliveries.reached(over + 1, 0.0)


def test_a_function_url_hands_the_request_over_and_reports_what_was_answered():
    events, answered = [], []

    def take_up(event: dict[str, Any]) -> dict[str, Any]:
        events.append(event)
        return {"statusCode": 401, "body": "no", "headers": {"x-why": "unsigned"}}

    app = function_url(take_up, lambda body, status: answered.append((body, status)))
    with serving(app, "webhook") as url:
        response = httpx.post(url, content="{}", headers={"Webhook-Id": "m1"}, trust_env=False)
    assert (response.status_code, response.text, response.headers["x-why"]) == (
        401,
        "no",
        "unsigned",
    )
    assert answered == [("{}", 401)]
    assert events[0]["body"] == "{}"
    assert events[0]["headers"]["webhook-id"] == "m1"


def test_the_end_of_the_handlers_output_after_that_of_the_log_raises_nothing() -> None:
    """A run that fails closes its log first; Python 3.13 prints what the output's end raises."""
    log = io.TextIOWrapper(io.BytesIO())
    output = WithoutMetrics(log)
    log.close()
    output.close()
    assert output.closed
