"""The workflows on three interpreters that know nothing of each other: moto's, the embedded AWS's, and the simulation's own.

    make workflows          prints which states each outcome enters, on each of them

A scenario says what the queue's workers and the functions answer, call by call. Everything else is the definition's doing.
"""

from __future__ import annotations

import copy
import io
import itertools
import json
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
from botocore.exceptions import ClientError
from moto import mock_aws

from local.aws.paths import ROOT
from tests.simulation.scheduler import VirtualScheduler
from tests.simulation.workflows import FakeStepFunctions, TaskError

REGION = "us-east-1"
FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:"
SILENCE = "silence"
"""A worker that does not answer: the state's heartbeat or time-out ends the wait."""
UNREACHABLE = "unreachable"
"""The queue cannot be reached."""
LONG_AGO = "2026-01-01T00:00:00Z"
"""What is waited for until then is over at once."""
GONE = "RefreshTimedOut"

READY = {"outcome": "ready", "snapshot": "fcaowns_1"}
COOLING = {"outcome": "cooling_down", "resume_at": LONG_AGO}
INACTIVE = {"outcome": "inactive", "reason": "account_inactive", "seconds": 6000, "resume_at": LONG_AGO}
HARDLY_WAITS = {**INACTIVE, "seconds": 1}
HOPELESS = {"outcome": "not_verifiable", "reason": "account_closed"}


class FailsWith(str):
    """An error that a worker reports, or that a function raises."""


@dataclass(frozen=True)
class Scenario:
    """An outcome of a workflow. Answers are by verification for the queue and by step for the functions; after the last one, the usual."""

    name: str
    queue: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    functions: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    settle_timeout: int = 600
    longest_wait: int = 6000
    items: Mapping[str, list[Any]] = field(default_factory=dict)
    """What the Maps of `verify_batch` read, by the object's key."""


@dataclass(frozen=True)
class Run:
    """What became of a scenario: the states entered, how it ended, and how often each call was made."""

    states: tuple[str, ...]
    status: str
    calls: Mapping[str, int]
    children: Mapping[str, int]
    """How often the children of its Maps entered each state."""
    events: int = field(default=0, compare=False)
    """The length of its history, where there is one."""


