"""Bodies and answers of the routes for reviews. Times are ISO 8601 in UTC, scores 0 to 100."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from titleholder.domain import reviews, timeline
from titleholder.domain.remedies import Remedy
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import Verification
from titleholder.matching import explanations
from titleholder.schemas import Strict, refused, worded
from titleholder.timestamps import iso_seconds
from titleholder.web import models
from titleholder.web.models import FinalAnswer, Outcome, ReviewState, Shown
from titleholder.web.timeline_models import ReasonCode, Timeline, Timestamp

if TYPE_CHECKING:
    from titleholder.domain import differences

MAX_NOTE = 1000
PAGE = 50

Waiting = Literal["open", "proposed"]
Decided = Literal["approve", "reject", "withdraw"]
May = Literal["reveal", "decide"]
Limit = Annotated[int, Field(ge=1, le=PAGE)]
_ONE_OF = "must be one of " + ", ".join(f"`{code}`" for code in reviews.SENTENCES)
VerdictReason = Annotated[str, worded(r"^[A-Z][A-Z0-9_]{0,63}$", "not a reason of a verdict, such as MIDDLE_DIFFERS")]
Reason = Annotated[str, worded(f"^({'|'.join(reviews.SENTENCES)})$", _ONE_OF)]
DecisionReason = str
ClosedReason = str
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

    version: Annotated[int, Field(ge=1, le=1_000_000)]
    """The version of the review that the decision is about."""
    decision: Decided
    """`withdraw` takes back a proposal that waits for a second reviewer. Only the reviewer who made it can do that."""
    reason: Reason | None = None
    """Needed to approve or to reject, each with reasons of its own. docs/http.md lists them."""
    reference: Reference | None = None
    """Where the evidence is kept, such as the number of a case. It is stored as plain text, so it must hold no personal data."""
    note: NoteText | None = None
    """Needed with the reason `OTHER`. It is stored encrypted."""

    @model_validator(mode="wrap")
    @classmethod
    def _all_errors(cls, data: Any, handler: ModelWrapValidatorHandler[NewDecision]) -> NewDecision:
        """Report fields that do not go together with all other invalid fields. Without others, `reviews.decide` reports them."""
        try:
            return handler(data)
        except ValidationError as found:
            others = found.errors(include_input=False, include_url=False)
            raise ValidationError.from_exception_data(cls.__name__, [*models.repeated(others), *_not_together(data, others)]) from None

    def request(self) -> reviews.DecisionRequest:
        note = None if self.note is None else Sensitive(self.note)
        return reviews.DecisionRequest(self.version, self.decision, self.reason, self.reference, note)


def _not_together(data: Any, others: Sequence[Any]) -> list[InitErrorDetails]:
    """The fields of a decision that do not go together, but for those that are invalid by themselves."""
    given: dict[str, Any] = data if isinstance(data, dict) else {}
    read: Callable[[str], Any] = given.get
    decision, reason, reference, note = map(read, ("decision", "reason", "reference", "note"))
    if decision not in get_args(Decided) or not isinstance(reason, str | None):
        return []
    request = reviews.DecisionRequest(0, decision, reason, reference, None if note is None else Sensitive(str(note)))
    wrong = {error["loc"][0] for error in others if error["loc"]}
    return [
        InitErrorDetails(type=refused(error["detail"]), loc=(error["field"],), input=None)
        for error in reviews.wrong_fields(request) if error["field"] not in wrong
    ]  # fmt: skip


class LastSeen(Shown):
    """When a reviewer last had the comparison shown."""

    by_you: bool
    """Whether that was the caller."""
    at: Timestamp
    """When it was shown."""

    @classmethod
    def of(cls, review: reviews.Review, you: str) -> LastSeen | None:
        return None if review.seen_at is None else cls(by_you=review.seen_by == you, at=iso_seconds(review.seen_at))


class QueuedReview(Shown):
    """A review that waits for a person."""

    verification: str
    """The verification's id (`ver_...`)."""
    account: str
    """The account that is verified (`fca_...`)."""
    stripe_account: str | None
    """The connected account that the account belongs to. Null for the platform's own."""
    state: Waiting
    """`open`: no reviewer has decided. `proposed`: a second reviewer has to confirm."""
    version: int
    """The version of the review, which a decision has to name."""
    opened_by: Literal["rule", "manual"]
    """`rule`: the verdict is a close match. `manual`: a caller opened it."""
    opened_at: Timestamp
    """When the review was opened."""
    age: int
    """Seconds since it was opened."""
    outcome: Outcome
    """The outcome of the verdict."""
    score: float | None
    """The score of the verdict, from 0 to 100."""
    reasons: list[ReasonCode]
    """The reasons of the verdict."""
    seen: LastSeen | None
    """When a reviewer last had the comparison shown. Null if no reviewer had."""

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
                "seen": LastSeen.of(review, you),
            }
        )


