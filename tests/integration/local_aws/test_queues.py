"""Queues and events: partial batches, dead letters, delays, concurrency of a consumer, rules of a bus."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.aws.shims.queue_batch_response import reported_failures

from .conftest import Stack, eventually


def send(stack: Stack, queue: str, body: Any, **options: Any) -> None:
    stack.client("sqs").send_message(QueueUrl=stack[queue], MessageBody=json.dumps(body), **options)


def times(stack: Stack, key: str) -> int:
    return int(stack.item(key).get("n", {}).get("N", 0))


@pytest.fixture(scope="module", autouse=True)
def warm(stack: Stack) -> None:
    """Start both of the consumer's environments: a cold start on a busy machine outlasts the queue's short visibility timeout."""
    record = {"messageId": "warm", "body": json.dumps({"id": "warm", "sleep": 0.5})}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: stack.invoke("WorkerFunction", {"Records": [record]}), range(2)))


def test_only_the_failed_message_of_a_batch_comes_again_until_it_is_dead(stack: Stack) -> None:
    entries = [{"Id": str(n), "MessageBody": json.dumps({"id": f"batch-{n}", "fail": n == 1})} for n in range(3)]
    stack.client("sqs").send_message_batch(QueueUrl=stack["Work"], Entries=entries)
    assert json.loads(stack.receive("Dead", within=15))["id"] == "batch-1"
    assert [times(stack, f"batch-{n}") for n in range(3)] == [1, 2, 1]


def test_message_of_a_garbled_response_comes_again_until_it_is_dead(stack: Stack) -> None:
    send(stack, "Work", {"id": "garbled", "garble": True})
    assert json.loads(stack.receive("Dead", within=15))["id"] == "garbled"
    assert times(stack, "garbled") == 2


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        (None, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "a"}]}, {"a"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"id": "a"}]}, {"a", "b"}),
        ("done", {"a", "b"}),
    ],
)
def test_response_that_cannot_be_read_fails_the_whole_batch(response: Any, failed: set[str]) -> None:
    assert reported_failures(response, {"a", "b"}) == failed


def test_dead_letters_go_back_to_their_queue(stack: Stack) -> None:
    sqs = stack.client("sqs")
    send(stack, "Work", {"id": "redriven", "fail": True})
    attributes = {"QueueUrl": stack["Dead"], "AttributeNames": ["ApproximateNumberOfMessages"]}
    eventually(lambda: sqs.get_queue_attributes(**attributes)["Attributes"]["ApproximateNumberOfMessages"] == "1", 15)
    assert sqs.start_message_move_task(SourceArn=stack["DeadArn"])["TaskHandle"]
    [task] = sqs.list_message_move_tasks(SourceArn=stack["DeadArn"])["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert json.loads(stack.receive("Dead", within=15))["id"] == "redriven"
    assert times(stack, "redriven") == 4


def test_consumer_runs_no_more_copies_than_its_maximum_concurrency(stack: Stack) -> None:
    for number in range(8):
        send(stack, "Work", {"id": f"slow-{number}", "sleep": 0.4})
        time.sleep(0.05)
    eventually(lambda: all(times(stack, f"slow-{number}") for number in range(8)), 20)
    assert {int(value) for value in stack.item("peak")["seen"]["NS"]} <= {1, 2}
    assert [times(stack, f"slow-{number}") for number in range(8)] == [1] * 8


def test_message_with_a_delay_is_not_delivered_before(stack: Stack) -> None:
    sent = time.monotonic()
    send(stack, "Work", {"id": "delayed"}, DelaySeconds=2)
    eventually(lambda: times(stack, "delayed"), 10)
    assert 2 <= time.monotonic() - sent < 5


def test_changed_visibility_brings_a_message_back(stack: Stack) -> None:
    sqs = stack.client("sqs")
    send(stack, "Plain", {"id": "seen twice"})
    [message] = sqs.receive_message(QueueUrl=stack["Plain"], VisibilityTimeout=600, WaitTimeSeconds=2)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=stack["Plain"])
    sqs.change_message_visibility(QueueUrl=stack["Plain"], ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert json.loads(stack.receive("Plain")) == {"id": "seen twice"}


@pytest.mark.parametrize(("source", "delivered"), [("titleholder.test", True), ("another", False)])
def test_rule_of_the_bus_sends_matching_events_to_the_queue(stack: Stack, source: str, delivered: bool) -> None:
    entry = {"EventBusName": stack["Bus"], "Source": source, "DetailType": "VerificationCompleted", "Detail": json.dumps({"id": "v1"})}
    assert stack.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    if delivered:
        event = json.loads(stack.receive("Plain"))
        assert (event["detail-type"], event["source"], event["detail"]) == ("VerificationCompleted", source, {"id": "v1"})
    else:
        assert "Messages" not in stack.client("sqs").receive_message(QueueUrl=stack["Plain"], WaitTimeSeconds=1)


def test_move_of_messages_from_a_queue_that_is_no_dead_letter_queue_is_refused(stack: Stack) -> None:
    sqs = stack.client("sqs")
    arn = sqs.get_queue_attributes(QueueUrl=stack["Work"], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    with pytest.raises(sqs.exceptions.ClientError, match="must be configured as a Dead Letter Queue"):
        sqs.start_message_move_task(SourceArn=arn)
