"""Reads people's names every way they may be meant, and compares them part by part."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from titleholder.matching import nicknames
from titleholder.matching.evidence import Known, look_up
from titleholder.matching.romanisation import one_original, one_surname, other_syllable
from titleholder.matching.text import (
    MAX_WORDS,
    closeness,
    is_latin,
    plain_umlauts,
    same_beginning,
    scrambled,
    sound,
    within_two,
)
from titleholder.matching.titles import Party
from titleholder.matching.weights import NAME_WEIGHTS
from titleholder.matching.words import BINDING, JOINERS, PARTICLES


class Reading(NamedTuple):
    """One way to read a name: forenames, surname, generation, and how the reading came about."""

    fore: tuple[str, ...]
    family: tuple[str, ...]
    generation: str
    layout: str  # "given": told by the source; "fl": given name first; "lf": surname first by guess; "one": a single word
    context: str  # the party's


class Memo:
    """What was found out about words in one comparison. It never outlives the comparison, for it holds names."""

    __slots__ = ("_eastern", "families", "given", "known", "read", "related", "sounds", "strict", "words")

    def __init__(self, strict: bool = False) -> None:
        self.known: dict[str, Known] = {}
        self.given: dict[tuple[str, str], str] = {}
        self.families: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}
        self.related: dict[tuple[str, str, bool], tuple[int, str] | None] = {}
        self.sounds: dict[str, str] = {}
        self.read: dict[int, tuple[Party, list[Reading]]] = {}
        # Both sides are written in a script that is transcribed: there a different letter is a different name.
        self.strict = strict
        self.words: tuple[str, ...] = ()
        self._eastern: bool | None = None

    def look_up(self, word: str) -> Known:
        """Return what is known of a word."""
        found = self.known.get(word)
        if found is None:
            found = self.known[word] = look_up(word)
        return found

    def sound(self, word: str) -> str:
        """Return how a word sounds."""
        found = self.sounds.get(word)
        if found is None:
            found = self.sounds[word] = sound(word)
        return found

    def readings(self, party: Party) -> list["Reading"]:
        """Return the readings of a party's words."""
        found = self.read.get(id(party))
        if found is None:
            found = self.read[id(party)] = party, readings(party)
        return found[1]

    def reads(self, words: tuple[str, ...]) -> None:
        """Take note of the words that are compared."""
        if words != self.words:
            self.words = words
            self._eastern = None
            self._forget_pairs()

    @property
    def eastern(self) -> bool:
        """Whether a surname of China, Korea or Vietnam is among the words, so that given names are made of syllables."""
        if self._eastern is None:
            self._eastern = any(len(w) < LONGEST_EASTERN and not EASTERN.isdisjoint(self.look_up(w).cultures) for w in self.words)
        return self._eastern

    def _forget_pairs(self) -> None:
        self.given.clear()
        self.families.clear()
        self.related.clear()

    def next_owner(self) -> None:
        """Forget what was found out about pairs of words, and, when it gets much, about words."""
        self._forget_pairs()
        if len(self.known) > MANY_WORDS:
            self.known.clear()
            self.sounds.clear()
        if len(self.read) > MANY_WORDS:
            self.read.clear()


MANY_WORDS = 2000
# The cultures whose given names are made of one or two syllables, and the length of their longest surnames.
EASTERN = frozenset("ckv")
LONGEST_EASTERN = 8
MANY_READINGS = 36


def _tail(tokens: tuple[str, ...]) -> tuple[str, ...]:
    return tokens[_bind(tokens, len(tokens) - 1) :]


def _bind(tokens: tuple[str, ...], start: int) -> int:
    """Move the start of a surname back over the particles before it."""
    while start > 1 and (tokens[start - 1] in BINDING or (tokens[start - 1] in JOINERS and start > 2)):
        start -= 2 if tokens[start - 1] in JOINERS else 1
    if start > 2 and tokens[start - 2] == "de" and tokens[start - 1] in ("la", "las", "los", "lo"):
        start -= 2
    return start


