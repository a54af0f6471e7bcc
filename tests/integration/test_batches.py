"""Batches over moto's S3 and DynamoDB: import, rejects, duplicates, uploads told twice, passes over who cools down, results."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pytest

from tests.support.sandbox import CLAIM, PERSONAL, Moment, Sandbox, client
from titleholder.batches import bucket, manifests, steps
from titleholder.bootstrap import application
from titleholder.domain.verifications import Verification
from titleholder.errors import ManifestError, UnexpectedError
from titleholder.store.accounts import Accounts
from titleholder.store.batches import Batches
from titleholder.store.verifications import Verifications

MARGARET = {"name": "Margaret Testerman"}


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    # Moto's table bears no two writers at once; the embedded stack's does.
    monkeypatch.setattr(steps, "WRITERS", 1)
    with Sandbox.open() as sandbox:
        yield sandbox


class Batch:
    """A batch in a sandbox, whose workflow the test plays: the steps as Step Functions calls them."""

    def __init__(self, sandbox: Sandbox, body: bytes, format_: str = "jsonl", headers: dict[str, str] | None = None, **more: Any) -> None:
        self.sandbox, self.headers = sandbox, headers or {}
        answer = sandbox.http("POST", "/batches", {"format": format_, **more}, **self.headers)
        assert answer.status == 201, answer
        self.id = answer.json["id"]
        client("s3").put_object(Bucket="titleholder-batches", Key=f"manifests/{self.id}", Body=body)

    def step(self, name: str, **more: Any) -> Any:
        return self.sandbox.function("run_batch_step")({"step": name, "batch": self.id, **more})

    def start(self) -> Any:
        answer = self.sandbox.http("POST", f"/batches/{self.id}/start", **self.headers)
        assert answer.status == 202, answer
        return answer.json

    def shown(self) -> Any:
        return self.sandbox.http("GET", f"/batches/{self.id}", **self.headers).json

    def cut(self) -> list[Any]:
        plan = self.step("plan")
        for block in plan["blocks"]:
            self.step("scan", block=block)
        assert self.step("cut", blocks=plan["blocks"]) == {"usable": True}
        return self.lines("ranges.jsonl")

    def imported(self) -> Any:
        """Import every range, each twice over, as after a crash; what the workflow is to do next."""
        for part in self.cut() * 2:
            self.step("import", range=part)
        return self.step("imported")

    def close(self) -> None:
        """Run the workflow that ends a stopped batch."""
        following = self.step("plan")
        assert following["imported"]
        following = {"next": "collect", **following}
        while following["next"] != "summarise":
            for part in self.lines("ranges.jsonl"):
                self.step("collect", range=part, **{"pass": following["pass"], "since": None})
            following = self.step("tally", **{"pass": following["pass"]})
            self.sandbox.clock.now = max(self.sandbox.clock.now, _unix(following["at"]))
        assert self.step("summarise") == {"state": "stopped"}

    def run(self, following: Any) -> None:
        """Go on until the batch is completed, each child's refresh settling at once."""
        while following["next"] != "summarise":
            if following["next"] == "verify":
                self.verify(following["pass"])
                following = {"pass": following["pass"] + 1, "since": following["since"]}
            for part in self.lines("ranges.jsonl"):
                self.step("collect", range=part, **{"pass": following["pass"], "since": following["since"]})
            following = self.step("tally", **{"pass": following["pass"]})
            self.sandbox.clock.now = max(self.sandbox.clock.now, _unix(following["at"]))
        self.step("summarise")

    def todo(self, pass_: int) -> list[Any]:
        keys = client("s3").list_objects_v2(Bucket="titleholder-batches", Prefix=f"batches/{self.id}/todo/{pass_}/").get("Contents", [])
        return [row for key in keys for row in self.lines(key["Key"].removeprefix(f"batches/{self.id}/"))]

    def verify(self, pass_: int) -> None:
        tokens = {}
        for task in self.todo(pass_):
            verification = self.sandbox.store.verifications.get(task["verification"])
            tokens[verification.id] = self.sandbox.enter(verification)
        self.sandbox.consume(self.sandbox.refresh_queue)
        self.sandbox.wait(6)
        self.sandbox.settle()
        for id_, token in tokens.items():
            outcome = self.sandbox.outcome(token)
            if outcome is not None and outcome["outcome"] != "cooling_down":
                self.sandbox.function("complete_verification")({"verification": id_, "refresh": outcome})

    def lines(self, name: str) -> list[Any]:
        body = client("s3").get_object(Bucket="titleholder-batches", Key=f"batches/{self.id}/{name}")["Body"].read()
        return [json.loads(line) for line in body.splitlines()]


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def manifest(accounts: Sequence[str], claim: Any = MARGARET) -> bytes:
    return b"".join(json.dumps({"account": account, "claim": claim}).encode() + b"\n" for account in accounts)


