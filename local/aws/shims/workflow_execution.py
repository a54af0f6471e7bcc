"""Step Functions executions: idempotent start, TimeoutSeconds, immediate StopExecution, payload limit, complete history."""

from __future__ import annotations

import copy
import json
import re
import time
from typing import Any

from ministack.services import stepfunctions as sf

from local.aws.shims._workflow import (
    LARGEST_PAYLOAD,
    Ended,
    Execution,
    TaskError,
    add_event,
    check,
    current,
    interrupt,
    pause,
    within,
)

EXECUTION_NAME = re.compile(r"^[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}$")
original_start = sf._start_execution
original_stop = sf._stop_execution


def apply() -> None:
    sf._add_event = add_event
    sf._start_execution = start_execution
    sf._stop_execution = stop_execution
    sf._run_execution = run_execution
    sf._run_sub_machine = run_states
    sf._fail_execution = fail_execution
    sf._scaled_sleep = sleep
    sf._sleep_until = sleep_until


def start_execution(data: dict[str, Any]) -> Any:
    name, payload = data.get("name"), data.get("input", "{}")
    if name is not None and not EXECUTION_NAME.match(name):
        return sf.error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
    try:
        json.loads(payload)
    except (ValueError, TypeError):
        return sf.error_response_json("InvalidExecutionInput", "Invalid State Machine Execution Input", 400)
    if len(payload.encode()) > LARGEST_PAYLOAD:
        message = "Value at 'input' failed to satisfy constraint: Member must have length less than or equal to 262144"
        return sf.error_response_json("ValidationException", message, 400)
    machine = sf._state_machines.get(sf._resolve_state_machine_arn(data.get("stateMachineArn", "")) or "")
    if name and machine:
        arn = f"arn:aws:states:{sf.get_region()}:{sf.get_account_id()}:execution:{machine['name']}:{name}"
        running = sf._executions.get(arn)
        if running and running["status"] == "RUNNING" and running["input"] == payload:
            return sf.json_response({"executionArn": arn, "startDate": running["startDate"]})
    return original_start(data)


def stop_execution(data: dict[str, Any]) -> Any:
    answer = original_stop(data)
    execution = sf._executions.get(data.get("executionArn"))
    if execution and execution["status"] == "ABORTED":
        interrupt(execution)
    return answer


def run_execution(arn: str) -> None:
    """Run an execution to its end, in a thread of its own."""
    execution: Execution | None = sf._executions.get(arn)
    if not execution:
        return
    machine = sf._state_machines.get(execution["stateMachineArn"])
    if not machine:
        fail_execution(execution, "StateMachineDeleted", "State machine no longer exists")
        return
    execution["events"][0]["previousEventId"] = 0
    definition = json.loads(machine["definition"])
    if limit := definition.get("TimeoutSeconds"):
        execution["_deadline"] = time.monotonic() + limit
    data = json.loads(execution["input"])
    context = {
        "QueryLanguage": "JSONPath",
        "Execution": {
            "Id": arn,
            "Input": data,
            "Name": execution["name"],
            "StartTime": execution["startDate"],
            "RoleArn": machine.get("roleArn", ""),
            "RedriveCount": 0,
        },
        "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine["name"]},
        "variables": {},
    }
    try:
        output = json.dumps(run_states(definition["States"], definition["StartAt"], data, execution, context))
        _end(execution, "SUCCEEDED", "ExecutionSucceeded", {"executionSucceededEventDetails": {"output": output}}, output=output)
    except Ended:
        details = {"executionTimedOutEventDetails": {"error": "States.Timeout"}}
        _end(execution, "TIMED_OUT", "ExecutionTimedOut", details, error="States.Timeout")
    except TaskError as error:
        fail_execution(execution, error.error, error.cause)
    except Exception as error:
        sf.logger.exception("unexpected error in %s", arn)
        fail_execution(execution, "States.Runtime", str(error))


def fail_execution(execution: Execution, error: str, cause: str) -> None:
    _end(
        execution, "FAILED", "ExecutionFailed", {"executionFailedEventDetails": {"error": error, "cause": cause}}, error=error, cause=cause
    )


def _end(execution: Execution, status: str, event: str, details: dict[str, Any], **result: str) -> None:
    if execution["status"] != "RUNNING":
        return
    execution.update(result, status=status, stopDate=sf.now_iso())
    add_event(execution, event, details)
    sf._emit_execution_status_event(execution)


def run_states(states: dict[str, Any], start: str, data: Any, execution: Execution, context: dict[str, Any]) -> Any:
    """Run a workflow, a branch or an iteration from `start` and return its output. Raises `TaskError`, or `Ended` when stopped."""
    # Branches run at the same time: each needs a context of its own to keep its state in.
    context = dict(context)
    data = copy.deepcopy(data)
    name: str | None = start
    with within(execution):
        while name:
            check(execution)
            data, name = _run_state(states, name, data, execution, context)
    return data


def _run_state(states: dict[str, Any], name: str, data: Any, execution: Execution, context: dict[str, Any]) -> tuple[Any, str | None]:
    if name not in states:
        raise TaskError("States.Runtime", f"State '{name}' not found in definition")
    state = states[name]
    kind = state["Type"]
    context["State"] = {"Name": name, "EnteredTime": sf.now_iso(), "RetryCount": 0}
    add_event(execution, f"{kind}StateEntered", {"stateEnteredEventDetails": {"name": name, "input": json.dumps(data)}})
    following: str | None = None
    if kind == "Fail":
        raise TaskError(*sf._fail_state_error(state, data, context))
    if kind == "Succeed":
        data = sf._apply_output_path(state, sf._apply_input_path(state, data, context), context)
    elif kind in ("Task", "Parallel", "Map"):
        run = {"Task": sf._execute_task, "Parallel": sf._execute_parallel, "Map": sf._execute_map}[kind]
        data, following = run(state, data, execution, context)
    else:
        run = {"Pass": sf._execute_pass, "Choice": sf._execute_choice, "Wait": sf._execute_wait}[kind]
        data, following = run(state, data, context)
    output = json.dumps(data)
    if len(output.encode()) > LARGEST_PAYLOAD:
        cause = f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
        raise TaskError("States.DataLimitExceeded", cause)
    check(execution)
    add_event(execution, f"{kind}StateExited", {"stateExitedEventDetails": {"name": name, "output": output}})
    return data, following


def sleep(seconds: float) -> None:
    pause(current.get(), seconds)


def sleep_until(timestamp: str) -> None:
    moment = sf._parse_ts(timestamp)
    if moment is None:
        raise TaskError("States.Runtime", f"The value '{timestamp}' is not a valid ISO-8601 timestamp")
    sleep(max(0.0, moment.timestamp() - time.time()))
