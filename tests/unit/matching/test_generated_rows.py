"""How words, addresses, phones and e-mails compare does not change unnoticed: one text against many similar ones.

Code invents the texts. A row is one text against its others, and only a digest of the row is stored. A failure prints the row; the
same command at an earlier commit prints the old one:

    python -m tests.unit.matching.test_generated_rows words/robert

A change of the matcher that means to change them writes the digests again:

    python -m tests.unit.matching.test_generated_rows
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest

from tests.unit.matching import generated_pairs as invented
from titleholder.matching import addresses, emails, names, phones, romanisation
from titleholder.matching.names import Memo

DIGESTS = Path(__file__).with_name("generated_rows.txt")
KINDS = ("words", "addresses", "phones", "emails")
ENDINGS = [
    "a",
    "e",
    "h",
    "i",
    "o",
    "y",
    "ie",
    "ey",
    "ee",
    "ah",
    "eh",
    "s",
    "z",
    "os",
    "ov",
    "ova",
    "ska",
    "ski",
    "son",
    "sen",
    "ez",
    "es",
    "ina",
]
SPELLINGS = (
    "c k",
    "k c",
    "y i",
    "i y",
    "ph f",
    "v w",
    "w v",
    "j y",
    "ch kh",
    "sh s",
    "z s",
    "ou u",
    "oo u",
    "ee i",
    "th t",
    "ae a",
    "oe o",
    "ck k",
)


@cache
def words() -> list[str]:
    lists = invented._WORDS["names"], *invented._NICKNAMES, invented._LISTS["family"], invented._LISTS["given"]
    return sorted({name.lower() for names in lists for name in names if name.isascii() and name.isalpha()})


def near(word: str) -> list[str]:
    """Words that are like a word: mistyped, with other endings, spelled otherwise, and a few that are not."""
    drawn = invented._Drawn(Random(word))
    found = [drawn.mistyped(word) for _ in range(5)] + [drawn.mistyped(drawn.mistyped(word)) for _ in range(3)]
    found += [word + ending for ending in drawn.random.sample(ENDINGS, 4)] + [
        word[:-1] + drawn.random.choice(ENDINGS),
        word[:-2],
        word[:-3],
    ]
    found += [word.replace(*spelling.split()) for spelling in SPELLINGS]
    found += next((group for group in invented._NICKNAMES if word in group), [])[:6]
    found += drawn.random.sample(words(), 2)
    return [other.lower() for other in dict.fromkeys(found) if other and other != word]


def places(key: str) -> Iterator[tuple[object, str]]:
    """Addresses in parts and in one line, and variants of them."""
    drawn = invented._Drawn(Random(key))
    address = drawn.address()
    for _ in range(24):
        claimed = drawn.in_parts(address) if drawn.chance(0.5) else drawn.in_one_line(address)
        yield claimed, drawn.in_one_line(drawn.varied_address(address))
    for _ in range(8):
        fields = {"line1": invented._street(address), "line2": address["unit"]}
        owner = {"raw_address": drawn.in_one_line(address)}
        drawn.disturb(fields, [owner], "contacts")
        yield {**fields, "city": address["town"], "state": address["state"]}, owner["raw_address"]


@cache
def mailboxes() -> list[str]:
    drawn = invented._Drawn(Random(1))
    domains = [
        "gmail.com",
        "googlemail.com",
        "yahoo.com",
        "yahoo.de",
        "pm.me",
        "proton.me",
        "ya.ru",
        "yandex.ru",
        "none.com",
        "no-email.org",
        "example.com",
    ]
    made = [f"{local}@{domain}" for domain in domains for local in ("john.smith", "johnsmith+a", "john-bank", "no-email", "jo", "+x")]
    return [*invented._LISTS["email"], *made, *(drawn.email() for _ in range(20))]


@cache
def numbers() -> list[str]:
    drawn = invented._Drawn(Random(2))
    return sorted({drawn.phone() for _ in range(160)})[:45]


def keys(kind: str) -> list[str]:
    return {"words": words()[::2], "addresses": [*map(str, range(110))], "phones": numbers(), "emails": mailboxes()}[kind]


def row(kind: str, key: str) -> list[str]:
    if kind == "words":
        return [f"{key} {other}: {_related(key, other)}" for other in near(key)]
    if kind == "addresses":
        return [f"{a!r} {b!r}: {addresses.compare(a, b)} {_parts(a)} {_parts(b)}" for a, b in places(key)]
    compare = phones.compare if kind == "phones" else emails.compare
    return [f"{key} {other}: {compare(key, other)}" for other in keys(kind)]


def _parts(text: object) -> str:
    found = addresses.parse(text)
    return repr(found and (*found[:3], sorted(found.directions), *found[4:]))


def _related(a: str, b: str) -> tuple[object, ...]:
    memo = Memo()
    memo.reads((a, b))
    known = memo.look_up(a), memo.look_up(b)
    return (
        names.compare_given(a, b, memo),
        names.compare_given(a, b, Memo(strict=True)),
        names.compare_family((a,), (b,), memo),
        romanisation.one_original(a, b, *known),
        romanisation.other_syllable(a, b, *known),
        romanisation.one_surname(a, b, *known),
    )


def digest(kind: str) -> dict[str, str]:
    return {f"{kind}/{key}": hashlib.blake2b("\n".join(row(kind, key)).encode(), digest_size=4).hexdigest() for key in keys(kind)}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_have_the_recorded_digests(kind: str) -> None:
    known = dict(line.rsplit(" ", 1) for line in DIGESTS.read_text().splitlines() if line.startswith(f"{kind}/"))
    found = digest(kind)
    changed = [name for name in found if found[name] != known.get(name)]
    assert not changed, "\n".join((f"{len(changed)} rows changed:", *row(*changed[0].split("/", 1))))
    assert len(found) == len(known)


if __name__ == "__main__":
    if sys.argv[1:]:
        print("\n".join(line for name in sys.argv[1:] for line in row(*name.split("/", 1))))
    else:
        DIGESTS.write_text("".join(f"{name} {found}\n" for kind in KINDS for name, found in digest(kind).items()))
