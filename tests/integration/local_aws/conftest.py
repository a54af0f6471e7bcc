"""One emulator and one deployed stack for all tests of the embedded AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.aws.deploy import deploy, http_api_url
from local.aws.emulator import Emulator

APP = Path(__file__).parent / "app"
STACK = "behaviours"


@dataclass(frozen=True)
class Stack:
    """The deployed stack: its outputs, and clients for what it made."""

    aws: Emulator
    outputs: dict[str, str]

    def __getitem__(self, output: str) -> str:
        return self.outputs[output]

    def client(self, service: str) -> Any:
        return self.aws.client(service)

    @property
    def url(self) -> str:
        return http_api_url(self.aws.endpoint, self["ApiId"])

    def invoke(self, function: str, event: Any) -> Any:
        return json.load(self.client("lambda").invoke(FunctionName=self[function], Payload=json.dumps(event))["Payload"])

    def item(self, key: str) -> dict[str, Any]:
        found = self.client("dynamodb").get_item(TableName=self["Table"], Key={"pk": {"S": key}}, ConsistentRead=True)
        return dict(found.get("Item", {}))

    def execute(self, machine: str, data: Any, **options: Any) -> str:
        return str(
            self.client("stepfunctions").start_execution(stateMachineArn=self[machine], input=json.dumps(data), **options)["executionArn"]
        )

    def finished(self, execution: str, within: float = 20) -> dict[str, Any]:
        states = self.client("stepfunctions")
        return dict(
            eventually(lambda: (found := states.describe_execution(executionArn=execution))["status"] != "RUNNING" and found, within)
        )

    def history(self, execution: str) -> list[dict[str, Any]]:
        pages = self.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution)
        return [event for page in pages for event in page["events"]]

    def receive(self, queue: str, within: float = 10) -> str:
        """The body of the next message, which is then deleted."""
        sqs = self.client("sqs")
        [message] = eventually(lambda: sqs.receive_message(QueueUrl=self[queue], WaitTimeSeconds=1).get("Messages"), within)
        sqs.delete_message(QueueUrl=self[queue], ReceiptHandle=message["ReceiptHandle"])
        return str(message["Body"])


def eventually(probe: Callable[[], Any], within: float = 10) -> Any:
    """The first true value of `probe`. Fails if there is none `within` that many seconds."""
    end = time.monotonic() + within
    while not (value := probe()):
        assert time.monotonic() < end, f"nothing within {within} s"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="session")
def aws() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def stack(aws: Emulator) -> Stack:
    return Stack(aws, deploy(APP / "template.yaml", aws.endpoint, STACK, {"Architecture": "x86_64"}))
