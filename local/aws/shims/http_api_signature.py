"""An HTTP API's route with IAM authorisation answers 403 to every call that is not signed or not allowed, without the reason.

MiniStack accepts a call with another kind of authorisation, and says which part of a signature is wrong. Routes without IAM authorisation
ignore signatures.
"""

from __future__ import annotations

from typing import Any

SIGNED = "AWS4-HMAC-SHA256"


def apply() -> None:
    from ministack import app
    from ministack.services import apigateway

    original_enforce = app._enforce_execute_api

    def enforce(api_id: str, stage: str, method: str, path: str, headers: dict[str, str], query: dict[str, Any], **more: Any) -> Any:
        if apigateway.find_api_scope(api_id) is None:
            return original_enforce(api_id, stage, method, path, headers, query, **more)
        if apigateway.route_authorization_type(api_id, stage, method, path) != "AWS_IAM":
            return None
        signed = headers.get("authorization", "").startswith(SIGNED)
        if not signed or original_enforce(api_id, stage, method, path, headers, query, **more):
            return apigateway._jwt_forbidden()
        return None

    app._enforce_execute_api = enforce
