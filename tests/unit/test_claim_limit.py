"""What counts as a claim, and how many are accepted within 24 hours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titleholder.domain.claim_limit import WINDOW_SECONDS, count, one_by_one
from titleholder.errors import ClaimLimitExceededError
from titleholder.matching.compare import read

CONTACT = {"type": "person", "email": "m@example.com", "address": {"line1": "1 Main St"}}


@pytest.mark.parametrize(
    ("claim", "names"),
    [
        ({"name": "A"}, [{"name": "A"}]),
        ({"given": "A", "middle": "B", "family": "C", "suffix": "Jr"}, [{"given": "A", "middle": "B", "family": "C", "suffix": "Jr"}]),
        ({"business_name": "A"}, [{"business_name": "A"}]),
        ({"name": "A", "aka": ["B", "C"]}, [{"name": "A"}, {"name": "B"}, {"name": "C"}]),
        ({"name": "A", "aka": []}, [{"name": "A"}]),
        ({"name": "A", "family": "B", "business_name": "C"}, [{"family": "B"}, {"name": "A"}, {"business_name": "C"}]),
    ],
)
def test_claim_comes_to_one_claim_for_each_name_with_the_same_contacts(claim: dict[str, object], names: list[dict[str, object]]) -> None:
    assert one_by_one(claim) == names
    assert one_by_one(CONTACT | claim) == [CONTACT | name for name in names]


WORDS = st.sampled_from(["Ada", "Bo Li", "Cy Inc", "Di & Co", "x"])


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(["name", "given", "family", "business_name"], WORDS),
            "middle": WORDS, "suffix": WORDS, "aka": st.lists(WORDS, max_size=20), "phone": st.just("1"),
        },
    )
)  # fmt: skip
def test_every_name_that_the_matcher_compares_counts(claim: dict[str, object]) -> None:
    assert len(one_by_one(claim)) >= len(read(claim).names)


def test_counted_claim_does_not_count_again() -> None:
    counted = count({}, ["a", "b", "a"], 100, 2)
    assert counted == {"a": 100, "b": 100}
    assert count(counted, ["b", "a"], 100 + WINDOW_SECONDS - 1, 2) is None


def test_beyond_the_limit_it_says_when_there_is_room() -> None:
    counted = {"a": 100, "b": 200, "c": 300}
    for new, free_at in ((["x"], 100), (["x", "y"], 200), (["x", "y", "z"], 300), (["a", "x"], 200), (["c", "x"], 100)):
        with pytest.raises(ClaimLimitExceededError) as caught:
            count(counted, new, 1000, 3)
        retry_at = 1000 + caught.value.retry_after
        assert retry_at == free_at + WINDOW_SECONDS
        assert set(count(counted, new, retry_at, 3) or ()) >= set(new)


def test_claim_of_more_names_than_the_limit_is_refused() -> None:
    with pytest.raises(ClaimLimitExceededError) as caught:
        count({}, ["a", "b", "c"], 1000, 2)
    assert caught.value.retry_after == WINDOW_SECONDS


@given(st.lists(st.tuples(st.integers(0, 40_000), st.sets(st.sampled_from("abcdefghij"), min_size=1, max_size=3)), max_size=40))
def test_within_any_24_hours_no_more_new_claims_are_accepted_than_the_limit(steps: list[tuple[int, set[str]]]) -> None:
    now, counted = 0, dict[str, int]()
    first: list[tuple[int, str]] = []
    for pause, digests in steps:
        now += pause
        try:
            after = count(counted, sorted(digests), now, 4)
        except ClaimLimitExceededError:
            continue
        if after is not None:
            first += [(now, digest) for digest in digests if now >= counted.get(digest, -WINDOW_SECONDS) + WINDOW_SECONDS]
            counted = after
    for begin, _ in first:
        assert len({digest for at, digest in first if begin <= at < begin + WINDOW_SECONDS}) <= 4
