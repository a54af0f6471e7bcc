"""The account of words: every word of a claimed name and of an owner's name is aligned with its counterpart, or excused by a named reason.

The account is independent of how a comparison came to its score. It aligns the words in the order written, under each order in which a
name may
be written, and looks at what is left over. A name that leaves a word over without an excuse cannot reach the match band, whatever else
agrees.
"""

from collections.abc import Iterator
from typing import NamedTuple

from titleholder.matching.names import Memo, compare_family, compare_given
from titleholder.matching.romanisation import korean, pinyin
from titleholder.matching.text import is_latin, within_two
from titleholder.matching.titles import Party, Title
from titleholder.matching.words import PARTICLES, TITLES_TOO, word_set

# The most that a name can score that leaves a word over, or has a word that differs.
LEFT_OVER = 69.0
SIMILAR_WORDS = 67.0
OTHER_NAME = 59.0
OTHER_PARTY = 49.0
# A name of similar words, none of them surely the same, is no good match.
MOST_FUZZY = 89.0
# Banks cut titles off at some twenty to forty characters.
SHORTEST_CUT = 20


class Account(NamedTuple):
    """What came of the account: the most that the name may score, why, and the score if every word is accounted for."""

    ceiling: float
    reasons: tuple[str, ...]
    clean: bool
    score: float
    stranger: bool = False  # no word of one name is one of the other's
    lift: str = "none"  # which contacts may lift what is for review: "any", "mailbox" (an e-mail or a phone), or "none"


# First given names that many bear and few are called by.
_PREFIX_NAMES = word_set(
    "muhammad mohammad mohammed mohamed muhammed mohamad mohd muhd md mohamad mehmed syed sayed sayyid saiyed sayyed seyed seyyed sayid"
    " maria ma mary"
    " marie m shaikh sheikh sk mohammadu mamadou"
)
# A word that may stand for a longer one in writing: no initial, no nickname.
_WRITTEN_SHORT = {
    "ma": ("maria",), "mª": ("maria",), "fco": ("francisco",), "fca": ("francisca",), "md": ("mohammed", "mohammad", "muhammad", "mohamed"),
    "mohd": ("mohammed", "mohammad", "muhammad", "mohamed"), "muhd": ("mohammed", "mohammad", "muhammad", "mohamed"),
    "danl": ("daniel",), "saml": ("samuel",), "wm": ("william",), "chas": ("charles",), "geo": ("george",), "jas": ("james",),
    "jos": ("joseph",),
    "thos": ("thomas",), "robt": ("robert",), "edw": ("edward",), "edwd": ("edward",), "benj": ("benjamin",), "alexr": ("alexander",),
    "nathl": ("nathaniel",), "jno": ("john",), "richd": ("richard",), "fredk": ("frederick",), "chris": ("christopher",),
    "abdl": ("abdul",),
    "jn": ("john", "jean"), "mgl": ("miguel",), "ant": ("antonio", "anthony"), "fdo": ("fernando",), "gpe": ("guadalupe",),
    "hdez": ("hernandez",),
    "rdz": ("rodriguez",), "gzz": ("gonzalez",), "mtz": ("martinez",), "glez": ("gonzalez",), "fdez": ("fernandez",), "gral": ("general",),
    "u": ("woo", "wu"), "i": ("lee", "yi", "rhee"), "sta": ("santa",), "sto": ("santo",), "st": ("saint",), "ste": ("sainte",),
    "el": ("al",), "vd": ("vande",), "cath": ("catherine",),
    "marg": ("margaret",), "eliz": ("elizabeth",), "theo": ("theodore",), "arch": ("archibald",), "patk": ("patrick",),
    "michl": ("michael",),
    "timy": ("timothy",), "andw": ("andrew",), "wlm": ("willem",), "jph": ("joseph",), "xopher": ("christopher",), "xavr": ("xavier",),
}  # fmt: skip
# Beginnings of a surname that is another one without them.
_BOUND = frozenset(("mc", "mac", "fitz", "st", "saint", "bar", "ben", "even", "abu"))
_LOOSE = frozenset(w for w in PARTICLES if len(w) > 1) - {"ben", "mac", "mc", "fitz", "abu", "st", "saint", "in", "op"} | word_set(
    "delos und ul os ti"
)
# The score of a name that is one such step away from the same.
_STEPS = {"SPELLING_VARIANT": 94.0, "GLUED": 98.0, "SURNAME_IN_PART": 92.0, "TYPO": 91.0, "NICKNAME": 90.0, "GIVEN_NAME_MISSING": 91.0}
_LOW = {"INITIALS_ONLY": 80.0, "TRUNCATED": 80.0, "SIMILAR": 78.0, "GIVEN_NAMES_SWAPPED": 84.0}
_LEVELS = {
    "G_SAME": (0, ""), "G_INITIALS": (0, ""), "G_SPELLING": (1, "SPELLING_VARIANT"), "G_NICKNAME": (1, "NICKNAME"), "G_INITIAL": (2,
    "INITIALS_ONLY"),
    "G_TYPO": (2, "TYPO"), "G_SOUND": (2, "SPELLING_VARIANT"), "G_TYPO_SHORT": (3, "SIMILAR"), "G_TYPO_2": (3, "SIMILAR"),
    "G_NICKNAME_TYPO": (3, "SIMILAR"), "G_PREFIX": (3, "SIMILAR"), "G_COUSIN": (4, "HARD"), "G_BYNAME": (4, "HARD"), "G_ALIKE": (4, "WEAK"),
    "G_ALIKE_LESS": (4, "WEAK"), "G_TYPO_2_SHORT": (4, "WEAK"), "G_TYPO_FIRST": (4, "WEAK"),
    "F_SAME": (0, ""), "F_GLUED": (0, ""), "F_PARTICLE": (0, ""), "F_FORM": (1, "SPELLING_VARIANT"), "F_SOUND": (1, "SPELLING_VARIANT"),
    "F_INITIAL": (2, "INITIALS_ONLY"), "F_TYPO": (2, "TYPO"), "F_TYPO_SHORT": (3, "SIMILAR"), "F_TYPO_2": (3, "SIMILAR"), "F_NEAR": (3,
    "NEAR"),
    "F_CUT": (4, "HARD"), "F_CUT_EARLY": (4, "HARD"), "F_ALIKE": (4, "WEAK"), "F_TYPO_2_SHORT": (4, "WEAK"), "F_SOUND_FAR": (4, "WEAK"),
    "F_PART_ALIKE": (4, "WEAK"), "F_ALIKE_LESS": (5, "WEAK"),
}  # fmt: skip