def linked(sandbox: Sandbox, number: int, scenario: str = "single_owner", **options: Any) -> list[str]:
    return [sandbox.link(scenario, **options).account for _ in range(number)]


def test_changed_policy_with_the_defaults_version_is_refused(sandbox: Sandbox) -> None:
    changed = {"match_threshold": 0, "close_match_threshold": 0}
    answer = sandbox.http("POST", "/batches", {"format": "csv", "policy": {"version": "2025-1", **changed}})
    assert (answer.status, answer.problem, answer.bad_fields) == (422, "invalid-request", {"policy.version"})
    assert sandbox.items() == []
    assert sandbox.http("POST", "/batches", {"format": "csv", "policy": {"version": "mine", **changed}}).status == 201


def test_both_formats_are_imported_verified_and_told_by_verdict(sandbox: Sandbox) -> None:
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


def test_manifest_is_deleted_once_it_is_imported(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)))
    batch.start()
    batch.imported()
    keys = [item["Key"] for item in client("s3").list_objects_v2(Bucket="titleholder-batches")["Contents"]]
    assert not [key for key in keys if key.startswith("manifests/")]


@pytest.mark.parametrize("dies_before", ["update", "tally"])
def test_import_that_died_at_its_end_is_repeated(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, dies_before: str) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)) + b"no json\n")
    batch.start()
    for part in batch.cut():
        batch.step("import", range=part)
    with monkeypatch.context() as patch:

        def die(*_: Any, **__: Any) -> None:
            raise ConnectionError

        patch.setattr(Batches if dies_before == "update" else steps, dies_before, die)
        with pytest.raises(UnexpectedError, match="ConnectionError"):
            batch.step("imported")
    batch.run(batch.step("imported"))
    assert (batch.shown()["state"], batch.shown()["done"]) == ("completed", {"match": 1})
    assert [reject["line"] for reject in batch.lines("rejects.jsonl")] == [2]
    assert application().batch_bucket.size(f"manifests/{batch.id}") is None


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


def test_who_cools_down_holds_up_nobody_and_is_verified_in_a_later_pass(sandbox: Sandbox) -> None:
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
    following = batch.step("tally", **{"pass": 1})
    assert following["next"] == "collect"
    sandbox.clock.now = _unix(following["at"])
    batch.run(following)
    assert batch.shown()["done"] == {"match": 3}


def test_stopped_batch_pays_for_nothing_more_and_the_same_manifest_goes_on(sandbox: Sandbox) -> None:
    accounts = linked(sandbox, 2)
    batch = Batch(sandbox, manifest(accounts))
    batch.start()
    batch.imported()
    for task in batch.todo(0):
        sandbox.enter(sandbox.store.verifications.get(task["verification"]))
    assert sandbox.http("DELETE", f"/batches/{batch.id}").json["state"] == "stopped"
    sandbox.consume(sandbox.refresh_queue)
    assert not [call for call in sandbox.stripe_calls() if "refresh" in call]
    assert sandbox.http("POST", f"/batches/{batch.id}/start").problem == "batch-state"
    again = Batch(sandbox, manifest(accounts))
    again.start()
    again.run(again.imported())
    assert again.shown()["done"] == {"match": 2}


