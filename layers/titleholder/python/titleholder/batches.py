"""Batches of queue messages: each stands alone, and one that failed comes back after a pause."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from titleholder.errors import TitleholderError
from titleholder.observability import logger
from titleholder.queues import Queues


def each_record(
    event: dict[str, Any], process: Callable[[dict[str, Any], float], None], queues: Queues, queue_url: str
) -> dict[str, list[dict[str, str]]]:
    """Process each message of an SQS event; the `batchItemFailures` it answers are delivered again until they end as dead letters."""
    failures = []
    for record in event["Records"]:
        try:
            process(json.loads(record["body"]), time.time())
        except Exception as error:
            # Whatever went wrong, the other messages go on. Only our own errors' words are free of personal data.
            reason = str(error) if isinstance(error, TitleholderError) else ""
            count = int(record["attributes"]["ApproximateReceiveCount"])
            logger.error("message failed", extra={"error_type": type(error).__name__, "reason": reason, "received": count})
            queues.back_off(queue_url, record["receiptHandle"], count)
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
