"""Sends messages to the SQS queues, and sets when a failed message is delivered again."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

MAX_DELAY_SECONDS = 900
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 120.0

HOP = "hop"
"""The key in a message for how often it was put back into its queue. Absent if never, or if an earlier release did it."""

MOST_HOPS = 200
"""The most times that a message is put back. Lambda's own limit of 16 is switched off for these queues (RecursiveLoop), because a request
may wait for its slot for days.
"""


def put_back(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """The message to put back into its queue; None if it was put back `MOST_HOPS` times already, so that no loop is endless."""
    hop = int(message.get(HOP, 0)) + 1
    return None if hop > MOST_HOPS else {**message, HOP: hop}


class Queues:
    """The refresh queue and the events queue, through a boto3 SQS client. A function that may not use a queue has an empty URL for it."""

    def __init__(self, client: Any, *, refresh_url: str = "", events_url: str = "", jitter: Callable[[], float] = random.random) -> None:
        self._client = client
        self._refresh_url = refresh_url
        self._events_url = events_url
        self._jitter = jitter

    def send_event(self, message: Mapping[str, str]) -> None:
        """Queue the reading of an account, for an event or as a repair: `{event?, account?, mode, stripe_account?, context?}`.

        `account` is missing if only the event, read from Stripe, names the account.
        """
        self._client.send_message(QueueUrl=self._events_url, MessageBody=json.dumps(message))

    def defer_refresh(self, message: Mapping[str, Any], delay: float) -> None:
        """Send a refresh request to its queue again, to be delivered in `delay` seconds (15 minutes at most: SQS's own limit)."""
        self._defer(self._refresh_url, message, delay)

    def defer_event(self, message: Mapping[str, Any], delay: float) -> None:
        """As `defer_refresh`, for an event."""
        self._defer(self._events_url, message, delay)

    def _defer(self, url: str, message: Mapping[str, Any], delay: float) -> None:
        pause = max(0, min(MAX_DELAY_SECONDS, math.ceil(delay)))
        self._client.send_message(QueueUrl=url, MessageBody=json.dumps(message), DelaySeconds=pause)

    def send_to_dead_letter_queue(self, dead_letter_url: str, body: str, reason: str) -> None:
        """Send a message that can't be processed to the dead-letter queue, with the reason as a message attribute."""
        attribute = {"DataType": "String", "StringValue": reason}
        self._client.send_message(QueueUrl=dead_letter_url, MessageBody=body, MessageAttributes={"reason": attribute})

    def send_copy(self, queue_url: str, message: Mapping[str, Any]) -> None:
        """Send a message again as a new one, so that SQS counts its deliveries from the beginning."""
        self._client.send_message(QueueUrl=queue_url, MessageBody=json.dumps(message), DelaySeconds=int(LONGEST_PAUSE_SECONDS))

    def back_off(self, queue_url: str, receipt_handle: str, receive_count: int, longest: float = LONGEST_PAUSE_SECONDS) -> None:
        """Have SQS deliver a failed message again after a pause. The pause doubles each time, and half of it is random."""
        pause = min(longest, FIRST_PAUSE_SECONDS * 2 ** (receive_count - 1))
        self._client.change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=receipt_handle, VisibilityTimeout=math.ceil(pause * (0.5 + self._jitter() / 2))
        )
