"""Refresh calls whose outcome is unknown: no second key is used while Stripe may still execute the first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.refreshing import REFRESH, outcome, serve
from tests.support.sandbox import Moment, Sandbox
from titleholder.domain.accounts import AccountRef, AccountState, OwnershipRefresh
from titleholder.domain.refresh_policy import LEASE_SECONDS, FreshnessRequirement, JoinPending, StartRefresh
from titleholder.errors import StripeError, StripeLaggingError, StripeServerError, StripeUnansweredError
from titleholder.services import account_sync, refresh_calls
from titleholder.services.refresh_calls import Started

pytestmark = pytest.mark.slow

INCONCLUSIVE: dict[str, dict[str, Any]] = {
    "429": {"kind": "rate_limit"},
    "lock timeout": {"kind": "rate_limit", "reason": None},
    "5xx": {"kind": "server_error", "stored": False, "times": 3},
    "409": {"kind": "conflict", "times": 3},
    "no answer": {"kind": "hang", "times": 3},
}
QUICK = {"settle_seconds": 1.0, "cooldown_seconds": 1.0}
"""A cooldown so short that Stripe itself does not keep a second call from being paid."""


@pytest.fixture
def ref(sandbox: Sandbox) -> AccountRef:
    return sandbox.link(policy=QUICK)


def keys(sandbox: Sandbox) -> set[str]:
    return {entry["idempotency_key"] for entry in sandbox.simulator.requests() if entry["method"] == "POST"}


def fail(sandbox: Sandbox, *faults: dict[str, Any]) -> None:
    for fault in faults:
        sandbox.simulator.fail_api(**{"path": REFRESH, **fault})


def late(seconds: float) -> dict[str, Any]:
    return {"kind": "late", "seconds": seconds}


def end(sandbox: Sandbox, ref: AccountRef) -> None:
    """Everything that may still happen happens: late calls, refreshes, deliveries, and one more request of the waiter."""
    sandbox.simulator.clear_faults()
    for turn in range(2, 6):
        sandbox.wait(120)
        sandbox.settle()
        if outcome(sandbox) is None and all(outcome(sandbox, turn=str(past)) is None for past in range(2, turn)):
            serve(sandbox, ref, turn=str(turn), max_age=3600)
    sandbox.settle()


@pytest.mark.parametrize("answer", INCONCLUSIVE)
def test_answer_to_a_later_call_says_nothing_about_one_that_was_not_answered(sandbox: Sandbox, ref: AccountRef, answer: str) -> None:
    fail(sandbox, late(100), {"kind": "hang", "times": 2}, INCONCLUSIVE[answer])
    for _ in range(2):
        with pytest.raises(StripeUnansweredError):
            serve(sandbox, ref)
    sandbox.simulator.clear_faults()
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    end(sandbox, ref)
    assert len(keys(sandbox)) == 1
    assert sandbox.refreshes(ref) == 1


@pytest.mark.parametrize("answer", ["429", "lock timeout", "5xx"])
def test_answer_to_the_sdks_own_repetition_says_nothing_about_the_first_request(sandbox: Sandbox, ref: AccountRef, answer: str) -> None:
    """Within one call the SDK repeats a request that was not answered, and reports the last answer alone."""
    last = {**INCONCLUSIVE[answer], "times": 1 if answer != "5xx" else 2}
    fail(sandbox, late(100), last)
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    sandbox.wait(LEASE_SECONDS)
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    end(sandbox, ref)
    assert len(keys(sandbox)) == 1
    assert sandbox.refreshes(ref) == 1


@pytest.mark.parametrize(
    "trouble", [{"api_keys": frozenset({"sk_test_other"})}, {"denied": {"sk_test_sandbox": frozenset({f"POST {REFRESH}"})}}]
)
def test_refused_key_says_nothing_about_a_call_before_it(sandbox: Sandbox, ref: AccountRef, trouble: dict[str, Any]) -> None:
    fail(sandbox, late(100), {"kind": "hang", "times": 2})
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    sandbox.simulator.configure(**trouble)
    with pytest.raises(StripeError):
        serve(sandbox, ref)
    sandbox.simulator.configure(api_keys=None, denied={})
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    end(sandbox, ref)
    assert len(keys(sandbox)) == 1
    assert sandbox.refreshes(ref) == 1


def test_refusal_that_the_account_does_not_explain_is_not_final_while_a_call_may_be_executed(sandbox: Sandbox) -> None:
    """Stripe refuses before it looks at the key, because the account is inactive for a moment. A reading does not show that."""
    ref = sandbox.link("old", policy=QUICK)
    fail(sandbox, {"kind": "hang", "times": 3})
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    sandbox.simulator.change(ref.account, action="deactivate", details={"status": "active"})
    shown = sandbox.simulator.state(ref.account)["account"]["ownership_refresh"]
    sandbox.simulator.change(ref.account, details={"ownership_refresh": {**shown, "next_refresh_available_at": 1}})
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    assert outcome(sandbox) is None
    # Stripe keeps the refusal under the key: the second time it is certain that no refresh was started, so the next call has another key.
    with pytest.raises(StripeLaggingError):
        serve(sandbox, ref)
    assert outcome(sandbox) is None
    serve(sandbox, ref)
    assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": "ACCOUNT_INACTIVE"}
    assert len(keys(sandbox)) == 2


def test_kept_500_ends_the_doubt_and_the_next_call_has_a_key_of_its_own(sandbox: Sandbox, ref: AccountRef) -> None:
    fail(sandbox, {"kind": "hang", "times": 3}, {"kind": "server_error"})
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    # Stripe remembers the 500 under the key for a day, so the SDK's own repetition gets it again.
    with pytest.raises(StripeServerError):
        serve(sandbox, ref)
    assert isinstance(serve(sandbox, ref), Started)
    assert len(keys(sandbox)) == 2
    assert sandbox.refreshes(ref) == 1


def test_unanswered_request_whose_repetition_succeeds_within_the_call_is_no_doubt(sandbox: Sandbox, ref: AccountRef) -> None:
    fail(sandbox, {"kind": "drop", "effect": "after"})
    assert isinstance(serve(sandbox, ref), Started)
    attempt = sandbox.store.accounts.get(ref).attempt
    assert attempt is not None
    assert not attempt.open


@pytest.mark.parametrize("answer", ["429", "5xx"])
def test_answered_call_is_followed_by_another_key(sandbox: Sandbox, ref: AccountRef, answer: str) -> None:
    fail(sandbox, INCONCLUSIVE[answer])
    with pytest.raises(StripeError):
        serve(sandbox, ref)
    assert isinstance(serve(sandbox, ref), Started)
    assert len(keys(sandbox)) == 2


def test_call_executed_late_is_joined_when_it_shows(sandbox: Sandbox) -> None:
    ref = sandbox.link(policy={"settle_seconds": 60.0})
    fail(sandbox, late(40), {"kind": "hang", "times": 2})
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    sandbox.wait(20)
    assert isinstance(serve(sandbox, ref), JoinPending)
    sandbox.wait(61)
    sandbox.settle()
    assert (outcome(sandbox) or {})["outcome"] == "ready"
    assert sandbox.refreshes(ref) == 1


def test_caller_over_http_is_told_to_come_again_and_pays_once(sandbox: Sandbox, ref: AccountRef) -> None:
    fail(sandbox, late(100), {"kind": "rate_limit"})
    path = f"/accounts/{ref.account}/refreshes"
    answers = [sandbox.http("POST", path).status for _ in range(2)]
    assert answers == [503, 503]
    sandbox.wait(120)
    assert sandbox.http("POST", path).status == 200
    assert len(keys(sandbox)) == 1
    assert sandbox.refreshes(ref) == 1


def test_answer_that_cannot_be_read_leaves_the_call_in_doubt(sandbox: Sandbox, ref: AccountRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy on the way answers 200 with a page of its own, after Stripe has executed the call."""
    original = sandbox.http_client.request

    def request(method: str, *rest: Any, **more: Any) -> Any:
        answer = original(method, *rest, **more)
        return ("<html>", 200, answer[2]) if method == "post" else answer

    monkeypatch.setattr(sandbox.http_client, "request", request)
    with pytest.raises(StripeUnansweredError):
        serve(sandbox, ref)
    attempt = sandbox.store.accounts.get(ref).attempt
    assert attempt is not None
    assert attempt.open


