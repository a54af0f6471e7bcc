"""Lambda reads a function's partial batch response as AWS does: a malformed response fails the whole batch."""

from __future__ import annotations

from typing import Any

from ministack.services import lambda_svc, sqs


def apply() -> None:
    lambda_svc._run_sqs_batch = run_batch


def run_batch(mapping: dict[str, Any], function: dict[str, Any], event: Any, batch: list[dict[str, Any]], url: str, queue: str) -> None:
    result = lambda_svc._execute_function(function, event)
    ids = {message["id"] for message in batch}
    failed = ids if result.get("error") else set()
    if not failed and "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or []):
        failed = reported_failures(result.get("body"), ids)
    done = {message["receipt_handle"] for message in batch if message["id"] not in failed}
    sqs._delete_messages_for_esm(url, done)
    mapping["LastProcessingResult"] = f"{len(done)} of {len(batch)} messages of {queue} processed"


def reported_failures(response: Any, ids: set[str]) -> set[str]:
    """The messages of the batch `ids` to deliver again: those that the response names, or all if it is malformed."""
    if response in (None, "", {}):
        return set()
    try:
        failures = response["batchItemFailures"]
        failed = {failure["itemIdentifier"] for failure in failures or []}
    except (KeyError, TypeError):
        return ids
    return failed if failed <= ids else ids