class Answers:
    """The world around one run of a scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.calls: Counter[str] = Counter()
        self._left = {name: iter(answers) for name, answers in (*scenario.queue.items(), *scenario.functions.items())}

    def message(self, body: Mapping[str, Any]) -> Any:
        verification = body["verification"].rpartition(":")[2]
        self.calls[f"{verification}{' awaits repair' if body.get('awaits') else ''}"] += 1
        return next(self._left.get(verification, iter(())), READY)

    def function(self, payload: Mapping[str, Any]) -> Any:
        step = payload.get("step", "verdict")
        self.calls[step] += 1
        return next(self._left.get(step, iter(())), USUAL[step])


def repeated(answer: Any, times: int, *then: Any) -> tuple[Any, ...]:
    return (*itertools.repeat(answer, times), *then)


USUAL: dict[str, Any] = {
    "verdict": {"outcome": "match"},
    "plan": {"imported": False, "blocks": [{"number": 0}, {"number": 1}], "pass": 0},
    "scan": None,
    "cut": {"usable": True},
    "import": None,
    "imported": {"next": "verify", "pass": 1, "at": LONG_AGO, "since": None},
    "collect": None,
    "tally": {"next": "summarise", "pass": 1, "at": LONG_AGO, "since": None},
    "summarise": {"state": "done"},
}
ONE = "ver_1"
ACCOUNT = (
    Scenario("fresh owners"),
    Scenario("waits for a cooldown", {ONE: (COOLING, READY)}),
    Scenario("waits for two cooldowns", {ONE: (COOLING, COOLING, READY)}),
    Scenario("webhook lost: the heartbeat fails", {ONE: (SILENCE, READY)}, settle_timeout=1),
    Scenario("nobody answers for the longest wait", {ONE: (SILENCE, READY)}, longest_wait=3),
    Scenario("deadline", {ONE: (FailsWith(GONE),)}),
    Scenario("deadline after a cooldown", {ONE: (COOLING, FailsWith(GONE))}),
    Scenario("not verifiable", {ONE: (HOPELESS,)}),
    Scenario("outcome of a later release", {ONE: ({"outcome": "something new"},)}),
    Scenario("worker fails once", {ONE: (FailsWith("ValueError"), READY)}),
    Scenario("worker fails for good", {ONE: repeated(FailsWith("ValueError"), 9)}),
    Scenario("queue is unreachable once", {ONE: (UNREACHABLE, READY)}),
    Scenario("queue is unreachable for good", {ONE: repeated(UNREACHABLE, 9)}),
    Scenario("repaired", {ONE: (INACTIVE, {"outcome": "repaired"}, READY)}),
    Scenario("repaired, and cools down", {ONE: (INACTIVE, {"outcome": "repaired"}, COOLING, READY)}),
    Scenario("not repaired until the deadline", {ONE: (HARDLY_WAITS, SILENCE)}),
    Scenario("gone while it waits for a repair", {ONE: (INACTIVE, FailsWith(GONE))}),
    Scenario("worker fails while it waits for a repair", {ONE: (INACTIVE, FailsWith("ValueError"), {"outcome": "repaired"}, READY)}),
    Scenario("worker always fails while it waits for a repair", {ONE: (INACTIVE, *repeated(FailsWith("ValueError"), 9))}),
    Scenario("verdict fails once", {}, {"verdict": (FailsWith("ValueError"),)}),
    Scenario("verdict fails for good", {}, {"verdict": repeated(FailsWith("ValueError"), 21)}),
    Scenario("not verifiable, which fails once", {ONE: (HOPELESS,)}, {"verdict": (FailsWith("ValueError"),)}),
    Scenario("not verifiable, which fails for good", {ONE: (HOPELESS,)}, {"verdict": repeated(FailsWith("ValueError"), 21)}),
)
RANGES = [{"range": 0}, {"range": 1}]
ONE_BLOCK = {"imported": False, "blocks": [{"number": 0}], "pass": 0}
WAITING = {"next": "wait", "pass": 2, "at": LONG_AGO, "since": None}
AGAIN = {"next": "verify", "pass": 2, "at": LONG_AGO, "since": None}


@cache
def definition(name: str) -> dict[str, Any]:
    """A workflow with its substitutions filled in."""
    text = (ROOT / "statemachines" / f"{name}.asl.json").read_text()
    known = {"Partition": "aws", "RefreshQueueUrl": "queue", "Bucket": "bucket"}
    filled = re.sub(r"\$\{(\w+)\}", lambda found: known.get(found[1], FUNCTION + found[1]), text)
    return json.loads(filled)  # type: ignore[no-any-return]


def todo(*verifications: str) -> list[Any]:
    return [{"verification": each, "ref": {}, "not_before": 0, "requested_at": 0, "deadline": 0} for each in verifications]


def _child_tries(map_: str) -> int:
    """How often a child of the Map tries its only state."""
    [state] = definition("verify_batch")["States"][map_]["ItemProcessor"]["States"].values()
    return 1 + sum(int(retry["MaxAttempts"]) for retry in state["Retry"])


BATCH_OF_TWO = tuple(
    Scenario(name, queue, functions, items={"ranges": RANGES, "todo": todo("ver_1", "ver_2")})
    for name, queue, functions in (
        ("all are verified", {}, {}),
        ("one cools down until the next pass", {"ver_2": (COOLING, READY)}, {"tally": (AGAIN,)}),
        ("one is not verifiable, one past its deadline", {"ver_1": (HOPELESS,), "ver_2": (FailsWith(GONE),)}, {}),
        ("one's worker fails once", {"ver_1": (FailsWith("ValueError"), READY)}, {}),
        ("nothing to verify before a cooldown ends", {}, {"imported": (WAITING,)}),
        ("nothing to verify", {}, {"imported": ({"next": "summarise"},)}),
        ("manifest cannot be used", {}, {"cut": ({"usable": False},)}),
        ("manifest is missing", {}, {"plan": (FailsWith("ManifestError"),)}),
        ("broken off before, imported already", {}, {"plan": ({"imported": True, "pass": 1},)}),
        ("steps fail once", {}, {step: (FailsWith("ValueError"),) for step in ("plan", "cut", "imported", "tally", "summarise")}),
        ("ranges fail once", {}, {step: (FailsWith("ValueError"),) for step in ("scan", "import", "collect")}),
        ("summary fails for good", {}, {"summarise": repeated(FailsWith("ValueError"), 11)}),
    )
)
# With one range, the order of its tries is certain.
BATCH = (
    *BATCH_OF_TWO,
    *(
        Scenario(
            f"{step} {how}",
            {},
            {"plan": (ONE_BLOCK,), step: repeated(FailsWith("ValueError"), fails)},
            items={"ranges": RANGES[:1], "todo": todo(ONE)},
        )
        for map_, step in (("Scan", "scan"), ("Import", "import"), ("Collect", "collect"))
        for how, fails in (
            ("fails until the Map is run again", _child_tries(map_)),
            ("fails for good", _child_tries(map_) * (1 + definition("verify_batch")["States"][map_]["Retry"][0]["MaxAttempts"])),
        )
    ),
)


def given(scenario: Scenario) -> dict[str, Any]:
    """The input of a scenario's execution, for either workflow."""
    times = {
        "settle_timeout": scenario.settle_timeout,
        "longest_wait": scenario.longest_wait,
        "not_before": 0,
        "requested_at": 0,
        "deadline": 0,
    }
    alone = {"verification": ONE, "ref": {}, "priority": "single", "refresh": {"resume_at": None}}
    return {**times, **alone, "batch": "bat_1", "concurrency": 2, "items": dict(scenario.items)}


