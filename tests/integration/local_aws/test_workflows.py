"""Workflows: tokens, timeouts, retries, waits, stops, names, and a Distributed Map."""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import pytest

from local.aws.shims.workflow_task import backoff, error_matches

from .conftest import Stack, eventually


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_task_waits_until_a_function_sends_its_token_back(stack: Stack) -> None:
    execution = stack.execute("Workflow", {"order": "answer"})
    found = stack.finished(execution)
    assert found["status"] == "SUCCEEDED"
    assert json.loads(found["output"]) == {"order": "answer", "answer": {"woken": True, "retries": 0}}


def test_history_has_the_events_and_numbers_that_aws_gives(stack: Stack) -> None:
    execution = stack.execute("Workflow", {"order": "answer"})
    stack.finished(execution)
    events = stack.history(execution)
    assert kinds(events) == [
        "ExecutionStarted",
        "TaskStateEntered",
        "TaskScheduled",
        "TaskStarted",
        "TaskSubmitted",
        "TaskSucceeded",
        "TaskStateExited",
        "ChoiceStateEntered",
        "ChoiceStateExited",
        "SucceedStateEntered",
        "SucceedStateExited",
        "ExecutionSucceeded",
    ]
    assert [event["id"] for event in events] == list(range(1, 13))
    assert [event["previousEventId"] for event in events] == [0, 0, *range(2, 12)]
    scheduled = events[2]["taskScheduledEventDetails"]
    assert (scheduled["resourceType"], scheduled["resource"]) == ("sqs", "sendMessage.waitForTaskToken")
    assert scheduled["timeoutInSeconds"] == 2


def test_unanswered_task_times_out_and_is_retried_with_a_new_token(stack: Stack) -> None:
    execution = stack.execute("Workflow", {"order": "answer the second"})
    found = stack.finished(execution)
    assert json.loads(found["output"])["answer"] == {"woken": True, "retries": 1}
    events = stack.history(execution)
    assert kinds(events).count("TaskTimedOut") == 1
    tokens = {
        json.loads(event["taskScheduledEventDetails"]["parameters"])["MessageBody"]["token"]
        for event in events
        if event["type"] == "TaskScheduled"
    }
    assert len(tokens) == 2


def test_failure_sent_with_the_token_is_caught(stack: Stack) -> None:
    found = stack.finished(stack.execute("Workflow", {"order": "fail"}))
    assert (found["status"], found["error"], found["cause"]) == ("FAILED", "WasRefused", "because")


def test_closed_token_answers_that_the_task_timed_out_and_an_unknown_one_that_it_is_invalid(stack: Stack) -> None:
    states = stack.client("stepfunctions")
    execution = stack.execute("Workflow", {"order": "answer"})
    stack.finished(execution)
    parameters = json.loads(stack.history(execution)[2]["taskScheduledEventDetails"]["parameters"])
    with pytest.raises(states.exceptions.TaskTimedOut):
        states.send_task_success(taskToken=parameters["MessageBody"]["token"], output="{}")
    with pytest.raises(states.exceptions.InvalidToken):
        states.send_task_success(taskToken="no such token", output="{}")


def test_wait_lasts_until_the_timestamp(stack: Stack) -> None:
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=2)
    stack.finished(stack.execute("Workflow", {"order": "answer", "until": until.isoformat().replace("+00:00", "Z")}))
    assert until <= datetime.datetime.now(datetime.UTC) < until + datetime.timedelta(seconds=2)


def test_stopped_execution_ends_at_once_and_closes_its_token(stack: Stack) -> None:
    states = stack.client("stepfunctions")
    execution = stack.execute("Workflow", {"order": "never"})
    events = eventually(lambda: "TaskSubmitted" in kinds(found := stack.history(execution)) and found)
    states.stop_execution(executionArn=execution, error="Enough", cause="the test says so")
    found = states.describe_execution(executionArn=execution)
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "Enough", "the test says so")
    token = json.loads(events[2]["taskScheduledEventDetails"]["parameters"])["MessageBody"]["token"]
    with pytest.raises(states.exceptions.TaskTimedOut):
        states.send_task_success(taskToken=token, output="{}")
    assert kinds(stack.history(execution))[-1] == "ExecutionAborted"


def test_start_with_the_same_name_and_input_is_the_same_execution_while_it_runs(stack: Stack) -> None:
    states = stack.client("stepfunctions")
    first = stack.execute("Workflow", {"order": "never"}, name="only-one")
    assert stack.execute("Workflow", {"order": "never"}, name="only-one") == first
    with pytest.raises(states.exceptions.ExecutionAlreadyExists):
        stack.execute("Workflow", {"order": "another"}, name="only-one")
    states.stop_execution(executionArn=first)
    with pytest.raises(states.exceptions.ExecutionAlreadyExists):
        stack.execute("Workflow", {"order": "never"}, name="only-one")


def test_execution_that_takes_longer_than_its_timeout_times_out(stack: Stack) -> None:
    definition = {"StartAt": "Sleep", "TimeoutSeconds": 1, "States": {"Sleep": {"Type": "Wait", "Seconds": 30, "End": True}}}
    found = stack.finished(started(stack, "overdue", definition, {}), within=5)
    assert found["status"] == "TIMED_OUT"


def test_missing_timestamp_fails_the_wait(stack: Stack) -> None:
    definition = {"StartAt": "Sleep", "States": {"Sleep": {"Type": "Wait", "TimestampPath": "$.until", "End": True}}}
    assert stack.finished(started(stack, "no-timestamp", definition, {"until": "tomorrow"}))["error"] == "States.Runtime"


