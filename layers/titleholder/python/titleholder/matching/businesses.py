"""Compares names of businesses: legal forms separately, words by how much they distinguish, numbers strictly."""

from typing import NamedTuple

from titleholder.matching.evidence import Known, look_up
from titleholder.matching.judged import SCRIPTS_DIFFER, Judged
from titleholder.matching.nicknames import KNOWN
from titleholder.matching.romanisation import one_original
from titleholder.matching.scale import REASONS, interpolate
from titleholder.matching.text import apart, closeness, is_latin, plain_umlauts, sound, within_two
from titleholder.matching.weights import BUSINESS_KNOTS, BUSINESS_WEIGHTS
from titleholder.matching.words import BUSINESS_WORDS, LEGAL_FORMS, SURE_FORMS, word_set

_SHORT = {
    "svc": "service", "svcs": "service", "serv": "service", "intl": "international", "int'l": "international", "natl": "national",
    "nat'l": "national", "mfg": "manufacturing", "mfrs": "manufacturing", "mgmt": "management", "mgt": "management",
    "tech": "technology", "techs": "technology", "technologies": "technology", "sys": "system", "syst": "system",
    "assoc": "associate", "assocs": "associate", "assn": "association", "bros": "brother", "dept": "department",
    "univ": "university", "inst": "institute", "ctr": "center", "centre": "center", "cntr": "center", "comm": "community",
    "dev": "development", "devel": "development", "dist": "distributor", "ent": "enterprise", "entpr": "enterprise",
    "eng": "engineering", "engr": "engineering", "fin": "financial", "finl": "financial", "gen": "general", "govt": "government",
    "grp": "group", "hldg": "holding", "hldgs": "holding", "hosp": "hospital", "ind": "industry", "inds": "industry",
    "industries": "industry", "ins": "insurance", "inv": "investment", "invt": "investment", "labs": "laboratory",
    "lab": "laboratory", "laboratories": "laboratory", "med": "medical", "mkt": "market", "mktg": "marketing", "ops": "operation",
    "org": "organization", "pharm": "pharmacy", "prod": "product", "prods": "product", "prop": "property", "props": "property",
    "properties": "property", "companies": "company", "pub": "public", "rest": "restaurant", "rlty": "realty", "sch": "school",
    "schl": "school", "soc": "society", "st": "saint", "mt": "mount", "ft": "fort", "sol": "solution", "solns": "solution",
    "supl": "supply", "trans": "transportation", "transp": "transportation", "whse": "warehouse", "whsl": "wholesale",
    "constr": "construction", "const": "construction", "contr": "contractor", "elec": "electric", "equip": "equipment",
    "hvy": "heavy", "auto": "automotive", "acct": "accounting", "acctg": "accounting", "cons": "consulting", "consult": "consulting",
    "fndn": "foundation", "fdn": "foundation", "chgo": "chicago", "ny": "newyork", "la": "la", "us": "usa", "u s": "usa",
    "amer": "american", "bk": "bank", "childrens": "children", "tr": "trust", "trst": "trust",
    "cpc": "cpc", "daycare": "daycare", "preschool": "preschool",
    "hse": "house", "neighbourhood": "neighborhood", "corporation": "corporation", "labour": "labor", "services": "service",
    "systems": "system",
}  # fmt: skip
_NUMBERS = {
    "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10",
    "first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th", "sixth": "6th", "seventh": "7th",
    "eighth": "8th", "ninth": "9th", "tenth": "10th",
}  # fmt: skip
_ROMAN = {"ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6", "vii": "7", "viii": "8", "ix": "9", "x": "10", "xi": "11", "xii": "12",
          "xv": "15", "xx": "20"}  # fmt: skip
_STOP = word_set("the and of a an for in at to by on de la le s und et y com www 501 501c 501c3 c3 c6 no number num nr")
_TRUST = frozenset(("trust", "trst"))
_TRUST_KINDS = {
    "revocable": ("revocable",), "rev": ("revocable",), "irrevocable": ("irrevocable",), "irrev": ("irrevocable",), "living": (), "liv": (),
}  # fmt: skip
_DATING = word_set("dtd dated uad udt uta ua u/a u/a/d u/d/t u/t/a")
_GENERIC = (
    frozenset(word.rstrip("s") if len(word) > 4 else word for word in BUSINESS_WORDS)
    | frozenset(_SHORT.values())
    | word_set(
        "day child children kid early learning development head start program site public north south east west central new great"
        " united first general universal global worldwide city town house home family social neighborhood business company association"
        " foundation corporation data computer information research science advanced applied integrated product resource corporate"
        " blended delegate illinois chicago york boston texas florida california america american usa online micro group systems"
    )
)


