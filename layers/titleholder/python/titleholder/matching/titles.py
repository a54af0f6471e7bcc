"""Reads account titles and claimed names: the parties that they name, the capacity of each, and how its words belong together.

There are two grammars. An account title, on the bank's side, may name several owners, trusts and their trustees, beneficiaries and trade
names. A claim names one party; words that name a second one are reported.
"""

import re
from typing import NamedTuple

from titleholder.matching.evidence import mainly_given, mainly_surname
from titleholder.matching.parties import MOST_PARTIES, NO_WORDS, Party, Trust, party_of
from titleholder.matching.text import LETTER, MAX_CHARS, MAX_WORD, MAX_WORDS, compiled, fold, fold_to_end, is_latin
from titleholder.matching.words import (
    BUSINESS_WORDS,
    CREDENTIALS,
    DATE,
    GENERATIONS,
    LEGAL_FORMS,
    MARKER_WORDS,
    NAMES_TOO,
    NO_NAME,
    ORDINALS,
    PLACEHOLDERS,
    SURE_FORMS,
    SURE_TITLES,
    SURNAMES_TOO,
    TITLES,
    mark,
)


class Title(NamedTuple):
    """A name as it was written, with all its parties."""

    parties: tuple[Party, ...]
    words: tuple[str, ...]
    legal: tuple[str, ...]  # without trade names
    trade: tuple[tuple[str, ...], ...]
    business: bool
    trusts: tuple[Trust, ...]
    estate: bool
    markers: frozenset[str]  # the markers found: of joined parties or of a capacity
    brackets: bool
    full: bool  # False: not all of the text was read
    length: int  # of the text, which shows whether a bank may have cut it off


_TRUST = frozenset(("trust", "trst", "tr"))
_DIGIT = re.compile(r"\d")
EMPTY = Title((), (), (), (), False, (), False, frozenset(), False, True, 0)

_WORD = re.compile(r"[A-Za-z0-9]+(?:'[A-Za-z0-9]+)*|,|-(?=[A-Za-z0-9])|#")
_ANY_WORD = rf"(?:{LETTER})+(?:'(?:{LETTER})+)*|,|-(?=[^\W_])|#"
_DOTTED = r"\b[^\W\d_](?:\. ?[^\W\d_]\b(?!'))+\.?|\bph\.? ?d\b\.?"
_ASIDE = r"\(([^()]*)\)|\"([^\"]*)\"|\[([^\[\]]*)\]"
# With a dot these are titles. Without a dot they may be given names.
_DOTTED_TITLE = r"^ *(?:the +)?(?:(?:rt|lt|maj)\.? +)?(?:hon|gen|pres|fr|sr|maj|col|cdr|sgt|msgr|br)\. *(?=[^\W\d_]{2})|^(?:the )?rt hon "
_GLUED_HYPHEN = re.compile(r"(?<=[^\W_])-(?=[^\W_])")
MANY_ASIDES = 4
# No account is held by more trusts than this. The limit bounds the time.
MANY_TRUSTS = 3
# These have the same meaning in brackets as outside.
_TELLING_ASIDE = (
    r"pod|tod|itf|estate(?: of)?|est|decd|deceased|minor|a minor|attorney[ -]in[ -]fact|poa|power of attorney|trustee|ttee|trust"
    r"|custodian|cust|"
    r"executor|executrix|guardian|beneficiary|agent|joint|and|or|dba|aka|fbo"
    r"|[\w .,'-]+[ ,](?:attorney[ -]in[ -]fact|poa|exec(?:utor|utrix)?|admin(?:istrat(?:or|rix))?|guardian|gdn|cust(?:odian)?"
    r"|pers(?:onal)? rep(?:resentative)?)"
)


def _undot(found: re.Match[str]) -> str:
    joined = found[0].replace(".", "").replace(" ", "")
    # In "J.D. Vance" the initials are not a doctor of law's title.
    if found.start() and (joined in CREDENTIALS or joined in LEGAL_FORMS or joined in GENERATIONS):
        return f"{joined} "
    return " ".join(joined) + " "


