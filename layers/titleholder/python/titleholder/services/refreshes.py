"""Getting the owners of an account: starting a refresh, fetching what it brought, and waking whoever waits for it.

Three rules keep a wake-up from being lost. A waiter is stored before the account is read, so a refresh that settles later finds it. What a
waiter has joined is stored before our own record of the account is read once more, so a refresh that settled in between is seen. And a
workflow that is not woken in time asks again by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from titleholder import observability
from titleholder.domain import owner_changes, refresh_policy
from titleholder.domain.accounts import AccountRef, AccountState, Attempt, StoredAccount
from titleholder.domain.refresh_policy import CoolingDown, Decision, Fresh, FreshnessRequirement, JoinPending, NotVerifiable, StartRefresh
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.domain.verifications import Waiter
from titleholder.errors import (
    AccountErasedError,
    AccountNotFoundError,
    AuditUnavailableError,
    SnapshotNotFoundError,
    StripeCredentialsError,
    StripeError,
    StripeLaggingError,
    StripeRefusedError,
    StripeServerError,
    StripeUnansweredError,
    TooManyOwnersError,
)
from titleholder.services import erasure, staleness
from titleholder.services.audit import By, Entry
from titleholder.services.context import Dependencies
from titleholder.services.rate_limiter import AT_ONCE_SECONDS
from titleholder.store.open_work import Announcement
from titleholder.stripe_api import events as stripe_events
from titleholder.stripe_api.events import Told
from titleholder.stripe_api.gateway import AccountReading, Ownership
from titleholder.timestamps import from_iso, iso_seconds

LAGGING = "Stripe does not show yet what is known of the account. Try again in some seconds."
SHORTEST_LOOK_SECONDS = 2.0
"""How soon an account is read again that does not show yet what an event told; then each time when twice as long has passed."""


@dataclass(frozen=True, slots=True)
class Started:
    """A refresh was initiated; it shows as tried at `attempted_at`."""

    attempted_at: int


@dataclass(frozen=True, slots=True)
class AlreadyStarting:
    """Another caller is just initiating a refresh. What comes of it is known within the lease, so the request is to come again."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The refresh did not settle in time, or the request's deadline has passed: the workflow was told to end without data."""


@dataclass(frozen=True, slots=True)
class StillPending:
    """The refresh was seen pending after its last settle timeout but one: the request is to come again `at` (Unix seconds), to give up."""

    at: float


RefreshResult = Fresh | JoinPending | CoolingDown | NotVerifiable | Started | AlreadyStarting

SETTLE_TIMEOUTS = 3
"""How many settle timeouts a refresh may take. After each of the first ones the account is read again, because a webhook may be lost."""

ASKED_EARLY = 0.9
"""The share of the settle timeout within which a joined refresh is not asked for again. A workflow's own clock may run a little ahead."""

CALL_SECONDS = 10.0
"""How long the answer to another caller's refresh call is waited for before the account is read."""

PUNCTUAL = 0.05
"""The share of the settle timeout that a request may have taken until its refresh started, without a heartbeat to begin it anew."""

SLOT_SECONDS = 3600
"""How long a slot that was kept for an account may be used after it was due. What is older was left behind by a crash."""

HOP = "hop"
"""Where a request carries how often it was put back into the queue to wait for its slot."""


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """A paused workflow's request for fresh owners, as it comes through the refresh queue."""

    ref: AccountRef
    waiter: Waiter
    resumed_at: float | None = None
    hop: int = 0
    message_id: str = ""
    entered: float | None = None

    @classmethod
    def from_message(cls, message: Mapping[str, Any], message_id: str = "") -> RefreshRequest:
        """From the body that `verify_account` sends, and the id of its message. Raises ValueError or KeyError if it is no such body."""
        resume_at = message.get("resume_at")
        return cls(
            ref=AccountRef.from_dict(message["ref"]),
            waiter=Waiter(
                verification=message["verification"],
                task_token=message["task_token"],
                token_version=f"{message['entered']}#{int(message['retry']):06d}",
                need=FreshnessRequirement(
                    not_before=float(message["not_before"]),
                    requested_at=float(message["requested_at"]),
                    deadline=float(message["deadline"]),
                ),
            ),
            resumed_at=from_iso(resume_at) if resume_at else None,
            hop=int(message.get(HOP, 0)),
            message_id=message_id,
            # A retry keeps the time at which the state was entered first.
            entered=None if int(message["retry"]) else from_iso(message["entered"]),
        )