def named_after(run: str, scenario: Scenario) -> dict[str, Any]:
    """The input of a scenario's execution beside others: its verifications and its batch are named after the run."""
    data = given(scenario)
    data |= {"verification": f"{run}:{ONE}", "batch": run}
    data["items"]["todo"] = [{**item, "verification": f"{run}:{item['verification']}"} for item in scenario.items.get("todo", ())]
    return data


def on_simulation(name: str, scenario: Scenario) -> Run:
    """Run a scenario on the simulation's interpreter, in virtual time."""
    answers, scheduler = Answers(scenario), VirtualScheduler(1_900_000_000.0)

    class Queue:
        def send_message(self, QueueUrl: str, MessageBody: str) -> None:
            body = json.loads(MessageBody)
            token, answer = body["task_token"], answers.message(body)
            if answer == UNREACHABLE:
                raise TaskError("SQS.SdkClientException")
            if isinstance(answer, FailsWith):
                scheduler.spawn(partial(workflows.send_task_failure, taskToken=token, error=answer, cause=""), 0.1)  # type: ignore[arg-type]
            elif answer != SILENCE:
                scheduler.spawn(partial(workflows.send_task_success, taskToken=token, output=json.dumps(answer)), 0.1)  # type: ignore[arg-type]

    def invoke(_: str, payload: Mapping[str, Any]) -> Any:
        answer = answers.function(payload)
        if isinstance(answer, FailsWith):
            raise TaskError(answer)
        return answer

    def read(parameters: Mapping[str, Any]) -> list[Any]:
        return scenario.items["todo" if "Prefix" in parameters else "ranges"]

    workflows = FakeStepFunctions(
        scheduler,
        random.Random(1),
        lambda _, effect: effect(),
        {name: definition(name)},
        Queue(),
        invoke,
        read,  # type: ignore[arg-type]
    )
    workflows.start_execution(stateMachineArn=name, name="run", input=json.dumps(given(scenario)))
    scheduler.run(scheduler.now + 10**8)
    run = workflows.executions["run"]
    children = Counter(state for each in itertools.chain.from_iterable(workflows.children.values()) for state in each.states)
    return Run(tuple(run.states), run.status, answers.calls, children)


TOLERANT = (
    # moto's interpreter tolerates no failed child.
    Scenario(
        "one's verdict fails for good",
        {},
        {"verdict": repeated(FailsWith("ValueError"), 21)},
        items={"ranges": RANGES[:1], "todo": todo(ONE)},
    ),
)
LACKS = {
    "ItemReader": "JSON Lines and LOAD_AND_FLATTEN are unknown to it, so the items are in the input",
    "DISTRIBUTED": "a failed child would not fail the Map, so Maps are INLINE",
    "EXPRESS": "unknown to it, and INLINE has no kinds",
    "ToleratedFailurePercentage": "unknown to it, so no failed child is tolerated",
    "ResultWriter": "without it",
}
"""What moto's interpreter does not understand, and what is done instead."""


def for_moto(machine: dict[str, Any]) -> dict[str, Any]:
    """A definition without what moto's interpreter lacks."""
    machine = copy.deepcopy(machine)
    for state in machine["States"].values():
        if state["Type"] == "Map":
            for name in ("ToleratedFailurePercentage", "ResultWriter", "Label"):
                state.pop(name, None)
            if reader := state.pop("ItemReader", None):
                state["ItemsPath"] = "$.items.todo" if "Prefix.$" in reader["Parameters"] else "$.items.ranges"
            state["ItemProcessor"]["ProcessorConfig"] = {"Mode": "INLINE"}
    return machine


