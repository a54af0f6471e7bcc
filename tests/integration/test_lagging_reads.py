"""Reads of an account that show it as it was some seconds ago: nothing is decided by a reading that is older than what is known."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.refreshing import REFRESH, outcome, serve, wait_for
from tests.support.sandbox import Moment, Sandbox
from titleholder.domain.accounts import AccountRef
from titleholder.domain.refresh_policy import Fresh, JoinPending
from titleholder.domain.refresh_requests import AlreadyStarting
from titleholder.errors import StripeError, StripeLaggingError, StripeServerError
from titleholder.services import account_sync, refreshes
from titleholder.services.refresh_calls import Started
from titleholder.services.refreshes import RefreshRequest

pytestmark = pytest.mark.slow

EVENT = "financial_connections.account.refreshed_ownership"


@pytest.fixture(params=["error", "silent"])
def refusal(request: pytest.FixtureRequest) -> str:
    """How Stripe refuses a refresh."""
    return str(request.param)


def link(sandbox: Sandbox, scenario: str = "single_owner", **policy: Any) -> AccountRef:
    return sandbox.link(scenario, policy={"read_lag_seconds": 4, "settle_seconds": 60.0, **policy})


def posts(sandbox: Sandbox) -> int:
    return sum(entry["method"] == "POST" for entry in sandbox.simulator.requests())


def settle_all(sandbox: Sandbox, seconds: int = 70) -> None:
    for _ in range(seconds):
        sandbox.settle()
        sandbox.wait(1)


class TestWhileARefreshRuns:
    @pytest.mark.parametrize("scenario", ["single_owner", "old"])
    def test_read_from_before_it_starts_no_other_one(self, sandbox: Sandbox, scenario: str, refusal: str) -> None:
        ref = link(sandbox, scenario, refusal=refusal)
        sandbox.wait(10)
        names = ["ver_1", "ver_2", "ver_3"]
        asked = []
        for name in names:
            asked.append(serve(sandbox, ref, name))
            sandbox.wait(1)
        assert posts(sandbox) == 1
        assert [type(one) for one in asked] == [Started, JoinPending, JoinPending]
        assert [outcome(sandbox, name) for name in names] == [None] * 3
        settle_all(sandbox)
        assert [(outcome(sandbox, name) or {})["outcome"] for name in names] == ["ready"] * 3
        assert sandbox.refreshes(ref) == 1

    def test_caller_over_http_is_told_that_it_is_pending(self, sandbox: Sandbox, refusal: str) -> None:
        ref = link(sandbox, refusal=refusal)
        path = f"/accounts/{ref.account}/refreshes"
        assert sandbox.http("POST", path).status == 202
        sandbox.wait(1)
        answer = sandbox.http("POST", path)
        assert (answer.status, answer.json["status"]) == (200, "pending")
        assert posts(sandbox) == 1
        assert sandbox.http("GET", f"/accounts/{ref.account}").json["ownership_refresh"]["status"] == "pending"

    def test_crash_between_stripes_answer_and_its_record_leads_to_no_second_key(self, sandbox: Sandbox, refusal: str) -> None:
        ref = link(sandbox, refusal=refusal)

        def die(moment: Moment) -> None:
            values = str(moment.arguments.get("ExpressionAttributeNames", {})) + str(moment.arguments.get("UpdateExpression", ""))
            if moment.operation == "update_item" and "attempt_open" in values and "attempt_key" not in values and moment.when == "after":
                sandbox.taps.clear()
                raise RuntimeError

        sandbox.taps.append(die)
        with pytest.raises(RuntimeError):
            serve(sandbox, ref)
        sandbox.wait(1)
        assert isinstance(serve(sandbox, ref, "ver_2"), JoinPending | AlreadyStarting)
        assert posts(sandbox) == 1

    @pytest.mark.parametrize("effect", ["before", "after"])
    def test_call_that_was_answered_by_500_and_took_effect_is_not_refused_for_good(
        self, sandbox: Sandbox, effect: str, refusal: str
    ) -> None:
        ref = link(sandbox, refusal=refusal)
        sandbox.simulator.fail_api("server_error", path=REFRESH, effect=effect)
        with pytest.raises(StripeServerError):
            serve(sandbox, ref)
        for turn in range(2, 9):
            sandbox.wait(1)
            try:
                asked = serve(sandbox, ref, turn=str(turn))
            except StripeLaggingError:
                continue
            break
        assert isinstance(asked, Started | JoinPending)
        assert sandbox.refreshes(ref) == 1

    @pytest.mark.parametrize("stored", [True, False])
    @pytest.mark.parametrize("last", ["rate_limit", "hang", "conflict", None])
    def test_500_that_took_effect_is_not_forgotten_for_the_answer_to_the_sdks_own_repetition(
        self, sandbox: Sandbox, stored: bool, last: str | None
    ) -> None:
        """Within one call the SDK repeats a request that was answered by 500, and reports the last answer alone."""
        ref = link(sandbox, refusal="error", read_lag_seconds=20)
        sandbox.wait(30)
        sandbox.simulator.fail_api("server_error", path=REFRESH, effect="after", stored=stored)
        if last is not None:
            sandbox.simulator.fail_api(last, path=REFRESH, times=1 if last == "rate_limit" else 2)
        for turn in range(1, 10):
            try:
                asked = serve(sandbox, ref, turn=str(turn))
            except StripeError:
                sandbox.wait(3)
                continue
            break
        assert isinstance(asked, Started | JoinPending)
        assert sandbox.refreshes(ref) == 1

    def test_lists_lag_and_reads_too(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(
            "old", customer="cus_1", policy={"read_lag_seconds": 4, "list_lag_seconds": 2, "settle_seconds": 60.0, "refusal": "error"}
        )
        sandbox.wait(60)
        for number in range(3):
            serve(sandbox, ref, f"ver_{number}")
            account_sync.sync_account(sandbox.deps, ref)
            sandbox.wait(1)
        assert posts(sandbox) == 1
        settle_all(sandbox)
        assert (outcome(sandbox, "ver_2") or {})["outcome"] == "ready"


class TestAfterARefreshHasSettled:
    def test_event_that_comes_before_stripe_shows_its_effect_is_looked_into_again(self, sandbox: Sandbox) -> None:
        ref = link(sandbox, settle_seconds=5.0)
        serve(sandbox, ref)
        sandbox.wait(5)
        sandbox.settle()
        assert outcome(sandbox) is None
        settle_all(sandbox, 7)
        assert outcome(sandbox) == {"outcome": "ready", "snapshot": sandbox.store.accounts.get(ref).snapshot}

    @pytest.mark.parametrize("outcome_", ["succeeded", "failed"])
    def test_event_that_comes_before_its_refresh_is_recorded_is_looked_into_again(self, sandbox: Sandbox, outcome_: str) -> None:
        """The worker that asked for the refresh is slow to record it, and reads show the refresh before it."""
        ref = sandbox.link(
            "fresh",
            policy={"read_lag_seconds": 4, "settle_seconds": 3.0, "cooldown_seconds": 30.0, "ownership": "null", "outcome": outcome_},
        )
        sandbox.wait(60)
        account_sync.sync_account(sandbox.deps, ref)
        sandbox.wait(60)

        def settle(moment: Moment) -> None:
            if moment.operation.startswith("POST") and moment.when == "after":
                sandbox.taps.clear()
                sandbox.wait(3)
                sandbox.settle()

        sandbox.taps.append(settle)
        serve(sandbox, ref)
        assert outcome(sandbox) is None
        settle_all(sandbox, 8)
        assert (outcome(sandbox) or {})["outcome"] == "not_verifiable"

    def test_refresh_of_another_caller_is_looked_for_until_a_read_shows_it(self, sandbox: Sandbox) -> None:
        """Each read that does not show it yet makes what is known younger than the event, but no truer."""
        ref = sandbox.link("failing_then_succeeding", policy={"read_lag_seconds": 25, "settle_seconds": 1.0})
        serve(sandbox, ref)
        settle_all(sandbox, 80)
        failed = sandbox.store.accounts.get(ref)
        assert failed.state is not None
        assert failed.state.refresh is not None
        assert failed.state.refresh.status == "failed"
        sandbox.simulator.change(ref.account, action="prefetch")
        settle_all(sandbox, 80)
        known = sandbox.store.accounts.get(ref)
        assert known.state is not None
        assert known.state.refresh is not None
        assert known.state.refresh.status == "succeeded"
        assert known.snapshot is not None

    @pytest.mark.parametrize("action", ["deactivate", "disconnect"])
    def test_end_of_an_account_that_stripe_does_not_show_yet_is_not_missed(self, sandbox: Sandbox, action: str) -> None:
        ref = sandbox.link("fresh", policy={"read_lag_seconds": 4})
        sandbox.wait(10)
        account_sync.sync_account(sandbox.deps, ref)
        sandbox.simulator.change(ref.account, action=action)
        settle_all(sandbox, 8)
        known = sandbox.store.accounts.get(ref)
        assert known.state is not None
        assert known.state.status == {"deactivate": "inactive", "disconnect": "disconnected"}[action]
        assert known.erasure_ended == (action == "disconnect")

    def test_event_that_comes_late_is_not_looked_into_again_for_the_next_refresh(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(policy={"settle_seconds": 5.0, "cooldown_seconds": 1.0})
        serve(sandbox, ref)
        sandbox.wait(6)
        late = sandbox.simulator.due_deliveries()
        account_sync.sync_account(sandbox.deps, ref)
        sandbox.wait(60)
        serve(sandbox, ref, "ver_2")
        assert [sandbox.deliver(delivery).status for delivery in late] == [200] * len(late)
        assert sandbox.consume(sandbox.events_queue) == []
        assert sandbox.messages(sandbox.events_queue) == []

    def test_event_whose_effect_never_shows_ends_as_processed(self, sandbox: Sandbox) -> None:
        ref = link(sandbox, settle_seconds=5.0, read_lag_seconds=100_000)
        serve(sandbox, ref)
        for _ in range(20):
            sandbox.wait(10)
            sandbox.settle()
        assert len([call for call in sandbox.stripe_calls(ref) if call == "GET {account}"]) <= 8
        assert sandbox.messages(sandbox.events_queue) == []
        assert sandbox.messages(sandbox.events_dead) == []

    def test_read_from_before_its_end_does_not_hide_its_owners(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(customer="cus_1", policy={"read_lag_seconds": 4, "settle_seconds": 5.0})
        serve(sandbox, ref)
        sandbox.wait(5)
        sandbox.settle()  # by the list, which does not lag
        assert (outcome(sandbox) or {})["outcome"] == "ready"
        calls = posts(sandbox)
        assert isinstance(serve(sandbox, ref, "ver_2", max_age=60), Fresh)
        assert (outcome(sandbox, "ver_2") or {})["outcome"] == "ready"
        assert posts(sandbox) == calls

    def test_owners_that_another_worker_is_just_storing_are_not_taken_for_missing(self, sandbox: Sandbox) -> None:
        """One worker has seen in a list that the refresh succeeded, and fetches its owners. Another gets a late reading of the account."""
        ref = sandbox.link("paged_owners", customer="cus_1", policy={"read_lag_seconds": 4, "settle_seconds": 5.0, "owners_page": 5})
        serve(sandbox, ref)
        sandbox.wait(5)
        request = RefreshRequest(ref, wait_for(sandbox, ref, "ver_2", max_age=60))
        seen: list[Any] = []

        def look(moment: Moment) -> None:
            if moment.operation.endswith("/owners") and moment.when == "before":
                sandbox.taps.clear()
                sandbox.wait(1)
                with pytest.raises(StripeLaggingError):
                    refreshes.handle_request(sandbox.deps, request)
                seen.append(outcome(sandbox, "ver_2"))

        sandbox.taps.append(look)
        sandbox.settle()
        assert seen == [None]
        assert (outcome(sandbox) or {})["outcome"] == "ready"
        assert (outcome(sandbox, "ver_2") or {})["outcome"] == "ready"

    @pytest.mark.parametrize("end", ["succeeded", "failed"])
    def test_silent_refusal_that_shows_an_older_refresh_is_no_start(self, sandbox: Sandbox, end: str) -> None:
        """A prefetch settled 40 s ago, and reads do not show it yet: its owners are older than `max_age` 0 allows."""
        ref = sandbox.link("old", policy={"refusal": "silent", "outcome": end, "settle_seconds": 5.0, "cooldown_seconds": 3600.0})
        sandbox.wait(10)
        sandbox.simulator.change(ref.account, policy={"read_lag_seconds": 50, "refusal": "silent", "cooldown_seconds": 3600.0})
        sandbox.simulator.change(ref.account, action="prefetch")
        sandbox.wait(45)
        asked = serve(sandbox, ref)
        assert not isinstance(asked, Started), asked
        sandbox.settle()
        assert (outcome(sandbox) or {})["outcome"] == "cooling_down"

    def test_connected_accounts_are_read_as_they_are_known(self, sandbox: Sandbox) -> None:
        ref = sandbox.link(stripe_account="acct_1", policy={"read_lag_seconds": 4, "settle_seconds": 60.0})
        serve(sandbox, ref)
        sandbox.wait(1)
        assert isinstance(serve(sandbox, ref, "ver_2"), JoinPending)
        assert posts(sandbox) == 1


def test_reading_that_is_not_older_is_acted_upon(sandbox: Sandbox) -> None:
    """The stored state is from a later answer about the same refresh: the account is inactive now."""
    ref = sandbox.link("old")
    account_sync.sync_account(sandbox.deps, ref)
    sandbox.simulator.change(ref.account, action="deactivate")
    sandbox.wait(60)
    serve(sandbox, ref)
    assert outcome(sandbox) == {"outcome": "not_verifiable", "reason": "ACCOUNT_INACTIVE"}
