"""The account of words: every word of a claimed name and of an owner's name is aligned with its counterpart, or excused by a named reason.

The account does not depend on how a comparison came to its score. For each order in which a name may be written, it aligns the words and
looks at the words that remain. A name with a remaining word that has no excuse cannot reach the match band, even if everything else agrees.
"""

from typing import NamedTuple

from titleholder.matching.alignment import (
    LOOSE,
    PREFIX_NAMES,
    Order,
    Step,
    align,
    eastern,
    in_syllables,
    lead,
    may_begin,
    names_only,
    orders,
    pairs_of_orders,
    relate,
)
from titleholder.matching.evidence import Known
from titleholder.matching.names import Memo
from titleholder.matching.parties import Party
from titleholder.matching.romanisation import other_syllable
from titleholder.matching.text import is_latin, within_two
from titleholder.matching.titles import Title
from titleholder.matching.words import TITLES_TOO

# The highest score of a name with a remaining word, or with a word that differs.
LEFT_OVER = 69.0
SIMILAR_WORDS = 67.0
OTHER_NAME = 59.0
OTHER_PARTY = 49.0
# A name of similar words, none of which is surely the same, is not a good match.
MOST_FUZZY = 89.0
# Banks cut titles off at some twenty to forty characters.
SHORTEST_CUT = 20


class Account(NamedTuple):
    """The result of the account: the highest score that the name may have, why, and the score if every word is accounted for."""

    ceiling: float
    reasons: tuple[str, ...]
    clean: bool
    score: float
    stranger: bool = False  # no word of one name is one of the other's
    lift: str = "none"  # which contacts may lift what is for review: "any", "mailbox" (an e-mail or a phone), or "none"


# Prefixes without which a surname is another surname.
_BOUND = frozenset(("mc", "mac", "fitz", "st", "saint", "bar", "ben", "even", "abu"))
# The score of a name that differs by one such step.
_STEPS = {"SPELLING_VARIANT": 94.0, "GLUED": 98.0, "SURNAME_IN_PART": 92.0, "TYPO": 91.0, "NICKNAME": 90.0, "GIVEN_NAME_MISSING": 91.0}
_LOW = {"INITIALS_ONLY": 80.0, "TRUNCATED": 80.0, "SIMILAR": 78.0, "GIVEN_NAMES_SWAPPED": 84.0}


class _Side(NamedTuple):
    """What the account needs to know about one side besides its words."""

    party: Party
    title: Title


def iberian(word: str, memo: Memo) -> bool:
    known = memo.look_up(word)
    return known.surname > 0 and ("i" in known.cultures or "l" in known.cultures)


def _patronymic(word: str, memo: Memo) -> bool:
    return "E" in memo.look_up(word).cultures


