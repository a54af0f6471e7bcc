"""Snapshots of owners, which never change, and what each of them changed.

Rows, all under ACCOUNT#<ref>: a snapshot (owners encrypted), SNAPSHOT#<fcaowns id>; a part of a large snapshot's owners (encrypted),
SNAPSHOT#<fcaowns id>#PART#<number>; what a snapshot changed, in order of time, HISTORY#<attempted at>#<created>#<fcaowns id>.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from titleholder.domain.accounts import AccountRef
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot, SnapshotSummary, SnapshotTimes, in_parts
from titleholder.errors import SnapshotNotFoundError
from titleholder.store.open_work import Announcement, mark_announced, unannounced
from titleholder.store.sealed import SealedItems, part_sks
from titleholder.store.table import Item, Table, account_pk
from titleholder.timestamps import from_milliseconds, to_milliseconds

HISTORY = "HISTORY#"


class Snapshots:
    def __init__(self, table: Table, sealed: SealedItems, retention_seconds: int) -> None:
        self._table = table
        self._sealed = sealed
        self._retention_seconds = retention_seconds

    def put(
        self,
        ref: AccountRef,
        snapshot: Snapshot,
        now: float,
        *,
        since: str | None = None,
        changes: Sequence[Mapping[str, Any]] | None = None,
        announcement: Announcement | None = None,
    ) -> int:
        """Store a snapshot with what it changed. Returns when it expires (Unix seconds). A snapshot that is stored already stays unchanged.

        All of it is written in one transaction, in as many items as its owners need, so that a crash never leaves only some of them.

        `announcement`: to be published; it counts as unannounced until `mark_announced`.

        Raises:
            AccountErasedError: the account was erased; nothing is stored.
        """
        sk, expires_at, wrapped = snapshot_sk(snapshot.id), int(now) + self._retention_seconds, self._sealed.key(ref)
        parts = in_parts(snapshot.owners.reveal())
        kept: Item = {
            "pk": account_pk(ref),
            "snapshot": snapshot.id,
            "attempted_at": snapshot.attempted_at,
            "snapshot_created": snapshot.created,
            "stored_ms": to_milliseconds(now),
            "expires_at": expires_at,
        }
        many: Item = {} if snapshot.too_many is None else {"too_many": snapshot.too_many}
        # If there are parts, the first item has no owners: a release that does not know parts must not take the first part for all owners.
        body = {**kept, **many, "sk": sk} | (
            {"owners": self._sealed.encrypt(ref, wrapped, sk, parts[0])} if len(parts) == 1 else {"parts": len(parts)}
        )
        more: list[Item] = [
            {**kept, "sk": part, "owners": self._sealed.encrypt(ref, wrapped, part, owners)}
            for part, owners in zip(part_sks(body), parts, strict=False)
        ]
        entry = {
            **kept,
            "sk": _history_sk(snapshot),
            **many,
            "owner_count": snapshot.too_many or sum(map(len, parts)),
            "since": since,
            "changes": None if changes is None else json.dumps([dict(change) for change in changes]),
            **({} if announcement is None else {**ref.as_dict(), **unannounced(announcement, now)}),
        }
        old = self._sealed.put_all([body, entry, *more], ref, wrapped)
        return expires_at if old is None else int(old["expires_at"])

    def mark_announced(self, ref: AccountRef, snapshot: Snapshot) -> bool:
        """Record that what a snapshot changed was announced."""
        return mark_announced(self._table, account_pk(ref), _history_sk(snapshot))

    def get(self, ref: AccountRef, snapshot: str) -> Snapshot:
        """Raises SnapshotNotFoundError, also if it has expired, and AccountErasedError."""
        sk = snapshot_sk(snapshot)
        return opened_snapshot(self._sealed.decrypt(ref, {sk: "owners"}).get(sk))

    def times(self, ref: AccountRef, snapshot: str) -> SnapshotTimes | None:
        """A snapshot's times, read without its owners; None if it is not stored, or has expired."""
        only = ("attempted_at", "snapshot_created", "stored_ms", "expires_at")
        item = self._table.get(account_pk(ref), snapshot_sk(snapshot), only=only)
        if item is None or not self._table.is_live(item):
            return None
        return SnapshotTimes(snapshot, item["attempted_at"], item["snapshot_created"], from_milliseconds(item["stored_ms"]))

    def kept(self, snapshots: Sequence[tuple[AccountRef, str]]) -> set[tuple[AccountRef, str]]:
        """The snapshots among those given, each with its account, that are stored and have not expired."""
        wanted = {(account_pk(ref), snapshot_sk(snapshot)): (ref, snapshot) for ref, snapshot in snapshots}
        found = self._table.get_all(list(wanted), only=("pk", "sk", "expires_at"))
        return {wanted[item["pk"], item["sk"]] for item in found if self._table.is_live(item)}

    def page(self, ref: AccountRef, limit: int, after: str | None = None) -> tuple[list[SnapshotSummary], str | None]:
        """Up to `limit` of an account's snapshots after the position `after`, the newest first; and the next page's `after` or None."""
        items, position = self._table.page(account_pk(ref), HISTORY, limit, after)
        return [_summary(item) for item in items if self._table.is_live(item)], position


def snapshot_sk(snapshot: str) -> str:
    return f"SNAPSHOT#{snapshot}"


def opened_snapshot(found: tuple[Item, Sensitive[Any]] | None) -> Snapshot:
    """A snapshot as it was decrypted. Raises SnapshotNotFoundError if there is none."""
    if found is None:
        raise SnapshotNotFoundError("No such snapshot of this account is stored. GET /accounts/{account}/snapshots lists those that are.")
    item, owners = found
    return Snapshot(item["snapshot"], item["attempted_at"], item["snapshot_created"], owners, too_many=item.get("too_many"))


def _history_sk(snapshot: Snapshot) -> str:
    return f"{HISTORY}{snapshot.attempted_at:012}#{snapshot.created:012}#{snapshot.id}"


def _summary(item: Item) -> SnapshotSummary:
    return SnapshotSummary(
        id=item["snapshot"],
        attempted_at=item["attempted_at"],
        created=item["snapshot_created"],
        owner_count=item["owner_count"],
        stored_at=from_milliseconds(item["stored_ms"]),
        since=item.get("since"),
        changes=json.loads(item["changes"]) if item.get("changes") else None,
        too_many_owners="too_many" in item,
    )
