"""HTTP routes for linking accounts and listing linked ones."""

from __future__ import annotations

import titleholder.cold_start  # noqa: F401

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Header, Path, Query
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BaseModel

from titleholder.aws.idempotency import Request
from titleholder.bootstrap import application, prepare
from titleholder.domain.accounts import AccountState, Tenant
from titleholder.observability import logger, metrics, observed
from titleholder.services import linked_accounts, linking
from titleholder.services.audit import By
from titleholder.stripe_api import linking as stripe_linking
from titleholder.timestamps import iso_or_none, iso_seconds
from titleholder.web import cursors, resolver
from titleholder.web import linking_models as models
from titleholder.web.models import Cursor, CustomerId, IdempotencyKey, Limit, RefreshState, SessionId

app = resolver.resolver()

DEFAULT_PAGE = 20

# Fields that only some kinds of session take.
_TAKEN_BY: dict[str, tuple[str, ...]] = {
    "connected_account": ("financial_connections",),
    "limits": ("financial_connections",),
    "filters": ("financial_connections", "setup_intent", "payment_intent"),
    "filters.country": ("financial_connections",),
    "filters.require_payment_method_support": ("financial_connections",),
    "amount": ("payment_intent", "checkout_session"),
    "currency": ("payment_intent", "checkout_session"),
    "description": ("checkout_session",),
}
_PAYING_ACCOUNTS = ("checking", "savings")


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
    """Create a Stripe Customer."""
    stripe_account = _tenant().stripe_account

    def effect(key: str | None) -> dict[str, str]:
        return {"id": linking.create_customer(application().dependencies().stripe, body.email, stripe_account, key)}

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
    "idempotency-conflict",
    "idempotency-in-progress",
    asks_stripe=True,
)
def create_session(
    body: Annotated[models.NewSession, Body()],
    idempotency_key: Annotated[IdempotencyKey | None, Header(alias="Idempotency-Key")] = None,
) -> Response[Any]:
    """Create a session for linking accounts.

    Answers 201 with what the front end needs.
    """
    new = _new_session(body)
    stripe, stripe_account = application().dependencies().stripe, _tenant().stripe_account
    made: dict[str, Any] = {}

    def effect(key: str | None) -> dict[str, str]:
        made.update(linking.create(stripe, new, stripe_account, key))
        return {"id": made["id"]}

    with application().audit.effect(_caller(), "session.created", customer=new.customer, via=new.via, **_tenant().as_dict()) as entry:
        ids = application().idempotency.once(_request("POST /sessions", idempotency_key, body), effect, app.lambda_context)
        entry.note(session=ids["id"])
        # A repeated request is answered from Stripe, because no secret is stored here.
        session = made or stripe_linking.session(stripe, new.via, ids["id"], stripe_account)
    logger.info("session created", extra={"session": ids["id"], "via": new.via})
    metrics.add_metric(name="SessionCreated", unit=MetricUnit.Count, value=1)
    step = linking.STEPS[new.via]
    hosted = new.via == "checkout_session"
    shown = models.Session(
        id=ids["id"],
        via=new.via,
        customer=new.customer,
        connected_account=new.connected_account,
        stripe_account=stripe_account,
        livemode=_livemode(),
        permissions=new.asked,
        client_secret=None if hosted else session.get("client_secret"),
        url=session.get("url") if hosted else None,
        next=step.next,
        instructions=step.instructions,
    )
    return resolver.json_response(201, shown)


@app.get("/sessions/<session>")
@resolver.openapi_responses(
    {200: models.CollectedAccounts}, "session-not-found", "payment-method-not-found", "account-not-found", asks_stripe=True
)
def get_session(session: Annotated[SessionId, Path()]) -> Response[Any]:
    """Read the accounts that a session, an intent or a payment method collected."""
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
        accounts=[_account(account) for account in found.accounts],
    )
    application().audit.read(_caller(), "session.read", session=session, accounts=_ids(found.accounts), **_tenant().as_dict())
    return resolver.json_response(200, shown)


