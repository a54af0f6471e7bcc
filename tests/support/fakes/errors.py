"""What all fakes of AWS services share: passing a call, and refusing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

Cross = Callable[[str, Callable[[], Any]], Any]
"""Is called around each operation with its name and its effect. The simulation lets time pass there, and things go wrong."""


def at_once(operation: str, effect: Callable[[], Any]) -> Any:
    """Let a call through at once."""
    return effect()


def refused(operation: str, code: str, message: str = "", **more: Any) -> ClientError:
    """The exception that boto3 raises for this error code."""
    status = 500 if code == "InternalServerError" else 400
    response = {"Error": {"Code": code, "Message": message or code}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return ClientError(response, operation)  # type: ignore[arg-type]
