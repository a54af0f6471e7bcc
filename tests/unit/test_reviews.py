"""What reviewers may decide, how often, and which answer follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest

from tests.support.stored import REF, VERIFICATION
from titleholder import errors
from titleholder.domain import reviews
from titleholder.domain.reviews import (
    APPROVE_REASONS,
    CLOSED_SENTENCES,
    REJECT_REASONS,
    SENTENCES,
    ClosedReason,
    DecisionKind,
    DecisionRequest,
    Final,
    Review,
    ReviewDecision,
)
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import Verification

NOW = 1_800_000_000.0
OPEN = Review(REF, "ver_1", "open", 1, NOW, "rule")
REASON = {"approve": "NAME_VARIANT_CONFIRMED", "reject": "DIFFERENT_PERSON"}


def request(decision: DecisionKind, version: int = 1, reason: str | None = None, **more: Any) -> DecisionRequest:
    return DecisionRequest(version, decision, reason or REASON.get(decision), **more)


def after(review: Review, *decisions: tuple[str, DecisionKind], outcome: str = "close_match", needed: int = 2) -> Review:
    """A review after each reviewer's decision about the version that it then had."""
    for by, decision in decisions:
        review = reviews.decide(review, outcome, request(decision, review.version), by, NOW + review.version, needed)
    return review


PROPOSED = after(OPEN, ("anne", "approve"))
WITHDRAWN = after(PROPOSED, ("anne", "withdraw"))
PROPOSED_AGAIN = after(WITHDRAWN, ("bob", "approve"))
PROPOSED_TOO_OFTEN = after(OPEN, *[("anne", "approve"), ("anne", "withdraw")] * 25, ("anne", "approve"))
NO_PROPOSAL = "You have no proposal that waits for a second reviewer, so there is nothing to withdraw."


def changed(version: int, since: str) -> str:
    return f"Your decision is about version {version}. {since} `review` shows the review now: read it, then decide about that version."


@pytest.mark.parametrize(("decision", "resolution"), [("approve", "approved"), ("reject", "rejected")])
def test_one_reviewer_closes_a_close_match(decision: DecisionKind, resolution: str) -> None:
    review = after(OPEN, ("anne", decision), needed=1)
    assert (review.state, review.version, review.resolution, review.reviewers) == ("closed", 2, resolution, 1)
    assert (review.closed_at, review.reason, review.unfinished) == (NOW + 1, REASON[decision], True)


def test_approval_waits_for_another_reviewer_where_two_are_needed() -> None:
    review = after(OPEN, ("anne", "approve"))
    assert (review.state, review.version, review.proposer, review.closed_at) == ("proposed", 2, "anne", None)
    review = after(review, ("bob", "approve"))
    assert (review.state, review.resolution, review.version, review.reviewers) == ("closed", "approved", 3, 2)


def test_reviewer_may_not_confirm_the_own_proposal() -> None:
    proposed = after(OPEN, ("anne", "approve"))
    with pytest.raises(errors.SecondReviewerNeededError) as refused:
        after(proposed, ("anne", "approve"))
    assert refused.value.review["version"] == 2


@pytest.mark.parametrize("by", ["anne", "bob"])
def test_one_reject_by_any_reviewer_closes_a_proposal(by: str) -> None:
    review = after(OPEN, ("anne", "approve"), (by, "reject"))
    assert (review.state, review.resolution, review.reviewers) == ("closed", "rejected", 1)


def test_withdrawn_proposal_is_open_again_and_takes_two_approvals() -> None:
    review = after(OPEN, ("anne", "approve"), ("anne", "withdraw"))
    assert (review.state, review.version, review.proposer) == ("open", 3, None)
    review = after(review, ("bob", "approve"))
    assert review.state == "proposed"
    assert after(review, ("anne", "approve")).reviewers == 2


