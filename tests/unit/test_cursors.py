"""Cursors: they say where a list goes on, and are good for that list alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titleholder.errors import InvalidCursorError
from titleholder.web import cursors

QUERIES = st.dictionaries(st.sampled_from(["mode", "stripe_account", "customer"]), st.none() | st.text(max_size=5))


@given(QUERIES, st.text("abcXYZ019_", min_size=1, max_size=120))
def test_cursor_says_where_its_list_goes_on(query: dict[str, str | None], after: str) -> None:
    cursor = cursors.encode(query, after)
    assert cursors.decode(query, cursor) == after
    assert len(cursor) <= cursors.MAX_LENGTH
    assert after not in cursor or len(after) < 3


@given(QUERIES, QUERIES)
def test_cursor_of_another_list_is_refused(one: dict[str, str | None], other: dict[str, str | None]) -> None:
    if one != other:
        with pytest.raises(InvalidCursorError):
            cursors.decode(other, cursors.encode(one, "fca_1"))


@given(st.text(max_size=1100))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursorError):
        cursors.decode({"customer": "cus_1"}, text)


def test_cursor_that_names_no_item_is_refused() -> None:
    with pytest.raises(InvalidCursorError):
        cursors.decode({}, cursors.encode({}, ""))
