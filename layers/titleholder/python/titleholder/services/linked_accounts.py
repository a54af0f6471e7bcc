"""Finds linked accounts by session, intent, payment method or holder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from titleholder.domain.accounts import HOLDERS, AccountRef, AccountSelector
from titleholder.errors import (
    AccountNotFoundError,
    Action,
    CustomerNotFoundError,
    InvalidCursorError,
    NoLinkedAccountError,
    SessionNotFoundError,
    StripeRefusedError,
)
from titleholder.services import relinking
from titleholder.services.context import Dependencies
from titleholder.services.linking import NONE_HERE, NOUNS
from titleholder.services.relinking import RelinkResult
from titleholder.stripe_api import linking as stripe_linking
from titleholder.stripe_api.gateway import StripeGateway

EmptyReason = Literal["not_linked_yet", "manually_entered", "not_a_bank_account"]
Source = Literal["financial_connections", "setup_intent", "payment_intent", "checkout_session", "payment_method"]

_PREFIXES: Mapping[str, Source] = {
    "fcsess": "financial_connections",
    "seti": "setup_intent",
    "pi": "payment_intent",
    "cs": "checkout_session",
    "pm": "payment_method",
}

_ENDED = ("cancelled", "canceled", "failed", "expired")
"""The statuses of sessions and intents that can link no further account."""
_WHY_NONE: Mapping[EmptyReason, str] = {
    "manually_entered": "The account's numbers were typed in by hand, so there is no link to a bank that could name its owners. "
    "Have the holder link an account through Financial Connections.",
    "not_a_bank_account": "The payment method is no bank account linked with Financial Connections. Have the holder link one.",
}


@dataclass(frozen=True, slots=True)
class CollectedAccounts:
    """What a session, intent or payment method collected. `accounts` are Stripe's account objects.

    `status` is Stripe's status of the intent or Checkout Session. `empty_reason` says why there are no accounts. `bank_account_token` is
    the id of the token that makes the account an external account of the connected account. `ended`: Stripe shows that no further account
    will be linked.
    """

    source: Source
    status: str | None
    payment_method: str | None
    accounts: list[dict[str, Any]]
    empty_reason: EmptyReason | None
    bank_account_token: str | None = None
    relink: RelinkResult | None = None
    ended: bool = False

    @property
    def manually_entered(self) -> bool:
        return self.empty_reason == "manually_entered"

    @property
    def why_none(self) -> tuple[str, Action]:
        """Why there are no accounts, in words, and what to do next."""
        if self.empty_reason != "not_linked_yet":
            return _WHY_NONE.get(self.empty_reason or "manually_entered", ""), "link_again"
        if not self.ended:
            return "No account has been linked yet. Repeat this request when the end user has finished.", "retry"
        if self.relink is not None:
            return "The account was not relinked in this session. Have its holder relink it in a new one (POST /sessions).", "relink"
        return "The session ended without a linked account. Have the holder link one in a new session (POST /sessions).", "link_again"


def resolve_accounts(deps: Dependencies, target: AccountSelector) -> list[AccountRef]:
    """The accounts of `target`, at least one, each once. A holder's disconnected accounts are left out.

    Raises:
        SessionNotFoundError, PaymentMethodNotFoundError, CustomerNotFoundError: Stripe does not know `target`.
        NoLinkedAccountError: `target` has no account. The error's `reason` says why.
        StripeError: a call to Stripe failed.
    """
    if target.kind in HOLDERS:
        linked = iter_accounts(deps.stripe, target)
        ids = [account["id"] for account in linked if account["status"] != "disconnected"]
        if not ids:
            why = "has no linked account, because each was disconnected" if linked else "has linked no account"
            raise NoLinkedAccountError(f"The {NOUNS[target.kind]} {why}. Have one linked (POST /sessions).")
    else:
        collected = collect(deps.stripe, target.id, target.stripe_account, details=False)
        ids = [account["id"] for account in collected.accounts]
        if collected.empty_reason is not None:
            detail, remedy = collected.why_none
            raise NoLinkedAccountError(detail, collected.empty_reason, remedy)
    return [AccountRef(id, target.mode, target.stripe_account) for id in dict.fromkeys(ids)]


def collect(stripe: StripeGateway, id: str, stripe_account: str | None, *, details: bool = True) -> CollectedAccounts:
    """What a session, intent or payment method collected. Without `details`, accounts may have only their `id`.

    Raises SessionNotFoundError, PaymentMethodNotFoundError, StripeError.
    """
    source = _PREFIXES.get(id.partition("_")[0])
    match source:
        case "financial_connections":
            session = stripe_linking.financial_connections_session(stripe, id, stripe_account)
            linked = list(session["accounts"]["data"])
            relink = relinking.result(session)
            if not linked or session["accounts"]["has_more"]:
                # It is not documented whether the list contains an account that was only relinked, so the two are merged.
                listed = _pages(stripe, stripe_account, {"session": id})
                linked = list({account["id"]: account for account in (*listed, *linked)}.values())
            named = None if relink is None else relink.relinked_account
            if named is not None and all(account["id"] != named for account in linked):
                linked.append(stripe_linking.account(stripe, named, stripe_account) if details else {"id": named})
            token = _id(session.get("bank_account_token"))
            # Numbers that were typed in by hand result in a token and no account.
            why: EmptyReason = "manually_entered" if token else "not_linked_yet"
            return CollectedAccounts(source, None, None, linked, None if linked else why, token, relink, session.get("status") in _ENDED)
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
    raise SessionNotFoundError("This is not the id of a session, intent or payment method.")


def iter_accounts(stripe: StripeGateway, of: AccountSelector) -> list[dict[str, Any]]:
    """Every account that the holder ever linked, the newest first. Raises the same errors as `list_accounts`."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        after = found[-1]["id"] if found else None
        page, more = list_accounts(stripe, of, limit=stripe_linking.PAGE, after=after)
        found += page
        more = more and bool(page)
    return found


