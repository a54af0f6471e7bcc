"""Batches over moto's S3 and DynamoDB: verified lines, repeated manifests, passes over accounts in cooldown, results."""

from __future__ import annotations

import csv
import io
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.batches import MARGARET, Batch, _unix, linked, manifest
from tests.support.sandbox import CLAIM, PERSONAL, Sandbox, client
from titleholder.bootstrap import application
from titleholder.domain.verifications import Verification

pytestmark = pytest.mark.slow


def test_changed_policy_with_the_defaults_version_is_refused(sandbox: Sandbox) -> None:
    changed = {"match_threshold": 0, "close_match_threshold": 0}
    answer = sandbox.http("POST", "/batches", {"format": "csv", "policy": {"version": "2025-1", **changed}})
    assert (answer.status, answer.problem, answer.bad_fields) == (422, "invalid-request", {"policy.version"})
    assert sandbox.items() == []
    assert sandbox.http("POST", "/batches", {"format": "csv", "policy": {"version": "mine", **changed}}).status == 201


def test_both_formats_are_imported_verified_and_listed_by_verdict(sandbox: Sandbox) -> None:
    for format_ in ("jsonl", "csv"):
        accounts = linked(sandbox, 3)
        body = manifest(accounts[:2]) + b"not json\n" + manifest(accounts[2:], {"name": "Somebody Else"})
        if format_ == "csv":
            rows = [
                ["account", "name"],
                *[[account, "Margaret\nTesterman"] for account in accounts[:2]],
                ["ba_1", "x"],
                [accounts[2], "Somebody"],
            ]
            text = io.StringIO(newline="")
            csv.writer(text).writerows(rows)
            body = b"\xef\xbb\xbf" + text.getvalue().encode()
        batch = Batch(sandbox, body, format_)
        assert batch.start()["state"] == "importing"
        following = batch.imported()
        shown = batch.shown()
        assert (shown["state"], shown["imported"], shown["rejected"], shown["waiting"]) == ("verifying", 3, 1, 3)
        [reject] = batch.lines("rejects.jsonl")
        assert (reject["line"], reject["column"]) == ((3, None) if format_ == "jsonl" else (6, "account"))
        batch.run(following)
        shown = batch.shown()
        assert (shown["state"], shown["done"], shown["waiting"]) == ("completed", {"match": 2, "no_match": 1}, 0)
        results = batch.lines("results.jsonl")
        assert [row["outcome"] for row in results] == ["match", "match", "no_match"]
        assert [row["account"] for row in results] == accounts
        table = list(
            csv.DictReader(
                io.StringIO(
                    client("s3").get_object(Bucket="titleholder-batches", Key=f"batches/{batch.id}/results.csv")["Body"].read().decode()
                )
            )
        )
        assert [row["verification"] for row in table] == [row["verification"] for row in results]
        assert set(shown["results"]) == {"jsonl", "csv"}
        assert shown["rejects"]


