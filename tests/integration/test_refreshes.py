"""Starting refreshes for workflows: never paid for twice, joined when pending, no wake-up lost, refusals and outages survived."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.interleave import Interleaving
from tests.support.sandbox import CLAIM, Moment, Sandbox
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import CLOCK_SKEW, LEASE_SECONDS, CoolingDown, Fresh, JoinPending, NotVerifiable
from titleholder.domain.refresh_requests import CALL_SECONDS, AlreadyStarting
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import Verification, Waiter
from titleholder.errors import (
    AccountNotFoundError,
    ConfigurationError,
    RateLimitExceededError,
    StripeCredentialsError,
    StripeRateLimitedError,
    StripeRefusedError,
    StripeServerError,
    StripeUnansweredError,
)
from titleholder.services import account_sync, refreshes
from titleholder.services.refresh_calls import Started
from titleholder.services.refreshes import RefreshRequest
from titleholder.timestamps import iso_seconds

REFRESH = "/v1/financial_connections/accounts/{account}/refresh"
READ = "/v1/financial_connections/accounts/{account}"


def wait_for(sandbox: Sandbox, ref: AccountRef, verification: str = "ver_1", **waiting: Any) -> Waiter:
    """A waiter, and the verification that it waits for."""
    waiter = sandbox.waiter(verification, **waiting)
    need = waiter.need
    kept = Verification(
        verification, ref, "digest", {"version": "1"}, int(need.requested_at - need.not_before), need.requested_at, need.deadline, "request"
    )
    sandbox.store.verifications.create(kept, sandbox.store.claims.digest(ref, Sensitive(CLAIM)))
    return waiter


def serve(sandbox: Sandbox, ref: AccountRef, verification: str = "ver_1", **waiting: Any) -> Any:
    return refreshes.handle_request(sandbox.deps, RefreshRequest(ref, wait_for(sandbox, ref, verification, **waiting)))


def outcome(sandbox: Sandbox, verification: str = "ver_1", turn: str = "1") -> dict[str, Any] | None:
    return sandbox.outcome(f"token-of-{verification}-{turn}")


def waiting(sandbox: Sandbox, ref: AccountRef) -> set[str]:
    return {waiter.verification for waiter in sandbox.store.waiters.of_account(ref)}


class TestOrdinaryWay:
    def test_refresh_is_started_once_and_its_waiter_woken_with_the_snapshot(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        assert serve(sandbox, ref) == Started(int(sandbox.clock.now))
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

    def test_fresh_snapshot_wakes_at_once_without_stripe(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("fresh")
        account_sync.sync_account(sandbox.deps, ref)
        calls = sandbox.stripe_calls(ref)
        assert isinstance(serve(sandbox, ref, max_age=3600), Fresh)
        assert outcome(sandbox) == {"outcome": "ready", "snapshot": sandbox.store.accounts.get(ref).snapshot}
        assert sandbox.stripe_calls(ref) == calls
        assert sandbox.refreshes(ref) == 0

    def test_success_that_was_never_fetched_is_fetched_and_wakes_at_once(self, sandbox: Sandbox) -> None:
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

    def test_request_that_was_overtaken_by_a_later_turn_does_nothing(self, sandbox: Sandbox) -> None:
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
    def test_wakes_with_its_end_and_the_next_turn_refreshes(self, sandbox: Sandbox) -> None:
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

    def test_beyond_the_deadline_is_not_waited_for(self, sandbox: Sandbox) -> None:
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
    def test_account_that_cannot_be_refreshed_is_not_asked_to(self, sandbox: Sandbox, scenario: str, reason: str) -> None:
        ref = sandbox.link(scenario)
        sandbox.wait(2)
        serve(sandbox, ref)
        assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": reason}
        assert sandbox.stripe_calls(ref) == ["GET {account}"]

    def test_unknown_account(self, sandbox: Sandbox) -> None:
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
    def test_is_joined_and_not_repeated(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending")
        assert isinstance(serve(sandbox, ref, "ver_1"), JoinPending)
        assert isinstance(serve(sandbox, ref, "ver_2"), JoinPending)
        assert sandbox.refreshes(ref) == 0
        sandbox.wait(6)
        sandbox.settle()
        assert (outcome(sandbox, "ver_1") or {})["outcome"] == (outcome(sandbox, "ver_2") or {})["outcome"] == "ready"

    def test_joined_one_answers_however_old_it_is(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending", policy={"settle_seconds": 300.0})
        sandbox.wait(200)
        serve(sandbox, ref, max_age=0)
        sandbox.wait(101)
        sandbox.settle()
        assert (outcome(sandbox) or {})["outcome"] == "ready"

    @pytest.mark.parametrize("result", ["succeeded", "failed"])
    @pytest.mark.parametrize("window", ["after reading", "after noting"])
    def test_refresh_that_settles_before_it_is_joined_still_wakes(self, sandbox: Sandbox, window: str, result: str) -> None:
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

    def test_refresh_that_settles_between_the_note_and_the_last_look_wakes_once(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending")

        def settle_now(moment: Moment) -> None:
            if moment.operation == "update_item" and ":joined" in str(moment.arguments) and moment.when == "after":
                sandbox.taps.clear()
                sandbox.wait(6)
                sandbox.settle()

        sandbox.taps.append(settle_now)
        serve(sandbox, ref)
        assert (outcome(sandbox) or {})["outcome"] == "ready"

    def test_lost_webhook_is_healed_by_asking_again(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("lost_webhook")
        serve(sandbox, ref)
        sandbox.wait(900)
        sandbox.settle()
        assert outcome(sandbox) is None
        assert isinstance(serve(sandbox, ref, turn="2"), Fresh)
        assert (outcome(sandbox, turn="2") or {})["outcome"] == "ready"
        assert sandbox.refreshes(ref) == 1


class TestNeverPaidTwice:
    @pytest.mark.parametrize("seed", range(3))
    def test_fifty_callers_at_once_start_one_refresh_and_are_all_woken(self, sandbox: Sandbox, seed: int) -> None:
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

    def test_waiter_that_was_woken_meanwhile_pays_for_nothing_and_holds_up_nobody(self, sandbox: Sandbox) -> None:
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

    def test_caller_that_dies_after_its_call_is_followed_without_a_second_refresh(self, sandbox: Sandbox) -> None:
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

    def test_caller_that_dies_before_its_call_delays_the_next_one_by_the_lease_only(self, sandbox: Sandbox) -> None:
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
    def test_answered_500_is_not_repeated_under_its_key(self, sandbox: Sandbox, effect: str) -> None:
        """The key's memory holds the 500 for a day: under it no refresh would ever start."""
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