# Legal forms that are written in several words; the longer first.
_LONG_FORMS = (
    (("limited", "liability", "limited", "partnership"), "llp"), (("limited", "liability", "company"), "llc"),
    (("limited", "liability", "partnership"), "llp"), (("limited", "liability", "co"), "llc"), (("professional", "limited", "liability"),
    "llc"),
    (("limited", "partnership"), "lp"), (("general", "partnership"), "gp"), (("professional", "corporation"), "pc"), (("professional",
    "corp"), "pc"),
    (("professional", "association"), "pa"), (("public", "limited", "company"), "plc"), (("private", "limited"), "ltd"), (("pvt", "ltd"),
    "ltd"),
    (("sdn", "bhd"), "bhd"), (("s", "a"), "sa"), (("l", "l", "c"), "llc"), (("l", "l", "p"), "llp"), (("p", "l", "l", "c"), "llc"), (("l",
    "p"), "lp"),
    (("p", "c"), "pc"), (("l", "c"), "llc"), (("s", "r", "l"), "srl"), (("g", "m", "b", "h"), "gmbh"), (("p", "a"), "pa"), (("n", "v"),
    "nv"),
    (("b", "v"), "bv"), (("s", "r", "o"), "sro"), (("a", "s"), "as"),
)  # fmt: skip
_LONG_FORM_ENDS = frozenset(pattern[-1] for pattern, _ in _LONG_FORMS)
# Words that any business may add to its name or leave out.
_EVERYBODYS = word_set(
    "group holding service management enterprise solution partner associate company venture consulting international global worldwide"
    " usa america"
    " investment property capital industry center office system trading co organization foundation association club society store shop"
)


class Business(NamedTuple):
    """The parts of a business's name."""

    core: tuple[str, ...]
    forms: frozenset[str]
    numbers: tuple[str, ...]
    joined: str
    initials: str


class Compared(NamedTuple):
    """How two businesses' names compare: the levels for the ranking, and the score that the account of their words allows."""

    levels: tuple[str, ...]
    ceiling: float
    band: float | None  # the score, if every word is accounted for
    reasons: tuple[str, ...]
    lift: str


def _forms(words: tuple[str, ...]) -> tuple[list[str], set[str]]:
    """Return the words without legal forms written in several words at the end, and these forms."""
    if words and words[-1] in _LONG_FORM_ENDS:
        for pattern, form in _LONG_FORMS:
            size = len(pattern)
            if len(words) > size and words[-size:] == pattern:
                return list(words[:-size]), {form}
    return list(words), set()


def _letters(words: list[str]) -> list[str]:
    """Join letters and digits that are written apart: D F G, B 2, 50 50."""
    out: list[str] = []
    before = ""
    for word in words:
        single = (len(word) == 1 and word.isalpha() and word.isascii()) or (word.isdigit() and len(word) < 4)
        if single and before and out and word not in _STOP - {"a", "s", "y"}:
            if before == "digit" and word.isdigit() and len(out[-1]) != len(word):
                out.append(word)
            else:
                out[-1] += word
        else:
            out.append(word)
        before = ("digit" if word.isdigit() else "letter") if single else ""
    return out


def take_apart(words: tuple[str, ...]) -> Business:
    """Return the distinguishing words, legal forms and numbers of a business's name in folded words."""
    kept: list[str] = []
    numbers: list[str] = []
    whole = words
    rest, forms = _forms(words)
    words = tuple(_letters(rest))
    last = len(words) - 1
    trust = not _TRUST.isdisjoint(words)
    dated = False
    for index, word in enumerate(words):
        if trust and word in _TRUST_KINDS:
            # Revocable and irrevocable distinguish trusts, like legal forms. "Living" does not.
            forms.update(_TRUST_KINDS[word])
            continue
        if trust and (word in _DATING or (dated and word[0].isdigit())):
            # The date of the declaration is a part of a trust's title, but not of claims.
            dated = True
            continue
        if (word in SURE_FORMS and (index > 0 or word in _LEADING_FORMS)) or (word in LEGAL_FORMS and index >= last - 1 and index > 0):
            forms.add(LEGAL_FORMS[word])
            continue
        if word in _LEADING_FORMS and index == 0 and last > 0:
            forms.add(LEGAL_FORMS[word])
            continue
        if word in _STOP and last > 0:
            continue
        if index and word in _ROMAN and len(word) > (0 if index == last else 1):
            word = _ROMAN[word]
        word = _NUMBERS.get(word, word)
        if not word.isalpha() and any(c.isdigit() for c in word):
            numbers.append(word)
        word = _SHORT.get(word, word)
        if len(word) > 4 and word[-1] == "s" and word[-2] != "s":
            word = word[:-1]
        kept.append(word)
    if not kept:
        kept = list(whole)
    initials = "".join(w[0] for w in whole if w not in _STOP and w not in SURE_FORMS)
    return Business(tuple(kept), frozenset(forms), tuple(numbers), "".join(kept), initials)


