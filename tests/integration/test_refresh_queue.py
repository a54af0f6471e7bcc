"""The consumer of the refresh queue: retries, dead letters, delays at Stripe's rate limit."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.refreshing import REFRESH, wait_for
from tests.support.sandbox import Moment, Sandbox, client
from titleholder.domain.accounts import AccountRef
from titleholder.domain.verifications import Waiter


def message(ref: AccountRef, waiter: Waiter) -> dict[str, Any]:
    """What `verify_account` sends."""
    return {
        "task_token": waiter.task_token,
        "entered": "2027-01-15T08:00:00.000Z",
        "retry": 0,
        "verification": waiter.verification,
        "ref": ref.as_dict(),
        "not_before": waiter.need.not_before,
        "requested_at": waiter.need.requested_at,
        "deadline": waiter.need.deadline,
        "resume_at": None,
    }


class TestQueueConsumer:
    def test_message_of_the_workflow_starts_a_refresh(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
        token = sandbox.enter(sandbox.store.verifications.get(created.json["id"]))
        assert sandbox.consume(sandbox.refresh_queue) == []
        sandbox.wait(6)
        sandbox.settle()
        assert (sandbox.outcome(token) or {})["outcome"] == "ready"

    @pytest.mark.parametrize(("seconds", "told"), [(0, 0), (200, 1)])
    def test_settle_timeout_starts_with_the_refresh_even_if_the_message_came_late(self, sandbox: Sandbox, seconds: int, told: int) -> None:
        """Otherwise the workflow would ask too early, while the refresh may still settle, and wait for another settle timeout."""
        ref = sandbox.link()
        created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
        token = sandbox.enter(sandbox.store.verifications.get(created.json["id"]))
        sandbox.wait(seconds)
        assert sandbox.consume(sandbox.refresh_queue) == []
        assert sandbox.refreshes(ref) == 1
        assert sandbox.tokens.heartbeats == told * [token]

    def test_settle_timeout_is_not_used_up_by_the_queue_for_reading_a_settled_refresh(self, sandbox: Sandbox) -> None:
        """Otherwise the workflow would ask again, and its request would take slots that other refreshes wait for."""
        timeout = 20
        sandbox.cold_start(STRIPE_CALLS_PER_SECOND="1", SETTLE_TIMEOUT_SECONDS=str(timeout))
        ref = sandbox.link()
        created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
        token = sandbox.enter(sandbox.store.verifications.get(created.json["id"]))
        sandbox.settle()
        assert sandbox.refreshes(ref) == 1
        sandbox.wait(6)
        for bucket in ("list", "read"):
            for _ in range(3 * timeout):
                sandbox.store.rate_limits.reserve(bucket, 1, sandbox.clock())
        heard, silent = len(sandbox.tokens.heartbeats), 0
        for _ in range(4 * timeout):
            sandbox.settle()
            silent = 0 if len(sandbox.tokens.heartbeats) > heard else silent + 1
            heard = len(sandbox.tokens.heartbeats)
            if sandbox.outcome(token) is not None:
                break
            assert silent < timeout - 6
            sandbox.wait(1)
        assert (sandbox.outcome(token) or {})["outcome"] == "ready"
        assert set(sandbox.tokens.heartbeats) == {token}
        # About two in a settle timeout, however long the queue is.
        assert 4 <= heard <= 9

    def test_message_that_fails_comes_back_after_a_pause_and_succeeds(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
        sandbox.enter(sandbox.store.verifications.get(created.json["id"]))
        sandbox.simulator.fail_api("rate_limit", path=REFRESH)
        assert len(sandbox.consume(sandbox.refresh_queue)) == 1
        assert sandbox.consume(sandbox.refresh_queue) == []
        assert sandbox.refreshes(ref) == 0
        sandbox.wait(2.1)
        assert sandbox.consume(sandbox.refresh_queue) == []
        assert sandbox.refreshes(ref) == 1

    @pytest.mark.parametrize("body", ["{", "[]", "{}", '{"ref": {"account": "cus_1", "mode": "test"}, "verification": "v"}'])
    def test_malformed_message_goes_to_the_dead_letter_queue_with_its_reason(self, sandbox: Sandbox, body: str) -> None:
        client("sqs").send_message(QueueUrl=sandbox.refresh_queue, MessageBody=body)
        for _ in range(10):
            sandbox.consume_raw(sandbox.refresh_queue)
            sandbox.wait(121)
        (letter,) = client("sqs").receive_message(QueueUrl=sandbox.refresh_dead, MessageAttributeNames=["All"])["Messages"]
        assert letter["Body"] == body
        assert letter["MessageAttributes"]["reason"]["StringValue"]
        assert sandbox.stripe_calls() == []

    def test_burst_is_spread_at_the_rate_limit_without_sleeping(self, sandbox: Sandbox) -> None:
        sandbox.cold_start(STRIPE_CALLS_PER_SECOND="5")
        for number in range(16):
            ref = sandbox.link(id=f"fca_{number}")
            sandbox.send(sandbox.refresh_queue, message(ref, wait_for(sandbox, ref, f"ver_{number}")))
        started = []
        for _ in range(5):
            sandbox.consume(sandbox.refresh_queue)
            started.append(sum(sandbox.simulator.initiated_refreshes().values()))
            sandbox.wait(1.001)
        assert started == [2, 6, 11, 16, 16]
        assert sandbox.simulator.request_counts()["peaks"]["POST /v1/financial_connections/accounts/{account}/refresh"] <= 5

    def test_outage_of_the_table_leaves_the_message_in_the_queue(self, sandbox: Sandbox) -> None:
        ref = sandbox.link()
        created = sandbox.http("POST", "/verifications", {"account": ref.account, "claim": {"name": "Quillfeather"}})
        sandbox.enter(sandbox.store.verifications.get(created.json["id"]))

        def fail(moment: Moment) -> None:
            if moment.service == "dynamodb":
                raise ClientError({"Error": {"Code": "InternalServerError", "Message": "canary"}}, "UpdateItem")

        sandbox.taps.append(fail)
        assert len(sandbox.consume(sandbox.refresh_queue)) == 1
        assert len(sandbox.messages(sandbox.refresh_queue)) == 1