class TestStripesTroubles:
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
    def test_leave_the_waiter_waiting_with_its_trouble_noted(
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
    def test_that_pass_are_survived_by_the_sdks_own_tries(self, sandbox: Sandbox, kind: str) -> None:
        ref = sandbox.link()
        sandbox.simulator.fail_api(kind, path=READ, times=2)
        assert isinstance(serve(sandbox, ref), Started)

    def test_too_many_calls_are_not_repeated_at_once(self, sandbox: Sandbox) -> None:
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

    def test_refused_key_says_what_to_do(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.configure(api_keys=frozenset({"sk_test_other"}))
        with pytest.raises(StripeCredentialsError, match="StripeApiKeySecretName"):
            serve(sandbox, ref)
        waiter = sandbox.store.waiters.get(ref, "ver_1")
        assert waiter is not None
        assert waiter.error == "STRIPE_CREDENTIALS_REFUSED"

    def test_missing_right_says_what_to_do(self, sandbox: Sandbox) -> None:
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

    def test_unknown_account_is_named_so(self, sandbox: Sandbox) -> None:
        with pytest.raises(AccountNotFoundError):
            sandbox.deps.stripe.read(AccountRef("fca_unknown"))

    def test_account_of_another_connected_account_is_unknown(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(stripe_account="acct_1")
        for other in (None, "acct_2"):
            with pytest.raises(AccountNotFoundError):
                sandbox.deps.stripe.read(AccountRef(ref.account, stripe_account=other))

    def test_messages_never_repeat_stripes_own(self, sandbox: Sandbox) -> None:
        with pytest.raises(AccountNotFoundError) as unknown:
            sandbox.deps.stripe.read(AccountRef("fca_repeated"))
        assert "fca_repeated" not in str(unknown.value)


class TestApiKeys:
    def test_rolled_one_is_loaded_when_the_old_one_is_refused(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.deps.stripe.read(ref)
        sandbox.simulator.configure(api_keys=frozenset({"rk_test_new"}))
        sandbox.set_secret("api-key", "rk_test_new")
        sandbox.wait(60)
        sandbox.deps.stripe.read(ref)
        assert sandbox.simulator.requests()[-1]["status"] == 200

    def test_new_one_that_is_not_yet_good_leaves_the_previous_one_in_use(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        sandbox.simulator.configure(api_keys=frozenset({"sk_test_sandbox"}))
        sandbox.set_secret("api-key", "rk_test_new")
        assert isinstance(serve(sandbox, ref), Started)

    def test_live_one_in_a_test_stack_never_reaches_stripe(self, sandbox: Sandbox) -> None:
        sandbox.set_secret("api-key", "sk_live_key")
        ref = sandbox.link()
        with pytest.raises(ConfigurationError, match="live-mode key") as refused:
            serve(sandbox, ref)
        assert "sk_live_key" not in str(refused.value)
        assert sandbox.stripe_calls() == []

    def test_missing_one_says_where_to_store_it(self, sandbox: Sandbox) -> None:
        sandbox.delete_secret("api-key")
        with pytest.raises(ConfigurationError, match="StripeApiKeySecretName"):
            serve(sandbox, sandbox.link())


def message(ref: AccountRef, waiter: Waiter) -> dict[str, Any]:
    """What `verify_account` sends."""
    return {
        "task_token": waiter.task_token,
        "entered": "2027-01-15T08:00:00.000Z",
        "retry": 0,
        "verification": waiter.verification,
        "ref": ref.as_dict(),
        "not_before": waiter.need.not_before,
        "requested_at": waiter.need.requested_at,
        "deadline": waiter.need.deadline,
        "resume_at": None,
    }


class TestQueueConsumer:
    def test_message_of_the_workflow_is_served(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
        token = sandbox.enter(sandbox.store.verifications.get(created.json["id"]))
        assert sandbox.consume(sandbox.refresh_queue) == []
        sandbox.wait(6)
        sandbox.settle()
        assert (sandbox.outcome(token) or {})["outcome"] == "ready"

    @pytest.mark.parametrize(("seconds", "told"), [(0, 0), (200, 1)])
    def test_settle_timeout_of_a_message_that_came_late_starts_with_its_refresh(self, sandbox: Sandbox, seconds: int, told: int) -> None:
        """Else the workflow would ask while the refresh may still settle, be told to wait, and lose another settle timeout."""
        ref = sandbox.link()
        created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
        token = sandbox.enter(sandbox.store.verifications.get(created.json["id"]))
        sandbox.wait(seconds)
        assert sandbox.consume(sandbox.refresh_queue) == []
        assert sandbox.refreshes(ref) == 1
        assert sandbox.tokens.heartbeats == told * [token]

    def test_message_that_fails_comes_back_after_a_pause_and_succeeds(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
        sandbox.enter(sandbox.store.verifications.get(created.json["id"]))
        sandbox.simulator.fail_api("rate_limit", path=REFRESH)
        assert len(sandbox.consume(sandbox.refresh_queue)) == 1
        assert sandbox.consume(sandbox.refresh_queue) == []
        assert sandbox.refreshes(ref) == 0
        sandbox.wait(2.1)
        assert sandbox.consume(sandbox.refresh_queue) == []
        assert sandbox.refreshes(ref) == 1

    @pytest.mark.parametrize("body", ["{", "[]", "{}", '{"ref": {"account": "cus_1", "mode": "test"}, "verification": "v"}'])
    def test_message_that_is_none_is_buried_in_the_end_with_its_reason(self, sandbox: Sandbox, body: str) -> None:
        client = sandbox.client("sqs")
        client.send_message(QueueUrl=sandbox.refresh_queue, MessageBody=body)
        for _ in range(10):
            sandbox.consume_raw(sandbox.refresh_queue)
            sandbox.wait(121)
        (letter,) = client.receive_message(QueueUrl=sandbox.refresh_dead, MessageAttributeNames=["All"])["Messages"]
        assert letter["Body"] == body
        assert letter["MessageAttributes"]["reason"]["StringValue"]
        assert sandbox.stripe_calls() == []

    def test_burst_is_spread_at_stripes_pace_without_sleeping(self, sandbox: Sandbox) -> None:
        sandbox.cold_start(STRIPE_CALLS_PER_SECOND="5")
        for number in range(16):
            ref = sandbox.link(id=f"fca_{number}")
            sandbox.send(sandbox.refresh_queue, message(ref, wait_for(sandbox, ref, f"ver_{number}")))
        started = []
        for _ in range(5):
            sandbox.consume(sandbox.refresh_queue)
            started.append(sum(sandbox.simulator.initiated_refreshes().values()))
            sandbox.wait(1.001)
        assert started == [2, 6, 11, 16, 16]
        assert sandbox.simulator.request_counts()["peaks"]["POST /v1/financial_connections/accounts/{account}/refresh"] <= 5

    def test_outage_of_the_table_leaves_the_message_in_the_queue(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
        sandbox.enter(sandbox.store.verifications.get(created.json["id"]))

        def fail(moment: Moment) -> None:
            if moment.service == "dynamodb":
                raise ClientError({"Error": {"Code": "InternalServerError", "Message": "canary"}}, "UpdateItem")

        sandbox.taps.append(fail)
        assert len(sandbox.consume(sandbox.refresh_queue)) == 1
        assert len(sandbox.messages(sandbox.refresh_queue)) == 1
