"""Reviews: what people decide about verifications, beside their verdicts, which never change.

A review has a version, beginning with 1. Each decision, and the end of a review without a decision, makes the next version. A decision
names the version that it is about, so that no reviewer decides about something that another reviewer has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.errors import (
    InvalidDecisionError,
    NothingToWithdrawError,
    ReviewChangedError,
    ReviewClosedError,
    SecondReviewerNeededError,
)
from titleholder.timestamps import iso_seconds

if TYPE_CHECKING:
    from titleholder.domain.verifications import Verification

ReviewState = Literal["open", "proposed", "closed"]
DecisionKind = Literal["approve", "reject", "withdraw"]
Resolution = Literal["approved", "rejected", "expired"]
OpenedBy = Literal["rule", "manual"]
ClosedReason = Literal["ACCOUNT_INACTIVE", "ACCOUNT_DISCONNECTED", "OWNERS_CHANGED", "OWNERS_ERASED", "CLAIM_ERASED", "NOT_IN_TIME"]

OTHER = "OTHER"
"""The reason that needs a note, because its code does not explain the decision."""

MOST_DECISIONS = 51
"""After this many decisions a proposal can't be withdrawn any more. All decisions of a review share one item, which DynamoDB limits to
400 KB. Without this limit, endless proposals and withdrawals would fill the item, and nothing could close the review.
"""

APPROVE_REASONS: Mapping[str, str] = {
    "NAME_VARIANT_CONFIRMED": "The names are variants of one name.",
    "CHANGED_NAME_DOCUMENTED": "A document shows that the name was changed.",
    "JOINT_OR_AUTHORISED": "The claimant is a joint owner of the account, or is authorised to use it.",
    "BUSINESS_RELATION_DOCUMENTED": "A document shows how the claimant and the business at the bank are related.",
    "CONTACT_CONFIRMED": "The claimant was reached by a contact that the bank has on file.",
    OTHER: "Another reason, which the note says.",
}
REJECT_REASONS: Mapping[str, str] = {
    "DIFFERENT_PERSON": "The account belongs to another person.",
    "RELATIVE": "The account belongs to a relative of the claimant.",
    "BUSINESS_UNRELATED": "The account belongs to a business that the claimant is not related to.",
    "EVIDENCE_LACKING": "The claimant gave no sufficient evidence.",
    "SUSPECTED_FRAUD": "Fraud is suspected.",
    OTHER: "Another reason, which the note says.",
}
SENTENCES: Mapping[str, str] = {**APPROVE_REASONS, **REJECT_REASONS}
"""Each reason's code with a sentence. The codes are stable."""

REASONS: Mapping[DecisionKind, Mapping[str, str]] = {"approve": APPROVE_REASONS, "reject": REJECT_REASONS, "withdraw": {}}

CLOSED_SENTENCES: Mapping[ClosedReason, str] = {
    "ACCOUNT_INACTIVE": "The account became inactive.",
    "ACCOUNT_DISCONNECTED": "The account was disconnected.",
    "OWNERS_CHANGED": "The bank named other owners.",
    "OWNERS_ERASED": "The owners are not kept any more.",
    "CLAIM_ERASED": "The claim is not kept any more.",
    "NOT_IN_TIME": "No decision was made in time.",
}
"""Why a review ended without a decision."""


