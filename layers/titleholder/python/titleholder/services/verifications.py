"""Verifications: taking a claim, for one account or all of a target's, and bringing it to exactly one verdict for each account."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit

from titleholder import matching
from titleholder.domain import refresh_policy, reviews
from titleholder.domain.accounts import AccountRef, AccountSelector, StoredAccount, Tenant
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import DigestedClaim, Group, Verification
from titleholder.errors import (
    IdempotencyConflictError,
    RateLimitExceededError,
    StripeCredentialsError,
    StripeError,
    TooManyAccountsError,
    UnexpectedError,
    VerificationCompletedError,
    VerificationNotFoundError,
)
from titleholder.observability import logger, metrics
from titleholder.services import account_sync
from titleholder.services.verdicts import complete
from titleholder.store import Store
from titleholder.store.verifications import VerificationListing

if TYPE_CHECKING:
    from titleholder.services.context import Dependencies

DEFAULT_MAX_AGE_SECONDS = 30 * 86_400

KEYS_KNOWN_SECONDS = 86_400
"""How long a repeated Idempotency-Key still finds its verification after an upgrade from a release that derived ids without a secret."""

MOST_MEMBERS = 50
"""How many members a group may have. Accepting one takes about 0.1 s, and API Gateway gives up after 30 s."""

MOST_LOOKED_AT = 1000
"""How many verifications one listing looks through for those with the wanted outcome, before it gives a shorter page."""

OUTCOMES = ("not_verifiable", "no_match", "close_match", "match")
"""From the worst to the best."""

CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class NewVerification:
    """What a caller asks for: an account, or a target with all its accounts. `claim` as for `matching.match`, `max_age` in seconds.

    `waits_if_inactive`: a verification of an inactive account waits until the account is repaired, or until its deadline.
    """

    ref: AccountRef | AccountSelector
    claim: Sensitive[Mapping[str, Any]]
    max_age: int = DEFAULT_MAX_AGE_SECONDS
    policy: matching.Policy = matching.DEFAULT_POLICY
    waits_if_inactive: bool = False

    def request_digest(self, about: Mapping[str, Any]) -> str:
        """A digest of the request without its claim; `about` says what is verified.

        For a request that does not wait, it equals the digest of releases that had no `waits_if_inactive`.
        """
        waits = {"if_inactive": "wait"} if self.waits_if_inactive else {}
        return digest({**about, "max_age": self.max_age, "policy": self.policy.as_dict(), **waits})


@dataclass(frozen=True, slots=True)
class FinalSummary:
    """Whether any member, or all members, match after their reviews. None if that is not decided yet."""

    any: bool | None
    all: bool | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Whether any member, or all members, match so far, without reviews; None if that is not decided yet. `best` is a member.

    `stale`: how many members have a verdict that no longer holds. They count in the other values as their verdicts were given.
    """

    any: bool | None
    all: bool | None
    best: Verification | None
    final: FinalSummary
    stale: int


@dataclass(frozen=True, slots=True)
class GroupResult:
    """A group with its members."""

    group: Group
    members: Sequence[Verification]

    @property
    def id(self) -> str:
        return self.group.id

    @property
    def done(self) -> bool:
        return all(member.verdict is not None for member in self.members)

    @property
    def summary(self) -> Summary:
        """The members' results so far. A member with an undecided review counts only in `any`, `all` and `best`, not in `final`."""
        ended = [member for member in self.members if member.verdict is not None]
        any_, all_ = self._sums([_outcome(member) == "match" for member in ended])
        answers = [reviews.final(member) for member in ended if member.review not in ("open", "proposed")]
        return Summary(
            any=any_,
            all=all_,
            best=max(ended, key=_rank, default=None),
            final=FinalSummary(*self._sums([answer is not None and answer.outcome == "match" for answer in answers])),
            stale=sum(member.stale is not None for member in self.members),
        )

    def _sums(self, matched: Sequence[bool]) -> tuple[bool | None, bool | None]:
        """Whether any member matches, and whether all do, by the results in `matched`. None if that depends on members without a result."""
        complete = len(matched) == len(self.members)
        return True if any(matched) else False if complete else None, False if not all(matched) else True if complete else None

    @property
    def outcome(self) -> str | None:
        """The best member's outcome; None until all members have their verdicts."""
        best = self.summary.best
        return _outcome(best) if best and self.done else None


