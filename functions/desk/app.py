"""The page of the review desk: `GET /desk` and `GET /desk/{file}`. Deployed only with the parameter `DeskClientId`."""

from __future__ import annotations

from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request. API Gateway passes these two routes only."""
    return {"statusCode": 404, "headers": {"Cache-Control": "no-store"}, "isBase64Encoded": False, "body": ""}
