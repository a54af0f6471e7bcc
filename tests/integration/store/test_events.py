"""Events are recorded once, until they are processed."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.stored import NOW, REF
from titleholder.store import Store
from titleholder.store.events import EVENT_PATIENCE_SECONDS, EVENT_RETENTION_SECONDS
from titleholder.store.open_work import OpenItem

EVENT: Mapping[str, str] = {"id": "evt_1", "type": "x", "created": "1", **REF.as_dict()}


def test_event_is_new_then_waiting_until_it_was_processed(store: Store) -> None:
    assert store.events.insert(EVENT, processed=False, now=NOW)[1] == "new"
    assert store.events.insert(EVENT, processed=False, now=NOW + 1)[1] == "waiting"
    assert store.events.mark_processed("evt_1")
    assert store.events.insert(EVENT, processed=False, now=NOW + 2)[1] == "processed"


def test_event_without_effect_counts_as_processed(store: Store) -> None:
    assert store.events.insert(EVENT, processed=True, now=NOW)[1] == "new"
    assert store.events.insert(EVENT, processed=True, now=NOW)[1] == "processed"


def test_event_is_recorded_once_and_expires(store: Store) -> None:
    store.events.insert(EVENT, processed=False, now=NOW)
    store.events.insert({**EVENT, "type": "other"}, processed=True, now=NOW + 60)
    (item,) = store.table.client.scan(TableName="ttt")["Items"]
    assert (item["type"]["S"], item["received_ms"]["N"]) == ("x", str(int(NOW * 1000)))
    assert int(item["expires_at"]["N"]) == NOW + EVENT_RETENTION_SECONDS


def test_event_that_was_never_recorded_is_not_stored_by_updates(store: Store) -> None:
    assert not store.events.mark_processed("evt_1")
    assert store.table.client.scan(TableName="ttt")["Items"] == []


def test_event_that_is_left_to_reconcile_is_listed_with_its_message_until_it_was_processed(store: Store) -> None:
    other = {**EVENT, "account": "fca_other", "context": "org_1/acct_1"}
    keys = [store.events.insert(event, processed=False, now=NOW)[0] for event in (EVENT, other)]
    for key in keys:
        assert store.events.leave_to_reconcile(key, NOW)
    listed = store.open_work.list_oldest("event", NOW + 1, 10)
    messages = [store.events.message(item) for item in listed]
    assert sorted(message["event"] for message in messages if message) == sorted(keys)
    assert all(message["account"] == (other if "@" in message["event"] else EVENT)["account"] for message in messages if message)
    for key in keys:
        store.events.mark_processed(key)
        assert not store.events.leave_to_reconcile(key, NOW)
    assert store.open_work.list_oldest("event", NOW + 1, 10) == []
    assert [store.events.message(item) for item in listed] == [None, None]


def test_event_that_reconcile_found_is_listed_from_its_first_write_until_it_was_processed(store: Store) -> None:
    due = NOW + EVENT_PATIENCE_SECONDS
    store.events.insert({**EVENT, "id": "evt_without_effect"}, processed=True, now=NOW, listed=True)
    store.events.insert(EVENT, processed=False, now=NOW, listed=True)
    assert store.open_work.list_oldest("event", due, 10) == []
    (listed,) = store.open_work.list_oldest("event", due + 1, 10)
    assert store.events.message(listed) == {"event": "evt_1", **REF.as_dict()}
    store.events.mark_processed("evt_1")
    assert store.open_work.list_oldest("event", due + 1, 10) == []


def test_event_that_does_not_exist_has_no_message(store: Store) -> None:
    assert not store.events.leave_to_reconcile("evt_1", NOW)
    assert store.events.message(OpenItem("event", "EVENT#evt_1", "EVENT", None, None)) is None
