"""Wakes the workflow that waits on the token in the message, as the message says: with a result, an error, or not at all."""

from __future__ import annotations

import json
from typing import Any

import boto3

states = boto3.client("stepfunctions")


def handler(event: dict[str, Any], _context: object) -> None:
    for record in event["Records"]:
        message = json.loads(record["body"])
        order = message["order"]
        if order == "answer" or (order == "answer the second" and message["retries"] > 0):
            states.send_task_success(taskToken=message["token"], output=json.dumps({"woken": True, "retries": message["retries"]}))
        elif order == "fail":
            states.send_task_failure(taskToken=message["token"], error="Refused", cause="because")
