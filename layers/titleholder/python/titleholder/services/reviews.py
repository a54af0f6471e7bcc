"""Reviews: opening one by hand, deciding, ending without a decision, and what follows the end: audit entries and the announcement.

The review's item is the record of what was decided, by whom and why, because the transaction that decides writes it. The entries of the
audit log are derived from it, under ids that are made of verification and version. So there is one entry for each version, however often it
is written, and none for a decision that lost a race. A crash in between leaves a closed review in the list of open work, and `reconcile`
finishes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from titleholder.domain import reviews
from titleholder.domain.accounts import AccountRef, StoredAccount, Tenant
from titleholder.domain.reviews import ClosedReason, DecisionRequest, Final, Review
from titleholder.domain.snapshots import HISTORY_LOOKED_AT
from titleholder.domain.verifications import Verification
from titleholder.errors import (
    AccountErasedError,
    AuditUnavailableError,
    ClaimErasedError,
    NothingToReviewError,
    OwnersErasedError,
    ReviewNotFoundError,
    VerificationNotFoundError,
)
from titleholder.observability import count_decision, logger, tally
from titleholder.services.audit import STRIPE, By, Effect
from titleholder.store import Store
from titleholder.store.reviews import Compared

if TYPE_CHECKING:
    from titleholder.aws.event_publisher import EventPublisher
    from titleholder.services.audit import Audit
    from titleholder.services.context import Dependencies

TRIES = 10
"""How often a change of a review is tried. A try fails if another change comes first; it then shows the version that this has made."""


@dataclass(frozen=True, slots=True)
class ReviewDependencies:
    """What reviews need, without Stripe. `clock`: Unix seconds."""

    store: Store
    bus: EventPublisher
    audit: Audit
    clock: Callable[[], float]


def get_verification(store: Store, tenant: Tenant, verification_id: str) -> Verification:
    """A tenant's verification. Raises VerificationNotFoundError, also for another tenant's and for a group."""
    found = store.verifications.get(verification_id)
    if not tenant.owns(found.ref.mode, found.ref.stripe_account):
        raise VerificationNotFoundError
    return found


def get_reviewed(store: Store, tenant: Tenant, verification_id: str) -> Verification:
    """As `get_verification`, for a verification that has or had a review, and so has a verdict. Raises ReviewNotFoundError for another one.

    A verdict and its review are stored in one transaction. If that happens after this read, the review must not be read: it would be seen
    beside a verification without verdict.
    """
    found = get_verification(store, tenant, verification_id)
    if found.review is None:
        raise ReviewNotFoundError
    return found


def open_by_hand(deps: ReviewDependencies, tenant: Tenant, verification_id: str, by: By) -> Review:
    """Open a review of a verification for which no rule opened one. Repeating this changes nothing while the review is not closed.

    Raises:
        VerificationNotFoundError
        NothingToReviewError: there is nothing to compare, the account is no longer active or has other owners, or reviews are switched off.
        ReviewClosedError: it was reviewed before.
        AccountErasedError, ClaimErasedError, OwnersErasedError: what was compared is gone.
    """
    store = deps.store
    verification = get_verification(store, tenant, verification_id)
    if verification.review is None:
        if why := reviews.unreviewable(verification, store.reviewers_needed):
            raise NothingToReviewError(why)
        _require_comparison(store.reviews.get_compared(verification))
        # In both cases the review would end by itself.
        if verification.stale is not None:
            raise NothingToReviewError("The account is no longer active, so its verdict can't be reviewed.")
        if have_owners_changed(store, verification, store.accounts.get(verification.ref)):
            raise NothingToReviewError("The bank names other owners now. Post a new verification.")
        made = Review(
            verification.ref, verification.id, "open", 1, round(deps.clock(), 3), "manual", opened_actor=by.actor,
            opened_request=by.request, reviewers_needed=store.reviewers_needed,
        )  # fmt: skip
        if store.reviews.open(made):
            _record(deps, made)
            return made
    review = store.reviews.get(verification.ref, verification.id)
    if review.state == "closed":
        raise reviews.closed_error(review)
    _record(deps, review)
    return review


def decide(deps: ReviewDependencies, tenant: Tenant, verification_id: str, request: DecisionRequest, by: By) -> tuple[Review, Final | None]:
    """Decide a review, or propose or withdraw a decision, and say what the verification's answer is then. The first decision wins.

    Repeating a decision changes nothing, and records and announces what was not recorded or announced yet.

    Raises:
        VerificationNotFoundError, ReviewNotFoundError
        AccountErasedError, ClaimErasedError, OwnersErasedError: what was compared is gone.
        AuditUnavailableError: it could not be recorded. The decision is stored, and repeating this records it.
        And what `domain.reviews.decide` raises.
    """
    verification = get_reviewed(deps.store, tenant, verification_id)
    review = _decide(deps, verification, request, by)
    _record(deps, review)
    if review.unfinished:
        try:
            _announce(deps, review, verification)
        except Exception as error:
            # It was decided and recorded, so the caller is not asked to repeat it.
            logger.warning("announcement left to reconcile", extra={"verification": review.verification, "error": type(error).__name__})
    return review, _final(verification, review)


def expire(
    store: Store, ref: AccountRef, reason: ClosedReason, now: float, verification: str | None = None, by: By = STRIPE
) -> list[Review]:
    """End the reviews of an account that are not closed, or only that of one verification, and return those that this call has ended.

    They stay in the list of open work until `finish`. `by`: who is recorded as having ended them.
    """
    found: list[Review] = []
    if verification is None:
        found = list(store.reviews.of_account(ref))
    else:
        try:
            found = [store.reviews.get(ref, verification)]
        except ReviewNotFoundError:
            return []
    return [ended for review in found if (ended := end(store, review, reason, now, by)) is not None]


def have_owners_changed(store: Store, verification: Verification, account: StoredAccount) -> bool:
    """Whether the account's newest owners are others than those that the verdict rests on. True if that is not known."""
    from titleholder.domain import owner_changes  # imported here, because it loads the matcher, which nothing else in this module needs

    snapshot = (verification.verdict or {}).get("snapshot") or ""
    if account.snapshot in (None, snapshot):
        return False
    return owner_changes.have_changed(store.snapshots.page(verification.ref, HISTORY_LOOKED_AT)[0], snapshot)


