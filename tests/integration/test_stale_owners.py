"""Refreshes that succeed and bring no owners, or only old ones: no verdict rests on owners that are older than `max_age` allows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.batches import Batch, manifest
from tests.support.sandbox import CLAIM, Moment, Sandbox
from titleholder.bootstrap import application
from titleholder.domain.accounts import AccountRef
from titleholder.domain.verifications import Verification
from titleholder.services import account_sync

pytestmark = pytest.mark.slow

DAY = 86_400
MISSING = {"outcome": "not_verifiable", "reason": "OWNERSHIP_MISSING"}


def ask(sandbox: Sandbox, ref: AccountRef, max_age: int = 0) -> Verification:
    answer = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": dict(CLAIM), "max_age": max_age})
    assert answer.status in (200, 202), answer
    return sandbox.store.verifications.get(answer.json["id"])


def verdict(sandbox: Sandbox, verification: Verification, outcome: Any) -> Any:
    """What the workflow's last step makes of `outcome`."""
    sandbox.function("complete_verification")({"verification": verification.id, "refresh": outcome})
    return sandbox.store.verifications.get(verification.id).verdict


def run(sandbox: Sandbox, ref: AccountRef, max_age: int = 0, settle_seconds: float = 6.0) -> Any:
    """The whole way of one verification; its verdict."""
    verification = ask(sandbox, ref, max_age)
    if verification.verdict is not None:
        return verification.verdict
    token = sandbox.enter(verification)
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(settle_seconds)
    sandbox.settle()
    return verdict(sandbox, verification, sandbox.outcome(token))


def is_missing(found: Any) -> bool:
    return (found["outcome"], found["reasons"], found["snapshot"]) == ("not_verifiable", ["OWNERSHIP_MISSING"], None)


