"""HTTP routes for verifications, accounts and owners."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from typing import Annotated, Any, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path, Query
from aws_lambda_powertools.metrics import MetricUnit

from titleholder.bootstrap import application, prepare
from titleholder.domain import remedies
from titleholder.domain.accounts import HOLDERS, AccountRef, AccountSelector, HolderKind, StoredAccount, Tenant
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.verifications import Verification
from titleholder.errors import AccountErasedError, ClaimLimitExceededError, SnapshotNotFoundError, TooManyOwnersError
from titleholder.observability import logger, metrics, observed
from titleholder.schemas import AccountId
from titleholder.services import account_sync, repairs, verifications
from titleholder.services.audit import By
from titleholder.services.verifications import GroupResult
from titleholder.store.verifications import VerificationListing
from titleholder.timestamps import iso_or_none, iso_seconds
from titleholder.web import cursors, models, resolver, timeline_models

DEFAULT_LIMIT = 20

app = resolver.resolver()


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request."""
    return resolver.handle(app, event, context)


@app.post("/verifications")
@resolver.openapi_responses(
    {200: models.AnyVerification, 202: models.AnyVerification},
    "account-not-found", "session-not-found", "payment-method-not-found", "customer-not-found", "no-linked-account", "too-many-accounts",
    "idempotency-conflict", "claim-limit-exceeded", asks_stripe=True,
)  # fmt: skip
def create_verification(
    body: Annotated[models.NewVerification, Body()],
    idempotency_key: Annotated[models.IdempotencyKey | None, Header(alias="Idempotency-Key")] = None,
) -> Response[Any]:
    """Start a verification.

    Answers 202 with it, or 200 if it already has its verdict. With `wait`, 200 if it gets one within that many seconds; if too many other
    requests wait already, 202 at once.
    """
    policy = resolver.policy(body.policy)
    deps, began = application().dependencies(), application().clock()
    new = verifications.NewVerification(
        ref=_target(body),
        claim=Sensitive(body.claim.as_dict()),
        policy=policy,
        max_age=verifications.DEFAULT_MAX_AGE_SECONDS if body.max_age is None else body.max_age,
        waits_if_inactive=body.if_inactive == "wait",
    )
    try:
        with application().audit.effect(_caller(), "verification.requested", **_named(new.ref)) as entry:
            created = verifications.create(deps, new, max_wait=application().settings.max_wait_seconds, idempotency_key=idempotency_key)
            accounts = created.members if isinstance(created, GroupResult) else [created]
            entry.note(verification=created.id, **_members(created))
    except ClaimLimitExceededError:
        metrics.add_metric(name="ClaimLimitExceeded", unit=MetricUnit.Count, value=1)
        raise
    for one in accounts:
        logger.info("verification accepted", extra={"verification": one.id, "account": one.ref.account})
    metrics.add_metric(name="VerificationAccepted", unit=MetricUnit.Count, value=len(accounts))
    created = verifications.wait(
        deps.store, created, began + body.wait, most=application().settings.waiting_calls, clock=deps.clock, sleep=application().sleep
    )
    return resolver.json_response(200 if verifications.is_done(created) else 202, _shown(created))