@contextmanager
def moto_runs(name: str, within: float = 60) -> Iterator[Callable[[Scenario], Run]]:
    """Runs scenarios on moto's interpreter, one by one, in real time, except that pauses before a state is tried again are skipped."""
    from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
    from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_sqs
    from moto.stepfunctions.parser.asl.eval.callback.callback import CallbackEndpoint

    worlds: dict[str, Answers] = {}
    due: dict[str, Callable[[], Any]] = {}
    begin_heartbeats = CallbackEndpoint.setup_heartbeat_endpoint

    def world(data: Mapping[str, Any]) -> Answers:
        # Every call carries a verification or a batch, which is named after the run.
        return worlds[str(data.get("verification") or data["batch"]).partition(":")[0]]

    class Queue:
        def send_message(self, QueueUrl: str, MessageBody: str) -> dict[str, Any]:
            body = json.loads(MessageBody)
            token, answer = body["task_token"], world(body).message(body)
            if answer == UNREACHABLE:
                raise ClientError({"Error": {"Code": "Unreachable", "Message": ""}}, "SendMessage")
            if isinstance(answer, FailsWith):
                due[token] = lambda: states.send_task_failure(taskToken=token, error=answer, cause="")
            elif answer != SILENCE:
                due[token] = lambda: states.send_task_success(taskToken=token, output=json.dumps(answer))
            if body.get("awaits") and token in due:
                due.pop(token)()
            return {"MessageId": "id"}

    def heartbeats(self: Any, heartbeat_seconds: int) -> Any:
        # An answer that comes before is not heard, and the heartbeat would fail.
        begun = begin_heartbeats(self, heartbeat_seconds)
        if answer := due.pop(self.callback_id, None):
            answer()
        return begun

    class Lambda:
        def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
            payload = json.loads(Payload)
            answer = world(payload).function(payload)
            failed = isinstance(answer, FailsWith)
            body = {"errorType": answer, "errorMessage": ""} if failed else answer
            return {
                "StatusCode": 200,
                "Payload": io.BytesIO(json.dumps(body).encode()),
                **({"FunctionError": "Unhandled"} if failed else {}),
            }

    with ExitStack() as exits:
        exits.enter_context(mock_aws(config={"stepfunctions": {"execute_state_machine": True}}))
        exits.enter_context(patch.object(retrier_decl, "time", SimpleNamespace(sleep=lambda _: None)))
        exits.enter_context(patch.object(state_task_service_sqs, "boto_client_for", lambda **_: Queue()))
        exits.enter_context(patch.object(lambda_eval_utils, "boto_client_for", lambda **_: Lambda()))
        exits.enter_context(patch.object(CallbackEndpoint, "setup_heartbeat_endpoint", heartbeats))
        states = boto3.client("stepfunctions", REGION, aws_access_key_id="x", aws_secret_access_key="x")
        machine = states.create_state_machine(
            name=name, definition=json.dumps(for_moto(definition(name))), roleArn="arn:aws:iam::123456789012:role/any"
        )["stateMachineArn"]
        numbers = itertools.count()

        def run_of(scenario: Scenario) -> Run:
            run = f"run-{next(numbers)}"
            worlds[run] = Answers(scenario)
            data = json.dumps(named_after(run, scenario))
            execution = states.start_execution(stateMachineArn=machine, name=run, input=data)["executionArn"]
            deadline = time.monotonic() + within
            while (status := states.describe_execution(executionArn=execution)["status"]) == "RUNNING" and time.monotonic() < deadline:
                time.sleep(0.02)
            events = states.get_execution_history(executionArn=execution, maxResults=1000)["events"]
            entered = [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]
            own = tuple(state for state in entered if state in definition(name)["States"])
            children = Counter(state for state in entered if state not in own)
            return Run(own, status, worlds[run].calls, children, len(events))

        yield run_of