class _Order(NamedTuple):
    """A party's words as if the given name came first and the surname last."""

    words: tuple[str, ...]
    how: str  # "told", "natural", "moved" (a surname moved from the front to the end), "ends" (first and last exchanged), "swapped"
    surname: int  # how many of the last words are the surname, where that is known; 0: not known
    last: int  # where the last written word stands now
    joined: frozenset[int] = frozenset()


def _moved(party: Party, count: int) -> _Order:
    n = len(party.words)
    joined = party.joined
    if joined:
        joined = frozenset(j - count if j >= count else j + n - count for j in joined if j != count - 1)
    return _Order(party.words[count:] + party.words[:count], "moved", count, n - count - 1, joined)


def _orders(party: Party, memo: Memo) -> Iterator[_Order]:
    words = party.words
    n = len(words)
    if party.lent:
        for family in party.lent:
            yield _Order(words + family, "told", len(family), n - 1, party.joined)
        return
    if party.family or party.given:
        yield _Order(words, "told", party.family, n - 1, party.joined)
        fore = n - party.family
        if fore > 1 and party.family and "v" in memo.look_up(words[-1]).cultures:
            # In Vietnam the middle name stands before the given name, and some write both in one field.
            if party.given == 1 and all("V" in memo.look_up(w).cultures for w in words[:fore]):
                yield _Order((*words[1:fore], words[0], *words[fore:]), "told", party.family, n - 1)
            elif party.given == fore:
                yield _Order((words[fore - 1], *words[: fore - 1], *words[fore:]), "told", party.family, n - 1)
        return
    if party.comma:
        yield _moved(party, party.comma)._replace(how="told")
        return
    yield _Order(words, "natural", 0, n - 1, party.joined)
    for count in range(1, min(n, 6 if n < MANY_WORDS else 3)):
        # A hyphen is never torn apart.
        if count - 1 not in party.joined:
            yield _moved(party, count)
    if n > 2 and _eastern_name(words, memo):
        joined = frozenset(j for j in party.joined if 0 < j < n - 2)
        yield _Order((words[-1], *words[1:-1], words[0]), "ends", 1, 0, joined)


def _eastern(word: str, memo: Memo) -> bool:
    """Tell whether a word is a surname of those that people write first."""
    cultures = memo.look_up(word).cultures
    return "v" in cultures or "c" in cultures or "k" in cultures


def _eastern_name(words: tuple[str, ...], memo: Memo) -> bool:
    """Tell whether words are a surname of Vietnam, China or Korea and given names that may follow it, a Western one among them."""
    cultures = memo.look_up(words[0]).cultures
    if "v" in cultures and all(any(c in "Vv" for c in memo.look_up(w).cultures) or len(w) == 1 for w in words[1:]):
        return True
    if "c" not in cultures and "k" not in cultures:
        return False
    return all(pinyin(w) or korean(w) or len(w) == 1 or memo.look_up(w).given > 3 for w in words[1:])


def _lead(words: tuple[str, ...], memo: Memo) -> float:
    """Return how much speaks for the surname being written first: the surname's evidence at the front, the given name's at the end."""
    named = _names_only(words) or words
    first, last = memo.look_up(named[0]), memo.look_up(named[-1])
    # A word that no list knows is rather a surname: there are more of them.
    at_front = first.surname - first.given if first.cultures else 1.5
    at_end = last.given - last.surname if last.cultures else -1.5
    if first.cultures and not first.given:
        return max(at_front + at_end, 0.0)
    return at_front + at_end


def _relate(a: str, b: str, family: bool, memo: Memo) -> tuple[int, str] | None:
    """Return what it costs to take two words for one, and the reason that excuses it; ``None`` for two words."""
    if a == b:
        return _EQUAL
    found = memo.related.get((a, b, family), _NOT_YET)
    if found is _NOT_YET:
        found = memo.related[a, b, family] = _find_relation(a, b, family, memo)
    return found


_EQUAL = 0, ""
_NOT_YET = -1, ""


