"""A body that is not UTF-8 reaches a function in base64, with any content type, because only a UTF-8 body counts as text.

MiniStack looks only at the content type. It replaces bytes that are not UTF-8 by U+FFFD, so that they are lost.
"""

from __future__ import annotations

import contextvars
from typing import Any

_binary = contextvars.ContextVar("binary_body", default=False)


def apply() -> None:
    from ministack.services import apigateway

    original_is_text, original_invoke = apigateway._v2_request_body_is_text, apigateway._invoke_lambda_proxy

    async def invoke(
        integration: Any, api: str, stage: str, path: str, method: str, headers: Any, body: bytes, *rest: Any, **options: Any
    ) -> Any:
        try:
            body.decode()
            _binary.set(False)
        except UnicodeDecodeError:
            _binary.set(True)
        return await original_invoke(integration, api, stage, path, method, headers, body, *rest, **options)

    apigateway._invoke_lambda_proxy = invoke
    apigateway._v2_request_body_is_text = lambda content_type: not _binary.get() and original_is_text(content_type)
