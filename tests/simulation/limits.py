"""What AWS refuses when there is too much of it: Lambda's concurrency and its recursive chains, Step Functions' calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

LONGEST_CHAIN = 16
"""How often Lambda runs a function in one chain of messages. It stops the next one, where the function does not allow loops."""

QUOTAS: Mapping[str, tuple[float, float]] = {
    "StartExecution": (800, 150),
    "StopExecution": (500, 25),
    "DescribeExecution": (250, 10),
    "SendTaskSuccess": (1500, 300),
    "SendTaskFailure": (1500, 300),
    "SendTaskHeartbeat": (1500, 300),
}
"""Step Functions' calls of an account in most Regions: how many at once, and how many a second for long (its service quotas)."""


@dataclass
class Concurrency:
    """How many invocations Lambda runs at once: `limit` in the account, of which `reserved` are for single functions alone.

    `by_others`: how many invocations of other functions of the account run.
    """

    limit: int = 1000
    reserved: Mapping[str, int] = field(default_factory=dict)
    by_others: int = 0
    running: Counter[str] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    most: int = 0

    def begin(self, function: str) -> bool:
        """Whether one more invocation of the function may begin now."""
        own = self.reserved.get(function)
        shared = sum(count for name, count in self.running.items() if name not in self.reserved)
        left = self.limit - sum(self.reserved.values()) - self.by_others - shared if own is None else own - self.running[function]
        if left <= 0:
            self.throttled[function] += 1
            return False
        self.running[function] += 1
        self.most = max(self.most, self.running.total())
        return True

    def end(self, function: str) -> None:
        self.running[function] -= 1


@dataclass
class CallQuotas:
    """Token buckets of Step Functions' calls. `refused`: operations whose calls are all refused at the moment."""

    quotas: Mapping[str, tuple[float, float]] = field(default_factory=lambda: QUOTAS)
    refused: frozenset[str] = frozenset()
    throttled: Counter[str] = field(default_factory=Counter)
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, operation: str, now: float) -> bool:
        """Whether one more call may be made now."""
        most, rate = self.quotas[operation]
        left, since = self._left.get(operation, (most, now))
        left = min(most, left + rate * (now - since))
        taken = left >= 1 and operation not in self.refused
        self._left[operation] = (left - taken, now)
        self.throttled[operation] += not taken
        return taken