def _find_relation(a: str, b: str, family: bool, memo: Memo) -> tuple[int, str] | None:
    size_a, size_b = len(a), len(b)
    short, long = (a, b) if size_a < size_b or (size_a == size_b and a in _WRITTEN_SHORT) else (b, a)
    size = len(short)
    if short in _WRITTEN_SHORT and (long in _WRITTEN_SHORT[short] or (short == "el" and long == "al")):
        return (0, "") if short in ("el", "st", "ste", "sta", "sto") else (1, "SPELLING_VARIANT")
    if short in _LOOSE and long in _LOOSE and size > 1:
        # Van Houten is not Von Houten.
        return None
    if size == 1 and long in PARTICLES:
        return (1, "") if short == long[0] else None
    if size == 2 and long.startswith(short) and len(long) > 3 and not memo.look_up(short).cultures:
        # Th. is the initial of Þorsteinn, Yu. that of Юрий.
        return 2, "INITIALS_ONLY"
    if family:
        known_a, known_b = memo.look_up(a), memo.look_up(b)
        mainly_given = known_a.given > known_a.surname, known_b.given > known_b.surname
        patronymic = any(mainly_given) and "E" in known_a.cultures + known_b.cultures and not (known_a.cultures and known_b.cultures)
        if all(mainly_given) or patronymic:
            # Two given names are not two spellings of one surname, wherever they stand, and nobody's surname is a nickname.
            level = compare_given(a, b, memo)
            return (4, "HARD") if level in ("G_NICKNAME", "G_NICKNAME_TYPO", "G_PREFIX") else _LEVELS.get(level)
    level = compare_family((a,), (b,), memo) if family else compare_given(a, b, memo)
    found = _LEVELS.get(level)
    if level in ("F_TYPO_SHORT", "G_TYPO_SHORT") and size_a == size_b and sorted(a) != sorted(b):
        # Another letter makes another name of a short one.
        return 4, "WEAK"
    if level == "G_TYPO_FIRST" and size > 4:
        known_a, known_b = memo.look_up(a), memo.look_up(b)
        if max(known_a.given, known_b.given) > 3 and not (known_a.cultures and known_b.cultures):
            return 3, "SIMILAR"
    if found is None and not family and a[0] == b[0] and level != "G_OTHER" and size > 3:
        # A middle word may be the first of two surnames.
        known_a, known_b = memo.look_up(a), memo.look_up(b)
        if not known_a.given and not known_b.given:
            found = _LEVELS.get(compare_family((a,), (b,), memo))
    return found


def _glue(parts: tuple[str, ...], whole: str, memo: Memo) -> tuple[int, str] | None:
    """Tell whether words written apart on one side are written together on the other, or as its initials."""
    joined = "".join(parts)
    if joined == whole:
        return 1, "GLUED"
    if len(whole) == len(parts) and whole.isalpha() and whole not in _LOOSE and all(p[0] == c for p, c in zip(parts, whole, strict=True)):
        known = memo.look_up(whole)
        if not known.given and not known.surname:
            return 3, "INITIALS_ONLY"
    if abs(len(joined) - len(whole)) > 2 or len(whole) < 5 or joined[0] != whole[0] or not is_latin(whole):
        return None
    found = _LEVELS.get(compare_given(joined, whole, memo))
    if found and found[1] in ("SPELLING_VARIANT",):
        return 2, "SPELLING_VARIANT"
    if any(len(p) == 1 for p in parts):
        return None
    found = _LEVELS.get(compare_family((joined,), (whole,), memo))
    if found and found[1] in ("SPELLING_VARIANT", "TYPO"):
        return 3, found[1]
    if within_two(joined, whole) == 1 and len(whole) > 6 and parts[0][:2] in ("al", "el", "de", "la", "va", "mc", "ma", "ab"):
        return 3, "TYPO"
    return None


class _Step(NamedTuple):
    a: int
    b: int
    size_a: int
    size_b: int
    reason: str


_FAR = 10_000
_NO_STEP = 0, 0, ""
MANY_WORDS = 16
# Names of which twenty words differ on each side are not aligned word by word: that bounds the time, and nothing excuses so many.
MOST_CELLS = 400


def _align(a: _Order, b: _Order, memo: Memo, cut: bool) -> list[_Step]:
    """Return the cheapest alignment of two sequences of words: pairs, words taken together, and words left over."""
    x, y = a.words, b.words
    n, m = len(x), len(y)
    start = 0
    while start < n and start < m and x[start] == y[start]:
        start += 1
    end_x, end_y = n, m
    while end_x > start and end_y > start and x[end_x - 1] == y[end_y - 1]:
        end_x -= 1
        end_y -= 1
    steps = [_Step(i, i, 1, 1, "") for i in range(start)]
    p, q = end_x - start, end_y - start
    if p and q and p * q <= MOST_CELLS:
        steps.extend(_table(a, b, start, end_x, end_y, memo, cut))
    else:
        steps.extend(_Step(i, start, 1, 0, "") for i in range(start, end_x))
        steps.extend(_Step(start, j, 0, 1, "") for j in range(start, end_y))
    steps.extend(_Step(end_x + k, end_y + k, 1, 1, "") for k in range(n - end_x))
    return steps


def _was_cut(short: str, long: str, memo: Memo) -> bool:
    """Tell whether a word may be the beginning of a longer one that was cut off: Angel is no Angela without her last letter."""
    return len(short) < len(long) and not (len(long) == len(short) + 1 and long[-1] in "aeio" and memo.look_up(short).given > 2)