def handle_request(deps: Dependencies, request: RefreshRequest) -> RefreshResult | StillPending | GaveUp | None:
    """Serve a paused workflow: wake it if its answer is known, else see to it that it will be woken. None if it no longer waits.

    Raises:
        StripeError: Stripe could not be asked; to be tried again.
        PaceExceededError: Stripe may not be asked yet; to be tried when it tells.
    """
    ref, waiter = request.ref, deps.store.waiters.put(request.ref, request.waiter, request.hop, request.message_id)
    if waiter is None:
        return None
    # A message may come again long after it was served, and must not have a refresh paid for a verification that has ended.
    verification = deps.store.verifications.get(waiter.verification)
    if verification.verdict is not None:
        # Whoever still waits for this token has another execution's verdict.
        deps.workflow.wake(waiter.task_token, {"outcome": "ready", "snapshot": verification.verdict.get("snapshot")})
        deps.store.waiters.remove(ref, waiter.verification)
        return None
    if verification.batch is not None and deps.store.batches.get(verification.batch)["batch_state"] == "stopped":
        # Its workflow was stopped, but this message was on its way.
        deps.store.waiters.remove(ref, waiter.verification)
        return None
    stored, now = deps.store.accounts.get(ref), deps.clock()
    waited = _waits_for_pending(stored, waiter, now)
    settle_timeout = deps.workflow.settle_timeout
    # A reading that waits for its slot proves nothing, so the refresh has to have been seen pending late.
    late = (SETTLE_TIMEOUTS - 1) * ASKED_EARLY * settle_timeout
    seen_late = waited >= late and waiter.joined_at is not None and stored.observed_at >= waiter.joined_at + late
    if now > waiter.need.deadline or (seen_late and waited >= SETTLE_TIMEOUTS * settle_timeout):
        deps.workflow.give_up(waiter.task_token)
        return GaveUp()
    if seen_late:
        return StillPending(now - waited + SETTLE_TIMEOUTS * settle_timeout)
    if 0 <= waited < ASKED_EARLY * settle_timeout:
        # The message came twice, or was deferred: there is nothing to ask before the settle timeout.
        return JoinPending(waiter.need.joined or 0)
    try:
        asked = ensure_fresh(deps, ref, waiter.need, stored, resumed_at=request.resumed_at, asker=waiter.verification)
    except AccountNotFoundError:
        asked = NotVerifiable("ACCOUNT_NOT_FOUND")
    except StripeError as error:
        credentials = isinstance(error, StripeCredentialsError)
        deps.store.waiters.set_error(ref, waiter.verification, "STRIPE_CREDENTIALS_REFUSED" if credentials else "STRIPE_UNAVAILABLE")
        raise
    if isinstance(asked, JoinPending | Started):
        if waiter.need.joined != asked.attempted_at or waiter.joined_at is None:
            waiter = replace(waiter, need=replace(waiter.need, joined=asked.attempted_at))
            deps.store.waiters.set_joined(ref, waiter.verification, asked.attempted_at, deps.clock())
            if request.hop or (request.entered is not None and now - request.entered > PUNCTUAL * settle_timeout):
                # The settle timeout starts now.
                deps.workflow.heartbeat(waiter.task_token)
        _wake_if_settled(deps, ref, waiter)
        if isinstance(asked, JoinPending) and waited >= late:
            return StillPending(now - waited + SETTLE_TIMEOUTS * settle_timeout)
    elif not isinstance(asked, AlreadyStarting):
        if isinstance(asked, CoolingDown) and verification.batch is not None:
            deps.store.batches.record_cooldown(verification.batch, verification.id, int(asked.resume_at))
        _wake(deps, ref, waiter, asked)
    return asked


def _waits_for_pending(stored: StoredAccount, waiter: Waiter, now: float) -> float:
    """For how many seconds a waiter has waited for the refresh that it joined and that is still known as pending; -1 if for none."""
    pending = stored.state.refresh if stored.state is not None else None
    if pending is None or pending.settled or waiter.joined_at is None or pending.last_attempted_at != waiter.need.joined:
        return -1.0
    return max(0.0, now - waiter.joined_at)


