"""Getting the owners of an account: starting a refresh, fetching what it brought, and waking whoever waits for it.

Three rules keep a wake-up from being lost. A waiter is stored before the account is read, so a refresh that settles later finds it. What a
waiter has joined is stored before our own record of the account is read once more, so a refresh that settled in between is seen. And a
workflow that is not woken in time asks again by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from titleholder import changes, erasure, observability, refresh, staleness, stripe_events
from titleholder.accounts import AccountRef, AccountState, Attempt, StoredAccount
from titleholder.audit import Audit, By, Entry
from titleholder.bus import Bus
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
from titleholder.masked import Masked
from titleholder.pace import AT_ONCE_SECONDS
from titleholder.queues import Queues
from titleholder.refresh import CoolDown, Decision, Fresh, Join, Need, NotVerifiable, StartRefresh
from titleholder.store import Store
from titleholder.store.open_work import Announcement
from titleholder.stripe_events import Told
from titleholder.stripe_gateway import AccountReading, Ownership, StripeGateway
from titleholder.workflow import Workflow

LAGGING = "Stripe does not show yet what is known of the account. Try again in some seconds."
SHORTEST_LOOK_SECONDS = 2.0
"""How soon an account is read again that does not show yet what an event told; then each time when twice as long has passed."""


@dataclass(frozen=True, slots=True)
class World:
    """What lies outside: the systems, the clock (Unix seconds) and a source of new idempotency keys."""

    store: Store
    stripe: StripeGateway
    workflow: Workflow
    queues: Queues
    bus: Bus
    audit: Audit
    clock: Callable[[], float]
    new_key: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Started:
    """A refresh was initiated; it shows as tried at `attempted_at`."""

    attempted_at: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """Another caller is just initiating a refresh. What comes of it is known within the lease, so the request is to come again."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The refresh did not settle in time, or the request's deadline has passed: the workflow was told to end without data."""


@dataclass(frozen=True, slots=True)
class StillPending:
    """The refresh was seen pending after its last settle timeout but one: the request is to come again `at` (Unix seconds), to give up."""

    at: float


Asked = Fresh | Join | CoolDown | NotVerifiable | Started | InFlight

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
                need=Need(
                    not_before=float(message["not_before"]),
                    requested_at=float(message["requested_at"]),
                    deadline=float(message["deadline"]),
                ),
            ),
            resumed_at=datetime.fromisoformat(resume_at).timestamp() if resume_at else None,
            hop=int(message.get(HOP, 0)),
            message_id=message_id,
            # A retry keeps the time at which the state was entered first.
            entered=None if int(message["retry"]) else datetime.fromisoformat(message["entered"]).timestamp(),
        )