def test_nothing_personal_is_in_the_bucket_or_anywhere_else_once_it_is_imported(sandbox: Sandbox) -> None:
    body = manifest(linked(sandbox, 2), CLAIM) + json.dumps({"account": "fca_1", "claim": {**CLAIM, "Testerman": 1}}).encode()
    batch = Batch(sandbox, body)
    batch.start()
    batch.run(batch.imported())
    s3 = client("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="titleholder-batches")["Contents"]]
    stored = "".join(s3.get_object(Bucket="titleholder-batches", Key=key)["Body"].read().decode() for key in keys)
    everything = (stored + sandbox.outside_the_table() + json.dumps(batch.shown())).lower()
    assert not [word for word in PERSONAL if word in everything]


def test_same_manifest_again_verifies_nothing_twice(sandbox: Sandbox) -> None:
    accounts = linked(sandbox, 3)
    first = Batch(sandbox, manifest(accounts))
    first.start()
    first.run(first.imported())
    calls = len(sandbox.simulator.requests())
    second = Batch(sandbox, manifest(accounts))
    second.start()
    following = second.imported()
    assert following["next"] == "summarise"
    assert second.todo(0) == []
    second.run(following)
    assert second.shown()["done"] == {"match": 3}
    assert len(sandbox.simulator.requests()) == calls
    ids = [{row["verification"] for row in batch.lines("results.jsonl")} for batch in (first, second)]
    assert ids[0] == ids[1]


def test_another_scope_verifies_the_same_lines_again_and_a_fresh_snapshot_still_answers(sandbox: Sandbox) -> None:
    [account] = linked(sandbox, 1)
    for scope in ("2026-q4", "2027-q1"):
        batch = Batch(sandbox, manifest([account]), scope=scope)
        batch.start()
        batch.run(batch.imported())
        assert batch.shown()["done"] == {"match": 1}
    ref = next(iter(sandbox.store.verifications.get_all([batch.lines("results.jsonl")[0]["verification"]]).values())).ref
    assert sandbox.refreshes(ref) == 1


def test_line_that_comes_twice_is_one_verification(sandbox: Sandbox) -> None:
    [account] = linked(sandbox, 1)
    batch = Batch(sandbox, manifest([account] * 3))
    batch.start()
    following = batch.imported()
    assert len(batch.todo(0)) == 1
    batch.run(following)
    shown = batch.shown()
    assert (shown["imported"], shown["duplicates"], shown["done"]) == (3, 2, {"match": 1})
    assert [row["outcome"] for row in batch.lines("results.jsonl")] == ["match"] * 3


def test_line_about_an_erased_account_is_not_recognised_and_asks_stripe_for_nothing(sandbox: Sandbox) -> None:
    [account] = linked(sandbox, 1)
    first = Batch(sandbox, manifest([account]))
    first.start()
    first.run(first.imported())
    sandbox.http("DELETE", f"/accounts/{account}")
    calls = len(sandbox.simulator.requests())
    second = Batch(sandbox, manifest([account]))
    second.start()
    second.run(second.imported())
    assert second.shown()["done"] == {"not_verifiable": 1}
    ids = {batch.lines("results.jsonl")[0]["verification"] for batch in (first, second)}
    assert len(ids) == 2
    assert len(sandbox.simulator.requests()) == calls


def test_account_that_is_erased_while_its_line_is_imported_again_has_one_verification(sandbox: Sandbox) -> None:
    [account, other] = linked(sandbox, 2)
    batch = Batch(sandbox, manifest([account, other]))
    batch.start()
    [part] = batch.cut()
    batch.step("import", range=part)
    # The step's last write never happened, so the workflow repeats the step.
    client("dynamodb").delete_item(
        TableName="titleholder", Key={"pk": {"S": f"BATCH#{batch.id}"}, "sk": {"S": f"RANGE#{part['number']:06}"}}
    )
    assert sandbox.http("DELETE", f"/accounts/{account}").status == 200
    batch.step("import", range=part)
    batch.run(batch.step("imported"))
    assert batch.shown()["done"] == {"not_verifiable": 1, "match": 1}
    made = [item for item in sandbox.items() if item["sk"]["S"] == "VERIFICATION"]
    assert len(made) == 2
    assert all("verdict" in item for item in made)


def test_account_in_cooldown_delays_no_other_and_is_verified_in_a_later_pass(sandbox: Sandbox) -> None:
    quick = linked(sandbox, 2)
    slow = linked(sandbox, 1, "cooling_down", policy={"cooldown_seconds": 3600})
    sandbox.wait(2)
    batch = Batch(sandbox, manifest([*slow, *quick]))
    batch.start()
    following = batch.imported()
    batch.verify(0)
    shown = batch.shown()
    assert (shown["done"], shown["waiting"], shown["cooling_down"]["accounts"]) == ({"match": 2}, 1, 1)
    for part in batch.lines("ranges.jsonl"):
        batch.step("collect", range=part, **{"pass": 1, "since": following["since"]})
    assert batch.shown()["results_so_far"] is None
    following = batch.step("tally", **{"pass": 1})
    assert following["next"] == "collect"
    # Until the cooldown ends nothing new comes, so the verdicts so far are linked.
    shown, so_far = batch.shown(), batch.lines("results.so_far.jsonl")
    assert set(shown["results_so_far"]) == {"jsonl", "csv"}
    assert shown["results"] is None
    assert shown["results_at"] is not None
    assert [row["outcome"] for row in so_far] == [None, "match", "match"]
    sandbox.clock.now = _unix(following["at"])
    batch.run(following)
    assert batch.shown()["done"] == {"match": 3}
    assert [row["outcome"] for row in batch.lines("results.jsonl")] == ["match"] * 3
    shown, before = batch.shown(), shown["results_at"]
    assert shown["results_at"] > before
    assert (set(shown["results"]), shown["results_so_far"]) == ({"jsonl", "csv"}, None)


def test_broken_run_continues_where_it_ended(sandbox: Sandbox) -> None:
    accounts = linked(sandbox, 3)
    batch = Batch(sandbox, manifest(accounts))
    batch.start()
    batch.imported()
    # One of them got its verdict, then the run broke.
    task = batch.todo(0)[0]
    token = sandbox.enter(sandbox.store.verifications.get(task["verification"]))
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    sandbox.settle()
    sandbox.function("complete_verification")({"verification": task["verification"], "refresh": sandbox.outcome(token)})
    sandbox.store.batches.update(batch.id, {"run": 7})
    assert batch.shown()["state"] == "failed"
    assert batch.start()["state"] == "verifying"
    assert sandbox.tokens.started[-1]["name"] == f"{batch.id}-8"
    plan = batch.step("plan")
    assert plan["imported"]
    for part in batch.lines("ranges.jsonl"):
        batch.step("collect", range=part, **{"pass": plan["pass"], "since": None})
    following = batch.step("tally", **{"pass": plan["pass"]})
    assert len(batch.todo(following["pass"])) == 2
    batch.run(following)
    assert batch.shown()["done"] == {"match": 3}


def test_verification_whose_workflow_failed_gets_the_verdict_that_can_be_given(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)))
    batch.start()
    following = batch.imported()
    for part in batch.lines("ranges.jsonl"):
        batch.step("collect", range=part, **{"pass": 1, "since": following["since"]})
    assert batch.step("tally", **{"pass": 1})["next"] == "summarise"
    assert batch.shown()["done"] == {"not_verifiable": 1}