def create(deps: Dependencies, new: NewVerification, *, max_wait: int, idempotency_key: str | None = None) -> Verification | GroupResult:
    """Accept a verification: answer it at once if a fresh snapshot is there, else start its workflow. For a target, one for each account.

    The same idempotency key with the same request gives the verification that the first call made.

    Raises:
        AccountNotFoundError: Stripe knows no such account. Nothing was written.
        StripeCredentialsError: Stripe refused the key, so no verification can succeed. Nothing was written.
        IdempotencyConflictError: the key was used with another request.
        TooManyAccountsError: the target has more accounts than one request may verify.
        ClaimLimitExceededError: too many different claims about an account were made within 24 hours.
        And what `linked_accounts.resolve_accounts` raises.
    """

    # Taken before the account is read, so that this reading answers the request.
    now = deps.clock()
    id_ = verification_id(deps.store, new.ref, idempotency_key, now)
    if not isinstance(new.ref, AccountRef):
        return _create_group(deps, new, new.ref, id_, idempotency_key, max_wait=max_wait)
    stored = deps.store.accounts.get(new.ref)
    if stored.state is None:
        try:
            account_sync.apply_reading(deps, new.ref, account_sync.read_account(deps, new.ref, stored), stored)
        except StripeCredentialsError:
            raise
        except (StripeError, RateLimitExceededError):
            pass  # The call to Stripe failed. The workflow repeats it until there is an answer.
        stored = deps.store.accounts.get(new.ref)
    return _accept(deps, new, new.ref, id_, stored, deps.store.claims.digest(new.ref, new.claim), now, max_wait=max_wait)


def _accept(
    deps: Dependencies,
    new: NewVerification,
    ref: AccountRef,
    id_: str,
    stored: StoredAccount,
    claim: DigestedClaim,
    now: float,
    *,
    max_wait: int,
    group: str | None = None,
) -> Verification:
    verification = Verification(
        id=id_,
        ref=ref,
        claim_digest=claim.digest,
        policy=new.policy.as_dict(),
        max_age=new.max_age,
        requested_at=now,
        deadline=now + max_wait,
        request_digest=new.request_digest({"ref": ref.as_dict()}),
        group=group,
        waits_if_inactive=new.waits_if_inactive,
    )
    verification = deps.store.verifications.create(verification, claim)
    if verification.verdict is not None:
        # The caller may repeat the request because the first answer never came, so its announcement is repeated too.
        return complete(deps.store, deps.bus, verification, {}, now=deps.clock())
    if snapshot := refresh_policy.usable_snapshot(stored, verification.need):
        return complete(deps.store, deps.bus, verification, {"outcome": "ready", "snapshot": snapshot}, now=deps.clock())
    deps.workflow.start(verification)
    return verification


def _create_group(
    deps: Dependencies, new: NewVerification, target: AccountSelector, id_: str, key: str | None, *, max_wait: int
) -> GroupResult:
    """Store the members first, each as an ordinary verification, then the group.

    A crash in between leaves no member without a verdict, and the repeated request, which has the same ids, makes the rest.
    """
    request = new.request_digest({"target": [target.kind, target.id, target.mode, target.stripe_account]})
    try:
        found = deps.store.verifications.find(id_)
    except VerificationNotFoundError:
        pass
    else:
        if isinstance(found, Group) and found.request_digest == request:
            known = load_group(deps.store, found)
            if _is_about(deps.store, known, new.claim):
                return known
        raise IdempotencyConflictError(
            "This Idempotency-Key was used before with another request. Send a new key, or the earlier request unchanged."
        )
    from titleholder.services import linked_accounts

    refs = linked_accounts.resolve_accounts(deps, target)
    if len(refs) > MOST_MEMBERS:
        raise TooManyAccountsError(f"More than {MOST_MEMBERS} accounts are linked. Verify them one by one, by `account`.")
    # Check all limits first, so that one account over its limit refuses the request before anything is done for the others.
    claims = [deps.store.claims.digest(ref, new.claim) for ref in refs]
    for claim in claims:
        deps.store.claims.check(claim)
    now = deps.clock()
    if key is not None:
        id_ = _half_made(deps.store, target, key, refs, now) or id_
    members = [
        _accept(
            deps, new, ref, member_id(deps.store, id_, ref, now), deps.store.accounts.get(ref), claim, now, max_wait=max_wait, group=id_
        )
        for ref, claim in zip(refs, claims, strict=True)
    ]
    ids = [member.id for member in members]
    made = Group(id_, target.mode, target.stripe_account, target.kind, target.id, ids, now, request)
    kept = deps.store.verifications.create_group(made)
    return GroupResult(kept, members) if kept is made else load_group(deps.store, kept)