def tokens_of(text: str) -> tuple[list[str], bool]:
    """Return the words, commas, hyphens within words and markers of a marked text, and whether these are all, with all their letters."""
    if text.isalpha() and text.isascii():
        return [text[:MAX_WORD]], len(text) <= MAX_WORD
    if "." in text:
        text = compiled(_DOTTED).sub(_undot, text)
    if "-" in text:
        text = _GLUED_HYPHEN.sub(" - ", text)
    out: list[str] = []
    full = True
    pattern = _WORD if text.isascii() else compiled(_ANY_WORD)
    for word in pattern.findall(text.replace("- ", "-") if "-" in text else text):
        if "'" in word:
            word = word.replace("'", "")
        if len(out) == 3 * MAX_WORDS:
            return out, False
        if len(word) > MAX_WORD:
            word, full = word[:MAX_WORD], False
        out.append(word)
    return out, full


LONGEST_PLACEHOLDER = 24
_NO_LETTER = re.compile("[^a-z0-9]+")


def is_placeholder(value: object, name: bool = False) -> bool:
    """Return whether a text says that there is no value. ``name``: the text is a part of a name, and some names look like placeholders."""
    text = str(value)
    if len(text) > LONGEST_PLACEHOLDER:
        return False
    if text.isalpha() and text.isascii():
        # Most parts of names are one plain word.
        text = text.lower()
        return text in PLACEHOLDERS and not (name and text in NAMES_TOO)
    folded = fold(text)
    text = folded if folded.isalnum() else _NO_LETTER.sub("", folded) if folded.isascii() else "".join(filter(str.isalnum, folded))
    if name and text in NAMES_TOO:
        return "/" in folded
    return not text or text in PLACEHOLDERS


def read_title(value: object) -> Title:
    """Return the parties of an account title."""
    return _read(*fold_to_end(value))


def read_claim(value: object) -> Title:
    """Return the party of a claimed name. Its ``markers`` show whether the name has further parties."""
    return _read(*fold_to_end(value))


def _plain(folded: str, whole: bool) -> Title | None:
    """Read a name that has only letters, as most have; ``None`` for another name."""
    if not (folded.isascii() and folded.replace(" ", "").isalpha()):
        return None
    tokens = folded.split()
    count = len(tokens)
    if count > MAX_WORDS or not _TELLING_WORDS.isdisjoint(tokens) or max(map(len, tokens)) > MAX_WORD:
        return None
    if _two_owners(tokens):
        return None
    words = tuple(tokens)
    party = party_of(tokens, "plain")
    length = len(folded.strip())
    return Title((party,) if party else (), words, words, (), looks_like_business(words), (), False, frozenset(), False, whole, length)


def _two_owners(tokens: list[str]) -> bool:
    """Return whether four words are two owners who share a surname, one after the other."""
    if len(tokens) != FOUR or "," in tokens:
        return False
    if tokens[1] == tokens[3]:
        return True
    # With the surname first. A father's father may have one's own name.
    return tokens[0] == tokens[2] and mainly_surname(tokens[0]) and mainly_given(tokens[1]) and mainly_given(tokens[3])


def _names_beneficiary(tokens: list[str]) -> bool:
    """Return whether "tod" means "transfer on death" and is not a name: after a full name, and before another one or at the end."""
    return "tod" in tokens[2:] and len(tokens) - tokens.index("tod", 2) != TWO


TWO, FOUR = 2, 4
# Words that are more than a name: "y" may join two owners, and "Rt Hon" is a title of two words.
_TELLING_WORDS = MARKER_WORDS | _TRUST | {"y", "rt"}


