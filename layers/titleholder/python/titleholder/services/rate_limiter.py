"""Rate limiter for Stripe calls: one bucket for each operation, and a count of all calls of the last second. Workers never sleep.

A bucket follows the generic cell rate algorithm: one item of the table says when its next slot is free. A slot is only a timestamp, so
a crashed worker wastes at most one slot. Which slots a call may take depends on its work (`Kind`), because the pace is to be used for
work that is still wanted:

- Reading an account whose refresh is pending (`hurry`): the next slot, however far ahead. It is paid for, so it comes first.
- A single verification: the next slot for its refresh, however far ahead (`turn`). Once that is due: slots of other operations if near.
- Other events, such as that an account was linked: slots that are near.
- A batch's verification: slots within the coming second, so that a batch uses what single verifications leave.
- An HTTP caller who waits for the answer: slots that are free now, so that callers never delay refreshes.

A message that finds no slot is told when to ask again; these times move at the bucket's rate, too. When Stripe answers 429, the bucket
moves at half its speed, and half of what it lost comes back every 30 seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from titleholder.domain.rate import Backoff
from titleholder.errors import PaceExceededError
from titleholder.store import Store

PLACES = "places"
"""Where a queue message carries the slots that it has taken and not used (Unix seconds, by bucket)."""

ASK_AFTER = "ask_after"
"""Where a queue message carries the time (Unix seconds) before which there is no slot for it."""

BATCH = ("priority", "batch")
"""What a queue message of a batch carries."""

USED_SHARE = 0.97
"""How much of what Stripe allows in a second is used, because calls that are counted apart may arrive closer together."""

CALLERS_SHARE = 0.8
"""How much of what Stripe allows in a second may be used when an HTTP caller adds a call. The rest is for refreshes and their owners."""

AT_ONCE_SECONDS = 0.2
"""How far ahead a slot may be and still be used at once: SQS delays by whole seconds, and a lone request must not wait for one."""

LONGEST_WAIT_SECONDS = 1.0
"""The same for work that has waited for one bucket already, and for a batch."""

NEAR_SECONDS = 3.0
"""How far ahead a single verification or an event may take a slot where it could also come again, or use another bucket."""

CALLERS_ONLY = ("other", "events")
"""Buckets that no refresh waits for: there a caller may take a slot within the coming second."""

ASKING = 1.1
"""How much faster than its slots a bucket tells work when to ask again, because some of it asks in vain."""

RECOVERY_SECONDS = 30.0
MOST_SLOW = 16.0
SLOW_AGAIN_SECONDS = 1.0
"""Calls that were on their way together are refused together: that counts once."""


class Kind(Enum):
    """Whose work it is."""

    EVENT = "event"
    SINGLE = "single"
    BATCH = "batch"
    CALLER = "caller"

    @classmethod
    def of(cls, message: Mapping[str, Any] | None) -> Kind:
        """By the queue message, or None for an HTTP request."""
        if message is None:
            return cls.CALLER
        if message.get(BATCH[0]) == BATCH[1]:
            return cls.BATCH
        return cls.SINGLE if "task_token" in message else cls.EVENT


def current_factor(slowness: Backoff, now: float) -> float:
    """By how much a bucket moves slower than agreed at `now`: 1 if Stripe has not complained lately."""
    lasting: float = 0.5 ** (max(0.0, now - slowness.since) / RECOVERY_SECONDS)
    return 1 + (slowness.factor - 1) * lasting


def increased(slowness: Backoff, now: float) -> Backoff:
    """The bucket after one more 429 at `now`."""
    if now - slowness.since < SLOW_AGAIN_SECONDS:
        return slowness
    return Backoff(factor=min(MOST_SLOW, 2 * current_factor(slowness, now)), since=now)


class StripeRateLimits:
    """The buckets, at `rate` calls a second for each operation, `limit` for all. Remembers how slow each was when it was last looked at."""

    def __init__(self, store: Store, rate: float, clock: Callable[[], float], limit: float | None = None) -> None:
        self._store = store
        self._rate = rate
        self._limit = 4 * rate if limit is None else limit
        self._clock = clock
        self._slow: dict[str, Backoff] = {}

    def book(self, line: str, now: float) -> float:
        """The next slot (Unix seconds, not before now)."""
        place = self._store.rate_limits.reserve(line, self._rate_of(line, now), now)
        self._slow[line] = place.backoff
        return place.at

    def book_near(self, line: str, now: float, seconds: float) -> float | None:
        """The next slot if it is within so many seconds, else None."""
        place = self._store.rate_limits.reserve_until(line, self._rate_of(line, now), now, now + seconds)
        if place is None:
            return None
        self._slow[line] = place.backoff
        return place.at

    def book_for_batch(self, line: str, now: float) -> float | None:
        """A slot within the coming second, or the very next one where the rate is low; else None."""
        step = 1 / self._rate_of(line, now)
        return self.book_near(line, now, max(LONGEST_WAIT_SECONDS - step, step))

    def ask_again(self, line: str, now: float, kind: Kind) -> float:
        """When work that found no slot is to ask for one again."""
        return self._store.rate_limits.next_try(line, kind.value, ASKING * self._rate_of(line, now), now + LONGEST_WAIT_SECONDS)

    def admit(self, now: float, kind: Kind) -> bool:
        """Whether one more call may be made now, whatever the operation. Callers take only what other work leaves."""
        counted = self._store.rate_limits.count_call(now)
        if counted <= max(1, round(self._limit * (CALLERS_SHARE if kind is Kind.CALLER else USED_SHARE))):
            return True
        self._store.rate_limits.uncount_call(now)
        return False

    def refused(self, line: str) -> None:
        """Stripe answered 429."""
        now, known = self._clock(), self._store.rate_limits.backoff(line)
        self._slow[line] = increased(known, now)
        if self._slow[line] != known:
            self._store.rate_limits.set_backoff(line, self._slow[line], known)

    def gate(self, message: Mapping[str, Any] | None = None) -> RateLimiter:
        """For the work of one queue message, or of one HTTP caller who waits."""
        return RateLimiter(self, self._clock, message)

    def _rate_of(self, line: str, now: float) -> float:
        return self._rate / current_factor(self._slow.get(line, Backoff()), now)


class RateLimiter:
    """Lets the calls of one piece of work through."""

    def __init__(self, pace: StripeRateLimits, clock: Callable[[], float], message: Mapping[str, Any] | None) -> None:
        self._pace = pace
        self._clock = clock
        self._kind = Kind.of(message)
        # A batch's bursts are no longer than the slots of one second, so it need not wait for each.
        self._patience = LONGEST_WAIT_SECONDS if self._kind is Kind.BATCH else AT_ONCE_SECONDS
        self._places: dict[str, float] = dict((message or {}).get(PLACES) or {})
        self._ask_after = float((message or {}).get(ASK_AFTER) or 0.0)
        self._urgent = False

    @property
    def batch(self) -> bool:
        return self._kind is Kind.BATCH

    def hurry(self) -> None:
        """From now on this work takes the next slot, however far ahead, because a refresh that was paid for waits for it."""
        self._urgent = True

    def enter(self, line: str) -> None:
        """Return if a call may be made now. Raises PaceExceededError, which tells when to come again and with which slots."""
        now = self._clock()
        self._acquire(line, now)
        if not self._pace.admit(now, self._kind):
            if self._kind is Kind.CALLER:
                raise self._exceeded(line, now, now)
            raise self._exceeded(line, now + LONGEST_WAIT_SECONDS, now)
        self._places.pop(line, None)
        # The burst was spread by the first bucket already.
        self._patience = LONGEST_WAIT_SECONDS

    def turn(self, line: str, held: float | None) -> float | None:
        """The slot in which a single verification's call may be made (Unix seconds): the one it holds, or the next, however far ahead.

        None for other work. Of that a batch's takes its slot now, before it makes any call, and raises PaceExceededError if there is none;
        the rest takes a slot when it calls.
        """
        if self.batch and not self._urgent:
            self._acquire(line, self._clock())
        if self._kind is not Kind.SINGLE or self._urgent:
            return None
        if line not in self._places:
            self._places[line] = self._pace.book(line, self._clock()) if held is None else held
        if self._places[line] <= self._clock() + AT_ONCE_SECONDS:
            # The burst was spread by this bucket.
            self._patience = LONGEST_WAIT_SECONDS
        return self._places[line]

    def exceeded(self, line: str, at: float) -> PaceExceededError:
        """What to raise for work whose slot in `line` lies ahead, at `at`."""
        return self._exceeded(line, at, self._clock())

    def enter_first(self, line: str, other: str) -> str:
        """Return in which of two buckets a call may be made now: in `line` unless its next slot is far and that of `other` is near.

        Raises PaceExceededError, as `enter` does.
        """
        now = self._clock()
        for either in (line, other):
            if line in self._places or other in self._places:
                break
            at = self._pace.book_near(either, now, self._ahead(either))
            if at is not None:
                self._places[either] = at
        chosen = other if other in self._places else line
        self.enter(chosen)
        return chosen

    def refused(self, line: str) -> None:
        """Stripe answered 429."""
        self._pace.refused(line)

    def _acquire(self, line: str, now: float) -> None:
        """Hold a slot in `line` that is due."""
        if line not in self._places:
            if self._ask_after > now:
                raise self._exceeded(line, self._ask_after, now)
            self._places[line] = self._slot(line, now)
        if self._places[line] > now + self._patience_in(line):
            raise self._exceeded(line, self._places[line], now)

    def _slot(self, line: str, now: float) -> float:
        if self._urgent:
            return self._pace.book(line, now)
        at = self._pace.book_for_batch(line, now) if self.batch else self._pace.book_near(line, now, self._ahead(line))
        if at is None:
            raise self._exceeded(line, now if self._kind is Kind.CALLER else self._pace.ask_again(line, now, self._kind), now)
        return at

    def _ahead(self, line: str) -> float:
        return self._patience_in(line) if self._kind is Kind.CALLER else NEAR_SECONDS

    def _patience_in(self, line: str) -> float:
        return LONGEST_WAIT_SECONDS if self._kind is Kind.CALLER and line in CALLERS_ONLY else self._patience

    def _exceeded(self, line: str, at: float, now: float) -> PaceExceededError:
        return PaceExceededError(max(0, int(at - now)) + 1, line, at, dict(self._places))


def requeued_message(message: Mapping[str, Any], early: PaceExceededError) -> dict[str, Any]:
    """The message as it is to come again, with the slots that it has taken."""
    kept = {name: value for name, value in message.items() if name not in (PLACES, ASK_AFTER)}
    if early.places:
        kept[PLACES] = dict(early.places)
    if early.line not in early.places:
        kept[ASK_AFTER] = early.at
    return kept
