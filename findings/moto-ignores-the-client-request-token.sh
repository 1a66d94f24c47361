#!/usr/bin/env bash
# moto 5.2.5: TransactWriteItems with the same ClientRequestToken is applied a second time.
#
# DynamoDB documents that a repeat of a request with the same token within ten minutes changes
# nothing. moto accepts the token and ignores it. So a test on moto shows a double effect for a
# retry that is safe on AWS, and no error for another content under the same token, which AWS
# refuses with IdempotentParameterMismatchException.
#
# Seen on 2026-11-28, Python 3.11:
#   the same request twice: n = 2
#   other content under the same token: accepted, n = 7
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    'moto[dynamodb]==5.2.5' boto3==1.43.108
cat > "$folder/look.py" <<'PYTHON'
import sys

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws

KEY = {"k": {"S": "one"}}


def add(client, amount):
    update = {
        "TableName": "counters",
        "Key": KEY,
        "UpdateExpression": "ADD n :amount",
        "ExpressionAttributeValues": {":amount": {"N": str(amount)}},
    }
    client.transact_write_items(ClientRequestToken="token", TransactItems=[{"Update": update}])


def value(client):
    return client.get_item(TableName="counters", Key=KEY)["Item"]["n"]["N"]


with mock_aws():
    client = boto3.client(
        "dynamodb", "us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
    )
    client.create_table(
        TableName="counters",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    add(client, 1)
    add(client, 1)
    twice = value(client)
    try:
        add(client, 5)
        other = "accepted"
    except ClientError as error:
        other = error.response["Error"]["Code"]
    after = value(client)
print(f"the same request twice: n = {twice}")
print(f"other content under the same token: {other}, n = {after}")
sys.exit((twice, other, after) != ("2", "accepted", "7"))
PYTHON
"$folder/venv/bin/python" "$folder/look.py"
