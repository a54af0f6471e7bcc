"""Splits names in Latin letters into the syllables of Korean and Chinese, and the morae of Japanese."""

import re
from functools import cache

# Parts of Korean syllables in the spellings that people use, each with its spelling in the Revised Romanization.
_VOWELS = {
    "a": "a", "ah": "a", "ae": "ae", "ai": "ae", "ya": "ya", "eo": "eo", "uh": "eo", "eu": "eu", "e": "e", "eh": "e", "yeo": "yeo",
    "you": "yeo",
    "yu": "yu", "ye": "ye", "o": "o", "oh": "o", "yo": "yo", "u": "u", "oo": "u", "woo": "u", "ou": "u", "wu": "u", "i": "i", "ee": "i",
    "ie": "i",
    "wa": "wa", "wae": "wae", "oe": "oe", "wo": "weo", "weo": "weo", "we": "we", "wi": "wi", "ui": "ui", "eui": "ui", "yi": "i",
    "yoo": "yu",
    "yae": "ye",
}  # fmt: skip
_FIRST = {
    "": "", "g": "g", "k": "g", "kk": "kk", "n": "n", "d": "d", "t": "d", "r": "r", "l": "r", "m": "m", "b": "b", "p": "b", "s": "s",
    "sh": "s",
    "ss": "ss", "j": "j", "ch": "c", "c": "c", "h": "h",
}  # fmt: skip
_LAST = {"": "", "k": "k", "g": "k", "ck": "k", "n": "n", "t": "t", "l": "l", "m": "m", "p": "p", "ng": "ng"}
_VOWEL_NAMES = "|".join(sorted(_VOWELS, key=len, reverse=True))


@cache
def _syllable_pattern() -> re.Pattern[str]:
    return re.compile(rf"(kk|ss|sh(?=i)|ch|g|k|n|d|t|r|l|m|b|p|s|j|c|h|)({_VOWEL_NAMES})(ng(?![aeiouyw])|ck|[kgntlmp](?![aeiouyw])|)")


# Spellings for English readers, which do not show the syllable's vowel.
_HABITS = {
    "young": "yeong", "yung": "yeong", "yong": "yong", "jung": "jeong", "chung": "jeong", "sung": "seong", "kyung": "gyeong",
    "kyeong": "gyeong",
    "hyun": "hyeon", "hyung": "hyeong", "myung": "myeong", "byung": "byeong", "byun": "byeon", "bum": "beom", "um": "eom", "hun": "hun",
    "kun": "geon", "sun": "seon", "jun": "jun", "yun": "yun", "yoon": "yun", "youn": "yeon", "lee": "i", "yi": "i", "rhee": "i",
    "ri": "i", "li": "i",
    "park": "bak", "pak": "bak", "choi": "choe", "choe": "choe", "noh": "no", "roh": "no", "ryu": "yu", "yoo": "yu", "yu": "yu",
    "you": "yu",
    "lim": "im", "rim": "im", "yim": "im", "shin": "sin", "woo": "u", "wu": "u", "koo": "gu", "ku": "gu", "suh": "seo", "hur": "heo",
    "huh": "heo",
    "moon": "mun", "chun": "cheon", "cheon": "cheon", "chang": "jang", "cho": "jo", "joo": "ju", "chu": "ju", "kwak": "gwak",
    "kwon": "gwon",
    "kwang": "gwang", "won": "won", "weon": "won", "seung": "seung", "ryong": "yong", "il": "il", "rin": "rin",
}  # fmt: skip


_NOT_KOREAN = re.compile("[fqvxz]|[bcdjrsy]$|[^aeiou]{4}|[aeiou]{4}")
MOST_KOREAN = 14


def korean(word: str) -> tuple[str, ...] | None:
    """Return the syllables of a word in Korean romanisation, in one spelling, or ``None``."""
    if len(word) > MOST_KOREAN or _NOT_KOREAN.search(word):
        return None
    if word in _HABITS:
        return (_HABITS[word],)
    out: list[str] = []
    at = 0
    while at < len(word):
        for size in (6, 5, 4, 3, 2):
            piece = word[at : at + size]
            if len(piece) == size and piece in _HABITS and (at + size == len(word) or (size > 3 and word[at + size] not in "aeiouyw")):
                out.append(_HABITS[piece])
                at += size
                break
        else:
            found = _syllable_pattern().match(word, at)
            if found is None or found.end() == at:
                return None
            out.append(_FIRST[found[1]] + _VOWELS[found[2]] + _LAST[found[3]])
            at = found.end()
        if len(out) > 3:
            return None
    return tuple(_HABITS.get(s, s) for s in out)


# Chinese given names have at most two syllables, and some surnames have two.
MANY_SYLLABLES = 4


@cache
def _pinyin_pattern() -> re.Pattern[str]:
    return re.compile(
        r"(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?(?:iang|iong|uang|ang|eng|ing|ong|ian|iao|uai|uan|ai|an|ao|ei|en|er|ia|ie|in|iu|ou|ua|ue|ui|un|uo"
        r"|a|e|i|o|u)(?![aeiou])"
    )


@cache
def _mora_pattern() -> re.Pattern[str]:
    return re.compile(
        r"(?:ky|gy|sh|ch|ts|ny|hy|by|py|my|ry|[kgsztdnhbpmyrwfj])?[aeiou]|n(?![aeiouy])|(?:kk|ss|tt|pp)(?=[aeiouysh])|t(?=ch)"
    )


def _cut(word: str, pattern: re.Pattern[str]) -> tuple[str, ...] | None:
    out = []
    at = 0
    while at < len(word):
        found = pattern.match(word, at)
        if found is None:
            return None
        out.append(found[0])
        at = found.end()
    return tuple(out)


def pinyin(word: str) -> tuple[str, ...] | None:
    """Return the syllables of a word in pinyin, three at most, or ``None``."""
    syllables = _cut(word, _pinyin_pattern())
    return syllables if syllables is not None and len(syllables) < MANY_SYLLABLES else None


def morae(word: str) -> tuple[str, ...] | None:
    """Return the morae of a word in Japanese romanisation, or ``None``."""
    return _cut(word, _mora_pattern())