def serve(world: World, request: RefreshRequest) -> Asked | StillPending | GaveUp | None:
    """Serve a paused workflow: wake it if its answer is known, else see to it that it will be woken. None if it no longer waits.

    Raises:
        StripeError: Stripe could not be asked; to be tried again.
        PaceExceededError: Stripe may not be asked yet; to be tried when it tells.
    """
    ref, waiter = request.ref, world.store.waiters.put(request.ref, request.waiter, request.hop, request.message_id)
    if waiter is None:
        return None
    # A message may come again long after it was served, and must not have a refresh paid for a verification that has ended.
    verification = world.store.verifications.get(waiter.verification)
    if verification.verdict is not None:
        # Whoever still waits for this token has another execution's verdict.
        world.workflow.wake(waiter.task_token, {"outcome": "ready", "snapshot": verification.verdict.get("snapshot")})
        world.store.waiters.remove(ref, waiter.verification)
        return None
    if verification.batch is not None and world.store.batches.get(verification.batch)["batch_state"] == "stopped":
        # Its workflow was stopped, but this message was on its way.
        world.store.waiters.remove(ref, waiter.verification)
        return None
    stored, now = world.store.accounts.get(ref), world.clock()
    waited = _waits_for_pending(stored, waiter, now)
    settle_timeout = world.workflow.settle_timeout
    # A reading that waits for its slot proves nothing, so the refresh has to have been seen pending late.
    late = (SETTLE_TIMEOUTS - 1) * ASKED_EARLY * settle_timeout
    seen_late = waited >= late and waiter.joined_at is not None and stored.observed_at >= waiter.joined_at + late
    if now > waiter.need.deadline or (seen_late and waited >= SETTLE_TIMEOUTS * settle_timeout):
        world.workflow.give_up(waiter.task_token)
        return GaveUp()
    if seen_late:
        return StillPending(now - waited + SETTLE_TIMEOUTS * settle_timeout)
    if 0 <= waited < ASKED_EARLY * settle_timeout:
        # The message came twice, or was deferred: there is nothing to ask before the settle timeout.
        return Join(waiter.need.joined or 0)
    try:
        asked = ask(world, ref, waiter.need, stored, resumed_at=request.resumed_at, asker=waiter.verification)
    except AccountNotFoundError:
        asked = NotVerifiable("ACCOUNT_NOT_FOUND")
    except StripeError as error:
        credentials = isinstance(error, StripeCredentialsError)
        world.store.waiters.set_error(ref, waiter.verification, "STRIPE_CREDENTIALS_REFUSED" if credentials else "STRIPE_UNAVAILABLE")
        raise
    if isinstance(asked, Join | Started):
        if waiter.need.joined != asked.attempted_at or waiter.joined_at is None:
            waiter = replace(waiter, need=replace(waiter.need, joined=asked.attempted_at))
            world.store.waiters.set_joined(ref, waiter.verification, asked.attempted_at, world.clock())
            if request.hop or (request.entered is not None and now - request.entered > PUNCTUAL * settle_timeout):
                # The settle timeout starts now.
                world.workflow.heartbeat(waiter.task_token)
        _wake_if_settled(world, ref, waiter)
        if isinstance(asked, Join) and waited >= late:
            return StillPending(now - waited + SETTLE_TIMEOUTS * settle_timeout)
    elif not isinstance(asked, InFlight):
        if isinstance(asked, CoolDown) and verification.batch is not None:
            world.store.batches.record_cooldown(verification.batch, verification.id, int(asked.resume_at))
        _wake(world, ref, waiter, asked)
    return asked


def _waits_for_pending(stored: StoredAccount, waiter: Waiter, now: float) -> float:
    """For how many seconds a waiter has waited for the refresh that it joined and that is still known as pending; -1 if for none."""
    pending = stored.state.refresh if stored.state is not None else None
    if pending is None or pending.settled or waiter.joined_at is None or pending.last_attempted_at != waiter.need.joined:
        return -1.0
    return max(0.0, now - waiter.joined_at)


def ask(
    world: World, ref: AccountRef, need: Need, stored: StoredAccount, *, resumed_at: float | None = None, asker: str | None = None
) -> Asked:
    """See to it that `need` is met: find that it is, join a refresh, or start one.

    `stored` is what is remembered of the account now. `asker` is a verification that waits, and that the caller wakes itself.

    Raises AccountNotFoundError, or a StripeError when Stripe could not be asked.
    """
    now = world.clock()
    decision: Decision | None = refresh.decide_from_memory(stored, need, now, resumed_at)
    if (decision is None or isinstance(decision, StartRefresh)) and _is_calling(stored, now):
        return InFlight()
    reading: AccountReading | None = None
    if decision is None:
        if asker is not None and stored.state is not None and stored.state.refresh is not None and not stored.state.refresh.settled:
            world.stripe.hurry()
        else:
            _await_turn(world, ref, stored)
        reading = read(world, ref, stored)
        decision = refresh.decide(reading.current, need, world.clock())
        settle(world, ref, reading, stored, asker=asker)
        _check_shown(world, ref, reading, need, decision)
    elif isinstance(decision, StartRefresh):
        _await_turn(world, ref, stored)
    if isinstance(decision, StartRefresh):
        if asker is None or not _too_many_owners(world, ref, stored, reading):
            return _start(world, ref, need, decision, stored, asker)
        # What a refresh would bring could not be compared. A caller who asks for a refresh itself may pay for the proof of the contrary.
        decision = NotVerifiable(refresh.TOO_MANY_OWNERS)
    if stored.slot is not None:
        world.store.accounts.drop_slot(ref, stored.slot)
    return decision


