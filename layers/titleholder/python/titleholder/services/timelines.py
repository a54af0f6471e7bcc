"""Reading the timeline of a verification. Its steps are recorded by `account_sync.record_step`."""

from __future__ import annotations

from titleholder.domain import timeline
from titleholder.domain.accounts import Tenant
from titleholder.domain.snapshots import HISTORY_LOOKED_AT, SnapshotSummary
from titleholder.domain.timeline import Timeline
from titleholder.domain.verifications import Verification
from titleholder.errors import VerificationNotFoundError
from titleholder.store import Store

OF_SEVERAL = "This is a verification of several accounts. Each of its members has a timeline of its own."


def read(store: Store, tenant: Tenant, verification_id: str, now: float) -> Timeline:
    """The timeline of a tenant's verification, as of `now`. Raises VerificationNotFoundError, also for a group and for another tenant's."""
    found = store.verifications.find(verification_id)
    if not isinstance(found, Verification):
        raise VerificationNotFoundError(OF_SEVERAL) if tenant.owns(found.mode, found.stripe_account) else VerificationNotFoundError
    if not tenant.owns(found.ref.mode, found.ref.stripe_account):
        raise VerificationNotFoundError
    return of(store, found, now)


def of(store: Store, found: Verification, now: float) -> Timeline:
    """The timeline of a verification that was just read: four more reads at most."""
    steps = store.steps.of_verification(found.id)
    review = None if found.review is None else store.reviews.get(found.ref, found.id)
    rests_on = (found.verdict or {}).get("snapshot")
    snapshot, history = None, list[SnapshotSummary]()
    if rests_on is not None:
        snapshot = store.snapshots.times(found.ref, rests_on)
        history, _ = store.snapshots.page(found.ref, HISTORY_LOOKED_AT)
    recorded = found.recorded and now < store.steps.kept_until(found.requested_at, found.deadline)
    return timeline.build(found, review, steps, snapshot, history, recorded=recorded, now=now)
