"""Requests reach the SDK's own HTTP client in the form that it takes, and those without an answer are remembered."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import stripe

from titleholder.stripe_api.gateway import RecordingClient


class Session(requests.Session):
    """A connection on which one request gets no answer."""

    def request(self, *arguments: Any, **more: Any) -> Any:
        raise requests.ConnectionError("refused")


def test_request_goes_through_the_sdks_own_client_and_is_remembered_as_unanswered() -> None:
    client = RecordingClient(stripe.RequestsClient(session=Session()))
    client.begin("key")
    with pytest.raises(stripe.APIConnectionError):
        client.request("post", "https://api.stripe.com/v1/customers", {"Idempotency-Key": "key"}, "", _usage=["customers"])
    assert client.end("key")


def test_request_is_not_repeated_once_its_call_is_not_wanted_any_more() -> None:
    sent: list[str] = []

    class Busy(stripe.RequestsClient):
        def request(self, *arguments: Any, **more: Any) -> Any:
            sent.append(arguments[0])
            return '{"error": {"code": "lock_timeout"}}', 409, {"stripe-should-retry": "true"}

        def _sleep_time_seconds(self, *_: Any) -> float:
            return 0.0

    for wanted, requests_ in ((lambda: True, 3), (lambda: False, 1)):
        sent.clear()
        http = RecordingClient(Busy())
        client = stripe.StripeClient("sk_test_x", http_client=http, max_network_retries=2)
        http.begin("key", wanted)
        with pytest.raises(stripe.StripeError):
            client.v1.financial_connections.accounts.refresh("fca_1", {"features": ["ownership"]}, {"idempotency_key": "key"})
        assert len(sent) == requests_
        # What became of the first request is not known.
        assert http.end("key")
