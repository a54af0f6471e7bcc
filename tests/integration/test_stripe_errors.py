"""Errors of Stripe's API: which are repeated, what is noted for the waiter, and what the message says."""

from __future__ import annotations

from typing import Any

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
