"""Canaries: unmistakable names, e-mails, phones and addresses go through every flow, and must then be found in answers only.

Everything that the stack left anywhere is searched, the tables too: there they are encrypted. What is in transit for a moment only, such as
a message that was processed, is searched in `tests/integration/test_personal_data.py`. Traces are not emulated: `tests/unit/template`
asserts that none holds an event, an answer or an error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.e2e.canary_flows import CLAIM, OWNER, take_every_flow
from tests.e2e.left_behind import groups, places
from tests.e2e.stack_driver import StackDriver
from tests.support import canary
from tests.support.whole_run import TOTALS

WORDS = (
    "Xyloquent", "Brandywhistle", "Fennimantle", "Quorble", "Claimants Hollow", "Owners Hollow", "Canaryville", "5550186", "555 0173",
    "+15555550173",
)  # fmt: skip


@pytest.fixture(scope="module")
def bus_queue(driver: StackDriver) -> str:
    """The URL of a queue that catches every event on the bus."""
    sqs, events, bus = driver.stack.client("sqs"), driver.stack.client("events"), driver.stack.outputs["EventBusName"]
    url = sqs.create_queue(QueueName="canary-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="canary", EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    events.put_targets(Rule="canary", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return str(url)


@pytest.fixture(scope="module")
def after_every_flow(driver: StackDriver, bus_queue: str) -> StackDriver:
    """The stack after every flow was taken with canaries."""
    take_every_flow(driver)
    return driver


def test_canaries_are_in_nothing_that_the_stack_left(
    after_every_flow: StackDriver, bus_queue: str, record_property: Callable[[str, object], None]
) -> None:
    found = places(after_every_flow)
    lines = [f"{place:60} {len(content):>10} bytes" for place, content in found.items()]
    total = f"{len(found)} places, {sum(map(len, found.values()))} bytes, {len(WORDS)} words"
    record_property(TOTALS, ["places searched for canaries", *lines, total])
    assert canary.hits(found, WORDS) == []
    searched = {place.split()[0] for place in found}
    assert searched >= {"logs", "execution", "queue", "table", "object", "emulator"}
    announced = {json.loads(message["Body"])["detail-type"] for message in json.loads(found["queue canary-events"])}
    assert announced == {"VerificationCompleted", "VerificationStale", "OwnershipChanged", "BatchCompleted", "VerificationReviewed"}
    for place in ("titleholder-verify-batch", "titleholder-verify-account"):
        assert len(found[f"execution histories of {place}"]) > 1000
    assert len(found["queue titleholder-refresh-dead"]) > 2
    for kind in (b"AUDIT#", b"IDEMPOTENCY#", b"CLAIM#", b"SNAPSHOT#", b"HISTORY#", b"RANGE#", b"EVENT#", b"REVIEW#", b"NOTE#", b"WAY#"):
        assert kind in found["table titleholder"]


def test_canaries_are_in_no_timeline(after_every_flow: StackDriver) -> None:
    heads = after_every_flow.stack.client("dynamodb").get_paginator("scan").paginate(
        TableName=after_every_flow.stack.outputs["TableName"], FilterExpression="sk = :sk AND attribute_exists(account)",
        ExpressionAttributeValues={":sk": {"S": "VERIFICATION"}},
    )  # fmt: skip
    ids = [item["verification"]["S"] for page in heads for item in page["Items"]]
    told = {id_: after_every_flow.http.call("GET", f"/verifications/{id_}?timeline=true").body["timeline"] for id_ in ids}
    kinds = {step["kind"] for timeline in told.values() for step in timeline["steps"]}
    assert kinds >= {"requested", "refresh_started", "webhook", "owners_fetched", "woken", "verdict", "cancelled", "batch_stopped"}
    assert canary.hits({id_: json.dumps(timeline).encode() for id_, timeline in told.items()}, WORDS) == []


def test_canaries_were_there_to_be_found(after_every_flow: StackDriver) -> None:
    """A caller with the right can read them. Otherwise the search would prove nothing."""
    account = after_every_flow.link("fresh", owners=[OWNER])
    # Not at once while the rate limiter is still slow after the 429s of the flows.
    after_every_flow.verdict(after_every_flow.request(account, CLAIM).body["id"])
    assert OWNER["name"] in json.dumps(after_every_flow.http.call("GET", f"/accounts/{account}/owners").body)


@pytest.mark.parametrize("leak", ["log", "queue", "execution", "table", "object"])
def test_leak_put_in_by_hand_is_found(after_every_flow: StackDriver, bus_queue: str, leak: str) -> None:
    word = f"Leakworthy{leak}"
    text = json.dumps({"owner": word})
    if leak == "log":
        logs = after_every_flow.stack.client("logs")
        group = next(name for name in (group["logGroupName"] for group in groups(after_every_flow)) if name.endswith("/api"))
        logs.create_log_stream(logGroupName=group, logStreamName=word.lower()[:4])
        event = {"timestamp": int(time.time() * 1000), "message": text}
        logs.put_log_events(logGroupName=group, logStreamName=word.lower()[:4], logEvents=[event])
    elif leak == "queue":
        after_every_flow.stack.client("sqs").send_message(
            QueueUrl=after_every_flow.stack.outputs["RefreshDeadLetterQueueUrl"], MessageBody=text.upper()
        )
    elif leak == "execution":
        after_every_flow.stack.client("stepfunctions").start_execution(
            stateMachineArn=after_every_flow.stack.outputs["StateMachineArn"], input=text
        )
    elif leak == "table":
        item = {"pk": {"S": "LEAK"}, "sk": {"S": "LEAK"}, "owners": {"B": text.encode()}}
        after_every_flow.stack.client("dynamodb").put_item(TableName=after_every_flow.stack.outputs["TableName"], Item=item)
    else:
        after_every_flow.stack.client("s3").put_object(Bucket=after_every_flow.stack.outputs["BucketName"], Key="batches/leak", Body=text)
    hits = canary.hits(places(after_every_flow), [word])
    assert hits
    assert all(hit.startswith(leak) for hit in hits)


def test_searcher_sees_through_encodings() -> None:
    import base64

    for text in ("brandywhistle", "BRANDYWHISTLE", "6272616e64797768697374 6c65".replace(" ", ""), "Brandywhistle"):
        assert canary.hits({"x": text.encode()}, ["Brandywhistle"])
    for prefix in ("", "a", "ab", "abc"):
        assert canary.hits({"x": base64.b64encode(f'{prefix}Brandywhistle", and more'.encode())}, ["Brandywhistle"])
    assert not canary.hits({"x": b"Brandywine"}, ["Brandywhistle"])
