"""Reviews: opened with the verdict, decided once, recorded, announced, and repaired after a crash at any call."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.batches import Batch
from tests.support.interleave import Interleaving
from tests.support.reviews import ANNE, BOB, CLOSE, TENANT, WRONG, decide, deps, verified
from tests.support.sandbox import CLAIM, Moment, Sandbox
from tests.support.verdicts import accept, finish, run
from tests.support.verifications import customer, post, work
from titleholder import errors
from titleholder.domain.accounts import Tenant
from titleholder.domain.reviews import DecisionRequest, Review
from titleholder.domain.verifications import Verification
from titleholder.services import comparisons, erasure, reviews, verdicts
from titleholder.services.audit import By
from titleholder.web.problems import problem_for

BACK_END = By("arn:aws:iam::123456789012:role/back-end", "request-back-end")


@pytest.fixture
def reviewing(sandbox: Sandbox) -> Sandbox:
    """A deployment where one reviewer decides."""
    sandbox.cold_start(REVIEWERS_NEEDED="1")
    return sandbox


@pytest.fixture
def four_eyes(sandbox: Sandbox) -> Sandbox:
    """A deployment where an approval takes two reviewers."""
    sandbox.cold_start(REVIEWERS_NEEDED="2")
    return sandbox


def open_by_hand(verification: Verification, tenant: Tenant = TENANT) -> Review:
    return reviews.open_by_hand(deps(), tenant, verification.id, BACK_END)


def events(sandbox: Sandbox, kind: str = "VerificationReviewed") -> list[Any]:
    return [event["detail"] for event in sandbox.published() if event["detail-type"] == kind]


def entries(sandbox: Sandbox) -> list[dict[str, str]]:
    """The audit entries about reviews, with what each says of them."""
    said = ("actor", "request", "action", "version", "decision", "reason", "reference", "closed_reason", "state")
    found = [item for item in sandbox.items() if item["pk"]["S"].startswith("AUDIT#") and item["action"]["S"].startswith("review.")]
    shown = [{name: item[name]["S"] for name in said if name in item} for item in found]
    return sorted(shown, key=lambda entry: entry["version"])


def rows(sandbox: Sandbox, kind: str) -> list[Any]:
    return [item for item in sandbox.items() if item["sk"]["S"].startswith(kind)]


def refused(call: Callable[[], Any]) -> tuple[int, str, Any]:
    """The status and type of the problem that answers a call, and the review in it."""
    with pytest.raises(errors.TitleholderError) as raised:
        call()
    problem = problem_for(raised.value)
    return problem.status, problem.type, problem.extra.get("review")


def reconcile(sandbox: Sandbox) -> None:
    """Let `reconcile` run when everything that is unfinished is due."""
    sandbox.wait(900)
    sandbox.function("reconcile")({})


class TestOpening:
    def test_close_match_has_its_review(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        review = reviewing.store.reviews.get(verification.ref, verification.id)
        assert (review.state, review.version, review.opened_by, review.decisions) == ("open", 1, "rule", ())
        assert (verification.review, review.opened_at) == ("open", verification.completed_at)
        assert entries(reviewing) == [], "nobody asked for it"

    @pytest.mark.parametrize("claim", [CLAIM, WRONG], ids=["match", "no_match"])
    def test_clear_verdict_opens_none(self, reviewing: Sandbox, claim: Any) -> None:
        assert verified(reviewing, claim).review is None
        assert rows(reviewing, "REVIEW#") == []

    def test_without_reviewers_nothing_is_written_for_reviews(self, sandbox: Sandbox) -> None:
        verification = verified(sandbox)
        assert verification.verdict is not None
        assert verification.verdict["outcome"] == "close_match"
        assert rows(sandbox, "REVIEW#") == []
        assert not [item for item in sandbox.items() if "review" in item]
        assert events(sandbox, "VerificationCompleted")[0]["review"] is None

    def test_event_of_the_verdict_says_that_a_person_is_asked(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        decide(verification, "reject")
        finish(reviewing, verification, {})
        assert [event["review"] for event in events(reviewing, "VerificationCompleted")] == ["open", "open"]

    def test_verdict_given_at_once_has_its_review(self, reviewing: Sandbox) -> None:
        ref = reviewing.link()
        run(reviewing, ref)
        answer = reviewing.http("POST", "/verifications", {"account": ref.account, "claim": CLOSE})
        assert answer.status == 200
        assert reviewing.store.reviews.get(ref, answer.json["id"]).state == "open"

    def test_members_of_a_group_have_their_own_reviews(self, reviewing: Sandbox, stripe: Any) -> None:
        target = customer(reviewing, stripe, "single_owner", "single_owner")
        group = post(reviewing, customer=target, claim=CLOSE).json
        members = [member["verification"] for member in group["members"]]
        for member in members:
            work(reviewing, member)
        assert {item["verification"]["S"] for item in rows(reviewing, "REVIEW#")} == set(members)

    def test_lines_of_a_batch_have_their_reviews(self, reviewing: Sandbox) -> None:
        refs = [reviewing.link(), reviewing.link()]
        claims = (CLOSE, CLAIM)
        lines = [{"account": ref.account, "reference": f"r{n}", "claim": dict(claims[n])} for n, ref in enumerate(refs)]
        batch = Batch(reviewing, "\n".join(json.dumps(line) for line in lines).encode())
        batch.start()
        batch.run(batch.imported())
        [review] = rows(reviewing, "REVIEW#")
        assert review["account"]["S"] == refs[0].account
        assert reviewing.store.verifications.get(review["verification"]["S"]).batch == batch.id


class TestOpeningByHand:
    def test_clear_verdict_can_be_reviewed(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing, CLAIM)
        review = open_by_hand(verification)
        assert (review.state, review.opened_by, review.version) == ("open", "manual", 1)
        assert reviewing.store.verifications.get(verification.id).review == "open"
        assert entries(reviewing) == [
            {"actor": BACK_END.actor, "request": "request-back-end", "action": "review.opened", "version": "1", "state": "done"}
        ]
        assert decide(verification, "reject")[1] is not None

    def test_event_of_the_verdict_says_the_same_when_it_is_repeated_later(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing, CLAIM)
        open_by_hand(verification)
        finish(reviewing, verification, {})
        assert [event["review"] for event in events(reviewing, "VerificationCompleted")] == [None, None]

    @pytest.mark.parametrize("erased", [False, True], ids=["kept", "erased"])
    def test_close_match_that_came_before_there_were_reviewers_is_announced_as_it_was(self, sandbox: Sandbox, erased: bool) -> None:
        verification = verified(sandbox)
        sandbox.cold_start(REVIEWERS_NEEDED="1")
        open_by_hand(verification)
        if erased:
            erasure.erase(deps(), verification.ref, BACK_END)
        finish(sandbox, verification, {})
        assert [event["review"] for event in events(sandbox, "VerificationCompleted")] == [None, None]

    def test_opening_again_changes_nothing(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing, CLAIM)
        first = open_by_hand(verification)
        reviewing.wait(60)
        assert open_by_hand(verification) == first
        assert len(entries(reviewing)) == 1

    def test_review_that_the_rule_opened_is_answered(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        assert open_by_hand(verification).opened_by == "rule"
        assert entries(reviewing) == []

    def test_entry_that_could_not_be_written_is_written_by_a_repetition(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing, CLAIM)
        reviewing.taps.append(refuse("put_item"))
        assert refused(lambda: open_by_hand(verification))[:2] == (503, "audit-unavailable")
        reviewing.taps.clear()
        assert open_by_hand(verification).state == "open"
        assert [entry["action"] for entry in entries(reviewing)] == ["review.opened"]

    def test_closed_review_stays_closed(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        review, _ = decide(verification, "reject")
        assert refused(lambda: open_by_hand(verification)) == (409, "review-closed", review.as_dict())

    def test_there_must_be_a_comparison(self, reviewing: Sandbox) -> None:
        ref = reviewing.link()
        waits = accept(reviewing, ref)
        assert refused(lambda: open_by_hand(waits))[:2] == (409, "nothing-to-review")
        reviewing.http("DELETE", f"/verifications/{waits.id}")
        assert refused(lambda: open_by_hand(waits))[:2] == (409, "nothing-to-review")

    def test_without_reviewers_there_is_nothing_to_review(self, sandbox: Sandbox) -> None:
        verification = verified(sandbox)
        assert refused(lambda: open_by_hand(verification))[:2] == (409, "nothing-to-review")

    def test_inactive_account_is_not_reviewed(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing, CLAIM)
        reviewing.store.verifications.mark_stale(verification.id, "ACCOUNT_INACTIVE", "9", reviewing.clock.now)
        assert refused(lambda: open_by_hand(verification))[:2] == (409, "nothing-to-review")

    def test_another_tenants_verification_is_not_found(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        other = Tenant("test", "acct_other")
        assert refused(lambda: open_by_hand(verification, other))[:2] == (404, "verification-not-found")
        asked = DecisionRequest(1, "reject", "RELATIVE")
        assert refused(lambda: reviews.decide(deps(), other, verification.id, asked, ANNE))[:2] == (404, "verification-not-found")


class TestDeciding:
    def test_decision_is_shown_recorded_and_announced(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        reviewing.wait(60)
        review, final = decide(verification, "approve", reference="CASE-4711", note="Quillfeather Canary married")
        assert (review.state, review.version, review.resolution, review.reviewers) == ("closed", 2, "approved", 1)
        assert final is not None
        assert (final.outcome, final.by, final.at) == ("match", "review", review.closed_at)
        assert entries(reviewing) == [
            {
                "actor": ANNE.actor, "request": "request-anne", "action": "review.decided", "version": "2", "decision": "approve",
                "reason": "NAME_VARIANT_CONFIRMED", "reference": "CASE-4711", "state": "done",
            }
        ]  # fmt: skip
        assert events(reviewing) == [
            {
                "verification": verification.id, **verification.ref.as_dict(), "outcome": "close_match", "score": 69.0,
                "resolution": "approved", "reason": "NAME_VARIANT_CONFIRMED", "closed_reason": None, "final": final.as_dict(),
                "reviewers": 1,
            }
        ]  # fmt: skip
        kept = reviewing.store.reviews.get(verification.ref, verification.id)
        assert kept == replace(review, unfinished=False), "nothing is left to do"
        assert {version: note.reveal() for version, note in reviewing.store.reviews.notes(kept).items()} == {
            2: "Quillfeather Canary married"
        }
        assert b"Quillfeather" not in rows(reviewing, "NOTE#")[0]["note"]["B"]

    @pytest.mark.parametrize(("claim", "opened"), [(CLOSE, "rule"), (CLAIM, "manual"), (WRONG, "manual")], ids=["close", "match", "none"])
    def test_verdict_stays_byte_for_byte_and_stripe_is_not_called(self, reviewing: Sandbox, claim: Any, opened: str) -> None:
        verification = verified(reviewing, claim)
        [before] = [item for item in reviewing.items() if item["sk"]["S"] == "VERIFICATION"]
        calls = reviewing.stripe_calls()
        assert open_by_hand(verification).opened_by == opened
        decide(verification, "reject")
        [after] = [item for item in reviewing.items() if item["sk"]["S"] == "VERIFICATION"]
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        assert after["verdict"]["S"] == before["verdict"]["S"]
        assert changed == {"review", "final", "final_ms"}
        assert reviewing.stripe_calls() == calls
        assert reviewing.refreshes(verification.ref) == 1

    def test_repeated_decision_is_answered_alike_and_recorded_once(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        first = decide(verification, "approve", note="why")
        reviewing.wait(60)
        again = decide(verification, "approve", note="why", by=replace(ANNE, request="another request"))
        assert (replace(again[0], unfinished=True), again[1]) == first
        assert len(again[0].decisions) == len(entries(reviewing)) == len(events(reviewing)) == 1

    def test_later_decision_is_told_the_first_one(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        review, _ = decide(verification, "approve")
        assert refused(lambda: decide(verification, "reject", by=BOB)) == (409, "review-closed", review.as_dict())
        assert len(entries(reviewing)) == 1

    def test_version_must_be_the_current_one(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        status, type_, review = refused(lambda: decide(verification, "reject", version=7))
        assert (status, type_, review["version"]) == (409, "review-changed", 1)

    def test_verification_without_review(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing, CLAIM)
        assert refused(lambda: decide(verification, "reject"))[:2] == (404, "review-not-found")

    def test_fields_must_go_together(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        assert refused(lambda: decide(verification, "approve", "RELATIVE"))[:2] == (422, "invalid-request")
        assert refused(lambda: decide(verification, "reject", "OTHER"))[:2] == (422, "invalid-request")
        assert reviewing.store.reviews.get(verification.ref, verification.id).version == 1

    def test_erased_account_claim_and_owners_are_gone(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        reviewing.store.table.delete(f"ACCOUNT#{verification.ref.key}", f"SNAPSHOT#{(verification.verdict or {})['snapshot']}")
        assert refused(lambda: decide(verification, "reject"))[:2] == (410, "owners-erased")
        reviewing.store.table.delete(f"ACCOUNT#{verification.ref.key}", f"CLAIM#{verification.id}")
        assert refused(lambda: decide(verification, "reject"))[:2] == (410, "claim-erased")
        reviewing.store.erasures.begin(verification.ref, reviewing.clock.now)
        assert refused(lambda: decide(verification, "reject"))[:2] == (410, "account-erased")
        assert entries(reviewing) == []

    def test_transaction_that_meets_another_ones_is_repeated(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        conflicts = [{"Code": "None"}, {"Code": "TransactionConflict"}, {"Code": "None"}]
        cancelled = {"Error": {"Code": "TransactionCanceledException", "Message": ""}, "CancellationReasons": conflicts}
        left = [1, 1]

        def conflict(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("transact_write_items", "before") and left:
                left.pop()
                raise ClientError(cancelled, "TransactWriteItems")  # type: ignore[arg-type]

        reviewing.taps.append(conflict)
        assert decide(verification, "reject")[0].state == "closed"
        assert left == []


class TestVerdictThatIsStoredMeanwhile:
    """The function reads the verification while it has no verdict. The verdict and its review are stored right after that."""

    @pytest.fixture
    def waiting(self, reviewing: Sandbox) -> Verification:
        ref = reviewing.link()
        verification = accept(reviewing, ref, CLOSE)
        token = reviewing.enter(verification)
        reviewing.consume(reviewing.refresh_queue)
        reviewing.wait(6)
        reviewing.settle()
        outcome = reviewing.outcome(token)

        def after_the_first_read(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("get_item", "after") and "VERIFICATION" in str(moment.arguments["Key"]):
                reviewing.taps.clear()
                finish(reviewing, verification, outcome)

        reviewing.taps.append(after_the_first_read)
        return verification

    @pytest.mark.parametrize("request_", ["comparison", "decision"])
    def test_request_finds_no_review_yet_and_succeeds_when_it_is_repeated(
        self, reviewing: Sandbox, waiting: Verification, request_: str
    ) -> None:
        def call() -> Any:
            if request_ == "comparison":
                return comparisons.compare(deps(), TENANT, waiting.id, ANNE)
            return decide(waiting, "approve")

        assert refused(call)[:2] == (404, "review-not-found")
        assert reviewing.taps == []
        assert reviewing.store.reviews.get(waiting.ref, waiting.id).state == "open"
        assert entries(reviewing) == []
        call()

    def test_review_by_hand_is_refused_until_then(self, waiting: Verification) -> None:
        assert refused(lambda: open_by_hand(waiting))[:2] == (409, "nothing-to-review")
        assert open_by_hand(waiting).opened_by == "rule"


class TestFourEyes:
    def test_approval_waits_for_another_reviewer(self, four_eyes: Sandbox) -> None:
        verification = verified(four_eyes)
        review, final = decide(verification, "approve", note="why")
        assert (review.state, review.version, final) == ("proposed", 2, None)
        assert four_eyes.store.verifications.get(verification.id).review == "proposed"
        assert events(four_eyes) == []
        assert refused(lambda: decide(verification, "approve", version=2)) == (403, "second-reviewer-needed", review.as_dict())
        assert refused(lambda: decide(verification, "reject", version=1, by=BOB)) == (409, "review-changed", review.as_dict())
        assert refused(lambda: decide(verification, "withdraw", version=2, by=BOB)) == (409, "nothing-to-withdraw", review.as_dict())
        review, final = decide(verification, "approve", "CONTACT_CONFIRMED", version=2, by=BOB)
        assert (review.state, review.version, review.resolution, review.reviewers) == ("closed", 3, "approved", 2)
        assert final is not None
        assert final.outcome == "match"
        assert [(entry["actor"], entry["version"], entry["reason"]) for entry in entries(four_eyes)] == [
            (ANNE.actor, "2", "NAME_VARIANT_CONFIRMED"),
            (BOB.actor, "3", "CONTACT_CONFIRMED"),
        ]
        assert [(event["reason"], event["reviewers"]) for event in events(four_eyes)] == [("CONTACT_CONFIRMED", 2)]

    def test_withdrawn_proposal_waits_anew(self, four_eyes: Sandbox) -> None:
        verification = verified(four_eyes)
        decide(verification, "approve")
        review, _ = decide(verification, "withdraw", version=2)
        assert (review.state, review.version) == ("open", 3)
        assert four_eyes.store.verifications.get(verification.id).review == "open"
        assert [entry["decision"] for entry in entries(four_eyes)] == ["approve", "withdraw"]
        assert decide(verification, "withdraw", version=2)[0] == review, "repeated"

    def test_one_reject_closes(self, four_eyes: Sandbox) -> None:
        verification = verified(four_eyes)
        decide(verification, "approve")
        review, final = decide(verification, "reject", version=2, by=BOB)
        assert (review.resolution, review.reviewers) == ("rejected", 1)
        assert final is not None
        assert final.outcome == "no_match"

    def test_proposal_whose_entry_could_not_be_written_is_recorded_by_a_repetition(self, four_eyes: Sandbox) -> None:
        verification = verified(four_eyes)
        four_eyes.taps.append(refuse("put_item"))
        assert refused(lambda: decide(verification, "approve"))[:2] == (503, "audit-unavailable")
        four_eyes.taps.clear()
        assert entries(four_eyes) == []
        assert decide(verification, "approve")[0].state == "proposed"
        assert len(entries(four_eyes)) == 1

    def test_closing_records_what_is_missing(self, four_eyes: Sandbox) -> None:
        verification = verified(four_eyes)
        four_eyes.taps.append(refuse("put_item"))
        assert refused(lambda: decide(verification, "approve"))[0] == 503
        four_eyes.taps.clear()
        decide(verification, "approve", version=2, by=BOB)
        assert [entry["actor"] for entry in entries(four_eyes)] == [ANNE.actor, BOB.actor]

    @pytest.mark.parametrize("reviewers", ["0", "1"])
    def test_fewer_reviewers_from_now_on_change_no_review_that_is_open(self, four_eyes: Sandbox, reviewers: str) -> None:
        proposed, untouched, mismatch = verified(four_eyes), verified(four_eyes), verified(four_eyes, CLAIM)
        decide(proposed, "approve")
        open_by_hand(mismatch)
        four_eyes.cold_start(REVIEWERS_NEEDED=reviewers)
        for verification in (untouched, mismatch):
            assert decide(verification, "approve")[0].state == "proposed"
        for verification in (proposed, untouched, mismatch):
            assert refused(lambda: decide(verification, "approve", version=2))[:2] == (403, "second-reviewer-needed")  # noqa: B023
            assert decide(verification, "approve", version=2, by=BOB)[0].reviewers == 2

    def test_review_of_a_release_that_stored_no_number_needs_what_is_set_now(self, four_eyes: Sandbox) -> None:
        verification = verified(four_eyes)
        four_eyes.store.table.update(
            f"ACCOUNT#{verification.ref.key}", f"REVIEW#{verification.id}", remove=["reviewers_needed"], condition="attribute_exists(pk)"
        )
        assert decide(verification, "approve")[0].state == "proposed"

    def test_decision_writes_its_entry_and_the_one_before_however_many_there_are(self, four_eyes: Sandbox) -> None:
        verification, written = verified(four_eyes), Counter[str]()
        for version in range(1, 20, 2):
            decide(verification, "approve", version=version)
            decide(verification, "withdraw", version=version + 1)
        four_eyes.taps.append(lambda moment: written.update([moment.operation] if moment.when == "before" else []))
        decide(verification, "reject", version=21)
        assert written["put_item"] == 2
        assert [int(entry["version"]) for entry in sorted(entries(four_eyes), key=lambda entry: int(entry["version"]))] == list(
            range(2, 23)
        )

    def test_entries_that_were_refused_are_written_when_the_log_takes_entries_again(self, four_eyes: Sandbox) -> None:
        verification = verified(four_eyes)
        four_eyes.taps.append(refuse("put_item"))
        for version, decision in enumerate(("approve", "withdraw", "approve"), start=1):
            assert refused(lambda: decide(verification, decision, version=version))[0] == 503  # type: ignore[arg-type]  # noqa: B023
        four_eyes.taps.clear()
        decide(verification, "reject", version=4, by=BOB)
        assert [entry["version"] for entry in entries(four_eyes)] == ["2", "3", "4", "5"]

    def test_approval_of_a_no_match_takes_two(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing, WRONG)
        open_by_hand(verification)
        assert decide(verification, "approve")[0].state == "proposed"
        assert refused(lambda: decide(verification, "approve", version=2))[0] == 403
        assert decide(verification, "approve", version=2, by=BOB)[0].resolution == "approved"


class Died(BaseException):
    """The function died."""


class Death:
    """Lets the function die at the next call after `calls` calls."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    def __call__(self, moment: Moment) -> None:
        if self._left == 0:
            raise Died(f"{moment.when} {moment.operation}")
        self._left -= 1


