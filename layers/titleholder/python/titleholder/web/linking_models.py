"""Bodies and answers of the HTTP routes for linking accounts and listing linked ones."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from titleholder.domain.accounts import CONNECTED_ACCOUNT_ID
from titleholder.schemas import Strict
from titleholder.web.models import CustomerId, RefreshState

ConnectedAccountId = Annotated[str, StringConstraints(pattern=f"^{CONNECTED_ACCOUNT_ID.pattern}$")]
Email = Annotated[str, StringConstraints(min_length=3, max_length=512, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$")]
Url = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[a-z][a-z0-9+.-]*://[\x21-\x7e]+$")]
Via = Literal["financial_connections", "setup_intent", "payment_intent", "checkout_session"]
Permission = Literal["balances", "ownership", "payment_method", "transactions"]
Prefetch = Literal["balances", "ownership", "transactions"]
Subcategory = Literal["checking", "savings", "credit_card", "line_of_credit", "mortgage"]


class NewCustomer(Strict):
    """The body of `POST /customers`. By the email address Stripe recognises a returning user of Link."""

    email: Email


class Filters(Strict):
    """Which accounts may be linked."""

    account_subcategories: Annotated[list[Subcategory], Field(min_length=1, max_length=5)] | None = None
    country: Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")] | None = None
    require_payment_method_support: Literal["all", "at_least_one", "none"] | None = None


class Limits(Strict):
    """How many accounts may be linked."""

    accounts: Annotated[int, Field(ge=1, le=1000)]


class ManualEntry(Strict):
    """Whether the end user may type account and routing numbers in by hand. Ownership of such an account can't be verified."""

    mode: Literal["automatic", "disabled"]


class NewSession(Strict):
    """The body of `POST /sessions`. The permission `ownership` is always requested, and `payment_method` wherever a payment needs it.

    A field that a kind of session does not take is refused. With `ownership` in `prefetch`, Stripe fetches the owners of each account, and
    charges for them, as soon as it is linked.
    """

    via: Via
    customer: CustomerId | None = None
    connected_account: ConnectedAccountId | None = Field(
        default=None, description="Instead of a customer: the connected account whose payouts go to the linked account."
    )
    permissions: Annotated[list[Permission], Field(max_length=4)] | None = Field(
        default=None, description="In addition to those that are always requested."
    )
    prefetch: Annotated[list[Prefetch], Field(max_length=3)] | None = None
    filters: Filters | None = None
    limits: Limits | None = None
    manual_entry: ManualEntry | None = None
    return_url: Url | None = Field(
        default=None, description="Where Checkout sends the browser when it is done; for other kinds, where a web view returns to."
    )
    amount: Annotated[int, Field(ge=50, le=99_999_999)] | None = Field(
        default=None, description="In cents. With it a Checkout Session takes a payment, otherwise it sets up future ones."
    )
    currency: Literal["usd"] | None = None
    description: Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = Field(
        default=None, description="What Checkout shows as paid for."
    )


class Customer(BaseModel):
    """A Stripe Customer."""

    id: str
    stripe_account: str | None = None
    livemode: bool


class Session(BaseModel):
    """What the front end needs. `next` names the function to call or the step to take, `instructions` describe it in full.

    Send `client_secret` to this end user's browser only. Checkout has a `url` instead, which is null once it is completed or expired.
    """

    id: str
    via: Via
    customer: str | None = None
    connected_account: str | None = None
    stripe_account: str | None = None
    livemode: bool
    permissions: list[str]
    client_secret: str | None = None
    url: str | None = None
    next: str
    instructions: str


class LinkedAccount(BaseModel):
    """An account as Stripe describes it."""

    account: str
    status: str
    institution_name: str | None = None
    display_name: str | None = None
    last4: str | None = None
    category: str | None = None
    subcategory: str | None = None
    permissions: list[str] | None = None
    ownership_refresh: RefreshState | None = None


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
    accounts: list[LinkedAccount]


class AccountList(BaseModel):
    """A page of a customer's accounts, the newest first. `next_cursor` is null on the last page."""

    customer: str
    stripe_account: str | None = None
    livemode: bool
    accounts: list[LinkedAccount]
    next_cursor: str | None = None
