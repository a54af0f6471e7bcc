"""Values of the rate limiter: a bucket's backoff after 429 answers, and the kind of work that a call belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

PRIORITY_KEY, BATCH_PRIORITY = "priority", "batch"
"""The key and the value by which a queue message says that it belongs to a batch."""

RECOVERY_SECONDS = 30.0
MOST_SLOW = 16.0
SLOW_AGAIN_SECONDS = 1.0
"""429 answers within this time (seconds) count once, because concurrent calls are refused together."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A bucket was made `factor` times slower than its configured rate, at `since` (Unix seconds)."""

    factor: float = 1.0
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reserved slot (Unix seconds), and the bucket's backoff when it was reserved."""

    at: float
    backoff: Backoff = Backoff()


class Kind(Enum):
    """The kind of work that a call to Stripe belongs to."""

    EVENT = "event"
    SINGLE = "single"
    BATCH = "batch"
    CALLER = "caller"

    @classmethod
    def of(cls, message: Mapping[str, Any] | None) -> Kind:
        """The kind of work of a queue message; of an HTTP request, if `message` is None."""
        if message is None:
            return cls.CALLER
        if message.get(PRIORITY_KEY) == BATCH_PRIORITY:
            return cls.BATCH
        return cls.SINGLE if "task_token" in message else cls.EVENT


def current_factor(backoff: Backoff, now: float) -> float:
    """How many times slower than its configured rate a bucket is at `now` (Unix seconds): 1 if there was no 429 lately."""
    lasting: float = 0.5 ** (max(0.0, now - backoff.since) / RECOVERY_SECONDS)
    return 1 + (backoff.factor - 1) * lasting


def increased(backoff: Backoff, now: float) -> Backoff:
    """The backoff after one more 429 at `now` (Unix seconds)."""
    if now - backoff.since < SLOW_AGAIN_SECONDS:
        return backoff
    return Backoff(factor=min(MOST_SLOW, 2 * current_factor(backoff, now)), since=now)
