"""Recognises two spellings in Latin letters that transcribe one name of another script or spelling tradition, by culture."""

import re
from collections.abc import Callable

from titleholder.matching.evidence import Known

_DOUBLED = re.compile(r"(.)\1+")


def _once(word: str) -> str:
    return _DOUBLED.sub(r"\1", word)


def _replacer(*pairs: tuple[str, str]) -> Callable[[str], str]:
    """Return a function that makes all replacements in one pass. Earlier pairs take precedence."""
    table = dict(pairs)
    compiled: list[re.Pattern[str]] = []

    def replace(word: str) -> str:
        if not compiled:
            # Compiled when first needed, because most comparisons need none of them.
            compiled.append(re.compile("|".join(old for old, _ in pairs)))
        return compiled[0].sub(lambda found: table[found[0]], word)

    return replace


# Capitals and digits denote sounds that are written with several letters.
_slavic = _replacer(
    ("shch", "S"), ("sch", "S"), ("tch", "C"), ("zh", "Z"), ("kh", "X"), ("ch", "C"), ("sh", "S"), ("ts", "T"), ("tz", "T"), ("cz", "C"),
    ("iya", "A"), ("ija", "A"), ("iia", "A"), ("ya", "A"), ("ia", "A"), ("ja", "A"), ("iyu", "U"), ("yu", "U"), ("iu", "U"), ("ju", "U"),
    ("iye", "E"), ("ie", "e"), ("ye", "e"), ("je", "e"), ("yo", "e"), ("io", "e"), ("ck", "k"), ("ks", "x"), ("ff", "v"), ("w", "v"),
    ("iy", "i"), ("yi", "i"), ("yy", "i"), ("ij", "i"), ("ii", "i"), ("yj", "i"), ("y", "i"), ("j", "i"), ("ph", "f"), ("h", "g"),
)  # fmt: skip
_greek = _replacer(
    ("ch", "x"), ("kh", "x"), ("ph", "f"), ("th", "t"), ("ev", "ev"), ("eu", "ev"), ("ef", "ev"), ("av", "av"), ("au", "av"), ("af",
    "av"), ("ou", "u"), ("oi", "i"),
    ("ei", "i"), ("mp", "b"), ("nt", "d"), ("gk", "g"), ("gh", "g"), ("ks", "x"), ("c", "k"), ("h", "x"), ("y", "i"), ("e", "i"), ("z",
    "s"),
)  # fmt: skip
_arabic = _replacer(
    ("ouei", "ui"), ("oue", "u"), ("oua", "wa"), ("aou", "au"), ("ou", "u"), ("oo", "u"), ("o", "u"), ("aa", "a"), ("ae", "a"),
    ("ai", "i"), ("ay", "i"), ("ei", "i"), ("ey", "i"), ("ee", "i"), ("ie", "i"), ("iy", "i"), ("y", "i"), ("e", "i"), ("dj", "j"),
    ("kh", "x"), ("gh", "g"), ("q", "k"), ("c", "k"), ("dh", "d"), ("w", "v"), ("zh", "z"),
)  # fmt: skip
_hebrew = _replacer(
    ("tch", "C"), ("tz", "T"), ("ts", "T"), ("kh", "h"), ("ch", "h"), ("ph", "f"), ("th", "t"), ("ee", "i"), ("ie", "i"), ("iy", "i"),
    ("y", "i"),
    ("j", "i"), ("oo", "u"), ("ou", "u"), ("c", "k"), ("q", "k"), ("w", "v"), ("ei", "e"), ("ai", "a"), ("aa", "a"), ("z", "T"),
)  # fmt: skip
_indian = _replacer(
    ("ksh", "x"), ("kshm", "xm"), ("ks", "x"), ("th", "t"), ("dh", "d"), ("bh", "b"), ("gh", "g"), ("jh", "j"), ("chh", "c"), ("ch", "c"),
    ("ee", "i"), ("ie", "i"), ("ii", "i"), ("oo", "u"), ("ou", "u"), ("aa", "a"), ("y", "i"), ("w", "v"), ("ph", "f"), ("q", "k"), ("iy",
    "i"),
)  # fmt: skip
_african = _replacer(("aa", "a"), ("ee", "e"), ("ie", "e"), ("y", "i"), ("ou", "u"), ("q", "k"), ("ch", "c"), ("v", "w"))
_kana = _replacer(
    ("tsu", "tu"), ("shi", "si"), ("chi", "ti"), ("fu", "hu"), ("ji", "zi"), ("sha", "sya"), ("shu", "syu"), ("sho", "syo"), ("cha", "tya"),
    ("chu", "tyu"), ("cho", "tyo"), ("ja", "zya"), ("ju", "zyu"), ("jo", "zyo"), ("mb", "nb"), ("mp", "np"), ("mm", "nm"),
)  # fmt: skip
_LONG_O = re.compile(r"o[uo]+|oh(?=[^aeiouy]|$)")
_UMLAUT = re.compile(r"ae|oe|ue|aa")


def _slavic_key(word: str) -> str:
    return _once(_slavic(word))


def _greek_key(word: str) -> str:
    return _once(_greek(word))


def _arabic_key(word: str) -> str:
    word = word[2:] if word[:2] in ("al", "el") and len(word) > 6 else word
    key = _once(_arabic(word))
    return key[:-1] if key[-1:] == "h" and len(key) > 3 else key


def _hebrew_key(word: str) -> str:
    key = _once(_hebrew(word))
    return key[:-1] if key[-1:] == "h" and len(key) > 3 else key


