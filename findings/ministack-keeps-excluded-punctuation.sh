#!/usr/bin/env bash
# ministack 1.5.33: a secret that a stack generates holds punctuation that its template excludes.
#
# GenerateSecretString with ExcludePunctuation: true excludes punctuation on AWS. ministack honours
# ExcludePunctuation in the API call GetRandomPassword, and ignores it in a stack. So a test that
# uses the secret as base64 or in a URL fails now and then, by chance.
#
# Seen on 2026-11-28, Python 3.11:
#   a stack's 20 secrets of 64 characters: 20 hold punctuation
#   20 random passwords of 64 characters: 0 hold punctuation
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    ministack==1.5.33 boto3
cat > "$folder/look.py" <<'PYTHON'
import json
import os
import socket
import string
import subprocess
import sys
import time

import boto3

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
emulator = subprocess.Popen(
    [sys.executable, "-c", "from ministack import app; app.main()"],
    env={**os.environ, "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1"},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)


def client(name):
    return boto3.client(
        name,
        "us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def is_up():
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def punctuated(texts):
    return sum(any(letter in string.punctuation for letter in text) for text in texts)


generate = {"PasswordLength": 64, "ExcludePunctuation": True}
secret = {
    "Type": "AWS::SecretsManager::Secret",
    "Properties": {"GenerateSecretString": generate},
}
template = {"Resources": {f"Secret{number}": secret for number in range(20)}}
try:
    for _ in range(600):
        if is_up():
            break
        time.sleep(0.1)
    stacks, secrets = client("cloudformation"), client("secretsmanager")
    stacks.create_stack(StackName="one", TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(
        StackName="one", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    names = [one["PhysicalResourceId"] for one in stacks.list_stack_resources(StackName="one")[
        "StackResourceSummaries"
    ]]
    of_stack = [secrets.get_secret_value(SecretId=name)["SecretString"] for name in names]
    random = [
        secrets.get_random_password(**generate)["RandomPassword"] for _ in range(len(of_stack))
    ]
finally:
    emulator.terminate()
    emulator.wait()
seen = (len(of_stack), punctuated(of_stack), punctuated(random))
print(f"a stack's {seen[0]} secrets of 64 characters: {seen[1]} hold punctuation")
print(f"{seen[0]} random passwords of 64 characters: {seen[2]} hold punctuation")
sys.exit(seen != (20, 20, 0))
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
