"""Fresh owners for a paused workflow or an HTTP caller: gather the facts, decide, apply the decision.

Three rules keep an answer from being lost. A waiter is stored before the account is read, so a refresh that settles later finds it. The
refresh that a waiter has joined is stored before our own record of the account is read once more, so a refresh that settled in between is
seen. And a workflow that is not resumed in time asks again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from titleholder.aws.queues import HOP, put_back
from titleholder.domain import refresh_policy, refresh_requests
from titleholder.domain.accounts import AccountRef, StoredAccount
from titleholder.domain.refresh_policy import CoolingDown, Decision, Fresh, FreshnessRequirement, JoinPending, NotVerifiable, StartRefresh
from titleholder.domain.refresh_requests import (
    AlreadyJoined,
    AlreadyStarting,
    AskStripe,
    AwaitRepair,
    Ended,
    GaveUp,
    Repaired,
    RequestFacts,
    StillPending,
    Withdrawn,
)
from titleholder.domain.verifications import READING, TIME_OUT, Step, Waiter
from titleholder.errors import AccountNotFoundError, RateLimitExceededError, StripeCredentialsError, StripeError, TooManyOwnersError
from titleholder.observability import logger, tally
from titleholder.services import account_sync, refresh_calls
from titleholder.services.context import Dependencies
from titleholder.services.rate_limiter import AT_ONCE_SECONDS, requeued_message
from titleholder.services.refresh_calls import Started
from titleholder.stripe_api.gateway import AccountReading
from titleholder.timestamps import from_iso

AWAITS = "awaits"
"""The key of a workflow's message that says what the workflow waits for, if that is not a refresh. Its only value is `repair`."""

RETRY_SECONDS = 2.0
"""How soon a request checks again how another worker's refresh call has ended."""

RefreshResult = Fresh | JoinPending | CoolingDown | NotVerifiable | Started | AlreadyStarting


@dataclass(frozen=True, slots=True)
class Requeued:
    """The rate limiter has no slot for the request yet, so it is in the queue again."""


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
        """From the body that `verify_account` sends, and the id of its message. Raises ValueError or KeyError for another body."""
        resumed_at = from_iso(message["resume_at"]) if message.get("resume_at") else None
        requested_at = float(message["requested_at"])
        return cls(
            ref=AccountRef.from_dict(message["ref"]),
            waiter=Waiter(
                verification=message["verification"],
                task_token=message["task_token"],
                token_version=f"{message['entered']}#{int(message['retry']):06d}",
                need=FreshnessRequirement(
                    not_before=float(message["not_before"]),
                    # A refresh that failed before the pause is a reason to try again, now that the pause is over.
                    requested_at=requested_at if resumed_at is None else max(requested_at, resumed_at),
                    deadline=float(message["deadline"]),
                ),
                awaits_repair=message.get(AWAITS) == "repair",
            ),
            resumed_at=resumed_at,
            hop=int(message.get(HOP, 0)),
            message_id=message_id,
            # A retry keeps the time at which the state was entered first.
            entered=None if int(message["retry"]) else from_iso(message["entered"]),
        )


def handle_message(
    deps: Dependencies, message: Mapping[str, Any], message_id: str
) -> RefreshResult | StillPending | GaveUp | AwaitRepair | Requeued | None:
    """Handle one message of the refresh queue, and put it back if the request has to come again.

    Raises:
        ValueError, KeyError: the message is not a request.
        StripeError: a call to Stripe failed and has to be repeated.
    """
    request = RefreshRequest.from_message(message, message_id)
    try:
        result = handle_request(deps, request)
    except RateLimitExceededError as early:
        _requeue(deps, request, requeued_message(message, early), early.at)
        return Requeued()
    if isinstance(result, AlreadyStarting):
        _requeue(deps, request, message, deps.clock() + RETRY_SECONDS)
    elif isinstance(result, StillPending):
        _requeue(deps, request, message, result.at)
    return result