def test_missing_parameter_fails_the_state(stack: Stack) -> None:
    definition = {"StartAt": "Give", "States": {"Give": {"Type": "Pass", "Parameters": {"a.$": "$.missing"}, "End": True}}}
    assert stack.finished(started(stack, "no-parameter", definition, {"present": 1}))["error"] == "States.Runtime"


@pytest.mark.parametrize(
    ("rule", "data", "chosen"),
    [
        ({"Variable": "$.a", "IsPresent": True}, {"a": None}, "SUCCEEDED"),
        ({"Variable": "$.a", "IsPresent": True}, {}, "FAILED"),
        ({"Variable": "$.a", "StringEqualsPath": "$.b"}, {"a": "x", "b": "x"}, "SUCCEEDED"),
        ({"Variable": "$.a", "TimestampLessThanPath": "$.b"}, {"a": "2026-01-01T00:00:00Z", "b": "2026-01-02T00:00:00Z"}, "SUCCEEDED"),
        ({"And": [{"Variable": "$.a", "IsPresent": True}, {"Variable": "$.a", "StringEquals": "x"}]}, {}, "FAILED"),
        ({"Not": {"Variable": "$.a", "StringEquals": "x"}}, {"a": "y"}, "SUCCEEDED"),
    ],
)
def test_choice_compares_as_documented(stack: Stack, rule: dict[str, Any], data: Any, chosen: str) -> None:
    found = stack.finished(started(stack, "choice", choice(rule), data))
    assert found["status"] == chosen
    assert found.get("error") != "States.Runtime"


def test_choice_on_a_missing_variable_fails(stack: Stack) -> None:
    found = stack.finished(started(stack, "missing", choice({"Variable": "$.a", "StringEquals": "x"}), {}))
    assert found["error"] == "States.Runtime"


def test_distributed_map_reads_items_and_writes_results(stack: Stack) -> None:
    found = batch(stack, [{"n": 0}, {"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}], "good")
    written = json.loads(found["output"])["ResultWriterDetails"]
    s3 = stack.client("s3")
    manifest = json.load(s3.get_object(**written)["Body"])
    [file] = manifest["ResultFiles"]["SUCCEEDED"]
    rows = json.load(s3.get_object(Bucket=manifest["DestinationBucket"], Key=file["Key"])["Body"])
    assert [json.loads(row["Output"]) for row in rows] == [{"run": "r1", "index": n, "item": {"n": n}} for n in range(5)]
    [run] = stack.client("stepfunctions").list_map_runs(executionArn=found["executionArn"])["mapRuns"]
    counts = stack.client("stepfunctions").describe_map_run(mapRunArn=run["mapRunArn"])
    assert (counts["itemCounts"]["succeeded"], counts["executionCounts"]["total"], counts["maxConcurrency"]) == (5, 5, 4)


def test_distributed_map_tolerates_failures_up_to_its_percentage(stack: Stack) -> None:
    some = [{"n": n} for n in range(8)] + [{"bad": True}, {"n": 9}]
    assert batch(stack, some, "some")["status"] == "SUCCEEDED"
    many = [{"bad": True}, {"n": 1}, {"bad": True}, {"n": 3}]
    found = batch(stack, many, "many")
    assert (found["status"], found["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")


def test_retry_waits_longer_each_time_up_to_the_maximum_with_jitter() -> None:
    plain = {"IntervalSeconds": 2, "BackoffRate": 3, "MaxDelaySeconds": 10}
    assert [backoff(plain, n) for n in range(4)] == [2, 6, 10, 10]
    drawn = [backoff(plain | {"JitterStrategy": "FULL"}, 2) for _ in range(50)]
    assert all(0 <= delay <= 10 for delay in drawn)
    assert len(set(drawn)) > 1


@pytest.mark.parametrize(
    ("names", "error", "matches"),
    [
        (["States.ALL"], "Anything", True),
        (["States.ALL"], "States.Runtime", False),
        (["States.ALL"], "States.DataLimitExceeded", False),
        (["States.TaskFailed"], "States.Timeout", False),
        (["States.Timeout"], "States.HeartbeatTimeout", True),
        (["States.ALL"], "States.Aborted", False),
    ],
)
def test_error_names_match_as_documented(names: list[str], error: str, matches: bool) -> None:
    assert error_matches(names, error) is matches


def choice(rule: dict[str, Any]) -> dict[str, Any]:
    """A workflow that succeeds when the rule applies and fails when it does not."""
    choose = {"Type": "Choice", "Choices": [{**rule, "Next": "Yes"}], "Default": "No"}
    return {"StartAt": "Choose", "States": {"Choose": choose, "Yes": {"Type": "Succeed"}, "No": {"Type": "Fail"}}}


def started(stack: Stack, name: str, definition: dict[str, Any], data: Any) -> str:
    states = stack.client("stepfunctions")
    role = stack.client("iam").list_roles()["Roles"][0]["Arn"]
    machine = states.create_state_machine(name=f"{name}-{time.time_ns()}", definition=json.dumps(definition), roleArn=role)[
        "stateMachineArn"
    ]
    return str(states.start_execution(stateMachineArn=machine, input=json.dumps(data))["executionArn"])


def batch(stack: Stack, lines: list[Any], key: str) -> dict[str, Any]:
    stack.client("s3").put_object(Bucket=stack["Results"], Key=key, Body="\n".join(map(json.dumps, lines)).encode())
    return stack.finished(stack.execute("Batch", {"key": key, "run": "r1", "concurrency": 4}))
