"""Bodies and answers of the routes for reviews. Times are ISO 8601 in UTC, scores 0 to 100."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from titleholder.domain import reviews, timeline
from titleholder.domain.remedies import Remedy
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import Verification
from titleholder.matching import explanations
from titleholder.schemas import Strict, worded
from titleholder.timestamps import iso_seconds
from titleholder.web import models
from titleholder.web.models import Final, Outcome, ReviewState, Shown
from titleholder.web.timeline_models import Timeline

if TYPE_CHECKING:
    from titleholder.domain import differences

MAX_NOTE = 1000
PAGE = 50

Waiting = Literal["open", "proposed"]
Decided = Literal["approve", "reject", "withdraw"]
May = Literal["reveal", "decide"]
Limit = Annotated[int, Field(ge=1, le=PAGE, description="The largest number of entries on a page.")]
_ONE_OF = "must be one of " + ", ".join(f"`{code}`" for code in reviews.SENTENCES)
VerdictReason = Annotated[str, worded(r"^[A-Z][A-Z0-9_]{0,63}$", "not a reason of a verdict, such as MIDDLE_DIFFERS")]
Reason = Annotated[str, worded(f"^({'|'.join(reviews.SENTENCES)})$", _ONE_OF)]
Reference = Annotated[str, worded(r"^[A-Za-z0-9._:/-]{1,64}$", "may have up to 64 letters, digits and . _ : / -, and no spaces")]
NoteText = Annotated[
    str,
    worded(
        r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+$", "contains a control character", strip_whitespace=True, min_length=1, max_length=MAX_NOTE
    ),
]


class NewReview(Strict):
    """The body of `POST /verifications/{id}/review`. It has no fields, and may be left out."""


class NewComparison(Strict):
    """The body of `POST /verifications/{id}/comparison`. It has no fields, and may be left out."""


class NewDecision(Strict):
    """The body of `POST /verifications/{id}/review/decisions`."""

    version: Annotated[int, Field(ge=1, le=1_000_000)] = Field(description="The version of the review that the decision is about.")
    decision: Decided = Field(
        description="`withdraw` takes back a proposal that waits for a second reviewer. Only the one who made it can do that."
    )
    reason: Reason | None = Field(default=None, description="Needed to approve or to reject, each with reasons of its own.")
    reference: Reference | None = Field(default=None, description="Where the evidence is kept, such as the number of a case.")
    note: NoteText | None = Field(default=None, description="Needed with the reason `OTHER`. It is stored encrypted.")

    def request(self) -> reviews.DecisionRequest:
        note = None if self.note is None else Sensitive(self.note)
        return reviews.DecisionRequest(self.version, self.decision, self.reason, self.reference, note)


class Seen(Shown):
    """When a reviewer last had the comparison shown."""

    by_you: bool
    at: str

    @classmethod
    def of(cls, review: reviews.Review, you: str) -> Seen | None:
        return None if review.seen_at is None else cls(by_you=review.seen_by == you, at=iso_seconds(review.seen_at))


class QueuedReview(Shown):
    """A review that waits for a person."""

    verification: str
    account: str
    stripe_account: str | None
    state: Waiting
    version: int
    opened_by: Literal["rule", "manual"]
    opened_at: str
    age: int = Field(description="Seconds since it was opened.")
    outcome: Outcome
    score: float | None
    reasons: list[str]
    seen: Seen | None

    @classmethod
    def of(cls, review: reviews.Review, verification: Verification, *, you: str, now: float) -> QueuedReview:
        verdict = verification.verdict or {}
        return cls.model_validate(
            {
                "verification": review.verification,
                "account": review.ref.account,
                "stripe_account": review.ref.stripe_account,
                "state": review.state,
                "version": review.version,
                "opened_by": review.opened_by,
                "opened_at": iso_seconds(review.opened_at),
                "age": max(0, round(now - review.opened_at)),
                "outcome": verdict.get("outcome"),
                "score": verdict.get("score"),
                "reasons": list(verdict.get("reasons", ())),
                "seen": Seen.of(review, you),
            }
        )


class Reviews(Shown):
    """Reviews that wait for a person, the longest waiting first."""

    reviews: list[QueuedReview]
    open: str = Field(
        description="How many reviews are in the state that was asked for, whatever `reason` and `batch` are: a number, or one followed by "
        "`+` if there are or may be more. At most `100+`."
    )
    you: str = Field(description="The caller, as decisions and the audit log name them.")
    may: list[May] = Field(description="What the caller may do: have comparisons shown, and decide.")
    next_cursor: str | None = Field(
        default=None, description="Send it as `cursor` to get the next page. Null on the last page. A page may be shorter than `limit`."
    )


class Decision(Shown):
    """What a reviewer decided. `noted`: whether there is a note."""

    by: str
    at: str
    decision: Decided
    reason: str | None
    reference: str | None
    noted: bool


class Review(Shown):
    """A review as it stands."""

    verification: str
    state: ReviewState
    version: int
    opened_by: Literal["rule", "manual"]
    opened_at: str
    closed_at: str | None
    resolution: Literal["approved", "rejected", "expired"] | None
    closed_reason: str | None = Field(description="Why the review ended without a decision.")
    reviewers_needed: int = Field(
        description="How many reviewers an approval takes at least, as set when the review was opened. It takes more if the parameter "
        "`ReviewersNeeded` is larger by now, and two where the verdict is `no_match`."
    )
    final: Final | None = Field(description="The verification's answer now. Null while the review is open.")
    decisions: list[Decision]

    @classmethod
    def of(cls, review: reviews.Review, final: reviews.Final | None) -> Review:
        return cls.model_validate({**review.as_dict(), "final": None if final is None else final.as_dict()})


class SeenReview(Review):
    """A review as it stands, and who last looked at it."""

    seen: Seen | None


class VerificationTimeline(Timeline):
    """What happened to a verification, in order of time, in ids and codes, with its verdict and its review."""

    verification: models.Verification
    review: SeenReview | None

    @classmethod
    def of_verification(cls, found: timeline.Timeline, *, you: str, relink: bool, repair: Remedy | None) -> VerificationTimeline:
        """`you`: the caller. `relink` and `repair`: as for `models.Verification.of`."""
        shown, review = Timeline.of(found), None
        if found.review is not None:
            now = Review.of(found.review, reviews.final(found.verification))
            review = SeenReview(**now.model_dump(), seen=Seen.of(found.review, you))
        return cls(
            verification=models.Verification.of(found.verification, relink=relink, repair=repair),
            review=review,
            recorded=shown.recorded,
            steps=shown.steps,
            left_out=shown.left_out,
        )


class Part(Shown):
    """A piece of a text. Joined, the parts are the text; one of more than 1,000 characters is cut and ends with an ellipsis."""

    text: str
    differs: bool = False

    @classmethod
    def all_of(cls, parts: Sequence[differences.Part]) -> list[Part]:
        return [cls(text=part.text, differs=part.differs) for part in parts]


class ComparedField(Shown):
    """One field of the claim beside the same field of the owner. `claim` and `bank` are null if the field agrees fully, or is missing."""

    field: Literal["name", "address", "phone", "email"]
    score: float | None
    missing: Literal["claim", "bank", "both"] | None = None
    same: bool = Field(description="Whether the field agrees fully. It is then not shown.")
    reasons: list[str]
    sentences: list[str] = Field(description="What the reasons mean.")
    claim: list[Part] | None = None
    bank: list[Part] | None = None
    other_claimed: list[list[Part]] = Field(
        default=[], description="Other names in the claim, the one that is most like the owner's first. `claim` is the most like of all."
    )

    @classmethod
    def of(cls, found: differences.ComparedField) -> ComparedField:
        return cls.model_validate(
            {
                "field": found.name,
                "score": found.score,
                "missing": found.missing,
                "same": found.same,
                "reasons": list(found.reasons),
                "sentences": [explanations.SENTENCES[code] for code in found.reasons if code in explanations.SENTENCES],
                "claim": None if found.claim is None else Part.all_of(found.claim),
                "bank": None if found.bank is None else Part.all_of(found.bank),
                "other_claimed": [Part.all_of(other) for other in found.other_claimed],
            }
        )


class EarlierNote(Shown):
    """The note of an earlier decision. `version`: of the review, as that decision made it."""

    version: int
    note: str


class Comparison(Shown):
    """The claim of a verification beside the owner that its verdict is about."""

    verification: str
    snapshot: str
    refreshed_at: str
    newest: bool = Field(description="Whether no later snapshot of the account's owners is stored.")
    owner_position: int = Field(description="The position of the owner in the snapshot, from 0.")
    fields: list[ComparedField]
    other_owners: list[str] = Field(
        description="Names of the account's other owners, at most 10, without their contacts. Empty if the name agrees fully."
    )
    other_owner_count: int = Field(description="How many other owners the account has.")
    may_tell: list[str] = Field(description="What the claimant may be told.")
    may_name_owner: bool = Field(
        description="Whether the claimant may be told the name on the account, where that is permitted: for a close match only."
    )
    notes: list[EarlierNote] = Field(description="For a second reviewer: what those before noted.")

    @classmethod
    def of(cls, found: differences.Comparison) -> Comparison:
        return cls(
            verification=found.verification,
            snapshot=found.snapshot,
            refreshed_at=iso_seconds(found.attempted_at),
            newest=found.newest,
            owner_position=found.owner_position,
            fields=[ComparedField.of(one) for one in found.fields],
            other_owners=list(found.other_owners),
            other_owner_count=found.other_owner_count,
            may_tell=list(found.may_tell),
            may_name_owner=found.may_name_owner,
            notes=[EarlierNote(version=version, note=note) for version, note in sorted(found.notes.items())],
        )
