"""Snapshots of an account's owners: how many owners one may have, and how it is split into items that DynamoDB accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from titleholder.domain.sensitive import Sensitive

MAX_OWNERS = 2_000
"""More owners than this are neither stored nor compared. Their verifications end with the reason `TOO_MANY_OWNERS`."""

MAX_BYTES = 3_000_000
"""The same applies to owners that take more bytes than this as JSON, because one transaction writes a snapshot and may have 4 MB."""

PART_BYTES = 300_000
"""A snapshot of up to this size is one item. A larger one has its owners in parts of at most this size. An item may have 400 KB."""

Owner = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One immutable `account_ownership` with all its owners. `owners`: dicts with id, name, email, phone, raw_address, refreshed_at.

    `too_many`: how many owners were read until the limit was exceeded; then `owners` is empty.
    """

    id: str
    attempted_at: int
    created: int
    owners: Sensitive[Sequence[Owner]]
    too_many: int | None = None


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """A snapshot without its owners. `changes`: those since the snapshot `since`, as dicts; None: not known.

    `too_many_owners`: there were at least `owner_count`, and none is stored. `stored_at`: Unix seconds.
    """

    id: str
    attempted_at: int
    created: int
    owner_count: int
    since: str | None = None
    changes: Sequence[Mapping[str, Any]] | None = None
    too_many_owners: bool = False
    stored_at: float = 0.0


@dataclass(frozen=True, slots=True)
class SnapshotTimes:
    """When the refresh of a snapshot was tried, when Stripe created the snapshot, and when it was stored (Unix seconds)."""

    id: str
    attempted_at: int
    created: int
    stored_at: float


HISTORY_LOOKED_AT = 100
"""How many of an account's newest snapshots are read to find what has changed since one of them."""


@dataclass(frozen=True, slots=True)
class Since:
    """The snapshots between a given one and the account's newest one.

    `newer`: the chain from the newest one back; each is followed by the snapshot that its changes are counted from. `aside`: the chain from
    the given one back to where it meets `newer`. It is empty unless the given one was stored after a newer one. `whole` False: the chains
    do not meet, because a snapshot in between is not known.
    """

    newer: Sequence[SnapshotSummary]
    aside: Sequence[SnapshotSummary]
    whole: bool


def since(history: Sequence[SnapshotSummary], snapshot: str) -> Since:
    """The snapshots between `snapshot` and the newest one. `history`: the account's snapshots, newest first, maybe without the oldest."""
    position = {known.id: number for number, known in enumerate(history)}
    newer: list[SnapshotSummary] = []
    aside: list[SnapshotSummary] = []
    ahead, behind = 0, position.get(snapshot, len(history))
    while ahead != behind:
        path, number = (newer, ahead) if ahead < behind else (aside, behind)
        path.append(history[number])
        before = position.get(history[number].since or "", 0)
        if before <= number:
            return Since(newer, aside, whole=False)
        ahead, behind = (before, behind) if path is newer else (ahead, before)
    return Since(newer, aside, whole=snapshot in position)


def fit(owners: Sequence[Owner]) -> bool:
    """Whether a snapshot may hold these owners."""
    sizes = [_size(owner) for owner in owners]
    return len(sizes) <= MAX_OWNERS and sum(sizes) <= MAX_BYTES and max(sizes, default=0) <= PART_BYTES


def in_parts(owners: Sequence[Owner]) -> list[list[dict[str, Any]]]:
    """The owners, in their order, in as few parts as they need: one for nearly every account."""
    parts: list[list[dict[str, Any]]] = [[]]
    filled = 0
    for owner in owners:
        size = _size(owner)
        if parts[-1] and filled + size > PART_BYTES:
            parts.append([])
            filled = 0
        parts[-1].append(dict(owner))
        filled += size
    return parts


def _size(owner: Owner) -> int:
    """The bytes that an owner takes in a list of owners that is serialised for encryption."""
    return len(json.dumps(dict(owner), sort_keys=True, ensure_ascii=False).encode()) + 2
