"""Sessions, intents and Checkout, and what is linked when an end user completes them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stripe_client import refusal

BANK = {"us_bank_account": {"financial_connections": {"permissions": ["ownership", "payment_method"], "prefetch": ["ownership"]}}}


@pytest.fixture
def customer(driver: Any) -> str:
    return driver.stripe.v1.customers.create({"email": "someone@example.com", "metadata": {"order": "1"}}).id


def test_a_customer_is_kept_as_created(driver: Any, customer: str) -> None:
    found = driver.stripe.v1.customers.retrieve(customer)
    assert (found.email, found.metadata.to_dict(), found.name) == ("someone@example.com", {"order": "1"}, None)


def test_completing_a_session_links_accounts_with_its_permissions_and_prefetch(driver: Any, customer: str) -> None:
    session = driver.stripe.v1.financial_connections.sessions.create(
        {
            "account_holder": {"type": "customer", "customer": customer},
            "permissions": ["ownership", "payment_method"],
            "prefetch": ["ownership"],
            "filters": {"account_subcategories": ["checking"], "country": "US", "require_payment_method_support": "all"},
            "limits": {"accounts": 2},
            "manual_entry": {"mode": "automatic"},
            "return_url": "https://example.com/back",
        }
    )
    assert session.client_secret.startswith("fcsess_client_secret_")
    assert session.accounts.data == []
    linked = driver.sim.complete(session.id, accounts=[{"scenario": "joint", "id": "fca_a"}, {"scenario": "business"}])["accounts"]
    found = driver.stripe.v1.financial_connections.sessions.retrieve(session.id)
    assert [account.id for account in found.accounts.data] == linked
    assert [account.ownership_refresh.status for account in found.accounts.data] == ["pending", "pending"]
    assert found.accounts.data[0].permissions == ["ownership", "payment_method"]
    assert {account.id for account in driver.accounts.list({"session": session.id}).data} == set(linked)
    assert {account.id for account in driver.accounts.list({"account_holder": {"customer": customer}}).data} == set(linked)


def test_a_session_for_an_unknown_customer_is_refused(driver: Any) -> None:
    holder = {"type": "customer", "customer": "cus_gone"}
    error = refusal(
        lambda: driver.stripe.v1.financial_connections.sessions.create({"account_holder": holder, "permissions": ["ownership"]})
    )
    assert (error.code, error.param) == ("resource_missing", "account_holder[customer]")


def test_a_session_without_its_holder_is_refused(driver: Any) -> None:
    create = driver.stripe.v1.financial_connections.sessions.create
    error = refusal(lambda: create({"account_holder": {"type": "customer"}, "permissions": ["ownership"]}))
    assert (error.code, error.param) == ("parameter_missing", "account_holder[customer]")


@pytest.mark.parametrize("kind", ["setup_intents", "payment_intents"])
def test_completing_an_intent_gives_a_payment_method_that_names_the_account(driver: Any, customer: str, kind: str) -> None:
    service = getattr(driver.stripe.v1, kind)
    amount = {"amount": 100, "currency": "usd"} if kind == "payment_intents" else {}
    intent = service.create({"customer": customer, "payment_method_types": ["us_bank_account"], "payment_method_options": BANK, **amount})
    assert intent.status == "requires_payment_method"
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    done = driver.sim.complete(intent.id, accounts=[{"scenario": "single_owner", "id": "fca_a"}])
    found = service.retrieve(intent.id, {"expand": ["payment_method", "customer"]})
    assert found.payment_method.us_bank_account.financial_connections_account == "fca_a"
    assert found.customer.id == customer
    assert driver.stripe.v1.payment_methods.retrieve(done["payment_method"]).customer == customer
    account = driver.accounts.retrieve("fca_a")
    assert (account.permissions, account.ownership_refresh.status) == (["ownership", "payment_method"], "pending")


def test_a_manually_entered_account_is_linked_to_nothing(driver: Any, customer: str) -> None:
    intent = driver.stripe.v1.setup_intents.create({"customer": customer})
    method = driver.sim.complete(intent.id, manual=True)["payment_method"]
    assert driver.stripe.v1.payment_methods.retrieve(method).us_bank_account.financial_connections_account is None


@pytest.mark.parametrize("mode", ["setup", "payment"])
def test_a_checkout_session_leads_to_the_account(driver: Any, customer: str, mode: str) -> None:
    service = driver.stripe.v1.checkout.sessions
    session = service.create(
        {
            "mode": mode,
            "customer": customer,
            "currency": "usd",
            "success_url": "https://example.com",
            "payment_method_types": ["us_bank_account"],
            "payment_method_options": BANK,
        }
    )
    assert session.url.startswith("https://checkout.stripe.com/")
    driver.sim.complete(session.id, accounts=[{"id": "fca_a"}])
    found = service.retrieve(session.id, {"expand": [f"{mode}_intent.payment_method"]})
    assert found.status == "complete"
    assert found[f"{mode}_intent"].payment_method.us_bank_account.financial_connections_account == "fca_a"


def test_without_asking_for_ownership_there_is_no_permission(driver: Any, customer: str) -> None:
    intent = driver.stripe.v1.setup_intents.create({"customer": customer})
    driver.sim.complete(intent.id, accounts=[{"id": "fca_a"}])
    assert driver.accounts.retrieve("fca_a").permissions == ["payment_method"]


def test_a_session_of_a_connected_account_belongs_to_it(driver: Any) -> None:
    options = {"stripe_account": "acct_1"}
    params = {"account_holder": {"type": "account", "account": "acct_1"}, "permissions": ["ownership"]}
    session = driver.stripe.v1.financial_connections.sessions.create(params, options)
    with pytest.raises(KeyError):
        driver.sim.complete(session.id)
    (account,) = driver.sim.complete(session.id, stripe_account="acct_1")["accounts"]
    assert driver.accounts.retrieve(account, None, options).account_holder.account == "acct_1"


def test_payment_intents_need_an_amount(driver: Any) -> None:
    assert refusal(lambda: driver.stripe.v1.payment_intents.create({"currency": "usd"})).param == "amount"
