"""SQS in virtual time: queues that deliver their messages to consumers."""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.deployment import CONSUMERS, QueueSettings
from tests.simulation.limits import LONGEST_CHAIN
from tests.simulation.scheduler import Signal, VirtualScheduler
from tests.support.fakes.errors import Cross

LONGEST_POLLER_PAUSE_SECONDS = 20.0


class ThrottledError(Exception):
    """Lambda did not run a function, because the account's concurrency was used up."""


@dataclass
class Message:
    """A message in a queue. A consumer may change `visible_at`.

    `chain`: how often each function ran in the chain of messages that led to this one. `failures`: how often its consumer failed or died,
    `kept_back`: how many of these times only because AWS throttled a call. `throttled`: how often its consumer was not run.
    """

    body: str
    id: str
    chain: Mapping[str, int] = field(default_factory=dict)
    receives: int = 0
    first_received: float = 0.0
    visible_at: float = 0.0
    failures: int = 0
    kept_back: int = 0
    throttled: int = 0


class FakeSQS:
    """Queues by URL. `consumer(url, message)` processes one and returns whether it is done. It raises ThrottledError if it was not run."""

    def __init__(self, scheduler: VirtualScheduler, rng: random.Random, cross: Cross, settings: Mapping[str, QueueSettings]) -> None:
        self.scheduler, self._rng, self._cross, self.settings = scheduler, rng, cross, settings
        self.consumers: dict[str, Callable[[Message], bool]] = {}
        self.dead: dict[str, list[str]] = {}
        self.concurrency: dict[str, int] = {}
        """By queue, how many messages are consumed at once; any number where nothing is said."""
        self.duplicates = 0.0
        self.late: Callable[[str], float] = lambda body: 0.0
        """For how many seconds a message is on its way, given its body."""
        self.chain: Callable[[], Mapping[str, int]] = dict
        """How often each function ran in the chain of messages that led to the call that is being made."""
        self.lost: Callable[[str, Message], None] = lambda why, message: None
        """Called with a message that SQS or Lambda moves to the dead-letter queue."""
        self.given_up: Callable[[str], None] = lambda reason: None
        """Called with the reason when a consumer sends its message to the dead-letter queue."""
        self.chains: Counter[int] = Counter()
        """By number of runs of the consumer in one chain, how many messages came after them."""
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
                self.given_up((MessageAttributes or {}).get("reason", {}).get("StringValue", ""))
                return {}
            late = self.late(MessageBody)
            copies = 1 + (self._rng.random() < self.duplicates)
            for _ in range(copies):
                message = Message(MessageBody, f"m{next(self._ids)}", self.chain())
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
        settings = self.settings[url]
        before = message.chain.get(CONSUMERS[url], 0)
        self.chains[before] += 1
        while True:
            message.receives += 1
            message.first_received = message.first_received or self.scheduler.now
            looped = before >= LONGEST_CHAIN and not settings.may_loop
            if looped or message.receives > settings.most_receives:
                self.dead.setdefault(url + "-dead", []).append(message.body)
                self.lost("recursive chain stopped" if looped else "received too often", message)
                break
            self._by_handle[message.id] = message
            message.visible_at = self.scheduler.now + settings.visibility
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
            message.visible_at = self.scheduler.now + self.settings[url].visibility
        else:
            self._consuming[url] += 1
        try:
            return self._run(url, message)
        finally:
            if queued:
                self.scheduler.fire(queued.popleft())
            else:
                self._consuming[url] -= 1

    def _run(self, url: str, message: Message) -> bool:
        """Have a message consumed. While Lambda is throttled, it is tried again until the message becomes visible to other pollers."""
        pause = 1.0
        while True:
            try:
                return self.consumers[url](message)
            except ThrottledError:
                message.throttled += 1
            if self.scheduler.now + pause >= message.visible_at:
                return False
            self.scheduler.sleep(pause)
            pause = min(LONGEST_POLLER_PAUSE_SECONDS, 2 * pause)
