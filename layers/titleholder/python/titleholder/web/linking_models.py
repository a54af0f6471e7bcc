"""Bodies and answers of the HTTP routes for linking accounts and listing linked ones."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from titleholder.schemas import AccountId, Strict, refused, worded
from titleholder.web.models import (
    AccountHolder,
    AccountNumber,
    AccountPermission,
    AccountStatus,
    CustomerId,
    RefreshState,
    RemedyAction,
    StatusDetails,
    StripeAccountId,
)

Email = Annotated[str, worded(r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$", "not an e-mail address", min_length=3, max_length=512)]
Url = Annotated[str, worded(r"^[a-z][a-z0-9+.-]*://[\x21-\x7e]+$", "not a URL, such as https://shop.example/linked", max_length=2000)]
Via = Literal["financial_connections", "setup_intent", "payment_intent", "checkout_session"]
Permission = Literal["balances", "ownership", "payment_method", "transactions"]
Prefetch = Literal["balances", "ownership", "transactions"]
RelinkStatus = str
RelinkFailure = str
Subcategory = Literal["checking", "savings", "credit_card", "line_of_credit", "mortgage"]


_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NATIONAL_ZERO = re.compile(r"^(\+[1-9][0-9]{0,2}[ .-]*)\(0\)")
"""The zero that is dialled only within the country, as in `+44 (0)20`. It is no part of the international number."""


def _e164(phone: str) -> str:
    """The phone number in E.164 format: Stripe takes any text of up to 20 characters, and recognises users by such numbers only."""
    international = _NATIONAL_ZERO.sub(r"\1", phone)
    compact = re.sub(r"[ ().-]", "", international)
    if "(0)" in international or not _E164.fullmatch(compact):
        raise refused("not an international phone number: + and the country code, then the number, at most 15 digits")
    return compact


Phone = Annotated[str, StringConstraints(max_length=40), AfterValidator(_e164)]


class NewCustomer(Strict):
    """The body of `POST /customers`. By e-mail address and phone number Stripe recognises a returning user of Link."""

    email: Email
    """The customer's e-mail address."""
    phone: Phone | None = None
    """The customer's phone number with the country code, such as `+12015550123`. Spaces, dots, hyphens and parentheses are removed, and
    `(0)` after the country code."""


class SessionFilters(Strict):
    """Which accounts may be linked."""

    account_subcategories: Annotated[list[Subcategory], Field(min_length=1, max_length=5)] | None = None
    """The kinds of accounts."""
    country: Annotated[str, worded("^[A-Z]{2}$", "not the code of a country in two capital letters, such as US")] | None = None
    """The country of the bank, as ISO 3166 code of two letters."""
    require_payment_method_support: Literal["all", "at_least_one", "none"] | None = None
    """How many of the linked accounts payments have to be possible with. The default is `none`, and `all` with `connected_account`."""


class SessionLimits(Strict):
    """How many accounts may be linked."""

    accounts: Annotated[int, Field(ge=1, le=1000)]
    """How many accounts at most. The default is any number, and one with `connected_account`."""


class ManualEntry(Strict):
    """Whether the end user may type account and routing numbers in by hand. Ownership of such an account can't be verified."""

    mode: Literal["automatic", "disabled"]
    """`automatic`: Stripe decides. The default is `disabled` with `financial_connections`, otherwise `automatic`."""


class RelinkTarget(Strict):
    """The account that the end user is to relink."""

    account: AccountId
    """The account. It has to be inactive, about to expire, or active with too few permissions."""


class NewSession(Strict):
    """The body of `POST /sessions`. The permission `ownership` is always requested, and `payment_method` for payments and payouts.

    Exactly one of `customer`, `customer_account` and `connected_account` is needed. A field that a kind of session does not take is
    refused.

    With `relink` none of the three is needed, and `filters`, `limits` and `manual_entry` are refused.
    """

    via: Via
    """The kind of session at Stripe."""
    customer: CustomerId | None = None
    """The customer who links the accounts."""
    customer_account: StripeAccountId | None = None
    """Instead of a customer: an account of Accounts v2 that has the customer configuration."""
    connected_account: StripeAccountId | None = None
    """Instead of a customer: the connected account whose payouts go to the linked account."""
    permissions: Annotated[list[Permission], Field(max_length=4)] | None = None
    """Permissions in addition to those that are always requested."""
    prefetch: Annotated[list[Prefetch], Field(max_length=3)] | None = None
    """What Stripe fetches as soon as an account is linked. Stripe charges for the owners (`ownership`) of each account."""
    filters: SessionFilters | None = None
    """Which accounts may be linked."""
    limits: SessionLimits | None = None
    """How many accounts may be linked."""
    manual_entry: ManualEntry | None = None
    """Whether the end user may type numbers in by hand."""
    relink: RelinkTarget | None = None
    """With `financial_connections`: repair the access to an account that was linked before."""
    return_url: Url | None = None
    """Where Checkout sends the browser when it is done. For other kinds of session, where a web view returns to."""
    amount: Annotated[int, Field(ge=50, le=99_999_999)] | None = None
    """In cents. With it a Checkout Session takes a payment, otherwise it sets up future ones."""
    currency: Literal["usd"] | None = None
    """The currency of `amount`."""
    description: Annotated[str, worded(r"^[^\x00-\x1f\x7f]+$", "has a control character", min_length=1, max_length=250)] | None = None
    """What Checkout shows as paid for."""


