"""The rest of AWS in memory: queues that deliver, a workflow engine that reads our definition, a bus, secrets."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.simulation.fake_dynamodb import refused
from tests.simulation.hub import Hub, Signal

Cross = Callable[[str, Callable[[], Any]], Any]
MOST_RECEIVES = 8
VISIBILITY_SECONDS = 120.0


@dataclass
class Message:
    """A message in a queue. `visible_at` moves when a consumer says so."""

    body: str
    id: str
    receives: int = 0
    visible_at: float = 0.0


class FakeSQS:
    """Queues by URL. `consumer(url, message)` processes one and tells whether it is done with."""

    def __init__(self, hub: Hub, rng: random.Random, cross: Cross) -> None:
        self.hub, self._rng, self._cross = hub, rng, cross
        self.consumers: dict[str, Callable[[Message], bool]] = {}
        self.dead: dict[str, list[str]] = {}
        self.duplicates = 0.0
        self.in_flight = 0
        self._by_handle: dict[str, Message] = {}
        self._ids = itertools.count()

    def send_message(
        self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0, MessageAttributes: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if QueueUrl not in self.consumers:
                self.dead.setdefault(QueueUrl, []).append(MessageBody)
                return {}
            copies = 1 + (self._rng.random() < self.duplicates)
            for _ in range(copies):
                message = Message(MessageBody, f"m{next(self._ids)}")
                self.in_flight += 1
                self.hub.spawn(lambda message=message: self._live(QueueUrl, message), DelaySeconds)  # type: ignore[misc]
            return {}

        return self._cross("SendMessage", effect)  # type: ignore[no-any-return]

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._by_handle[ReceiptHandle].visible_at = self.hub.now + VisibilityTimeout
            return {}

        return self._cross("ChangeMessageVisibility", effect)  # type: ignore[no-any-return]

    def _live(self, url: str, message: Message) -> None:
        while True:
            message.receives += 1
            if message.receives > MOST_RECEIVES:
                self.dead.setdefault(url + "-dead", []).append(message.body)
                break
            self._by_handle[message.id] = message
            message.visible_at = self.hub.now + VISIBILITY_SECONDS
            if self.consumers[url](message):
                break
            self.hub.sleep(message.visible_at - self.hub.now)
        self.in_flight -= 1


class TaskError(Exception):
    """An error as a state's Retry and Catch see it."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@dataclass
class Execution:
    """One execution, with what its history would tell."""

    name: str
    status: str = "RUNNING"
    transitions: int = 0
    waits: int = 0
    timeouts: int = 0
    output: Any = None
    tokens: dict[str, Signal] = field(default_factory=dict)


