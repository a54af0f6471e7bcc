"""The HTTP interface from outside: what is refused, and what it costs (nothing)."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from tests.e2e.stack_driver import MARGARET, StackDriver

VERIFICATION = f"ver_{'0' * 32}"
PROBLEM = "application/problem+json"


class Bad(NamedTuple):
    """A request, and what it is answered: status, the problem's type, the fields that are named."""

    method: str
    path: str
    body: Any
    status: int
    problem: str
    fields: tuple[str, ...] = ()
    headers: dict[str, str] | None = None


def verify(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"account": "fca_e2e1", "claim": MARGARET}
    return {name: value for name, value in (body | changes).items() if value is not None}


BAD = {
    "malformed JSON": Bad("POST", "/verifications", b'{"account": ', 400, "malformed-json"),
    "no object": Bad("POST", "/verifications", b'"fca_1"', 400, "malformed-json"),
    "nested too deep": Bad("POST", "/verifications", b'{"claim":' * 40 + b"1" + b"}" * 40, 400, "malformed-json"),
    "another media type": Bad("POST", "/verifications", b"fca_1", 415, "unsupported-media-type", (), {"Content-Type": "text/plain"}),
    "too large": Bad("POST", "/verifications", verify(claim={"name": "x" * 70_000}), 413, "body-too-large"),
    "no claim": Bad("POST", "/verifications", verify(claim=None), 422, "invalid-request", ("claim",)),
    "empty claim": Bad("POST", "/verifications", verify(claim={}), 422, "invalid-request", ("claim",)),
    "several bad fields": Bad(
        "POST", "/verifications", verify(account="ba_1", max_age=-1, colour="red"), 422, "invalid-request", ("account", "colour", "max_age")
    ),
    "wrong types": Bad(
        "POST", "/verifications", verify(account=7, claim={"name": ["x"], "phone": 5}), 422, "invalid-request",
        ("account", "claim.name", "claim.phone"),
    ),
    "unknown policy entry": Bad("POST", "/verifications", verify(policy={"colour": 1}), 422, "invalid-request", ("policy.colour",)),
    "idempotency key of the wrong shape": Bad(
        "POST", "/verifications", verify(), 422, "invalid-request", ("idempotency-key",), {"Idempotency-Key": "x" * 256}
    ),
    "connected account of the wrong shape": Bad(
        "GET", "/accounts/fca_e2e1", None, 422, "invalid-request", ("Stripe-Account",), {"Stripe-Account": "fca_1"}
    ),
    "verification of the wrong shape": Bad("GET", "/verifications/ver_1", None, 422, "invalid-request", ("verification",)),
    "account of the wrong shape": Bad("GET", "/accounts/acct_1", None, 422, "invalid-request", ("account",)),
    "snapshot of the wrong shape": Bad("GET", "/accounts/fca_e2e1/owners?snapshot=1", None, 422, "invalid-request", ("snapshot",)),
    "refresh with an unknown field": Bad(
        "POST", "/accounts/fca_e2e1/refreshes", {"colour": "red"}, 422, "invalid-request", ("colour",)
    ),
    "unknown verification": Bad("GET", f"/verifications/{VERIFICATION}", None, 404, "verification-not-found"),
    "owners that are not stored": Bad("GET", "/accounts/fca_nobody/owners", None, 404, "snapshot-not-found"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_request_is_told_what_is_wrong_and_changes_nothing(idle_driver: StackDriver, case: str) -> None:
    method, path, body, status, problem, fields, headers = BAD[case]
    before, calls = idle_driver.table(), len(idle_driver.exchanges)
    raw = body if isinstance(body, bytes) else None
    answer = idle_driver.http.call(method, path, None if raw is not None else body, raw=raw, headers=headers)
    assert (answer.status, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert answer.body["type"] == f"urn:titleholder:problem:{problem}"
    assert answer.body["status"] == status
    assert tuple(sorted(error["field"] for error in answer.body.get("errors", ()))) == fields
    assert idle_driver.table() == before
    assert len(idle_driver.exchanges) == calls


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_account_that_stripe_does_not_know_is_not_found(idle_driver: StackDriver, method: str) -> None:
    before = idle_driver.table()
    account = "fca_unheardof"
    answer = idle_driver.request(account) if method == "POST" else idle_driver.http.call("GET", f"/accounts/{account}")
    assert (answer.status, answer.body["type"]) == (404, "urn:titleholder:problem:account-not-found")
    after = idle_driver.table()
    # What may have an effect is recorded before it begins and after it ended.
    recorded = [after[key] for key in sorted(set(after) - set(before)) if key[0].startswith("AUDIT#")]
    expected = ["requested", "failed"] if method == "POST" else []
    assert [(item["account"]["S"], item["state"]["S"]) for item in recorded] == [(account, state) for state in expected]
    assert {key: item for key, item in after.items() if item not in recorded} == before


def test_idempotency_key_gives_the_same_verification_and_refuses_another_request(driver: StackDriver) -> None:
    account = driver.link("single_owner")
    key = {"Idempotency-Key": "one-request"}
    first, second = driver.request(account, headers=key), driver.request(account, headers=key)
    other = driver.request(account, {"name": "Somebody Else"}, headers=key)
    assert first.body["id"] == second.body["id"]
    assert (other.status, other.body["type"]) == (422, "urn:titleholder:problem:idempotency-conflict")
    driver.verdict(first.body["id"])
    assert driver.refreshes(account) == 1


def test_account_is_shown_as_stripe_has_it(driver: StackDriver) -> None:
    account = driver.link("fresh")
    shown = driver.http.call("GET", f"/accounts/{account}").body
    assert (shown["account"], shown["status"], shown["livemode"]) == (account, "active", False)
    assert shown["ownership_refresh"]["status"] == "succeeded"
    assert shown["next_refresh_available_at"] == shown["ownership_refresh"]["next_refresh_available_at"]
    assert "ownership" in shown["permissions"]


def test_older_snapshot_can_be_asked_for(driver: StackDriver) -> None:
    account = driver.link("old")
    first = driver.request(account, max_age=90 * 86_400).body["verdict"]["snapshot"]
    driver.sim.change(account, owners=[{"name": "HAROLD TESTERMAN"}])
    second = driver.verdict(driver.accepted(account))["snapshot"]
    path = f"/accounts/{account}/owners"
    newest, older = driver.http.call("GET", path).body, driver.http.call("GET", f"{path}?snapshot={first}").body
    assert (newest["snapshot"], newest["owners"][0]["name"]) == (second, "HAROLD TESTERMAN")
    assert (older["snapshot"], older["owners"][0]["name"]) == (first, "MARGARET ANNE TESTERMAN")


def test_error_bodies_do_not_repeat_what_was_sent(driver: StackDriver) -> None:
    answer = driver.request("fca_e2e1", {"name": "Margaret Testerman", "email": ["margaret@example.com"]})
    assert answer.status == 422
    assert "example.com" not in json.dumps(answer.body)
