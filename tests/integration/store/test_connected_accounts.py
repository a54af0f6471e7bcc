"""Connected accounts, and how often they failed."""

from __future__ import annotations

from dataclasses import replace

from tests.support.stored import CONNECTED, NOW, REF
from titleholder.store import Store
from titleholder.store.connected_accounts import TenantState


def test_connected_account_is_listed_once_in_its_mode(store: Store) -> None:
    store.connected_accounts.record(REF)
    store.connected_accounts.record(CONNECTED)
    store.connected_accounts.record(CONNECTED)
    assert store.connected_accounts.list_all("test") == [TenantState(CONNECTED.stripe_account or "")]
    assert store.connected_accounts.list_all("live") == []


def test_failure_and_retirement_last_until_the_connected_account_answers(store: Store) -> None:
    id_ = CONNECTED.stripe_account or ""
    store.connected_accounts.record(CONNECTED)
    store.connected_accounts.record_asked("test", id_, NOW)
    failed = TenantState(id_, asked_at=NOW, due_at=NOW + 900, tries=1)
    assert store.connected_accounts.record_failure("test", failed)
    assert store.connected_accounts.list_all("test") == [failed]
    retired = replace(failed, retired_at=NOW)
    assert store.connected_accounts.record_failure("test", retired)
    store.connected_accounts.record(CONNECTED)
    assert store.connected_accounts.list_all("test") == [retired]
    assert store.connected_accounts.record_answer("test", id_)
    assert store.connected_accounts.list_all("test") == [TenantState(id_, asked_at=NOW)]
    assert not store.connected_accounts.record_answer("test", id_)


def test_connected_account_that_was_never_recorded_is_not_stored_by_updates(store: Store) -> None:
    assert not store.connected_accounts.record_answer("test", "acct_other")
    assert not store.connected_accounts.record_asked("test", "acct_other", NOW)
    assert store.connected_accounts.list_all("test") == []
