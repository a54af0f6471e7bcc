"""Waiters: which token a verification waits with, and how long a waiter is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.stored import CONNECTED, NOW, REF
from titleholder.domain.refresh_policy import FreshnessRequirement
from titleholder.domain.verifications import Waiter
from titleholder.store import Store

WAITER = Waiter("ver_1", "token-1", "2027-01-15T08:00:00Z#000000", FreshnessRequirement(NOW - 60, NOW, NOW + 3600))


def with_token(version: str) -> Waiter:
    return replace(WAITER, task_token="token-2", token_version=version)


def test_waiter_is_listed_under_its_account(store: Store) -> None:
    assert store.waiters.put(REF, WAITER) == WAITER
    assert list(store.waiters.of_account(REF)) == [WAITER]
    assert list(store.waiters.of_account(CONNECTED)) == []


@pytest.mark.parametrize("version", ["2027-01-15T08:00:00Z#000001", "2027-01-15T08:00:00Z#000010", "2027-01-15T08:00:01Z#000000"])
def test_later_token_replaces_the_earlier_one_and_keeps_the_joined_refresh(store: Store, version: str) -> None:
    store.waiters.put(REF, WAITER)
    store.waiters.set_joined(REF, WAITER, 77, NOW)
    replaced = store.waiters.put(REF, with_token(version))
    assert replaced == replace(with_token(version), need=replace(WAITER.need, joined=77), joined_at=NOW)


def test_earlier_token_that_is_delivered_late_changes_nothing(store: Store) -> None:
    current = with_token("2027-01-15T08:00:00Z#000001")
    store.waiters.put(REF, current)
    assert store.waiters.put(REF, WAITER) is None
    assert store.waiters.get(REF, "ver_1") == current


def test_copy_of_a_message_is_distinguished_from_its_redelivery(store: Store) -> None:
    assert store.waiters.put(REF, WAITER, 0, "m1") is not None
    assert store.waiters.put(REF, WAITER, 0, "copy of m1") is None
    assert store.waiters.put(REF, WAITER, 0, "m1") is not None
    assert store.waiters.put(REF, WAITER, 1, "m2") is not None
    assert store.waiters.put(REF, WAITER, 0, "m1") is None
    assert store.waiters.put(REF, with_token("2027-01-15T08:00:00Z#000001"), 0, "m3") is not None


def test_same_token_delivered_twice_is_the_same_waiter(store: Store) -> None:
    store.waiters.put(REF, WAITER)
    assert store.waiters.put(REF, WAITER) == WAITER


def test_waiter_with_a_later_token_is_not_removed_with_an_earlier_one(store: Store) -> None:
    store.waiters.put(REF, with_token("2027-01-15T08:00:00Z#000001"))
    store.waiters.remove(REF, "ver_1", WAITER.token_version)
    assert store.waiters.get(REF, "ver_1") is not None
    store.waiters.remove(REF, "ver_1", "2027-01-15T08:00:00Z#000001")
    assert store.waiters.get(REF, "ver_1") is None
    store.waiters.remove(REF, "ver_1", WAITER.token_version)


def test_removed_waiter_is_not_stored_again_by_updates(store: Store) -> None:
    assert not store.waiters.set_joined(REF, WAITER, 77, NOW)
    assert not store.waiters.set_error(REF, WAITER, "STRIPE_UNAVAILABLE")
    assert store.waiters.get(REF, "ver_1") is None


@pytest.mark.parametrize("awaits_repair", [True, False])
def test_late_worker_changes_nothing_in_a_later_wait(store: Store, awaits_repair: bool) -> None:
    store.waiters.put(REF, WAITER)
    later = replace(with_token("2027-01-15T08:00:01Z#000000"), awaits_repair=awaits_repair)
    store.waiters.put(REF, later)
    assert not store.waiters.set_joined(REF, WAITER, 77, NOW)
    assert not store.waiters.set_error(REF, WAITER, "STRIPE_UNAVAILABLE")
    assert store.waiters.get(REF, "ver_1") == later


def test_late_worker_is_heard_in_a_retry_of_its_wait(store: Store) -> None:
    store.waiters.put(REF, WAITER)
    retry = with_token("2027-01-15T08:00:00Z#000001")
    store.waiters.put(REF, retry)
    assert store.waiters.set_joined(REF, WAITER, 77, NOW)
    assert store.waiters.get(REF, "ver_1") == replace(retry, need=replace(WAITER.need, joined=77), joined_at=NOW)


def test_error_is_stored_with_the_waiter(store: Store) -> None:
    store.waiters.put(REF, WAITER)
    store.waiters.set_error(REF, WAITER, "STRIPE_UNAVAILABLE")
    assert store.waiters.get(REF, "ver_1") == replace(WAITER, error="STRIPE_UNAVAILABLE")


def test_waiter_expires_a_week_after_its_deadline(store: Store) -> None:
    store.waiters.put(REF, WAITER)
    item = store.table.client.scan(TableName="ttt")["Items"][0]
    assert int(item["expires_at"]["N"]) == NOW + 3600 + 7 * 86_400


def test_waiters_of_several_pages_are_all_listed(store: Store) -> None:
    for number in range(60):
        store.waiters.put(REF, replace(WAITER, verification=f"ver_{number}", task_token="x" * 1000))
    assert len(list(store.waiters.of_account(REF))) == 60


def test_repr_of_a_waiter_shows_no_token() -> None:
    assert "token-1" not in repr(WAITER)
