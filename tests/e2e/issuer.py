"""A token issuer on this machine: what API Gateway reads of one (its configuration, its keys), and tokens of every kind, good and bad."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "titleholder"
DESK = "desk"
"""The audience of people's tokens."""

APP_CLIENT = "3n4b5urk1ft4fl3mg5e62d9ado"
"""An app client in Amazon Cognito, whose tokens name it and no audience."""

SCOPE_PREFIX = "titleholder/"
"""As with a resource server `titleholder` in Amazon Cognito."""

PATH = "/eu-west-1_EXAMPLE"
"""As of a user pool in Amazon Cognito. Other issuers have a path as well."""

ACCOUNT_CLAIM = "https://titleholder.test/account"
ACCOUNT = "acct_token"
KEY_ID = "key-1"


class Issuer:
    """Serves for a `with` block; `url` is the issuer's name. `audience` and `subject` are those of its tokens."""

    def __init__(self, audience: str = AUDIENCE, subject: str = "back-end") -> None:
        self._audience, self._subject = audience, subject
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shown = issuer.documents().get(self.path)
                body = json.dumps(shown or {}).encode()
                self.send_response(200 if shown else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def __enter__(self) -> Issuer:
        threading.Thread(target=self._server.serve_forever, name="issuer", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def documents(self) -> dict[str, Any]:
        public = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key())), "kid": KEY_ID, "alg": "RS256", "use": "sig"}
        return {
            f"{PATH}/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            f"{PATH}/keys": {"keys": [public]},
        }

    def token(self, scope: str, /, *, key: Any = None, **claims: Any) -> str:
        """A token that is valid for an hour. `claims` replace its own; one that is None is left out. `key`: signs it.

        `scope`: its scopes. A word without a slash gets the prefix.
        """
        scope = " ".join(word if "/" in word else SCOPE_PREFIX + word for word in scope.split())
        now = int(time.time())
        content = {"iss": self.url, "aud": self._audience, "iat": now - 60, "exp": now + 3600, "sub": self._subject, "scope": scope}
        content |= {ACCOUNT_CLAIM: ACCOUNT, **claims}
        content = {name: value for name, value in content.items() if value is not None or name == ACCOUNT_CLAIM}
        return jwt.encode(content, key or self.key, algorithm="RS256", headers={"kid": KEY_ID})