def _read(folded: str, whole: bool) -> Title:
    if (plain_name := _plain(folded, whole)) is not None:
        return plain_name
    asides: list[tuple[str, ...]] = []
    brackets = False
    inline = folded
    if "(" in folded or '"' in folded or "[" in folded:
        inline = compiled(_ASIDE).sub(lambda found: f" {found[1] or found[2] or found[3] or ''} ", folded)

        def take(found: re.Match[str]) -> str:
            nonlocal brackets, whole
            words = (found[1] or found[2] or found[3] or "").strip(" .,")
            if not words or words in GENERATIONS or words in TITLES or words.replace(".", "") in TITLES:
                return f" {words} "
            if compiled(_TELLING_ASIDE).fullmatch(words):
                return " MINOR " if "minor" in words else f" {words} "
            brackets = True
            inner, full = tokens_of(words)
            whole = whole and full and len(asides) < MANY_ASIDES
            if len(asides) < MANY_ASIDES:
                asides.append(tuple(t for t in inner if t not in (",", "-", "#")))
            return " "

        folded = compiled(_ASIDE).sub(take, folded)
    if "." in folded or "rt hon" in folded:
        folded = compiled(_DOTTED_TITLE).sub(" ", folded)
    folded = folded.strip(" ,.;&/")
    dates = ""
    text = folded
    if _DIGIT.search(folded):
        dates = " ".join(_date(found) for found in compiled(DATE).finditer(folded))
        text = compiled(DATE).sub(" ", folded)
    marked = mark(text)
    if " y " in marked:
        marked = compiled(_Y).sub(_joins, marked)
    tokens, full = tokens_of(marked)
    unmarked = _without_dates(inline) if inline is not folded else text
    plain, plain_full = (tokens, full) if unmarked == marked else tokens_of(unmarked)
    every = [t for t in plain if t not in NO_WORDS]
    words = tuple(every[: 2 * MAX_WORDS])
    if not words:
        return EMPTY
    trusts: tuple[Trust, ...] = ()
    if not _TRUST.isdisjoint(tokens):
        from titleholder.matching.capacities import trusts_of

        trusts = tuple(trusts_of(tokens, dates))[:MANY_TRUSTS]
    business = looks_like_business(words, personal=bool(trusts))
    markers = frozenset() if marked.islower() else frozenset(t for t in tokens if t.isupper() and is_latin(t))
    aside = tuple(word for words_ in asides for word in words_)
    parties: list[Party] = []
    trade: list[tuple[str, ...]] = []
    for context, segment in _segments(tokens, bool(markers)):
        if context == "trade":
            kept = tuple(t for t in segment if (t.islower() or t.isdigit() or not is_latin(t)) and t not in "-,#")
            if kept:
                trade.append(kept)
            continue
        parties.extend(party._replace(aside=aside) if aside else party for party in _parties(segment, context))
    legal = words
    if trade:
        at = tokens.index("DBA")
        legal = tuple(t for t in tokens[:at] if not (t.isupper() and is_latin(t)) and t not in ",-#")
    return Title(
        tuple(parties[:MOST_PARTIES]), words, legal, tuple(trade), business, trusts, "ESTATE" in markers, markers, brackets,
        whole and full and plain_full and len(every) <= 2 * MAX_WORDS, len(folded),
    )  # fmt: skip


_Y = r"(?<![^ ])([^\W\d_]{2,}) y (?=([^\W\d_]{2,}) [^\W\d_]{2})"


def _joins(found: re.Match[str]) -> str:
    """Mark the Spanish "and" between two given names, as in CARLOS Y MARIA LOPEZ; between two surnames it is a part of the name."""
    return f"{found[1]} AND " if mainly_given(found[1]) and mainly_given(found[2]) else found[0]


def _without_dates(text: str) -> str:
    return compiled(DATE).sub(" ", text).strip(" ,.;&/")


def _date(found: re.Match[str]) -> str:
    parts = [int(g) for g in found.groups()]
    if parts[0] > 31:
        parts = [parts[1], parts[2], parts[0]]
    year = parts[2] if parts[2] > 99 else parts[2] + (2000 if parts[2] < 40 else 1900)
    return f"{year}-{parts[0]}-{parts[1]}"


def looks_like_business(words: tuple[str, ...], personal: bool = False) -> bool:
    """Return whether words have a legal form or a trade that people's names do not have. ``personal``: the title of a family's trust."""
    if len(words) < 2:
        return not is_latin(words[0]) and any(mark_ in words[0] for mark_ in _COMPANY)
    last = words[-1]
    if last in SURE_FORMS or (last in ("co", "pc") and len(words) > 2) or words[0] in ("ooo", "oao", "zao", "pao"):
        return True
    if len(words) > 3 and words[-3:] in (("l", "l", "c"), ("l", "l", "p")):
        return True
    if not is_latin(words[0]) and any(mark_ in word for word in words for mark_ in _COMPANY):
        return True
    if not _TELLING.isdisjoint(words):
        telling = [w for w in words[1:] if (w in BUSINESS_WORDS and w != "bar") or w in SURE_FORMS]
        if last == "bar" and len(words) > 2:
            telling.append(last)
        if len(words) > 2 and words[0] in BUSINESS_WORDS:
            telling.append(words[0])
        if len(words) < 4 or personal:
            telling = [w for w in telling if w not in SURNAMES_TOO]
        if telling:
            return True
    return not personal and any(word[0].isdigit() and word not in GENERATIONS for word in words)


_TELLING = BUSINESS_WORDS | SURE_FORMS


