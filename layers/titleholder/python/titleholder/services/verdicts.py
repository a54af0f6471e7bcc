"""Bringing a verification to exactly one verdict, and marking verdicts that no longer hold. Needs no Stripe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from titleholder import matching, observability
from titleholder.aws.event_publisher import EventPublisher
from titleholder.domain import refresh_policy, remedies, shortlist
from titleholder.domain.accounts import AccountRef, StoredAccount
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.domain.verifications import Verification
from titleholder.errors import AccountErasedError
from titleholder.store import Store

if TYPE_CHECKING:
    from titleholder.domain.reviews import ClosedReason, Review
    from titleholder.services.audit import By

MATCHER_FAILED = "MATCHER_FAILED"
BATCH_STOPPED = "BATCH_STOPPED"
UNANSWERED = {"STRIPE_UNAVAILABLE", "STRIPE_CREDENTIALS_REFUSED", "REFRESH_TIMED_OUT", "UNEXPECTED_ANSWER", MATCHER_FAILED}
"""Reasons of verifications that ended without an answer because this stack or Stripe failed, not because of the account or the claim."""

_INACTIVE = refresh_policy.REASON_BY_ACCOUNT_STATUS["inactive"]


def complete_by_id(
    store: Store, bus: EventPublisher, verification_id: str, outcome: Mapping[str, Any], *, now: float, among_others: bool = False
) -> Verification:
    """Bring a verification to its verdict, announce it, and return it. Repeating this changes nothing and announces the same again.

    `outcome` is what the workflow was resumed with, or the error (`{"Error": ...}`) with which it gave up waiting.
    Raises VerificationNotFoundError, SnapshotNotFoundError.
    """
    return complete(store, bus, store.verifications.get(verification_id), outcome, now=now, among_others=among_others)


def stop(store: Store, bus: EventPublisher, verification: Verification, batch: str, *, now: float) -> Verification:
    """End a verification that has no verdict because its batch was stopped. Does nothing if another batch works on it by now."""
    verification = complete(store, bus, verification, {"reason": BATCH_STOPPED}, now=now, batch=batch, among_others=True)
    if verification.verdict is not None:
        store.waiters.remove(verification.ref, verification.id)
    return verification


def was_stopped(verification: Verification) -> bool:
    """Whether a verification ended because its batch was stopped."""
    return (verification.verdict or {}).get("reasons") == [BATCH_STOPPED]


def complete(
    store: Store, bus: EventPublisher, verification: Verification, outcome: Mapping[str, Any], *, now: float, batch: str | None = None,
    among_others: bool = False,
) -> Verification:  # fmt: skip
    """As `complete_by_id`, for a caller that has just read or made the verification. With `batch` only while that batch works on it.

    A verdict whose announcement fails is announced by the next caller of this, `reconcile` at the latest. `among_others`: the caller has
    other verifications to end, so a failed announcement is left to `reconcile` instead of being raised.
    """
    opens_review: bool | None = None
    if verification.verdict is None:
        found, owners_created = _verdict(store, verification, outcome)
        made = _with_remedy(store, verification, found, now)
        review = _review(store, verification, made, now)
        if store.verifications.complete(verification.id, made, now, batch=batch, review=review):
            if verification.batch is not None:
                store.batches.count(verification.batch, verification.id, made["outcome"])
            _count(verification, made, owners_created, now)
            opens_review = review is not None
            verification = replace(verification, verdict=made, completed_at=round(now, 3), review=None if review is None else review.state)
        else:
            verification = store.verifications.get(verification.id)
            if verification.verdict is None:
                return verification
    try:
        _announce(store, bus, verification, now, _opened_review(store, verification) if opens_review is None else opens_review)
    except Exception as error:
        if not among_others:
            raise
        observability.logger.warning(
            "announcement left to reconcile", extra={"verification": verification.id, "error": type(error).__name__}
        )
    return verification


def _count(verification: Verification, verdict: Mapping[str, Any], owners_created: int | None, now: float) -> None:
    """Count a verdict that was just stored, and how long it took.

    `owners_created`: when Stripe made the owners that the verdict rests on (Unix seconds), which is when Stripe answered; None if it rests
    on none. If the owners existed before the request, the time counts from the request. A batch's verification has no time then, because it
    waited for its turn. After a crash right after the verdict was stored, it is not counted.
    """
    observability.count_verdict(verdict["outcome"])
    observability.measure_seconds("VerificationSeconds", now - verification.requested_at)
    if owners_created is not None and (verification.batch is None or owners_created >= verification.requested_at):
        observability.measure_seconds("SecondsAfterStripeAnswered", now - max(owners_created, verification.requested_at))
    if UNANSWERED & set(verdict["reasons"]):
        observability.tally("VerificationUnanswered")


def show_status(store: Store, bus: EventPublisher, ref: AccountRef, account: StoredAccount, now: float) -> list[Review]:
    """Mark every verdict of an account as stale if it is inactive, as stored in `account`, and lift such marks if it is active.

    An announcement may be published twice, but is never lost. Returns the reviews that this has ended, as `mark_stale` does.
    """
    return [
        ended for verification in store.verifications.ids_of(ref) for ended in _show_status(store, bus, ref, account, verification, now)
    ]


def mark_stale(
    store: Store, bus: EventPublisher, ref: AccountRef, verification: str, reason: ClosedReason, now: float,
    seen: str = refresh_policy.LAST_OBSERVATION, *, by: By | None = None,
) -> list[Review]:  # fmt: skip
    """Mark one verdict as stale, if there is one that rests on owners. `seen`: the observation of the account that shows the reason.

    Its open review is ended, because a decision would be about an account that is no longer active. Returns that review, which has yet to
    be recorded and announced. `by`: the actor that is recorded as having ended it, if not Stripe.
    """
    found = store.verifications.get(verification)
    if not _rests_on_owners(found):
        return []
    unannounced = found.stale != reason or found.stale_unannounced
    since = found.stale_at if found.stale == reason and found.stale_at is not None else now
    if not store.verifications.mark_stale(verification, reason, seen, since, unannounced=unannounced):
        return []
    ended: list[Review] = []
    if found.review in ("open", "proposed"):
        from titleholder.services import review_endings

        ended = review_endings.end(store, ref, verification, reason, now, by)
    if unannounced:
        # Mark the verdict before announcing it. If the mark is lifted in between, that is announced even if this announcement is not. The
        # mark says that it has yet to be announced, so that a crash in between repeats the announcement instead of losing it.
        _announce_staleness(bus, ref, verification, reason)
        if not store.verifications.end_stale_announcement(verification, seen):
            # A later observation was announced meanwhile, so announce the present state once more, as the last announcement.
            _announce_staleness(bus, ref, verification, store.verifications.get(verification).stale)
    return ended


def lift_stale(store: Store, bus: EventPublisher, ref: AccountRef, verification: str, seen: str, now: float) -> bool:
    """Lift the mark that one verdict has because its account was inactive, if there is one. `seen` as for `mark_stale`."""
    found = store.verifications.get(verification)
    if not _rests_on_owners(found):
        return False
    announced = found.stale == _INACTIVE and (found.stale_seen or "") <= seen
    if announced:
        # Announced first, because a crash between the two steps then repeats the announcement instead of losing it.
        _announce_staleness(bus, ref, verification, None)
    lifted = store.verifications.lift_stale(verification, _INACTIVE, seen, now if found.stale == _INACTIVE else None)
    if announced and not lifted:
        _announce_staleness(bus, ref, verification, store.verifications.get(verification).stale)
    return lifted


def _announce_staleness(bus: EventPublisher, ref: AccountRef, verification: str, stale: str | None) -> None:
    about = {"verification": verification, **ref.as_dict()}
    if stale is None:
        bus.publish("VerificationStaleLifted", about)
    else:
        bus.publish("VerificationStale", {**about, "reason": stale})


def _rests_on_owners(verification: Verification) -> bool:
    return verification.verdict is not None and verification.verdict["outcome"] != "not_verifiable"


def _show_status(
    store: Store, bus: EventPublisher, ref: AccountRef, account: StoredAccount, verification: str, now: float
) -> list[Review]:  # fmt: skip
    status, seen = account.state.status if account.state is not None else None, refresh_policy.observation(account)
    if status == "inactive":
        return mark_stale(store, bus, ref, verification, "ACCOUNT_INACTIVE", now, seen)
    if status == "disconnected":
        return mark_stale(store, bus, ref, verification, "ACCOUNT_DISCONNECTED", now)
    if status == "active":
        lift_stale(store, bus, ref, verification, seen, now)
    return []


def _opened_review(store: Store, verification: Verification) -> bool:
    """Whether the verdict opened a review. One that a caller opened by hand came later."""
    return verification.review is not None and store.reviews.get(verification.ref, verification.id).opened_by == "rule"


def _announce(store: Store, bus: EventPublisher, verification: Verification, now: float, opened_review: bool) -> None:
    """Announce a verdict, and mark it as stale if its account is no longer active. `opened_review`: the verdict opened a review."""
    verdict = verification.verdict or {}
    announced = ("outcome", "score", "reasons", "snapshot", "matcher_version", "policy_version")
    scores = {name: field["score"] for name, field in verdict.get("fields", {}).items()}
    # The event may be published again later and says the same then. The end of a review, also of one opened by hand, has its own event.
    about = {"verification": verification.id, **verification.ref.as_dict(), "scores": scores, "review": "open" if opened_review else None}
    remedy = {name: value for name, value in remedies.shown(verdict).items() if name in ("remedy", "remedy_until")}
    bus.publish("VerificationCompleted", about | {name: verdict.get(name) for name in announced} | remedy)
    # Read the account only after storing the verdict: a concurrent deactivation then either sees the verdict or is seen here.
    account = store.accounts.get(verification.ref)
    status = None if account.state is None else account.state.status
    # Only now take the verification off the list of those to be announced, so that `reconcile` repeats this after a crash.
    if status == "active" and store.verifications.mark_announced(verification.id, refresh_policy.observation(account)):
        return
    if status is not None:
        # If the account is active, a slower worker with an earlier observation has marked the verdict just now. This lifts the mark.
        _show_status(store, bus, verification.ref, account, verification.id, now)
    store.verifications.mark_announced(verification.id)


def _verdict(store: Store, verification: Verification, outcome: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The verdict, and when Stripe made the owners that it rests on; None if it rests on none."""
    ref = verification.ref
    snapshot_id, reason = outcome.get("snapshot"), outcome.get("reason")
    account = StoredAccount() if snapshot_id else store.accounts.get(ref)
    if "Error" in outcome or outcome.get("outcome") == "inactive":
        # The workflow was not resumed in time, or the account was not repaired in time. Owners may be stored all the same.
        waiter = store.waiters.get(ref, verification.id)
        need = waiter.need if waiter else verification.need
        store.waiters.remove(ref, verification.id)
        account = store.accounts.get(ref)
        snapshot_id = refresh_policy.usable_snapshot(account, need)
        waited = refresh_policy.INACTIVE if waiter and waiter.awaits_repair else waiter.error if waiter else None
        reason = reason or waited or "REFRESH_TIMED_OUT"
        reason = reason if account.erased_at is None else refresh_policy.REASON_BY_ACCOUNT_STATUS["disconnected"]
    elif reason is not None and refresh_policy.final_reason(reason, account) == refresh_policy.INACTIVE:
        # Owners that were fetched before the account became inactive may be fresh enough.
        snapshot_id = refresh_policy.usable_snapshot(account, verification.need)
    found = None
    if snapshot_id:
        try:
            found = store.claims.get_with_snapshot(ref, verification.id, snapshot_id)
            reason = "CLAIM_ERASED"
            if found is not None and not verification.need.allows(found[1].attempted_at, found[1].created):
                found, snapshot_id, reason = None, None, refresh_policy.OWNERSHIP_MISSING
        except AccountErasedError:
            snapshot_id, reason = None, refresh_policy.REASON_BY_ACCOUNT_STATUS["disconnected"]
    common: dict[str, Any] = {"claim_digest": verification.claim_digest, "snapshot": snapshot_id}
    if found is None:
        account = store.accounts.get(ref) if account == StoredAccount() else account
        reason = refresh_policy.final_reason(reason or "UNEXPECTED_ANSWER", account)
        refused = _not_verifiable(verification, reason)
        if reason == "REFRESH_FAILED" and account.state and account.state.refresh and account.state.refresh.error:
            refused["refresh_error"] = dict(account.state.refresh.error)
        return refused | common, None
    claim, snapshot = found
    if snapshot.too_many is not None:
        refused = _not_verifiable(verification, refresh_policy.TOO_MANY_OWNERS)
        return refused | common | {"refreshed_at": snapshot.attempted_at}, snapshot.created
    fresh = [
        position
        for position, owner in enumerate(snapshot.owners.reveal())
        if verification.need.allows_owner(owner.get("refreshed_at"), snapshot.attempted_at)
    ]
    if snapshot.owners.reveal() and not fresh:
        reason = refresh_policy.final_reason(refresh_policy.OWNERSHIP_MISSING, store.accounts.get(ref))
        return _not_verifiable(verification, reason) | common | {"snapshot": None}, None
    return _compared(verification, claim, snapshot, fresh) | common | {"refreshed_at": snapshot.attempted_at}, snapshot.created