def _indian_key(word: str) -> str:
    return _once(_indian(word))


def _african_key(word: str) -> str:
    return _once(_african(word))


def _japanese_key(word: str) -> str:
    return _kana(_LONG_O.sub("o", word).replace("uu", "u").replace("ii", "i"))


def _germanic_key(word: str) -> str:
    if len(word) < 5:
        return word
    return _once(_UMLAUT.sub(lambda found: found[0][0], word).replace("ph", "f").replace("th", "t").replace("ck", "k"))


_KEYS: dict[str, Callable[[str], str]] = {
    "s": _slavic_key, "r": _greek_key, "a": _arabic_key, "p": _arabic_key, "u": _arabic_key, "h": _hebrew_key, "d": _indian_key,
    "e": _african_key, "b": _african_key, "o": _african_key, "j": _japanese_key, "g": _germanic_key, "n": _germanic_key,
}  # fmt: skip


def one_original(a: str, b: str, known_a: Known, known_b: Known, eastern: bool = True) -> str:
    """Return the culture in which two words in Latin letters are transcriptions of one original, or an empty text.

    ``eastern``: they may be Korean.
    """
    cultures = (known_a.cultures + known_b.cultures).lower()
    if a[0] != b[0] and not (a[0] in "ycjkixhegvwbpdtrlu" and b[0] in "ycjkixhegvwbpdtrlu"):
        return ""
    for culture in "srapuhdebojgn":
        if culture in cultures and _KEYS[culture](a) == _KEYS[culture](b):
            return culture
    if eastern and ("k" in cultures or not (known_a.given > 3 and known_b.given > 3)):
        from titleholder.matching.syllables import korean

        # No list contains all of Korea's given names, but they consist of few syllables.
        x = korean(a)
        if x is not None and x == korean(b):
            return "k"
    return ""


def other_syllable(a: str, b: str, known_a: Known, known_b: Known, eastern: bool = True) -> bool:
    """Return whether two words consist of different syllables of one East Asian language: two names, not a typing error."""
    cultures = (known_a.cultures + known_b.cultures).lower()
    if "W" in known_a.cultures and "W" in known_b.cultures:
        return True
    if not eastern and "j" not in cultures:
        return False
    from titleholder.matching.syllables import korean, morae, pinyin

    if "j" in cultures and morae(a) is not None and morae(b) is not None:
        return _japanese_key(a) != _japanese_key(b)
    if not eastern:
        return False
    x, y = pinyin(a), pinyin(b)
    if x is not None and y is not None and (len(x) < 3 and len(y) < 3):
        return x != y
    k, m = korean(a), korean(b)
    if k is None or m is None or k == m or known_a.given > 3 or known_b.given > 3 or max(len(k), len(m)) > 2:
        return False
    return len(k) == len(m) or k[: len(m)] == m or m[: len(k)] == k


_PAIRS = (
    ("ova", "ov"), ("eva", "ev"), ("ina", "in"), ("aya", "y"), ("aya", "iy"), ("skaya", "sky"), ("skaia", "skii"), ("skaya", "skiy"),
    ("ska", "ski"),
    ("cka", "cki"), ("dzka", "dzki"), ("ska", "sky"), ("cka", "cky"), ("ska", "skyy"), ("ska", "skyi"), ("ckaya", "cky"),
    ("ova", ""), ("kova", "ek"), ("ikova", "ik"), ("lova", "el"), ("cova", "ec"), ("ova", "a"), ("a", "y"), ("na", "ny"), ("ta", "ty"),
    ("ka", "ky"),
    ("a", "is"), ("i", "is"), ("ou", "os"), ("a", "as"), ("i", "es"), ("idou", "idis"), ("idou", "ides"), ("idi", "idis"), ("aki", "akis"),
    ("aki", "akes"), ("ou", "is"), ("oy", "os"), ("y", "is"), ("yte", "is"), ("iene", "is"), ("aite", "as"), ("iene", "as"), ("ska",
    "skis"),
)  # fmt: skip
_PAIR_INDEX = {pair: index for index, pair in reversed([*enumerate(_PAIRS)])}
LONGEST_ENDING = max(len(ending) for pair in _PAIRS for ending in pair)


def one_surname(a: str, b: str, known_a: Known, known_b: Known) -> bool:
    """Return whether two surnames are the feminine and the masculine form of one."""
    if a[:3] != b[:3] or len(a) < 4 or len(b) < 4:
        return False
    cultures = known_a.cultures + known_b.cultures
    first, length = len(_PAIRS), 0
    at = 3
    while at < len(a) and at < len(b) and a[at] == b[at]:
        at += 1
    for start in range(at, max(-1, len(a) - LONGEST_ENDING - 1, len(b) - LONGEST_ENDING - 1), -1):
        # The first pair of endings counts that leaves the same beginning on both sides.
        for x, y in ((a, b), (b, a)):
            index = _PAIR_INDEX.get((x[start:], y[start:]), first)
            if index < first:
                first, length = index, len(x)
    if first < len(_PAIRS):
        her, his = _PAIRS[first]
        if her in ("a", "i", "ou", "ta", "na", "y", "oy", "ina") or not his or his == "a":
            return "s" in cultures or "r" in cultures or length > 6
        return True
    # The forms may also be transcribed in different ways: Gurskaia, Gurskiy.
    x, y = _slavic_key(a), _slavic_key(b)
    return "s" in cultures and x != y and (x.rstrip("Aai") == y.rstrip("Aai")) and {x[-1], y[-1]} <= set("Aaivn")
