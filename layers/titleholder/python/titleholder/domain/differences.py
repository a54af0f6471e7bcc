"""A claim beside an owner, with the parts in which they differ. Pure.

Texts are compared word by word, folded as the matcher folds them: without capitals, accents and punctuation. A word that is at another
place on the other side does not differ. If two words are nearly alike, only the letters that differ are marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from titleholder.domain import claim_limit
from titleholder.matching.text import LETTER, compiled, fold

MOST_CHARACTERS = 1_000
"""A longer text is cut, which counts as a difference. A claim's texts are never longer."""

CUT = "…"

MOST_WORDS = 120
"""In a text with more words, the order of the words after these does not count."""

MOST_LETTERS = 80
"""Longer words are marked as a whole, because the time to compare letters grows with the product of the two lengths."""

MOST_PAIRED = 12
"""If more words differ, the words after these are marked as a whole."""

ALIKE = 0.6
ALIKE_TOGETHER = 0.75
"""Only letters are marked if two words (`ALIKE`), or all remaining words of both sides, have this share of their letters in common."""

MOST_GLUED = 4

_CONTACTS = {"address": "raw_address", "phone": "phone", "email": "email"}
_ADDRESS = ("line1", "line2", "city", "state", "postal_code", "country")
_NAME = ("given", "middle", "family", "suffix", "name", "business_name")

# Characters within a word that are not letters: apostrophes, separate accents, and invisible characters.
_MARKS = "['’‘ʻʼ`´\u0300-\u036f\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u200b-\u200f\u2060\ufeff]"
_REFERENCE = r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});"
_WORD = f"(?:{_REFERENCE}|{LETTER})(?:{_REFERENCE}|{LETTER}|{_MARKS})*"
_LETTERS = f"(?:{_REFERENCE}|[^\\n]){_MARKS}*"


class Part(NamedTuple):
    """A piece of a text. Joined, the parts of a text give the text."""

    text: str
    differs: bool = False


@dataclass(frozen=True, slots=True)
class ComparedField:
    """One field of a verdict. `claim` and `bank` are None if nothing is shown, because the field agrees fully or one side lacks it.

    `other_claimed`: further names in the claim, the most similar first.
    """

    name: str
    score: float | None
    missing: str | None
    reasons: Sequence[str]
    same: bool
    claim: Sequence[Part] | None = field(default=None, repr=False)
    bank: Sequence[Part] | None = field(default=None, repr=False)
    other_claimed: Sequence[Sequence[Part]] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a reviewer sees of a claim and the owner that the verdict is about.

    `attempted_at`: that of the snapshot (Unix seconds). `newest`: no later snapshot of the account is stored. `may_tell`: what the reviewer
    may tell the claimant. `may_name_owner`: whether that may include the owner's name, if this is permitted. `other_owners`: names only,
    and at most some of `other_owner_count`. `notes`: those of earlier decisions, by the version of the review that each made.
    """

    verification: str
    snapshot: str
    attempted_at: int
    newest: bool
    owner_position: int
    fields: Sequence[ComparedField]
    other_owner_count: int
    may_tell: Sequence[str]
    may_name_owner: bool
    other_owners: Sequence[str] = field(default=(), repr=False)
    notes: Mapping[int, str] = field(default_factory=dict, repr=False)


def compare_fields(verdict: Mapping[str, Any], claim: Mapping[str, Any], owner: Mapping[str, Any]) -> list[ComparedField]:
    """The fields of a stored verdict that the claim or the owner has. `owner`: the owner that the verdict is about."""
    found = []
    for name, result in verdict["fields"].items():
        claimed = _claimed(name, claim)
        if claimed or result.get("missing") != "both":
            held = str(owner.get(_CONTACTS.get(name, name)) or "")
            found.append(_field(name, result, claimed, held))
    return found


def _field(name: str, result: Mapping[str, Any], claimed: Sequence[str], held: str) -> ComparedField:
    score, missing = result["score"], result.get("missing")
    agrees = score is not None and score >= 100
    about = ComparedField(name, score, missing, tuple(result["reasons"]), agrees)
    if agrees or score is None or not claimed:
        return about
    same = _usual_address_word if name == "address" else str
    compared = sorted((compare(text, held, same) for text in claimed), key=_share_that_differs)
    (claim, bank), *others = compared
    return ComparedField(name, score, missing, about.reasons, agrees, claim, bank, [other for other, _ in others])


def _claimed(name: str, claim: Mapping[str, Any]) -> list[str]:
    """The claim's texts for a field: several only if it has several names."""
    if name == "name":
        singles = (" ".join(str(one[part]) for part in _NAME if one.get(part)) for one in claim_limit.one_by_one(claim))
        return [text for text in dict.fromkeys(singles) if text]
    value = claim.get(name)
    if isinstance(value, Mapping):
        value = ", ".join(str(value[part]) for part in _ADDRESS if value.get(part))
    return [str(value)] if value else []


