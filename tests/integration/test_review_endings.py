"""Reviews that end without a decision: because of their account, its owners, their claim, or time."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.reviews import ANNE, CLOSE, TENANT, WRONG, decide, deps, verified
from tests.support.sandbox import Moment, Sandbox, client
from tests.support.verdicts import accept
from titleholder.domain.accounts import AccountRef
from titleholder.domain.reviews import Review
from titleholder.domain.verifications import Verification
from titleholder.errors import NothingToReviewError
from titleholder.services import account_sync, review_endings, reviews
from titleholder.timestamps import DAY_SECONDS

pytestmark = pytest.mark.slow

OWNER = {"name": "MARGARET ANNE TESTERMAN", "email": "m@example.com", "phone": "+1 555 555 0101",
         "raw_address": "100 EXAMPLE ST APT 4, SPRINGFIELD, IL 62701"}  # fmt: skip
BOB = {"name": "ROBERT SAMPLEWELL", "email": "b@example.com", "phone": "+1 555 555 0102", "raw_address": "7 SAMPLE ROAD, SPRINGFIELD"}
OTHER_OWNERS = {
    "renamed": [{**OWNER, "name": "MARGARET ANNE NEWNAME"}], "added": [OWNER, BOB], "replaced": [BOB], "none left": [],
    "no name, and moved": [{**OWNER, "name": "", "raw_address": "9 OTHER AVE, PORTLAND, OR 97201"}],
}  # fmt: skip
SAME_OWNERS = {
    "another phone": [{**OWNER, "phone": "+1 555 555 0199"}], "another e-mail": [{**OWNER, "email": "new@example.com"}],
    "another address": [{**OWNER, "raw_address": "9 OTHER AVE, PORTLAND, OR 97201"}], "nothing": [OWNER],
    "another spelling": [{**OWNER, "name": "Mrs. Márgaret Anne Testerman"}], "no name": [{**OWNER, "name": ""}],
    "a placeholder": [{**OWNER, "name": "N/A"}],
}  # fmt: skip


@pytest.fixture
def reviewing(sandbox: Sandbox) -> Sandbox:
    """A deployment where one reviewer decides within a week."""
    sandbox.cold_start(REVIEWERS_NEEDED="1", REVIEW_EXPIRY_DAYS="7")
    return sandbox


@pytest.fixture
def open_(reviewing: Sandbox) -> Verification:
    """A close match that waits for a person."""
    return verified(reviewing, CLOSE, reviewing.link("single_owner", id="fca_1", owners=[OWNER]))


def review_of(sandbox: Sandbox, verification: Verification) -> Review:
    return sandbox.store.reviews.get(verification.ref, verification.id)


def events(sandbox: Sandbox) -> list[Any]:
    return [event["detail"] for event in sandbox.published() if event["detail-type"] == "VerificationReviewed"]


def expiries(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Who is recorded as having ended reviews, and why."""
    found = [item for item in sandbox.items() if item["pk"]["S"].startswith("AUDIT#") and item["action"]["S"] == "review.expired"]
    return [(item["actor"]["S"], item["closed_reason"]["S"]) for item in found]


def reconcile(sandbox: Sandbox, rest: float = 900) -> Any:
    sandbox.wait(rest)
    return sandbox.function("reconcile")({})


def change(sandbox: Sandbox, action: str) -> None:
    sandbox.simulator.change("fca_1", action=action)
    sandbox.settle()


def renew(sandbox: Sandbox, ref: AccountRef, owners: list[Any]) -> None:
    """Have newer owners stored."""
    sandbox.wait(700)
    sandbox.simulator.change(ref.account, owners=owners)
    sandbox.deps.stripe.refresh(ref, f"key-{sandbox.clock.now}")
    sandbox.wait(6)
    account_sync.sync_account(sandbox.deps, ref)


def ended(sandbox: Sandbox, verification: Verification, reason: str, by: str = "stripe") -> None:
    """Hold that a review has ended, was recorded and announced once, and left no answer of its own."""
    review = review_of(sandbox, verification)
    assert (review.state, review.resolution, review.closed_reason, review.unfinished) == ("closed", "expired", reason, False)
    assert sandbox.store.verifications.get(verification.id).review == "closed"
    assert expiries(sandbox) == [(by, reason)]
    (event,) = events(sandbox)
    assert (event["verification"], event["resolution"], event["closed_reason"]) == (verification.id, "expired", reason)
    assert (event["final"], event["reviewers"]) == (None, 0)


