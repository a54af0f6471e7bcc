"""How a claim is compared with an owner for reviewers: which parts of the texts differ, and what is not shown."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from titleholder.domain.differences import CUT, MOST_CHARACTERS, Part, compare, compare_fields
from titleholder.matching.addresses import usual_word
from titleholder.matching.text import LETTER, fold


def marked(parts: list[Part]) -> str:
    return "".join(f"[{part.text}]" if part.differs else part.text for part in parts)


def text_of(parts: list[Part]) -> str:
    return "".join(part.text for part in parts)


@pytest.mark.parametrize(
    ("claim", "bank", "shown_claim", "shown_bank"),
    [
        ("Margaret Anne Testerman", "MARGARET LOUISE TESTERMAN", "Margaret [Anne] Testerman", "MARGARET [LOUISE] TESTERMAN"),
        ("Jon Smyth", "JOHN SMITH", "Jon Sm[y]th", "JO[H]N SM[I]TH"),
        ("Margaret A Testerman", "TESTERMAN MARGARET ANNE", "Margaret A Testerman", "TESTERMAN MARGARET A[NNE]"),
        ("José Müller-Lüdenscheidt", "JOSE MULLER LUDENSCHEIDT", "José Müller-Lüdenscheidt", "JOSE MULLER LUDENSCHEIDT"),
        ("Jane O'Brien", "JANET OBRIEN", "Jane O'Brien", "JANE[T] OBRIEN"),
        ("Jane Mc Donald", "JANET MCDONALD", "Jane Mc Donald", "JANE[T] MCDONALD"),
        ("AT&amp;T Mobile", "AT&T MOBIL", "AT&amp;T Mobil[e]", "AT&T MOBIL"),
        ("Анна Иванова", "ANNA IVANOV", "Анна Иванов[а]", "ANNA IVANOV"),
        ("+1 (415) 555-0100", "4155550101", "+[1] (415) 555-010[0]", "415555010[1]"),
        ("m.testerman@example.com", "m.testerman@example.org", "m.testerman@example.[com]", "m.testerman@example.[org]"),
        ("4 Elm St Apt 4", "Elm St Apt 4", "[4] Elm St Apt 4", "Elm St Apt 4"),
        ("Anne Marie Li", "LI", "[Anne Marie] Li", "LI"),
        ("Ann Lee", "", "[Ann Lee]", ""),
    ],
)
def test_only_what_differs_is_marked(claim: str, bank: str, shown_claim: str, shown_bank: str) -> None:
    mine, theirs = compare(claim, bank)
    assert (marked(mine), marked(theirs)) == (shown_claim, shown_bank)


def test_usual_abbreviations_in_addresses_do_not_differ() -> None:
    mine, theirs = compare("12 Elm Street, Apt 4, Fresno, California", "12 ELM ST FRESNO CA", usual_word)
    assert (marked(mine), marked(theirs)) == ("12 Elm Street, [Apt 4], Fresno, California", "12 ELM ST FRESNO CA")


NAMES = st.text(max_size=60) | st.lists(st.sampled_from(["Ada", "ADA", "O'Neil", "Li", "Ling", "Zoë", "& Co", "-"])).map(" ".join)


@given(NAMES, NAMES)
def test_parts_joined_are_the_texts(claim: str, bank: str) -> None:
    mine, theirs = compare(claim, bank)
    assert (text_of(mine), text_of(theirs)) == (claim, bank)
    assert all(part.text for part in (*mine, *theirs))
    assert all(one.differs != other.differs for parts in (mine, theirs) for one, other in pairwise(parts))


@given(NAMES)
def test_texts_that_fold_alike_do_not_differ(text: str) -> None:
    for other in (text, text.upper(), text.lower(), f"  {text} ", text.replace(" ", ", "), text.replace("'", "\u2019")):
        if fold(other).split() == fold(text).split():
            mine, theirs = compare(text, other)
            assert not any(part.differs for part in (*mine, *theirs))


@given(NAMES, NAMES)
def test_no_difference_of_letters_is_hidden(claim: str, bank: str) -> None:
    mine, theirs = (sorted(re.findall(LETTER, fold(text))) for text in (claim, bank))
    if mine != theirs:
        assert any(part.differs for side in compare(claim, bank) for part in side)


@given(NAMES, NAMES)
def test_sides_may_be_exchanged_without_a_difference_appearing_or_going(claim: str, bank: str) -> None:
    one, other = compare(claim, bank), compare(bank, claim)
    assert any(part.differs for side in one for part in side) == any(part.differs for side in other for part in side)


@given(st.lists(st.sampled_from(["Ada", "Bo", "Li"]), min_size=1), st.sampled_from(["Quimby", "12", "Žofie"]))
def test_word_that_the_other_side_lacks_is_marked(words: list[str], other: str) -> None:
    mine, _ = compare(" ".join([*words, other]), " ".join(words))
    assert marked(mine).endswith(f"[{other}]")


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "Margaret \u202enamretseT\u202c",
    "Mar\u200bga\u200dret\ufeff Testerman",
    "\u2066Margaret\u2069 \u061cTesterman",
    "a" + "\u0301" * 999,
    "&am" * 333,
    "\u0000\n\r\t",
    "\ufdfa" * 1000,
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_given_back_as_it_is(hostile: str) -> None:
    for claim, bank in ((hostile, "MARGARET TESTERMAN"), ("Margaret Testerman", hostile), (hostile, hostile)):
        mine, theirs = compare(claim, bank)
        assert (text_of(mine), text_of(theirs)) == (claim, bank)
    assert not any(part.differs for side in compare(hostile, hostile) for part in side)


def test_characters_that_are_not_seen_make_no_difference() -> None:
    mine, theirs = compare("Mar\u200bgaret \u202eAnne", "MARGARET ANNE\u2069")
    assert not any(part.differs for part in (*mine, *theirs))


def test_longer_text_is_cut_and_the_cut_is_a_difference() -> None:
    longest = "Ada " * (MOST_CHARACTERS // 4)
    for bank in (longest + "Li", "x" * 300_000):
        theirs = compare(longest, bank)[1]
        assert text_of(theirs) == bank[:MOST_CHARACTERS] + CUT
        assert theirs[-1].differs
    assert not any(part.differs for side in compare(longest, longest) for part in side)


@pytest.mark.parametrize(
    ("claim", "bank"),
    [("a b " * 250, "b a a " * 166), ("ab" * 500, "ba" * 500), (("ab" * 40 + " ") * 12, ("ba" * 40 + " ") * 12), ("\ufdfa " * 500, "x")],
)
def test_long_texts_are_compared_in_bounded_time(claim: str, bank: str) -> None:
    begun = time.process_time()
    compare(claim, bank)
    assert time.process_time() - begun < 2


def result(score: float | None, missing: str | None = None, *reasons: str) -> dict[str, Any]:
    return {"score": score, "missing": missing, "reasons": list(reasons)}


CLAIM = {
    "given": "Margaret", "middle": "Anne", "family": "Testerman", "phone": "+1 415 555 0100",
    "address": {"line1": "12 Elm Street", "line2": "Apt 4", "city": "Fresno"},
}  # fmt: skip
OWNER = {"id": "fcaown_1", "name": "MARGARET LOUISE TESTERMAN", "phone": "4155550100", "email": "m@example.com", "raw_address": "12 ELM ST"}


def test_field_that_agrees_or_is_missing_is_said_and_not_shown() -> None:
    verdict = {
        "fields": {
            "name": result(62.0, None, "MIDDLE_DIFFERS"),
            "address": result(85.0, None, "UNIT_MISSING"),
            "phone": result(100.0),
            "email": result(None, "claim"),
        }
    }
    name, address, phone, email = compare_fields(verdict, CLAIM, OWNER)
    assert (name.name, name.reasons, name.same) == ("name", ("MIDDLE_DIFFERS",), False)
    assert marked(list(name.claim or ())) == "Margaret [Anne] Testerman"
    assert marked(list(address.claim or ())) == "12 Elm Street, [Apt 4, Fresno]"
    assert (phone.score, phone.same, phone.claim, phone.bank) == (100.0, True, None, None)
    assert (email.score, email.missing, email.same, email.claim, email.bank) == (None, "claim", False, None, None)


def test_field_that_neither_side_has_is_left_out_but_not_one_that_was_claimed_and_cannot_be_read() -> None:
    verdict = {"fields": {"name": result(62.0), "phone": result(None, "both"), "email": result(None, "both")}}
    found = compare_fields(verdict, CLAIM | {"phone": "by post"}, OWNER)
    assert [(field.name, field.missing) for field in found] == [("name", None), ("phone", "both")]


def test_every_name_of_a_claim_is_shown_beside_the_owners_the_most_alike_first() -> None:
    claim = {"business_name": "Quimby LLC", "name": "Ada Li", "aka": ["Bo Quimby", "Ada Li"]}
    (name,) = compare_fields({"fields": {"name": result(62.0)}}, claim, {"name": "QUIMBY LLP"})
    assert marked(list(name.claim or ())) == "Quimby LL[C]"
    assert marked(list(name.bank or ())) == "QUIMBY LL[P]"
    assert [marked(list(other)) for other in name.other_claimed] == ["[Bo] Quimby", "[Ada Li]"]


def test_what_is_compared_is_not_in_its_representation() -> None:
    (name,) = compare_fields({"fields": {"name": result(62.0)}}, CLAIM, OWNER)
    assert "argaret" not in repr(name)
    assert "TESTERMAN" not in repr(name)