def reasons(sandbox: Sandbox, verification: str) -> Any:
    return (sandbox.store.verifications.get(verification).verdict or {}).get("reasons")


def test_every_verification_of_a_stopped_batch_ends_in_one_verdict(sandbox: Sandbox) -> None:
    quick = linked(sandbox, 1)
    slow = linked(sandbox, 2, "cooling_down", policy={"cooldown_seconds": 3600})
    sandbox.wait(2)
    batch = Batch(sandbox, manifest([*slow, *quick]) + b"no json\n")
    batch.start()
    batch.imported()
    batch.verify(0)
    stopped = sandbox.http("DELETE", f"/batches/{batch.id}").json
    assert (stopped["state"], stopped["done"], stopped["waiting"], stopped["results"]) == ("stopped", {"match": 1}, 2, None)
    assert sandbox.tokens.started[-1]["name"] == f"{batch.id}-2"
    batch.close()
    shown = batch.shown()
    assert (shown["state"], shown["done"], shown["waiting"]) == ("stopped", {"match": 1, "not_verifiable": 2}, 0)
    assert set(shown["results"]) == {"jsonl", "csv"}
    results = batch.lines("results.jsonl")
    assert [(row["account"], row["reasons"]) for row in results[:2]] == [(account, ["BATCH_STOPPED"]) for account in slow]
    assert results[2]["outcome"] == "match"
    announced = sandbox.published()
    assert not [event for event in announced if event["detail-type"] == "BatchCompleted"]
    ended = [event["detail"]["verification"] for event in announced if event["detail-type"] == "VerificationCompleted"]
    assert sorted(ended) == sorted(row["verification"] for row in results)
    assert not [item for item in sandbox.items() if item["sk"]["S"].startswith("WAITER#")]


def test_line_that_a_stop_ended_is_verified_by_the_next_batch_and_one_with_a_verdict_is_not(sandbox: Sandbox) -> None:
    quick = linked(sandbox, 1)
    slow = linked(sandbox, 1, "cooling_down", policy={"cooldown_seconds": 3600})
    sandbox.wait(2)
    ids = []
    for _ in range(2):
        batch = Batch(sandbox, manifest([*quick, *slow]))
        batch.start()
        batch.imported()
        batch.verify(0)
        sandbox.http("DELETE", f"/batches/{batch.id}")
        batch.close()
        ids.append([row["verification"] for row in batch.lines("results.jsonl")])
    last = Batch(sandbox, manifest([*quick, *slow]))
    last.start()
    last.run(last.imported())
    ids.append([row["verification"] for row in last.lines("results.jsonl")])
    assert last.shown()["done"] == {"match": 2}
    first, second = zip(*ids, strict=True)
    assert (len(set(first)), len(set(second))) == (1, 3)
    assert [reasons(sandbox, id_) for id_ in second[:2]] == [["BATCH_STOPPED"]] * 2


def test_verification_that_another_batch_took_over_is_left_alone(sandbox: Sandbox) -> None:
    body = manifest(linked(sandbox, 1))
    first, second = Batch(sandbox, body), Batch(sandbox, body)
    for batch in (first, second):
        batch.start()
    first.imported()
    following = second.imported()
    sandbox.http("DELETE", f"/batches/{first.id}")
    first.close()
    assert first.lines("results.jsonl")[0]["outcome"] is None
    second.run(following)
    assert second.shown()["done"] == {"match": 1}