_LEADING_FORMS = word_set("ooo oao zao pao ao")


def _weight(word: str) -> float:
    return 0.35 if word in _GENERIC else 0.6 if len(word) < 3 else 1.0


def _word_alike(a: str, b: str) -> float:
    if a == b:
        return 1.0
    short, long = (a, b) if len(a) < len(b) else (b, a)
    if len(short) > 2 and long.startswith(short) and len(long) - len(short) > 1:
        return 0.8 if len(short) > 3 else 0.6
    if len(short) > 3:
        edits = within_two(a, b)
        if edits == 1:
            return 0.9
        if edits == 2 and len(short) > 7:
            return 0.8
        if sound(a) == sound(b):
            return 0.8
        if edits == 2 and len(short) > 5 and closeness(a, b) > 0.88:
            return 0.6
    return 0.0


_SLAVIC = Known(0, 0, "-", "s")
# A word of at most this many letters is another word if one letter differs.
SHORT_WORD = 4


def _same_word(a: str, b: str, transcribed: bool) -> str:
    """Return how two words of businesses' names are one: "same", "typo", "word" (another word by one letter); else an empty text."""
    if a == b:
        return "same"
    if transcribed and is_latin(a) and is_latin(b) and one_original(a, b, _SLAVIC, _SLAVIC):
        return "same"
    if plain_umlauts(a) == plain_umlauts(b):
        return "same"
    short, long = (a, b) if len(a) < len(b) else (b, a)
    if len(short) > 3 and long in _GENERIC and long.startswith(short) and len(long) - len(short) > 2:
        return "same"
    if not is_latin(a) or not is_latin(b) or len(short) <= SHORT_WORD or any(c.isdigit() for c in a + b) or within_two(a, b) != 1:
        return ""
    if len(a) == len(b) and sum(x != y for x, y in zip(a, b, strict=True)) == 1:
        return "word"
    known = [w in _GENERIC or w in BUSINESS_WORDS or w in KNOWN or look_up(w).surname > 2 or look_up(w).given > 2 for w in (a, b)]
    return "word" if all(known) else "typo"


def _account(a: Business, b: Business, transcribed: bool) -> tuple[list[str], list[str], int, int]:
    """Align the words of two businesses' names. Return the words left over on each side, and how many words differ by one letter."""
    left_b = list(b.core)
    left_a: list[str] = []
    typos = others = 0
    pending = []
    for word in a.core:
        if word in left_b:
            left_b.remove(word)
        else:
            pending.append(word)
    for word in pending:
        for other in left_b:
            how = _same_word(word, other, transcribed)
            if how:
                left_b.remove(other)
                typos += how == "typo"
                others += how == "word"
                break
        else:
            left_a.append(word)
    # Words written together on one side.
    for mine, theirs in ((left_a, left_b), (left_b, left_a)):
        for word in list(mine):
            for start in range(len(theirs)):
                for end in range(start + 2, min(len(theirs), start + 4) + 1):
                    if "".join(theirs[start:end]) == word:
                        mine.remove(word)
                        del theirs[start:end]
                        break
                else:
                    continue
                break
    return left_a, left_b, typos, others


def _was_cut(mine: tuple[str, ...], held: tuple[str, ...], length: int) -> bool:
    """Return whether the owner's text is the beginning of the claim, cut off at a fixed width."""
    count = len(held)
    if length < SHORTEST_CUT or count > len(mine) or count < 2:
        return False
    if any(x != y for x, y in zip(mine[: count - 1], held[:-1], strict=True)):
        return False
    last, whole = held[-1], mine[count - 1]
    return whole.startswith(last) and (len(last) < len(whole) or (last in _STOP and count < len(mine)))