def readings(party: Party) -> list[Reading]:
    """Return the readings of a party's words."""
    words, context = party.words[:MAX_WORDS], party.context
    if party.family or party.given:
        cut = len(party.words) - party.family
        return [Reading(party.words[:cut][:8], party.words[cut:][:8], party.generation, "given", context)]
    if party.lent:
        return [Reading(words, family, party.generation, "fl", context) for family in party.lent]
    out: list[Reading] = []
    if party.comma:
        head, rest = words[: party.comma], words[party.comma :]
        if len(head) <= 4 and not (party.title and len(head) > 1):
            out.append(Reading(rest[:8], head, party.generation, "given", context))
        if len(head) > 2 or party.title:
            out.extend(_plain(head, party.generation, context))
    else:
        out = _plain(words, party.generation, context)
    if len(party.aside) == 1 and len(party.aside[0]) > 1:
        alias = [r._replace(fore=(party.aside[0], *r.fore[1:]), context="alias") for r in out[:3] if r.fore]
        out.extend(alias)
    return out


def _plain(t: tuple[str, ...], generation: str, context: str) -> list[Reading]:
    n = len(t)
    if n == 1:
        return [Reading((), t, generation, "one", context)]
    tail = _tail(t)
    out = [Reading(t[: n - len(tail)], tail, generation, "fl", context)]
    lead = 1
    while lead < n - 1 and (t[lead - 1] in BINDING or t[lead] in JOINERS):
        lead += 1
    if n > 2 and len(tail) < n - 1:
        size = n - _bind(t, n - len(tail) - 1)
        out.append(Reading(t[: n - size], t[n - size :], generation, "fl2", context))
    out.append(Reading(t[lead:], t[:lead], generation, "lf", context))
    if n > 2 and lead + 1 < n:
        out.append(Reading(t[lead + 1 :], t[: lead + 1], generation, "lf2", context))
    return out


# --- comparing parts ---------------------------------------------------------------------------------------------------------------------


def compare_given(a: str, b: str, memo: Memo) -> str:
    """Return the level at which two given names agree."""
    if a == b:
        return "G_INITIALS" if len(a) == 1 else "G_SAME"
    level = memo.given.get((a, b))
    if level is None:
        level = memo.given[a, b] = _compare_given(a, b, memo)
    return level