_COMPANY = ("公司", "有限", "株式会社", "会社", "주식회사", "(주)", "工業", "飯店", "製作所", "商店", "集团", "银行")


def _segments(tokens: list[str], marked: bool) -> list[tuple[str, list[str]]]:
    """Cut an account title into (context, tokens): owners, beneficiaries, trusts, trade names."""
    if not marked and "trust" not in tokens and not _names_beneficiary(tokens):
        if _two_owners(tokens):
            return [("plain", [*tokens[:2], "AND", *tokens[2:]])]
        if tokens.count(",") == 1 and _two_full_names(tokens):
            at = tokens.index(",")
            return [("plain", [*tokens[:at], "AND", *tokens[at + 1 :]])]
        return [("plain", tokens)]
    from titleholder.matching.capacities import cut_by_capacity

    return cut_by_capacity(tokens)


def _parties(segment: list[str], context: str) -> list[Party]:
    if "AND" not in segment:
        one = party_of(segment, context)
        return [one] if one else []
    from titleholder.matching.capacities import joint_owners

    return joint_owners(segment, context)


def _two_full_names(tokens: list[str]) -> bool:
    """Return whether a comma separates two owners, given name first, instead of a surname from given names."""
    at = tokens.index(",")
    first, second = tokens[:at], tokens[at + 1 :]
    if len(first) != 2 or len(second) != 2 or "-" in tokens:
        return False
    return all(mainly_given(part[0]) and mainly_surname(part[1]) for part in (first, second))


def claimed_party(given: object, middle: object, family: object, suffix: object) -> Title:
    """Return the title for a name that is given in parts."""
    read = [fold_to_end(part or "") for part in (given, middle, family)]
    texts = [text for text, _ in read]
    whole = all(full for _, full in read) and sum(map(len, texts)) <= MAX_CHARS
    aside: tuple[str, ...] = ()
    for index, text in enumerate(texts):
        if "(" in text or '"' in text:
            for found in compiled(_ASIDE).finditer(text):
                tokens, full = tokens_of(" ".join(g for g in found.groups() if g))
                aside, whole = (*aside, *(t for t in tokens if t not in ",-")), whole and full
            texts[index] = compiled(_ASIDE).sub(" ", text)
    markers: set[str] = set()
    generation = ""
    title = ""
    parts: list[list[str]] = []
    joined: set[int] = set()
    count = 0
    for index, text in enumerate(texts):
        if text.isalpha() and text.isascii() and text not in NO_NAME and mark(text) is text:
            # Most parts are one plain word.
            parts.append([text[:MAX_WORD]])
            whole = whole and len(text) <= MAX_WORD
            count += 1
            continue
        tokens, full = tokens_of(mark(text)) if text else ([], True)
        whole = whole and full
        markers.update(t for t in tokens if t.isupper() and is_latin(t) and t not in ("-", ","))
        words: list[str] = []
        for at, item in enumerate(tokens):
            if item == "-":
                if words:
                    joined.add(count + len(words) - 1)
            elif item in (",", "#") or (item.isupper() and is_latin(item)):
                continue
            elif (index == 2 and words and item in GENERATIONS and item not in ORDINALS) or (
                index == 0 and words and item in ("jr", "sr", "ii", "iii") and len(tokens) > 1
            ):
                generation = generation or GENERATIONS[item]
            elif index == 0 and not words and item in SURE_TITLES and at + 1 < len(tokens):
                title = title or item
            elif item not in NO_NAME:
                words.append(item)
        parts.append(words)
        count += len(words)
    if suffix:
        text, read_all = fold_to_end(suffix)
        tokens, full = tokens_of(text)
        whole = whole and read_all and full
        for item in tokens:
            generation = GENERATIONS.get(item, generation)
    all_words = tuple(word for part in parts for word in part)
    whole = whole and len(all_words) <= 2 * MAX_WORDS
    all_words = all_words[: 2 * MAX_WORDS]
    if not all_words:
        return EMPTY
    given_count, family_count = len(parts[0]), len(parts[2])
    if len(all_words) == 2 and all_words[0] == all_words[1]:
        all_words, family_count, given_count, joined = all_words[:1], 0, 1, set()
    party = Party(all_words, "plain", 0, frozenset(joined), generation, (), aside, title, family_count, given_count, whole=True)
    return Title((party,), all_words, all_words, (), False, (), False, frozenset(markers), bool(aside), whole, sum(map(len, texts)) + 2)
