"""Bodies and answers of the HTTP routes for linking accounts and listing linked ones."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from titleholder.schemas import AccountId, Strict, refused, worded
from titleholder.web.models import AccountHolder, AccountNumber, CustomerId, RefreshState, RemedyAction, StatusDetails, StripeAccountId

Email = Annotated[str, worded(r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$", "not an e-mail address", min_length=3, max_length=512)]
Url = Annotated[str, worded(r"^[a-z][a-z0-9+.-]*://[\x21-\x7e]+$", "not a URL, such as https://shop.example/linked", max_length=2000)]
Via = Literal["financial_connections", "setup_intent", "payment_intent", "checkout_session"]
Permission = Literal["balances", "ownership", "payment_method", "transactions"]
Prefetch = Literal["balances", "ownership", "transactions"]
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
    """The body of `POST /customers`. By email address and phone number Stripe recognises a returning user of Link."""

    email: Email
    phone: Phone | None = Field(
        default=None,
        description="With the country code, such as `+12015550123`. Spaces, dots, hyphens and parentheses are removed, "
        "and `(0)` after the country code.",
    )


class Filters(Strict):
    """Which accounts may be linked.

    `require_payment_method_support` is `none` by default, and `all` with `connected_account`.
    """

    account_subcategories: Annotated[list[Subcategory], Field(min_length=1, max_length=5)] | None = None
    country: Annotated[str, worded("^[A-Z]{2}$", "not the code of a country in two capital letters, such as US")] | None = None
    require_payment_method_support: Literal["all", "at_least_one", "none"] | None = None


class Limits(Strict):
    """How many accounts may be linked. By default any number, and one with `connected_account`."""

    accounts: Annotated[int, Field(ge=1, le=1000)]


class ManualEntry(Strict):
    """Whether the end user may type account and routing numbers in by hand. Ownership of such an account can't be verified.

    The default is `disabled` with `financial_connections`, otherwise `automatic`.
    """

    mode: Literal["automatic", "disabled"]


class Relink(Strict):
    """The account that the end user is to relink. It has to be inactive, about to expire, or active with too few permissions."""

    account: AccountId


class NewSession(Strict):
    """The body of `POST /sessions`. The permission `ownership` is always requested, and `payment_method` for payments and payouts.

    Exactly one of `customer`, `customer_account` and `connected_account` is needed. A field that a kind of session does not take is
    refused. With `ownership` in `prefetch`, Stripe fetches the owners of each account, and charges for them, as soon as it is linked.

    With `relink` none of the three is needed, and `filters`, `limits` and `manual_entry` are refused.
    """

    via: Via
    customer: CustomerId | None = None
    customer_account: StripeAccountId | None = Field(
        default=None, description="Instead of a customer: an account of Accounts v2 that has the customer configuration."
    )
    connected_account: StripeAccountId | None = Field(
        default=None, description="Instead of a customer: the connected account whose payouts go to the linked account."
    )
    permissions: Annotated[list[Permission], Field(max_length=4)] | None = Field(
        default=None, description="In addition to those that are always requested."
    )
    prefetch: Annotated[list[Prefetch], Field(max_length=3)] | None = None
    filters: Filters | None = None
    limits: Limits | None = None
    manual_entry: ManualEntry | None = None
    relink: Relink | None = Field(
        default=None, description="With `financial_connections`: repair the access to an account that was linked before."
    )
    return_url: Url | None = Field(
        default=None, description="Where Checkout sends the browser when it is done; for other kinds, where a web view returns to."
    )
    amount: Annotated[int, Field(ge=50, le=99_999_999)] | None = Field(
        default=None, description="In cents. With it a Checkout Session takes a payment, otherwise it sets up future ones."
    )
    currency: Literal["usd"] | None = None
    description: Annotated[str, worded(r"^[^\x00-\x1f\x7f]+$", "has a control character", min_length=1, max_length=250)] | None = Field(
        default=None, description="What Checkout shows as paid for."
    )


class Customer(BaseModel):
    """A Stripe Customer."""

    id: str
    stripe_account: str | None = None
    livemode: bool


class RelinkedAccount(BaseModel):
    """The account that a session relinks, and its authorization at Stripe."""

    account: str
    authorization: str | None = None


class Session(BaseModel):
    """What the front end needs. `next` names the function to call or the step to take, `instructions` describe it in full.

    Send `client_secret` to this end user's browser only. Checkout has a `url` instead, which is null once it is completed or expired.
    """

    id: str
    via: Via
    customer: str | None = None
    customer_account: str | None = None
    connected_account: str | None = None
    stripe_account: str | None = None
    livemode: bool
    permissions: list[str]
    relink: RelinkedAccount | None = None
    client_secret: str | None = None
    url: str | None = None
    next: str
    instructions: str


class LinkedAccount(BaseModel):
    """An account as Stripe describes it. `supported_payment_method_types` says what can be paid with it, such as `us_bank_account`."""

    account: str
    status: str
    status_details: StatusDetails | None = None
    remedy: RemedyAction | None = Field(
        default=None, description="What repairs an account that can't be verified, or keeps one from becoming inactive. Null if nothing."
    )
    institution_name: str | None = None
    display_name: str | None = None
    last4: str | None = None
    category: str | None = None
    subcategory: str | None = None
    permissions: list[str] | None = None
    supported_payment_method_types: list[str] = []
    account_holder: AccountHolder | None = None
    account_numbers: list[AccountNumber] | None = None
    ownership_refresh: RefreshState | None = None


class RelinkResult(BaseModel):
    """How a session for relinking stands. Stripe may add values of `status` and of `failure_reason`.

    The end user may have chosen another account than `account`, so take the accounts from `accounts`.
    """

    account: str | None = None
    authorization: str | None = None
    status: str | None = Field(default=None, description="`pending`, `succeeded`, `failed` or `cancelled`.")
    failure_reason: str | None = Field(default=None, description="`no_account`, `no_authorization` or `other`.")
    relinked_account: str | None = Field(default=None, description="`account`, if it has been relinked.")


class CollectedAccounts(BaseModel):
    """The accounts that a session, intent or payment method collected.

    `empty_reason` says why `accounts` is empty. `status` is Stripe's status of an intent or a Checkout Session.
    """

    session: str
    source: Literal["financial_connections", "setup_intent", "payment_intent", "checkout_session", "payment_method"]
    stripe_account: str | None = None
    livemode: bool
    status: str | None = None
    payment_method: str | None = None
    manually_entered: bool = Field(description="Whether the numbers were typed in by hand. Then there is no account to verify.")
    empty_reason: Literal["not_linked_yet", "manually_entered", "not_a_bank_account"] | None = None
    bank_account_token: str | None = Field(
        default=None, description="Of a session for payouts: the token that makes the account an external account of the connected account."
    )
    relink: RelinkResult | None = Field(default=None, description="Of a session for relinking only.")
    accounts: list[LinkedAccount]


class AccountList(BaseModel):
    """A page of the accounts of a holder or a session, the newest first. `next_cursor` is null on the last page."""

    customer: str | None = None
    customer_account: str | None = None
    connected_account: str | None = None
    session: str | None = None
    stripe_account: str | None = None
    livemode: bool
    accounts: list[LinkedAccount]
    next_cursor: str | None = None