def list_accounts(stripe: StripeGateway, of: AccountSelector, *, limit: int, after: str | None) -> tuple[list[dict[str, Any]], bool]:
    """One page of the accounts of a holder, or of a Financial Connections Session, the newest first, and whether there are more.

    Raises CustomerNotFoundError, SessionNotFoundError, InvalidCursorError (Stripe does not know the account `after`), StripeError.
    """
    by_session = of.kind == "session"
    wanted: dict[str, Any] = {"session": of.id} if by_session else {"account_holder": {_stripe_kind(of): of.id}}
    try:
        page, more = stripe_linking.accounts(stripe, of.stripe_account, wanted, limit=limit, after=after)
    except (StripeRefusedError, AccountNotFoundError) as error:
        if isinstance(error, StripeRefusedError) and not stripe_linking.is_missing(error):
            raise
        if after is None:
            kind = SessionNotFoundError if by_session else CustomerNotFoundError
            raise kind(NONE_HERE.format(NOUNS[of.kind])) from None
        raise InvalidCursorError("The account that this cursor points to is gone. Begin again without a cursor.") from None
    if not page and after is None:
        # An empty list does not show whether the customer or session exists. Customer accounts and connected accounts are not looked up,
        # because that needs another permission of the API key.
        if of.kind == "customer":
            stripe_linking.check_customer(stripe, of.id, of.stripe_account)
        elif by_session:
            stripe_linking.financial_connections_session(stripe, of.id, of.stripe_account)
    return page, more


def _stripe_kind(of: AccountSelector) -> str:
    return next(kind for name, kind in HOLDERS.items() if name == of.kind)


def _id(named: Any) -> str | None:
    """The id of an object that Stripe names by its id or in expanded form; None without one."""
    found = named.get("id") if isinstance(named, Mapping) else named
    return found if isinstance(found, str) else None


def _paid_with(
    stripe: StripeGateway, source: Source, status: str | None, method: dict[str, Any] | None, stripe_account: str | None, details: bool
) -> CollectedAccounts:
    if method is None:
        return CollectedAccounts(source, status, None, [], "not_linked_yet", ended=status in _ENDED)
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
