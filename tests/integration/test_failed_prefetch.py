"""A refresh that failed before a request does not answer it: the request makes one attempt of its own, when Stripe allows it."""

from __future__ import annotations

import pytest

from tests.support.refreshing import outcome, serve
from tests.support.sandbox import Sandbox
from tests.support.verifications import get, post, work
from titleholder.domain.refresh_policy import CoolingDown
from titleholder.services import account_sync
from titleholder.services.refresh_calls import Started


@pytest.mark.parametrize("known", [False, True], ids=["not read before", "read before"])
@pytest.mark.parametrize("seconds", [0.0, 0.4, 1.0, 5.0])
def test_prefetch_that_failed_before_is_followed_by_one_attempt_when_stripe_allows_it(
    sandbox: Sandbox, seconds: float, known: bool
) -> None:
    ref = sandbox.link("cooling_down", policy={"cooldown_seconds": 1.0})
    if known:
        account_sync.sync_account(sandbox.deps, ref)
    sandbox.wait(seconds)
    asked = serve(sandbox, ref)
    if seconds < 1:
        assert asked == CoolingDown(int(sandbox.clock.now) + 1)
        sandbox.wait(1)
        asked = serve(sandbox, ref, "ver_2")
    assert isinstance(asked, Started)
    sandbox.wait(6)
    sandbox.settle()
    assert (outcome(sandbox, "ver_2" if seconds < 1 else "ver_1") or {})["outcome"] == "ready"
    assert sandbox.refreshes(ref) == 1


def test_own_attempt_that_fails_is_the_answer_and_the_only_one(sandbox: Sandbox) -> None:
    ref = sandbox.link("failing", policy={"cooldown_seconds": 0.0})
    sandbox.simulator.change(ref.account, action="prefetch")
    sandbox.wait(6)
    id = post(sandbox, account=ref.account).json["id"]
    work(sandbox, id)
    assert get(sandbox, id)["verdict"]["reasons"] == ["REFRESH_FAILED"]
    assert sandbox.refreshes(ref) == 1


def test_prefetch_that_is_under_way_is_joined_and_its_failure_is_the_answer(sandbox: Sandbox) -> None:
    ref = sandbox.link("failing", policy={"cooldown_seconds": 0.0})
    sandbox.simulator.change(ref.account, action="prefetch")
    id = post(sandbox, account=ref.account).json["id"]
    work(sandbox, id)
    assert get(sandbox, id)["verdict"]["reasons"] == ["REFRESH_FAILED"]
    assert sandbox.refreshes(ref) == 0


def test_attempt_of_this_stack_that_fails_after_several_requests_answers_them_all(sandbox: Sandbox) -> None:
    ref = sandbox.link("failing", policy={"settle_seconds": 1.0, "cooldown_seconds": 0.0})
    ids = [post(sandbox, account=ref.account, key=f"k{number}").json["id"] for number in range(4)]
    sandbox.wait(0.5)
    first = sandbox.enter(sandbox.store.verifications.get(ids[0]))
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(2)
    # The others' messages come after it has failed.
    tokens = [sandbox.enter(sandbox.store.verifications.get(id)) for id in ids[1:]]
    sandbox.settle()
    answers = {"outcome": "not_verifiable", "reason": "REFRESH_FAILED"}
    assert [sandbox.outcome(token) for token in (first, *tokens)] == [answers] * 4
    assert sandbox.refreshes(ref) == 1
