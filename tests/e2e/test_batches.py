"""Batches on the embedded stack: an upload over HTTP, both formats with bad lines, a stop, a repeat, a broken run resumed."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

import pytest
import requests

from tests.e2e.bench import MARGARET, Bench, eventually


def uploaded(bench: Bench, body: bytes, format_: str = "jsonl", **more: Any) -> str:
    """A batch whose manifest is there, not started."""
    answer = bench.http.call("POST", "/batches", {"format": format_, **more})
    assert answer.status == 201, answer
    [url] = answer.body["upload"]["urls"]
    assert requests.put(url, body, timeout=30).status_code == 200
    return str(answer.body["id"])


def started(bench: Bench, body: bytes, format_: str = "jsonl", **more: Any) -> str:
    batch = uploaded(bench, body, format_, **more)
    answer = bench.http.call("POST", f"/batches/{batch}/start")
    assert answer.status == 202, answer
    return batch


def shown(bench: Bench, batch: str) -> Any:
    return bench.http.call("GET", f"/batches/{batch}").body


def completed(bench: Bench, batch: str, within: float = 90) -> Any:
    found = eventually(lambda: (found := shown(bench, batch))["state"] not in ("importing", "verifying") and found, within)
    assert found["state"] == "completed", found
    return found


def lines(url: str) -> list[Any]:
    return [json.loads(line) for line in requests.get(url, timeout=30).text.splitlines()]


def manifest(accounts: list[str]) -> bytes:
    return "".join(json.dumps({"account": account, "claim": MARGARET}) + "\n" for account in accounts).encode()


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_batch_with_bad_lines_ends_in_a_verdict_for_every_good_one(bench: Bench, format_: str) -> None:
    good = [bench.link("single_owner") for _ in range(3)]
    other = bench.link("inactive")
    if format_ == "jsonl":
        body = manifest(good) + b"no json\n" + manifest([other])
        bad: list[tuple[int, str | None]] = [(4, None)]
    else:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([["account", "name"], *[[a, "Margaret\nTesterman"] for a in good], ["ba_1", "x"], [other, "x"]])
        body = b"\xef\xbb\xbf" + text.getvalue().encode()
        bad = [(8, "account")]
    done = completed(bench, started(bench, body, format_))
    assert (done["imported"], done["rejected"], done["waiting"]) == (4, 1, 0)
    assert done["done"] == {"match": 3, "not_verifiable": 1}
    assert [(reject["line"], reject["column"]) for reject in lines(done["rejects"])] == bad
    results = lines(done["results"]["jsonl"])
    assert [row["account"] for row in results] == [*good, other]
    table = csv.DictReader(io.StringIO(requests.get(done["results"]["csv"], timeout=30).text))
    assert [row["outcome"] for row in table] == [row["outcome"] for row in results]
    assert [bench.refreshes(account) for account in good] == [1, 1, 1]
    for row in results:
        assert bench.verification(row["verification"])["verdict"]["outcome"] == row["outcome"]


def test_same_manifest_again_asks_stripe_for_nothing(bench: Bench) -> None:
    accounts = [bench.link("single_owner") for _ in range(2)]
    completed(bench, started(bench, manifest(accounts)))
    calls = [bench.stripe_calls(account) for account in accounts]
    assert completed(bench, started(bench, manifest(accounts)))["done"] == {"match": 2}
    assert [bench.stripe_calls(account) for account in accounts] == calls


def test_stopped_batch_starts_nothing_more_and_keeps_what_it_has(bench: Bench) -> None:
    quick, slow = bench.link("single_owner"), bench.link("cooling_down", policy={"cooldown_seconds": 3600})
    # Its prefetch failed: for a request of the very same second that would be the answer, and nothing to wait for.
    failed = bench.sim.state(slow)["account"]["ownership_refresh"]["last_attempted_at"]
    eventually(lambda: time.time() > failed + 1)
    batch = started(bench, manifest([quick, slow]))
    eventually(lambda: shown(bench, batch)["done"] == {"match": 1}, 120)
    eventually(lambda: shown(bench, batch)["cooling_down"], 60)
    stopped = bench.http.call("DELETE", f"/batches/{batch}")
    assert (stopped.status, stopped.body["state"], stopped.body["done"]["match"]) == (200, "stopped", 1)
    closed = eventually(lambda: (found := shown(bench, batch))["results"] and found, 60)
    assert (closed["state"], closed["done"], closed["waiting"]) == ("stopped", {"match": 1, "not_verifiable": 1}, 0)
    assert [row["reasons"] for row in lines(closed["results"]["jsonl"])][1] == ["BATCH_STOPPED"]
    again = bench.http.call("POST", f"/batches/{batch}/start")
    assert (again.status, again.body["type"]) == (409, "urn:titleholder:problem:batch-state")
    assert bench.refreshes(slow) == 0


def test_broken_run_goes_on_where_it_stood(bench: Bench) -> None:
    accounts = [bench.link("single_owner", policy={"settle_seconds": 3}) for _ in range(2)]
    batch = started(bench, manifest(accounts))
    eventually(lambda: all(bench.refreshes(account) for account in accounts), 60)
    arn = bench.stack.outputs["BatchStateMachineArn"].replace(":stateMachine:", ":execution:")
    bench.stack.client("stepfunctions").stop_execution(executionArn=f"{arn}:{batch}-1")
    assert shown(bench, batch)["state"] == "failed"
    assert bench.http.call("POST", f"/batches/{batch}/start").status == 202
    assert completed(bench, batch)["done"] == {"match": 2}
    assert [bench.refreshes(account) for account in accounts] == [1, 1]


def test_link_lets_upload_nothing_but_this_manifest(bench: Bench) -> None:
    url = bench.http.call("POST", "/batches", {"format": "csv"}).body["upload"]["urls"][0]
    assert requests.get(url, timeout=30).status_code == 403
    assert requests.put(url.replace("/manifests/bat_", "/manifests/bat_0"), b"x", timeout=30).status_code == 403
