"""Batches on the embedded stack: an upload over HTTP, both formats with bad lines, a stop, a repeat, a broken run resumed."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import pytest
import requests

from tests.e2e.stack_driver import MARGARET, StackDriver, eventually


def uploaded(driver: StackDriver, body: bytes, format_: str = "jsonl", **more: Any) -> str:
    """A batch whose manifest is there, not started."""
    answer = driver.http.call("POST", "/batches", {"format": format_, **more})
    assert answer.status == 201, answer
    [url] = answer.body["upload"]["urls"]
    assert requests.put(url, body, timeout=30).status_code == 200
    return str(answer.body["id"])


def started(driver: StackDriver, body: bytes, format_: str = "jsonl", **more: Any) -> str:
    batch = uploaded(driver, body, format_, **more)
    answer = driver.http.call("POST", f"/batches/{batch}/start")
    assert answer.status == 202, answer
    return batch


def shown(driver: StackDriver, batch: str) -> Any:
    return driver.http.call("GET", f"/batches/{batch}").body


def completed(driver: StackDriver, batch: str, within: float = 90) -> Any:
    found = eventually(lambda: (found := shown(driver, batch))["state"] not in ("importing", "verifying") and found, within)
    assert found["state"] == "completed", found
    return found


def lines(url: str) -> list[Any]:
    return [json.loads(line) for line in requests.get(url, timeout=30).text.splitlines()]


def manifest(accounts: list[str]) -> bytes:
    return "".join(json.dumps({"account": account, "claim": MARGARET}) + "\n" for account in accounts).encode()


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_batch_with_bad_lines_ends_in_a_verdict_for_every_good_one(driver: StackDriver, format_: str) -> None:
    good = [driver.link("single_owner") for _ in range(3)]
    other = driver.link("inactive")
    if format_ == "jsonl":
        body = manifest(good) + b"no json\n" + manifest([other])
        bad: list[tuple[int, str | None]] = [(4, None)]
    else:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([["account", "name"], *[[a, "Margaret\nTesterman"] for a in good], ["ba_1", "x"], [other, "x"]])
        body = b"\xef\xbb\xbf" + text.getvalue().encode()
        bad = [(8, "account")]
    done = completed(driver, started(driver, body, format_))
    assert (done["imported"], done["rejected"], done["waiting"]) == (4, 1, 0)
    assert done["done"] == {"match": 3, "not_verifiable": 1}
    assert [(reject["line"], reject["column"]) for reject in lines(done["rejects"])] == bad
    results = lines(done["results"]["jsonl"])
    assert [row["account"] for row in results] == [*good, other]
    table = csv.DictReader(io.StringIO(requests.get(done["results"]["csv"], timeout=30).text))
    assert [row["outcome"] for row in table] == [row["outcome"] for row in results]
    assert [driver.refreshes(account) for account in good] == [1, 1, 1]
    for row in results:
        assert driver.verification(row["verification"])["verdict"]["outcome"] == row["outcome"]


def test_same_manifest_again_asks_stripe_for_nothing(driver: StackDriver) -> None:
    accounts = [driver.link("single_owner") for _ in range(2)]
    completed(driver, started(driver, manifest(accounts)))
    calls = [driver.stripe_calls(account) for account in accounts]
    assert completed(driver, started(driver, manifest(accounts)))["done"] == {"match": 2}
    assert [driver.stripe_calls(account) for account in accounts] == calls


def test_stopped_batch_starts_nothing_more_and_keeps_what_it_has(driver: StackDriver) -> None:
    quick, slow = driver.link("single_owner"), driver.link("cooling_down", policy={"cooldown_seconds": 3600})
    # Its prefetch failed: for a request of the very same second that would be the answer, and nothing to wait for.
    failed = driver.sim.state(slow)["account"]["ownership_refresh"]["last_attempted_at"]
    eventually(lambda: time.time() > failed + 1)
    batch = started(driver, manifest([quick, slow]))
    eventually(lambda: shown(driver, batch)["done"] == {"match": 1}, 120)
    eventually(lambda: shown(driver, batch)["cooling_down"], 60)
    stopped = driver.http.call("DELETE", f"/batches/{batch}")
    assert (stopped.status, stopped.body["state"], stopped.body["done"]["match"]) == (200, "stopped", 1)
    closed = eventually(lambda: (found := shown(driver, batch))["results"] and found, 60)
    assert (closed["state"], closed["done"], closed["waiting"]) == ("stopped", {"match": 1, "not_verifiable": 1}, 0)
    assert [row["reasons"] for row in lines(closed["results"]["jsonl"])][1] == ["BATCH_STOPPED"]
    again = driver.http.call("POST", f"/batches/{batch}/start")
    assert (again.status, again.body["type"]) == (409, "urn:titleholder:problem:batch-state")
    assert driver.refreshes(slow) == 0


def test_broken_run_goes_on_where_it_stood(driver: StackDriver) -> None:
    accounts = [driver.link("single_owner", policy={"settle_seconds": 3}) for _ in range(2)]
    batch = started(driver, manifest(accounts))
    eventually(lambda: all(driver.refreshes(account) for account in accounts), 60)
    arn = driver.stack.outputs["BatchStateMachineArn"].replace(":stateMachine:", ":execution:")
    driver.stack.client("stepfunctions").stop_execution(executionArn=f"{arn}:{batch}-1")
    assert shown(driver, batch)["state"] == "failed"
    assert driver.http.call("POST", f"/batches/{batch}/start").status == 202
    assert completed(driver, batch)["done"] == {"match": 2}
    assert [driver.refreshes(account) for account in accounts] == [1, 1]


def test_link_lets_upload_nothing_but_this_manifest(driver: StackDriver) -> None:
    url = driver.http.call("POST", "/batches", {"format": "csv"}).body["upload"]["urls"][0]
    assert requests.get(url, timeout=30).status_code == 403
    assert requests.put(url.replace("/manifests/bat_", "/manifests/bat_0"), b"x", timeout=30).status_code == 403