def test_single_verification_that_waits_for_the_same_refresh_is_not_stopped(sandbox: Sandbox) -> None:
    [account] = linked(sandbox, 1)
    batch = Batch(sandbox, manifest([account]))
    batch.start()
    batch.imported()
    single = sandbox.http("POST", "/verifications", {"account": account, "claim": MARGARET, "max_age": 0}).json["id"]
    [task] = batch.todo(0)
    sandbox.enter(sandbox.store.verifications.get(task["verification"]))
    token = sandbox.enter(sandbox.store.verifications.get(single))
    sandbox.http("DELETE", f"/batches/{batch.id}")
    batch.close()
    sandbox.consume(sandbox.refresh_queue)
    sandbox.wait(6)
    sandbox.settle()
    outcome = sandbox.outcome(token)
    assert outcome["outcome"] == "ready"
    assert reasons(sandbox, task["verification"]) == ["BATCH_STOPPED"]
    ref = sandbox.store.verifications.get(single).ref
    assert sandbox.refreshes(ref) == 1


@pytest.mark.parametrize("dies", ["before", "within", "after"])
def test_what_an_import_made_that_the_stop_met_is_ended(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, dies: str) -> None:
    monkeypatch.setattr(steps, "ROWS_AT_ONCE", 2)
    accounts = linked(sandbox, 5)
    batch = Batch(sandbox, manifest(accounts))
    batch.start()
    [part] = batch.cut()
    calls, create = 0, Verifications.create

    def stopping(self: Verifications, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            sandbox.http("DELETE", f"/batches/{batch.id}")
            if dies == "before":
                raise ConnectionError
        made = create(self, *arguments)
        if calls == 4 and dies == "within":
            raise ConnectionError
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Verifications, "create", stopping)
        if dies == "after":
            batch.step("import", range=part)
        else:
            with pytest.raises(UnexpectedError, match="ConnectionError"):
                batch.step("import", range=part)
    batch.close()
    made = 3 if dies == "before" else 4
    shown = batch.shown()
    assert (shown["state"], shown["imported"], shown["done"]) == ("stopped", made, {"not_verifiable": made})
    assert [row["reasons"] for row in batch.lines("results.jsonl")] == [["BATCH_STOPPED"]] * made
    open_ = [item for item in sandbox.items() if item["sk"]["S"] == "VERIFICATION" and "verdict" not in item]
    assert not open_


def test_refresh_is_not_started_where_the_stop_came_while_stripe_was_asked(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)))
    batch.start()
    batch.imported()
    [task] = batch.todo(0)
    sandbox.enter(sandbox.store.verifications.get(task["verification"]))
    begin = Accounts.begin_attempt

    def stopping(self: Accounts, *arguments: Any) -> Any:
        sandbox.http("DELETE", f"/batches/{batch.id}")
        return begin(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Accounts, "begin_attempt", stopping)
        sandbox.consume(sandbox.refresh_queue)
    calls = sandbox.stripe_calls()
    assert calls
    assert "POST refresh" not in calls


def test_stop_is_repeated_where_the_run_that_ends_it_failed(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)))
    batch.start()
    batch.imported()
    sandbox.http("DELETE", f"/batches/{batch.id}")
    machine = application().settings.batch_state_machine_arn
    client("stepfunctions").stop_execution(executionArn=f"{machine.replace(':stateMachine:', ':execution:')}:{batch.id}-2")
    assert "Stop the batch again" in batch.shown()["failure"]
    sandbox.http("DELETE", f"/batches/{batch.id}")
    assert sandbox.tokens.started[-1]["name"] == f"{batch.id}-3"
    batch.close()
    assert (batch.shown()["failure"], batch.shown()["waiting"]) == (None, 0)


def test_stop_before_anything_was_imported_starts_no_run(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)))
    batch.start()
    begun = len(sandbox.tokens.started)
    sandbox.http("DELETE", f"/batches/{batch.id}")
    assert len(sandbox.tokens.started) == begun
    # A run that began late all the same ends without having done anything.
    batch.close()
    assert (batch.shown()["state"], batch.shown()["imported"]) == ("stopped", 0)


