#!/usr/bin/env bash
# pynamodb 6.1.0: PutError.cause_response_code raises AttributeError if the connection broke.
#
# Its docstring says to inspect it "to determine the cause of the error and handle it", and its type
# is Optional[str]. It reads `cause.response`. botocore's ConnectionClosedError and ReadTimeoutError
# have this attribute with the value None, so the property raises instead of returning None. An
# `except PutError` that reads it then fails with another error. After a refused connection, whose
# error lacks the attribute, the property returns None as its type says.
#
# Seen on 2026-11-28, Python 3.11:
#   closed connection: ConnectionClosedError, AttributeError
#   silent server: ReadTimeoutError, AttributeError
#   refused connection: EndpointConnectionError, None
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pynamodb==6.1.0 botocore==1.43.108
cat > "$folder/look.py" <<'PYTHON'
import socket
import sys
import threading

from pynamodb.attributes import UnicodeAttribute
from pynamodb.exceptions import PutError
from pynamodb.models import Model


def hang_up(listener):
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.close()


def seen(port):
    class Thing(Model):
        class Meta:
            table_name = "things"
            region = "us-east-1"
            host = f"http://127.0.0.1:{port}"
            aws_access_key_id = aws_secret_access_key = "any"
            max_retry_attempts = 0
            read_timeout_seconds = 0.5

        name = UnicodeAttribute(hash_key=True)

    try:
        Thing("one").save()
    except PutError as error:
        cause = type(error.cause).__name__
        try:
            return f"{cause}, {error.cause_response_code}"
        except AttributeError:
            return f"{cause}, AttributeError"
    return "no error"


closing = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=hang_up, args=[closing], daemon=True).start()
silent = socket.create_server(("127.0.0.1", 0))
with socket.create_server(("127.0.0.1", 0)) as nobody:
    free = nobody.getsockname()[1]
answers = [seen(closing.getsockname()[1]), seen(silent.getsockname()[1]), seen(free)]
print(f"closed connection: {answers[0]}")
print(f"silent server: {answers[1]}")
print(f"refused connection: {answers[2]}")
expected = [
    "ConnectionClosedError, AttributeError",
    "ReadTimeoutError, AttributeError",
    "EndpointConnectionError, None",
]
sys.exit(answers != expected)
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
