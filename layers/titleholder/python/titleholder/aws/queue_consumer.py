"""Batches of queue messages: each stands alone; one that failed comes back after a pause, and at last is buried with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from titleholder.aws.queues import Queues
from titleholder.errors import TitleholderError
from titleholder.observability import logger

MOST_RECEIVES = 7
"""A message that fails at this many deliveries is buried. The queue's own limit is higher: it serves for functions that died."""


@dataclass(frozen=True, slots=True)
class Source:
    """The queue that a batch comes from, where its dead letters go, and who is told of one: `buried(message, reason)`."""

    queues: Queues
    url: str
    dead_letter_url: str
    buried: Callable[[dict[str, Any], str], None] = lambda message, reason: None


def each_record(event: dict[str, Any], process: Callable[[dict[str, Any], str], None], source: Source) -> dict[str, list[dict[str, str]]]:
    """Process each message of an SQS event, given its body and its id; the `batchItemFailures` it answers are delivered again."""
    failures = []
    for record in event["Records"]:
        try:
            process(json.loads(record["body"]), record["messageId"])
        except Exception as error:
            # Whatever went wrong, the other messages go on. Only our own errors' words are sure to be free of personal data.
            reason = type(error).__name__ + (f": {error}" if isinstance(error, TitleholderError) else "")
            if not _retried(source, record, reason):
                continue
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def _retried(source: Source, record: dict[str, Any], reason: str) -> bool:
    """Let a failed message come back, or bury it (then False)."""
    count = int(record["attributes"]["ApproximateReceiveCount"])
    logger.error("message failed", extra={"reason": reason, "received": count})
    if count < MOST_RECEIVES:
        source.queues.back_off(source.url, record["receiptHandle"], count)
        return True
    source.queues.bury(source.dead_letter_url, record["body"], reason)
    try:
        source.buried(json.loads(record["body"]), reason)
    except Exception as error:
        logger.error("dead letter not noted", extra={"reason": type(error).__name__})
    return False
