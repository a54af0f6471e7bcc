"""Aligns the words of two names: the orders in which a name may be written, which words may be one, and the cheapest alignment."""

from collections.abc import Iterator
from typing import NamedTuple

from titleholder.matching.names import Memo, compare_family, compare_given
from titleholder.matching.parties import Party
from titleholder.matching.text import is_latin, within_two
from titleholder.matching.words import PARTICLES, TITLES_TOO, word_set

# First given names that many people have but few use.
PREFIX_NAMES = word_set(
    "muhammad mohammad mohammed mohamed muhammed mohamad mohd muhd md mohamad mehmed syed sayed sayyid saiyed sayyed seyed seyyed sayid"
    " maria ma mary"
    " marie m shaikh sheikh sk mohammadu mamadou"
)
# Written abbreviations of a longer name, which are neither initials nor nicknames.
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
LOOSE = frozenset(w for w in PARTICLES if len(w) > 1) - {"ben", "mac", "mc", "fitz", "abu", "st", "saint", "in", "op"} | word_set(
    "delos und ul os ti"
)
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


class Order(NamedTuple):
    """A party's words, rearranged so that the given name is first and the surname last."""

    words: tuple[str, ...]
    how: str  # "told", "natural", "moved" (a surname moved from the front to the end), "ends" (first and last exchanged), "swapped"
    surname: int  # how many of the last words are the surname; 0: not known
    last: int  # the new position of the word that was written last
    joined: frozenset[int] = frozenset()


def _moved(party: Party, count: int) -> Order:
    n = len(party.words)
    joined = party.joined
    if joined:
        joined = frozenset(j - count if j >= count else j + n - count for j in joined if j != count - 1)
    return Order(party.words[count:] + party.words[:count], "moved", count, n - count - 1, joined)


SON_OF = frozenset(("bin", "ibn", "bint", "binti", "binte"))


def orders(party: Party, memo: Memo) -> Iterator[Order]:
    """Yield the orders in which a party's name may be written. If the source says which words are the surname, only the possible ones."""
    words = party.words
    n = len(words)
    if party.lent:
        for family in party.lent:
            yield Order(words + family, "told", len(family), n - 1, party.joined)
        return
    if party.family or party.given:
        yield Order(words, "told", party.family, n - 1, party.joined)
        fore = n - party.family
        if fore > 1 and party.family and "v" in memo.look_up(words[-1]).cultures:
            # In Vietnam the middle name comes before the given name, and some people write both in one field.
            if party.given == 1 and all("V" in memo.look_up(w).cultures for w in words[:fore]):
                yield Order((*words[1:fore], words[0], *words[fore:]), "told", party.family, n - 1)
            elif party.given == fore:
                yield Order((words[fore - 1], *words[: fore - 1], *words[fore:]), "told", party.family, n - 1)
        return
    if party.comma:
        yield _moved(party, party.comma)._replace(how="told")
        return
    yield Order(words, "natural", 0, n - 1, party.joined)
    for count in range(1, min(n, 6 if n < MANY_WORDS else 3)):
        # Do not separate words that a hyphen joins, nor "bin" from the father's name.
        if count - 1 not in party.joined and SON_OF.isdisjoint(words[count - 1 : count + 1]):
            yield _moved(party, count)
    if n > 2 and eastern_name(words, memo):
        joined = frozenset(j for j in party.joined if 0 < j < n - 2)
        yield Order((words[-1], *words[1:-1], words[0]), "ends", 1, 0, joined)


def eastern(word: str, memo: Memo) -> bool:
    """Return whether a word is a surname of a culture in which the surname comes first."""
    cultures = memo.look_up(word).cultures
    return "v" in cultures or "c" in cultures or "k" in cultures


def eastern_name(words: tuple[str, ...], memo: Memo) -> bool:
    """Return whether words are a surname of Vietnam, China or Korea, and given names that may follow it, maybe with a Western one."""
    cultures = memo.look_up(words[0]).cultures
    if "v" in cultures and all(any(c in "Vv" for c in memo.look_up(w).cultures) or len(w) == 1 for w in words[1:]):
        return True
    if "c" not in cultures and "k" not in cultures:
        return False
    return all(in_syllables(w) or len(w) == 1 or memo.look_up(w).given > 3 for w in words[1:])


def in_syllables(word: str) -> bool:
    """Return whether a word consists of syllables of Chinese or Korean."""
    from titleholder.matching.syllables import korean, pinyin

    return bool(pinyin(word) or korean(word))


def lead(words: tuple[str, ...], memo: Memo) -> float:
    """Return the evidence for the surname being first: that of a surname at the front plus that of a given name at the end."""
    named = names_only(words) or words
    first, last = memo.look_up(named[0]), memo.look_up(named[-1])
    # An unknown word is more likely a surname, because there are more surnames.
    at_front = first.surname - first.given if first.cultures else 1.5
    at_end = last.given - last.surname if last.cultures else -1.5
    if first.cultures and not first.given:
        return max(at_front + at_end, 0.0)
    return at_front + at_end


