"""Finding the accounts that were collected: by session, intent, payment method or customer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from titleholder import stripe_collecting
from titleholder.accounts import AccountRef, Mode
from titleholder.errors import CustomerNotFoundError, InvalidCursorError, NoLinkedAccountError, SessionNotFoundError, StripeRefusedError
from titleholder.ownership import World
from titleholder.stripe_gateway import StripeGateway

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
class Target:
    """What names the accounts to be verified. `kind` session: any id that `accounts.SESSION_ID` takes."""

    kind: Literal["session", "payment_method", "customer"]
    id: str
    mode: Mode = "test"
    stripe_account: str | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """What a session, intent or payment method collected. `accounts` are Stripe's account objects.

    `status` is Stripe's own of an intent or Checkout Session. `none_because` says why there are no accounts.
    """

    source: Source
    status: str | None
    payment_method: str | None
    accounts: list[dict[str, Any]]
    none_because: Literal["not_linked_yet", "manually_entered", "not_a_bank_account"] | None

    @property
    def manually_entered(self) -> bool:
        return self.none_because == "manually_entered"


def accounts_of(world: World, target: Target) -> list[AccountRef]:
    """The accounts that `target` names, each once, at least one. A customer's disconnected accounts are left out.

    Raises:
        SessionNotFoundError, PaymentMethodNotFoundError, CustomerNotFoundError: Stripe knows no such thing here.
        NoLinkedAccountError: it names no account; its `reason` says why.
        StripeError: one of its kinds.
    """
    if target.kind == "customer":
        linked = all_of_customer(world.stripe, target.id, target.stripe_account)
        ids = [account["id"] for account in linked if account["status"] != "disconnected"]
        if not ids:
            raise NoLinkedAccountError("The customer has no linked account.")
    else:
        collected = collect(world.stripe, target.id, target.stripe_account, details=False)
        ids = [account["id"] for account in collected.accounts]
        if collected.none_because is not None:
            raise NoLinkedAccountError(_WHY_NONE[collected.none_because], collected.none_because)
    return [AccountRef(id, target.mode, target.stripe_account) for id in dict.fromkeys(ids)]


def collect(stripe: StripeGateway, id: str, stripe_account: str | None, *, details: bool = True) -> Collected:
    """What that session, intent or payment method collected. Without `details` an account is only certain to have its `id`.

    Raises SessionNotFoundError, PaymentMethodNotFoundError, StripeError.
    """
    source = _PREFIXES.get(id.partition("_")[0])
    match source:
        case "financial_connections":
            session = stripe_collecting.financial_connections_session(stripe, id, stripe_account)
            linked = list(session["accounts"]["data"])
            if not linked or session["accounts"]["has_more"]:
                linked = list(_pages(stripe, stripe_account, {"session": id}))
            return Collected(source, None, None, linked, None if linked else "not_linked_yet")
        case "setup_intent":
            intent = stripe_collecting.setup_intent(stripe, id, stripe_account)
            return _paid_with(stripe, source, intent["status"], intent.get("payment_method"), stripe_account, details)
        case "payment_intent":
            intent = stripe_collecting.payment_intent(stripe, id, stripe_account)
            return _paid_with(stripe, source, intent["status"], intent.get("payment_method"), stripe_account, details)
        case "checkout_session":
            session = stripe_collecting.checkout_session(stripe, id, stripe_account)
            intent = session.get("setup_intent") or session.get("payment_intent") or {}
            return _paid_with(stripe, source, session["status"], intent.get("payment_method"), stripe_account, details)
        case "payment_method":
            method = stripe_collecting.payment_method(stripe, id, stripe_account)
            return _paid_with(stripe, source, None, method, stripe_account, details)
    raise SessionNotFoundError("This is the id of no session, intent or payment method.")


def all_of_customer(stripe: StripeGateway, customer: str, stripe_account: str | None) -> list[dict[str, Any]]:
    """Every account that the customer ever linked, the newest first. Raises CustomerNotFoundError, StripeError."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        after = found[-1]["id"] if found else None
        page, more = page_of_customer(stripe, customer, stripe_account, limit=stripe_collecting.PAGE, after=after)
        found += page
        more = more and bool(page)
    return found


def page_of_customer(
    stripe: StripeGateway, customer: str, stripe_account: str | None, *, limit: int, after: str | None
) -> tuple[list[dict[str, Any]], bool]:
    """One page of the customer's accounts, the newest first, and whether there are more.

    Raises CustomerNotFoundError, InvalidCursorError (Stripe does not know the account `after`), StripeError.
    """
    wanted = {"account_holder": {"customer": customer}}
    try:
        page, more = stripe_collecting.accounts(stripe, stripe_account, wanted, limit=limit, after=after)
    except StripeRefusedError as error:
        if not stripe_collecting.is_missing(error):
            raise
        if after is None:
            raise CustomerNotFoundError(_NO_CUSTOMER) from None
        raise InvalidCursorError("The account at which this cursor stood is gone. Begin without one.") from None
    if not page and after is None:
        # An empty list does not tell whether there is such a customer.
        stripe_collecting.check_customer(stripe, customer, stripe_account)
    return page, more


def _paid_with(
    stripe: StripeGateway, source: Source, status: str | None, method: dict[str, Any] | None, stripe_account: str | None, details: bool
) -> Collected:
    if method is None:
        return Collected(source, status, None, [], "not_linked_yet")
    bank = method.get("us_bank_account")
    if bank is None:
        return Collected(source, status, method["id"], [], "not_a_bank_account")
    id = bank.get("financial_connections_account")
    if id is None:
        return Collected(source, status, method["id"], [], "manually_entered")
    account = stripe_collecting.account(stripe, id, stripe_account) if details else {"id": id}
    return Collected(source, status, method["id"], [account], None)


def _pages(stripe: StripeGateway, stripe_account: str | None, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    after, more = None, True
    while more:
        page, more = stripe_collecting.accounts(stripe, stripe_account, wanted, after=after)
        yield from page
        more = more and bool(page)
        after = page[-1]["id"] if page else None
