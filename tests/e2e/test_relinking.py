"""From an account that can't be verified to a verdict, by relinking it, on the deployed template with a preview version of Stripe's API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from local.aws.paths import ROOT
from local.stack import running
from local.stripe_simulator.options import GA_VERSION, PREVIEW_VERSION, Options
from tests.e2e.stack_driver import MARGARET, StackDriver, eventually


@pytest.fixture(scope="module")
def relinking() -> Iterator[StackDriver]:
    """A stack with StripePreviewVersion."""
    parameters = {"SettleTimeoutSeconds": "8", "StripePreviewVersion": PREVIEW_VERSION}
    with running(parameters=parameters, options=Options(settle_seconds=0.3, retry_base_seconds=1.0)) as stack:
        driver = StackDriver(stack)
        driver.verdict(driver.accepted(driver.link("single_owner")), within=60)
        yield driver


def session(driver: StackDriver, account: str) -> str:
    made = driver.http.call("POST", "/sessions", {"via": "financial_connections", "relink": {"account": account}})
    assert (made.status, made.body["next"]) == (201, "stripe.collectFinancialConnectionsAccounts"), made
    return str(made.body["id"])


def result(driver: StackDriver, session: str) -> Any:
    found = driver.http.call("GET", f"/sessions/{session}")
    assert found.status == 200, found
    return found.body


def refused(driver: StackDriver, account: str) -> dict[str, Any]:
    """The verdict about an account that can't be verified."""
    answer = driver.request(account)
    return dict(answer.body["verdict"] or driver.verdict(answer.body["id"]))


def test_inactive_account_is_relinked_and_verified(relinking: StackDriver) -> None:
    account = relinking.link("inactive", customer="cus_inactive")
    verdict = refused(relinking, account)
    assert (verdict["outcome"], verdict["reasons"], verdict["remedy"]) == ("not_verifiable", ["ACCOUNT_INACTIVE"], "relink")
    made = session(relinking, account)
    relinking.sim.complete_relink(made)
    [delivered] = eventually(lambda: [one for one in relinking.sim.deliveries() if (one["account"], one["status"]) == (account, 200)])
    assert delivered["type"] == "financial_connections.account.reactivated"
    found = result(relinking, made)
    assert (found["relink"]["status"], found["relink"]["relinked_account"]) == ("succeeded", account)
    assert [one["account"] for one in found["accounts"]] == [account]
    assert relinking.verdict(relinking.accepted(account))["outcome"] == "match"
    assert relinking.refreshes(account) == 1, "the relinking itself starts no refresh"


def test_verification_that_waits_for_the_repair_goes_on_after_the_relinking(relinking: StackDriver) -> None:
    account = relinking.link("inactive", customer="cus_waiting")
    waiting = relinking.accepted(account, if_inactive="wait")
    eventually(lambda: "WaitForRepair" in str(relinking.history(waiting)))
    assert relinking.verification(waiting)["remedy"] == "relink"
    relinking.sim.complete_relink(session(relinking, account))
    assert relinking.verdict(waiting)["outcome"] == "match"
    once = ["RequestRefresh", "Outcome"]
    assert relinking.states(waiting) == [*once, "WaitForRepair", *once, "VerifyOwners"]


def test_permission_is_added_by_relinking(relinking: StackDriver) -> None:
    account = relinking.link("permission_missing", customer="cus_permission")
    verdict = refused(relinking, account)
    assert (verdict["reasons"], verdict["remedy"]) == (["PERMISSION_MISSING"], "relink")
    made = session(relinking, account)
    relinking.sim.complete_relink(made)
    assert "ownership" in result(relinking, made)["accounts"][0]["permissions"]
    assert relinking.verdict(relinking.accepted(account))["outcome"] == "match"


def test_another_account_that_the_end_user_chose_is_verified_by_the_session(relinking: StackDriver) -> None:
    account = relinking.link("inactive", customer="cus_another")
    made = session(relinking, account)
    [other] = relinking.sim.complete_relink(made, account={"scenario": "single_owner"})["accounts"]
    found = result(relinking, made)
    assert ([one["account"] for one in found["accounts"]], found["relink"]["relinked_account"]) == ([other], None)
    answer = relinking.http.call("POST", "/verifications", {"session": made, "claim": MARGARET})
    assert answer.status in (200, 202), answer
    [verification] = relinking.http.call("GET", f"/verifications?account={other}").body["verifications"]
    assert relinking.verdict(verification["id"])["outcome"] == "match"


