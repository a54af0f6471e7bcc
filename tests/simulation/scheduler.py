"""Virtual time: activities take turns at their waits, so a seed always gives the same sequence of events."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

Activity = Callable[[], None]


class VirtualScheduler:
    """Runs activities one at a time, each until it waits. `now` (Unix seconds) advances only while all wait."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._main = getcurrent()
        self._queue: list[tuple[float, int, greenlet, object]] = []
        self._numbers = itertools.count()
        self._awaited: dict[greenlet, object] = {}
        self._closed = False
        self.kept: Callable[[], Callable[[], None]] = lambda: lambda: None
        """Keeps, before an activity waits, what it shares with others though it takes it for its own; what that returns gives it back."""

    def spawn(self, activity: Activity, delay: float = 0.0) -> None:
        """Begin an activity in `delay` seconds."""
        self._wake_at(self.now + delay, greenlet(activity, self._main), object())

    def sleep(self, seconds: float) -> None:
        """Wait, while other activities run."""
        self.wait(None, seconds)

    def wait(self, signal: Signal | None, timeout: float) -> bool:
        """Wait until `signal` is set or `timeout` seconds are over; returns whether it is set."""
        if signal is not None and signal.set_:
            return True
        me, ticket = getcurrent(), object()
        if me is self._main:
            raise RuntimeError("only an activity can wait")
        self._awaited[me] = ticket
        self._wake_at(self.now + max(0.0, timeout), me, ticket)
        if signal is not None:
            signal.waiting.append((me, ticket))
        give_back = self.kept()
        self._main.switch()
        if self._closed:
            raise GreenletExit
        give_back()
        return signal is not None and signal.set_

    def fire(self, signal: Signal) -> None:
        """Set a signal and wake the activities that wait for it."""
        signal.set_ = True
        for activity, ticket in signal.waiting:
            self._wake_at(self.now, activity, ticket)
        signal.waiting.clear()

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Run the activities until time `until`, until none has anything left to do, or until `done()`."""
        while self._queue and self._queue[0][0] <= until and not done():
            at, _, activity, ticket = heapq.heappop(self._queue)
            if activity in self._awaited and self._awaited[activity] is not ticket:
                continue
            if activity.dead:
                continue
            self._awaited.pop(activity, None)
            self.now = max(self.now, at)
            activity.switch()
        if not done():
            self.now = max(self.now, until)

    def close(self) -> None:
        """End the activities that still wait. Each would keep all that it can reach in memory, because its stack is never collected."""
        self._closed = True
        for activity in {*self._awaited, *(queued[2] for queued in self._queue)}:
            while not activity.dead:
                activity.throw()
        self._awaited.clear()
        self._queue.clear()
        self._closed = False

    def _wake_at(self, at: float, activity: Any, ticket: object) -> None:
        heapq.heappush(self._queue, (at, next(self._numbers), activity, ticket))


class Signal:
    """Something that happens once."""

    def __init__(self) -> None:
        self.set_ = False
        self.waiting: list[tuple[Any, object]] = []
