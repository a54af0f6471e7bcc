"""Stripe's pace: every call books a place in its operation's line, which moves at the agreed rate. Nobody sleeps: who is early comes again.

One item of the table is a line: the generic cell rate algorithm, in two clocks. `next_ms` is the next free place, which single
verifications book however far ahead it is. A batch's work takes a place only where one is free within the coming second; otherwise it is
told a time to come again, by a clock of its own (`batch_ms`) that moves at the same rate. So singles overtake any batch, and a batch uses
what they leave. Places are times and nothing else: who dies on the way leaves an unused one behind.

When Stripe answers 429, the line moves at half its speed, and half of what it lost comes back every 30 seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from titleholder.errors import PaceExceededError
from titleholder.store import Slowness, Store

PLACES = "places"
"""Where a queue message bears the places that it booked (Unix seconds, by line)."""

BATCH = ("priority", "batch")
"""What a queue message of a batch bears."""

AT_ONCE_SECONDS = 0.2
"""How far ahead a place may be and still be taken at once: SQS delays by whole seconds, and a lone request must not wait for one."""

LONGEST_WAIT_SECONDS = 1.0
"""The same for a caller who waits for the answer, for work that has waited for one line already, and for a batch."""

NEAR_SECONDS = 3.0
"""How far ahead a place may be for a call that could be made in another line: beyond it, that one is taken."""

RECOVERY_SECONDS = 30.0
MOST_SLOW = 16.0
SLOW_AGAIN_SECONDS = 1.0
"""Calls that were on their way together are refused together: that counts once."""


def factor(slowness: Slowness, now: float) -> float:
    """By how much a line moves slower than agreed at `now`: 1 if Stripe has not complained lately."""
    lasting: float = 0.5 ** (max(0.0, now - slowness.since) / RECOVERY_SECONDS)
    return 1 + (slowness.factor - 1) * lasting


def slower(slowness: Slowness, now: float) -> Slowness:
    """The line after one more 429 at `now`."""
    if now - slowness.since < SLOW_AGAIN_SECONDS:
        return slowness
    return Slowness(factor=min(MOST_SLOW, 2 * factor(slowness, now)), since=now)


class Pace:
    """The lines, at `rate` calls a second each. Remembers how slow each was when it was last looked at."""

    def __init__(self, store: Store, rate: float, clock: Callable[[], float]) -> None:
        self._store = store
        self._rate = rate
        self._clock = clock
        self._slow: dict[str, Slowness] = {}

    def book(self, line: str, now: float) -> float:
        """A single's place (Unix seconds, not before now)."""
        place = self._store.book(line, self._rate_of(line, now), now)
        self._slow[line] = place.slowness
        return place.at

    def book_near(self, line: str, now: float, seconds: float) -> float | None:
        """A single's place if there is one within so many seconds, else None."""
        place = self._store.book_if_near(line, self._rate_of(line, now), now, now + seconds)
        if place is None:
            return None
        self._slow[line] = place.slowness
        return place.at

    def book_for_batch(self, line: str, now: float) -> tuple[bool, float]:
        """Whether a batch's call may go now, and if not, when to ask again."""
        rate = self._rate_of(line, now)
        place = self._store.book_if_near(line, rate, now, now + LONGEST_WAIT_SECONDS - 1 / rate)
        if place is not None:
            self._slow[line] = place.slowness
            return True, now
        return False, self._store.book_again(line, rate, now + LONGEST_WAIT_SECONDS)

    def refused(self, line: str) -> None:
        """Stripe answered 429."""
        now, known = self._clock(), self._store.slowness(line)
        self._slow[line] = slower(known, now)
        if self._slow[line] != known:
            self._store.slow_down(line, self._slow[line], known)

    def gate(self, message: Mapping[str, Any] | None = None) -> Gate:
        """For the work of one queue message, or of a caller who waits."""
        return Gate(self, self._clock, message)

    def _rate_of(self, line: str, now: float) -> float:
        return self._rate / factor(self._slow.get(line, Slowness()), now)


class Gate:
    """Lets the calls of one piece of work through."""

    def __init__(self, pace: Pace, clock: Callable[[], float], message: Mapping[str, Any] | None) -> None:
        self._pace = pace
        self._clock = clock
        self._patience = LONGEST_WAIT_SECONDS if message is None else AT_ONCE_SECONDS
        self._places: dict[str, float] = dict((message or {}).get(PLACES) or {})
        self._near = LONGEST_WAIT_SECONDS if message is None else NEAR_SECONDS
        self._granted: set[str] = set()
        self.batch = message is not None and message.get(BATCH[0]) == BATCH[1]

    def enter(self, line: str) -> None:
        """Return if a call may be made now. Raises PaceExceededError, which tells when it may."""
        if line in self._granted:
            self._granted.remove(line)
            return
        now = self._clock()
        booked = self._places.pop(line, None)
        if self.batch:
            free, at = (False, booked) if booked is not None and booked > now else self._pace.book_for_batch(line, now)
        else:
            at = self._pace.book(line, now) if booked is None else booked
            free = at <= now + self._patience
        if not free:
            raise PaceExceededError(int(at - now) + 1, line, at)
        # The burst was spread by the first line already.
        self._patience = LONGEST_WAIT_SECONDS

    def enter_first(self, line: str, other: str) -> str:
        """Return in which of two lines a call may be made now: in `line` unless its next place is far, else in `other`.

        Raises PaceExceededError, which tells when it may.
        """
        if line not in self._places and other not in self._places:
            at = self._pace.book_near(line, self._clock(), self._near)
            if at is not None:
                self._places[line] = at
        chosen = line if line in self._places else other
        self.enter(chosen)
        return chosen

    def enter_ahead(self, line: str) -> None:
        """As `enter`, for a call that will be made later on."""
        self.enter(line)
        self._granted.add(line)

    def refused(self, line: str) -> None:
        """Stripe answered 429."""
        self._pace.refused(line)


def later(message: Mapping[str, Any], early: PaceExceededError) -> dict[str, Any]:
    """The message as it is to come again, with the place that was booked for it."""
    return {**message, PLACES: {early.line: early.at}}
