"""What is not finished, and the sparse index `open` that lists it.

An item is unfinished while its refresh has not been fetched, its verification has no verdict, its erasure has not ended, its disconnection
has to be repeated, its announcement was not taken by the event bus, it waits for an inactive account to be repaired, its message was put
back into its queue too often, or its review waits for a reviewer. Reviews are listed since they were opened: that is the order of their
queue, so nothing postpones or touches them until they are closed.

An announcement of a change is stored in the same write as the change, so that a crash never loses it. A verification's announcement is made
from its verdict.

Own rows: where reconcile stopped in a long listing, RECONCILE#<what> / RECONCILE.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from titleholder.domain.accounts import AccountRef
from titleholder.store.table import Item, Table
from titleholder.timestamps import to_milliseconds

OpenKind = Literal["refresh", "erasure", "disconnection", "verification", "announcement", "repair", "event", "review", "review_second"]

CLOSED = ("open_kind", "open_since_ms", "repair_tries")
"""What an item loses when it is finished."""


@dataclass(frozen=True, slots=True)
class OpenItem:
    """Something that is not finished, as the index lists it. `ref` or `verification` is None where the item is not about one."""

    kind: OpenKind
    pk: str
    sk: str
    ref: AccountRef | None
    verification: str | None


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is to be announced: the event's detail type and its detail (ids and codes, no personal data)."""

    type: str
    detail: Mapping[str, Any]


def opened(kind: OpenKind, since: float) -> Item:
    """What an item gets that is not finished."""
    return {"open_kind": kind, "open_since_ms": to_milliseconds(since)}


def unannounced(announcement: Announcement, now: float) -> Item:
    """What an item gets whose change is to be announced."""
    kept = json.dumps({"type": announcement.type, "detail": dict(announcement.detail)})
    return {**opened("announcement", now), "announcement": kept}


def mark_announced(table: Table, pk: str, sk: str) -> bool:
    return table.update(
        pk, sk, remove=(*CLOSED, "announcement"), condition="open_kind = :announcement", values={":announcement": "announcement"}
    )  # fmt: skip


class OpenWork:
    def __init__(self, table: Table) -> None:
        self._table = table

    def list_oldest(self, kind: OpenKind, before: float, limit: int) -> list[OpenItem]:
        """What is not finished and was last looked at before `before`, the longest waiting first."""
        condition, values = "open_kind = :kind AND open_since_ms < :before", {":kind": kind, ":before": to_milliseconds(before)}
        return [
            OpenItem(kind, item["pk"], item["sk"], AccountRef.from_dict(item) if "account" in item else None, item.get("verification"))
            for item in self._table.query_index("open", condition, values, limit)
        ]

    def touch(self, item: OpenItem, now: float) -> int | None:
        """List an item last from now on, before it is repaired, so that it does not hold up the others if the repair crashes.

        Returns how often its repair has failed in a row; None if it is finished.
        """
        kept = self._table.updated(
            item.pk, item.sk, set_={"open_since_ms": to_milliseconds(now)}, condition="open_kind = :kind", values={":kind": item.kind}
        )  # fmt: skip
        return None if kept is None else int(kept.get("repair_tries", 0))

    def postpone(self, item: OpenItem, since: float, tries: int) -> bool:
        """List an item as waiting since `since` (the later, the longer it is not listed), after `tries` repairs that failed."""
        return self._table.update(
            item.pk, item.sk, set_={"open_since_ms": to_milliseconds(since), "repair_tries": tries}, condition="open_kind = :kind",
            values={":kind": item.kind},
        )  # fmt: skip

    def get_announcement(self, item: OpenItem) -> Announcement | None:
        """What an item that is no verification has to announce; None if that was done."""
        kept = (self._table.get(item.pk, item.sk) or {}).get("announcement")
        return None if kept is None else Announcement(**json.loads(kept))

    def mark_announced(self, item: OpenItem) -> bool:
        return mark_announced(self._table, item.pk, item.sk)

    def get_cursor(self, what: str) -> str | None:
        """Where the last slice of a long listing ended; None to begin anew."""
        item = self._table.get(f"RECONCILE#{what}", "RECONCILE")
        return None if item is None else item.get("at")

    def set_cursor(self, what: str, at: str | None) -> None:
        self._table.put({"pk": f"RECONCILE#{what}", "sk": "RECONCILE", "at": at})
