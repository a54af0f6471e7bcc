"""Counts each message in the table; fails for messages that say so, and reports how many copies of itself run at once."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import boto3

table = boto3.resource("dynamodb").Table(os.environ["TABLE"])


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    failures = []
    bodies = [json.loads(record["body"]) for record in event["Records"]]
    pause = max(body.get("sleep", 0) for body in bodies)
    if pause:
        running = add("running", 1)
        table.update_item(
            Key={"pk": "peak"},
            UpdateExpression="ADD seen :one",
            ExpressionAttributeValues={":one": {running}},
        )
        time.sleep(pause)
        add("running", -1)
    for record, body in zip(event["Records"], bodies, strict=True):
        add(body["id"], 1)
        if body.get("garble"):
            return {"batchItemFailures": [{"itemIdentifier": ""}]}
        if body.get("fail"):
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def add(key: str, number: int) -> int:
    answer = table.update_item(
        Key={"pk": key}, UpdateExpression="ADD n :n", ExpressionAttributeValues={":n": number}, ReturnValues="UPDATED_NEW"
    )
    return int(answer["Attributes"]["n"])
