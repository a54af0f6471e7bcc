"""The queue of reviews: the part of the index `open` that lists the reviews that wait for a person, the longest waiting first.

The index has one partition for all tenants of a stack, so a tenant's entries lie between those of others. A read looks through a bounded
number of entries, and DynamoDB returns only the tenant's own. A position is a time and not an entry, because the entry might be another
tenant's. If a page ends between entries of the same time, the position also has the id of the tenant's own last entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from titleholder.domain.accounts import AccountRef, Tenant
from titleholder.store.reviews import review_of, review_sk
from titleholder.store.table import IndexSlice, Item, Table, account_pk
from titleholder.store.verifications import head_key, verification_of

if TYPE_CHECKING:
    from titleholder.domain.reviews import Review
    from titleholder.domain.verifications import Verification
    from titleholder.store.open_work import OpenKind

Waiting = Literal["open", "proposed"]

KINDS: Mapping[Waiting, OpenKind] = {"open": "review", "proposed": "review_second"}


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: with entries that wait since `since_ms` or later. Of that millisecond, only ids after `after` are included."""

    since_ms: int
    after: str = ""


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """Which review waits, and since when."""

    since_ms: int
    ref: AccountRef
    verification: str

    @property
    def position(self) -> Position:
        """Where the entries after this one begin."""
        return Position(self.since_ms, self.verification)

    def is_between(self, begin: Position, end: Position | None) -> bool:
        """Whether the entry comes after `begin`, and before `end` if there is one."""
        place = (self.since_ms, self.verification)
        return (begin.since_ms, begin.after) < place and (end is None or place < (end.since_ms, end.after))


class ReviewQueue:
    def __init__(self, table: Table) -> None:
        self._table = table

    def entries(self, state: Waiting, tenant: Tenant, begin: Position, wanted: int, most: int) -> tuple[list[QueueEntry], Position | None]:
        """A tenant's entries from `begin` on, and where those after them begin; None if there are no more.

        Returns at least `wanted` if there are that many among the next `most` entries of all tenants. Takes one call if no other tenant's
        entries lie between, else two. Entries of one millisecond have no order in the index, so they are returned together, ordered by id.
        Further calls are made only if more than `most` entries began to wait in the same millisecond.
        """
        found: list[Item] = []
        looked_at, last = 0, None
        while True:
            limit = wanted if last is None else most - looked_at if looked_at < most else most
            read = self._read(state, tenant, begin.since_ms, limit, last)
            found += read.items
            looked_at += read.looked_at
            last = read.last
            if last is None:
                following = None
                break
            # The last millisecond may have more entries than were read, so all of its entries are left to the next page.
            if last["open_since_ms"] > begin.since_ms and (len(found) >= wanted or looked_at >= most):
                following = Position(last["open_since_ms"])
                break
        entries = sorted((_entry(item) for item in found), key=lambda entry: (entry.since_ms, entry.verification))
        return [entry for entry in entries if entry.is_between(begin, following)], following

    def count(self, state: Waiting, tenant: Tenant, enough: int, most: int) -> tuple[int, bool]:
        """How many entries a tenant has among the first `most` of all tenants, and whether there may be more.

        Counting ends at `enough`. Takes one call if no other tenant's entries lie between, else two.
        """
        read = self._read(state, tenant, 0, enough, count=True)
        counted, looked_at = read.count, read.looked_at
        if read.last is not None and counted < enough and looked_at < most:
            read = self._read(state, tenant, 0, most - looked_at, read.last, count=True)
            counted += read.count
        return counted, read.last is not None

    def load(self, entries: Sequence[QueueEntry]) -> dict[str, tuple[Review, Verification]]:
        """The reviews of entries with their verifications, by the verification's id. Up to 50 are read in one call."""
        keys = {entry.verification: (account_pk(entry.ref), review_sk(entry.verification)) for entry in entries}
        heads = {entry.verification: head_key(entry.verification) for entry in entries}
        items = {(item["pk"], item["sk"]): item for item in self._table.get_all([*keys.values(), *heads.values()])}
        return {
            id_: (review_of(items[key]), verification_of(items[heads[id_]]))
            for id_, key in keys.items()
            if key in items and heads[id_] in items
        }

    def _read(
        self, state: Waiting, tenant: Tenant, since_ms: int, limit: int, start: Item | None = None, *, count: bool = False
    ) -> IndexSlice:
        values: Item = {":kind": KINDS[state], ":since": since_ms, ":mode": tenant.mode}
        whose = "attribute_not_exists(stripe_account)"
        if tenant.stripe_account is not None:
            whose, values[":whose"] = "stripe_account = :whose", tenant.stripe_account
        return self._table.scan_index(
            "open", "open_kind = :kind AND open_since_ms >= :since", values, limit, matching=f"#mode = :mode AND {whose}",
            names={"#mode": "mode"}, start=start, count=count,
        )  # fmt: skip


def _entry(item: Item) -> QueueEntry:
    return QueueEntry(item["open_since_ms"], AccountRef.from_dict(item), item["verification"])