class ReviewQueue(Shown):
    """Reviews that wait for a person, the longest waiting first."""

    reviews: list[QueuedReview]
    """The reviews on this page."""
    open: str
    """How many reviews are in the requested state, with any `reason` and `batch`: a number, or a number and `+` if there are or may be
    more. At most `100+`."""
    you: str
    """The caller, as decisions and the audit log name them."""
    may: list[May]
    """What the caller may do. `reveal`: have comparisons shown. `decide`: decide reviews."""
    caller_unknown: str | None = None
    """For a caller whose token has no subject: why the caller is unknown and what to change, as in the problem `caller-unknown`. Such a
    caller may do nothing of `may`. Null for a known caller."""
    next_cursor: str | None = None
    """Send it as `cursor` to get the next page. Null on the last page. A page may be shorter than `limit`."""


class ReviewDecision(Shown):
    """What a reviewer decided."""

    by: str
    """The reviewer, as the audit log names callers."""
    at: Timestamp
    """When the reviewer decided."""
    decision: Decided
    """What the reviewer decided."""
    reason: DecisionReason | None
    """Why. Null for a proposal that was withdrawn."""
    reference: str | None
    """Where the evidence is kept."""
    noted: bool
    """Whether there is a note."""


class Review(Shown):
    """A review of a verification."""

    verification: str
    """The verification's id (`ver_...`)."""
    state: ReviewState
    """`open`: no reviewer has decided. `proposed`: a second reviewer has to confirm. `closed`: it has ended."""
    version: int
    """The version of the review, which a decision has to name. Each decision makes the next one."""
    opened_by: Literal["rule", "manual"]
    """`rule`: the verdict is a close match. `manual`: a caller opened it."""
    opened_at: Timestamp
    """When the review was opened."""
    closed_at: Timestamp | None
    """When the review ended."""
    resolution: Literal["approved", "rejected", "expired"] | None
    """How the review ended. `expired`: without a decision, for `closed_reason`."""
    closed_reason: ClosedReason | None
    """Why the review ended without a decision."""
    reviewers_needed: int
    """How many reviewers an approval takes at least, as set when the review was opened. It takes more if the parameter `ReviewersNeeded` is
    larger by now, and two where the verdict is `no_match`."""
    final: FinalAnswer | None
    """The verification's answer to act on. Null while the review is open. `stale` of the verification says whether it still holds."""
    decisions: list[ReviewDecision]
    """What reviewers have decided, the earliest first."""

    @classmethod
    def of(cls, review: reviews.Review, final: reviews.Final | None) -> Review:
        return cls.model_validate({**review.as_dict(), "final": None if final is None else final.as_dict()})


class SeenReview(Review):
    """A review, and when a reviewer last had the comparison shown."""

    seen: LastSeen | None
    """When a reviewer last had the comparison shown. Null if no reviewer had."""


