"""Finding accounts by what collected them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sandbox import Sandbox
from titleholder import errors
from titleholder.domain.accounts import AccountRef
from titleholder.services import linked_accounts
from titleholder.services.linked_accounts import AccountSelector, resolve_accounts

BANK: Any = {"us_bank_account": {"financial_connections": {"permissions": ["payment_method", "ownership"]}}}


def intent(stripe: Any, kind: str, customer: str | None = None, **options: Any) -> str:
    params: Any = {"allowed_payment_method_types": ["us_bank_account"], "payment_method_options": BANK}
    params |= {"customer": customer} if customer else {}
    match kind:
        case "setup_intent":
            return str(stripe.setup_intents.create(params, options).id)
        case "payment_intent":
            return str(stripe.payment_intents.create({**params, "amount": 500, "currency": "usd"}, options).id)
        case "checkout_session":
            return str(stripe.checkout.sessions.create({**params, "mode": "setup", "success_url": "https://example.org"}, options).id)
    params = {"account_holder": {"type": "customer", "customer": customer}, "permissions": ["ownership"]}
    return str(stripe.financial_connections.sessions.create(params, options).id)


INTENTS = ("setup_intent", "payment_intent", "checkout_session")


@pytest.mark.parametrize("kind", INTENTS)
def test_intent_or_checkout_session_names_the_account_it_collected(sandbox: Sandbox, stripe: Any, kind: str) -> None:
    id = intent(stripe, kind)
    done = sandbox.simulator.complete(id)
    assert resolve_accounts(sandbox.deps, AccountSelector("session", id)) == [AccountRef(done["accounts"][0])]
    assert resolve_accounts(sandbox.deps, AccountSelector("payment_method", done["payment_method"])) == [AccountRef(done["accounts"][0])]
    assert resolve_accounts(sandbox.deps, AccountSelector("session", done["payment_method"])) == [AccountRef(done["accounts"][0])]


def test_session_names_every_account_it_collected(sandbox: Sandbox, stripe: Any) -> None:
    customer = stripe.customers.create({}).id
    id = intent(stripe, "financial_connections", customer)
    linked = sandbox.simulator.complete(id, accounts=[{"scenario": "single_owner"}] * 13)["accounts"]
    found = resolve_accounts(sandbox.deps, AccountSelector("session", id))
    assert sorted(ref.account for ref in found) == sorted(linked)
    assert sorted(ref.account for ref in resolve_accounts(sandbox.deps, AccountSelector("customer", customer))) == sorted(linked)


def test_account_of_a_connected_account_stays_there(sandbox: Sandbox, stripe: Any) -> None:
    id = intent(stripe, "setup_intent", stripe_account="acct_1")
    done = sandbox.simulator.complete(id, stripe_account="acct_1")
    there = AccountSelector("session", id, stripe_account="acct_1")
    assert resolve_accounts(sandbox.deps, there) == [AccountRef(done["accounts"][0], stripe_account="acct_1")]
    with pytest.raises(errors.SessionNotFoundError):
        resolve_accounts(sandbox.deps, AccountSelector("session", id))


@pytest.mark.parametrize("kind", INTENTS)
def test_account_typed_in_by_hand_is_none_and_says_so(sandbox: Sandbox, stripe: Any, kind: str) -> None:
    id = intent(stripe, kind)
    sandbox.simulator.complete(id, manual=True)
    assert linked_accounts.collect(sandbox.deps.stripe, id, None).manually_entered
    with pytest.raises(errors.NoLinkedAccountError, match="typed in by hand") as refused:
        resolve_accounts(sandbox.deps, AccountSelector("session", id))
    assert refused.value.reason == "manually_entered"


@pytest.mark.parametrize("kind", [*INTENTS, "financial_connections"])
def test_nothing_linked_yet_is_said_so(sandbox: Sandbox, stripe: Any, kind: str) -> None:
    id = intent(stripe, kind, stripe.customers.create({}).id)
    with pytest.raises(errors.NoLinkedAccountError) as refused:
        resolve_accounts(sandbox.deps, AccountSelector("session", id))
    assert refused.value.reason == "not_linked_yet"


def test_customers_disconnected_account_is_left_out(sandbox: Sandbox) -> None:
    kept, gone = (sandbox.link(customer="cus_1") for _ in range(2))
    sandbox.simulator.change(gone.account, action="disconnect")
    assert resolve_accounts(sandbox.deps, AccountSelector("customer", "cus_1")) == [kept]


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (AccountSelector("session", "fcsess_1"), errors.SessionNotFoundError),
        (AccountSelector("session", "seti_1"), errors.SessionNotFoundError),
        (AccountSelector("session", "pi_1"), errors.SessionNotFoundError),
        (AccountSelector("session", "cs_test_1"), errors.SessionNotFoundError),
        (AccountSelector("session", "sub_1"), errors.SessionNotFoundError),
        (AccountSelector("session", "pm_1"), errors.PaymentMethodNotFoundError),
        (AccountSelector("payment_method", "pm_1"), errors.PaymentMethodNotFoundError),
        (AccountSelector("customer", "cus_1"), errors.CustomerNotFoundError),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_what_stripe_does_not_know(sandbox: Sandbox, target: AccountSelector, error: type[Exception]) -> None:
    with pytest.raises(error):
        resolve_accounts(sandbox.deps, target)


def test_customer_without_account_is_distinguished_from_no_customer(sandbox: Sandbox, stripe: Any) -> None:
    with pytest.raises(errors.NoLinkedAccountError):
        resolve_accounts(sandbox.deps, AccountSelector("customer", stripe.customers.create({}).id))
