"""HTTP routes for linking accounts and listing linked ones."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, cast

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path, Query
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BaseModel

from titleholder.aws.idempotency import Request
from titleholder.bootstrap import application, prepare
from titleholder.domain import remedies
from titleholder.domain.accounts import HOLDERS, AccountHolder, AccountSelector, AccountState, PaymentSupport, Tenant
from titleholder.observability import logger, metrics, observed
from titleholder.services import linked_accounts, linking, relinking
from titleholder.services.audit import By
from titleholder.stripe_api import linking as stripe_linking
from titleholder.web import cursors, resolver
from titleholder.web import linking_models as models
from titleholder.web.models import AccountHolder as ShownHolder
from titleholder.web.models import (
    AccountNumber,
    Cursor,
    CustomerId,
    IdempotencyKey,
    Limit,
    LinkingSessionId,
    RefreshState,
    SessionId,
    StatusDetails,
    StripeAccountId,
)

app = resolver.resolver()

DEFAULT_PAGE = 20

# Fields that only some kinds of session accept.
_TAKEN_BY: dict[str, tuple[str, ...]] = {
    "connected_account": ("financial_connections",),
    "limits": ("financial_connections",),
    "relink": ("financial_connections",),
    "filters": ("financial_connections", "setup_intent", "payment_intent"),
    "filters.country": ("financial_connections",),
    "filters.require_payment_method_support": ("financial_connections",),
    "amount": ("payment_intent", "checkout_session"),
    "currency": ("payment_intent", "checkout_session"),
    "description": ("checkout_session",),
}

# Fields that say which accounts may be linked. They contradict `relink`, which names one account.
_NOT_WITH_RELINK = ("filters", "limits", "manual_entry")


@observed
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one HTTP request."""
    return resolver.handle(app, event, context)


@app.post("/customers")
@resolver.openapi_responses({201: models.Customer}, "idempotency-conflict", "idempotency-in-progress", asks_stripe=True)
def create_customer(
    body: Annotated[models.NewCustomer, Body()],
    idempotency_key: Annotated[IdempotencyKey | None, Header(alias="Idempotency-Key")] = None,
) -> Response[Any]:
    """Create a Stripe Customer.

    Sessions for linking accounts take a customer. It may also be one that you created at Stripe.
    """
    stripe_account = _tenant().stripe_account

    def effect(key: str | None) -> dict[str, str]:
        stripe = application().dependencies().stripe
        return {"id": linking.create_customer(stripe, body.email, body.phone, stripe_account, key)}

    with application().audit.effect(_caller(), "customer.created", **_tenant().as_dict()) as entry:
        ids = application().idempotency.once(_request("POST /customers", idempotency_key, body), effect, app.lambda_context)
        entry.note(customer=ids["id"])
    logger.info("customer created", extra={"customer": ids["id"]})
    return resolver.json_response(201, models.Customer(id=ids["id"], stripe_account=stripe_account, livemode=_livemode()))


@app.post("/sessions")
@resolver.openapi_responses(
    {201: models.Session},
    "customer-not-found",
    "us-bank-account-unavailable",
    "account-not-found",
    "account-erased",
    "relink-not-available",
    "idempotency-conflict",
    "idempotency-in-progress",
    asks_stripe=True,
)
def create_session(
    body: Annotated[models.NewSession, Body()],
    idempotency_key: Annotated[IdempotencyKey | None, Header(alias="Idempotency-Key")] = None,
) -> Response[Any]:
    """Create a session for linking accounts, or with `relink` for repairing one that was linked before.

    Answers 201 with what the front end needs.
    """
    if body.relink is not None:
        return _create_relink_session(body, body.relink.account, idempotency_key)
    new = _new_session(body)
    stripe, stripe_account = application().dependencies().stripe, _tenant().stripe_account
    made: dict[str, Any] = {}

    def effect(key: str | None) -> dict[str, str]:
        made.update(linking.create(stripe, new, stripe_account, key))
        return {"id": made["id"]}

    holder = {name: getattr(new, name) for name in HOLDERS}
    with application().audit.effect(_caller(), "session.created", via=new.via, **holder, **_tenant().as_dict()) as entry:
        ids = application().idempotency.once(_request("POST /sessions", idempotency_key, body), effect, app.lambda_context)
        entry.note(session=ids["id"])
        # For a repeated request the session is read from Stripe, because its client secret is not stored here.
        session = made or stripe_linking.session(stripe, new.via, ids["id"], stripe_account)
    logger.info("session created", extra={"session": ids["id"], "via": new.via})
    metrics.add_metric(name="SessionCreated", unit=MetricUnit.Count, value=1)
    hosted = new.via == "checkout_session"
    shown = models.Session(
        id=ids["id"],
        via=new.via,
        **holder,
        stripe_account=stripe_account,
        livemode=_livemode(),
        permissions=new.asked,
        client_secret=None if hosted else session.get("client_secret"),
        url=session.get("url") if hosted else None,
        next=new.step.next,
        instructions=new.step.instructions,
    )
    return resolver.json_response(201, shown)