def _compare_given(a: str, b: str, memo: Memo) -> str:
    if len(a) == 1 or len(b) == 1:
        return "G_INITIAL" if a[0] == b[0] else "G_INITIAL_DIFFERS"
    if not (a.isascii() and b.isascii()):
        return "G_SCRIPT" if a.isascii() != b.isascii() else "G_DIFFERS"
    form_a, form_b = a in nicknames.FORMAL, b in nicknames.FORMAL
    if a in nicknames.SPELLED and b in nicknames.SPELLED and nicknames.same_spelling(a, b):
        return "G_SPELLING"
    if (form_a and nicknames.is_form_of(a, b)) or (form_b and nicknames.is_form_of(b, a)):
        return "G_NICKNAME"
    if form_a and form_b and nicknames.share_formal(a, b):
        return "G_COUSIN"
    if (form_a and nicknames.is_mistyped_form_of(a, b)) or (form_b and nicknames.is_mistyped_form_of(b, a)):
        return "G_NICKNAME_TYPO"
    if a in nicknames.BYNAMES or b in nicknames.BYNAMES:
        return "G_BYNAME"
    if a[0] != b[0] and a[-1] != b[-1] and a[1] != b[0] and a[0] != b[1] and a[1:3] != b[1:3] and not same_beginning(a, b):
        # Nearly all pairs of different names are settled here.
        if scrambled(a, b) and not ((a in nicknames.KNOWN or memo.look_up(a).given) and (b in nicknames.KNOWN or memo.look_up(b).given)):
            return "G_ALIKE"
        return "G_DIFFERS"
    known_a, known_b = memo.look_up(a), memo.look_up(b)
    is_known_a, is_known_b = known_a.given > 0 or a in nicknames.KNOWN, known_b.given > 0 or b in nicknames.KNOWN
    known = is_known_a and is_known_b
    if known_a.gender != known_b.gender and known_a.gender != "-" and known_b.gender != "-" and known_a.given > 1 and known_b.given > 1:
        # One is given to men and the other to women.
        return "G_OTHER" if a[0] == b[0] else "G_DIFFERS"
    if _abdul(a) and _abdul(b):
        x, y = _abdul(a), _abdul(b)
        return (
            "G_SPELLING" if x == y or one_original(x, y, memo.look_up(x), memo.look_up(y)) or memo.sound(x) == memo.sound(y) else "G_OTHER"
        )
    short, long = (a, b) if len(a) < len(b) else (b, a)
    begin = a[0] == b[0] or same_beginning(a, b)
    if (
        (begin or a[0] + b[0] in _SWAPPED_BEGINNINGS)
        and abs(len(a) - len(b)) < MOST_RESPELT
        and one_original(a, b, known_a, known_b, memo.eastern)
    ):
        return "G_SPELLING"
    if begin and _western_key(a) == _western_key(b) and frozenset((a, b)) not in _TWINS:
        return "G_SPELLING"
    if not known and plain_umlauts(a) == plain_umlauts(b):
        return "G_SPELLING"
    if a[0] == b[0] == "m" and _mac(a) == _mac(b):
        return "G_SPELLING"
    if long.endswith(short) and len(short) > 3 and long[: -len(short)] in _PRAISE:
        return "G_NICKNAME"
    edits = within_two(a, b) if a[0] == b[0] or a[-1] == b[-1] or a[1] == b[0] or a[0] == b[1] or a[1:3] == b[1:3] else 3
    if known and edits == 1 and min(known_a.given, known_b.given) < 3 and max(known_a.given, known_b.given) > 6 and len(short) > 5:
        # The Census has misspellings of common names too: Elizbeth, Joesph.
        known = False
    if edits < 3 or a[:3] == b[:3] or a[-3:] == b[-3:]:
        if known:
            return "G_OTHER" if a[0] == b[0] or edits < 3 else "G_DIFFERS"
        if other_syllable(a, b, known_a, known_b, memo.eastern):
            return "G_OTHER"
    if edits == 1:
        if memo.strict or _twins(short, long, is_known_a if short is a else is_known_b, is_known_b if short is a else is_known_a):
            return "G_OTHER"
        if a[0] != b[0] and a[1] != b[0] and a[0] != b[1]:
            return "G_TYPO_FIRST"
        return "G_TYPO" if len(short) > 4 else "G_TYPO_SHORT"
    if nicknames.is_form_mistyped(a, b) or nicknames.is_form_mistyped(b, a):
        return "G_NICKNAME_TYPO"
    if long.startswith(short) and len(short) > 3:
        ending = long[len(short) :]
        if ending in _FEMININE or (ending == "ta" and (is_known_a if short is a else is_known_b)):
            return "G_OTHER"
    if len(short) > 3 and same_beginning(a, b) and memo.sound(a) == memo.sound(b):
        return "G_OTHER" if known else "G_SOUND"
    if len(short) > 2 and long.startswith(short):
        return "G_OTHER" if known else "G_PREFIX"
    if edits == 2 and len(short) > 4:
        if not known and a[0] != b[0] and a[-1] != b[-1]:
            return "G_ALIKE"
        return "G_OTHER" if known or memo.strict else "G_TYPO_2" if len(short) > 5 else "G_TYPO_2_SHORT"
    if not known and a[0] == b[0]:
        alike = closeness(a, b)
        if alike > 0.86:
            return "G_ALIKE"
        if alike > 0.78:
            return "G_ALIKE_LESS"
    if not known and scrambled(a, b):
        return "G_ALIKE"
    return "G_DIFFERS_SAME_INITIAL" if a[0] == b[0] else "G_DIFFERS"


# Letters that begin one name in two traditions of transcription.
_SWAPPED_BEGINNINGS = frozenset(
    [
        "jc",
        "cj",
        "jy",
        "yj",
        "ji",
        "ij",
        "je",
        "ej",
        "hg",
        "gh",
        "vb",
        "bv",
        "kg",
        "gk",
        "pb",
        "bp",
        "dt",
        "td",
        "lr",
        "rl",
        "wu",
        "uw",
        "kh",
        "hk",
        "ch",
        "hc",
        "xh",
        "hx",
        "rn",
        "nr",
    ]
)
# Spellings of one name differ by fewer letters in length.
MOST_RESPELT = 5
_ABDUL = ("abdul", "abdel", "abdal", "abdol", "abdil", "abdur", "abdus", "abder", "abdess", "abdar", "abdoul")