@pytest.mark.parametrize(("review", "by"), [(OPEN, "anne"), (after(OPEN, ("anne", "approve")), "bob")])
def test_only_the_own_proposal_can_be_withdrawn(review: Review, by: str) -> None:
    with pytest.raises(errors.NothingToWithdrawError):
        after(review, (by, "withdraw"))


def test_review_that_was_withdrawn_again_and_again_can_only_be_decided() -> None:
    review = after(OPEN, *[("anne", "approve"), ("anne", "withdraw")] * 24, ("anne", "approve"))
    assert len(review.decisions) == reviews.MOST_DECISIONS - 2
    review = after(review, ("anne", "withdraw"))
    review = after(review, ("anne", "approve"))
    with pytest.raises(errors.NothingToWithdrawError):
        after(review, ("anne", "withdraw"))
    assert after(review, ("bob", "approve")).resolution == "approved"
    assert after(review, ("anne", "reject")).resolution == "rejected"


@pytest.mark.parametrize("needed", [0, 1, 2])
def test_approval_of_a_no_match_always_takes_two(needed: int) -> None:
    review = after(OPEN, ("anne", "approve"), outcome="no_match", needed=needed)
    assert review.state == "proposed"
    with pytest.raises(errors.SecondReviewerNeededError):
        after(review, ("anne", "approve"), outcome="no_match", needed=needed)
    assert after(review, ("bob", "approve"), outcome="no_match", needed=needed).resolution == "approved"
    assert after(OPEN, ("anne", "reject"), outcome="no_match", needed=needed).resolution == "rejected"


def test_review_can_be_decided_after_reviews_were_switched_off() -> None:
    assert after(OPEN, ("anne", "approve"), needed=0).resolution == "approved"


@pytest.mark.parametrize("needed", [0, 1, 2])
def test_own_proposal_is_never_confirmed_however_many_are_needed_by_now(needed: int) -> None:
    with pytest.raises(errors.SecondReviewerNeededError):
        after(PROPOSED, ("anne", "approve"), needed=needed)
    assert after(PROPOSED, ("bob", "approve"), needed=needed).reviewers == 2


@pytest.mark.parametrize(("opened", "now", "state"), [(2, 0, "proposed"), (2, 1, "proposed"), (1, 2, "proposed"), (1, 1, "closed")])
def test_review_needs_as_many_as_when_it_was_opened_and_as_are_needed_now(opened: int, now: int, state: str) -> None:
    assert after(replace(OPEN, reviewers_needed=opened), ("anne", "approve"), needed=now).state == state


@pytest.mark.parametrize("version", [0, 2, 7])
def test_decision_about_another_version_is_refused_with_the_review(version: int) -> None:
    with pytest.raises(errors.ReviewChangedError) as refused:
        reviews.decide(OPEN, "close_match", request("approve", version), "anne", NOW, 1)
    assert refused.value.review == OPEN.as_dict()


def test_decision_about_a_closed_review_is_refused_with_the_review() -> None:
    closed = after(OPEN, ("anne", "reject"))
    with pytest.raises(errors.ReviewClosedError) as refused:
        reviews.decide(closed, "close_match", request("approve", 1), "bob", NOW, 1)
    assert refused.value.review["decisions"][0]["reason"] == "DIFFERENT_PERSON"


@pytest.mark.parametrize("version", [1, 2])
def test_review_that_ended_by_itself_is_closed(version: int) -> None:
    ended = reviews.expired(OPEN, "NOT_IN_TIME", NOW, by="reconcile")
    assert (ended.version, ended.resolution, ended.reviewers, ended.reason) == (2, "expired", 0, None)
    with pytest.raises(errors.ReviewClosedError, match="without a decision"):
        reviews.decide(ended, "close_match", request("approve", version), "anne", NOW, 1)


