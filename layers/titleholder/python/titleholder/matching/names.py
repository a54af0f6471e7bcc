"""Reads the names on claims and accounts, every way they may be meant, and compares people's names part by part."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from titleholder.matching import nicknames
from titleholder.matching.memory import remembered
from titleholder.matching.text import (
    MAX_WORD,
    MAX_WORDS,
    closeness,
    fold,
    is_latin,
    plain_umlauts,
    same_beginning,
    scrambled,
    sound,
    within_two,
)
from titleholder.matching.weights import NAME_WEIGHTS
from titleholder.matching.words import (
    BINDING,
    BUSINESS_WORDS,
    CREDENTIALS,
    DATE,
    GENERATIONS,
    JOINERS,
    LEGAL_FORMS,
    PARTICLES,
    SURE_FORMS,
    SURE_TITLES,
    SURNAMES_TOO,
    TITLES,
    TRUST_WORDS,
    mark,
)


class Reading(NamedTuple):
    """One way to read a name: forenames, surname, generation, and how the reading came about."""

    fore: tuple[str, ...]
    family: tuple[str, ...]
    generation: str
    layout: str  # "given": told by the source; "fl": given name first; "lf": surname first by guess; "one": a single word
    context: str  # "plain", "joint", "shared" (joint, surname taken from the other), "trust", "house" (a family's trust), "trade", ...


class Trust(NamedTuple):
    """A trust by its own name: whom it is called after and how many they are, revocable or not, and its number if it has one."""

    after: tuple[str, ...]
    readings: tuple[Reading, ...]
    grantors: int
    kind: str
    number: str


class Name(NamedTuple):
    """A name as written, with all its readings."""

    readings: tuple[Reading, ...]
    words: tuple[str, ...]
    business: bool
    trade: tuple[tuple[str, ...], ...]
    plain: str
    trusts: tuple[Trust, ...] = ()


_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|,|[A-Z]+")
_DOTTED = re.compile(r"\b[^\W\d_](?:\.[^\W\d_]\b)+\.?|\bph\.? ?d\b\.?")
_ASIDE = re.compile(r"\(([^()]*)\)|\"([^\"]*)\"")
_DIGIT = re.compile(r"\d")
_MANY = 12
_EMPTY = Name((), (), False, (), "")


def _undot(found: re.Match[str]) -> str:
    joined = found[0].replace(".", "").replace(" ", "")
    # "J.D. Vance" is no doctor of law.
    if found.start() and (joined in CREDENTIALS or joined in LEGAL_FORMS or joined in GENERATIONS):
        return joined
    return " ".join(joined) + " "


def _tokens(text: str) -> list[str]:
    if "." in text:
        text = _DOTTED.sub(_undot, text)
    out = []
    for word in _WORD.findall(text):
        if "'" in word:
            word = word.replace("'", "")
        out.append(word if len(word) <= MAX_WORD else word[:MAX_WORD])
        if len(out) == MAX_WORDS * 2:
            break
    return out


@remembered(maxsize=1024)
def read(text: str) -> Name:
    """Return every reading of a name as a bank or a person may write it."""
    folded = fold(text)
    asides: list[str] = []
    if "(" in folded or '"' in folded:
        asides = [a or b for a, b in _ASIDE.findall(folded)]
        folded = _ASIDE.sub(" ", folded)
    folded = folded.strip(" ,.;&/")
    marked = mark(DATE.sub(" ", folded) if _DIGIT.search(folded) else folded)
    tokens = _tokens(marked)
    words = tuple(t for t in (tokens if marked is folded else _tokens(folded)) if t != ",")[:MAX_WORDS]
    plain = " ".join(words)
    if not words:
        return _EMPTY
    readings: dict[Reading, None] = {}
    trade: list[tuple[str, ...]] = []
    trusts = _trusts(tokens) if not _TRUST.isdisjoint(tokens) else ()
    business = looks_like_business(words, personal=bool(trusts))
    for context, segment in _segments(tokens):
        if context == "trade":
            if segment:
                trade.append(tuple(t for t in segment if t.islower() or not is_latin(t)))
            continue
        for reading in _parties(segment, context):
            readings[reading] = None
            if len(readings) >= 4 * _MANY:
                break
    for aside in asides[:2]:
        alias = [t for t in _tokens(aside) if t != ","]
        if len(alias) == 1 and len(alias[0]) > 1 and alias[0] not in TITLES and alias[0] not in CREDENTIALS:
            for reading in list(readings)[:4]:
                if reading.fore:
                    readings[reading._replace(fore=(alias[0], *reading.fore[1:]), context="alias")] = None
    return Name(tuple(readings), words, business, tuple(trade), plain, trusts)


def looks_like_business(words: tuple[str, ...], personal: bool = False) -> bool:
    """Tell whether words carry a legal form or a trade that people's names don't; ``personal``: the title of a family's trust."""
    if len(words) < 2:
        return False
    if words[-1] in SURE_FORMS or (words[-1] == "co" and len(words) > 2):
        return True
    telling = [w for w in words[1:] if w in BUSINESS_WORDS or w in SURE_FORMS]
    if len(words) > 2 and words[0] in BUSINESS_WORDS:
        telling.append(words[0])
    if len(words) < 4 or personal:
        telling = [w for w in telling if w not in SURNAMES_TOO]
    return bool(telling)


