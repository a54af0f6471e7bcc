"""A client of Titleholder's HTTP interface: JSON over HTTP, signed for IAM."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.aws.emulator import REGION
from local.command import failed_call

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. `body` is None if it was empty or not JSON."""

    status: int
    body: Any
    headers: Any


class Client:
    """Calls the HTTP interface at `base_url`. Without `credentials` it signs with the emulator's own key."""

    def __init__(self, base_url: str, credentials: Credentials | None = None) -> None:
        self._base = base_url
        self._credentials = credentials or Credentials("test", "test")
        self._session = requests.Session()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
        signed: bool = True,
    ) -> Answer:
        """Make one call. `raw` sends these bytes instead of a JSON `body`. Raises `CommandError` if there is no answer."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})} if data is not None else dict(headers or {})
        # What is sent is signed, so the address is encoded first.
        url = str(requests.Request(method, self._base + path).prepare().url)
        if signed:
            request = AWSRequest(method=method, url=url, data=data, headers=sent)
            SigV4Auth(self._credentials, "execute-api", REGION).add_auth(request)
            sent = dict(request.headers.items())
        try:
            answer = self._session.request(method, url, data=data, headers=sent, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            failed = failed_call(error)
            if failed is None:
                raise
            raise failed from None
        try:
            parsed = answer.json()
        except ValueError:
            parsed = None
        return Answer(answer.status_code, parsed, answer.headers)
