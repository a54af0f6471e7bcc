"""Step Functions Distributed Map: ItemReader, ItemSelector, ItemBatcher, ResultWriter, concurrency and tolerated failures."""

from __future__ import annotations

import contextvars
import itertools
import json
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from ministack.services import s3
from ministack.services import stepfunctions as sf

from local.aws.shims._workflow import LARGEST_PAYLOAD, Execution, TaskError, add_event, check, live

LARGEST_CONCURRENCY = 1_000
ENVELOPE_BYTES = 200
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

run_inline = sf._run_map_items


def apply() -> None:
    sf._run_map_items = run_map


def run_map(state: dict[str, Any], data: Any, execution: Execution, context: dict[str, Any]) -> tuple[Any, str | None]:
    processor = state.get("ItemProcessor") or state.get("Iterator") or {}
    if (processor.get("ProcessorConfig") or {}).get("Mode") != "DISTRIBUTED":
        return run_inline(state, data, execution, context)  # type: ignore[no-any-return]
    result = MapRun(state, sf._apply_input_path(state, data, context), execution, context).run()
    output = sf._apply_result_path(state, data, sf._apply_result_selector(state, result))
    return sf._apply_output_path(state, output, context), sf._next_or_end(state)


class MapRun:
    """One run of a Distributed Map state: its items, its child executions, and their counts as DescribeMapRun shows them."""

    def __init__(self, state: dict[str, Any], data: Any, execution: Execution, context: dict[str, Any]) -> None:
        self.state, self.data, self.execution, self.context = state, data, execution, context
        self.processor = state.get("ItemProcessor") or state["Iterator"]
        self.express = self.processor["ProcessorConfig"].get("ExecutionType") == "EXPRESS"
        items = self._items()
        self.inputs, self.sizes = self._batched(self._selected(items))
        self.tolerated_percentage = self._number("ToleratedFailurePercentage")
        self.tolerated_count = self._number("ToleratedFailureCount")
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
            "toleratedFailurePercentage": float(self.tolerated_percentage or 0),
            "toleratedFailureCount": int(self.tolerated_count or 0),
            "itemCounts": dict.fromkeys(STATUSES, 0) | {"total": len(items), "pending": len(items)},
            "executionCounts": dict.fromkeys(STATUSES, 0) | {"total": len(self.inputs), "pending": len(self.inputs)},
            "redriveCount": 0,
            "_stateMachineArn": f"{self.prefix}:stateMachine:{self.path}",
        }
        sf._map_runs[self.record["mapRunArn"]] = self.record

    def run(self) -> Any:
        """The state's result: the children's outputs in order, or where they were written. Raises `TaskError`."""
        add_event(self.execution, "MapRunStarted", {"mapRunStartedEventDetails": {"mapRunArn": self.record["mapRunArn"]}})
        workers = min(self.record["maxConcurrency"] or LARGEST_CONCURRENCY, LARGEST_CONCURRENCY, max(len(self.inputs), 1))
        with ThreadPoolExecutor(max_workers=workers) as pool:
            wait([pool.submit(contextvars.copy_context().run, self._run_child, index) for index in range(len(self.inputs))])
        self.record["stopDate"] = sf.now_iso()
        if not live(self.execution):
            self.record["status"] = "ABORTED"
        check(self.execution)
        written = self._write_results() if self.state.get("ResultWriter") else None
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
        selector = self.state.get("ItemSelector") or self.state.get("Parameters")
        if not selector:
            return items
        contexts = ({**self.context, "Map": {"Item": {"Index": index, "Value": item}}} for index, item in enumerate(items))
        return [sf._resolve_params_obj(selector, self.data, context) for context in contexts]

    def _batched(self, items: list[Any]) -> tuple[list[Any], list[int]]:
        """What each child gets as its input, and how many items that is."""
        batcher = self.state.get("ItemBatcher")
        if not batcher:
            return items, [1] * len(items)
        shared = {"BatchInput": sf._resolve_params_obj(batcher["BatchInput"], self.data, self.context)} if "BatchInput" in batcher else {}
        most_items = int(batcher.get("MaxItemsPerBatch") or len(items) or 1)
        most_bytes = int(batcher.get("MaxInputBytesPerBatch") or LARGEST_PAYLOAD) - ENVELOPE_BYTES - len(json.dumps(shared))
        batches: list[list[Any]] = []
        used = 0
        for item in items:
            size = len(json.dumps(item)) + 2
            if not batches or len(batches[-1]) >= most_items or used + size > most_bytes:
                batches.append([])
                used = 0
            batches[-1].append(item)
            used += size
        return [shared | {"Items": batch} for batch in batches], [len(batch) for batch in batches]

    def _run_child(self, index: int) -> None:
        if self.failing.is_set() or not live(self.execution):
            self._count(index, "pending", "aborted")
            return
        self._count(index, "pending", "running")
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
        self._count(index, "running", child["status"].lower())
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

    def _count(self, index: int, before: str, after: str) -> None:
        with self.lock:
            for counts, number in ((self.record["itemCounts"], self.sizes[index]), (self.record["executionCounts"], 1)):
                counts[before] -= number
                counts[after] += number

    def _intolerable(self) -> bool:
        failed, total = self.record["itemCounts"]["failed"], self.record["itemCounts"]["total"]
        percentage, count = self.tolerated_percentage, self.tolerated_count
        if percentage is None and count is None:
            return bool(failed)
        return (percentage is not None and failed * 100 > percentage * total) or (count is not None and failed > count)

    def _write_results(self) -> dict[str, Any] | None:
        """Write the children's outcomes to S3 and say where. None when the writer only changes their form."""
        writer = self.state["ResultWriter"]
        place = sf._resolve_params_obj(writer.get("Parameters") or {}, self.data, self.context)
        if not place.get("Bucket"):
            return None
        config = writer.get("WriterConfig") or {}
        done = [child for child in self.children if child]
        succeeded = [child for child in done if child["status"] == "SUCCEEDED"]
        failed = [_exported(child) for child in done if child["status"] == "FAILED"]
        prefix = "/".join(part for part in (str(place.get("Prefix", "")).strip("/"), self.id) if part)
        lines = config.get("OutputType") == "JSONL"
        files: dict[str, list[dict[str, Any]]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
        outcomes: Iterable[tuple[str, list[Any]]] = (
            ("SUCCEEDED", _transformed(succeeded, config.get("Transformation", "NONE"))),
            ("FAILED", failed),
        )
        for kind, rows in outcomes:
            if rows:
                body = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
                files[kind].append(_put(place["Bucket"], f"{prefix}/{kind}_0.{'jsonl' if lines else 'json'}", body))
        manifest = {"DestinationBucket": place["Bucket"], "MapRunArn": self.record["mapRunArn"], "ResultFiles": files}
        _put(place["Bucket"], f"{prefix}/manifest.json", json.dumps(manifest))
        self.record["itemCounts"]["resultsWritten"] = self.record["itemCounts"]["succeeded"]
        self.record["executionCounts"]["resultsWritten"] = len(succeeded) + len(failed)
        return {"MapRunArn": self.record["mapRunArn"], "ResultWriterDetails": {"Bucket": place["Bucket"], "Key": f"{prefix}/manifest.json"}}


def _transformed(children: list[Execution], transformation: str) -> list[Any]:
    if transformation == "NONE":
        return [_exported(child) for child in children]
    outputs = [json.loads(child["output"]) for child in children]
    if transformation == "FLATTEN":
        return list(itertools.chain.from_iterable(output if isinstance(output, list) else [output] for output in outputs))
    return outputs


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