def _segments(tokens: list[str]) -> list[tuple[str, list[str]]]:
    """Cut an account title into (context, tokens): owners, beneficiaries, trusts, trade names."""
    if not any(t.isupper() for t in tokens) and "trust" not in tokens:
        if len(tokens) == 4 and tokens[1] == tokens[3]:
            return [("plain", [*tokens[:2], "AND", *tokens[2:]])]
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
        elif marker in ("FBO", "TTEE"):
            out.extend(_trust(piece, person="benefit" if marker == "FBO" else "trust"))
        elif marker == "CUST":
            out.append(("minor", piece))
        elif marker == "ESTATE":
            out.append(("estate", piece))
        elif "trust" in piece or following in ("TTEE", "DATED", "FBO") or "TTEE" in markers:
            out.extend(_trust(piece))
        elif following == "CUST":
            out.append(("custodian", piece))
        elif following == "MINOR":
            out.append(("minor" if "CUST" in markers else "custodian", piece))
        elif following == "ESTATE":
            out.append(("estate", piece))
        elif marker == "MINOR":
            continue
        else:
            out.append(("joint" if joint else "plain", _split_joint(piece) if joint else piece))
    if any(context == "trust" for context, _ in out):
        out = [(context, piece) for context, piece in out if context != "house"]
    return [(context, piece) for context, piece in out if piece]


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
        kept = [t for t in piece if t not in ("tr", "as", "of", "for", "the", "u", "a", "d")]
        return [(person, kept)] if kept else []
    at = piece.index("trust") if "trust" in piece else piece.index("trst")
    out: list[tuple[str, list[str]]] = []
    named = piece[:at]
    while named and named[-1] in TRUST_WORDS:
        named.pop()
    while named and named[0] in _LEADING:
        named.pop(0)
    if named:
        out.append(("trust" if len(named) > 1 else "house", named))
    rest = [t for t in piece[at + 1 :] if t not in TRUST_WORDS or t == "AND"]
    if rest:
        out.append(("trust", rest))
    return out


_TRUST = frozenset(("trust", "trst", "tr"))
_KINDS = {"revocable": "revocable", "rev": "revocable", "irrevocable": "irrevocable", "irrev": "irrevocable"}
_NUMBERED = re.compile(r"\d{1,3}|ii|iii|iv|v")


def _trusts(tokens: list[str]) -> tuple[Trust, ...]:
    """Return the trusts that a title names by their own names, those of people and families only."""
    pieces: list[list[str]] = [[]]
    for item in tokens:
        if item.isupper() and is_latin(item) and item not in ("AND", "JOINT"):
            pieces.append([])
        elif item != ",":
            pieces[-1].append(item)
    out = []
    for piece in pieces:
        at = next((i for i, t in enumerate(piece) if t in ("trust", "trst") or (t == "tr" and piece[i - 1] in TRUST_WORDS)), -1)
        if at < 0:
            continue
        named = piece[:at]
        kind = next((_KINDS[t] for t in named if t in _KINDS), "")
        number = next((t for t in piece[at + 1 : at + 4] if _NUMBERED.fullmatch(t)), "")
        while named and named[-1] in TRUST_WORDS:
            named.pop()
        if not named:
            named = [t for t in piece[at + 1 :] if t not in TRUST_WORDS and t != number]
        while named and named[0] in _LEADING:
            named.pop(0)
        if named and len(named) < MANY_GRANTORS and not any(_is_business(t) for t in piece):
            readings = tuple(_parties(named, "trust")) if len(named) > 1 else ()
            out.append(Trust(tuple(t for t in named if t.islower()), readings[:_MANY], 1 + named.count("AND"), kind, number))
    return tuple(out[:MANY_TRUSTS])


