"""Requests reach the SDK's own HTTP client in the form that it takes, and those without an answer are remembered."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import stripe

from titleholder.stripe_gateway import RecordingClient


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
