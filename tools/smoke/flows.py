"""The queues and workflows at work, with an account in a cooldown that Stripe does not know, so that Stripe gets no call.

StartRefresh finds the cooldown in the table and resumes the paused workflow with its end. The workflow would then wait; it is stopped
there. `verify_account` runs on to its end if nothing listens to the event bus, on which its verdict is announced.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import requests
from botocore.exceptions import ClientError

from titleholder.domain.accounts import AccountRef, AccountState, OwnershipRefresh
from titleholder.domain.verifications import Verification
from titleholder.timestamps import to_milliseconds
from tools.smoke.report import Line, eventually, failed, ok, unchecked
from tools.smoke.stack import DAY_SECONDS, Deployed

COOLDOWN_SECONDS = 3600
MANIFEST = b"smoke\n"
"""A line that would be rejected if it were read."""

RESUMED = "right to resume, proved"
NOT_RESUMED = (
    "see the log of start_refresh: if IAM refuses states:SendTaskSuccess, allow it on *; also check the event source and the queue"
)


def verify_account(stack: Deployed) -> Iterator[Line]:
    """An execution of verify_account: refresh queue, StartRefresh, resume; then VerifyOwners, if nothing receives the announcement."""
    listeners = _listeners(stack)
    ref = AccountRef(f"{stack.ref.account}v", stack.mode, None)
    id_ = f"ver_smoke{stack.mark}"
    _put_verification(stack, ref, id_, ended=not listeners)
    _put_cooldown(stack, ref)
    states = stack.client("stepfunctions")
    about, began = "workflow verify_account", time.monotonic()
    arn = states.start_execution(
        stateMachineArn=stack.outputs["StateMachineArn"], name=f"smoke-{stack.mark}", input=json.dumps(_input(stack, ref, id_))
    )["executionArn"]
    try:
        goal = "WaitForCooldown" if listeners else "VerifyOwners"
        reached = eventually(lambda: goal in (now := _states(states, arn)) and now, stack.patience)
        if not reached:
            last = ", ".join(_states(states, arn)) or "none"
            yield failed(about, f"not resumed within {stack.patience:g} s; states: {last}", NOT_RESUMED)
            return
        yield ok("refresh queue", "a request went through it to StartRefresh")
        yield ok(f"{RESUMED} for verify_account", f"StartRefresh resumed a paused execution after {time.monotonic() - began:.0f} s")
        if listeners:
            stopped = f"stopped at {goal}, because {listeners} rules listen to the bus on which a verdict would be announced"
            yield ok(about, f"{' -> '.join(reached)}; {stopped}")
            return
        status = eventually(lambda: (now := _status(states, arn)) != "RUNNING" and now, stack.patience)
        if status == "SUCCEEDED":
            yield ok(about, f"{' -> '.join(_states(states, arn))}, SUCCEEDED; its announcement reached no rule")
        else:
            yield failed(about, f"VerifyOwners was reached, and the execution is {status or 'RUNNING'}", "see the log of verify_owners")
    finally:
        _stop(states, arn)
        _mark_traces(stack, ref, id_)


def verify_batch(stack: Deployed) -> Iterator[Line]:
    """A batch: created and started over HTTP, uploaded from here, and its map's child resumed by StartRefresh.

    Its one range counts as imported, with one verification to be done. A second range, which is in no index, is never imported, so that the
    batch never ends and nothing is announced. The batch is stopped as soon as the child was resumed.
    """
    if stack.out_of_reach:
        yield unchecked("presigned upload", *stack.out_of_reach)
        yield unchecked("workflow verify_batch", *stack.out_of_reach)
        return
    answer = stack.call("POST", "/batches", {"format": "jsonl", "scope": f"smoke-{stack.mark}"})
    if answer.status != 201:
        yield failed("presigned upload", f"POST /batches answered {answer.status}", "see the log of batches")
        return
    batch = str(answer.body["id"])
    stack.mark_item(f"BATCH#{batch}", "BATCH")
    execution = f"{stack.outputs['BatchStateMachineArn'].replace(':stateMachine:', ':execution:')}:{batch}-1"
    try:
        url = answer.body["upload"]["urls"][0]
        put = requests.put(url, data=MANIFEST, timeout=20, allow_redirects=False)
        host = url.split("/")[2]
        if put.status_code != 200:
            todo = "the URL has to name the bucket's own region: check the region's endpoint, and the bucket's and the key's policy"
            yield failed("presigned upload", f"{host} answered {put.status_code}", todo)
            return
        yield ok("presigned upload", f"{host} took it from here")
        yield from _run_batch(stack, batch, execution)
    finally:
        _stop(stack.client("stepfunctions"), execution)
        _close(stack, batch)


def _run_batch(stack: Deployed, batch: str, execution: str) -> Iterator[Line]:
    ref, states, about = AccountRef(f"{stack.ref.account}b", stack.mode, None), stack.client("stepfunctions"), "workflow verify_batch"
    id_ = f"ver_smoke{stack.mark}b"
    _put_verification(stack, ref, id_, batch=batch)
    _put_cooldown(stack, ref)
    _put_ranges(stack, batch, {key: value for key, value in _input(stack, ref, id_).items() if key in _TASK})
    began = time.monotonic()
    answer = stack.call("POST", f"/batches/{batch}/start")
    if answer.status != 202:
        yield failed(about, f"POST /batches/{{id}}/start answered {answer.status}", "see the log of batches")
        return
    resumed = eventually(lambda: _cooled(stack, batch), stack.patience)
    over = resumed and eventually(lambda: "Collect" in _states(states, execution), stack.patience - (time.monotonic() - began))
    reached = _states(states, execution)
    _mark_traces(stack, ref, id_)
    if over:
        yield ok(
            f"{RESUMED} for a child of verify_batch", f"StartRefresh resumed a child of the map after {time.monotonic() - began:.0f} s"
        )
        yield ok(about, f"{' -> '.join(dict.fromkeys(reached))}; then stopped")
    elif "Verify" in reached:
        arn = stack.map_child()
        told = f"the child of its map was not resumed within {stack.patience:g} s; the ARN that IAM compares is {arn}"
        yield failed(f"{RESUMED} for a child of verify_batch", told, NOT_RESUMED)
    else:
        status = _status(states, execution)
        todo = "see the execution in Step Functions, and the log of import_manifest; if it only is slow, repeat"
        yield failed(about, f"it is {status} after {stack.patience:g} s; states: {', '.join(reached) or 'none'}", todo)


_TASK = ("verification", "ref", "not_before", "requested_at", "deadline")


def _listeners(stack: Deployed) -> int:
    """How many rules listen to the bus. One if that cannot be found out."""
    try:
        return len(stack.client("events").list_rules(EventBusName=stack.outputs["EventBusName"])["Rules"])
    except ClientError:
        return 1


def _input(stack: Deployed, ref: AccountRef, id_: str) -> dict[str, Any]:
    now = time.time()
    return {
        "verification": id_, "ref": ref.as_dict(), "not_before": now, "requested_at": now, "deadline": now + COOLDOWN_SECONDS,
        "settle_timeout": int(float(stack.parameters["SettleTimeoutSeconds"])), "longest_wait": DAY_SECONDS, "priority": None,
        "refresh": {"resume_at": None},
    }  # fmt: skip


def _put_verification(stack: Deployed, ref: AccountRef, id_: str, *, batch: str | None = None, ended: bool = False) -> None:
    """Store a verification without a claim, in no list; `ended` with a verdict, so that a workflow ends at once."""
    now = time.time()
    new = Verification(
        id=id_, ref=ref, claim_digest=None, policy={}, max_age=0, requested_at=now, deadline=now + COOLDOWN_SECONDS, request_digest="smoke",
        batch=batch,
    )  # fmt: skip
    verdict: dict[str, Any] = {"outcome": "not_verifiable", "score": None, "reasons": ["SMOKE"], "fields": {}}
    ends = {"verdict": json.dumps(verdict), "completed_ms": to_milliseconds(now)} if ended else {}
    stack.store.table.put({**stack.store.verifications.item(new), **ends, "smoke": True, "expires_at": stack.expires_at()})


def _put_cooldown(stack: Deployed, ref: AccountRef) -> None:
    """Store that an account was read just now and is cooling down."""
    now = time.time()
    refresh = OwnershipRefresh("failed", int(now) - 5, int(now) + COOLDOWN_SECONDS, None)
    state = AccountState(status="active", permissions=("ownership",), refresh=refresh)
    stack.store.accounts.observe(ref, state, now, open_=False, calls=0)
    stack.mark_item(f"ACCOUNT#{ref.key}", "ACCOUNT")


def _put_ranges(stack: Deployed, batch: str, task: dict[str, Any]) -> None:
    """Store one range as imported, with one verification to be done, and one that is never done; and the files of the first."""
    common = {"smoke": True, "expires_at": stack.expires_at(), "rows": 0, "duplicates": 0, "rejected": 0, "blank": 0, "lines": 0}
    undone = {**common, "before": {}, "done": {}, "left": 1, "collected": False}
    stack.store.batches.put_range(batch, 0, {**undone, "ready": 1, "resume_at": None})
    stack.store.batches.put_range(batch, 1, {**undone, "ready": 0, "resume_at": int(time.time()) + COOLDOWN_SECONDS})
    s3, bucket = stack.client("s3"), stack.outputs["BucketName"]
    files = {"rows/000000": "", "rejects/000000": "", "rejects/000001": "", "todo/0/000000": json.dumps(task) + "\n"}
    for name, data in files.items():
        s3.put_object(Bucket=bucket, Key=f"batches/{batch}/{name}.jsonl", Body=data.encode())


def _cooled(stack: Deployed, batch: str) -> bool:
    """Whether StartRefresh has handled the child's request."""
    return bool(stack.store.batches.counts(batch).get("cooled"))


