"""Step Functions tasks: tokens that expire, timeouts and heartbeats, retries with jitter and maximum delay, history events."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ministack.services import stepfunctions as sf

from local.aws.shims._workflow import Ended, Execution, TaskError, add_event, check, live, pause

CALLBACK = ".waitForTaskToken"
REMEMBERED_TOKENS = 50_000
UNCATCHABLE = ("States.Runtime", "States.DataLimitExceeded")

original_success, original_failure = sf._send_task_success, sf._send_task_failure
original_match = sf._error_matches
_closed: dict[str, str] = {}
"""The state machine of each used token."""


def apply() -> None:
    sf._execute_task = execute_task
    sf._error_matches = error_matches
    sf._with_retry_and_catch = with_retry_and_catch
    sf._send_task_success = send_success
    sf._send_task_failure = send_failure
    sf._send_task_heartbeat = send_heartbeat


@dataclass
class Waiter:
    """A task that waits for its token. `answer`: the output as JSON, or the error. `heard`: the last heartbeat."""

    execution: Execution
    heard: float
    answer: str | Exception | None = None
    event: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Task:
    """One attempt of a Task state: its resource as the history names it, and its events."""

    def __init__(self, state: dict[str, Any], execution: Execution) -> None:
        self.arn: str = state.get("Resource", "")
        self.execution = execution
        self.direct = ":lambda:" in self.arn and ":function:" in self.arn and not self.arn.startswith("arn:aws:states:")
        service, _, action = self.arn.removeprefix("arn:aws:states:::").rpartition(":")
        self.identity = {"resourceType": service, "resource": action}
        self.family = "LambdaFunction" if self.direct else "Task"

    def record(self, what: str, **details: Any) -> None:
        kind = f"{self.family}{what}"
        full = details if self.direct else self.identity | details
        add_event(self.execution, kind, {f"{kind[0].lower()}{kind[1:]}EventDetails": full})

    def scheduled(self, parameters: Any, timeout: float | None, heartbeat: float | None) -> None:
        limits = {"timeoutInSeconds": timeout, "heartbeatInSeconds": heartbeat}
        details = {name: int(value) for name, value in limits.items() if value}
        if self.direct:
            self.record("Scheduled", resource=self.arn, input=json.dumps(parameters), **details)
        else:
            self.record("Scheduled", region=sf.get_region(), parameters=json.dumps(parameters), **details)
        self.record("Started")

    def failed(self, error: Any) -> None:
        timed_out = error.error in ("States.Timeout", "States.HeartbeatTimeout")
        self.record("TimedOut" if timed_out else "Failed", error=error.error, cause=error.cause)


def execute_task(state: dict[str, Any], data: Any, execution: Execution, context: dict[str, Any]) -> tuple[Any, str | None]:
    def attempt() -> tuple[Any, str | None]:
        check(execution)
        task = Task(state, execution)
        if CALLBACK in task.arn:
            context["Task"] = {"Token": sf.new_uuid() + sf.new_uuid()}
        parameters = sf._apply_parameters(state, sf._apply_input_path(state, data, context), context)
        timeout, heartbeat = (_seconds(state, name, data, context) for name in ("TimeoutSeconds", "HeartbeatSeconds"))
        task.scheduled(parameters, timeout, heartbeat)
        try:
            if CALLBACK in task.arn:
                result = _call_and_wait(task, parameters, context["Task"]["Token"], timeout, heartbeat)
            elif timeout:
                result = sf._invoke_resource_with_timeout(task.arn, parameters, timeout)
            else:
                result = sf._invoke_resource(task.arn, parameters)
            check(execution)
        except Ended:
            raise
        except TaskError as error:
            check(execution)
            task.failed(error)
            raise
        task.record("Succeeded", output=json.dumps(result))
        output = sf._apply_result_path(state, data, sf._apply_result_selector(state, result))
        return sf._apply_output_path(state, output, context), sf._next_or_end(state)

    return with_retry_and_catch(state, data, context, attempt)


def _seconds(state: dict[str, Any], field: str, data: Any, context: dict[str, Any]) -> float | None:
    if f"{field}Path" in state:
        return float(sf._resolve_path_or_ctx(state[f"{field}Path"], data, context))
    return state.get(field)


def _call_and_wait(task: Task, parameters: Any, token: str, timeout: float | None, heartbeat: float | None) -> Any:
    """Make the call that carries the token, then wait for the answer. Raises `TaskError`: the failure that was sent, or a timeout."""
    began = time.monotonic()
    waiter = Waiter(task.execution, began)
    sf._task_tokens[token] = waiter
    try:
        try:
            sent = sf._invoke_resource(task.arn.replace(CALLBACK, ""), parameters)
        except TaskError:
            if waiter.answer is None:
                raise
        else:
            task.record("Submitted", output=json.dumps(sent))
        while waiter.answer is None:
            limits: list[tuple[float, str]] = [(began + timeout, "States.Timeout")] if timeout else []
            limits += [(waiter.heard + heartbeat, "States.HeartbeatTimeout")] if heartbeat else []
            end, error = min(limits, default=(math.inf, ""))
            left = end - time.monotonic()
            if left > 0:
                pause(task.execution, left if left < math.inf else None, waiter.event)
                continue
            with waiter.lock:
                if waiter.answer is None:
                    waiter.answer = TaskError(error, "")
    finally:
        _close(token, task.execution)
    if isinstance(waiter.answer, Exception):
        raise waiter.answer
    return json.loads(waiter.answer)


def _close(token: str, execution: Execution) -> None:
    sf._task_tokens.pop(token, None)
    _closed[token] = execution["stateMachineArn"]
    while len(_closed) > REMEMBERED_TOKENS:
        _closed.pop(next(iter(_closed)))


def send_success(data: dict[str, Any]) -> Any:
    try:
        json.loads(data.get("output", ""))
    except (ValueError, TypeError):
        return sf.error_response_json("InvalidOutput", "Invalid Output", 400)
    return _answer(data, data["output"], original_success)


def send_failure(data: dict[str, Any]) -> Any:
    return _answer(data, TaskError(data.get("error", ""), data.get("cause", "")), original_failure)


def send_heartbeat(data: dict[str, Any]) -> Any:
    waiter, refusal = _waiter(data)
    if refusal is not None:
        return refusal
    if isinstance(waiter, Waiter):
        waiter.heard = time.monotonic()
    return sf.json_response({})


def _answer(data: dict[str, Any], answer: Any, original: Callable[[dict[str, Any]], Any]) -> Any:
    waiter, refusal = _waiter(data)
    if refusal is not None:
        return refusal
    if not isinstance(waiter, Waiter):  # an activity's token
        return original(data)
    with waiter.lock:
        if waiter.answer is not None or not live(waiter.execution):
            return _timed_out()
        waiter.answer = answer
        waiter.event.set()
    return sf.json_response({})


def _waiter(data: dict[str, Any]) -> tuple[Any, Any]:
    token = data.get("taskToken") or ""
    waiter = sf._task_tokens.get(token)
    if waiter is not None:
        return waiter, None
    if token in _closed:
        return None, _timed_out()
    return None, sf.error_response_json("InvalidToken", "Invalid Token: 'Invalid token'", 400)


def _timed_out() -> Any:
    return sf.error_response_json("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'", 400)


def error_matches(names: list[str], error: str) -> bool:
    if error == "States.Aborted":
        return False
    if error in UNCATCHABLE:
        return error in names
    if error == "States.HeartbeatTimeout" and "States.Timeout" in names:
        return True
    return bool(original_match(names, error))


def backoff(retrier: dict[str, Any], count: int) -> float:
    """Seconds before the next retry, after `count` earlier ones by this retrier."""
    delay = float(retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** count)
    delay = min(delay, retrier.get("MaxDelaySeconds", delay))
    return random.uniform(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay


def with_retry_and_catch(
    state: dict[str, Any], data: Any, context: dict[str, Any], attempt: Callable[[], tuple[Any, str | None]]
) -> tuple[Any, str | None]:
    entered: dict[str, Any] = context["State"]
    counts: dict[int, int] = {}
    while True:
        context["State"] = {**entered, "RetryCount": sum(counts.values())}
        try:
            return attempt()
        except TaskError as error:
            retrier, index = sf._find_matching_retrier(state.get("Retry", []), error.error, counts)
            if retrier is not None:
                sf._scaled_sleep(backoff(retrier, counts.get(index, 0)))
                counts[index] = counts.get(index, 0) + 1
                continue
            catcher = sf._find_matching_catcher(state.get("Catch", []), error.error)
            if catcher is None:
                raise
            caught = {"Error": error.error, "Cause": error.cause}
            return sf._apply_catcher(catcher, data, context, "JSONPath", caught), catcher["Next"]
