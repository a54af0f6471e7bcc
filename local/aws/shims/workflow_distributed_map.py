"""Step Functions Distributed Map: ResultWriter, `...Path` fields, any concurrency, and children that end with their parent."""

from __future__ import annotations

import contextvars
import json
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from ministack.services import s3
from ministack.services import stepfunctions as sf

from local.aws.shims._workflow import Execution, TaskError, add_event, check, live

LARGEST_CONCURRENCY = 1_000
STATUSES = (
    "pending",
    "running",
    "succeeded",
    "failed",
    "timedOut",
    "aborted",
    "total",
    "resultsWritten",
    "failuresNotRedrivable",
    "pendingRedrive",
)

original_run_map_items = sf._run_map_items


def apply() -> None:
    sf._run_map_items = run_map


def run_map(state: dict[str, Any], data: Any, execution: Execution, context: dict[str, Any]) -> tuple[Any, str | None]:
    if state["ItemProcessor"].get("ProcessorConfig", {}).get("Mode") != "DISTRIBUTED":
        return original_run_map_items(state, data, execution, context)  # type: ignore[no-any-return]
    result = MapRun(state, sf._apply_input_path(state, data, context), execution, context).run()
    output = sf._apply_result_path(state, data, sf._apply_result_selector(state, result))
    return sf._apply_output_path(state, output, context), sf._next_or_end(state)


