"""Consumes SQS messages. A failed message is delivered again after a pause, and finally moved to the dead-letter queue with its reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.base import FailureResponse, SuccessResponse
from aws_lambda_powertools.utilities.batch.exceptions import ExceptionInfo

from titleholder.aws.queues import HOP, LONGEST_PAUSE_SECONDS, Queues
from titleholder.errors import TitleholderError, is_aws_unavailable, unreached
from titleholder.observability import logger

MOST_RECEIVES = 7
"""A message that fails at this delivery goes to the dead-letter queue. The queue's own limit, for functions that crash, is higher."""

MOST_RECEIVES_WITHOUT_AWS = 25
LONGEST_PAUSE_WITHOUT_AWS_SECONDS = 900.0
"""The same for a message that fails because AWS throttles calls or does not answer; and the longest pause then, in seconds. Such a failure
says nothing about the message, and the queue's other messages fail as well.
"""

FAILURES_SECONDS = 900.0
"""Seven failures take less time than this. If a message's deliveries took longer, some of them did not reach the function, because SQS also
counts a delivery for which Lambda was throttled.
"""

COPIES, MOST_COPIES = "copies", 3
"""The key in a message for how often it was sent again for that reason, and the limit of that number."""


class QueueConsumer(BatchProcessor):
    """Consumes the queue `url`. `on_dead_letter(message, reason)` is called after a message was moved to the dead-letter queue."""

    def __init__(
        self,
        queues: Queues,
        url: str,
        dead_letter_url: str,
        on_dead_letter: Callable[[dict[str, Any], str], None] = lambda message, reason: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(EventType.SQS, raise_on_entire_batch_failure=False)
        self._queues = queues
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._on_dead_letter = on_dead_letter
        self._clock = clock

    def consume(self, event: dict[str, Any], process: Callable[[dict[str, Any], str], None]) -> Any:
        """Call `process(message, message_id)` for each message of an SQS event; answer which of them SQS has to deliver again."""
        return process_partial_response(event, lambda record: process(record.json_body, record.message_id), self)

    def failure_handler(self, record: Any, exception: ExceptionInfo) -> SuccessResponse | FailureResponse:
        """Have a failed message delivered again after a pause, or at its last delivery move it to the dead-letter queue."""
        error, count = exception[1], int(record.attributes.approximate_receive_count)
        # Only our own errors have messages that are free of personal data.
        said = str(error) if isinstance(error, TitleholderError) else unreached(error)
        reason = type(error).__name__ + (f": {said}" if said else "")
        logger.error("message failed", extra={"reason": reason, "received": count})
        without_aws = is_aws_unavailable(error)
        if count < (MOST_RECEIVES_WITHOUT_AWS if without_aws else MOST_RECEIVES):
            longest = LONGEST_PAUSE_WITHOUT_AWS_SECONDS if without_aws else LONGEST_PAUSE_SECONDS
            self._queues.back_off(self._url, record.receipt_handle, count, longest)
            # Without the exception, whose message Powertools would log.
            return super().failure_handler(record, (None, None, None))
        if not without_aws and (copy := self._copy(record)) is not None:
            self._queues.send_copy(self._url, copy)
            return self.success_handler(record, None)
        self._queues.send_to_dead_letter_queue(self._dead_letter_url, record.body, reason)
        try:
            self._on_dead_letter(record.json_body, reason)
        except Exception as failed:
            logger.error("dead letter not noted", extra={"reason": type(failed).__name__})
        return self.success_handler(record, None)

    def _copy(self, record: Any) -> dict[str, Any] | None:
        """A copy of a failed message to send, if not all of its deliveries reached the function; else None."""
        first = record.raw_event["attributes"].get("ApproximateFirstReceiveTimestamp")
        if first is None or self._clock() - int(first) / 1000 < FAILURES_SECONDS:
            return None
        try:
            message = record.json_body
            copies, hop = int(message.get(COPIES, 0)), int(message.get(HOP, 0))
        except (AttributeError, TypeError, ValueError):
            return None
        # With one more hop, because a request with the same number of hops would be taken for a copy and dropped.
        return None if copies >= MOST_COPIES else {**message, COPIES: copies + 1, HOP: hop + 1}