def ensure_fresh(
    deps: Dependencies,
    ref: AccountRef,
    need: FreshnessRequirement,
    stored: StoredAccount,
    *,
    resumed_at: float | None = None,
    asker: str | None = None,
) -> RefreshResult:
    """See to it that `need` is met: find that it is, join a refresh, or start one.

    `stored` is what is remembered of the account now. `asker` is a verification that waits, and that the caller wakes itself.

    Raises AccountNotFoundError, or a StripeError when Stripe could not be asked.
    """
    now = deps.clock()
    decision: Decision | None = refresh_policy.decide_from_memory(stored, need, now, resumed_at)
    if (decision is None or isinstance(decision, StartRefresh)) and _is_calling(stored, now):
        return AlreadyStarting()
    reading: AccountReading | None = None
    if decision is None:
        if asker is not None and stored.state is not None and stored.state.refresh is not None and not stored.state.refresh.settled:
            deps.stripe.hurry()
        else:
            _await_turn(deps, ref, stored)
        reading = read_account(deps, ref, stored)
        decision = refresh_policy.decide(reading.current, need, deps.clock())
        apply_reading(deps, ref, reading, stored, asker=asker)
        _check_shown(deps, ref, reading, need, decision)
    elif isinstance(decision, StartRefresh):
        _await_turn(deps, ref, stored)
    if isinstance(decision, StartRefresh):
        if asker is None or not _too_many_owners(deps, ref, stored, reading):
            return _start(deps, ref, need, decision, stored, asker)
        # What a refresh would bring could not be compared. A caller who asks for a refresh itself may pay for the proof of the contrary.
        decision = NotVerifiable(refresh_policy.TOO_MANY_OWNERS)
    if stored.slot is not None:
        deps.store.accounts.drop_slot(ref, stored.slot)
    return decision


def _too_many_owners(deps: Dependencies, ref: AccountRef, stored: StoredAccount, reading: AccountReading | None) -> bool:
    """Whether the owners that are known before a refresh is paid are more than can be compared, so that the next will hardly be fewer."""
    if reading is None or reading.ownership is None or reading.newer is not None:
        return stored.too_many_owners
    if not reading.ownership.has_more:
        return False
    known = deps.store.accounts.get(ref)
    if known.snapshot == reading.ownership.id:
        return known.too_many_owners
    try:
        deps.stripe.owners(ref, reading.ownership)
    except TooManyOwnersError:
        return True
    return False


def _is_calling(stored: StoredAccount, now: float) -> bool:
    """Whether another caller has begun a refresh call so recently that its answer may still come."""
    return stored.lease_until is not None and now < stored.lease_until - refresh_policy.LEASE_SECONDS + CALL_SECONDS


def _await_turn(deps: Dependencies, ref: AccountRef, stored: StoredAccount) -> None:
    """Return if the rate limiter's slot for the account's next refresh call is due. Else keep the slot, and raise PaceExceededError.

    The slot belongs to the account, so all of its waiters share one, and a workflow that asks again does not lose it.
    """
    now = deps.clock()
    held = stored.slot if stored.slot is not None and now - stored.slot < SLOT_SECONDS else None
    slot = deps.stripe.turn(held)
    if slot is None or slot <= now + AT_ONCE_SECONDS:
        return
    if held is None and not deps.store.accounts.keep_slot(ref, slot, stored.slot):
        slot = deps.store.accounts.get(ref).slot or slot
    raise deps.stripe.too_early(slot)


