"""`GET /docs` and `GET /openapi.json`: interactive documentation of the interface. Deployed only if the parameter `ServeDocs` is true."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).with_name("openapi.json")
SIGN = Path(__file__).with_name("sign.js")
START = """
window.ui = SwaggerUIBundle({
  url: "openapi.json", dom_id: "#docs", deepLinking: true, tryItOutEnabled: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout", requestInterceptor: REQUEST_INTERCEPTOR
});
"""
EMBEDDED = "Calls of this page are signed with the key of the stack on this machine, unless you give a token under Authorize."
ON_AWS = (
    "Calls of this page carry the token that you give under Authorize. The page cannot sign for IAM: without a JWT issuer, a stack answers "
    'its calls with 403 and {"message": "Forbidden"}. Call such a stack with curl --aws-sigv4, or with a generated client that signs '
    "(docs/http.md and docs/client.md in the repository)."
)
NOTE_STYLE = "font: 14px sans-serif; max-width: 1420px; margin: 1em auto; padding: 0 20px"


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
    embedded = bool(os.environ.get("AWS_ENDPOINT_URL"))
    start = START.replace("REQUEST_INTERCEPTOR", "sign" if embedded else "(request) => request")
    if embedded:
        start = f'const REGION = "{os.environ["AWS_REGION"]}";\n{SIGN.read_text(encoding="utf-8")}{start}'
    scripts = "".join(f"<script>{script}</script>" for script in (bundle, start))
    hashes = " ".join(f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'" for script in (bundle, start))
    note = f'<p id="note" style="{NOTE_STYLE}">{EMBEDDED if embedded else ON_AWS}</p>'
    body = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Titleholder</title>'
        f'<style>{style}</style></head><body>{note}<div id="docs"></div>{scripts}</body></html>'
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