def _is_about(store: Store, result: GroupResult, claim: Sensitive[Mapping[str, Any]]) -> bool:
    """Whether a group was made for this claim. True once all its accounts are erased, because their keys are gone."""
    for member in result.members:
        digest_ = store.claims.digest(member.ref, claim).digest
        if digest_ is not None and member.claim_digest is not None:
            return digest_ == member.claim_digest
    return True


def load_group(store: Store, group: Group) -> GroupResult:
    """A group with its members as they are now."""
    return _joined(group, store.verifications.find_all(group.members))


def get(store: Store, tenant: Tenant, id_: str) -> Verification | GroupResult:
    """A tenant's verification, or group with its members. Raises VerificationNotFoundError, also for another tenant's."""
    found = store.verifications.find(id_)
    whose = found.ref if isinstance(found, Verification) else found
    if not tenant.owns(whose.mode, whose.stripe_account):
        raise VerificationNotFoundError
    return found if isinstance(found, Verification) else load_group(store, found)


def is_done(found: Verification | GroupResult) -> bool:
    return found.done if isinstance(found, GroupResult) else found.verdict is not None


def wait(
    store: Store,
    found: Verification | GroupResult,
    until: float,
    *,
    most: int,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Verification | GroupResult:
    """The verification once it is done, or as it is at time `until`; at once if `most` other calls wait already.

    A call that waits occupies one of the AWS account's concurrent Lambda executions, and so do the functions that it waits for. The
    verification is accepted already, so no error of the wait is raised.
    """
    if is_done(found) or until <= clock():
        return found
    try:
        waiting = store.rate_limits.begin_waiting(until, clock())
        try:
            if waiting > most:
                metrics.add_metric(name="WaitingCallsRefused", unit=MetricUnit.Count, value=1)
                return found
            found = _awaited(store, found, until, clock, sleep)
        finally:
            store.rate_limits.end_waiting(until)
    except Exception as error:
        logger.warning("wait ended", extra={"reason": str(UnexpectedError.of(error))})
    return found


def _awaited(
    store: Store, found: Verification | GroupResult, until: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> Verification | GroupResult:
    pause = 0.2
    while not is_done(found) and (left := until - clock()) > 0:
        sleep(min(pause, left))
        pause = min(1.0, pause * 1.5)
        found = load_group(store, found.group) if isinstance(found, GroupResult) else store.verifications.get(found.id)
    return found


def cancel(deps: Dependencies, tenant: Tenant, id_: str) -> Verification | GroupResult:
    """End a tenant's verification without a result, or all members of a group that have none yet. Repeating this changes nothing.

    The verdict is stored first, so that the workflow finds it until it is stopped, and pays for no refresh.

    Raises:
        VerificationNotFoundError
        VerificationCompletedError: it has another verdict.
    """
    found = get(deps.store, tenant, id_)
    if isinstance(found, Verification):
        return _cancel(deps, found)
    members, cancelled = [], 0
    for member in found.members:
        try:
            members.append(_cancel(deps, member))
            cancelled += 1
        except VerificationCompletedError:
            members.append(deps.store.verifications.get(member.id))
    if not cancelled:
        raise VerificationCompletedError("All accounts already have a verdict, so nothing can be cancelled. Read the verification.")
    return GroupResult(found.group, members)


def _cancel(deps: Dependencies, verification: Verification) -> Verification:
    if verification.verdict is None or is_cancelled(verification):
        verification = complete(deps.store, deps.bus, verification, {"reason": CANCELLED}, now=deps.clock())
    if not is_cancelled(verification):
        raise VerificationCompletedError("The verification already has a verdict and can't be cancelled. Read it.")
    deps.workflow.stop(verification.id)
    deps.store.waiters.remove(verification.ref, verification.id)
    return verification


def is_cancelled(verification: Verification) -> bool:
    return (verification.verdict or {}).get("reasons") == [CANCELLED]


def page(
    store: Store, listing: VerificationListing, outcome: str | None, limit: int, after: str | None
) -> tuple[list[Verification | GroupResult], str | None]:
    """At most `limit` verifications of an account or a holder, the newest first, below position `after`; and the next `after`, if any.

    With `outcome` only those with that outcome. A group has the outcome of its best member.
    """
    shown: list[Verification | GroupResult] = []
    for _ in range(1 if outcome is None else max(1, MOST_LOOKED_AT // limit)):
        ids, positions, after = store.verifications.page(listing, limit, after)
        heads = store.verifications.find_all(ids)
        members = store.verifications.find_all([member for head in heads.values() if isinstance(head, Group) for member in head.members])
        for id_, position in zip(ids, positions, strict=True):
            if (head := heads.get(id_)) is None:
                continue
            one: Verification | GroupResult = head if isinstance(head, Verification) else _joined(head, members)
            if outcome is None or outcome == (one.outcome if isinstance(one, GroupResult) else _outcome(one)):
                shown.append(one)
                if len(shown) == limit:
                    return shown, position if after is not None or position != positions[-1] else None
        if after is None:
            break
    return shown, after


def _joined(group: Group, found: Mapping[str, Verification | Group]) -> GroupResult:
    members = [found.get(id_) for id_ in group.members]
    return GroupResult(group, [member for member in members if isinstance(member, Verification)])


def _outcome(verification: Verification) -> str | None:
    return None if verification.verdict is None else str(verification.verdict["outcome"])


def _rank(verification: Verification) -> tuple[int, float]:
    verdict = verification.verdict or {}
    return OUTCOMES.index(verdict["outcome"]), verdict.get("score") or 0.0


def verification_id(
    store: Store, of: AccountRef | AccountSelector, idempotency_key: str | None, now: float, known_seconds: float = KEYS_KNOWN_SECONDS
) -> str:
    """A new id. With the same key it is the same, so that a repeated request finds the first one's verification."""
    if idempotency_key is None:
        return f"ver_{uuid.uuid4().hex}"
    return _derived(store, _named(of, idempotency_key), now, known_seconds)


def member_id(store: Store, group: str, ref: AccountRef, now: float) -> str:
    """The id of an account's verification in a group."""
    return _derived(store, f"{group}/{ref.key}", now, KEYS_KNOWN_SECONDS)


def _named(of: AccountRef | AccountSelector, key: str) -> str:
    return f"{of.mode}/{of.stripe_account or 'platform'}/{key}"


def _derived(store: Store, name: str, now: float, known_seconds: float) -> str:
    """The id for a name. Only the stack's secret can derive it, so a caller who guesses a name does not learn its id.

    For `known_seconds` after the secret was made, an item that an earlier release stored under the name's digest keeps that id.
    """
    secret = store.verifications.id_secret()
    if now < secret.made_at + known_seconds and store.verifications.find_all([_before_secrets(name)]):
        return _before_secrets(name)
    return f"ver_{hmac.digest(secret.value, name.encode(), 'sha256').hex()[:32]}"


def _before_secrets(name: str) -> str:
    """The id that an earlier release derived from a name, without a secret."""
    return f"ver_{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _half_made(store: Store, target: AccountSelector, key: str, refs: Sequence[AccountRef], now: float) -> str | None:
    """The id of a group of which an earlier release stored some members, and crashed before it stored the group."""
    group = _before_secrets(_named(target, key))
    if now >= store.verifications.id_secret().made_at + KEYS_KNOWN_SECONDS:
        return None
    return group if store.verifications.find_all([_before_secrets(f"{group}/{ref.key}") for ref in refs]) else None


def digest(data: Mapping[str, Any]) -> str:
    """A digest of JSON data that does not depend on the order of its keys."""
    return hashlib.sha256(json.dumps(dict(data), sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
