"""`GET /docs` and `GET /openapi.json`: interactive documentation of the interface. Deployed only if the parameter `ServeDocs` is true."""

from __future__ import annotations

import base64
import gzip
import importlib.util
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).with_name("openapi.json")
START = """
window.ui = SwaggerUIBundle({
  url: "openapi.json", dom_id: "#docs", deepLinking: true, tryItOutEnabled: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout"
});
"""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request. API Gateway passes only these two routes."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    packed = "gzip" in headers.get("accept-encoding", "")
    if event["rawPath"].endswith("/openapi.json"):
        return _answer("application/json", DOCUMENT.read_bytes(), packed, {})
    body, policy = page()
    return _answer("text/html; charset=utf-8", body, packed, {"Content-Security-Policy": policy})


@cache
def page() -> tuple[bytes, str]:
    """The page with its scripts and styles inline, and its content security policy, which allows nothing else.

    Swagger UI is a part of Powertools. Its files are found without importing that package.
    """
    powertools = importlib.util.find_spec("aws_lambda_powertools")
    files = Path(str(powertools and powertools.origin)).parent / "event_handler" / "openapi" / "swagger_ui"
    style, bundle = ((files / name).read_text(encoding="utf-8") for name in ("swagger-ui.min.css", "swagger-ui-bundle.min.js"))
    scripts = "".join(f"<script>{script}</script>" for script in (bundle, START))
    hashes = " ".join(f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'" for script in (bundle, START))
    body = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Titleholder</title>'
        f'<style>{style}</style></head><body><div id="docs"></div>{scripts}</body></html>'
    )
    # Swagger UI sets styles at run time and uses data: images.
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; frame-ancestors 'none'"
    )
    return body.encode(), policy


def _answer(kind: str, body: bytes, packed: bool, more: dict[str, str]) -> dict[str, Any]:
    headers = {
        "Content-Type": kind,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        **more,
    }
    if not packed:
        return {"statusCode": 200, "headers": headers, "isBase64Encoded": False, "body": body.decode()}
    headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return {"statusCode": 200, "headers": headers, "isBase64Encoded": True, "body": base64.b64encode(gzip.compress(body, mtime=0)).decode()}