def _judge(a: Order, b: Order, steps: list[Step], mine: _Side, held: _Side, memo: Memo, cut: bool) -> Account:
    """Look at the words that an alignment leaves over, and find a named excuse for each, if there is one."""
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
        names_a = [i for i in gap_a if x[i] not in LOOSE]
        names_b = [j for j in gap_b if y[j] not in LOOSE]
        if not names_a and not names_b:
            # Particles on one side only are not a difference. Different particles are, and no name begins or ends with one.
            if (gap_a and gap_b) or not seen or (at_end and not truncated):
                worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
            return
        if not seen or at_end:
            excuse = _excuse_front(a, b, gap_a, gap_b, memo) if not at_end else _excuse_end(a, b, gap_a, gap_b, memo, truncated)
            if excuse == "SURNAME_IN_PART" and (lacking := {(x if gap_a else y)[at] for at in (gap_a or gap_b)} - LOOSE):
                # A surname that the other name has in another place is not left out: the order of two surnames distinguishes people.
                other = {y[step.b] for step in steps if not step.size_a} if gap_a else {x[step.a] for step in steps if not step.size_b}
                if lacking & other:
                    excuse = ""
            if excuse == "SURNAME_IN_PART" and first_initial and (a.surname < 2 and b.surname < 2 and not a.joined and not b.joined):
                # An initial and a part of the other words are too little of a name.
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
                # Ji Won and Ji Woo are different given names, each written in two words.
                worst, problem = min(worst, OTHER_NAME), "GIVEN_NAME_DIFFERS"
                return
            worst, problem = min(worst, LEFT_OVER), "MIDDLE_DIFFERS"
            return
        if a.how in ("moved", "ends") or b.how in ("moved", "ends"):
            # A word is missing inside a name that is read with its surname first. Then nothing may speak against that order.
            if (a.how == "moved" and lead(mine.party.words, memo) < 2) or (
                b.how == "moved" and gap_b and lead(held.party.words, memo) < -2
            ):
                worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
                return
            if a.how == "ends" and gap_a and not eastern(x[-1], memo):
                worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
                return
        if a.how == b.how == "moved" and _given_is_last(a, gap_a, memo) + _given_is_last(b, gap_b, memo):
            worst, problem = min(worst, LEFT_OVER), "WORDS_LEFT_OVER"
            return
        for order, gap in ((a, gap_a), (b, gap_b)):
            if gap and gap[-1] in order.joined and gap[-1] + 1 >= len(order.words) - max(1, order.surname):
                reasons.append("SURNAME_IN_PART")
            # If a name is read with its surname first, the surname begins with the first word written.
            if order.how == "moved" and (lacking_at := [at for at in gap if at >= len(order.words) - order.surname]):
                family = order.words[-order.surname :]
                if not all(order.words[at] in LOOSE for at in lacking_at):
                    if not (order.joined or all(iberian(w, memo) for w in names_only(family))):
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
        loose = step.size_a == 1 and x[step.a] in LOOSE
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
                if (longer.surname > 1 and longer.how == "told") or (len(names_only(longer.words)) > 2 and iberian(longer.words[-1], memo)):
                    # The second of two surnames is often left at an initial.
                    reason = "SURNAME_IN_PART"
                else:
                    family_initial = True
        elif reason in _ALIKE and (a.how, b.how) in _UNTOLD and x[0] == y[0] and _other_syllables(x, y, step, memo):
            # If the surname comes first, the last word is the given name.
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
        and lead(mine.party.words, memo) < 2
    ):
        # Reading a claim with the surname first is meant to find the same words, not similar ones.
        worst, problem = min(worst, LEFT_OVER), problem or "HARD"
    if worst < 100:
        lift = "none" if problem else "mailbox" if near else "any" if weak else "none"
        if worst >= LEFT_OVER and (problem == "HARD" or (weak and not problem)):
            # A name of similar words ranks below a name that has the same words except one that is missing.
            worst = SIMILAR_WORDS
        codes = (problem, *reasons) if problem else reasons
        return Account(worst, tuple(dict.fromkeys("TYPO" if c == "SIMILAR" else c for c in codes if c != "HARD")), False, 0.0, lift=lift)
    if first_initial and ("SIMILAR" in reasons or last_reason in ("TYPO", "SPELLING_VARIANT")):
        # An initial says too little if the surname is not the same.
        return Account(LEFT_OVER, ("INITIALS_ONLY", "TYPO"), False, 0.0, lift="any")
    if first_initial and family_initial and not truncated:
        return Account(LEFT_OVER, ("INITIALS_ONLY",), False, 0.0)
    if family_initial and not truncated and not _by_initial(x, y, memo):
        return Account(LEFT_OVER, ("INITIALS_ONLY",), False, 0.0)
    if all(len(w) == 1 for w in x) or all(len(w) == 1 for w in y):
        return Account(LEFT_OVER, ("INITIALS_ONLY",), False, 0.0)
    return _score(a, b, reasons, middle, middle and not initials_only)


_ALIKE = frozenset(("NEAR", "SIMILAR", "TYPO"))
# At least one name is in the order written, and no source says which of its words is the surname.
_UNTOLD = frozenset((("natural", "natural"), ("natural", "moved"), ("moved", "natural")))


# As a given name, a surname such as Kim or Lee is as common in other cultures.
MANY_GIVEN = 5


def _other_syllables(x: tuple[str, ...], y: tuple[str, ...], step: Step, memo: Memo) -> bool:
    """Return whether two words have different syllables, and are given names of China or Korea beside a surname in front."""
    if step.size_a > 1 or step.size_b > 1:
        return False
    if _syllable_each(x, y, step, memo):
        return True
    surname = memo.look_up(x[0])
    both = memo.look_up(x[step.a]), memo.look_up(y[step.b])
    if not _chinese_or_korean(surname) or (surname.given > MANY_GIVEN and any(known.cultures for known in both)):
        return False
    if any(known.surname > 2 and (step.reason == "NEAR" or not _chinese_or_korean(known)) for known in both):
        # The first word may be a given name, and these the surnames.
        return False
    if any(known.given > 3 and "C" not in known.cultures for known in both):
        # In Ma Luna Reyes, Ma is Maria.
        return False
    return other_syllable(x[step.a], y[step.b], *both)


def _chinese_or_korean(known: Known) -> bool:
    return "k" in known.cultures or "c" in known.cultures