def _usual_address_word(word: str) -> str:
    from titleholder.matching.addresses import usual_word

    return usual_word(word)


def _share_that_differs(compared: tuple[Sequence[Part], Sequence[Part]]) -> float:
    parts = [part for side in compared for part in side]
    return sum(len(part.text) for part in parts if part.differs) / max(1, sum(len(part.text) for part in parts))


def compare(claim: str, bank: str, same: Callable[[str], str] = str) -> tuple[list[Part], list[Part]]:
    """Both texts in parts. `same` gives one word for all folded words that mean the same."""
    mine, theirs = _Text(claim, same), _Text(bank, same)
    mine.words, theirs.words = _glued(mine.words, theirs.words), _glued(theirs.words, mine.words)
    _match_words(mine.words, theirs.words)
    _match_letters([word for word in mine.words if word.differing], [word for word in theirs.words if word.differing])
    return mine.parts(), theirs.parts()


class _Word:
    """A word at a place in a text. `key`: the form in which it is compared. `differing`: which of its spans differ, at first all of it."""

    def __init__(self, text: str, start: int, end: int, key: str) -> None:
        self.text, self.start, self.end, self.key = text, start, end, key
        self.differing = [(start, end)] if key else []

    def letters(self) -> list[tuple[str, int, int]]:
        """Each folded letter with the place of the characters that it is folded from."""
        found = (
            (letter, place.start(), place.end())
            for place in compiled(_LETTERS).finditer(self.text, self.start, self.end)
            for letter in compiled(LETTER).findall(_folded(place[0]))
        )
        return list(found)


class _Text:
    def __init__(self, text: str, same: Callable[[str], str]) -> None:
        self.text, self.cut = text[:MOST_CHARACTERS], len(text) > MOST_CHARACTERS
        places = [place.span() for place in compiled(_WORD).finditer(self.text)]
        self.words = [_Word(self.text, start, end, same(_key(self.text[start:end]))) for start, end in places]

    def parts(self) -> list[Part]:
        found: list[Part] = []
        position = 0
        for start, end in self._spans():
            if start > position:
                found.append(Part(self.text[position:start]))
            found.append(Part(self.text[start:end], differs=True))
            position = end
        if position < len(self.text):
            found.append(Part(self.text[position:]))
        return [*found, Part(CUT, differs=True)] if self.cut else found

    def _spans(self) -> Iterator[tuple[int, int]]:
        """The spans that differ. Spans without a letter between them are joined."""
        open_: tuple[int, int] | None = None
        for start, end in (span for word in self.words for span in word.differing):
            if open_ is not None and not compiled(LETTER).search(self.text, open_[1], start):
                open_ = (open_[0], end)
                continue
            if open_ is not None:
                yield open_
            open_ = (start, end)
        if open_ is not None:
            yield open_


def _key(word: str) -> str:
    return "".join(compiled(LETTER).findall(_folded(word)))