@dataclass(frozen=True, slots=True)
class ReviewDecision:
    """One reviewer's decision. `by`: the reviewer, as the audit log names actors. `noted`: there is a note, which is stored encrypted.

    `request`: the id of the HTTP request, for the audit log.
    """

    by: str
    at: float
    decision: DecisionKind
    reason: str | None
    reference: str | None
    noted: bool
    request: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The form for callers."""
        return {
            "by": self.by, "at": iso_seconds(self.at), "decision": self.decision, "reason": self.reason, "reference": self.reference,
            "noted": self.noted,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Review:
    """A review of one verification. Times are Unix seconds.

    `decisions`: one for each version after the first, except for an end without a decision. `seen_by`, `seen_at`: which reviewer last saw
    the comparison, and when. `unfinished`: it is closed, but that was not recorded and announced yet.
    `opened_actor`, `closed_actor`: who opened it by hand, and who ended it without a decision, as the audit log names actors.
    `reviewers_needed`: how many reviewers an approval took when the review was opened. `recorded`: the version up to which the audit log
    certainly has the entries.
    """

    ref: AccountRef
    verification: str
    state: ReviewState
    version: int
    opened_at: float
    opened_by: OpenedBy
    decisions: tuple[ReviewDecision, ...] = ()
    seen_by: str | None = None
    seen_at: float | None = None
    closed_at: float | None = None
    resolution: Resolution | None = None
    closed_reason: ClosedReason | None = None
    unfinished: bool = False
    opened_actor: str = ""
    opened_request: str = ""
    closed_actor: str = ""
    closed_request: str = ""
    reviewers_needed: int = 1
    recorded: int = 0

    @property
    def proposer(self) -> str | None:
        """The reviewer whose proposal waits for a second reviewer; None without one."""
        return self.decisions[-1].by if self.state == "proposed" else None

    @property
    def reason(self) -> str | None:
        """The reason of the decision that closed the review; None if no decision did."""
        return self.decisions[-1].reason if self.resolution in ("approved", "rejected") else None

    @property
    def reviewers(self) -> int:
        """How many people made the decision that closed the review: two if one proposed it and another one confirmed it."""
        if self.resolution == "rejected":
            return 1
        if self.resolution != "approved":
            return 0
        proposed = len(self.decisions) > 1 and self.decisions[-2].decision == "approve"
        return len({decision.by for decision in self.decisions[-2 if proposed else -1 :]})

    def as_dict(self) -> dict[str, Any]:
        """The form for callers: it has no personal data except the reviewers' identities."""
        return {
            "verification": self.verification,
            "state": self.state,
            "version": self.version,
            "opened_by": self.opened_by,
            "opened_at": iso_seconds(self.opened_at),
            "closed_at": None if self.closed_at is None else iso_seconds(self.closed_at),
            "resolution": self.resolution,
            "closed_reason": self.closed_reason,
            "reviewers_needed": self.reviewers_needed,
            "decisions": [decision.as_dict() for decision in self.decisions],
        }


@dataclass(frozen=True, slots=True)
class Final:
    """The answer that a business acts on: the verdict's, or that of a person's decision. `at`: Unix seconds."""

    outcome: Literal["match", "no_match"]
    by: Literal["verdict", "review"]
    at: float

    def as_dict(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "by": self.by, "at": iso_seconds(self.at)}


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """A reviewer's request. `version`: the version of the review that the reviewer has seen."""

    version: int
    decision: DecisionKind
    reason: str | None = None
    reference: str | None = None
    note: Sensitive[str] | None = None


def unreviewable(verification: Verification, reviewers_needed: int) -> str | None:
    """Why no review of a verification can be opened by hand, as a sentence; None if one can."""
    if reviewers_needed == 0:
        return "This stack has no reviews, because its parameter ReviewersNeeded is 0."
    if verification.verdict is None:
        return "The verification has no verdict yet. Wait for it, then try again."
    if verification.verdict["outcome"] == "not_verifiable":
        return "The verification is not verifiable, so there is no comparison that a person could review."
    return None


def wrong_fields(request: DecisionRequest) -> list[dict[str, str]]:
    """The wrong fields of a request, checked without the review: each with what is expected of it, without its value."""
    if request.decision == "withdraw":
        given = {"reason": request.reason, "reference": request.reference, "note": request.note}
        return [{"field": name, "detail": "A withdrawal has none."} for name, value in given.items() if value is not None]
    if request.reason not in REASONS[request.decision]:
        return [{"field": "reason", "detail": f"To {request.decision}, one of {', '.join(REASONS[request.decision])}."}]
    if request.reason == OTHER and (request.note is None or not request.note.reveal().strip()):
        return [{"field": "note", "detail": f"Needed with the reason {OTHER}."}]
    return []


