"""A repeated transaction does nothing if an earlier try of it took effect."""

from __future__ import annotations

import uuid

import pytest

from titleholder.store import Store


def test_repeated_transaction_with_the_same_token_succeeds_and_writes_nothing(store: Store, request: pytest.FixtureRequest) -> None:
    if "moto" in request.node.name:
        pytest.skip("moto ignores the token")
    part = store.table.put_part({"pk": "A", "sk": "S", "n": 1}, condition="attribute_not_exists(pk)")
    again = {"TransactItems": [part], "ClientRequestToken": str(uuid.uuid4())}
    store.table.client.transact_write_items(**again)
    assert store.table.update("A", "S", set_={"n": 2}, condition="n = :was", values={":was": 1})
    store.table.client.transact_write_items(**again)
    assert store.table.get("A", "S") == {"pk": "A", "sk": "S", "n": 2}
    assert not store.table.transact([part])
