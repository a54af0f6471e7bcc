"""Relinking, a preview of Stripe's API: authorizations, sessions for relinking, and what an end user does in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from local.stripe_simulator.options import PREVIEW_VERSION
from tests.support.stripe_client import refusal

PREVIEW = {"stripe_version": PREVIEW_VERSION}
SESSIONS = "/v1/financial_connections/sessions"


@pytest.fixture
def link(driver: Any) -> Callable[..., str]:
    """Link an account of a customer in a session."""

    def link(permissions: tuple[str, ...] = ("balances", "ownership"), id: str = "fca_a", **more: Any) -> str:
        customer = driver.stripe.v1.customers.create({"email": "someone@example.com"}).id
        holder = {"type": "customer", "customer": customer}
        made = driver.stripe.v1.financial_connections.sessions.create({"account_holder": holder, "permissions": list(permissions)})
        [account] = driver.sim.complete(made.id, accounts=[{"id": id, **more}])["accounts"]
        driver.deliver()
        return str(account)

    return link


def read(driver: Any, account: str, options: Any = PREVIEW) -> dict[str, Any]:
    return dict(driver.accounts.retrieve(account, None, options).to_dict())


def session(driver: Any, account: str | None = "fca_a", permissions: tuple[str, ...] = ("balances", "ownership"), **more: Any) -> Any:
    authorization = read(driver, account or "fca_a")["authorization"]
    options = {"authorization": authorization} | ({"account": account} if account else {})
    params = {"relink_options": options, "permissions": list(permissions), **more}
    return driver.stripe.v1.financial_connections.sessions.create(params, PREVIEW)


def ended(driver: Any, id: str, options: Any = PREVIEW) -> dict[str, Any]:
    return dict(driver.stripe.v1.financial_connections.sessions.retrieve(id, None, options).to_dict())


def types(driver: Any) -> list[str]:
    driver.sim.add_endpoint("https://titleholder.test/hook", "whsec_x", id="we_1")
    return [delivery.type.removeprefix("financial_connections.account.") for delivery in driver.deliver()]


def test_authorization_is_shown_by_preview_versions_alone(driver: Any, link: Callable[..., str]) -> None:
    account = link()
    assert read(driver, account)["authorization"] == "fcauth_a"
    assert "authorization" not in read(driver, account, {})
    [listed] = driver.accounts.list({}, PREVIEW).data
    assert listed.authorization == "fcauth_a"
    found = driver.stripe.raw_request("get", "/v1/financial_connections/authorizations/fcauth_a", **PREVIEW).data
    assert found["status"] == "active"
    assert found["account_holder"]["customer"].startswith("cus_")
    missing = refusal(lambda: driver.stripe.raw_request("get", "/v1/financial_connections/authorizations/fcauth_a"))
    assert missing.http_status == 404


def test_accounts_of_one_session_share_their_authorization(driver: Any) -> None:
    customer = driver.stripe.v1.customers.create({"email": "someone@example.com"}).id
    params = {"account_holder": {"type": "customer", "customer": customer}, "permissions": ["ownership"]}
    made = driver.stripe.v1.financial_connections.sessions.create(params)
    driver.sim.complete(made.id, accounts=[{"id": "fca_a"}, {"id": "fca_b"}])
    assert {read(driver, account)["authorization"] for account in ("fca_a", "fca_b")} == {"fcauth_a"}
    driver.sim.deactivate("fca_b")
    shown = driver.stripe.raw_request("get", "/v1/financial_connections/authorizations/fcauth_a", **PREVIEW).data
    assert (shown["status"], shown["status_details"]) == ("inactive", {"inactive": {"action": "relink_required"}})


def test_stable_version_refuses_relink_options_as_unknown(driver: Any, link: Callable[..., str]) -> None:
    link()
    params = {"relink_options": {"authorization": "fcauth_a"}, "permissions": ["ownership"]}
    params["account_holder"] = {"type": "customer", "customer": driver.stripe.v1.customers.create({}).id}
    error = refusal(lambda: driver.stripe.v1.financial_connections.sessions.create(params))
    assert (error.code, error.param) == ("parameter_unknown", "relink_options")


def test_inactive_account_is_reactivated_under_its_id(driver: Any, link: Callable[..., str]) -> None:
    link()
    driver.sim.deactivate("fca_a")
    driver.deliver()
    made = session(driver)
    assert (made.status, made.relink_options.account, made.client_secret is not None) == ("pending", "fca_a", True)
    assert types(driver) == []
    assert driver.sim.complete_relink(made.id) == {"accounts": ["fca_a"]}
    shown = ended(driver, made.id)
    assert (shown["status"], shown["relink_result"]) == ("succeeded", {"account": "fca_a", "authorization": "fcauth_a"})
    assert [account["id"] for account in shown["accounts"]["data"]] == ["fca_a"]
    assert read(driver, "fca_a")["status"] == "active"
    assert [delivery.type for delivery in driver.deliver()] == ["financial_connections.account.reactivated"]
    assert [account.id for account in driver.accounts.list({"session": made.id}).data] == ["fca_a"]


def test_stable_version_shows_a_session_for_relinking_like_any_other(driver: Any, link: Callable[..., str]) -> None:
    link()
    made = session(driver)
    driver.sim.complete_relink(made.id)
    shown = ended(driver, made.id, {})
    assert not {"status", "relink_options", "relink_result"} & set(shown)
    assert [account["id"] for account in shown["accounts"]["data"]] == ["fca_a"]


@pytest.mark.parametrize(("grant", "expected"), [("union", ["balances", "payment_method", "ownership"]), ("replace", ["ownership"])])
def test_permission_is_added_or_replaces_the_present_ones_and_no_event_says_so(
    driver: Any, link: Callable[..., str], grant: str, expected: list[str]
) -> None:
    link(permissions=("balances", "payment_method"))
    made = session(driver, permissions=("ownership",))
    driver.sim.add_endpoint("https://titleholder.test/hook", "whsec_x")
    driver.sim.complete_relink(made.id, grant=grant)
    assert read(driver, "fca_a")["permissions"] == expected
    assert driver.deliver() == []


@pytest.mark.parametrize("prefetch", [True, False])
def test_prefetch_of_a_relink_has_an_effect_on_the_account_or_none(driver: Any, link: Callable[..., str], prefetch: bool) -> None:
    link()
    made = session(driver, prefetch=["ownership"])
    driver.sim.complete_relink(made.id, prefetch=prefetch)
    assert bool(read(driver, "fca_a")["ownership_refresh"]) == prefetch


def test_lists_by_the_session_may_lack_an_account_that_was_linked_before(driver: Any, link: Callable[..., str]) -> None:
    link()
    made = session(driver)
    driver.sim.complete_relink(made.id, listed=False)
    assert driver.accounts.list({"session": made.id}).data == []
    assert [account["id"] for account in ended(driver, made.id)["accounts"]["data"]] == ["fca_a"]


def test_end_user_may_choose_another_account_which_is_linked_to_the_authorization(driver: Any, link: Callable[..., str]) -> None:
    link()
    driver.sim.deactivate("fca_a")
    made = session(driver)
    assert driver.sim.complete_relink(made.id, account={"id": "fca_b", "scenario": "joint"}) == {"accounts": ["fca_b"]}
    shown = ended(driver, made.id)
    assert (shown["status"], shown["relink_result"]) == ("succeeded", {"authorization": "fcauth_a"})
    assert [account["id"] for account in shown["accounts"]["data"]] == ["fca_b"]
    assert (read(driver, "fca_a")["status"], read(driver, "fca_b")["authorization"]) == ("inactive", "fcauth_a")


def test_relink_without_an_account_takes_any_of_the_authorization(driver: Any, link: Callable[..., str]) -> None:
    link()
    made = session(driver, account=None)
    assert driver.sim.complete_relink(made.id) == {"accounts": ["fca_a"]}
    assert ended(driver, made.id)["relink_result"] == {"authorization": "fcauth_a"}


@pytest.mark.parametrize("reason", ["no_account", "no_authorization", "other"])
def test_relink_fails_with_a_reason_and_the_account_stays_as_it_was(driver: Any, link: Callable[..., str], reason: str) -> None:
    link()
    driver.sim.deactivate("fca_a")
    made = session(driver)
    driver.sim.complete_relink(made.id, outcome="failed", failure_reason=reason)
    shown = ended(driver, made.id)
    assert (shown["status"], shown["relink_result"], shown["accounts"]["data"]) == ("failed", {"failure_reason": reason}, [])
    assert read(driver, "fca_a")["status"] == "inactive"


def test_relink_may_fail_for_the_account_that_was_named_and_link_another(driver: Any, link: Callable[..., str]) -> None:
    link()
    made = session(driver)
    driver.sim.complete_relink(made.id, outcome="failed", account="fca_b")
    shown = ended(driver, made.id)
    assert (shown["status"], shown["relink_result"]) == ("failed", {"failure_reason": "no_account"})
    assert [account["id"] for account in shown["accounts"]["data"]] == ["fca_b"]


def test_relink_is_cancelled_when_the_end_user_leaves(driver: Any, link: Callable[..., str]) -> None:
    link()
    made = session(driver)
    assert driver.sim.complete_relink(made.id, outcome="cancelled") == {"accounts": []}
    shown = ended(driver, made.id)
    assert (shown["status"], shown["status_details"]) == ("cancelled", {"cancelled": {"reason": "other"}})
    assert "relink_result" not in shown


def test_expiring_account_ceases_to_expire(driver: Any, link: Callable[..., str]) -> None:
    link()
    driver.sim.expire("fca_a", driver.now + 3600)
    driver.sim.complete_relink(session(driver).id)
    driver.wait(7200)
    shown = read(driver, "fca_a")
    assert (shown["status"], shown["status_details"]) == ("active", {})


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown authorization": ({"relink_options": {"authorization": "fcauth_x"}}, "relink_options[authorization]"),
    "account of another authorization": (
        {"relink_options": {"authorization": "fcauth_a", "account": "fca_b"}}, "relink_options[account]"
    ),
    "no authorization": ({"relink_options": {"account": "fca_a"}}, "relink_options[authorization]"),
    "another holder": ({"account_holder": {"type": "account", "account": "acct_1"}}, "account_holder"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_session_that_can_relink_nothing_is_refused(driver: Any, link: Callable[..., str], name: str) -> None:
    link()
    link(id="fca_b")
    changed, param = REFUSED[name]
    params = {"relink_options": {"authorization": "fcauth_a"}, "permissions": ["ownership"], **changed}
    error = refusal(lambda: driver.stripe.v1.financial_connections.sessions.create(params, PREVIEW))
    assert (error.http_status, error.param) == (400, param)


def test_disconnected_account_can_not_be_relinked(driver: Any, link: Callable[..., str]) -> None:
    link()
    driver.sim.change("fca_a", action="disconnect")
    assert refusal(lambda: session(driver)).http_status == 400


def test_session_for_relinking_is_completed_once_and_by_relinking(driver: Any, link: Callable[..., str]) -> None:
    link()
    made = session(driver)
    with pytest.raises(ValueError, match="complete_relink"):
        driver.sim.complete(made.id)
    driver.sim.complete_relink(made.id)
    with pytest.raises(ValueError, match="pending"):
        driver.sim.complete_relink(made.id)