class FakeStepFunctions:
    """Runs one state machine's definition: Task (queue with token, Lambda), Choice on strings, Wait until, Retry, Catch."""

    def __init__(
        self, hub: Hub, rng: random.Random, cross: Cross, definition: Mapping[str, Any], sqs: FakeSQS, invoke: Callable[[Any], Any]
    ) -> None:
        self.hub, self._rng, self._cross, self._sqs, self._invoke = hub, rng, cross, sqs, invoke
        self._states, self._first = definition["States"], definition["StartAt"]
        self.executions: dict[str, Execution] = {}
        self._results: dict[str, Any] = {}
        self._open: dict[str, Signal] = {}
        self._tokens = itertools.count()

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if name in self.executions:
                raise refused("StartExecution", "ExecutionAlreadyExists")
            execution = self.executions[name] = Execution(name)
            self.hub.spawn(lambda: self._run(execution, json.loads(input)))
            return {}

        return self._cross("StartExecution", effect)  # type: ignore[no-any-return]

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            name = executionArn.rsplit(":", 1)[1]
            if name not in self.executions:
                raise refused("DescribeExecution", "ExecutionDoesNotExist")
            return {"status": self.executions[name].status}

        return self._cross("DescribeExecution", effect)  # type: ignore[no-any-return]

    def send_task_success(self, *, taskToken: str, output: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            signal = self._open.pop(taskToken, None)
            if signal is None:
                raise refused("SendTaskSuccess", "TaskTimedOut")
            self._results[taskToken] = json.loads(output)
            self.hub.fire(signal)
            return {}

        return self._cross("SendTaskSuccess", effect)  # type: ignore[no-any-return]

    def _run(self, execution: Execution, data: Any) -> None:
        name: str | None = self._first
        try:
            while name is not None:
                execution.transitions += 1
                data, name = self._enter(execution, self._states[name], data)
            execution.status, execution.output = "SUCCEEDED", data
        except TaskError as error:
            execution.status, execution.output = "FAILED", error.error

    def _enter(self, execution: Execution, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        kind = state["Type"]
        if kind == "Choice":
            for choice in state["Choices"]:
                if _path(choice["Variable"], data, {}) == choice["StringEquals"]:
                    return data, choice["Next"]
            return data, state["Default"]
        if kind == "Wait":
            execution.waits += 1
            until = datetime.fromisoformat(_path(state["TimestampPath"], data, {})).timestamp()
            self.hub.sleep(until - self.hub.now)
            return data, state["Next"]
        return self._task(execution, state, data)

    def _task(self, execution: Execution, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        entered = datetime.fromtimestamp(self.hub.now).astimezone().isoformat()
        tries: dict[int, int] = {}
        while True:
            context = {
                "State": {"EnteredTime": entered, "RetryCount": sum(tries.values())},
                "Task": {"Token": f"token-{next(self._tokens)}"},
            }
            try:
                result = self._call(state, data, context)
            except TaskError as error:
                execution.timeouts += error.error == "States.Timeout"
                pause = self._retry(state, error, tries)
                if pause is not None:
                    execution.transitions += 1
                    self.hub.sleep(pause)
                    continue
                for catch in state.get("Catch", ()):
                    if "States.ALL" in catch["ErrorEquals"] or error.error in catch["ErrorEquals"]:
                        return _put(catch["ResultPath"], data, {"Error": error.error, "Cause": ""}), catch["Next"]
                raise
            if state.get("OutputPath") == "$.Payload":
                data = result
            elif "ResultPath" in state:
                data = _put(state["ResultPath"], data, result)
            return data, state.get("Next")

    def _call(self, state: Mapping[str, Any], data: Any, context: Mapping[str, Any]) -> Any:
        parameters = _parameters(state["Parameters"], data, context)
        if state["Resource"].endswith("lambda:invoke"):
            return self._invoke(parameters["Payload"])
        token, signal = context["Task"]["Token"], Signal()
        self._open[token] = signal
        self._sqs.send_message(QueueUrl=parameters["QueueUrl"], MessageBody=json.dumps(parameters["MessageBody"]))
        if not self.hub.wait(signal, _path(state["TimeoutSecondsPath"], data, {})):
            self._open.pop(token, None)
            raise TaskError("States.Timeout")
        return self._results.pop(token)

    def _retry(self, state: Mapping[str, Any], error: TaskError, tries: dict[int, int]) -> float | None:
        for number, retrier in enumerate(state.get("Retry", ())):
            if error.error in retrier["ErrorEquals"] or "States.ALL" in retrier["ErrorEquals"]:
                count = tries.get(number, 0)
                if count >= retrier["MaxAttempts"]:
                    return None
                tries[number] = count + 1
                longest = min(retrier["MaxDelaySeconds"], retrier["IntervalSeconds"] * retrier["BackoffRate"] ** count)
                return self._rng.uniform(0, longest)
        return None


class FakeEvents:
    """The bus: keeps what was announced."""

    def __init__(self, cross: Cross) -> None:
        self._cross = cross
        self.announced: list[tuple[str, dict[str, Any]]] = []

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self.announced += [(entry["DetailType"], json.loads(entry["Detail"])) for entry in Entries]
            return {"FailedEntryCount": 0, "Entries": [{}]}

        return self._cross("PutEvents", effect)  # type: ignore[no-any-return]


class FakeSecrets:
    """Secrets by name: one version each."""

    def __init__(self, cross: Cross, values: Mapping[str, str]) -> None:
        self._cross, self.values = cross, dict(values)

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if VersionStage != "AWSCURRENT" or SecretId not in self.values:
                raise refused("GetSecretValue", "ResourceNotFoundException")
            return {"SecretString": self.values[SecretId]}

        return self._cross("GetSecretValue", effect)  # type: ignore[no-any-return]


class FakeKMS:
    """Data keys wrapped by nothing stronger than their encryption context, which has to be the same at both ends."""

    def __init__(self, cross: Cross = lambda operation, effect: effect()) -> None:
        self._cross = cross
        self._numbers = itertools.count(1)

    def generate_data_key(self, *, KeyId: str, KeySpec: str, EncryptionContext: Mapping[str, str]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            plain = next(self._numbers).to_bytes(32)
            return {"Plaintext": plain, "CiphertextBlob": plain + json.dumps(EncryptionContext, sort_keys=True).encode()}

        return self._cross("GenerateDataKey", effect)  # type: ignore[no-any-return]

    def decrypt(self, *, KeyId: str, CiphertextBlob: bytes, EncryptionContext: Mapping[str, str]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if CiphertextBlob[32:] != json.dumps(EncryptionContext, sort_keys=True).encode():
                raise refused("Decrypt", "InvalidCiphertextException")
            return {"Plaintext": CiphertextBlob[:32]}

        return self._cross("Decrypt", effect)  # type: ignore[no-any-return]


def _path(path: str, data: Any, context: Mapping[str, Any]) -> Any:
    found: Any = context if path.startswith("$$.") else data
    for part in re.sub(r"^\$+\.?", "", path).split("."):
        found = found[part] if part else found
    return found


def _put(path: str, data: Any, value: Any) -> Any:
    return {**data, path.removeprefix("$."): value}


def _parameters(template: Any, data: Any, context: Mapping[str, Any]) -> Any:
    if not isinstance(template, Mapping):
        return template
    return {
        name.removesuffix(".$"): _path(value, data, context) if name.endswith(".$") else _parameters(value, data, context)
        for name, value in template.items()
    }
