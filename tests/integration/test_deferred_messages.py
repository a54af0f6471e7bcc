"""Messages that are put back into their queue too often: nothing is lost, and the loop ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sandbox import Sandbox, client
from titleholder.aws.queues import HOP, MOST_HOPS
from titleholder.services.rate_limiter import RETRY_AT_KEY


def take_all_slots(sandbox: Sandbox, seconds: int) -> None:
    for bucket in ("list", "read"):
        for _ in range(seconds):
            sandbox.store.rate_limits.reserve(bucket, 1, sandbox.clock())


def started(sandbox: Sandbox) -> str:
    """A verification whose refresh has settled, and whose event waits in its queue. Returns its token."""
    sandbox.cold_start(STRIPE_CALLS_PER_SECOND="1")
    created = sandbox.http("POST", "/verifications", {"account": sandbox.link().account, "claim": {"name": "Quillfeather"}})
    token = sandbox.enter(sandbox.store.verifications.get(created.json["id"]))
    sandbox.settle()
    sandbox.wait(6)
    sandbox.deliver_due()
    return token


def put_back(sandbox: Sandbox, queue: str, hops: int) -> dict[str, Any]:
    """Let the message in the queue be one that was put back so often."""
    (message,) = sandbox.messages(queue)
    client("sqs").purge_queue(QueueUrl=queue)
    sandbox.send(queue, {**message, HOP: hops})
    return dict(message)


def open_events(sandbox: Sandbox) -> list[str]:
    return [item["pk"]["S"] for item in sandbox.items() if item.get("open_kind") == {"S": "event"}]


def test_event_that_waits_for_a_slot_counts_how_often_it_was_put_back(sandbox: Sandbox) -> None:
    started(sandbox)
    take_all_slots(sandbox, 60)
    assert sandbox.consume(sandbox.events_queue) == []
    (message,) = sandbox.messages(sandbox.events_queue)
    assert message[HOP] == 1
    assert open_events(sandbox) == []


def test_event_that_was_put_back_too_often_is_queued_anew_by_reconcile_and_processed(sandbox: Sandbox, capsys: Any) -> None:
    token = started(sandbox)
    message = put_back(sandbox, sandbox.events_queue, MOST_HOPS)
    take_all_slots(sandbox, 60)
    assert sandbox.consume(sandbox.events_queue) == []
    assert sandbox.messages(sandbox.events_queue) == []
    assert open_events(sandbox) == [f"EVENT#{message['event']}"]
    assert '"MessagesDeferredTooOften":[1' in capsys.readouterr().out.replace(" ", "")
    sandbox.wait(120)
    sandbox.function("reconcile")({})
    anew = [found for found in sandbox.messages(sandbox.events_queue) if "event" in found]
    assert anew == [message]
    sandbox.settle()
    assert (sandbox.outcome(token) or {})["outcome"] == "ready"
    assert open_events(sandbox) == []


@pytest.mark.parametrize("required", [False, True])
def test_reading_that_nothing_else_repeats_is_delivered_again_until_it_succeeds(sandbox: Sandbox, required: bool) -> None:
    ref = sandbox.link("fresh")
    sandbox.send(sandbox.events_queue, {**ref.as_dict(), **({"required": True} if required else {})})
    sandbox.simulator.fail_api("server_error", times=10)
    assert len(sandbox.consume(sandbox.events_queue)) == required
    sandbox.wait(3600)
    sandbox.simulator.clear_faults()
    sandbox.consume(sandbox.events_queue)
    assert (sandbox.store.accounts.get(ref).state is not None) == required


def test_request_that_was_put_back_too_often_is_left_to_its_workflow(sandbox: Sandbox) -> None:
    sandbox.cold_start(STRIPE_CALLS_PER_SECOND="1")
    ref = sandbox.link()
    created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
    verification = sandbox.store.verifications.get(created.json["id"])
    sandbox.enter(verification)
    put_back(sandbox, sandbox.refresh_queue, MOST_HOPS)
    for _ in range(100):
        sandbox.store.rate_limits.reserve("refresh", 1, sandbox.clock())
    assert sandbox.consume(sandbox.refresh_queue) == []
    assert sandbox.messages(sandbox.refresh_queue) == []
    # The settle timeout passes, and the workflow asks again. The slot was kept for the account.
    sandbox.wait(900)
    token = sandbox.enter(verification, retry=1)
    assert RETRY_AT_KEY not in sandbox.messages(sandbox.refresh_queue)[0]
    sandbox.settle()
    assert sandbox.refreshes(ref) == 1
    sandbox.wait(6)
    sandbox.settle()
    assert (sandbox.outcome(token) or {})["outcome"] == "ready"
