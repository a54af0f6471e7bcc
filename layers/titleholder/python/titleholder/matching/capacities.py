"""Reads the capacity of each party of an account title from the words between their names, and the trusts that the title names."""

import re
from collections.abc import Iterator

from titleholder.matching.evidence import look_up, mainly_given, mainly_surname
from titleholder.matching.parties import MOST_PARTIES, Party, Trust, party_of
from titleholder.matching.text import is_latin
from titleholder.matching.words import BUSINESS_WORDS, GENERATIONS, SURE_FORMS, SURNAMES_TOO, TRUST_WORDS, word_set

# More words than this are not a person's or a couple's name.
MANY_GRANTORS = 9


def cut_by_capacity(tokens: list[str]) -> list[tuple[str, list[str]]]:
    """Cut a title with markers into (context, tokens): owners, beneficiaries, trusts, trade names."""
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
    # For each piece: whether a signer's role ends it, as in "... JANE ROE EXEC", and no name follows.
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
            # A date can be followed by the trust's own name, but "care of" is followed by another person.
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
            # "EXECUTOR JOHN SMITH DECD" names only the deceased.
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
                # "JOHN SMITH ESTATE"; in "FELIX (DECEASED) CALLOWAY" the marker interrupts a name.
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


# Kinds of trusts whose property is not the grantor's own.
_HARD_KINDS = frozenset(
    ("irrevocable", "irrev", "charitable", "special", "needs", "supplemental", "testamentary", "marital", "bypass", "insurance", "exempt",
     "nonexempt", "gst", "crut", "crat", "qtip", "decedents", "credit")
)  # fmt: skip


# Capacities in which one person signs for another.
_SIGNERS = frozenset(("EXEC", "CUST"))
# Words that may separate the two names.
_BETWEEN = frozenset(("by", "minor", "incompetent", "incapacitated", "ward", ","))


def _owner_and_signer(piece: list[str]) -> tuple[list[str], list[str]]:
    """Split the name of a deceased person or a minor from that of the signer after it. If nothing shows where, all is the first name."""
    words = [t for t in piece if t != ","] if piece[:-2].count(",") > 1 else piece[: -1 if piece[-1:] == [","] else None]
    for at in range(2, len(words) - 1):
        if words[at] in _BETWEEN:
            owner = words[:at]
            return owner[:-1] if owner[-1] in ("a", "an") else owner, words[at + 1 :]
    count, at = len(words), 0
    if count % 2 == 0 and count > 3 and mainly_surname(words[0]) and mainly_surname(words[count // 2]):
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
    """Return the evidence for a surname before a place and a given name after it."""
    before, after = look_up(words[at - 1]), look_up(words[at])
    return before.surname - before.given + after.given - after.surname - (MOST_UNLIKE if len(words[at]) == 1 else 0)


# An initial rarely begins a name.
MOST_UNLIKE = 3


def _split_joint(piece: list[str]) -> list[str]:
    """Put a separator between joint owners who are written without one."""
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


_LEADING = frozenset(("the", "a", "of", "for"))
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "x": "10"}
# Words for a trust's kind. Family, living and revocable are three words for one kind.
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


def trusts_of(tokens: list[str], dates: str) -> Iterator[Trust]:
    """Yield the trusts that a title names by their own names, but only those of people and families."""
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
            parties = [] if len([t for t in named if t != "-"]) < 2 else joint_owners(named, "trust")
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


def joint_owners(segment: list[str], context: str) -> list[Party]:
    """Return the people named in a segment. Joint owners share a surname that is written for one of them only."""
    parts: list[list[str]] = [[]]
    for item in segment:
        if item == "AND":
            parts.append([])
        else:
            parts[-1].append(item)
    own = "joint" if context == "plain" else context
    found = [party for part in parts[:MOST_PARTIES] if (party := party_of(part, own))]
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
    """Return whether two words are given names of one person without a surname of their own, as in MARIA ELENA & JUAN GARCIA."""
    if len(words) != 2:
        return False
    first, second = look_up(words[0]), look_up(words[1])
    return second.given >= COMMON and second.surname == 0 and first.given > 2 and first.given > first.surname


# A word that is at least this common as a given name is taken for nothing else.
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
    # "SMITH JOHN OR JANE" has the surname first, "JOHN SMITH OR JANE" last. What is known of the words shows which.
    if before and not (mainly_given(words[0]) and not mainly_given(words[-1])):
        yield heads
    if not before or not (mainly_given(words[-1]) and not mainly_given(words[0])):
        yield tails
        if last > 1:
            yield words[last - 1 :]
    if not before and mainly_given(words[-1]) and not mainly_given(words[0]):
        yield heads


_BEFORE = word_set(
    "de del della dela delos di da do dos das du des la las le les lo los van vander den der von vom zu zum ter ten te el al bin ibn ben"
    " bar even abu af av santa san st ste saint mac mc fitz o y d ti"
)
