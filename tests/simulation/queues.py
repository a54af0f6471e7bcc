"""SQS in virtual time: queues that deliver their messages to consumers."""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulation.scheduler import Signal, VirtualScheduler
from tests.support.fakes.errors import Cross

MOST_RECEIVES = 8
VISIBILITY_SECONDS = 120.0


@dataclass
class Message:
    """A message in a queue. A consumer may change `visible_at`."""

    body: str
    id: str
    receives: int = 0
    visible_at: float = 0.0


class FakeSQS:
    """Queues by URL. `consumer(url, message)` processes one and returns whether it is done."""

    def __init__(self, scheduler: VirtualScheduler, rng: random.Random, cross: Cross) -> None:
        self.scheduler, self._rng, self._cross = scheduler, rng, cross
        self.consumers: dict[str, Callable[[Message], bool]] = {}
        self.dead: dict[str, list[str]] = {}
        self.concurrency: dict[str, int] = {}
        """By queue, how many messages are consumed at once; any number where nothing is said."""
        self.duplicates = 0.0
        self.late: Callable[[str], float] = lambda body: 0.0
        """For how many seconds a message is on its way, given its body."""
        self.in_flight = 0
        self._consuming: Counter[str] = Counter()
        self._queued: dict[str, deque[Signal]] = {}
        self._by_handle: dict[str, Message] = {}
        self._ids = itertools.count()

    def send_message(
        self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0, MessageAttributes: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if QueueUrl not in self.consumers:
                self.dead.setdefault(QueueUrl, []).append(MessageBody)
                return {}
            late = self.late(MessageBody)
            copies = 1 + (self._rng.random() < self.duplicates)
            for _ in range(copies):
                message = Message(MessageBody, f"m{next(self._ids)}")
                self.in_flight += 1
                self.scheduler.spawn(lambda message=message: self._live(QueueUrl, message), DelaySeconds + late)  # type: ignore[misc]
            return {}

        return self._cross("SendMessage", effect)  # type: ignore[no-any-return]

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            self._by_handle[ReceiptHandle].visible_at = self.scheduler.now + VisibilityTimeout
            return {}

        return self._cross("ChangeMessageVisibility", effect)  # type: ignore[no-any-return]

    def _live(self, url: str, message: Message) -> None:
        while True:
            message.receives += 1
            if message.receives > MOST_RECEIVES:
                self.dead.setdefault(url + "-dead", []).append(message.body)
                break
            self._by_handle[message.id] = message
            message.visible_at = self.scheduler.now + VISIBILITY_SECONDS
            if self._consumed(url, message):
                break
            self.scheduler.sleep(message.visible_at - self.scheduler.now)
        self._by_handle.pop(message.id, None)
        self.in_flight -= 1

    def _consumed(self, url: str, message: Message) -> bool:
        queued = self._queued.setdefault(url, deque())
        if self._consuming[url] >= self.concurrency.get(url, 10**9):
            queued.append(turn := Signal())
            # A consumer that ends frees its place for the next one.
            self.scheduler.wait(turn, 10**9)
            message.visible_at = self.scheduler.now + VISIBILITY_SECONDS
        else:
            self._consuming[url] += 1
        try:
            return self.consumers[url](message)
        finally:
            if queued:
                self.scheduler.fire(queued.popleft())
            else:
                self._consuming[url] -= 1
