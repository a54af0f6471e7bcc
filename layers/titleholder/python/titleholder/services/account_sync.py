"""Reads an account from Stripe, stores what it shows, and resumes the workflows that wait for it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from titleholder import observability
from titleholder.domain import owner_changes, refresh_policy, refresh_requests, remedies
from titleholder.domain.accounts import AccountRef, AccountState, StatusDetails, StoredAccount
from titleholder.domain.refresh_policy import CoolingDown, Decision, Fresh, FreshnessRequirement, NotVerifiable
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.domain.verifications import READING, Step, Trigger, Waiter
from titleholder.errors import (
    AccountErasedError,
    AccountNotFoundError,
    SnapshotNotFoundError,
    StripeLaggingError,
    TooManyOwnersError,
    VerificationNotFoundError,
)
from titleholder.services import erasure, verdicts
from titleholder.services.context import Dependencies
from titleholder.store.open_work import Announcement
from titleholder.stripe_api import events as stripe_events
from titleholder.stripe_api.gateway import AccountReading, Ownership
from titleholder.timestamps import iso_seconds

if TYPE_CHECKING:
    from titleholder.domain.reviews import Review
    from titleholder.store.events import KnownEvent

LAGGING = "Stripe's answer is older than what this stack knows of the account. Try again in a few seconds."

SHORTEST_RETRY_SECONDS = 2.0
"""How soon an account is read again if Stripe does not show yet what an event said. Later pauses are as long as the event is old."""


def sync_account(deps: Dependencies, ref: AccountRef, event: str | None = None, trigger: Trigger = READING) -> bool:
    """Read the account and apply what it shows. True if it showed anything new.

    `event`: the key of the event that reported a change. `trigger`: why the account is read if there is no event.

    Raises:
        StripeLaggingError: Stripe does not show yet what `event` reported.
        StripeError: the call to Stripe failed and has to be repeated.
        RateLimitExceededError: the rate limit allows no call yet. The error says when to try again.
    """
    account = deps.store.accounts.get(ref)
    trigger = trigger if event is None else Trigger("webhook")
    if account.erased_at is not None:
        erasure.erase(deps, ref)
        return not account.erasure_ended
    if refresh_policy.is_pending(account):
        deps.stripe.hurry()
    try:
        reading = read_account(deps, ref, account, settling=True)
    except AccountNotFoundError:
        for waiter in deps.store.waiters.of_account(ref):
            resume(deps, ref, waiter, NotVerifiable("ACCOUNT_NOT_FOUND"), trigger)
        return False
    lag = None
    if event is not None:
        known = deps.store.events.get(event)
        lag = None if known is None else _lag(deps, known, reading, account)
        if known is not None:
            received_at = None if known.listed else known.received_at
            trigger = Trigger("reconcile" if known.listed else "webhook", known.id, known.type, known.created, received_at)
    apply_reading(deps, ref, reading, account, shows_event=lag is None, trigger=trigger)
    if lag is not None:
        raise lag
    return account.state != reading.current or (reading.ownership is not None and account.snapshot != reading.ownership.id)


def await_slot(deps: Dependencies, ref: AccountRef, at: float) -> float:
    """When to retry an account that may not be read before `at` (both Unix seconds).

    Earlier than `at` if workflows wait for the account's refresh: they get a heartbeat at each retry, so that the time in the queue does
    not count towards the settle timeout.
    """
    if not refresh_policy.is_pending(deps.store.accounts.get(ref)):
        return at
    joined = [waiter for waiter in deps.store.waiters.of_account(ref) if waiter.joined_at is not None]
    for waiter in joined:
        deps.workflow.heartbeat(waiter.task_token)
    longest = refresh_requests.HEARTBEAT_SHARE * deps.workflow.settle_timeout
    return min(at, deps.clock() + longest) if joined else at


def read_account(deps: Dependencies, ref: AccountRef, account: StoredAccount, *, settling: bool = False) -> AccountReading:
    """Read the account from Stripe. Store it unless something newer is stored (`newer`); erase it if it is disconnected.

    `account`: what was stored before. `settling`: the reading is made to find the end of the refresh that is pending in `account`.
    Raises the same errors as `StripeGateway.read`.
    """
    observed_at, known = deps.clock(), account.state
    if settling and known is not None and known.holder is not None and refresh_policy.is_pending(account):
        reading = deps.stripe.read_again(ref, known.holder, partial(refresh_policy.settled_since, known))
    else:
        reading = deps.stripe.read(ref)
    if known is None:
        deps.store.connected_accounts.record(ref)
    # List results may be stale, so a listed reading does not cover refresh calls made since the last observation.
    calls = account.observed_calls if reading.listed else account.answered_calls
    open_ = refresh_policy.is_open(reading.state, _brought(reading), account)
    if observe(deps, ref, reading.state, observed_at, calls, account, open_=open_):
        return reading
    latest = deps.store.accounts.get(ref)
    outdated = latest.erased_at is not None or refresh_policy.is_outdated(reading.state, observed_at, latest)
    return replace(reading, newer=latest.state) if outdated else reading


def observe(
    deps: Dependencies, ref: AccountRef, state: AccountState, observed_at: float, calls: int, account: StoredAccount, *, open_: bool
) -> bool:
    """Store an account as Stripe showed it at `observed_at` (Unix seconds), after `calls` answered refresh calls.

    False if something newer is stored. `open_`: something is left to do with the account. A disconnected account is erased.
    """
    seen_before = account.state is not None and refresh_policy.order(account.state.refresh) == refresh_policy.order(state.refresh)
    shown_since = account.shown_since if seen_before else observed_at
    if state.expires_at is not None and (account.state is None or account.state.expires_at != state.expires_at):
        _announce_expiry(deps, ref, state, state.expires_at)
    changed = refresh_policy.has_changed(state, account)
    status_since = refresh_policy.status_since(state, observed_at, account)
    newest = deps.store.accounts.observe(
        ref,
        state,
        observed_at,
        open_=open_ or refresh_policy.is_unconfirmed(observed_at, status_since),
        calls=calls,
        shown_since=shown_since,
        status_since=status_since,
        changed=changed,
    )
    if state.status == "disconnected":
        erasure.erase(deps, ref)
    return newest


def _announce_expiry(deps: Dependencies, ref: AccountRef, state: AccountState, at: int) -> None:
    """Announce that Stripe expects the account to become inactive at the time `at` (Unix seconds). One is stored for each time.

    The announcement is stored before the reading that shows the time, so that a crash in between does not lose it. `reconcile` publishes
    what can't be published now.
    """
    details, remedy = state.details or StatusDetails(), remedies.for_account(state)
    about = {**ref.as_dict(), "expected_deactivation_at": iso_seconds(at), "cause": details.cause, "action": details.action}
    announcement = Announcement("AccountExpiring", {**about, **(remedy.as_dict() if remedy else {})})
    if not deps.store.accounts.put_expiry(ref, at, announcement, deps.clock()):
        return
    try:
        deps.bus.publish(announcement.type, announcement.detail)
        deps.store.accounts.mark_expiry_announced(ref, at)
    except Exception as error:
        observability.logger.warning("announcement left to reconcile", extra={"account": ref.account, "error": type(error).__name__})


def apply_reading(
    deps: Dependencies, ref: AccountRef, reading: AccountReading, account: StoredAccount, *, asker: str | None = None,
    shows_event: bool = True, trigger: Trigger = READING,
) -> None:  # fmt: skip
    """Store the owners that a reading contains, and resume every waiter that it answers, except that of the verification `asker`.

    `account`: what was stored before the reading. `shows_event` False: the reading is older than the event for which it was made, so
    it does not show whether the account is active. `trigger`: why the account was read.
    """
    status, refresh = reading.state.status, reading.state.refresh
    if reading.current.status == "disconnected":
        return  # It was erased when it was read, and its waiters were resumed.
    # Before the first reading of an account nothing can wait for its repair.
    if shows_event and account.state is not None:
        resume_repaired(deps, ref, reading.current, trigger)
    if status in refresh_policy.REASON_BY_ACCOUNT_STATUS or (refresh is not None and refresh.settled):
        ended = _apply_settled(deps, ref, reading, account, asker, trigger)
        # After the workflows, which must not wait for the ends of reviews.
        _finish_reviews(deps, ended)
    # Last, so that workflows are resumed even if the event bus takes no announcements.
    settle_staleness(deps, ref, reading, account)


def _apply_settled(
    deps: Dependencies, ref: AccountRef, reading: AccountReading, account: StoredAccount, asker: str | None, trigger: Trigger
) -> Sequence[Review]:
    """Returns the reviews that this has ended, which have yet to be recorded and announced."""
    brought = _brought(reading)
    ended: list[Review] = []
    if reading.ownership and brought and account.snapshot != reading.ownership.id:
        snapshot = _load_snapshot(deps, ref, reading.ownership, brought[0])
        # If the account was erased since it was read, nothing is kept, because the erasure resumes its waiters.
        with contextlib.suppress(AccountErasedError):
            ended = _save_snapshot(deps, ref, snapshot, open_=refresh_policy.has_changed(reading.state, account))
    waiters = (waiter for waiter in deps.store.waiters.of_account(ref) if waiter.verification != asker and not waiter.awaits_repair)
    if reading.newer is not None:
        # The worker that stored the newer state acts on it. This older reading can only contribute owners.
        known = deps.store.accounts.get(ref)
        for waiter in waiters:
            if refresh_policy.usable_snapshot(known, waiter.need):
                resume(deps, ref, waiter, Fresh(known.snapshot_attempted_at or 0), trigger)
        return ended
    for waiter in waiters:
        decision = refresh_policy.decide(reading.state, waiter.need, deps.clock(), account.attempt)
        # The request of a waiter that would have to start a refresh, or to wait for one, is handled by its own worker.
        if isinstance(decision, Fresh | NotVerifiable):
            resume(deps, ref, waiter, decision, trigger)
    return ended


def settle_staleness(deps: Dependencies, ref: AccountRef, reading: AccountReading, account: StoredAccount) -> None:
    """Mark the verdicts of an account that has become inactive as stale, or lift the marks of one that is active again.

    `account`: what was stored before the reading. The state that is stored now decides, not that of the reading. Until all verdicts show
    it, the account is listed as open, so that `reconcile` has it read again.
    """
    if reading.newer is not None or not refresh_policy.is_staleness_due(reading.state, account):
        return
    known = deps.store.accounts.get(ref)
    if known.state is None or known.erased_at is not None:
        return
    _finish_reviews(deps, verdicts.show_status(deps.store, deps.bus, ref, known, deps.clock()))
    unsettled = refresh_policy.is_unsettled(known.state, _brought(reading), known)
    unconfirmed = refresh_policy.is_unconfirmed(known.observed_at, known.status_since)
    deps.store.accounts.end_staleness(ref, known, deps.clock(), open_=unsettled or unconfirmed)


def _finish_reviews(deps: Dependencies, ended: Sequence[Review]) -> None:
    if ended:
        from titleholder.services import review_endings

        review_endings.finish(deps, ended)


def require_shown(deps: Dependencies, ref: AccountRef, reading: AccountReading, need: FreshnessRequirement, decision: Decision) -> None:
    """Raise StripeLaggingError if a refresh is known to have succeeded, but its owners are neither stored nor in this older reading."""
    if reading.newer is None or not isinstance(decision, Fresh):
        return
    if not refresh_policy.usable_snapshot(deps.store.accounts.get(ref), need):
        raise StripeLaggingError(LAGGING)


def resume(
    deps: Dependencies, ref: AccountRef, waiter: Waiter, decision: Fresh | CoolingDown | NotVerifiable, trigger: Trigger | None
) -> None:
    """Resume a paused workflow with its answer, and remove its waiter. `trigger` as for `answer`.

    A workflow that waits for a repair is not given the decision: it requests a refresh again.
    """
    if waiter.awaits_repair:
        payload: Mapping[str, Any] = refresh_requests.REPAIRED
    else:
        account = StoredAccount() if isinstance(decision, CoolingDown) else deps.store.accounts.get(ref)
        inactive = decision == NotVerifiable(refresh_policy.INACTIVE) or refresh_policy.needs_repair(account.state)
        waits = inactive and _waits_if_inactive(deps, waiter.verification)
        payload = refresh_requests.outcome(decision, account, waiter.need, deps.clock(), waits_if_inactive=waits)
    answer(deps, ref, waiter, payload, trigger)


def answer(deps: Dependencies, ref: AccountRef, waiter: Waiter, payload: Mapping[str, Any], trigger: Trigger | None) -> None:
    """Resume a paused workflow with a payload, and remove its waiter.

    `trigger`: what brought the answer; None if the request is answered at once, so that the workflow did not wait.
    """
    at = deps.clock()
    resumed = deps.workflow.resume(waiter.task_token, payload)
    deps.store.waiters.remove(ref, waiter.verification, waiter.token_version)
    if resumed:
        record_step(deps, waiter, refresh_requests.resumed_step(payload, trigger, at))


def record_step(deps: Dependencies, waiter: Waiter, step: Step | None) -> None:
    """Record a step of a verification for its timeline; nothing for None. A failure is only logged: the verification goes on without it."""
    if step is None:
        return
    try:
        deps.store.steps.put(waiter.verification, step, waiter.need.deadline)
    except Exception as error:
        about = {"verification": waiter.verification, "step": step.kind, "error": type(error).__name__}
        observability.logger.warning("step not recorded", extra=about)


def _waits_if_inactive(deps: Dependencies, verification: str) -> bool:
    """Whether a verification waits for the repair of its account. False if it is no longer stored, so that others are still resumed."""
    try:
        return deps.store.verifications.get(verification).waits_if_inactive
    except VerificationNotFoundError:
        return False


def resume_repaired(deps: Dependencies, ref: AccountRef, state: AccountState, trigger: Trigger = READING) -> None:
    """Resume the workflows that wait for a repair of an account, unless it still has to be repaired in `state`.

    Called after every reading that is made for an event, a workflow, `reconcile` or `GET /accounts/{account}`, even if the account was
    known to be active before, because the worker that saw it active first may have crashed.
    """
    if refresh_policy.needs_repair(state):
        return
    for waiter in deps.store.waiters.of_account(ref):
        if waiter.awaits_repair:
            answer(deps, ref, waiter, refresh_requests.REPAIRED, trigger)


def resume_if_settled(deps: Dependencies, ref: AccountRef, waiter: Waiter) -> None:
    """Resume a waiter if its refresh settled after the account was read, but before the waiter was stored as having joined it."""
    known = deps.store.accounts.get(ref)
    if known.erased_at is not None:
        resume(deps, ref, waiter, NotVerifiable(refresh_policy.ERASED), READING)
    elif known.snapshot_attempted_at is not None and refresh_policy.usable_snapshot(known, waiter.need):
        resume(deps, ref, waiter, Fresh(known.snapshot_attempted_at), READING)
    elif known.state is not None and known.state.refresh is not None and known.state.refresh.settled:
        decision = refresh_policy.decide(known.state, waiter.need, deps.clock(), known.attempt)
        if isinstance(decision, NotVerifiable) and known.state.refresh.status == "failed":
            resume(deps, ref, waiter, decision, READING)
        elif isinstance(decision, Fresh):
            # The refresh's owners are not stored yet, or it brought none. Only the account at Stripe shows which.
            reading = read_account(deps, ref, known)
            apply_reading(deps, ref, reading, known)
            require_shown(deps, ref, reading, waiter.need, decision)


def _lag(deps: Dependencies, event: KnownEvent, reading: AccountReading, account: StoredAccount) -> StripeLaggingError | None:
    """The error if a reading does not show what a recent event reported; else None. `account`: what was stored before the reading."""
    stated = stripe_events.stated_change(event.type, event.created)
    if stated is None:
        return None
    age = deps.clock() - stated.at
    if not -refresh_policy.CLOCK_SKEW <= age <= refresh_policy.LAG_SECONDS + refresh_policy.CLOCK_SKEW:
        return None
    created = reading.ownership.created if reading.newer is None and reading.ownership is not None else None
    if refresh_policy.shows(reading.current, created, stated.what, stated.at, account):
        return None
    return StripeLaggingError(LAGGING, retry_after=max(SHORTEST_RETRY_SECONDS, age))


def _brought(reading: AccountReading) -> tuple[int, int, str] | None:
    """The position (see `refresh_policy.position`) of the owners that a reading contains; None if it contains none."""
    ownership = reading.ownership
    return None if ownership is None else refresh_policy.brought_position(reading.state, ownership.created, ownership.id)


def _load_snapshot(deps: Dependencies, ref: AccountRef, ownership: Ownership, attempted_at: int) -> Snapshot:
    """The snapshot with all its owners. If they are too many, it has none, and the waiting verifications get that as their reason."""
    owners, too_many = [], None
    try:
        owners = deps.stripe.owners(ref, ownership)
    except TooManyOwnersError as error:
        too_many = error.seen
    return Snapshot(id=ownership.id, attempted_at=attempted_at, created=ownership.created, owners=Sensitive(owners), too_many=too_many)


def _save_snapshot(deps: Dependencies, ref: AccountRef, snapshot: Snapshot, *, open_: bool = False) -> list[Review]:
    """Store a snapshot, and announce what it changed if it is newer than the newest one that is stored.

    `open_`: something else is left to do with the account.
    The announcement is stored with the snapshot, so that a later run publishes it if it can't be published now.
    Returns the reviews that the change has ended, which have yet to be recorded and announced.
    """
    known = deps.store.accounts.get(ref)
    ended: list[Review] = []
    if known.snapshot == snapshot.id:
        return ended
    since, changes = None, None
    newest = refresh_policy.position(known)
    newer = known.snapshot is not None and newest < (snapshot.attempted_at, snapshot.created, snapshot.id)
    if known.snapshot is not None and newer:
        with contextlib.suppress(SnapshotNotFoundError):
            changes = _changes(deps.store.snapshots.get(ref, known.snapshot), snapshot)
            since = None if changes is None else known.snapshot
    told = None if changes is None else [change.as_dict() for change in changes]
    announcement = None
    if told:
        about = {**ref.as_dict(), "snapshot": snapshot.id, "since": since, "refreshed_at": iso_seconds(snapshot.attempted_at)}
        announcement = Announcement("OwnershipChanged", {**about, "changes": told})
    expires_at = deps.store.snapshots.put(ref, snapshot, deps.clock(), since=since, changes=told, announcement=announcement)
    # Before the snapshot counts as the newest one, so that this is repeated after a crash in between.
    if newer and owner_changes.are_others(told):
        from titleholder.services import review_endings

        ended = review_endings.end_for_owners(deps.store, ref, deps.clock())
    if announcement is not None:
        deps.bus.publish(announcement.type, announcement.detail)
        deps.store.snapshots.mark_announced(ref, snapshot)
    deps.store.accounts.set_newest_snapshot(ref, snapshot, expires_at, open_=open_)
    return ended


def _changes(before: Snapshot, after: Snapshot) -> Sequence[owner_changes.Change] | None:
    """What changed from one snapshot to the next.

    None (not known) if the matcher, which recognises people, fails, or if a snapshot has too many owners. The owners are stored and used
    all the same.
    """
    if before.too_many or after.too_many:
        return None
    try:
        return owner_changes.between(before.owners.reveal(), after.owners.reveal())
    except Exception as error:
        observability.unexpected("MatcherFailed", error, snapshot=after.id)
        return None
