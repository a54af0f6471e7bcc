"""Folds any text to comparable words, and distinguishes typing errors from different words."""

import re
from collections.abc import Iterable
from functools import cache

# A longer text is not a name. The limit bounds the time that a hostile text can take.
MAX_CHARS = 600
MAX_WORDS = 40
MAX_WORD = 40
# The time that `closeness` takes grows with the product of two lengths. No street, town or surname is longer than this.
MAX_COMPARED = 80


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a compiled pattern. Patterns that most names do not need are compiled when a name first needs them."""
    return re.compile(pattern)


_SPECIAL = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h", "ŋ": "ng", "ə": "a", "ĸ": "k",
    "ŧ": "t", "ƒ": "f", "ʻ": "'", "ʼ": "'", "’": "'", "‘": "'", "`": "'", "´": "'", "ʹ": "", "“": '"', "”": '"', "„": '"', "«": '"',
    "»": '"',
    "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-", "·": " ", "•": " ", "＆": "&", "，": ",", "、": ",",
    # Cyrillic, as passports write it
    "а": "a", "б": "b", "в": "v", "г": "g", "ґ": "g", "д": "d", "е": "e", "є": "ye", "ж": "zh", "з": "z", "и": "i", "і": "i", "к": "k",
    "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f", "х": "kh", "ц": "ts", "ч": "ch",
    "ш": "sh", "щ": "shch", "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu", "я": "ya", "ђ": "dj", "ј": "j", "љ": "lj", "њ": "nj",
    "ћ": "c", "џ": "dz", "ѕ": "dz",
    # Greek
    "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i", "κ": "k", "λ": "l", "μ": "m", "ν": "n",
    "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s", "ς": "s", "τ": "t", "υ": "y", "φ": "f", "χ": "ch", "ψ": "ps", "ω": "o",
    # Hebrew and Arabic consonants, the vowels being unwritten
    "א": "a", "ב": "b", "ג": "g", "ד": "d", "ה": "h", "ו": "v", "ז": "z", "ח": "ch", "ט": "t", "י": "y", "כ": "k", "ך": "k", "ל": "l",
    "מ": "m", "ם": "m", "נ": "n", "ן": "n", "ס": "s", "ע": "a", "פ": "p", "ף": "p", "צ": "ts", "ץ": "ts", "ק": "k", "ר": "r", "ש": "sh",
    "ת": "t", "ا": "a", "ب": "b", "ت": "t", "ث": "th", "ج": "j", "ح": "h", "خ": "kh", "د": "d", "ذ": "dh", "ر": "r", "ز": "z", "س": "s",
    "ش": "sh", "ص": "s", "ض": "d", "ط": "t", "ظ": "z", "ع": "a", "غ": "gh", "ف": "f", "ق": "q", "ك": "k", "ک": "k", "ل": "l", "م": "m",
    "ن": "n", "ه": "h", "و": "w", "ي": "y", "ی": "y", "ى": "a", "ة": "a", "ء": "", "ؤ": "w", "ئ": "y",
}  # fmt: skip
_TABLE = str.maketrans(_SPECIAL)
_VOWELS = frozenset("aeiouy")


# Letters of these blocks lose their accents. In other scripts a mark is a part of the letter: カ is not ガ, म is not मि.
_ACCENTED = "[\u00c0-\u024f\u0370-\u052f\u1e00-\u1fff]"
# Separate accents, and points that are mostly left out in Hebrew and Arabic.
_LOOSE = "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u0610-\u061a\u064b-\u065f\u0670\u0640\u200b-\u200f\u2060\ufeff]"
_REFERENCE = r"&(#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});"
# A letter, a digit, or a mark that belongs to a letter. The ranges are scripts whose vowels and tones are marks.
LETTER = (
    "[^\\W_\u0900-\u0dff\u0e00-\u109f\u1780-\u17ff]"
    "|[\u0900-\u0963\u0966-\u0dff\u0e00-\u0eff\u0f00-\u0f0a\u0f0d-\u109f\u1780-\u17d3\u17e0-\u17ff]"
)


def _refer(found: re.Match[str]) -> str:
    from html import unescape

    for text in (found[0], found[0].lower()):
        if (letter := unescape(text)) != text:
            return letter
    name = found[1]
    letter = unescape(f"&{name[0].upper()}{name[1:].lower()};")
    return letter if not letter.startswith("&") else " "


def fold(value: object) -> str:
    """Return at most `MAX_CHARS` characters of ``value``: in small letters, without accents, common alphabets in Latin letters."""
    return fold_to_end(value)[0]


def fold_to_end(value: object) -> tuple[str, bool]:
    """Return the folded text, as `fold` does, and whether it is all of ``value``."""
    text = str(value)
    whole = len(text) <= MAX_CHARS
    if not whole:
        text = text[:MAX_CHARS]
    if "&" in text and ";" in text:
        text = compiled(_REFERENCE).sub(_refer, text)
    if text.isascii():
        return text.lower(), whole
    # Composed letters that have their own transcription must be replaced before they are decomposed: й is not и.
    # Cut the text first, because one character may become eighteen.
    import unicodedata

    text = unicodedata.normalize("NFKC", text)
    whole = whole and len(text) <= 2 * MAX_CHARS
    text = text[: 2 * MAX_CHARS].casefold()
    text = text.replace("й", "y").replace("ё", "yo").replace("ї", "yi").translate(_TABLE)
    text = compiled(_ACCENTED).sub(lambda found: _bare(found[0]), text)
    text = compiled(_LOOSE).sub("", text).casefold().translate(_TABLE)
    return text[: 2 * MAX_CHARS], whole and len(text) <= 2 * MAX_CHARS


def _bare(letter: str) -> str:
    import unicodedata

    return unicodedata.normalize("NFKD", letter)[0]


_SCRIPTS = "([a-zA-Z\u00c0-\u024f])|([\u0370-\u03ff])|([\u0400-\u052f])"


def mixes_scripts(value: object) -> bool:
    """Return whether one word has letters of two alphabets, such as a letter that only looks like the right one."""
    text = str(value)[:MAX_CHARS]
    if text.isascii():
        return False
    return any(len({found.lastindex for found in compiled(_SCRIPTS).finditer(word)}) > 1 for word in text.split())


def scripts(value: object) -> bool:
    """Return whether a text is in Cyrillic or Greek letters, which `fold` transcribes."""
    text = str(value)[:MAX_CHARS]
    return not text.isascii() and any((found.lastindex or 0) > 1 for found in compiled(_SCRIPTS).finditer(text))


def is_latin(word: str) -> bool:
    """Return whether a folded word is in Latin letters or digits."""
    return word.isascii()


def apart(mine: Iterable[str], held: Iterable[str]) -> bool:
    """Return whether two folded names have no script in common, so that no letter of one can be compared with one of the other."""
    a, b = "".join(mine), "".join(held)
    if a.isascii() and b.isascii():
        return False
    x, y = _scripts_of(a), _scripts_of(b)
    return bool(x and y) and x.isdisjoint(y)


def _scripts_of(text: str) -> set[str]:
    from unicodedata import category, name

    # A letter's name in Unicode begins with its script. Marks belong to no script of their own.
    return {name(letter, "").partition(" ")[0] for letter in set(text) if category(letter) in ("Ll", "Lo")}


MANY_OTHERS = 3


def within_two(a: str, b: str) -> int:
    """Return how many letters were mistyped, left out, put in or swapped between two words: 0, 1, 2, or 3 for more than two."""
    if a == b:
        return 0
    if abs(len(a) - len(b)) > 2:
        return 3
    if _edits(a, b, 1):
        return 1
    # Each letter that the other word lacks costs one edit.
    return 2 if len(set(a).difference(b)) < MANY_OTHERS and _edits(a, b, 2) else 3


def _edits(a: str, b: str, budget: int) -> bool:
    n, m = len(a), len(b)
    i = 0
    stop = n if n < m else m
    while i < stop and a[i] == b[i]:
        i += 1
    while n > i and m > i and a[n - 1] == b[m - 1]:
        n -= 1
        m -= 1
    left, right = n - i, m - i
    if left == 0 or right == 0:
        return left + right <= budget
    if budget == 0 or abs(left - right) > budget:
        return False
    if budget == 1:
        return (left == 1 and right == 1) or (left == 2 and right == 2 and a[i] == b[i + 1] and a[i + 1] == b[i])
    a, b = a[i:n], b[i:m]
    if _edits(a[1:], b[1:], budget - 1):
        return True
    if left > 1 and right > 1 and a[0] == b[1] and a[1] == b[0] and _edits(a[2:], b[2:], budget - 1):
        return True
    return (
        (left >= right and _edits(a[1:], b, budget - 1))
        or (right >= left and _edits(a, b[1:], budget - 1))
        or (abs(left - right) < budget and (_edits(a[1:], b, budget - 1) or _edits(a, b[1:], budget - 1)))
    )


_ALIKE_BEGINNINGS = {"c": "k", "q": "k", "g": "j", "p": "f", "v": "f", "w": "f", "z": "s", "x": "s", "t": "s"} | dict.fromkeys(
    "eiouyh", "a"
)


def same_beginning(a: str, b: str) -> bool:
    """Return whether two words may sound alike. A cheap check, which rules out nearly all pairs of different names."""
    x, y = a[0], b[0]
    return x == y or _ALIKE_BEGINNINGS.get(x, x) == _ALIKE_BEGINNINGS.get(y, y) or a[1:2] == y == "n" or b[1:2] == x == "n"


def scrambled(a: str, b: str) -> bool:
    """Return whether two words have the same letters in another order, with at most one left out, as after fast typing."""
    short, long = (a, b) if len(a) < len(b) else (b, a)
    if len(short) < 3 or len(long) - len(short) > 1 or short[0] not in long or short[-1] not in long or not set(long).issuperset(short):
        return False
    left = list(long)
    for letter in short:
        if letter not in left:
            return False
        left.remove(letter)
    return True


def closeness(a: str, b: str) -> float:
    """Return how alike two words are, 0 to 1, by letters in common at about the same place. A common beginning counts more.

    The measure is W. E. Winkler's, "String Comparator Metrics and Enhanced Decision Rules in the Fellegi-Sunter Model of Record Linkage"
    (1990), made independent of the order of its arguments.
    """
    if a == b:
        return 1.0
    a, b = a[:MAX_COMPARED], b[:MAX_COMPARED]
    if len(a) > len(b) or (len(a) == len(b) and a > b):
        a, b = b, a
    n, m = len(a), len(b)
    if not n:
        return 0.0
    window = max(m // 2 - 1, 0)
    taken = [False] * m
    mine: list[str] = []
    for i, letter in enumerate(a):
        low = i - window if i > window else 0
        at = b.find(letter, low, i + window + 1)
        while at >= 0 and taken[at]:
            at = b.find(letter, at + 1, i + window + 1)
        if at >= 0:
            taken[at] = True
            mine.append(letter)
    common = len(mine)
    if not common:
        return 0.0
    theirs = [b[k] for k in range(m) if taken[k]]
    swapped = sum(x != y for x, y in zip(mine, theirs, strict=True)) / 2
    score = (common / n + common / m + (common - swapped) / common) / 3
    prefix = 0
    while prefix < 4 and prefix < n and a[prefix] == b[prefix]:
        prefix += 1
    return score + prefix * 0.1 * (1 - score)


_SOUNDS = (
    ("eigh", "ay"), ("sch", "s"), ("tch", "c"), ("ph", "f"), ("gh", "g"), ("ck", "k"), ("kn", "n"), ("wr", "r"), ("th", "t"),
    ("kh", "k"), ("dh", "d"),
    ("sh", "s"), ("zh", "s"), ("cz", "c"), ("ts", "s"), ("tz", "s"), ("dj", "j"), ("dz", "j"), ("ce", "se"), ("ci", "si"), ("cy", "si"),
    ("ch", "c"), ("qu", "k"),
)  # fmt: skip
# Every word that one of the patterns above can change contains one of these.
_SPELLED = re.compile("[cpstgkdz]h|eigh|c[keiyz]|kn|wr|t[sz]|d[jz]|qu")
_LETTER_SOUNDS = str.maketrans({"w": "v", "q": "k", "x": "ks", "z": "s", "c": "k", "f": "v", "j": "g", **dict.fromkeys("aeiouy", "a")})


_DOUBLED = re.compile(r"(.)\1+", re.DOTALL)


def sound(word: str) -> str:
    """Return a rough key for the sound of a folded word: consonants merged by sound, every run of vowels as one ``a``."""
    if _SPELLED.search(word):
        for written, said in _SOUNDS:
            if written in word:
                word = word.replace(written, said)
    word = _DOUBLED.sub(r"\1", (word[:1] + word[1:].replace("h", "")).translate(_LETTER_SOUNDS))
    return word[:-1] if len(word) > 2 and word[-1] == "a" else word


_UMLAUTS = re.compile(r"ae|oe|ue")


def plain_umlauts(word: str) -> str:
    """Return a folded word with ``a``, ``o`` and ``u`` for ``ae``, ``oe`` and ``ue``, because German umlauts are transcribed either way."""
    return _UMLAUTS.sub(lambda found: found[0][0], word) if "e" in word and len(word) > 3 else word