def _too_many_owners(world: World, ref: AccountRef, stored: StoredAccount, reading: AccountReading | None) -> bool:
    """Whether the owners that are known before a refresh is paid are more than can be compared, so that the next will hardly be fewer."""
    if reading is None or reading.ownership is None or reading.newer is not None:
        return stored.too_many_owners
    if not reading.ownership.has_more:
        return False
    known = world.store.accounts.get(ref)
    if known.snapshot == reading.ownership.id:
        return known.too_many_owners
    try:
        world.stripe.owners(ref, reading.ownership)
    except TooManyOwnersError:
        return True
    return False


def _is_calling(stored: StoredAccount, now: float) -> bool:
    """Whether another caller has begun a refresh call so recently that its answer may still come."""
    return stored.lease_until is not None and now < stored.lease_until - refresh.LEASE_SECONDS + CALL_SECONDS


def _await_turn(world: World, ref: AccountRef, stored: StoredAccount) -> None:
    """Return if the rate limiter's slot for the account's next refresh call is due. Else keep the slot, and raise PaceExceededError.

    The slot belongs to the account, so all of its waiters share one, and a workflow that asks again does not lose it.
    """
    now = world.clock()
    held = stored.slot if stored.slot is not None and now - stored.slot < SLOT_SECONDS else None
    slot = world.stripe.turn(held)
    if slot is None or slot <= now + AT_ONCE_SECONDS:
        return
    if held is None and not world.store.accounts.keep_slot(ref, slot, stored.slot):
        slot = world.store.accounts.get(ref).slot or slot
    raise world.stripe.too_early(slot)


def fetch(world: World, ref: AccountRef, event: str | None = None) -> bool:
    """Read the account again and act on what it shows: store its owners, wake whoever they answer. Tells whether it showed anything new.

    Raises:
        StripeLaggingError: Stripe does not show yet what `event` has told.
        StripeError: Stripe could not be asked; to be tried again.
        PaceExceededError: Stripe may not be asked yet; to be tried when it tells.
    """
    stored = world.store.accounts.get(ref)
    if stored.erased_at is not None:
        erasure.erase(world, ref)
        return not stored.erasure_ended
    if stored.state is not None and stored.state.refresh is not None and not stored.state.refresh.settled:
        world.stripe.hurry()
    try:
        reading = read(world, ref, stored, settling=True)
    except AccountNotFoundError:
        for waiter in world.store.waiters.of_account(ref):
            _wake(world, ref, waiter, NotVerifiable("ACCOUNT_NOT_FOUND"))
        return False
    settle(world, ref, reading, stored)
    if event is not None and (known := world.store.events.get(event)) is not None:
        told = stripe_events.told(known.type, known.created)
        age = 0.0 if told is None else world.clock() - told.at
        recent = -refresh.CLOCK_SKEW <= age <= refresh.LAG_SECONDS + refresh.CLOCK_SKEW
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
    latest = told.at - refresh.CLOCK_SKEW
    known = stored.state is not None and refresh.order(hash_) <= refresh.order(stored.state.refresh) and stored.shown_since < latest
    older = reading.newer is None and reading.ownership is not None and reading.ownership.created < latest
    attempt = stored.attempt
    asked = attempt is not None and attempt.base == hash_.last_attempted_at and attempt.began_at <= told.at + refresh.CLOCK_SKEW
    return not (known or older or asked)


def read(world: World, ref: AccountRef, stored: StoredAccount, *, settling: bool = False) -> AccountReading:
    """The account now, as Stripe has it; remembered unless something newer is known (`newer`), and erased if it is disconnected.

    `settling`: what is looked for is the end of the refresh that `stored` knows as pending. Raises as `StripeGateway.read` does.
    """
    observed_at, known = world.clock(), stored.state
    if settling and known is not None and known.holder is not None and known.refresh is not None and not known.refresh.settled:
        reading = world.stripe.read_again(ref, known.holder, partial(refresh.settled_since, known))
    else:
        reading = world.stripe.read(ref)
    if known is None:
        world.store.connected_accounts.record(ref)
    # A list may lag behind: of calls made since the last observation it need not know.
    calls = stored.observed_calls if reading.listed else stored.answered_calls
    if _observe(world, ref, reading.state, observed_at, calls, stored, open_=_is_open(reading, stored)):
        return reading
    latest = world.store.accounts.get(ref)
    outdated = latest.erased_at is not None or refresh.is_outdated(reading.state, observed_at, latest)
    return replace(reading, newer=latest.state) if outdated else reading