def _states(states: Any, arn: str) -> list[str]:
    """The states that an execution entered."""
    try:
        events = states.get_execution_history(executionArn=arn, maxResults=200, includeExecutionData=False)["events"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return []
        raise
    return [each["stateEnteredEventDetails"]["name"] for each in events if each["type"].endswith("StateEntered")]


def _status(states: Any, arn: str) -> str:
    try:
        return str(states.describe_execution(executionArn=arn)["status"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
            return "never started"
        raise


def _stop(states: Any, arn: str) -> None:
    # It may have ended, or never have been started.
    with suppress(ClientError):
        states.stop_execution(executionArn=arn, error="Smoke", cause="The smoke test has seen what it wanted to see.")


def _mark_traces(stack: Deployed, ref: AccountRef, id_: str) -> None:
    """Mark the items that the functions have stored: a workflow's waiter, and the steps of the verification."""
    table = stack.store.table
    for item in [*table.query(f"ACCOUNT#{ref.key}", "WAITER#"), *table.query(f"VERIFICATION#{id_}", "WAY#")]:
        stack.mark_item(item["pk"], item["sk"])


def _close(stack: Deployed, batch: str) -> None:
    """Leave the batch as one that was stopped and is closed, and delete its files."""
    now = to_milliseconds(time.time())
    stack.mark_item(f"BATCH#{batch}", "BATCH", batch_state="stopped", completed_ms=now, closed_ms=now)
    for item in list(stack.store.table.query(f"BATCH#{batch}", "COUNT#")):
        stack.mark_item(item["pk"], item["sk"])
    s3, bucket = stack.client("s3"), stack.outputs["BucketName"]
    for prefix in (f"manifests/{batch}", f"batches/{batch}/"):
        found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())
        for each in found:
            s3.delete_object(Bucket=bucket, Key=each["Key"])
