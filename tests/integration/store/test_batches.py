"""Batches: states that end a batch are never left, and counts add up over their shards."""

from __future__ import annotations

import pytest

from tests.support.stored import NOW
from titleholder.errors import BatchNotFoundError
from titleholder.store import Store
from titleholder.store.open_work import Announcement

END = Announcement("BatchCompleted", {"batch": "bat_1"})


def test_unknown_batch_is_not_found(store: Store) -> None:
    with pytest.raises(BatchNotFoundError):
        store.batches.get("bat_1")


def test_batch_is_created_once(store: Store) -> None:
    assert store.batches.create("bat_1", {"batch_state": "importing", "size": 7, "policy": None})
    assert not store.batches.create("bat_1", {"batch_state": "verifying"})
    assert store.batches.get("bat_1") == {
        "pk": "BATCH#bat_1", "sk": "BATCH", "batch": "bat_1", "batch_state": "importing", "size": 7, "policy": None,
    }  # fmt: skip


def test_batch_in_a_state_that_excludes_the_update_stays_unchanged(store: Store) -> None:
    assert not store.batches.update("bat_1", {"run": 1})
    store.batches.create("bat_1", {"batch_state": "importing"})
    assert store.batches.update("bat_1", {"batch_state": "stopped"}, unless=["completed", "stopped"])
    assert not store.batches.update("bat_1", {"batch_state": "importing"}, unless=["completed", "stopped"])
    assert not store.batches.complete("bat_1", NOW, END)
    assert store.batches.get("bat_1")["batch_state"] == "stopped"


def test_completed_batch_is_listed_until_its_end_was_announced(store: Store) -> None:
    store.batches.create("bat_1", {"batch_state": "verifying"})
    assert store.batches.complete("bat_1", NOW, END)
    [item] = store.open_work.list_oldest("announcement", NOW + 1, 10)
    assert store.open_work.get_announcement(item) == END
    assert store.batches.mark_announced("bat_1")
    assert store.open_work.list_oldest("announcement", NOW + 1, 10) == []


def test_ranges_are_listed_in_their_order(store: Store) -> None:
    for number in (10, 9, 100):
        store.batches.put_range("bat_1", number, {"rows": number, "before": {"match": 1}})
    store.batches.put_range("bat_1", 9, {"rows": 0, "before": {}})
    assert [(part["number"], part["rows"]) for part in store.batches.ranges("bat_1")] == [(9, 0), (10, 10), (100, 100)]
    assert store.batches.get_range("bat_1", 11) is None


def test_counts_of_all_shards_add_up(store: Store) -> None:
    store.batches.create("bat_1", {"batch_state": "verifying"})
    for number in range(20):
        store.batches.count("bat_1", f"ver_{number:02x}", "match")
    store.batches.record_cooldown("bat_1", "ver_aa", 900)
    store.batches.record_cooldown("bat_1", "ver_ab", 800)
    assert store.batches.counts("bat_1") == {"match": 20, "cooled": 2}
    assert store.batches.get("bat_1")["cooling_until"] == 900