def _observe(
    world: World, ref: AccountRef, state: AccountState, observed_at: float, calls: int, stored: StoredAccount, *, open_: bool
) -> bool:
    seen_before = stored.state is not None and refresh.order(stored.state.refresh) == refresh.order(state.refresh)
    shown_since = stored.shown_since if seen_before else observed_at
    newest = world.store.accounts.observe(ref, state, observed_at, open_=open_, calls=calls, shown_since=shown_since)
    if state.status == "disconnected":
        erasure.erase(world, ref)
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
    return refresh.origin(hash_, ownership.created), ownership.created, ownership.id


def _place(stored: StoredAccount) -> tuple[int, int, str]:
    """The place in time of the newest stored owners: their refresh, when Stripe created them, their id."""
    return stored.snapshot_attempted_at or 0, stored.snapshot_created or 0, stored.snapshot or ""


def settle(world: World, ref: AccountRef, reading: AccountReading, stored: StoredAccount, *, asker: str | None = None) -> None:
    """Store the owners that a reading brought and wake every waiter whose answer it is, but for `asker`.

    `stored` is what was remembered before the reading.
    """
    hash_, ownership = reading.state.refresh, reading.ownership
    if reading.current.status == "disconnected":
        return  # It was erased when it was read, and whoever waited was woken.
    if reading.state.status not in refresh.DEAD and (hash_ is None or not hash_.settled):
        return
    brought = _brought(reading)
    if ownership and brought and stored.snapshot != ownership.id:
        snapshot = _snapshot(world, ref, ownership, brought[0])
        # Erased since it was read: nothing is kept, and whoever waits is woken by the erasure.
        with contextlib.suppress(AccountErasedError):
            _keep(world, ref, snapshot)
    if reading.newer is not None:
        # The worker who recorded what is newer acts on it. This reading can only have brought owners that answer somebody.
        known = world.store.accounts.get(ref)
        for waiter in world.store.waiters.of_account(ref):
            if waiter.verification != asker and refresh.usable_snapshot(known, waiter.need):
                _wake(world, ref, waiter, Fresh(known.snapshot_attempted_at or 0))
        return
    if reading.state.status in refresh.DEAD:
        staleness.mark(world.store, world.bus, ref, refresh.DEAD[reading.state.status], world.clock())
        if not stored.stale_marked:
            open_ = _is_unsettled(reading, world.store.accounts.get(ref))
            world.store.accounts.end_staleness(ref, reading.state, world.clock(), open_=open_)
    for waiter in world.store.waiters.of_account(ref):
        if waiter.verification != asker:
            decision = refresh.decide(reading.state, waiter.need, world.clock())
            # A waiter that would have to start a refresh or wait for one is being served by its own request.
            if isinstance(decision, Fresh | NotVerifiable):
                _wake(world, ref, waiter, decision)


def _snapshot(world: World, ref: AccountRef, ownership: Ownership, attempted_at: int) -> Snapshot:
    """The snapshot with all its owners; with none if they are too many, so that the verifications that wait get that for their reason."""
    owners, too_many = [], None
    try:
        owners = world.stripe.owners(ref, ownership)
    except TooManyOwnersError as error:
        too_many = error.seen
    return Snapshot(id=ownership.id, attempted_at=attempted_at, created=ownership.created, owners=Masked(owners), too_many=too_many)