def test_broken_run_is_taken_up_where_it_stood(sandbox: Sandbox) -> None:
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


def test_step_of_a_stopped_batch_that_is_repeated_still_looks_for_what_a_broken_import_made(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 2)))
    batch.start()
    [part] = batch.cut()

    def die(moment: Moment) -> None:
        if moment.operation == "put_object" and "/rows/" in str(moment.arguments.get("Key")):
            sandbox.taps.clear()
            raise RuntimeError

    sandbox.taps.append(die)
    with pytest.raises(UnexpectedError):
        batch.step("import", range=part)
    assert sandbox.http("DELETE", f"/batches/{batch.id}").status == 200
    pass_ = batch.step("plan")["pass"]
    batch.step("collect", range=part, **{"pass": pass_, "since": None})
    answers = [batch.step("tally", **{"pass": pass_}) for _ in range(2)]
    assert [answer["next"] for answer in answers] == ["collect"] * 2
    batch.close()
    assert batch.shown()["done"] == {"not_verifiable": 2}


def test_verification_whose_workflow_failed_gets_the_verdict_that_can_be_given(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)))
    batch.start()
    following = batch.imported()
    for part in batch.lines("ranges.jsonl"):
        batch.step("collect", range=part, **{"pass": 1, "since": following["since"]})
    assert batch.step("tally", **{"pass": 1})["next"] == "summarise"
    assert batch.shown()["done"] == {"not_verifiable": 1}


def test_manifest_without_a_usable_header_fails_with_the_reason(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, b"fca_1,Margaret Testerman\n", "csv")
    batch.start()
    plan = batch.step("plan")
    batch.step("scan", block=plan["blocks"][0])
    assert batch.step("cut", blocks=plan["blocks"]) == {"usable": False}
    sandbox.store.batches.update(batch.id, {"run": 9})
    shown = batch.shown()
    assert (shown["state"], "header row" in shown["failure"]) == ("failed", True)
    assert "testerman" not in json.dumps(shown).lower()


def test_batch_without_a_manifest_can_not_be_started(sandbox: Sandbox) -> None:
    batch = sandbox.http("POST", "/batches", {"format": "csv"}).json["id"]
    assert sandbox.http("POST", f"/batches/{batch}/start").problem == "batch-state"
    assert sandbox.http("GET", f"/batches/{batch}").json["state"] == "waiting_for_upload"
    assert sandbox.http("GET", "/batches/bat_" + "0" * 32).problem == "batch-not-found"


def test_manifest_over_five_gigabytes_gets_a_url_for_each_part(sandbox: Sandbox) -> None:
    upload = sandbox.http("POST", "/batches", {"format": "csv", "bytes": 6 * 1024**3 + 1}).json["upload"]
    assert (len(upload["urls"]), upload["part_bytes"]) == (7, 1024**3)
    assert sandbox.http("POST", "/batches", {"format": "csv", "bytes": manifests.LARGEST_BYTES + 1}).status == 422


def test_repeated_request_is_the_same_batch(sandbox: Sandbox) -> None:
    body = {"format": "csv"}
    first, second = (sandbox.http("POST", "/batches", body, **{"Idempotency-Key": "nightly"}) for _ in range(2))
    assert first.json["id"] == second.json["id"]
    assert sandbox.http("POST", "/batches", {"format": "jsonl"}, **{"Idempotency-Key": "nightly"}).status == 422


def test_parts_are_put_together_at_the_start(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "LARGEST_PUT_BYTES", 5)
    body = manifest(linked(sandbox, 1))
    batch = Batch(sandbox, b"", bytes=len(body))
    s3 = client("s3")
    [upload] = s3.list_multipart_uploads(Bucket="titleholder-batches")["Uploads"]
    s3.upload_part(Bucket="titleholder-batches", Key=upload["Key"], UploadId=upload["UploadId"], PartNumber=1, Body=body)
    batch.start()
    batch.run(batch.imported())
    assert batch.shown()["done"] == {"match": 1}


