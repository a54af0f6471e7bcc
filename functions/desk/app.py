"""`GET /desk` and `GET /desk/{file}`: the review desk. Deployed only if a desk is configured. The function has no permissions, because the
page calls the API itself.

Files are compressed once, when the function is loaded. A file's URL contains a digest of its content, so browsers may keep it for ever.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from titleholder.domain.reviews import APPROVE_REASONS, CLOSED_SENTENCES, REJECT_REASONS
from titleholder.errors import ConfigurationError
from titleholder.matching.explanations import SENTENCES, UNLIKE

HERE = Path(__file__).parent
KINDS = {
    "desk.css": "text/css; charset=utf-8",
    "desk.svg": "image/svg+xml",
    "desk.js": "text/javascript; charset=utf-8",
    "sign_in.js": "text/javascript; charset=utf-8",
    "oauth4webapi.js": "text/javascript; charset=utf-8",
}
"""The files that are served. A build without npm lacks oauth4webapi.js. The page then says so."""
SWITCHED_OFF = (
    "accelerometer", "autoplay", "camera", "clipboard-read", "clipboard-write", "display-capture", "encrypted-media", "fullscreen",
    "geolocation", "gyroscope", "hid", "idle-detection", "local-fonts", "magnetometer", "microphone", "midi", "payment",
    "picture-in-picture", "publickey-credentials-get", "screen-wake-lock", "serial", "storage-access", "usb", "xr-spatial-tracking",
)  # fmt: skip
"""The browser's features that the page does not use. Chromium warns about names that it does not know."""
# The template's patterns for the parameters are stricter. This one excludes characters that have a meaning in a policy.
_ORIGIN = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+")


class File(NamedTuple):
    """A served file: its bytes, the same compressed, and the digest in its URL."""

    kind: str
    plain: bytes
    packed: bytes
    digest: str

    @classmethod
    def of(cls, kind: str, plain: bytes) -> File:
        return cls(kind, plain, gzip.compress(plain, mtime=0), sha256(plain).hexdigest()[:16])


def origin(url: str) -> str:
    """The origin of a URL. Raises ConfigurationError if a policy cannot name it."""
    found = urlsplit(url)
    text = f"{found.scheme}://{found.netloc}"
    if not _ORIGIN.fullmatch(text):
        raise ConfigurationError("DESK_ISSUER and DESK_SIGN_IN_ORIGINS must be addresses such as https://login.example.com.")
    return text


def security_policy(environment: Mapping[str, str]) -> str:
    """The page's Content-Security-Policy: scripts and styles only from this function, calls only to the API and to the issuer."""
    others = environment.get("DESK_SIGN_IN_ORIGINS", "").split(",")
    connect = " ".join(dict.fromkeys(["'self'", *(origin(url) for url in [environment.get("DESK_ISSUER", ""), *others] if url)]))
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect}; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def settings(environment: Mapping[str, str], files: Mapping[str, File]) -> dict[str, Any]:
    """What the page needs before it can call the API, and the sentences for codes. URLs of files are relative to the page's."""
    prefix = environment.get("JWT_SCOPE_PREFIX", "")
    return {
        "issuer": environment.get("DESK_ISSUER", ""),
        "client_id": environment.get("DESK_CLIENT_ID", ""),
        # The issuer grants those of these scopes that the user may have.
        "scope": f"{prefix}review {prefix}support",
        "mode": environment.get("STRIPE_MODE", "test"),
        "reviewers_needed": int(environment.get("REVIEWERS_NEEDED") or 0),
        "files": {name: address(name, file) for name, file in files.items() if name.endswith(".js")},
        "sentences": dict(SENTENCES),
        "unlike": sorted(UNLIKE),
        "approve": dict(APPROVE_REASONS),
        "reject": dict(REJECT_REASONS),
        "closed": dict(CLOSED_SENTENCES),
    }


def address(name: str, file: File) -> str:
    return f"desk/{name}?v={file.digest}"


def page(environment: Mapping[str, str], files: Mapping[str, File]) -> File:
    """The page with its settings and the URLs of its files."""
    # In a script element, `<` could begin its end tag.
    data = json.dumps(settings(environment, files), separators=(",", ":")).replace("<", "\\u003c")
    preloads = "".join(
        f'\n  <link rel="modulepreload" href="{address(name, files[name])}">' for name in ("sign_in.js", "oauth4webapi.js") if name in files
    )
    text = (HERE / "index.html").read_text(encoding="utf-8")
    for name in ("desk.css", "desk.svg", "desk.js"):
        text = text.replace(f'"desk/{name}"', f'"{address(name, files[name])}"')
    return File.of("text/html; charset=utf-8", text.replace("<!-- preloads -->", preloads.strip()).replace("{}", data, 1).encode())


FILES = {name: File.of(kind, (HERE / name).read_bytes()) for name, kind in KINDS.items() if (HERE / name).is_file()}
PAGE = page(os.environ, FILES)
COMMON = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"}
PAGE_HEADERS = {
    "Content-Security-Policy": security_policy(os.environ),
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{name}=()" for name in SWITCHED_OFF),
    "Strict-Transport-Security": "max-age=31536000",
    "Cache-Control": "no-cache",
}


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request. API Gateway passes only these two routes."""
    packed = "gzip" in str((event.get("headers") or {}).get("accept-encoding", ""))
    name = (event.get("pathParameters") or {}).get("file")
    if name is None:
        return _answer(PAGE, packed, PAGE_HEADERS)
    file = FILES.get(name)
    asked = (event.get("queryStringParameters") or {}).get("v")
    # A page of another release asks for that release's files. It then tells the user to load it again.
    if file is None or asked not in (None, file.digest):
        problem = {
            "type": "urn:titleholder:problem:route-not-found",
            "title": "Not Found",
            "status": 404,
            "detail": "There is no such file in this release.",
        }
        body = json.dumps(problem)
        headers = {**COMMON, "Content-Type": "application/problem+json", "Cache-Control": "no-store"}
        return {"statusCode": 404, "headers": headers, "isBase64Encoded": False, "body": body}
    # Without a digest the URL will name the next release's file, so browsers must not keep the file.
    return _answer(file, packed, {"Cache-Control": "public, max-age=31536000, immutable" if asked else "no-cache"})


def _answer(file: File, packed: bool, more: dict[str, str]) -> dict[str, Any]:
    headers = {**COMMON, **more, "Content-Type": file.kind, "Vary": "Accept-Encoding"}
    if packed:
        headers["Content-Encoding"] = "gzip"
    body = file.packed if packed else file.plain
    return {"statusCode": 200, "headers": headers, "isBase64Encoded": True, "body": base64.b64encode(body).decode()}