def test_repeated_decision_changes_nothing() -> None:
    review = after(OPEN, ("anne", "approve"), ("bob", "approve"))
    assert reviews.decide(review, "close_match", request("approve", 1), "anne", NOW + 9, 2) is review
    assert reviews.decide(review, "close_match", request("approve", 2), "bob", NOW + 9, 2) is review


@pytest.mark.parametrize(
    ("asked", "by"),
    [
        (request("approve", 1), "bob"),
        (request("reject", 1), "anne"),
        (request("approve", 1, "CONTACT_CONFIRMED"), "anne"),
        (request("approve", 3), "anne"),
    ],
)
def test_repetition_is_the_same_decision_reason_and_version_by_the_same_reviewer(asked: DecisionRequest, by: str) -> None:
    with pytest.raises(errors.ReviewClosedError):
        reviews.decide(after(OPEN, ("anne", "approve"), needed=1), "close_match", asked, by, NOW, 1)


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        (request("approve", reason="DIFFERENT_PERSON"), ["reason"]),
        (request("reject", reason="CONTACT_CONFIRMED"), ["reason"]),
        (DecisionRequest(1, "approve"), ["reason"]),
        (request("approve", reason="canary"), ["reason"]),
        (request("approve", reason="OTHER"), ["note"]),
        (request("reject", reason="OTHER", note=Sensitive(" \n")), ["note"]),
        (DecisionRequest(1, "withdraw", "OTHER", "CASE-1", Sensitive("why")), ["reason", "reference", "note"]),
        (request("reject", reason="OTHER", note=Sensitive("why")), []),
        (request("approve", reason="OTHER", note=Sensitive("why"), reference="CASE-1"), []),
        (DecisionRequest(1, "withdraw"), []),
    ],
)
def test_reason_and_note_go_with_the_decision(asked: DecisionRequest, fields: list[str]) -> None:
    wrong = reviews.wrong_fields(asked)
    assert [each["field"] for each in wrong] == fields
    assert "canary" not in str(wrong)
    if fields:
        with pytest.raises(errors.InvalidDecisionError) as refused:
            reviews.decide(OPEN, "close_match", asked, "anne", NOW, 1)
        assert refused.value.fields == wrong


def test_every_code_has_a_sentence() -> None:
    assert set(SENTENCES) == set(APPROVE_REASONS) | set(REJECT_REASONS)
    assert set(APPROVE_REASONS) & set(REJECT_REASONS) == {"OTHER"}
    assert set(CLOSED_SENTENCES) == set(get_args(ClosedReason))
    assert all(sentence.endswith(".") for sentence in (*SENTENCES.values(), *CLOSED_SENTENCES.values()))


def verification(outcome: str | None, review: Any = None, reviewed: Final | None = None) -> Verification:
    verdict = None if outcome is None else {"outcome": outcome}
    return replace(VERIFICATION, verdict=verdict, completed_at=NOW + 5, review=review, reviewed=reviewed)


@pytest.mark.parametrize(
    ("outcome", "expected"), [("match", "match"), ("no_match", "no_match"), ("close_match", None), ("not_verifiable", None), (None, None)]
)
def test_final_without_review_is_what_the_verdict_says(outcome: str | None, expected: Any) -> None:
    said = None if expected is None else Final(expected, "verdict", NOW + 5)
    assert reviews.final(verification(outcome)) == said
    assert reviews.final(verification(outcome, "open")) is None
    assert reviews.final(verification(outcome, "proposed")) is None
    assert reviews.final(verification(outcome, "closed")) == said


@pytest.mark.parametrize("outcome", ["match", "close_match", "no_match"])
@pytest.mark.parametrize(("decision", "said"), [("approve", "match"), ("reject", "no_match")])
def test_final_after_a_review_is_what_was_decided(outcome: str, decision: DecisionKind, said: str) -> None:
    review = after(OPEN, *((by, decision) for by in (("anne", "bob") if decision == "approve" else ("anne",))), outcome=outcome)
    final = reviews.final(verification(outcome, "closed", reviews.decided(review)))
    assert final is not None
    assert (final.outcome, final.by, final.at) == (said, "review", review.closed_at)