@contextlib.contextmanager
def refusing(sandbox: Sandbox, operation: str) -> Iterator[None]:
    """AWS refuses every call of an operation."""

    def tap(moment: Moment) -> None:
        if (moment.operation, moment.when) == (operation, "before"):
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, operation)

    sandbox.taps.append(tap)
    yield
    sandbox.taps.clear()


def break_review(verification: Verification) -> None:
    """Let what is stored of a review be unreadable."""
    key = {"pk": {"S": f"ACCOUNT#{verification.ref.key}"}, "sk": {"S": f"REVIEW#{verification.id}"}}
    client("dynamodb").update_item(TableName="titleholder", Key=key, UpdateExpression="REMOVE decisions")


def lose_claim(sandbox: Sandbox, verification: Verification) -> None:
    key = {"pk": {"S": f"ACCOUNT#{verification.ref.key}"}, "sk": {"S": f"CLAIM#{verification.id}"}}
    client("dynamodb").update_item(
        TableName="titleholder", Key=key, UpdateExpression="SET expires_at = :now",
        ExpressionAttributeValues={":now": {"N": str(int(sandbox.clock.now) - 1)}},
    )  # fmt: skip


class TestAccount:
    @pytest.mark.parametrize(("action", "reason"), [("deactivate", "ACCOUNT_INACTIVE"), ("disconnect", "ACCOUNT_DISCONNECTED")])
    def test_end_of_the_account_ends_its_review(self, reviewing: Sandbox, open_: Verification, action: str, reason: str) -> None:
        change(reviewing, action)
        ended(reviewing, open_, reason)

    def test_caller_who_erased_the_account_is_recorded(self, reviewing: Sandbox, open_: Verification) -> None:
        assert reviewing.http("DELETE", "/accounts/fca_1").status == 200
        ((by, reason),) = expiries(reviewing)
        ended(reviewing, open_, reason, by)
        assert (by != "stripe", reason) == (True, "ACCOUNT_DISCONNECTED")

    def test_review_that_has_ended_stays_so_when_the_account_is_active_again(self, reviewing: Sandbox, open_: Verification) -> None:
        change(reviewing, "deactivate")
        reviewing.wait(60)
        change(reviewing, "reactivate")
        ended(reviewing, open_, "ACCOUNT_INACTIVE")

    def test_decided_review_stays_as_it_is(self, reviewing: Sandbox, open_: Verification) -> None:
        decide(open_, "approve")
        change(reviewing, "deactivate")
        assert (review_of(reviewing, open_).resolution, expiries(reviewing)) == ("approved", [])

    def test_erasure_deletes_notes_and_keeps_decisions(self, reviewing: Sandbox, open_: Verification) -> None:
        decide(open_, "approve", note="Spoke with her sister.")
        notes = [item for item in reviewing.items() if item["sk"]["S"].startswith("NOTE#")]
        assert len(notes) == 1
        before = review_of(reviewing, open_)
        change(reviewing, "disconnect")
        assert not [item for item in reviewing.items() if item["sk"]["S"].startswith("NOTE#")]
        assert review_of(reviewing, open_) == before
        assert before.decisions[0].reason == "NAME_VARIANT_CONFIRMED"

    def test_what_could_not_be_announced_is_announced_by_reconcile(self, reviewing: Sandbox, open_: Verification) -> None:
        with refusing(reviewing, "put_events"), contextlib.suppress(Exception):
            reviewing.http("DELETE", "/accounts/fca_1")
        assert events(reviewing) == []
        reconcile(reviewing)
        ((by, reason),) = expiries(reviewing)
        ended(reviewing, open_, reason, by)

    def test_unreadable_review_holds_up_neither_the_erasure_nor_other_reviews(self, reviewing: Sandbox, open_: Verification) -> None:
        reviewing.wait(700)
        other = verified(reviewing, {**CLOSE, "name": "Margaret Zoe Testerman"}, open_.ref)
        break_review(open_)
        assert reviewing.http("DELETE", "/accounts/fca_1").status == 200
        assert reviewing.store.accounts.get(open_.ref).erasure_ended
        assert review_of(reviewing, other).closed_reason == "ACCOUNT_DISCONNECTED"