def sync_account(deps: Dependencies, ref: AccountRef, event: str | None = None) -> bool:
    """Read the account again and act on what it shows: store its owners, wake whoever they answer. Tells whether it showed anything new.

    Raises:
        StripeLaggingError: Stripe does not show yet what `event` has told.
        StripeError: Stripe could not be asked; to be tried again.
        PaceExceededError: Stripe may not be asked yet; to be tried when it tells.
    """
    stored = deps.store.accounts.get(ref)
    if stored.erased_at is not None:
        erasure.erase(deps, ref)
        return not stored.erasure_ended
    if stored.state is not None and stored.state.refresh is not None and not stored.state.refresh.settled:
        deps.stripe.hurry()
    try:
        reading = read_account(deps, ref, stored, settling=True)
    except AccountNotFoundError:
        for waiter in deps.store.waiters.of_account(ref):
            _wake(deps, ref, waiter, NotVerifiable("ACCOUNT_NOT_FOUND"))
        return False
    apply_reading(deps, ref, reading, stored)
    if event is not None and (known := deps.store.events.get(event)) is not None:
        told = stripe_events.told(known.type, known.created)
        age = 0.0 if told is None else deps.clock() - told.at
        recent = -refresh_policy.CLOCK_SKEW <= age <= refresh_policy.LAG_SECONDS + refresh_policy.CLOCK_SKEW
        if told is not None and recent and not _shows(reading, told, stored):
            raise StripeLaggingError(LAGGING, retry_after=max(SHORTEST_LOOK_SECONDS, age))
    return stored.state != reading.current or (reading.ownership is not None and stored.snapshot != reading.ownership.id)


def _shows(reading: AccountReading, told: Told, stored: StoredAccount) -> bool:
    """Whether an account shows what an event has told. `stored` is what was remembered before the reading."""
    state, hash_ = reading.current, reading.current.refresh
    match told.what:
        case "disconnected":
            return state.status == "disconnected"
        case "deactivated":
            return state.status != "active"
        case "reactivated":
            return state.status != "inactive"
    if hash_ is None or not hash_.settled:
        return hash_ is not None and hash_.last_attempted_at > told.at
    # It shows a refresh that is settled. That is an earlier one if it was known before the event, if its owners are older than the event,
    # or if this stack has asked for another one since.
    latest = told.at - refresh_policy.CLOCK_SKEW
    known = (
        stored.state is not None
        and refresh_policy.order(hash_) <= refresh_policy.order(stored.state.refresh)
        and stored.shown_since < latest
    )
    older = reading.newer is None and reading.ownership is not None and reading.ownership.created < latest
    attempt = stored.attempt
    asked = attempt is not None and attempt.base == hash_.last_attempted_at and attempt.began_at <= told.at + refresh_policy.CLOCK_SKEW
    return not (known or older or asked)


def read_account(deps: Dependencies, ref: AccountRef, stored: StoredAccount, *, settling: bool = False) -> AccountReading:
    """The account now, as Stripe has it; remembered unless something newer is known (`newer`), and erased if it is disconnected.

    `settling`: what is looked for is the end of the refresh that `stored` knows as pending. Raises as `StripeGateway.read` does.
    """
    observed_at, known = deps.clock(), stored.state
    if settling and known is not None and known.holder is not None and known.refresh is not None and not known.refresh.settled:
        reading = deps.stripe.read_again(ref, known.holder, partial(refresh_policy.settled_since, known))
    else:
        reading = deps.stripe.read(ref)
    if known is None:
        deps.store.connected_accounts.record(ref)
    # A list may lag behind: of calls made since the last observation it need not know.
    calls = stored.observed_calls if reading.listed else stored.answered_calls
    if _observe(deps, ref, reading.state, observed_at, calls, stored, open_=_is_open(reading, stored)):
        return reading
    latest = deps.store.accounts.get(ref)
    outdated = latest.erased_at is not None or refresh_policy.is_outdated(reading.state, observed_at, latest)
    return replace(reading, newer=latest.state) if outdated else reading


def _observe(
    deps: Dependencies, ref: AccountRef, state: AccountState, observed_at: float, calls: int, stored: StoredAccount, *, open_: bool
) -> bool:
    seen_before = stored.state is not None and refresh_policy.order(stored.state.refresh) == refresh_policy.order(state.refresh)
    shown_since = stored.shown_since if seen_before else observed_at
    newest = deps.store.accounts.observe(ref, state, observed_at, open_=open_, calls=calls, shown_since=shown_since)
    if state.status == "disconnected":
        erasure.erase(deps, ref)
    return newest


def _is_open(reading: AccountReading, stored: StoredAccount) -> bool:
    """Whether an account's refresh has yet to settle, its owners to be stored, its verdicts to be marked as stale, or all to be erased."""
    status = reading.state.status
    return _is_unsettled(reading, stored) or status == "disconnected" or (status == "inactive" and not stored.stale_marked)


def _is_unsettled(reading: AccountReading, stored: StoredAccount) -> bool:
    hash_ = reading.state.refresh
    if hash_ is None or hash_.status == "failed" or reading.state.status == "disconnected":
        return False
    brought = _brought(reading)
    return hash_.status != "succeeded" or (brought is not None and _place(stored) < brought)


