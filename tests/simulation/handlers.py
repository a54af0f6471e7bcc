"""Loads the functions' handlers as Lambda does, and makes their events and contexts."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from botocore.exceptions import BotoCoreError, ClientError

from tests.support.functions import FUNCTIONS, load
from titleholder.aws.event_publisher import AnnouncementRefusedError
from titleholder.errors import StripeError, TableBusyError

TRANSIENT = (BotoCoreError, ClientError, StripeError, AnnouncementRefusedError, TableBusyError)
"""What a handler may raise, because a retry may succeed."""

HANDLERS: dict[str, Callable[[Any, Any], Any]] = {}
"""By the function's folder; filled by `load_handlers`."""


def load_handlers() -> None:
    """Load each handler once in this process."""
    for name in sorted(path.parent.name for path in FUNCTIONS.glob("*/app.py")):
        if name not in HANDLERS:
            HANDLERS[name] = load(name).module.handler


@dataclass
class Context:
    """The attributes of Lambda's context that Powertools reads."""

    function_name: str
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:f"
    aws_request_id: str = "request"

    def get_remaining_time_in_millis(self) -> int:
        """By the clock of this machine, which a simulation does not use."""
        return 10**6


def http_event(
    method: str, path: str, headers: Mapping[str, str], body: str, *, encoded: bool = False, subject: str | None = None
) -> dict[str, Any]:
    """An event as an HTTP API sends it to a function (payload format 2.0). `path`: maybe with a query.
    `subject`: of the caller's token.
    """
    token = (
        {} if subject is None else {"authorizer": {"jwt": {"claims": {"iss": "https://idp.example", "sub": subject, "scope": "review"}}}}
    )
    path, _, query = path.partition("?")
    return {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": query,
        **({"queryStringParameters": dict(parse_qsl(query))} if query else {}),
        "headers": dict(headers),
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default", "requestId": "id", **token},
        "body": base64.b64encode(body.encode()).decode() if encoded else body,
        "isBase64Encoded": encoded,
    }
