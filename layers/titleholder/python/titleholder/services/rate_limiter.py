"""Rate limiter for Stripe calls: one bucket for each operation, and a count of all calls of the last second. Workers never sleep.

A bucket follows the generic cell rate algorithm: one item of the table says when its next slot is free. A slot is only a timestamp, so
a crashed worker wastes at most one slot. Which slots a call may take depends on its work (`Kind`), because the rate is to be used for
work that is still wanted:

- Reading an account whose refresh is pending (`hurry`): the next slot, however far ahead. It is paid for, so it comes first.
- A single verification: the next slot for its refresh, however far ahead (`reserve`). When it is due: slots of other operations if near.
- Other events, such as that an account was linked: slots that are near.
- A batch's verification: slots within the coming second, so that a batch uses what single verifications leave.
- An HTTP caller who waits for the answer: slots that are free now, so that callers never delay refreshes.

A message that gets no slot gets a time at which to ask again. These times are handed out at the bucket's rate, too. When Stripe answers
429, the bucket's rate is halved. Every 30 seconds, half of the reduction is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from titleholder.domain.rate import Backoff, Kind, current_factor, increased
from titleholder.errors import RateLimitExceededError
from titleholder.store import Store

SLOTS_KEY = "places"
"""The key in a queue message for the slots that it has reserved and not used (Unix seconds, by bucket)."""

RETRY_AT_KEY = "ask_after"
"""The key in a queue message for the time (Unix seconds) before which there is no slot for it."""

USED_SHARE = 0.97
"""How much of what Stripe allows in a second is used, because calls that are counted apart may arrive closer together."""

CALLERS_SHARE = 0.8
"""How much of what Stripe allows in a second may be used when an HTTP caller adds a call. The rest is for refreshes and their owners."""

AT_ONCE_SECONDS = 0.2
"""How far ahead a slot may be and still be used at once: SQS delays by whole seconds, and a lone request must not wait for one."""

LONGEST_WAIT_SECONDS = 1.0
"""The same for work that has already waited for one bucket, and for a batch."""

NEAR_SECONDS = 3.0
"""How far ahead a single verification or an event may take a slot if it could also be requeued, or use another bucket."""

CALLERS_ONLY = ("other", "events")
"""Buckets that no refresh waits for. In these an HTTP caller may take a slot within the coming second."""

ASKING = 1.1
"""How much faster than slots a bucket hands out times to ask again, because some of the work that asks again gets no slot."""


class StripeRateLimits:
    """The buckets, at `rate` calls a second for each operation and `limit` for all. Remembers the backoff of each that it read last."""

    def __init__(self, store: Store, rate: float, clock: Callable[[], float], limit: float | None = None) -> None:
        self._store = store
        self._rate = rate
        self._limit = 4 * rate if limit is None else limit
        self._clock = clock
        self._slow: dict[str, Backoff] = {}

    def reserve(self, bucket: str, now: float) -> float:
        """The next slot (Unix seconds, not before now)."""
        reserved = self._store.rate_limits.reserve(bucket, self._rate_of(bucket, now), now)
        self._slow[bucket] = reserved.backoff
        return reserved.at

    def reserve_within(self, bucket: str, now: float, seconds: float) -> float | None:
        """The next slot if it is within `seconds`, else None."""
        reserved = self._store.rate_limits.reserve_until(bucket, self._rate_of(bucket, now), now, now + seconds)
        if reserved is None:
            return None
        self._slow[bucket] = reserved.backoff
        return reserved.at

    def reserve_for_batch(self, bucket: str, now: float) -> float | None:
        """A slot within the coming second, or the very next one where the rate is low; else None."""
        step = 1 / self._rate_of(bucket, now)
        return self.reserve_within(bucket, now, max(LONGEST_WAIT_SECONDS - step, step))

    def next_try(self, bucket: str, now: float, kind: Kind) -> float:
        """When work that got no slot has to ask again (Unix seconds)."""
        return self._store.rate_limits.next_try(bucket, kind.value, ASKING * self._rate_of(bucket, now), now + LONGEST_WAIT_SECONDS)

    def admit(self, now: float, kind: Kind) -> bool:
        """Whether the limit for all operations allows one more call now. HTTP callers get only what other work leaves."""
        counted = self._store.rate_limits.count_call(now)
        if counted <= max(1, round(self._limit * (CALLERS_SHARE if kind is Kind.CALLER else USED_SHARE))):
            return True
        self._store.rate_limits.uncount_call(now)
        return False

    def on_throttled(self, bucket: str) -> None:
        """Slow the bucket down, because Stripe answered 429."""
        now, known = self._clock(), self._store.rate_limits.backoff(bucket)
        self._slow[bucket] = increased(known, now)
        if self._slow[bucket] != known:
            self._store.rate_limits.set_backoff(bucket, self._slow[bucket], known)

    def limiter(self, message: Mapping[str, Any] | None = None) -> RateLimiter:
        """The limiter for the work of one queue message; without a message, for an HTTP caller who waits."""
        return RateLimiter(self, self._clock, message)

    def _rate_of(self, bucket: str, now: float) -> float:
        return self._rate / current_factor(self._slow.get(bucket, Backoff()), now)


class RateLimiter:
    """Admits the calls of one queue message or one HTTP request."""

    def __init__(self, limits: StripeRateLimits, clock: Callable[[], float], message: Mapping[str, Any] | None) -> None:
        self._limits = limits
        self._clock = clock
        self._kind = Kind.of(message)
        # A batch takes its slots from the coming second only, so its calls need not wait for each slot.
        self._patience = LONGEST_WAIT_SECONDS if self._kind is Kind.BATCH else AT_ONCE_SECONDS
        self._slots: dict[str, float] = dict((message or {}).get(SLOTS_KEY) or {})
        self._ask_after = float((message or {}).get(RETRY_AT_KEY) or 0.0)
        self._urgent = False

    @property
    def batch(self) -> bool:
        return self._kind is Kind.BATCH

    def hurry(self) -> None:
        """From now on this work takes the next slot, however far ahead, because a refresh that was paid for waits for it."""
        self._urgent = True

    def acquire(self, bucket: str) -> None:
        """Return if a call may be made now. Raises RateLimitExceededError, which says when to retry, and with which slots."""
        now = self._clock()
        self._acquire(bucket, now)
        if not self._limits.admit(now, self._kind):
            if self._kind is Kind.CALLER:
                raise self._exceeded(bucket, now, now)
            raise self._exceeded(bucket, now + LONGEST_WAIT_SECONDS, now)
        self._slots.pop(bucket, None)
        # The first bucket has already spread the burst.
        self._patience = LONGEST_WAIT_SECONDS

    def reserve(self, bucket: str, held: float | None) -> float | None:
        """The slot in which a single verification's call may be made (Unix seconds): the one it holds, or the next, however far ahead.

        None for other work. A batch's work takes its slot now, before it makes any call, and raises RateLimitExceededError if
        there is none. The rest takes a slot when it calls.
        """
        if self.batch and not self._urgent:
            self._acquire(bucket, self._clock())
        if self._kind is not Kind.SINGLE or self._urgent:
            return None
        if bucket not in self._slots:
            self._slots[bucket] = self._limits.reserve(bucket, self._clock()) if held is None else held
        if self._slots[bucket] <= self._clock() + AT_ONCE_SECONDS:
            # This bucket has spread the burst.
            self._patience = LONGEST_WAIT_SECONDS
        return self._slots[bucket]

    def exceeded(self, bucket: str, at: float) -> RateLimitExceededError:
        """The error to raise for work whose slot in `bucket` is at the time `at`, which lies ahead."""
        return self._exceeded(bucket, at, self._clock())

    def acquire_either(self, bucket: str, other: str) -> str:
        """Choose the bucket in which a call may be made now: `bucket`, unless its next slot is far and that of `other` is near.

        Raises RateLimitExceededError, as `acquire` does.
        """
        now = self._clock()
        for either in (bucket, other):
            if bucket in self._slots or other in self._slots:
                break
            at = self._limits.reserve_within(either, now, self._ahead(either))
            if at is not None:
                self._slots[either] = at
        chosen = other if other in self._slots else bucket
        self.acquire(chosen)
        return chosen

    def on_throttled(self, bucket: str) -> None:
        """Stripe answered 429."""
        self._limits.on_throttled(bucket)

    def _acquire(self, bucket: str, now: float) -> None:
        """Hold a slot in `bucket` that is due."""
        if bucket not in self._slots:
            if self._ask_after > now:
                raise self._exceeded(bucket, self._ask_after, now)
            self._slots[bucket] = self._slot(bucket, now)
        if self._slots[bucket] > now + self._patience_in(bucket):
            raise self._exceeded(bucket, self._slots[bucket], now)

    def _slot(self, bucket: str, now: float) -> float:
        if self._urgent:
            return self._limits.reserve(bucket, now)
        at = self._limits.reserve_for_batch(bucket, now) if self.batch else self._limits.reserve_within(bucket, now, self._ahead(bucket))
        if at is None:
            raise self._exceeded(bucket, now if self._kind is Kind.CALLER else self._limits.next_try(bucket, now, self._kind), now)
        return at

    def _ahead(self, bucket: str) -> float:
        return self._patience_in(bucket) if self._kind is Kind.CALLER else NEAR_SECONDS

    def _patience_in(self, bucket: str) -> float:
        return LONGEST_WAIT_SECONDS if self._kind is Kind.CALLER and bucket in CALLERS_ONLY else self._patience

    def _exceeded(self, bucket: str, at: float, now: float) -> RateLimitExceededError:
        return RateLimitExceededError(max(0, int(at - now)) + 1, bucket, at, dict(self._slots))


def requeued_message(message: Mapping[str, Any], early: RateLimitExceededError) -> dict[str, Any]:
    """The message to put back into the queue, with the slots that it has reserved."""
    kept = {name: value for name, value in message.items() if name not in (SLOTS_KEY, RETRY_AT_KEY)}
    if early.slots:
        kept[SLOTS_KEY] = dict(early.slots)
    if early.bucket not in early.slots:
        kept[RETRY_AT_KEY] = early.at
    return kept
