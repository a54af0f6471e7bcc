"""Unfinished work is listed, the longest waiting first, until it is finished."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.sandbox import CLAIM
from tests.support.stored import CONNECTED, NOW, REF, VERIFICATION, create_verification, put_newest, state
from titleholder.domain.accounts import AccountRef, Attempt
from titleholder.domain.sensitive import Sensitive
from titleholder.domain.snapshots import Snapshot
from titleholder.store import Store
from titleholder.store.open_work import Announcement

LATER = NOW + 3600


def open_refreshes(store: Store, before: float = LATER, limit: int = 10) -> list[AccountRef | None]:
    return [item.ref for item in store.open_work.list_oldest("refresh", before, limit)]


def open_verifications(store: Store, before: float = LATER) -> list[str | None]:
    return [item.verification for item in store.open_work.list_oldest("verification", before, 10)]


def test_refresh_is_listed_until_it_was_observed_as_settled(store: Store) -> None:
    store.accounts.observe(CONNECTED, state("pending"), NOW, open_=True, calls=0)
    assert open_refreshes(store) == [CONNECTED]
    store.accounts.observe(CONNECTED, state("failed"), NOW + 1, open_=False, calls=0)
    assert open_refreshes(store) == []


def test_refresh_is_listed_until_its_owners_are_stored(store: Store) -> None:
    store.accounts.observe(REF, state("succeeded"), NOW, open_=True, calls=0)
    assert open_refreshes(store) == [REF]
    put_newest(store, REF, Snapshot("fcaowns_1", 100, 101, Sensitive([])), NOW)
    assert open_refreshes(store) == []


def test_attempt_is_listed_from_its_beginning(store: Store) -> None:
    store.accounts.begin_attempt(REF, Attempt(1, "key", 0, NOW, 1, open=True), None, NOW)
    assert open_refreshes(store) == [REF]


def test_longest_waiting_items_are_listed_first_up_to_the_limit(store: Store) -> None:
    refs = [AccountRef(f"fca_{number}") for number in range(5)]
    for age, ref in enumerate(refs):
        store.accounts.observe(ref, state("pending"), NOW - age, open_=True, calls=0)
    assert open_refreshes(store, limit=3) == [refs[4], refs[3], refs[2]]
    assert open_refreshes(store, before=NOW - 3) == [refs[4]]


def test_what_is_unfinished_is_counted(store: Store) -> None:
    assert store.open_work.count("refresh", 10) == 0
    for number in range(3):
        store.accounts.observe(AccountRef(f"fca_{number}"), state("pending"), NOW + number, open_=True, calls=0)
    assert store.open_work.count("refresh", 10) == 3
    assert store.open_work.count("verification", 10) == 0


def test_verification_is_listed_until_it_has_a_verdict(store: Store) -> None:
    create_verification(store, VERIFICATION, CLAIM)
    [item] = store.open_work.list_oldest("verification", LATER, 10)
    assert item.verification == "ver_1"
    assert store.open_work.touch(item, LATER) == 0
    assert open_verifications(store) == []
    assert open_verifications(store, LATER + 1) == ["ver_1"]
    store.verifications.complete("ver_1", {"outcome": "match"}, NOW)
    assert store.open_work.touch(item, LATER) is None
    assert open_verifications(store, LATER + 9) == []


def test_item_whose_repair_failed_is_listed_later_until_it_is_observed_again(store: Store) -> None:
    store.accounts.observe(REF, state("pending"), NOW, open_=True, calls=0)
    [item] = store.open_work.list_oldest("refresh", LATER, 10)
    assert store.open_work.postpone(item, LATER + 900, 3)
    assert open_refreshes(store, before=LATER + 900) == []
    assert store.open_work.touch(item, LATER) == 3
    store.accounts.observe(REF, state("pending"), NOW + 1, open_=True, calls=0)
    assert store.open_work.touch(item, LATER) == 0
    store.accounts.observe(REF, state("failed"), NOW + 2, open_=False, calls=0)
    assert not store.open_work.postpone(item, LATER, 4)


def test_verdict_is_listed_until_it_was_announced(store: Store) -> None:
    create_verification(store, VERIFICATION, CLAIM)
    store.verifications.complete("ver_1", {"outcome": "match"}, NOW)
    [item] = store.open_work.list_oldest("announcement", LATER, 10)
    assert item.verification == "ver_1"
    assert store.verifications.mark_announced("ver_1")
    assert store.open_work.list_oldest("announcement", LATER, 10) == []
    assert not store.verifications.mark_announced("ver_1")


def test_changes_of_owners_are_listed_until_they_were_announced(store: Store) -> None:
    snapshot = Snapshot("fcaowns_1", 100, 101, Sensitive([]))
    announcement = Announcement("OwnershipChanged", {"snapshot": "fcaowns_1"})
    store.snapshots.put(REF, snapshot, NOW, since="fcaowns_0", changes=[], announcement=announcement)
    [item] = store.open_work.list_oldest("announcement", LATER, 10)
    assert (item.ref, item.verification) == (REF, None)
    assert store.open_work.get_announcement(item) == announcement
    assert store.snapshots.mark_announced(REF, snapshot)
    assert store.open_work.get_announcement(item) is None
    assert store.open_work.list_oldest("announcement", LATER, 10) == []


def test_inactive_account_is_listed_until_its_verdicts_are_marked_as_stale(store: Store) -> None:
    dead = replace(state("failed"), status="inactive")
    store.accounts.observe(REF, dead, NOW, open_=True, calls=0)
    seen = store.accounts.get(REF)
    assert not store.accounts.end_staleness(REF, replace(seen, state=state("failed")), NOW, open_=False)
    assert not store.accounts.end_staleness(REF, replace(seen, observed_at=NOW - 1), NOW, open_=False)
    assert open_refreshes(store) == [REF]
    assert store.accounts.end_staleness(REF, seen, NOW, open_=False)
    assert open_refreshes(store) == []
    assert store.accounts.get(REF).stale_marked


def test_reactivated_account_is_listed_until_its_verdicts_are_no_longer_marked_as_stale(store: Store) -> None:
    dead = replace(state("failed"), status="inactive")
    store.accounts.observe(REF, dead, NOW, open_=True, calls=0, changed=True)
    store.accounts.end_staleness(REF, store.accounts.get(REF), NOW, open_=False)
    store.accounts.observe(REF, state("failed"), NOW + 1, open_=True, calls=0, changed=True)
    seen = store.accounts.get(REF)
    assert (seen.stale_marked, seen.lift_pending) == (False, True)
    assert open_refreshes(store) == [REF]
    store.accounts.observe(REF, state("failed"), NOW + 2, open_=True, calls=0, changed=True)
    assert not store.accounts.end_staleness(REF, seen, NOW, open_=False), "it was observed again"
    assert store.accounts.end_staleness(REF, store.accounts.get(REF), NOW, open_=False)
    assert open_refreshes(store) == []
    assert not store.accounts.get(REF).lift_pending


@pytest.mark.parametrize("changed", [True, False])
@pytest.mark.parametrize("marked", [True, False])
def test_change_of_status_that_a_worker_has_missed_is_listed_all_the_same(store: Store, changed: bool, marked: bool) -> None:
    """The worker looked at the account before another one stored the status that it now replaces."""
    dead = replace(state("failed"), status="inactive")
    store.accounts.observe(REF, dead, NOW, open_=False, calls=0, changed=changed)
    assert open_refreshes(store) == [REF]
    if marked:
        store.accounts.end_staleness(REF, store.accounts.get(REF), NOW, open_=False)
    store.accounts.observe(REF, state("failed"), NOW + 1, open_=False, calls=0, changed=changed)
    assert open_refreshes(store) == [REF]
    store.accounts.observe(REF, dead, NOW + 2, open_=False, calls=0, changed=changed)
    assert open_refreshes(store) == [REF]
    assert not store.accounts.get(REF).lift_pending


def test_account_of_a_status_that_is_not_known_yet_keeps_what_is_left_to_do_for_later(store: Store) -> None:
    dead = replace(state("failed"), status="inactive")
    store.accounts.observe(REF, dead, NOW, open_=False, calls=0)
    store.accounts.observe(REF, replace(dead, status="hibernating"), NOW + 1, open_=False, calls=0)
    assert (open_refreshes(store), store.accounts.get(REF).lift_pending) == ([], True)
    store.accounts.observe(REF, state("failed"), NOW + 2, open_=False, calls=0)
    assert open_refreshes(store) == [REF]


def test_snapshot_closes_an_account_only_if_nothing_else_is_left_to_do(store: Store) -> None:
    store.accounts.observe(REF, replace(state("succeeded"), status="inactive"), NOW, open_=True, calls=0)
    snapshot = Snapshot("fcaowns_1", 100, 101, Sensitive([]))
    store.accounts.set_newest_snapshot(REF, snapshot, open_=True)
    assert open_refreshes(store) == [REF]
    store.accounts.set_newest_snapshot(REF, snapshot)
    assert open_refreshes(store) == []


def test_expiry_is_announced_once_for_each_date(store: Store) -> None:
    announcement = Announcement("AccountExpiring", {"account": REF.account})
    assert store.accounts.put_expiry(REF, int(NOW) + 100, announcement, NOW)
    assert not store.accounts.put_expiry(REF, int(NOW) + 100, announcement, NOW)
    [item] = store.open_work.list_oldest("announcement", LATER, 10)
    assert store.open_work.get_announcement(item) == announcement
    assert store.accounts.mark_expiry_announced(REF, int(NOW) + 100)
    assert store.open_work.list_oldest("announcement", LATER, 10) == []
    assert not store.accounts.put_expiry(REF, int(NOW) + 100, announcement, NOW)
    assert store.accounts.put_expiry(REF, int(NOW) + 101, announcement, NOW)


def test_open_items_are_listed_page_by_page_in_their_order(store: Store) -> None:
    refs = [AccountRef(f"fca_{number}") for number in range(5)]
    for number, ref in enumerate(refs):
        store.accounts.observe(ref, state("pending"), NOW + number, open_=True, calls=0)
    seen: list[AccountRef | None] = []
    position, pages = None, 0
    while pages == 0 or position is not None:
        items, position = store.open_work.list_behind("refresh", position, 2)
        seen += [item.ref for item in items]
        pages += 1
        assert [item.since for item in items] == [NOW + refs.index(item.ref) for item in items if item.ref]
    assert (seen, pages) == (refs, 3)


def test_page_begins_behind_an_item_that_is_finished_since(store: Store) -> None:
    refs = [AccountRef(f"fca_{number}") for number in range(4)]
    for number, ref in enumerate(refs):
        store.accounts.observe(ref, state("pending"), NOW + number, open_=True, calls=0)
    _, position = store.open_work.list_behind("refresh", None, 2)
    store.accounts.observe(refs[1], state("failed"), NOW + 100, open_=False, calls=0)
    items, _ = store.open_work.list_behind("refresh", position, 2)
    assert [item.ref for item in items] == refs[2:]


def test_claims_that_are_kept_and_accounts_are_found_together(store: Store) -> None:
    create_verification(store, VERIFICATION, CLAIM)
    store.accounts.observe(REF, state("pending"), NOW, open_=True, calls=0)
    assert store.claims.kept([(REF, "ver_1"), (REF, "ver_2"), (CONNECTED, "ver_1")]) == {"ver_1"}
    assert store.accounts.get_all([REF, CONNECTED, REF]) == {REF: store.accounts.get(REF)}