def _abdul(word: str) -> str:
    """Return the attribute of God in a name such as Abdulrahman, or an empty text."""
    if word[:3] == "abd" and len(word) > 7:
        for lead in _ABDUL:
            if word.startswith(lead):
                rest = word[len(lead) :]
                return rest if len(rest) > 2 else ""
    return ""


# Pairs that sound alike and are two names all the same.
_TWINS = frozenset(map(frozenset, (("mary", "marie"), ("mari", "mary"), ("jesse", "jessie"), ("carrie", "carey"), ("louis", "luis"))))
_VOWELS = frozenset("aeiouy")


def _western_key(word: str) -> str:
    """Return a given name in one spelling where English has several: Erik, Eric; Sara, Sarah; Jon, John."""
    if word[-1] == "h" and len(word) > 3 and word[-2] in "ae":
        word = word[:-1]
    for end in ("ie", "ey", "ee"):
        if word.endswith(end) and len(word) > len(end) + 1:
            word = word[: -len(end)] + "i"
            break
    word = _WESTERN.sub(lambda found: _WESTERN_SOUNDS[found[0]], word)
    return _DOUBLED.sub(r"\1", word)


_WESTERN_SOUNDS = {
    "ph": "f", "th": "t", "ck": "k", "ch": "k", "c": "k", "y": "i", "z": "s", "oh": "o", "ah": "a", "rh": "r", "q": "k", "x": "ks",
    "w": "v",
}  # fmt: skip
_WESTERN = re.compile("|".join(_WESTERN_SOUNDS))
_DOUBLED = re.compile(r"(.)\1+")


def _twins(short: str, long: str, short_known: bool, long_known: bool) -> bool:
    """Tell whether one letter turns one name into another person's: Mario and Maria, Rashid and Rashida, Minh and Linh."""
    if len(short) == len(long):
        if short[:-1] == long[:-1]:
            return short[-1] in _VOWELS and long[-1] in _VOWELS
        return False
    if long[:-1] == short and long[-1] in _VOWELS:
        return short_known or not long_known
    return False


# Endings that turn a man's name into a woman's.
_FEMININE = frozenset(
    ("la", "na", "ia", "le", "ne", "ella", "elle", "ette", "ina", "ine", "ita", "etta", "lla", "nna", "nne", "lle", "elia", "da")
)
# What precedes the part of a Yoruba or Igbo name that people are called by: Oluwaseun is Seun.
_PRAISE = frozenset(("oluwa", "olu", "chukwu", "chuku"))
_SOFT_GIVEN = frozenset(("G_SAME", "G_SPELLING", "G_NICKNAME", "G_TYPO", "G_SOUND"))
_WRONG_GIVEN = frozenset(
    (
        "G_DIFFERS",
        "G_DIFFERS_SAME_INITIAL",
        "G_OTHER",
        "G_INITIAL_DIFFERS",
        "G_ALIKE",
        "G_ALIKE_LESS",
        "G_TYPO_2_SHORT",
        "G_TYPO_FIRST",
        "G_SCRIPT",
        "G_PREFIX",
    )
)


def _compare_fore(a: tuple[str, ...], b: tuple[str, ...], memo: Memo) -> tuple[str, str]:
    """Return the levels of the given and of the middle names."""
    if not a or not b:
        return "G_MISSING", "M_NONE"
    given = compare_given(a[0], b[0], memo)
    more_a, more_b = a[1:], b[1:]
    if given != "G_SAME":
        if more_b and len(a[0]) > 2 and a[0] == b[0] + more_b[0]:
            given, more_b = "G_GLUED", more_b[1:]
        elif more_a and len(b[0]) > 2 and b[0] == a[0] + more_a[0]:
            given, more_a = "G_GLUED", more_a[1:]
    if given in _WRONG_GIVEN:
        crossed = ""
        for mine, theirs in ((a, b), (b, a)):
            for middle in mine[1:3]:
                if len(middle) > 1 and len(theirs[0]) > 1:
                    level = compare_given(middle, theirs[0], memo)
                    if level in _SOFT_GIVEN:
                        first = len(mine[0]) == 1
                        if level == "G_SAME":
                            crossed = "G_MIDDLE_INITIAL" if first else "G_MIDDLE"
                        elif not crossed:
                            crossed = "G_MIDDLE_FORM"
        if crossed:
            return crossed, "M_USED"
    middle = _compare_middle(more_a, more_b, memo)
    # The members of a family often share a middle initial: it says nothing for another given name.
    if given in _DIFFERENT_GIVEN and middle in ("M_SAME", "M_INITIAL", "M_FORM"):
        middle = "M_USED"
    return given, middle


