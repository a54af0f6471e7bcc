"""What is known about names: how common each is as a given name and as a surname, for which gender, and in which cultures.

The lists are baked by ``tools/matching/evidence.py`` into `known_names.txt`, which a process reads when it first looks up a name;
`EVIDENCE_NOTICE.md` beside it names their sources. No name that is looked up is kept.
"""

from itertools import pairwise
from typing import NamedTuple


class Known(NamedTuple):
    """What is known about one name. ``given`` and ``surname``: how common it is as such, from 0 (not known) to 9."""

    given: int
    surname: int
    gender: str  # "m", "f", or "-" for either or unknown
    cultures: str  # capitals: as a given name; small letters: as a surname


UNKNOWN = Known(0, 0, "-", "")
PREFIX = 3
_index: dict[str, tuple[int, int]] = {}
_body = b""


def _load() -> None:
    global _body
    # A part of this package, read like its code.
    with open(__file__.removesuffix("evidence.py") + "known_names.txt", "rb") as file:
        data = file.read()
    end = data.index(b"\n\n")
    words = data[:end].decode("ascii").split()
    starts = [*map(int, words[1::2]), int(words[-1])]
    _body = data[end + 1 :]
    _index.update(zip(words[:-1:2], pairwise(starts), strict=True))


def look_up(word: str) -> Known:
    """Return what is known about a folded word."""
    if not _index:
        _load()
    span = _index.get(word[:PREFIX])
    if span is None or not word.isascii():
        return UNKNOWN
    key = b"\n%b=" % word[PREFIX:].encode()
    at = _body.find(key, span[0], span[1] + 1)
    if at < 0:
        return UNKNOWN
    at += len(key)
    code = _body[at : _body.index(b"\n", at)]
    found = _codes.get(code)
    if found is None:
        text = code.decode()
        found = _codes[code] = Known(int(text[0]), int(text[1]), text[2], text[3:])
    return found


# The decoded entries of the lists. There are some thousand different ones.
_codes: dict[bytes, Known] = {}


def mainly_given(word: str) -> bool:
    """Return whether a folded word is a given name rather than a surname."""
    known = look_up(word)
    return known.given > 1 and known.given >= known.surname


def mainly_surname(word: str) -> bool:
    """Return whether a folded word is a surname rather than a given name, or is not known."""
    known = look_up(word)
    return known.surname > known.given or known.given == 0
