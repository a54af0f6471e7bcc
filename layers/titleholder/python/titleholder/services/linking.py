"""What a front end needs to have accounts linked: customers, and the four kinds of session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from titleholder.errors import BankAccountUnavailableError, CustomerNotFoundError, IdempotencyConflictError, StripeRefusedError
from titleholder.stripe_api import linking as stripe_linking
from titleholder.stripe_api.gateway import StripeGateway

Via = Literal["financial_connections", "setup_intent", "payment_intent", "checkout_session"]


BANK_ACCOUNT = "us_bank_account"
"""The only payment method that links an account."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the front end does with a session: what it calls, and the whole of it in words."""

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
        "redirect", "Send the browser to url. Stripe sends it on to the return_url when the account is linked."
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewSession:
    """How accounts are to be linked. The caller has checked that `via` accepts each part.

    `customer` or `connected_account` holds the accounts. `amount`: in the currency's smallest unit. `manual_entry`: automatic or disabled.
    """

    via: Via
    customer: str | None = None
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
        """The permissions that the end user is asked for: always the owners, and what a payment needs."""
        needed = ("ownership",) if self.via == "financial_connections" else ("ownership", "payment_method")
        return sorted({*needed, *self.permissions})


def create_customer(stripe: StripeGateway, email: str, stripe_account: str | None, key: str | None) -> str:
    """The id of a new Customer. Raises IdempotencyConflictError, StripeError."""
    made = _once(lambda: stripe_linking.create_customer(stripe, {"email": email}, stripe_account, key))
    return str(made["id"])


def create(stripe: StripeGateway, new: NewSession, stripe_account: str | None, key: str | None) -> dict[str, Any]:
    """The session or intent as Stripe made it.

    Raises BankAccountUnavailableError, CustomerNotFoundError, IdempotencyConflictError, StripeError.
    """
    try:
        made = _once(lambda: stripe_linking.create_session(stripe, new.via, parameters(new), stripe_account, key))
    except StripeRefusedError as error:
        if stripe_linking.is_missing(error):
            raise CustomerNotFoundError(
                "Stripe knows no such customer or connected account in this mode and under this connected account."
            ) from None
        raise
    # Stripe leaves out, without an error, each allowed payment method that this Stripe account can't be paid with.
    if new.via != "financial_connections" and BANK_ACCOUNT not in made["payment_method_types"]:
        raise BankAccountUnavailableError(
            "Stripe offers no us_bank_account for this session, so no account could be linked by it. Enable ACH Direct Debit in the Stripe "
            "Dashboard (Settings, Payment methods) for this Stripe account, then send the request with a new Idempotency-Key. "
            "Or use via financial_connections, which needs no payment method."
        )
    return made


def _once(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return call()
    except StripeRefusedError as error:
        if error.code == stripe_linking.KEY_REUSED:
            raise IdempotencyConflictError("This Idempotency-Key was used before with another body.") from None
        raise


def parameters(new: NewSession) -> dict[str, Any]:
    """Stripe's parameters."""
    if new.via == "financial_connections":
        return _given(
            account_holder=_given(
                type="customer" if new.customer else "account", customer=new.customer, account=new.connected_account
            ),
            permissions=new.asked,
            prefetch=list(new.prefetch),
            filters=dict(new.filters),
            limits=_given(accounts=new.max_accounts),
            manual_entry=_given(mode=new.manual_entry),
            return_url=new.return_url,
        )  # fmt: skip
    linking = _given(permissions=new.asked, prefetch=list(new.prefetch), filters=dict(new.filters))
    bank = _given(verification_method={"disabled": "instant"}.get(new.manual_entry or "", new.manual_entry))
    common = {"customer": new.customer, "allowed_payment_method_types": [BANK_ACCOUNT]}
    if new.via == "checkout_session":
        price = {"currency": new.currency, "unit_amount": new.amount, "product_data": {"name": new.description or "Payment"}}
        return _given(
            **common,
            mode="setup" if new.amount is None else "payment",
            line_items=[] if new.amount is None else [{"price_data": price, "quantity": 1}],
            success_url=new.return_url,
            payment_method_options={"us_bank_account": {**bank, "financial_connections": linking}},
        )
    linking |= _given(return_url=new.return_url)
    money = {"amount": new.amount, "currency": new.currency} if new.via == "payment_intent" else {}
    return _given(**common, **money, payment_method_options={"us_bank_account": {**bank, "financial_connections": linking}})


def _given(**parts: Any) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if value not in (None, {}, [])}