def _compare_middle(a: tuple[str, ...], b: tuple[str, ...], memo: Memo) -> str:
    if not a or not b:
        if not a and not b:
            return "M_NONE"
        return "M_ONE_INITIAL" if all(len(t) == 1 for t in a or b) else "M_ONE"
    if a == b:
        return "M_SAME"
    best = "M_DIFFERS"
    for x in a[:4]:
        for y in b[:4]:
            if x == y:
                return "M_SAME"
            if len(x) == 1 or len(y) == 1:
                if x[0] == y[0]:
                    best = "M_INITIAL"
                elif best == "M_DIFFERS":
                    best = "M_INITIAL_DIFFERS"
            elif best != "M_INITIAL" and compare_given(x, y, memo) in (
                "G_SPELLING",
                "G_NICKNAME",
                "G_TYPO",
                "G_SOUND",
                "G_TYPO_2",
                "G_PREFIX",
                "G_TYPO_SHORT",
            ):
                best = "M_FORM"
    return best


def compare_family(a: tuple[str, ...], b: tuple[str, ...], memo: Memo) -> str:
    """Return the level at which two surnames agree."""
    if a == b:
        return "F_SAME"
    level = memo.families.get((a, b))
    if level is None:
        level = memo.families[a, b] = _compare_family(a, b, memo)
    return level


def _compare_family(a: tuple[str, ...], b: tuple[str, ...], memo: Memo) -> str:
    if not a or not b:
        return "F_MISSING"
    x, y = "".join(a), "".join(b)
    if x == y:
        return "F_GLUED"
    if not is_latin(x) or not is_latin(y):
        return "F_SCRIPT" if is_latin(x) != is_latin(y) else "F_DIFFERS"
    if len(a) == 1 and len(b) == 1 and x[0] != y[0] and x[-1] != y[-1] and not same_beginning(x, y) and x[1:3] != y[1:3]:
        return "F_ALIKE" if scrambled(x, y) else "F_DIFFERS"
    core_a = a if PARTICLES.isdisjoint(a) else tuple(t for t in a if t not in PARTICLES) or a
    core_b = b if PARTICLES.isdisjoint(b) else tuple(t for t in b if t not in PARTICLES) or b
    if core_a == core_b:
        return "F_PARTICLE"
    short, long = (x, y) if len(x) < len(y) else (y, x)
    if len(short) == 1:
        return "F_INITIAL" if x[0] == y[0] else "F_DIFFERS"
    several = len(core_a) > 1 or len(core_b) > 1
    if several and any(len(t) > 1 and t in core_b for t in core_a):
        return "F_PART" if len(core_a) == 1 or len(core_b) == 1 else "F_PART_EACH"
    known_a, known_b = memo.look_up(x), memo.look_up(y)
    level = _one_word_family(x, y, short, long, known_a, known_b, memo)
    if level != "F_DIFFERS":
        return level
    if several:
        for t in core_a:
            for u in core_b:
                if len(t) > 3 and len(u) > 3 and (within_two(t, u) == 1 or memo.sound(t) == memo.sound(u)):
                    return "F_PART_ALIKE"
    if x[:5] == y[:5] and len(short) > 5:
        # Names that differ in their endings only are two, as Masters and Masterton; a typing error changes fewer letters.
        return "F_CUT_EARLY"
    alike = closeness(x, y) if x[0] == y[0] else 0.0
    if (alike > 0.88 and len(short) > 3) or scrambled(x, y):
        return "F_ALIKE"
    if alike > 0.8:
        return "F_ALIKE_LESS"
    return "F_DIFFERS"


# How common a surname must be to be one of its own instead of a typing error.
ESTABLISHED = 2
# Traditions whose surnames are written in Latin letters in many ways by the same family.
_TRANSCRIBED = frozenset("srahpj")
_GAELIC = ("mac", "mc", "o", "fitz", "st")


