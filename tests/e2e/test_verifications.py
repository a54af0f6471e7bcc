"""Verifications of all of a customer's accounts, waiting, listing and cancelling, on the whole stack."""

from __future__ import annotations

from typing import Any

from tests.e2e.stack_driver import MARGARET, StackDriver, eventually


def customer(driver: StackDriver, *accounts: dict[str, Any]) -> str:
    """A customer who has linked accounts."""
    made = driver.http.call("POST", "/customers", {"email": "margaret.testerman@example.com"}).body
    session = driver.http.call("POST", "/sessions", {"via": "financial_connections", "customer": made["id"]}).body
    driver.sim.complete(session["id"], accounts=list(accounts))
    return str(made["id"])


def test_every_account_of_a_customer_is_verified_and_summed_up(driver: StackDriver) -> None:
    other = {"scenario": "single_owner", "owners": [{"name": "HAROLD SAMPLEWELL"}]}
    id = customer(driver, other, {"scenario": "single_owner"})
    asked = driver.http.call("POST", "/verifications", {"customer": id, "claim": MARGARET})
    assert asked.status in (200, 202), asked
    path = f"/verifications/{asked.body['id']}"
    done = eventually(lambda: (found := driver.http.call("GET", path).body)["state"] == "completed" and found)
    assert (done["summary"]["any"], done["summary"]["all"], done["summary"]["best"]["outcome"]) == (True, False, "match")
    assert driver.http.call("GET", f"/verifications?customer={id}&verdict=match").body["verifications"] == [done]


def test_verdict_comes_in_the_same_call_to_who_waits(driver: StackDriver) -> None:
    answer = driver.request(driver.link("single_owner"), wait=20)
    assert (answer.status, answer.body["verdict"]["outcome"]) == (200, "match")


def test_cancelled_verification_stops_its_workflow(driver: StackDriver) -> None:
    account = driver.link("never_answering")
    id = driver.accepted(account)
    eventually(lambda: driver.refreshes(account) == 1)
    answer = driver.http.call("DELETE", f"/verifications/{id}")
    assert (answer.status, answer.body["verdict"]["reasons"]) == (200, ["CANCELLED"])
    assert eventually(lambda: driver.history(id)[-1]["type"] == "ExecutionAborted")
    assert driver.http.call("DELETE", f"/verifications/{id}").body == answer.body
    assert [one["id"] for one in driver.http.call("GET", f"/verifications?account={account}").body["verifications"]] == [id]
    assert not [key for key in driver.table() if key[1] == f"WAITER#{id}"]


def test_change_of_owners_is_in_the_history(driver: StackDriver) -> None:
    account = driver.link("old")
    driver.request(account, max_age=90 * 86_400)
    driver.sim.change(account, owners=[{"name": "MARGARET ANNE TESTERMAN"}, {"name": "HAROLD SAMPLEWELL"}])
    driver.verdict(driver.accepted(account))
    newer, older = driver.http.call("GET", f"/accounts/{account}/snapshots").body["snapshots"]
    assert (newer["since"], older["changes"]) == (older["snapshot"], None)
    assert {"kind": "owner_added", "before": None, "after": 1} in newer["changes"]
