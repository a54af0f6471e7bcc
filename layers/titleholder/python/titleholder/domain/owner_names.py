"""Which spellings of an owner's name are one name: what the matcher counts as no difference. Pure: no I/O, no clock.

Two names are the same only if the matcher reads the same words in both, in the same roles. A score decides nothing here: nearly equal names
may be two persons' names.
"""

from __future__ import annotations

import unicodedata

from titleholder.matching.evidence import look_up
from titleholder.matching.parties import MOST_PARTIES, Party
from titleholder.matching.text import fold_to_end, mixes_scripts
from titleholder.matching.titles import Title, is_placeholder, read_title

MOST_CHARACTERS = 300
"""Longer names are compared as texts, which bounds the time."""

MOST_LETTERS = 1_200
"""How many letters of a normalised name are compared. Normalisation may turn one character into eighteen."""

WIVES_TITLES = frozenset({"mrs", "mme", "sra"})

Reading = tuple[object, ...]


def is_given(name: str) -> bool:
    """Whether a text names anybody. A placeholder, such as N/A, does not."""
    return bool(name.strip()) and not is_placeholder(name) and bool(name[MOST_CHARACTERS:] or read_title(name).words)


def are_same(one: str, other: str) -> bool:
    """Whether two texts are one name in two spellings."""
    if plain(one) == plain(other):
        return True
    found = reading(one)
    return found is not None and found == reading(other)


def plain(name: str) -> str:
    """A name without capitals, punctuation and needless spaces."""
    normal = unicodedata.normalize("NFKC", " ".join(name.casefold().split()))[:MOST_LETTERS]
    return " ".join("".join(letter for letter in normal if unicodedata.category(letter)[0] != "P").split())


def reading(name: str) -> Reading | None:
    """What the matcher reads in a name, without titles, accents, capitals, punctuation, and whether the surname comes first.

    None if the matcher may read another name alike: it does not read every name to its end, and does not keep dates; and a word in two
    alphabets may only look like another one.
    """
    if len(name) > MOST_CHARACTERS or any(letter.isdigit() for letter in name) or mixes_scripts(name):
        return None
    folded, whole = fold_to_end(name)
    title = read_title(folded.replace("&", " and "))
    if not (whole and title.full and (title.parties or title.business or title.trusts)):
        return None
    if _names_only_owners(title):
        return ("owners", *title.markers, *(_read_person(party) for party in title.parties))
    # In other names a title may be a part of a role, a trust or a business, so every word counts.
    return ("words", *title.words)


def _names_only_owners(title: Title) -> bool:
    """Whether a name consists of persons who are named in no other role than as owners."""
    if title.brackets or title.trusts or title.trade or title.business or title.estate or not title.markers <= {"AND"}:
        return False
    return 0 < len(title.parties) < MOST_PARTIES and all(party.context in ("plain", "joint") for party in title.parties)


def _read_person(party: Party) -> Reading:
    # After a comma, the given names follow the surname.
    words = party.words[party.comma :] + party.words[: party.comma]
    known = look_up(words[0])
    # Mrs. John Smith is another person than Mr. John Smith.
    is_wife = party.title in WIVES_TITLES and known.gender == "m" and known.given > 1
    return (words, party.generation, is_wife)
