"""Authentication, contexts, parameters and errors, as the SDK receives them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import stripe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.stripe_simulator.options import GA_VERSION, PREVIEW_VERSION
from tests.support.stripe_client import LIVE_KEY, TEST_KEY, refusal

AUTH = {"Authorization": f"Bearer {TEST_KEY}"}
ACCOUNTS = "/v1/financial_connections/accounts"


@pytest.mark.parametrize("authorization", [None, "", "Bearer ", "Bearer nonsense", "Bearer pk_test_x", "Basic !!", "Digest x"])
def test_a_missing_or_bad_key_is_401(driver: Any, authorization: str | None) -> None:
    answer = driver.sim.handle("GET", ACCOUNTS, {} if authorization is None else {"Authorization": authorization})
    assert (answer.status, answer.json()["error"]["type"]) == (401, "invalid_request_error")


def test_basic_authentication_takes_the_key_as_the_user(driver: Any) -> None:
    credential = base64.b64encode(f"{TEST_KEY}:".encode()).decode()
    assert driver.sim.handle("GET", ACCOUNTS, {"authorization": f"Basic {credential}"}).status == 200


def test_only_listed_keys_are_accepted_when_there_is_a_list(make_driver: Any) -> None:
    driver = make_driver(api_keys=frozenset({"sk_test_other"}))
    assert isinstance(refusal(lambda: driver.accounts.list()), stripe.AuthenticationError)
    assert driver.client("sk_test_other").v1.financial_connections.accounts.list().data == []


@pytest.mark.parametrize("version", [GA_VERSION, PREVIEW_VERSION])
def test_an_answer_names_its_request_and_echoes_the_version(driver: Any, version: str) -> None:
    answer = driver.sim.handle("GET", ACCOUNTS, {**AUTH, "Stripe-Version": version})
    assert (answer.status, answer.headers["Stripe-Version"]) == (200, version)
    assert answer.headers["Request-Id"].startswith("req_")


def test_a_request_without_a_version_is_answered_in_the_accounts_own(driver: Any) -> None:
    assert driver.sim.handle("GET", ACCOUNTS, AUTH).headers["Stripe-Version"] == GA_VERSION


@pytest.mark.parametrize("version", ["2024-04-10", "2026-10-28", "2026-09-30.preview; some_beta=v1", "latest", ""])
def test_another_version_is_refused(driver: Any, version: str) -> None:
    answer = driver.sim.handle("GET", ACCOUNTS, {**AUTH, "Stripe-Version": version})
    assert answer.status == 400
    assert f"Invalid Stripe API version: {version}" in answer.json()["error"]["message"]


def test_preview_parameters_are_unknown_to_the_general_version(driver: Any) -> None:
    body = b"permissions[0]=ownership&account_holder[type]=account&account_holder[account]=acct_1&ui_mode=modal"
    for version, status in ((GA_VERSION, 400), (PREVIEW_VERSION, 200)):
        headers = {**AUTH, "Stripe-Version": version}
        answer = driver.sim.handle("POST", "/v1/financial_connections/sessions", headers, body)
        assert answer.status == status, answer.body
    refused = driver.sim.handle("POST", "/v1/financial_connections/sessions", AUTH, body).json()["error"]
    assert (refused["code"], refused["param"]) == ("parameter_unknown", "ui_mode")


def test_live_and_test_objects_never_mix(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_test")
    driver.sim.link("single_owner", id="fca_live", livemode=True)
    live = driver.client(LIVE_KEY).v1.financial_connections.accounts
    assert [account.id for account in driver.accounts.list().data] == ["fca_test"]
    assert [(account.id, account.livemode) for account in live.list().data] == [("fca_live", True)]
    error = refusal(lambda: live.retrieve("fca_test"))
    assert (error.http_status, error.code) == (404, "resource_missing")
    assert "test mode" in str(error)


def test_live_mode_needs_the_registration(make_driver: Any) -> None:
    driver = make_driver(live_registered=False)
    error = refusal(lambda: driver.client(LIVE_KEY).v1.financial_connections.accounts.list())
    assert isinstance(error, stripe.PermissionError)
    assert driver.accounts.list().data == []


def test_a_restricted_key_meets_403_where_it_lacks_the_permission(make_driver: Any) -> None:
    driver = make_driver(denied={"rk_test_x": frozenset({f"POST {ACCOUNTS}/{{account}}/refresh"})})
    driver.sim.link("single_owner", id="fca_a")
    restricted = driver.client("rk_test_x").v1.financial_connections.accounts
    assert restricted.retrieve("fca_a").id == "fca_a"
    assert refusal(lambda: restricted.refresh("fca_a", {"features": ["ownership"]})).http_status == 403


@pytest.mark.parametrize(
    "header",
    [
        {"stripe_account": "acct_1"},
        {"stripe_context": "acct_1"},
        {"stripe_context": "acct_0/acct_1"},
        {"stripe_context": "org_simulated/acct_1"},
        {"stripe_context": "org_simulated/acct_simulated/acct_1"},
        {"stripe_account": "acct_2", "stripe_context": "org_simulated/acct_1"},
    ],
)
def test_objects_belong_to_the_connected_account_whose_context_made_them(driver: Any, header: dict[str, str]) -> None:
    driver.sim.link("single_owner", id="fca_connected", stripe_account="acct_1")
    driver.sim.link("single_owner", id="fca_platform")
    assert driver.accounts.retrieve("fca_connected", None, header).id == "fca_connected"
    assert refusal(lambda: driver.accounts.retrieve("fca_connected")).code == "resource_missing"
    assert refusal(lambda: driver.accounts.retrieve("fca_platform", None, header)).code == "resource_missing"
    assert refusal(lambda: driver.accounts.retrieve("fca_connected", None, {"stripe_account": "acct_2"})).code == "resource_missing"


@pytest.mark.parametrize("context", ["acct_simulated", "org_simulated/acct_simulated"])
def test_context_of_the_keys_own_account_is_the_platform(driver: Any, context: str) -> None:
    driver.sim.link("single_owner", id="fca_1")
    options = {"stripe_context": context}
    assert driver.accounts.retrieve("fca_1", None, options).id == "fca_1"
    assert driver.stripe.v1.accounts.retrieve_current({}, options).id == driver.stripe.v1.accounts.retrieve_current().id == "acct_simulated"
    assert driver.stripe.v1.accounts.retrieve_current({}, {"stripe_account": "acct_1"}).id == "acct_1"


@pytest.mark.parametrize(
    ("context", "status"),
    [("org_simulated/acct_foreign", 403), ("acct_foreign", 403), ("acct_foreign/acct_1", 403), ("org_other/acct_1", 403),
     ("org_simulated/org_other/acct_1", 403), ("org_simulated", 400), ("acct_1/org_simulated", 400), ("org_simulated//acct_1", 400)],
)  # fmt: skip
def test_context_that_the_key_may_not_use_is_refused(driver: Any, context: str, status: int) -> None:
    driver.sim.configure(foreign=["acct_foreign"])
    refused = refusal(lambda: driver.stripe.v1.events.list({}, {"stripe_context": context}))
    assert refused.http_status == status


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ("", "parameter_missing", "features"),
        ("features[]=balances", None, "features[0]"),
        ("features=ownership", None, "features"),
        ("features[]=ownership&colour=red", "parameter_unknown", "colour"),
        ("features[]=ownership&expand[]=owners", None, "expand[0]"),
    ],
)
def test_wrong_refresh_parameters_are_named_and_start_nothing(driver: Any, form: str, code: str | None, param: str) -> None:
    driver.sim.link("single_owner", id="fca_a")
    answer = driver.sim.handle("POST", f"{ACCOUNTS}/fca_a/refresh", AUTH, form.encode())
    error = answer.json()["error"]
    assert (answer.status, error["type"], error.get("code"), error["param"]) == (400, "invalid_request_error", code, param)
    assert driver.sim.initiated_refreshes() == {"fca_a": 0}


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        ("limit=0", "parameter_invalid_integer", "limit"),
        ("limit=101", "parameter_invalid_integer", "limit"),
        ("limit=ten", "parameter_invalid_integer", "limit"),
        ("account_holder[colour]=red", "parameter_unknown", "account_holder[colour]"),
        ("account_holder[customer]=a&account_holder[account]=b", None, "account_holder"),
        ("starting_after=fca_gone", "resource_missing", "starting_after"),
    ],
)
def test_wrong_list_parameters_are_named(driver: Any, query: str, code: str | None, param: str) -> None:
    answer = driver.sim.handle("GET", f"{ACCOUNTS}?{query}", AUTH)
    error = answer.json()["error"]
    assert (answer.status, error.get("code"), error["param"]) == (400, code, param)


def test_owners_need_the_ownership_named(driver: Any) -> None:
    driver.sim.link("fresh", id="fca_a")
    assert driver.sim.handle("GET", f"{ACCOUNTS}/fca_a/owners", AUTH).json()["error"]["param"] == "ownership"


def test_subscribing_to_ownership_is_refused(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    assert refusal(lambda: driver.accounts.subscribe("fca_a", {"features": ["ownership"]})).http_status == 400
    assert driver.accounts.subscribe("fca_a", {"features": ["transactions"]}).subscriptions == ["transactions"]
    assert driver.accounts.unsubscribe("fca_a", {"features": ["transactions"]}).subscriptions == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nothing"), ("DELETE", ACCOUNTS), ("GET", "/"), ("GET", "//[x"), ("POST", f"{ACCOUNTS}/fca_a/refresh/again")],
)
def test_unknown_urls_are_404(driver: Any, method: str, path: str) -> None:
    assert driver.sim.handle(method, path, AUTH).status == 404


def test_accounts_are_listed_newest_first_by_holder_and_session(driver: Any) -> None:
    for number in range(3):
        driver.sim.link("single_owner", id=f"fca_{number}", customer="cus_1")
    driver.sim.link("single_owner", id="fca_other", customer="cus_2", session="fcsess_1")
    of = lambda **params: [account.id for account in driver.accounts.list(params).data]  # noqa: E731
    assert of(account_holder={"customer": "cus_1"}) == ["fca_2", "fca_1", "fca_0"]
    assert of(session="fcsess_1") == ["fca_other"]
    assert of(account_holder={"customer": "cus_1"}, limit=2) == ["fca_2", "fca_1"]
    assert of(account_holder={"customer": "cus_1"}, ending_before="fca_0", limit=1) == ["fca_1"]


def test_lists_may_lag_behind_or_lack_an_account(make_driver: Any) -> None:
    driver = make_driver(settle_seconds=5.0, cooldown_seconds=0.0)
    driver.sim.link("single_owner", id="fca_never", customer="cus_1", policy={"unlisted": True})
    driver.sim.link("single_owner", id="fca_late", customer="cus_1", policy={"list_lag_seconds": 20})

    def shown() -> list[tuple[str, str | None, Any]]:
        page = driver.accounts.list({"account_holder": {"customer": "cus_1"}, "expand": ["data.ownership"]}).to_dict()
        return [
            (each["status"], each["ownership_refresh"] and each["ownership_refresh"]["status"], each["ownership"]) for each in page["data"]
        ]

    assert shown() == []
    driver.wait(20)
    assert shown() == [("active", None, None)]
    driver.refresh("fca_late")
    driver.wait(19)
    assert shown() == [("active", None, None)]
    driver.wait(1)
    assert shown() == [("active", "pending", None)]
    driver.wait(5)
    [(_, status, first)] = shown()
    assert (status, first["owners"]["data"][0]["name"]) == ("succeeded", "MARGARET ANNE TESTERMAN")
    driver.refresh("fca_late")
    driver.wait(6)
    assert driver.accounts.retrieve("fca_late").ownership != first["id"]
    assert shown() == [("active", "succeeded", first)]
    driver.sim.change("fca_late", action="deactivate")
    driver.wait(14)
    assert shown()[0][0] == "active"
    driver.wait(7)
    assert shown()[0][0] == "inactive"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(owners=st.integers(0, 30), limit=st.integers(1, 100), cap=st.none() | st.integers(1, 4))
def test_the_sdk_pages_through_every_owner_exactly_once(make_driver: Any, owners: int, limit: int, cap: int | None) -> None:
    driver = make_driver()
    everyone = [f"OWNER {number}" for number in range(owners)]
    driver.sim.link("fresh", id="fca_a", owners=[{"name": name} for name in everyone], policy={"owners_page": cap})
    ownership = driver.accounts.retrieve("fca_a", {"expand": ["ownership"]}).ownership
    listed = driver.accounts.owners.list("fca_a", {"ownership": ownership.id, "limit": limit})
    assert [owner.name for owner in listed.auto_paging_iter()] == everyone
    assert [owner.name for owner in ownership.owners.auto_paging_iter()] == everyone


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(method=st.sampled_from(["GET", "POST"]), query=st.text(max_size=40), body=st.binary(max_size=60))
def test_no_request_makes_the_simulator_fail(driver: Any, method: str, query: str, body: bytes) -> None:
    for path in (ACCOUNTS, f"{ACCOUNTS}/fca_a/refresh", "/v1/customers", "/v1/events", "/v1/checkout/sessions"):
        answer = driver.sim.handle(method, f"{path}?{query}", AUTH, body)
        assert answer.status in (200, 400, 404)
        json.loads(answer.body)