def _one_word_family(x: str, y: str, short: str, long: str, known_a: Known, known_b: Known, memo: Memo) -> str:
    if x[0] == y[0] == "m" and _mac(x) == _mac(y):
        return "F_SOUND"
    if one_surname(x, y, known_a, known_b):
        return "F_FORM"
    both = known_a.surname >= ESTABLISHED and known_b.surname >= ESTABLISHED
    culture = ""
    if abs(len(x) - len(y)) < MOST_RESPELT and (x[0] == y[0] or x[0] + y[0] in _SWAPPED_BEGINNINGS or same_beginning(x, y)):
        culture = one_original(x, y, known_a, known_b, memo.eastern)
    if culture:
        shared = culture in known_a.cultures and culture in known_b.cultures
        if not both or (culture in _TRANSCRIBED and culture in known_a.cultures + known_b.cultures) or (culture == "k" and shared):
            return "F_SOUND"
        if plain_umlauts(x) == plain_umlauts(y) and culture in "gn":
            return "F_SOUND"
        return "F_NEAR"
    if len(short) > 2 and long.endswith(short) and long[: len(long) - len(short)] in _GAELIC:
        return "F_CUT_EARLY"
    edits = within_two(x, y) if x[0] == y[0] or x[-1] == y[-1] or x[1] == y[0] or x[0] == y[1] or x[1:3] == y[1:3] else 3
    if memo.strict and edits < 3:
        return "F_CUT_EARLY"
    both = both or _other_ending(x, y)
    if len(short) > 2 and same_beginning(x, y) and memo.sound(x) == memo.sound(y):
        if both or (edits > 1 and {*known_a.cultures, *known_b.cultures} in ({"O"}, {"O", "o"})):
            # Hawaiian has few consonants, so names that sound alike by them are many.
            return "F_NEAR"
        return "F_SOUND" if edits < 3 else "F_SOUND_FAR"
    if len(short) > 2 and plain_umlauts(x) == plain_umlauts(y):
        return "F_SOUND"
    if edits == 1:
        if both:
            return "F_NEAR"
        return "F_TYPO" if len(short) > 4 else "F_TYPO_SHORT" if len(short) > 2 else "F_TYPO_2_SHORT"
    if long.startswith(short) and len(short) > 3:
        return "F_CUT"
    if edits == 2 and len(long) - len(short) == 2 and x[:5] == y[:5] and known_a.surname + known_b.surname:
        # Masters is no Masterton.
        return "F_CUT_EARLY"
    if edits == 2 and len(short) > 4:
        return "F_CUT_EARLY" if both else "F_TYPO_2" if len(short) > 6 else "F_TYPO_2_SHORT"
    return "F_DIFFERS"


# Endings that each make surnames, one letter apart: Tucker and Tuckey, Mikkelson and Mikkelsen, Gonzales and Gonzalez.
_ENDINGS = frozenset(frozenset(pair) for pair in (("er", "ey"), ("es", "ez"), ("sen", "son")))


def _other_ending(x: str, y: str) -> bool:
    """Tell whether two surnames differ in such endings alone: two names, even if no list has both."""
    if len(x) != len(y) or len(x) < SHORTEST_STEM or x[:-3] != y[:-3]:
        return False
    return (x[-3] == y[-3] and frozenset((x[-2:], y[-2:])) in _ENDINGS) or frozenset((x[-3:], y[-3:])) in _ENDINGS


SHORTEST_STEM = 5


def _mac(word: str) -> str:
    return "mc" + word[3:] if word[:3] == "mac" and len(word) > 6 else word


def _compare_generation(a: str, b: str) -> str:
    if a == b:
        return "S_SAME" if a else "S_NONE"
    if not a or not b:
        return "S_ONE"
    # Jr. and II are used for the same man.
    return "S_NEAR" if {a, b} == {"2", "ii"} else "S_CONFLICT"


_FINE_MIDDLE = frozenset(("M_NONE", "M_SAME", "M_INITIAL"))
_CONTEXT_RANK = {
    name: rank for rank, name in enumerate(("plain", "joint", "shared", "alias", "trade", "trust", "benefit", "custodian", "minor",
                                            "estate", "executor", "parent", "hard_trust", "house", "beneficiary"))
}  # fmt: skip
_WIDE = frozenset(("fl2", "lf2"))
# A middle name must not pass for a part of the surname: what is left of the surname agrees without it.
_PARTS = frozenset(("F_PART", "F_PART_EACH", "F_PART_ALIKE"))


