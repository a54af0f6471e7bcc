"""Errors of Stripe's API: which are repeated, what is noted for the waiter, and what the message says."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.refreshing import READ, REFRESH, outcome, serve
from tests.support.sandbox import Sandbox
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import LEASE_SECONDS
from titleholder.errors import (
    AccountNotFoundError,
    StripeCredentialsError,
    StripeRateLimitedError,
    StripeRefusedError,
    StripeServerError,
    StripeUnansweredError,
)
from titleholder.services.refresh_calls import Started
from titleholder.stripe_api import linking


class TestStripeErrors:
    @pytest.mark.parametrize(
        ("fault", "error", "trouble"),
        [
            ({"kind": "rate_limit"}, StripeRateLimitedError, "STRIPE_UNAVAILABLE"),
            ({"kind": "rate_limit", "reason": None}, StripeRateLimitedError, "STRIPE_UNAVAILABLE"),
            ({"kind": "server_error", "times": None}, StripeServerError, "STRIPE_UNAVAILABLE"),
            ({"kind": "conflict", "times": None}, StripeUnansweredError, "STRIPE_UNAVAILABLE"),
            ({"kind": "hang", "times": None}, StripeUnansweredError, "STRIPE_UNAVAILABLE"),
            ({"kind": "drop", "times": None}, StripeUnansweredError, "STRIPE_UNAVAILABLE"),
        ],
    )
    @pytest.mark.parametrize("path", [READ, REFRESH])
    def test_waiter_goes_on_waiting_with_the_error_noted(
        self, sandbox: Sandbox, path: str, fault: dict[str, Any], error: type[Exception], trouble: str
    ) -> None:
        ref = sandbox.link()
        sandbox.simulator.fail_api(path=path, **fault)
        with pytest.raises(error):
            serve(sandbox, ref)
        waiter = sandbox.store.waiters.get(ref, "ver_1")
        assert waiter is not None
        assert waiter.error == trouble
        assert outcome(sandbox) is None

    @pytest.mark.parametrize("kind", ["server_error", "conflict", "drop"])
    def test_transient_errors_are_retried_by_the_sdk(self, sandbox: Sandbox, kind: str) -> None:
        ref = sandbox.link()
        sandbox.simulator.fail_api(kind, path=READ, times=2)
        assert isinstance(serve(sandbox, ref), Started)

    def test_rate_limited_call_is_not_repeated_at_once(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.fail_api("rate_limit", times=None)
        with pytest.raises(StripeRateLimitedError):
            serve(sandbox, ref)
        assert len(sandbox.stripe_calls()) == 1

    def test_slowest_call_ends_within_the_lease(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.fail_api("hang", path=REFRESH, times=None)
        before = sandbox.clock.now
        with pytest.raises(StripeUnansweredError):
            serve(sandbox, ref)
        assert sandbox.clock.now - before < LEASE_SECONDS

    def test_error_for_a_refused_key_says_what_to_do(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.configure(api_keys=frozenset({"sk_test_other"}))
        with pytest.raises(StripeCredentialsError, match="StripeApiKeySecretName"):
            serve(sandbox, ref)
        waiter = sandbox.store.waiters.get(ref, "ver_1")
        assert waiter is not None
        assert waiter.error == "STRIPE_CREDENTIALS_REFUSED"

    def test_error_for_a_missing_permission_says_what_to_do(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.configure(denied={"sk_test_sandbox": frozenset({f"POST {REFRESH}"})})
        with pytest.raises(StripeCredentialsError, match="write access to Financial Connections"):
            serve(sandbox, ref)
        sandbox.simulator.configure(denied={})
        assert isinstance(serve(sandbox, ref), Started)

    @pytest.mark.parametrize(
        ("operation", "call", "resource"),
        [
            (
                "POST /v1/customers",
                lambda stripe: linking.create_customer(stripe, {"email": "a@b.test"}, None, "k"),
                "write access to Customers",
            ),
            ("GET /v1/customers/{id}", lambda stripe: linking.check_customer(stripe, "cus_1", None), "read access to Customers"),
            (
                "POST /v1/setup_intents",
                lambda stripe: linking.create_session(stripe, "setup_intent", {"customer": "cus_1"}, None, "k"),
                "write access to SetupIntents",
            ),
            (
                "POST /v1/payment_intents",
                lambda stripe: linking.create_session(stripe, "payment_intent", {"amount": 1, "currency": "usd"}, None, "k"),
                "write access to PaymentIntents",
            ),
            (
                "POST /v1/checkout/sessions",
                lambda stripe: linking.create_session(stripe, "checkout_session", {"mode": "setup", "currency": "usd"}, None, "k"),
                "write access to Checkout Sessions",
            ),
            ("GET /v1/payment_methods/{id}", lambda stripe: linking.payment_method(stripe, "pm_1", None), "read access to PaymentMethods"),
            ("GET /v1/events", lambda stripe: stripe.undelivered(None, ["x"], 0, None), "read access to Events"),
            ("GET /v2/core/events", lambda stripe: stripe.thin_events(None, ["x"], (0, 1), None), "read access to Events"),
            ("GET /v1/account", lambda stripe: stripe.account_of_calls(), "read access to the Stripe account itself"),
            (f"GET {READ}", lambda stripe: linking.account(stripe, "fca_1", None), "write access to Financial Connections"),
        ],
    )
    def test_error_for_a_missing_permission_names_what_was_denied(self, sandbox: Sandbox, operation: str, call: Any, resource: str) -> None:
        inner = sandbox.http_client.request
        sent: list[str] = []

        def request(method: str, url: str, *given: Any, **more: Any) -> Any:
            sent.append(f"{method.upper()} {urlsplit(url).path}")
            _, _, headers = inner(method, url, *given, **more)
            return json.dumps({"error": {"type": "invalid_request_error", "message": "a@b.test"}}), 403, headers

        sandbox.http_client.request = request  # type: ignore[method-assign]
        with pytest.raises(StripeCredentialsError) as refused:
            call(sandbox.deps.stripe)
        assert f"the key {resource}" in str(refused.value)
        assert ("registration" in str(refused.value)) == ("financial_connections" in operation)
        assert "_1" not in str(refused.value)
        assert len(sent) == 1
        assert sent[0].startswith(operation.partition("{")[0])

    def test_other_4xx_is_a_refusal(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("old")
        sandbox.deps.stripe.refresh(ref, "key")
        with pytest.raises(StripeRefusedError):
            sandbox.deps.stripe.refresh(ref, "another-key")

    def test_unknown_account_is_reported_as_not_found(self, sandbox: Sandbox) -> None:
        with pytest.raises(AccountNotFoundError):
            sandbox.deps.stripe.read(AccountRef("fca_unknown"))

    def test_account_of_another_connected_account_is_not_found(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(stripe_account="acct_1")
        for other in (None, "acct_2"):
            with pytest.raises(AccountNotFoundError):
                sandbox.deps.stripe.read(AccountRef(ref.account, stripe_account=other))

    def test_error_messages_do_not_repeat_stripes_message(self, sandbox: Sandbox) -> None:
        with pytest.raises(AccountNotFoundError) as unknown:
            sandbox.deps.stripe.read(AccountRef("fca_repeated"))
        assert "fca_repeated" not in str(unknown.value)