def _syllable_each(x: tuple[str, ...], y: tuple[str, ...], step: Step, memo: Memo) -> bool:
    """Return whether each of two words is a syllable of a Chinese or Korean given name; the surname is the first word."""
    first, words = memo.look_up(x[0]).cultures, (x[step.a], y[step.b])
    if not ("k" in first or "c" in first) or "w" not in first or (len(x) < 3 and any("w" in memo.look_up(w).cultures for w in words)):
        return False
    from titleholder.matching.syllables import korean, pinyin

    return all(len(pinyin(w) or korean(w) or "no") == 1 for w in words)


def _given_is_last(order: Order, gap: list[int], memo: Memo) -> bool:
    """Return whether the last word written is left over, and is the given name: in Vietnam the surname comes first."""
    if order.last not in gap:
        return False
    return "v" in memo.look_up(order.words[-order.surname]).cultures and "V" in memo.look_up(order.words[order.last]).cultures


def _eastern_name_any(x: tuple[str, ...], y: tuple[str, ...], memo: Memo) -> bool:
    return any("v" in memo.look_up(word).cultures for word in (x[0], x[-1], y[0], y[-1]))


def _syllables(words: tuple[str, ...], surname: str, memo: Memo) -> bool:
    """Return whether words are syllables of a Chinese or Korean given name, beside a surname of these."""
    cultures = memo.look_up(surname).cultures
    return ("k" in cultures or "c" in cultures) and all(
        len(w) > 1 and in_syllables(w) and memo.look_up(w).given < 4 and "V" not in memo.look_up(w).cultures for w in words
    )


def _given_too(gap: list[int], words: tuple[str, ...], memo: Memo) -> bool:
    """Return whether words left over are names, or particles that are also given names, as Van is in Vietnam."""
    return any(words[i] not in LOOSE or "V" in memo.look_up(words[i]).cultures for i in gap)


def _by_initial(x: tuple[str, ...], y: tuple[str, ...], memo: Memo) -> bool:
    """Return whether the surname may be an initial: in southern India it is the father's name, elsewhere the second of two surnames."""
    known = [memo.look_up(w) for w in (*x, *y) if len(w) > 1]
    western = [k for k in known if "W" in k.cultures and k.given > 2]
    return not western or any(("D" in k.cultures or "d" in k.cultures) and k not in western for k in known)


def _two_people(words: tuple[str, ...], gap: list[int], memo: Memo) -> bool:
    """Return whether four words are two owners' names, and the words left over are the surname of one and the given name of the other."""
    if len(words) != 4 or gap != [1, 2]:
        return False
    first, second, third, last = (memo.look_up(w) for w in words)
    if first.given < 2 or third.given <= third.surname:
        return False
    if {first.gender, third.gender} == {"m", "f"} and second.surname >= max(1, second.given) and last.surname >= last.given:
        return True
    # An unknown word is a surname rather than a given name, but that is less certain.
    sure = second.given == 0 and second.surname > 0 and last.given < max(1, last.surname)
    return sure or (not second.cultures and third.given > 2 and last.given == 0)


def _excuse_front(a: Order, b: Order, gap_a: list[int], gap_b: list[int], memo: Memo) -> str:
    """Excuse a first word that one side lacks."""
    if gap_a and gap_b:
        return ""
    order, gap = (a, gap_a) if gap_a else (b, gap_b)
    other = b if gap_a else a
    rest = order.words[len(gap) :]
    if len(gap) == 1 and order.words[0] in TITLES_TOO and len(rest) > 1:
        known = memo.look_up(rest[0])
        return "NORMALISED" if "W" in known.cultures and known.given > 2 and known.given >= known.surname else ""
    if len(gap) == 1 and order.words[0] in PREFIX_NAMES and len(rest) > 1 and len(other.words) > 1:
        word = order.words[0]
        if len(word) > 2 or word in ("md", "sk", "ma"):
            # After Maria there must be another given name, not only a surname.
            return "GIVEN_NAME_MISSING" if memo.look_up(rest[0]).given or not memo.look_up(rest[0]).surname else ""
    return ""