@pytest.fixture(params=["null", "kept"])
def barren(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The policy of an account whose refreshes succeed without new owners."""
    return {"ownership": request.param}


@pytest.fixture
def stored(sandbox: Sandbox, barren: dict[str, Any]) -> AccountRef:
    """Such an account, with stored owners that were fetched 200 days ago."""
    ref = sandbox.link("fresh")
    account_sync.sync_account(sandbox.deps, ref)
    assert sandbox.store.accounts.get(ref).snapshot is not None
    sandbox.simulator.change(ref.account, policy=barren)
    sandbox.wait(200 * DAY)
    return ref


class TestRefreshWithoutNewOwners:
    def test_refresh_without_new_owners_ends_as_not_verifiable_although_old_owners_are_stored(
        self, sandbox: Sandbox, stored: AccountRef
    ) -> None:
        assert is_missing(run(sandbox, stored))
        assert sandbox.refreshes(stored) == 1

    def test_refresh_without_new_owners_ends_so_where_nothing_was_stored_before(self, sandbox: Sandbox, barren: dict[str, Any]) -> None:
        ref = sandbox.link("old", policy=barren)
        assert is_missing(run(sandbox, ref))

    def test_refresh_without_new_owners_ends_so_for_the_next_request_too_without_a_second_refresh(
        self, sandbox: Sandbox, stored: AccountRef
    ) -> None:
        run(sandbox, stored)
        sandbox.wait(10)
        assert is_missing(run(sandbox, stored, max_age=DAY))
        assert sandbox.refreshes(stored) == 1

    def test_refresh_without_new_owners_leaves_old_owners_that_max_age_allows_usable(self, sandbox: Sandbox, stored: AccountRef) -> None:
        run(sandbox, stored)
        assert run(sandbox, stored, max_age=201 * DAY)["outcome"] == "match"

    def test_answers_a_refresh_that_was_joined(self, sandbox: Sandbox, stored: AccountRef) -> None:
        sandbox.simulator.change(stored.account, action="prefetch", policy={"settle_seconds": 100.0})
        sandbox.wait(90)
        assert is_missing(run(sandbox, stored, settle_seconds=11))
        assert sandbox.refreshes(stored) == 0

    @pytest.mark.parametrize("window", ["after reading", "after noting"])
    def test_wakes_who_joined_it_while_it_settled(self, sandbox: Sandbox, stored: AccountRef, window: str) -> None:
        sandbox.simulator.change(stored.account, action="prefetch", policy={"settle_seconds": 100.0})
        sandbox.wait(90)
        verification = ask(sandbox, stored)
        token = sandbox.enter(verification)

        def settle_now(moment: Moment) -> None:
            reading = moment.operation.startswith("GET") and moment.when == "after"
            noting = moment.operation == "update_item" and ":joined" in str(moment.arguments) and moment.when == "before"
            if reading if window == "after reading" else noting:
                sandbox.taps.clear()
                sandbox.wait(11)
                sandbox.deliver_due()
                sandbox.consume(sandbox.events_queue)

        sandbox.taps.append(settle_now)
        sandbox.consume(sandbox.refresh_queue)
        assert sandbox.outcome(token) == MISSING

    def test_refresh_without_new_owners_is_not_shown_as_new_owners(self, sandbox: Sandbox, stored: AccountRef) -> None:
        before = sandbox.http("GET", f"/accounts/{stored.account}/owners").json
        run(sandbox, stored)
        after = sandbox.http("GET", f"/accounts/{stored.account}/owners").json
        assert after["refreshed_at"] == before["refreshed_at"]
        assert after["age"] >= 200 * DAY
        shown = sandbox.http("GET", f"/accounts/{stored.account}").json
        assert shown["snapshot_refreshed_at"] == before["refreshed_at"]

    def test_answers_a_caller_who_wants_fresh_owners_without_old_ones(self, sandbox: Sandbox, stored: AccountRef) -> None:
        run(sandbox, stored)
        answer = sandbox.http("POST", f"/accounts/{stored.account}/refreshes", {"max_age": 60}).json
        assert (answer["status"], answer.get("snapshot")) == ("fresh", None)

    def test_refresh_without_new_owners_is_not_looked_at_again_by_reconcile_for_ever(self, sandbox: Sandbox, stored: AccountRef) -> None:
        run(sandbox, stored)
        sandbox.wait(3600)
        calls = sandbox.stripe_calls(stored)
        sandbox.function("reconcile")({})
        assert sandbox.stripe_calls(stored) == calls

    def test_refresh_without_new_owners_ends_as_not_verifiable_in_a_batch(self, sandbox: Sandbox, stored: AccountRef) -> None:
        batch = Batch(sandbox, manifest([stored.account]), max_age=0)
        batch.start()
        batch.run(batch.imported())
        (row,) = batch.lines("results.jsonl")
        assert (row["outcome"], row["reasons"], row["snapshot"]) == ("not_verifiable", ["OWNERSHIP_MISSING"], None)

    def test_refresh_without_new_owners_ends_so_where_the_wake_up_was_lost(self, sandbox: Sandbox, stored: AccountRef) -> None:
        verification = ask(sandbox, stored)
        sandbox.enter(verification)
        sandbox.consume(sandbox.refresh_queue)
        sandbox.wait(900)
        found = verdict(sandbox, verification, {"Error": "States.Timeout"})
        assert (found["outcome"], found["snapshot"]) == ("not_verifiable", None)


class TestOtherWaysToAVerdict:
    def test_workflow_that_was_woken_with_old_owners_gets_no_verdict_from_them(self, sandbox: Sandbox) -> None:
        """As a workflow may have been that an earlier release woke."""
        ref = sandbox.link("fresh")
        account_sync.sync_account(sandbox.deps, ref)
        sandbox.wait(200 * DAY)
        old = sandbox.store.accounts.get(ref).snapshot
        assert is_missing(verdict(sandbox, ask(sandbox, ref), {"outcome": "ready", "snapshot": old}))

    def test_workflow_that_was_woken_with_owners_of_a_refresh_begun_before_its_request_gets_its_verdict(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("prefetch_pending", policy={"settle_seconds": 300.0})
        sandbox.wait(200)
        assert run(sandbox, ref, settle_seconds=101)["outcome"] == "match"

    @pytest.mark.parametrize("ownership_", ["new", "null"])
    def test_silently_refused_refresh_whose_reason_is_a_success_wakes_with_its_owners_or_none(
        self, sandbox: Sandbox, ownership_: str
    ) -> None:
        """Between our reading and our call another application's prefetch succeeds."""
        ref = sandbox.link("old", policy={"refusal": "silent", "ownership": ownership_, "settle_seconds": 0.0})
        account_sync.sync_account(sandbox.deps, ref)
        sandbox.wait(60)
        verification = ask(sandbox, ref)
        token = sandbox.enter(verification)

        def prefetch(moment: Moment) -> None:
            if moment.operation.startswith("POST") and moment.when == "before":
                sandbox.taps.clear()
                sandbox.simulator.change(ref.account, action="prefetch")
                sandbox.wait(1)

        sandbox.taps.append(prefetch)
        sandbox.consume(sandbox.refresh_queue)
        assert sandbox.refreshes(ref) == 0
        found = verdict(sandbox, verification, sandbox.outcome(token))
        assert is_missing(found) if ownership_ == "null" else found["outcome"] == "match"

    def test_ordinary_refresh_after_one_without_owners_is_a_match_again(self, sandbox: Sandbox) -> None:
        ref = sandbox.link("old", policy={"ownership": ["new", "null", "new"]})
        assert is_missing(run(sandbox, ref))
        sandbox.wait(3600)
        assert run(sandbox, ref)["outcome"] == "match"
        assert json.dumps(application().store.accounts.get(ref).snapshot) != "null"


class TestOwnersOfAnEarlierRefresh:
    """A new ownership object may have owners that its refresh did not update. Stripe states the time of each."""

    def link(self, sandbox: Sandbox, *ages: int | None) -> AccountRef:
        now = int(sandbox.clock.now)
        ref = sandbox.link("single_owner")
        owners: list[Any] = [
            {"name": CLAIM["name"] if number == 0 else f"Someone Else {number}", "refreshed_at": None if age is None else now - age}
            for number, age in enumerate(ages)
        ]
        sandbox.simulator.change(ref.account, owners=owners)
        return ref

    def test_no_verdict_rests_on_owners_that_are_too_old(self, sandbox: Sandbox) -> None:
        assert is_missing(run(sandbox, self.link(sandbox, 200 * DAY), max_age=60))

    def test_others_are_compared_and_keep_their_position(self, sandbox: Sandbox) -> None:
        ref = self.link(sandbox, None, 200 * DAY)
        found = run(sandbox, ref, max_age=60)
        assert (found["outcome"], found["owner_position"], found["owners_compared"]) == ("match", 0, 1)
        ref = self.link(sandbox, 200 * DAY, None)
        found = run(sandbox, ref, max_age=60)
        assert found["outcome"] == "no_match"
        assert found["owner_position"] in (None, 1)

    @pytest.mark.parametrize("age", [None, -6, 0, 30])
    def test_owner_that_is_fresh_enough_or_without_a_time_counts(self, sandbox: Sandbox, age: int | None) -> None:
        assert run(sandbox, self.link(sandbox, age), max_age=60)["outcome"] == "match"