def test_nothing_is_decided_while_a_review_waits_or_if_it_ended_by_itself() -> None:
    for review in (OPEN, after(OPEN, ("anne", "approve")), reviews.expired(OPEN, "OWNERS_CHANGED", NOW, by="stripe")):
        assert reviews.decided(review) is None


def test_decision_keeps_who_decided_what_when_why_and_in_which_request() -> None:
    asked = request("approve", reference="CASE-4711", note=Sensitive("why"))
    after = reviews.decide(OPEN, "close_match", asked, "anne", NOW + 1, 2, request_id="request-1")
    made = ReviewDecision("anne", NOW + 1, "approve", "NAME_VARIANT_CONFIRMED", "CASE-4711", True, "request-1")
    assert after == replace(OPEN, state="proposed", version=2, decisions=(made,))
    without = reviews.decide(OPEN, "close_match", request("approve"), "anne", NOW + 1, 2)
    assert without.decisions == (replace(made, reference=None, noted=False, request=""),)


@pytest.mark.parametrize("review", [OPEN, PROPOSED])
def test_what_comes_later_is_not_dated_before_by_a_slower_clock(review: Review) -> None:
    last = review.decisions[-1].at if review.decisions else review.opened_at
    for changed in (
        reviews.expired(review, "ACCOUNT_DISCONNECTED", last - 5, by="stripe"),
        reviews.decide(review, "close_match", request("reject", review.version), "bob", last - 5, 2),
    ):
        assert changed.closed_at == last
        assert changed.closed_at is not None
        assert all(made.at <= changed.closed_at for made in changed.decisions)


def test_end_without_a_decision_keeps_why_and_by_whom() -> None:
    ended = {"state": "closed", "version": 2, "resolution": "expired", "closed_at": NOW + 1, "closed_reason": "CLAIM_ERASED"}
    by = {"closed_actor": "reconcile", "closed_request": "request-1"}
    made = reviews.expired(OPEN, "CLAIM_ERASED", NOW + 1, by="reconcile", request_id="request-1")
    assert made == replace(OPEN, unfinished=True, **ended, **by)
    assert reviews.expired(OPEN, "CLAIM_ERASED", NOW + 1, by="reconcile") == replace(made, closed_request="")


def test_callers_see_no_request_and_no_actor_but_the_reviewers() -> None:
    closed = reviews.decide(OPEN, "close_match", request("reject", reference="CASE-1"), "anne", NOW + 1, 1, request_id="request-1")
    assert closed.as_dict() == {
        "verification": "ver_1", "state": "closed", "version": 2, "opened_by": "rule", "opened_at": "2027-01-15T08:00:00Z",
        "closed_at": "2027-01-15T08:00:01Z", "resolution": "rejected", "closed_reason": None, "reviewers_needed": 1,
        "decisions": [
            {
                "by": "anne", "at": "2027-01-15T08:00:01Z", "decision": "reject", "reason": "DIFFERENT_PERSON", "reference": "CASE-1",
                "noted": False,
            }
        ],
    }  # fmt: skip
    assert OPEN.as_dict() | {"closed_at": None, "decisions": [], "state": "open"} == OPEN.as_dict()
    assert Final("match", "review", NOW).as_dict() == {"outcome": "match", "by": "review", "at": "2027-01-15T08:00:00Z"}


@pytest.mark.parametrize(
    ("outcome", "needed", "why"),
    [
        ("match", 1, None),
        ("close_match", 2, None),
        ("no_match", 1, None),
        ("match", 0, "This stack has no reviews, because its parameter ReviewersNeeded is 0."),
        (None, 1, "The verification has no verdict yet. Wait for it, then try again."),
        ("not_verifiable", 1, "The verification is not verifiable, so there is no comparison that a person could review."),
    ],
)
def test_review_can_be_opened_by_hand_where_something_was_compared(outcome: str | None, needed: int, why: str | None) -> None:
    assert reviews.unreviewable(verification(outcome), needed) == why


