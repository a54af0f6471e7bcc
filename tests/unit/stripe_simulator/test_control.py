"""The control interface, and the scenarios it serves."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from local.stripe_simulator import control
from local.stripe_simulator.scenarios import SCENARIOS
from tests.support.stripe_client import refusal


def call(driver: Any, method: str, path: str, **arguments: Any) -> Any:
    body = json.dumps(arguments).encode() if method != "GET" else b""
    answer = control.handle(driver.sim, method, f"/_simulator/{path}", body)
    return answer.status, answer.json()


def test_an_account_is_linked_changed_and_read(driver: Any) -> None:
    status, linked = call(
        driver, "POST", "accounts", scenario="joint", id="fca_a", stripe_account="acct_1", livemode=True, customer="cus_1"
    )
    assert (status, linked["id"], linked["livemode"], linked["account"]["account_holder"]["customer"]) == (200, "fca_a", True, "cus_1")
    call(driver, "POST", "accounts/fca_a", stripe_account="acct_1", livemode=True, action="prefetch", policy={"outcome": "failed"})
    driver.wait(5)
    status, state = call(driver, "GET", "accounts/fca_a?stripe_account=acct_1&livemode=true")
    assert (state["prefetches"], state["refreshes"][0]["status"]) == (1, "failed")
    assert [state["id"] for state in call(driver, "GET", "accounts")[1]] == ["fca_a"]


def test_endpoints_faults_and_logs_have_their_routes(driver: Any) -> None:
    _, endpoint = call(driver, "POST", "endpoints", url="http://hooks.example.com", secret=["whsec_a"], types=["*"])
    assert call(driver, "POST", "faults/webhooks", kind="drop", times=None) == (200, {"done": True})
    assert call(driver, "POST", "faults/api", kind="conflict", account="fca_a") == (200, {"done": True})
    call(driver, "POST", "accounts", scenario="fresh", id="fca_a")
    assert {entry["result"] for entry in call(driver, "GET", "deliveries")[1]} == {"dropped"}
    assert call(driver, "DELETE", "faults") == (200, {"done": True})
    assert driver.accounts.retrieve("fca_a").id == "fca_a"
    assert len(call(driver, "GET", "requests")[1]) == 1
    assert call(driver, "GET", "requests/counts")[1]["statuses"] == {"200": 1}
    assert call(driver, "GET", "refreshes") == (200, {"fca_a": 0})
    event = driver.stripe.v1.events.list().data[0].id
    assert call(driver, "POST", f"events/{event}/resend") == (200, {"deliveries": 1})
    assert call(driver, "DELETE", f"endpoints/{endpoint['id']}") == (200, {"done": True})


BAD_ADDRESSES = (
    "http://127.0.0.1:99999999/x",
    "http://[::1/x",
    "nonsense",
    "127.0.0.1:3000/x",
    "ftp://127.0.0.1/x",
    "http:///x",
    "http://a:b/",
)


@pytest.mark.parametrize("url", BAD_ADDRESSES)
def test_an_endpoint_whose_address_cannot_be_called_is_refused(driver: Any, url: str) -> None:
    status, answer = call(driver, "POST", "endpoints", url=url, secret="whsec_a")
    assert (status, answer["error"].startswith("url: ")) == (400, True)
    assert "http:// or https://" in answer["error"]


def test_a_session_is_completed(driver: Any) -> None:
    customer = driver.stripe.v1.customers.create().id
    params = {"account_holder": {"type": "customer", "customer": customer}, "permissions": ["ownership"]}
    session = driver.stripe.v1.financial_connections.sessions.create(params)
    assert call(driver, "POST", f"complete/{session.id}", accounts=[{"scenario": "trust", "id": "fca_a"}]) == (
        200,
        {"accounts": ["fca_a"], "payment_method": None},
    )


def test_a_customer_is_deleted_and_a_payment_method_made_unavailable(driver: Any) -> None:
    customer = driver.stripe.v1.customers.create().id
    assert call(driver, "DELETE", f"customers/{customer}") == (200, {"done": True})
    assert call(driver, "DELETE", "customers/cus_unheard")[0] == 404
    assert driver.stripe.v1.customers.retrieve(customer).deleted
    assert call(driver, "POST", "options", unavailable_payment_methods=["us_bank_account"])[0] == 200
    assert "us_bank_account" not in driver.stripe.v1.setup_intents.create({}).payment_method_types


def test_reset_forgets_everything_but_the_endpoints(driver: Any) -> None:
    driver.sim.add_endpoint("http://hooks.example.com", "whsec_a")
    driver.sim.link("prefetch_pending", id="fca_a")
    driver.sim.fail_api("server_error", times=None)
    call(driver, "POST", "reset")
    assert (driver.sim.next_due(), driver.sim.states(), driver.sim.requests(), driver.sim.deliveries()) == (None, [], [], [])
    assert driver.accounts.list().data == []
    driver.sim.link("single_owner", id="fca_a")
    assert len(driver.deliver()) == 1
    call(driver, "POST", "reset", endpoints=True)
    driver.sim.link("single_owner", id="fca_a")
    assert driver.deliver() == []


@pytest.mark.parametrize(
    ("method", "path", "arguments", "status"),
    [
        ("GET", "accounts/fca_gone", {}, 404),
        ("GET", "nothing", {}, 404),
        ("POST", "accounts", {"scenario": "nothing"}, 404),
        ("POST", "accounts", {}, 400),
        ("POST", "accounts", {"scenario": "joint", "colour": "red"}, 400),
        ("POST", "accounts", {"scenario": "joint", "policy": {"colour": "red"}}, 400),
        ("POST", "accounts/fca_a", {"action": "dance"}, 400),
        ("POST", "accounts", {"scenario": "joint", "id": "fca_a"}, 400),
        ("POST", "accounts/fca_pending", {"action": "prefetch"}, 400),
        ("POST", "complete/fcsess_gone", {}, 404),
        ("POST", "endpoints", {"url": "x", "secret": "y", "scope": "nothing"}, 400),
    ],
)
def test_a_wrong_command_is_refused_with_a_reason(driver: Any, method: str, path: str, arguments: dict[str, Any], status: int) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.link("prefetch_pending", id="fca_pending")
    got, answer = call(driver, method, path, **arguments)
    assert (got, bool(answer["error"])) == (status, True)


def test_options_change_while_it_runs(driver: Any) -> None:
    assert call(driver, "POST", "options", settle_seconds=1, rate_limit=1)[1]["settle_seconds"] == 1
    driver.sim.link("prefetch_pending", id="fca_a")
    assert driver.sim.next_due() == driver.now + 1
    driver.accounts.list()
    assert refusal(lambda: driver.accounts.list()).http_status == 429
    assert call(driver, "POST", "options", colour="red")[0] == 400


def test_a_body_that_is_no_json_object_is_refused(driver: Any) -> None:
    for body in (b"[]", b"{", b"\xff"):
        assert control.handle(driver.sim, "POST", "/_simulator/reset", body).status == 400


def test_scenarios_are_listed_with_their_titles(driver: Any) -> None:
    assert call(driver, "GET", "scenarios")[1]["joint"] == SCENARIOS["joint"].title


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_people_are_invented(scenario: str) -> None:
    for owner in SCENARIOS[scenario].owners:
        assert (owner.get("email") or "x@example.com").endswith("example.com")
        phone = re.sub(r"\D", "", owner.get("phone") or "5555550100")
        assert re.fullmatch(r"1?55555501\d\d", phone)