def _is_business(word: str) -> bool:
    return word in SURE_FORMS or word == "co" or (word in BUSINESS_WORDS and word not in SURNAMES_TOO)


_LEADING = frozenset(("the", "a", "of", "for"))
# No account is held by more trusts than this; the cap bounds the time.
MANY_TRUSTS = 3
# More words than this are hardly a person's or a couple's name.
MANY_GRANTORS = 9


def _parties(segment: list[str], context: str) -> list[Reading]:
    """Return the readings of every person named in a segment; joint owners share a surname that only one of them carries."""
    if "AND" not in segment:
        return _readings(segment, context)
    parts: list[list[str]] = [[]]
    for item in segment:
        if item == "AND":
            parts.append([])
        else:
            parts[-1].append(item)
    parts = [kept for part in parts[:6] if (kept := _strip(part)[0])]
    if not parts:
        return []
    if len(parts) == 1:
        return _readings(parts[0], context)
    own = "joint" if context == "plain" else context
    out: list[Reading] = []
    for index, part in enumerate(parts):
        bare = [t for t in part if t != ","]
        full = sum(len(t) > 1 for t in bare)
        if full > 1:
            out.extend(_readings(part, own))
        if "," in part or not bare:
            continue
        lenders = [p for k, p in enumerate(parts) if k != index and sum(len(t) > 1 for t in p) > 1]
        if full > 1 and not (index < len(parts) - 1 and len(bare) == 2):
            continue
        for lender in lenders[:3]:
            if "," in lender:
                families = [tuple(lender[: lender.index(",")])]
            else:
                tail = _tail(lender)
                families = [tail, tuple(lender[-2:])] if len(lender) > 2 and len(tail) == 1 else [tail]
                families.append((lender[0],))
            fore = tuple(bare)
            generation = ""
            for family in families:
                if family and len(fore) < MAX_WORDS:
                    out.append(Reading(fore, family, generation, "fl", "shared" if own == "joint" else own))
        if not lenders and full <= 1:
            out.extend(_readings(part, own))
    return out


def _tail(tokens: list[str]) -> tuple[str, ...]:
    return tuple(tokens[_bind(tokens, len(tokens) - 1) :])


def _bind(tokens: list[str], start: int) -> int:
    """Move the start of a surname back over the particles before it."""
    while start > 1 and (tokens[start - 1] in BINDING or (tokens[start - 1] in JOINERS and start > 2)):
        start -= 2 if tokens[start - 1] in JOINERS else 1
    if start > 2 and tokens[start - 2] == "de" and tokens[start - 1] in ("la", "las", "los", "lo"):
        start -= 2
    return start


def _strip(tokens: list[str]) -> tuple[list[str], str]:
    """Drop titles, credentials and generations; return what is left and the generation."""
    generation = ""
    kept: list[str] = []
    count = len(tokens)
    for index, item in enumerate(tokens):
        if item in GENERATIONS and index and count > 2 and not (item == "sr" and index == 0):
            generation = generation or GENERATIONS[item]
            continue
        kept.append(item)
    while kept and kept[0] in TITLES and (len(kept) > 2 or (len(kept) == 2 and kept[0] in SURE_TITLES)) and kept[1] != ",":
        kept.pop(0)
    if len(kept) == 1 and kept[0] in SURE_TITLES:
        return [], generation
    while len(kept) > 2 and kept[-1] in CREDENTIALS:
        kept.pop()
        if kept[-1] == ",":
            kept.pop()
    while kept and kept[-1] == ",":
        kept.pop()
    while kept and kept[0] == ",":
        kept.pop(0)
    # After the surname and a comma a title may still precede the given name: "LAST, MR FIRST".
    if "," in kept:
        at = kept.index(",")
        while at + 2 < len(kept) and kept[at + 1] in TITLES:
            kept.pop(at + 1)
        while at + 1 < len(kept) and kept[at + 1] == ",":
            kept.pop(at + 1)
    return kept, generation


