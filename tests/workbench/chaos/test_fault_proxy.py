"""A fault proxy answers wrongly before or after the effect, and kills before or after it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from wsgiref.types import StartResponse

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from werkzeug.serving import make_server

from scalper.core.session import Session
from workbench.chaos.fault_plan import (
    AFTER,
    BEFORE,
    EXCHANGE,
    QUEUE,
    SECRETS,
    STORE,
    FaultPlan,
    Injection,
)
from workbench.chaos.fault_proxy import (
    SLOW_S,
    AwsFaultProxy,
    HttpFaultProxy,
    Interceptor,
    ProxiedRequest,
    ProxiedResponse,
    address,
    caller_of,
    has_effect,
    server_of,
)
from workbench.servers.asgi import serving

SESSION = Session.of(date(2024, 11, 29), "09:30", "13:00")
TRUTH = {"id": "b1", "client_order_id": "c1"}


class Script(FaultPlan):
    """A plan that does what a test sets."""

    def __init__(self) -> None:
        super().__init__(0, SESSION)
        self.injection = Injection()
        self.servers: list[tuple[str, str, bool]] = []

    def on_request(self, server: str, function: str, *, has_effect: bool) -> Injection:
        self.servers.append((server, function, has_effect))
        return self.injection


@dataclass
class Victims:
    """Who is killed, and when; nobody really."""

    when: str = ""
    asked: list[str] = field(default_factory=list)
    killed: list[tuple[str, str, int]] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)

    def count_request(self, name: str, /) -> str:
        self.asked.append(name)
        return self.when

    def kill(self, name: str, when: str = BEFORE, /) -> None:
        self.killed.append((name, when, len(self.effects)))


@dataclass
class Scene:
    """A server behind a server, and what it was request to do."""

    url: str
    plan: Script
    victims: Victims

    @property
    def effects(self) -> list[str]:
        return self.victims.effects

    def post(self, caller: str = "tick-1") -> httpx.Response:
        url = address(self.url, caller) + "/v2/orders?x=1"
        return httpx.post(url, json={"qty": "1"}, timeout=5, trust_env=False)


@contextmanager
def http_scene(interceptor: Interceptor | None = None) -> Iterator[Scene]:
    plan, victims = Script(), Victims()

    async def act(request: Request) -> Response:
        body = (await request.body()).decode()
        victims.effects.append(f"{request.method} {request.url.path}?{request.url.query} {body}")
        return Response(json.dumps(TRUTH), headers={"x-limit": "1"})

    app = Starlette(routes=[Route("/v2/orders", act, methods=["GET", "POST"])])
    with serving(HttpFaultProxy(app, EXCHANGE, plan, victims, interceptor), "server") as url:
        yield Scene(url, plan, victims)


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    with http_scene() as made:
        yield made


@pytest.fixture
def scene(shared: Scene) -> Scene:
    shared.plan.injection = Injection()
    shared.victims.when = ""
    for kept in (shared.plan.servers, shared.victims.killed, shared.effects):
        kept.clear()
    return shared


def test_without_faults_a_proxy_changes_nothing_but_the_address(scene):
    answer = scene.post()
    assert (answer.status_code, answer.json(), answer.headers["x-limit"]) == (200, TRUTH, "1")
    assert scene.effects == ['POST /v2/orders?x=1 {"qty":"1"}']
    assert scene.plan.servers == [(EXCHANGE, "tick", True)]


def test_requests_of_the_day_itself_meet_no_fault(scene):
    scene.plan.injection, scene.victims.when = Injection("reset", BEFORE), AFTER
    assert httpx.get(scene.url + "/v2/orders", trust_env=False).json() == TRUTH
    assert scene.plan.servers == scene.victims.killed == []


@pytest.mark.parametrize(
    ("answer", "when", "status", "content"),
    [
        ("5xx", BEFORE, 502, "<html>"),
        ("5xx", AFTER, 504, "<html>"),
        ("429", BEFORE, 429, "rate limit exceeded"),
        ("empty", BEFORE, 200, ""),
        ("empty", AFTER, 200, ""),
        ("truncated", BEFORE, 200, "{"),
        ("truncated", AFTER, 200, '{"id": "b1"'),
    ],
)
def test_a_wrong_answer_before_or_after_the_effect(scene, answer, when, status, content):
    scene.plan.injection = Injection(answer, when)
    response = scene.post()
    assert response.status_code == status
    assert content in response.text
    assert len(scene.effects) == (1 if when == AFTER else 0)
    if status == 200:
        with pytest.raises(json.JSONDecodeError):
            response.json()


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_a_connection_is_reset_before_or_after_the_effect(scene, when):
    scene.plan.injection = Injection("reset", when)
    with pytest.raises(httpx.TransportError):
        scene.post()
    assert len(scene.effects) == (1 if when == AFTER else 0)
    scene.plan.injection = Injection()
    assert scene.post().json() == TRUTH, "the server goes on"


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_a_worker_is_killed_before_or_after_the_effect(scene, when):
    scene.victims.when = when
    with pytest.raises(httpx.TransportError):
        scene.post("checkup-7")
    assert scene.victims.killed == [("checkup-7", when, 1 if when == AFTER else 0)]
    assert len(scene.effects) == (1 if when == AFTER else 0)


def test_an_interceptor_replaces_and_alters_answers_and_learns_the_status():
    ends = []

    class Liar(Interceptor):
        def answer_instead(self, request: ProxiedRequest) -> ProxiedResponse | None:
            return ProxiedResponse(403, [], b"no") if request.function == "tick" else None

        def altered(self, request: ProxiedRequest, response: ProxiedResponse) -> ProxiedResponse:
            return ProxiedResponse(response.status, [], response.body.replace(b"b1", b"b2"))

        def finished(self, request: ProxiedRequest, status: int) -> None:
            ends.append(status)

    with http_scene(Liar()) as scene:
        refused, other = scene.post("tick-1"), scene.post("checkup-1")
        assert (refused.status_code, refused.text) == (403, "no")
        assert len(scene.effects) == 1
        assert other.json() == {**TRUTH, "id": "b2"}
        scene.plan.injection = Injection("reset", AFTER)
        with pytest.raises(httpx.TransportError):
            scene.post("checkup-1")
        assert ends == [403, 200, 0]


def test_a_slow_request_waits_before_it_takes_effect(scene):
    scene.plan.injection = Injection(slow=True)
    began = time.monotonic()
    assert scene.post().json() == TRUTH
    assert time.monotonic() - began >= SLOW_S
    assert len(scene.effects) == 1


def test_a_caller_stands_in_front_of_the_path():
    assert caller_of("/as/trade_update-12/v2/orders") == ("trade_update-12", "/v2/orders")
    assert caller_of("/as/tick-1") == ("tick-1", "/")
    assert caller_of("/v2/orders") == ("", "/v2/orders")
    assert ProxiedRequest("trade_update-12", "GET", "/", "", b"").function == "trade_update"


# --- AWS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "server", "effect"),
    [
        ("DynamoDB_20120810.PutItem", STORE, True),
        ("DynamoDB_20120810.GetItem", STORE, False),
        ("DynamoDB_20120810.Query", STORE, False),
        ("AmazonSQS.SendMessage", QUEUE, True),
        ("secretsmanager.GetSecretValue", SECRETS, False),
        ("", QUEUE, True),
    ],
)
def test_an_aws_request_is_known_by_its_target(target, server, effect):
    assert (server_of(target), has_effect(target)) == (server, effect)


@pytest.fixture
def aws_scene() -> Iterator[Scene]:
    plan, victims = Script(), Victims()

    def act(environ, start: StartResponse):
        length = int(environ["CONTENT_LENGTH"])
        victims.effects.append(environ["PATH_INFO"] + environ["wsgi.input"].read(length).decode())
        start("200 OK", [("Content-Type", "application/x-amz-json-1.0")])
        return [b"{}"]

    server = make_server("127.0.0.1", 0, AwsFaultProxy(act, plan, victims), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Scene(f"http://127.0.0.1:{server.port}", plan, victims)
    server.shutdown()
    thread.join()
    server.server_close()


def put(scene: Scene, caller: str = "tick-1") -> None:
    boto3.client(
        "dynamodb",
        endpoint_url=address(scene.url, caller) if caller else scene.url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    ).put_item(TableName="T", Item={"pk": {"S": "x"}})


def test_without_faults_and_for_the_day_itself_aws_is_unchanged(aws_scene):
    put(aws_scene)
    aws_scene.plan.injection = Injection("reset", BEFORE)
    put(aws_scene, caller="")
    assert len(aws_scene.effects) == 2
    assert all(effect.startswith("/{") for effect in aws_scene.effects)
    assert aws_scene.plan.servers == [(STORE, "tick", True)]


@pytest.mark.parametrize(
    ("answer", "when", "code"),
    [
        ("throttled", BEFORE, "ThrottlingException"),
        ("5xx", BEFORE, "InternalServerError"),
        ("5xx", AFTER, "InternalServerError"),
    ],
)
def test_aws_fails_before_or_after_the_effect(aws_scene, answer, when, code):
    aws_scene.plan.injection = Injection(answer, when)
    with pytest.raises(ClientError, match=code):
        put(aws_scene)
    assert len(aws_scene.effects) == (1 if when == AFTER else 0)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_aws_resets_a_connection_and_kills_before_or_after_the_effect(aws_scene, when):
    aws_scene.plan.injection = Injection("reset", when)
    with pytest.raises(ConnectionClosedError):
        put(aws_scene)
    assert len(aws_scene.effects) == (1 if when == AFTER else 0)
    aws_scene.plan.injection, aws_scene.victims.when = Injection(), when
    with pytest.raises(ConnectionClosedError):
        put(aws_scene, "relay-3")
    ((name, told, effects),) = aws_scene.victims.killed
    assert (name, told, effects) == ("relay-3", when, len(aws_scene.effects))
    assert effects == (2 if when == AFTER else 0)
