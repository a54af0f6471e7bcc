"""What is not finished, and the sparse index `open` that lists it.

An item is unfinished while its refresh has not been fetched, its verification has no verdict, its erasure has not ended, its disconnection
has to be repeated, its announcement was not taken by the event bus, it waits for an inactive account to be repaired, its message was put
back into its queue too often, its review waits for a reviewer, or the end of its review was not recorded and announced. Open reviews are
listed since they were opened: that is the order of their queue, so nothing postpones or touches them until they are closed. Their end has a
kind of its own, because release 0.2.0 takes each item of the kind `announcement` off the list, also those that it does not know.

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
from titleholder.timestamps import from_milliseconds, to_milliseconds

OpenKind = Literal[
    "refresh", "erasure", "disconnection", "verification", "announcement", "repair", "event", "review", "review_second", "review_end",
]  # fmt: skip

CLOSED = ("open_kind", "open_since_ms", "repair_tries")
"""What an item loses when it is finished."""


@dataclass(frozen=True, slots=True)
class OpenItem:
    """Something that is not finished, as the index lists it. `ref` or `verification` is None where the item is not about one.

    `since` (Unix seconds): when it was last looked at, and of a review when it was opened.
    """

    kind: OpenKind
    pk: str
    sk: str
    ref: AccountRef | None
    verification: str | None
    since: float = 0.0


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
        return [_open_item(item) for item in self._table.query_index("open", condition, values, limit)]

    def list_behind(self, kind: OpenKind, position: str | None, limit: int) -> tuple[list[OpenItem], str | None]:
        """Up to `limit` of what is not finished, the longest waiting first, from behind a position; and the next position, None at the end.

        For items that `touch` must not move, because their order is shown.
        """
        start = None if position is None else {"open_kind": kind, **json.loads(position)}
        found = self._table.query_index("open", "open_kind = :kind", {":kind": kind}, limit, start=start)
        last = {name: found[-1][name] for name in ("open_since_ms", "pk", "sk")} if len(found) == limit else None
        return [_open_item(item) for item in found], None if last is None else json.dumps(last)

    def count(self, kind: OpenKind, most: int) -> int:
        """How much of a kind is not finished, counted up to about `most`."""
        return self._table.count_index("open", "open_kind = :kind", {":kind": kind}, most)

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


def _open_item(item: Item) -> OpenItem:
    ref = AccountRef.from_dict(item) if "account" in item else None
    return OpenItem(item["open_kind"], item["pk"], item["sk"], ref, item.get("verification"), from_milliseconds(item["open_since_ms"]))
