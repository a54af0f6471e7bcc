"""The only source of time, timers and ids, so that a run can be repeated."""

from __future__ import annotations

import heapq
import itertools
import random
import string
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

ALPHABET = string.ascii_letters + string.digits


class Scope(NamedTuple):
    """Owner of objects: a connected account (None is the platform), in live or test mode. Scopes never mix."""

    stripe_account: str | None
    livemode: bool


class Timeline:
    """Timers. None runs by itself: `advance` runs the due ones in order, each at its own instant."""

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        self._clock = clock
        self._instant: float | None = None
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.random = random.Random(seed)
        self.first_ids: dict[str, deque[str]] = {}

    def now(self) -> float:
        """Unix seconds. Inside a timer it is the timer's instant, also if it runs later."""
        return self._clock() if self._instant is None else self._instant

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._order), action))

    def advance(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            self._instant, _, action = heapq.heappop(self._timers)
            try:
                action()
            finally:
                self._instant = None

    def next_due(self) -> float | None:
        return self._timers[0][0] if self._timers else None

    def clear(self) -> None:
        self._timers.clear()

    def new_id(self, prefix: str, length: int = 24) -> str:
        if first := self.first_ids.get(prefix):
            return first.popleft()
        return f"{prefix}_{''.join(self.random.choices(ALPHABET, k=length))}"
