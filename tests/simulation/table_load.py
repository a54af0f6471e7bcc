"""A busy DynamoDB in the simulation: throttled calls and transactions, other writers in the way, unprocessed keys, repeated calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from random import Random

from tests.simulation.deployment import BEGIN
from tests.support.fakes.dynamodb import Load
from titleholder.store.patience import BUSY, THROTTLED

READS = ("GetItem", "BatchGetItem", "Query")
PARTS = ("ThrottlingError", "ThrottlingError", "ProvisionedThroughputExceeded", "TransactionConflict")
SDK_POWER = 2
"""A single call reaches the functions as throttled only after all of the SDK's own tries, so less often than a transaction."""


class TableLoad(Load):
    """Drawn from a random stream of its own, except what is given, so that it changes no other draw of a seed. `injected` counts
    what was refused.

    `throttled`, `unprocessed`, `repeated`: how likely a call is refused, a key left, an answer lost so that the SDK repeats the call.
    `outages`: between which times nearly every call is refused.
    """

    def __init__(
        self,
        seed: int,
        now: Callable[[], float],
        injected: Counter[str],
        *,
        throttled: float | None = None,
        unprocessed: float | None = None,
        outages: Sequence[tuple[float, float]] | None = None,
    ) -> None:
        self._rng = Random(f"{seed}-aws/table")
        self._now = now
        self._injected = injected
        self.active = self._rng.random() < 0.25
        self.throttled = self._rng.choice([0.02, 0.05, 0.25])
        self.unprocessed_ = self._rng.choice([0.0, 0.05, 0.3])
        self.repeated = self._rng.choice([0.0, 0.005, 0.02])
        begins = [BEGIN + self._rng.uniform(0, 3000) for _ in range(self._rng.choice([0, 0, 1, 3]))]
        drawn = [(begin, begin + self._rng.choice([3.0, 20.0, 90.0])) for begin in begins]
        self.outages = drawn if outages is None else outages
        if throttled is not None:
            self.active, self.throttled = True, throttled
        if unprocessed is not None:
            self.unprocessed_ = unprocessed

    def refusal(self, operation: str, keys: Sequence[tuple[str, str]]) -> str | None:
        if not self.active or self._rng.random() >= self._likelihood() ** SDK_POWER:
            return None
        codes = THROTTLED if operation in READS else BUSY - {"TransactionInProgressException"}
        if operation == "TransactWriteItems":
            codes = THROTTLED | {"TransactionInProgressException"}
        return self._noted(self._rng.choice(sorted(codes)))

    def part_codes(self, keys: Sequence[tuple[str, str]], held: Sequence[bool]) -> Sequence[str] | None:
        if not self.active or self._rng.random() >= self._likelihood():
            return None
        chosen = {self._rng.randrange(len(held)), *(number for number in range(len(held)) if self._rng.random() < 0.3)}
        code = self._rng.choice(PARTS)
        self._noted(f"cancelled: {code}{'' if all(held) else ' beside a failed condition'}")
        return [code if number in chosen else "None" if fine else "ConditionalCheckFailed" for number, fine in enumerate(held)]

    def unprocessed(self, keys: Sequence[tuple[str, str]]) -> Set[int]:
        if not self.active or not self.unprocessed_:
            return frozenset()
        left = {number for number in range(len(keys)) if self._rng.random() < self.unprocessed_}
        self._injected["table: key left unprocessed"] += len(left)
        return left

    def repeats(self) -> bool:
        """Whether the answer to a call is lost, so that the SDK makes the same call again."""
        again = self.active and self._rng.random() < self.repeated
        self._injected["table: call repeated by the SDK"] += again
        return again

    def _likelihood(self) -> float:
        return 0.95 if any(begin <= self._now() < end for begin, end in self.outages) else self.throttled

    def _noted(self, kind: str) -> str:
        self._injected[f"table: {kind}"] += 1
        return kind