def _skips(words: tuple[str, ...], start: int, end: int) -> list[int]:
    """Return what it costs to leave over each word from ``start`` to ``end``; a name's first and last words cost more."""
    last = len(words) - 1
    return [(2 if (w := words[at]) in _LOOSE else 4 if len(w) == 1 else 5) + (at in (0, last)) for at in range(start, end)]


def _table(a: _Order, b: _Order, start: int, end_x: int, end_y: int, memo: Memo, cut: bool) -> list[_Step]:
    x, y = a.words, b.words
    last_x, last_y = len(x) - max(1, a.surname), len(y) - max(1, b.surname)
    p, q = end_x - start, end_y - start
    skip_x, skip_y = _skips(x, start, end_x), _skips(y, start, end_y)
    # For each pair of beginnings: the least cost of aligning them, and the step that ends there (words of each side, reason).
    cost = [[_FAR] * (q + 1) for _ in range(p + 1)]
    last_step = [[_NO_STEP] * (q + 1) for _ in range(p + 1)]
    cost[0][0] = 0
    for i in range(p + 1):
        for j in range(q + 1):
            here = cost[i][j]
            if i < p and here + skip_x[i] < cost[i + 1][j]:
                cost[i + 1][j] = here + skip_x[i]
                last_step[i + 1][j] = 1, 0, ""
            if j < q and here + skip_y[j] < cost[i][j + 1]:
                cost[i][j + 1] = here + skip_y[j]
                last_step[i][j + 1] = 0, 1, ""
            if i < p and j < q:
                u, v = start + i, start + j
                mine, theirs = x[u], y[v]
                related = _relate(mine, theirs, u >= last_x or v >= last_y, memo)
                if cut and v == b.last and (related is None or related[0] > 2) and mine.startswith(theirs) and _was_cut(theirs, mine, memo):
                    related = (2, "TRUNCATED")
                if related is not None and here + related[0] < cost[i + 1][j + 1]:
                    cost[i + 1][j + 1] = here + related[0]
                    last_step[i + 1][j + 1] = 1, 1, related[1]
                if mine[0] != theirs[0]:
                    continue
                for size in (2, 3):
                    if i + size <= p and (glued := _glue(x[u : u + size], theirs, memo)) and here + glued[0] < cost[i + size][j + 1]:
                        cost[i + size][j + 1] = here + glued[0]
                        last_step[i + size][j + 1] = size, 1, glued[1]
                    if j + size <= q and (glued := _glue(y[v : v + size], mine, memo)) and here + glued[0] < cost[i + 1][j + size]:
                        cost[i + 1][j + size] = here + glued[0]
                        last_step[i + 1][j + size] = 1, size, glued[1]
    out: list[_Step] = []
    i, j = p, q
    while i or j:
        size_a, size_b, reason = last_step[i][j]
        i -= size_a
        j -= size_b
        out.append(_Step(start + i, start + j, size_a, size_b, reason))
    out.reverse()
    return out


class _Side(NamedTuple):
    """What the account needs to know of one side besides its words."""

    party: Party
    title: Title


def _iberian(word: str, memo: Memo) -> bool:
    known = memo.look_up(word)
    return known.surname > 0 and ("i" in known.cultures or "l" in known.cultures)


def _patronymic(word: str, memo: Memo) -> bool:
    return "E" in memo.look_up(word).cultures