class VerificationTimeline(Timeline):
    """What happened to a verification, in order of time, in ids and codes, with its verdict and its review."""

    verification: models.Verification
    """The verification, with its verdict once it is completed."""
    review: SeenReview | None
    """The verification's review. Null without one."""

    @classmethod
    def of_verification(cls, found: timeline.Timeline, *, you: str, relink: bool, repair: Remedy | None) -> VerificationTimeline:
        """`you`: the caller. `relink` and `repair`: as for `models.Verification.of`."""
        shown, review = Timeline.of(found), None
        if found.review is not None:
            now = Review.of(found.review, reviews.final(found.verification))
            review = SeenReview(**now.model_dump(), seen=LastSeen.of(found.review, you))
        return cls(
            verification=models.Verification.of(found.verification, relink=relink, repair=repair),
            review=review,
            recorded=shown.recorded,
            steps=shown.steps,
            left_out=shown.left_out,
        )


class TextPart(Shown):
    """A piece of a text. Joined, the parts are the text. A text of more than 1,000 characters is cut and ends with an ellipsis."""

    text: str
    """The piece."""
    differs: bool = False
    """Whether the piece differs from the text on the other side."""

    @classmethod
    def all_of(cls, parts: Sequence[differences.Part]) -> list[TextPart]:
        return [cls(text=part.text, differs=part.differs) for part in parts]


class ComparedField(Shown):
    """One field of the claim beside the same field of the owner."""

    field: Literal["name", "address", "phone", "email"]
    """Which field."""
    score: float | None
    """From 0 to 100. Null if the claim or the bank lacks the field."""
    missing: Literal["claim", "bank", "both"] | None = None
    """Which side lacks the field, or has only a placeholder. `both` also if two addresses have no part in common. Null if both have it."""
    same: bool
    """Whether the field agrees fully. It is then not shown."""
    reasons: list[ReasonCode]
    """Why points were lost, the most important reason first."""
    sentences: list[str]
    """What the reasons mean. Without the sentence of `NORMALISED`, if another reason says that names differ."""
    claim: list[TextPart] | None = None
    """The text of the claim. Null if the field agrees fully or is missing."""
    bank: list[TextPart] | None = None
    """The text of the owner. Null if the field agrees fully or is missing."""
    other_claimed: list[list[TextPart]] = Field(default=[])
    """Other names in the claim, the one that is most like the owner's first. `claim` is the most like of all."""

    @classmethod
    def of(cls, found: differences.ComparedField) -> ComparedField:
        return cls.model_validate(
            {
                "field": found.name,
                "score": found.score,
                "missing": found.missing,
                "same": found.same,
                "reasons": list(found.reasons),
                "sentences": [explanations.SENTENCES[code] for code in explanations.shown(found.reasons) if code in explanations.SENTENCES],
                "claim": None if found.claim is None else TextPart.all_of(found.claim),
                "bank": None if found.bank is None else TextPart.all_of(found.bank),
                "other_claimed": [TextPart.all_of(other) for other in found.other_claimed],
            }
        )


class EarlierNote(Shown):
    """The note of an earlier decision."""

    version: int
    """The version of the review that the decision made."""
    note: str
    """The note."""


class Comparison(Shown):
    """The claim of a verification beside the owner that its verdict is about."""

    verification: str
    """The verification's id (`ver_...`)."""
    snapshot: str
    """The snapshot of owners that the claim was compared with (`fcaowns_...`)."""
    refreshed_at: Timestamp
    """When Stripe began the refresh that brought these owners."""
    newest: bool
    """Whether no later snapshot of the account's owners is stored."""
    owner_position: int
    """The position of the owner in the snapshot, from 0."""
    fields: list[ComparedField]
    """Each field of claim and owner."""
    other_owners: list[str]
    """Names of the account's other owners, at most 10, without their contacts. Empty if the name agrees fully."""
    other_owner_count: int
    """How many other owners the account has."""
    may_tell: list[str]
    """What the reviewer may tell the claimant."""
    may_name_owner: bool
    """Whether the reviewer may tell the claimant the name on the account, where that is permitted: for a close match only."""
    notes: list[EarlierNote]
    """For a second reviewer: the notes of earlier decisions."""

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