@app.get("/accounts")
@resolver.openapi_responses({200: models.AccountList}, "customer-not-found", "invalid-cursor", asks_stripe=True)
def list_accounts(
    customer: Annotated[CustomerId, Query()],
    limit: Annotated[Limit, Query()] = DEFAULT_PAGE,
    cursor: Annotated[Cursor | None, Query()] = None,
) -> Response[Any]:
    """List the accounts that a customer has linked, the newest first."""
    stripe_account = _tenant().stripe_account
    query = {"list": "accounts", "mode": application().settings.mode, "stripe_account": stripe_account, "customer": customer}
    after = None if cursor is None else cursors.decode(query, cursor)
    page, more = linked_accounts.list_customer_accounts(
        application().dependencies().stripe, customer, stripe_account, limit=limit, after=after
    )
    shown = models.AccountList(
        customer=customer,
        stripe_account=stripe_account,
        livemode=_livemode(),
        accounts=[_account(account) for account in page],
        next_cursor=cursors.encode(query, page[-1]["id"]) if more and page else None,
    )
    application().audit.read(_caller(), "accounts.listed", customer=customer, accounts=_ids(page), **_tenant().as_dict())
    return resolver.json_response(200, shown)


def _new_session(body: models.NewSession) -> linking.NewSession:
    """Refuse fields that Stripe would refuse or ignore for this kind of session."""
    given = {name for name in body.model_fields_set if getattr(body, name) is not None}
    if body.filters is not None:
        given |= {f"filters.{name}" for name in body.filters.model_fields_set if getattr(body.filters, name) is not None}
    for name in sorted(given):
        if body.via not in _TAKEN_BY.get(name, (body.via,)):
            raise resolver.InvalidFieldError(name, f"not taken with via {body.via}")
    if body.customer is None and body.connected_account is None:
        raise resolver.InvalidFieldError("customer", "missing: whose accounts are to be linked?")
    if body.customer is not None and body.connected_account is not None:
        raise resolver.InvalidFieldError("connected_account", "not taken together with customer")
    if body.via == "payment_intent" and body.amount is None:
        raise resolver.InvalidFieldError("amount", "missing: a payment needs one")
    if body.via == "checkout_session" and body.return_url is None:
        raise resolver.InvalidFieldError("return_url", "missing: Checkout has to send the browser somewhere when done")
    if body.via == "checkout_session" and not (body.return_url or "").startswith(("https://", "http://")):
        raise resolver.InvalidFieldError("return_url", "not a web address")
    if body.amount is None and body.via == "checkout_session":
        for name in sorted(given & {"currency", "description"}):
            raise resolver.InvalidFieldError(name, "not taken without amount")
    if body.connected_account is not None and _tenant().stripe_account not in (None, body.connected_account):
        raise resolver.InvalidFieldError("connected_account", "not the connected account of Stripe-Account")
    new = linking.NewSession(
        via=body.via,
        customer=body.customer,
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
    for index, feature in enumerate(body.prefetch or ()):
        if feature not in new.asked:
            raise resolver.InvalidFieldError(f"prefetch.{index}", f"needs {feature} among the permissions")
    for index, subcategory in enumerate(new.filters.get("account_subcategories", ())):
        if body.via != "financial_connections" and subcategory not in _PAYING_ACCOUNTS:
            raise resolver.InvalidFieldError(f"filters.account_subcategories.{index}", f"not taken with via {body.via}")
    return new


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
    state = AccountState.from_stripe(account)
    refresh = None
    if state.refresh:
        available = state.refresh.next_refresh_available_at
        refresh = RefreshState(
            status=state.refresh.status,
            last_attempted_at=iso_seconds(state.refresh.last_attempted_at),
            next_refresh_available_at=iso_or_none(available),
            error=dict(state.refresh.error) if state.refresh.error else None,
        )
    return models.LinkedAccount(
        account=account["id"],
        status=state.status,
        institution_name=account.get("institution_name"),
        display_name=account.get("display_name"),
        last4=account.get("last4"),
        category=account.get("category"),
        subcategory=account.get("subcategory"),
        permissions=None if state.permissions is None else list(state.permissions),
        ownership_refresh=refresh,
    )


prepare(lambda made: (made.dependencies(), made.idempotency, made.store.load()))