@pytest.mark.parametrize("piece", [100, 1000])
def test_cut_small_every_line_is_imported_once_under_its_own_number(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(steps, "piece_bytes", lambda size: piece)
    monkeypatch.setattr(steps, "BLOCK_BYTES", 7 * piece)
    accounts = [f"fca_{number}" for number in range(40)]
    batch = Batch(sandbox, manifest(accounts[:20]) + b"\n{}\n" + manifest(accounts[20:]))
    batch.start()
    batch.imported()
    found = [row for part in batch.lines("ranges.jsonl") for row in batch.lines(f"rows/{part['number']:06}.jsonl")]
    assert [row["account"] for row in found] == accounts
    assert [row["line"] for row in found] == [*range(1, 21), *range(23, 43)]
    assert [reject["line"] for reject in batch.lines("rejects.jsonl")] == [22]


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


def test_a_batch_looks_after_its_own_verifications(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, manifest(linked(sandbox, 1)))
    batch.start()
    batch.imported()
    assert sandbox.store.open_work.list_oldest("verification", sandbox.clock() + 1, 10) == []
    [task] = batch.todo(0)
    kept = sandbox.store.verifications.get(task["verification"])
    assert isinstance(kept, Verification)
    assert (kept.batch, kept.line) == (batch.id, 1)
    assert application().batch_bucket.size(f"manifests/{batch.id}") is None


def test_who_made_started_and_stopped_a_batch_is_recorded(sandbox: Sandbox) -> None:
    batch = Batch(sandbox, b"{}\n")
    batch.start()
    sandbox.http("DELETE", f"/batches/{batch.id}")
    assert sandbox.http("DELETE", "/batches/bat_00000000000000000000000000000000").status == 404
    kept = [item for item in sandbox.items() if item["pk"]["S"].startswith("AUDIT#")]
    done = [item for item in kept if item["state"]["S"] == "done"]
    assert sorted(item["action"]["S"] for item in done) == ["batch.created", "batch.started", "batch.stopped"]
    assert {item["batch"]["S"] for item in done} == {batch.id}


@pytest.mark.parametrize("piece", [64, 500, 65536])
@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_every_line_is_imported_rejected_or_blank(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, format_: str, piece: int) -> None:
    monkeypatch.setattr(steps, "piece_bytes", lambda size: piece)
    monkeypatch.setattr(steps, "BLOCK_BYTES", 5 * piece)
    if format_ == "csv":
        lines = [f"fca_{number},Margaret" for number in range(30)]
        lines[3], lines[7], lines[11] = 'fca_3,"Margaret', 'fca_7,6" Testerman', 'fca_11,"Margaret" Testerman'
        lines[15:17] = ['fca_15,"Margaret\nTesterman"', 'ba_16,"Margaret\nTesterman"']
        lines[20], lines[21] = ",", ""
        body, expected = "account,name\r\n" + "\r\n".join(lines), {"imported": 25, "rejected": 4, "blank": 2, "lines": 31}
        rejected = [5, 13, 19, 20]
    else:
        lines = [json.dumps({"account": f"fca_{number}", "claim": {**MARGARET, "email": ""}}) for number in range(30)]
        lines[3], lines[7], lines[11] = '"', '{"account": "fca_1", "account": "fca_1", "claim": {"name": "x"}}', " "
        body, expected = "\n".join(lines) + "\n", {"imported": 27, "rejected": 2, "blank": 1, "lines": 30}
        rejected = [4, 8]
    batch = Batch(sandbox, body.encode(), format_)
    batch.start()
    batch.imported()
    shown = batch.shown()
    assert {name: shown[name] for name in expected} == expected
    assert [reject["line"] for reject in batch.lines("rejects.jsonl")] == rejected


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"account;name\r\nfca_1;x\r\n", "semicolons"),
        (b"sep=;\r\naccount;name\r\n", "sep="),
        (b"account,name,,\r\nfca_1,x,,\r\n", "empty cells"),
        ("account,name\nfca_1,x\n".encode("utf-16"), "UTF-16"),
        (b"account,name\rfca_1,x\r", "carriage return"),
        (b"\xef\xbb\xbf", "first line is empty"),
    ],
)
def test_manifest_of_another_kind_fails_with_what_to_do(sandbox: Sandbox, body: bytes, word: str) -> None:
    batch = Batch(sandbox, body, "csv")
    batch.start()
    plan = batch.step("plan")
    batch.step("scan", block=plan["blocks"][0])
    assert batch.step("cut", blocks=plan["blocks"]) == {"usable": False}
    sandbox.store.batches.update(batch.id, {"run": 9})
    assert (batch.shown()["state"], word in batch.shown()["failure"]) == ("failed", True)