SHORTEST_CUT = 20
_NOT_COMPARED = ("B_SCRIPT", "E_NONE", "H_SAME", "L_NONE", "N_NONE")


def compare(mine: tuple[str, ...], held: tuple[str, ...], length: int, transcribed: bool = False) -> Compared:
    """Compare two businesses' names in folded words. ``length``: that of the owner's text, which a bank may have cut off."""
    if mine == held:
        return Compared(("B_SAME", "E_NONE", "H_SAME", "L_SAME", "N_NONE"), 100.0, 100.0, (), "any")
    a, b = take_apart(mine), take_apart(held)
    found = levels(a, b)
    words, form = found[0], found[3]
    if found[4] != "N_DIFFER" and apart(a.core, b.core):
        return Compared(_NOT_COMPARED, SCRIPTS_DIFFER.ceiling, SCRIPTS_DIFFER.score, SCRIPTS_DIFFER.reasons, "none")
    if words == "B_ACRONYM" and form != "L_CONFLICT":
        return Compared(found, 89.0, None, (), "any")
    left_a, left_b, typos, others = _account(a, b, transcribed)
    joined = a.joined == b.joined
    if joined:
        left_a, left_b, typos, others = [], [], 0, 0
        if words not in ("B_SAME", "B_GLUED", "B_ORDER"):
            found = ("B_GLUED", "E_NONE", "H_SAME", form, "N_NONE")
    if (left_a or left_b) and _was_cut(mine, held, length):
        return Compared(("B_PART", "E_NONE", "H_SAME", "L_NONE", "N_NONE"), 89.0, 80.0, ("TRUNCATED",), "any")
    if left_a and left_b:
        numbers = any(c.isdigit() for w in (*left_a, *left_b) for c in w)
        return Compared(
            found, 45.0 if numbers else 49.0, None, ("BUSINESS_NUMBER_DIFFERS",) if numbers else ("BUSINESS_NAME_DIFFERS",), "none"
        )
    left = left_a or left_b
    if left:
        # A word that one name has twice has its counterpart in the other name.
        said = b.core if left_a else a.core
        plain = all(w in _EVERYBODYS or w in _GENERIC or w in said for w in left) and form != "L_CONFLICT"
        reasons = ("BUSINESS_NUMBER_DIFFERS",) if any(c.isdigit() for w in left for c in w) else ("BUSINESS_WORDS_MISSING",)
        band = 62.0 if all(w in _EVERYBODYS for w in left) and not others and form != "L_CONFLICT" else None
        return Compared(found, 69.0, band, reasons, "mailbox" if plain and not others else "none")
    if form == "L_CONFLICT":
        return Compared(found, 69.0, 60.0, (), "none")
    if others:
        return Compared(found, 69.0, 60.0, ("BUSINESS_NAME_SIMILAR",), "none")
    if typos:
        return Compared(found, 94.0, 92.0 if typos == 1 else 84.0, ("TYPO",), "any")
    score = 99.0 if form in ("L_SAME", "L_NONE") else 97.0
    if a.core != b.core:
        score -= 1.0 if form in ("L_SAME", "L_NONE") else 0.5
    return Compared((("B_SAME" if a.core == b.core else "B_GLUED"), "E_NONE", "H_SAME", form, "N_NONE"), 100.0, score, (), "any")