def _readings(tokens: list[str], context: str) -> list[Reading]:
    titled = bool(tokens) and tokens[0] in SURE_TITLES
    kept, generation = _strip(tokens)
    if not kept:
        return []
    out: list[Reading] = []
    if "," in kept:
        at = kept.index(",")
        head, rest = kept[:at], [t for t in kept[at + 1 :] if t != "," and (t not in CREDENTIALS or kept.count(",") == 1)]
        while len(head) > 1 and head[-1] in CREDENTIALS:
            head.pop()
        if len(head) <= 4 and not (titled and len(head) > 1):
            out.append(Reading(tuple(rest[:8]), tuple(head), generation, "given", context))
        if len(head) > 1:
            out.extend(_plain(head, generation, context))
        return out
    return _plain(kept[:MAX_WORDS], generation, context)


def _plain(t: list[str], generation: str, context: str) -> list[Reading]:
    n = len(t)
    if n == 1:
        return [Reading((), (t[0],), generation, "one", context)]
    tail = _tail(t)
    out = [Reading(tuple(t[: n - len(tail)]), tail, generation, "fl", context)]
    lead = 1
    while lead < n - 1 and (t[lead - 1] in BINDING or t[lead] in JOINERS):
        lead += 1
    if n > 2 and len(tail) < n - 1:
        size = n - _bind(t, n - len(tail) - 1)
        out.append(Reading(tuple(t[: n - size]), tuple(t[n - size :]), generation, "fl2", context))
    out.append(Reading(tuple(t[lead:]), tuple(t[:lead]), generation, "lf", context))
    if n > 2 and lead + 1 < n:
        out.append(Reading(tuple(t[lead + 1 :]), tuple(t[: lead + 1]), generation, "lf2", context))
    return out


def claimed(given: object, middle: object, family: object, suffix: object) -> Name:
    """Return the reading of a name that comes in parts."""
    return _claimed(str(given or "")[:200], str(middle or "")[:200], str(family or "")[:200], str(suffix or "")[:40])


@remembered(maxsize=256)
def _claimed(given: str, middle: str, family: str, suffix: str) -> Name:
    fore = [t for t in _tokens(_ASIDE.sub(" ", fold(given))) if t != ","]
    while len(fore) > 1 and fore[0] in SURE_TITLES:
        fore.pop(0)
    fore += [t for t in _tokens(fold(middle)) if t != ","]
    last, generation = _strip(["", *_tokens(fold(family))] if family else [])
    surname = tuple(t for t in last if t and t != ",")
    for item in _tokens(fold(suffix)):
        generation = GENERATIONS.get(item, generation)
    kept: list[str] = []
    for item in fore:
        if item in GENERATIONS and kept and len(item) > 1:
            generation = generation or GENERATIONS[item]
        else:
            kept.append(item)
    words = (*kept, *surname)
    if not words:
        return _EMPTY
    return Name((Reading(tuple(kept[:8]), surname[:8], generation, "given", "plain"),), words[:MAX_WORDS], False, (), " ".join(words))


# --- comparing parts ---------------------------------------------------------------------------------------------------------------------


@remembered(maxsize=8192)
def compare_given(a: str, b: str) -> str:
    """Return the level at which two given names agree."""
    if a == b:
        return "G_INITIALS" if len(a) == 1 else "G_SAME"
    if len(a) == 1 or len(b) == 1:
        return "G_INITIAL" if a[0] == b[0] else "G_INITIAL_DIFFERS"
    if not (is_latin(a) and is_latin(b)):
        return "G_SCRIPT" if is_latin(a) != is_latin(b) else "G_DIFFERS"
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
    known = a in nicknames.KNOWN and b in nicknames.KNOWN
    short, long = (a, b) if len(a) < len(b) else (b, a)
    if not known and plain_umlauts(a) == plain_umlauts(b):
        return "G_SPELLING"
    edits = within_two(a, b) if a[0] == b[0] or a[-1] == b[-1] or a[1] == b[0] or a[0] == b[1] or a[1:3] == b[1:3] else 3
    if edits == 1:
        if (
            known
            or (len(a) == len(b) and a[:-1] == b[:-1] and {a[-1], b[-1]} == {"a", "o"})
            or (long == short + "a" and len(short) > 3 and long not in nicknames.KNOWN)
        ):
            return "G_OTHER"
        if a[0] != b[0] and a[1] != b[0] and a[0] != b[1]:
            return "G_TYPO_FIRST"
        return "G_TYPO" if len(short) > 4 else "G_TYPO_SHORT"
    if nicknames.is_form_mistyped(a, b) or nicknames.is_form_mistyped(b, a):
        return "G_NICKNAME_TYPO"
    if long[len(short) :] in _FEMININE and long.startswith(short) and len(short) > 3:
        return "G_OTHER"
    if len(short) > 3 and same_beginning(a, b) and sound(a) == sound(b):
        return "G_OTHER" if known else "G_SOUND"
    if len(short) > 2 and long.startswith(short):
        return "G_OTHER" if known else "G_PREFIX"
    if edits == 2 and len(short) > 4:
        if not known and a[0] != b[0] and a[-1] != b[-1]:
            return "G_ALIKE"
        return "G_OTHER" if known else "G_TYPO_2" if len(short) > 5 else "G_TYPO_2_SHORT"
    if not known and a[0] == b[0]:
        alike = closeness(a, b)
        if alike > 0.86:
            return "G_ALIKE"
        if alike > 0.78:
            return "G_ALIKE_LESS"
    if not known and scrambled(a, b):
        return "G_ALIKE"
    return "G_DIFFERS_SAME_INITIAL" if a[0] == b[0] else "G_DIFFERS"


