"""Write units of an on-demand table in memory: what a second takes, of a whole table and of each partition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from zlib import crc32

from tests.support.fakes.dynamodb import Load

UNITS_A_SECOND = 4000
"""What a new on-demand table takes until it has grown."""

UNITS_A_PARTITION = 1000
"""What a partition takes, for good. All items with one partition key are in one partition, or in one after the other."""

WRITES = ("PutItem", "UpdateItem", "DeleteItem")
SDK_PAUSES = (1.0, 2.0, 4.0)
"""The SDK's longest pauses before its second, third and fourth try of a throttled call."""


class Bucket:
    """A token bucket that holds what one second brings, and is full at first."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = self._held = rate
        self._at = now

    def holds(self, units: float, now: float) -> bool:
        self._held, self._at = min(self.rate, self._held + (now - self._at) * self.rate), now
        return self._held >= units

    def take(self, units: float) -> None:
        self._held -= units


class WriteCapacity(Load):
    """Throttles writes beyond `units` a second to each of the two tables, and beyond 1,000 to each of their partitions.

    An item counts as one unit, and as two in a transaction, as items up to 1 KB do. A part of a cancelled transaction that could have been
    written counts as one. `written`: units by partition key.
    """

    def __init__(self, units: float, now: Callable[[], float], sleep: Callable[[float], None], partitions: int | None = None) -> None:
        self._units = units
        self._now = now
        self._sleep = sleep
        self._partitions = partitions or max(1, round(units / UNITS_A_PARTITION))
        self._buckets: dict[object, Bucket] = {}
        self._rng = Random(0)
        self.written: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()

    def refusal(self, operation: str, keys: Sequence[tuple[str, str]]) -> str | None:
        if operation not in WRITES:
            return None
        for longest in (*SDK_PAUSES, None):
            if self._take(keys[0], 1):
                return None
            self.throttled[operation] += 1
            if longest is not None:
                self._sleep(self._rng.random() * longest)
        return "ThrottlingException"

    def part_codes(self, keys: Sequence[tuple[str, str]], held: Sequence[bool]) -> Sequence[str] | None:
        fits = [self._take(key, 2) for key in keys]
        if all(fits):
            return None
        for key, fit in zip(keys, fits, strict=True):
            if fit:
                # It was prepared, and not written.
                self._take(key, -1)
        self.throttled["TransactWriteItems"] += 1
        return ["None" if fit else "ThrottlingError" for fit in fits]

    def _take(self, key: tuple[str, str], units: float) -> bool:
        pk, sk = key
        # An item of the table of keys has no sort key.
        table, partition = bool(sk), crc32(pk.encode()) % self._partitions
        now = self._now()
        rates = {table: self._units, (table, partition): min(self._units, UNITS_A_PARTITION)}
        buckets = [self._buckets.setdefault(name, Bucket(rate, now)) for name, rate in rates.items()]
        if not all(bucket.holds(units, now) for bucket in buckets):
            return False
        for bucket in buckets:
            bucket.take(units)
        self.written[pk] += int(units)
        return True