def relate(a: str, b: str, family: bool, memo: Memo) -> tuple[int, str] | None:
    """Return the cost of taking two words for the same name, and the reason that excuses it; ``None`` if they are different names."""
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
    if short in LOOSE and long in LOOSE and size > 1:
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
            # Two given names are not two spellings of one surname at any place, and a surname is not a nickname.
            level = compare_given(a, b, memo)
            return (4, "HARD") if level in ("G_NICKNAME", "G_NICKNAME_TYPO", "G_PREFIX") else _LEVELS.get(level)
    level = compare_family((a,), (b,), memo) if family else compare_given(a, b, memo)
    found = _LEVELS.get(level)
    if level in ("F_TYPO_SHORT", "G_TYPO_SHORT") and size_a == size_b and sorted(a) != sorted(b):
        # In a short name, another letter makes another name.
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
    """Return the cost and reason if words on one side are one word on the other, or its initials; else ``None``."""
    joined = "".join(parts)
    if joined == whole:
        return 1, "GLUED"
    if len(whole) == len(parts) and whole.isalpha() and whole not in LOOSE and all(p[0] == c for p, c in zip(parts, whole, strict=True)):
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


class Step(NamedTuple):
    """A step of an alignment: ``size_a`` words from position ``a`` with ``size_b`` words from ``b`` (0: left over), and the reason."""

    a: int
    b: int
    size_a: int
    size_b: int
    reason: str


_FAR = 10_000
_NO_STEP = 0, 0, ""
MANY_WORDS = 16
# Names with twenty different words on each side are not aligned, which bounds the time. Nothing would excuse so many words.
MOST_CELLS = 400


def align(a: Order, b: Order, memo: Memo, cut: bool) -> list[Step]:
    """Return the cheapest alignment of two sequences of words: pairs, joined words, and words left over."""
    x, y = a.words, b.words
    n, m = len(x), len(y)
    start = 0
    while start < n and start < m and x[start] == y[start]:
        start += 1
    end_x, end_y = n, m
    while end_x > start and end_y > start and x[end_x - 1] == y[end_y - 1]:
        end_x -= 1
        end_y -= 1
    steps = [Step(i, i, 1, 1, "") for i in range(start)]
    p, q = end_x - start, end_y - start
    if p and q and p * q <= MOST_CELLS:
        steps.extend(_table(a, b, start, end_x, end_y, memo, cut))
    else:
        steps.extend(Step(i, start, 1, 0, "") for i in range(start, end_x))
        steps.extend(Step(start, j, 0, 1, "") for j in range(start, end_y))
    steps.extend(Step(end_x + k, end_y + k, 1, 1, "") for k in range(n - end_x))
    return steps


def _was_cut(short: str, long: str, memo: Memo) -> bool:
    """Return whether a word may be a longer one that was cut off. Names of their own are not: Angel is not a cut-off Angela."""
    return len(short) < len(long) and not (len(long) == len(short) + 1 and long[-1] in "aeio" and memo.look_up(short).given > 2)


def _skips(words: tuple[str, ...], start: int, end: int) -> list[int]:
    """Return the cost of leaving over each word from ``start`` to ``end``. A name's first and last words cost more."""
    last = len(words) - 1
    return [(2 if (w := words[at]) in LOOSE else 4 if len(w) == 1 else 5) + (at in (0, last)) for at in range(start, end)]


def _table(a: Order, b: Order, start: int, end_x: int, end_y: int, memo: Memo, cut: bool) -> list[Step]:
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
                related = relate(mine, theirs, u >= last_x or v >= last_y, memo)
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
    out: list[Step] = []
    i, j = p, q
    while i or j:
        size_a, size_b, reason = last_step[i][j]
        i -= size_a
        j -= size_b
        out.append(Step(start + i, start + j, size_a, size_b, reason))
    out.reverse()
    return out


def names_only(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(w for w in words if w not in LOOSE)


def pairs_of_orders(mine: Party, held: Party, memo: Memo) -> Iterator[tuple[Order, Order]]:
    """Yield the pairs of orders in which two names may be compared."""
    others = orders(mine, memo)
    first = next(others)
    b: list[Order] = []
    for y in orders(held, memo):
        b.append(y)
        yield first, y
    if first.how == "told":
        for x in others:
            for y in b:
                yield x, y
        return
    told = b[0].how == "told"
    leading = lead(mine.words, memo)
    for x in others:
        # Most claims are in parts or in natural order. A claim with the surname first is compared with a title in natural order. If a comma
        # shows the title's order, the claim's order must be evident.
        if not told or held.lent or leading >= 2:
            yield x, b[0]
            if held.lent:
                for y in b[1:]:
                    yield x, y
        # If both have the surname first, the first word of both must be a surname rather than a given name.
        if not told and x.how == "moved" and leading >= 0 and mine.words[: x.surname] == held.words[: x.surname]:
            known = memo.look_up(mine.words[0])
            if known.surname > known.given or (not known.cultures and leading >= 0) or mine.words[0] in LOOSE:
                for y in b[1:]:
                    if y.how == "moved" and y.surname == x.surname:
                        yield x, y


def may_begin(a: Order, b: Order, memo: Memo) -> bool:
    """Return whether the first words can belong together. A cheap check, which rules out most orders."""
    x, y = a.words[0], b.words[0]
    if x == y or x[0] == y[0] or (len(x) > 3 < len(y) and (x.startswith(y) or y.startswith(x))):
        return True
    if x in PREFIX_NAMES or y in PREFIX_NAMES or x in TITLES_TOO or y in TITLES_TOO:
        return True
    return x in LOOSE or y in LOOSE or relate(x, y, False, memo) is not None