def decide(
    review: Review, verdict_outcome: str, request: DecisionRequest, by: str, now: float, reviewers_needed: int, *, request_id: str = ""
) -> Review:
    """The review after a decision. The same review if it already has this decision.

    `reviewers_needed`: the stack's present setting. The review may need more, if the setting was higher when it was opened.

    Raises:
        InvalidDecisionError: reason or note do not fit the decision.
        ReviewClosedError: another decision came first, or the review ended without one. Contains the review.
        ReviewChangedError: the request is about another version of the review than the present one. Contains the review.
        SecondReviewerNeededError: the caller's own proposal has to be confirmed by another reviewer.
        NothingToWithdrawError: the caller has made no proposal that waits, or the review was withdrawn too often.
    """
    if wrong := wrong_fields(request):
        raise InvalidDecisionError("The fields of the decision do not go together.", wrong)
    if _is_repeated(review, request, by):
        return review
    if review.state == "closed":
        raise closed_error(review)
    if request.version != review.version:
        raise ReviewChangedError(
            f"Your decision is about version {request.version}. {_since(review, request.version, by)} `review` shows the review now: read "
            "it, then decide about that version.",
            review.as_dict(),
        )
    withdrawable = len(review.decisions) < MOST_DECISIONS
    if request.decision == "withdraw" and review.proposer != by:
        raise NothingToWithdrawError(
            "You have no proposal that waits for a second reviewer, so there is nothing to withdraw.", review.as_dict()
        )
    if request.decision == "withdraw" and not withdrawable:
        raise NothingToWithdrawError(
            f"After {MOST_DECISIONS} decisions about a review no proposal can be withdrawn any more, because one stored item of limited "
            "size holds all decisions. Have another reviewer confirm or reject your proposal, or reject it yourself.",
            review.as_dict(),
        )
    now = _in_order(review, now)
    decision = ReviewDecision(by, now, request.decision, request.reason, request.reference, request.note is not None, request_id)
    after = replace(review, version=review.version + 1, decisions=(*review.decisions, decision))
    if request.decision == "withdraw":
        return replace(after, state="open")
    if request.decision == "reject":
        return _closed(after, "rejected", now)
    if review.proposer == by:
        raise SecondReviewerNeededError(
            "You proposed this approval, so another reviewer has to confirm it. "
            f"You can {'withdraw or reject' if withdrawable else 'reject'} it.",
            review.as_dict(),
        )
    if review.proposer is None and needed(verdict_outcome, max(review.reviewers_needed, reviewers_needed)) > 1:
        return replace(after, state="proposed")
    return _closed(after, "approved", now)


def _since(review: Review, version: int, by: str) -> str:
    """Who has decided since a version of a review that is not closed, as a sentence for `by`. Each later version is a decision's."""
    if not 1 <= version < review.version:
        return "The review has not had this version."
    since = {made.by for made in review.decisions[version - 1 :]}
    if by not in since:
        return "Another reviewer has decided since then."
    return "You have decided since then." if since == {by} else "You and another reviewer have decided since then."


def closed_error(review: Review) -> ReviewClosedError:
    """The error for a request to change a closed review."""
    ended = "ended without a decision" if review.resolution == "expired" else "was decided"
    return ReviewClosedError(f"The review {ended}, and stays closed.", review.as_dict())


def needed(verdict_outcome: str, reviewers_needed: int) -> int:
    """How many reviewers an approval takes: two for no_match, else `reviewers_needed`, but at least one, even if reviews are now off."""
    return 2 if verdict_outcome == "no_match" else max(1, reviewers_needed)


def expired(review: Review, reason: ClosedReason, now: float, *, by: str, request_id: str = "") -> Review:
    """The review after it ended without a decision."""
    after = replace(review, version=review.version + 1, closed_reason=reason, closed_actor=by, closed_request=request_id)
    return _closed(after, "expired", _in_order(review, now))


def _in_order(review: Review, now: float) -> float:
    """The time for the next change: `now`, but not before the last change, which a worker whose clock is ahead may have stored."""
    return max(now, review.opened_at, *(made.at for made in review.decisions[-1:]))


def final(verification: Verification) -> Final | None:
    """The answer that a business acts on. None if there is none: while a review is open, or without a clear verdict or decision."""
    verdict, completed_at = verification.verdict, verification.completed_at
    if verdict is None or completed_at is None or verification.review in ("open", "proposed"):
        return None
    if verification.reviewed is not None:
        return verification.reviewed
    if verdict["outcome"] not in ("match", "no_match"):
        return None
    return Final(verdict["outcome"], "verdict", completed_at)


def decided(review: Review) -> Final | None:
    """The answer of a closed review; None if it ended without a decision, or is not closed."""
    if review.closed_at is None or review.resolution in (None, "expired"):
        return None
    return Final("match" if review.resolution == "approved" else "no_match", "review", review.closed_at)


def _closed(review: Review, resolution: Resolution, now: float) -> Review:
    return replace(review, state="closed", resolution=resolution, closed_at=now, unfinished=True)


def _is_repeated(review: Review, request: DecisionRequest, by: str) -> bool:
    """Whether a review already has this decision, by the same caller about the same version."""
    if not 1 <= request.version <= len(review.decisions):
        return False
    made = review.decisions[request.version - 1]
    return (made.by, made.decision, made.reason) == (by, request.decision, request.reason)
