"""Unfinished work, and the sparse index `open` that lists it.

An item is unfinished while its refresh has not been fetched, its verification has no verdict, its erasure has not ended, its disconnection
has to be repeated, its announcement was not taken by the event bus, it waits for an inactive account to be repaired, its message was put
back into its queue too often, its review waits for a reviewer, or the end of its review was not recorded and announced. Open reviews are
listed by the time at which they were opened. That is the order of the reviewers' queue, so no other use postpones or touches them until
they are closed. The end of a review has a kind of its own, because release 0.2.0 removes every item of the kind `announcement` from the
list, even one that it does not know.

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
"""The attributes that an item loses when it is finished."""


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An unfinished item, as the index lists it. `ref` or `verification` is None if the item is not about one.

    `since` (Unix seconds): when a repair was last tried; for a review, when it was opened.
    """

    kind: OpenKind
    pk: str
    sk: str
    ref: AccountRef | None
    verification: str | None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event to be published: its detail type and its detail (ids and codes, no personal data)."""

    type: str
    detail: Mapping[str, Any]


def opened(kind: OpenKind, since: float) -> Item:
    """The attributes of an item that is not finished."""
    return {"open_kind": kind, "open_since_ms": to_milliseconds(since)}


def unannounced(announcement: Announcement, now: float) -> Item:
    """The attributes of an item whose change has yet to be announced."""
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
        """Unfinished items whose `since` is before `before` (Unix seconds), the longest waiting first."""
        condition, values = "open_kind = :kind AND open_since_ms < :before", {":kind": kind, ":before": to_milliseconds(before)}
        return [_open_item(item) for item in self._table.query_index("open", condition, values, limit)]

    def list_behind(self, kind: OpenKind, position: str | None, limit: int) -> tuple[list[OpenItem], str | None]:
        """Up to `limit` unfinished items after a position, the longest waiting first; and the next position, None at the end.

        For items that `touch` must not move, because their order is shown to users.
        """
        start = None if position is None else {"open_kind": kind, **json.loads(position)}
        found = self._table.query_index("open", "open_kind = :kind", {":kind": kind}, limit, start=start)
        last = {name: found[-1][name] for name in ("open_since_ms", "pk", "sk")} if len(found) == limit else None
        return [_open_item(item) for item in found], None if last is None else json.dumps(last)

    def count(self, kind: OpenKind, most: int) -> int:
        """How many items of a kind are not finished, counted up to about `most`."""
        return self._table.count_index("open", "open_kind = :kind", {":kind": kind}, most)

    def touch(self, item: OpenItem, now: float) -> int | None:
        """Move an item to the end of its list before it is repaired, so that it does not delay the others if the repair crashes.

        Returns how often its repair has failed in a row; None if it is finished.
        """
        kept = self._table.updated(
            item.pk, item.sk, set_={"open_since_ms": to_milliseconds(now)}, condition="open_kind = :kind", values={":kind": item.kind}
        )  # fmt: skip
        return None if kept is None else int(kept.get("repair_tries", 0))

    def postpone(self, item: OpenItem, since: float, tries: int) -> bool:
        """Set an item's `since` (Unix seconds; a later time keeps it off the list for longer), after `tries` failed repairs in a row."""
        return self._table.update(
            item.pk, item.sk, set_={"open_since_ms": to_milliseconds(since), "repair_tries": tries}, condition="open_kind = :kind",
            values={":kind": item.kind},
        )  # fmt: skip

    def get_announcement(self, item: OpenItem) -> Announcement | None:
        """The announcement of an item that is not a verification; None if it was published."""
        kept = (self._table.get(item.pk, item.sk) or {}).get("announcement")
        return None if kept is None else Announcement(**json.loads(kept))

    def mark_announced(self, item: OpenItem) -> bool:
        return mark_announced(self._table, item.pk, item.sk)

    def get_cursor(self, what: str) -> str | None:
        """Where the last part of a long listing ended; None to begin again."""
        item = self._table.get(f"RECONCILE#{what}", "RECONCILE")
        return None if item is None else item.get("at")

    def set_cursor(self, what: str, at: str | None) -> None:
        self._table.put({"pk": f"RECONCILE#{what}", "sk": "RECONCILE", "at": at})


def _open_item(item: Item) -> OpenItem:
    ref = AccountRef.from_dict(item) if "account" in item else None
    return OpenItem(item["open_kind"], item["pk"], item["sk"], ref, item.get("verification"), from_milliseconds(item["open_since_ms"]))
