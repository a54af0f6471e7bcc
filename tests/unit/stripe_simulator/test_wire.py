"""Form decoding and paging, for every input."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.stripe_simulator.wire import ApiError, decode_form, encode_form, page

NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
VALUES = st.recursive(
    st.text(max_size=12),
    lambda inner: st.lists(inner, min_size=1, max_size=12) | st.dictionaries(NAMES, inner, min_size=1, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_encoded_parameters_decode_to_themselves(params: dict[str, Any]) -> None:
    assert decode_form(encode_form(params)) == params


@given(st.text(max_size=200))
def test_any_text_decodes_or_is_refused_as_a_bad_request(text: str) -> None:
    with contextlib.suppress(ApiError):
        assert isinstance(decode_form(text), dict)


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("features[]=ownership&features[]=balance", {"features": ["ownership", "balance"]}),
        ("features[0]=ownership", {"features": ["ownership"]}),
        ("features%5B0%5D=ownership", {"features": ["ownership"]}),
        ("a[10]=k&a[9]=j", {"a": ["j", "k"]}),
        ("holder[type]=customer&holder[customer]=cus_1", {"holder": {"type": "customer", "customer": "cus_1"}}),
        ("name=a+b%26c", {"name": "a b&c"}),
        ("blank=", {"blank": ""}),
    ],
)
def test_both_ways_of_writing_lists_are_understood(text: str, params: dict[str, Any]) -> None:
    assert decode_form(text) == params


@pytest.mark.parametrize("text", ["a=1&a[b]=2", "a[b]=1&a=2", "a" + "[b]" * 40 + "=1"])
def test_contradicting_or_bottomless_parameters_are_refused(text: str) -> None:
    with pytest.raises(ApiError):
        decode_form(text)


@given(st.integers(0, 40), st.integers(1, 100), st.booleans(), st.none() | st.integers(1, 5))
def test_paging_gives_every_item_once_in_order_either_way(count: int, limit: int, backwards: bool, cap: int | None) -> None:
    items = [{"id": f"i{number}"} for number in range(count)]
    seen: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": limit}
    if backwards:
        items_and_end = [*items, {"id": "end"}]
        params["ending_before"] = "end"
    else:
        items_and_end = items
    while True:
        got = page(items_and_end, params, "/x", cap=cap)
        seen = got["data"] + seen if backwards else seen + got["data"]
        if not got["has_more"]:
            break
        params = {"limit": limit, **({"ending_before": seen[0]["id"]} if backwards else {"starting_after": seen[-1]["id"]})}
    assert seen == items


def test_a_page_that_just_fits_is_the_last() -> None:
    items = [{"id": "a"}, {"id": "b"}]
    assert [page(items, {"limit": limit}, "/x")["has_more"] for limit in (1, 2, 3)] == [True, False, False]
    assert page(items, {"limit": 1, "ending_before": "b"}, "/x") == {
        "object": "list",
        "data": [{"id": "a"}],
        "has_more": False,
        "url": "/x",
    }


def test_an_unknown_cursor_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        page([{"id": "a"}], {"starting_after": "b"}, "/x")
    assert caught.value.fields["param"] == "starting_after"
