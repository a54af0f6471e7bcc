"""Reads people's names in every way they may be meant, and compares them part by part."""

import re
from typing import Any

from titleholder.matching import nicknames
from titleholder.matching.evidence import Known, look_up
from titleholder.matching.parties import Party
from titleholder.matching.romanisation import one_original, one_surname, other_syllable
from titleholder.matching.text import (
    closeness,
    is_latin,
    plain_umlauts,
    same_beginning,
    scrambled,
    sound,
    within_two,
)
from titleholder.matching.words import PARTICLES


class Memo:
    """A cache of what was found about words in one comparison. It is discarded afterwards, because it contains names."""

    __slots__ = ("_eastern", "families", "given", "known", "read", "related", "sounds", "strict", "words")

    def __init__(self, strict: bool = False) -> None:
        self.known: dict[str, Known] = {}
        self.given: dict[tuple[str, str], str] = {}
        self.families: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}
        self.related: dict[tuple[str, str, bool], tuple[int, str] | None] = {}
        self.sounds: dict[str, str] = {}
        self.read: dict[int, tuple[Party, Any]] = {}  # readings of parties
        # Both sides are written in a script that is transcribed, so a different letter means a different name.
        self.strict = strict
        self.words: tuple[str, ...] = ()
        self._eastern: bool | None = None

    def look_up(self, word: str) -> Known:
        """Return what is known about a word."""
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

    def reads(self, words: tuple[str, ...]) -> None:
        """Store the words that are compared."""
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
        """Remove what was found about pairs of words, and if it is too much, also about words."""
        self._forget_pairs()
        if len(self.known) > MANY_WORDS:
            self.known.clear()
            self.sounds.clear()
        if len(self.read) > MANY_WORDS:
            self.read.clear()


MANY_WORDS = 2000
# The cultures whose given names consist of one or two syllables, and the length of their longest surnames.
EASTERN = frozenset("ckv")
LONGEST_EASTERN = 8


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
        # The Census lists contain misspellings of common names, too: Elizbeth, Joesph.
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


# Letters with which one name begins in two traditions of transcription.
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


# Pairs that sound alike but are different names.
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
    """Return whether one letter makes another name: Mario and Maria, Rashid and Rashida, Minh and Linh."""
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
# Prefixes of Yoruba and Igbo names that are left out in everyday use: Oluwaseun is called Seun.
_PRAISE = frozenset(("oluwa", "olu", "chukwu", "chuku"))


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
        # Names that differ only in their endings are different, as Masters and Masterton. A typing error changes fewer letters.
        return "F_CUT_EARLY"
    alike = closeness(x, y) if x[0] == y[0] else 0.0
    if (alike > 0.88 and len(short) > 3) or scrambled(x, y):
        return "F_ALIKE"
    if alike > 0.8:
        return "F_ALIKE_LESS"
    return "F_DIFFERS"


# A surname that is at least this common is a name of its own, not a typing error.
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
            # Hawaiian has few consonants, so many names sound alike by their consonants.
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
        # Masters is not Masterton.
        return "F_CUT_EARLY"
    if edits == 2 and len(short) > 4:
        return "F_CUT_EARLY" if both else "F_TYPO_2" if len(short) > 6 else "F_TYPO_2_SHORT"
    return "F_DIFFERS"


# Endings of different surnames that differ by one letter: Tucker and Tuckey, Mikkelson and Mikkelsen, Gonzales and Gonzalez.
_ENDINGS = frozenset(frozenset(pair) for pair in (("er", "ey"), ("es", "ez"), ("sen", "son")))


def _other_ending(x: str, y: str) -> bool:
    """Return whether two surnames differ only in such endings. They are different names, even if no list has both."""
    if len(x) != len(y) or len(x) < SHORTEST_STEM or x[:-3] != y[:-3]:
        return False
    return (x[-3] == y[-3] and frozenset((x[-2:], y[-2:])) in _ENDINGS) or frozenset((x[-3:], y[-3:])) in _ENDINGS


SHORTEST_STEM = 5


def _mac(word: str) -> str:
    return "mc" + word[3:] if word[:3] == "mac" and len(word) > 6 else word
