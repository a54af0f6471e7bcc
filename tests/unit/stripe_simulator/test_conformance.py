"""Every operation in every scenario against Stripe's OpenAPI document, and the checker itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
import stripe

from local.stripe_simulator.scenarios import SCENARIOS
from tests.support.stripe_openapi import UNNAMED, StripeOpenAPI, from_environment

ACCOUNT = "/v1/financial_connections/accounts/fca_a"


@pytest.fixture
def document() -> StripeOpenAPI:
    document = from_environment()
    if document is None:
        pytest.skip(UNNAMED)
    return document


def attempt(call: Any) -> Any:
    try:
        return call()
    except stripe.StripeError as error:
        return error


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_all_exchanges_about_an_account_fit(document: StripeOpenAPI, driver: Any, scenario: str) -> None:
    policy = {"failure_error": None}  # a preview, in no public document
    driver.sim.link(scenario, id="fca_a", customer="cus_1", policy=policy)
    for _ in range(2):
        for expand in ([], ["ownership"], ["account_holder.customer"]):
            account = attempt(lambda expand=expand: driver.accounts.retrieve("fca_a", {"expand": expand}))
            attempt(lambda expand=expand: driver.accounts.list({"expand": [f"data.{path}" for path in expand], "limit": 3}))
        if isinstance(account.ownership, str):
            attempt(lambda account=account: driver.accounts.owners.list("fca_a", {"ownership": account.ownership, "limit": 5}))
        for features in (["ownership"], ["balance", "transactions"]):
            attempt(lambda features=features: driver.accounts.refresh("fca_a", {"features": features, "expand": ["ownership"]}))
        driver.wait(70)
    attempt(lambda: driver.accounts.subscribe("fca_a", {"features": ["transactions"]}))
    driver.sim.change("fca_a", expected_deactivation_date=1_900_000_000, action="update_account_numbers")
    attempt(lambda: driver.accounts.retrieve("fca_a"))
    attempt(lambda: driver.accounts.unsubscribe("fca_a", {"features": ["transactions"]}))
    attempt(lambda: driver.accounts.disconnect("fca_a"))
    for event in driver.stripe.v1.events.list({"limit": 100, "delivery_success": True}).data:
        document.validate_event(driver.stripe.v1.events.retrieve(event.id).to_dict())
    known = [document.validate_response(method, target, status, answer) for method, target, _, status, answer in driver.http.exchanges]
    assert len(known) > 15
    assert all(known), "the document names every operation used here"


@pytest.mark.parametrize("kind", ["setup_intents", "customers", "sessions"])
def test_all_exchanges_about_linking_fit(document: StripeOpenAPI, driver: Any, kind: str) -> None:
    v1 = driver.stripe.v1
    customer = v1.customers.create({"email": "someone@example.com", "name": "Some One", "address": {"line1": "1 EXAMPLE ST"}})
    v1.customers.retrieve(customer.id)
    if kind == "setup_intents":
        linking = {"permissions": ["ownership", "payment_method"], "prefetch": ["ownership"], "return_url": "https://example.com"}
        intent = v1.setup_intents.create(
            {"customer": customer.id, "payment_method_options": {"us_bank_account": {"financial_connections": linking}}}
        )
        done = driver.sim.complete(intent.id)
        v1.setup_intents.retrieve(intent.id, {"expand": ["payment_method", "customer"]})
        v1.payment_methods.retrieve(done["payment_method"], {"expand": ["customer"]})
    if kind == "sessions":
        holder = {"type": "customer", "customer": customer.id}
        session = v1.financial_connections.sessions.create(
            {"account_holder": holder, "permissions": ["ownership"], "limits": {"accounts": 1}, "manual_entry": {"mode": "disabled"}}
        )
        driver.sim.complete(session.id, accounts=[{"scenario": "fresh"}])
        v1.financial_connections.sessions.retrieve(session.id, {"expand": ["accounts.data.ownership"]})
    for method, target, body, status, answer in driver.http.exchanges:
        assert document.validate_request(method, target, body)
        assert document.validate_response(method, target, status, answer)


@pytest.mark.parametrize(
    ("status", "faults"),
    [(401, None), (403, None), (404, None), (409, "conflict"), (429, "rate_limit"), (500, "server_error")],
)
def test_every_error_fits(document: StripeOpenAPI, make_driver: Any, status: int, faults: str | None) -> None:
    driver = make_driver(denied={"rk_test_x": frozenset({"GET /v1/financial_connections/accounts/{account}"})})
    if faults:
        driver.sim.fail_api(faults)
    key = {401: "nonsense", 403: "rk_test_x"}.get(status, "sk_test_x")
    answer = driver.sim.handle("GET", ACCOUNT, {"Authorization": f"Bearer {key}"})
    assert answer.status == status
    assert document.validate_response("GET", ACCOUNT, status, answer.body)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", f"{ACCOUNT}/refresh", "features[0]=balances"),
        ("POST", f"{ACCOUNT}/refresh", "features[0]=ownership&colour=red"),
        ("POST", f"{ACCOUNT}/refresh", "expand[0]=ownership"),
        ("GET", f"{ACCOUNT}/owners", ""),
        ("GET", f"{ACCOUNT}/owners?ownership=fcaowns_1&limit=many", ""),
        ("GET", f"{ACCOUNT}?colour=red", ""),
    ],
)
def test_the_checker_finds_a_wrong_request(document: StripeOpenAPI, method: str, target: str, body: str) -> None:
    with pytest.raises(AssertionError, match="does not fit"):
        document.validate_request(method, target, body)


@pytest.mark.parametrize(
    "change", [{"status": "pending"}, {"colour": "red"}, {"created": "today"}, {"ownership_refresh": {"status": "failed"}}]
)
def test_the_checker_finds_a_wrong_answer(document: StripeOpenAPI, driver: Any, change: dict[str, Any]) -> None:
    account = driver.sim.link("fresh", id="fca_a")["account"]
    right = {"object": "list", "data": [account], "has_more": False, "url": "/v1/financial_connections/accounts"}
    list_path = "/v1/financial_connections/accounts"
    assert document.validate_response("GET", list_path, 200, json.dumps(right))
    wrong = right | {"data": [account | change]}
    with pytest.raises(AssertionError, match="does not fit"):
        document.validate_response("GET", list_path, 200, json.dumps(wrong))
