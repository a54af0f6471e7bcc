"""Batches, the ranges of their manifests, and the counts of their verdicts.

Rows, all under BATCH#<id>: the batch, BATCH; the result of one range of its manifest, RANGE#<number>; a shard of the running count of its
verdicts, COUNT#<shard>.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from titleholder.errors import BatchNotFoundError
from titleholder.store.open_work import Announcement, mark_announced, unannounced
from titleholder.store.table import Item, Table
from titleholder.timestamps import to_milliseconds

SHARDS = 8


class Batches:
    def __init__(self, table: Table) -> None:
        self._table = table

    def create(self, batch: str, attributes: Mapping[str, Any]) -> bool:
        """Store a new batch; False if it exists already."""
        return self._table.insert({"pk": _pk(batch), "sk": "BATCH", "batch": batch, **attributes}) is None

    def get(self, batch: str) -> Item:
        """Raises BatchNotFoundError."""
        item = self._table.get(_pk(batch), "BATCH")
        if item is None:
            raise BatchNotFoundError
        return item

    def update(self, batch: str, attributes: Mapping[str, Any], *, unless: Sequence[str] = ()) -> bool:
        """Set attributes of a batch; False if its `batch_state` is one of `unless`."""
        states = {f":unless{number}": state for number, state in enumerate(unless)}
        allowed = f" AND NOT batch_state IN ({', '.join(states)})" if states else ""
        return self._table.update(_pk(batch), "BATCH", set_=dict(attributes), condition=f"attribute_exists(pk){allowed}", values=states)

    def begin_look(self, batch: str, run: int, now_ms: int, before_ms: int) -> bool:
        """Store that the batch's run `run` is checked now; False if it was already checked at `before_ms` or later (Unix milliseconds)."""
        return self._table.update(
            _pk(batch), "BATCH", set_={"looked_run": run, "looked_ms": now_ms},
            condition="attribute_exists(pk) AND (attribute_not_exists(looked_ms) OR looked_ms < :before OR looked_run <> :run)",
            values={":before": before_ms, ":run": run},
        )  # fmt: skip

    def complete(self, batch: str, now: float, announcement: Announcement) -> bool:
        """Mark a batch as completed; its end counts as unannounced until `mark_announced`. False if it was stopped."""
        ended = {"batch_state": "completed", "completed_ms": to_milliseconds(now), **unannounced(announcement, now)}
        return self.update(batch, ended, unless=["stopped"])

    def mark_announced(self, batch: str) -> bool:
        """Record that a batch's end was announced."""
        return mark_announced(self._table, _pk(batch), "BATCH")

    def record_cooldown(self, batch: str, verification: str, until: int) -> None:
        """Record that a verification of a batch has to wait for the end of a cooldown (Unix seconds)."""
        self.count(batch, verification, "cooled")
        later = "attribute_exists(pk) AND (attribute_not_exists(cooling_until) OR cooling_until < :cooling_until)"
        self._table.update(_pk(batch), "BATCH", set_={"cooling_until": until}, condition=later)

    def put_range(self, batch: str, number: int, attributes: Mapping[str, Any]) -> None:
        """Store the result of one range of a manifest. Replaces an earlier result."""
        self._table.put({"pk": _pk(batch), "sk": _range_sk(number), "number": number, **attributes})

    def get_range(self, batch: str, number: int) -> Item | None:
        return self._table.get(_pk(batch), _range_sk(number))

    def ranges(self, batch: str) -> Iterator[Item]:
        """The result of each range, in order."""
        return self._table.query(_pk(batch), "RANGE#")

    def count(self, batch: str, verification: str, what: str) -> None:
        """Count one verification of a batch under `what`, for its progress only: a crash may lose a count."""
        self._table.increment(_pk(batch), f"COUNT#{int(verification[-2:], 16) % SHARDS:02}", what)

    def counts(self, batch: str) -> dict[str, int]:
        """The counted verifications, by what they were counted under."""
        totals: dict[str, int] = {}
        for item in self._table.query(_pk(batch), "COUNT#"):
            for name, value in item.items():
                if name not in ("pk", "sk"):
                    totals[name] = totals.get(name, 0) + value
        return totals


def _pk(batch: str) -> str:
    return f"BATCH#{batch}"


def _range_sk(number: int) -> str:
    return f"RANGE#{number:06}"
