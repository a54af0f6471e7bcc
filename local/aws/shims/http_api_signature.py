"""An HTTP API's route with IAM authorisation refuses every unsigned call. MiniStack accepts one with another kind of authorisation."""

from __future__ import annotations

from typing import Any

SIGNED = "AWS4-HMAC-SHA256"


def apply() -> None:
    from ministack import app
    from ministack.services import apigateway

    original_enforce = app._enforce_execute_api

    def enforce(api_id: str, stage: str, method: str, path: str, headers: dict[str, str], query: dict[str, Any], **more: Any) -> Any:
        authorization = apigateway.route_authorization_type(api_id, stage, method, path)
        if authorization == "AWS_IAM" and not headers.get("authorization", "").startswith(SIGNED) and "X-Amz-Signature" not in query:
            return apigateway._jwt_forbidden()
        return original_enforce(api_id, stage, method, path, headers, query, **more)

    app._enforce_execute_api = enforce