def _keep(world: World, ref: AccountRef, snapshot: Snapshot) -> None:
    """Store a snapshot, and announce what it changed if it is newer than what was the newest.

    What is to be announced is stored with the snapshot, so that it is announced later if it can't be announced now.
    """
    known = world.store.accounts.get(ref)
    if known.snapshot == snapshot.id:
        return
    newest = _place(known)
    found = None
    if known.snapshot is not None and newest < (snapshot.attempted_at, snapshot.created, snapshot.id):
        with contextlib.suppress(SnapshotNotFoundError):
            found = _changes(world.store.snapshots.get(ref, newest[2]), snapshot)
    since, told = (None, None) if found is None else (newest[2], [change.as_dict() for change in found])
    announcement = None
    if told:
        about = {**ref.as_dict(), "snapshot": snapshot.id, "since": since, "refreshed_at": timestamp(snapshot.attempted_at)}
        announcement = Announcement("OwnershipChanged", {**about, "changes": told})
    expires_at = world.store.snapshots.put(ref, snapshot, world.clock(), since=since, changes=told, announcement=announcement)
    if announcement is not None:
        world.bus.publish(announcement.type, announcement.detail)
        world.store.snapshots.mark_announced(ref, snapshot)
    world.store.accounts.set_newest_snapshot(ref, snapshot, expires_at)


def _changes(before: Snapshot, after: Snapshot) -> list[changes.Change] | None:
    """What changed; None (not known) if the matcher, which tells who is who, fails: the owners are stored and used all the same.

    Nor is it known where the owners of either were too many.
    """
    if before.too_many or after.too_many:
        return None
    try:
        return changes.between(before.owners.reveal(), after.owners.reveal())
    except Exception as error:
        observability.unexpected("MatcherFailed", error, snapshot=after.id)
        return None


def _start(world: World, ref: AccountRef, need: Need, go: StartRefresh, stored: StoredAccount, asker: str | None) -> Asked:
    """Initiate a refresh, unless another caller is at it."""
    world.stripe.await_refresh()
    now = world.clock()
    if now > need.deadline:
        return NotVerifiable("REFRESH_TIMED_OUT")
    attempt = refresh.next_attempt(stored.attempt, go.base, now, world.new_key())
    if not world.store.accounts.begin_attempt(ref, attempt, stored.attempt, now):
        return InFlight() if world.store.accounts.get(ref).erased_at is None else NotVerifiable(erasure.REASON)
    if asker is not None and world.store.waiters.get(ref, asker) is None:
        # It was woken while this took its time, because another of its requests had been served. An earlier try may bear the same key, so
        # the attempt stays open.
        world.store.accounts.end_attempt(ref, attempt, answered=False)
        return InFlight()
    try:
        # An attempt is made again only if a request of it was not answered. Until it is known what became of that, no other key is used.
        in_doubt = stored.attempt is not None and stored.attempt.key == attempt.key
        with _recorded(world, ref, attempt, asker) as entry:
            if not _is_wanted(world, asker):
                # It has ended, or its batch was stopped. Looked at last, because what is done until here takes its time.
                entry.note(result="not_wanted")
                world.store.accounts.end_attempt(ref, attempt, answered=False)
                return InFlight()
            state = world.stripe.refresh(ref, attempt.key, in_doubt=in_doubt, still_wanted=partial(_is_wanted, world, asker))
            entry.note(result="started" if refresh.was_started(go.base, state) else "refused")
    except AuditUnavailableError:
        world.store.accounts.end_attempt(ref, attempt, answered=False)
        raise
    except StripeError as error:
        # A request that was answered with 5xx may have taken effect, whatever the SDK's own repetition of it was answered.
        doubted_at = world.clock() if error.after_failure or isinstance(error, StripeServerError) else None
        world.store.accounts.end_attempt(ref, attempt, answered=not isinstance(error, StripeUnansweredError), doubted_at=doubted_at)
        if not isinstance(error, StripeRefusedError):
            raise
        attempt = attempt if doubted_at is None else replace(attempt, doubted_at=doubted_at)
        return _after_refusal(world, ref, need, stored, asker, attempt, error.code)
    except AccountNotFoundError:
        world.store.accounts.end_attempt(ref, attempt, answered=True)
        raise
    # Remembered first: once the attempt has ended, nothing else keeps a caller whose reading is older from making another one.
    open_ = state.refresh is not None and state.refresh.status != "failed"
    _observe(world, ref, state, world.clock(), attempt.calls, stored, open_=open_)
    world.store.accounts.end_attempt(ref, attempt, answered=True)
    if state.refresh is None or not refresh.was_started(go.base, state, attempt.began_at):
        decision = refresh.decide_after_refusal(state, need, world.clock())
        # The answer does not bring owners along.
        return _after_refusal(world, ref, need, stored, asker, attempt) if isinstance(decision, Fresh) else _refused(decision)
    if state.refresh.settled:
        fetch(world, ref)
    return Started(state.refresh.last_attempted_at)


