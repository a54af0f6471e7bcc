"""Refreshes for workflows: started, joined while they are pending, waited for in a cooldown, refused. No wake-up is lost."""

from __future__ import annotations

import dataclasses

import pytest

from tests.support.refreshing import outcome, serve, wait_for, waiting
from tests.support.sandbox import Moment, Sandbox
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import CLOCK_SKEW, CoolingDown, Fresh, JoinPending, NotVerifiable
from titleholder.services import account_sync, refreshes
from titleholder.services.refresh_calls import Started
from titleholder.services.refreshes import RefreshRequest
from titleholder.timestamps import iso_seconds


class TestRefresh:
    def test_refresh_is_started_once_and_its_waiter_resumed_with_the_snapshot(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        assert serve(sandbox, ref) == Started(int(sandbox.clock.now), sandbox.clock.now)
        assert outcome(sandbox) is None
        sandbox.wait(6)
        sandbox.settle()
        assert outcome(sandbox) == {"outcome": "ready", "snapshot": sandbox.store.accounts.get(ref).snapshot}
        assert waiting(sandbox, ref) == set()
        assert sandbox.stripe_calls(ref) == ["GET {account}", "POST refresh", "GET {account}"]

    def test_waiter_is_stored_before_stripe_is_called(self, sandbox: Sandbox) -> None:
        ref, seen = sandbox.link(), []

        def watch(moment: Moment) -> None:
            if (moment.service, moment.when) == ("stripe", "before"):
                seen.append(waiting(sandbox, ref))

        sandbox.taps.append(watch)
        serve(sandbox, ref)
        assert seen == [{"ver_1"}, {"ver_1"}]

    def test_fresh_snapshot_resumes_at_once_without_stripe(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        account_sync.sync_account(sandbox.deps, ref)
        calls = sandbox.stripe_calls(ref)
        assert isinstance(serve(sandbox, ref, max_age=3600), Fresh)
        assert outcome(sandbox) == {"outcome": "ready", "snapshot": sandbox.store.accounts.get(ref).snapshot}
        assert sandbox.stripe_calls(ref) == calls
        assert sandbox.refreshes(ref) == 0

    def test_success_that_was_never_fetched_is_fetched_and_resumes_at_once(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        assert isinstance(serve(sandbox, ref, max_age=3600), Fresh)
        assert (outcome(sandbox) or {})["outcome"] == "ready"
        assert sandbox.refreshes(ref) == 0

    def test_success_without_owners_hash_is_not_verifiable(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh", details={"ownership": None})
        serve(sandbox, ref, max_age=3600)
        assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": "OWNERSHIP_MISSING"}

    def test_stale_snapshot_is_refreshed(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("old")
        assert isinstance(serve(sandbox, ref, max_age=30 * 86_400), Started)
        assert sandbox.refreshes(ref) == 1

    def test_connected_accounts_refresh_is_its_own(self, sandbox: Sandbox) -> None:
        platform = sandbox.link(id="fca_1")
        connected = sandbox.link(id="fca_1", stripe_account="acct_1")
        assert isinstance(serve(sandbox, connected), Started)
        assert (sandbox.refreshes(platform), sandbox.refreshes(connected)) == (0, 1)
        assert waiting(sandbox, platform) == set()
        assert {entry["stripe_account"] for entry in sandbox.simulator.requests()} == {"acct_1"}

    def test_request_with_an_outdated_token_does_nothing(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.store.waiters.put(ref, wait_for(sandbox, ref, "ver_1", turn="2"))
        assert serve(sandbox, ref, turn="1") is None
        assert sandbox.stripe_calls() == []

    def test_request_that_comes_after_the_verdict_pays_for_nothing_and_leaves_no_waiter(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        request = RefreshRequest(ref, wait_for(sandbox, ref))
        sandbox.store.waiters.put(ref, request.waiter)
        sandbox.store.verifications.complete("ver_1", {"outcome": "not_verifiable"}, sandbox.clock.now)
        assert refreshes.handle_request(sandbox.deps, request) is None
        assert sandbox.stripe_calls() == []
        assert waiting(sandbox, ref) == set()


class TestCooldown:
    def test_cooldown_resumes_with_its_end_and_the_next_request_refreshes(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("cooling_down")
        end = int(sandbox.clock.now) + 20
        sandbox.wait(2)
        assert serve(sandbox, ref) == CoolingDown(end)
        assert outcome(sandbox) == {"outcome": "cooling_down", "resume_at": iso_seconds(end)}
        assert sandbox.refreshes(ref) == 0
        sandbox.wait(18)
        request = RefreshRequest(ref, wait_for(sandbox, ref, "ver_1", turn="2"), resumed_at=end)
        assert isinstance(refreshes.handle_request(sandbox.deps, request), Started)
        assert sandbox.refreshes(ref) == 1
        assert sandbox.stripe_calls(ref) == ["GET {account}", "POST refresh"]

    def test_cooldown_beyond_the_deadline_is_not_waited_for(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("cooling_down")
        sandbox.wait(2)
        serve(sandbox, ref, patience=17)
        assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": "COOLDOWN_BEYOND_DEADLINE"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("scenario", "reason"),
        [
            ("inactive", "ACCOUNT_INACTIVE"),
            ("inactive_with_old_snapshot", "ACCOUNT_INACTIVE"),
            ("disconnected", "ACCOUNT_DISCONNECTED"),
            ("permission_missing", "PERMISSION_MISSING"),
            ("permissions_null", "PERMISSION_MISSING"),
            ("no_next_refresh", "REFRESH_UNAVAILABLE"),
        ],
    )
    def test_account_that_cannot_be_refreshed_gets_no_refresh_call(self, sandbox: Sandbox, scenario: str, reason: str) -> None:
        ref = sandbox.link(scenario)
        sandbox.wait(2)
        serve(sandbox, ref)
        assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": reason}
        assert sandbox.stripe_calls(ref) == ["GET {account}"]

    def test_unknown_account_is_not_verifiable(self, sandbox: Sandbox) -> None:
        assert serve(sandbox, AccountRef("fca_unknown")) == NotVerifiable("ACCOUNT_NOT_FOUND")
        assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": "ACCOUNT_NOT_FOUND"}

    @pytest.mark.parametrize("refusal", ["error", "silent"])
    @pytest.mark.parametrize("behind", ["deactivate", "disconnect", "prefetch"])
    def test_refusal_is_explained_by_reading_the_account_again(self, sandbox: Sandbox, behind: str, refusal: str) -> None:
        """Between our reading and our call the account changes, so that Stripe refuses."""
        ref = sandbox.link("old", policy={"refusal": refusal})

        def change(moment: Moment) -> None:
            if moment.operation.startswith("POST") and moment.when == "before":
                sandbox.taps.clear()
                sandbox.simulator.change(ref.account, action=behind)

        sandbox.taps.append(change)
        asked = serve(sandbox, ref)
        assert sandbox.refreshes(ref) == 0
        if behind == "prefetch":
            assert isinstance(asked, JoinPending | Started)
            assert outcome(sandbox) is None
        elif behind == "deactivate":
            assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": "ACCOUNT_INACTIVE"}
        elif refusal == "error":
            assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": "ACCOUNT_DISCONNECTED"}

    @pytest.mark.parametrize("refusal", ["error", "silent"])
    def test_refusal_while_our_clock_is_ahead_waits_out_the_difference(self, sandbox: Sandbox, refusal: str) -> None:
        ref = sandbox.link("cooling_down", policy={"refusal": refusal})
        opens_at = int(sandbox.clock.now) + 20
        fast = 3.0
        sandbox.wait(20 - fast)
        # Our clock says the cooldown is over; Stripe's does not.
        ahead = dataclasses.replace(sandbox.deps, clock=lambda: sandbox.clock() + fast)
        waiter = wait_for(sandbox, ref, "ver_1")
        assert refreshes.handle_request(ahead, RefreshRequest(ref, waiter)) == CoolingDown(opens_at + CLOCK_SKEW)
        assert sandbox.refreshes(ref) == 0
        sandbox.wait(fast + CLOCK_SKEW)
        request = RefreshRequest(ref, wait_for(sandbox, ref, "ver_1", turn="2"), resumed_at=opens_at + CLOCK_SKEW)
        assert isinstance(refreshes.handle_request(ahead, request), Started)

    @pytest.mark.parametrize("refusal", ["error", "silent"])
    def test_refusal_without_any_visible_reason_ends_the_waiting(self, sandbox: Sandbox, refusal: str) -> None:
        ref = sandbox.link("old", policy={"refusal": refusal})
        # The account does not show what Stripe refuses it for.
        state = sandbox.simulator.state(ref.account)["account"]["ownership_refresh"]
        hash_ = {**state, "next_refresh_available_at": int(sandbox.clock.now) - 3600}
        sandbox.simulator.change(ref.account, details={"ownership_refresh": hash_}, action="deactivate")
        sandbox.simulator.change(ref.account, details={"status": "active"})
        serve(sandbox, ref)
        reason = "ACCOUNT_INACTIVE" if refusal == "error" else "REFRESH_REFUSED"
        assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": reason}
        assert sandbox.refreshes(ref) == 0


class TestPending:
    def test_pending_refresh_is_joined_and_not_repeated(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending")
        assert isinstance(serve(sandbox, ref, "ver_1"), JoinPending)
        assert isinstance(serve(sandbox, ref, "ver_2"), JoinPending)
        assert sandbox.refreshes(ref) == 0
        sandbox.wait(6)
        sandbox.settle()
        assert (outcome(sandbox, "ver_1") or {})["outcome"] == (outcome(sandbox, "ver_2") or {})["outcome"] == "ready"

    def test_joined_refresh_answers_however_old_it_is(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending", policy={"settle_seconds": 300.0})
        sandbox.wait(200)
        serve(sandbox, ref, max_age=0)
        sandbox.wait(101)
        sandbox.settle()
        assert (outcome(sandbox) or {})["outcome"] == "ready"

    @pytest.mark.parametrize("result", ["succeeded", "failed"])
    @pytest.mark.parametrize("window", ["after reading", "after noting"])
    def test_refresh_that_settles_before_it_is_joined_still_resumes_its_waiter(self, sandbox: Sandbox, window: str, result: str) -> None:
        """The refresh settles, and is fetched, between the reading of the pending account and the note of what the waiter waits for."""
        ref = sandbox.link("prefetch_pending", policy={"settle_seconds": 100.0, "outcome": result})
        sandbox.wait(90)

        def settle_now(moment: Moment) -> None:
            reading = moment.operation.startswith("GET") and moment.when == "after"
            noting = moment.operation == "update_item" and ":joined" in str(moment.arguments) and moment.when == "before"
            if reading if window == "after reading" else noting:
                sandbox.taps.clear()
                sandbox.wait(11)
                sandbox.settle()
                assert outcome(sandbox) is None

        sandbox.taps.append(settle_now)
        assert isinstance(serve(sandbox, ref), JoinPending)
        assert sandbox.taps == []
        expected = {"succeeded": "ready", "failed": "not_verifiable"}
        assert (outcome(sandbox) or {})["outcome"] == expected[result]
        assert waiting(sandbox, ref) == set()

    def test_refresh_that_settles_between_storing_the_waiter_and_the_last_read_resumes_once(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending")

        def settle_now(moment: Moment) -> None:
            if moment.operation == "update_item" and ":joined" in str(moment.arguments) and moment.when == "after":
                sandbox.taps.clear()
                sandbox.wait(6)
                sandbox.settle()

        sandbox.taps.append(settle_now)
        serve(sandbox, ref)
        assert (outcome(sandbox) or {})["outcome"] == "ready"

    def test_next_request_makes_up_for_a_lost_webhook(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("lost_webhook")
        serve(sandbox, ref)
        sandbox.wait(900)
        sandbox.settle()
        assert outcome(sandbox) is None
        assert isinstance(serve(sandbox, ref, turn="2"), Fresh)
        assert (outcome(sandbox, turn="2") or {})["outcome"] == "ready"
        assert sandbox.refreshes(ref) == 1
