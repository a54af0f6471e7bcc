"""Verifications of all of a customer's accounts, waiting, listing and cancelling, on the whole stack."""

from __future__ import annotations

from typing import Any

from tests.e2e.bench import MARGARET, Bench, eventually


def customer(bench: Bench, *accounts: dict[str, Any]) -> str:
    """A customer who has linked accounts."""
    made = bench.http.call("POST", "/customers", {"email": "margaret.testerman@example.com"}).body
    session = bench.http.call("POST", "/sessions", {"via": "financial_connections", "customer": made["id"]}).body
    bench.sim.complete(session["id"], accounts=list(accounts))
    return str(made["id"])


def test_every_account_of_a_customer_is_verified_and_summed_up(bench: Bench) -> None:
    other = {"scenario": "single_owner", "owners": [{"name": "HAROLD SAMPLEWELL"}]}
    id = customer(bench, other, {"scenario": "single_owner"})
    asked = bench.http.call("POST", "/verifications", {"customer": id, "claim": MARGARET})
    assert asked.status in (200, 202), asked
    path = f"/verifications/{asked.body['id']}"
    done = eventually(lambda: (found := bench.http.call("GET", path).body)["state"] == "completed" and found)
    assert (done["summary"]["any"], done["summary"]["all"], done["summary"]["best"]["outcome"]) == (True, False, "match")
    assert bench.http.call("GET", f"/verifications?customer={id}&verdict=match").body["verifications"] == [done]


def test_verdict_comes_in_the_same_call_to_who_waits(bench: Bench) -> None:
    answer = bench.request(bench.link("single_owner"), wait=20)
    assert (answer.status, answer.body["verdict"]["outcome"]) == (200, "match")


def test_cancelled_verification_stops_its_workflow(bench: Bench) -> None:
    account = bench.link("never_answering")
    id = bench.accepted(account)
    eventually(lambda: bench.refreshes(account) == 1)
    answer = bench.http.call("DELETE", f"/verifications/{id}")
    assert (answer.status, answer.body["verdict"]["reasons"]) == (200, ["CANCELLED"])
    assert eventually(lambda: bench.history(id)[-1]["type"] == "ExecutionAborted")
    assert bench.http.call("DELETE", f"/verifications/{id}").body == answer.body
    assert [one["id"] for one in bench.http.call("GET", f"/verifications?account={account}").body["verifications"]] == [id]
    assert not [key for key in bench.table() if key[1] == f"WAITER#{id}"]


def test_change_of_owners_is_in_the_history(bench: Bench) -> None:
    account = bench.link("old")
    bench.request(account, max_age=90 * 86_400)
    bench.sim.change(account, owners=[{"name": "MARGARET ANNE TESTERMAN"}, {"name": "HAROLD SAMPLEWELL"}])
    bench.verdict(bench.accepted(account))
    newer, older = bench.http.call("GET", f"/accounts/{account}/snapshots").body["snapshots"]
    assert (newer["since"], older["changes"]) == (older["snapshot"], None)
    assert {"kind": "owner_added", "before": None, "after": 1} in newer["changes"]
