"""Any number of owners that is stored is compared in bounded time, for any claim and owners."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.support.hostile_pairs import CONNECTORS, pairs
from titleholder.domain import shortlist
from titleholder.domain.snapshots import MAX_OWNERS
from titleholder.matching import DEFAULT_POLICY, decide
from titleholder.services import verdicts

pytestmark = pytest.mark.slow

SECONDS = 6.0
"""Of processor time. The function has 30 s and less than a third of a processor."""

LETTERS = "aeiouaeioubcdfgklmnrst"


def word(rng: Random, length: int = 6) -> str:
    return "".join(rng.choice(LETTERS) for _ in range(length))


def long_name(rng: Random, joined_by: str | None, words: int = 24) -> str:
    return "".join(word(rng) + (rng.choice(CONNECTORS) if joined_by is None else joined_by) for _ in range(words))


def alike_name(rng: Random, joined_by: str) -> str:
    """A long name whose words look like each other, so that no comparison of two ends early."""
    return joined_by.join(f"{rng.choice('abc')}mar{rng.choice('iey')}n{rng.choice('aeo')}s" for _ in range(24))


def usual(rng: Random, number: int) -> dict[str, Any]:
    address = f"{rng.randint(1, 9999)} {word(rng)} St Apt {number}, {word(rng)}, NY 10001"
    return {
        "name": f"{word(rng)} {word(rng, 1)} {word(rng)}", "raw_address": address, "phone": f"+1 555 555 {number:04}",
        "email": f"{word(rng)}@example.com",
    }  # fmt: skip


def claim_of(name: Callable[[Random], str], **more: Any) -> Callable[[Random], dict[str, Any]]:
    return lambda rng: {"name": name(rng), "aka": [name(rng) for _ in range(20)], **more}


def owner_of(name: Callable[[Random], str], **more: Any) -> Callable[[Random, int], dict[str, Any]]:
    return lambda rng, number: {"name": name(rng), **more}


USUAL_CLAIM = claim_of(
    lambda rng: f"{word(rng)} {word(rng, 1)} {word(rng)}",
    address={"line1": "12 Elm St", "city": "Reno", "state": "NV", "postal_code": "89501"}, phone="+1 555 555 0101", email="a@example.com",
)  # fmt: skip
Case = tuple[Callable[[Random], dict[str, Any]], Callable[[Random, int], dict[str, Any]]]
CASES: dict[str, Case] = {
    "twenty usual names": (USUAL_CLAIM, usual),
    **{
        f"long names joined by {joiner!r}": (
            claim_of(lambda rng, joiner=joiner: long_name(rng, joiner)),  # type: ignore[misc]
            owner_of(lambda rng, joiner=joiner: long_name(rng, joiner)),  # type: ignore[misc]
        )
        for joiner in (None, " ", " & ", ", ", " pod ", " dba ", " fbo ", " jt ten ", " trust ttee ", " de la ", "-", ". ", " ii ", " (x) ")
    },
    **{
        f"long names of words much alike joined by {joiner!r}": (
            claim_of(lambda rng, joiner=joiner: alike_name(rng, joiner)),  # type: ignore[misc]
            owner_of(lambda rng, joiner=joiner: alike_name(rng, joiner)),  # type: ignore[misc]
        )
        for joiner in (" ", " & ", " pod ", " llc ")
    },
    "long claims, usual owners": (claim_of(lambda rng: long_name(rng, None)), usual),
    "long claims of words much alike, usual owners": (claim_of(lambda rng: alike_name(rng, " pod ")), usual),
    "usual claims, long owners": (USUAL_CLAIM, owner_of(lambda rng: long_name(rng, None))),
    "letters that grow": (claim_of(lambda rng: "ﷺ" * 599 + word(rng, 1)), owner_of(lambda rng: "ﷺ" * 590 + word(rng))),
    "one letter for ever": (claim_of(lambda rng: "a" * 600), owner_of(lambda rng: "a" * rng.randint(400, 600))),
    "addresses of one letter": (
        lambda rng: {"name": "Jane Doe", "address": "a" * 1000},
        lambda rng, number: {"name": f"J{word(rng)} D{word(rng)}", "raw_address": "a" * 590 + "b" * (number % 10)},
    ),
    "addresses in long parts": (
        lambda rng: {
            "name": "Jane Doe", "address": {"line1": "1 " + "a" * 298, "line2": "b " * 150, "city": "c" * 300, "postal_code": "9" * 300}
        },
        lambda rng, number: {"name": f"J{word(rng)} D{word(rng)}", "raw_address": f"1 {'a' * 250}{number}, {'c' * 290}"},
    ),
    "phones of blanks": (
        lambda rng: {"name": "Jane Doe", "phone": "1" + " " * 998 + "1"},
        lambda rng, number: {"name": f"J{word(rng)} D{word(rng)}", "phone": "1" + " " * 590 + "1"},
    ),
    "e-mails with accents": (
        lambda rng: {"name": "Jane Doe", "email": "é" * 980 + "@é.com"},
        lambda rng, number: {"name": f"J{word(rng)} D{word(rng)}", "email": "ü" * 590 + "@x.com"},
    ),
    "everything long": (
        claim_of(lambda rng: long_name(rng, None), address="a b " * 250, phone="1 " * 500, email="é." * 400 + "@x.com"),
        lambda rng, number: {
            "name": long_name(rng, None), "raw_address": "b a " * 250, "phone": "1 " * 500 + "2", "email": "é." * 400 + "@y.com"
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_owners_are_compared_in_time(case: Case) -> None:
    rng = Random(1)
    claim, owners = case[0](rng), [case[1](rng, number) for number in range(MAX_OWNERS)]
    began = time.process_time()
    verdicts.compare(claim, owners, DEFAULT_POLICY)
    assert time.process_time() - began < SECONDS


def test_every_owner_is_compared_where_all_is_of_usual_size() -> None:
    rng = Random(2)
    claim, owners = USUAL_CLAIM(rng), [usual(rng, number) for number in range(MAX_OWNERS)]
    assert shortlist.positions(claim, owners) == list(range(MAX_OWNERS))


@pytest.mark.parametrize(
    ("held", "position"),
    [
        ("DOE, JANE R", 1000),
        ("JANE DOE & JOHN DOE", 1999),
        ("Jäne Döe", 1),
    ],
)
def test_the_owner_who_is_meant_is_found_among_all_others_by_a_claim_too_long_for_all(
    held: str, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tenth of the work that is allowed, so that fewer owners are compared and the one who is meant is harder to find.
    monkeypatch.setattr(shortlist, "MAX_WORK", shortlist.MAX_WORK / 10)
    rng = Random(3)
    claim = {"name": "Jane Roe Doe", "aka": [long_name(rng, None) for _ in range(20)]}
    owners = [usual(rng, number) for number in range(MAX_OWNERS)]
    owners[position] = {"name": held}
    assert len(shortlist.positions(claim, owners)) < MAX_OWNERS
    found = verdicts.compare(claim, owners, DEFAULT_POLICY)
    assert found["owner_position"] == position
    assert found["score"] == decide(claim, [owners[position], owners[position - 1]]).score
    assert found["owners_compared"] < MAX_OWNERS


def test_a_verdict_is_the_matchers_own_where_all_owners_are_compared() -> None:
    for claim, owners in pairs(7, 300):
        assert verdicts.compare(claim, owners, DEFAULT_POLICY) == decide(claim, owners).as_dict()


def test_two_owners_are_compared_however_much_they_cost() -> None:
    rng = Random(4)
    owners = [{"name": long_name(rng, " pod ")} for _ in range(5)]
    assert len(shortlist.positions({"name": "x"}, owners, most=0)) == 2
    assert shortlist.positions({"name": "x"}, owners[:1], most=0) == [0]
    assert shortlist.positions({"name": "x"}, [], most=0) == []


def test_no_claim_and_owners_make_it_raise() -> None:
    for claim, owners in pairs(11, 3000):
        chosen = shortlist.positions(claim, owners, most=1)
        assert chosen == sorted(set(chosen))
