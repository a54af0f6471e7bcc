"""Loads and calls the Lambda functions as Lambda does: by path, with events in the formats of API Gateway and SQS."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"


class Function:
    """A loaded function. Calling it invokes the handler."""

    def __init__(self, name: str, module: Any) -> None:
        self.name = name
        self.module = module

    def __call__(self, event: Mapping[str, Any]) -> Any:
        folder = str(FUNCTIONS / self.name)
        # On Lambda the function's folder is on the path, so a handler may import its neighbours late.
        sys.path.insert(0, folder)
        try:
            return self.module.handler(dict(event), context(self.name))
        finally:
            sys.path.remove(folder)


def load(name: str, root: Path = FUNCTIONS) -> Function:
    """Load <root>/<name>/app.py afresh."""
    neighbours = {path.stem for path in (root / name).glob("*.py")} - {"app"}
    for neighbour in neighbours:
        sys.modules.pop(neighbour, None)
    spec = importlib.util.spec_from_file_location(f"functions_{name}_app", root / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(root / name))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return Function(name, module)


def context(name: str) -> Any:
    """A Lambda context."""
    return SimpleNamespace(
        function_name=name,
        function_version="1",
        memory_limit_in_mb=512,
        invoked_function_arn=f"arn:aws:lambda:us-east-1:123456789012:function:{name}",
        aws_request_id="00000000-0000-4000-8000-000000000000",
        get_remaining_time_in_millis=lambda: 30_000,
    )


def http_event(
    method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, encoded: bool = False
) -> dict[str, Any]:
    """An HTTP API's event, payload format 2.0. `body`: None, text, bytes (base64-encoded where they are not UTF-8), or data for JSON."""
    bare, _, query = path.partition("?")
    sent = {name.lower().replace("_", "-"): value for name, value in (headers or {}).items()}
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": bare,
        "rawQueryString": query,
        "headers": {"host": "titleholder.test", **({"content-type": "application/json"} if body is not None else {}), **sent},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "titleholder.test",
            "domainPrefix": "titleholder",
            "http": {"method": method, "path": bare, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"},
            "requestId": "request",
            "routeKey": "$default",
            "stage": "$default",
            "time": "15/Jan/2027:08:00:00 +0000",
            "timeEpoch": 1_800_000_000_000,
        },
        "isBase64Encoded": False,
    }
    if query:
        event["queryStringParameters"] = {name: value for name, _, value in (pair.partition("=") for pair in query.split("&"))}
    if body is None:
        return event
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass") if isinstance(body, str) else json.dumps(body).encode()
    try:
        text = None if encoded else raw.decode()
    except UnicodeDecodeError:
        text = None
    if text is None:
        return event | {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
    return event | {"body": text}


def queue_event(*messages: Mapping[str, Any]) -> dict[str, Any]:
    """An SQS event of messages as `receive_message` gives them."""
    records = [
        {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": {"ApproximateReceiveCount": "1", **message.get("Attributes", {})},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
        }
        for message in messages
    ]
    return {"Records": records}