class TestOwners:
    @pytest.mark.parametrize("owners", OTHER_OWNERS)
    def test_other_owners_end_the_review(self, reviewing: Sandbox, open_: Verification, owners: str) -> None:
        renew(reviewing, open_.ref, OTHER_OWNERS[owners])
        ended(reviewing, open_, "OWNERS_CHANGED")

    @pytest.mark.parametrize("owners", SAME_OWNERS)
    def test_same_owners_leave_it_open(self, reviewing: Sandbox, open_: Verification, owners: str) -> None:
        renew(reviewing, open_.ref, SAME_OWNERS[owners])
        reconcile(reviewing)
        assert (review_of(reviewing, open_).state, events(reviewing)) == ("open", [])

    def test_name_that_follows_a_missing_one_ends_it(self, reviewing: Sandbox, open_: Verification) -> None:
        """The snapshot between them shows nothing of whether it is the same owner."""
        renew(reviewing, open_.ref, [{**OWNER, "name": ""}])
        assert review_of(reviewing, open_).state == "open"
        reviewing.wait(700)
        renew(reviewing, open_.ref, [{**OWNER, "name": "NATHANIEL NEWOWNER"}])
        ended(reviewing, open_, "OWNERS_CHANGED")

    def test_review_of_the_newest_owners_stays_open(self, reviewing: Sandbox, open_: Verification) -> None:
        renew(reviewing, open_.ref, OTHER_OWNERS["added"])
        reviewing.wait(700)
        newer = verified(reviewing, {**CLOSE, "name": "Margaret Zoe Testerman"}, open_.ref)
        assert review_endings.end_for_owners(reviewing.store, open_.ref, reviewing.clock.now) == []
        reconcile(reviewing)
        assert (review_of(reviewing, open_).state, review_of(reviewing, newer).state) == ("closed", "open")

    def test_crash_before_the_end_is_followed_by_another_try(self, reviewing: Sandbox, open_: Verification) -> None:
        with refusing(reviewing, "transact_write_items"), contextlib.suppress(ClientError):
            renew(reviewing, open_.ref, OTHER_OWNERS["renamed"])
        account_sync.sync_account(reviewing.deps, open_.ref)
        ended(reviewing, open_, "OWNERS_CHANGED")

    def test_review_whose_end_was_missed_is_ended_by_reconcile(
        self, reviewing: Sandbox, open_: Verification, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as missed:
            missed.setattr(review_endings, "end_for_owners", lambda *_: [])
            renew(reviewing, open_.ref, OTHER_OWNERS["renamed"])
        assert review_of(reviewing, open_).state == "open"
        reconcile(reviewing)
        ended(reviewing, open_, "OWNERS_CHANGED", "reconcile")

    @pytest.mark.parametrize("lost", [False, True])
    def test_unreadable_review_does_not_hold_up_the_owners(self, reviewing: Sandbox, open_: Verification, lost: bool) -> None:
        if lost:
            key = {"pk": {"S": f"VERIFICATION#{open_.id}"}, "sk": {"S": "VERIFICATION"}}
            client("dynamodb").delete_item(TableName="titleholder", Key=key)
        else:
            break_review(open_)
        renew(reviewing, open_.ref, OTHER_OWNERS["renamed"])
        account = reviewing.store.accounts.get(open_.ref)
        assert account.snapshot is not None
        assert reviewing.store.snapshots.get(open_.ref, account.snapshot).owners.reveal()[0]["name"] == "MARGARET ANNE NEWNAME"

    def test_newer_owners_after_those_of_the_verdict_expired_end_it_for_what_is_gone(self, sandbox: Sandbox) -> None:
        """Nothing shows then whether the newest owners are others."""
        sandbox.cold_start(REVIEWERS_NEEDED="1", SNAPSHOT_RETENTION_DAYS="1")
        verification = verified(sandbox, CLOSE, sandbox.link("single_owner", id="fca_1", owners=[OWNER]))
        sandbox.wait(2 * DAY_SECONDS)
        renew(sandbox, verification.ref, [OWNER])
        assert review_of(sandbox, verification).closed_reason in (None, "OWNERS_ERASED")
        reconcile(sandbox)
        ended(sandbox, verification, "OWNERS_ERASED", "reconcile")

    def test_owners_that_are_not_kept_any_more_end_it(self, sandbox: Sandbox) -> None:
        sandbox.cold_start(REVIEWERS_NEEDED="1", SNAPSHOT_RETENTION_DAYS="1")
        verification = verified(sandbox, CLOSE, sandbox.link("single_owner", id="fca_1", owners=[OWNER]))
        reconcile(sandbox)
        assert review_of(sandbox, verification).state == "open"
        reconcile(sandbox, 2 * DAY_SECONDS)
        ended(sandbox, verification, "OWNERS_ERASED", "reconcile")

    @pytest.mark.parametrize("owners", OTHER_OWNERS)
    def test_review_that_would_end_at_once_is_not_opened_by_hand(self, reviewing: Sandbox, owners: str) -> None:
        verification = verified(reviewing, WRONG, reviewing.link("single_owner", id="fca_1", owners=[OWNER]))
        renew(reviewing, verification.ref, OTHER_OWNERS[owners])
        with pytest.raises(NothingToReviewError, match="other owners"):
            reviews.open_by_hand(deps(), TENANT, verification.id, ANNE)
        assert not [item for item in reviewing.items() if item["sk"]["S"].startswith("REVIEW#")]

    @pytest.mark.parametrize("owners", SAME_OWNERS)
    def test_review_is_opened_by_hand_where_the_owners_are_the_same(self, reviewing: Sandbox, owners: str) -> None:
        verification = verified(reviewing, WRONG, reviewing.link("single_owner", id="fca_1", owners=[OWNER]))
        renew(reviewing, verification.ref, SAME_OWNERS[owners])
        reviews.open_by_hand(deps(), TENANT, verification.id, ANNE)
        reconcile(reviewing)
        assert review_of(reviewing, verification).state == "open"

    def test_workflows_wait_for_no_more_than_some_reviews_to_be_ended_and_for_none_to_be_finished(
        self, reviewing: Sandbox, open_: Verification, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(review_endings, "MOST_AT_ONCE", 2)
        more = [reviewing.http("POST", "/verifications", {"account": "fca_1", "claim": {**CLOSE, "phone": f"+1 555 555 019{n}"}})
                for n in range(3)]  # fmt: skip
        ids = [open_.id, *(answer.json["id"] for answer in more)]
        order: list[str] = []

        def note(moment: Moment) -> None:
            if moment.when == "before" and moment.operation in ("transact_write_items", "send_task_success", "put_events"):
                about = str(moment.arguments)
                order.append("finished" if "VerificationReviewed" in about else "ended" if "REVIEW#" in about else moment.operation)

        reviewing.taps.append(note)
        reviewing.wait(700)
        reviewing.simulator.change("fca_1", owners=OTHER_OWNERS["renamed"])
        reviewing.enter(accept(reviewing, open_.ref, CLOSE))
        reviewing.consume(reviewing.refresh_queue)
        reviewing.wait(6)
        reviewing.settle()
        reviewing.taps.clear()
        assert Counter(order)["ended"] == Counter(order)["finished"] == 2
        assert order.index("send_task_success") < order.index("finished")
        states = Counter(reviewing.store.reviews.get(open_.ref, id_).state for id_ in ids)
        assert states == {"closed": 2, "open": 2}
        reconcile(reviewing)
        assert {reviewing.store.reviews.get(open_.ref, id_).closed_reason for id_ in ids} == {"OWNERS_CHANGED"}
        assert len(events(reviewing)) == 4


class TestTimeAndClaim:
    def test_proposals_have_their_share_of_the_time(self, reviewing: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        reviewing.cold_start(REVIEWERS_NEEDED="2", REVIEW_EXPIRY_DAYS="7")
        refs = [reviewing.link("single_owner", id=f"fca_{number}", owners=[OWNER]) for number in range(1, 5)]
        *waiting, proposed = [verified(reviewing, CLOSE, ref) for ref in refs]
        decide(proposed, "approve")
        reviewing.wait(8 * DAY_SECONDS)

        def slow(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("transact_write_items", "before"):
                reviewing.clock.now += 2

        reviewing.taps.append(slow)
        failed: list[Exception] = []
        deps_ = reviewing.deps
        review_endings.end_overdue(deps_, reviewing.clock.now + 4, 7 * DAY_SECONDS, lambda item, error: failed.append(error))
        assert (review_of(reviewing, proposed).state, failed) == ("closed", [])
        assert [review_of(reviewing, one).state for one in waiting] == ["closed", "open", "open"]

    def test_review_ends_without_a_decision_in_time(self, reviewing: Sandbox, open_: Verification) -> None:
        opened = review_of(reviewing, open_).opened_at
        reconcile(reviewing, opened + 7 * DAY_SECONDS - 1 - reviewing.clock.now)
        assert review_of(reviewing, open_).state == "open"
        reconcile(reviewing, 2)
        ended(reviewing, open_, "NOT_IN_TIME", "reconcile")

    def test_review_ends_when_its_claim_is_not_kept_any_more(self, reviewing: Sandbox, open_: Verification) -> None:
        lose_claim(reviewing, open_)
        reconcile(reviewing)
        ended(reviewing, open_, "CLAIM_ERASED", "reconcile")

    def test_review_outlives_that_reviews_are_switched_off_and_still_ends(self, reviewing: Sandbox, open_: Verification) -> None:
        reviewing.cold_start(REVIEWERS_NEEDED="0", REVIEW_EXPIRY_DAYS="7")
        reconcile(reviewing, 8 * DAY_SECONDS)
        ended(reviewing, open_, "NOT_IN_TIME", "reconcile")

    def test_unreadable_review_does_not_hold_up_others(self, reviewing: Sandbox, open_: Verification) -> None:
        others = [verified(reviewing, CLOSE, reviewing.link("single_owner", id=f"fca_{number}", owners=[OWNER])) for number in (2, 3)]
        break_review(open_)
        answer = reconcile(reviewing, 8 * DAY_SECONDS)
        assert [review_of(reviewing, other).closed_reason for other in others] == ["NOT_IN_TIME"] * 2
        assert answer["failed"] == 1

    def test_reviews_are_looked_at_in_turn_and_keep_their_place(
        self, reviewing: Sandbox, open_: Verification, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(review_endings, "PAGE", 1)
        monkeypatch.setattr(review_endings, "PAGES_A_RUN", 1)
        others = [verified(reviewing, CLOSE, reviewing.link("single_owner", id=f"fca_{number}", owners=[OWNER])) for number in (2, 3, 4)]
        before = [item for item in reviewing.items() if item["sk"]["S"].startswith("REVIEW#")]
        for _ in range(3):
            reconcile(reviewing, 60)
        assert [item for item in reviewing.items() if item["sk"]["S"].startswith("REVIEW#")] == before
        lose_claim(reviewing, others[-1])
        runs = 0
        while review_of(reviewing, others[-1]).state == "open":
            reconcile(reviewing, 60)
            runs += 1
        # The last page that is full is followed by an empty one.
        assert runs <= len(others) + 1


class TestCost:
    @pytest.mark.parametrize("reviewers", ["0", "1", "2"])
    def test_ordinary_refresh_asks_for_no_review(self, sandbox: Sandbox, reviewers: str) -> None:
        sandbox.cold_start(REVIEWERS_NEEDED=reviewers)
        ref = sandbox.link("single_owner", id="fca_1", owners=[OWNER])
        verified(sandbox, CLOSE, ref)
        asked: list[str] = []

        def note(moment: Moment) -> None:
            values = moment.arguments.get("ExpressionAttributeValues", {})
            if moment.when == "before" and values.get(":prefix") == {"S": "REVIEW#"}:
                asked.append(moment.operation)

        sandbox.taps.append(note)
        renew(sandbox, ref, SAME_OWNERS["another phone"])
        assert asked == []
        renew(sandbox, ref, OTHER_OWNERS["added"])
        assert asked == ["query"]