def _excuse_end(a: Order, b: Order, gap_a: list[int], gap_b: list[int], memo: Memo, truncated: bool) -> str:
    """Excuse last words that one side lacks."""
    if gap_a and gap_b:
        return ""
    order, gap = (a, gap_a) if gap_a else (b, gap_b)
    words = order.words
    left = names_only(tuple(words[i] for i in gap))
    if truncated and gap_a:
        return "TRUNCATED"
    before = gap[0] - 1
    if before < 1 or not left:
        return "SURNAME_IN_PART" if not left else ""
    # One part of a surname that has two parts according to the source, or that a hyphen joins.
    if order.surname > len(gap) and len(names_only(words[-order.surname :])) > len(left) and order.how == "told":
        return "SURNAME_IN_PART"
    if (
        any(j in order.joined for j in range(before, len(words)))
        and all(j in order.joined for j in range(before, len(words) - 1))
        and not (eastern(words[0], memo) and all(in_syllables(w) for w in words[before:]))
    ):
        return "SURNAME_IN_PART"
    while before > 1 and words[before] in LOOSE:
        before -= 1
    other = b if gap_a else a
    if len(left) == 1 and len(names_only(other.words)) > 1:
        known = memo.look_up(words[before])
        if iberian(left[0], memo) and (iberian(words[before], memo) or not known.cultures) and known.surname >= known.given:
            return "SURNAME_IN_PART"
        if order.how not in ("natural", "told"):
            # If the father's name follows the person's own, nothing moves to the front: the first word is a son, the rest his father.
            return ""
        if _patronymic(left[0], memo) and _patronymic(words[before], memo):
            return "SURNAME_IN_PART"
        if _patronymic(left[0], memo) and _patronymic(words[0], memo) and not known.cultures.replace("E", ""):
            return "SURNAME_IN_PART"
    return ""


def _score(a: Order, b: Order, reasons: list[str], middle: bool, full_middle: bool) -> Account:
    """Return the score of a name whose every word is accounted for."""
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


_NOTHING = Account(LEFT_OVER, (), False, 0.0)
_STRANGER = Account(OTHER_NAME, (), False, 0.0, stranger=True)


def settle(mine: Party, claim: Title, held: Party, title: Title, memo: Memo) -> Account:
    """Return the account of a claimed name's words against one party's of an account title."""
    if not mine.words or not held.words:
        return _NOTHING
    if not claim.full or not title.full:
        # Words in the part that was not read cannot be accounted for.
        return Account(LEFT_OVER, ("WORDS_LEFT_OVER",), False, 0.0)
    one_a, one_b = len(mine.words) == 1, len(held.words) == 1 and not held.lent
    if one_a or one_b:
        return _single(mine, held, one_a, one_b, memo)
    cut = title.length >= SHORTEST_CUT and title.words[-1:] == held.words[-1:] and not held.lent
    a_side, b_side = _Side(mine, claim), _Side(held, title)
    best: Account | None = None
    fewest = 0
    for a, b in pairs_of_orders(mine, held, memo):
        if not may_begin(a, b, memo):
            continue
        steps = align(a, b, memo, cut)
        found = _judge(a, b, steps, a_side, b_side, memo, cut)
        # If two orders both leave words over, the one that leaves fewer is more likely meant.
        left = sum([not (step.size_a and step.size_b) for step in steps])
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
    """Return whether any word of one side is the same as one of the other, or may be a misspelling of it."""
    for a in x:
        if len(a) > 1 and a in y:
            return True
        if len(a) > 3 and any(len(b) > 3 and (a[0] == b[0] or a[-2:] == b[-2:]) and within_two(a, b) < 3 for b in y):
            return True
    return False


def _swapped(mine: Party, held: Party, a_side: _Side, b_side: _Side, memo: Memo) -> Account | None:
    """Return the account if the names differ only in the order of two given names; else ``None``."""
    if len(mine.words) != len(held.words) or len(mine.words) < 3 or sorted(mine.words) != sorted(held.words):
        return None
    for a in orders(mine, memo):
        if (a.how == "ends" and "v" not in memo.look_up(mine.words[0]).cultures) or (a.how == "moved" and mine.words[0] not in TITLES_TOO):
            # A title at the front, such as "Sir", is the only thing that may come before two exchanged given names.
            continue
        x = a.words
        other = a._replace(words=(x[1], x[0], *x[2:]), how="swapped")
        for b in orders(held, memo):
            # With a surname at the front, two given names have to remain that could have been exchanged.
            if b.words == other.words and (b.how != "moved" or len(b.words) - b.surname > 1):
                return _score(other, b, [], False, False)
    return None


def _single(mine: Party, held: Party, one_a: bool, one_b: bool, memo: Memo) -> Account:
    """Account for names of a single word: each is only a part of a name, unless both sides have a single word."""
    if one_a and one_b:
        a, b = mine.words[0], held.words[0]
        if not is_latin(a):
            return Account(100.0, (), True, 99.0) if a == b else Account(LEFT_OVER, ("NAME_DIFFERS",), False, 0.0)
        found = relate(a, b, True, memo) if a != b else (0, "")
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
