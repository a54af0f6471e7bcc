"""The one call that costs money: initiating a refresh at Stripe, at most once for each attempt."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial

from aws_lambda_powertools.metrics import MetricUnit

from titleholder.domain import refresh_policy
from titleholder.domain.accounts import AccountRef, Attempt, StoredAccount
from titleholder.domain.refresh_policy import CoolingDown, Decision, Fresh, FreshnessRequirement, JoinPending, NotVerifiable, StartRefresh
from titleholder.domain.refresh_requests import AlreadyStarting
from titleholder.errors import (
    AccountNotFoundError,
    AuditUnavailableError,
    StripeError,
    StripeLaggingError,
    StripeRefusedError,
    StripeServerError,
    StripeUnansweredError,
)
from titleholder.observability import metrics, tally
from titleholder.services import account_sync
from titleholder.services.audit import By, Entry
from titleholder.services.context import Dependencies
from titleholder.stripe_api.gateway import RefreshAnswer


@dataclass(frozen=True, slots=True)
class Started:
    """A refresh was initiated. Stripe shows it with `attempted_at` as `last_attempted_at`.

    `at`: when it began by our clock (Unix seconds), but not later than by Stripe's. So it is before every event of the refresh, even if
    Stripe answered late.
    """

    attempted_at: int
    at: float


StartResult = Started | AlreadyStarting | Fresh | JoinPending | CoolingDown | NotVerifiable


def start(
    deps: Dependencies, ref: AccountRef, need: FreshnessRequirement, decision: StartRefresh, account: StoredAccount, asker: str | None
) -> StartResult:
    """Initiate a refresh, unless another worker is doing so. `asker`: the verification that asks for it; None for an HTTP caller."""
    deps.stripe.acquire_refresh()
    now = deps.clock()
    if now > need.deadline:
        return NotVerifiable("REFRESH_TIMED_OUT")
    older = refresh_policy.began_before(decision.base, account)
    attempt = refresh_policy.next_attempt(account.attempt, decision.base, now, deps.new_key(), older=older)
    if not deps.store.accounts.begin_attempt(ref, attempt, account.attempt, now):
        return AlreadyStarting() if deps.store.accounts.get(ref).erased_at is None else NotVerifiable(refresh_policy.ERASED)
    if not _waits(deps, ref, asker):
        # Another request of this verification was handled meanwhile, and has resumed the workflow. An earlier try may have the same key, so
        # the attempt stays open.
        deps.store.accounts.end_attempt(ref, attempt, answered=False)
        return AlreadyStarting()
    try:
        answer = _call(deps, ref, attempt, decision, account, asker)
    except AuditUnavailableError:
        deps.store.accounts.end_attempt(ref, attempt, answered=False)
        raise
    except StripeError as error:
        # A request that was answered with 5xx may have taken effect, even if the SDK's own repetition of it got another answer.
        doubted_at = deps.clock() if error.after_failure or isinstance(error, StripeServerError) else None
        deps.store.accounts.end_attempt(ref, attempt, answered=not isinstance(error, StripeUnansweredError), doubted_at=doubted_at)
        if not isinstance(error, StripeRefusedError):
            raise
        attempt = attempt if doubted_at is None else replace(attempt, doubted_at=doubted_at)
        return _after_refusal(deps, ref, need, account, asker, attempt, error.code, replayed=error.replayed)
    except AccountNotFoundError:
        deps.store.accounts.end_attempt(ref, attempt, answered=True)
        raise
    if answer is None:
        return AlreadyStarting()
    answered_at = deps.clock()
    state, observed_at = answer.state, answered_at
    started = refresh_policy.was_started(decision.base, state, attempt.began_at)
    if started:
        # Also for an answer that Stripe replayed, because the first call was not counted: its worker never saw the answer.
        tally("RefreshesPaid")
        # A zero, so that the alarm WebhooksAbsentAlarm finds a value even if no delivery ever came.
        metrics.add_metric(name="DeliveryAccepted", unit=MetricUnit.Count, value=0)
    if answer.replayed and not started:
        deps.store.accounts.end_attempt(ref, attempt, answered=True)
        return _after_refusal(deps, ref, need, account, asker, attempt, replayed=True)
    if answer.replayed:
        # Only the refresh is taken from a replayed answer, because the account may have changed since.
        known = deps.store.accounts.get(ref)
        state, observed_at = replace(known.state or state, refresh=state.refresh), known.observed_at
    # Store this before the attempt ends, because afterwards nothing else keeps a worker with an older reading from making another one.
    open_ = state.refresh is not None and state.refresh.status != "failed"
    account_sync.observe(deps, ref, state, observed_at, attempt.calls, account, open_=open_)
    deps.store.accounts.end_attempt(ref, attempt, answered=True)
    if not started or state.refresh is None:
        shown = refresh_policy.decide_after_refusal(state, need, deps.clock())
        # The answer to a refresh call does not contain owners.
        return _after_refusal(deps, ref, need, account, asker, attempt) if isinstance(shown, Fresh) else _final(shown)
    if state.refresh.settled:
        account_sync.sync_account(deps, ref)
    # A repeated attempt may have been executed at its first call or at any later one.
    return Started(state.refresh.last_attempted_at, min(now, max(attempt.began_at, state.refresh.last_attempted_at)))


def _call(
    deps: Dependencies, ref: AccountRef, attempt: Attempt, decision: StartRefresh, account: StoredAccount, asker: str | None
) -> RefreshAnswer | None:
    """Record the request, make the call, record its result. None if the refresh is not wanted any more, so that no call was made."""
    # An attempt is repeated only if one of its requests was not answered. Until its result is known, no other key is used.
    in_doubt = account.attempt is not None and account.attempt.key == attempt.key
    with _recorded(deps, ref, attempt, asker) as entry:
        if not _is_wanted(deps, asker):
            # The verification has ended, or its batch was stopped. Checked last, because the steps before take their time.
            entry.note(result="not_wanted")
            deps.store.accounts.end_attempt(ref, attempt, answered=False)
            return None
        answer = deps.stripe.refresh(ref, attempt.key, in_doubt=in_doubt, still_wanted=partial(_is_wanted, deps, asker))
        entry.note(result="started" if refresh_policy.was_started(decision.base, answer.state) else "refused")
        return answer


def _waits(deps: Dependencies, ref: AccountRef, asker: str | None) -> bool:
    """Whether the asker still waits for an answer."""
    return asker is None or deps.store.waiters.get(ref, asker) is not None


def _is_wanted(deps: Dependencies, asker: str | None) -> bool:
    """Whether a refresh is still wanted. An HTTP caller wants it until it is answered."""
    return asker is None or deps.store.verifications.is_wanted(asker)


def _recorded(deps: Dependencies, ref: AccountRef, attempt: Attempt, asker: str | None) -> AbstractContextManager[Entry]:
    """The audit record of a refresh that a verification asks for. For an HTTP caller the route makes it."""
    if asker is None:
        return contextlib.nullcontext(Entry())
    return deps.audit.effect(By(asker), "refresh.requested", ref, attempt=attempt.key)


def _after_refusal(
    deps: Dependencies,
    ref: AccountRef,
    need: FreshnessRequirement,
    account: StoredAccount,
    asker: str | None,
    attempt: Attempt,
    code: str | None = None,
    *,
    replayed: bool = False,
) -> StartResult:
    """What the account shows after Stripe refused a refresh. Raises StripeLaggingError if it does not show all that is known yet.

    `replayed`: Stripe refused an earlier request, and replayed that answer. If the account shows no reason now, the error is raised too,
    and the next call has another key.
    """
    code = None if replayed else code
    reading = account_sync.read_account(deps, ref, account)
    if code == refresh_policy.INACTIVE_CODE and reading.newer is None and reading.state.status == "active":
        # Reads may lag: the refusal shows what the account has become, and is kept as its latest observation.
        reading = replace(reading, state=replace(reading.state, status="inactive", details=None))
        seen = deps.store.accounts.get(ref)
        account_sync.observe(deps, ref, reading.state, seen.observed_at + 0.001, seen.observed_calls, seen, open_=True)
    account_sync.apply_reading(deps, ref, reading, account, asker=asker)
    decision = refresh_policy.decide_after_refusal(reading.current, need, deps.clock(), code)
    account_sync.require_shown(deps, ref, reading, need, decision)
    in_doubt = replayed or refresh_policy.may_have_started(attempt, deps.clock())
    if decision == NotVerifiable("REFRESH_REFUSED") and in_doubt:
        raise StripeLaggingError(account_sync.LAGGING)
    return _final(decision)


def _final(decision: Decision) -> StartResult:
    """A decision after a refusal. A refresh that Stripe has just refused is not started again."""
    return NotVerifiable("REFRESH_REFUSED") if isinstance(decision, StartRefresh) else decision
