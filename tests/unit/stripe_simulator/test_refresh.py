"""When a refresh starts, how it ends, and what the account shows meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.support.stripe_client import refusal


def names(account: Any) -> list[str]:
    return [owner.name for owner in account.ownership.owners.data]


def test_refresh_is_pending_until_it_settles_and_then_shows_the_owners(driver: Any) -> None:
    driver.sim.link("joint", id="fca_a")
    before = driver.accounts.retrieve("fca_a")
    assert (before.ownership, before.ownership_refresh) == (None, None)

    pending = driver.refresh("fca_a").ownership_refresh
    assert (pending.status, pending.next_refresh_available_at, pending.last_attempted_at) == ("pending", None, int(driver.now))

    driver.wait(4.9)
    assert driver.accounts.retrieve("fca_a").ownership_refresh.status == "pending"

    driver.wait(0.1)
    settled = driver.accounts.retrieve("fca_a", {"expand": ["ownership"]})
    assert settled.ownership_refresh.status == "succeeded"
    assert settled.ownership_refresh.next_refresh_available_at == int(driver.now) + 60
    assert settled.ownership.created == int(driver.now)
    assert names(settled) == ["JOHN Q SAMPLEWELL", "JANE R SAMPLEWELL"]
    assert {owner.refreshed_at for owner in settled.ownership.owners.data} == {int(driver.now)}


def test_ownership_is_an_id_unless_expanded(driver: Any) -> None:
    driver.sim.link("fresh", id="fca_a")
    plain = driver.accounts.retrieve("fca_a").ownership
    assert plain.startswith("fcaowns_")
    assert driver.accounts.retrieve("fca_a", {"expand": ["ownership"]}).ownership.id == plain
    assert driver.accounts.list({"expand": ["data.ownership"]}).data[0].ownership.id == plain


def test_a_refresh_settles_at_its_own_time_even_if_it_is_read_later(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.refresh("fca_a")
    started = int(driver.now)
    driver.wait(1000)
    refresh = driver.accounts.retrieve("fca_a").ownership_refresh
    assert refresh.next_refresh_available_at == started + 5 + 60


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        ("prefetch_pending", None),
        ("fresh", None),
        ("cooling_down", None),
        ("inactive", "financial_connections_account_inactive"),
        ("inactive_with_old_snapshot", "financial_connections_account_inactive"),
        ("disconnected", None),
        ("permission_missing", None),
        ("permissions_null", None),
        ("no_next_refresh", None),
    ],
)
def test_a_refresh_that_may_not_start_is_an_error_and_costs_nothing(driver: Any, scenario: str, code: str | None) -> None:
    driver.sim.link(scenario, id="fca_a")
    error = refusal(lambda: driver.refresh("fca_a"))
    assert isinstance(error, stripe.InvalidRequestError)
    assert (error.http_status, error.code) == (400, code)
    assert driver.sim.initiated_refreshes() == {"fca_a": 0}


def test_a_silent_refusal_answers_with_the_account_unchanged(driver: Any) -> None:
    driver.sim.link("silently_refusing", id="fca_a")
    before = driver.accounts.retrieve("fca_a").to_dict()
    assert driver.refresh("fca_a").to_dict() == before
    assert driver.sim.initiated_refreshes() == {"fca_a": 0}


def test_no_second_refresh_while_pending_or_in_the_cooldown_and_one_right_after(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.refresh("fca_a")
    refusal(lambda: driver.refresh("fca_a"))
    driver.wait(5 + 59)
    refusal(lambda: driver.refresh("fca_a"))
    driver.wait(1)
    assert driver.refresh("fca_a").ownership_refresh.status == "pending"
    state = driver.sim.state("fca_a")
    assert state["initiated_refreshes"] == 2
    assert [refresh["started"] for refresh in state["refreshes"]] == [driver.now - 65, driver.now]


def test_every_success_makes_a_new_snapshot_and_the_old_one_stays_listable(driver: Any) -> None:
    driver.sim.link("fresh", id="fca_a")
    first = driver.accounts.retrieve("fca_a").ownership
    driver.wait(60)
    driver.sim.change("fca_a", owners=[{"name": "NEW OWNER"}])
    driver.refresh("fca_a")
    assert driver.accounts.retrieve("fca_a").ownership == first, "the old one stays attached while pending"
    driver.wait(5)
    second = driver.accounts.retrieve("fca_a").ownership
    assert second != first
    listed = {snapshot: driver.accounts.owners.list("fca_a", {"ownership": snapshot}).data[0].name for snapshot in (first, second)}
    assert listed == {first: "MARGARET ANNE TESTERMAN", second: "NEW OWNER"}


def test_after_a_failure_the_old_snapshot_stays_attached(driver: Any) -> None:
    driver.sim.link("failing_with_old_snapshot", id="fca_a")
    old = driver.accounts.retrieve("fca_a").ownership
    driver.refresh("fca_a")
    driver.wait(5)
    failed = driver.accounts.retrieve("fca_a")
    assert (failed.ownership_refresh.status, failed.ownership) == ("failed", old)
    assert failed.ownership_refresh.next_refresh_available_at == int(driver.now) + 60


def test_outcomes_can_differ_from_attempt_to_attempt(driver: Any) -> None:
    driver.sim.link("failing_then_succeeding", id="fca_a")
    seen = []
    for _ in range(3):
        driver.refresh("fca_a")
        driver.wait(5)
        seen.append(driver.accounts.retrieve("fca_a").ownership_refresh.status)
        driver.wait(60)
    assert seen == ["failed", "succeeded", "succeeded"]


def test_a_failure_can_carry_the_preview_error(driver: Any) -> None:
    driver.sim.link("failing_with_reason", id="fca_a")
    driver.refresh("fca_a")
    driver.wait(5)
    refresh = driver.sim.state("fca_a")["account"]["ownership_refresh"]
    assert refresh["error"]["cause"] == "institution_unavailable"


def test_never_answering_stays_pending(driver: Any) -> None:
    driver.sim.link("never_answering", id="fca_a")
    driver.refresh("fca_a")
    assert driver.sim.next_due() is None
    driver.wait(10**6)
    assert driver.accounts.retrieve("fca_a").ownership_refresh.status == "pending"


def test_prefetch_is_counted_apart_from_what_the_api_initiated(driver: Any) -> None:
    driver.sim.link("prefetch_pending", id="fca_a")
    driver.wait(5)
    state = driver.sim.state("fca_a")
    assert (state["initiated_refreshes"], state["prefetches"]) == (0, 1)
    assert state["account"]["ownership_refresh"]["status"] == "succeeded"


def test_an_inactive_account_hides_its_next_refresh_but_not_its_snapshot(driver: Any) -> None:
    driver.sim.link("fresh", id="fca_a")
    driver.sim.change("fca_a", action="deactivate")
    account = driver.accounts.retrieve("fca_a", {"expand": ["ownership"]})
    assert (account.status, account.ownership_refresh.next_refresh_available_at) == ("inactive", None)
    assert names(account) == ["MARGARET ANNE TESTERMAN"]
    driver.wait(60)
    driver.sim.change("fca_a", action="reactivate")
    assert driver.refresh("fca_a").ownership_refresh.status == "pending"


def test_a_refresh_pending_when_the_account_turns_inactive_fails(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.refresh("fca_a")
    driver.sim.change("fca_a", action="deactivate")
    driver.wait(5)
    assert driver.accounts.retrieve("fca_a").ownership_refresh.status == "failed"


@pytest.mark.parametrize("kept", [False, True])
def test_data_after_a_disconnect_is_lost_or_kept_as_the_policy_says(driver: Any, kept: bool) -> None:
    driver.sim.link("fresh", id="fca_a", policy={"keep_data_after_disconnect": kept})
    ownership = driver.accounts.retrieve("fca_a").ownership
    assert driver.accounts.disconnect("fca_a").status == "disconnected"
    assert driver.accounts.retrieve("fca_a").ownership == (ownership if kept else None)
    if kept:
        assert driver.accounts.owners.list("fca_a", {"ownership": ownership}).data
    else:
        assert refusal(lambda: driver.accounts.owners.list("fca_a", {"ownership": ownership})).code == "resource_missing"


def test_one_call_may_refresh_several_features_each_with_its_own_state(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a", permissions=["balances", "ownership"])
    account = driver.accounts.refresh("fca_a", {"features": ["balance", "ownership"]})
    assert (account.balance_refresh.status, account.ownership_refresh.status) == ("pending", "pending")
    driver.wait(5)
    assert driver.accounts.retrieve("fca_a").balance.current.to_dict() == {"usd": 123456}
    assert driver.sim.initiated_refreshes() == {"fca_a": 1}


def test_one_refused_feature_stops_the_whole_call(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a", permissions=["ownership"])
    refusal(lambda: driver.accounts.refresh("fca_a", {"features": ["ownership", "balance"]}))
    assert driver.sim.initiated_refreshes() == {"fca_a": 0}


def test_partial_bank_data_is_null_not_absent(driver: Any) -> None:
    driver.sim.link("partial", id="fca_a")
    driver.refresh("fca_a")
    driver.wait(5)
    owner = driver.accounts.retrieve("fca_a", {"expand": ["ownership"]}).ownership.owners.data[0].to_dict()
    assert (owner["email"], owner["phone"], owner["raw_address"], owner["refreshed_at"]) == (None, None, None, None)


def test_refresh_that_succeeds_may_leave_ownership_null(driver: Any) -> None:
    driver.sim.link("old", id="fca_a", policy={"ownership": ["new", "null"]})
    old = driver.accounts.retrieve("fca_a").ownership
    driver.refresh("fca_a")
    driver.wait(5)
    found = driver.accounts.retrieve("fca_a", {"expand": ["ownership"]})
    assert (found.ownership_refresh.status, found.ownership) == ("succeeded", None)
    assert [owner.name for owner in driver.accounts.owners.list("fca_a", {"ownership": old}).data] == ["MARGARET ANNE TESTERMAN"]


def test_refresh_that_succeeds_may_leave_the_old_ownership(driver: Any) -> None:
    driver.sim.link("old", id="fca_a", policy={"ownership": "kept"})
    old = driver.accounts.retrieve("fca_a", {"expand": ["ownership"]})
    driver.refresh("fca_a")
    driver.wait(5)
    found = driver.accounts.retrieve("fca_a", {"expand": ["ownership"]})
    assert found.ownership_refresh.status == "succeeded"
    assert found.ownership_refresh.last_attempted_at > old.ownership_refresh.last_attempted_at
    assert found.ownership.to_dict() == old.ownership.to_dict()


def test_read_lags_behind_while_the_answer_to_the_refresh_does_not(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a", policy={"read_lag_seconds": 4})
    assert driver.accounts.retrieve("fca_a").ownership_refresh is None
    assert driver.refresh("fca_a").ownership_refresh.status == "pending"
    shown = []
    for _ in range(11):
        refresh = driver.accounts.retrieve("fca_a").ownership_refresh
        shown.append(refresh and refresh.status)
        driver.wait(1)
    assert shown == [None] * 4 + ["pending"] * 5 + ["succeeded"] * 2


def test_read_that_comes_to_lag_later_shows_what_was_before_the_next_change(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.change("fca_a", policy={"read_lag_seconds": 4})
    driver.refresh("fca_a")
    assert driver.accounts.retrieve("fca_a").ownership_refresh is None
    driver.wait(4)
    assert driver.accounts.retrieve("fca_a").ownership_refresh.status == "pending"