@contextmanager
def embedded_runs(name: str, within: float = 60) -> Iterator[Callable[[Scenario], Run]]:
    """Runs scenarios on the embedded AWS's interpreter, without its services: the definition as it is, pauses and waits without time."""
    from ministack.services import stepfunctions as sf

    from local.aws.shims import workflow_distributed_map, workflow_execution, workflow_paths, workflow_task
    from local.aws.shims._workflow import lineage

    worlds: dict[str, Answers] = {}
    entered: dict[str, tuple[list[str], Counter[str]]] = {}
    scenarios: dict[str, Scenario] = {}
    numbers = itertools.count()
    run_state = workflow_execution._run_state

    def of(execution: Mapping[str, Any]) -> str:
        return str(list(lineage(dict(execution)))[-1]["name"])

    def record(states: Any, state: str, data: Any, execution: Any, context: Any) -> Any:
        own, children = entered[of(execution)]
        if "_parent" in execution:
            children[state] += 1
        else:
            own.append(state)
        return run_state(states, state, data, execution, context)

    def invoke(resource: str, parameters: Any) -> Any:
        if resource.endswith("lambda:invoke"):
            payload = parameters["Payload"]
            run = str(payload.get("verification") or payload["batch"]).partition(":")[0]
            answer = worlds[run].function(payload)
            if isinstance(answer, FailsWith):
                raise sf._ExecutionError(answer, "")
            return {"Payload": answer, "StatusCode": 200}
        body = parameters["MessageBody"]
        answer = worlds[body["verification"].partition(":")[0]].message(body)
        if answer == UNREACHABLE:
            raise sf._ExecutionError("SQS.SdkClientException", "")
        if isinstance(answer, FailsWith):
            workflow_task.send_failure({"taskToken": body["task_token"], "error": answer})
        elif answer != SILENCE:
            workflow_task.send_success({"taskToken": body["task_token"], "output": json.dumps(answer)})
        return {"MessageId": "id"}

    def read(reader: Mapping[str, Any], data: Mapping[str, Any], context: Mapping[str, Any]) -> list[Any]:
        kind = "todo" if "Prefix.$" in reader["Parameters"] else "ranges"
        return list(data["items"][kind])

    def restore(handlers: list[logging.Handler], level: int) -> None:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)

    with ExitStack() as exits:
        # MiniStack sets up the root logger with the first execution.
        exits.callback(restore, [*logging.getLogger().handlers], logging.getLogger().level)
        # What the shims replace in MiniStack's interpreter is given back.
        exits.enter_context(
            patch.multiple(sf, **{each: getattr(sf, each) for each in vars(sf) if each.startswith("_") and callable(getattr(sf, each))})
        )
        for shim in (workflow_execution, workflow_paths, workflow_task, workflow_distributed_map):
            shim.apply()
        for module, function, instead in (
            (workflow_execution, "_run_state", record),
            (workflow_distributed_map, "_put", lambda *_: {}),
            (sf, "_invoke_resource", invoke),
            (sf, "_read_map_items", read),
            (sf, "_scaled_sleep", lambda _: None),
            (sf, "_emit_execution_status_event", lambda _: None),
        ):
            exits.enter_context(patch.object(module, function, instead))
        machine = f"arn:aws:states:{REGION}:000000000000:stateMachine:{name}"
        text = json.dumps(definition(name))
        sf._state_machines[machine] = {"stateMachineArn": machine, "name": name, "definition": text, "type": "STANDARD", "roleArn": ""}

        def run_of(scenario: Scenario) -> Run:
            run = f"run-{next(numbers)}"
            scenarios[run], worlds[run], entered[run] = scenario, Answers(scenario), ([], Counter())
            status, _, answer = sf._start_execution(
                {"stateMachineArn": machine, "name": run, "input": json.dumps(named_after(run, scenario))}
            )
            assert status == 200, answer
            execution = sf._executions[json.loads(answer)["executionArn"]]
            deadline = time.monotonic() + within
            while execution["status"] == "RUNNING" and time.monotonic() < deadline:
                time.sleep(0.01)
            own, children = entered[run]
            return Run(tuple(own), execution["status"], worlds[run].calls, children, len(execution["events"]))

        yield run_of


def _shown(run: Run) -> str:
    inside = ", ".join(f"{number} {state}" for state, number in sorted(run.children.items()))
    return f"{run.status:9} {' '.join(run.states)}{f' · children: {inside}' if inside else ''}"


def main() -> None:
    # The interpreters log each failure, which a scenario means to happen.
    logging.disable(logging.CRITICAL)
    print(f"moto's interpreter lacks, and so: {'; '.join(f'{name}: {instead}' for name, instead in LACKS.items())}\n")
    for name, scenarios in (("verify_account", ACCOUNT), ("verify_batch", BATCH)):
        with moto_runs(name) as on_moto, embedded_runs(name) as embedded:
            for scenario in scenarios:
                here = on_simulation(name, scenario)
                print(f"{name} · {scenario.name}\n  simulation  {_shown(here)}")
                for place, there in (("moto", on_moto(scenario)), ("embedded", embedded(scenario))):
                    print(f"  {place:10}  {'the same' if here == there else _shown(there)}")


if __name__ == "__main__":
    main()
