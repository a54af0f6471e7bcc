"""Runs callers concurrently, one step at a time. A seed decides which caller continues at each external call, so a race can be repeated."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.sandbox import Moment


class Interleaving:
    """Give its `tap` to a sandbox's taps, then `run` the callers. Only one of their threads runs at any time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._turns: dict[threading.Thread, threading.Semaphore] = {}
        self._done = threading.Semaphore(0)

    def run(self, callers: Sequence[Callable[[], Any]]) -> list[Any]:
        """The callers' results in their order; an exception if the caller raised one."""
        results: list[Any] = [None] * len(callers)

        def work(index: int, caller: Callable[[], Any]) -> None:
            me = threading.current_thread()
            self._turns[me].acquire()
            try:
                results[index] = caller()
            except Exception as error:
                results[index] = error
            del self._turns[me]
            (self._draw() or self._done).release()

        threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(callers)]
        self._turns = {thread: threading.Semaphore(0) for thread in threads}
        for thread in threads:
            thread.start()
        turn = self._draw()
        if turn is not None:
            turn.release()
            self._done.acquire()
        for thread in threads:
            thread.join()
        return results

    def tap(self, moment: Moment) -> None:
        """Let one of the callers continue, the same or another."""
        mine = self._turns.get(threading.current_thread())
        if mine is None:
            return
        turn = self._draw()
        if turn is not None and turn is not mine:
            turn.release()
            mine.acquire()

    def _draw(self) -> threading.Semaphore | None:
        return self._random.choice(list(self._turns.values())) if self._turns else None