@app.get("/verifications")
@resolver.openapi_responses({200: models.VerificationList}, "invalid-cursor")
def list_verifications(
    account: Annotated[AccountId | None, Query()] = None,
    customer: Annotated[models.CustomerId | None, Query()] = None,
    customer_account: Annotated[models.StripeAccountId | None, Query()] = None,
    connected_account: Annotated[models.StripeAccountId | None, Query()] = None,
    verdict: Annotated[models.Outcome | None, Query()] = None,
    limit: Annotated[models.Limit, Query()] = DEFAULT_LIMIT,
    cursor: Annotated[models.Cursor | None, Query()] = None,
) -> Response[Any]:
    """List the verifications of an account, or of a customer, customer account or connected account, the newest first.

    With `customer`: those that were requested by `customer`, and likewise for the other two.
    """
    tenant = _tenant()
    kind, id_ = resolver.the_one(
        {"account": account, "customer": customer, "customer_account": customer_account, "connected_account": connected_account}
    )
    resolver.check_connected_account(connected_account, tenant)
    if kind == "account":
        listing = VerificationListing.account(tenant.ref(id_))
    else:
        listing = VerificationListing.holder(kind, id_, tenant.mode, tenant.stripe_account)
    query = {"list": "verifications", "of": listing.pk, "verdict": verdict}
    after = None if cursor is None else cursors.decode(query, cursor)
    found, position = verifications.page(application().store, listing, verdict, limit, after)
    following = None if position is None else cursors.encode(query, position)
    about = {**tenant.as_dict(), kind: id_, "verifications": " ".join(one.id for one in found)}
    application().audit.read(_caller(), "verifications.listed", **about)
    return resolver.json_response(200, models.VerificationList(verifications=[_shown(one) for one in found], next_cursor=following))


@app.get("/verifications/<verification>")
@resolver.openapi_responses({200: models.AnyVerification}, "verification-not-found")
def get_verification(
    verification: Annotated[models.VerificationId, Path()],
    timeline: Annotated[bool, Query(description="With what happened to it and when; of one account only.")] = False,
) -> Response[Any]:
    """Read a verification, with its verdict once it has ended.

    For several accounts: the verification of each, and a summary.
    """
    found = verifications.get(application().store, _tenant(), verification)
    about = found.ref.as_dict() if isinstance(found, Verification) else _tenant().as_dict()
    shown = _shown(found)
    if timeline and isinstance(found, Verification) and isinstance(shown.root, models.Verification):
        shown.root.timeline = _timeline(found)
    application().audit.read(_caller(), "verification.read", **about, verification=verification)
    return resolver.json_response(200, shown)


@app.delete("/verifications/<verification>")
@resolver.openapi_responses({200: models.AnyVerification}, "verification-not-found", "verification-completed")
def cancel_verification(verification: Annotated[models.VerificationId, Path()]) -> Response[Any]:
    """Cancel a verification.

    It ends as `not_verifiable`, reason `CANCELLED`. Answers 409 if it has another verdict.
    """
    tenant = _tenant()
    with application().audit.effect(_caller(), "verification.cancelled", **_tenant().as_dict(), verification=verification) as entry:
        cancelled = verifications.cancel(application().dependencies(), tenant, verification)
        entry.note(**({"account": cancelled.ref.account} if isinstance(cancelled, Verification) else _members(cancelled)))
    for one in cancelled.members if isinstance(cancelled, GroupResult) else [cancelled]:
        if verifications.is_cancelled(one):
            logger.info("verification cancelled", extra={"verification": one.id})
    return resolver.json_response(200, _shown(cancelled))


@app.get("/accounts/<account>")
@resolver.openapi_responses({200: models.Account}, "account-not-found", asks_stripe=True)
def get_account(account: Annotated[AccountId, Path()]) -> Response[Any]:
    """Read the account as Stripe has it now.

    The answer also names the newest stored snapshot of its owners, and what would repair the account.
    """
    ref, deps = _ref(account), application().dependencies()
    observed_at, known = deps.clock(), deps.store.accounts.get(ref)
    reading = account_sync.read_account(deps, ref, known)
    state, remedy = reading.current, remedies.for_account(reading.current)
    try:
        account_sync.settle_staleness(deps, ref, reading, known)
    except Exception as error:
        logger.warning("staleness left to reconcile", extra={"account": account, "error": type(error).__name__})
    try:
        account_sync.resume_repaired(deps, ref, state)
    except Exception as error:
        logger.warning("repair left to reconcile", extra={"account": account, "error": type(error).__name__})
    refresh = models.RefreshState.of(state)
    shown = models.Account(
        account=account,
        stripe_account=ref.stripe_account,
        livemode=state.livemode,
        status=state.status,
        permissions=None if state.permissions is None else list(state.permissions),
        supported_payment_method_types=list(reading.payment.methods),
        account_holder=models.AccountHolder.of(state),
        account_numbers=models.AccountNumber.all_of(reading.payment),
        ownership_refresh=refresh,
        next_refresh_available_at=refresh.next_refresh_available_at if refresh else None,
        snapshot=known.snapshot,
        snapshot_refreshed_at=iso_or_none(known.snapshot_attempted_at),
        status_details=models.StatusDetails.of(state),
        remedy=None if remedy is None else remedy.action,
        observed_at=iso_seconds(observed_at),
    )
    application().audit.read(_caller(), "account.read", ref, snapshot=known.snapshot)
    return resolver.json_response(200, shown)


