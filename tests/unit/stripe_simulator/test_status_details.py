"""Accounts that will become inactive at a date, and inactive ones with their causes."""

from __future__ import annotations

from typing import Any

import pytest

from local.stripe_simulator.scenarios import CAUSES, EXPIRY_CAUSES, SCENARIOS

DAY = 86_400
UPCOMING = ["expected_deactivation_date_updated", "upcoming_deactivation"]
AUTHORIZATION = "financial_connections.authorization."


@pytest.fixture
def hooked(driver: Any) -> Any:
    driver.sim.add_endpoint("http://hooks.example.com/stripe", "whsec_for_tests_only")
    driver.sim.link("single_owner", id="fca_a")
    driver.deliver()
    return driver


def sent(driver: Any) -> list[str]:
    """The events of the account. Each one about its coming end is followed by that of its authorization."""
    found = [delivery.type for delivery in driver.deliver()]
    of_authorization = [type_.removeprefix(AUTHORIZATION) for type_ in found if type_.startswith(AUTHORIZATION)]
    of_account = [type_.removeprefix("financial_connections.account.") for type_ in found if not type_.startswith(AUTHORIZATION)]
    assert of_authorization == [type_ for type_ in of_account if type_ in UPCOMING]
    return of_account


def details(driver: Any) -> Any:
    return driver.accounts.retrieve("fca_a").to_dict()["status_details"]


def inactive_details(driver: Any) -> Any:
    """As preview versions of the API show them."""
    account = driver.sim._find("fca_a", None, False)
    return account.render(preview=True)["status_details"].get("inactive")


def test_account_that_is_to_stay_has_no_details(hooked: Any) -> None:
    assert details(hooked) == {}


@pytest.mark.parametrize("cause", EXPIRY_CAUSES)
def test_expiring_account_names_cause_action_and_date(hooked: Any, cause: str) -> None:
    hooked.sim.expire("fca_a", hooked.now + DAY, cause=cause)
    expected = {"action": "relink_required", "cause": cause, "expected_deactivation_date": int(hooked.now + DAY)}
    assert details(hooked) == {"active": expected}
    assert sent(hooked) == UPCOMING


def test_expiring_account_becomes_inactive_at_its_date_for_the_same_cause(hooked: Any) -> None:
    hooked.sim.expire("fca_a", hooked.now + DAY, cause="institution_requirement", action="none")
    hooked.wait(DAY - 1)
    assert hooked.accounts.retrieve("fca_a").status == "active"
    hooked.deliver()
    hooked.wait(1)
    assert hooked.accounts.retrieve("fca_a").status == "inactive"
    assert sent(hooked) == ["deactivated"]
    assert inactive_details(hooked) == {"action": "none", "cause": "institution_requirement"}


def test_date_that_was_put_off_counts_alone(hooked: Any) -> None:
    hooked.sim.expire("fca_a", hooked.now + DAY)
    hooked.sim.expire("fca_a", hooked.now + 2 * DAY)
    hooked.wait(DAY + 1)
    assert hooked.accounts.retrieve("fca_a").status == "active"
    hooked.wait(DAY)
    assert hooked.accounts.retrieve("fca_a").status == "inactive"


def test_warning_comes_thirty_days_before_the_date(hooked: Any) -> None:
    hooked.sim.expire("fca_a", hooked.now + 40 * DAY)
    assert sent(hooked) == UPCOMING[:1]
    hooked.wait(10 * DAY)
    hooked.accounts.retrieve("fca_a")
    assert sent(hooked) == UPCOMING[1:]


def test_event_of_the_authorization_names_the_first_date_of_its_accounts(hooked: Any) -> None:
    hooked.sim.expire("fca_a", hooked.now + DAY)
    events = hooked.stripe.v1.events.list({"type": AUTHORIZATION + "upcoming_deactivation"}).data
    about = events[0].to_dict()["data"]["object"]
    assert about["id"].startswith("fcauth_")
    expected = {"action": "relink_required", "expected_deactivation_date": int(hooked.now + DAY)}
    assert (about["status"], about["status_details"]) == ("active", {"active": expected})


def test_reactivation_ends_the_expectation(hooked: Any) -> None:
    hooked.sim.expire("fca_a", hooked.now + DAY)
    hooked.sim.deactivate("fca_a")
    hooked.sim.reactivate("fca_a")
    hooked.wait(2 * DAY)
    assert hooked.accounts.retrieve("fca_a").status == "active"
    assert details(hooked) == {}


@pytest.mark.parametrize("cause", CAUSES)
def test_inactive_account_names_its_cause_in_preview_versions_only(hooked: Any, cause: str) -> None:
    hooked.sim.deactivate("fca_a", cause=cause)
    assert details(hooked) == {}
    action = "none" if cause == "account_closed" else "relink_required"
    assert inactive_details(hooked) == {"action": action, "cause": cause}


def test_cause_that_stripe_does_not_have_is_refused(hooked: Any) -> None:
    with pytest.raises(ValueError, match="access_denied"):
        hooked.sim.deactivate("fca_a", cause="boredom")
    with pytest.raises(ValueError, match="unspecified"):
        hooked.sim.expire("fca_a", hooked.now + 1, cause="account_closed")


def test_there_is_a_scenario_for_each_cause() -> None:
    assert {kind.cause for kind in SCENARIOS.values() if kind.status == "inactive"} == set(CAUSES)


def test_account_of_an_impatient_bank_expires_after_each_reactivation(driver: Any) -> None:
    driver.sim.link("expiring_soon", id="fca_a")
    for _ in range(2):
        driver.wait(61)
        assert driver.accounts.retrieve("fca_a").status == "inactive"
        driver.sim.reactivate("fca_a")
        assert details(driver)["active"]["expected_deactivation_date"] == int(driver.now + 60)


def test_inactive_account_may_be_deactivated_for_another_cause(hooked: Any) -> None:
    hooked.sim.deactivate("fca_a", cause="access_expired")
    hooked.sim.deactivate("fca_a")
    assert inactive_details(hooked) == {"cause": "access_expired", "action": "relink_required"}
    assert sent(hooked) == ["deactivated"]
    hooked.sim.deactivate("fca_a", cause="account_closed", action="none")
    assert inactive_details(hooked) == {"cause": "account_closed", "action": "none"}
    assert sent(hooked) == []