def _create_relink_session(body: models.NewSession, account: str, idempotency_key: str | None) -> Response[Any]:
    _check_taken(body)
    for name in _NOT_WITH_RELINK:
        if getattr(body, name) is not None:
            raise resolver.InvalidFieldError(name, "not taken with relink")
    resolver.check_connected_account(body.connected_account, _tenant())
    deps, tenant = application().dependencies(), _tenant()
    made: dict[str, Any] = {}

    def effect(key: str | None) -> dict[str, str]:
        target = relinking.find(deps, tenant, account)
        for name in HOLDERS:
            named = getattr(body, name)
            if named is not None and (target.holder is None or (target.holder.name, target.holder.id) != (name, named)):
                raise resolver.InvalidFieldError(name, "not the holder of the account that is to be relinked")
        permissions = body.permissions or ()
        _check_prefetch(body, target.asked(permissions))
        prefetch = list(dict.fromkeys(body.prefetch or ()))
        made.update(relinking.create(deps, tenant, target, permissions=permissions, prefetch=prefetch, return_url=body.return_url, key=key))
        return {"id": made["id"]}

    with application().audit.effect(_caller(), "session.created", via=body.via, relink=account, **tenant.as_dict()) as entry:
        ids = application().idempotency.once(_request("POST /sessions", idempotency_key, body), effect, app.lambda_context)
        entry.note(session=ids["id"])
        session = made or stripe_linking.session(deps.stripe, body.via, ids["id"], tenant.stripe_account)
        held_by = AccountHolder.from_stripe(session.get("account_holder"))
        holder = {} if held_by is None else {held_by.name: held_by.id}
        entry.note(**holder)
    logger.info("session created", extra={"session": ids["id"], "via": body.via, "relink": account})
    metrics.add_metric(name="SessionCreated", unit=MetricUnit.Count, value=1)
    found, step = relinking.result(session), linking.RELINK_STEP
    shown = models.Session(
        id=ids["id"],
        via=body.via,
        **holder,
        stripe_account=tenant.stripe_account,
        livemode=_livemode(),
        permissions=session["permissions"],
        relink=models.RelinkedAccount(account=account, authorization=None if found is None else found.authorization),
        client_secret=session.get("client_secret"),
        next=step.next,
        instructions=step.instructions,
    )
    return resolver.json_response(201, shown)


@app.get("/sessions/<session>")
@resolver.openapi_responses(
    {200: models.CollectedAccounts}, "session-not-found", "payment-method-not-found", "account-not-found", asks_stripe=True
)
def get_session(session: Annotated[SessionId, Path()]) -> Response[Any]:
    """Read the accounts that a session, an intent or a payment method collected.

    If there are none, `empty_reason` says why.
    """
    stripe_account = _tenant().stripe_account
    found = linked_accounts.collect(application().dependencies().stripe, session, stripe_account)
    shown = models.CollectedAccounts(
        session=session,
        source=found.source,
        stripe_account=stripe_account,
        livemode=_livemode(),
        status=found.status,
        payment_method=found.payment_method,
        manually_entered=found.manually_entered,
        empty_reason=found.empty_reason,
        bank_account_token=found.bank_account_token,
        accounts=[_account(account) for account in found.accounts],
        relink=None if found.relink is None else models.RelinkResult(**asdict(found.relink)),
    )
    application().audit.read(_caller(), "session.read", session=session, accounts=_ids(found.accounts), **_tenant().as_dict())
    return resolver.json_response(200, shown)


@app.get("/accounts")
@resolver.openapi_responses({200: models.AccountList}, "customer-not-found", "session-not-found", "invalid-cursor", asks_stripe=True)
def list_accounts(
    customer: Annotated[CustomerId | None, Query()] = None,
    customer_account: Annotated[StripeAccountId | None, Query()] = None,
    connected_account: Annotated[StripeAccountId | None, Query()] = None,
    session: Annotated[LinkingSessionId | None, Query()] = None,
    limit: Annotated[Limit, Query()] = DEFAULT_PAGE,
    cursor: Annotated[Cursor | None, Query()] = None,
) -> Response[Any]:
    """List the linked accounts of a customer, a customer account or a connected account, the newest first.

    With `session`: those that a Financial Connections Session linked.
    """
    tenant = _tenant()
    named = {"customer": customer, "customer_account": customer_account, "connected_account": connected_account, "session": session}
    kind, id_ = resolver.the_one(named)
    resolver.check_connected_account(connected_account, tenant)
    query = {"list": "accounts", "mode": tenant.mode, "stripe_account": tenant.stripe_account, kind: id_}
    after = None if cursor is None else cursors.decode(query, cursor)
    of = AccountSelector(cast(Any, kind), id_, tenant.mode, tenant.stripe_account)
    page, more = linked_accounts.list_accounts(application().dependencies().stripe, of, limit=limit, after=after)
    shown = models.AccountList(
        **named,
        stripe_account=tenant.stripe_account,
        livemode=_livemode(),
        accounts=[_account(account) for account in page],
        next_cursor=cursors.encode(query, page[-1]["id"]) if more and page else None,
    )
    application().audit.read(_caller(), "accounts.listed", **named, accounts=_ids(page), **tenant.as_dict())
    return resolver.json_response(200, shown)