class MapRun:
    """One run of a Distributed Map state: its items, its child executions, and their counts as DescribeMapRun shows them."""

    def __init__(self, state: dict[str, Any], data: Any, execution: Execution, context: dict[str, Any]) -> None:
        self.state, self.data, self.execution, self.context = state, data, execution, context
        self.processor = state["ItemProcessor"]
        self.express = self.processor["ProcessorConfig"].get("ExecutionType") == "EXPRESS"
        self.inputs = self._selected(self._items())
        self.tolerated_percentage = self._number("ToleratedFailurePercentage") or 0
        self.children: list[Execution | None] = [None] * len(self.inputs)
        self.lock = threading.Lock()
        self.failing = threading.Event()
        self.id = sf.new_uuid()
        machine = execution["stateMachineArn"].split(":")
        self.path = f"{machine[6]}/{state.get('Label') or context['State']['Name']}"
        self.prefix = f"arn:aws:states:{machine[3]}:{machine[4]}"
        self.record: dict[str, Any] = {
            "mapRunArn": f"{self.prefix}:mapRun:{self.path}:{self.id}",
            "executionArn": execution["executionArn"],
            "status": "RUNNING",
            "startDate": sf.now_iso(),
            "maxConcurrency": int(self._number("MaxConcurrency") or 0),
            "toleratedFailurePercentage": float(self.tolerated_percentage),
            "toleratedFailureCount": 0,
            "itemCounts": dict.fromkeys(STATUSES, 0) | {"total": len(self.inputs), "pending": len(self.inputs)},
            "executionCounts": dict.fromkeys(STATUSES, 0) | {"total": len(self.inputs), "pending": len(self.inputs)},
            "redriveCount": 0,
            "_stateMachineArn": f"{self.prefix}:stateMachine:{self.path}",
        }
        sf._map_runs[self.record["mapRunArn"]] = self.record

    def run(self) -> Any:
        """The state's result: the children's outputs in order, or the place where they were written. Raises `TaskError`."""
        add_event(self.execution, "MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": self.record["mapRunArn"]}})
        workers = min(self.record["maxConcurrency"] or LARGEST_CONCURRENCY, LARGEST_CONCURRENCY, max(len(self.inputs), 1))
        with ThreadPoolExecutor(max_workers=workers) as pool:
            wait([pool.submit(contextvars.copy_context().run, self._run_child, index) for index in range(len(self.inputs))])
        self.record["stopDate"] = sf.now_iso()
        if not live(self.execution):
            self.record["status"] = "ABORTED"
        check(self.execution)
        written = self._write_results() if "ResultWriter" in self.state else None
        if self._intolerable():
            error = "States.ExceedToleratedFailureThreshold"
            self.record["status"] = "FAILED"
            add_event(self.execution, "MapRunFailed", {"mapRunFailedEventDetails": {"error": error}})
            raise TaskError(error, "The specified tolerated failure threshold was exceeded")
        self.record["status"] = "SUCCEEDED"
        add_event(self.execution, "MapRunSucceeded")
        if written is not None:
            return written
        return [json.loads(child["output"]) for child in self.children if child and child["status"] == "SUCCEEDED"]

    def _number(self, field: str) -> float | None:
        if f"{field}Path" in self.state:
            return float(sf._resolve_path_or_ctx(self.state[f"{field}Path"], self.data, self.context))
        return self.state.get(field)

    def _items(self) -> list[Any]:
        reader = self.state.get("ItemReader")
        if reader:
            items = sf._read_map_items(reader, self.data, self.context)
        else:
            items = sf._resolve_path_or_ctx(self.state.get("ItemsPath", "$"), self.data, self.context)
        if not isinstance(items, list):
            raise TaskError("States.ItemReaderFailed" if reader else "States.Runtime", "The items of a Map state must be an array")
        return items

    def _selected(self, items: list[Any]) -> list[Any]:
        selector = self.state.get("ItemSelector")
        if not selector:
            return items
        contexts = ({**self.context, "Map": {"Item": {"Index": index, "Value": item}}} for index, item in enumerate(items))
        return [sf._resolve_params_obj(selector, self.data, context) for context in contexts]

    def _run_child(self, index: int) -> None:
        if self.failing.is_set() or not live(self.execution):
            self._count("pending", "aborted")
            return
        self._count("pending", "running")
        child = self.children[index] = self._child(self.inputs[index])
        if not self.express:
            sf._executions[child["executionArn"]] = child
        context = {
            "QueryLanguage": "JSONPath",
            "variables": {},
            "Execution": {"Id": child["executionArn"], "Input": self.inputs[index], "Name": child["name"], "StartTime": child["startDate"]},
            "StateMachine": {"Id": child["stateMachineArn"], "Name": self.path},
        }
        try:
            result = sf._run_sub_machine(self.processor["States"], self.processor["StartAt"], self.inputs[index], child, context)
            child["output"] = json.dumps(result)
            self._end(child, "SUCCEEDED")
        except Exception as error:
            known = error if isinstance(error, TaskError) else TaskError("States.Runtime", str(error))
            child.update(error=known.error, cause=known.cause)
            self._end(child, "FAILED" if live(self.execution) else "ABORTED")
        self._count("running", child["status"].lower())
        if self._intolerable():
            self.failing.set()

    def _child(self, data: Any) -> Execution:
        name, now = sf.new_uuid(), sf.now_iso()
        payload = json.dumps(data)
        started = {
            "id": 1,
            "previousEventId": 0,
            "type": "ExecutionStarted",
            "timestamp": now,
            "executionStartedEventDetails": {"input": payload},
        }
        return {
            "executionArn": f"{self.prefix}:{'express' if self.express else 'execution'}:{self.path}:{name}",
            "stateMachineArn": self.record["_stateMachineArn"],
            "name": name,
            "status": "RUNNING",
            "startDate": now,
            "stopDate": None,
            "input": payload,
            "inputDetails": {"included": True},
            "output": None,
            "outputDetails": {"included": True},
            "mapRunArn": self.record["mapRunArn"],
            "events": [started],
            "testCase": "",
            "mockAttempts": {},
            "_parent": self.execution,
            "_express": self.express,
        }

    def _end(self, child: Execution, status: str) -> None:
        child.update(status=status, stopDate=sf.now_iso())
        kind = {"SUCCEEDED": "ExecutionSucceeded", "FAILED": "ExecutionFailed", "ABORTED": "ExecutionAborted"}[status]
        details = {"output": child["output"]} if status == "SUCCEEDED" else {"error": child["error"], "cause": child["cause"]}
        add_event(child, kind, {f"{kind[0].lower()}{kind[1:]}EventDetails": details})

    def _count(self, before: str, after: str) -> None:
        with self.lock:
            for counts in (self.record["itemCounts"], self.record["executionCounts"]):
                counts[before] -= 1
                counts[after] += 1

    def _intolerable(self) -> bool:
        counts = self.record["itemCounts"]
        return bool(counts["failed"] * 100 > self.tolerated_percentage * counts["total"])

    def _write_results(self) -> dict[str, Any]:
        """Write the children's outcomes to S3 and return where."""
        place = sf._resolve_params_obj(self.state["ResultWriter"]["Parameters"], self.data, self.context)
        prefix = "/".join(part for part in (str(place.get("Prefix", "")).strip("/"), self.id) if part)
        files: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
        for status in ("SUCCEEDED", "FAILED"):
            rows = [_exported(child) for child in self.children if child and child["status"] == status]
            if rows:
                files[status].append(_put(place["Bucket"], f"{prefix}/{status}_0.json", json.dumps(rows)))
        manifest = {"DestinationBucket": place["Bucket"], "MapRunArn": self.record["mapRunArn"], "ResultFiles": files}
        _put(place["Bucket"], f"{prefix}/manifest.json", json.dumps(manifest))
        return {"MapRunArn": self.record["mapRunArn"], "ResultWriterDetails": {"Bucket": place["Bucket"], "Key": f"{prefix}/manifest.json"}}


def _exported(child: Execution) -> dict[str, Any]:
    succeeded = child["status"] == "SUCCEEDED"
    outcome = (
        {"Output": child["output"], "OutputDetails": {"Included": True}}
        if succeeded
        else {"Error": child["error"], "Cause": child["cause"]}
    )
    return {
        "ExecutionArn": child["executionArn"],
        "Input": child["input"],
        "InputDetails": {"Included": True},
        "Name": child["name"],
        **outcome,
        "RedriveCount": 0,
        "RedriveStatus": "NOT_REDRIVABLE" if succeeded else "REDRIVABLE",
        "StartDate": child["startDate"],
        "StateMachineArn": child["stateMachineArn"],
        "Status": child["status"],
        "StopDate": child["stopDate"],
    }


def _put(bucket: str, key: str, body: str) -> dict[str, Any]:
    data = body.encode()
    status, _, answer = s3._put_object(bucket, key, data, {"content-type": "application/json"})
    if status >= 400:
        raise TaskError("States.ResultWriterFailed", answer.decode() if isinstance(answer, bytes) else str(answer))
    return {"Key": key, "Size": len(data)}
