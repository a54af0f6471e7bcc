"""Sessions, intents and Checkout, and what is linked when an end user completes them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stripe_client import refusal

BANK = {"us_bank_account": {"financial_connections": {"permissions": ["ownership", "payment_method"], "prefetch": ["ownership"]}}}


RENT = [{"price_data": {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Rent"}}, "quantity": 1}]
BANK_ONLY = {"allowed_payment_method_types": ["us_bank_account"]}
KINDS: dict[str, dict[str, Any]] = {
    "setup_intents": {},
    "payment_intents": {"amount": 100, "currency": "usd"},
    "checkout.sessions": {"mode": "setup", "currency": "usd", "success_url": "https://example.com"},
}


def service(driver: Any, kind: str) -> Any:
    found = driver.stripe.v1
    for name in kind.split("."):
        found = getattr(found, name)
    return found


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


HELD: dict[str, tuple[dict[str, str], str | None]] = {
    "a customer account": ({"type": "customer", "customer_account": "acct_v2"}, None),
    "an account": ({"type": "account", "account": "acct_1"}, None),
    "an unknown customer account": ({"type": "customer", "customer_account": "acct_1"}, "account_holder[customer_account]"),
    "an account as a customer": ({"type": "customer", "account": "acct_1"}, "account_holder[account]"),
    "a customer as an account": ({"type": "account", "account": "acct_1", "customer": "cus_1"}, "account_holder[customer]"),
    "nobody": ({"type": "account"}, "account_holder[account]"),
}


@pytest.mark.parametrize("name", HELD)
def test_a_session_is_for_a_holder_of_its_type(driver: Any, name: str) -> None:
    holder, wrong = HELD[name]
    driver.sim.add_customer_account("acct_v2")

    def create() -> Any:
        return driver.stripe.v1.financial_connections.sessions.create({"account_holder": holder, "permissions": ["ownership"]})

    if wrong is None:
        [linked] = driver.sim.complete(create().id)["accounts"]
        assert driver.accounts.retrieve(linked).account_holder.to_dict() == holder
    else:
        assert refusal(create).param == wrong


@pytest.mark.parametrize("kind", KINDS)
def test_a_payment_is_of_a_customer_or_of_a_customer_account(driver: Any, customer: str, kind: str) -> None:
    driver.sim.add_customer_account("acct_v2")
    params = {**KINDS[kind], "payment_method_options": BANK}
    made = service(driver, kind).create({**params, "customer_account": "acct_v2"})
    assert (made.customer_account, made.customer) == ("acct_v2", None)
    done = driver.sim.complete(made.id)
    assert driver.accounts.retrieve(done["accounts"][0]).account_holder.customer_account == "acct_v2"
    assert driver.stripe.v1.payment_methods.retrieve(done["payment_method"]).customer_account == "acct_v2"
    both = refusal(lambda: service(driver, kind).create({**params, "customer": customer, "customer_account": "acct_v2"}))
    unknown = refusal(lambda: service(driver, kind).create({**params, "customer_account": "acct_1"}))
    assert (both.param, unknown.param, unknown.code) == ("customer_account", "customer_account", "resource_missing")


def test_a_limit_may_be_empty(driver: Any, customer: str) -> None:
    params = {"account_holder": {"type": "customer", "customer": customer}, "permissions": ["ownership"], "limits": {"accounts": ""}}
    made = driver.stripe.v1.financial_connections.sessions.create(params)
    assert len(driver.sim.complete(made.id, accounts=[{"scenario": "joint"}] * 3)["accounts"]) == 3


@pytest.mark.parametrize("kind", ["setup_intents", "payment_intents"])
def test_completing_an_intent_gives_a_payment_method_that_names_the_account(driver: Any, customer: str, kind: str) -> None:
    service = getattr(driver.stripe.v1, kind)
    amount = {"amount": 100, "currency": "usd"} if kind == "payment_intents" else {}
    intent = service.create(
        {"customer": customer, "allowed_payment_method_types": ["us_bank_account"], "payment_method_options": BANK, **amount}
    )
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
            **({"line_items": RENT} if mode == "payment" else {}),
            "success_url": "https://example.com",
            "allowed_payment_method_types": ["us_bank_account"],
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


# -- which payment methods are offered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_payment_method_types_can_no_longer_be_given(driver: Any, kind: str) -> None:
    error = refusal(lambda: service(driver, kind).create({**KINDS[kind], "payment_method_types": ["us_bank_account"]}))
    assert (error.http_status, error.code, error.param) == (400, "payment_method_types_no_longer_supported", "payment_method_types")


@pytest.mark.parametrize("kind", KINDS)
def test_allowed_types_filter_those_that_the_account_has(driver: Any, kind: str) -> None:
    create = service(driver, kind).create
    assert "us_bank_account" in create(KINDS[kind]).payment_method_types
    assert create({**KINDS[kind], **BANK_ONLY}).payment_method_types == ["us_bank_account"]
    assert create({**KINDS[kind], "allowed_payment_method_types": ["card", "zip"]}).payment_method_types == ["card"]
    assert create({**KINDS[kind], "excluded_payment_method_types": ["us_bank_account"]}).payment_method_types == ["card", "link"]


@pytest.mark.parametrize("kind", KINDS)
def test_unavailable_type_is_left_out_without_an_error(driver: Any, kind: str) -> None:
    driver.sim.configure(unavailable_payment_methods=["us_bank_account"])
    made = service(driver, kind).create({**KINDS[kind], **BANK_ONLY})
    assert made.payment_method_types == []
    with pytest.raises(ValueError, match="does not take us_bank_account"):
        driver.sim.complete(made.id)


def test_payment_in_another_currency_is_not_made_from_a_us_bank_account(driver: Any) -> None:
    made = driver.stripe.v1.payment_intents.create({"amount": 100, "currency": "eur", **BANK_ONLY})
    assert made.payment_method_types == []


@pytest.mark.parametrize(
    ("kind", "rival"),
    [
        *((kind, {"excluded_payment_method_types": ["card"]}) for kind in KINDS),
        *((kind, {"payment_method_configuration": "pmc_1"}) for kind in KINDS),
        *((kind, {"automatic_payment_methods": {"enabled": True}}) for kind in ("setup_intents", "payment_intents")),
    ],
)
def test_allowed_types_stand_alone(driver: Any, kind: str, rival: dict[str, Any]) -> None:
    error = refusal(lambda: service(driver, kind).create({**KINDS[kind], **BANK_ONLY, **rival}))
    assert (error.http_status, error.param) == (400, "allowed_payment_method_types")


@pytest.mark.parametrize("kind", KINDS)
def test_permissions_of_a_payment_include_paying(driver: Any, kind: str) -> None:
    bank = {"us_bank_account": {"financial_connections": {"permissions": ["ownership"]}}}
    error = refusal(lambda: service(driver, kind).create({**KINDS[kind], **BANK_ONLY, "payment_method_options": bank}))
    assert error.param == "payment_method_options[us_bank_account][financial_connections][permissions]"


# -- Checkout's rules ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "lacks"),
    [
        ({}, "mode"),
        ({"mode": "setup"}, "currency"),
        ({"mode": "payment", "currency": "usd"}, "line_items"),
    ],
)
def test_checkout_says_what_is_missing(driver: Any, params: dict[str, Any], lacks: str) -> None:
    error = refusal(lambda: driver.stripe.v1.checkout.sessions.create({"success_url": "https://example.com", **params}))
    assert (error.code, error.param) == ("parameter_missing", lacks)


def test_checkout_needs_no_currency_where_the_types_are_given(driver: Any) -> None:
    assert driver.stripe.v1.checkout.sessions.create({"mode": "setup", **BANK_ONLY}).currency is None


def test_checkout_on_a_page_of_ones_own_has_a_secret_and_no_url(driver: Any) -> None:
    create = driver.stripe.v1.checkout.sessions.create
    embedded = {"mode": "setup", **BANK_ONLY, "ui_mode": "embedded_page"}
    made = create({**embedded, "return_url": "https://example.com/back"}).to_dict()
    assert (made["url"], made["return_url"]) == (None, "https://example.com/back")
    assert made["client_secret"].startswith(f"{made['id']}_secret_")
    assert refusal(lambda: create({**embedded, "success_url": "https://example.com"})).param == "success_url"
    hosted = create({"mode": "setup", **BANK_ONLY, "success_url": "https://example.com"}).to_dict()
    assert (hosted["client_secret"], "return_url" in hosted) == (None, False)


def test_deleted_customer_is_shown_as_deleted_and_takes_no_session(driver: Any, customer: str) -> None:
    driver.sim.delete_customer(customer)
    assert driver.stripe.v1.customers.retrieve(customer).to_dict() == {"id": customer, "object": "customer", "deleted": True}
    assert refusal(lambda: driver.stripe.v1.setup_intents.create({"customer": customer})).code == "resource_missing"
