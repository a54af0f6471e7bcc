"""Rate limits for Stripe: when the next slot of each bucket is free, and how many calls were made in the last second.

Rows: a bucket, PACE#<bucket> / PACE; the calls of the last second, PACE#all / PACE; the HTTP calls that wait for a verdict,
PACE#waiting / PACE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from titleholder.domain.rate import Backoff, Reservation
from titleholder.errors import TableBusyError
from titleholder.store.table import Item, Table
from titleholder.timestamps import from_milliseconds, to_milliseconds

TICKS_PER_SECOND, TICKS = 10, 16
"""Calls to Stripe are counted by tenths of a second, in a ring of 16 counters: more than a second, so no counter is reused too early."""

WAITING_TICKS = 64
"""Waiting calls are counted by the second in which they end, in a ring of 64 counters. That is more than the longest wait, so no counter is
reused too early.
"""

TRIES = 20


class RateLimits:
    def __init__(self, table: Table) -> None:
        self._table = table

    def reserve(self, bucket: str, rate: float, now: float) -> Reservation:
        """Reserve the next free slot of a bucket that has `rate` slots a second, not before now."""
        for _ in range(TRIES):
            if reservation := self._reserve(bucket, "next_ms", rate, now):
                return reservation
        raise TableBusyError(f"Could not reserve a rate-limit slot after {TRIES} attempts.")

    def reserve_until(self, bucket: str, rate: float, now: float, until: float) -> Reservation | None:
        """As `reserve`, but only a slot up to `until`; None if there is none."""
        return self._reserve(bucket, "next_ms", rate, now, until)

    def next_try(self, bucket: str, kind: str, rate: float, earliest: float) -> float:
        """When work of a kind (`single` or `batch`) has to ask for a slot again. `rate` of these times are handed out a second."""
        for _ in range(TRIES):
            if reservation := self._reserve(bucket, f"{kind}_ms", rate, earliest):
                return reservation.at
        raise TableBusyError(f"Could not determine the next try for a rate-limit slot after {TRIES} attempts.")

    def _reserve(self, bucket: str, attribute: str, rate: float, earliest: float, until: float | None = None) -> Reservation | None:
        values = {":at": to_milliseconds(earliest), ":step": round(1000 / rate)}
        near, limit = ("", {}) if until is None else (f" AND {attribute} <= :until", {":until": to_milliseconds(until)})
        for next_, condition, more in (
            (":at + :step", f"attribute_not_exists({attribute}) OR {attribute} <= :at", {}),
            (f"{attribute} + :step", f"{attribute} > :at{near}", limit),
        ):
            item = self._compute(bucket, {attribute: next_}, condition, {**values, **more})
            if item is not None:
                return Reservation(at=max(earliest, from_milliseconds(item[attribute] - values[":step"])), backoff=_backoff(item))
        return None

    def count_call(self, now: float) -> int:
        """Count a call to Stripe. Returns how many calls of all operations were counted in the last second, including this one.

        Counted by tenths of a second, so that one write is enough. The number covers up to a tenth more than a second, never less.
        """
        tick = int(now * TICKS_PER_SECOND)
        return _since(self._count("all", tick, TICKS), tick - TICKS_PER_SECOND, TICKS)

    def uncount_call(self, now: float) -> None:
        """Remove a call from the count of `now`, because it was not made."""
        self._uncount("all", int(now * TICKS_PER_SECOND), TICKS)

    def begin_waiting(self, until: float, now: float) -> int:
        """Count an HTTP call that waits until `until`. Returns how many calls wait at `now`, including this one (times in Unix seconds).

        A call that crashes is counted until `until` at most.
        """
        return _since(self._count("waiting", int(until) + 1, WAITING_TICKS), int(now) + 1, WAITING_TICKS)

    def end_waiting(self, until: float) -> None:
        """Remove a call that waits until `until` from the count."""
        self._uncount("waiting", int(until) + 1, WAITING_TICKS)

    def _count(self, bucket: str, tick: int, ticks: int) -> Item:
        """Count one in a ring of `ticks` counters; returns the item with all of them."""
        count, at = f"count{tick % ticks}", f"tick{tick % ticks}"
        for _ in range(TRIES):
            for compute, condition in (
                # If this call took long to arrive, a later tick may use the counter already. It then counts for that tick.
                ({count: f"{count} + :one"}, f"{at} >= :tick"),
                ({at: ":tick", count: ":one"}, f"attribute_not_exists({at}) OR {at} < :tick"),
            ):
                item = self._compute(bucket, compute, condition, {":tick": tick, ":one": 1})
                if item is not None:
                    return item
        raise TableBusyError(f"Could not count a call after {TRIES} attempts.")

    def _uncount(self, bucket: str, tick: int, ticks: int) -> None:
        count, at = f"count{tick % ticks}", f"tick{tick % ticks}"
        self._compute(bucket, {count: f"{count} + :less"}, f"{at} = :tick", {":tick": tick, ":less": -1})

    def backoff(self, bucket: str) -> Backoff:
        return _backoff(self._table.get(_pk(bucket), "PACE") or {})

    def set_backoff(self, bucket: str, backoff: Backoff, known: Backoff) -> bool:
        """Make a bucket slower; False if another worker did since `known` was read."""
        unchanged = "slowed_ms = :known" if known != Backoff() else "attribute_not_exists(slowed_ms)"
        return self._table.update(
            _pk(bucket), "PACE", set_={"slow_percent": round(backoff.factor * 100), "slowed_ms": to_milliseconds(backoff.since)},
            condition=unchanged, values={":known": to_milliseconds(known.since)} if known != Backoff() else {},
        )  # fmt: skip

    def _compute(self, bucket: str, compute: Mapping[str, str], condition: str, values: Mapping[str, Any]) -> Item | None:
        return self._table.updated(_pk(bucket), "PACE", compute=compute, condition=condition, values=values)


def _since(item: Item, tick: int, ticks: int) -> int:
    """The sum of a ring's counters from `tick` on."""
    return sum(item[f"count{slot}"] for slot in range(ticks) if item.get(f"tick{slot}", 0) >= tick)


def _pk(bucket: str) -> str:
    return f"PACE#{bucket}"


def _backoff(item: Item) -> Backoff:
    return Backoff(item["slow_percent"] / 100, from_milliseconds(item["slowed_ms"])) if "slowed_ms" in item else Backoff()