# Endings that turn a man's name into a woman's.
_FEMININE = frozenset(
    ("la", "na", "ia", "le", "ne", "ella", "elle", "ette", "ina", "ine", "ita", "etta", "lla", "nna", "nne", "lle", "elia", "da")
)
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


def _compare_fore(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, str]:
    """Return the levels of the given and of the middle names."""
    if not a or not b:
        return "G_MISSING", "M_NONE"
    given = compare_given(a[0], b[0])
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
                    level = compare_given(middle, theirs[0])
                    if level in _SOFT_GIVEN:
                        first = len(mine[0]) == 1
                        if level == "G_SAME":
                            crossed = "G_MIDDLE_INITIAL" if first else "G_MIDDLE"
                        elif not crossed:
                            crossed = "G_MIDDLE_FORM"
        if crossed:
            return crossed, "M_USED"
    middle = _compare_middle(more_a, more_b)
    # The members of a family often share a middle initial: it says nothing for another given name.
    if given in _DIFFERENT_GIVEN and middle in ("M_SAME", "M_INITIAL", "M_FORM"):
        middle = "M_USED"
    return given, middle


def _compare_middle(a: tuple[str, ...], b: tuple[str, ...]) -> str:
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
            elif best != "M_INITIAL" and compare_given(x, y) in (
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


@remembered(maxsize=8192)
def compare_family(a: tuple[str, ...], b: tuple[str, ...]) -> str:
    """Return the level at which two surnames agree."""
    if a == b:
        return "F_SAME"
    if not a or not b:
        return "F_MISSING"
    x, y = "".join(a), "".join(b)
    if x == y:
        return "F_GLUED"
    if (
        len(a) == 1
        and len(b) == 1
        and x[0] != y[0]
        and x[-1] != y[-1]
        and is_latin(x)
        and is_latin(y)
        and not same_beginning(x, y)
        and x[1:3] != y[1:3]
    ):
        return "F_ALIKE" if scrambled(x, y) else "F_DIFFERS"
    core_a = [t for t in a if t not in PARTICLES] or list(a)
    core_b = [t for t in b if t not in PARTICLES] or list(b)
    if core_a == core_b:
        return "F_PARTICLE"
    short, long = (x, y) if len(x) < len(y) else (y, x)
    if len(short) == 1:
        return "F_INITIAL" if x[0] == y[0] else "F_DIFFERS"
    if is_latin(x) != is_latin(y):
        return "F_SCRIPT"
    several = len(core_a) > 1 or len(core_b) > 1
    if several and any(len(t) > 1 and t in core_b for t in core_a):
        return "F_PART" if len(core_a) == 1 or len(core_b) == 1 else "F_PART_EACH"
    edits = within_two(x, y) if x[0] == y[0] or x[-1] == y[-1] or x[1] == y[0] or x[0] == y[1] or x[1:3] == y[1:3] else 3
    if len(short) > 2 and same_beginning(x, y) and sound(x) == sound(y):
        return "F_SOUND" if edits < 3 else "F_SOUND_FAR"
    if len(short) > 2 and plain_umlauts(x) == plain_umlauts(y):
        return "F_SOUND"
    if edits == 1:
        return "F_TYPO" if len(short) > 4 else "F_TYPO_SHORT" if len(short) > 2 else "F_TYPO_2_SHORT"
    if long.startswith(short) and len(short) > 3:
        return "F_CUT"
    if edits == 2 and len(short) > 4:
        return "F_TYPO_2" if len(short) > 6 else "F_TYPO_2_SHORT"
    if several:
        for t in core_a:
            for u in core_b:
                if len(t) > 3 and len(u) > 3 and (within_two(t, u) == 1 or sound(t) == sound(u)):
                    return "F_PART_ALIKE"
    alike = closeness(x, y) if x[0] == y[0] else 0.0
    if (alike > 0.88 and len(short) > 3) or scrambled(x, y):
        return "F_ALIKE"
    if alike > 0.8:
        return "F_ALIKE_LESS"
    return "F_DIFFERS"


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
                                            "estate", "house", "beneficiary"))
}  # fmt: skip
_WIDE = frozenset(("fl2", "lf2"))
# A middle name must not pass for a part of the surname: what is left of the surname agrees without it.
_PARTS = frozenset(("F_PART", "F_PART_EACH", "F_PART_ALIKE"))