@pytest.mark.parametrize(
    ("review", "asked", "by", "said"),
    [
        (OPEN, request("approve", reason="RELATIVE"), "anne", "The fields of the decision do not go together."),
        (OPEN, request("approve", 2), "anne", changed(2, "The review has not had this version.")),
        (PROPOSED, request("reject", 1), "anne", changed(1, "You have decided since then.")),
        (PROPOSED, request("reject", 1), "bob", changed(1, "Another reviewer has decided since then.")),
        (WITHDRAWN, request("reject", 2), "anne", changed(2, "You have decided since then.")),
        (PROPOSED_AGAIN, request("reject", 1), "anne", changed(1, "You and another reviewer have decided since then.")),
        (PROPOSED_AGAIN, request("reject", 3), "anne", changed(3, "Another reviewer has decided since then.")),
        (PROPOSED_AGAIN, request("reject", 3), "bob", changed(3, "You have decided since then.")),
        (OPEN, request("withdraw"), "anne", NO_PROPOSAL),
        (PROPOSED, request("withdraw", 2), "bob", NO_PROPOSAL),
        (
            PROPOSED, request("approve", 2), "anne",
            "You proposed this approval, so another reviewer has to confirm it. You can withdraw or reject it.",
        ),
        (
            PROPOSED_TOO_OFTEN, request("withdraw", 52), "anne",
            "After 51 decisions about a review no proposal can be withdrawn any more, because one stored item of limited size holds all "
            "decisions. Have another reviewer confirm or reject your proposal, or reject it yourself.",
        ),
        (PROPOSED_TOO_OFTEN, request("withdraw", 52), "bob", NO_PROPOSAL),
        (
            PROPOSED_TOO_OFTEN, request("approve", 52), "anne",
            "You proposed this approval, so another reviewer has to confirm it. You can reject it.",
        ),
        (after(PROPOSED, ("anne", "reject")), request("approve", 2), "anne", "The review was decided, and stays closed."),
        (after(PROPOSED, ("bob", "approve")), request("reject"), "eve", "The review was decided, and stays closed."),
        (
            reviews.expired(OPEN, "NOT_IN_TIME", NOW, by="reconcile"), request("reject"), "anne",
            "The review ended without a decision, and stays closed.",
        ),
    ],
)  # fmt: skip
def test_refusal_says_why_and_shows_the_review(review: Review, asked: DecisionRequest, by: str, said: str) -> None:
    with pytest.raises(errors.TitleholderError) as refused:
        reviews.decide(review, "close_match", asked, by, NOW, 2)
    assert str(refused.value) == said
    assert getattr(refused.value, "review", review.as_dict()) == review.as_dict()


def test_bad_fields_say_what_is_expected() -> None:
    reasons = "DIFFERENT_PERSON, RELATIVE, BUSINESS_UNRELATED, EVIDENCE_LACKING, SUSPECTED_FRAUD, OTHER"
    assert [reviews.wrong_fields(asked) for asked in (
        DecisionRequest(1, "reject"), DecisionRequest(1, "reject", "OTHER"), DecisionRequest(1, "withdraw", reference="CASE-1"),
    )] == [
        [{"field": "reason", "detail": f"To reject, one of {reasons}."}],
        [{"field": "note", "detail": "Needed with the reason OTHER."}],
        [{"field": "reference", "detail": "A withdrawal has none."}],
    ]  # fmt: skip


def test_number_of_reviewers_that_an_approval_takes() -> None:
    needed = {(outcome, setting): reviews.needed(outcome, setting) for outcome in ("close_match", "no_match") for setting in (0, 1, 2)}
    assert list(needed.values()) == [1, 1, 2, 2, 2, 2]
