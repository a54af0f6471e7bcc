"""SQS has StartMessageMoveTask and ListMessageMoveTasks: messages of a dead-letter queue go back to their source queue.

As on AWS, the queue has to be the dead-letter queue of another one. A queue to which Lambda sends failures is refused.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any


def apply() -> None:
    from ministack.core.concurrency import esm_wake
    from ministack.services import sqs

    tasks: dict[str, list[dict[str, Any]]] = {}

    def start(data: dict[str, Any], _queue_url: str) -> dict[str, str]:
        source_arn, destination = data["SourceArn"], data.get("DestinationArn")
        source = sqs._queue_by_arn(source_arn)
        if source is None:
            raise sqs._Err("ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.", 404)
        if not any(_dead_letter_arn(queue) == source_arn for queue in sqs._queues.values()):
            raise sqs._Err("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
        moved = 0
        with sqs._queues_lock:
            now = time.time()
            movable = [message for message in source["messages"] if message["visible_at"] <= now]
            for message in movable:
                target = sqs._queue_by_arn(destination or (message.get("sys") or {}).get("DeadLetterQueueSourceArn", ""))
                if target is None:
                    continue
                source["messages"].remove(message)
                target["messages"].append(
                    {**message, "receipt_handle": None, "visible_at": now, "receive_count": 0, "first_receive_at": None}
                )
                moved += 1
        handle = str(uuid.uuid4())
        task = {
            "TaskHandle": handle,
            "Status": "COMPLETED",
            "SourceArn": source_arn,
            "ApproximateNumberOfMessagesMoved": moved,
            "ApproximateNumberOfMessagesToMove": len(movable),
            "StartedTimestamp": int(now * 1000),
        }
        tasks.setdefault(source_arn, []).insert(0, task | ({"DestinationArn": destination} if destination else {}))
        esm_wake.set()
        return {"TaskHandle": handle}

    def list_tasks(data: dict[str, Any], _queue_url: str) -> dict[str, Any]:
        # AWS gives no handle for a finished task.
        found = tasks.get(data["SourceArn"], [])[: int(data.get("MaxResults", 1))]
        return {"Results": [{key: value for key, value in task.items() if key != "TaskHandle"} for task in found]}

    sqs._HANDLERS.update(StartMessageMoveTask=start, ListMessageMoveTasks=list_tasks)


def _dead_letter_arn(queue: dict[str, Any]) -> str | None:
    """The ARN of the dead-letter queue of a queue."""
    policy = queue["attributes"].get("RedrivePolicy")
    found: str | None = (json.loads(policy) if isinstance(policy, str) else policy or {}).get("deadLetterTargetArn")
    return found