def test_relink_that_fails_leaves_the_account_as_it_was(relinking: StackDriver) -> None:
    account = relinking.link("inactive", customer="cus_failed")
    made = session(relinking, account)
    relinking.sim.complete_relink(made, outcome="failed", failure_reason="no_authorization")
    found = result(relinking, made)
    assert (found["relink"]["status"], found["relink"]["failure_reason"], found["accounts"]) == ("failed", "no_authorization", [])
    assert refused(relinking, account)["reasons"] == ["ACCOUNT_INACTIVE"]


def test_only_reads_and_sessions_for_relinking_have_the_preview_version(relinking: StackDriver) -> None:
    seen: dict[str, set[str]] = {}
    for entry in relinking.sim.requests():
        seen.setdefault(f"{entry['method']} {entry['path'].rpartition('/')[2]}", set()).add(entry["version"])
    assert seen["GET {account}"] == seen["GET {session}"] == seen["POST sessions"] == {PREVIEW_VERSION}
    assert seen["POST refresh"] == {GA_VERSION}


def test_stack_without_the_preview_version_says_so(driver: StackDriver) -> None:
    account = driver.link("inactive", customer="cus_inactive")
    body = {"via": "financial_connections", "relink": {"account": account}}
    answer = driver.http.call("POST", "/sessions", body)
    assert (answer.status, answer.body["reason"]) == (409, "switched_off")
    assert not [entry for entry in driver.sim.requests() if entry["version"] != GA_VERSION]


def test_each_route_answers_after_an_erasure_as_the_page_says(relinking: StackDriver) -> None:
    """docs/http.md, "After an erasure"."""
    account = relinking.link("single_owner")
    verification = relinking.accepted(account)
    verdict = relinking.verdict(verification)
    call = relinking.http.call
    erased = call("DELETE", f"/accounts/{account}")
    assert (erased.status, erased.body["disconnected"]) == (200, True)

    shown = call("GET", f"/accounts/{account}")
    assert (shown.status, shown.body["status"], shown.body["remedy"]) == (200, "disconnected", "link_again")
    session = {"via": "financial_connections", "relink": {"account": account}}
    answers = {
        "GET owners": call("GET", f"/accounts/{account}/owners"),
        "GET snapshots": call("GET", f"/accounts/{account}/snapshots"),
        "POST refreshes": call("POST", f"/accounts/{account}/refreshes"),
        "POST sessions": call("POST", "/sessions", session),
        "DELETE": call("DELETE", f"/accounts/{account}"),
        "DELETE unknown": call("DELETE", "/accounts/fca_never_linked"),
        "POST verifications": call("POST", "/verifications", {"account": account, "claim": MARGARET}),
    }
    found = {name: (answer.status, str(answer.body.get("type")).rpartition(":")[2]) for name, answer in answers.items()}
    assert found == {
        "GET owners": (410, "account-erased"),
        "GET snapshots": (410, "account-erased"),
        "POST refreshes": (409, "account-disconnected"),
        "POST sessions": (410, "account-erased"),
        "DELETE": (200, "None"),
        "DELETE unknown": (404, "account-not-found"),
        "POST verifications": (202, "None"),
    }
    assert answers["DELETE"].body == erased.body
    refused = relinking.verdict(answers["POST verifications"].body["id"])
    assert (refused["outcome"], refused["reasons"], refused["remedy"]) == ("not_verifiable", ["ACCOUNT_DISCONNECTED"], "link_again")
    after = call("GET", f"/verifications/{verification}?timeline=true").body
    assert (after["verdict"], after["stale"]) == (verdict, "ACCOUNT_DISCONNECTED")
    kinds = [step["kind"] for step in after["timeline"]["steps"]]
    assert "verdict" in kinds
    assert "owners_fetched" not in kinds
    assert kinds[-1] == "stale"
    assert verification in str(call("GET", f"/verifications?account={account}").body)
    [section] = re.findall(r"^### After an erasure\n(.*?)^##", (ROOT / "docs" / "http.md").read_text(), re.MULTILINE | re.DOTALL)
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", section, re.MULTILINE))
    named = {
        "`GET /accounts/{account}/owners`": "GET owners",
        "`GET /accounts/{account}/snapshots`": "GET snapshots",
        "`POST /accounts/{account}/refreshes`": "POST refreshes",
        "`POST /sessions` that relinks it": "POST sessions",
        "`DELETE /accounts/{account}` again": "DELETE",
        "`DELETE` of an unknown account": "DELETE unknown",
        "`POST /verifications`": "POST verifications",
    }
    for route, name in named.items():
        status, problem = found[name]
        assert rows[route].startswith(str(status) if problem == "None" else f"{status} `{problem}`"), route