def _brought(reading: AccountReading) -> tuple[int, int, str] | None:
    """The place in time of the owners that a reading brought, None if it brought none: see `_place`."""
    hash_, ownership = reading.state.refresh, reading.ownership
    if hash_ is None or hash_.status != "succeeded" or ownership is None:
        return None
    return refresh_policy.origin(hash_, ownership.created), ownership.created, ownership.id


def _place(stored: StoredAccount) -> tuple[int, int, str]:
    """The place in time of the newest stored owners: their refresh, when Stripe created them, their id."""
    return stored.snapshot_attempted_at or 0, stored.snapshot_created or 0, stored.snapshot or ""


def apply_reading(deps: Dependencies, ref: AccountRef, reading: AccountReading, stored: StoredAccount, *, asker: str | None = None) -> None:
    """Store the owners that a reading brought and wake every waiter whose answer it is, but for `asker`.

    `stored` is what was remembered before the reading.
    """
    hash_, ownership = reading.state.refresh, reading.ownership
    if reading.current.status == "disconnected":
        return  # It was erased when it was read, and whoever waited was woken.
    if reading.state.status not in refresh_policy.REASON_BY_ACCOUNT_STATUS and (hash_ is None or not hash_.settled):
        return
    brought = _brought(reading)
    if ownership and brought and stored.snapshot != ownership.id:
        snapshot = _snapshot(deps, ref, ownership, brought[0])
        # Erased since it was read: nothing is kept, and whoever waits is woken by the erasure.
        with contextlib.suppress(AccountErasedError):
            _save_snapshot(deps, ref, snapshot)
    if reading.newer is not None:
        # The worker who recorded what is newer acts on it. This reading can only have brought owners that answer somebody.
        known = deps.store.accounts.get(ref)
        for waiter in deps.store.waiters.of_account(ref):
            if waiter.verification != asker and refresh_policy.usable_snapshot(known, waiter.need):
                _wake(deps, ref, waiter, Fresh(known.snapshot_attempted_at or 0))
        return
    if reading.state.status in refresh_policy.REASON_BY_ACCOUNT_STATUS:
        staleness.mark(deps.store, deps.bus, ref, refresh_policy.REASON_BY_ACCOUNT_STATUS[reading.state.status], deps.clock())
        if not stored.stale_marked:
            open_ = _is_unsettled(reading, deps.store.accounts.get(ref))
            deps.store.accounts.end_staleness(ref, reading.state, deps.clock(), open_=open_)
    for waiter in deps.store.waiters.of_account(ref):
        if waiter.verification != asker:
            decision = refresh_policy.decide(reading.state, waiter.need, deps.clock())
            # A waiter that would have to start a refresh or wait for one is being served by its own request.
            if isinstance(decision, Fresh | NotVerifiable):
                _wake(deps, ref, waiter, decision)


def _snapshot(deps: Dependencies, ref: AccountRef, ownership: Ownership, attempted_at: int) -> Snapshot:
    """The snapshot with all its owners; with none if they are too many, so that the verifications that wait get that for their reason."""
    owners, too_many = [], None
    try:
        owners = deps.stripe.owners(ref, ownership)
    except TooManyOwnersError as error:
        too_many = error.seen
    return Snapshot(id=ownership.id, attempted_at=attempted_at, created=ownership.created, owners=Sensitive(owners), too_many=too_many)


def _save_snapshot(deps: Dependencies, ref: AccountRef, snapshot: Snapshot) -> None:
    """Store a snapshot, and announce what it changed if it is newer than what was the newest.

    What is to be announced is stored with the snapshot, so that it is announced later if it can't be announced now.
    """
    known = deps.store.accounts.get(ref)
    if known.snapshot == snapshot.id:
        return
    newest = _place(known)
    found = None
    if known.snapshot is not None and newest < (snapshot.attempted_at, snapshot.created, snapshot.id):
        with contextlib.suppress(SnapshotNotFoundError):
            found = _changes(deps.store.snapshots.get(ref, newest[2]), snapshot)
    since, told = (None, None) if found is None else (newest[2], [change.as_dict() for change in found])
    announcement = None
    if told:
        about = {**ref.as_dict(), "snapshot": snapshot.id, "since": since, "refreshed_at": iso_seconds(snapshot.attempted_at)}
        announcement = Announcement("OwnershipChanged", {**about, "changes": told})
    expires_at = deps.store.snapshots.put(ref, snapshot, deps.clock(), since=since, changes=told, announcement=announcement)
    if announcement is not None:
        deps.bus.publish(announcement.type, announcement.detail)
        deps.store.snapshots.mark_announced(ref, snapshot)
    deps.store.accounts.set_newest_snapshot(ref, snapshot, expires_at)


