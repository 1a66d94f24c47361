"""AWS on loopback, by moto: the tables, queues, secrets and topic that template.yaml declares.

It runs in a process of its own, so that it outlives a local day that is killed. Its queues go by
a clock that is moved from outside: a message delayed by 30 s is due when the simulated market is
30 s further.
"""

import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import boto3
from botocore.exceptions import ClientError

from workbench.servers.loopback import HOST, listen

REGION = "us-east-1"
CLOCK_PATH = "/local/clock"


@dataclass(frozen=True, slots=True)
class Resources:
    """The names that the functions' environment refers to."""

    symbols_table: str
    state_table: str
    checkup_queue_url: str
    tick_queue_url: str
    broker_secret_id: str
    webhook_secret_id: str
    notify_topic_arn: str


def use_endpoint(url: str) -> None:
    """Point every AWS client of this process to `url`, with keys that open nothing."""
    os.environ.update(
        AWS_ENDPOINT_URL=url,
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",
        AWS_DEFAULT_REGION=REGION,
        AWS_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
    )
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_SECURITY_TOKEN"):
        os.environ.pop(name, None)


def create_resources(
    template: Mapping[str, Any], *, broker: Mapping[str, str], webhook: Mapping[str, str]
) -> Resources:
    """Create what the template declares, or find it if it is there already.

    `broker` and `webhook` become the secrets' values, as the user and the deployment fill them.
    """
    declared = template["Resources"]
    queues = boto3.client("sqs")
    return Resources(
        symbols_table=_table("SymbolsTable", declared["SymbolsTable"]["Properties"]),
        state_table=_table("StateTable", declared["StateTable"]["Properties"]),
        checkup_queue_url=_queue(queues, "CheckupQueue", declared),
        tick_queue_url=_queue(queues, "TickQueue", declared),
        broker_secret_id=_secret("BrokerSecret", broker),
        webhook_secret_id=_secret("WebhookSecret", webhook),
        notify_topic_arn=boto3.client("sns").create_topic(Name="NotifyTopic")["TopicArn"],
    )


_KEPT = "is_message_valid_based_on_retention_period"
"""moto's method that tells whether a queue still keeps a message."""

Application = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]


def serve(port: int) -> None:
    """Run AWS on a loopback port until SIGTERM or SIGINT; prints one line when it is ready."""
    server = _server(port)

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"aws ready on {_address(server)}", flush=True)
    server.serve_forever()


@contextmanager
def running(front: Callable[[Application], Application]) -> Iterator[str]:
    """Run AWS in a thread while the block lasts, behind `front`; gives its address.

    Its tables are this process's: a second one in the same process would find them. Afterwards moto
    has its own clock again.
    """
    import moto.sqs.models as queues

    clock, is_kept = vars(queues)["unix_time_millis"], vars(queues.SQSBackend)[_KEPT]
    server = _server(0, front)
    thread = threading.Thread(target=server.serve_forever, name="aws", daemon=True)
    thread.start()
    try:
        yield _address(server)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        setattr(queues, "unix_time_millis", clock)  # noqa: B010 - not exported
        setattr(queues.SQSBackend, _KEPT, is_kept)


def _address(server: Any) -> str:
    return f"http://{HOST}:{server.port}"


def _server(port: int, front: Callable[[Application], Application] = lambda app: app) -> Any:
    """Return the web server, bound to its port, that is still to be run."""
    # moto and its web server take a second to import. A day that uses them need not wait for it.
    import moto.sqs.models
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class QuietHandler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Log nothing: the day has a log of its own."""

    # A port in use raises here, before anything of moto is changed.
    listener = listen(port)
    listener.listen(128)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    clock = _Clock()
    setattr(moto.sqs.models, "unix_time_millis", clock.milliseconds)  # noqa: B010 - not exported
    # moto measures retention by real time: the messages of a past day would have expired.
    setattr(moto.sqs.models.SQSBackend, _KEPT, lambda *_: True)
    app = DomainDispatcherApplication(create_backend_app)
    host, port = listener.getsockname()
    try:
        return make_server(
            host,
            port,
            front(clock.before(app)),
            threaded=True,
            request_handler=QuietHandler,
            fd=listener.fileno(),
        )
    finally:
        listener.close()


class _Clock:
    """The queues' time, moved by POST /local/clock with an ISO 8601 time as its body."""

    def __init__(self) -> None:
        self._milliseconds = 0.0
        self._turn = threading.Lock()

    def milliseconds(self) -> float:
        return self._milliseconds

    def before(self, app: Application) -> Application:
        """Return the application with the clock's path in front, the tables one request at a time.

        moto looks at a condition first and writes later: of two writers at once both would win.
        """

        def dispatch(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
            if environ["PATH_INFO"] != CLOCK_PATH:
                if not environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB_"):
                    return app(environ, start)
                length = int(environ.get("CONTENT_LENGTH") or 0)
                environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
                with self._turn:
                    return app(environ, start)
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            try:
                self._milliseconds = datetime.fromisoformat(body.decode()).timestamp() * 1000
            except ValueError:
                start("400 Bad Request", [("Content-Length", "0")])
                return []
            start("200 OK", [("Content-Length", "0")])
            return []

        return dispatch


def _table(name: str, properties: Mapping[str, Any]) -> str:
    client = boto3.client("dynamodb")
    try:
        client.create_table(
            TableName=name,
            BillingMode=properties["BillingMode"],
            AttributeDefinitions=properties["AttributeDefinitions"],
            KeySchema=properties["KeySchema"],
        )
    except client.exceptions.ResourceInUseException:
        return name
    if "TimeToLiveSpecification" in properties:
        client.update_time_to_live(
            TableName=name, TimeToLiveSpecification=dict(properties["TimeToLiveSpecification"])
        )
    return name


def _queue(client: Any, name: str, declared: Mapping[str, Any]) -> str:
    """Create a queue, and before it the one that takes its dead letters."""
    attributes: dict[str, str] = {}
    for key, value in declared[name].get("Properties", {}).items():
        if key == "RedrivePolicy":
            target = value["deadLetterTargetArn"]["Fn::GetAtt"][0]
            url = _queue(client, target, declared)
            arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
            policy = {**value, "deadLetterTargetArn": arn["Attributes"]["QueueArn"]}
            attributes[key] = json.dumps(policy)
        else:
            attributes[key] = str(value).lower() if isinstance(value, bool) else str(value)
    created = client.create_queue(QueueName=name, Attributes=attributes)
    return str(created["QueueUrl"])


def _secret(name: str, value: Mapping[str, str]) -> str:
    client = boto3.client("secretsmanager")
    try:
        client.create_secret(Name=name, SecretString=json.dumps(value))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceExistsException":
            raise
    return name


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
