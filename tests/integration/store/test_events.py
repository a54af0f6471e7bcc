"""Events are recorded once, until they are processed."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.stored import NOW, REF
from titleholder.store import Store
from titleholder.store.events import EVENT_RETENTION_SECONDS

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
