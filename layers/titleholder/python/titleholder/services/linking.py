"""What a front end needs to have accounts linked: customers, and the four kinds of session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from titleholder.domain.accounts import HOLDERS
from titleholder.errors import BankAccountUnavailableError, CustomerNotFoundError, IdempotencyConflictError, StripeRefusedError
from titleholder.stripe_api import linking as stripe_linking
from titleholder.stripe_api.gateway import StripeGateway

Via = Literal["financial_connections", "setup_intent", "payment_intent", "checkout_session"]


BANK_ACCOUNT = "us_bank_account"
"""The only payment method that links an account."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the front end does with a session: the function that it calls, and instructions."""

    next: str
    instructions: str


STEPS: Mapping[Via, Step] = {
    "financial_connections": Step(
        "stripe.collectFinancialConnectionsAccounts",
        "Call stripe.collectFinancialConnectionsAccounts({clientSecret}) of Stripe.js. When its promise resolves, the accounts are linked.",
    ),
    "setup_intent": Step(
        "stripe.collectBankAccountForSetup",
        "Call stripe.collectBankAccountForSetup({clientSecret, params}) of Stripe.js, show the mandate, and call "
        "stripe.confirmUsBankAccountSetup(clientSecret). When its promise resolves, the account is linked.",
    ),
    "payment_intent": Step(
        "stripe.collectBankAccountForPayment",
        "Call stripe.collectBankAccountForPayment({clientSecret, params}) of Stripe.js, show the mandate, and call "
        "stripe.confirmUsBankAccountPayment(clientSecret). When its promise resolves, the account is linked.",
    ),
    "checkout_session": Step(
        "redirect", "Redirect the browser to url. Stripe redirects it to the return_url when the account is linked."
    ),
}  # fmt: skip
PAYOUT_STEP = Step(
    "stripe.collectBankAccountToken",
    "Call stripe.collectBankAccountToken({clientSecret}) of Stripe.js. When its promise resolves with a token, the account is linked. "
    "Then read the session: its bank_account_token makes the account an external account of the connected account.",
)

RELINK_STEP = Step(
    STEPS["financial_connections"].next,
    "Call stripe.collectFinancialConnectionsAccounts({clientSecret}) of Stripe.js. When its promise resolves, read the session: "
    "relink.status says whether the relinking succeeded, failed or was cancelled, and accounts has the resulting account. "
    "If it failed or was cancelled, create a new session.",
)

NONE_HERE = "Stripe knows no such {} in this mode and under this connected account. Check the id and the header Stripe-Account."
NOUNS = {"customer": "customer", "customer_account": "customer account", "connected_account": "connected account", "session": "session"}

PAYING_SUBCATEGORIES = ("checking", "savings")
"""The subcategories of accounts that can be paid from and to."""
SUBCATEGORIES = (*PAYING_SUBCATEGORIES, "mortgage", "line_of_credit", "credit_card")
ANY_NUMBER = ""
"""The value with which Stripe sets no limit."""


@dataclass(frozen=True, slots=True)
class NewSession:
    """How accounts are to be linked. The caller has checked that `via` accepts each part.

    `customer`, `customer_account` or `connected_account` holds the accounts. `amount`: in the currency's smallest unit. `manual_entry`:
    automatic or disabled. A part that is not given gets the default of its kind of session. Defaults are always sent explicitly, because
    Stripe's own defaults change with its API versions.
    """

    via: Via
    customer: str | None = None
    customer_account: str | None = None
    connected_account: str | None = None
    permissions: tuple[str, ...] = ()
    prefetch: tuple[str, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict)
    max_accounts: int | None = None
    manual_entry: str | None = None
    return_url: str | None = None
    amount: int | None = None
    currency: str = "usd"
    description: str | None = None

    @property
    def asked(self) -> list[str]:
        """The permissions that the end user is asked for: always the owners, and what a payment or payout needs."""
        only_data = self.via == "financial_connections" and self.connected_account is None
        needed = ("ownership",) if only_data else ("ownership", "payment_method")
        return sorted({*needed, *self.permissions})

    @property
    def payment_method_support(self) -> str:
        """Which accounts of a Financial Connections Session have to support payments: all, at_least_one or none."""
        return str(self.filters.get("require_payment_method_support", "none" if self.connected_account is None else "all"))

    @property
    def limit(self) -> int | str:
        """How many accounts a Financial Connections Session may link."""
        return self.max_accounts or (ANY_NUMBER if self.connected_account is None else 1)

    @property
    def for_payouts(self) -> bool:
        """Whether the session links the one account that payouts of a connected account go to."""
        return self.connected_account is not None and (self.payment_method_support, self.limit) == ("all", 1)

    @property
    def step(self) -> Step:
        """What the front end does with the session."""
        return PAYOUT_STEP if self.for_payouts else STEPS[self.via]