def _changes(before: Snapshot, after: Snapshot) -> list[owner_changes.Change] | None:
    """What changed; None (not known) if the matcher, which tells who is who, fails: the owners are stored and used all the same.

    Nor is it known where the owners of either were too many.
    """
    if before.too_many or after.too_many:
        return None
    try:
        return owner_changes.between(before.owners.reveal(), after.owners.reveal())
    except Exception as error:
        observability.unexpected("MatcherFailed", error, snapshot=after.id)
        return None


def _start(
    deps: Dependencies, ref: AccountRef, need: FreshnessRequirement, go: StartRefresh, stored: StoredAccount, asker: str | None
) -> RefreshResult:
    """Initiate a refresh, unless another caller is at it."""
    deps.stripe.await_refresh()
    now = deps.clock()
    if now > need.deadline:
        return NotVerifiable("REFRESH_TIMED_OUT")
    attempt = refresh_policy.next_attempt(stored.attempt, go.base, now, deps.new_key())
    if not deps.store.accounts.begin_attempt(ref, attempt, stored.attempt, now):
        return AlreadyStarting() if deps.store.accounts.get(ref).erased_at is None else NotVerifiable(erasure.REASON)
    if asker is not None and deps.store.waiters.get(ref, asker) is None:
        # It was woken while this took its time, because another of its requests had been served. An earlier try may bear the same key, so
        # the attempt stays open.
        deps.store.accounts.end_attempt(ref, attempt, answered=False)
        return AlreadyStarting()
    try:
        # An attempt is made again only if a request of it was not answered. Until it is known what became of that, no other key is used.
        in_doubt = stored.attempt is not None and stored.attempt.key == attempt.key
        with _recorded(deps, ref, attempt, asker) as entry:
            if not _is_wanted(deps, asker):
                # It has ended, or its batch was stopped. Looked at last, because what is done until here takes its time.
                entry.note(result="not_wanted")
                deps.store.accounts.end_attempt(ref, attempt, answered=False)
                return AlreadyStarting()
            state = deps.stripe.refresh(ref, attempt.key, in_doubt=in_doubt, still_wanted=partial(_is_wanted, deps, asker))
            entry.note(result="started" if refresh_policy.was_started(go.base, state) else "refused")
    except AuditUnavailableError:
        deps.store.accounts.end_attempt(ref, attempt, answered=False)
        raise
    except StripeError as error:
        # A request that was answered with 5xx may have taken effect, whatever the SDK's own repetition of it was answered.
        doubted_at = deps.clock() if error.after_failure or isinstance(error, StripeServerError) else None
        deps.store.accounts.end_attempt(ref, attempt, answered=not isinstance(error, StripeUnansweredError), doubted_at=doubted_at)
        if not isinstance(error, StripeRefusedError):
            raise
        attempt = attempt if doubted_at is None else replace(attempt, doubted_at=doubted_at)
        return _after_refusal(deps, ref, need, stored, asker, attempt, error.code)
    except AccountNotFoundError:
        deps.store.accounts.end_attempt(ref, attempt, answered=True)
        raise
    # Remembered first: once the attempt has ended, nothing else keeps a caller whose reading is older from making another one.
    open_ = state.refresh is not None and state.refresh.status != "failed"
    _observe(deps, ref, state, deps.clock(), attempt.calls, stored, open_=open_)
    deps.store.accounts.end_attempt(ref, attempt, answered=True)
    if state.refresh is None or not refresh_policy.was_started(go.base, state, attempt.began_at):
        decision = refresh_policy.decide_after_refusal(state, need, deps.clock())
        # The answer does not bring owners along.
        return _after_refusal(deps, ref, need, stored, asker, attempt) if isinstance(decision, Fresh) else _refused(decision)
    if state.refresh.settled:
        sync_account(deps, ref)
    return Started(state.refresh.last_attempted_at)


