"""Waiting workflows are resumed when owners arrive, when the account ends, and after a worker died."""

from __future__ import annotations

import pytest

from tests.support.sandbox import Moment, Sandbox
from tests.support.verdicts import fetch
from titleholder.domain.accounts import AccountRef
from titleholder.services import account_sync

pytestmark = pytest.mark.slow


class TestWaking:
    @pytest.mark.parametrize(("scenario", "outcome"), [("single_owner", "ready"), ("failing", "not_verifiable")])
    def test_fifty_waiters_are_all_resumed_by_one_fetch(self, sandbox: Sandbox, scenario: str, outcome: str) -> None:
        ref = sandbox.link(scenario)
        sandbox.wait(2)
        waiters = [sandbox.waiter(f"ver_{number:02}") for number in range(50)]
        for waiter in waiters:
            sandbox.store.waiters.put(ref, waiter)
        started = sandbox.deps.stripe.refresh(ref, "key").state.refresh
        assert started is not None
        for waiter in waiters:
            sandbox.store.waiters.set_joined(ref, waiter, started.last_attempted_at, sandbox.clock.now)
        sandbox.wait(6)
        calls = len(sandbox.stripe_calls(ref))
        fetch(sandbox, ref)
        assert {(sandbox.outcome(waiter.task_token) or {}).get("outcome") for waiter in waiters} == {outcome}
        assert list(sandbox.store.waiters.of_account(ref)) == []
        assert len(sandbox.stripe_calls(ref)) == calls + 1

    def test_waiter_that_timed_out_does_not_keep_the_others_waiting(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        waiters = [sandbox.waiter(f"ver_{number}") for number in range(3)]
        for waiter in waiters:
            sandbox.store.waiters.put(ref, waiter)
        sandbox.tokens.open.remove(waiters[0].task_token)
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)
        fetch(sandbox, ref)
        assert [sandbox.outcome(waiter.task_token) is not None for waiter in waiters] == [False, True, True]
        assert list(sandbox.store.waiters.of_account(ref)) == []

    def test_fetch_that_dies_half_way_resumes_the_rest_when_repeated(self, sandbox: Sandbox) -> None:
        class DiedError(BaseException):
            pass

        ref = sandbox.link()
        waiters = [sandbox.waiter(f"ver_{number}") for number in range(4)]
        for waiter in waiters:
            sandbox.store.waiters.put(ref, waiter)
        sandbox.deps.stripe.refresh(ref, "key")
        sandbox.wait(6)

        def die(moment: Moment) -> None:
            if moment.operation == "send_task_success" and moment.when == "after" and len(sandbox.tokens.outcomes) == 2:
                sandbox.taps.clear()
                raise DiedError

        sandbox.taps.append(die)
        with pytest.raises(DiedError):
            account_sync.sync_account(sandbox.deps, ref)
        fetch(sandbox, ref)
        assert all(sandbox.outcome(waiter.task_token) for waiter in waiters)
        assert list(sandbox.store.waiters.of_account(ref)) == []

    def test_waiter_that_needs_newer_owners_goes_on_waiting(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        sandbox.wait(600)
        waiter = sandbox.waiter("ver_1", max_age=60)
        sandbox.store.waiters.put(ref, waiter)
        fetch(sandbox, ref)
        assert sandbox.outcome(waiter.task_token) is None
        assert len(list(sandbox.store.waiters.of_account(ref))) == 1

    def test_account_unknown_to_stripe_resumes_all_waiters(self, sandbox: Sandbox) -> None:
        ref = AccountRef("fca_gone")
        waiter = sandbox.waiter("ver_1")
        sandbox.store.waiters.put(ref, waiter)
        fetch(sandbox, ref)
        assert sandbox.outcome(waiter.task_token) == {"outcome": "not_verifiable", "reason": "ACCOUNT_NOT_FOUND"}

    @pytest.mark.parametrize(("action", "reason"), [("deactivate", "ACCOUNT_INACTIVE"), ("disconnect", "ACCOUNT_DISCONNECTED")])
    def test_account_that_ends_resumes_all_its_waiters(self, sandbox: Sandbox, action: str, reason: str) -> None:
        ref = sandbox.link("old")
        waiter = sandbox.waiter("ver_1")
        sandbox.store.waiters.put(ref, waiter)
        sandbox.simulator.change(ref.account, action=action)
        sandbox.settle()
        assert sandbox.outcome(waiter.task_token) == {"outcome": "not_verifiable", "reason": reason}