def _review(store: Store, verification: Verification, verdict: Mapping[str, Any], now: float) -> Review | None:
    """The review that a verdict opens, if it opens one."""
    if store.reviewers_needed == 0 or verdict["outcome"] != "close_match":
        return None
    from titleholder.domain.reviews import Review

    return Review(verification.ref, verification.id, "open", 1, round(now, 3), "rule", reviewers_needed=store.reviewers_needed)


def _with_remedy(store: Store, verification: Verification, verdict: dict[str, Any], now: float) -> dict[str, Any]:
    """The verdict; if it is `not_verifiable`, with what the caller can do next."""
    if verdict["outcome"] != "not_verifiable":
        return verdict
    account = store.accounts.get(verification.ref)
    return verdict | remedies.for_reason(verdict["reasons"][0], account.state, now=now).as_dict()


def _compared(verification: Verification, claim: Sensitive[dict[str, Any]], snapshot: Snapshot, positions: Sequence[int]) -> dict[str, Any]:
    """The result of comparing the claim with the owners at `positions`.

    An exception in it must not leave the verification without a verdict, because that would block others.
    """
    try:
        policy = matching.Policy.from_dict(verification.policy)
        return compare(claim.reveal(), snapshot.owners.reveal(), policy, positions)
    except Exception as error:
        observability.unexpected("MatcherFailed", error, verification=verification.id, snapshot=snapshot.id)
        return _not_verifiable(verification, MATCHER_FAILED)


def compare(
    claim: dict[str, Any], owners: Sequence[Mapping[str, Any]], policy: matching.Policy, among: Sequence[int] | None = None
) -> dict[str, Any]:
    """Compare a claim with an account's owners, or with those at the positions `among`, in bounded time.

    The result has `owners_compared` if not all owners were compared.
    """
    among = range(len(owners)) if among is None else among
    positions = [among[position] for position in shortlist.positions(claim, [owners[position] for position in among])]
    verdict = matching.decide(claim, [dict(owners[position]) for position in positions], policy).as_dict()
    if len(positions) < len(owners):
        verdict["owners_compared"] = len(positions)
        if verdict["owner_position"] is not None:
            verdict["owner_position"] = positions[verdict["owner_position"]]
    return verdict


def _not_verifiable(verification: Verification, reason: str) -> dict[str, Any]:
    return {
        "outcome": "not_verifiable", "score": None, "fields": {}, "reasons": [reason], "owner_position": None,
        "matcher_version": matching.MATCHER_VERSION, "policy_version": verification.policy["version"],
    }  # fmt: skip
