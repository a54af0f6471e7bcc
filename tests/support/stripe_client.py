"""The official SDK against the simulator, with every request and answer checked where Stripe's document is at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import stripe

from tests.support.stripe_openapi import from_environment

TEST_KEY = "sk_test_simulated"
LIVE_KEY = "sk_live_simulated"
REFUSED, MISSING = 400, 404


class CheckedHTTPClient(stripe.HTTPClient):
    """Passes all requests to another HTTP client of the SDK. `exchanges` holds (method, target, body, status, answer).

    Each request and each answer is judged, where Stripe's documents are at hand.
    """

    name = "checked"

    def __init__(self, inner: stripe.HTTPClient) -> None:
        super().__init__()
        self._inner = inner
        self.exchanges: list[tuple[str, str, str, int, str]] = []

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, *, _usage: list[str] | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        answer, status, answer_headers = self._inner.request(method, url, headers, post_data)
        answer = answer.decode() if isinstance(answer, bytes) else answer
        self.exchanges.append((method, target, post_data or "", status, answer))
        judge = from_environment()
        if judge is not None:
            version = (headers or {}).get("Stripe-Version")
            known = judge.validate_response(method, target, status, answer, version)
            if status != REFUSED:
                # A test that provokes a 400 sends, on purpose, what the document forbids.
                known = judge.validate_request(method, target, post_data or "", version)
            # An operation that this version lacks is answered 404.
            assert known or status == MISSING, f"no document describes {method} {target}"
        return answer, status, answer_headers

    def _sleep_time_seconds(self, num_retries: int) -> float:
        return 0.0

    def close(self) -> None:
        self._inner.close()


def client(http_client: stripe.HTTPClient, key: str = TEST_KEY, **options: Any) -> stripe.StripeClient:
    return stripe.StripeClient(key, http_client=http_client, **options)


def refusal(call: Callable[[], Any]) -> stripe.StripeError:
    """The SDK's error of a call. AssertionError if the call succeeds."""
    try:
        call()
    except stripe.StripeError as error:
        return error
    raise AssertionError("the call was not refused")