def _new_session(body: models.NewSession) -> linking.NewSession:
    """Refuse fields that Stripe would refuse or ignore for this kind of session."""
    given = _check_taken(body)
    holders = [name for name in HOLDERS if getattr(body, name) is not None]
    if not holders:
        raise resolver.InvalidFieldError("customer", "required, but missing: the holder of the accounts to link")
    if len(holders) > 1:
        raise resolver.InvalidFieldError(holders[1], f"not taken together with {holders[0]}")
    if body.via == "payment_intent" and body.amount is None:
        raise resolver.InvalidFieldError("amount", "required, but missing: the amount of the payment")
    if body.via == "checkout_session" and body.return_url is None:
        raise resolver.InvalidFieldError("return_url", "required, but missing: Checkout redirects the browser to it")
    if body.via == "checkout_session" and not (body.return_url or "").startswith(("https://", "http://")):
        raise resolver.InvalidFieldError("return_url", "not a web address")
    if body.amount is None and body.via == "checkout_session":
        for name in sorted(given & {"currency", "description"}):
            raise resolver.InvalidFieldError(name, "not taken without amount")
    resolver.check_connected_account(body.connected_account, _tenant())
    new = linking.NewSession(
        via=body.via,
        customer=body.customer,
        customer_account=body.customer_account,
        connected_account=body.connected_account,
        permissions=tuple(body.permissions or ()),
        prefetch=tuple(dict.fromkeys(body.prefetch or ())),
        filters={} if body.filters is None else body.filters.model_dump(exclude_none=True),
        max_accounts=None if body.limits is None else body.limits.accounts,
        manual_entry=None if body.manual_entry is None else body.manual_entry.mode,
        return_url=body.return_url,
        amount=body.amount,
        description=body.description,
    )
    _check_prefetch(body, new.asked)
    subcategories = new.filters.get("account_subcategories", ())
    for index, subcategory in enumerate(subcategories):
        if body.via != "financial_connections" and subcategory not in linking.PAYING_SUBCATEGORIES:
            raise resolver.InvalidFieldError(f"filters.account_subcategories.{index}", f"not taken with via {body.via}")
    if subcategories and new.payment_method_support != "none" and not set(subcategories) & set(linking.PAYING_SUBCATEGORIES):
        support = f"require_payment_method_support is {new.payment_method_support}"
        raise resolver.InvalidFieldError("filters.account_subcategories", f"no such account supports payments, and {support}")
    return new


def _check_taken(body: models.NewSession) -> set[str]:
    """Refuse fields that this kind of session does not accept. Returns those that are given."""
    given = {name for name in body.model_fields_set if getattr(body, name) is not None}
    if body.filters is not None:
        given |= {f"filters.{name}" for name in body.filters.model_fields_set if getattr(body.filters, name) is not None}
    for name in sorted(given):
        if body.via not in _TAKEN_BY.get(name, (body.via,)):
            raise resolver.InvalidFieldError(name, f"not taken with via {body.via}")
    return given


def _check_prefetch(body: models.NewSession, permissions: Sequence[str]) -> None:
    for index, feature in enumerate(body.prefetch or ()):
        if feature not in permissions:
            raise resolver.InvalidFieldError(f"prefetch.{index}", f"needs {feature} among the permissions")


def _request(route: str, key: str | None, body: BaseModel) -> Request:
    return Request(
        route=route,
        mode=application().settings.mode,
        stripe_account=_tenant().stripe_account,
        key=key,
        body=body.model_dump(exclude_none=True),
    )


def _caller() -> By:
    return By.caller(app.current_event.raw_event)


def _ids(accounts: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(account["id"] for account in accounts)


def _tenant() -> Tenant:
    return resolver.tenant(app.current_event, application().settings)


def _livemode() -> bool:
    return application().settings.mode == "live"


def _account(account: dict[str, Any]) -> models.LinkedAccount:
    state, payment = AccountState.from_stripe(account), PaymentSupport.from_stripe(account)
    remedy = remedies.for_account(state)
    return models.LinkedAccount(
        account=account["id"],
        status=state.status,
        status_details=StatusDetails.of(state),
        remedy=None if remedy is None else remedy.action,
        institution_name=account.get("institution_name"),
        display_name=account.get("display_name"),
        last4=account.get("last4"),
        category=account.get("category"),
        subcategory=account.get("subcategory"),
        permissions=None if state.permissions is None else list(state.permissions),
        supported_payment_method_types=list(payment.methods),
        account_holder=ShownHolder.of(state),
        account_numbers=AccountNumber.all_of(payment),
        ownership_refresh=RefreshState.of(state),
    )


prepare(lambda made: (made.dependencies(), made.idempotency, made.store.load()))