def handle_request(deps: Dependencies, request: RefreshRequest) -> RefreshResult | StillPending | GaveUp | AwaitRepair | None:
    """Resume a paused workflow if its answer is known, else make sure that it will be resumed. None if it no longer waits.

    Raises:
        StripeError: a call to Stripe failed and has to be repeated.
        RateLimitExceededError: the rate limit allows no call yet. The error says when to try again.
    """
    facts = _gather(deps, request)
    if facts is None:
        return None
    decision = refresh_requests.decide_request(facts)
    match decision:
        case Ended(snapshot):
            # An execution that still waits for this token gets the verdict of another one.
            deps.workflow.resume(facts.waiter.task_token, {"outcome": "ready", "snapshot": snapshot})
            deps.store.waiters.remove(request.ref, facts.waiter.verification)
            return None
        case Withdrawn():
            deps.store.waiters.remove(request.ref, facts.waiter.verification)
            return None
        case GaveUp():
            if deps.workflow.give_up(facts.waiter.task_token):
                account_sync.record_step(deps, facts.waiter, refresh_requests.gave_up_step(deps.clock()))
            return decision
        case StillPending() | AwaitRepair():
            return decision
        case Repaired():
            account_sync.answer(deps, request.ref, facts.waiter, refresh_requests.REPAIRED, READING)
            return None
        case AlreadyJoined(attempted_at):
            return JoinPending(attempted_at)
    return _apply(deps, request, facts, _answer(deps, request, facts, decision))


def ensure_fresh(deps: Dependencies, ref: AccountRef, need: FreshnessRequirement) -> RefreshResult:
    """For an HTTP caller: find owners that meet `need`, join a pending refresh, or start one.

    Raises AccountNotFoundError, RateLimitExceededError, or a StripeError if the call to Stripe failed.
    """
    account = deps.store.accounts.get(ref)
    return _carry_out(deps, ref, need, account, refresh_requests.decide_known(account, need, deps.clock()))


def _gather(deps: Dependencies, request: RefreshRequest) -> RequestFacts | None:
    """Store the request's waiter, and read what is known. None if a later request of the same verification has replaced this one."""
    waiter = deps.store.waiters.put(request.ref, request.waiter, request.hop, request.message_id, deps.clock())
    if waiter is None:
        return None
    verification = deps.store.verifications.get(waiter.verification)
    in_batch = verification.batch is not None and verification.verdict is None
    return RequestFacts(
        waiter=waiter,
        verification=verification,
        batch_stopped=in_batch and deps.store.batches.get(verification.batch or "")["batch_state"] == "stopped",
        account=deps.store.accounts.get(request.ref),
        now=deps.clock(),
        settle_timeout=deps.workflow.settle_timeout,
        resumed_at=request.resumed_at,
    )


def _answer(
    deps: Dependencies, request: RefreshRequest, facts: RequestFacts, decision: AlreadyStarting | AskStripe | Decision
) -> RefreshResult:
    """Carry a decision out. If a call to Stripe fails, store the reason with the waiter, for a verdict that is given without data."""
    ref, waiter = request.ref, facts.waiter
    try:
        return _carry_out(deps, ref, waiter.need, facts.account, decision, waiter.verification)
    except AccountNotFoundError:
        return NotVerifiable("ACCOUNT_NOT_FOUND")
    except StripeError as error:
        refused = isinstance(error, StripeCredentialsError)
        reason = "STRIPE_CREDENTIALS_REFUSED" if refused else "STRIPE_UNAVAILABLE"
        deps.store.waiters.set_error(ref, waiter, reason)
        if waiter.error != reason:
            account_sync.record_step(deps, waiter, Step(deps.clock(), "trouble", {"reason": reason}))
        raise


def _apply(deps: Dependencies, request: RefreshRequest, facts: RequestFacts, result: RefreshResult) -> RefreshResult | StillPending:
    """Resume the workflow with the result, or store which refresh it waits for."""
    ref, waiter, verification = request.ref, facts.waiter, facts.verification
    match result:
        case AlreadyStarting():
            return result
        case Fresh() | CoolingDown() | NotVerifiable():
            if isinstance(result, CoolingDown) and verification.batch is not None:
                deps.store.batches.record_cooldown(verification.batch, verification.id, int(result.resume_at))
            account_sync.resume(deps, ref, waiter, result, None if waiter.joined_at is None else TIME_OUT)
            return result
        case JoinPending(attempted_at) | Started(attempted_at):
            if waiter.need.joined != attempted_at or waiter.joined_at is None:
                waiter = replace(waiter, need=replace(waiter.need, joined=attempted_at))
                now = deps.clock()
                deps.store.waiters.set_joined(ref, waiter, attempted_at, now)
                entered = request.entered
                if request.hop or (entered is not None and facts.now - entered > refresh_requests.PUNCTUAL_SHARE * facts.settle_timeout):
                    # The settle timeout starts now.
                    deps.workflow.heartbeat(waiter.task_token)
                started_at = result.at if isinstance(result, Started) else None
                account_sync.record_step(deps, waiter, refresh_requests.joined_step(attempted_at, facts.now, started_at))
            account_sync.resume_if_settled(deps, ref, waiter)
            return StillPending(facts.gives_up_at) if isinstance(result, JoinPending) and facts.is_late else result
    assert_never(result)