def _folded(text: str) -> str:
    # `fold` reads only the beginning of a long text.
    return "".join(fold(text[at : at + MOST_CHARACTERS // 2]) for at in range(0, len(text), MOST_CHARACTERS // 2))


def _glued(words: Sequence[_Word], others: Sequence[_Word]) -> list[_Word]:
    """The words; those that the other side writes together are joined."""
    keys = {word.key for word in others}
    found: list[_Word] = []
    position = 0
    while position < len(words):
        size = next((size for size in range(MOST_GLUED, 1, -1) if _are_one(words[position : position + size], size, keys)), 1)
        first, last = words[position], words[min(position + size, len(words)) - 1]
        found.append(first if size == 1 else _Word(first.text, first.start, last.end, _joined(words[position : position + size])))
        position += size
    return found


def _are_one(words: Sequence[_Word], size: int, keys: set[str]) -> bool:
    return len(words) == size and _joined(words) in keys and not all(word.key in keys for word in words)


def _joined(words: Sequence[_Word]) -> str:
    return "".join(word.key for word in words)


def _match_words(mine: Sequence[_Word], theirs: Sequence[_Word]) -> None:
    """Unmark the words that both sides have: first those in the same order, then those at other places."""
    a, b = ([word.key for word in words[:MOST_WORDS]] for words in (mine, theirs))
    for i, j, size in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        for word in (*mine[i : i + size], *theirs[j : j + size]):
            word.differing = []
    left = [[word for word in words if word.differing] for words in (mine, theirs)]
    common = Counter(word.key for word in left[0]) & Counter(word.key for word in left[1])
    for words in left:
        unmarked = common.copy()
        for word in words:
            if unmarked[word.key]:
                unmarked[word.key] -= 1
                word.differing = []


def _match_letters(mine: Sequence[_Word], theirs: Sequence[_Word]) -> None:
    """Mark only letters if the remaining words are nearly alike: all of them on both sides, or else pairs of them."""
    if not mine or not theirs:
        return
    if _mark_letters(mine, theirs, ALIKE_TOGETHER):
        return
    left = list(theirs[:MOST_PAIRED])
    for word in mine[:MOST_PAIRED]:
        likest = max(left, key=lambda other: _alike(word, other), default=None)
        if likest is not None and _mark_letters([word], [likest], ALIKE):
            left.remove(likest)


def _alike(one: _Word, other: _Word) -> float:
    """The share of letters that two words have in common, 0 to 1. An abbreviation has all in common."""
    if one.key.startswith(other.key) or other.key.startswith(one.key):
        return 1.0
    if max(len(one.key), len(other.key)) > MOST_LETTERS:
        return 0.0
    letters = SequenceMatcher(None, one.key, other.key, autojunk=False)
    return letters.ratio() if letters.quick_ratio() >= ALIKE else 0.0


def _mark_letters(mine: Sequence[_Word], theirs: Sequence[_Word], alike: float) -> bool:
    """Mark the letters in which words differ instead of the words; False if too few letters agree (their share is below `alike`)."""
    if any(sum(word.end - word.start for word in words) > MOST_LETTERS for words in (mine, theirs)):
        return False
    a, b = ([letter for word in words for letter in word.letters()] for words in (mine, theirs))
    matched = SequenceMatcher(None, [letter[0] for letter in a], [letter[0] for letter in b], autojunk=False)
    begins = len(mine) == len(theirs) == 1 and (mine[0].key.startswith(theirs[0].key) or theirs[0].key.startswith(mine[0].key))
    if not begins and (matched.quick_ratio() < alike or matched.ratio() < alike):
        return False
    changes = [change for change in matched.get_opcodes() if change[0] != "equal"]
    in_mine = [letter[1:] for _, start, end, _, _ in changes for letter in a[start:end]]
    in_theirs = [letter[1:] for _, _, _, start, end in changes for letter in b[start:end]]
    for words, spans in ((mine, in_mine), (theirs, in_theirs)):
        for word in words:
            word.differing = sorted({span for span in spans if word.start <= span[0] < word.end})
    return True