def levels(a: Business, b: Business) -> tuple[str, ...]:
    """Return the levels at which two businesses' names agree: words, extra words, beginning, legal forms, numbers."""
    form = "L_NONE"
    if a.forms or b.forms:
        form = "L_SAME" if a.forms & b.forms else "L_ONE" if not a.forms or not b.forms else "L_CONFLICT"
        if form == "L_CONFLICT" and (a.forms | b.forms <= {"inc", "co"} or "co" in a.forms | b.forms):
            form = "L_ONE"
    number = "N_NONE"
    if a.numbers or b.numbers:
        number = "N_SAME" if set(a.numbers) == set(b.numbers) else "N_ONE" if not a.numbers or not b.numbers else "N_DIFFER"
    if a.core == b.core:
        return "B_SAME", "E_NONE", "H_SAME", form, number
    if a.joined == b.joined:
        return "B_GLUED", "E_NONE", "H_SAME", form, number if number != "N_ONE" else "N_NONE"
    if sorted(a.core) == sorted(b.core):
        return "B_ORDER", "E_NONE", "H_SAME", form, number
    # The result must not depend on which name is given first.
    short, long = sorted((a, b), key=lambda side: (len(set(side.core)), side.core))
    if (
        len(short.core) == 1
        and len(short.joined) > 1
        and len(long.core) > 1
        and short.joined in (long.initials, "".join(w[0] for w in long.core))
    ):
        return "B_ACRONYM", "E_NONE", "H_SAME", form, number
    joined = min(len(a.joined), len(b.joined))
    if joined > 5:
        edits = within_two(a.joined, b.joined)
        if edits == 1 or (edits == 2 and joined > 9):
            return "B_TYPO", "E_NONE", "H_SAME", form, number
    used: set[int] = set()
    matched = 0.0
    total_short = sum(_weight(w) for w in set(short.core))
    total_long = sum(_weight(w) for w in set(long.core))
    seen: set[str] = set()
    for word in short.core:
        if word in seen:
            continue
        seen.add(word)
        best, at = 0.0, -1
        for index, other in enumerate(long.core):
            if index not in used:
                alike = 1.0 if word == other else _word_alike(word, other)
                if alike > best:
                    best, at = alike, index
                    if best == 1.0:
                        break
        if at >= 0:
            used.add(at)
            matched += best * min(_weight(word), _weight(long.core[at])) if best < 1 else _weight(word)
    share = 2 * matched / (total_short + total_long)
    contained = matched / total_short if total_short else 0.0
    head = "H_SAME" if _word_alike(a.core[0], b.core[0]) >= 0.8 else "H_DIFFERS"
    extra = "E_NONE"
    if contained > 0.9:
        rest = {w for i, w in enumerate(long.core) if i not in used and w not in short.core}
        extra = "E_PLAIN" if all(w in _GENERIC for w in rest) else "E_TELLING"
        if total_short < 0.9:
            # Both names have only words that any business may use, so it says little that they agree.
            extra = "E_VAGUE"
        return "B_PART", extra, head, form, number
    if short.joined and len(short.joined) > 4 and long.joined.startswith(short.joined):
        return "B_PART", "E_TELLING", "H_SAME", form, number
    bucket = "B_MOST" if share > 0.75 else "B_HALF" if share > 0.55 else "B_LITTLE" if share > 0.35 else "B_DIFFERS"
    return bucket, extra, head, form, number


def log_odds(found: tuple[str, ...]) -> float:
    """Sum the weights of levels."""
    total = BUSINESS_WEIGHTS["BASE"]
    for level in found:
        total += BUSINESS_WEIGHTS.get(level, 0.0)
    return total


def on_the_scale(found: Compared, trade: bool) -> Judged:
    """Return the score of a comparison of two businesses' names.

    100: the same; 99: the same words; 95 to 98: the same apart from the legal form; 90 to 94: a typing error. If words are left over, the
    names are for review if any business may use these words, and otherwise another business's.
    """
    odds = log_odds(found.levels)
    reasons = [code for level in found.levels if (code := REASONS.get(level))]
    if trade:
        reasons.append("DOING_BUSINESS_AS")
    score = interpolate(BUSINESS_KNOTS, odds) if found.band is None else found.band
    score, ceiling = min(score, found.ceiling), 89.0 if found.ceiling == 69 and found.lift != "none" else found.ceiling
    if trade:
        score, ceiling = min(score, 98.0), min(ceiling, 98.0)
    reasons.extend(code for code in found.reasons if code not in reasons)
    if not reasons:
        reasons.append("NORMALISED")
    # Contacts may lift a name that only lacks a word any business may use.
    return Judged(score, odds, tuple(dict.fromkeys(reasons)), found.ceiling < 50, False, ceiling, lift=found.lift)


def like_a_person(words: tuple[str, ...]) -> bool:
    """Return whether words without a business's marks begin or continue like a person's name."""
    return 1 < len(words) < 5 and any(w in KNOWN for w in words[:2]) and not any(w in BUSINESS_WORDS or w in SURE_FORMS for w in words)


def without_marks(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return words without legal forms and words for trades."""
    return tuple(w for w in words if w not in SURE_FORMS and w not in BUSINESS_WORDS and w not in ("co", "the", "and", "of"))