class Comparison(NamedTuple):
    """The levels of the best pair of readings, and their log-odds."""

    log_odds: float
    levels: tuple[str, ...]  # given, family, middle, generation, order, context, then combinations


_FUZZY_GIVEN = frozenset(
    ("G_TYPO", "G_TYPO_SHORT", "G_TYPO_2", "G_TYPO_2_SHORT", "G_ALIKE", "G_ALIKE_LESS", "G_SOUND", "G_PREFIX", "G_OTHER", "G_COUSIN",
     "G_TYPO_FIRST",
     "G_MIDDLE_FORM", "G_MIDDLE")
)  # fmt: skip
_FUZZY_FAMILY = frozenset(
    (
        "F_TYPO",
        "F_TYPO_SHORT",
        "F_TYPO_2",
        "F_TYPO_2_SHORT",
        "F_ALIKE",
        "F_ALIKE_LESS",
        "F_SOUND_FAR",
        "F_PART_ALIKE",
        "F_CUT",
        "F_CUT_EARLY",
    )
)
_WRONG_FAMILY = frozenset(("F_DIFFERS", "F_ALIKE_LESS", "F_SCRIPT"))
_DIFFERENT_GIVEN = frozenset(("G_DIFFERS", "G_DIFFERS_SAME_INITIAL", "G_INITIAL_DIFFERS", "G_SCRIPT"))


# Banks cut names off at some twenty to forty characters. Nothing was cut from a shorter one: Maria Tere is not Maria Teresa.
SHORTEST_CUT = 14


def _width(reading: Reading) -> int:
    return sum(map(len, reading.fore)) + sum(map(len, reading.family))


NOTHING_ALIKE = ("G_DIFFERS", "F_DIFFERS", "M_USED", "S_NONE", "O_SAME", "C_PLAIN", "X_BOTH_DIFFER")


def _maiden(a: Reading, b: Reading) -> bool:
    """Tell whether one surname is the other's middle name: a surname taken in marriage leaves the old one there."""
    return bool(a.family) and len(a.family[-1]) > 2 and a.family[-1] not in PARTICLES and a.family[-1] in b.fore[1:]


def compare_readings(a: Reading, b: Reading, memo: Memo) -> tuple[str, ...]:
    """Return the levels at which two readings agree."""
    family = compare_family(a.family, b.family, memo)
    given, middle = _compare_fore(a.fore, b.fore, memo)
    if family == "F_DIFFERS" and given in _DIFFERENT_GIVEN:
        return NOTHING_ALIKE
    if family == "F_CUT" and min(_width(a), _width(b)) < SHORTEST_CUT:
        family = "F_CUT_EARLY"
    if family in _WRONG_FAMILY and given in _SOFT_GIVEN and "lf" not in (a.layout[:2], b.layout[:2]) and (_maiden(a, b) or _maiden(b, a)):
        family, middle = "F_MAIDEN", "M_USED"
    swapped = (a.layout[0] == "l") != (b.layout[0] == "l")
    levels = [given, family, middle, _compare_generation(a.generation, b.generation), "O_SWAPPED" if swapped else "O_SAME"]
    context = a.context if _CONTEXT_RANK.get(a.context, 9) > _CONTEXT_RANK.get(b.context, 9) else b.context
    levels.append("C_" + context.upper())
    levels.extend(combinations(levels))
    return tuple(levels)


def combinations(levels: list[str]) -> list[str]:
    """Return what several levels say together beyond what each says alone."""
    given, family, middle, _, order, _ = levels[:6]
    out = []
    if given in _FUZZY_GIVEN and family in _FUZZY_FAMILY:
        out.append("X_BOTH_FUZZY")
    if family in _WRONG_FAMILY and given in _DIFFERENT_GIVEN:
        out.append("X_BOTH_DIFFER")
    if order == "O_SWAPPED" and (
        given not in ("G_SAME", "G_INITIAL", "G_NICKNAME", "G_SPELLING") or family not in ("F_SAME", "F_GLUED", "F_PARTICLE")
    ):
        out.append("X_SWAPPED_FUZZY")
    if given in ("G_INITIAL", "G_INITIALS", "G_MISSING") and family != "F_SAME":
        out.append("X_INITIAL_FUZZY")
    if middle in ("M_SAME", "M_INITIAL") and given not in ("G_SAME", "G_SPELLING", "G_NICKNAME"):
        out.append("X_MIDDLE_HELPS")
    if middle in ("M_DIFFERS", "M_INITIAL_DIFFERS") and (given != "G_SAME" or family != "F_SAME"):
        out.append("X_MIDDLE_HURTS")
    return out