def _is_wanted(world: World, asker: str | None) -> bool:
    """Whether a refresh is still wanted. An HTTP caller wants it until it is answered."""
    return asker is None or world.store.verifications.is_wanted(asker)


def _recorded(world: World, ref: AccountRef, attempt: Attempt, asker: str | None) -> AbstractContextManager[Entry]:
    """The record of a refresh that a verification asks for. That of an HTTP caller is the route's."""
    if asker is None:
        return contextlib.nullcontext(Entry())
    return world.audit.effect(By(asker), "refresh.requested", ref, attempt=attempt.key)


def _after_refusal(
    world: World, ref: AccountRef, need: Need, stored: StoredAccount, asker: str | None, attempt: Attempt, code: str | None = None
) -> Asked:
    """What the account shows after Stripe refused a refresh. Raises StripeLaggingError if it does not show all that is known yet."""
    reading = read(world, ref, stored)
    settle(world, ref, reading, stored, asker=asker)
    decision = refresh.decide_after_refusal(reading.current, need, world.clock(), code)
    _check_shown(world, ref, reading, need, decision)
    if decision == NotVerifiable("REFRESH_REFUSED") and refresh.may_have_started(attempt, world.clock()):
        raise StripeLaggingError(LAGGING)
    return _refused(decision)


def _refused(decision: Decision) -> Asked:
    return NotVerifiable("REFRESH_REFUSED") if isinstance(decision, StartRefresh) else decision


def _check_shown(world: World, ref: AccountRef, reading: AccountReading, need: Need, decision: Decision) -> None:
    """Raise StripeLaggingError if a refresh is known to have succeeded, but its owners are neither stored nor in this older reading."""
    if reading.newer is not None and isinstance(decision, Fresh) and not refresh.usable_snapshot(world.store.accounts.get(ref), need):
        raise StripeLaggingError(LAGGING)


def _wake_if_settled(world: World, ref: AccountRef, waiter: Waiter) -> None:
    """Wake a waiter whose refresh settled between our reading of the account and our note of what it joined."""
    known = world.store.accounts.get(ref)
    if known.erased_at is not None:
        _wake(world, ref, waiter, NotVerifiable(erasure.REASON))
    elif known.snapshot_attempted_at is not None and refresh.usable_snapshot(known, waiter.need):
        _wake(world, ref, waiter, Fresh(known.snapshot_attempted_at))
    elif known.state is not None and known.state.refresh is not None and known.state.refresh.settled:
        decision = refresh.decide(known.state, waiter.need, world.clock())
        if isinstance(decision, NotVerifiable) and known.state.refresh.status == "failed":
            _wake(world, ref, waiter, decision)
        elif isinstance(decision, Fresh):
            # Its owners are not stored yet, or it brought none: only Stripe tells which.
            reading = read(world, ref, known)
            settle(world, ref, reading, known)
            _check_shown(world, ref, reading, waiter.need, decision)


def _wake(world: World, ref: AccountRef, waiter: Waiter, decision: Fresh | CoolDown | NotVerifiable) -> None:
    outcome: dict[str, Any]
    match decision:
        case Fresh():
            account = world.store.accounts.get(ref)
            if snapshot := refresh.usable_snapshot(account, waiter.need):
                outcome = {"outcome": "ready", "snapshot": snapshot}
            else:
                reason = refresh.OWNERSHIP_MISSING if account.erased_at is None else erasure.REASON
                outcome = {"outcome": "not_verifiable", "reason": reason}
        case CoolDown(resume_at):
            outcome = {"outcome": "cooling_down", "resume_at": timestamp(resume_at)}
        case NotVerifiable(reason):
            outcome = {"outcome": "not_verifiable", "reason": reason}
    world.workflow.wake(waiter.task_token, outcome)
    world.store.waiters.remove(ref, waiter.verification, waiter.token_version)


def timestamp(seconds: float) -> str:
    """Unix seconds as the ISO 8601 text that workflows and answers use."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