NO_OWNERS = (
    "No owners of this account are stored. Verify the account, or request a refresh, then try again. If these answer `account-not-found`, "
    "Stripe knows no such account: check the id and the Stripe-Account header."
)


@app.get("/accounts/<account>/owners")
@resolver.openapi_responses({200: models.OwnerList}, "snapshot-not-found", "too-many-owners", "account-erased", "decryption-failed")
def get_owners(account: Annotated[AccountId, Path()], snapshot: Annotated[models.SnapshotId | None, Query()] = None) -> Response[Any]:
    """Read the owners in the newest snapshot, or in the one that `snapshot` names.

    The answer is personal data: each call is recorded, and no cache may keep the answer.
    """
    ref, store = _ref(account), application().store
    wanted = snapshot or _held(ref).snapshot
    if wanted is None:
        raise SnapshotNotFoundError(NO_OWNERS)
    found = store.snapshots.get(ref, wanted)
    if found.too_many is not None:
        raise TooManyOwnersError(found.too_many)
    application().audit.read(_caller(), "owners.read", ref, snapshot=found.id)
    metrics.add_metric(name="OwnersRead", unit=MetricUnit.Count, value=1)
    owners = [models.Owner(**{name: owner.get(name) for name in models.Owner.model_fields}) for owner in found.owners.reveal()]
    shown = models.OwnerList(
        account=account, snapshot=found.id, refreshed_at=iso_seconds(found.attempted_at), age=_age(found.attempted_at), owners=owners
    )
    return resolver.json_response(200, shown, stored=False)


@app.get("/accounts/<account>/snapshots")
@resolver.openapi_responses({200: models.SnapshotList}, "invalid-cursor", "account-erased")
def list_snapshots(
    account: Annotated[AccountId, Path()],
    limit: Annotated[models.Limit, Query()] = DEFAULT_LIMIT,
    cursor: Annotated[models.Cursor | None, Query()] = None,
) -> Response[Any]:
    """List the account's snapshots, the newest first, with the changes from one to the next.

    Changes are kinds and positions of owners, without personal data.
    """
    ref = _ref(account)
    _held(ref)
    query = {"list": "snapshots", "ref": ref.key}
    found, position = application().store.snapshots.page(ref, limit, None if cursor is None else cursors.decode(query, cursor))
    snapshots = [
        models.Snapshot(
            snapshot=past.id,
            refreshed_at=iso_seconds(past.attempted_at),
            age=_age(past.attempted_at),
            owner_count=past.owner_count,
            too_many_owners=past.too_many_owners,
            since=past.since,
            changes=None if past.changes is None else [models.OwnerChange(**change) for change in past.changes],
        )
        for past in found
    ]
    following = None if position is None else cursors.encode(query, position)
    application().audit.read(_caller(), "snapshots.listed", ref, snapshots=" ".join(past.id for past in found))
    return resolver.json_response(200, models.SnapshotList(account=account, snapshots=snapshots, next_cursor=following))


def _caller() -> By:
    return By.caller(app.current_event.raw_event)


