"""Reads account titles and claimed names: the parties they name, what each is to the account, and how its words belong together.

There are two grammars. An account title, on the bank's side, may name several owners, trusts and their trustees, beneficiaries, trade
names. A
claim names one party: whatever names a second one is reported as such.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from titleholder.matching.evidence import look_up
from titleholder.matching.text import LETTER, MAX_CHARS, MAX_WORD, MAX_WORDS, fold, is_latin
from titleholder.matching.words import (
    BUSINESS_WORDS,
    CREDENTIALS,
    CREDENTIALS_TOO,
    DATE,
    GENERATIONS,
    LEGAL_FORMS,
    NAMES_TOO,
    NO_NAME,
    ORDINALS,
    PLACEHOLDERS,
    SURE_FORMS,
    SURE_TITLES,
    SURNAMES_TOO,
    TITLES,
    TITLES_TOO,
    TRUST_WORDS,
    mark,
    word_set,
)


class Party(NamedTuple):
    """One party of a title, or the one of a claim: its words in the order written, and what is known of their order."""

    words: tuple[str, ...]
    context: str  # "plain", "joint", "shared", "trust", "beneficiary", ... : what the party is to the account
    comma: int = 0  # how many words stand before the comma that follows a surname; 0: none
    joined: frozenset[int] = frozenset()  # positions of words that a hyphen joins to the next
    generation: str = ""
    lent: tuple[tuple[str, ...], ...] = ()  # surnames that another owner may lend to one who has none of their own
    aside: tuple[str, ...] = ()  # words in brackets or quotes
    title: str = ""  # the first title, if it has one
    family: int = 0  # how many of the last words are the surname, where the source tells; 0: not told
    given: int = 0  # how many of the first words are given names, where the source tells
    whole: bool = False  # nothing is known to follow: the title was not cut off at a fixed width


class Trust(NamedTuple):
    """A trust by its own name."""

    party: Party | None  # the person or couple it is called after
    after: tuple[str, ...]
    grantors: int
    kinds: frozenset[str]
    number: str
    date: str


class Title(NamedTuple):
    """A name as written, with all its parties."""

    parties: tuple[Party, ...]
    words: tuple[str, ...]
    legal: tuple[str, ...]  # without trade names
    trade: tuple[tuple[str, ...], ...]
    business: bool
    trusts: tuple[Trust, ...]
    estate: bool
    markers: frozenset[str]  # what was found that joins, or tells a capacity
    brackets: bool
    full: bool  # False: there were more words than are read
    length: int  # of the text, which tells where a bank may have cut it off


# Tokens that are no words.
_NO_WORDS = frozenset((",", "-", "#"))
_DIGIT = re.compile(r"\d")
EMPTY = Title((), (), (), (), False, (), False, frozenset(), False, True, 0)

_WORD = re.compile(rf"(?:{LETTER})+(?:'(?:{LETTER})+)*|,|-(?=[^\W_])|[A-Z]+|#")
_DOTTED = re.compile(r"\b[^\W\d_](?:\. ?[^\W\d_]\b(?!'))+\.?|\bph\.? ?d\b\.?")
_ASIDE = re.compile(r"\(([^()]*)\)|\"([^\"]*)\"|\[([^\[\]]*)\]")
# With a dot these are titles, not the given names that they may be without.
_DOTTED_TITLE = re.compile(
    r"^ *(?:the +)?(?:(?:rt|lt|maj)\.? +)?(?:hon|gen|pres|fr|sr|maj|col|cdr|sgt|msgr|br)\. *(?=[^\W\d_]{2})|^(?:the )?rt hon "
)
_GLUED_HYPHEN = re.compile(r"(?<=[^\W_])-(?=[^\W_])")
MANY_PARTIES = 12
MANY_ASIDES = 4
# No account is held by more trusts than this; the cap bounds the time.
MANY_TRUSTS = 3
# More words than this are hardly a person's or a couple's name.
MANY_GRANTORS = 9
# In brackets these are what they are outside of them.
_TELLING_ASIDE = re.compile(
    r"pod|tod|itf|estate(?: of)?|est|decd|deceased|minor|a minor|attorney[ -]in[ -]fact|poa|power of attorney|trustee|ttee|trust"
    r"|custodian|cust|"
    r"executor|executrix|guardian|beneficiary|agent|joint|and|or|dba|aka|fbo"
    r"|[\w .,'-]+[ ,](?:attorney[ -]in[ -]fact|poa|exec(?:utor|utrix)?|admin(?:istrat(?:or|rix))?|guardian|gdn|cust(?:odian)?"
    r"|pers(?:onal)? rep(?:resentative)?)"
)


def _undot(found: re.Match[str]) -> str:
    joined = found[0].replace(".", "").replace(" ", "")
    # "J.D. Vance" is no doctor of law.
    if found.start() and (joined in CREDENTIALS or joined in LEGAL_FORMS or joined in GENERATIONS):
        return f"{joined} "
    return " ".join(joined) + " "


def tokens_of(text: str) -> list[str]:
    """Return the words, commas, hyphens within words and markers of a marked text."""
    if text.isalpha() and text.isascii():
        return [text[:MAX_WORD]]
    if "." in text:
        text = _DOTTED.sub(_undot, text)
    if "-" in text:
        text = _GLUED_HYPHEN.sub(" - ", text)
    out: list[str] = []
    for word in _WORD.findall(text.replace("- ", "-")) if "-" in text else _WORD.findall(text):
        if "'" in word:
            word = word.replace("'", "")
        out.append(word if len(word) <= MAX_WORD else word[:MAX_WORD])
        if len(out) > 3 * MAX_WORDS:
            break
    return out


LONGEST_PLACEHOLDER = 24
_NO_LETTER = re.compile("[^a-z0-9]+")


def is_placeholder(value: object, name: bool = False) -> bool:
    """Tell whether a text says that there is no value; ``name``: it is a part of a name, of which some look like it."""
    text = str(value)
    if len(text) > LONGEST_PLACEHOLDER:
        return False
    folded = fold(text)
    text = folded if folded.isalnum() else _NO_LETTER.sub("", folded) if folded.isascii() else "".join(filter(str.isalnum, folded))
    if name and text in NAMES_TOO:
        return "/" in folded
    return not text or text in PLACEHOLDERS


def read_title(value: object) -> Title:
    """Return the parties of an account title."""
    return _read(fold(value), len(str(value)) <= MAX_CHARS)


def read_claim(value: object) -> Title:
    """Return the party of a claimed name; ``markers`` tells what names others."""
    return _read(fold(value), len(str(value)) <= MAX_CHARS)


def _read(folded: str, whole: bool) -> Title:
    asides: list[tuple[str, ...]] = []
    brackets = False
    inline = folded
    if "(" in folded or '"' in folded or "[" in folded:
        inline = _ASIDE.sub(lambda found: f" {found[1] or found[2] or found[3] or ''} ", folded)

        def take(found: re.Match[str]) -> str:
            nonlocal brackets
            words = (found[1] or found[2] or found[3] or "").strip(" .,")
            if not words or words in GENERATIONS or words in TITLES or words.replace(".", "") in TITLES:
                return f" {words} "
            if _TELLING_ASIDE.fullmatch(words):
                return " MINOR " if "minor" in words else f" {words} "
            brackets = True
            if len(asides) < MANY_ASIDES:
                asides.append(tuple(t for t in tokens_of(words) if t not in (",", "-", "#")))
            return " "

        folded = _ASIDE.sub(take, folded)
    if "." in folded or "rt hon" in folded:
        folded = _DOTTED_TITLE.sub(" ", folded)
    folded = folded.strip(" ,.;&/")
    dates = ""
    text = folded
    if _DIGIT.search(folded):
        dates = " ".join(_date(found) for found in DATE.finditer(folded))
        text = DATE.sub(" ", folded)
    marked = mark(text)
    if " y " in marked:
        marked = _Y.sub(_joins, marked)
    tokens = tokens_of(marked)
    unmarked = _without_dates(inline) if inline is not folded else text
    plain = tokens if unmarked == marked else tokens_of(unmarked)
    every = [t for t in plain if t not in _NO_WORDS]
    words = tuple(every[: 2 * MAX_WORDS])
    if not words:
        return EMPTY
    trusts = tuple(_trusts(tokens, dates))[:MANY_TRUSTS] if not _TRUST.isdisjoint(tokens) else ()
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
        for party in _parties(segment, context):
            parties.append(party._replace(aside=aside) if aside else party)
            if len(parties) >= 2 * MANY_PARTIES:
                break
    legal = words
    if trade:
        at = tokens.index("DBA")
        legal = tuple(t for t in tokens[:at] if not (t.isupper() and is_latin(t)) and t not in ",-#")
    return Title(
        tuple(parties), words, legal, tuple(trade), business, trusts, "ESTATE" in markers, markers, brackets,
        whole and len(every) <= 2 * MAX_WORDS and len(tokens) <= 3 * MAX_WORDS, len(folded),
    )  # fmt: skip


_Y = re.compile(r"(?<![^ ])([^\W\d_]{2,}) y (?=([^\W\d_]{2,}) [^\W\d_]{2})")


def _joins(found: re.Match[str]) -> str:
    """Mark the Spanish "and" between two given names, as in CARLOS Y MARIA LOPEZ; between two surnames it is a part of the name."""
    return f"{found[1]} AND " if _mainly_given(found[1]) and _mainly_given(found[2]) else found[0]


def _without_dates(text: str) -> str:
    return DATE.sub(" ", text).strip(" ,.;&/")


def _date(found: re.Match[str]) -> str:
    parts = [int(g) for g in found.groups()]
    if parts[0] > 31:
        parts = [parts[1], parts[2], parts[0]]
    year = parts[2] if parts[2] > 99 else parts[2] + (2000 if parts[2] < 40 else 1900)
    return f"{year}-{parts[0]}-{parts[1]}"


def looks_like_business(words: tuple[str, ...], personal: bool = False) -> bool:
    """Tell whether words carry a legal form or a trade that people's names don't; ``personal``: the title of a family's trust."""
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
    if not marked and "trust" not in tokens:
        if len(tokens) == 4 and tokens[1] == tokens[3]:
            return [("plain", [*tokens[:2], "AND", *tokens[2:]])]
        if tokens.count(",") == 1 and _two_full_names(tokens):
            at = tokens.index(",")
            return [("plain", [*tokens[:at], "AND", *tokens[at + 1 :]])]
        return [("plain", tokens)]
    pieces: list[tuple[str, list[str]]] = [("", [])]
    joint = False
    for item in tokens:
        if item == "JOINT":
            joint = True
        elif item.isupper() and is_latin(item) and item != "AND":
            pieces.append((item, []))
        elif item == "tod" and len(pieces[-1][1]) > 1:
            pieces.append(("POD", []))
        else:
            pieces[-1][1].append(item)
    out: list[tuple[str, list[str]]] = []
    markers = {marker for marker, _ in pieces}
    # For each piece whether a signer's role closes it: "... JANE ROE EXEC", and no name follows.
    ends = [*(marker in _SIGNERS and not piece for marker, piece in pieces[1:]), False]
    signed = [end and all(m in ("MINOR", *_SIGNERS) and not piece for m, piece in pieces[at + 2 :]) for at, end in enumerate(ends)]
    own_trust = "trust" in tokens
    hard = any(t in _HARD_KINDS for t in tokens) and own_trust
    for index, (marker, piece) in enumerate(pieces):
        following = pieces[index + 1][0] if index + 1 < len(pieces) else ""
        if marker == "POD":
            out.append(("beneficiary", piece))
        elif marker == "DBA":
            out.append(("trade", piece))
        elif marker in ("CARE", "DATED"):
            # What follows a date can be the trust's own name, what follows "care of" is somebody else.
            if marker == "DATED":
                out.extend(_trust(piece))
        elif marker == "AKA":
            out.append(("alias", piece))
        elif marker == "SON":
            out.append(("parent", piece))
        elif marker == "FBO":
            out.extend(("house" if kind == "house" else "benefit", part) for kind, part in _trust(piece))
        elif marker == "TTEE":
            out.extend(_trust(piece))
        elif marker in ("ESTATE", "CUST", "MINOR") and signed[index]:
            owner, signer = _owner_and_signer(piece) if marker != "MINOR" and pieces[index - 1][0] != "ESTATE" else ([], piece)
            out.append(("estate" if marker == "ESTATE" else "minor", owner))
            out.append(("executor" if following == "EXEC" else "custodian", signer))
        elif (
            marker == "ESTATE" and pieces[index - 1][0] == "ESTATE" and len(pieces[index - 1][1]) > 1 and pieces[index - 1][1][-1] != "AND"
        ):
            # "ESTATE OF JOHN SMITH DECEASED JANE ROE"
            out.append(("executor", piece))
        elif marker == "CUST":
            out.append(("minor", piece))
        elif marker == "ESTATE":
            out.append(("estate", piece))
        elif marker == "EXEC":
            # "EXECUTOR JOHN SMITH DECD" names the dead alone.
            dead = index == 1 and not pieces[0][1] and following == "ESTATE" and not pieces[index + 1][1]
            out.append(("estate" if dead else "executor", piece))
        elif following in ("EXEC", "CUST"):
            owner, signer = _owner_and_signer(piece) if signed[index] else ([], piece)
            if not signer:
                owner, signer = [], owner
            out.append(("executor" if following == "EXEC" else "minor", owner))
            out.append(("executor" if following == "EXEC" else "custodian", signer))
        elif following == "ESTATE" and piece:
            rest = pieces[index + 1][1]
            if signed[index + 1] or (len(piece) > 1 and len(rest) > 1):
                # "JOHN SMITH DECD JANE ROE EXEC"
                out.append(("estate", piece))
                out.append(("executor", rest))
            else:
                # "JOHN SMITH ESTATE", and "FELIX (DECEASED) CALLOWAY": a name that the marker interrupts.
                out.append(("estate", [*piece, *rest]))
            pieces[index + 1] = ("ESTATE", [])
        elif "trust" in piece or following in ("TTEE", "DATED", "FBO") or "TTEE" in markers:
            out.extend(_trust(piece))
        elif following == "MINOR":
            out.append(("minor", piece))
        elif marker == "MINOR":
            continue
        else:
            out.append(("joint" if joint else "plain", _split_joint(piece) if joint else piece))
    if any(context == "trust" for context, _ in out):
        out = [(context, piece) for context, piece in out if context != "house"]
    if hard:
        out = [("hard_trust" if context in ("trust", "house") else context, piece) for context, piece in out]
    return [(context, piece) for context, piece in out if piece]


