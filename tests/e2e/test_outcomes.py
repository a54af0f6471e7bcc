"""How verifications end, by the scenario of the account. All of them are under way together; each test looks at one."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.e2e.stack_driver import StackDriver

OWNER_PAGE = 5


class Expected(NamedTuple):
    outcome: str
    reason: str | None
    refreshes: int
    within: float = 30


MATCH = Expected("match", "MIDDLE_OMITTED", 1)
NONE_LEFT = "not_verifiable"

EXPECTED: dict[str, Expected] = {
    "single_owner": MATCH,
    "paged_owners": Expected("match", "MIDDLE_OMITTED", 1),
    "old": MATCH,
    "lost_webhook": MATCH,
    "relative": Expected("no_match", None, 1),
    "no_owners": Expected(NONE_LEFT, "NO_OWNERS", 1),
    "failing": Expected(NONE_LEFT, "REFRESH_FAILED", 1),
    "failing_with_reason": Expected(NONE_LEFT, "REFRESH_FAILED", 1),
    "failing_with_old_snapshot": Expected(NONE_LEFT, "REFRESH_FAILED", 1),
    "turning_inactive": Expected(NONE_LEFT, "ACCOUNT_INACTIVE", 1),
    "inactive": Expected(NONE_LEFT, "ACCOUNT_INACTIVE", 0),
    "inactive_with_old_snapshot": Expected(NONE_LEFT, "ACCOUNT_INACTIVE", 0),
    "disconnected": Expected(NONE_LEFT, "ACCOUNT_DISCONNECTED", 0),
    "permission_missing": Expected(NONE_LEFT, "PERMISSION_MISSING", 0),
    "permissions_null": Expected(NONE_LEFT, "PERMISSION_MISSING", 0),
    "never_answering": Expected(NONE_LEFT, "REFRESH_TIMED_OUT", 1, within=60),
}


@pytest.fixture(scope="module")
def started(driver: StackDriver) -> dict[str, tuple[str, str]]:
    """Account and verification by scenario."""
    # The slowest first.
    accounts = {
        name: driver.link(name, policy={"owners_page": OWNER_PAGE}) for name in sorted(EXPECTED, key=lambda name: -EXPECTED[name].within)
    }
    answers = [driver.request(account) for account in accounts.values()]
    assert [answer.status for answer in answers] == [202] * len(answers)
    return {name: (account, answer.body["id"]) for (name, account), answer in zip(accounts.items(), answers, strict=True)}


@pytest.mark.parametrize("scenario", EXPECTED)
def test_verification_ends_in_the_verdict_of_its_scenario(driver: StackDriver, started: dict[str, tuple[str, str]], scenario: str) -> None:
    account, verification = started[scenario]
    expected = EXPECTED[scenario]
    verdict = driver.verdict(verification, expected.within)
    assert (verdict["outcome"], driver.refreshes(account)) == (expected.outcome, expected.refreshes)
    if expected.reason is not None:
        assert expected.reason in verdict["reasons"]
    assert (verdict["snapshot"] is None) == (expected.outcome == NONE_LEFT and scenario != "no_owners")


def test_ordinary_way_costs_at_most_six_transitions_and_three_calls(driver: StackDriver) -> None:
    account = driver.link("single_owner")
    verification = driver.accepted(account)
    assert driver.verdict(verification)["outcome"] == "match"
    assert driver.states(verification) == ["RequestRefresh", "Outcome", "VerifyOwners"]
    assert driver.transitions(verification) <= 6
    assert driver.stripe_calls(account) <= 3


def test_lost_webhook_is_healed_by_the_workflows_own_timeout(driver: StackDriver, started: dict[str, tuple[str, str]]) -> None:
    account, verification = started["lost_webhook"]
    assert driver.verdict(verification)["outcome"] == "match"
    assert not [delivery for delivery in driver.sim.deliveries() if delivery["account"] == account and delivery["status"]]
    assert [event["type"] for event in driver.ended(verification)].count("TaskTimedOut") >= 1
    assert driver.states(verification) == ["RequestRefresh", "Outcome", "VerifyOwners"]
    assert driver.transitions(verification) <= 6


def test_refresh_that_never_settles_is_given_up_without_polling(driver: StackDriver, started: dict[str, tuple[str, str]]) -> None:
    _, verification = started["never_answering"]
    driver.verdict(verification, EXPECTED["never_answering"].within)
    assert driver.states(verification) == ["RequestRefresh", "NotVerifiable"]
    assert driver.transitions(verification) <= 6


def test_stripes_reason_for_a_failed_refresh_is_shown(driver: StackDriver, started: dict[str, tuple[str, str]]) -> None:
    _, verification = started["failing_with_reason"]
    shown = driver.verdict(verification)["refresh_error"]
    assert shown == {"cause": "institution_unavailable", "recommended_action": "retry_later"}


def test_every_page_of_owners_is_stored_at_one_call_a_page(driver: StackDriver, started: dict[str, tuple[str, str]]) -> None:
    account, verification = started["paged_owners"]
    verdict = driver.verdict(verification)
    owners = driver.http.call("GET", f"/accounts/{account}/owners").body["owners"]
    assert len(owners) == 13
    assert owners[verdict["owner_position"]]["name"] == "MARGARET ANNE TESTERMAN"
    more_pages = -(-len(owners) // OWNER_PAGE) - 1
    assert driver.stripe_calls(account) <= 3 + more_pages


def test_verdict_says_what_it_was_made_of(driver: StackDriver, started: dict[str, tuple[str, str]]) -> None:
    account, verification = started["single_owner"]
    driver.verdict(verification)
    shown: dict[str, Any] = driver.verification(verification)
    assert (shown["account"], shown["state"]) == (account, "completed")
    verdict = shown["verdict"]
    assert verdict["snapshot"] == driver.sim.state(account)["snapshots"][-1]["id"]
    assert set(verdict["fields"]) == {"name", "address", "phone", "email"}
    assert verdict["fields"]["phone"] == {"score": None, "missing": "claim", "reasons": []}
    assert len(verdict["claim_digest"]) == 64
    assert verdict["matcher_version"]
    assert verdict["policy_version"]
