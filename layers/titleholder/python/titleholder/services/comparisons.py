"""Comparisons for reviewers: the claim beside the owner that the verdict is about. Each is recorded before it is returned.

Only reviews that are not closed have one. A decided review needs no further comparison, and a stolen reviewer's token thus shows only what
is in the queue. A new verification of the same claim opens a new review.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.domain import differences
from titleholder.domain import reviews as rules
from titleholder.domain.differences import Comparison
from titleholder.errors import AccountErasedError, ClaimErasedError, OwnersErasedError, SnapshotNotFoundError, TitleholderError
from titleholder.matching import Verdict, mappings
from titleholder.matching.explanations import SENTENCES
from titleholder.observability import logger, metrics
from titleholder.services import reviews
from titleholder.services.audit import RECONCILE, By

if TYPE_CHECKING:
    from titleholder.domain.accounts import Tenant
    from titleholder.domain.reviews import ClosedReason, Review
    from titleholder.services.reviews import ReviewDependencies

_GONE: Mapping[ClosedReason, type[TitleholderError]] = {"CLAIM_ERASED": ClaimErasedError, "OWNERS_ERASED": OwnersErasedError}
"""The error for a review that has ended for this reason."""

MOST_OTHER_OWNERS = 10
"""How many of an account's other owners are named. Joint accounts have two to four owners. Beyond that, the number of owners is enough."""


def compare(deps: ReviewDependencies, tenant: Tenant, verification_id: str, by: By) -> Comparison:
    """The claim of a verification beside the owner that its verdict is about, recorded before it is returned.

    Raises:
        VerificationNotFoundError
        ReviewNotFoundError: it has no review.
        ReviewClosedError: its review was decided, or ended by itself.
        AccountErasedError, ClaimErasedError, OwnersErasedError: what was compared is gone, which ends the review.
        AuditUnavailableError: it could not be recorded, so nothing is returned.
    """
    store = deps.store
    verification = reviews.get_reviewed(store, tenant, verification_id)
    review = store.reviews.get(verification.ref, verification.id)
    account = store.accounts.get(verification.ref)
    if account.erased_at is not None:
        raise AccountErasedError
    if review.state == "closed":
        gone = None if review.closed_reason is None else _GONE.get(review.closed_reason)
        raise rules.closed_error(review) if gone is None else gone()
    verdict = verification.verdict or {}
    try:
        found = store.claims.get_with_snapshot(verification.ref, verification.id, verdict["snapshot"])
    except SnapshotNotFoundError:
        _end(deps, review, "OWNERS_ERASED")
        raise OwnersErasedError from None
    if found is None:
        _end(deps, review, "CLAIM_ERASED")
        raise ClaimErasedError
    claim, snapshot = found
    owners, position = snapshot.owners.reveal(), verdict["owner_position"]
    others = [owner.get("name") for at, owner in enumerate(owners) if at != position]
    fields = differences.compare_fields(verdict, claim.reveal(), owners[position])
    name_agrees = any(field.name == "name" and field.same for field in fields)
    comparison = Comparison(
        verification=verification.id,
        snapshot=snapshot.id,
        attempted_at=snapshot.attempted_at,
        newest=account.snapshot == snapshot.id,
        owner_position=position,
        fields=fields,
        other_owner_count=len(others),
        # If the name agrees, the other owners do not matter for the claim.
        other_owners=[] if name_agrees else [str(name)[: differences.MOST_CHARACTERS] for name in others if name][:MOST_OTHER_OWNERS],
        may_tell=mappings.explain_to_claimant(_verdict(verdict)),
        may_name_owner=mappings.may_show_owner_name(_verdict(verdict)),
        notes={version: note.reveal() for version, note in store.reviews.notes(review).items()},
    )
    deps.audit.read(by, "comparison.read", verification.ref, verification=verification.id, snapshot=snapshot.id)
    metrics.add_metric(name="OwnersRead", unit=MetricUnit.Count, value=1)
    _note_seen(deps, review, by)
    return comparison


def _verdict(stored: Mapping[str, Any]) -> Verdict:
    """A stored verdict in the form that `mappings` takes, without reasons that this release has no sentence for."""
    return Verdict(
        outcome=stored["outcome"],
        score=stored["score"],
        fields={},
        reasons=tuple(code for code in stored["reasons"] if code in SENTENCES),
        owner_position=stored["owner_position"],
        matcher_version=stored["matcher_version"],
        policy_version=stored["policy_version"],
    )


def _end(deps: ReviewDependencies, review: Review, reason: ClosedReason) -> None:
    """End a review whose claim or owners are gone. If that fails, `reconcile` does it later."""
    for ended in reviews.expire(deps.store, review.ref, reason, deps.clock(), review.verification, RECONCILE):
        try:
            reviews.finish(deps, ended)
        except Exception as error:
            logger.warning("end of a review left to reconcile", extra={"verification": review.verification, "error": type(error).__name__})


def _note_seen(deps: ReviewDependencies, review: Review, by: By) -> None:
    """Store that this reviewer has looked at the review, to show it to others. A failure is only logged."""
    try:
        deps.store.reviews.seen(review, by.actor, deps.clock())
    except Exception as error:
        logger.warning("look at a review not noted", extra={"verification": review.verification, "error": type(error).__name__})
