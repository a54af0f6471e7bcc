"""Stripe API keys: rolled ones, ones that Stripe does not accept, live ones in a test stack."""

from __future__ import annotations

import pytest

from tests.support.refreshing import serve
from tests.support.sandbox import Sandbox
from titleholder.errors import (
    ConfigurationError,
)
from titleholder.services.refresh_calls import Started


class TestApiKeys:
    def test_rolled_key_is_loaded_when_the_old_one_is_refused(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.deps.stripe.read(ref)
        sandbox.simulator.configure(api_keys=frozenset({"rk_test_new"}))
        sandbox.set_secret("api-key", "rk_test_new")
        sandbox.wait(60)
        sandbox.deps.stripe.read(ref)
        assert sandbox.simulator.requests()[-1]["status"] == 200

    def test_previous_key_stays_in_use_while_stripe_refuses_the_new_one(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.configure(api_keys=frozenset({"sk_test_sandbox"}))
        sandbox.set_secret("api-key", "rk_test_new")
        assert isinstance(serve(sandbox, ref), Started)

    def test_live_key_in_a_test_stack_never_reaches_stripe(self, sandbox: Sandbox) -> None:
        sandbox.set_secret("api-key", "sk_live_key")
        ref = sandbox.link()
        with pytest.raises(ConfigurationError, match="live-mode key") as refused:
            serve(sandbox, ref)
        assert "sk_live_key" not in str(refused.value)
        assert sandbox.stripe_calls() == []

    def test_error_for_a_missing_key_says_where_to_store_it(self, sandbox: Sandbox) -> None:
        sandbox.delete_secret("api-key")
        with pytest.raises(ConfigurationError, match="StripeApiKeySecretName"):
            serve(sandbox, sandbox.link())
