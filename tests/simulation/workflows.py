"""Step Functions in virtual time: runs the definitions in statemachines/."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.simulation.queues import FakeSQS
from tests.simulation.scheduler import Signal, VirtualScheduler
from tests.support.fakes.errors import Cross, refused

TIMEOUTS = ("States.Timeout", "States.HeartbeatTimeout")


class TaskError(Exception):
    """An error as a state's Retry and Catch see it."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class Execution:
    """One execution, with the facts that its history would show."""

    name: str
    status: str = "RUNNING"
    states: list[str] = field(default_factory=list)
    entered: list[float] = field(default_factory=list)
    """When it entered each of `states`."""
    transitions: int = 0
    waits: int = 0
    timeouts: int = 0
    output: Any = None
    stopped: Signal = field(default_factory=Signal)
    children: list[Execution] = field(default_factory=list)
    tokens: dict[str, Signal] = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)
    """Where it was when it was written down; empty once it went on."""


class StoppedError(Exception):
    """An execution was stopped in the middle of a state."""


class FakeStepFunctions:
    """Runs the definitions, by state machine ARN: Task (queue with token, Lambda), Choice, Wait until, Pass, Fail, Succeed, Map, with
    Retry and Catch.

    `invoke(name, payload)` runs a Lambda function, `throttle(operation)` raises if a call is to be refused. A Map is a distributed one,
    whose `read(parameters)` gives its items.
    """

    def __init__(
        self,
        scheduler: VirtualScheduler,
        rng: random.Random,
        cross: Cross,
        definitions: Mapping[str, Mapping[str, Any]],
        sqs: FakeSQS,
        invoke: Callable[[str, Any], Any],
        read: Callable[[Mapping[str, Any]], list[Any]] = lambda parameters: [],
        throttle: Callable[[str], None] = lambda operation: None,
    ) -> None:
        self.scheduler, self._rng, self._cross, self._sqs, self._invoke, self._read = scheduler, rng, cross, sqs, invoke, read
        self._definitions, self._throttle = definitions, throttle
        self.executions: dict[str, Execution] = {}
        self.children: dict[str, list[Execution]] = {}
        self.most_children: Counter[str] = Counter()
        self._results: dict[str, Any] = {}
        self._open: dict[str, Signal] = {}
        self._heard: dict[str, float] = {}
        self._tokens = itertools.count()

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._throttle("StartExecution")
            if name in self.executions:
                raise refused("StartExecution", "ExecutionAlreadyExists")
            execution = self.executions[name] = Execution(name)
            self.scheduler.spawn(lambda: self._run(execution, self._definitions[stateMachineArn], json.loads(input)))
            return {}

        return self._cross("StartExecution", effect)  # type: ignore[no-any-return]

    def resume(self, kept: Mapping[str, Any], definition: Mapping[str, Any]) -> None:
        """Continue an execution that was stored earlier, with the definition that it was started with.

        `kept`: name, status and, while it runs, `state` and `input`; of a Task `entered`, `retries` by retrier, and `token` with
        `times_out_at` while it waits or `retries_at` before its next try; of a Map `items_left`, `items_failed` and `children`, those that
        run. Times are Unix seconds.
        """
        execution = self.executions[kept["name"]] = Execution(kept["name"], kept["status"], kept=kept)
        if execution.status == "RUNNING":
            self.scheduler.spawn(lambda: self._run(execution, definition, kept["input"]))

    def stop_execution(self, *, executionArn: str, error: str = "", cause: str = "") -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._throttle("StopExecution")
            name = executionArn.rsplit(":", 1)[1]
            if name not in self.executions or self.executions[name].status != "RUNNING":
                raise refused("StopExecution", "ExecutionDoesNotExist")
            self._stop(self.executions[name])
            return {}

        return self._cross("StopExecution", effect)  # type: ignore[no-any-return]

    def _stop(self, execution: Execution) -> None:
        """Stop it. A function that is running for it continues to its end, and no state follows."""
        if execution.status != "RUNNING":
            return
        execution.status = "ABORTED"
        self.scheduler.fire(execution.stopped)
        for token, signal in execution.tokens.items():
            self._open.pop(token, None)
            self.scheduler.fire(signal)
        for child in execution.children:
            self._stop(child)

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._throttle("DescribeExecution")
            name = executionArn.rsplit(":", 1)[1]
            if name not in self.executions:
                raise refused("DescribeExecution", "ExecutionDoesNotExist")
            return {"status": self.executions[name].status}

        return self._cross("DescribeExecution", effect)  # type: ignore[no-any-return]

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._throttle("SendTaskSuccess")
            signal = self._open.pop(taskToken, None)
            if signal is None:
                raise refused("SendTaskSuccess", "TaskTimedOut")
            self._results[taskToken] = json.loads(output)
            self.scheduler.fire(signal)
            return {}

        return self._cross("SendTaskSuccess", effect)  # type: ignore[no-any-return]

    def send_task_heartbeat(self, *, taskToken: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._throttle("SendTaskHeartbeat")
            if taskToken not in self._open:
                raise refused("SendTaskHeartbeat", "TaskTimedOut")
            self._heard[taskToken] = self.scheduler.now
            return {}

        return self._cross("SendTaskHeartbeat", effect)  # type: ignore[no-any-return]

    def send_task_failure(self, *, taskToken: str, error: str, cause: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._throttle("SendTaskFailure")
            signal = self._open.pop(taskToken, None)
            if signal is None:
                raise refused("SendTaskFailure", "TaskTimedOut")
            self._results[taskToken] = TaskError(error)
            self.scheduler.fire(signal)
            return {}

        return self._cross("SendTaskFailure", effect)  # type: ignore[no-any-return]

    def _run(self, execution: Execution, definition: Mapping[str, Any], data: Any) -> None:
        name: str | None = execution.kept["state"] if execution.kept else definition["StartAt"]
        try:
            while name is not None:
                execution.transitions += 1
                execution.states.append(name)
                execution.entered.append(self.scheduler.now)
                data, name = self._enter(execution, definition["States"][name], data)
                execution.kept = {}
                if execution.stopped.set_:
                    return
            execution.status, execution.output = "SUCCEEDED", data
        except StoppedError:
            pass
        except TaskError as error:
            if not execution.stopped.set_:
                execution.status, execution.output = "FAILED", error.error

    def _enter(self, execution: Execution, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        kind = state["Type"]
        if kind == "Choice":
            for choice in state["Choices"]:
                wanted = choice["StringEquals"] if "StringEquals" in choice else choice["BooleanEquals"]
                if _path(choice["Variable"], data, {}) == wanted:
                    return data, choice["Next"]
            return data, state["Default"]
        if kind == "Wait":
            execution.waits += 1
            until = datetime.fromisoformat(_path(state["TimestampPath"], data, {})).timestamp()
            self.scheduler.wait(execution.stopped, until - self.scheduler.now)
            return data, state["Next"]
        if kind == "Pass":
            return _ended(state, data, _parameters(state["Parameters"], data, {})), state.get("Next")
        if kind == "Succeed":
            return data, None
        if kind == "Fail":
            raise TaskError(state["Error"])
        if kind == "Map":
            tries: dict[int, int] = {}
            while True:
                try:
                    self._map(execution, state, data)
                    return data, state["Next"]
                except TaskError as error:
                    pause = self._retry(state, error, tries)
                    if pause is None:
                        raise
                if self.scheduler.wait(execution.stopped, pause):
                    raise StoppedError
        return self._task(execution, state, data)

    def _map(self, execution: Execution, state: Mapping[str, Any], data: Any) -> None:
        """Run a child for each item, as many at once as the state allows."""
        label = state["Label"]
        reader = state.get("ItemReader")
        items = self._read(_parameters(reader["Parameters"], data, {})) if reader else _path(state["ItemsPath"], data, {})
        most = state["MaxConcurrency"] if "MaxConcurrency" in state else _path(state["MaxConcurrencyPath"], data, {})
        children = self.children.setdefault(label, [])
        kept, execution.kept = execution.kept, {}
        resumed = list(kept.get("children", ()))
        number, left, failed, ended = len(items), iter(kept.get("items_left", items)), kept.get("items_failed", 0), Signal()
        running = min(most, len(kept["items_left"]) + len(resumed) if kept else number)
        self.most_children[label] = max(self.most_children[label], running)

        def run(given: Any, kept: Mapping[str, Any]) -> None:
            nonlocal failed
            children.append(child := Execution(f"{label}-{len(children)}", kept=kept))
            execution.children.append(child)
            self._run(child, state["ItemProcessor"], given)
            failed += child.status == "FAILED"

        def work() -> None:
            nonlocal running
            while resumed:
                child = resumed.pop(0)
                run(child["input"], child)
            for item in left:
                if execution.stopped.set_:
                    break
                run(_parameters(state["ItemSelector"], data, {"Map": {"Item": {"Value": item}}}), {})
            running -= 1
            if not running:
                self.scheduler.fire(ended)

        for _ in range(running):
            self.scheduler.spawn(work)
        if running:
            self.scheduler.wait(ended, 10**9)
        if failed * 100 > state["ToleratedFailurePercentage"] * number:
            raise TaskError("States.ExceedToleratedFailureThreshold")

    def _task(self, execution: Execution, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        kept = execution.kept
        entered = kept.get("entered") or datetime.fromtimestamp(self.scheduler.now).astimezone().isoformat()
        tries: dict[int, int] = {int(number): count for number, count in kept.get("retries", {}).items()}
        if "retries_at" in kept:
            self.scheduler.sleep(kept["retries_at"] - self.scheduler.now)
        while True:
            if execution.stopped.set_:
                raise StoppedError
            context = {
                "State": {"EnteredTime": entered, "RetryCount": sum(tries.values())},
                "Task": {"Token": kept.get("token") or f"token-{next(self._tokens)}"},
            }
            try:
                result = self._call(execution, state, data, context, kept.get("times_out_at"))
            except TaskError as error:
                kept = {}
                execution.timeouts += error.error in TIMEOUTS
                pause = self._retry(state, error, tries)
                if pause is not None:
                    execution.transitions += 1
                    self.scheduler.sleep(pause)
                    continue
                for catch in state.get("Catch", ()):
                    if "States.ALL" in catch["ErrorEquals"] or error.error in catch["ErrorEquals"]:
                        return _put(catch["ResultPath"], data, {"Error": error.error, "Cause": ""}), catch["Next"]
                raise
            if "ResultSelector" in state:
                result = _parameters(state["ResultSelector"], result, {})
            return _ended(state, data, result), state.get("Next")

    def _call(
        self, execution: Execution, state: Mapping[str, Any], data: Any, context: Mapping[str, Any], times_out_at: float | None
    ) -> Any:
        parameters = _parameters(state["Parameters"], data, context)
        if state["Resource"].endswith("lambda:invoke"):
            return {"Payload": self._invoke(parameters["FunctionName"], parameters["Payload"]), "StatusCode": 200}
        token, signal = context["Task"]["Token"], Signal()
        self._open[token] = execution.tokens[token] = signal
        if times_out_at is None:
            self._sqs.send_message(QueueUrl=parameters["QueueUrl"], MessageBody=json.dumps(parameters["MessageBody"]))
        self._heard[token] = self.scheduler.now
        ends = times_out_at or self.scheduler.now + _path(state["TimeoutSecondsPath"], data, {})
        heartbeat = _path(state["HeartbeatSecondsPath"], data, {}) if "HeartbeatSecondsPath" in state else 10**9
        while not self.scheduler.wait(signal, min(ends, self._heard[token] + heartbeat) - self.scheduler.now):
            if self.scheduler.now >= min(ends, self._heard[token] + heartbeat):
                self._open.pop(token, None)
                raise TaskError("States.Timeout" if self.scheduler.now >= ends else "States.HeartbeatTimeout")
        if execution.stopped.set_:
            raise StoppedError
        result = self._results.pop(token)
        if isinstance(result, TaskError):
            raise result
        return result

    def _retry(self, state: Mapping[str, Any], error: TaskError, tries: dict[int, int]) -> float | None:
        for number, retrier in enumerate(state.get("Retry", ())):
            if error.error in retrier["ErrorEquals"] or "States.ALL" in retrier["ErrorEquals"]:
                count = tries.get(number, 0)
                if count >= retrier["MaxAttempts"]:
                    return None
                tries[number] = count + 1
                longest = min(retrier.get("MaxDelaySeconds", 10**9), retrier["IntervalSeconds"] * retrier["BackoffRate"] ** count)
                return self._rng.uniform(0, longest)
        return None


def _path(path: str, data: Any, context: Mapping[str, Any]) -> Any:
    if call := re.fullmatch(r"States\.(Format|MathAdd)\((.*)\)", path):
        name, first, *more = call[1], *re.split(r", *", call[2])
        values = [_path(each, data, context) if each.startswith("$") else int(each) for each in more]
        return _path(first, data, context) + values[0] if name == "MathAdd" else first.strip("'").format(*values)
    found: Any = context if path.startswith("$$.") else data
    for part in re.sub(r"^\$+\.?", "", path).split("."):
        found = found[part] if part else found
    return found


def _ended(state: Mapping[str, Any], data: Any, result: Any) -> Any:
    """A state's output, given its input and its result."""
    place = state.get("ResultPath", "$")
    output = data if place is None else result if place == "$" else _put(place, data, result)
    return _path(state["OutputPath"], output, {}) if "OutputPath" in state else output


def _put(path: str | None, data: Any, value: Any) -> Any:
    return data if path is None else {**data, path.removeprefix("$."): value}


def _parameters(template: Any, data: Any, context: Mapping[str, Any]) -> Any:
    if not isinstance(template, Mapping):
        return template
    return {
        name.removesuffix(".$"): _path(value, data, context) if name.endswith(".$") else _parameters(value, data, context)
        for name, value in template.items()
    }