def _is_wanted(deps: Dependencies, asker: str | None) -> bool:
    """Whether a refresh is still wanted. An HTTP caller wants it until it is answered."""
    return asker is None or deps.store.verifications.is_wanted(asker)


def _recorded(deps: Dependencies, ref: AccountRef, attempt: Attempt, asker: str | None) -> AbstractContextManager[Entry]:
    """The record of a refresh that a verification asks for. That of an HTTP caller is the route's."""
    if asker is None:
        return contextlib.nullcontext(Entry())
    return deps.audit.effect(By(asker), "refresh.requested", ref, attempt=attempt.key)


def _after_refusal(
    deps: Dependencies,
    ref: AccountRef,
    need: FreshnessRequirement,
    stored: StoredAccount,
    asker: str | None,
    attempt: Attempt,
    code: str | None = None,
) -> RefreshResult:
    """What the account shows after Stripe refused a refresh. Raises StripeLaggingError if it does not show all that is known yet."""
    reading = read_account(deps, ref, stored)
    apply_reading(deps, ref, reading, stored, asker=asker)
    decision = refresh_policy.decide_after_refusal(reading.current, need, deps.clock(), code)
    _check_shown(deps, ref, reading, need, decision)
    if decision == NotVerifiable("REFRESH_REFUSED") and refresh_policy.may_have_started(attempt, deps.clock()):
        raise StripeLaggingError(LAGGING)
    return _refused(decision)


def _refused(decision: Decision) -> RefreshResult:
    return NotVerifiable("REFRESH_REFUSED") if isinstance(decision, StartRefresh) else decision


def _check_shown(deps: Dependencies, ref: AccountRef, reading: AccountReading, need: FreshnessRequirement, decision: Decision) -> None:
    """Raise StripeLaggingError if a refresh is known to have succeeded, but its owners are neither stored nor in this older reading."""
    if reading.newer is not None and isinstance(decision, Fresh) and not refresh_policy.usable_snapshot(deps.store.accounts.get(ref), need):
        raise StripeLaggingError(LAGGING)


def _wake_if_settled(deps: Dependencies, ref: AccountRef, waiter: Waiter) -> None:
    """Wake a waiter whose refresh settled between our reading of the account and our note of what it joined."""
    known = deps.store.accounts.get(ref)
    if known.erased_at is not None:
        _wake(deps, ref, waiter, NotVerifiable(erasure.REASON))
    elif known.snapshot_attempted_at is not None and refresh_policy.usable_snapshot(known, waiter.need):
        _wake(deps, ref, waiter, Fresh(known.snapshot_attempted_at))
    elif known.state is not None and known.state.refresh is not None and known.state.refresh.settled:
        decision = refresh_policy.decide(known.state, waiter.need, deps.clock())
        if isinstance(decision, NotVerifiable) and known.state.refresh.status == "failed":
            _wake(deps, ref, waiter, decision)
        elif isinstance(decision, Fresh):
            # Its owners are not stored yet, or it brought none: only Stripe tells which.
            reading = read_account(deps, ref, known)
            apply_reading(deps, ref, reading, known)
            _check_shown(deps, ref, reading, waiter.need, decision)


def _wake(deps: Dependencies, ref: AccountRef, waiter: Waiter, decision: Fresh | CoolingDown | NotVerifiable) -> None:
    outcome: dict[str, Any]
    match decision:
        case Fresh():
            account = deps.store.accounts.get(ref)
            if snapshot := refresh_policy.usable_snapshot(account, waiter.need):
                outcome = {"outcome": "ready", "snapshot": snapshot}
            else:
                reason = refresh_policy.OWNERSHIP_MISSING if account.erased_at is None else erasure.REASON
                outcome = {"outcome": "not_verifiable", "reason": reason}
        case CoolingDown(resume_at):
            outcome = {"outcome": "cooling_down", "resume_at": iso_seconds(resume_at)}
        case NotVerifiable(reason):
            outcome = {"outcome": "not_verifiable", "reason": reason}
    deps.workflow.wake(waiter.task_token, outcome)
    deps.store.waiters.remove(ref, waiter.verification, waiter.token_version)
