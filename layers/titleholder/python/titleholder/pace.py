"""Stripe's pace: a refresh request books a place in a line that moves at the agreed rate. Nobody sleeps: who is early comes again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from titleholder.errors import PaceExceededError
from titleholder.store import Store

TURN = "turn_at"
"""Where a queue message bears the place that it booked (Unix seconds)."""

AT_ONCE_SECONDS = 0.2
"""How far ahead a place may be and still be taken at once: SQS delays by whole seconds, and a lone request must not wait for one."""

LONGEST_WAIT_SECONDS = 1.0
"""How far ahead a place may be for a caller who waits for the answer."""

_LINE = "refresh"


def turn(store: Store, message: Mapping[str, Any], rate: float, now: float) -> float:
    """When a queued request may go on (Unix seconds): now, or later; booked once, then borne by the message itself."""
    at = float(message[TURN]) if TURN in message else store.book(_LINE, rate, now)
    return now if at <= now + AT_ONCE_SECONDS else at


def take(store: Store, rate: float, now: float) -> None:
    """Book a place for a caller who waits for the answer. Raises PaceExceededError if the line is too long for that."""
    at = store.book(_LINE, rate, now)
    if at > now + LONGEST_WAIT_SECONDS:
        raise PaceExceededError(retry_after=int(at - now) + 1)
