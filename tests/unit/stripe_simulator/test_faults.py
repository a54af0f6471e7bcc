"""API faults on demand, rate limits, and the log of requests."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from local.stripe_simulator.sdk import SimulatorHTTPClient
from tests.support.stripe_client import client, refusal

RETRIEVE = "/v1/financial_connections/accounts/{account}"


def test_a_rate_limited_call_says_why(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.fail_api("rate_limit", reason="endpoint-concurrency")
    error = refusal(lambda: driver.accounts.retrieve("fca_a"))
    assert isinstance(error, stripe.RateLimitError)
    assert error.headers["stripe-rate-limited-reason"] == "endpoint-concurrency"
    assert driver.accounts.retrieve("fca_a").id == "fca_a"


def test_a_lock_timeout_is_a_429_without_the_reason(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.fail_api("rate_limit", reason=None)
    error = refusal(lambda: driver.accounts.retrieve("fca_a"))
    assert error.error.code == "lock_timeout"
    assert "stripe-rate-limited-reason" not in error.headers


def test_a_fault_hits_only_what_it_names_as_often_as_it_says(driver: Any) -> None:
    for account in ("fca_a", "fca_b"):
        driver.sim.link("single_owner", id=account)
    driver.sim.fail_api("server_error", method="GET", path=RETRIEVE, account="fca_a", skip=1, times=2)
    results = []
    for _ in range(4):
        try:
            driver.accounts.retrieve("fca_a")
            results.append(200)
        except stripe.APIError as error:
            results.append(error.http_status)
        assert driver.accounts.retrieve("fca_b").id == "fca_b"
        assert len(driver.accounts.list().data) == 2
    assert results == [200, 500, 500, 200]


@pytest.mark.parametrize(("effect", "initiated"), [("before", 0), ("after", 1)])
def test_a_500_takes_effect_only_if_the_fault_says_so(driver: Any, effect: str, initiated: int) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.fail_api("server_error", effect=effect)
    refusal(lambda: driver.refresh("fca_a"))
    assert driver.sim.initiated_refreshes() == {"fca_a": initiated}


def test_the_sdks_own_retry_recovers_from_a_dropped_answer_without_a_second_refresh(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.fail_api("drop", effect="after")
    retrying = driver.client(max_network_retries=2)
    assert retrying.v1.financial_connections.accounts.refresh("fca_a", {"features": ["ownership"]}).ownership_refresh.status == "pending"
    assert driver.sim.initiated_refreshes() == {"fca_a": 1}


def test_a_late_call_is_executed_after_its_time_out_and_keeps_its_key_until_then(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    driver.sim.fail_api("late", seconds=30)
    assert isinstance(refusal(lambda: driver.refresh("fca_a", idempotency_key="key")), stripe.APIConnectionError)
    driver.wait(29)
    assert driver.accounts.retrieve("fca_a").ownership_refresh is None
    assert refusal(lambda: driver.refresh("fca_a", idempotency_key="key")).http_status == 409
    driver.wait(1)
    assert driver.accounts.retrieve("fca_a").ownership_refresh.last_attempted_at == int(driver.now)
    again = driver.refresh("fca_a", idempotency_key="key")
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert driver.sim.initiated_refreshes() == {"fca_a": 1}


def test_late_calls_under_two_keys_are_both_executed(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a", policy={"settle_seconds": 1.0, "cooldown_seconds": 1.0})
    driver.sim.fail_api("late", seconds=30)
    refusal(lambda: driver.refresh("fca_a", idempotency_key="first"))
    driver.refresh("fca_a", idempotency_key="second")
    driver.wait(31)
    driver.accounts.retrieve("fca_a")
    assert driver.sim.initiated_refreshes() == {"fca_a": 2}


def test_a_hang_spends_the_clients_timeout_in_virtual_time(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a")
    accounts = client(SimulatorHTTPClient(driver.sim, timeout=10, sleep=driver.wait)).v1.financial_connections.accounts
    start = driver.now
    driver.sim.fail_api("hang", seconds=3, effect="after")
    assert accounts.retrieve("fca_a").id == "fca_a", "slow, but within the timeout"
    assert driver.now == start + 3
    driver.sim.fail_api("hang", seconds=60)
    assert isinstance(refusal(lambda: accounts.retrieve("fca_a")), stripe.APIConnectionError)
    assert driver.now == start + 13


def test_more_calls_a_second_than_the_limit_are_refused_for_that_operation_only(make_driver: Any) -> None:
    driver = make_driver(rate_limit=25)
    driver.sim.link("single_owner", id="fca_a")
    for _ in range(25):
        driver.accounts.retrieve("fca_a")
    error = refusal(lambda: driver.accounts.retrieve("fca_a"))
    assert error.headers["stripe-rate-limited-reason"] == "endpoint-rate"
    assert driver.accounts.list().data
    driver.wait(1)
    assert driver.accounts.retrieve("fca_a").id == "fca_a"
    assert driver.sim.request_counts()["peaks"][f"GET {RETRIEVE}"] == 26


def test_the_global_limit_counts_every_operation(make_driver: Any) -> None:
    driver = make_driver(global_rate_limit=2)
    driver.accounts.list()
    driver.stripe.v1.events.list()
    assert refusal(lambda: driver.stripe.v1.events.list()).headers["stripe-rate-limited-reason"] == "global-rate"


def test_the_request_log_names_operations_accounts_and_keys_but_no_bodies(driver: Any) -> None:
    driver.sim.link("single_owner", id="fca_a", stripe_account="acct_1")
    driver.refresh("fca_a", stripe_account="acct_1", idempotency_key="k")
    refusal(lambda: driver.refresh("fca_a", stripe_account="acct_1"))
    first, second = driver.sim.requests()
    assert (first["operation"], first["account"], first["stripe_account"]) == (f"POST {RETRIEVE}/refresh", "fca_a", "acct_1")
    assert (first["idempotency_key"], first["status"], second["status"], first["at"]) == ("k", 200, 400, driver.now)
    counts = driver.sim.request_counts()
    assert counts["accounts"] == {"fca_a": {f"POST {RETRIEVE}/refresh": 2}}
    assert counts["statuses"] == {"200": 1, "400": 1}


@pytest.mark.parametrize("bad", [{"kind": "nonsense"}, {"kind": "drop", "colour": "red"}])
def test_an_unknown_fault_is_refused(driver: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"kind|colour"):
        driver.sim.fail_api(**bad)
    with pytest.raises(ValueError, match=r"kind|colour"):
        driver.sim.fail_webhooks(**bad)


def test_the_same_seed_and_calls_give_the_same_ids(make_driver: Any) -> None:
    def run() -> list[str]:
        driver = make_driver()
        linked = [driver.sim.link("fresh")["account"] for _ in range(2)]
        return [account["id"] for account in linked] + [account["ownership"] for account in linked]

    assert run() == run()