class TestAnswerThatStripeKept:
    """Stripe answers a repeated call as it answered the first request, however the account has changed since."""

    @pytest.fixture(params=[("single_owner", "error"), ("single_owner", "silent"), ("old", "error"), ("old", "silent")], ids="-".join)
    def refused(self, sandbox: Sandbox, request: pytest.FixtureRequest) -> AccountRef:
        """An account that was inactive when a call without an answer was executed, and that is active again."""
        scenario, refusal = request.param
        ref = sandbox.link(scenario, policy={**QUICK, "refusal": refusal})
        sandbox.settle()
        fail(sandbox, late(100), {"kind": "hang", "times": 2})
        with pytest.raises(StripeUnansweredError):
            serve(sandbox, ref)
        sandbox.simulator.change(ref.account, action="deactivate")
        sandbox.wait(200)
        sandbox.simulator.change(ref.account, action="reactivate")
        sandbox.settle()
        assert sandbox.refreshes(ref) == 0
        return ref

    def test_refusal_of_an_account_that_is_active_again_is_not_the_answer(self, sandbox: Sandbox, refused: AccountRef) -> None:
        with pytest.raises(StripeLaggingError):
            serve(sandbox, refused, turn="2")
        assert outcome(sandbox, turn="2") is None
        assert self.status(sandbox, refused) == "active"
        assert isinstance(serve(sandbox, refused, turn="2"), Started)
        assert len(keys(sandbox)) == 2
        sandbox.wait(5)
        sandbox.settle()
        assert (outcome(sandbox, turn="2") or {})["outcome"] == "ready"

    def test_caller_over_http_is_told_to_come_again(self, sandbox: Sandbox, refused: AccountRef) -> None:
        path = f"/accounts/{refused.account}/refreshes"
        assert sandbox.http("POST", path).status == 503
        assert sandbox.http("POST", path).status == 202

    def test_start_of_a_refresh_does_not_make_an_account_active_that_is_known_as_inactive(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(policy={"settle_seconds": 600.0, "read_lag_seconds": 20})
        sandbox.wait(30)
        fail(sandbox, {"kind": "drop", "effect": "after", "times": 3})
        with pytest.raises(StripeUnansweredError):
            serve(sandbox, ref)
        sandbox.simulator.clear_faults()

        def deactivated(moment: Moment) -> None:
            if moment.operation == "update_item" and "attempt_calls" in str(moment.arguments) and moment.when == "after":
                sandbox.taps.clear()
                known = sandbox.store.accounts.get(ref)
                assert known.state is not None
                state = replace(known.state, status="inactive")
                account_sync.observe(sandbox.deps, ref, state, known.observed_at + 0.001, known.observed_calls, known, open_=True)

        sandbox.taps.append(deactivated)
        assert isinstance(serve(sandbox, ref), Started)
        assert self.status(sandbox, ref) == "inactive"
        assert sandbox.refreshes(ref) == 1

    @staticmethod
    def status(sandbox: Sandbox, ref: AccountRef) -> str | None:
        known = sandbox.store.accounts.get(ref).state
        return None if known is None else known.status


def test_refresh_from_before_an_unanswered_call_that_is_seen_late_does_not_change_its_key(sandbox: Sandbox, ref: AccountRef) -> None:
    """Such as a prefetch: Stripe may still execute the call, and would execute one with another key, too."""
    fail(sandbox, late(1000), {"kind": "hang", "times": 20})
    began = sandbox.clock()
    need = FreshnessRequirement(not_before=began, requested_at=began, deadline=began + 3600)
    with pytest.raises(StripeUnansweredError):
        refresh_calls.start(sandbox.deps, ref, need, StartRefresh(0), sandbox.store.accounts.get(ref), None)
    before = OwnershipRefresh(status="succeeded", last_attempted_at=int(began) - 5, next_refresh_available_at=int(began))
    seen = replace(
        sandbox.store.accounts.get(ref),
        state=AccountState(status="active", permissions=("ownership",), refresh=before),
        shown_since=began - 3,
    )
    with pytest.raises(StripeUnansweredError):
        refresh_calls.start(sandbox.deps, ref, need, StartRefresh(before.last_attempted_at), seen, None)
    assert len(keys(sandbox)) == 1