class Customer(BaseModel):
    """A Stripe Customer."""

    id: str
    """The customer's id (`cus_...`)."""
    stripe_account: str | None = None
    """The connected account that the customer belongs to. Null for the platform's own."""
    livemode: bool
    """Whether the customer is of Stripe's live mode."""


class RelinkedAccount(BaseModel):
    """The account that a session relinks."""

    account: str
    """The account (`fca_...`)."""
    authorization: str | None = None
    """The account's authorization at Stripe (`fcauth_...`)."""


class Session(BaseModel):
    """What the front end needs to have accounts linked."""

    id: str
    """The id of the session or intent at Stripe."""
    via: Via
    """The kind of session at Stripe."""
    customer: str | None = None
    """The customer who links the accounts (`cus_...`)."""
    customer_account: str | None = None
    """The account of Accounts v2 that links the accounts (`acct_...`)."""
    connected_account: str | None = None
    """The connected account whose payouts go to the linked account (`acct_...`)."""
    stripe_account: str | None = None
    """The connected account that the session belongs to. Null for the platform's own."""
    livemode: bool
    """Whether the session is of Stripe's live mode."""
    permissions: list[AccountPermission]
    """The permissions that the holder is asked for."""
    relink: RelinkedAccount | None = None
    """The account that the session relinks. Null for a session that links new accounts."""
    client_secret: str | None = None
    """Send it to this end user's browser only. Null for Checkout, which has a `url` instead."""
    url: str | None = None
    """Checkout's page. Null for other kinds of session, and once the Checkout Session is completed or expired."""
    next: str
    """The function to call in the front end, or the step to take."""
    instructions: str
    """The same in full."""


class LinkedAccount(BaseModel):
    """An account as Stripe describes it."""

    account: str
    """The account's id (`fca_...`)."""
    status: AccountStatus
    """Stripe's status of the account."""
    status_details: StatusDetails | None = None
    """Why the account is inactive, or is expected to become so. Null if Stripe does not say."""
    remedy: RemedyAction | None = None
    """What repairs an account that can't be verified, or keeps one from becoming inactive. Null if nothing has to be done."""
    institution_name: str | None = None
    """The bank's name."""
    display_name: str | None = None
    """The name that the bank gives the account."""
    last4: str | None = None
    """The last four digits of the account number."""
    category: str | None = None
    """Stripe's category of the account, such as `cash` or `credit`."""
    subcategory: str | None = None
    """Stripe's subcategory of the account, such as `checking` or `savings`."""
    permissions: list[AccountPermission] | None = None
    """What the holder permitted. Owners can be read with `ownership` only."""
    supported_payment_method_types: list[str] = []
    """What can be paid with the account, such as `us_bank_account`."""
    account_holder: AccountHolder | None = None
    """The holder that the account was linked for."""
    account_numbers: list[AccountNumber] | None = None
    """The states of the account's numbers. Null if Stripe does not say."""
    ownership_refresh: RefreshState | None = None
    """The newest refresh of the account's owners. Null if there was none."""


class RelinkResult(BaseModel):
    """What became of a session for relinking. The end user may have chosen another account than `account`, so read `accounts` beside it."""

    account: str | None = None
    """The account that was to be relinked (`fca_...`)."""
    authorization: str | None = None
    """The account's authorization at Stripe (`fcauth_...`)."""
    status: RelinkStatus | None = None
    """Stripe's status of the relink."""
    failure_reason: RelinkFailure | None = None
    """Stripe's code of why the relink failed."""
    relinked_account: str | None = None
    """The same as `account`, if it has been relinked."""


class CollectedAccounts(BaseModel):
    """The accounts that a session, intent or payment method collected."""

    session: str
    """The id that was given."""
    source: Literal["financial_connections", "setup_intent", "payment_intent", "checkout_session", "payment_method"]
    """What collected the accounts."""
    stripe_account: str | None = None
    """The connected account that the session belongs to. Null for the platform's own."""
    livemode: bool
    """Whether the session is of Stripe's live mode."""
    status: str | None = None
    """Stripe's status of an intent or a Checkout Session."""
    payment_method: str | None = None
    """The payment method that was collected (`pm_...`)."""
    manually_entered: bool
    """Whether the numbers were typed in by hand. Then there is no account to verify."""
    empty_reason: Literal["not_linked_yet", "manually_entered", "not_a_bank_account"] | None = None
    """Why `accounts` is empty. Null if it is not."""
    bank_account_token: str | None = None
    """Of a session for payouts: the token that makes the account an external account of the connected account."""
    relink: RelinkResult | None = None
    """Of a session for relinking: what became of it."""
    accounts: list[LinkedAccount]
    """The accounts that were collected."""


class AccountList(BaseModel):
    """A page of the accounts of a holder or a session, the newest first."""

    customer: str | None = None
    """The customer whose accounts these are (`cus_...`)."""
    customer_account: str | None = None
    """The account of Accounts v2 whose accounts these are (`acct_...`)."""
    connected_account: str | None = None
    """The connected account whose accounts for payouts these are (`acct_...`)."""
    session: str | None = None
    """The session that linked the accounts (`fcsess_...`)."""
    stripe_account: str | None = None
    """The connected account that the accounts belong to. Null for the platform's own."""
    livemode: bool
    """Whether the accounts are of Stripe's live mode."""
    accounts: list[LinkedAccount]
    """The accounts on this page."""
    next_cursor: str | None = None
    """Send it as `cursor` to get the next page. Null on the last page."""
