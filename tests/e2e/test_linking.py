"""From a customer to a verified account, over real HTTP and on the deployed template."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.client import Client
from tests.e2e.stack_driver import MARGARET, StackDriver, eventually

EMAIL = "margaret.testerman@example.com"


def customer(driver: StackDriver) -> str:
    made = driver.http.call("POST", "/customers", {"email": EMAIL})
    assert made.status == 201, made
    return str(made.body["id"])


@pytest.mark.parametrize(
    ("via", "kind", "more"),
    [
        ("financial_connections", "customer", {"limits": {"accounts": 1}}),
        ("setup_intent", "customer", {"prefetch": ["ownership"]}),
        ("payment_intent", "customer", {"amount": 1500}),
        ("checkout_session", "customer", {"return_url": "https://shop.example.com/linked"}),
        ("setup_intent", "customer_account", {}),
        ("financial_connections", "connected_account", {}),
    ],
)
def test_account_that_is_linked_is_found_and_verified(driver: StackDriver, via: str, kind: str, more: dict[str, object]) -> None:
    holder = customer(driver) if kind == "customer" else f"acct_e2e{kind}".replace("_account", "")
    driver.sim.add_customer_account(holder)
    made = driver.http.call("POST", "/sessions", {"via": via, kind: holder, **more})
    assert made.status == 201, made
    [linked] = driver.sim.complete(made.body["id"])["accounts"]

    def found(path: str) -> list[dict[str, Any]]:
        return list(driver.http.call("GET", path).body["accounts"])

    assert [account["account"] for account in found(f"/sessions/{made.body['id']}")] == [linked]
    # A prefetch changes the account's refresh, perhaps between the two calls.
    assert eventually(lambda: found(f"/accounts?{kind}={holder}") == found(f"/sessions/{made.body['id']}"))
    answer = driver.request(linked, MARGARET)
    assert answer.status in (200, 202)
    assert eventually(lambda: driver.verification(answer.body["id"])["verdict"])["outcome"] == "match"


def test_account_typed_in_by_hand_is_said_to_be_none(driver: StackDriver) -> None:
    made = driver.http.call("POST", "/sessions", {"via": "setup_intent", "customer": customer(driver)}).body
    driver.sim.complete(made["id"], manual=True)
    found = driver.http.call("GET", f"/sessions/{made['id']}").body
    assert (found["accounts"], found["manually_entered"]) == ([], True)


def test_many_at_once_with_one_key_make_one_customer(driver: StackDriver) -> None:
    def ask(_: int) -> tuple[int, str]:
        answer = Client(driver.stack.api_url).call("POST", "/customers", {"email": EMAIL}, headers={"Idempotency-Key": "signup-e2e"})
        return answer.status, json.dumps(answer.body)

    with ThreadPoolExecutor(6) as callers:
        answers = set(callers.map(ask, range(6)))
    assert {status for status, _ in answers} <= {201, 409}
    made = {body for status, body in answers if status == 201}
    assert len(made) == 1
    assert ask(0) == (201, *made)
    other = driver.http.call("POST", "/customers", {"email": "harold@example.com"}, headers={"Idempotency-Key": "signup-e2e"})
    assert (other.status, other.body["type"]) == (422, "urn:titleholder:problem:idempotency-conflict")
    records = {key: item for key, item in driver.table().items() if key[0].startswith("IDEMPOTENCY#")}
    assert EMAIL not in json.dumps([list(records), list(records.values())])
    assert not [line for line in driver.log_lines() if EMAIL in line]
