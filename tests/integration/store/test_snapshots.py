"""Snapshots never change, and the newest one does not depend on the order in which they are stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.stored import CONNECTED, NOW, REF, put_newest
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot, SnapshotSummary
from titleholder.errors import SnapshotNotFoundError
from titleholder.store import Store

OWNERS = ({"id": "o1", "name": "A", "email": None}, {"id": "o2", "name": "Ünïcode ✓", "email": "x"})


def test_snapshot_is_read_as_it_was_stored(store: Store) -> None:
    put_newest(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive(OWNERS)), NOW)
    assert store.snapshots.get(REF, "fcaowns_1") == Snapshot("fcaowns_1", 100, 101, Sensitive(list(OWNERS)))


def test_unknown_snapshot_is_not_found(store: Store) -> None:
    with pytest.raises(SnapshotNotFoundError):
        store.snapshots.get(REF, "fcaowns_1")


def test_snapshot_is_not_found_under_another_account(store: Store) -> None:
    put_newest(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive(OWNERS)), NOW)
    with pytest.raises(SnapshotNotFoundError):
        store.snapshots.get(CONNECTED, "fcaowns_1")


def test_stored_snapshot_never_changes(store: Store) -> None:
    put_newest(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive(OWNERS)), NOW)
    put_newest(store, REF, Snapshot("fcaowns_1", 200, 201, Sensitive([])), NOW)
    assert store.snapshots.get(REF, "fcaowns_1") == Snapshot("fcaowns_1", 100, 101, Sensitive(list(OWNERS)))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (Snapshot("fcaowns_b", 100, 150, Sensitive([])), Snapshot("fcaowns_a", 101, 150, Sensitive([]))),
        (Snapshot("fcaowns_b", 100, 150, Sensitive([])), Snapshot("fcaowns_a", 100, 151, Sensitive([]))),
        (Snapshot("fcaowns_a", 100, 150, Sensitive([])), Snapshot("fcaowns_b", 100, 150, Sensitive([]))),
    ],
    ids=["tried later", "made later", "all times equal"],
)
def test_newest_snapshot_is_the_same_in_any_order_of_storing(store: Store, older: Snapshot, newer: Snapshot) -> None:
    for ref, order in ((REF, (older, newer)), (CONNECTED, (newer, older))):
        for snapshot in order:
            put_newest(store, ref, snapshot, NOW)
        known = store.accounts.get(ref)
        assert (known.snapshot, known.snapshot_attempted_at) == (newer.id, newer.attempted_at)
        assert store.snapshots.get(ref, older.id) == replace(older, owners=Sensitive([]))


def test_history_is_paged_newest_first_and_by_account(store: Store) -> None:
    changed = [{"kind": "owner_added", "before": None, "after": 1}]
    put_newest(store, REF, Snapshot("fcaowns_b", 100, 100, Sensitive(OWNERS[:1])), NOW)
    put_newest(store, REF, Snapshot("fcaowns_c", 9, 9, Sensitive([])), NOW)
    store.snapshots.put(REF, Snapshot("fcaowns_a", 101, 101, Sensitive(OWNERS)), NOW, since="fcaowns_b", changes=changed)
    put_newest(store, CONNECTED, Snapshot("fcaowns_z", 500, 500, Sensitive([])), NOW)
    first, position = store.snapshots.page(REF, 2)
    assert first == [
        SnapshotSummary("fcaowns_a", 101, 101, 2, "fcaowns_b", changed, stored_at=NOW),
        SnapshotSummary("fcaowns_b", 100, 100, 1, stored_at=NOW),
    ]  # fmt: skip
    assert store.snapshots.page(REF, 2, position) == ([SnapshotSummary("fcaowns_c", 9, 9, 0, stored_at=NOW)], None)
    assert store.snapshots.page(REF, 3) == ([*first, SnapshotSummary("fcaowns_c", 9, 9, 0, stored_at=NOW)], None)


def test_repr_of_a_snapshot_shows_no_owner() -> None:
    assert "Ünïcode" not in repr(Snapshot("fcaowns_1", 100, 101, Sensitive(OWNERS)))
