"""When a refresh is paid for and when not: cooldowns, pending prefetches, fresh snapshots, many callers at once, trouble at Stripe."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from tests.e2e.stack_driver import REFRESH, StackDriver


def after_the_event(driver: StackDriver, account: str) -> None:
    """Wait until the stack has read the account for the event of its failed prefetch. That reading does not belong to a verification."""
    for _ in range(200):
        if driver.stripe_calls(account):
            break
        time.sleep(0.05)
    # The reading is stored after Stripe has answered.
    time.sleep(0.5)


@pytest.mark.parametrize("scenario", ["cooling_down", "silently_refusing"])
def test_cooldown_is_slept_through_in_one_wait_state(driver: StackDriver, scenario: str) -> None:
    account = driver.link(scenario, policy={"cooldown_seconds": 5})
    after_the_event(driver, account)
    opens_at = driver.sim.state(account)["account"]["ownership_refresh"]["next_refresh_available_at"]
    verification = driver.accepted(account)
    assert driver.verdict(verification)["outcome"] == "match"
    assert driver.states(verification) == ["RequestRefresh", "Outcome", "WaitForCooldown", "RequestRefresh", "Outcome", "VerifyOwners"]
    assert driver.transitions(verification) <= 9
    assert driver.refreshes(account) == 1
    assert driver.stripe_calls(account) <= 3
    [refresh] = [refresh for refresh in driver.sim.state(account)["refreshes"] if refresh["via"] == "api"]
    assert refresh["started"] >= opens_at


def test_pending_prefetch_is_joined_and_not_paid_again(driver: StackDriver) -> None:
    account = driver.link("prefetch_pending", policy={"settle_seconds": 1.5})
    verification = driver.accepted(account)
    assert driver.verdict(verification)["outcome"] == "match"
    assert (driver.refreshes(account), driver.sim.state(account)["prefetches"]) == (0, 1)
    assert driver.transitions(verification) <= 6


def test_fresh_prefetched_owners_answer_at_once(driver: StackDriver) -> None:
    account = driver.link("fresh")
    answer = driver.request(account)
    assert (answer.status, answer.body["state"], answer.body["verdict"]["outcome"]) == (200, "completed", "match")
    assert driver.refreshes(account) == 0


def test_second_verification_uses_the_snapshot_of_the_first(driver: StackDriver) -> None:
    account = driver.link("single_owner")
    first = driver.verdict(driver.accepted(account))
    calls = driver.stripe_calls(account)
    answer = driver.request(account, {"name": "Somebody Else"})
    assert (answer.status, answer.body["verdict"]["outcome"]) == (200, "no_match")
    assert answer.body["verdict"]["snapshot"] == first["snapshot"]
    assert (driver.refreshes(account), driver.stripe_calls(account)) == (1, calls)


def test_ten_verifications_at_once_share_one_refresh(driver: StackDriver) -> None:
    account = driver.link("single_owner")
    answers = driver.request_all([account] * 10)
    verifications = {answer.body["id"] for answer in answers}
    assert len(verifications) == 10
    assert {driver.verdict(verification)["outcome"] for verification in verifications} == {"match"}
    assert driver.refreshes(account) == 1


class Fault(NamedTuple):
    kind: str
    details: dict[str, Any]


FAULTS = {
    "429 to the refresh": Fault("rate_limit", {"path": REFRESH}),
    "500 to the refresh": Fault("server_error", {"path": REFRESH}),
    "500 to a refresh that took effect": Fault("server_error", {"path": REFRESH, "effect": "after"}),
    "no answer to the refresh": Fault("hang", {"path": REFRESH}),
    "no answer to a refresh that took effect": Fault("hang", {"path": REFRESH, "effect": "after"}),
    "connection lost after the refresh took effect": Fault("drop", {"path": REFRESH, "effect": "after"}),
    "429 to every kind of call": Fault("rate_limit", {"times": 2}),
    "500 to the first read": Fault("server_error", {"method": "GET"}),
    "no answer to the read after the webhook": Fault("hang", {"method": "GET", "skip": 1}),
}


@pytest.fixture(scope="module")
def troubled(driver: StackDriver) -> dict[str, tuple[str, str]]:
    """Account and verification by fault, all under way together."""
    accounts = {}
    for name, (kind, details) in FAULTS.items():
        accounts[name] = driver.link("single_owner")
        driver.sim.fail_api(kind, account=accounts[name], **details)
    answers = driver.request_all(list(accounts.values()))
    return {name: (account, answer.body["id"]) for (name, account), answer in zip(accounts.items(), answers, strict=True)}


@pytest.mark.parametrize("fault", FAULTS)
def test_trouble_at_stripe_delays_the_verdict_and_costs_no_second_refresh(
    driver: StackDriver, troubled: dict[str, tuple[str, str]], fault: str
) -> None:
    account, verification = troubled[fault]
    assert driver.verdict(verification, within=60)["outcome"] == "match"
    assert driver.refreshes(account) == 1


# -- POST /accounts/{account}/refreshes ------------------------------------------------------------------------------------------------


def post(driver: StackDriver, path: str) -> Any:
    """Call as a back end does, which repeats calls over the rate limit: Stripe's planned 429s have slowed it for the whole stack."""
    while (answer := driver.http.call("POST", path)).status == 429:
        assert answer.body["type"] == "urn:titleholder:problem:rate-limit-exceeded"
        time.sleep(int(answer.headers["Retry-After"]))
    return answer


def test_refresh_over_http_is_started_joined_then_fresh(driver: StackDriver) -> None:
    account = driver.link("single_owner", policy={"settle_seconds": 1.5})
    path = f"/accounts/{account}/refreshes"
    first, second = post(driver, path), post(driver, path)
    assert (first.status, first.body["status"]) == (202, "started")
    assert (second.status, second.body["status"]) == (200, "pending")
    verification = driver.accepted(account)
    snapshot = driver.verdict(verification)["snapshot"]
    third = post(driver, path)
    assert (third.status, third.body["status"], third.body["snapshot"]) == (200, "fresh", snapshot)
    assert driver.refreshes(account) == 1


def test_refresh_over_http_in_a_cooldown_says_when_to_come_back(driver: StackDriver) -> None:
    account = driver.link("cooling_down")
    answer = post(driver, f"/accounts/{account}/refreshes")
    assert (answer.status, answer.body["type"]) == (409, "urn:titleholder:problem:cooling-down")
    opens_at = driver.sim.state(account)["account"]["ownership_refresh"]["next_refresh_available_at"]
    assert datetime.fromisoformat(answer.body["retry_at"]) == datetime.fromtimestamp(opens_at, UTC)
    assert 1 <= int(answer.headers["Retry-After"]) <= 21
    assert driver.refreshes(account) == 0


@pytest.mark.parametrize(
    ("scenario", "problem"),
    [("inactive", "account-inactive"), ("disconnected", "account-disconnected"), ("permission_missing", "permission-missing")],
)
def test_refresh_over_http_that_cannot_be_is_a_conflict(driver: StackDriver, scenario: str, problem: str) -> None:
    answer = post(driver, f"/accounts/{driver.link(scenario)}/refreshes")
    assert (answer.status, answer.body["type"]) == (409, f"urn:titleholder:problem:{problem}")
