"""Items as the store returns them."""

from __future__ import annotations

from typing import Any

from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from titleholder.store.table import plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(10**37), 10**37) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner),
    max_leaves=20,
)


@given(VALUES)
def test_item_comes_back_as_it_was_stored(value: Any) -> None:
    back = plain({"value": TypeSerializer().serialize(value)})["value"]
    assert back == value
    assert repr(back) == repr(value)  # An int stays an int, bytes stay bytes.