def _carry_out(
    deps: Dependencies,
    ref: AccountRef,
    need: FreshnessRequirement,
    account: StoredAccount,
    decision: AlreadyStarting | AskStripe | Decision,
    asker: str | None = None,
) -> RefreshResult:
    """Read the account at Stripe and start a refresh, if the decision requires it.

    `asker`: the verification that waits, whose workflow the caller of this function resumes itself; None for an HTTP caller.
    """
    reading: AccountReading | None = None
    match decision:
        case AlreadyStarting():
            return decision
        case AskStripe(refresh_pending):
            if asker is not None and refresh_pending:
                deps.stripe.hurry()
            else:
                _await_slot(deps, ref, account)
            reading = account_sync.read_account(deps, ref, account)
            decision = refresh_policy.decide(reading.current, need, deps.clock(), account.attempt)
            account_sync.apply_reading(deps, ref, reading, account, asker=asker)
            account_sync.require_shown(deps, ref, reading, need, decision)
        case StartRefresh():
            _await_slot(deps, ref, account)
    if isinstance(decision, StartRefresh):
        if asker is None or not _has_too_many_owners(deps, ref, account, reading):
            return refresh_calls.start(deps, ref, need, decision, account, asker)
        # The refresh would bring too many owners to compare. Only an HTTP caller may pay for one, in case there are fewer by now.
        decision = NotVerifiable(refresh_policy.TOO_MANY_OWNERS)
    if account.slot is not None:
        deps.store.accounts.drop_slot(ref, account.slot)
    return decision


def _has_too_many_owners(deps: Dependencies, ref: AccountRef, account: StoredAccount, reading: AccountReading | None) -> bool:
    """Whether the known owners are too many to be compared. A refresh would hardly bring fewer, so it is not paid for."""
    if reading is None or reading.ownership is None or reading.newer is not None:
        return account.too_many_owners
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


def _await_slot(deps: Dependencies, ref: AccountRef, account: StoredAccount) -> None:
    """Return if the rate limiter's slot for the account's next refresh call is due. Else keep the slot, and raise RateLimitExceededError.

    The slot belongs to the account, so all of its waiters share one, and a workflow that asks again does not lose it.
    """
    now = deps.clock()
    held = refresh_requests.held_slot(account, now)
    slot = deps.stripe.reserve_refresh(held)
    if slot is None or slot <= now + AT_ONCE_SECONDS:
        return
    if held is None and not deps.store.accounts.keep_slot(ref, slot, account.slot):
        slot = deps.store.accounts.get(ref).slot or slot
    raise deps.stripe.too_early(slot)


def _requeue(deps: Dependencies, request: RefreshRequest, message: Mapping[str, Any], at: float) -> None:
    """Put a request back into the queue until `at` (Unix seconds), unless its workflow no longer waits for it.

    The heartbeat keeps the time in the queue out of the settle timeout. A request that was put back too often is dropped, and its workflow
    asks again.
    """
    if not deps.workflow.heartbeat(request.waiter.task_token):
        return
    again = put_back(message)
    if again is None:
        # Without a message the workflow gets no heartbeat, and asks again once the settle timeout is over. The account keeps its slot.
        logger.warning("request deferred too often", extra={"verification": request.waiter.verification, "account": request.ref.account})
        tally("MessagesDeferredTooOften")
        return
    longest = refresh_requests.HEARTBEAT_SHARE * deps.workflow.settle_timeout
    deps.queues.defer_refresh(again, min(longest, at - deps.clock()))