def finish(deps: ReviewDependencies | Dependencies, review: Review) -> None:
    """Record and announce the end of a review, as far as that is missing. Safe to repeat, also concurrently."""
    _record(deps, review)
    if review.unfinished:
        _announce(deps, review, deps.store.verifications.get(review.verification))


def _decide(deps: ReviewDependencies, verification: Verification, request: DecisionRequest, by: By) -> Review:
    outcome = (verification.verdict or {}).get("outcome", "")
    for _ in range(TRIES):
        review, compared = deps.store.reviews.get_for_decision(verification)
        after = reviews.decide(
            review, outcome, request, by.actor, round(deps.clock(), 3), deps.store.reviewers_needed, request_id=by.request
        )  # fmt: skip
        if after is review:
            return after
        wrapped, expires_at = _require_comparison(compared)
        after = replace(after, recorded=_recorded(deps, review))
        if deps.store.reviews.decide(review, after, wrapped, request.note, expires_at):
            if after.state == "closed":
                count_decision(request.decision, request.reason or "")
            return after
        # Another decision was stored first, or this one was and DynamoDB's answer was lost. The stored review shows which.
    raise RuntimeError("The review changed during every attempt to decide it.")


def end(store: Store, review: Review, reason: ClosedReason, now: float, by: By) -> Review | None:
    """As `expire`, for a review that was just read. Returns the review as ended by this call; None if it was closed already."""
    for _ in range(TRIES):
        if review.state == "closed":
            return None
        after = reviews.expired(review, reason, round(now, 3), by=by.actor, request_id=by.request)
        if store.reviews.expire(review, after):
            tally("ReviewExpired")
            return after
        review = store.reviews.get(review.ref, review.verification)
    raise RuntimeError("The review changed during every attempt to end it.")


def _require_comparison(compared: Compared) -> tuple[bytes, int]:
    """The account's wrapped key, and until when the claim is kept (Unix seconds)."""
    if compared.wrapped is None:
        raise AccountErasedError
    if compared.claim_expires_at is None:
        raise ClaimErasedError
    if not compared.owners_kept:
        raise OwnersErasedError
    return compared.wrapped, compared.claim_expires_at


def _final(verification: Verification, review: Review) -> Final | None:
    """As `reviews.final`, for the verification with this state of its review."""
    return reviews.final(replace(verification, review=review.state, reviewed=reviews.decided(review)))


def _announce(deps: ReviewDependencies | Dependencies, review: Review, verification: Verification) -> None:
    verdict, final = verification.verdict or {}, _final(verification, review)
    deps.bus.publish(
        "VerificationReviewed",
        {
            "verification": review.verification,
            **review.ref.as_dict(),
            "outcome": verdict.get("outcome"),
            "score": verdict.get("score"),
            "resolution": review.resolution,
            "reason": review.reason,
            "closed_reason": review.closed_reason,
            "final": None if final is None else final.as_dict(),
            "reviewers": review.reviewers,
        },
    )
    deps.store.reviews.mark_finished(review)


def _recorded(deps: ReviewDependencies, review: Review) -> int:
    """Write a review's audit entries that may be missing. Returns the version up to which they are in the audit log.

    That version is stored with the next decision, so that each decision writes only its own entry and that of the one before.
    """
    try:
        _record(deps, review)
    except AuditUnavailableError:
        return review.recorded  # The next decision or the end of the review tries again.
    return review.version


def _record(deps: ReviewDependencies | Dependencies, review: Review) -> None:
    """Write the audit entries of a review that may be missing. Raises AuditUnavailableError."""
    for version, (by, action, at, ids) in enumerate(_entries(review), start=1):
        if by.actor and version > review.recorded:
            deps.audit.record(
                _entry_id(review, version), at, by, action, review.ref, verification=review.verification, version=str(version), **ids
            )  # fmt: skip


def _entries(review: Review) -> Iterator[tuple[By, Effect, float, dict[str, str | None]]]:
    """What made each version of a review, in order. A version without an actor was made by a rule or by time, so it needs no entry."""
    yield By(review.opened_actor, review.opened_request), "review.opened", review.opened_at, {}
    for made in review.decisions:
        said = {"decision": made.decision, "reason": made.reason, "reference": made.reference}
        yield By(made.by, made.request), "review.decided", made.at, said
    if review.resolution == "expired" and review.closed_at is not None:
        yield By(review.closed_actor, review.closed_request), "review.expired", review.closed_at, {"closed_reason": review.closed_reason}


def _entry_id(review: Review, version: int) -> str:
    """The id of an entry, the same at each try to write it. Its last digit spreads entries over partitions, like that of a random id."""
    return hashlib.sha256(f"{review.verification}#{version}".encode()).hexdigest()[:32]