class Comparison(NamedTuple):
    """The levels of the best pair of readings, and their log-odds."""

    log_odds: float
    levels: tuple[str, ...]  # given, family, middle, generation, order, context, then combinations


_FINE_FAMILY = frozenset(("F_SAME", "F_GLUED", "F_PARTICLE", "F_PART", "F_SOUND", "F_TYPO", "F_PART_EACH"))
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


_NOTHING_ALIKE = ("G_DIFFERS", "F_DIFFERS", "M_USED", "S_NONE", "O_SAME", "C_PLAIN", "X_BOTH_DIFFER")


def _maiden(a: Reading, b: Reading) -> bool:
    """Tell whether one surname is the other's middle name: a surname taken in marriage leaves the old one there."""
    return bool(a.family) and len(a.family[-1]) > 2 and a.family[-1] not in PARTICLES and a.family[-1] in b.fore[1:]


def compare_readings(a: Reading, b: Reading) -> tuple[str, ...]:
    """Return the levels at which two readings agree."""
    family = compare_family(a.family, b.family)
    given, middle = _compare_fore(a.fore, b.fore)
    if family == "F_DIFFERS" and given in _DIFFERENT_GIVEN:
        return _NOTHING_ALIKE
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
    for level in levels:
        total += NAME_WEIGHTS.get(level, 0.0)
    return total


def _may_be_wide(wide: Reading, other: Reading) -> bool:
    """Tell whether a surname of several words meets another such surname, or one word that is all of it written together."""
    if len(other.family) > 1:
        return True
    if not other.family:
        return False
    whole = other.family[0]
    return len(wide.family[0]) > 1 and whole[:2] == wide.family[0][:2] and within_two("".join(wide.family), whole) < 2


def every_comparison(a: Name, b: Name) -> Iterator[tuple[str, ...]]:
    """Yield the levels for every pair of readings of two names that makes sense."""
    glued = _compare_glued(a, b)
    if glued is not None:
        yield glued
    for x in a.readings[: 3 * _MANY]:
        for y in b.readings[: 3 * _MANY]:
            # A second word is taken into a surname only to meet another surname of several words; else it is a middle name.
            # Two names in the same order put the given name first, unless both are told to be otherwise: else Mark Smith and Mary Smith
            # would be two spellings of one surname.
            if x.layout[0] == "l" and y.layout[0] == "l" and not (x.family == y.family and x.fore[:1] == y.fore[:1]):
                continue
            if (y.layout in _WIDE and not _may_be_wide(y, x)) or (x.layout in _WIDE and not _may_be_wide(x, y)):
                continue
            levels = compare_readings(x, y)
            if (x.layout in _WIDE or y.layout in _WIDE) and levels[1] in _PARTS:
                continue
            yield levels


def compare(a: Name, b: Name) -> Comparison | None:
    """Return the best comparison over all readings of two names, or ``None`` when either has none."""
    best: Comparison | None = None
    for levels in every_comparison(a, b):
        total = log_odds(levels)
        # Readings that speak as much for a match are told apart by their levels, so that either side may come first.
        if best is None or total > best.log_odds or (total == best.log_odds and levels > best.levels):
            best = Comparison(total, levels)
            if levels[:2] == ("G_SAME", "F_SAME") and levels[2] in _FINE_MIDDLE and levels[4:6] == ("O_SAME", "C_PLAIN"):
                break
    return best


def _compare_glued(a: Name, b: Name) -> tuple[str, ...] | None:
    """Compare when one side is written as a single word."""
    if (len(a.words) == 1) == (len(b.words) == 1):
        return None
    one, many = (a, b) if len(a.words) == 1 else (b, a)
    word = one.words[0]
    if len(word) < 6:
        return None
    for reading in many.readings[:4]:
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
