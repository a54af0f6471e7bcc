"""Idempotency keys, which prevent that a retried refresh is paid twice."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import stripe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.stripe_client import refusal

AUTH = {"Authorization": "Bearer sk_test_simulated"}
REFRESH = "/v1/financial_connections/accounts/{account}/refresh"


def test_the_same_key_replays_the_first_answer_and_starts_nothing(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    first = driver.refresh("fca_a", idempotency_key="attempt-1")
    driver.wait(100)
    again = driver.refresh("fca_a", idempotency_key="attempt-1")
    assert again.ownership_refresh.to_dict() == first.ownership_refresh.to_dict()
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.headers["Original-Request"] == first.last_response.request_id
    assert driver.sim.initiated_refreshes() == {"fca_a": 1}


def test_a_key_is_forgotten_after_a_day(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.refresh("fca_a", idempotency_key="attempt-1")
    driver.wait(86400)
    assert "Idempotent-Replayed" not in driver.refresh("fca_a", idempotency_key="attempt-1").last_response.headers
    assert driver.sim.initiated_refreshes() == {"fca_a": 2}


def test_the_same_key_for_something_else_is_an_error(driver: Any) -> None:
    for account in ("fca_a", "fca_b"):
        driver.sim.link("single_owner", id=account)
    driver.refresh("fca_a", idempotency_key="k")
    for call in (
        lambda: driver.refresh("fca_b", idempotency_key="k"),
        lambda: driver.accounts.refresh("fca_a", {"features": ["balance"]}, {"idempotency_key": "k"}),
    ):
        error = refusal(call)
        assert isinstance(error, stripe.IdempotencyError)
        assert error.http_status == 400


def test_keys_of_different_connected_accounts_are_separate(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.link("single_owner", id="fca_b", stripe_account="acct_1")
    driver.refresh("fca_a", idempotency_key="k")
    assert driver.refresh("fca_b", idempotency_key="k", stripe_account="acct_1").id == "fca_b"


def test_a_failed_validation_is_not_remembered_but_a_refusal_is(driver: Any) -> None:
    driver.sim.link("cooling_down", id="fca_a", policy={"cooldown_seconds": 10})
    headers = {**AUTH, "Idempotency-Key": "k"}
    path = REFRESH.format(account="fca_a")
    assert driver.sim.handle("POST", path, headers, b"features[]=nonsense").status == 400
    assert driver.sim.handle("POST", path, headers, b"features[]=ownership").status == 400
    driver.wait(10)
    replayed = driver.sim.handle("POST", path, headers, b"features[]=ownership")
    assert (replayed.status, replayed.headers["Idempotent-Replayed"]) == (400, "true")
    assert driver.sim.handle("POST", path, {**headers, "Idempotency-Key": "k2"}, b"features[]=ownership").status == 200


def test_a_500_is_remembered_and_a_429_and_a_409_are_not(driver: Any) -> None:
    for kind, status, remembered in (("server_error", 500, True), ("rate_limit", 429, False), ("conflict", 409, False)):
        account = f"fca_{kind}"
        driver.sim.link("single_owner", id=account)
        driver.sim.fail_api(kind, account=account)
        assert refusal(lambda: driver.refresh(account, idempotency_key=account)).http_status == status  # noqa: B023
        if remembered:
            assert refusal(lambda: driver.refresh(account, idempotency_key=account)).http_status == status  # noqa: B023
        else:
            assert driver.refresh(account, idempotency_key=account).ownership_refresh.status == "pending"


def test_a_500_before_anything_began_can_be_left_unremembered(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.fail_api("server_error", stored=False)
    assert refusal(lambda: driver.refresh("fca_a", idempotency_key="k")).http_status == 500
    assert driver.refresh("fca_a", idempotency_key="k").ownership_refresh.status == "pending"


def test_a_concurrent_request_with_the_same_key_conflicts(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.fail_api("hang", seconds=100, effect="after")
    assert isinstance(refusal(lambda: driver.refresh("fca_a", idempotency_key="k")), stripe.APIConnectionError)
    error = refusal(lambda: driver.refresh("fca_a", idempotency_key="k"))
    assert (error.http_status, error.error.code) == (409, "idempotency_key_in_use")
    driver.wait(100)
    assert driver.refresh("fca_a", idempotency_key="k").ownership_refresh.status == "pending"
    assert driver.sim.initiated_refreshes() == {"fca_a": 1}


def test_an_overlong_key_is_refused(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    assert refusal(lambda: driver.refresh("fca_a", idempotency_key="k" * 256)).http_status == 400


def test_keys_on_reads_mean_nothing(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    for account in ("fca_a", "fca_b"):
        answer = driver.sim.handle("GET", f"/v1/financial_connections/accounts/{account}", {**AUTH, "Idempotency-Key": "k"})
        assert "Idempotent-Replayed" not in answer.headers


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["k1", "k2"]),
            st.sampled_from([None, "drop before", "drop after", "server_error before", "server_error after", "rate_limit before"]),
            st.sampled_from([0, 1, 70]),
        ),
        max_size=12,
    )
)
def test_no_key_ever_initiates_two_refreshes(make_driver: Any, calls: list[tuple[str, str | None, int]]) -> None:
    driver = make_driver()
    driver.sim.link("single_owner", id="fca_a")
    for key, fault, pause in calls:
        if fault:
            kind, effect = fault.split()
            driver.sim.fail_api(kind, effect=effect)
        with contextlib.suppress(stripe.StripeError):
            driver.refresh("fca_a", idempotency_key=key)
        driver.sim.clear_faults()
        driver.wait(pause)
    keys = [refresh["idempotency_key"] for refresh in driver.sim.state("fca_a")["refreshes"]]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("effect", ["before", "after"])
def test_a_dropped_connection_takes_effect_only_if_the_fault_says_so(driver: Any, effect: str) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.fail_api("drop", effect=effect)
    assert isinstance(refusal(lambda: driver.refresh("fca_a", idempotency_key="k")), stripe.APIConnectionError)
    assert driver.sim.initiated_refreshes() == {"fca_a": int(effect == "after")}
    retried = driver.refresh("fca_a", idempotency_key="k")
    assert ("Idempotent-Replayed" in retried.last_response.headers) == (effect == "after")
    assert driver.sim.initiated_refreshes() == {"fca_a": 1}