# Trusts whose property is not the grantor's own.
_HARD_KINDS = frozenset(
    ("irrevocable", "irrev", "charitable", "special", "needs", "supplemental", "testamentary", "marital", "bypass", "insurance", "exempt",
     "nonexempt", "gst", "crut", "crat", "qtip", "decedents", "credit")
)  # fmt: skip


# Capacities in which one person signs for another.
_SIGNERS = frozenset(("EXEC", "CUST"))
# What may stand between the name of the one and of the other.
_BETWEEN = frozenset(("by", "minor", "incompetent", "incapacitated", "ward", ","))


def _owner_and_signer(piece: list[str]) -> tuple[list[str], list[str]]:
    """Part a dead's or a minor's name from that of the person who signs, which follows it; all is the first's where nothing tells."""
    words = [t for t in piece if t != ","] if piece[:-2].count(",") > 1 else piece[: -1 if piece[-1:] == [","] else None]
    for at in range(2, len(words) - 1):
        if words[at] in _BETWEEN:
            owner = words[:at]
            return owner[:-1] if owner[-1] in ("a", "an") else owner, words[at + 1 :]
    count, at = len(words), 0
    if count % 2 == 0 and count > 3 and _mainly_surname(words[0]) and _mainly_surname(words[count // 2]):
        # Both names begin with the surname.
        at = count // 2
    elif words[-1:] and words[-1] in words[1:-2]:
        # Both have the same surname.
        at = words.index(words[-1], 1) + 1
    else:
        # The first name ends with a surname, and the second begins with a given name.
        ends = [at for at in range(2, count - 1) if len(words[at - 1]) > 1 and "-" not in words[at - 1 : at + 1]]
        best = max(ends, key=lambda at: (_ends_before(words, at), -abs(2 * at - count)), default=0)
        at = best if best and _ends_before(words, best) >= 0 else count
    while at < count and words[at] in GENERATIONS:
        at += 1
    return words[:at], words[at:]


def _ends_before(words: list[str], at: int) -> int:
    """Return how much speaks for a surname before a place and a given name after it."""
    before, after = look_up(words[at - 1]), look_up(words[at])
    return before.surname - before.given + after.given - after.surname - (MOST_UNLIKE if len(words[at]) == 1 else 0)


# An initial rarely begins a name.
MOST_UNLIKE = 3


def _mainly_given(word: str) -> bool:
    known = look_up(word)
    return known.given > 1 and known.given >= known.surname


def _mainly_surname(word: str) -> bool:
    known = look_up(word)
    return known.surname > known.given or known.given == 0


def _two_full_names(tokens: list[str]) -> bool:
    """Tell whether a comma parts two owners, given name first, instead of a surname from given names."""
    at = tokens.index(",")
    first, second = tokens[:at], tokens[at + 1 :]
    if len(first) != 2 or len(second) != 2 or "-" in tokens:
        return False
    return all(_mainly_given(part[0]) and _mainly_surname(part[1]) for part in (first, second))


def _split_joint(piece: list[str]) -> list[str]:
    """Put a separator between joint owners that are written one after the other."""
    if "AND" in piece or "," in piece or len(piece) < 4:
        return piece
    first, last = piece[0], piece[-1]
    if last in piece[1:-2]:
        at = piece.index(last, 1) + 1
    elif first in piece[2:-1]:
        at = piece.index(first, 2)
    elif len(piece) % 2 == 0:
        at = len(piece) // 2
    else:
        return piece
    return [*piece[:at], "AND", *piece[at:]]


def _trust(piece: list[str], person: str = "trust") -> list[tuple[str, list[str]]]:
    """Read one part of a trust's title: a person, a trust named after one, or a trust and its trustee."""
    if "trust" not in piece and "trst" not in piece:
        kept = [t for t in piece if t not in ("tr", "as", "of", "for", "the", "u", "a", "d") and not t[0].isdigit()]
        return [(person, kept)] if kept else []
    at = piece.index("trust") if "trust" in piece else piece.index("trst")
    out: list[tuple[str, list[str]]] = []
    named = [t for t in piece[:at] if t != "-" and not t[0].isdigit()] if any(t[0].isdigit() for t in piece[:at]) else piece[:at]
    while named and named[-1] in TRUST_WORDS:
        named.pop()
    while named and named[0] in _LEADING:
        named.pop(0)
    if named:
        out.append((person if len(named) > 1 else "house", named))
    rest = [t for t in piece[at + 1 :] if (t not in TRUST_WORDS or t == "AND") and not t[0].isdigit() and t not in ("no", "#", "number")]
    if rest and not (len(rest) == 1 and (len(rest[0]) == 1 or rest[0] in _ROMAN)):
        out.append((person, rest))
    return out


_TRUST = frozenset(("trust", "trst", "tr"))
_LEADING = frozenset(("the", "a", "of", "for"))
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "x": "10"}
# Words that tell a trust's kind. Family, living and revocable are one kind said in three ways.
_KINDS = {
    "irrevocable": "irrevocable", "irrev": "irrevocable", "charitable": "charitable", "remainder": "charitable", "special": "special",
    "supplemental": "special", "marital": "marital", "bypass": "bypass", "credit": "bypass", "shelter": "bypass", "insurance": "insurance",
    "nonexempt": "nonexempt", "exempt": "exempt", "gst": "exempt", "testamentary": "testamentary", "survivors": "survivors",
    "survivor": "survivors", "decedents": "decedents", "children": "children", "childrens": "children", "land": "land", "qtip": "marital",
    "education": "education", "grandchildren": "grandchildren", "residence": "residence", "annuity": "annuity", "gift": "gift",
}  # fmt: skip
_SOFT_KINDS = {"revocable": "revocable", "rev": "revocable"}
_NUMBERED = re.compile(r"\d{1,3}|ii|iii|iv|v|vi|i|[a-h]|one|two|three")
_WORD_NUMBERS = {"one": "1", "two": "2", "three": "3"}
_YEAR = re.compile(r"(?:19|20)\d\d")


def _trusts(tokens: list[str], dates: str) -> Iterator[Trust]:
    """Yield the trusts that a title names by their own names, those of people and families only."""
    pieces: list[list[str]] = [[]]
    for item in tokens:
        if item.isupper() and is_latin(item) and item not in ("AND", "JOINT"):
            pieces.append([])
        elif item not in (",", "#"):
            pieces[-1].append(item)
    for piece in pieces:
        at = next((i for i, t in enumerate(piece) if t in ("trust", "trst") or (t == "tr" and piece[i - 1] in TRUST_WORDS)), -1)
        if at < 0:
            continue
        named = piece[:at]
        kinds = {_KINDS[t] for t in piece if t in _KINDS}
        for index, t in enumerate(piece[:-1]):
            if t == "non" and "exempt" in piece[index + 1 : index + 3]:
                kinds = (kinds - {"exempt"}) | {"nonexempt"}
        kinds |= {_SOFT_KINDS[t] for t in named if t in _SOFT_KINDS}
        date = dates.split(" ", 1)[0]
        number = ""
        for t in [*piece[at + 1 : at + 4], *named[1:]]:
            if _YEAR.fullmatch(t):
                date = date or t
            elif t in piece[at + 1 :] and _NUMBERED.fullmatch(t) and not number:
                number = _ROMAN.get(t, _WORD_NUMBERS.get(t, t)) if not (len(t) == 1 and t in "cd") else t
        named = [t for t in named if not t[0].isdigit()]
        while named and (named[-1] in TRUST_WORDS or named[-1] in _KINDS or named[-1] in ("non", "-")):
            named.pop()
        if not named:
            named = [t for t in piece[at + 1 :] if t not in TRUST_WORDS and not _NUMBERED.fullmatch(t) and not t[0].isdigit()]
        while named and named[0] in _LEADING:
            named.pop(0)
        if named and len(named) < MANY_GRANTORS and not any(_is_business(t) for t in piece):
            parties = [] if len([t for t in named if t != "-"]) < 2 else _parties(named, "trust")
            yield Trust(
                parties[0] if len(parties) == 1 else None,
                tuple(t for t in named if t.islower()),
                1 + named.count("AND"),
                frozenset(kinds),
                number,
                date,
            )


def _is_business(word: str) -> bool:
    return word in SURE_FORMS or word == "co" or (word in BUSINESS_WORDS and word not in SURNAMES_TOO)


def _parties(segment: list[str], context: str) -> list[Party]:
    """Return the persons named in a segment; joint owners share a surname that only one of them carries."""
    if "AND" not in segment:
        one = _party(segment, context)
        return [one] if one else []
    parts: list[list[str]] = [[]]
    for item in segment:
        if item == "AND":
            parts.append([])
        else:
            parts[-1].append(item)
    own = "joint" if context == "plain" else context
    found = [party for part in parts[:MANY_PARTIES] if (party := _party(part, own))]
    if len(found) < 2:
        return [party._replace(context=context) for party in found]
    out: list[Party] = []
    for index, party in enumerate(found):
        full = [w for w in party.words if len(w) > 1]
        whole = len(full) > 1 and not (len(full) == 2 and party.joined)
        lenders = [(k, p) for k, p in enumerate(found) if k != index and sum(len(w) > 1 for w in p.words) > 1]
        if whole or not lenders:
            out.append(party)
        if party.comma or not lenders or (whole and not _two_given(full)):
            continue
        families: dict[tuple[str, ...], None] = {}
        for k, lender in lenders[:3]:
            for family in _families(lender, k < index):
                families[family] = None
        shared = "shared" if own == "joint" else own
        out.append(party._replace(context=shared, lent=tuple(families)))
    return out


def _two_given(words: list[str]) -> bool:
    """Tell whether two words are two given names of one person who has no surname of their own here: MARIA ELENA & JUAN GARCIA."""
    if len(words) != 2:
        return False
    first, second = look_up(words[0]), look_up(words[1])
    return second.given >= COMMON and second.surname == 0 and first.given > 2 and first.given > first.surname


# How common a word must be as a given name to be nothing else.
COMMON = 7


def _families(lender: Party, before: bool) -> Iterator[tuple[str, ...]]:
    """Yield the surnames that a joint owner may lend: the words before a comma, the last ones, or the first ones."""
    words = lender.words
    if lender.comma:
        yield words[: lender.comma]
        return
    last = len(words) - 1
    while last > 1 and (words[last - 1] in _BEFORE or last - 1 in lender.joined):
        last -= 1
    first = 1
    while first < len(words) - 1 and (words[first - 1] in _BEFORE or first - 1 in lender.joined):
        first += 1
    heads = words[:first]
    tails = words[last:]
    # "SMITH JOHN OR JANE" names the surname first, "JOHN SMITH OR JANE" last: what the words are tells which.
    if before and not (_mainly_given(words[0]) and not _mainly_given(words[-1])):
        yield heads
    if not before or not (_mainly_given(words[-1]) and not _mainly_given(words[0])):
        yield tails
        if last > 1:
            yield words[last - 1 :]
    if not before and _mainly_given(words[-1]) and not _mainly_given(words[0]):
        yield heads


_BEFORE = word_set(
    "de del della dela delos di da do dos das du des la las le les lo los van vander den der von vom zu zum ter ten te el al bin ibn ben"
    " bar even abu af av santa san st ste saint mac mc fitz o y d ti"
)


# Words and signs that may be something else than a part of a name.
_NO_PLAIN_WORDS = _NO_WORDS | frozenset(GENERATIONS) | SURE_TITLES | TITLES | CREDENTIALS | NO_NAME | {"the"}


def _party(tokens: list[str], context: str) -> Party | None:
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
    # What follows a second comma, or a comma after given name and surname, is credentials and generations.
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
    # A title that is a given name as well stays: the account of words excuses it.
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
        # "TROJAN, RN, CHRISTINE": what stands between the commas are credentials.
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


def claimed_party(given: object, middle: object, family: object, suffix: object) -> Title:
    """Return the title of a name that comes in parts."""
    texts = [fold(str(part)[:200]) if part else "" for part in (given, middle, family)]
    aside: tuple[str, ...] = ()
    for index, text in enumerate(texts):
        if "(" in text or '"' in text:
            aside = (
                *aside,
                *(t for found in _ASIDE.finditer(text) for t in tokens_of(" ".join(g for g in found.groups() if g)) if t not in ",-"),
            )
            texts[index] = _ASIDE.sub(" ", text)
    markers: set[str] = set()
    generation = ""
    title = ""
    parts: list[list[str]] = []
    joined: set[int] = set()
    count = 0
    for index, text in enumerate(texts):
        if text.isalpha() and text.isascii() and text not in NO_NAME and mark(text) is text:
            # One plain word, as most parts are.
            parts.append([text[:MAX_WORD]])
            count += 1
            continue
        tokens = tokens_of(mark(text)) if text else []
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
        for item in tokens_of(fold(str(suffix)[:40])):
            generation = GENERATIONS.get(item, generation)
    all_words = tuple(word for part in parts for word in part)[: 2 * MAX_WORDS]
    if not all_words:
        return EMPTY
    given_count, family_count = len(parts[0]), len(parts[2])
    if len(all_words) == 2 and all_words[0] == all_words[1]:
        all_words, family_count, given_count, joined = all_words[:1], 0, 1, set()
    party = Party(all_words, "plain", 0, frozenset(joined), generation, (), aside, title, family_count, given_count, whole=True)
    return Title((party,), all_words, all_words, (), False, (), False, frozenset(markers), bool(aside), True, sum(map(len, texts)) + 2)
