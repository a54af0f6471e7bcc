"""Finding the accounts that were collected: by session, intent, payment method or customer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from titleholder.domain.accounts import AccountRef, Mode
from titleholder.errors import CustomerNotFoundError, InvalidCursorError, NoLinkedAccountError, SessionNotFoundError, StripeRefusedError
from titleholder.services.context import Dependencies
from titleholder.stripe_api import linking as stripe_linking
from titleholder.stripe_api.gateway import StripeGateway

Source = Literal["financial_connections", "setup_intent", "payment_intent", "checkout_session", "payment_method"]

_PREFIXES: Mapping[str, Source] = {
    "fcsess": "financial_connections",
    "seti": "setup_intent",
    "pi": "payment_intent",
    "cs": "checkout_session",
    "pm": "payment_method",
}

_NO_CUSTOMER = "Stripe knows no such customer in this mode and under this connected account."
_WHY_NONE: Mapping[str, str] = {
    "not_linked_yet": "No account has been linked there yet.",
    "manually_entered": "The account's numbers were typed in by hand, so there is no link to a bank that could name its owners.",
    "not_a_bank_account": "The payment method is no bank account linked with Financial Connections.",
}


@dataclass(frozen=True, slots=True)
class AccountSelector:
    """Names the accounts to be verified. `kind` session: any id that `domain.accounts.SESSION_ID` matches."""

    kind: Literal["session", "payment_method", "customer"]
    id: str
    mode: Mode = "test"
    stripe_account: str | None = None


@dataclass(frozen=True, slots=True)
class CollectedAccounts:
    """What a session, intent or payment method collected. `accounts` are Stripe's account objects.

    `status` is Stripe's own of an intent or Checkout Session. `empty_reason` says why there are no accounts.
    """

    source: Source
    status: str | None
    payment_method: str | None
    accounts: list[dict[str, Any]]
    empty_reason: Literal["not_linked_yet", "manually_entered", "not_a_bank_account"] | None

    @property
    def manually_entered(self) -> bool:
        return self.empty_reason == "manually_entered"


def resolve_accounts(deps: Dependencies, target: AccountSelector) -> list[AccountRef]:
    """The accounts that `target` names, each once, at least one. A customer's disconnected accounts are left out.

    Raises:
        SessionNotFoundError, PaymentMethodNotFoundError, CustomerNotFoundError: Stripe knows no such thing here.
        NoLinkedAccountError: it names no account; its `reason` says why.
        StripeError: one of its kinds.
    """
    if target.kind == "customer":
        linked = iter_customer_accounts(deps.stripe, target.id, target.stripe_account)
        ids = [account["id"] for account in linked if account["status"] != "disconnected"]
        if not ids:
            raise NoLinkedAccountError("The customer has no linked account.")
    else:
        collected = collect(deps.stripe, target.id, target.stripe_account, details=False)
        ids = [account["id"] for account in collected.accounts]
        if collected.empty_reason is not None:
            raise NoLinkedAccountError(_WHY_NONE[collected.empty_reason], collected.empty_reason)
    return [AccountRef(id, target.mode, target.stripe_account) for id in dict.fromkeys(ids)]


def collect(stripe: StripeGateway, id: str, stripe_account: str | None, *, details: bool = True) -> CollectedAccounts:
    """What that session, intent or payment method collected. Without `details` an account is only certain to have its `id`.

    Raises SessionNotFoundError, PaymentMethodNotFoundError, StripeError.
    """
    source = _PREFIXES.get(id.partition("_")[0])
    match source:
        case "financial_connections":
            session = stripe_linking.financial_connections_session(stripe, id, stripe_account)
            linked = list(session["accounts"]["data"])
            if not linked or session["accounts"]["has_more"]:
                linked = list(_pages(stripe, stripe_account, {"session": id}))
            return CollectedAccounts(source, None, None, linked, None if linked else "not_linked_yet")
        case "setup_intent":
            intent = stripe_linking.setup_intent(stripe, id, stripe_account)
            return _paid_with(stripe, source, intent["status"], intent.get("payment_method"), stripe_account, details)
        case "payment_intent":
            intent = stripe_linking.payment_intent(stripe, id, stripe_account)
            return _paid_with(stripe, source, intent["status"], intent.get("payment_method"), stripe_account, details)
        case "checkout_session":
            session = stripe_linking.checkout_session(stripe, id, stripe_account)
            intent = session.get("setup_intent") or session.get("payment_intent") or {}
            return _paid_with(stripe, source, session["status"], intent.get("payment_method"), stripe_account, details)
        case "payment_method":
            method = stripe_linking.payment_method(stripe, id, stripe_account)
            return _paid_with(stripe, source, None, method, stripe_account, details)
    raise SessionNotFoundError("This is the id of no session, intent or payment method.")


def iter_customer_accounts(stripe: StripeGateway, customer: str, stripe_account: str | None) -> list[dict[str, Any]]:
    """Every account that the customer ever linked, the newest first. Raises CustomerNotFoundError, StripeError."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        after = found[-1]["id"] if found else None
        page, more = list_customer_accounts(stripe, customer, stripe_account, limit=stripe_linking.PAGE, after=after)
        found += page
        more = more and bool(page)
    return found


def list_customer_accounts(
    stripe: StripeGateway, customer: str, stripe_account: str | None, *, limit: int, after: str | None
) -> tuple[list[dict[str, Any]], bool]:
    """One page of the customer's accounts, the newest first, and whether there are more.

    Raises CustomerNotFoundError, InvalidCursorError (Stripe does not know the account `after`), StripeError.
    """
    wanted = {"account_holder": {"customer": customer}}
    try:
        page, more = stripe_linking.accounts(stripe, stripe_account, wanted, limit=limit, after=after)
    except StripeRefusedError as error:
        if not stripe_linking.is_missing(error):
            raise
        if after is None:
            raise CustomerNotFoundError(_NO_CUSTOMER) from None
        raise InvalidCursorError("The account at which this cursor stood is gone. Begin without one.") from None
    if not page and after is None:
        # An empty list does not show whether there is such a customer.
        stripe_linking.check_customer(stripe, customer, stripe_account)
    return page, more


def _paid_with(
    stripe: StripeGateway, source: Source, status: str | None, method: dict[str, Any] | None, stripe_account: str | None, details: bool
) -> CollectedAccounts:
    if method is None:
        return CollectedAccounts(source, status, None, [], "not_linked_yet")
    bank = method.get("us_bank_account")
    if bank is None:
        return CollectedAccounts(source, status, method["id"], [], "not_a_bank_account")
    id = bank.get("financial_connections_account")
    if id is None:
        return CollectedAccounts(source, status, method["id"], [], "manually_entered")
    account = stripe_linking.account(stripe, id, stripe_account) if details else {"id": id}
    return CollectedAccounts(source, status, method["id"], [account], None)


def _pages(stripe: StripeGateway, stripe_account: str | None, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    after, more = None, True
    while more:
        page, more = stripe_linking.accounts(stripe, stripe_account, wanted, after=after)
        yield from page
        more = more and bool(page)
        after = page[-1]["id"] if page else None