def replace(batch: Batch, body: bytes) -> None:
    client("s3").put_object(Bucket="titleholder-batches", Key=f"manifests/{batch.id}", Body=body)


def failed(batch: Batch, step: str, **more: Any) -> str:
    with pytest.raises(ManifestError):
        batch.step(step, **more)
    batch.sandbox.store.batches.update(batch.id, {"run": 9})
    shown = batch.shown()
    assert shown["state"] == "failed"
    return str(shown["failure"])


def test_manifest_that_is_replaced_while_it_is_imported_fails_the_batch(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "piece_bytes", lambda size: 100)
    batch = Batch(sandbox, manifest(["fca_1", "fca_2", "fca_3", "fca_4"]))
    batch.start()
    first, second, *_ = batch.cut()
    batch.step("import", range=first)
    replace(batch, manifest(["fca_5", "fca_6", "fca_7", "fca_8"]))
    assert "uploaded again" in failed(batch, "import", range=second)
    # What was imported of the first file is not mixed with the second.
    assert batch.shown()["imported"] == len(batch.lines("rows/000000.jsonl"))
    again = sandbox.http("POST", f"/batches/{batch.id}/start")
    assert (again.problem, "create one for the new file" in again.json["detail"]) == ("batch-state", True)


@pytest.mark.parametrize("step", ["plan", "scan", "cut"])
def test_manifest_that_is_replaced_before_anything_is_imported_can_be_started_again(sandbox: Sandbox, step: str) -> None:
    accounts = linked(sandbox, 2)
    batch = Batch(sandbox, manifest(["fca_1", "fca_2", "fca_3"]))
    batch.start()
    plan = batch.step("plan")
    batch.step("scan", block=plan["blocks"][0])
    replace(batch, manifest(accounts))
    if step == "cut":
        assert batch.step("cut", blocks=plan["blocks"]) == {"usable": False}
    else:
        more = {} if step == "plan" else {"block": plan["blocks"][0]}
        assert "uploaded again" in failed(batch, step, **more)
    sandbox.store.batches.update(batch.id, {"run": 9})
    assert batch.start()["state"] == "importing"
    batch.run(batch.imported())
    assert batch.shown()["done"] == {"match": 2}


def test_scan_of_an_earlier_release_is_looked_at_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "piece_bytes", lambda size: 100)
    batch = Batch(sandbox, b"account,name\n" + b"".join(b'fca_%d,"x\ny"\n' % number for number in range(20)), "csv")
    batch.start()
    ranges = batch.cut()
    assert len(ranges) > 2
    old = [
        {"bytes": scan["bytes"], "quotes": 7, "lines": scan["lines"], "even": None, "odd": [5, 1]}
        for scan in batch.lines("scans/000000.jsonl")
    ]
    application().batch_bucket.write_lines(f"batches/{batch.id}/scans/000000.jsonl", old)
    assert batch.step("cut", blocks=batch.step("plan")["blocks"]) == {"usable": True}
    assert batch.lines("ranges.jsonl") == ranges
