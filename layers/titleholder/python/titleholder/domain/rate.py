"""A slot of a bucket of the rate limiter, and how much slower than agreed the bucket moves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """A bucket was made `factor` times slower than agreed, at `since` (Unix seconds)."""

    factor: float = 1.0
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reserved slot (Unix seconds), and the bucket's backoff when it was reserved."""

    at: float
    backoff: Backoff = Backoff()