def refuse(operation: str) -> Callable[[Moment], None]:
    """Let AWS refuse every call of an operation."""

    def tap(moment: Moment) -> None:
        if (moment.operation, moment.when) == (operation, "before"):
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, operation)

    return tap


@pytest.mark.slow
class TestRepairs:
    def test_event_that_the_bus_refuses_is_announced_by_reconcile(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)
        reviewing.taps.append(refuse("put_events"))
        assert decide(verification, "approve")[0].state == "closed", "the caller has its answer"
        reviewing.taps.clear()
        assert (events(reviewing), len(entries(reviewing))) == ([], 1)
        reconcile(reviewing)
        reconcile(reviewing)
        assert (len(events(reviewing)), len(entries(reviewing))) == (1, 1)
        assert not reviewing.store.reviews.get(verification.ref, verification.id).unfinished

    def test_crash_at_any_call_of_a_verdict_leaves_no_close_match_without_review(self, reviewing: Sandbox) -> None:
        ref = reviewing.link()
        run(reviewing, ref)
        outcome = {"outcome": "ready", "snapshot": reviewing.store.accounts.get(ref).snapshot}
        crashes: list[str] = []

        def complete(id: str) -> None:
            # As if it had taken owners of any age: each verification would need a refresh of its own.
            known = replace(reviewing.store.verifications.get(id), max_age=86_400)
            verdicts.complete(reviewing.store, reviewing.deps.bus, known, outcome, now=reviewing.clock.now)

        for number in range(40):
            # Until the owners are too old for a request that wants none from before it.
            reviewing.wait(61)
            verification = accept(reviewing, ref, CLOSE)
            reviewing.taps.append(Death(number))
            try:
                complete(verification.id)
            except Died as died:
                crashes.append(str(died))
            finally:
                reviewing.taps.clear()
            head = reviewing.store.verifications.get(verification.id)
            assert (head.verdict is None) == (head.review is None) == (list(reviewing.store.reviews.of_account(ref)) == [])
            complete(verification.id)
            [review] = reviewing.store.reviews.of_account(ref)
            assert (review.verification, review.state) == (verification.id, "open")
            decide(verification, "reject")
            if len(crashes) == number:
                break
        told = {event["verification"] for event in events(reviewing, "VerificationCompleted") if event["review"] == "open"}
        assert len(told) == len(crashes) + 1
        assert {"before transact_write_items", "after transact_write_items", "before put_events"} <= set(crashes)

    @pytest.mark.parametrize("then", ["reconcile", "repeat"])
    def test_crash_at_any_call_of_a_decision_is_repaired(self, four_eyes: Sandbox, then: str) -> None:
        """The second reviewer's function dies, after an entry of the first one could not be written."""
        ref = four_eyes.link()
        run(four_eyes, ref)
        crashes: list[str] = []
        for number in range(40):
            id = four_eyes.http("POST", "/verifications", {"account": ref.account, "claim": CLOSE}).json["id"]
            verification = four_eyes.store.verifications.get(id)
            four_eyes.taps.append(refuse("put_item"))
            assert refused(lambda: decide(verification, "approve"))[0] == 503  # noqa: B023  (called at once)
            four_eyes.taps[:] = [Death(number)]
            try:
                decide(verification, "approve", "OTHER", version=2, by=BOB, note="why")
            except Died as died:
                crashes.append(str(died))
            else:
                break
            finally:
                four_eyes.taps.clear()
            if then == "reconcile":
                reconcile(four_eyes)
            if then == "repeat" or four_eyes.store.reviews.get(ref, id).state == "proposed":
                decide(verification, "approve", "OTHER", version=2, by=BOB, note="why")
            review = four_eyes.store.reviews.get(ref, id)
            assert (review.resolution, len(review.decisions), review.unfinished) == ("approved", 2, False)
        assert {"after transact_write_items", "before put_item", "after put_item", "before put_events", "after put_events"} <= set(crashes)
        versions = Counter((entry["actor"], entry["version"]) for entry in entries(four_eyes))
        assert versions == {(ANNE.actor, "2"): len(crashes) + 1, (BOB.actor, "3"): len(crashes) + 1}
        told = Counter(event["verification"] for event in events(four_eyes))
        assert (len(told), max(told.values())) == (len(crashes) + 1, 2)

    def test_decision_is_refused_if_the_erasure_begins_just_before_it_is_stored(self, reviewing: Sandbox) -> None:
        verification = verified(reviewing)

        def erase(moment: Moment) -> None:
            if (moment.operation, moment.when) == ("transact_write_items", "before"):
                reviewing.taps.remove(erase)
                reviewing.store.erasures.begin(verification.ref, reviewing.clock.now)

        reviewing.taps.append(erase)
        assert refused(lambda: decide(verification, "approve", "OTHER", note="why"))[:2] == (410, "account-erased")
        assert (rows(reviewing, "NOTE#"), entries(reviewing), events(reviewing)) == ([], [], [])
        assert reviewing.store.verifications.get(verification.id).review == "open"

    @pytest.mark.parametrize("seed", range(8))
    def test_decision_that_races_the_erasure_precedes_it_or_is_refused(self, reviewing: Sandbox, seed: int) -> None:
        verification = verified(reviewing)
        race = Interleaving(seed)
        reviewing.taps.append(race.tap)
        answer, erased = race.run(
            [
                lambda: decide(verification, "approve", "OTHER", note="Quillfeather Canary married"),
                lambda: erasure.erase(reviewing.deps, verification.ref),
            ]
        )
        reviewing.taps.clear()
        assert erased is None
        review = reviewing.store.reviews.get(verification.ref, verification.id)
        head = reviewing.store.verifications.get(verification.id)
        assert (review.state, head.review) == ("closed", "closed")
        if isinstance(answer, tuple):
            assert (review.resolution, head.reviewed) == ("approved", answer[1])
        else:
            assert isinstance(answer, errors.AccountErasedError | errors.ReviewClosedError), answer
            assert (review.resolution, review.closed_reason, head.reviewed) == ("expired", "ACCOUNT_DISCONNECTED", None)
        reconcile(reviewing)
        assert rows(reviewing, "NOTE#") == []
        assert len(entries(reviewing)) == 1
        assert len(events(reviewing)) >= 1