def test_repeated_request_is_the_same_batch(sandbox: Sandbox) -> None:
    body = {"format": "csv"}
    first, second = (sandbox.http("POST", "/batches", body, **{"Idempotency-Key": "nightly"}) for _ in range(2))
    assert first.json["id"] == second.json["id"]
    assert sandbox.http("POST", "/batches", {"format": "jsonl"}, **{"Idempotency-Key": "nightly"}).status == 422


def test_repeated_request_has_new_links_to_the_same_upload_because_links_may_end_early(sandbox: Sandbox) -> None:
    body, key = {"format": "csv", "bytes": 6 * 1024**3}, {"Idempotency-Key": "nightly"}
    first = sandbox.http("POST", "/batches", body, **key).json["upload"]
    sandbox.wait(3000)
    second = sandbox.http("POST", "/batches", body, **key).json["upload"]
    assert len(first["urls"]) == len(second["urls"]) == 6
    assert len({parse_qs(urlsplit(url).query)["uploadId"][0] for url in first["urls"] + second["urls"]}) == 1
    assert second["expires_at"] > first["expires_at"]


@pytest.mark.parametrize(
    ("headers", "imported", "rejected"),
    [
        ({}, [None, "acct_1", "acct_2"], []),
        ({"Stripe-Account": "acct_1"}, ["acct_1"], [3]),
    ],
)
def test_connected_account_of_a_batch_is_that_of_lines_that_name_none_and_lines_may_name_no_other(
    sandbox: Sandbox, headers: dict[str, str], imported: list[str | None], rejected: list[int]
) -> None:
    line = {"account": "fca_1", "claim": MARGARET}
    lines = [line, {**line, "stripe_account": "acct_1"}, {**line, "stripe_account": "acct_2"}]
    batch = Batch(sandbox, "\n".join(map(json.dumps, lines)).encode(), headers=headers)
    batch.start()
    batch.imported()
    assert [task["ref"].get("stripe_account") for task in batch.todo(0)] == imported
    rejects = batch.lines("rejects.jsonl")
    assert [(reject["line"], reject["column"]) for reject in rejects] == [(line, "stripe_account") for line in rejected]


def test_verifications_of_a_batch_are_not_listed_as_open_work(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)))
    batch.start()
    batch.imported()
    assert sandbox.store.open_work.list_oldest("verification", sandbox.clock() + 1, 10) == []
    [task] = batch.todo(0)
    kept = sandbox.store.verifications.get(task["verification"])
    assert isinstance(kept, Verification)
    assert (kept.batch, kept.line) == (batch.id, 1)
    assert application().batch_bucket.size(f"manifests/{batch.id}") is None


def test_callers_that_made_started_and_stopped_a_batch_are_recorded(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, b"{}\n")
    batch.start()
    sandbox.http("DELETE", f"/batches/{batch.id}")
    assert sandbox.http("DELETE", "/batches/bat_00000000000000000000000000000000").status == 404
    kept = [item for item in sandbox.items() if item["pk"]["S"].startswith("AUDIT#")]
    done = [item for item in kept if item["state"]["S"] == "done"]
    assert sorted(item["action"]["S"] for item in done) == ["batch.created", "batch.started", "batch.stopped"]
    assert {item["batch"]["S"] for item in done} == {batch.id}