def create_customer(stripe: StripeGateway, email: str, phone: str | None, stripe_account: str | None, key: str | None) -> str:
    """The id of a new Customer. `phone`: in E.164 format. Raises IdempotencyConflictError, StripeError."""
    made = once(lambda: stripe_linking.create_customer(stripe, _given(email=email, phone=phone), stripe_account, key))
    return str(made["id"])


def create(stripe: StripeGateway, new: NewSession, stripe_account: str | None, key: str | None) -> dict[str, Any]:
    """The session or intent as Stripe made it.

    Raises BankAccountUnavailableError, CustomerNotFoundError, IdempotencyConflictError, StripeError.
    """
    try:
        made = once(lambda: stripe_linking.create_session(stripe, new.via, parameters(new), stripe_account, key))
    except (StripeRefusedError, CustomerNotFoundError) as error:
        if isinstance(error, StripeRefusedError) and not stripe_linking.is_missing(error):
            raise
        kind = next((name for name in HOLDERS if getattr(new, name) is not None), "customer")
        raise CustomerNotFoundError(NONE_HERE.format(NOUNS[kind])) from None
    # Without raising an error, Stripe leaves out each allowed payment method that this Stripe account can't be paid with.
    if new.via != "financial_connections" and BANK_ACCOUNT not in made.get("payment_method_types", [BANK_ACCOUNT]):
        raise BankAccountUnavailableError(
            "Stripe offers no us_bank_account for this session, so no account could be linked by it. Enable ACH Direct Debit in the Stripe "
            "Dashboard (Settings, Payment methods) for this Stripe account, then send the request with a new Idempotency-Key. "
            "Or use via financial_connections, which needs no payment method."
        )
    return made


def once(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of a call that has an idempotency key. Raises IdempotencyConflictError, StripeError."""
    try:
        return call()
    except StripeRefusedError as error:
        if error.code == stripe_linking.KEY_REUSED:
            raise IdempotencyConflictError(
                "This Idempotency-Key was used before with another request. Send a new key, or the earlier request unchanged."
            ) from None
        raise


def parameters(new: NewSession) -> dict[str, Any]:
    """Stripe's parameters."""
    if new.via == "financial_connections":
        subcategories = PAYING_SUBCATEGORIES if new.for_payouts else SUBCATEGORIES
        return _given(
            account_holder={
                "type": "customer" if new.connected_account is None else "account",
                **_given(**{kind: getattr(new, name) for name, kind in HOLDERS.items()}),
            },
            permissions=new.asked,
            prefetch=list(new.prefetch),
            filters={
                "account_subcategories": list(subcategories),
                "require_payment_method_support": new.payment_method_support,
                **new.filters,
            },
            limits={"accounts": new.limit},
            manual_entry={"mode": new.manual_entry or "disabled"},
            return_url=new.return_url,
        )
    linking = _given(permissions=new.asked, prefetch=list(new.prefetch), filters=dict(new.filters))
    bank = {"verification_method": "instant" if new.manual_entry == "disabled" else "automatic"}
    common = {
        "customer": new.customer,
        "customer_account": new.customer_account,
        "allowed_payment_method_types": [BANK_ACCOUNT],
    }
    if new.via == "checkout_session":
        price = {"currency": new.currency, "unit_amount": new.amount, "product_data": {"name": new.description or "Payment"}}
        # In payment mode the currency is that of the price. In setup mode it decides which payment methods Checkout offers.
        purpose: dict[str, Any] = {"mode": "setup", "currency": new.currency}
        if new.amount is not None:
            purpose = {"mode": "payment", "line_items": [{"price_data": price, "quantity": 1}]}
        return _given(
            **common,
            **purpose,
            success_url=new.return_url,
            payment_method_options={"us_bank_account": {**bank, "financial_connections": linking}},
        )
    linking |= _given(return_url=new.return_url)
    money = {"amount": new.amount, "currency": new.currency} if new.via == "payment_intent" else {}
    return _given(**common, **money, payment_method_options={"us_bank_account": {**bank, "financial_connections": linking}})


def _given(**parts: Any) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if value not in (None, {}, [])}