def _names_only(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(w for w in words if w not in _LOOSE)


def _judge(a: _Order, b: _Order, steps: list[_Step], mine: _Side, held: _Side, memo: Memo, cut: bool) -> Account:
    """Look at what an alignment leaves over, and excuse it by name or not."""
    x, y = a.words, b.words
    n = len(x)
    reasons: list[str] = []
    worst = 100.0
    near = weak = False
    gap_a: list[int] = []
    gap_b: list[int] = []
    seen = False  # a pair has been aligned
    pairs = 0
    strong = 0
    middle = False
    initials_only = True
    truncated = False
    first_initial = family_initial = False
    problem = ""

    def close(at_end: bool) -> None:
        nonlocal worst, problem, middle, initials_only
        if not gap_a and not gap_b:
            return
        names_a = [i for i in gap_a if x[i] not in _LOOSE]
        names_b = [j for j in gap_b if y[j] not in _LOOSE]
        if not names_a and not names_b:
            # Particles on one side only are no difference; different ones are, and no name begins or ends with one.
            if (gap_a and gap_b) or not seen or (at_end and not truncated):
                worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
            return
        if not seen or at_end:
            excuse = _excuse_front(a, b, gap_a, gap_b, memo) if not at_end else _excuse_end(a, b, gap_a, gap_b, memo, truncated)
            if excuse == "SURNAME_IN_PART" and (lacking := {(x if gap_a else y)[at] for at in (gap_a or gap_b)} - _LOOSE):
                # A surname that the other name has in another place is not left out: the order of two surnames tells two people apart.
                other = {y[step.b] for step in steps if not step.size_a} if gap_a else {x[step.a] for step in steps if not step.size_b}
                if lacking & other:
                    excuse = ""
            if excuse == "SURNAME_IN_PART" and first_initial and (a.surname < 2 and b.surname < 2 and not a.joined and not b.joined):
                # An initial and a part of the rest are too little of a name.
                excuse = ""
            if excuse:
                if excuse not in ("TRUNCATED", "NORMALISED"):
                    reasons.append(excuse)
                return
            if names_a and names_b:
                worst, problem = min(worst, OTHER_NAME), "SURNAME_DIFFERS" if at_end else "GIVEN_NAME_DIFFERS"
            else:
                worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER" if at_end else "GIVEN_NAME_MISSING"
            return
        if (
            gap_a
            and gap_b
            and ((names_a and names_b) or (_given_too(gap_a, x, memo) and _given_too(gap_b, y, memo) and _eastern_name_any(x, y, memo)))
        ):
            if len(gap_a) == len(gap_b) == 1 and _syllables((x[0], x[gap_a[0]], y[gap_b[0]]), x[-1], memo):
                # Ji Won and Ji Woo are two given names that are written in two words.
                worst, problem = min(worst, OTHER_NAME), "GIVEN_NAME_DIFFERS"
                return
            worst, problem = min(worst, LEFT_OVER), "MIDDLE_DIFFERS"
            return
        if a.how in ("moved", "ends") or b.how in ("moved", "ends"):
            # A word is missing inside a name whose surname is taken to stand first: then there must be nothing against that order.
            if (a.how == "moved" and _lead(mine.party.words, memo) < 2) or (
                b.how == "moved" and gap_b and _lead(held.party.words, memo) < -2
            ):
                worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
                return
            if a.how == "ends" and gap_a and not _eastern(x[-1], memo):
                worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
                return
        if a.how == b.how == "moved" and _given_is_last(a, gap_a, memo) + _given_is_last(b, gap_b, memo):
            worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
            return
        for order, gap in ((a, gap_a), (b, gap_b)):
            if gap and gap[-1] in order.joined and gap[-1] + 1 >= len(order.words) - max(1, order.surname):
                reasons.append("SURNAME_IN_PART")
            # A word of a surname that is taken to stand first is the first word written.
            if order.how == "moved" and (lacking_at := [at for at in gap if at >= len(order.words) - order.surname]):
                family = order.words[-order.surname :]
                if not all(order.words[at] in _LOOSE for at in lacking_at):
                    if not (order.joined or all(_iberian(w, memo) for w in _names_only(family))):
                        worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
                        return
                    reasons.append("SURNAME_IN_PART")
        for order, gap, after in ((a, gap_a, next_a), (b, gap_b, next_b)):
            # A part of a name that a hyphen joins may be left out only if the rest is the same, and Bar-Lev is not Lev, nor Mc Tavish
            # Tavish.
            if gap and ((gap[-1] in order.joined and next_reason) or (gap[0] - 1 in order.joined and last_reason)):
                worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
                return
            if gap and after is not None and order.words[gap[-1]] in _BOUND and (gap[-1] in order.joined or order.words[gap[-1]] != "ben"):
                worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
                return
        for side, order, gap in ((held, b, gap_b), (mine, a, gap_a)):
            if order.how == "natural" and _two_people(order.words, gap, memo) and side is held:
                worst, problem = min(worst, OTHER_PARTY), "WORDS_LEFT_OVER"
                return
        middle = True
        initials_only = initials_only and all(len(x[i]) == 1 for i in gap_a) and all(len(y[j]) == 1 for j in gap_b)

    last_reason = next_reason = ""
    next_a: int | None = None
    next_b: int | None = None
    for index, step in enumerate(steps):
        if not step.size_a or not step.size_b:
            if step.size_a:
                gap_a.append(step.a)
            else:
                gap_b.append(step.b)
            continue
        next_reason, next_a, next_b = step.reason, step.a, step.b
        close(False)
        gap_a, gap_b, last_reason = [], [], step.reason
        pairs += 1
        seen = True
        loose = step.size_a == 1 and x[step.a] in _LOOSE
        reason = step.reason
        if not loose:
            strong += 1
        if not reason:
            continue
        if reason == "TRUNCATED":
            truncated = True
        if reason == "INITIALS_ONLY":
            if cut and step.b + step.size_b - 1 == b.last and step.b == b.last:
                truncated = True
            is_first = step.a == 0 or step.b == 0
            is_last = index == len(steps) - 1 or step.a + step.size_a == n
            if not is_first and not is_last:
                reason = "MIDDLE_INITIAL"
            first_initial = first_initial or is_first
            if is_last and not is_first:
                longer = a if len(x[step.a]) > 1 else b
                if (longer.surname > 1 and longer.how == "told") or (
                    len(_names_only(longer.words)) > 2 and _iberian(longer.words[-1], memo)
                ):
                    # The second of two surnames is often left at an initial.
                    reason = "SURNAME_IN_PART"
                else:
                    family_initial = True
        elif reason == "NEAR" and a.how == b.how == "natural" and x[0] == y[0] and _syllable_each(x, y, step, memo):
            # Where the surname stands first, the last word is the given name.
            worst, problem, reason = min(worst, OTHER_NAME), "GIVEN_NAME_DIFFERS", ""
        elif reason == "NEAR":
            worst, near = min(worst, LEFT_OVER), True
            reason = "SURNAME_SIMILAR"
        elif reason == "WEAK":
            worst, weak = min(worst, LEFT_OVER), True
            reason = ""
        elif reason == "HARD":
            worst, problem = min(worst, LEFT_OVER), problem or "HARD"
            reason = ""
        if reason:
            reasons.append(reason)
    next_reason, next_a, next_b = "", None, None
    close(True)
    if (
        a.how == "moved"
        and b.how == "natural"
        and set(reasons) - {"GLUED", "INITIALS_ONLY", "MIDDLE_INITIAL"}
        and _lead(mine.party.words, memo) < 2
    ):
        # A claim is read with the surname first to find the same words, not similar ones.
        worst, problem = min(worst, LEFT_OVER), problem or "HARD"
    if worst < 100:
        lift = "none" if problem else "mailbox" if near else "any" if weak else "none"
        if worst >= LEFT_OVER and (problem == "HARD" or (weak and not problem)):
            # Similar words rank below the same ones of which one is missing.
            worst = SIMILAR_WORDS
        codes = (problem, *reasons) if problem else reasons
        return Account(worst, tuple(dict.fromkeys("TYPO" if c == "SIMILAR" else c for c in codes if c != "HARD")), False, 0.0, lift=lift)
    if first_initial and ("SIMILAR" in reasons or last_reason in ("TYPO", "SPELLING_VARIANT")):
        # An initial says too little beside a surname that is not the same.
        return Account(LEFT_OVER, ("INITIALS_ONLY", "TYPO"), False, 0.0, lift="any")
    if first_initial and family_initial and not truncated:
        return Account(LEFT_OVER, ("INITIALS_ONLY",), False, 0.0)
    if family_initial and not truncated and not _by_initial(x, y, memo):
        return Account(LEFT_OVER, ("INITIALS_ONLY",), False, 0.0)
    if all(len(w) == 1 for w in x) or all(len(w) == 1 for w in y):
        return Account(LEFT_OVER, ("INITIALS_ONLY",), False, 0.0)
    return _score(a, b, reasons, middle, middle and not initials_only)


def _syllable_each(x: tuple[str, ...], y: tuple[str, ...], step: _Step, memo: Memo) -> bool:
    """Tell whether two words are a syllable each of Chinese or Korean given names, the surname being the first word."""
    first, words = memo.look_up(x[0]).cultures, (x[step.a], y[step.b])
    if not ("k" in first or "c" in first) or "w" not in first or (len(x) < 3 and any("w" in memo.look_up(w).cultures for w in words)):
        return False
    return all(len(pinyin(w) or korean(w) or "no") == 1 for w in words)


def _given_is_last(order: _Order, gap: list[int], memo: Memo) -> bool:
    """Tell whether the last word written is left over, and is the given name: in Vietnam the surname stands first."""
    if order.last not in gap:
        return False
    return "v" in memo.look_up(order.words[-order.surname]).cultures and "V" in memo.look_up(order.words[order.last]).cultures


def _eastern_name_any(x: tuple[str, ...], y: tuple[str, ...], memo: Memo) -> bool:
    return any("v" in memo.look_up(word).cultures for word in (x[0], x[-1], y[0], y[-1]))


def _syllables(words: tuple[str, ...], surname: str, memo: Memo) -> bool:
    """Tell whether words are syllables of a Chinese or Korean given name, beside a surname of these."""
    cultures = memo.look_up(surname).cultures
    return ("k" in cultures or "c" in cultures) and all(
        len(w) > 1 and (pinyin(w) or korean(w)) and memo.look_up(w).given < 4 and "V" not in memo.look_up(w).cultures for w in words
    )


def _given_too(gap: list[int], words: tuple[str, ...], memo: Memo) -> bool:
    """Tell whether words left over are names, or particles that are given names as well, as Van is in Vietnam."""
    return any(words[i] not in _LOOSE or "V" in memo.look_up(words[i]).cultures for i in gap)


def _by_initial(x: tuple[str, ...], y: tuple[str, ...], memo: Memo) -> bool:
    """Tell whether the surname may be an initial: in India's south it is the father's name, elsewhere the second of two surnames."""
    known = [memo.look_up(w) for w in (*x, *y) if len(w) > 1]
    western = [k for k in known if "W" in k.cultures and k.given > 2]
    return not western or any(("D" in k.cultures or "d" in k.cultures) and k not in western for k in known)


def _two_people(words: tuple[str, ...], gap: list[int], memo: Memo) -> bool:
    """Tell whether four words are two owners' names one after the other, and what is left over is one's surname and the other's given
    name."""
    if len(words) != 4 or gap != [1, 2]:
        return False
    first, second, third, last = (memo.look_up(w) for w in words)
    if first.given < 2 or third.given <= third.surname:
        return False
    if {first.gender, third.gender} == {"m", "f"} and second.surname > 0 and last.surname >= last.given:
        return True
    # Unknown words are surnames rather than given names, but less surely so.
    sure = second.given == 0 and second.surname > 0 and last.given < max(1, last.surname)
    return sure or (not second.cultures and third.given > 2 and last.given == 0)


def _excuse_front(a: _Order, b: _Order, gap_a: list[int], gap_b: list[int], memo: Memo) -> str:
    """Excuse a first word that one side lacks."""
    if gap_a and gap_b:
        return ""
    order, gap = (a, gap_a) if gap_a else (b, gap_b)
    other = b if gap_a else a
    rest = order.words[len(gap) :]
    if len(gap) == 1 and order.words[0] in TITLES_TOO and len(rest) > 1:
        known = memo.look_up(rest[0])
        return "NORMALISED" if "W" in known.cultures and known.given > 2 and known.given >= known.surname else ""
    if len(gap) == 1 and order.words[0] in _PREFIX_NAMES and len(rest) > 1 and len(other.words) > 1:
        word = order.words[0]
        if len(word) > 2 or word in ("md", "sk", "ma"):
            # After Maria there must be another given name, and not a surname alone.
            return "GIVEN_NAME_MISSING" if memo.look_up(rest[0]).given or not memo.look_up(rest[0]).surname else ""
    return ""


def _excuse_end(a: _Order, b: _Order, gap_a: list[int], gap_b: list[int], memo: Memo, truncated: bool) -> str:
    """Excuse last words that one side lacks."""
    if gap_a and gap_b:
        return ""
    order, gap = (a, gap_a) if gap_a else (b, gap_b)
    words = order.words
    left = _names_only(tuple(words[i] for i in gap))
    if truncated and gap_a:
        return "TRUNCATED"
    before = gap[0] - 1
    if before < 1 or not left:
        return "SURNAME_IN_PART" if not left else ""
    # One part of a surname that is told to have two, or that a hyphen joins.
    if order.surname > len(gap) and len(_names_only(words[-order.surname :])) > len(left) and order.how == "told":
        return "SURNAME_IN_PART"
    if (
        any(j in order.joined for j in range(before, len(words)))
        and all(j in order.joined for j in range(before, len(words) - 1))
        and not (_eastern(words[0], memo) and all(pinyin(w) or korean(w) for w in words[before:]))
    ):
        return "SURNAME_IN_PART"
    while before > 1 and words[before] in _LOOSE:
        before -= 1
    other = b if gap_a else a
    if len(left) == 1 and len(_names_only(other.words)) > 1:
        known = memo.look_up(words[before])
        if _iberian(left[0], memo) and (_iberian(words[before], memo) or not known.cultures) and known.surname >= known.given:
            return "SURNAME_IN_PART"
        if order.how not in ("natural", "told"):
            # Where the father's name follows one's own, nothing moves to the front: there the first word is a son, and the rest his father.
            return ""
        if _patronymic(left[0], memo) and _patronymic(words[before], memo):
            return "SURNAME_IN_PART"
        if _patronymic(left[0], memo) and _patronymic(words[0], memo) and not known.cultures.replace("E", ""):
            return "SURNAME_IN_PART"
    return ""


def _score(a: _Order, b: _Order, reasons: list[str], middle: bool, full_middle: bool) -> Account:
    """Put a name of which every word is accounted for on the scale."""
    codes = list(dict.fromkeys(r for r in reasons if r not in ("MIDDLE_INITIAL",)))
    steps = sum(r in _STEPS and r != "GLUED" for r in reasons)
    low = [c for c in codes if c in _LOW]
    if low:
        score = min(_LOW[c] for c in low) - 3.0 * (len(low) - 1) - 3.0 * steps
        if steps > 1:
            score = min(score, 72.0)
        score = max(score, 70.0)
    elif steps:
        score = min(_STEPS[c] for c in codes if c in _STEPS)
        if steps > 1:
            score = max(88.0 - 4.0 * (steps - 2), 72.0)
        if a.how == "swapped" or b.how == "swapped":
            score = min(score, 82.0)
    else:
        score = 98.0 if full_middle or "GLUED" in codes else 99.0
    if a.how == "swapped" or b.how == "swapped":
        score = min(score, _LOW["GIVEN_NAMES_SWAPPED"])
    out = [c for c in codes if c != "SIMILAR"]
    if middle:
        out.append("MIDDLE_OMITTED")
    if "MIDDLE_INITIAL" in reasons:
        out.append("MIDDLE_INITIAL")
    if ("moved" in (a.how, b.how) or "ends" in (a.how, b.how)) and "SURNAME_FIRST" not in out:
        out.append("SURNAME_FIRST")
    return Account(MOST_FUZZY if low else 100.0, tuple(dict.fromkeys(out)), True, score)


def _both(mine: Party, held: Party, memo: Memo) -> Iterator[tuple[_Order, _Order]]:
    """Yield the pairs of orders in which two names may be compared."""
    a, b = list(_orders(mine, memo)), list(_orders(held, memo))
    for y in b:
        yield a[0], y
    if a[0].how == "told":
        for x in a[1:]:
            for y in b:
                yield x, y
        return
    told = b[0].how == "told"
    lead = _lead(mine.words, memo) if len(a) > 1 else 0.0
    for x in a[1:]:
        # A claim in parts or in natural order is the rule. One with the surname first meets a title in natural order; where a comma tells
        # the title's order, the claim's must be evident.
        if not told or held.lent or lead >= 2:
            yield x, b[0]
            if held.lent:
                for y in b[1:]:
                    yield x, y
        # Both with the surname first: the front word of both must be a surname rather than a given name.
        if not told and x.how == "moved" and lead >= 0 and mine.words[: x.surname] == held.words[: x.surname]:
            known = memo.look_up(mine.words[0])
            if known.surname > known.given or (not known.cultures and lead >= 0) or mine.words[0] in _LOOSE:
                for y in b[1:]:
                    if y.how == "moved" and y.surname == x.surname:
                        yield x, y


def _may_begin(a: _Order, b: _Order, memo: Memo) -> bool:
    """Tell cheaply whether the first words can belong together: most orders are settled here."""
    x, y = a.words[0], b.words[0]
    if x == y or x[0] == y[0] or (len(x) > 3 < len(y) and (x.startswith(y) or y.startswith(x))):
        return True
    if x in _PREFIX_NAMES or y in _PREFIX_NAMES or x in TITLES_TOO or y in TITLES_TOO:
        return True
    return x in _LOOSE or y in _LOOSE or _relate(x, y, False, memo) is not None


_NOTHING = Account(LEFT_OVER, (), False, 0.0)
_STRANGER = Account(OTHER_NAME, (), False, 0.0, stranger=True)


def settle(mine: Party, claim: Title, held: Party, title: Title, memo: Memo) -> Account:
    """Return the account of a claimed name's words against one party's of an account title."""
    if not mine.words or not held.words:
        return _NOTHING
    if not claim.full or not title.full:
        # What stands in the part that was not read cannot be accounted for.
        return Account(LEFT_OVER, ("WORDS_LEFT_OVER",), False, 0.0)
    one_a, one_b = len(mine.words) == 1, len(held.words) == 1 and not held.lent
    if one_a or one_b:
        return _single(mine, held, one_a, one_b, memo)
    cut = title.length >= SHORTEST_CUT and title.words[-1:] == held.words[-1:] and not held.lent
    a_side, b_side = _Side(mine, claim), _Side(held, title)
    best: Account | None = None
    fewest = 0
    for a, b in _both(mine, held, memo):
        if not _may_begin(a, b, memo):
            continue
        steps = _align(a, b, memo, cut)
        found = _judge(a, b, steps, a_side, b_side, memo, cut)
        # Of two orders that both leave something over, the one that leaves less is likelier meant.
        left = sum(not (step.size_a and step.size_b) for step in steps)
        if best is None or (found.clean, found.score, -left, found.lift != "none") > (best.clean, best.score, -fewest, best.lift != "none"):
            best, fewest = found, left
            if best.clean and best.score >= 98:
                break
    if (best is None or not best.clean) and (swapped := _swapped(mine, held, a_side, b_side, memo)):
        best = swapped
    if best is None:
        return _NOTHING if held.lent or mine.aside or held.aside or _alike(mine.words, held.words) else _STRANGER
    return best


def _alike(x: tuple[str, ...], y: tuple[str, ...]) -> bool:
    """Tell whether any two words are the same or may be misspellings of one."""
    for a in x:
        if len(a) > 1 and a in y:
            return True
        if len(a) > 3 and any(len(b) > 3 and (a[0] == b[0] or a[-2:] == b[-2:]) and within_two(a, b) < 3 for b in y):
            return True
    return False


def _swapped(mine: Party, held: Party, a_side: _Side, b_side: _Side, memo: Memo) -> Account | None:
    """Two given names in the other order, everything else being the same."""
    if len(mine.words) != len(held.words) or len(mine.words) < 3 or sorted(mine.words) != sorted(held.words):
        return None
    for a in _orders(mine, memo):
        if (a.how == "ends" and "v" not in memo.look_up(mine.words[0]).cultures) or (a.how == "moved" and mine.words[0] not in TITLES_TOO):
            # Only a title at the front, such as "Sir", leaves both names in an order that may be exchanged.
            continue
        x = a.words
        other = a._replace(words=(x[1], x[0], *x[2:]), how="swapped")
        for b in _orders(held, memo):
            # A surname at the front must leave two given names that can have been exchanged.
            if b.words == other.words and (b.how != "moved" or len(b.words) - b.surname > 1):
                return _score(other, b, [], False, False)
    return None


def _single(mine: Party, held: Party, one_a: bool, one_b: bool, memo: Memo) -> Account:
    """Account for names of a single word: no more than a part of a name, unless both are."""
    if one_a and one_b:
        a, b = mine.words[0], held.words[0]
        if not is_latin(a):
            return Account(100.0, (), True, 99.0) if a == b else Account(LEFT_OVER, ("NAME_DIFFERS",), False, 0.0)
        found = _relate(a, b, True, memo) if a != b else (0, "")
        if found is None or len(a) == 1 or found[1] in ("WEAK", "HARD", "NEAR", "SIMILAR", "INITIALS_ONLY"):
            return Account(LEFT_OVER, ("SURNAME_MISSING",), False, 0.0)
        return Account(94.0, (found[1],) if found[1] else ("SURNAME_MISSING",), True, 92.0 if not found[1] else 90.0)
    one, many = (mine, held) if one_a else (held, mine)
    word = one.words[0]
    words = tuple(w for w in many.words)
    if many.lent:
        words = many.words + many.lent[0]
    if len(word) > 5:
        for whole in (words, words[1:] + words[:1], words[-1:] + words[:-1], (words[0], words[-1]), (words[-1], words[0])):
            if "".join(whole) == word:
                return Account(100.0, ("GLUED",), True, 98.0)
            if len(word) > 8 and within_two("".join(whole), word) == 1:
                return Account(100.0, ("GLUED", "TYPO"), True, 91.0)
    return Account(LEFT_OVER, ("SURNAME_MISSING",), False, 0.0)
