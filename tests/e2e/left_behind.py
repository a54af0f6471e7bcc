"""Everything that a stack has left anywhere, as bytes by place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests

from tests.e2e.stack_driver import TRAIL, StackDriver


def places(driver: StackDriver) -> dict[str, bytes]:
    """The content of every place, by its name."""
    found: dict[str, Any] = {}
    logs, sqs, states = (driver.stack.client(service) for service in ("logs", "sqs", "stepfunctions"))
    for group in groups(driver):
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"])
        found[f"logs {group['logGroupName']}"] = [event["message"] for page in pages for event in page["events"]]
    for machine in states.list_state_machines()["stateMachines"]:
        found[f"execution histories of {machine['name']}"] = list(executions(states, stateMachineArn=machine["stateMachineArn"]))
    for url in sqs.list_queues()["QueueUrls"]:
        found[f"queue {url.rpartition('/')[2]}"] = messages(sqs, url)
    dynamodb = driver.stack.client("dynamodb")
    for table in dynamodb.list_tables()["TableNames"]:
        pages = dynamodb.get_paginator("scan").paginate(TableName=table)
        found[f"table {table}"] = [unpacked(item) for page in pages for item in page["Items"]]
    cloudwatch, s3, functions = (driver.stack.client(service) for service in ("cloudwatch", "s3", "lambda"))
    found["metrics"] = cloudwatch.list_metrics()["Metrics"]
    found["functions' settings"] = functions.list_functions()["Functions"]
    for bucket in s3.list_buckets()["Buckets"]:
        place = {"Bucket": bucket["Name"]}
        found[f"uploads under way to {bucket['Name']}"] = s3.list_multipart_uploads(**place).get("Uploads", [])
        # The caller wrote the manifest, so it may contain anything.
        for item in s3.list_objects_v2(**place).get("Contents", ()) if bucket["Name"] != "sam-artefacts" else ():
            if not item["Key"].startswith("manifests/"):
                answer = s3.get_object(**place, Key=item["Key"])
                found[f"object {bucket['Name']}/{item['Key']}"] = repr(answer["Metadata"]).encode() + answer["Body"].read()
    found["secrets' names"] = driver.stack.client("secretsmanager").list_secrets()["SecretList"]
    events, scheduler = driver.stack.client("events"), driver.stack.client("scheduler")
    for bus in events.list_event_buses()["EventBuses"]:
        rules = events.list_rules(EventBusName=bus["Name"])["Rules"]
        found[f"rules of the bus {bus['Name']}"] = [
            (rule, events.list_targets_by_rule(EventBusName=bus["Name"], Rule=rule["Name"])["Targets"]) for rule in rules
        ]
    found["schedules"] = scheduler.list_schedules()["Schedules"]
    found["queues' messages, those in flight too"] = requests.get(
        f"{driver.stack.aws.endpoint}/_ministack/sqs/messages", timeout=30
    ).content
    found["decisions of IAM"] = TRAIL.read_bytes()
    found["calls to Stripe: targets and headers"] = [(call.method, call.target, dict(call.headers)) for call in driver.exchanges]
    found["emulator log"] = driver.stack.aws.log.read_bytes()
    state = driver.stack.aws.var / "aws" / str(driver.stack.aws.port)
    for path in sorted(state.rglob("*")):
        if path.is_file() and not {"sam-artefacts", "manifests"} & set(path.parts):
            found[f"emulator file {path.relative_to(state)}"] = path.read_bytes()
    return {name: content if isinstance(content, bytes) else json.dumps(content, default=str).encode() for name, content in found.items()}


def unpacked(item: dict[str, Any]) -> dict[str, Any]:
    """An item with its binary attributes as text, in which words can be found."""
    return {name: next(iter(value.values())) for name, value in item.items()}


def groups(driver: StackDriver) -> list[dict[str, Any]]:
    pages = driver.stack.client("logs").get_paginator("describe_log_groups").paginate()
    return [group for page in pages for group in page["logGroups"]]


def executions(states: Any, **of: str) -> Iterator[Any]:
    """Executions with their histories, and with those of the children that their Maps started."""
    for page in states.get_paginator("list_executions").paginate(**of):
        for execution in page["executions"]:
            arn = execution["executionArn"]
            yield states.describe_execution(executionArn=arn), history(states, arn)
            for run in states.list_map_runs(executionArn=arn)["mapRuns"]:
                yield states.describe_map_run(mapRunArn=run["mapRunArn"])
                yield from executions(states, mapRunArn=run["mapRunArn"])


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


def in_flight(driver: StackDriver) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    sqs = driver.stack.client("sqs")
    urls = [driver.stack.outputs[name] for name in ("RefreshQueueUrl",)]
    return sum(
        int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].get(name, 0)) for url in urls for name in names
    )


def arn(driver: StackDriver, url: str) -> str:
    return str(driver.stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])