def log_odds(levels: tuple[str, ...]) -> float:
    """Sum the weights of levels."""
    total = NAME_WEIGHTS["BASE"]
    weight = NAME_WEIGHTS.get
    for level in levels:
        total += weight(level, 0.0)
    return total


def _may_be_wide(wide: Reading, other: Reading) -> bool:
    """Tell whether a surname of several words meets another such surname, or one word that is all of it written together."""
    if len(other.family) > 1:
        return True
    if not other.family:
        return False
    whole = other.family[0]
    return len(wide.family[0]) > 1 and whole[:2] == wide.family[0][:2] and within_two("".join(wide.family), whole) < 2


def every_comparison(mine: Party, held: Party, memo: Memo) -> Iterator[tuple[str, ...]]:
    """Yield the levels for every pair of readings of two names that makes sense."""
    a, b = memo.readings(mine), memo.readings(held)
    glued = _compare_glued(mine, a, held, b)
    if glued is not None:
        yield glued
    for x in a[:MANY_READINGS]:
        for y in b[:MANY_READINGS]:
            # A second word is taken into a surname only to meet another surname of several words; else it is a middle name.
            # Two names in the same order put the given name first, unless both are told to be otherwise: else Mark Smith and Mary Smith
            # would be two spellings of one surname.
            if x.layout[0] == "l" and y.layout[0] == "l" and not (x.family == y.family and x.fore[:1] == y.fore[:1]):
                continue
            if (y.layout in _WIDE and not _may_be_wide(y, x)) or (x.layout in _WIDE and not _may_be_wide(x, y)):
                continue
            levels = compare_readings(x, y, memo)
            if (x.layout in _WIDE or y.layout in _WIDE) and levels[1] in _PARTS:
                continue
            yield levels


def compare(mine: Party, held: Party, memo: Memo) -> Comparison | None:
    """Return the best comparison over all readings of two names, or ``None`` when either has none."""
    best: Comparison | None = None
    for levels in every_comparison(mine, held, memo):
        total = log_odds(levels)
        # Readings that speak as much for a match are told apart by their levels, so that either side may come first.
        if best is None or total > best.log_odds or (total == best.log_odds and levels > best.levels):
            best = Comparison(total, levels)
            if levels[:2] == ("G_SAME", "F_SAME") and levels[2] in _FINE_MIDDLE and levels[4:6] == ("O_SAME", "C_PLAIN"):
                break
    return best


def _compare_glued(mine: Party, a: list[Reading], held: Party, b: list[Reading]) -> tuple[str, ...] | None:
    """Compare when one side is written as a single word."""
    if (len(mine.words) == 1) == (len(held.words) == 1):
        return None
    one, many = (mine, b) if len(mine.words) == 1 else (held, a)
    word = one.words[0]
    if len(word) < 6:
        return None
    for reading in many[:4]:
        fore, family = reading.fore, "".join(reading.family)
        if not fore or not family or (len(fore[0]) == 1 and len(fore) == 1):
            continue
        initials = "".join(f[0] for f in fore[1:2])
        for whole in (fore[0] + family, family + fore[0], fore[0] + initials + family, "".join(fore) + family, family + "".join(fore)):
            if whole == word:
                return "G_SAME", "F_SAME", "M_ONE", "S_NONE", "O_SAME", "C_GLUED"
            if len(word) > 8 and within_two(whole, word) == 1:
                return "G_SAME", "F_TYPO", "M_ONE", "S_NONE", "O_SAME", "C_GLUED"
            if len(word) > 9 and len(word) > len(fore[0]) + 2 and whole.startswith(word):
                return "G_SAME", "F_CUT", "M_ONE", "S_NONE", "O_SAME", "C_GLUED"
    return None
