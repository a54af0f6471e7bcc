"""One party of a name: its words without titles, credentials and generations, and what is known of their order."""

from typing import NamedTuple

from titleholder.matching.text import MAX_WORDS
from titleholder.matching.words import (
    CREDENTIALS,
    CREDENTIALS_TOO,
    GENERATIONS,
    NO_NAME,
    ORDINALS,
    SURE_TITLES,
    TITLES,
    TITLES_TOO,
)

# A title's further parties are not read. The limit bounds the time.
MOST_PARTIES = 12


class Party(NamedTuple):
    """One party of a title, or the one of a claim: its words in the order written, and what is known of their order."""

    words: tuple[str, ...]
    context: str  # "plain", "joint", "shared", "trust", "beneficiary", ... : the party's capacity
    comma: int = 0  # how many words are before the comma that follows a surname; 0: no comma
    joined: frozenset[int] = frozenset()  # positions of words that a hyphen joins to the next
    generation: str = ""
    lent: tuple[tuple[str, ...], ...] = ()  # surnames that another owner may lend to one who has none of their own
    aside: tuple[str, ...] = ()  # words in brackets or quotes
    title: str = ""  # the first title, if it has one
    family: int = 0  # how many of the last words are the surname according to the source; 0: not known
    given: int = 0  # how many of the first words are given names according to the source; 0: not known
    whole: bool = False  # the title was not cut off at a fixed width


class Trust(NamedTuple):
    """A trust by its own name."""

    party: Party | None  # the person or couple it is called after
    after: tuple[str, ...]
    grantors: int
    kinds: frozenset[str]
    number: str
    date: str


# Tokens that are not words.
NO_WORDS = frozenset((",", "-", "#"))

# Words and signs that may be something other than a part of a name.
_NO_PLAIN_WORDS = NO_WORDS | frozenset(GENERATIONS) | SURE_TITLES | TITLES | CREDENTIALS | NO_NAME | {"the"}


def party_of(tokens: list[str], context: str) -> Party | None:
    """Return one person's words without titles, credentials and generations."""
    if _NO_PLAIN_WORDS.isdisjoint(tokens):
        if len(tokens) == 2 and tokens[0] == tokens[1] and context in ("plain", "joint"):
            tokens = tokens[:1]
        return Party(tuple(tokens[: 2 * MAX_WORDS]), context) if tokens else None
    words: list[str] = []
    joined: set[int] = set()
    comma = 0
    generation = ""
    title = ""
    items = [t for t in tokens if t != "#"]
    # After a second comma, or a comma after given name and surname, there are credentials and generations.
    index = 0
    count = len(items)
    while index < count:
        item = items[index]
        index += 1
        if item == "-":
            if words:
                joined.add(len(words) - 1)
            continue
        if item == ",":
            if words and not comma and any(t not in (",", "-") for t in items[index:]):
                comma = len(words)
            continue
        if item in GENERATIONS and words:
            if item in ORDINALS:
                words.append(item)
                continue
            if count > 2:
                generation = generation or GENERATIONS[item]
                if comma == len(words):
                    comma = (
                        comma if any(t not in GENERATIONS and t not in CREDENTIALS and t not in (",", "-") for t in items[index:]) else 0
                    )
                continue
        if item == "the" and index < count and items[index] in ORDINALS and words:
            generation = GENERATIONS[items[index]]
            index += 1
            continue
        if item in SURE_TITLES and index < count and (not words or comma == len(words)):
            title = title or item
            continue
        words.append(item)
    # A title that is also a given name stays, because the account of words excuses it.
    while len(words) > 2 and words[0] in TITLES and words[0] not in TITLES_TOO and 0 not in joined:
        title = title or words[0]
        del words[0]
        joined = {j - 1 for j in joined if j}
        comma = max(0, comma - 1)
    # The same after the comma: "LAST, CAPT FIRST".
    while comma and len(words) > comma + 1 and words[comma] in TITLES and words[comma] not in TITLES_TOO:
        title = title or words[comma]
        del words[comma]
        joined = {j - 1 if j > comma else j for j in joined}
    while len(words) > 2 and words[-1] in CREDENTIALS:
        word = words[-1]
        if word in CREDENTIALS_TOO and not (comma and comma == len(words) - 1 and comma > 1):
            break
        words.pop()
        joined.discard(len(words) - 1)
        if comma >= len(words):
            comma = 0
    if comma:
        # "TROJAN, RN, CHRISTINE" has credentials between the commas.
        inner = [w for w in words[comma:] if w not in CREDENTIALS or w in CREDENTIALS_TOO]
        if inner and len(inner) < len(words) - comma:
            words, joined = [*words[:comma], *inner], set()
    if comma >= len(words):
        comma = 0
    if not words:
        return None
    if len(words) > 1 and not NO_NAME.isdisjoint(words):
        kept = [w for w in words if w not in NO_NAME]
        if kept:
            words, joined, comma = kept, set(), 0
    if len(words) == 2 and words[0] == words[1] and context in ("plain", "joint"):
        words, joined, comma = words[:1], set(), 0
    return Party(tuple(words[: 2 * MAX_WORDS]), context, comma, frozenset(joined), generation, title=title)