def _named(target: AccountRef | AccountSelector) -> dict[str, str | None]:
    """The ids in a request for a verification, for its audit entries."""
    if isinstance(target, AccountRef):
        return dict(target.as_dict())
    return {**_tenant().as_dict(), target.kind: target.id}


def _members(created: Verification | GroupResult) -> dict[str, str]:
    """The ids of a group's verifications and of their accounts, in the same order; empty for a single verification."""
    if isinstance(created, Verification):
        return {}
    members = created.members
    return {"verifications": " ".join(one.id for one in members), "accounts": " ".join(one.ref.account for one in members)}


def _held(ref: AccountRef) -> StoredAccount:
    """The stored record of an account. Raises AccountErasedError."""
    known = application().store.accounts.get(ref)
    if known.erased_at is not None:
        raise AccountErasedError
    return known


def _ref(account: str) -> AccountRef:
    return _tenant().ref(account)


def _tenant() -> Tenant:
    return resolver.tenant(app.current_event, application().settings)


def _target(body: models.NewVerification) -> AccountRef | AccountSelector:
    if body.account is not None:
        return _ref(body.account)
    tenant = _tenant()
    resolver.check_connected_account(body.connected_account, tenant)
    kinds: tuple[Literal["payment_method", "session"] | HolderKind, ...] = ("payment_method", "session", *HOLDERS)
    for kind in kinds:
        if (id_ := getattr(body, kind)) is not None:
            return AccountSelector(kind, id_, tenant.mode, tenant.stripe_account)
    raise AssertionError("the model requires a target")


def _shown(found: Verification | GroupResult) -> models.AnyVerification:
    if isinstance(found, Verification):
        return models.AnyVerification(_verification(found))
    group, summary = found.group, found.summary
    best = None
    if summary.best is not None:
        best = models.BestGroupMember.model_validate(_member(summary.best).model_dump())
    shown = models.GroupVerification(
        id=group.id,
        **{group.kind: group.target},
        stripe_account=group.stripe_account,
        state="completed" if found.done else "waiting",
        requested_at=iso_seconds(group.requested_at),
        members=[_member(member) for member in found.members],
        summary=models.GroupSummary(
            any=summary.any,
            all=summary.all,
            best=best,
            final=models.GroupFinalSummary(any=summary.final.any, all=summary.final.all),
            stale=summary.stale,
        ),
    )
    return models.AnyVerification(shown)


def _member(member: Verification) -> models.GroupMember:
    return models.GroupMember(
        account=member.ref.account,
        verification=member.id,
        state="completed" if member.verdict else "waiting",
        outcome=member.verdict["outcome"] if member.verdict else None,
        review=member.review,
        final=models.FinalAnswer.of(member),
        stale=member.stale,
        **({name: verdict.get(name) for name in ("remedy", "remedy_until")} if (verdict := _verdict(member)) else _awaited(member)),
    )


def _verification(found: Verification) -> models.Verification:
    return models.Verification.of(found, relink=_relink(), repair=_repair(found))


def _timeline(found: Verification) -> timeline_models.Timeline:
    from titleholder.services import timelines  # Few requests ask for a timeline.

    return timeline_models.Timeline.of(timelines.of(application().store, found, application().clock()))


def _verdict(found: Verification) -> dict[str, Any] | None:
    """The verdict with its remedy."""
    return None if found.verdict is None else remedies.shown(found.verdict, relink=_relink())


def _awaited(found: Verification) -> dict[str, Any]:
    """The repair that a verification waits for, for its answer."""
    repair = _repair(found)
    return {} if repair is None else {"waiting_for": "repair", **repair.as_dict()}


def _repair(found: Verification) -> remedies.Remedy | None:
    return repairs.awaited_repair(application().store, found, application().clock())


def _relink() -> bool:
    return application().settings.stripe_preview_version is not None


def _age(seconds: float) -> int:
    # Stripe's clock may be ahead of ours.
    return max(0, round(application().clock() - seconds))


prepare(lambda made: (made.dependencies(), made.cipher, made.store.load()))
