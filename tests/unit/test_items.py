"""Attribute values: the same as boto3's own, which stay the measure."""

from __future__ import annotations

from typing import Any

import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from titleholder.items import deserialize, serialize

VALUES = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(-(10**37), 10**37) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner),
    max_leaves=20,
)


def plain(value: Any) -> Any:
    """What boto3 gives back, without its own kinds of bytes and numbers."""
    match value:
        case Binary():
            return value.value
        case dict():
            return {name: plain(part) for name, part in value.items()}
        case list():
            return [plain(part) for part in value]
        case None | bool() | str():
            return value
    return int(value)


@given(VALUES)
def test_is_written_and_read_as_boto3_does(value: Any) -> None:
    written = serialize(value)
    assert written == TypeSerializer().serialize(value)
    assert deserialize(written) == plain(TypeDeserializer().deserialize(written)) == value


@pytest.mark.parametrize("value", [1.5, {1, 2}, object()])
def test_what_the_table_never_holds_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="no place in the table"):
        serialize(value)


def test_kind_that_is_never_written_is_refused() -> None:
    with pytest.raises(TypeError, match="SS"):
        deserialize({"SS": ["a"]})
