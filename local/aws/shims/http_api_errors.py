"""An HTTP API hides a function's error from the caller (500) and answers 503 after the integration's timeout."""

from __future__ import annotations

import asyncio
import json
from typing import Any

HEADERS = {"Content-Type": "application/json"}


def apply() -> None:
    from ministack.services import apigateway, lambda_svc

    original_answer, original_invoke = lambda_svc.lambda_execute_result_to_api_proxy_response, apigateway._invoke_lambda_proxy

    def answer(result: dict[str, Any]) -> Any:
        if result.get("throttle"):
            return {"statusCode": 503, "headers": HEADERS, "body": json.dumps({"message": "Service Unavailable"})}, None
        if result.get("error"):
            return {"statusCode": 500, "headers": HEADERS, "body": json.dumps({"message": "Internal Server Error"})}, None
        return original_answer(result)

    async def invoke(integration: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        # As on AWS, only the caller stops waiting; the function goes on.
        call = asyncio.ensure_future(original_invoke(integration, *arguments, **options))
        done, _ = await asyncio.wait({call}, timeout=int(integration.get("timeoutInMillis") or 30_000) / 1_000)
        return call.result() if done else (503, dict(HEADERS), b'{"message":"Service Unavailable"}')

    lambda_svc.lambda_execute_result_to_api_proxy_response = answer
    apigateway._invoke_lambda_proxy = invoke
