"""Canaries: unmistakable names, e-mails, phones and addresses go through every flow, and must then stand nowhere but in answers.

Everything that the stack left anywhere is searched, the tables too: there they are encrypted. What is in transit for a moment only, such as
a message that was processed, is searched in `tests/integration/test_discretion.py`. Traces are not emulated: `tests/unit/test_template.py`
holds that none bears an event, an answer or an error.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.bench import Bench, eventually
from tests.support import canary
from tests.support.functions import queue_event

CLAIM = {
    "name": "Xyloquent Brandywhistle", "email": "xyloquent.claim@brandywhistle.example.com", "phone": "+1 555 555 0173",
    "address": {"line1": "4711 Claimants Hollow", "city": "Canaryville", "postal_code": "62797"},
    "aka": ["Quorble Fennimantle"],
}  # fmt: skip
OWNER = {
    "name": "XYLOQUENT BRANDYWHISTLE", "email": "owner@fennimantle.example.com", "phone": "5555550186",
    "raw_address": "4712 OWNERS HOLLOW CANARYVILLE 62786",
}  # fmt: skip
WORDS = (
    "Xyloquent", "Brandywhistle", "Fennimantle", "Quorble", "Claimants Hollow", "Owners Hollow", "Canaryville", "5550186", "555 0173",
    "+15555550173",
)  # fmt: skip


@pytest.fixture(scope="module")
def caught(bench: Bench) -> str:
    """The URL of a queue that catches every event on the bus."""
    sqs, events, bus = bench.stack.client("sqs"), bench.stack.client("events"), bench.stack.outputs["EventBusName"]
    url = sqs.create_queue(QueueName="canary-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="canary", EventBusName=bus, EventPattern=json.dumps({"source": [{"prefix": ""}]}))
    events.put_targets(Rule="canary", EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return str(url)


@pytest.fixture(scope="module")
def flown(bench: Bench, caught: str) -> Bench:
    """The stack after every flow was taken with canaries."""
    for scenario in ("single_owner", "fresh", "paged_owners", "failing_with_reason", "inactive", "permission_missing", "lost_webhook"):
        account = bench.link(scenario, **({"owners": [OWNER]} if scenario in ("single_owner", "fresh", "lost_webhook") else {}))
        answer = bench.request(account, CLAIM)
        assert answer.status in (200, 202), answer
        bench.verdict(answer.body["id"], within=60)
        for path in (f"/accounts/{account}", f"/accounts/{account}/owners", f"/accounts/{account}/snapshots"):
            assert bench.http.call("GET", path).status in (200, 404)
        bench.http.call("POST", f"/accounts/{account}/refreshes", {"max_age": 0})
    bench.sim.change(account, action="disconnect")
    refused(bench)
    stripe_in_trouble(bench)
    buried_and_put_back(bench)
    invoke(bench, "Reconcile", {})
    eventually(lambda: not in_flight(bench), 60)
    return bench


def refused(bench: Bench) -> None:
    """Requests that are refused, with canaries where they are refused for."""
    account = bench.link("fresh", owners=[OWNER])
    for claim in ({**CLAIM, "colour": CLAIM["name"]}, {"name": 1, CLAIM["name"]: 2}, {**CLAIM, "address": {"planet": CLAIM["name"]}}):
        assert bench.request(account, claim).status == 422
    assert bench.http.call("POST", "/verifications", raw=json.dumps({"claim": CLAIM})[:-5].encode()).status == 400
    assert bench.request("fca_unknown", CLAIM).status == 404
    key = {"Idempotency-Key": "canary-1"}
    assert bench.request(account, CLAIM, headers=key).status in (200, 202)
    assert bench.request(account, {**CLAIM, "name": "Quorble"}, headers=key).status == 422
    assert bench.deliver(json.dumps(CLAIM).encode(), {"Stripe-Signature": "t=1,v1=0"}).status_code == 400


def stripe_in_trouble(bench: Bench) -> None:
    for fault in ("server_error", "rate_limit"):
        account = bench.link("single_owner", owners=[OWNER])
        bench.sim.fail_api(fault, account=account, times=4)
        answer = bench.request(account, CLAIM)
        assert answer.status == 202
        bench.verdict(answer.body["id"], within=90)
    bench.sim.clear_faults()


def buried_and_put_back(bench: Bench) -> None:
    """A message that fails for good, whose reason could repeat what it holds."""
    record = {"MessageId": "m", "ReceiptHandle": "r", "Body": json.dumps({"event": "evt_canary"})}
    for count in ("1", "7"):
        invoke(bench, "FetchOwners", queue_event({**record, "Attributes": {"ApproximateReceiveCount": count}}))
    sqs, outputs = bench.stack.client("sqs"), bench.stack.outputs
    source, destination = (arn(bench, outputs[name]) for name in ("EventsDeadLetterQueueUrl", "EventsQueueUrl"))
    sqs.start_message_move_task(SourceArn=source, DestinationArn=destination)


def test_canaries_stand_nowhere_that_the_stack_left_anything(flown: Bench, caught: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = places(flown)
    with capsys.disabled():
        print("\nplaces searched for canaries")
        for place, content in found.items():
            print(f"  {place:60} {len(content):>10} bytes")
        print(f"  {len(found)} places, {sum(map(len, found.values()))} bytes, {len(WORDS)} words")
    assert canary.hits(found, WORDS) == []
    searched = {place.split()[0] for place in found}
    assert searched >= {"logs", "execution", "queue", "table", "emulator"}
    assert found["queue canary-events"], "events were caught"


def test_canaries_were_there_to_be_found(flown: Bench) -> None:
    """Else the search would prove nothing: whoever may, reads them."""
    account = flown.link("fresh", owners=[OWNER])
    # Not at once where Stripe's pace is still slow after the 429s of the flows.
    flown.verdict(flown.request(account, CLAIM).body["id"])
    assert OWNER["name"] in json.dumps(flown.http.call("GET", f"/accounts/{account}/owners").body)


@pytest.mark.parametrize("leak", ["log", "queue", "execution"])
def test_leak_put_in_by_hand_is_found(flown: Bench, caught: str, leak: str) -> None:
    word = f"Leakworthy{leak}"
    text = json.dumps({"owner": word})
    if leak == "log":
        logs = flown.stack.client("logs")
        group = next(name for name in (group["logGroupName"] for group in groups(flown)) if name.endswith("/api"))
        logs.create_log_stream(logGroupName=group, logStreamName=word.lower()[:4])
        event = {"timestamp": int(time.time() * 1000), "message": text}
        logs.put_log_events(logGroupName=group, logStreamName=word.lower()[:4], logEvents=[event])
    elif leak == "queue":
        flown.stack.client("sqs").send_message(QueueUrl=flown.stack.outputs["RefreshDeadLetterQueueUrl"], MessageBody=text.upper())
    else:
        flown.stack.client("stepfunctions").start_execution(stateMachineArn=flown.stack.outputs["StateMachineArn"], input=text)
    (hit,) = canary.hits(places(flown), [word])
    assert hit.startswith({"log": "logs", "queue": "queue", "execution": "execution"}[leak])


def test_searcher_sees_through_encodings() -> None:
    import base64

    for text in ("brandywhistle", "BRANDYWHISTLE", "6272616e64797768697374 6c65".replace(" ", ""), "Brandywhistle"):
        assert canary.hits({"x": text.encode()}, ["Brandywhistle"])
    for prefix in ("", "a", "ab", "abc"):
        assert canary.hits({"x": base64.b64encode(f'{prefix}Brandywhistle", and more'.encode())}, ["Brandywhistle"])
    assert not canary.hits({"x": b"Brandywine"}, ["Brandywhistle"])


# -- everything that a stack leaves ------------------------------------------------------------------------------------------------------


def places(bench: Bench) -> dict[str, bytes]:
    """The content of every place, by its name."""
    found: dict[str, Any] = {}
    logs, sqs, states = (bench.stack.client(service) for service in ("logs", "sqs", "stepfunctions"))
    for group in groups(bench):
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        found[f"logs {group['logGroupName']}"] = [event["message"] for page in pages for event in page["events"]]
    for machine in states.list_state_machines()["stateMachines"]:
        executions = [
            execution
            for page in states.get_paginator("list_executions").paginate(stateMachineArn=machine["stateMachineArn"])
            for execution in page["executions"]
        ]
        found[f"execution histories of {machine['name']}"] = [
            (states.describe_execution(executionArn=execution["executionArn"]), history(states, execution["executionArn"]))
            for execution in executions
        ]
    for url in sqs.list_queues()["QueueUrls"]:
        found[f"queue {url.rpartition('/')[2]}"] = messages(sqs, url)
    dynamodb = bench.stack.client("dynamodb")
    for table in dynamodb.list_tables()["TableNames"]:
        pages = dynamodb.get_paginator("scan").paginate(TableName=table)
        found[f"table {table}"] = [unpacked(item) for page in pages for item in page["Items"]]
    cloudwatch, s3, functions = (bench.stack.client(service) for service in ("cloudwatch", "s3", "lambda"))
    found["metrics"] = cloudwatch.list_metrics()["Metrics"]
    found["functions' settings"] = functions.list_functions()["Functions"]
    for bucket in s3.list_buckets()["Buckets"]:
        # A manifest is the caller's own.
        for item in s3.list_objects_v2(Bucket=bucket["Name"]).get("Contents", ()) if bucket["Name"] != "sam-artefacts" else ():
            if not item["Key"].startswith("manifests/"):
                found[f"object {bucket['Name']}/{item['Key']}"] = s3.get_object(Bucket=bucket["Name"], Key=item["Key"])["Body"].read()
    found["calls to Stripe: targets and headers"] = [(call.method, call.target, dict(call.headers)) for call in bench.exchanges]
    found["emulator log"] = bench.stack.aws.log.read_bytes()
    state = bench.stack.aws.var / "aws" / str(bench.stack.aws.port)
    for path in sorted(state.rglob("*")):
        if path.is_file() and not {"sam-artefacts", "manifests"} & set(path.parts):
            found[f"emulator file {path.relative_to(state)}"] = path.read_bytes()
    return {name: content if isinstance(content, bytes) else json.dumps(content, default=str).encode() for name, content in found.items()}


def unpacked(item: dict[str, Any]) -> dict[str, Any]:
    """An item with its binary attributes as text, in which words can be found."""
    return {name: next(iter(value.values())) for name, value in item.items()}


def groups(bench: Bench) -> list[dict[str, Any]]:
    pages = bench.stack.client("logs").get_paginator("describe_log_groups").paginate()
    return [group for page in pages for group in page["logGroups"]]


def history(states: Any, execution: str) -> list[Any]:
    pages = states.get_paginator("get_execution_history").paginate(executionArn=execution)
    return [event for page in pages for event in page["events"]]


def messages(sqs: Any, url: str) -> list[Any]:
    """What is in a queue; it stays there."""
    found: dict[str, Any] = {}
    while new := [
        message
        for message in sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=2, MessageAttributeNames=["All"], AttributeNames=["All"]
        ).get("Messages", ())
        if message["MessageId"] not in found
    ]:
        found |= {message["MessageId"]: message for message in new}
    for message in found.values():
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    return list(found.values())


def in_flight(bench: Bench) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    sqs = bench.stack.client("sqs")
    urls = [bench.stack.outputs[name] for name in ("RefreshQueueUrl",)]
    return sum(
        int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].get(name, 0)) for url in urls for name in names
    )


def arn(bench: Bench, url: str) -> str:
    return str(bench.stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])


def invoke(bench: Bench, function: str, event: Any) -> None:
    found = bench.stack.client("cloudformation").describe_stack_resource(StackName="titleholder", LogicalResourceId=function)
    name = found["StackResourceDetail"]["PhysicalResourceId"]
    bench.stack.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
