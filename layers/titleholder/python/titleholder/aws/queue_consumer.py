"""Consumes SQS messages: one that fails is delivered again after a pause, and in the end moved to the dead-letter queue with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.base import FailureResponse, SuccessResponse
from aws_lambda_powertools.utilities.batch.exceptions import ExceptionInfo

from titleholder.aws.queues import Queues
from titleholder.errors import TitleholderError
from titleholder.observability import logger

MOST_RECEIVES = 7
"""A message that fails at this delivery goes to the dead-letter queue. The queue's own limit is higher: it is for functions that died."""


class QueueConsumer(BatchProcessor):
    """Consumes the queue `url`. `on_dead_letter(message, reason)` is called after a message was moved to the dead-letter queue."""

    def __init__(
        self,
        queues: Queues,
        url: str,
        dead_letter_url: str,
        on_dead_letter: Callable[[dict[str, Any], str], None] = lambda message, reason: None,
    ) -> None:
        super().__init__(EventType.SQS, raise_on_entire_batch_failure=False)
        self._queues = queues
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._on_dead_letter = on_dead_letter

    def consume(self, event: dict[str, Any], process: Callable[[dict[str, Any], str], None]) -> Any:
        """Call `process(message, message_id)` for each message of an SQS event; answer which of them SQS has to deliver again."""
        return process_partial_response(event, lambda record: process(record.json_body, record.message_id), self)

    def failure_handler(self, record: Any, exception: ExceptionInfo) -> SuccessResponse | FailureResponse:
        error, count = exception[1], int(record.attributes.approximate_receive_count)
        # Only our own errors have messages that are free of personal data.
        reason = type(error).__name__ + (f": {error}" if isinstance(error, TitleholderError) else "")
        logger.error("message failed", extra={"reason": reason, "received": count})
        if count < MOST_RECEIVES:
            self._queues.back_off(self._url, record.receipt_handle, count)
            # Without the exception, whose message Powertools would log.
            return super().failure_handler(record, (None, None, None))
        self._queues.send_to_dead_letter_queue(self._dead_letter_url, record.body, reason)
        try:
            self._on_dead_letter(record.json_body, reason)
        except Exception as failed:
            logger.error("dead letter not noted", extra={"reason": type(failed).__name__})
        return self.success_handler(record, None)
