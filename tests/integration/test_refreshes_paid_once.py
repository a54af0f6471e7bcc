"""No refresh is paid for twice: concurrent callers, unanswered calls, workers that die, failures."""

from __future__ import annotations

from functools import partial

import pytest

from tests.support.interleave import Interleaving
from tests.support.refreshing import REFRESH, outcome, serve, wait_for
from tests.support.sandbox import Moment, Sandbox
from titleholder.domain.refresh_policy import LEASE_SECONDS, Fresh, JoinPending
from titleholder.domain.refresh_requests import CALL_SECONDS, AlreadyStarting
from titleholder.errors import (
    RateLimitExceededError,
    StripeServerError,
    StripeUnansweredError,
)
from titleholder.services import refreshes
from titleholder.services.refresh_calls import Started
from titleholder.services.refreshes import RefreshRequest

pytestmark = pytest.mark.slow


class TestNeverPaidTwice:
    @pytest.mark.parametrize("seed", range(3))
    def test_fifty_callers_at_once_start_one_refresh_and_are_all_resumed(self, sandbox: Sandbox, seed: int) -> None:
        sandbox.cold_start(STRIPE_CALLS_PER_SECOND="100")
        ref, race = sandbox.link(), Interleaving(seed)
        names = [f"ver_{number:02}" for number in range(50 if seed == 0 else 12)]
        requests = [RefreshRequest(ref, wait_for(sandbox, ref, name)) for name in names]
        sandbox.taps.append(race.tap)
        results = race.run([partial(refreshes.handle_request, sandbox.deps, request) for request in requests])
        sandbox.taps.clear()
        assert sandbox.refreshes(ref) == 1
        assert len({entry["idempotency_key"] for entry in sandbox.simulator.requests() if entry["method"] == "POST"}) == 1
        assert all(isinstance(result, Started | JoinPending | AlreadyStarting | RateLimitExceededError) for result in results), results
        # These come again through the queue.
        again = [
            request
            for request, result in zip(requests, results, strict=True)
            if isinstance(result, AlreadyStarting | RateLimitExceededError)
        ]
        for request in again:
            sandbox.wait(1)
            refreshes.handle_request(sandbox.deps, request)
        assert sandbox.refreshes(ref) == 1
        sandbox.wait(6)
        sandbox.settle()
        snapshot = sandbox.store.accounts.get(ref).snapshot
        assert {str(outcome(sandbox, name)) for name in names} == {str({"outcome": "ready", "snapshot": snapshot})}

    def test_waiter_that_was_resumed_meanwhile_starts_no_refresh_and_delays_no_other(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()

        def wake(moment: Moment) -> None:
            if moment.service == "dynamodb" and moment.arguments.get("Key", {}).get("pk") == {"S": "PACE#refresh"}:
                sandbox.taps.remove(wake)
                sandbox.store.waiters.remove(ref, "ver_1")

        sandbox.taps.append(wake)
        assert serve(sandbox, ref) == AlreadyStarting()
        assert sandbox.refreshes(ref) == 0
        assert isinstance(serve(sandbox, ref, "ver_2"), Started)

    @pytest.mark.parametrize("kind", ["hang", "drop"])
    @pytest.mark.parametrize("effect", ["before", "after"])
    def test_unanswered_call_is_repeated_under_its_key(self, sandbox: Sandbox, kind: str, effect: str) -> None:
        ref = sandbox.link(policy={"settle_seconds": 3600.0})
        sandbox.simulator.fail_api(kind, path=REFRESH, times=3, effect=effect, seconds=30.0)
        if (kind, effect) == ("drop", "after"):
            # The SDK's own second try is answered from the key's memory.
            sandbox.simulator.clear_faults()
            sandbox.simulator.fail_api(kind, path=REFRESH, times=None, effect=effect)
        with pytest.raises(StripeUnansweredError):
            serve(sandbox, ref)
        sandbox.simulator.clear_faults()
        sandbox.wait(LEASE_SECONDS)
        assert isinstance(serve(sandbox, ref), Started | JoinPending)
        assert sandbox.refreshes(ref) == 1
        keys = {entry["idempotency_key"] for entry in sandbox.simulator.requests() if entry["method"] == "POST"}
        assert len(keys) == 1

    def test_worker_that_dies_after_its_call_is_followed_without_a_second_refresh(self, sandbox: Sandbox) -> None:
        class DiedError(BaseException):
            pass

        def die(moment: Moment) -> None:
            if moment.operation.startswith("POST") and moment.when == "after":
                sandbox.taps.clear()
                raise DiedError

        ref = sandbox.link()
        sandbox.taps.append(die)
        with pytest.raises(DiedError):
            serve(sandbox, ref)
        assert isinstance(serve(sandbox, ref), AlreadyStarting)
        sandbox.wait(CALL_SECONDS)
        assert isinstance(serve(sandbox, ref), Fresh | JoinPending)
        sandbox.wait(6)
        sandbox.settle()
        assert (outcome(sandbox) or {})["outcome"] == "ready"
        assert sandbox.refreshes(ref) == 1

    def test_worker_that_dies_before_its_call_delays_the_next_one_by_the_lease_only(self, sandbox: Sandbox) -> None:
        class DiedError(BaseException):
            pass

        def die(moment: Moment) -> None:
            if moment.operation.startswith("POST") and moment.when == "before":
                sandbox.taps.clear()
                raise DiedError

        ref = sandbox.link()
        sandbox.taps.append(die)
        with pytest.raises(DiedError):
            serve(sandbox, ref)
        assert serve(sandbox, ref) == AlreadyStarting()
        sandbox.wait(LEASE_SECONDS)
        assert isinstance(serve(sandbox, ref), Started)
        assert sandbox.refreshes(ref) == 1

    @pytest.mark.parametrize("effect", ["before", "after"])
    def test_call_answered_500_is_not_repeated_under_its_key(self, sandbox: Sandbox, effect: str) -> None:
        """Stripe remembers the 500 under the key for a day, so no refresh would start with that key."""
        ref = sandbox.link()
        sandbox.simulator.fail_api("server_error", path=REFRESH, effect=effect)
        with pytest.raises(StripeServerError):
            serve(sandbox, ref)
        again = serve(sandbox, ref)
        assert isinstance(again, Started if effect == "before" else JoinPending)
        assert sandbox.refreshes(ref) == 1

    def test_failed_refresh_is_followed_by_another_key_after_its_cooldown(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("failing_then_succeeding")
        serve(sandbox, ref)
        sandbox.wait(6)
        sandbox.settle()
        assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": "REFRESH_FAILED"}
        sandbox.wait(120)
        serve(sandbox, ref, "ver_2")
        sandbox.wait(6)
        sandbox.settle()
        assert (outcome(sandbox, "ver_2") or {})["outcome"] == "ready"
        keys = {entry["idempotency_key"] for entry in sandbox.simulator.requests() if entry["method"] == "POST"}
        assert len(keys) == 2
