"""A stopped batch pays for nothing more, and each of its verifications ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.batches import MARGARET, Batch, linked, manifest
from tests.support.sandbox import Moment, Sandbox, client
from titleholder.batches import steps
from titleholder.bootstrap import application
from titleholder.errors import UnexpectedError
from titleholder.store.accounts import Accounts
from titleholder.store.verifications import Verifications

pytestmark = pytest.mark.slow


def test_stopped_batch_starts_no_more_refreshes_and_the_same_manifest_can_continue(sandbox: Sandbox) -> None:
    accounts = linked(sandbox, 2)
    batch = Batch(sandbox, manifest(accounts))
    batch.start()
    batch.imported()
    for task in batch.todo(0):
        sandbox.enter(sandbox.store.verifications.get(task["verification"]))
    assert sandbox.http("DELETE", f"/batches/{batch.id}").json["state"] == "stopped"
    sandbox.consume(sandbox.refresh_queue)
    assert not [call for call in sandbox.stripe_calls() if "refresh" in call]
    refused = sandbox.http("POST", f"/batches/{batch.id}/start")
    assert (refused.problem, refused.json["remedy"]) == ("batch-state", "none")
    assert "same scope" in refused.json["detail"]
    assert "BATCH_STOPPED is verified again" in refused.json["detail"]
    again = Batch(sandbox, manifest(accounts))
    again.start()
    again.run(again.imported())
    assert again.shown()["done"] == {"match": 2}


def test_batch_that_was_stopped_before_its_start_has_no_lines_to_continue(sandbox: Sandbox) -> None:
    id_ = sandbox.http("POST", "/batches", {"format": "jsonl"}).json["id"]
    assert sandbox.http("DELETE", f"/batches/{id_}").json["state"] == "stopped"
    refused = sandbox.http("POST", f"/batches/{id_}/start")
    assert refused.problem == "batch-state"
    assert refused.json["detail"] == "The batch was stopped before it was started. Create a new batch."


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
def test_verifications_of_an_import_that_ran_during_the_stop_are_ended(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
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


def test_other_manifest_is_refused_once_an_import_that_died_has_made_verifications(sandbox: Sandbox) -> None:
    account, other = linked(sandbox, 2)
    batch = Batch(sandbox, manifest([account]))
    batch.start()
    [part] = batch.cut()

    def die(moment: Moment) -> None:
        if moment.operation == "put_object" and "/rows/" in str(moment.arguments.get("Key")):
            sandbox.taps.clear()
            raise RuntimeError

    sandbox.taps.append(die)
    with pytest.raises(UnexpectedError):
        batch.step("import", range=part)
    sandbox.store.batches.update(batch.id, {"failed_run": 1})
    client("s3").put_object(Bucket="titleholder-batches", Key=f"manifests/{batch.id}", Body=manifest([other, account]))
    # With the other manifest, the account's line would be taken for a duplicate of line 1, and would never get a verdict.
    refused = sandbox.http("POST", f"/batches/{batch.id}/start")
    assert (refused.status, refused.problem) == (409, "batch-state")
    assert "Stop this batch" in refused.json["detail"]
    sandbox.http("DELETE", f"/batches/{batch.id}")
    batch.close()
    assert batch.shown()["done"] == {"not_verifiable": 1}
    again = Batch(sandbox, manifest([other, account]))
    again.start()
    again.run(again.imported())
    assert again.shown()["done"] == {"match": 2}
