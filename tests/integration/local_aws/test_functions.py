"""Functions: their environment, errors and logs, and what follows a failure."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import Stack, eventually


def test_function_sees_its_code_then_its_layers_and_nothing_of_the_host(stack: Stack) -> None:
    seen = stack.invoke("ApiFunction", {})
    assert seen["origin"] == "code"
    assert seen["shared"] == "layer"
    assert seen["importable"] == ["boto3"]


def test_function_runs_on_the_interpreter_in_use_and_sees_the_runtime_it_declares(stack: Stack) -> None:
    seen = stack.invoke("ApiFunction", {})
    assert seen["python"] == list(sys.version_info[:2])
    assert seen["runtime"] == "AWS_Lambda_python3.13"


def test_function_has_the_emulators_endpoint(stack: Stack) -> None:
    assert stack.invoke("ApiFunction", {})["endpoint"] == stack.aws.endpoint


def test_code_is_read_only(stack: Stack) -> None:
    seen = stack.invoke("ApiFunction", {})
    assert seen["mode"] == 0o555
    assert not seen["writable"]


def test_context_has_the_request_the_function_and_the_time_left(stack: Stack) -> None:
    seen = stack.invoke("ApiFunction", {})
    assert re.fullmatch(r"[0-9a-f-]{36}", seen["request"])
    assert seen["function"].endswith(f":function:{stack['ApiFunction']}")
    assert 5_000 < seen["remaining"] <= 10_000


def test_every_call_has_a_trace_of_its_own(stack: Stack) -> None:
    first, second = (stack.invoke("ApiFunction", {}) for _ in range(2))
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=1", first["trace"])
    assert first["trace"] != second["trace"]


def test_exception_is_reported_as_the_runtime_does_and_keeps_the_environment(stack: Stack) -> None:
    before = stack.invoke("ApiFunction", {})
    answer = stack.client("lambda").invoke(FunctionName=stack["ApiFunction"], Payload=b'{"raise": true}')
    error = json.load(answer["Payload"])
    assert answer["FunctionError"] == "Unhandled"
    assert (error["errorType"], error["errorMessage"]) == ("KeyError", "'lost'")
    assert error["stackTrace"]
    after = stack.invoke("ApiFunction", {})
    assert (after["pid"], after["calls"]) == (before["pid"], before["calls"] + 2)


def test_output_is_readable_line_by_line_in_the_log_group_it_declares(stack: Stack) -> None:
    stack.invoke("ApiFunction", {"routeKey": "POST /echo"})
    lines = log_lines(stack, stack["ApiLogs"])
    assert {"echoing", "in two lines"} <= set(lines)
    assert [line for line in lines if line.startswith("REPORT RequestId: ")]


def test_unhandled_exception_is_logged_with_its_traceback(stack: Stack) -> None:
    stack.client("lambda").invoke(FunctionName=stack["ApiFunction"], Payload=b'{"raise": true}')
    errors = [json.loads(line) for line in log_lines(stack, stack["ApiLogs"]) if '"errorType"' in line]
    assert errors[-1]["errorType"] == "KeyError"


def test_asynchronous_failure_goes_to_its_destination(stack: Stack) -> None:
    answer = stack.client("lambda").invoke(FunctionName=stack["FailingFunction"], InvocationType="Event", Payload=b'{"n": 7}')
    assert answer["StatusCode"] == 202
    record = json.loads(stack.receive("Failures"))
    assert record["requestPayload"] == {"n": 7}
    assert record["responsePayload"]["errorType"] == "ValueError"
    assert record["requestContext"]["condition"] == "RetriesExhausted"


def test_burst_of_calls_queues_for_few_environments(stack: Stack) -> None:
    together = threading.Barrier(24)

    def call(_: int) -> int:
        together.wait()
        return int(stack.invoke("ApiFunction", {})["pid"])

    with ThreadPoolExecutor(24) as pool:
        pids = set(pool.map(call, range(24)))
    assert 1 <= len(pids) <= 6


def log_lines(stack: Stack, group: str) -> list[str]:
    pages = stack.client("logs").get_paginator("filter_log_events")
    return list(eventually(lambda: [event["message"] for page in pages.paginate(logGroupName=group) for event in page["events"]]))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ('{ $.message = "call to *" }', [0, 1]),
        ('{ $.message = "call to Stripe failed" && $.status >= 500 }', [1]),
        ('{ $.record.status = "timeout" || $.status = "4*" }', [0, 2]),
        ('{ $.message != "call to *" }', [3]),
        ("Stripe -500", [0]),
        ("", [0, 1, 2, 3, 4]),
    ],
)
def test_logs_are_filtered_by_the_patterns_that_the_runbook_uses(stack: Stack, pattern: str, found: list[int]) -> None:
    lines = [
        '{"message": "call to Stripe failed", "status": 404}', '{"message": "call to Stripe failed", "status": 500}',
        '{"record": {"status": "timeout"}}', '{"message": "reconciled"}', "START RequestId: 1",
    ]  # fmt: skip
    logs, group, now = stack.client("logs"), f"/filtered/{uuid.uuid4()}", int(time.time() * 1000)
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    events = [{"timestamp": now + number, "message": line} for number, line in enumerate(lines)]
    logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)
    answer = logs.filter_log_events(logGroupName=group, filterPattern=pattern)["events"]
    assert [lines.index(event["message"]) for event in answer] == found
