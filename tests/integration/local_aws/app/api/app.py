"""Answers HTTP calls with what arrived, and direct invocations with what the function can see."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import time
from typing import Any

import boto3
import origin  # type: ignore[import-not-found]
import shared  # type: ignore[import-not-found]

logging.getLogger().setLevel(logging.INFO)
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
calls = 0


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    global calls
    calls += 1
    if "routeKey" not in event:
        return inspect(event, context)
    if event["routeKey"].startswith("GET /items"):
        item = table.get_item(Key={"pk": event["pathParameters"]["id"]}, ConsistentRead=True).get("Item")
        return {"statusCode": 200 if item else 404, "body": json.dumps(item)}
    if event["routeKey"] == "GET /broken":
        raise ValueError("private")
    if event["routeKey"] == "GET /slow":
        time.sleep(1)
    if event["routeKey"].startswith("POST /echo"):
        print("echoing\nin two lines")
    return {"statusCode": 201, "headers": {"content-type": "application/json", "x-seen": "yes"}, "body": json.dumps(event)}


def inspect(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if event.get("raise"):
        raise KeyError("lost")
    return {
        "calls": calls,
        "pid": os.getpid(),
        "greeting": os.environ["GREETING"],
        "origin": origin.ORIGIN,
        "shared": shared.ORIGIN,
        "importable": [name for name in ("ministack", "pytest", "local", "pip", "boto3") if importlib.util.find_spec(name)],
        "python": sys.version_info[:2],
        "runtime": os.environ["AWS_EXECUTION_ENV"],
        "writable": os.access(os.path.dirname(__file__), os.W_OK) and os.geteuid() != 0,
        "mode": os.stat(os.path.dirname(__file__)).st_mode & 0o777,
        "trace": os.environ.get("_X_AMZN_TRACE_ID", ""),
        "request": context.aws_request_id,
        "remaining": context.get_remaining_time_in_millis(),
        "function": context.invoked_function_arn,
        "endpoint": os.environ["AWS_ENDPOINT_URL"],
    }
